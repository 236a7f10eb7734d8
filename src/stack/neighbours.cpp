// The neighbour cache as operators change it: arp(8).
#include "stack/ways.hpp"

namespace iopkt::stack {

Instant Shard::time() const { return state_->now; }

void follow_interfaces(ShardState& s, const Network& old) {
  for (const auto& now : s.network->interfaces.all()) s.neighbours->set_times(now->index, {now->reachable6_ms, now->retransmit6_ms});
  neigh::Actions actions;
  for (const auto& before : old.interfaces.all()) {
    const iface::Interface* now = s.interface(before->index);
    const bool gone = now == nullptr || now->name != before->name;
    const bool down = !gone && before->is_up() && before->link_up && (!now->is_up() || !now->link_up);
    if (gone || down) s.neighbours->erase_interface(before->index, !gone, actions);
    if (gone && now == nullptr) s.neighbours->set_times(before->index, {});
  }
  apply_neighbour_actions(s, actions);
}

std::vector<neigh::Entry> Shard::list_neighbours() const {
  IOPKT_ASSERT(state_->neighbours != nullptr);
  return state_->neighbours->list();
}

Errno Shard::set_neighbour(const neigh::Key& key, const wire::MacAddress& mac,
                           neigh::Neighbours::StaticOptions options) {
  ShardState& s = *state_;
  IOPKT_ASSERT(s.neighbours != nullptr);
  neigh::Actions actions;
  const bool done = s.neighbours->set_static(key, mac, options, s.now, actions);
  apply_neighbour_actions(s, actions);
  return done ? Errno::ok : Errno::nobufs;
}

Errno Shard::erase_neighbour(const neigh::Key& key) {
  ShardState& s = *state_;
  IOPKT_ASSERT(s.neighbours != nullptr);
  neigh::Actions actions;
  const bool done = s.neighbours->erase(key, actions);
  apply_neighbour_actions(s, actions);
  return done ? Errno::ok : Errno::nxio;
}

}  // namespace iopkt::stack
