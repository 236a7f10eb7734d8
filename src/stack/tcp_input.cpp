// A TCP segment's way in: checksum, the flow's entry, and what a connection, a half-open one, a TIME-WAIT entry or a
// listener makes of it. RFC 9293 section 3.10.7.
#include <algorithm>

#include "packet/segment.hpp"
#include "stack/ways.hpp"
#include "tcp/closed.hpp"
#include "tcp/isn.hpp"
#include "tcp/syn_cookie.hpp"
#include "wire/checksum.hpp"
#include "wire/tcp.hpp"

namespace iopkt::stack {

using packet::Drop;
using packet::PacketPtr;

namespace {

static_assert(sizeof(HalfOpenEntry) <= 200, "what a SYN costs");
constexpr Duration kCookieTime = std::chrono::seconds{128};  ///< how long one is good at most

struct Segment {
  FlowKey flow;
  std::uint32_t hash;
  tcp::SegmentIn in;
  std::uint32_t header_len;
  PacketPtr& packet;  ///< begins with the TCP header
  const Arrival& at;
};

bool checksum_ok(const Arrival& at, const packet::Packet& packet) {
  if (packet.looped || (packet.flags & (IOPKT_CSUM_VALID | IOPKT_CSUM_NEEDED)) != 0) return true;
  const std::uint32_t pseudo = wire::pseudo_header_sum(at.ip.src, at.ip.dst, wire::IpProtocol::tcp, packet.size());
  return wire::finish(pseudo + packet.sum(0, packet.size())) == 0;
}

void keep_payload(Socket& k, const Segment& seg, const tcp::Copies& copies) {
  for (const tcp::Copy& copy : copies) {
    const auto to = k.receive.memory.at(copy.to_position, copy.length);
    const auto first = static_cast<std::uint32_t>(to.first.size());
    seg.packet->copy_out(seg.header_len + copy.from, to.first);
    if (!to.second.empty()) seg.packet->copy_out(seg.header_len + copy.from + first, to.second);
  }
}

/// RFC 5082 section 3: IP_MINTTL and IPV6_MINHOPCOUNT, each for the packets of its family, also of a socket that has both.
bool is_too_far(const Segment& seg, const socket::SocketOptions& options) {
  return seg.at.ip.ttl < (seg.at.ip.src.is_v6() ? options.min_hop_count : options.min_ttl);
}

void reset_unknown(ShardState& s, const Segment& seg) {
  s.drop(Drop::tcp_no_socket);
  if (const auto answer = tcp::on_segment_in_closed(seg.in)) {
    ++s.counters.tcp.closed_resets;
    send_segment(s, seg.flow, *answer, nullptr, nullptr, seg.at.fib());
  }
}

void to_connection(ShardState& s, Socket& k, Segment& seg) {
  // It ended in this very turn, and goes when the turn does: as if it had gone.
  if (k.tcp->state() == tcp::State::closed) return reset_unknown(s, seg);
  if (is_too_far(seg, *k.options)) return s.drop(Drop::tcp_ttl_too_low);
  const bool opening = k.tcp->state() == tcp::State::syn_sent;
  const std::uint32_t extension = opening ? 0 : k.tcp->receive_extension(seg.in.seq);
  const auto wrong = check_signature(s, {*k.options, k.tcp->iss(), k.tcp->irs(), extension, -1, derived_keys(k)}, seg.flow, seg.in,
                                     *seg.packet, seg.header_len);
  count_signature(k, seg.in, wrong);
  if (wrong) return s.drop(*wrong);
  follow_key(k, seg.in);
  s.openings.busy_until = s.now + kConnectionsBusy;
  tcp::Copies copies;
  const tcp::SegmentResult result = k.tcp->on_segment(seg.in, s.now, copies);
  keep_payload(k, seg, copies);
  if (opening && tcp::is_synchronized(k.tcp->state())) learn_fast_open(s, k, seg.in);
  if (result.drop) s.drop(*result.drop);
  else if (result.reopen) s.drop(Drop::tcp_time_wait);
  mark_dirty(s, k);
}

ListenerPtr find_listener(const ShardState& s, const Segment& seg) {
  const auto found = s.listeners.find(seg.flow.local.port.value);
  if (found == s.listeners.end()) return nullptr;
  std::vector<const ListenerPtr*> best;
  int best_score = -1;
  for (const ListenerPtr& one : found->second) {
    if (one->closed) continue;
    if (!socket::takes(one->local.address, one->v6_only, seg.flow.local.address)) continue;
    if (one->bound_interface != 0 && one->bound_interface != seg.at.in->index) continue;
    const int score = socket::closeness(one->local.address, seg.flow.local.address);
    if (score > best_score) best.clear(), best_score = score;
    if (score == best_score) best.push_back(&one);
  }
  // SO_REUSEPORT: the flow chooses, so that a retransmitted SYN finds the same one.
  return best.empty() ? nullptr : *best[seg.hash / 2 % best.size()];
}

void forget_half_open(ShardState& s, HalfOpenEntry* entry) {
  s.flows.erase(entry->flow);
  s.half_open_order.erase(entry->age);
  delete entry;
}

/// Without cookies: a flood must not keep others out. The oldest half-open connection makes room, since a real peer answers within
/// a round trip and a flood's never does (RFC 4987 section 3.3).
void make_room_for_half_open(ShardState& s) {
  const std::size_t most = s.stack.config().half_open_max;
  while (!s.half_open_order.empty() && s.half_open_order.size() >= most) {
    s.drop(Drop::tcp_syn_overflow);
    forget_half_open(s, s.half_open_order.front());
  }
}

/// A SYN that opens a connection at once, and the cookie that its answer gives, if any.
struct FastOpening {
  const Segment& syn;
  std::optional<wire::FastOpenCookie> give;
};

Socket* complete(ShardState& s, const ListenerPtr& listener, const socket::SharedOptions& options,
                 const FlowKey& flow, const tcp::HalfOpen& half, const FastOpening* fast = nullptr);

/// RFC 5925 section 6.2, of a segment near the beginning.
std::uint32_t extension_of(wire::SeqNum isn, wire::SeqNum seq) { return seq.value < isn.value && seq - isn >= 0 ? 1 : 0; }

void send_half_open(ShardState& s, const HalfOpenEntry& entry, tcp::SegmentOut answer) {
  if (entry.half.fast_open && answer.has(wire::syn)) answer.options.fast_open = fast_open_cookie(s, *entry.options, entry.flow);
  const Signing signing{*entry.options, entry.half.iss, entry.half.irs, extension_of(entry.half.iss, answer.seq), entry.ao_current};
  send_segment(s, entry.flow, answer, nullptr, &*entry.options, entry.listener->fib, 0, &signing);
}

/// A SYN that LISTEN answers with a child.
bool is_opening(const tcp::SegmentIn& seg) { return seg.has(wire::syn) && !seg.has(wire::ack) && !seg.has(wire::rst); }

/// TCP-AO: the key that a SYN asks to be answered with; -1: none.
std::int16_t asked_key(const tcp::SegmentIn& syn) {
  return syn.options.signature.kind == wire::TcpSignature::Kind::ao ? std::int16_t{syn.options.signature.next_key_id} : std::int16_t{-1};
}

/// The answer carries all that would have to be kept: nobody can fill a table with that.
void answer_with_cookie(ShardState& s, const ListenerPtr& listener, const socket::SocketOptions& options,
                        const tcp::OpenConfig& config, Segment& seg) {
  tcp::HalfOpen child = tcp::half_open_of(s.tcp_context, config, seg.in, {}, s.now);
  child.iss = tcp::syn_cookie(s.key(), seg.flow.local, seg.flow.remote, seg.in.seq, child.peer_mss, s.now);
  s.cookies_until = s.now + kCookieTime;
  ++s.counters.tcp.cookies_sent;
  const Signing signing{options, child.iss, child.irs, 0, asked_key(seg.in)};
  send_segment(s, seg.flow, tcp::cookie_syn_ack(child, s.now), nullptr, &options, listener->fib, 0, &signing);
}

/// True: the ACK of a cookie, and a connection came of it.
bool take_cookie(ShardState& s, const ListenerPtr& listener, const socket::SharedOptions& options,
                 const tcp::OpenConfig& config, Segment& seg) {
  const auto child = tcp::child_of_cookie(s.tcp_context, s.key(), config, seg.flow.local, seg.flow.remote, seg.in, s.now);
  if (!child) return false;
  Socket* k = complete(s, listener, options, seg.flow, *child);
  if (k == nullptr) return true;
  ++s.counters.tcp.cookies_good;
  to_connection(s, *k, seg);
  return true;
}

void to_listener(ShardState& s, const ListenerPtr& listener, Segment& seg, std::optional<wire::SeqNum> iss_floor = {}) {
  const socket::SharedOptions asked = listener->options();
  if (is_too_far(seg, *asked)) return s.drop(Drop::tcp_ttl_too_low);
  // Of a segment that is no SYN: as it would be if it answered a cookie.
  const Signing signing{*asked, seg.in.ack - 1, seg.in.seq - 1};
  if (const auto wrong = check_signature(s, signing, seg.flow, seg.in, *seg.packet, seg.header_len)) return s.drop(*wrong);
  // RFC 1122 section 4.2.3.8: a connection goes back the way that its SYN has come. What that recorded beside it is its own affair: a
  // peer does not choose what each of our segments carries. As on the host, IP_OPTIONS of the listener are its own.
  socket::SharedOptions options = asked;
  const Bytes came = ipv4_options(seg.at.ip);
  const wire::Ipv4OptionBytes back = came.empty() ? wire::Ipv4OptionBytes{} : ipv4::way_back(came, seg.flow.remote.address.v4());
  if (back != options->ip_options) options.change([&](socket::SocketOptions& o) { o.ip_options = back; });
  // A listener that did not ask for a size: its children get rings of the default one, so that is what the SYN,ACK offers.
  const std::uint32_t receive_space = options->receive_buffer > 0 ? static_cast<std::uint32_t>(options->receive_buffer)
                                                                  : s.settings.tcp.recvspace;
  const tcp::OpenConfig config = open_config(s, seg.flow, listener->fib, *options, receive_space);
  if (seg.in.has(wire::ack) && s.now < s.cookies_until && take_cookie(s, listener, options, config, seg)) return;
  if (const bool full = s.half_open_order.size() >= s.stack.config().half_open_max;
      (s.settings.tcp.syncookies == 2 || (s.settings.tcp.syncookies == 1 && full)) && is_opening(seg.in) && !iss_floor) {
    if (listener->waiting > listener->backlog) return s.drop(Drop::tcp_listen_overflow);
    return answer_with_cookie(s, listener, *options, config, seg);
  }
  wire::SeqNum iss = tcp::initial_sequence_number(s.key(), seg.flow.local, seg.flow.remote, s.now);
  if (iss_floor && iss < *iss_floor) iss = *iss_floor;
  const tcp::ListenOutcome outcome = tcp::on_segment_in_listen(s.tcp_context, config, seg.in, iss, s.now);
  using Kind = tcp::ListenOutcome::Kind;
  if (outcome.kind == Kind::ignore) return s.drop(outcome.drop);
  if (outcome.kind == Kind::reset) return send_segment(s, seg.flow, outcome.answer, nullptr, nullptr, listener->fib, 0, &signing);
  // A full queue of established connections takes no new ones: the peer's SYN is sent again later.
  if (listener->waiting > listener->backlog) return s.drop(Drop::tcp_listen_overflow);
  const FastOpenWish wish = judge_fast_open(s, *listener, *options, seg.flow, seg.in);
  if (wish.open) {
    const FastOpening fast{seg, wish.give};
    if (Socket* k = complete(s, listener, options, seg.flow, outcome.child, &fast)) mark_dirty(s, *k);
    return;
  }
  make_room_for_half_open(s);
  auto entry = std::make_unique<HalfOpenEntry>();
  entry->flow = seg.flow;
  entry->interface_index = seg.at.in->index;
  entry->half = outcome.child;
  entry->ao_current = asked_key(seg.in);
  entry->half.fast_open = wish.give.has_value();
  entry->listener = listener;
  entry->options = options;
  const auto place = s.flows.try_emplace(seg.flow, static_cast<Timed*>(entry.get()));
  if (place.value == nullptr || !place.is_new) return s.drop(Drop::tcp_syn_overflow);
  entry->age = s.half_open_order.insert(s.half_open_order.end(), entry.get());
  s.wheel.schedule(*entry, entry->half.deadline);
  send_half_open(s, *entry, outcome.answer);
  static_cast<void>(entry.release());
}

/// The last ACK of the handshake came, or a SYN that needs none (`fast`): a socket for the program that listens. Null: no room, the ACK is forgotten.
Socket* complete(ShardState& s, const ListenerPtr& listener, const socket::SharedOptions& options,
                 const FlowKey& flow, const tcp::HalfOpen& half, const FastOpening* fast) {
  if (listener->waiting > listener->backlog) return s.drop(Drop::tcp_listen_overflow), nullptr;
  Rings rings;
  if (!s.ring_source.provide(listener->cookie, static_cast<std::uint32_t>(options->send_buffer),
                             static_cast<std::uint32_t>(options->receive_buffer), rings))
    return s.drop(Drop::tcp_listen_overflow), nullptr;
  Socket* k = make_socket(s);
  const auto place = k == nullptr ? decltype(s.flows)::Inserted{} : s.flows.try_emplace(flow, k);
  if (place.value == nullptr) {
    if (k != nullptr) destroy_socket(s, *k);
    s.ring_source.take_back(rings.cookie);
    return s.drop(Drop::tcp_listen_overflow), nullptr;
  }
  *place.value = k;  // of the half-open connection, if there was one
  k->cookie = rings.cookie;
  k->kind = socket::SocketKind::tcp;
  k->family = listener->family;
  k->protocol = static_cast<std::uint8_t>(wire::IpProtocol::tcp);
  k->state = SocketState::open;
  k->fib = listener->fib;
  k->bound_interface = listener->bound_interface;
  k->user = listener->user;
  k->options = options;
  // As on the host, of the keys those of its peer alone: the others are not kept for as long as this connection lasts.
  if (auto keys = tcp::KeyChain::narrowed(options->keys, flow.remote.address); keys != options->keys)
    k->options.change([&](socket::SocketOptions& o) { o.keys = std::move(keys); });
  k->binding = listener->binding;
  k->listener = listener;
  k->accept_waiting = true;
  ++listener->waiting;
  k->local = flow.local;
  k->remote = flow.remote;
  k->in_flows = true;
  k->send.memory = rings.send;
  k->receive.memory = rings.receive;
  tcp::OpenConfig config = open_config(s, flow, k->fib, *k->options, rings.receive.size);
  if (fast == nullptr) {
    k->tcp = std::make_unique<tcp::Connection>(tcp::Connection::from_half_open(s.tcp_context, half, config, s.now));
  } else {
    config.fast_open = fast->give;
    tcp::Copies copies;
    k->tcp = std::make_unique<tcp::Connection>(
        tcp::Connection::open_fast(s.tcp_context, half, config, fast->syn.in.payload_len, s.now, copies));
    keep_payload(*k, fast->syn, copies);
    k->fast_open_parent = listener;
    ++listener->fast_open_pending;
  }
  handshake_completed(s, flow.remote.address);
  s.accepts.push_back({listener->cookie, k->id, k->cookie, k->local, k->remote});
  return k;
}

/// TCP_DEFER_ACCEPT: a program that waits for data does not see the connection before some has come, or the time is over: then the
/// SYN,ACK goes out once more, and the ACK that it draws is enough.
bool defers(const ShardState& s, HalfOpenEntry& entry, const Segment& seg) {
  const Instant until = entry.half.started + std::chrono::seconds{entry.options->defer_accept};
  if (seg.in.length() != 0 || s.now >= until) return false;
  entry.half.deadline = until;
  entry.half.untimed = true;
  return true;
}

void to_half_open(ShardState& s, HalfOpenEntry* entry, Segment& seg) {
  if (entry->listener->closed) {
    forget_half_open(s, entry);
    return reset_unknown(s, seg);
  }
  if (is_too_far(seg, *entry->options)) return s.drop(Drop::tcp_ttl_too_low);
  const Signing signing{*entry->options, entry->half.iss, entry->half.irs, extension_of(entry->half.irs, seg.in.seq)};
  if (const auto wrong = check_signature(s, signing, seg.flow, seg.in, *seg.packet, seg.header_len)) return s.drop(*wrong);
  const tcp::HalfOpenOutcome outcome = tcp::on_segment(s.tcp_context, entry->half, seg.in, s.now);
  if (outcome.drop) s.drop(*outcome.drop);
  switch (outcome.kind) {
    case tcp::HalfOpenOutcome::Kind::ignore: s.wheel.schedule(*entry, entry->half.deadline); return;
    case tcp::HalfOpenOutcome::Kind::answer:
      s.wheel.schedule(*entry, entry->half.deadline);
      return send_half_open(s, *entry, outcome.answer);
    case tcp::HalfOpenOutcome::Kind::give_up: return forget_half_open(s, entry);
    case tcp::HalfOpenOutcome::Kind::reset:
      send_half_open(s, *entry, outcome.answer);
      return forget_half_open(s, entry);
    case tcp::HalfOpenOutcome::Kind::complete:
      if (defers(s, *entry, seg)) return s.wheel.schedule(*entry, entry->half.deadline);
      if (Socket* k = complete(s, entry->listener, entry->options, entry->flow, entry->half)) {
        s.half_open_order.erase(entry->age);
        delete entry;
        to_connection(s, *k, seg);
      } else {
        entry->half.untimed = true;  // by the time there is room
      }
      return;
  }
}

void to_time_wait(ShardState& s, TimeWaitTable::Place place, Segment& seg) {
  tcp::TimeWait wait = s.time_waits.wait(place, s.now);
  const tcp::TimeWaitOutcome outcome = tcp::on_segment(wait, seg.in, s.now, s.settings.tcp);
  switch (outcome.kind) {
    case tcp::TimeWaitOutcome::Kind::ignore: s.drop(Drop::tcp_time_wait); break;
    case tcp::TimeWaitOutcome::Kind::ack: send_segment(s, seg.flow, outcome.answer, nullptr, nullptr, s.time_waits.fib(place)); break;
    case tcp::TimeWaitOutcome::Kind::challenge:
      if (!s.time_waits.may_challenge(place, s.now, s.settings.tcp.challenge_ack_limit)) {
        ++s.counters.tcp.tx_challenge_limited;
        s.drop(Drop::tcp_time_wait);
        break;
      }
      ++s.counters.tcp.tx_challenge_acks;
      send_segment(s, seg.flow, outcome.answer, nullptr, nullptr, s.time_waits.fib(place));
      break;
    case tcp::TimeWaitOutcome::Kind::reopen:
      if (const ListenerPtr listener = find_listener(s, seg)) {
        ++s.counters.tcp.time_wait_reopened;
        forget_foreign_flow(s, seg.flow, s.time_waits.foreign_shard(place));
        s.time_waits.remove(place);
        return to_listener(s, listener, seg, tcp::next_iss(wait));
      }
      // Nobody listens any more: as to any SYN to a closed port, so that the peer does not ask until TIME-WAIT is over.
      reset_unknown(s, seg);
      break;
  }
  s.time_waits.restart(place, wait.until);
}

void to_entry(ShardState& s, Timed* entry, Segment& seg) {
  switch (entry->kind) {
    case Timed::Kind::connection: return to_connection(s, static_cast<Socket&>(*entry), seg);
    case Timed::Kind::half_open: return to_half_open(s, static_cast<HalfOpenEntry*>(entry), seg);
  }
}

/// As how many packets a segment came that GRO has made one of.
std::uint16_t packets_of(const packet::Packet& packet, std::uint32_t header_len) {
  if ((packet.flags & packet::kGsoFlags) == 0 || packet.gso_size == 0 || packet.size() <= header_len) return 1;
  return static_cast<std::uint16_t>((packet.size() - header_len + packet.gso_size - 1) / packet.gso_size);
}

}  // namespace

void rx_tcp(ShardState& s, const Arrival& at, PacketPtr packet) {
  if (!packet->pull_up(std::min<std::uint32_t>(packet->size(), 60))) return s.drop(Drop::no_buffer);
  const auto view = wire::TcpView::parse(packet->head());
  if (!view) return s.drop(Drop::tcp_truncated);
  if (!checksum_ok(at, *packet)) return s.drop(Drop::tcp_bad_checksum);
  const wire::TcpHeader header = view->header();
  if (at.ip.src.is_unspecified() || at.ip.src.is_multicast()) return s.drop(Drop::tcp_bad_address);
  ++s.counters.tcp.rx_segments;
  const auto header_len = static_cast<std::uint32_t>(view->header_len());
  const FlowKey flow{{at.ip.dst, header.dst}, {at.ip.src, header.src}};
  Segment seg{.flow = flow,
              .hash = flow_hash(s.key(), flow.local, flow.remote),
              .in = {.seq = header.seq,
                     .ack = header.ack,
                     .flags = header.flags,
                     .window = header.window,
                     .urgent = header.urgent,
                     .options = header.options,
                     .payload_len = packet->size() - header_len,
                     .packets = packets_of(*packet, header_len),
                     .ecn = at.ip.ecn()},
              .header_len = header_len,
              .packet = packet,
              .at = at};
  if (Timed** entry = s.flows.find(flow)) return to_entry(s, *entry, seg);
  if (const auto place = s.time_waits.find(flow); place != TimeWaitTable::kNone) return to_time_wait(s, place, seg);
  if (const std::uint32_t* owner = s.foreign_flows.find(flow)) {
    const Bytes header_bytes = at.ip.bytes.span();
    const MutableBytes room = packet->prepend(static_cast<std::uint32_t>(header_bytes.size()));
    if (room.empty()) return s.drop(Drop::no_buffer);
    std::copy(header_bytes.begin(), header_bytes.end(), room.begin());
    packet->network_len = 0;
    return send_to(s, *owner, message::Input{at.in->index, std::move(packet)});
  }
  if (const ListenerPtr listener = find_listener(s, seg)) return to_listener(s, listener, seg);
  reset_unknown(s, seg);
}

void on_flow_error(ShardState& s, const message::FlowError& error) {
  Timed** entry = s.flows.find(error.flow);
  if (entry == nullptr) {
    if (const std::uint32_t* owner = s.foreign_flows.find(error.flow)) return send_to(s, *owner, Message{error});
    return s.drop(Drop::icmp_no_flow);
  }
  if ((*entry)->kind != Timed::Kind::connection) return;
  auto& k = static_cast<Socket&>(**entry);
  if (ignores_icmp(k, error)) return s.drop(Drop::icmp_signed_flow);
  if (error.mtu != 0) {
    const wire::IpAddress& peer = error.flow.remote.address;
    const std::uint32_t headers = ip_and_tcp_len(peer.family());
    const bool cuts = peer.is_v4() && (k.options->mtu_discover == 0 || s.settings.ipv4.mtu_discovery == 0);
    if (cuts || !socket::accepts_path_mtu(*k.options, peer) || error.mtu <= headers) return;
    if (k.tcp->in_flight(error.sequence)) learn_path_mtu(s, peer, k.fib, error.mtu);
    else s.drop(Drop::icmp_not_sent);
    k.tcp->on_mtu_change(static_cast<std::uint16_t>(error.mtu - headers), error.sequence, s.now);
  } else {
    k.tcp->on_icmp_error(error.failure, error.sequence, s.now);
  }
  mark_dirty(s, k);
}

void on_timer(ShardState& s, Timed& timed) {
  switch (timed.kind) {
    case Timed::Kind::connection: {
      auto& k = static_cast<Socket&>(timed);
      if (!k.tcp) return;
      k.tcp->on_timer(s.now);
      return mark_dirty(s, k);
    }
    case Timed::Kind::half_open: {
      auto* entry = static_cast<HalfOpenEntry*>(&timed);
      if (entry->listener->closed) return forget_half_open(s, entry);
      const tcp::HalfOpenOutcome outcome = tcp::on_timer(s.tcp_context, entry->half, s.now);
      if (outcome.kind == tcp::HalfOpenOutcome::Kind::give_up) return forget_half_open(s, entry);
      if (outcome.kind == tcp::HalfOpenOutcome::Kind::answer) send_half_open(s, *entry, outcome.answer);
      s.wheel.schedule(*entry, entry->half.deadline);
      return;
    }
  }
}

void drop_waiting_children(ShardState& s, const ListenerPtr& listener) {
  std::vector<HalfOpenEntry*> half_open;
  std::vector<Socket*> waiting;
  s.flows.for_each([&](const FlowKey&, Timed* entry) {
    if (entry->kind == Timed::Kind::half_open && static_cast<HalfOpenEntry*>(entry)->listener == listener)
      half_open.push_back(static_cast<HalfOpenEntry*>(entry));
    if (entry->kind == Timed::Kind::connection && static_cast<Socket*>(entry)->accept_waiting &&
        !static_cast<Socket*>(entry)->offered && static_cast<Socket*>(entry)->listener == listener)
      waiting.push_back(static_cast<Socket*>(entry));
  });
  for (HalfOpenEntry* entry : half_open) forget_half_open(s, entry);
  for (Socket* k : waiting) {
    k->accept_waiting = false;
    --listener->waiting;
    k->listener.reset();
    k->client_gone = true;
    abort_tcp(s, *k, tcp::Failure::aborted);
  }
}

}  // namespace iopkt::stack
