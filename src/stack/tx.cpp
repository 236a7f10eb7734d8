// A packet's way out, from top to bottom: route, IP header, filter, neighbour, link header, device queue.
#include "ipv4/output.hpp"
#include "link/arp.hpp"
#include "link/ethernet.hpp"
#include "packet/segment.hpp"
#include "route/source.hpp"
#include "stack/ways.hpp"

namespace iopkt::stack {

using packet::Drop;
using packet::PacketPtr;

// ---- 1. where to

socket::Result<Path> find_path(const ShardState& s, const wire::IpAddress& destination, std::uint8_t fib,
                               std::uint32_t interface_index, bool dont_route) {
  const iface::InterfaceTable& interfaces = s.network->interfaces;
  if (const iface::Interface* own = interfaces.find_local(destination)) {
    // Our own address: never leaves, whatever the interface that has it.
    const iface::Interface* loopback = own->is_loopback() ? own : s.interface(kLoopbackIndex);
    if (loopback == nullptr || !loopback->is_up()) return unexpected(Errno::netdown);
    return Path{loopback, destination, loopback->mtu, true};
  }
  const iface::Interface* bound = interface_index == 0 ? nullptr : interfaces.by_index(interface_index);
  if (interface_index != 0 && bound == nullptr) return unexpected(Errno::nodev);
  const bool everywhere = destination.is_v4() && destination.v4().is_limited_broadcast();
  if (bound != nullptr && (everywhere || destination.is_multicast() || dont_route || bound->connected(destination) != nullptr)) {
    if (!bound->is_up()) return unexpected(Errno::netdown);
    return Path{bound, destination, bound->mtu, false};
  }
  if (everywhere) {
    for (const auto& one : interfaces.all())
      if (one->is(iface::flag::up | iface::flag::broadcast)) return Path{one.get(), destination, one->mtu, false};
    return unexpected(Errno::netunreach);
  }
  const route::Route* route = s.network->fibs[fib].lookup_if(destination, [&](const route::Route& r) {
    return (r.flags & route::flag::up) != 0 && (bound == nullptr || r.interface_index == bound->index);
  });
  if (route == nullptr || (dont_route && route->gateway)) return unexpected(Errno::netunreach);
  if ((route->flags & (route::flag::reject | route::flag::blackhole)) != 0)
    return unexpected((route->flags & route::flag::reject) != 0 ? Errno::hostunreach : Errno::inval);
  const iface::Interface* out = interfaces.by_index(route->interface_index);
  if (out == nullptr || !out->is_up()) return unexpected(Errno::netdown);
  return Path{out, route->gateway.value_or(destination), route->mtu != 0 ? std::min(route->mtu, out->mtu) : out->mtu, false};
}

socket::Result<wire::IpAddress> choose_source(const ShardState& s, const wire::IpAddress& destination, std::uint8_t fib,
                                              std::uint32_t interface_index) {
  if (s.network->interfaces.find_local(destination) != nullptr) return destination;
  const auto path = find_path(s, destination, fib, interface_index, false);
  if (!path) return unexpected(path.error());
  const route::Route* route = s.network->fibs[fib].lookup(destination);
  route::Route direct{.prefix = wire::IpPrefix::host(destination), .gateway = std::nullopt,
                      .interface_index = path->out->index, .source = std::nullopt};
  const auto source = route::choose_source(s.network->interfaces,
                                           route != nullptr && route->interface_index == path->out->index ? *route : direct,
                                           destination);
  if (!source) return unexpected(Errno::addrnotavail);
  return *source;
}

// ---- 2. the IP header, fragments

Errno tx_ip(ShardState& s, PacketPtr payload, const Outgoing& how) {
  const auto path = find_path(s, how.destination, how.fib, how.interface_index, how.dont_route);
  if (!path) {
    s.drop(Drop::ip_no_route);
    return path.error();
  }
  wire::IpAddress source = how.source;
  if (source.is_unspecified()) {
    const auto chosen = choose_source(s, how.destination, how.fib, how.interface_index);
    if (!chosen) {
      s.drop(Drop::ip_no_route);
      return chosen.error();
    }
    source = *chosen;
  }
  wire::Ipv4Header header{.tos = how.tos,
                          .df = how.dont_fragment,
                          .ttl = how.ttl != 0 ? how.ttl : static_cast<std::uint8_t>(s.settings.ipv4.ttl),
                          .protocol = how.protocol,
                          .src = source.v4(),
                          .dst = how.destination.v4()};
  payload->txq = how.txq;
  if (const auto added = ipv4::add_header(*payload, header, s.identifiers, s.counters.ipv4); !added) {
    s.drop(added.error());
    return added.error() == Drop::ip_too_big ? Errno::msgsize : Errno::nobufs;
  }
  return tx_packet(s, std::move(payload), *path);
}

namespace {

Errno tx_to(ShardState& s, const Path& path, PacketPtr packet) {
  const auto pass = s.filters.egress(*path.out, *packet);
  if (!pass) return s.drop(pass.error()), Errno::perm;
  const wire::IpAddress& hop = path.next_hop;
  const iface::Interface& out = *path.out;
  if (out.link_type != iface::LinkType::ethernet) return tx_link(s, out, std::move(packet), {}, wire::EtherType::ipv4), Errno::ok;
  if (out.is_broadcast_address(hop.v4())) {
    tx_link(s, out, std::move(packet), wire::MacAddress::broadcast(), wire::EtherType::ipv4);
    return Errno::ok;
  }
  if (hop.is_multicast()) return tx_link(s, out, std::move(packet), link::multicast_mac(hop.v4()), wire::EtherType::ipv4), Errno::ok;
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
      tx_link(s, out, std::move(packet), found.mac, wire::EtherType::ipv4);
      return Errno::ok;
    case neigh::Lookup::Kind::waiting: {
      auto held = s.pending.hold(key, std::move(packet));
      if (held.dropped) s.drop(held.why);
      ++s.counters.arp.held;
      if (!s.neighbours) send_to(s, 0, message::ResolveNeighbour{s.number, key, false});
      return Errno::ok;
    }
    case neigh::Lookup::Kind::unreachable: s.drop(Drop::arp_unresolved); return Errno::hostunreach;
    case neigh::Lookup::Kind::full: s.drop(Drop::arp_table_full); return Errno::nobufs;
  }
  return Errno::ok;
}

}  // namespace

Errno tx_packet(ShardState& s, PacketPtr packet, const Path& path) {
  if (path.local) {
    // Never on a wire: checksums that were left to a device stay undone and count as right.
    packet->looped = true;
    packet->rx_interface = path.out->index;
    auto& counters = s.counters.interfaces[path.out->index];
    ++counters.tx_packets;
    counters.tx_bytes += packet->size();
    s.looped.push_back(std::move(packet));
    return Errno::ok;
  }
  if (ipv4::fits_mtu(*packet, path.mtu)) return tx_to(s, path, std::move(packet));
  packet::Burst fragments;
  if (const auto cut = ipv4::fragment(packet, path.mtu, fragments, s.counters.ipv4); !cut) {
    s.drop(cut.error());
    return cut.error() == Drop::ip_too_big ? Errno::msgsize : Errno::nobufs;
  }
  Errno result = Errno::ok;
  for (PacketPtr& one : fragments)
    if (const Errno sent = tx_to(s, path, std::move(one)); sent != Errno::ok) result = sent;
  return result;
}

// ---- 3. the neighbour

void apply_neighbour_actions(ShardState& s, const neigh::Actions& actions) {
  for (const neigh::Action& action : actions) {
    if (action.kind == neigh::Action::Kind::solicit) {
      const iface::Interface* out = s.interface(action.key.interface_index);
      if (out == nullptr || !action.key.address.is_v4()) continue;
      const auto sender = link::arp_sender_for(*out, action.key.address.v4());
      if (!sender) continue;
      const std::optional<wire::MacAddress> unicast = action.mac.is_zero() ? std::nullopt : std::optional{action.mac};
      PacketPtr request = link::arp_request(s.cache, *out, *sender, action.key.address.v4(), unicast);
      if (!request) {
        s.drop(Drop::no_buffer);
        continue;
      }
      ++s.counters.arp.tx_requests;
      enqueue_frame(s, *out, std::move(request));
      continue;
    }
    send_to_all_others(s, [&] { return message::NeighbourAction{action}; });
    apply_neighbour_action(s, action);
  }
}

void apply_neighbour_action(ShardState& s, const neigh::Action& action) {
  if (!s.neighbours) s.replica.apply(action);
  if (action.kind == neigh::Action::Kind::stale) return;
  packet::Burst waiting = s.pending.take(action.key);
  const iface::Interface* out = s.interface(action.key.interface_index);
  for (PacketPtr& packet : waiting) {
    if (action.kind == neigh::Action::Kind::resolved && out != nullptr)
      tx_link(s, *out, std::move(packet), action.mac, wire::EtherType::ipv4);
    else
      s.drop(Drop::arp_unresolved), on_unresolved(s, *packet);
  }
}

/// The host tells a local program that its next hop is silent.
void on_unresolved(ShardState& s, const packet::Packet& packet) {
  const auto ip = wire::Ipv4View::parse_header(packet.head());
  if (!ip) return;
  const wire::Ipv4Header header = ip->header();
  std::byte ports[8];
  if (header.is_fragment() || packet.size() < ip->header_len() + sizeof ports) return;
  packet.copy_out(static_cast<std::uint32_t>(ip->header_len()), ports);
  icmp::ErrorAbout about{.message = wire::IcmpHeader::unreachable(wire::IcmpUnreachable::host), .protocol = header.protocol};
  about.local = {header.src, wire::Port{load_be16(ports, 0)}};
  about.remote = {header.dst, wire::Port{load_be16(ports, 2)}};
  about.sequence = load_be32(ports, 4);
  on_icmp_error(s, about);
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
  if (queue.burst.size() >= kTransmitQueueMax) return ++counters.tx_dropped, s.drop(Drop::link_queue_full);
  ++counters.tx_packets;
  counters.tx_bytes += frame->size();
  if (frame->link_broadcast) ++counters.tx_broadcasts;
  if (frame->link_multicast) ++counters.tx_multicasts;
  const bool cut = ((frame->flags & (IOPKT_GSO_TCP4)) != 0 && !out.can(IOPKT_CAP_TSO4)) ||
                   ((frame->flags & IOPKT_GSO_UDP) != 0 && !out.can(IOPKT_CAP_USO));
  if (cut) {
    if (const auto done = packet::segment(*frame, out.link_header_len(), queue.burst); !done) s.drop(done.error());
  } else {
    if ((frame->flags & IOPKT_CSUM_NEEDED) != 0 && !out.can(IOPKT_CAP_CSUM_TX)) packet::complete_checksum(*frame);
    queue.burst.push_back(std::move(frame));
  }
  if (!queue.listed) {
    queue.listed = true;
    s.transmit_order.push_back(out.index);
  }
}

}  // namespace iopkt::stack
