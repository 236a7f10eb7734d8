#include "route/dynamic.hpp"

#include <algorithm>

namespace iopkt::route {

bool DynamicRoutes::install(std::span<Fib> fibs, std::vector<Route> wanted, bool look) {
  if (!look && wanted == installed_) return false;
  bool changed = false;
  for (Fib& fib : fibs) changed |= install(fib, wanted);
  installed_ = std::move(wanted);
  return changed;
}

namespace {

bool contains(std::span<const Route> all, const Route& r) { return std::ranges::find(all, r) != all.end(); }

/// An operator's own route to the same place stays as it is, and is not ours to take away.
bool has_other(const Fib& fib, const Route& r) {
  return std::ranges::any_of(fib.find(r.prefix), [&](const Route& one) { return one.same_entry(r) && one != r; });
}

}  // namespace

/// The order of several routes to one place is that of their addition: another order is another set.
bool DynamicRoutes::is_reordered(const Fib& fib, const wire::IpPrefix& prefix, std::span<const Route> wanted) const {
  std::vector<Route> present, right;
  for (const Route& r : fib.find(prefix))
    if (contains(installed_, r)) present.push_back(r);
  for (const Route& r : wanted)
    if (r.prefix == prefix && !has_other(fib, r)) right.push_back(r);
  return present != right;
}

/// Asks the FIB itself what it holds: operators flush routes, and take addresses away together with the routes to their networks.
bool DynamicRoutes::install(Fib& fib, std::span<const Route> wanted) const {
  const auto holds = [&](const Route& r) { return contains(fib.find(r.prefix), r); };
  const auto reordered = [&](const Route& r) { return r.gateway && is_reordered(fib, r.prefix, wanted); };
  std::vector<Route> gone;
  for (const Route& r : installed_)
    if (holds(r) && (!contains(wanted, r) || reordered(r))) gone.push_back(r);
  bool changed = false;
  for (const Route& r : gone)
    if (auto next = fib.without({.prefix = r.prefix, .gateway = r.gateway, .interface_index = r.interface_index}))
      fib = std::move(*next), changed = true;
  for (const Route& r : wanted)
    if (!holds(r))
      if (auto next = fib.with(r)) fib = std::move(*next), changed = true;
  return changed;
}

}  // namespace iopkt::route
