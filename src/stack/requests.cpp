// What clients ask of sockets: the requests' way in. Every answer is an errno that the host's calls would give.
#include <algorithm>

#include "socket/numbers.hpp"
#include "stack/ways.hpp"
#include "tcp/isn.hpp"

namespace iopkt::stack {
namespace {

using socket::SocketKind;
namespace num = socket::num;

constexpr std::uint16_t kFirstUnprivilegedPort = 1024;

bool is_local_or_any(const ShardState& s, const wire::IpAddress& address) {
  if (address.is_unspecified() || address.is_multicast()) return true;
  if (s.network->interfaces.find_local(address) != nullptr) return true;
  return address.is_v4() && s.network->interfaces.is_any_broadcast(address.v4());
}

/// IP_FREEBIND binds to what is not ours (yet), but nothing leaves from there over IPv4; only a raw socket's own header may say so.
bool is_anothers(const ShardState& s, const Socket& k) {
  return k.local.address.is_v4() && k.options->header_included == 0 && !is_local_or_any(s, k.local.address);
}

wire::IpAddress any_of(wire::IpFamily family) {
  return family == wire::IpFamily::v6 ? wire::IpAddress{wire::Ipv6Address::any()} : wire::IpAddress{wire::Ipv4Address::any()};
}

/// Whether a socket of AF_INET6 may have to do with IPv4 (RFC 3493 section 3.7); one of AF_INET has to do with nothing else.
bool speaks(const Socket& k, wire::IpFamily family) {
  if (k.family == wire::IpFamily::v4) return family == wire::IpFamily::v4;
  return family == wire::IpFamily::v6 || (k.options->v6_only == 0 && k.kind != SocketKind::raw);
}

/// An address of a link (RFC 4007) with its zone: the one it was given, or the interface that the socket is bound to or sends to
/// groups by. Errors: inval: there is none, or the socket is bound to another.
socket::Result<wire::Endpoint> in_zone(const Socket& k, wire::Endpoint endpoint) {
  if (!endpoint.address.has_zone()) return endpoint;
  std::uint32_t zone = endpoint.address.zone();
  if (zone == 0) zone = k.bound_interface;
  if (zone == 0 && endpoint.address.is_multicast()) zone = static_cast<std::uint32_t>(k.options->multicast_interface6);
  if (zone == 0 || (k.bound_interface != 0 && zone != k.bound_interface)) return unexpected(Errno::inval);
  endpoint.address = endpoint.address.with_zone(zone);
  return endpoint;
}

/// For disconnect(), which connections do not know. `port`: the program chose it.
void remember_bound(Socket& k, bool port) {
  if (k.kind == SocketKind::tcp) return;
  if (port) k.seldom.make().port_chosen = true;
  if (k.local.address != any_of(k.family)) k.seldom.make().bound_address = k.local.address;
}

/// Claims a port for a socket that has none. `suits` narrows the choice among ephemeral ports; `remote`: see BindRequest.
Errno claim_port(ShardState& s, Socket& k, const wire::Endpoint& local, const std::function<bool(wire::Port)>& suits,
                 const wire::Endpoint& remote = {}) {
  const ipv4::Ipv4Tunables& ip = s.settings.ipv4;
  const socket::BindRequest claim{.address = local.address,
                                  .port = local.port,
                                  .reuse_address = k.options->reuse_address,
                                  .reuse_port = k.options->reuse_port,
                                  .v6_only = k.options->v6_only,
                                  .fib = k.fib,
                                  .user = k.user,
                                  .remote = remote};
  const socket::EphemeralPorts ephemeral{static_cast<std::uint16_t>(ip.anonportmin), static_cast<std::uint16_t>(ip.anonportmax)};
  auto binding = ports_of(s, k).bind(claim, s.random, ephemeral, suits);
  if (!binding) return binding.error();
  k.binding = std::move(*binding);
  k.local = {local.address, k.binding->port()};
  k.state = SocketState::bound;
  return Errno::ok;
}

/// What a first datagram does for a socket without a port.
Errno port_for_sending(ShardState& s, Socket& k) {
  if (!is_udp(k.kind) || k.binding) return Errno::ok;
  const auto suits = [&](wire::Port port) { return s.stack.shard_of_port(port) == s.number; };
  const Errno claimed = claim_port(s, k, k.local, suits);
  if (claimed == Errno::ok) register_port(s, k);
  return claimed;
}

/// The way of connections and datagrams to `to`, from the first station on.
Outgoing way_to(const Socket& k, const wire::Endpoint& to) {
  Outgoing how = way_of({k.local, to}, &*k.options);
  how.fib = k.fib;
  how.interface_index = k.bound_interface;
  how.dont_route = k.options->dont_route != 0;
  return how;
}

/// Where what goes out like that comes from. Errors: of find_path(), choose_source() and may_leave().
socket::Result<wire::IpAddress> source_for(const ShardState& s, const Socket& k, const Outgoing& how) {
  const auto path = find_path(s, how);
  if (!path) return unexpected(path.error());
  if (is_anothers(s, k)) return unexpected(Errno::netunreach);
  if (k.local.address.is_unspecified())
    return choose_source(s, how.towards(), how.fib, how.interface_index, socket::prefers_temporary(*k.options));
  if (!may_leave(k.local.address, *path)) return unexpected(Errno::inval);
  return k.local.address;
}

Errno connect_datagram(ShardState& s, Socket& k, const wire::Endpoint& remote) {
  const auto meant = destination_of(k, remote);
  if (!meant) return meant.error();
  const wire::Endpoint to = *meant;
  const Outgoing way = way_to(k, to);
  const auto source = source_for(s, k, way);
  if (!source) return source.error();
  if (is_broadcast(s, way) && k.options->broadcast == 0) return Errno::acces;
  k.local.address = *source;
  if (is_udp(k.kind)) {
    unregister_port(s, k);
    if (!k.binding) {
      const auto suits = [&](wire::Port port) { return s.stack.shard_of_port(port) == s.number; };
      const Errno claimed = claim_port(s, k, k.local, suits);
      if (claimed != Errno::ok) return claimed == Errno::addrinuse ? Errno::again : claimed;
    }
  }
  k.remote = to;
  k.state = SocketState::open;
  if (is_udp(k.kind)) register_port(s, k);
  else register_raw(s, k);
  return Errno::ok;
}

/// RFC 6191: whether connect() may take the endpoints of an own TIME-WAIT. Timestamps then keep old segments out on both sides.
bool may_follow(const ShardState& s, TimeWaitTable::Place old) {
  return old == TimeWaitTable::kNone || tcp::may_reconnect(s.time_waits.wait(old, s.now), s.now, 2 * tcp::ms(s.settings.tcp.msl_ms));
}

Errno connect_tcp(ShardState& s, Socket& k, const wire::Endpoint& remote, bool fast_open, bool data_follows) {
  if (k.state == SocketState::listening) return Errno::isconn;
  if (k.state == SocketState::open) return k.tcp && k.tcp->state() == tcp::State::syn_sent ? Errno::already : Errno::isconn;
  if (k.state == SocketState::failed) return Errno::inval;
  const auto meant = destination_of(k, remote);
  if (!meant) return meant.error();
  const wire::Endpoint to = *meant;
  const Outgoing way = way_to(k, to);
  if (to.address.is_multicast() || way.towards().is_multicast() || is_broadcast(s, way)) return Errno::netunreach;
  if (to.port.value == 0) return Errno::connrefused;
  const auto source = source_for(s, k, way);
  if (!source) return source.error();
  wire::Endpoint local{*source, k.local.port};
  if (!k.binding) {
    // A port for which the flow hashes to this shard and is not in use.
    const auto suits = [&](wire::Port port) {
      const FlowKey flow{{local.address, port}, to};
      return s.stack.shard_of_flow(flow_hash(s.key(), flow.local, flow.remote)) == s.number && !s.flows.contains(flow) &&
             may_follow(s, s.time_waits.find(flow));
    };
    const Errno claimed = claim_port(s, k, local, suits, to);
    if (claimed != Errno::ok) return claimed == Errno::addrinuse ? Errno::addrnotavail : claimed;
  }
  local.port = k.binding->port();
  const FlowKey flow{local, to};
  const std::uint32_t hash = flow_hash(s.key(), flow.local, flow.remote);
  const TimeWaitTable::Place old = s.time_waits.find(flow);
  if (!may_follow(s, old)) return Errno::addrnotavail;
  const auto entry = s.flows.try_emplace(flow, &k);
  if (entry.value == nullptr) return Errno::nobufs;
  if (!entry.is_new) return Errno::addrnotavail;
  wire::SeqNum iss = tcp::initial_sequence_number(s.key(), flow.local, flow.remote, s.now);
  if (old != TimeWaitTable::kNone) {
    const wire::SeqNum floor = tcp::next_iss(s.time_waits.wait(old, s.now));
    if (iss < floor) iss = floor;
    forget_foreign_flow(s, flow, s.time_waits.foreign_shard(old));
    s.time_waits.remove(old);
  }
  k.local = local;
  k.remote = to;
  k.in_flows = true;
  k.state = SocketState::open;
  if (const std::uint32_t home = s.stack.shard_of_flow(hash); home != s.number) {
    k.foreign_flow_shard = static_cast<std::uint8_t>(home);
    send_to(s, home, message::FlowAdd{flow, s.number});
  }
  tcp::OpenConfig config = open_config(s, flow, k.fib, *k.options, k.receive.memory.size);
  // A signature leaves no room for a cookie.
  if ((fast_open || k.options->fastopen_connect != 0) && !k.options->keys) prepare_fast_open(s, flow, config);
  config.hold_syn = config.hold_syn && data_follows;
  k.tcp = std::make_unique<tcp::Connection>(tcp::Connection::open_active(s.tcp_context, config, iss, s.now));
  k.tcp->set_send_tail(k.send.tail);
  if (k.shut_write) k.tcp->shutdown_write();
  mark_dirty(s, k);
  return config.hold_syn ? Errno::ok : Errno::inprogress;
}

}  // namespace

socket::Result<wire::Endpoint> destination_of(const Socket& k, wire::Endpoint to) {
  if (to.address.is_unspecified()) {
    const bool v4 = to.address.is_v4() || k.local.address.is_v4();
    to.address = v4 ? wire::IpAddress{wire::Ipv4Address::loopback()} : wire::IpAddress{wire::Ipv6Address::loopback()};
  }
  if (!speaks(k, to.address.family())) return unexpected(Errno::netunreach);
  // Bound to IPv4, be it 0.0.0.0, it has its port in that family alone: somebody else may have it in the other.
  if (k.local.address.is_v4() && to.address.is_v6()) return unexpected(Errno::afnosupport);
  if (!k.local.address.is_unspecified() && k.local.address.family() != to.address.family()) return unexpected(Errno::netunreach);
  return in_zone(k, to);
}

socket::Result<SocketId> Shard::open(const OpenRequest& request) {
  ShardState& s = *state_;
  const bool v6 = request.family == wire::IpFamily::v6;
  if (v6 && s.stack.config().inet6 == nullptr) return unexpected(Errno::afnosupport);
  SocketKind kind{};
  int protocol = request.protocol;
  switch (request.type) {
    case num::kStream:
      if (protocol != 0 && protocol != static_cast<int>(wire::IpProtocol::tcp)) return unexpected(Errno::protonosupport);
      kind = SocketKind::tcp, protocol = static_cast<int>(wire::IpProtocol::tcp);
      break;
    case num::kDgram:
      // ICMP "ping" sockets are the host's speciality: refused as on a host whose ping_group_range is empty.
      if (protocol == static_cast<int>(v6 ? wire::IpProtocol::icmpv6 : wire::IpProtocol::icmp)) return unexpected(Errno::acces);
      if (protocol == static_cast<int>(wire::IpProtocol::udplite)) {
        kind = SocketKind::udplite;
        break;
      }
      if (protocol != 0 && protocol != static_cast<int>(wire::IpProtocol::udp)) return unexpected(Errno::protonosupport);
      kind = SocketKind::udp, protocol = static_cast<int>(wire::IpProtocol::udp);
      break;
    case num::kRaw:
      if (!request.privileged) return unexpected(Errno::perm);
      if (protocol <= 0 || protocol > 255) return unexpected(protocol == 0 ? Errno::protonosupport : Errno::inval);
      kind = SocketKind::raw;
      break;
    default:
      return unexpected(Errno::socktnosupport);
  }
  Socket* k = make_socket(s);
  if (k == nullptr) return unexpected(Errno::nfile);
  k->cookie = request.cookie;
  k->kind = kind;
  k->family = request.family;
  k->local.address = k->remote.address = any_of(request.family);
  k->protocol = static_cast<std::uint8_t>(protocol);
  k->user = request.user;
  k->fib = request.fib;
  if (request.fib != 0) k->options.change([&](socket::SocketOptions& o) { o.fib = request.fib; });
  k->send.memory = request.send;
  k->receive.memory = request.receive;
  if (kind == SocketKind::raw) {
    if (protocol == 255) k->options.change([](socket::SocketOptions& o) { o.header_included = true; });
    // RFC 3542 section 3.1: always there for ICMPv6.
    if (v6 && protocol == static_cast<int>(wire::IpProtocol::icmpv6)) k->options.change([](socket::SocketOptions& o) { o.checksum_offset6 = 2; });
    register_raw(s, *k);
  }
  return k->id;
}

Errno Shard::set_rings(SocketId id, socket::RingMemory send, socket::RingMemory receive) {
  Socket* k = state_->find(id);
  if (k == nullptr) return Errno::badf;
  if (k->tcp) return Errno::isconn;
  k->send.memory = send;
  k->receive.memory = receive;
  return Errno::ok;
}

Errno Shard::move_send_ring(SocketId id, socket::RingMemory memory) {
  Socket* k = state_->find(id);
  if (k == nullptr) return Errno::badf;
  if (k->send.tail - k->send.head > memory.size) return Errno::inval;
  k->send.memory = memory;
  if (k->told) k->told->wanted.send = 0;
  return Errno::ok;
}

Errno Shard::move_receive_ring(SocketId id, socket::RingMemory memory) {
  Socket* k = state_->find(id);
  if (k == nullptr || !k->tcp) return Errno::badf;
  const socket::RingMemory old = k->receive.memory;
  if (memory.size < old.size) return Errno::inval;
  k->tcp->for_each_beyond([&](std::uint64_t position, std::uint32_t length) {
    const auto from = old.at(position, length);
    memory.write(position, from.first);
    if (!from.second.empty()) memory.write(position + from.first.size(), from.second);
  });
  k->receive.memory = memory;
  if (k->told) k->told->wanted.receive = 0;
  k->tcp->set_receive_capacity(offered_capacity(*k->options, memory.size));
  mark_dirty(*state_, *k);
  return Errno::ok;
}

RingSizes Shard::wanted_rings(SocketId id) const {
  const Socket* k = state_->find(id);
  return k == nullptr || !k->told ? RingSizes{} : k->told->wanted;
}

Errno Shard::bind(SocketId id, const wire::Endpoint& wanted, bool privileged) {
  ShardState& s = *state_;
  Socket* k = s.find(id);
  if (k == nullptr) return Errno::badf;
  // In the host's order: what is wrong with the address goes before what is wrong with the socket.
  const bool again = k->binding || k->state != SocketState::fresh;
  if (!speaks(*k, wanted.address.family())) return k->kind == SocketKind::raw ? Errno::addrnotavail : Errno::inval;
  const auto zoned = in_zone(*k, wanted);
  if (!zoned) return zoned.error();
  const wire::Endpoint local = *zoned;
  if (!is_local_or_any(s, local.address) && k->options->free_bind == 0) return Errno::addrnotavail;
  if (k->kind == SocketKind::tcp && local.address.is_multicast()) return local.address.is_v4() ? Errno::addrnotavail : Errno::inval;
  if (k->kind == SocketKind::raw) {
    if (again) return Errno::inval;
    k->local.address = local.address;
    remember_bound(*k, false);
    register_raw(s, *k);
    return Errno::ok;
  }
  if (local.port.value != 0 && local.port.value < kFirstUnprivilegedPort && !privileged) return Errno::acces;
  if (again) return Errno::inval;
  const bool chosen = local.port.value != 0;
  if (!chosen && k->options->bind_no_port != 0) {
    // ip(7), IP_BIND_ADDRESS_NO_PORT: connect() or the first datagram chooses the port, knowing the other end.
    k->local.address = local.address;
    remember_bound(*k, false);
    return Errno::ok;
  }
  std::function<bool(wire::Port)> suits;
  if (is_udp(k->kind)) suits = [&](wire::Port port) { return s.stack.shard_of_port(port) == s.number; };
  const Errno claimed = claim_port(s, *k, local, suits);
  if (claimed != Errno::ok) return claimed;
  remember_bound(*k, chosen);
  if (is_udp(k->kind)) register_port(s, *k);
  return Errno::ok;
}

Errno Shard::choose_port(SocketId id) {
  Socket* k = state_->find(id);
  return k == nullptr ? Errno::badf : port_for_sending(*state_, *k);
}

Errno Shard::connect(SocketId id, const wire::Endpoint& remote, bool fast_open, bool data_follows) {
  ShardState& s = *state_;
  Socket* k = s.find(id);
  if (k == nullptr) return Errno::badf;
  if (fast_open && s.settings.tcp.fastopen_client == 0) return Errno::opnotsupp;
  return k->kind == SocketKind::tcp ? connect_tcp(s, *k, remote, fast_open, data_follows) : connect_datagram(s, *k, remote);
}

Errno Shard::disconnect(SocketId id) {
  ShardState& s = *state_;
  Socket* k = s.find(id);
  if (k == nullptr) return Errno::badf;
  if (k->kind == SocketKind::tcp) {
    if (k->tcp) abort_tcp(s, *k, tcp::Failure::aborted);
    return Errno::ok;
  }
  if (is_udp(k->kind)) unregister_port(s, *k);
  k->remote = {any_of(k->family), {}};
  if (!k->seldom || !k->seldom->port_chosen) {
    k->binding.reset();
    const bool named = k->seldom && k->seldom->bound_address;
    k->local = {named ? *k->seldom->bound_address : any_of(k->family), {}};
    k->state = SocketState::fresh;
    return Errno::ok;
  }
  // The host keeps a port that the program chose, and gives the address back that bind() asked for.
  k->local.address = k->binding->claim().address;
  k->state = SocketState::bound;
  if (is_udp(k->kind)) register_port(s, *k);
  return Errno::ok;
}

Errno Shard::listen(SocketId id, std::uint32_t backlog) {
  ShardState& s = *state_;
  Socket* k = s.find(id);
  if (k == nullptr) return Errno::badf;
  if (k->kind != SocketKind::tcp) return Errno::opnotsupp;
  backlog = std::min(backlog, s.stack.config().somaxconn);
  if (k->state == SocketState::listening) {
    k->listener->backlog = backlog;
    return Errno::ok;
  }
  if (k->state != SocketState::fresh && k->state != SocketState::bound) return Errno::inval;
  if (!k->binding)
    if (const Errno claimed = claim_port(s, *k, k->local, {}); claimed != Errno::ok) return claimed;
  if (const Errno taken = s.stack.tcp_ports().start_listening(*k->binding); taken != Errno::ok) return taken;
  auto listener = make_counted<Listener>();
  listener->cookie = k->cookie;
  listener->shard = s.number;
  listener->id = k->id;
  listener->family = k->family;
  listener->v6_only = k->options->v6_only != 0;
  listener->local = k->local;
  listener->fib = k->fib;
  listener->bound_interface = k->bound_interface;
  listener->user = k->user;
  listener->binding = k->binding;
  listener->set_options(k->options);
  listener->backlog = backlog;
  k->listener = listener;
  k->state = SocketState::listening;
  s.listeners[k->local.port.value].push_back(listener);
  send_to_all_others(s, [&] { return message::ListenAdd{listener}; });
  return Errno::ok;
}

bool Shard::release_syn(SocketId id) {
  ShardState& s = *state_;
  Socket* k = s.find(id);
  if (k == nullptr || !k->tcp || !k->tcp->release_syn()) return false;
  mark_dirty(s, *k);
  return true;
}

Errno Shard::shutdown(SocketId id, int how) {
  ShardState& s = *state_;
  Socket* k = s.find(id);
  if (k == nullptr) return Errno::badf;
  if (how < num::kShutRead || how > num::kShutBoth) return Errno::inval;
  if (k->kind == SocketKind::tcp && k->state == SocketState::listening) {
    // The host ends listening on SHUT_RD.
    if (how == num::kShutWrite) return Errno::ok;
    stop_listening(s, *k);
    return Errno::ok;
  }
  if (k->kind == SocketKind::tcp && !k->tcp) return Errno::notconn;
  if (k->kind != SocketKind::tcp && k->remote.port.value == 0 && k->remote.address.is_unspecified()) return Errno::notconn;
  if (how != num::kShutWrite) k->shut_read = true;
  if (how != num::kShutRead && !k->shut_write) {
    k->shut_write = true;
    if (k->tcp) {
      k->tcp->shutdown_write();
      mark_dirty(s, *k);
    }
  }
  return Errno::ok;
}

void stop_listening(ShardState& s, Socket& k) {
  k.listener->closed = true;
  s.stack.tcp_ports().stop_listening(*k.binding);
  std::erase(s.listeners[k.local.port.value], k.listener);
  if (s.listeners[k.local.port.value].empty()) s.listeners.erase(k.local.port.value);
  send_to_all_others(s, [&] { return message::ListenRemove{k.listener}; });
  drop_waiting_children(s, k.listener);
  k.listener.reset();
  k.state = SocketState::bound;
}

void Shard::close(SocketId id) {
  ShardState& s = *state_;
  Socket* k = s.find(id);
  if (k == nullptr || k->client_gone) return;
  k->client_gone = true;
  accepted(id);  // one that never was does not wait any more either
  if (k->kind != SocketKind::tcp) {
    if (is_udp(k->kind)) unregister_port(s, *k);
    return destroy_socket(s, *k);
  }
  if (k->state == SocketState::listening) stop_listening(s, *k);
  if (!k->tcp) return destroy_socket(s, *k);
  const bool abort = k->options->linger_on != 0 && k->options->linger_seconds == 0;
  // What the window lets through counts as sent before a reset.
  if (abort || k->tcp->has_unread()) send_queued(s, *k);
  if (abort) k->tcp->abort(s.now);
  else k->tcp->close(s.now);
  mark_dirty(s, *k);
}

void Shard::accepted(SocketId child) {
  Socket* k = state_->find(child);
  if (k == nullptr || !k->accept_waiting) return;
  k->accept_waiting = false;
  --k->listener->waiting;
  k->listener.reset();
}

void Shard::offered(SocketId child) {
  if (Socket* k = state_->find(child); k != nullptr) k->offered = true;
}

bool Shard::progress(SocketId id, std::uint64_t send_tail, std::uint64_t receive_head) {
  ShardState& s = *state_;
  Socket* k = s.find(id);
  if (k == nullptr || k->kind != SocketKind::tcp) return true;
  if (!k->send.move_tail(send_tail) || !k->receive.move_head(receive_head)) {
    s.drop(packet::Drop::socket_broken);
    if (k->tcp) abort_tcp(s, *k, tcp::Failure::aborted);
    return false;
  }
  if (k->tcp) {
    k->tcp->set_send_tail(send_tail);
    k->tcp->set_receive_read(receive_head);
    mark_dirty(s, *k);
  }
  return true;
}

Errno Shard::check_destination(SocketId id, const wire::Endpoint& destination, std::size_t length, bool quiet,
                               std::uint32_t segment) {
  const Socket* k = state_->find(id);
  if (k == nullptr || k->kind == SocketKind::tcp) return Errno::badf;
  return k->shut_write ? Errno::pipe : check_path(*state_, *k, destination, length, quiet, segment);
}

Errno Shard::send(SocketId id, const DatagramRequest& request, Bytes first, Bytes second) {
  ShardState& s = *state_;
  Socket* k = s.find(id);
  if (k == nullptr) return Errno::badf;
  if (k->shut_write) return Errno::pipe;
  if (const Errno claimed = port_for_sending(s, *k); claimed != Errno::ok)
    return claimed == Errno::addrinuse ? Errno::again : claimed;
  switch (k->kind) {
    case SocketKind::udp: return send_udp(s, *k, request, first, second);
    case SocketKind::udplite: return send_udplite(s, *k, request, first, second);
    case SocketKind::raw: return send_raw(s, *k, request, first, second);
    case SocketKind::tcp: break;
  }
  return Errno::opnotsupp;
}

void Shard::mark_urgent(SocketId id, std::uint64_t position) {
  Socket* k = state_->find(id);
  if (k == nullptr || !k->tcp || position > k->send.tail) return;
  k->tcp->set_send_urgent(position);
  mark_dirty(*state_, *k);
}

void Shard::more_follows(SocketId id, std::uint64_t position) {
  Socket* k = state_->find(id);
  if (k != nullptr && k->tcp && position <= k->send.tail) k->tcp->set_send_more(position);
}

std::optional<UrgentMark> Shard::urgent_mark(SocketId id) const {
  const Socket* k = state_->find(id);
  const auto end = k == nullptr || !k->tcp ? std::nullopt : k->tcp->urgent_mark();
  if (!end) return std::nullopt;
  return UrgentMark{.end = *end, .here = k->tcp->urgent_byte_here(), .in_line = k->options->oob_inline};
}

}  // namespace iopkt::stack
