// Neighbour discovery between a stack and a script.
#pragma once

#include "tests/sim/ipv6_fixture.hpp"

namespace iopkt::sim {

using wire::IpProtocol;

/// Messages of a router, fe80::77, that is a script.
class SimDiscovery : public SimIpv6Alone {
 protected:
  void nd(const char* src, const Ipv6Address& dst, const std::vector<std::byte>& message, std::uint8_t hops = 255) {
    from_nobody = true;
    const auto group = link::multicast_mac(IpAddress{dst});
    tell({.next_header = IpProtocol::icmpv6, .hop_limit = hops, .src = ip(src).v6(), .dst = dst}, message,
         dst.is_multicast() ? group : mac(a));
  }
  void solicit(const char* src, const Ipv6Address& target, const Ipv6Address& dst, const std::optional<wire::MacAddress>& link = kRouterMac,
               std::uint8_t hops = 255) {
    std::vector<std::byte> m;
    wire::append_neighbour_solicitation(m, {target}, link);
    nd(src, dst, m, hops);
  }
  void advertise(const wire::RouterAdvertisement& ra, const wire::NdOptions& options, const char* src = "fe80::77") {
    std::vector<std::byte> m;
    wire::append_router_advertisement(m, ra, options);
    nd(src, Ipv6Address::all_nodes(), m);
  }
  static wire::NdPrefix prefix(const char* text, std::uint32_t valid = 86400, std::uint32_t preferred = 14400) {
    return {.prefix = ip(text).v6(), .length = 64, .on_link = true, .autonomous = true, .valid_s = valid, .preferred_s = preferred};
  }
  std::vector<iface::InterfaceAddress> formed(const char* text) {
    std::vector<iface::InterfaceAddress> out;
    for (const auto& one : en0(a).addresses)
      if (wire::IpPrefix::of(ip(text), 64).contains(one.address)) out.push_back(one);
    return out;
  }
  /// Of the first address formed of the prefix, as the machine has it.
  ipv6::DiscoveryState::Lifetime lifetime(const char* text) {
    for (const auto& one : a.shard(0).discovery_state().lifetimes)
      if (wire::IpPrefix::of(ip(text), 64).contains(one.address)) return one;
    return {};
  }
  std::vector<Ipv6Address> solicited() const {
    std::vector<Ipv6Address> out;
    for (const Sent& one : sent)
      if (const auto m = one.header.next_header == IpProtocol::icmpv6 ? wire::parse_nd(one.payload) : unexpected(wire::ParseError::bad_type))
        if (const auto* ns = std::get_if<wire::NeighbourSolicitation>(&m->body)) out.push_back(ns->target);
    return out;
  }
  const route::Route* route_to(const char* text) { return a.stack().network()->fibs[0].lookup(ip(text)); }
  std::optional<neigh::Entry> neighbour(const char* text) {
    for (const auto& e : a.shard(0).list_neighbours())
      if (e.key.address == ip(text).with_zone(a.interface_index())) return e;
    return std::nullopt;
  }
  const Ipv6Address us = ip("2001:db8::1").v6();
};

}  // namespace iopkt::sim
