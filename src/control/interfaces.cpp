#include "control/interfaces.hpp"

#include <algorithm>

#include "iface/detection.hpp"
#include "route/connected.hpp"
#include "stack/counters.hpp"

namespace iopkt::control {
namespace {

namespace rflag = route::flag;

Errno errno_of(route::FibError error) {
  switch (error) {
    case route::FibError::exists:
      return Errno::exist;
    case route::FibError::not_found:
      return Errno::esrch;
    case route::FibError::ambiguous:
      return Errno::inval;
  }
  return Errno::inval;
}

/// Every FIB knows the networks that are directly connected.
void add_connected(Network& network, const iface::Interface& interface,
                   const iface::InterfaceAddress& address) {
  // Where an address of link scope goes is said by its zone: no FIB is asked.
  if (interface.is_loopback() || address.address.has_zone()) return;
  const route::Route r = route::connected(interface, address);
  for (route::Fib& fib : network.fibs)
    if (auto next = fib.with(r)) fib = std::move(*next);
}

Expected<route::Route, Errno> make_route(const Network& network, const RouteRequest& request) {
  route::Route r{.prefix = request.prefix,
                 .gateway = request.gateway,
                 .flags = request.flags | rflag::up | rflag::static_route,
                 .mtu = request.mtu,
                 .source = request.source,
                 .congestion = request.congestion};
  if (request.prefix.is_host()) r.flags |= rflag::host;
  if (request.gateway) {
    r.flags |= rflag::gateway;
    const iface::Interface* out = request.interface_index
                                      ? network.interfaces.by_index(*request.interface_index)
                                      : network.interfaces.find_connected(*request.gateway);
    if (out == nullptr && network.interfaces.find_local(*request.gateway) != nullptr)
      out = network.interfaces.find_local(*request.gateway);
    if (out == nullptr) return unexpected(Errno::netunreach);
    r.interface_index = out->index;
    return r;
  }
  if (request.interface_index) {
    if (network.interfaces.by_index(*request.interface_index) == nullptr) return unexpected(Errno::nxio);
    r.interface_index = *request.interface_index;
    return r;
  }
  if ((request.flags & (rflag::reject | rflag::blackhole)) == 0) return unexpected(Errno::inval);
  r.interface_index = network.interfaces.all().front()->index;
  return r;
}

/// RFC 4862 section 5.4, RFC 5227 section 2.1: every unicast address is tried before it is used, unless somebody says no; of IPv4 where
/// the variable or the operator says so.
bool wants_detection(const Network& network, const iface::Interface& interface, wire::IpFamily family, std::uint32_t flags, bool asked) {
  const std::uint32_t count = family == wire::IpFamily::v6 ? network.settings.ipv6.dad_count : network.settings.ipv4.dad_count;
  return (count != 0 || (asked && family == wire::IpFamily::v4)) && iface::can_detect(interface, family, flags);
}

/// Flags and lifetimes of an address, which may have been there before.
void set_state(const Network& network, const iface::Interface& interface, const AddressRequest& request,
               const std::optional<iface::InterfaceAddress>& before, iface::InterfaceAddress& address) {
  namespace aflag = iface::address_flag;
  address.flags = ((before ? before->flags : 0) | request.flags) & ~request.flags_off;
  address.preferred_until = request.preferred_until.value_or(before ? before->preferred_until : Instant::never());
  address.valid_until = request.valid_until.value_or(before ? before->valid_until : Instant::never());
  // A later end makes it fresh again; who says "deprecated" means it.
  if (request.preferred_until && (request.flags & aflag::deprecated) == 0) address.flags &= ~aflag::deprecated;
  const bool anew = !before || before->is(aflag::duplicated) || (request.flags & aflag::tentative) != 0;
  if (anew) address.flags &= ~(aflag::tentative | aflag::duplicated | aflag::optimistic);
  if (anew && (request.flags_off & aflag::tentative) == 0 && wants_detection(network, interface, address.address.family(), address.flags, (request.flags & aflag::tentative) != 0))
    address.flags |= aflag::tentative;
}

bool is_host_address(const wire::IpAddress& address) {
  if (address.is_unspecified() || address.is_multicast()) return false;
  return !address.is_v4() || !address.v4().is_limited_broadcast();
}

}  // namespace

std::uint32_t next_index(const Network& network) {
  const std::uint32_t fresh = network.interfaces.highest_index() + 1;
  if (fresh < stack::kInterfacesMax) return fresh;
  for (std::uint32_t index = 1; index < stack::kInterfacesMax; ++index)
    if (network.interfaces.by_index(index) == nullptr) return index;
  return 0;
}

Errno add_interface(Network& network, iface::Interface interface) {
  if (network.interfaces.by_name(interface.name) != nullptr) return Errno::exist;
  network.interfaces = network.interfaces.with(std::move(interface));
  return Errno::ok;
}

Errno remove_interface(Network& network, std::uint32_t index) {
  if (network.interfaces.by_index(index) == nullptr) return Errno::nxio;
  for (route::Fib& fib : network.fibs) fib = fib.without_interface(index);
  network.interfaces = network.interfaces.without(index);
  return Errno::ok;
}

Errno change_interface(Network& network, const iface::Interface& changed) {
  const iface::Interface* old = network.interfaces.by_index(changed.index);
  if (old == nullptr || old->name != changed.name) return Errno::nxio;
  if (changed.mtu < changed.mtu_min || changed.mtu > changed.mtu_max) return Errno::inval;
  network.interfaces = network.interfaces.with(changed);
  return Errno::ok;
}

Errno add_address(Network& network, std::uint32_t index, const AddressRequest& wanted) {
  const iface::Interface* old = network.interfaces.by_index(index);
  if (old == nullptr) return Errno::nxio;
  AddressRequest request = wanted;
  request.address = wanted.address.with_zone(index);
  if (!is_host_address(request.address)) return Errno::inval;
  iface::Interface changed = *old;
  std::optional<iface::InterfaceAddress> before;
  if (const iface::InterfaceAddress* same = old->find(request.address)) before = *same;
  // On an interface there are several IPv6 addresses by nature: a new one takes nobody's place.
  if (!request.alias && request.address.is_v4()) {
    // One that the interface has given itself is nobody's primary.
    const auto primary = std::ranges::find_if(changed.addresses, [](const iface::InterfaceAddress& a) {
      return a.address.is_v4() && !a.is(iface::address_flag::autoconf);
    });
    if (primary != changed.addresses.end()) {
      const iface::InterfaceAddress gone = *primary;
      route::remove_connected(network.fibs, changed, gone);
      std::erase(changed.addresses, gone);
    }
  }
  const auto present = std::ranges::find(changed.addresses, request.address, &iface::InterfaceAddress::address);
  if (present != changed.addresses.end()) {
    route::remove_connected(network.fibs, changed, *present);
    changed.addresses.erase(present);
  }
  iface::InterfaceAddress address{.address = request.address};
  set_state(network, *old, request, before, address);
  if (request.address.is_v4()) address.flags &= ~iface::address_flag::autoconf;
  address.prefix_length = request.prefix_length.value_or(
      request.address.is_v4() ? request.address.v4().class_prefix_length() : std::uint8_t{64});
  if (address.prefix_length > request.address.bit_length()) return Errno::inval;
  address.peer = request.peer;
  if (request.address.is_v4() && changed.is(iface::flag::broadcast) && address.prefix_length <= 30)
    address.broadcast =
        request.broadcast.value_or(wire::Ipv4Prefix{request.address.v4(), address.prefix_length}.broadcast());
  const bool first = changed.addresses.empty();
  changed.addresses.insert(request.alias || request.address.is_v6() ? changed.addresses.end() : changed.addresses.begin(), address);
  if (first) changed.flags |= iface::flag::up;
  network.interfaces = network.interfaces.with(changed);
  add_connected(network, *network.interfaces.by_index(index), address);
  return Errno::ok;
}

Errno remove_address(Network& network, std::uint32_t index, const std::optional<wire::IpAddress>& address) {
  const iface::Interface* old = network.interfaces.by_index(index);
  if (old == nullptr) return Errno::nxio;
  iface::Interface changed = *old;
  const auto found = std::find_if(
      changed.addresses.begin(), changed.addresses.end(),
      [&](const iface::InterfaceAddress& a) { return address ? a.address == address->with_zone(index) : a.address.is_v4(); });
  if (found == changed.addresses.end()) return Errno::addrnotavail;
  const iface::InterfaceAddress gone = *found;
  route::remove_connected(network.fibs, changed, gone);
  changed.addresses.erase(found);
  network.interfaces = network.interfaces.with(std::move(changed));
  return Errno::ok;
}

Errno add_route(Network& network, const RouteRequest& request) {
  const auto r = make_route(network, request);
  if (!r) return r.error();
  auto next = network.fibs[request.fib].with(*r);
  if (!next) return errno_of(next.error());
  network.fibs[request.fib] = std::move(*next);
  return Errno::ok;
}

Errno remove_route(Network& network, const RouteRequest& request) {
  auto next = network.fibs[request.fib].without(
      {.prefix = request.prefix, .gateway = request.gateway, .interface_index = request.interface_index});
  if (!next) return errno_of(next.error());
  network.fibs[request.fib] = std::move(*next);
  return Errno::ok;
}

Errno change_route(Network& network, const RouteRequest& request) {
  const auto r = make_route(network, request);
  if (!r) return r.error();
  auto next =
      network.fibs[request.fib].changed({.prefix = request.prefix, .gateway = {}, .interface_index = {}}, *r);
  if (!next) return errno_of(next.error());
  network.fibs[request.fib] = std::move(*next);
  return Errno::ok;
}

std::size_t flush_routes(Network& network, std::uint8_t fib, std::optional<wire::IpFamily> only) {
  std::vector<route::Route> gone;
  network.fibs[fib].for_each([&](const route::Route& r) {
    if (r.gateway && (!only || r.prefix.address.family() == *only)) gone.push_back(r);
  });
  for (const route::Route& r : gone)
    if (auto next = network.fibs[fib].without(
            {.prefix = r.prefix, .gateway = r.gateway, .interface_index = r.interface_index}))
      network.fibs[fib] = std::move(*next);
  return gone.size();
}

}  // namespace iopkt::control
