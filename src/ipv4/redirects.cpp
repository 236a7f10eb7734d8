#include "ipv4/redirects.hpp"

#include <algorithm>

namespace iopkt::ipv4 {

Expected<void, packet::Drop> Redirects::heard(const iface::Interface& in, std::span<const route::Fib> fibs, const icmp::Redirected& said,
                                              Instant now) {
  const auto refused = unexpected(packet::Drop::icmp_ignored);
  const wire::Ipv4Address to = said.destination;
  if (ipv4_.forwarding != 0 || to.is_multicast() || to.is_limited_broadcast() || to.is_zero_network() || to.is_loopback()) return refused;
  // Only the router that is in use for this destination knows a better way. Another FIB may have another one.
  FibSet concerned;
  for (const route::Fib& fib : fibs) {
    const route::Route* present = fib.lookup(to);
    if (present != nullptr && present->interface_index == in.index && present->gateway == said.from) concerned.set(fib.number());
  }
  if (concerned.none()) return refused;
  const auto left = [&](const Entry& e) { return e.destination == to ? e.fibs & ~concerned : e.fibs; };
  // What is refused takes nothing away.
  if (std::ranges::count_if(entries_, [&](const Entry& e) { return left(e).any(); }) >= std::ptrdiff_t{kMost}) return refused;
  for (Entry& e : entries_) e.fibs = left(e);
  std::erase_if(entries_, [](const Entry& e) { return e.fibs.none(); });
  entries_.push_back({concerned, to, said.gateway, in.index, now + std::chrono::seconds{icmp_.redirect_timeout_s}});
  wake(news_.due(now));
  return {};
}

bool Redirects::run(Instant now, const iface::InterfaceTable& interfaces, std::span<route::Fib> fibs) {
  namespace rflag = route::flag;
  deadline_ = Instant::never();
  std::array<std::vector<route::Route>, route::kFibCount> wanted;
  std::erase_if(entries_, [&](const Entry& e) {
    const iface::Interface* out = interfaces.by_index(e.interface_index);
    return e.until <= now || icmp_.drop_redirect != 0 || ipv4_.forwarding != 0 || out == nullptr || !out->is_up() || !out->link_up ||
           out->connected(e.gateway) == nullptr;
  });
  for (const Entry& e : entries_) {
    route::Route r{.prefix = wire::IpPrefix::host(e.destination), .gateway = std::nullopt, .interface_index = e.interface_index,
                   .flags = rflag::up | rflag::host | rflag::dynamic, .source = std::nullopt};
    if (e.gateway != e.destination) r.gateway = e.gateway, r.flags |= rflag::gateway;
    for (const route::Fib& fib : fibs)
      if (e.fibs[fib.number()]) wanted[fib.number()].push_back(r);
    wake(e.until);
  }
  const bool look = std::exchange(look_, false);
  bool changed = false;
  for (route::Fib& fib : fibs) changed |= routes_[fib.number()].install({&fib, 1}, std::move(wanted[fib.number()]), look);
  news_.taken(now, changed);
  return changed;
}

}  // namespace iopkt::ipv4
