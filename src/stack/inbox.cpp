// From shard to shard: one single-writer queue for each ordered pair. Packets, and what ICMP messages
// say, are dropped when it is full, nothing else is.
#include "stack/ways.hpp"

namespace iopkt::stack {

namespace {

template <class... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};

bool may_be_lost(const Message& m) {
  return std::holds_alternative<message::Input>(m) || std::holds_alternative<message::Arp>(m) ||
         std::holds_alternative<message::Deliver>(m) || std::holds_alternative<message::PortError>(m) ||
         std::holds_alternative<message::FlowError>(m) || std::holds_alternative<message::PathMtuClaim>(m);
}

packet::Packet* packet_of(Message& m) {
  if (auto* in = std::get_if<message::Input>(&m)) return in->packet.get();
  if (auto* arp = std::get_if<message::Arp>(&m)) return arp->packet.get();
  if (auto* d = std::get_if<message::Deliver>(&m)) return d->datagram.payload.get();
  if (auto* e = std::get_if<message::PortError>(&m)) return e->report.payload.get();
  return nullptr;
}

void resolve(ShardState& s, const message::ResolveNeighbour& wish) {
  neigh::Actions actions;
  if (wish.used_only) {
    s.neighbours->used(wish.key, s.now, actions);
    return apply_neighbour_actions(s, actions);
  }
  const neigh::Lookup found = s.neighbours->lookup_or_start(wish.key, s.now, actions);
  apply_neighbour_actions(s, actions);
  neigh::Action answer{.kind = neigh::Action::Kind::resolved, .key = wish.key, .mac = found.mac};
  if (found.kind == neigh::Lookup::Kind::waiting) return;
  if (found.kind == neigh::Lookup::Kind::unreachable) answer.kind = neigh::Action::Kind::failed;
  // The master keeps nothing of it, so it will never tell an end: the replica must not remember a failure.
  if (found.kind == neigh::Lookup::Kind::full) answer.kind = neigh::Action::Kind::forgotten;
  send_to(s, wish.from, message::NeighbourAction{answer});
}

void add_foreign(ShardState& s, const message::FlowAdd& m) {
  const auto place = s.foreign_flows.try_emplace(m.key, m.owner);
  if (place.value != nullptr) *place.value = m.owner;
}

void handle(ShardState& s, Message& message) {
  std::visit(
      Overloaded{
          [](std::monostate&) {},
          [&](message::Input& m) { rx_ip(s, m.interface_index, std::move(m.packet)); },
          [&](message::Arp& m) { rx_arp(s, m.interface_index, std::move(m.packet)); },
          [&](message::Deliver& m) { deliver(s, s.number, std::move(m.datagram)); },
          [&](message::NewNetwork& m) { adopt_network(s, std::move(m.network)); },
          [&](message::ResolveNeighbour& m) { resolve(s, m); },
          [&](message::NeighbourAction& m) { apply_neighbour_action(s, m.action); },
          [&](message::ListenAdd& m) { s.listeners[m.listener->local.port.value].push_back(m.listener); },
          [&](message::ListenRemove& m) {
            std::erase(s.listeners[m.listener->local.port.value], m.listener);
            if (s.listeners[m.listener->local.port.value].empty()) s.listeners.erase(m.listener->local.port.value);
            drop_waiting_children(s, m.listener);
          },
          [&](message::PortAdd& m) {
            remove_member(s, {m.member.kind, m.member.shard, m.member.id, m.member.local.port});
            s.udp_members[port_key(m.member.kind, m.member.local.port)].push_back(m.member);
          },
          [&](message::PortRemove& m) { remove_member(s, m); },
          [&](message::RawAdd& m) { add_raw(s, m.member); },
          [&](message::RawRemove& m) { remove_raw(s, m.shard, m.id); },
          [&](message::FlowAdd& m) { add_foreign(s, m); },
          [&](message::FlowRemove& m) { s.foreign_flows.erase(m.key); },
          [&](message::FlowError& m) { on_flow_error(s, m); },
          [&](message::PathMtu& m) { static_cast<void>(take_path_mtu(s, m)); },
          [&](message::PathMtuClaim& m) { claim_path_mtu(s, m); },
          [&](message::FastOpenNews& m) { take_fast_open_news(s, m); },
          [&](message::GroupChange& m) { on_group_change(s, m); },
          [&](message::PortError& m) { on_port_error(s, std::move(m)); },
      },
      message);
}

}  // namespace

void send_to(ShardState& s, std::uint32_t shard, Message&& message) {
  IOPKT_ASSERT(shard != s.number && shard < s.outbox.size());
  ++s.counters.way.to_other_shards;
  if (packet::Packet* packet = packet_of(message); packet != nullptr && !packet->own()) return s.drop(packet::Drop::no_buffer);
  s.wakeups |= std::uint64_t{1} << shard;
  ++s.sent_to_others;
  // Order is kept: nothing overtakes what waits already.
  if (s.overflow[shard].empty() && s.outbox[shard]->push(std::move(message))) return;
  if (may_be_lost(message)) {
    --s.sent_to_others;
    return s.drop(packet::Drop::shard_queue_full);
  }
  s.overflow[shard].push_back(std::move(message));
}

void send_to_all_others(ShardState& s, const std::function<Message()>& make) {
  for (std::uint32_t shard = 0; shard < s.outbox.size(); ++shard)
    if (shard != s.number) send_to(s, shard, make());
}

bool poll_inbox(ShardState& s) {
  bool any = false;
  for (std::uint32_t shard = 0; shard < s.overflow.size(); ++shard) {
    auto& waiting = s.overflow[shard];
    while (!waiting.empty() && s.outbox[shard]->push(std::move(waiting.front()))) {
      waiting.pop_front();
      s.wakeups |= std::uint64_t{1} << shard;
      any = true;
    }
  }
  for (SpscQueue<Message>* queue : s.inbox) {
    if (queue == nullptr) continue;
    Message message;
    // Bounded: a shard that is flooded by another still serves its devices and clients.
    for (std::size_t n = 0; n < kShardQueue && queue->pop(message); ++n) {
      any = true;
      ++s.counters.way.from_other_shards;
      if (packet::Packet* packet = packet_of(message)) packet->move_to(s.cache);
      handle(s, message);
      message = std::monostate{};
    }
  }
  return any;
}

}  // namespace iopkt::stack
