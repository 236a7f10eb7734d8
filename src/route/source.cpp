#include "route/source.hpp"

namespace iopkt::route {
namespace {

using wire::IpAddress;

/// Of an interface's addresses, the one nearest to `target`; ties go to the first.
const IpAddress* nearest(const iface::Interface& interface, const IpAddress& target) {
  const IpAddress* best = nullptr;
  std::uint8_t best_length = 0;
  for (const iface::InterfaceAddress& a : interface.addresses) {
    if (a.address.family() != target.family()) continue;
    if (a.peer == target) return &a.address;
    const std::uint8_t length = wire::common_prefix_length(a.address, target);
    if (best == nullptr || length > best_length) best = &a.address, best_length = length;
  }
  return best;
}

}  // namespace

std::optional<IpAddress> choose_source(const iface::InterfaceTable& interfaces, const Route& route,
                                       const IpAddress& destination) {
  // RFC 6724 section 5 rule 1: to ourselves, from the same address.
  if (!destination.is_unspecified() && interfaces.find_local(destination) != nullptr) return destination;
  if (route.source && route.source->family() == destination.family() &&
      interfaces.find_local(*route.source) != nullptr)
    return route.source;
  const bool gateway_counts = route.gateway && route.gateway->family() == destination.family();
  const IpAddress& next_hop = gateway_counts ? *route.gateway : destination;
  if (const iface::Interface* out = interfaces.by_index(route.interface_index))
    if (const IpAddress* address = nearest(*out, next_hop)) return *address;
  for (const auto& other : interfaces.all()) {
    if (!other->is_up() || (other->is_loopback() && !destination.is_loopback())) continue;
    if (const auto* primary = other->primary(destination.family())) return primary->address;
  }
  return std::nullopt;
}

}  // namespace iopkt::route
