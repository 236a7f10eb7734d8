// A shard's turn, its sockets' slab and its events.
#include "stack/shard.hpp"

#include <algorithm>

#include "stack/ways.hpp"

namespace iopkt::stack {

namespace {
constexpr std::uint32_t kPlaceBits = 20;  // of a SocketId; the rest is the generation
constexpr std::uint32_t kPlaceMask = (1u << kPlaceBits) - 1;
constexpr std::uint32_t kGenerations = 1u << (32 - kPlaceBits);

HashKey derived(HashKey key, std::uint64_t purpose) { return {mix(key.k0 ^ purpose, key.k1 | 1), mix(key.k1 ^ purpose, key.k0 | 1)}; }
}  // namespace

ShardState::ShardState(Stack& owner, std::uint32_t shard_number, RingSource& rings)
    : stack(owner),
      number(shard_number),
      ring_source(rings),
      cache(owner.pools()),
      network(owner.network()),
      random(owner.config().seed + shard_number),
      wheel(Instant{}),
      settings(owner.network()->settings),
      tcp_context{&settings.tcp, &counters.tcp},
      flows(FlowKeyHash{owner.config().key}, owner.config().sockets_max),
      time_waits(owner.config().key, owner.config().time_wait_max),
      foreign_flows(FlowKeyHash{owner.config().key}, owner.config().sockets_max),
      openings{.waiting = {}, .credit = PeerCredit{derived(owner.config().key, 7)}, .pace = {}, .news = {}},
      replica(derived(owner.config().key, 3)),
      pending(settings.neigh, derived(owner.config().key, 3)),
      reassembly(settings.ipv4, counters.ipv4, derived(owner.config().key, 1)),
      identifiers(derived(owner.config().key, 2), owner.config().ipid_reserved, shard_number, owner.config().shards),
      inet6(owner.config().inet6),
      path_mtus(derived(owner.config().key, 4)),
      answer_mtus(derived(owner.config().key, 4)),
      long_sent(derived(owner.config().key, 9)),
      fast_open(derived(owner.config().key, 5)),
      icmp_limit(settings.icmp),
      redirect_limit(derived(owner.config().key, 6)) {
  if (number == 0 && inet6 != nullptr)
    discovery = inet6->make_discovery({settings.ipv6, counters.ipv6, owner.config().stable_secret, owner.config().seed ^ owner.config().key.k0});
  if (number == 0) claims = std::make_unique<ipv4::AddressClaims>(settings.ipv4, counters.arp, owner.config().seed ^ derived(owner.config().key, 8).k0);
  if (number == 0) redirects = std::make_unique<ipv4::Redirects>(settings.ipv4, settings.icmp);
  if (number == 0) memberships = std::make_unique<group::Machine>(owner.config().seed ^ derived(owner.config().key, 4).k0);
  if (number == 0) neighbours = std::make_unique<neigh::Neighbours>(settings.neigh, derived(owner.config().key, 3));
  outbox.resize(owner.config().shards);
  overflow.resize(owner.config().shards);
  inbox.resize(owner.config().shards, nullptr);
  for (std::uint32_t other = 0; other < owner.config().shards; ++other)
    if (other != number) outbox[other] = std::make_unique<SpscQueue<Message>>(kShardQueue);
}

ShardState::~ShardState() {
  flows.for_each([](const FlowKey&, Timed* entry) {
    if (entry->kind == Timed::Kind::half_open) delete static_cast<HalfOpenEntry*>(entry);
  });
}

Socket* ShardState::find(SocketId id) {
  const std::uint32_t place = id.value & kPlaceMask;
  if (place >= slab.size() || slab[place] == nullptr || slab[place]->id != id) return nullptr;
  return slab[place].get();
}

Socket* make_socket(ShardState& s) {
  if (s.free_places.empty()) {
    if (s.slab.size() >= std::min(s.stack.config().sockets_max, kPlaceMask)) return nullptr;
    s.free_places.push_back(static_cast<std::uint32_t>(s.slab.size()));
    s.slab.emplace_back();
    s.generations.push_back(1);
  }
  const std::uint32_t place = s.free_places.back();
  s.free_places.pop_back();
  std::uint32_t& generation = s.generations[place];
  s.slab[place] = std::make_unique<Socket>(SocketId{generation << kPlaceBits | place});
  generation = generation + 1 < kGenerations ? generation + 1 : 1;
  return s.slab[place].get();
}

void destroy_socket(ShardState& s, Socket& k) {
  if (k.kind == socket::SocketKind::raw) {
    remove_raw(s, s.number, k.id);
    send_to_all_others(s, [&] { return message::RawRemove{s.number, k.id}; });
  }
  leave_all_groups(s, k);
  if (k.flow_labels) s.stack.flow_labels().release(*k.flow_labels, s.now);
  leave_fast_open_queue(k);
  s.wheel.cancel(k);
  remove_flow(s, k);
  s.events.push_back({k.id, k.cookie, event::released, Errno::ok});
  const std::uint32_t place = k.id.value & kPlaceMask;
  s.slab[place].reset();
  s.free_places.push_back(place);
}

void raise(ShardState& s, Socket& k, std::uint32_t what, Errno error) {
  if (k.client_gone) return;
  k.pending_events |= what;
  if (error != Errno::ok) k.pending_error = error;
  if (k.event_queued) return;
  k.event_queued = true;
  s.event_order.push_back(k.id);
}

void adopt_network(ShardState& s, NetworkPtr network) {
  const NetworkPtr old = std::exchange(s.network, std::move(network));
  s.settings = s.network->settings;
  if (s.neighbours && old) follow_interfaces(s, *old);
  if (s.discovery) s.discovery->tables_changed(s.now);
  if (s.claims) s.claims->tables_changed(s.now);
  if (s.redirects) s.redirects->tables_changed(s.now);
  if (s.memberships && old) update_memberships(s, *old);
  listen_for_ourselves(s);
}

// ---- the turn

Shard::Shard(Stack& stack, std::uint32_t number, RingSource& rings)
    : state_(std::make_unique<ShardState>(stack, number, rings)) {}
Shard::~Shard() = default;

std::uint32_t Shard::number() const { return state_->number; }
packet::Cache& Shard::cache() { return state_->cache; }

void Shard::begin(Instant now) {
  if (now > state_->now) state_->now = now;
  state_->openings.news.clear();
  state_->openings.pace.tick(state_->now);
  ++state_->counters.way.turns;
}

bool Shard::poll_inbox() { return stack::poll_inbox(*state_); }

void Shard::run_timers() {
  ShardState& s = *state_;
  s.wheel.advance(s.now, [&](TimerNode& node) { on_timer(s, static_cast<Timed&>(node)); }, kTimersOfTurn);
  s.time_waits.expire(s.now, [&](const FlowKey& flow, std::uint8_t shard) { forget_foreign_flow(s, flow, shard); });
  if (s.neighbours && s.neighbours->next_deadline() <= s.now) {
    neigh::Actions actions;
    s.neighbours->run(s.now, actions);
    apply_neighbour_actions(s, actions);
  }
  if (s.discovery && s.discovery->next_deadline() <= s.now) run_discovery(s);
  if (s.claims && s.claims->next_deadline() <= s.now) run_claims(s);
  if (s.redirects && s.redirects->next_deadline() <= s.now) {
    Network next = *s.network;
    if (s.redirects->run(s.now, next.interfaces, next.fibs)) s.stack.publish(std::move(next));
  }
  run_memberships(s);
  if (s.reassembly.next_deadline() <= s.now) {
    std::vector<ipv4::Reassembly::Expired> expired;
    s.reassembly.run(s.now, expired);
    for (auto& one : expired) on_reassembly_expired(s, one.first, one.packets);
  }
}

void Shard::finish() {
  ShardState& s = *state_;
  answer_openings(s);
  std::uint32_t budget = kLoopBudget;
  make_room_for_output(s);
  while (pump_dirty(s) || (!s.looped.empty() && budget > 0)) {
    while (!s.looped.empty() && budget > 0) {
      packet::PacketPtr packet = std::move(s.looped.front());
      s.looped.pop_front();
      --budget;
      ++s.counters.way.looped;
      rx_looped(s, std::move(packet));
    }
  }
  // What is left waits for the next turn and must not refer to clients' memory any longer.
  std::erase_if(s.looped, [&](packet::PacketPtr& packet) {
    if (packet->own()) return false;
    s.drop(packet::Drop::no_buffer);
    return true;
  });
  // Events go out once everything that they announce is in place.
  std::vector<SocketEvent> ordered;
  ordered.reserve(s.event_order.size() + s.events.size());
  for (const SocketId id : s.event_order) {
    Socket* k = s.find(id);
    if (k == nullptr) continue;
    ordered.push_back({id, k->cookie, std::exchange(k->pending_events, 0), std::exchange(k->pending_error, Errno::ok)});
    k->event_queued = false;
  }
  s.event_order.clear();
  s.events.insert(s.events.begin(), ordered.begin(), ordered.end());
}

void rx_looped(ShardState& s, packet::PacketPtr packet) {
  const std::uint32_t interface_index = packet->rx_interface;
  // Whatever zone it is for, it came by the loopback interface; but a copy of what was sent to a group is no packet of the device's.
  const iface::Interface* in = s.interface(interface_index);
  if (in == nullptr || in->is_loopback() || !packet->link_multicast) {
    auto& counters = s.counters.interfaces[kLoopbackIndex];
    ++counters.rx_packets;
    counters.rx_bytes += packet->size();
  }
  packet->link_multicast = false;
  rx_owned(s, interface_index, std::move(packet));
}

std::span<const std::uint32_t> Shard::transmit_pending() const { return state_->transmit_order; }

packet::Burst Shard::take_transmit(std::uint32_t interface_index) {
  ShardState& s = *state_;
  if (interface_index >= s.transmit.size()) return {};
  auto& queue = s.transmit[interface_index];
  if (queue.listed) std::erase(s.transmit_order, interface_index);
  queue.listed = false;
  return std::exchange(queue.burst, {});
}

void Shard::untransmitted(std::uint32_t interface_index, packet::Burst&& rest) {
  ShardState& s = *state_;
  if (rest.empty()) return;
  auto& queue = s.transmit[interface_index];
  auto& counters = s.counters.interfaces[interface_index];
  packet::Burst kept;
  kept.reserve(rest.size() + queue.burst.size());
  for (packet::PacketPtr& packet : rest) {
    if (!has_room_for(kept.size(), *packet) || !packet->own()) {
      ++counters.tx_dropped;
      s.drop(packet::Drop::no_buffer);
      continue;
    }
    ++s.counters.way.transmit_requeued;
    kept.push_back(std::move(packet));
  }
  rest.clear();
  std::move(queue.burst.begin(), queue.burst.end(), std::back_inserter(kept));
  queue.burst = std::move(kept);
  if (!queue.listed && !queue.burst.empty()) {
    queue.listed = true;
    s.transmit_order.push_back(interface_index);
  }
}

std::vector<SocketEvent> Shard::take_events() { return std::exchange(state_->events, {}); }
std::vector<AcceptEvent> Shard::take_accepts() { return std::exchange(state_->accepts, {}); }
std::vector<std::uint32_t> Shard::take_filter_changes() { return std::exchange(state_->filter_changes, {}); }
std::vector<wire::MacAddress> Shard::multicast_filter(std::uint32_t interface_index) const {
  return stack::multicast_filter(*state_, interface_index);
}
std::vector<group::Table::Row> Shard::list_groups() const {
  std::vector<group::Table::Row> rows = state_->groups.rows();
  std::erase_if(rows, [](const group::Table::Row& row) { return !row.key.group.is_multicast(); });
  return rows;
}
std::vector<Datagram> Shard::take_datagrams() { return std::exchange(state_->datagrams, {}); }
std::vector<CreditNews> Shard::take_credit_news() { return std::exchange(state_->openings.news, {}); }
bool Shard::take_path_narrowed() { return std::exchange(state_->path_narrowed, false); }
std::uint64_t Shard::take_wakeups() { return std::exchange(state_->wakeups, 0); }

Instant Shard::next_deadline() const {
  Instant at = std::min({state_->wheel.next_deadline(), state_->reassembly.next_deadline(), state_->time_waits.next_deadline(state_->now)});
  if (state_->neighbours) at = std::min(at, state_->neighbours->next_deadline());
  if (state_->discovery) at = std::min(at, state_->discovery->next_deadline());
  if (state_->claims) at = std::min(at, state_->claims->next_deadline());
  if (state_->redirects) at = std::min(at, state_->redirects->next_deadline());
  if (state_->memberships) at = std::min(at, state_->memberships->next_deadline());
  if (!state_->openings.waiting.empty()) at = std::min(at, openings_due());
  return at;
}

bool Shard::has_work() const {
  const ShardState& s = *state_;
  if (!s.openings.waiting.empty() && openings_wanted() > 0) return true;
  if (!s.dirty.empty() || !s.looped.empty() || !s.events.empty() || !s.event_order.empty()) return true;
  // Where no device has room the next turn comes when one took something.
  if ((!s.waiting_output.empty() || !s.without_output.empty()) && room_for_output(s) > 0) return true;
  if (std::any_of(s.overflow.begin(), s.overflow.end(), [](const auto& q) { return !q.empty(); })) return true;
  return std::any_of(s.inbox.begin(), s.inbox.end(), [](const auto* q) { return q != nullptr && !q->empty(); });
}

bool Shard::output_waits() const {
  return !state_->waiting_output.empty() || !state_->without_output.empty() || !state_->transmit_order.empty();
}

std::size_t Shard::openings_wanted() const {
  const std::size_t wanted = stack::openings_wanted(*state_), waiting = state_->openings.waiting.size();
  return wanted > waiting ? wanted - waiting : 0;
}
Instant Shard::openings_due() const { return stack::openings_due(*state_); }

std::size_t Shard::socket_count() const { return state_->slab.size() - state_->free_places.size(); }
void Shard::count_drop(packet::Drop reason) { state_->drop(reason); }
const ShardCounters& Shard::counters() const { return state_->counters; }

Shard::Publication Shard::publication() const {
  const ShardState& s = *state_;
  Publication told;
  if (s.outbox.size() <= 1) return told;  // nobody else is there
  told.reserve(s.outbox.size());
  for (std::size_t i = 0; i < s.outbox.size(); ++i) told.push_back(s.outbox[i] ? s.outbox[i]->pushed() + s.overflow[i].size() : 0);
  return told;
}

bool Shard::published(const Publication& told) const {
  for (std::size_t i = 0; i < told.size(); ++i)
    if (state_->outbox[i] && state_->outbox[i]->popped() < told[i]) return false;
  return true;
}

}  // namespace iopkt::stack
