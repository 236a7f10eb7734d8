// The route that an address brings along.
#pragma once

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

}  // namespace iopkt::route
