#include "neigh/pending.hpp"

#include <utility>

namespace iopkt::neigh {

PendingPackets::Held PendingPackets::hold(const Key& key, packet::PacketPtr packet) {
  if (!packet->own()) return {std::move(packet), packet::Drop::no_buffer};
  auto& queue = queues_[key];
  if (queue.size() < tunables_.max_hold && count_ < tunables_.max_hold_total) {
    queue.push_back(std::move(packet));
    ++count_;
    return {};
  }
  if (queue.empty()) {
    queues_.erase(key);
    return {std::move(packet), packet::Drop::arp_queue_full};
  }
  // RFC 1122 2.3.2.2: the latest is the one to keep.
  Held held{std::move(queue.front()), packet::Drop::arp_queue_full};
  queue.pop_front();
  queue.push_back(std::move(packet));
  return held;
}

packet::Burst PendingPackets::take(const Key& key) {
  packet::Burst packets;
  const auto at = queues_.find(key);
  if (at == queues_.end()) return packets;
  for (packet::PacketPtr& packet : at->second) packets.push_back(std::move(packet));
  count_ -= packets.size();
  queues_.erase(at);
  return packets;
}

}  // namespace iopkt::neigh
