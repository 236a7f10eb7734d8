// The route that an address brings along and takes with it.
#pragma once

#include <algorithm>
#include <span>
#include <utility>

#include "iface/interface.hpp"
#include "route/fib.hpp"

namespace iopkt::route {

/// To the network of an address of the interface, or to the other end of its link.
inline Route connected(const iface::Interface& interface, const iface::InterfaceAddress& address) {
  Route r;
  r.prefix = address.peer ? wire::IpPrefix::host(*address.peer) : address.network();
  r.interface_index = interface.index;
  r.flags = flag::up | flag::cloning | (r.prefix.is_host() ? flag::host : 0u);
  // Of IPv6 addresses the source is chosen for each destination (RFC 6724).
  if (address.address.is_v4()) r.source = address.address;
  return r;
}

/// Takes the route of an address of the interface away that goes or has gone; another address of the same network keeps it alive.
inline void remove_connected(std::span<Fib> fibs, const iface::Interface& interface, const iface::InterfaceAddress& gone) {
  if (interface.is_loopback() || gone.address.has_zone()) return;
  const Route r = connected(interface, gone);
  const auto stays = std::ranges::find_if(interface.addresses, [&](const iface::InterfaceAddress& other) {
    return !(other == gone) && connected(interface, other).prefix == r.prefix;
  });
  for (Fib& fib : fibs) {
    if (auto next = fib.without({.prefix = r.prefix, .gateway = {}, .interface_index = interface.index})) fib = std::move(*next);
    if (stays == interface.addresses.end() || stays->address.has_zone()) continue;
    if (auto next = fib.with(connected(interface, *stays))) fib = std::move(*next);
  }
}

}  // namespace iopkt::route
