// Routes that routers said, in every FIB: RFC 4861 sections 6.3.4 and 8.3, RFC 4191.
#include <algorithm>

#include "ipv6/host.hpp"

namespace iopkt::ipv6 {

namespace rflag = route::flag;
using wire::IpAddress;
using wire::Ipv6Address;

std::vector<route::Route> Host::wanted_routes() const {
  // RFC 4861 6.3.6, RFC 4191 3.2: who answers first, then who is preferred; the first of equals stays the first.
  const auto is_better = [](const auto* a, const auto* b) {
    if (a->reachable != b->reachable) return a->reachable;
    return a->preference > b->preference;
  };
  struct Default {
    const Router* router;
    std::uint32_t index;
  };
  std::vector<route::Route> out;
  struct More {
    const MoreSpecific* route;
    std::uint32_t index;
  };
  std::vector<Default> defaults;
  std::vector<More> more;
  for (const auto& [index, link] : links_) {
    if (!link.up) continue;
    for (const Prefix& p : link.prefixes)
      if (p.said.on_link && p.said.valid_s != 0)
        out.push_back({.prefix = wire::IpPrefix::of(p.said.prefix, p.said.length), .interface_index = index,
                       .flags = rflag::up | rflag::cloning | rflag::dynamic});
    for (const Redirect& r : link.redirects) {
      route::Route route{.prefix = wire::IpPrefix::host(r.destination), .interface_index = index,
                         .flags = rflag::up | rflag::host | rflag::dynamic};
      if (r.target != r.destination) route.gateway = IpAddress{r.target, index}, route.flags |= rflag::gateway;
      out.push_back(route);
    }
    for (const Router& r : link.routers) defaults.push_back({&r, index});
    for (const MoreSpecific& r : link.routes) more.push_back({&r, index});
  }
  std::ranges::stable_sort(defaults, is_better, &Default::router);
  std::ranges::stable_sort(more, is_better, &More::route);
  for (const Default& d : defaults)
    out.push_back({.prefix = wire::IpPrefix::of(Ipv6Address::any(), 0), .gateway = IpAddress{d.router->address, d.index},
                   .interface_index = d.index, .flags = rflag::up | rflag::gateway | rflag::dynamic});
  for (const More& m : more)
    out.push_back({.prefix = m.route->prefix, .gateway = IpAddress{m.route->router, m.index}, .interface_index = m.index,
                   .flags = rflag::up | rflag::gateway | rflag::dynamic | (m.route->prefix.is_host() ? rflag::host : 0u)});
  return out;
}

bool Host::install_routes(std::span<route::Fib> fibs) {
  bool changed = false;
  for (route::Fib& fib : fibs)
    for (const route::Route& r : orphans_)
      if (auto next = fib.without({.prefix = r.prefix, .gateway = {}, .interface_index = r.interface_index}))
        fib = std::move(*next), changed = true;
  const bool look = std::exchange(tables_are_new_, false) || !orphans_.empty();
  orphans_.clear();
  return routes_.install(fibs, wanted_routes(), look) || changed;
}

/// With an operator's address the route to its network goes, as control took it in; unless another address is on that network.
void Host::leave_network(const iface::Interface& interface, const iface::InterfaceAddress& address) {
  if (address.is(iface::address_flag::autoconf) || address.address.has_zone()) return;
  for (const iface::InterfaceAddress& other : interface.addresses)
    if (other.address != address.address && other.network() == address.network()) return;
  orphans_.push_back({.prefix = address.network(), .gateway = {}, .interface_index = interface.index, .source = {}});
}

}  // namespace iopkt::ipv6
