// What ifconfig and route change: steps from one Network to the next. The caller publishes the result.
// BSD ifconfig(8) and route(8) semantics; errors as the socket ioctls and the routing socket give them.
#pragma once

#include <optional>
#include <string_view>

#include "socket/errno.hpp"
#include "stack/network.hpp"

namespace iopkt::control {

using socket::Errno;
using stack::Network;

/// Adds an interface without addresses; its index must be new. Errors: exist (the name is taken).
Errno add_interface(Network& network, iface::Interface interface);
/// With its addresses and all routes over it. Errors: nxio.
Errno remove_interface(Network& network, std::uint32_t index);
/// The least index that was not used since the stack started; when there is none left, the least free one (whose counters go
/// on where they were). 0: there are stack::kInterfacesMax - 1 interfaces.
std::uint32_t next_index(const Network& network);

/// Replaces the interface's value (flags, MTU, capabilities, link state …), keeping its index and name.
/// Errors: nxio, inval (MTU outside mtu_min..mtu_max).
Errno change_interface(Network& network, const iface::Interface& changed);

/// Adds an address with the route to its network, or replaces the primary address of the family (`alias`
/// false; of IPv6 addresses none is replaced; one that is there already keeps its state, unless `flags` begin its detection anew). An IPv6 address is tentative at first; of link scope it has the interface's zone. Marks the interface up when it is its first address. Without a prefix length: that of the
/// address's class; on a point-to-point or loopback interface the same. Errors: nxio, inval (no host address,
/// broadcast of another network), exist (the interface has it: with alias), addrnotavail.
struct AddressRequest {
  wire::IpAddress address;
  std::optional<std::uint8_t> prefix_length;  ///< Default: by class; of IPv6 64
  std::optional<wire::Ipv4Address> broadcast;
  std::optional<wire::IpAddress> peer;
  bool alias = false;
  std::uint32_t flags = 0, flags_off = 0;  ///< iface::address_flag::tentative, no_dad; of IPv6 anycast, deprecated
  /// Of IPv6. Unset: without an end; of an address that is there already: as they are.
  std::optional<Instant> preferred_until, valid_until;
};
Errno add_address(Network& network, std::uint32_t index, const AddressRequest& request);
/// Without an address: the first of the family (as a bare `delete`). Errors: nxio, addrnotavail.
Errno remove_address(Network& network, std::uint32_t index, const std::optional<wire::IpAddress>& address);

/// A route as route(8) asks for it. Without interface and with a gateway: by the way to the gateway.
struct RouteRequest {
  wire::IpPrefix prefix;
  std::optional<wire::IpAddress> gateway;
  std::optional<std::uint32_t> interface_index;
  std::uint32_t flags = 0;  ///< route::flag bits besides up, gateway, host and static_route, which follow
  std::uint32_t mtu = 0;
  std::optional<wire::IpAddress> source;
  std::string congestion;  ///< a name that tcp::find_congestion() knows, or empty
  std::uint8_t fib = 0;
};
/// Errors: exist, netunreach (no way to the gateway), nxio.
Errno add_route(Network& network, const RouteRequest& request);
/// Errors: esrch (not in table), inval (several match: the gateway must be named).
Errno remove_route(Network& network, const RouteRequest& request);
/// Errors: esrch, netunreach.
Errno change_route(Network& network, const RouteRequest& request);
/// Takes out every route with a gateway, or those of one family. Answers how many.
std::size_t flush_routes(Network& network, std::uint8_t fib, std::optional<wire::IpFamily> only = {});

}  // namespace iopkt::control
