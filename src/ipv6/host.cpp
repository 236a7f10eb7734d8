#include "ipv6/host.hpp"

#include <algorithm>

namespace iopkt::ipv6 {
namespace {

namespace aflag = iface::address_flag;
using iface::InterfaceAddress;
using wire::IpAddress;
using wire::Ipv6Address;

constexpr Duration kSolicitInterval = 4s;    // RTR_SOLICITATION_INTERVAL
constexpr std::uint32_t kSolicits = 3;       // MAX_RTR_SOLICITATIONS
constexpr std::uint64_t kDelayNs = 1'000'000'000;  // MAX_RTR_SOLICITATION_DELAY
constexpr Duration kParametersTime = 1s;     // between two changes of a link's parameters
}  // namespace

std::unique_ptr<Discovery> make_host(const DiscoveryConfig& config) { return std::make_unique<Host>(config); }

Instant Host::Prefix::until() const { return after(heard, said.valid_s); }
Instant Host::Prefix::preferred_until() const { return after(heard, said.preferred_s); }

std::optional<DiscoveryMessage> Host::solicit(const iface::Interface& out, const neigh::Key& key, bool unicast) const {
  // RFC 4861 section 7.2.2: preferably from the address of the packet that asks; of the link's own is good for all.
  const InterfaceAddress* from = nullptr;
  for (const InterfaceAddress& a : out.addresses) {
    if (!is_settled(a) || a.is(aflag::anycast)) continue;
    if (from == nullptr || is_link_local(a)) from = &a;
  }
  if (from == nullptr) return std::nullopt;
  DiscoveryMessage m{.interface_index = out.index, .src = from->address, .dst = key.address, .bytes = {}};
  if (!unicast) m.dst = out.here(key.address.v6().solicited_node());
  wire::append_neighbour_solicitation(m.bytes, {key.address.v6()}, out.mac);
  return m;
}

void Host::neighbour_changed(const neigh::Key& key, bool reachable) {
  const auto link = links_.find(key.interface_index);
  if (link == links_.end()) return;
  for (Router& r : link->second.routers) {
    if (r.address != key.address.v6() || r.reachable == reachable) continue;
    r.reachable = reachable;
    deadline_ = Instant{};
  }
  for (MoreSpecific& r : link->second.routes) {
    if (r.router != key.address.v6() || r.reachable == reachable) continue;
    r.reachable = reachable;
    deadline_ = Instant{};
  }
}

bool Host::run(Instant now, const Tables& tables, DiscoveryOutcome& out) {
  deadline_ = Instant::never();
  bool changed = false;
  std::erase_if(links_, [&](const auto& one) { return tables.interfaces.by_index(one.first) == nullptr; });
  // A copy: each change of an interface makes another table.
  const std::vector<iface::InterfaceTable::Pointer> all(tables.interfaces.all().begin(), tables.interfaces.all().end());
  for (const auto& one : all) {
    iface::Interface interface = *one;
    Link& link = links_[interface.index];
    if (run_link(link, interface, now, out)) {
      tables.interfaces = tables.interfaces.with(interface);
      changed = true;
    }
    deadline_ = std::min(deadline_, deadline_of(link));
    for (const Lifetime& life : link.lifetimes) {
      const Instant next = life.preferred_most.is_never() || life.succeeded ? life.preferred : life.preferred - regenerate_advance(link);
      for (const Instant at : {next, life.preferred, life.valid})
        if (at > now) deadline_ = std::min(deadline_, at);
    }
  }
  send_delayed(now, out);
  changed = install_routes(tables.fibs) || changed;
  news_.taken(now, changed);
  return changed;
}

void Host::send_delayed(Instant now, DiscoveryOutcome& out) {
  for (Delayed& one : delayed_) {
    if (one.at <= now) out.send.push_back(std::move(one.message));
    else deadline_ = std::min(deadline_, one.at);
  }
  std::erase_if(delayed_, [&](const Delayed& one) { return one.at <= now; });
}

bool Host::run_link(Link& link, iface::Interface& interface, Instant now, DiscoveryOutcome& out) {
  // Of a loopback interface nothing but the ends of its addresses is to be seen to.
  const bool up = !interface.is_loopback() && interface.is_up() && interface.link_up && interface.mtu >= wire::Ipv6View::kMinMtu;
  bool changed = false;
  if (up && !link.up) changed = came_up(link, interface, now);
  if (!up && link.up) link = Link{.conflicts = link.conflicts, .lifetimes = std::move(link.lifetimes)};
  link.up = up;
  follow_operator(link, interface);
  changed |= expire_addresses(link, interface, now);
  if (up) changed |= run_up(link, interface, now, out);
  if (changed) write_lifetimes(link, interface);
  return changed;
}

bool Host::run_up(Link& link, iface::Interface& interface, Instant now, DiscoveryOutcome& out) {
  bool changed = false;
  forget_expired(link, now);
  changed |= add_link_local(link, interface);
  changed |= form_addresses(link, interface, now);
  changed |= form_temporaries(link, interface, now);
  changed |= detect(link, interface, now, out);
  changed |= set_parameters(link, interface, now);
  solicit_routers(link, interface, now, out);
  return changed;
}

/// RFC 4862 section 5.4: what was ours before the link was away may be somebody else's now.
bool Host::came_up(Link& link, iface::Interface& interface, Instant now) {
  bool changed = false;
  for (InterfaceAddress& a : interface.addresses) {
    if (!a.address.is_v6() || !a.is_usable()) continue;
    const std::uint32_t flags = (a.flags & ~aflag::optimistic) | first_flags(interface, a.flags);
    changed |= flags != a.flags;
    a.flags = flags;
  }
  link.solicits_left = kSolicits;
  // Usually the end of the detection for the link-local address comes first, and asks at once.
  link.next_solicit = now + link.retransmit() * (config_.tunables.dad_count + 1) + Duration{static_cast<std::int64_t>(random_.below(kDelayNs))};
  return changed;
}

/// Each change costs a table for all shards, and anybody on the link can say another thing with each packet: what was said last counts,
/// at most once a while.
bool Host::set_parameters(Link& link, iface::Interface& interface, Instant now) {
  const std::uint32_t mtu = link.mtu.value_or(0);
  const bool changed = interface.mtu6 != mtu || interface.hop_limit6 != link.hop_limit ||
                       interface.reachable6_ms != link.reachable_ms || interface.retransmit6_ms != link.retransmit_ms;
  link.parameters_wait = changed && now < link.next_parameters;
  if (!changed || link.parameters_wait) return false;
  link.next_parameters = now + kParametersTime;
  interface.mtu6 = mtu;
  interface.hop_limit6 = link.hop_limit;
  interface.reachable6_ms = link.reachable_ms;
  interface.retransmit6_ms = link.retransmit_ms;
  return true;
}

/// RFC 4861 section 6.3.7.
void Host::solicit_routers(Link& link, const iface::Interface& interface, Instant now, DiscoveryOutcome& out) {
  if (config_.tunables.accept_rtadv == 0 || config_.tunables.forwarding != 0) return;
  if (!interface.is(iface::flag::multicast)) link.solicits_left = 0, link.next_solicit = Instant::never();
  if (link.solicits_left == 0 || link.next_solicit > now) return;
  link.next_solicit = --link.solicits_left == 0 ? Instant::never() : now + kSolicitInterval;
  DiscoveryMessage m{.interface_index = interface.index, .src = Ipv6Address::any(), .dst = interface.here(Ipv6Address::all_routers()), .bytes = {}};
  const auto from = std::ranges::find_if(interface.addresses, [](const InterfaceAddress& a) { return is_link_local(a) && is_settled(a); });
  const bool has = from != interface.addresses.end();
  if (has) m.src = from->address;
  wire::append_router_solicitation(m.bytes, has ? std::optional{interface.mac} : std::nullopt);
  out.send.push_back(std::move(m));
}

void Host::forget_expired(Link& link, Instant now) {
  const auto over = [&](const auto& one) { return one.until <= now; };
  std::erase_if(link.routers, over);
  std::erase_if(link.redirects, over);
  std::erase_if(link.servers, over);
  std::erase_if(link.domains, over);
  std::erase_if(link.routes, over);
  std::erase_if(link.prefixes, [&](const Prefix& p) { return !p.fresh && p.until() <= now; });
}

Instant Host::deadline_of(const Link& link) const {
  Instant at = link.up ? link.next_solicit : Instant::never();
  if (config_.tunables.accept_rtadv == 0 || config_.tunables.forwarding != 0) at = Instant::never();
  if (link.parameters_wait) at = std::min(at, link.next_parameters);
  for (const Router& r : link.routers) at = std::min(at, r.until);
  for (const Redirect& r : link.redirects) at = std::min(at, r.until);
  for (const Server& s : link.servers) at = std::min(at, s.until);
  for (const Domain& d : link.domains) at = std::min(at, d.until);
  for (const MoreSpecific& r : link.routes) at = std::min(at, r.until);
  for (const Prefix& p : link.prefixes) at = std::min(at, p.until());
  for (const Detection& d : link.detections) at = std::min(at, d.next);
  return at;
}

bool Host::solicit_again(std::uint32_t interface_index, Instant now) {
  const auto link = links_.find(interface_index);
  if (link == links_.end() || !link->second.up || config_.tunables.accept_rtadv == 0 || config_.tunables.forwarding != 0) return false;
  link->second.solicits_left = kSolicits;
  link->second.next_solicit = now;
  wake(now);
  return true;
}

std::size_t Host::forget(What what, Instant now) {
  std::size_t count = 0;
  for (auto& [index, link] : links_) {
    count += what == What::prefixes ? link.prefixes.size() : link.routers.size();
    if (what == What::prefixes) link.prefixes.clear();
    else link.routers.clear(), link.routes.clear();
  }
  wake(now);
  return count;
}

DiscoveryState Host::state() const {
  DiscoveryState out;
  out.settled = !news_.waits() && std::ranges::none_of(links_, [](const auto& one) { return one.second.parameters_wait; });
  for (const auto& [index, link] : links_) {
    for (const Router& r : link.routers)
      out.routers.push_back({index, IpAddress{r.address, index}, r.preference, r.reachable, r.managed, r.other, r.until});
    for (const Prefix& p : link.prefixes)
      out.prefixes.push_back({index, wire::IpPrefix::of(p.said.prefix, p.said.length), p.said.on_link, p.said.autonomous, p.until(),
                              p.preferred_until()});
    for (const MoreSpecific& r : link.routes)
      out.routes.push_back({index, r.prefix, IpAddress{r.router, index}, r.preference, r.until});
    for (const Server& s : link.servers) out.dns_servers.push_back({index, IpAddress{s.address, index}, s.until});
    for (const Domain& d : link.domains) out.dns_domains.push_back({index, d.name, d.until});
    for (const Lifetime& life : link.lifetimes) out.lifetimes.push_back({index, life.address, life.preferred, life.valid});
    if (link.up) out.links.push_back({index, link.base_reachable_ms, link.retransmit_ms, link.hop_limit, link.advertisements});
  }
  return out;
}

}  // namespace iopkt::ipv6
