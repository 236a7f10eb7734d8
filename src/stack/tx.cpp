// A packet's way out, from top to bottom: route, IP header, filter, neighbour, link header, device queue.
#include <algorithm>
#include <array>

#include "ipv4/output.hpp"
#include "link/arp.hpp"
#include "link/ethernet.hpp"
#include "packet/segment.hpp"
#include "route/source.hpp"
#include "stack/ways.hpp"
#include "wire/checksum.hpp"

namespace iopkt::stack {

using packet::Drop;
using packet::PacketPtr;

// ---- 1. where to

namespace {

/// A way over one of our links, with what its routers said about the MTU beyond.
Path path_over(const ShardState& s, std::uint8_t fib, const iface::Interface& out, const wire::IpAddress& destination,
               const wire::IpAddress& next_hop, std::uint32_t route_mtu = 0) {
  Path path{&out, next_hop, out.mtu_of(destination.family())};
  if (route_mtu != 0) path.mtu = std::min(path.mtu, route_mtu);
  path.link_mtu = path.mtu;
  if (const std::uint32_t known = known_path_mtu(s, destination, fib); known != 0) path.mtu = std::min(path.mtu, known);
  // To a group on the loopback interface: there is nobody else.
  path.local = out.is_loopback() && (destination.is_v6() || destination.is_multicast());
  return path;
}

}  // namespace

const iface::Interface* multicast_interface(const ShardState& s, const wire::IpAddress& group, std::uint8_t fib) {
  if (const route::Route* route = s.network->fibs[fib].lookup(group))
    if (const iface::Interface* out = s.interface(route->interface_index)) return out;
  for (const auto& one : s.network->interfaces.all())
    if (one->is(iface::flag::up | iface::flag::multicast) && !one->is_loopback()) return one.get();
  return nullptr;
}

namespace {

/// Where an address of link scope goes is said by its zone, by the socket, or (groups) by whatever is there.
socket::Result<Path> link_scope_path(const ShardState& s, const wire::IpAddress& destination, std::uint8_t fib, std::uint32_t bound) {
  if (destination.zone() != 0 && bound != 0 && destination.zone() != bound) return unexpected(Errno::inval);
  const std::uint32_t zone = destination.zone() != 0 ? destination.zone() : bound;
  const iface::Interface* out = zone != 0 ? s.interface(zone)
                                : destination.is_multicast() ? multicast_interface(s, destination, fib) : nullptr;
  // fe80::1 without a zone is nobody in particular.
  if (out == nullptr) return unexpected(zone != 0 ? Errno::nodev : destination.is_multicast() ? Errno::netunreach : Errno::inval);
  if (!out->is_up()) return unexpected(Errno::netdown);
  const wire::IpAddress there = destination.with_zone(out->index);
  return path_over(s, fib, *out, there, there);
}

}  // namespace

socket::Result<Path> find_path(const ShardState& s, const wire::IpAddress& destination, std::uint8_t fib,
                               std::uint32_t interface_index, bool dont_route) {
  const iface::InterfaceTable& interfaces = s.network->interfaces;
  if (destination.is_v6() && s.inet6 == nullptr) return unexpected(Errno::afnosupport);
  const wire::IpAddress zoned = destination.zone() == 0 ? destination.with_zone(interface_index) : destination;
  if (const iface::Interface* own = interfaces.find_local(zoned)) {
    // Our own address: never leaves, whatever the interface that has it.
    const iface::Interface* loopback = own->is_loopback() ? own : s.interface(kLoopbackIndex);
    if (loopback == nullptr || !loopback->is_up()) return unexpected(Errno::netdown);
    return Path{loopback, zoned, loopback->mtu, loopback->mtu, true};
  }
  // An anycast address of our own: nobody is nearer.
  if (zoned.is_v6() && is_anycast(s, zoned.zone(), zoned.v6(), false)) {
    const iface::Interface* loopback = s.interface(kLoopbackIndex);
    if (loopback == nullptr || !loopback->is_up()) return unexpected(Errno::netdown);
    return Path{loopback, zoned, loopback->mtu, loopback->mtu, true};
  }
  if (destination.has_zone()) return link_scope_path(s, destination, fib, interface_index);
  const iface::Interface* bound = interface_index == 0 ? nullptr : interfaces.by_index(interface_index);
  if (interface_index != 0 && bound == nullptr) return unexpected(Errno::nodev);
  const bool everywhere = destination.is_v4() && destination.v4().is_limited_broadcast();
  if (bound != nullptr && (everywhere || destination.is_multicast() || dont_route || bound->connected(destination) != nullptr)) {
    if (!bound->is_up()) return unexpected(Errno::netdown);
    return path_over(s, fib, *bound, destination, destination);
  }
  if (everywhere) {
    for (const auto& one : interfaces.all())
      if (one->is(iface::flag::up | iface::flag::broadcast)) return path_over(s, fib, *one, destination, destination);
    return unexpected(Errno::netunreach);
  }
  if (destination.is_v6() && destination.is_multicast()) {
    const iface::Interface* out = multicast_interface(s, destination, fib);
    if (out == nullptr) return unexpected(Errno::netunreach);
    return path_over(s, fib, *out, destination, destination);
  }
  const route::Route* route = s.network->fibs[fib].lookup_if(destination, [&](const route::Route& r) {
    return (r.flags & route::flag::up) != 0 && (bound == nullptr || r.interface_index == bound->index);
  });
  if (route == nullptr || (dont_route && route->gateway)) return unexpected(Errno::netunreach);
  if ((route->flags & (route::flag::reject | route::flag::blackhole)) != 0)
    return unexpected((route->flags & route::flag::reject) != 0 ? Errno::hostunreach : Errno::inval);
  const iface::Interface* out = interfaces.by_index(route->interface_index);
  if (out == nullptr || !out->is_up()) return unexpected(Errno::netdown);
  // The next hop is on that link: a gateway of link scope has its zone from there. RFC 3927 section 2.6.2: no router passes it on.
  const bool here = !route->gateway || (destination.is_v4() && destination.is_link_local());
  Path path = path_over(s, fib, *out, destination, (here ? destination : *route->gateway).with_zone(out->index), route->mtu);
  path.route = route;
  return path;
}

void Outgoing::extend(const wire::Ipv6Extensions& headers) {
  extensions = headers;
  const auto station = wire::first_segment(headers.first, headers.bytes);
  if (!station) return;
  extensions.last_segment = destination.v6();
  destination = {*station, destination.zone()};
}

bool is_broadcast(const ShardState& s, const Outgoing& how) {
  if (how.destination.is_v6()) return false;
  const iface::InterfaceTable& interfaces = s.network->interfaces;
  return interfaces.is_any_broadcast(how.destination.v4()) || interfaces.is_any_broadcast(how.towards().v4());
}

socket::Result<Path> find_path(const ShardState& s, const Outgoing& how) {
  auto path = find_path(s, how.towards(), how.fib, how.interface_index, how.dont_route);
  if (!path) return path;
  // Routers tell of packets by whom they are for.
  if (how.extensions.last_segment)
    if (const std::uint32_t known = known_path_mtu(s, how.final_destination(), how.fib); known != 0) path->mtu = std::min(path->mtu, known);
  if (how.answers)
    if (const std::uint32_t known = s.answer_mtus.find({how.destination, how.fib}, s.now); known != 0) path->mtu = std::min(path->mtu, known);
  if (how.own_path_mtu) path->mtu = path->link_mtu;
  if (how.largest != 0) path->mtu = std::min(path->mtu, how.largest);
  return path;
}

socket::Result<wire::IpAddress> choose_source(const ShardState& s, const wire::IpAddress& destination, std::uint8_t fib,
                                              std::uint32_t interface_index, std::optional<bool> prefer_temporary) {
  const wire::IpAddress zoned = destination.zone() == 0 ? destination.with_zone(interface_index) : destination;
  if (s.network->interfaces.find_local(zoned) != nullptr) return zoned;
  const auto path = find_path(s, destination, fib, interface_index, false);
  if (!path) return unexpected(path.error());
  const route::Route* route = s.network->fibs[fib].lookup(destination);
  route::Route direct{.prefix = wire::IpPrefix::host(destination), .gateway = std::nullopt,
                      .interface_index = path->out->index, .source = std::nullopt};
  // RFC 1122 section 3.2.1.3 (a): who has no address yet says so, to all on the link.
  if (destination.is_v4() && destination.v4().is_limited_broadcast() && std::ranges::none_of(path->out->addresses, [](const auto& a) {
        return a.address.is_v4() && a.is_usable();
      }))
    return wire::IpAddress{};
  const auto source = route::choose_source(s.network->interfaces,
                                           route != nullptr && route->interface_index == path->out->index ? *route : direct,
                                           destination, {.use_deprecated = s.settings.ipv6.use_deprecated != 0,
                                                         .prefer_temporary = prefer_temporary.value_or(s.settings.ipv6.prefer_temporary != 0)});
  if (!source) return unexpected(Errno::addrnotavail);
  return *source;
}

bool may_leave(const wire::IpAddress& source, const Path& path) {
  return path.local || !source.is_loopback() || path.out->is_loopback();
}

// ---- 2. the IP header, fragments

Expected<void, Drop> put_ipv6_header(ShardState& s, packet::Packet& payload, wire::Ipv6Header header,
                                     const wire::Ipv6Extensions* extensions) {
  if (header.next_header == wire::IpProtocol::icmpv6 && payload.size() >= wire::Icmpv6View::kHeaderLen) {
    // RFC 4443 section 2.3: the source is part of the checksum, so it is only now that it can be computed.
    std::array<std::byte, 2> field{};
    payload.copy_in(wire::Icmpv6View::kChecksumOffset, field);
    const wire::Ipv6Address end = extensions != nullptr ? extensions->last_segment.value_or(header.dst) : header.dst;
    const std::uint32_t pseudo = wire::pseudo_header_sum(header.src, end, header.next_header, payload.size());
    store_be16(field, 0, wire::finish(pseudo + payload.sum(0, payload.size())));
    payload.copy_in(wire::Icmpv6View::kChecksumOffset, field);
    std::byte type{};
    payload.copy_out(0, {&type, 1});
    count_sent(s.counters.icmp6, static_cast<wire::Icmpv6Type>(type));
  }
  if (extensions != nullptr)
    if (const auto added = s.inet6->add_extensions(payload, header.next_header, *extensions); !added) return added;
  if (extensions != nullptr) header.next_header = extensions->first;
  return s.inet6->add_header(payload, header, s.counters.ipv6);
}

Expected<void, Drop> put_ip_header(ShardState& s, packet::Packet& payload, const Outgoing& how, const wire::IpAddress& source,
                                   const Path& path) {
  if (how.destination.is_v6()) {
    const std::uint32_t common = path.out->hop_limit6 != 0 ? path.out->hop_limit6 : s.settings.ipv6.hop_limit;
    return put_ipv6_header(s, payload, {.tos = how.tos,
                                        .flow_label = how.flow_label,
                                        .payload_len = 0,
                                        .next_header = how.protocol,
                                        .hop_limit = how.ttl != 0 ? how.ttl : static_cast<std::uint8_t>(common),
                                        .src = source.v6(),
                                        .dst = how.destination.v6()},
                           how.extensions.bytes.empty() ? nullptr : &how.extensions);
  }
  wire::Ipv4Header header{.tos = how.tos,
                          .df = how.dont_fragment,
                          .ttl = how.ttl != 0 || how.stay_here ? how.ttl : static_cast<std::uint8_t>(s.settings.ipv4.ttl),
                          .protocol = how.protocol,
                          .src = source.v4(),
                          .dst = how.towards().v4()};
  if (how.options != nullptr && how.destination.is_v4()) {
    header.options = ipv4::on_the_wire(*how.options, how.destination.v4());
    // RFC 791 section 3.1: who makes a packet is the first on its way.
    static_cast<void>(ipv4::stamp_options(MutableBytes{header.options.bytes}.first(header.options.len),
                                          {header.src, s.network->interfaces, stamp_clock(s), false}));
  }
  return ipv4::add_header(payload, header, s.identifiers, s.counters.ipv4);
}

Errno tx_ip(ShardState& s, PacketPtr payload, const Outgoing& how) {
  auto path = find_path(s, how);
  if (!path) {
    s.drop(Drop::ip_no_route);
    return path.error();
  }
  wire::IpAddress source = how.source;
  if (source.is_unspecified() || source.family() != how.destination.family()) {
    const auto chosen = choose_source(s, how.towards(), how.fib, how.interface_index);
    if (!chosen) {
      s.drop(Drop::ip_no_route);
      return chosen.error();
    }
    source = *chosen;
  }
  if (!may_leave(source, *path)) return s.drop(Drop::ip_loopback_source), Errno::inval;
  // RFC 3927 section 2.6.2: whoever has such an address asks for everybody himself.
  if (source.is_v4() && source.is_link_local() && path->route != nullptr && path->route->gateway) path->next_hop = how.towards();
  payload->txq = how.txq;
  if (const auto added = put_ip_header(s, *payload, how, source, *path); !added) {
    s.drop(added.error());
    return added.error() == Drop::ip_too_big ? Errno::msgsize : Errno::nobufs;
  }
  // IPv6 has no bit for it: the packet is not cut here, and nobody else would.
  if (how.destination.is_v6() && how.dont_fragment && !path->local && !packet::fits_mtu(*payload, path->mtu)) {
    s.drop(Drop::ip_too_big);
    return Errno::msgsize;
  }
  loop_if_many(s, *payload, how, *path);
  if (how.stay_here && !path->local) return Errno::ok;
  return tx_packet(s, std::move(payload), *path);
}

void loop_if_many(ShardState& s, const packet::Packet& packet, const Outgoing& how, const Path& path) {
  if (path.local) return;
  const bool heard = how.destination.is_multicast()
                         ? how.multicast_loop && hears_group(s, path.out->index, how.destination, how.source)
                         : how.destination.is_v4() && path.out->is_broadcast_address(how.destination.v4());
  if (heard) loop_back(s, *path.out, packet);
}

namespace {

Errno tx_to(ShardState& s, const Path& path, PacketPtr packet) {
  const auto pass = s.filters.egress(*path.out, *packet);
  if (!pass) return s.drop(pass.error()), Errno::perm;
  const wire::IpAddress& hop = path.next_hop;
  const iface::Interface& out = *path.out;
  const auto type = hop.is_v4() ? wire::EtherType::ipv4 : wire::EtherType::ipv6;
  if (out.link_type != iface::LinkType::ethernet) return tx_link(s, out, std::move(packet), {}, type), Errno::ok;
  if (hop.is_v4() && out.is_broadcast_address(hop.v4()))
    return tx_link(s, out, std::move(packet), wire::MacAddress::broadcast(), type), Errno::ok;
  // RFC 4291 section 2.7: of interface scope, and of scope 0, which nobody may use. Who listens here has heard it.
  if (hop.is_v6() && hop.is_multicast() && hop.v6().multicast_scope() < 2) return Errno::ok;
  if (hop.is_multicast()) return tx_link(s, out, std::move(packet), link::multicast_mac(hop), type), Errno::ok;
  const neigh::Key key{out.index, hop};
  neigh::Lookup found;
  if (s.neighbours) {
    neigh::Actions actions;
    found = s.neighbours->lookup_or_start(key, s.now, actions);
    apply_neighbour_actions(s, actions);
  } else {
    found = s.replica.lookup(key);
    if (found.report_use) send_to(s, 0, message::ResolveNeighbour{s.number, key, true});
  }
  switch (found.kind) {
    case neigh::Lookup::Kind::resolved:
      tx_link(s, out, std::move(packet), found.mac, type);
      return Errno::ok;
    case neigh::Lookup::Kind::waiting: {
      auto held = s.pending.hold(key, std::move(packet));
      if (held.dropped) s.drop(held.why);
      ++s.counters.arp.held;
      if (!s.neighbours) send_to(s, 0, message::ResolveNeighbour{s.number, key, false});
      return Errno::ok;
    }
    case neigh::Lookup::Kind::unreachable:
      s.drop(Drop::arp_unresolved);
      // A program of ours has it from the answer.
      if (packet->rx_interface != 0) on_unresolved(s, *packet, out.index);
      return Errno::hostunreach;
    case neigh::Lookup::Kind::full: s.drop(Drop::arp_table_full); return Errno::nobufs;
  }
  return Errno::ok;
}

/// RFC 7739 section 5.3: neither guessed nor, of 2^32, soon used again.
std::uint32_t fragment_id(ShardState& s) {
  const std::uint64_t count = std::uint64_t{s.number} << 56 | ++s.fragments_made;
  return static_cast<std::uint32_t>(siphash24(s.key(), as_bytes(&count, sizeof count)));
}

}  // namespace

Errno tx_packet(ShardState& s, PacketPtr packet, const Path& path) {
  if (path.local) {
    // Never on a wire: checksums that were left to a device stay undone and count as right.
    packet->looped = true;
    packet->rx_interface = path.next_hop.zone() != 0 ? path.next_hop.zone() : path.out->index;
    auto& counters = s.counters.interfaces[path.out->index];
    ++counters.tx_packets;
    counters.tx_bytes += packet->size();
    s.looped.push_back(std::move(packet));
    return Errno::ok;
  }
  if (packet::fits_mtu(*packet, path.mtu)) return tx_to(s, path, std::move(packet));
  packet::Burst fragments;
  const auto cut = path.next_hop.is_v4() ? ipv4::fragment(packet, path.mtu, fragments, s.counters.ipv4)
                                         : s.inet6->fragment(packet, path.mtu, fragment_id(s), fragments, s.counters.ipv6);
  if (!cut) {
    s.drop(cut.error());
    return cut.error() == Drop::ip_too_big ? Errno::msgsize : Errno::nobufs;
  }
  Errno result = Errno::ok;
  for (PacketPtr& one : fragments)
    if (const Errno sent = tx_to(s, path, std::move(one)); sent != Errno::ok) result = sent;
  return result;
}

// ---- 3. the neighbour

namespace {

void solicit(ShardState& s, const neigh::Action& action) {
  const iface::Interface* out = s.interface(action.key.interface_index);
  if (out == nullptr) return;
  if (action.key.address.is_v6()) {
    if (!s.discovery) return;
    if (const auto message = s.discovery->solicit(*out, action.key, !action.mac.is_zero())) send_discovery(s, *message, action.mac);
    return;
  }
  const auto sender = link::arp_sender_for(*out, action.key.address.v4());
  if (!sender) return;
  const std::optional<wire::MacAddress> unicast = action.mac.is_zero() ? std::nullopt : std::optional{action.mac};
  PacketPtr request = link::arp_request(s.cache, *out, *sender, action.key.address.v4(), unicast);
  if (!request) return s.drop(Drop::no_buffer);
  ++s.counters.arp.tx_requests;
  enqueue_frame(s, *out, std::move(request));
}

}  // namespace

namespace {

/// What died because its next hop does not answer, and the interface by which it was to leave.
using Unresolved = std::vector<std::pair<PacketPtr, std::uint32_t>>;

void apply(ShardState& s, const neigh::Action& action, Unresolved& dead) {
  if (!s.neighbours) s.replica.apply(action);
  if (action.kind == neigh::Action::Kind::stale) return;
  packet::Burst waiting = s.pending.take(action.key);
  const iface::Interface* out = s.interface(action.key.interface_index);
  for (PacketPtr& packet : waiting) {
    if (action.kind == neigh::Action::Kind::resolved && out != nullptr) {
      tx_link(s, *out, std::move(packet), action.mac, action.key.address.is_v4() ? wire::EtherType::ipv4 : wire::EtherType::ipv6);
      continue;
    }
    s.drop(Drop::arp_unresolved);
    // Of an entry that had to make room nobody knows whether it would have answered.
    if (action.kind == neigh::Action::Kind::failed) dead.emplace_back(std::move(packet), action.key.interface_index);
  }
}

/// What is said about them is sent itself, and may ask for other neighbours.
void tell(ShardState& s, Unresolved&& dead) {
  for (const auto& [packet, interface_index] : dead) on_unresolved(s, *packet, interface_index);
}

}  // namespace

void apply_neighbour_actions(ShardState& s, const neigh::Actions& actions) {
  Unresolved dead;
  for (const neigh::Action& action : actions) {
    if (action.kind == neigh::Action::Kind::solicit) {
      solicit(s, action);
      continue;
    }
    // A stale or forgotten entry says nothing about the way.
    const bool resolved = action.kind == neigh::Action::Kind::resolved;
    if (s.discovery && action.key.address.is_v6() && (resolved || action.kind == neigh::Action::Kind::failed))
      s.discovery->neighbour_changed(action.key, resolved);
    send_to_all_others(s, [&] { return message::NeighbourAction{action}; });
    apply(s, action, dead);
  }
  tell(s, std::move(dead));
}

void apply_neighbour_action(ShardState& s, const neigh::Action& action) {
  Unresolved dead;
  apply(s, action, dead);
  tell(s, std::move(dead));
}

namespace {

/// RFC 1812 section 5.2.7.1, RFC 4443 section 3.1: a router tells the sender, the way that the packet came. The packet loses its header.
void tell_passing(ShardState& s, packet::Packet& packet) {
  if (const iface::Interface* in = s.interface(packet.rx_interface))
    tell_sender(s, *in, packet, icmp::host_unreachable(wire::Ipv4View::parse_header(packet.head()) ? wire::IpFamily::v4 : wire::IpFamily::v6));
}

}  // namespace

/// The host tells a local program that its next hop is silent.
void on_unresolved(ShardState& s, packet::Packet& packet, std::uint32_t interface_index) {
  if (packet.rx_interface != 0) return tell_passing(s, packet);
  const auto ip = find_transport(packet.head(), interface_index);
  if (!ip) return;
  if (ip->is_fragment) return;
  icmp::ErrorAbout about{.message = icmp::host_unreachable(ip->dst.family()), .protocol = ip->protocol};
  about.local.address = about.reporter = ip->src;
  about.remote.address = ip->dst;
  std::byte ports[8];
  if (ip->protocol == wire::IpProtocol::tcp || ip->protocol == wire::IpProtocol::udp || ip->protocol == wire::IpProtocol::udplite) {
    if (packet.size() < ip->offset + sizeof ports) return;
    packet.copy_out(static_cast<std::uint32_t>(ip->offset), ports);
    about.local.port = {load_be16(ports, 0)};
    about.remote.port = {load_be16(ports, 2)};
    about.sequence = load_be32(ports, 4);
  }
  on_icmp_error(s, about, nullptr, packet.clone(s.cache));
}

// ---- 4. the link header and the device's queue

void tx_link(ShardState& s, const iface::Interface& out, PacketPtr packet, const wire::MacAddress& to, wire::EtherType type) {
  if (const auto added = link::output(out, *packet, to, type); !added) return s.drop(added.error());
  packet->link_broadcast = to.is_broadcast();
  packet->link_multicast = to.is_multicast() && !to.is_broadcast();
  enqueue_frame(s, out, std::move(packet));
}

void enqueue_frame(ShardState& s, const iface::Interface& out, PacketPtr frame) {
  auto& counters = s.counters.interfaces[out.index];
  if (!out.is_up()) return ++counters.tx_dropped, s.drop(Drop::ip_down);
  if (s.transmit.size() <= out.index) s.transmit.resize(out.index + 1);
  ShardState::TransmitQueue& queue = s.transmit[out.index];
  if (!has_room_for(queue.burst.size(), *frame)) {
    s.frames_left -= std::min<std::size_t>(s.frames_left, 1);
    return ++counters.tx_dropped, s.drop(Drop::link_queue_full);
  }
  ++counters.tx_packets;
  counters.tx_bytes += frame->size();
  if (frame->link_broadcast) ++counters.tx_broadcasts;
  if (frame->link_multicast) ++counters.tx_multicasts;
  const std::size_t before = queue.burst.size();
  const bool cut = ((frame->flags & IOPKT_GSO_TCP4) != 0 && !out.can(IOPKT_CAP_TSO4)) ||
                   ((frame->flags & IOPKT_GSO_TCP6) != 0 && !out.can(IOPKT_CAP_TSO6)) ||
                   ((frame->flags & IOPKT_GSO_UDP) != 0 && !out.can(IOPKT_CAP_USO));
  if (cut) {
    if (const auto done = packet::segment(*frame, out.link_header_len(), queue.burst); !done) s.drop(done.error());
  } else {
    if ((frame->flags & IOPKT_CSUM_NEEDED) != 0 && !out.can(IOPKT_CAP_CSUM_TX)) packet::complete_checksum(*frame);
    queue.burst.push_back(std::move(frame));
  }
  s.frames_left -= std::min(s.frames_left, queue.burst.size() - before);
  if (!queue.listed) {
    queue.listed = true;
    s.transmit_order.push_back(out.index);
  }
}

}  // namespace iopkt::stack
