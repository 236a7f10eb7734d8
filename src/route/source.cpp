#include "route/source.hpp"

#include <algorithm>
#include <initializer_list>

namespace iopkt::route {
namespace {

using wire::IpAddress;

/// Of an interface's addresses, the one nearest to `target`; ties go to the first. A deprecated one only where there is no other
/// (RFC 3927 section 1.9).
const IpAddress* nearest(const iface::Interface& interface, const IpAddress& target) {
  const IpAddress* best = nullptr;
  int best_length = 0;
  for (const iface::InterfaceAddress& a : interface.addresses) {
    if (a.address.family() != target.family() || !a.is_usable()) continue;
    if (a.peer == target) return &a.address;
    const int length = wire::common_prefix_length(a.address, target) - (a.is(iface::address_flag::deprecated) ? 128 : 0);
    if (best == nullptr || length > best_length) best = &a.address, best_length = length;
  }
  return best;
}

using wire::Ipv6Address;

bool starts_with(const Ipv6Address& a, std::initializer_list<std::uint8_t> bytes) {
  return std::equal(bytes.begin(), bytes.end(), a.bytes.begin());
}

/// One address that could be the source, and whether it is one of the interface that the packet leaves by.
struct Candidate {
  const iface::InterfaceAddress* address;
  bool outgoing;
};

/// RFC 6724 section 5, from rule 2 on: whether `b` is better than `a`.
bool is_better(const Candidate& b, const Candidate& a, const Ipv6Address& destination, bool prefer_temporary) {
  const Ipv6Address va = a.address->address.v6(), vb = b.address->address.v6();
  const std::uint8_t sa = scope_of(va), sb = scope_of(vb), sd = scope_of(destination);
  if (sa != sb) return sb < sa ? sb >= sd : sa < sd;
  const auto differ = [](bool better_a, bool better_b) { return better_a != better_b; };
  // RFC 4429 section 2.1: an optimistic address counts as deprecated.
  constexpr std::uint32_t kNotFresh = iface::address_flag::deprecated | iface::address_flag::optimistic;
  const bool fresh_a = (a.address->flags & kNotFresh) == 0, fresh_b = (b.address->flags & kNotFresh) == 0;
  if (differ(fresh_a, fresh_b)) return fresh_b;
  if (differ(a.outgoing, b.outgoing)) return b.outgoing;
  const bool label_a = label_of(va) == label_of(destination), label_b = label_of(vb) == label_of(destination);
  if (differ(label_a, label_b)) return label_b;
  const bool lasting_a = !a.address->is(iface::address_flag::temporary), lasting_b = !b.address->is(iface::address_flag::temporary);
  if (differ(lasting_a, lasting_b)) return lasting_b != prefer_temporary;
  const auto common = [&](const Candidate& c) {
    return std::min(wire::common_prefix_length(c.address->address, destination), c.address->prefix_length);
  };
  return common(b) > common(a);
}

std::optional<IpAddress> choose_ipv6(const iface::InterfaceTable& interfaces, std::uint32_t outgoing, const IpAddress& destination,
                                     const SourcePolicy& policy) {
  std::optional<Candidate> best;
  for (const auto& one : interfaces.all()) {
    const bool is_outgoing = one->index == outgoing;
    // Section 4: to a group, and to what is on one link alone, only what belongs to the outgoing interface.
    if (!is_outgoing && (!one->is_up() || one->is_loopback() || destination.is_multicast() || destination.has_zone())) continue;
    for (const iface::InterfaceAddress& a : one->addresses) {
      if (!a.address.is_v6() || !a.is_usable() || a.is(iface::address_flag::anycast)) continue;
      if (!policy.use_deprecated && a.is(iface::address_flag::deprecated)) continue;
      // Of another link: it would not be understood where the packet goes.
      if (!is_outgoing && a.address.has_zone()) continue;
      const Candidate candidate{&a, is_outgoing};
      if (!best || is_better(candidate, *best, destination.v6(), policy.prefer_temporary)) best = candidate;
    }
  }
  if (!best) return std::nullopt;
  return best->address->address;
}

}  // namespace

std::uint8_t scope_of(const Ipv6Address& a) {
  if (a.is_multicast()) return a.multicast_scope();
  if (a.is_link_local() || a.is_loopback()) return 2;
  if (starts_with(a, {0xfe}) && (a.bytes[1] & 0xc0) == 0xc0) return 5;  // fec0::/10, deprecated by RFC 3879
  return 14;
}

std::uint8_t label_of(const Ipv6Address& a) {
  if (a.is_loopback()) return 0;
  if (a.is_v4_mapped()) return 4;
  if (starts_with(a, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})) return 3;
  if (starts_with(a, {0x20, 0x01, 0, 0})) return 5;
  if (starts_with(a, {0x20, 0x02})) return 2;
  if (starts_with(a, {0x3f, 0xfe})) return 12;
  if (starts_with(a, {0xfe}) && (a.bytes[1] & 0xc0) == 0xc0) return 11;
  if (a.is_unique_local()) return 13;
  return 1;
}

std::optional<IpAddress> choose_source(const iface::InterfaceTable& interfaces, const Route& route,
                                       const IpAddress& destination, const SourcePolicy& policy) {
  // RFC 6724 section 5 rule 1: to ourselves, from the same address.
  if (!destination.is_unspecified() && interfaces.find_local(destination) != nullptr) return destination;
  if (route.source && route.source->family() == destination.family() &&
      interfaces.find_local(*route.source) != nullptr)
    return route.source;
  if (destination.is_v6()) return choose_ipv6(interfaces, route.interface_index, destination, policy);
  const bool gateway_counts = route.gateway && route.gateway->family() == destination.family();
  const IpAddress& next_hop = gateway_counts ? *route.gateway : destination;
  if (const iface::Interface* out = interfaces.by_index(route.interface_index))
    if (const IpAddress* address = nearest(*out, next_hop)) return *address;
  for (const auto& other : interfaces.all()) {
    if (!other->is_up() || (other->is_loopback() && !destination.is_loopback())) continue;
    if (const auto* primary = other->primary(destination.family()); primary != nullptr && primary->is_usable()) return primary->address;
  }
  return std::nullopt;
}

}  // namespace iopkt::route
