#include "filter/hooks.hpp"

#include <algorithm>

namespace iopkt::filter {

void FilterChain::add(Hook hook, Filter filter, void* context) {
  filters_[static_cast<std::size_t>(hook)].push_back({filter, context});
}

void FilterChain::remove(Hook hook, Filter filter, void* context) {
  std::erase(filters_[static_cast<std::size_t>(hook)], Entry{filter, context});
}

Expected<void, Drop> FilterChain::run(Hook hook, const iface::Interface& interface,
                                      packet::Packet& packet) const {
  for (const Entry& entry : filters_[static_cast<std::size_t>(hook)])
    if (auto verdict = entry.filter(entry.context, hook, interface, packet); !verdict) return verdict;
  return {};
}

Expected<EgressPass, Drop> FilterChain::egress(const iface::Interface& interface,
                                               packet::Packet& packet) const {
  if (auto verdict = run(Hook::out, interface, packet); !verdict) return unexpected(verdict.error());
  return EgressPass{};
}

}  // namespace iopkt::filter
