// A TCP segment's way out, and what a connection's progress means for its socket.
#include <algorithm>

#include "stack/ways.hpp"
#include "tcp/isn.hpp"
#include "wire/checksum.hpp"
#include "wire/tcp.hpp"

namespace iopkt::stack {

using packet::Drop;
using packet::PacketPtr;

namespace {
// RFC 9293 section 3.7.1: what a peer that says nothing takes.
constexpr std::uint32_t default_mss(wire::IpFamily family) { return family == wire::IpFamily::v6 ? 1220 : 536; }
constexpr std::uint8_t kChecksumOffset = 16;

}  // namespace

Outgoing way_of(const FlowKey& flow, const socket::SocketOptions* options) {
  Outgoing how{.source = flow.local.address, .destination = flow.remote.address, .protocol = wire::IpProtocol::tcp};
  if (options == nullptr) return how;
  if (how.destination.is_v6()) how.extend(socket::extensions_of(*options, how.destination));
  else how.options = ip_options_of(*options, how.destination);
  return how;
}

tcp::Options tcp_options(const socket::SocketOptions& o) {
  return {.nodelay = o.no_delay != 0,
          .cork = o.cork != 0,
          .quickack = o.quick_ack != 0,
          .keepalive = o.keepalive != 0,
          .keep_count = static_cast<std::uint8_t>(o.keep_count),
          .keep_idle_ms = static_cast<std::uint32_t>(o.keep_idle) * 1000,
          .keep_interval_ms = static_cast<std::uint32_t>(o.keep_interval) * 1000,
          .user_timeout_ms = static_cast<std::uint32_t>(o.user_timeout_ms),
          .syn_retries = static_cast<std::uint8_t>(o.syn_count),
          // Linux: a negative one is "not at all".
          .finwait2_ms = o.linger2 < 0 ? 1u : static_cast<std::uint32_t>(o.linger2) * 1000,
          .maxseg = static_cast<std::uint16_t>(o.max_segment),
          .congestion = tcp::find_congestion(o.congestion)};
}

tcp::OpenConfig open_config(ShardState& s, const FlowKey& flow, std::uint8_t fib, const socket::SocketOptions& options,
                            std::uint32_t receive_bytes) {
  Outgoing how = way_of(flow, &options);
  how.fib = fib;
  const auto path = find_path(s, how);
  const wire::IpFamily family = flow.remote.address.family();
  const std::uint32_t headers = ip_and_tcp_len(family);
  const std::uint32_t mtu = path ? path->mtu : default_mss(family) + headers;
  const std::uint32_t own = path ? path->out->mtu_of(family) : mtu;
  tcp::OpenConfig config;
  config.advertised_mss = static_cast<std::uint16_t>(std::min<std::uint32_t>(own - headers, 65535 - headers));
  config.path_mss = static_cast<std::uint16_t>(std::min<std::uint32_t>(mtu - headers, 65535 - headers));
  config.default_peer_mss =
      static_cast<std::uint16_t>(family == wire::IpFamily::v6 ? default_mss(family) : s.settings.tcp.mssdflt);
  config.receive_capacity = offered_capacity(options, receive_bytes);
  config.receive_capacity_max = offered_capacity(options, std::max(receive_bytes, s.settings.tcp.recvspace_max));
  config.timestamp_offset = tcp::timestamp_offset(s.key(), flow.local, flow.remote);
  config.window_scaling = s.settings.tcp.rfc1323 != 0;
  config.congestion = s.settings.congestion;
  if (path && path->route != nullptr && !path->route->congestion.empty()) config.congestion = tcp::find_congestion(path->route->congestion);
  config.options = tcp_options(options);
  config.options.signature_len = signature_len(options, flow.remote.address);
  config.options.network_words = static_cast<std::uint8_t>(how.extra_len() / 4);
  // As the host: TCP-MD5 and timestamps together leave no room for SACK.
  config.timestamps = !uses_md5(options, flow.remote.address);
  return config;
}

void send_segment(ShardState& s, const FlowKey& flow, const tcp::SegmentOut& segment, const socket::SendRing* ring,
                  const socket::SocketOptions* options, std::uint8_t fib, std::uint32_t bound_interface, const Signing* signing) {
  PacketPtr packet = packet::allocate_header(s.cache);
  if (!packet) return s.drop(Drop::no_buffer);
  packet->textless = ring != nullptr && segment.payload_len == 0;
  if (segment.payload_len != 0) {
    const auto spans = ring->memory.at(segment.payload_position, segment.payload_len);
    if (!packet->append_borrowed(spans.first) || !packet->append_borrowed(spans.second)) return s.drop(Drop::no_buffer);
  }
  wire::TcpHeader header{.src = flow.local.port,
                         .dst = flow.remote.port,
                         .seq = segment.seq,
                         .ack = segment.ack,
                         .flags = segment.flags,
                         .window = segment.window,
                         .urgent = segment.urgent,
                         .options = segment.options};
  if (signing != nullptr && signing->options.keys) header.options.signature = blank_signature(*signing, flow.remote.address);
  const auto header_len = static_cast<std::uint32_t>(wire::encoded_len(header));
  const MutableBytes room = packet->prepend(header_len);
  if (room.empty()) return s.drop(Drop::no_buffer);
  wire::encode(header, room);
  if (const auto& signature = header.options.signature; signature.kind != wire::TcpSignature::Kind::none)
    if (!sign(*signing, flow, signature, *packet, header_len)) return s.drop(Drop::no_buffer);
  // The pseudo-header's part is in the field; the rest is the device's, or done at the last moment.
  const std::uint32_t pseudo =
      wire::pseudo_header_sum(flow.local.address, flow.remote.address, wire::IpProtocol::tcp, packet->size());
  store_be16(room, kChecksumOffset, static_cast<std::uint16_t>(wire::fold(pseudo)));
  packet->flags |= IOPKT_CSUM_NEEDED;
  packet->csum_start = 0;
  packet->csum_offset = kChecksumOffset;
  if (segment.gso_size != 0) {
    packet->flags |= flow.remote.address.is_v6() ? IOPKT_GSO_TCP6 : IOPKT_GSO_TCP4;
    packet->gso_size = segment.gso_size;
    packet->header_len = static_cast<std::uint16_t>(header_len);
  }
  Outgoing how = way_of(flow, options);
  // The options may be younger than the connection, or the way back that a SYN claims to have come: RFC 9293 section 3.9.2.3.
  if (how.options != nullptr && is_broadcast(s, how)) return s.drop(Drop::ip_broadcast_refused);
  how.fib = fib;
  how.interface_index = bound_interface;
  how.own_path_mtu = true;
  if (flow.remote.address.is_v6()) {
    if (options != nullptr) how.flow_label = options->flow_label6;
    if (how.flow_label == 0 && (options == nullptr || options->auto_flow_label != 0))
      how.flow_label = flow_hash(s.key(), flow.local, flow.remote) & 0xfffff;
  }
  // Over IPv6 only the sender cuts: where our own link became narrower, that is better than silence.
  how.dont_fragment = flow.remote.address.is_v4() && s.settings.ipv4.mtu_discovery != 0 && (options == nullptr || options->mtu_discover != 0);
  if (options != nullptr) {
    how.ttl = socket::hops_of(*options, how.destination);
    how.tos = socket::traffic_class_of(*options, how.destination);
    how.txq = static_cast<std::uint16_t>(options->txq_priority);
    how.dont_route = options->dont_route != 0;
  }
  // RFC 3168 section 5: the two bits are TCP's, whatever the program set.
  how.tos = static_cast<std::uint8_t>((how.tos & ~3) | (segment.ect ? 2 : 0));
  static_cast<void>(tx_ip(s, std::move(packet), how));
}

void mark_dirty(ShardState& s, Socket& k) {
  if (k.dirty) return;
  k.dirty = true;
  s.dirty.push_back(k.id);
}

namespace {

void send_one(ShardState& s, Socket& k, const tcp::SegmentOut& segment) {
  const Signing signing{*k.options, k.tcp->iss(), k.tcp->irs(), k.tcp->send_extension(segment.seq), -1, derived_keys(k)};
  send_segment(s, k.flow(), segment, &k.send, &*k.options, k.fib, k.bound_interface, &signing);
}

enum class Sent : std::uint8_t { all, some, nothing };

/// As much as the turn has room for; the last word of a connection always, and what needs no device. Not all: there may be more.
Sent send_what_fits(ShardState& s, Socket& k) {
  const tcp::State state = k.tcp->state();
  bool unbounded = state == tcp::State::closed || state == tcp::State::time_wait;
  for (Sent sent = Sent::nothing;; sent = Sent::some) {
    if (s.frames_left == 0 && !unbounded) {
      unbounded = k.remote.address.is_loopback() || s.network->interfaces.find_local(k.remote.address) != nullptr;
      if (!unbounded) return sent;
    }
    const auto segment = k.tcp->poll_output(s.now);
    if (!segment) return Sent::all;
    send_one(s, k, *segment);
  }
}

}  // namespace

void send_queued(ShardState& s, Socket& k) {
  while (const auto segment = k.tcp->poll_output(s.now)) send_one(s, k, *segment);
}

void remove_flow(ShardState& s, Socket& k) {
  if (!k.in_flows) return;
  s.flows.erase(k.flow());
  if (k.foreign_flow_shard != TimeWaitTable::kNoShard) send_to(s, k.foreign_flow_shard, message::FlowRemove{k.flow()});
  k.foreign_flow_shard = TimeWaitTable::kNoShard;
  k.in_flows = false;
}

void forget_foreign_flow(ShardState& s, const FlowKey& flow, std::uint8_t shard) {
  if (shard != TimeWaitTable::kNoShard) send_to(s, shard, message::FlowRemove{flow});
}

namespace {

/// TIME-WAIT needs neither buffers nor a socket: a table of its own takes what is left.
void leave_time_wait(ShardState& s, Socket& k) {
  // A bound of memory, not of the protocol: beyond it the end comes early, as on the host.
  if (!s.time_waits.add(k.flow(), k.tcp->time_wait(), {.binding = k.binding, .foreign_shard = k.foreign_flow_shard, .fib = k.fib})) {
    ++s.counters.tcp.time_wait_left_out;
    return;
  }
  s.flows.erase(k.flow());
  k.foreign_flow_shard = TimeWaitTable::kNoShard;
  k.in_flows = false;
}

void end_connection(ShardState& s, Socket& k) {
  s.wheel.cancel(k);
  remove_flow(s, k);
  k.tcp.reset();
  k.state = SocketState::failed;
  if (k.client_gone) return destroy_socket(s, k);
}

/// Whoever holds the rings is not asked more often.
constexpr Duration kSpacePause = 1ms;

/// Buffers that the program did not choose grow: the receive ring with the program's pace, the send ring with the window, where the
/// program keeps it full.
void ask_for_space(ShardState& s, Socket& k, bool send_full) {
  const tcp::Tunables& t = s.settings.tcp;
  if (k.options->receive_buffer == 0) {
    const std::uint32_t wanted = offered_capacity(*k.options, std::min(k.tcp->receive_space_wanted(s.now), t.recvspace_max));
    if (wanted > k.receive.memory.size) k.told.make().wanted.receive = wanted;
  }
  if (send_full && k.options->send_buffer == 0) {
    const std::uint32_t wanted = std::min(k.tcp->send_space_wanted(), t.sendspace_max);
    if (wanted > k.send.memory.size) k.told.make().wanted.send = wanted;
  }
  if (!k.told || (k.told->wanted.send | k.told->wanted.receive) == 0 || s.now - k.told->space_asked < kSpacePause) return;
  k.told->space_asked = s.now;
  raise(s, k, event::space_wanted);
}

void pump(ShardState& s, Socket& k) {
  if (!k.tcp) return;
  const Sent sent = send_what_fits(s, k);
  const tcp::Events events = k.tcp->take_events();
  const bool send_full = k.send.tail - k.send.head >= k.send.memory.size / 2;
  std::uint32_t what = 0;
  if ((events & tcp::event_readable) != 0 || k.receive.tail != k.tcp->receive_tail()) {
    k.receive.tail = k.tcp->receive_tail();
    what |= event::readable;
  }
  if (k.send.head != k.tcp->send_acked()) {
    k.send.head = std::min(k.tcp->send_acked(), k.send.tail);
    what |= event::writable;
  }
  if (notsent_low_water(s, k) != 0 && std::exchange(k.told.make().sent_shown, k.tcp->sent_position()) != k.tcp->sent_position())
    what |= event::writable;
  if ((events & tcp::event_connected) != 0) what |= event::connected;
  if ((events & tcp::event_peer_fin) != 0) what |= event::peer_fin;
  if ((events & tcp::event_urgent) != 0) what |= event::urgent;
  if ((events & tcp::event_send_shut) != 0) what |= event::send_done;
  Errno error = Errno::ok;
  if ((events & tcp::event_failed) != 0) {
    what |= event::failed;
    error = errno_of(k.tcp->failure());
  }
  ask_for_space(s, k, send_full);
  if (k.fast_open_parent && k.tcp->state() != tcp::State::syn_received) leave_fast_open_queue(k);
  if (what != 0) raise(s, k, what, error);
  if (sent == Sent::all) {
    // One that signs stays a connection in TIME-WAIT: it needs its keys.
    if (k.tcp->state() == tcp::State::time_wait && signature_len(*k.options, k.remote.address) == 0) {
      if (k.in_flows) leave_time_wait(s, k);
      return end_connection(s, k);
    }
    if (k.tcp->state() == tcp::State::closed) return end_connection(s, k);
    return s.wheel.schedule(k, k.tcp->next_deadline());
  }
  // Its timer has to wait, too: it would expire once more for what has not left yet.
  s.wheel.cancel(k);
  if (k.waits_for_turn) return;
  k.waits_for_turn = true;
  if (sent == Sent::some) s.waiting_output.push_back(k.id);
  else s.without_output.push_back(k.id);
}

}  // namespace

std::size_t room_for_output(const ShardState& s) {
  std::size_t longest = 0, shortest = kTransmitQueueMax;
  for (const auto& one : s.network->interfaces.all()) {
    if (one->is_loopback() || !one->is_up()) continue;
    const std::size_t waiting = one->index < s.transmit.size() ? s.transmit[one->index].burst.size() : 0;
    longest = std::max(longest, waiting);
    shortest = std::min(shortest, waiting);
  }
  // A device that takes nothing holds up its own connections, not those of another.
  return std::max(kFramesOfTurn - std::min(longest, kFramesOfTurn), shortest < kFramesOfTurn ? kFramesLeast : 0);
}

void make_room_for_output(ShardState& s) {
  s.frames_left = room_for_output(s);
  if (s.waiting_output.empty() && s.without_output.empty()) return;
  s.waiting_output.insert(s.waiting_output.begin(), s.without_output.begin(), s.without_output.end());
  s.without_output.clear();
  const std::vector<SocketId> later = std::exchange(s.dirty, {});
  for (std::size_t n = s.frames_left; n > 0 && !s.waiting_output.empty();) {
    Socket* k = s.find(s.waiting_output.front());
    s.waiting_output.pop_front();
    if (k == nullptr) continue;
    k->waits_for_turn = false;
    k->dirty = true;  // it may be in `later` as well, where pump_dirty() passes it by
    s.dirty.push_back(k->id);
    --n;
  }
  s.dirty.insert(s.dirty.end(), later.begin(), later.end());
}

bool pump_dirty(ShardState& s) {
  if (s.dirty.empty()) return false;
  std::vector<SocketId> batch;
  batch.swap(s.dirty);
  for (const SocketId id : batch) {
    Socket* k = s.find(id);
    if (k == nullptr || !k->dirty) continue;
    k->dirty = false;
    pump(s, *k);
  }
  return true;
}

void abort_tcp(ShardState& s, Socket& k, tcp::Failure why) {
  if (!k.tcp) return;
  k.tcp->abort(s.now, why);
  mark_dirty(s, k);
}

Errno errno_of(tcp::Failure failure) {
  switch (failure) {
    case tcp::Failure::none: return Errno::ok;
    case tcp::Failure::reset: return Errno::connreset;
    case tcp::Failure::reset_after_fin: return Errno::pipe;
    case tcp::Failure::refused: return Errno::connrefused;
    case tcp::Failure::timed_out: return Errno::timedout;
    case tcp::Failure::host_unreachable: return Errno::hostunreach;
    case tcp::Failure::network_unreachable: return Errno::netunreach;
    case tcp::Failure::protocol_unreachable: return Errno::noprotoopt;
    case tcp::Failure::admin_prohibited: return Errno::hostunreach;
    case tcp::Failure::aborted: return Errno::connaborted;
  }
  return Errno::connreset;
}

}  // namespace iopkt::stack
