// UDP, UDP-Lite and raw sockets: who gets a datagram, and how one is sent. RFC 768, RFC 1122 section 4.1, RFC 3828; ip(7),
// raw(7), udp(7), udplite(7).
#include <algorithm>

#include "packet/segment.hpp"
#include "raw/match.hpp"
#include "socket/numbers.hpp"
#include "stack/ways.hpp"
#include "udp/input.hpp"
#include "udp/output.hpp"
#include "wire/checksum.hpp"
#include "wire/ipv6_extensions.hpp"
#include "wire/udp.hpp"

namespace iopkt::stack {

using packet::Drop;
using packet::PacketPtr;

// ---- the directory of a port, on the shard that the port hashes to

void register_port(ShardState& s, Socket& k) {
  const PortMember member{.kind = k.kind,
                          .shard = s.number,
                          .id = k.id,
                          .local = k.local,
                          .remote = k.remote,
                          .interface_index = k.bound_interface,
                          .fib = k.fib,
                          .reuse_port = k.options->reuse_port != 0,
                          .v6_only = k.options->v6_only != 0,
                          .multicast_all = k.options->multicast_all != 0,
                          .multicast_all6 = k.options->multicast_all6 != 0,
                          .least_coverage = k.options->receive_coverage,
                          .order = ++s.bind_order};
  const std::uint32_t home = s.stack.shard_of_port(k.local.port);
  if (home == s.number) s.udp_members[port_key(k.kind, k.local.port)].push_back(member);
  else send_to(s, home, message::PortAdd{member});
}

void unregister_port(ShardState& s, Socket& k) {
  if (!k.binding) return;
  const std::uint32_t home = s.stack.shard_of_port(k.local.port);
  const message::PortRemove who{k.kind, s.number, k.id, k.local.port};
  if (home == s.number) return remove_member(s, who);
  send_to(s, home, Message{who});
}

void remove_member(ShardState& s, const message::PortRemove& who) {
  const auto found = s.udp_members.find(port_key(who.kind, who.port));
  if (found == s.udp_members.end()) return;
  std::erase_if(found->second, [&](const PortMember& m) { return m.shard == who.shard && m.id == who.id; });
  if (found->second.empty()) s.udp_members.erase(found);
}

void register_raw(ShardState& s, Socket& k) {
  RawMember member{.shard = s.number,
                         .id = k.id,
                         .protocol = k.protocol,
                         .local = k.local.address,
                         .remote = k.remote.address,
                         .interface_index = k.bound_interface,
                         .family = k.family,
                         .checksum_offset = k.options->checksum_offset6,
                         .icmp_filter = k.options->icmp6_filter,
                         .multicast_all = (k.family == wire::IpFamily::v4 ? k.options->multicast_all : k.options->multicast_all6) != 0};
  if (k.family == wire::IpFamily::v4) member.icmp_filter[0] = static_cast<std::uint32_t>(k.options->icmp_filter);
  add_raw(s, member);
  send_to_all_others(s, [&] { return message::RawAdd{member}; });
}

void add_raw(ShardState& s, const RawMember& member) {
  remove_raw(s, member.shard, member.id);
  s.raw_members.push_back(member);
}

void remove_raw(ShardState& s, std::uint32_t shard, SocketId id) {
  std::erase_if(s.raw_members, [&](const RawMember& m) { return m.shard == shard && m.id == id; });
}

// ---- in

namespace {

/// UDP_GRO, as the host: datagrams of one flow that come one after the other and are as long as the first; a shorter one is the last.
bool joins_last(ShardState& s, Datagram& next) {
  constexpr std::uint32_t kDatagramsMax = 64;
  if (s.datagrams.empty()) return false;
  Datagram& last = s.datagrams.back();
  if (last.id != next.id || last.error || last.path_mtu != 0 || last.source != next.source || last.destination != next.destination ||
      last.interface_index != next.interface_index || last.ttl != next.ttl || last.tos != next.tos || last.flow_info != next.flow_info ||
      last.extras_kind != next.extras_kind || last.extras != next.extras)
    return false;
  const std::uint32_t each = last.segment_size != 0 ? last.segment_size : last.payload->size();
  const std::uint32_t size = next.payload->size(), before = last.payload->size();
  if (size == 0 || size > each || before % each != 0 || before / each >= kDatagramsMax || before + size > udp::kMaxPayloadV4) return false;
  if (!last.payload->absorb(std::move(next.payload))) {
    s.drop(Drop::no_buffer);
    return true;
  }
  last.segment_size = static_cast<std::uint16_t>(each);
  return true;
}

}  // namespace

void deliver(ShardState& s, std::uint32_t shard, Datagram&& datagram) {
  if (shard != s.number) {
    if (!datagram.payload->own()) return s.drop(Drop::no_buffer);
    return send_to(s, shard, message::Deliver{std::move(datagram)});
  }
  if (datagram.error) return deliver_error(s, std::move(datagram));
  Socket* k = s.find(datagram.id);
  if (k == nullptr || k->client_gone || k->shut_read) return s.drop(Drop::udp_no_socket);
  datagram.cookie = k->cookie;
  if (k->options->coalesce != 0 && k->kind == socket::SocketKind::udp && joins_last(s, datagram)) return;
  s.datagrams.push_back(std::move(datagram));
}

namespace {

/// -1: not for this socket; otherwise how closely it fits what went from `src` to `dst` by that interface.
int score(const PortMember& m, const wire::Endpoint& src, const wire::IpAddress& dst, std::uint32_t interface_index) {
  int points = 0;
  if (m.interface_index != 0) {
    if (m.interface_index != interface_index) return -1;
    points += 2;
  }
  if (!socket::takes(m.local.address, m.v6_only, dst)) return -1;
  points += socket::closeness(m.local.address, dst);
  if (m.remote.port.value != 0) {
    if (m.remote != src) return -1;
    points += 8;
  }
  return points;
}

/// RFC 3828 section 3.1: a receiver may refuse what is covered less than it asks for; 0 asks for everything.
bool covered_enough(const PortMember& m, const udp::UdpIn& in) {
  if (!in.partial || m.least_coverage < 0) return true;
  return m.least_coverage != 0 && in.coverage >= static_cast<std::uint32_t>(m.least_coverage);
}

Datagram make_datagram(const Arrival& at, SocketId id, const wire::Endpoint& source, PacketPtr payload) {
  Datagram d;
  d.id = id;
  d.source = source;
  d.destination = at.ip.dst;
  d.interface_index = at.in->index;
  d.ttl = at.ip.ttl;
  d.tos = at.ip.tos;
  if (at.ip.dst.is_v6()) {
    const Bytes header = at.ip.bytes.span(), extras = header.subspan(wire::Ipv6View::kHeaderLen);
    d.flow_info = load_be32(header, 0) & 0x0fffffff;
    d.extras_kind = load_u8(header, wire::Ipv6View::At::next_header);
    d.extras.assign(extras.begin(), extras.end());
  }
  d.broadcast = at.broadcast;
  d.multicast = at.multicast;
  if (at.ip.dst.is_v4() && at.ip.bytes.size() > wire::Ipv4View::kMinHeaderLen) {
    const Bytes options = at.ip.bytes.span().subspan(wire::Ipv4View::kMinHeaderLen);
    d.extras.assign(options.begin(), options.end());
  }
  d.time_ns = (payload->flags & IOPKT_TIME_VALID) != 0 ? payload->time_ns : 0;
  d.payload = std::move(payload);
  return d;
}

void copy_to(ShardState& s, const Arrival& at, const PortMember& m, const udp::UdpIn& in, const packet::Packet& payload) {
  PacketPtr copy = payload.clone(s.cache);
  if (!copy) return s.drop(Drop::no_buffer);
  deliver(s, m.shard, make_datagram(at, m.id, in.src, std::move(copy)));
}

}  // namespace

const PortMember* find_member(const ShardState& s, socket::SocketKind kind, const wire::Endpoint& local, const wire::Endpoint& remote,
                              std::uint32_t interface_index) {
  const auto found = s.udp_members.find(port_key(kind, local.port));
  if (found == s.udp_members.end()) return nullptr;
  const PortMember* best = nullptr;
  int best_score = -1;
  for (const PortMember& m : found->second) {
    const int points = score(m, remote, local.address, interface_index);
    if (points < 0 || points < best_score || (points == best_score && m.order < best->order)) continue;
    best = &m, best_score = points;
  }
  return best;
}

std::uint64_t shards_of_members(const ShardState& s, socket::SocketKind kind, const wire::Endpoint& local, const wire::Endpoint& remote,
                                std::uint32_t interface_index) {
  std::uint64_t shards = 0;
  const auto found = s.udp_members.find(port_key(kind, local.port));
  if (found == s.udp_members.end()) return shards;
  for (const PortMember& m : found->second)
    if (score(m, remote, local.address, interface_index) >= 0) shards |= std::uint64_t{1} << m.shard;
  return shards;
}

void rx_udp(ShardState& s, const Arrival& at, PacketPtr packet) {
  const bool lite = at.ip.protocol == wire::IpProtocol::udplite;
  const auto in = lite ? udp::lite_input(at.ip.src, at.ip.dst, *packet, s.settings.udp, s.counters.udp)
                       : udp::input(at.ip.src, at.ip.dst, *packet, s.settings.udp, s.counters.udp);
  if (!in) return s.drop(in.error());
  const auto kind = lite ? socket::SocketKind::udplite : socket::SocketKind::udp;
  const auto found = s.udp_members.find(port_key(kind, in->dst.port));
  const bool to_many = at.broadcast || at.multicast;
  std::vector<const PortMember*> best;
  int best_score = -1;
  if (found != s.udp_members.end()) {
    for (const PortMember& m : found->second) {
      const int points = score(m, in->src, in->dst.address, at.in->index);
      if (points < 0 || !covered_enough(m, *in)) continue;
      const bool any = at.ip.dst.is_v4() ? m.multicast_all : m.multicast_all6;
      if (at.multicast && !socket_hears_group(s, m.shard, m.id, any, at.in->index, in->dst.address, in->src.address)) continue;
      if (points > best_score && !to_many) best.clear();
      if (points >= best_score || to_many) best.push_back(&m);
      best_score = std::max(best_score, points);
    }
  }
  if (best.empty()) {
    s.drop(to_many ? Drop::ip_broadcast_refused : Drop::udp_no_socket);
    return send_port_unreachable(s, at, *packet);
  }
  packet->trim_front(wire::UdpView::kHeaderLen);
  const bool shared = best.size() > 1 && std::all_of(best.begin(), best.end(), [](const PortMember* m) { return m->reuse_port; });
  const PortMember* last = best.back();
  if (to_many || (shared && s.stack.config().reuseport_unicast)) {
    for (const PortMember* m : best)
      if (m != last) copy_to(s, at, *m, *in, *packet);
  } else if (shared) {
    last = best[flow_hash(s.key(), in->src, in->dst) / 2 % best.size()];
  } else {
    last = *std::max_element(best.begin(), best.end(), [](const auto* a, const auto* b) { return a->order < b->order; });
  }
  deliver(s, last->shard, make_datagram(at, last->id, in->src, std::move(packet)));
}

namespace {

/// RFC 3542 section 3.1: over the pseudo-header and all that stands behind the headers.
bool checksum_is_good(const Arrival& at, const packet::Packet& packet, std::uint32_t header_len) {
  if (packet.looped || packet.size() < header_len) return packet.looped;
  const std::uint32_t length = packet.size() - header_len;
  return wire::finish(wire::pseudo_header_sum(at.ip.src, at.ip.dst, at.ip.protocol, length) + packet.sum(header_len, length)) == 0;
}

}  // namespace

bool rx_raw(ShardState& s, const Arrival& at, const packet::Packet& packet) {
  if (s.raw_members.empty()) return false;
  bool taken = false;
  std::optional<std::uint8_t> icmp_type;
  const auto header_len = static_cast<std::uint32_t>(at.ip.bytes.size());
  const bool is_v6 = at.ip.dst.is_v6();
  if (at.ip.protocol == (is_v6 ? wire::IpProtocol::icmpv6 : wire::IpProtocol::icmp) && packet.size() > header_len) {
    std::array<std::byte, 1> type{};
    packet.copy_out(header_len, type);
    icmp_type = load_u8(type, 0);
    // RFC 3542 section 3.1: programs need not look at the checksum of ICMPv6 themselves.
    const std::uint32_t size = packet.size() - header_len;
    const std::uint32_t pseudo = is_v6 ? wire::pseudo_header_sum(at.ip.src, at.ip.dst, at.ip.protocol, size) : 0;
    if (is_v6 && wire::finish(wire::fold(pseudo + packet.sum(header_len, size))) != 0) return false;
  }
  for (const RawMember& m : s.raw_members) {
    if (m.family != at.ip.family()) continue;
    const raw::Bound bound{.protocol = m.protocol,
                           .local = m.local.is_unspecified() ? std::nullopt : std::optional{m.local},
                           .remote = m.remote.is_unspecified() ? std::nullopt : std::optional{m.remote},
                           .interface_index = m.interface_index,
                           .icmp_filter = m.icmp_filter};
    if (!raw::matches(bound, at.ip.protocol, at.ip.src, at.ip.dst, at.in->index, icmp_type)) continue;
    if (m.checksum_offset >= 0 && !checksum_is_good(at, packet, header_len)) continue;
    if (at.multicast && !socket_hears_group(s, m.shard, m.id, m.multicast_all, at.in->index, at.ip.dst, at.ip.src)) continue;
    taken = true;
    PacketPtr copy = packet.clone(s.cache);
    if (!copy) {
      s.drop(Drop::no_buffer);
      continue;
    }
    // RFC 3542 section 3: programs never see an IPv6 header.
    if (is_v6) copy->trim_front(header_len);
    deliver(s, m.shard, make_datagram(at, m.id, {at.ip.src, {}}, std::move(copy)));
  }
  return taken;
}

// ---- out

namespace {

/// Who a datagram may say it is from. Over IPv4 only one of us, however the socket came by the address and though it may have been
/// ours once; a raw socket's own header says what it likes. Over IPv6 IP_FREEBIND lets a program be somebody else. As on the host.
Errno check_source(const ShardState& s, const Socket& k, const DatagramRequest& request, const wire::IpAddress& source) {
  if (source.is_unspecified() || s.network->interfaces.find_local(source) != nullptr) return Errno::ok;
  if (source.is_v4()) return k.options->header_included != 0 ? Errno::ok : Errno::netunreach;
  return request.source && k.options->free_bind == 0 ? Errno::inval : Errno::ok;
}

socket::Result<Outgoing> outgoing(ShardState& s, const Socket& k, const DatagramRequest& request, wire::Endpoint to) {
  // RFC 3542 section 6.1: the interface of IPV6_PKTINFO, of this datagram or of the socket, says which link is meant.
  const auto usual = static_cast<std::uint32_t>(to.address.is_v6() && k.bound_interface == 0 ? k.options->packet_interface6 : 0);
  const std::uint32_t by = request.interface_index != 0 ? request.interface_index : usual;
  if (by > wire::IpAddress::kZoneMax) return unexpected(Errno::nodev);
  if (to.address.zone() == 0 && by != 0) to.address = to.address.with_zone(by);
  const auto meant = destination_of(k, to);
  if (!meant) return unexpected(meant.error());
  to = *meant;
  Outgoing how;
  how.destination = to.address;
  how.options = request.options && to.address.is_v4() ? &*request.options : ip_options_of(*k.options, to.address);
  // RFC 1112 section 4: no group at the end of a source route, nor on it.
  if (how.options != nullptr && to.address.is_multicast() && ipv4::has_source_route(*how.options)) return unexpected(Errno::inval);
  how.fib = k.fib;
  how.interface_index = by != 0 ? by : k.bound_interface;
  if (how.interface_index == 0) how.interface_index = to.address.zone();
  if (to.address.is_multicast() && how.interface_index == 0)
    how.interface_index = to.address.is_v4() ? k.options->multicast_interface : static_cast<std::uint32_t>(k.options->multicast_interface6);
  how.multicast_loop = (to.address.is_v4() ? k.options->multicast_loop : k.options->multicast_loop6) != 0;
  how.dont_route = request.dont_route || k.options->dont_route != 0;
  how.tos = request.tos.value_or(socket::traffic_class_of(*k.options, to.address));
  how.ttl = request.ttl.value_or(socket::hops_of(*k.options, to.address));
  how.stay_here = to.address.is_multicast() && how.ttl == 0;
  how.txq = static_cast<std::uint16_t>(k.options->txq_priority);
  how.dont_fragment = socket::dont_fragment(*k.options, to.address, request.dont_fragment);
  if (to.address.is_v6()) {
    how.flow_label = request.flow_label != 0 ? request.flow_label : k.options->flow_label6;
    if (!s.stack.flow_labels().may_send(k.leased_labels(), how.flow_label)) return unexpected(Errno::inval);
    // RFC 6437 section 3: what the application does not label its host does.
    if (how.flow_label == 0 && k.options->auto_flow_label != 0) how.flow_label = flow_hash(s.key(), k.local, to) & 0xfffff;
    how.largest = static_cast<std::uint32_t>(k.options->fragment_size6);
    if (!request.extensions.bytes.empty() && !wire::is_sendable(request.extensions.first, request.extensions.bytes)) return unexpected(Errno::inval);
    how.extend(request.extensions.bytes.empty() ? socket::extensions_of(*k.options, to.address) : request.extensions);
  }
  // Who writes headers himself looks after it himself.
  how.own_path_mtu = k.options->header_included != 0 || !socket::heeds_path_mtu(*k.options, to.address);
  how.source = request.source.value_or(k.local.address);
  if (how.source.zone() == 0) how.source = how.source.with_zone(to.address.zone() != 0 ? to.address.zone() : how.interface_index);
  if (how.source.is_unspecified()) how.source = {};
  else if (how.source.family() != to.address.family()) return unexpected(Errno::inval);
  if (how.source.is_multicast() || (how.source.is_v4() && s.network->interfaces.is_any_broadcast(how.source.v4())))
    how.source = {};
  if (how.source.is_unspecified() && to.address.is_multicast() && to.address.is_v4() && how.interface_index == k.options->multicast_interface)
    how.source = k.options->multicast_source;
  if (const Errno bad = check_source(s, k, request, how.source); bad != Errno::ok) return unexpected(bad);
  if (how.source.is_unspecified() || how.source.family() != how.destination.family()) {
    const auto source = choose_source(s, how.towards(), how.fib, how.interface_index, socket::prefers_temporary(*k.options));
    if (!source) return unexpected(source.error());
    how.source = *source;
  }
  if (k.options->broadcast == 0 && is_broadcast(s, how)) return unexpected(Errno::acces);
  return how;
}

/// What UDP and UDP-Lite check before they make a packet.
socket::Result<Outgoing> outgoing_udp(ShardState& s, const Socket& k, const DatagramRequest& request, const wire::Endpoint& to,
                                      std::size_t length) {
  if (!request.destination && k.remote.port.value == 0) return unexpected(Errno::destaddrreq);
  if (to.port.value == 0) return unexpected(Errno::inval);
  if (length > (to.address.is_v4() ? udp::kMaxPayloadV4 : udp::kMaxPayloadV6)) return unexpected(Errno::msgsize);
  auto how = outgoing(s, k, request, to);
  if (how) how->protocol = static_cast<wire::IpProtocol>(k.protocol);
  return how;
}

/// Copied: the client may reuse the record as soon as the call has answered. Null: no buffers (counted).
PacketPtr copy_payload(ShardState& s, Bytes first, Bytes second) {
  PacketPtr packet = packet::allocate_header(s.cache);
  if (packet && packet->append(first) && packet->append(second)) return packet;
  s.drop(Drop::no_buffer);
  return {};
}

Errno refused(ShardState& s, Drop why) {
  s.drop(why);
  return why == Drop::ip_too_big ? Errno::msgsize : Errno::nobufs;
}

}  // namespace

namespace {

/// UDP_SEGMENT, udp(7).
Errno check_segments(const Socket& k, std::uint32_t size, std::size_t length, std::uint32_t mtu, std::size_t headers) {
  constexpr std::size_t kSegmentsMax = 128;
  if (size == 0) return Errno::ok;
  if (size + headers > mtu) return Errno::msgsize;
  return length > size * kSegmentsMax || k.options->no_check != 0 ? Errno::inval : Errno::ok;
}

}  // namespace

namespace {

/// UDP_SEGMENT, each datagram by itself. Once one has left, all have: who asked again would send it twice.
Errno send_pieces(ShardState& s, Socket& k, DatagramRequest request, Bytes first, Bytes second) {
  const std::size_t each = std::exchange(request.segment_size, std::uint16_t{0});
  bool left = false;
  while (!first.empty() || !second.empty()) {
    const Bytes front = first.first(std::min(each, first.size())), rest = second.first(std::min(each - front.size(), second.size()));
    if (const Errno sent = send_udp(s, k, request, front, rest); sent != Errno::ok) return left ? Errno::ok : sent;
    left = true;
    first = first.subspan(front.size()), second = second.subspan(rest.size());
  }
  return Errno::ok;
}

}  // namespace

Errno check_path(ShardState& s, const Socket& k, const wire::Endpoint& destination, std::size_t length, bool quiet, std::uint32_t segment) {
  const DatagramRequest request{.destination = destination};
  const auto how = k.kind == socket::SocketKind::raw ? outgoing(s, k, request, destination) : outgoing_udp(s, k, request, destination, 0);
  if (!how) return how.error();
  const auto path = find_path(s, *how);
  if (!path) return path.error();
  if (!may_leave(how->source, *path)) return Errno::inval;
  const std::size_t network = how->network_len();
  const std::size_t headers = (k.options->header_included != 0 ? 0 : network) + (k.kind == socket::SocketKind::raw ? 0 : wire::UdpView::kHeaderLen);
  if (segment != 0) return check_segments(k, segment, length, path->mtu, headers);
  if ((!how->dont_fragment && k.options->header_included == 0) || length + headers <= path->mtu) return Errno::ok;
  if (quiet) return Errno::msgsize;
  const wire::Port port = k.kind == socket::SocketKind::raw ? wire::Port{} : destination.port;
  return too_big_for(s, k, request, {how->final_destination(), port}, path->mtu, how->extra_len());
}

Errno send_udp(ShardState& s, Socket& k, const DatagramRequest& request, Bytes first, Bytes second) {
  const wire::Endpoint to = request.destination.value_or(k.remote);
  const std::size_t length = first.size() + second.size();
  const auto how = outgoing_udp(s, k, request, to, length);
  if (!how) return how.error();
  const auto path = find_path(s, *how);
  if (!path) return path.error();
  const wire::Endpoint destination{how->final_destination(), to.port};
  const std::uint32_t headers = how->network_len() + wire::UdpView::kHeaderLen;
  const bool cut = request.segment_size != 0 && length > request.segment_size;
  if (const Errno refused_cut = check_segments(k, request.segment_size, length, path->mtu, headers); refused_cut != Errno::ok) return refused_cut;
  if (!cut && how->dont_fragment && length + headers > path->mtu) return too_big_for(s, k, request, destination, path->mtu, how->extra_len());
  note_long_datagram(s, k, *how, *path, headers + (cut ? request.segment_size : length));
  // No device cuts behind extension headers.
  if (cut && how->extra_len() != 0) return send_pieces(s, k, request, first, second);
  PacketPtr packet = copy_payload(s, first, second);
  if (!packet) return Errno::nobufs;
  // What will be fragmented has its checksum done here: no device sees the datagram whole.
  const bool whole = length + headers <= path->mtu || cut;
  // Over IPv6 there always is one (RFC 8200 section 8.1).
  const auto checksum = k.options->no_check != 0 && !cut && how->destination.is_v4() ? udp::Checksum::none
                        : whole                         ? udp::Checksum::later
                                                        : udp::Checksum::now;
  const wire::Endpoint source{how->source, k.local.port};
  if (const auto added = udp::add_header(*packet, source, destination, checksum, s.counters.udp, cut ? request.segment_size : 0); !added)
    return refused(s, added.error());
  if (cut && path->local) {
    // To ourselves: each datagram by itself, as a wire would bring them.
    return tx_local_segments(s, std::move(packet), *how);
  }
  return tx_ip(s, std::move(packet), *how);
}

Errno send_udplite(ShardState& s, Socket& k, const DatagramRequest& request, Bytes first, Bytes second) {
  const wire::Endpoint to = request.destination.value_or(k.remote);
  const auto how = outgoing_udp(s, k, request, to, first.size() + second.size());
  if (!how) return how.error();
  const auto path = find_path(s, *how);
  if (!path) return path.error();
  note_long_datagram(s, k, *how, *path, how->network_len() + wire::UdpView::kHeaderLen + first.size() + second.size());
  PacketPtr packet = copy_payload(s, first, second);
  if (!packet) return Errno::nobufs;
  const auto coverage = static_cast<std::uint32_t>(k.options->send_coverage);
  if (const auto added = udp::add_lite_header(*packet, {how->source, k.local.port}, {how->final_destination(), to.port}, coverage, s.counters.udp);
      !added)
    return refused(s, added.error());
  return tx_ip(s, std::move(packet), *how);
}

Errno tx_local_segments(ShardState& s, PacketPtr packet, const Outgoing& how) {
  const auto path = find_path(s, how.towards(), how.fib, 0, false);
  if (!path) return path.error();
  if (const auto added = put_ip_header(s, *packet, how, how.source, *path); !added)
    return s.drop(added.error()), Errno::nobufs;
  packet::Burst pieces;
  if (const auto done = packet::segment(*packet, 0, pieces); !done) return s.drop(done.error()), Errno::nobufs;
  for (PacketPtr& one : pieces) static_cast<void>(tx_packet(s, std::move(one), *path));
  return Errno::ok;
}

namespace {

/// IPV6_CHECKSUM: the field at `offset` of the packet that a program wrote. Errors: inval: it has no such place.
Errno fill_checksum(packet::Packet& packet, const Outgoing& how, std::uint32_t offset) {
  if (packet.size() < 2 || offset > packet.size() - 2) return Errno::inval;
  std::array<std::byte, 2> field{};
  packet.copy_in(offset, field);
  const std::uint32_t pseudo = wire::pseudo_header_sum(how.source, how.final_destination(), how.protocol, packet.size());
  std::uint16_t sum = wire::finish(pseudo + packet.sum(0, packet.size()));
  if (sum == 0 && how.protocol == wire::IpProtocol::udp) sum = 0xffff;
  store_be16(field, 0, sum);
  packet.copy_in(offset, field);
  return Errno::ok;
}

/// IPV6_HDRINCL: as the program wrote it; the host fills in nothing either. Errors: inval: no header, or a source that stays here.
Errno send_with_header(ShardState& s, PacketPtr packet, const Outgoing& how, const Path& path) {
  if (packet->size() < wire::Ipv6View::kHeaderLen) return Errno::inval;
  if (!packet->pull_up(wire::Ipv6View::kHeaderLen)) return s.drop(Drop::no_buffer), Errno::nobufs;
  const auto own = wire::Ipv6View::parse_header(packet->head());
  if (own && !may_leave(own->src(), path)) return s.drop(Drop::ip_loopback_source), Errno::inval;
  ++s.counters.ipv6.tx_packets;
  loop_if_many(s, *packet, how, path);
  return tx_packet(s, std::move(packet), path);
}

}  // namespace

Errno send_raw(ShardState& s, Socket& k, const DatagramRequest& request, Bytes first, Bytes second) {
  const bool connected = !k.remote.address.is_unspecified();
  if (!request.destination && !connected) return Errno::destaddrreq;
  const wire::Endpoint to = request.destination.value_or(k.remote);
  if (first.size() + second.size() > 65535) return Errno::msgsize;
  auto how = outgoing(s, k, request, to);
  if (!how) return how.error();
  how->protocol = static_cast<wire::IpProtocol>(k.protocol);
  const auto path = find_path(s, *how);
  if (!path) return path.error();
  // The host does not cut up what came with its header.
  const std::size_t on_wire = first.size() + second.size() + (k.options->header_included != 0 ? 0 : how->network_len());
  if ((how->dont_fragment || k.options->header_included != 0) && on_wire > path->mtu)
    return too_big_for(s, k, request, {how->final_destination(), {}}, path->mtu, how->extra_len());
  note_long_datagram(s, k, *how, *path, on_wire);
  PacketPtr packet = packet::allocate_header(s.cache);
  if (!packet || !packet->append(first) || !packet->append(second)) return s.drop(Drop::no_buffer), Errno::nobufs;
  // Of ICMPv6 it is filled in with the header, whoever sends.
  const bool fills = k.family == wire::IpFamily::v6 && k.options->header_included == 0 && how->protocol != wire::IpProtocol::icmpv6;
  if (fills && k.options->checksum_offset6 >= 0)
    if (const Errno bad = fill_checksum(*packet, *how, static_cast<std::uint32_t>(k.options->checksum_offset6)); bad != Errno::ok) return bad;
  if (k.options->header_included == 0) return tx_ip(s, std::move(packet), *how);
  if (how->destination.is_v6()) return send_with_header(s, std::move(packet), *how, *path);
  const auto header = raw::complete_header(*packet, how->source.v4(), s.identifiers, s.counters.ipv4);
  if (!header) {
    switch (header.error()) {
      case raw::HeaderError::too_big: return Errno::msgsize;
      case raw::HeaderError::no_buffer: return Errno::nobufs;
      default: return Errno::inval;
    }
  }
  const auto own = wire::Ipv4View::parse_header(packet->head());
  if (own && !may_leave(own->src(), *path)) return s.drop(Drop::ip_loopback_source), Errno::inval;
  loop_if_many(s, *packet, *how, *path);
  return tx_packet(s, std::move(packet), *path);
}

}  // namespace iopkt::stack
