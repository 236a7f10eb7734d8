// Packets that wait until their next hop is resolved: RFC 1122 2.3.2.2 (keep at least the latest one).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <unordered_map>

#include "neigh/neighbours.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"

namespace iopkt::neigh {

/// One per shard. Bounded per neighbour and in all by the tunables max_hold and max_hold_total.
class PendingPackets {
 public:
  PendingPackets(const NeighbourTunables& tunables, HashKey secret)
      : tunables_(tunables), queues_(16, SipHash{secret}) {}

  /// What had to go to make room; null for nothing.
  struct Held {
    packet::PacketPtr dropped;
    packet::Drop why{};
  };
  /// Keeps `packet` (which begins with its network header) until take(). Borrowed pieces are copied first.
  /// The answer's packet died: the oldest of this neighbour (arp_queue_full), or this one, because all queues
  /// together are full (arp_queue_full) or there was no memory (no_buffer).
  Held hold(const Key& key, packet::PacketPtr packet);
  /// All that waits for a neighbour, oldest first.
  packet::Burst take(const Key& key);

  std::size_t size() const { return count_; }

 private:
  const NeighbourTunables& tunables_;
  std::unordered_map<Key, std::deque<packet::PacketPtr>, SipHash> queues_;
  std::size_t count_ = 0;
};

}  // namespace iopkt::neigh
