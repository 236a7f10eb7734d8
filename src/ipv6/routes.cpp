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
  std::vector<route::Route> wanted = wanted_routes();
  if (!std::exchange(tables_are_new_, false) && orphans_.empty() && wanted == installed_) return false;
  bool changed = false;
  for (route::Fib& fib : fibs) {
    for (const route::Route& r : orphans_)
      if (auto next = fib.without({.prefix = r.prefix, .gateway = {}, .interface_index = r.interface_index}))
        fib = std::move(*next), changed = true;
    changed |= install_routes(fib, wanted);
  }
  orphans_.clear();
  installed_ = std::move(wanted);
  return changed;
}

/// With an operator's address the route to its network goes, as control took it in; unless another address is on that network.
void Host::leave_network(const iface::Interface& interface, const iface::InterfaceAddress& address) {
  if (address.is(iface::address_flag::autoconf) || address.address.has_zone()) return;
  for (const iface::InterfaceAddress& other : interface.addresses)
    if (other.address != address.address && other.network() == address.network()) return;
  orphans_.push_back({.prefix = address.network(), .gateway = {}, .interface_index = interface.index, .source = {}});
}

namespace {

bool contains(std::span<const route::Route> all, const route::Route& r) { return std::ranges::find(all, r) != all.end(); }

/// An operator's own route to the same place stays as it is, and is not ours to take away.
bool has_other(const route::Fib& fib, const route::Route& r) {
  return std::ranges::any_of(fib.find(r.prefix), [&](const route::Route& one) { return one.same_entry(r) && one != r; });
}

}  // namespace

/// The order of several routes to one place is that of their addition: another order is another set.
bool Host::is_reordered(const route::Fib& fib, const wire::IpPrefix& prefix, std::span<const route::Route> wanted) const {
  std::vector<route::Route> present, right;
  for (const route::Route& r : fib.find(prefix))
    if (contains(installed_, r)) present.push_back(r);
  for (const route::Route& r : wanted)
    if (r.prefix == prefix && !has_other(fib, r)) right.push_back(r);
  return present != right;
}

/// Asks the FIB itself what it holds: operators flush routes, and take addresses away together with the routes to their networks.
bool Host::install_routes(route::Fib& fib, std::span<const route::Route> wanted) const {
  const auto holds = [&](const route::Route& r) { return contains(fib.find(r.prefix), r); };
  const auto reordered = [&](const route::Route& r) { return r.gateway && is_reordered(fib, r.prefix, wanted); };
  std::vector<route::Route> gone;
  for (const route::Route& r : installed_)
    if (holds(r) && (!contains(wanted, r) || reordered(r))) gone.push_back(r);
  bool changed = false;
  for (const route::Route& r : gone)
    if (auto next = fib.without({.prefix = r.prefix, .gateway = r.gateway, .interface_index = r.interface_index}))
      fib = std::move(*next), changed = true;
  for (const route::Route& r : wanted)
    if (!holds(r))
      if (auto next = fib.with(r)) fib = std::move(*next), changed = true;
  return changed;
}

}  // namespace iopkt::ipv6
