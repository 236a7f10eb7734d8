// SYNs that wait to be answered, and which peers have shown that they are there: a flood brings more SYNs than there is time for. What
// belongs to connections goes first, a turn answers a bounded number of the others in the order in which they came, and what finds no
// room is dropped. RFC 4987.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "base/random.hpp"
#include "packet/packet.hpp"
#include "wire/address.hpp"

namespace iopkt::stack {

inline constexpr std::size_t kOpeningsPerTurn = 32;    ///< SYNs that a shard's turn answers
inline constexpr std::size_t kOpeningsWaiting = 1024;  ///< SYNs that wait on a shard; more are dropped

/// What peers may send beyond that. A completed handshake shows that its source is no forged one; it earns the answers to the next
/// SYNs, so that a peer that goes on completing them is never short, and one whose address is forged is no worse off than a stranger
/// once its credit is gone. IPv6: by networks of 64 bits. Bounded: a new peer takes the place of another that its hash falls on.
class PeerCredit {
 public:
  static constexpr std::uint16_t kPerHandshake = 2, kMost = 1024;

  explicit PeerCredit(HashKey key) : key_(key), entries_(kEntries) {}
  void earn(const wire::IpAddress& peer);
  /// False: there is none.
  [[nodiscard]] bool spend(const wire::IpAddress& peer);

 private:
  static constexpr std::size_t kEntries = 4096;
  struct Entry {
    std::uint32_t tag = 0;
    std::uint16_t credit = 0;
  };
  std::uint64_t hash(const wire::IpAddress& peer) const;

  HashKey key_;
  std::vector<Entry> entries_;
};

struct Openings {
  struct Waiting {
    std::uint32_t interface_index;
    packet::PacketPtr packet;  ///< begins with its IP header
  };
  std::deque<Waiting> waiting;
  PeerCredit credit;
};

}  // namespace iopkt::stack
