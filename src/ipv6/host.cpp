#include "ipv6/host.hpp"

#include <algorithm>
#include <array>

namespace iopkt::ipv6 {
namespace {

namespace aflag = iface::address_flag;
namespace rflag = route::flag;
using iface::InterfaceAddress;
using wire::IpAddress;
using wire::Ipv6Address;

constexpr Duration kRetransmit = 1s;         // RFC 4861 section 10: RETRANS_TIMER
constexpr Duration kSolicitInterval = 4s;    // RTR_SOLICITATION_INTERVAL
constexpr std::uint32_t kSolicits = 3;       // MAX_RTR_SOLICITATIONS
constexpr std::uint64_t kDelayNs = 1'000'000'000;  // MAX_RTR_SOLICITATION_DELAY
constexpr std::uint32_t kConflictsMax = 3;   // RFC 7217 section 6: IDGEN_RETRIES
constexpr Duration kLifetimeStep = 2s;       // by which an address's lifetimes move at least
constexpr Duration kTwoHours = 7200s;        // RFC 4862 section 5.5.3 (e)
constexpr Ipv6Address kLinkLocalPrefix{{0xfe, 0x80}};

Instant after(Instant now, std::uint32_t seconds) {
  return seconds == wire::kLifetimeForever ? Instant::never() : now + std::chrono::seconds{seconds};
}

/// Whether the end of a lifetime is worth another Network for all shards: whoever repeats an advertisement moves it by the time
/// that went by. One that was over stays over, and a short lifetime is followed more closely.
bool is_news(Instant old, Instant next, Instant now) {
  if (old <= now || next <= now) return (old <= now) != (next <= now);
  if (old.is_never() || next.is_never()) return old != next;
  const Duration moved = next > old ? next - old : old - next;
  return moved > std::min<Duration>(kLifetimeStep, (next - now) / 4);
}

bool is_link_local(const InterfaceAddress& a) { return a.address.is_v6() && a.address.is_link_local(); }

/// RFC 5453: the anycast address of routers, and those of RFC 2526 and of the IANA's block.
bool is_reserved_identifier(std::uint64_t id) {
  return id == 0 || (id >= 0x02005efffe000000 && id <= 0x02005efffeffffff) || id >= 0xfdffffffffffff80;
}

}  // namespace

std::unique_ptr<Discovery> make_host(const DiscoveryConfig& config) { return std::make_unique<Host>(config); }

Ipv6Address stable_address(HashKey secret, const Ipv6Address& prefix, std::string_view interface_name, std::uint32_t conflicts) {
  std::array<std::byte, 8 + 16 + 4> input{};
  Ipv6Address address = prefix;
  for (;;) {
    std::copy_n(as_bytes(prefix.bytes.data(), 8).begin(), 8, input.begin());
    const auto name = as_bytes(interface_name.data(), std::min<std::size_t>(interface_name.size(), 16));
    std::copy(name.begin(), name.end(), input.begin() + 8);
    store_be32(input, 24, conflicts);
    const std::uint64_t id = siphash24(secret, input);
    if (!is_reserved_identifier(id)) {
      for (std::size_t i = 0; i < 8; ++i) address.bytes[8 + i] = static_cast<std::uint8_t>(id >> (56 - 8 * i));
      return address;
    }
    // Practically never; kConflictsMax away from the row of real conflicts.
    conflicts += kConflictsMax + 1;
  }
}

Instant Host::Prefix::until() const { return after(heard, said.valid_s); }

bool Host::wants_detection(const iface::Interface& interface, std::uint32_t flags) const {
  return config_.tunables.dad_count != 0 && interface.link_type == iface::LinkType::ethernet &&
         interface.is(iface::flag::multicast) && !interface.is(iface::flag::no_arp) && (flags & (aflag::anycast | aflag::no_dad)) == 0;
}

std::optional<DiscoveryMessage> Host::solicit(const iface::Interface& out, const neigh::Key& key, bool unicast) const {
  // RFC 4861 section 7.2.2: preferably from the address of the packet that asks; of the link's own is good for all.
  const InterfaceAddress* from = nullptr;
  for (const InterfaceAddress& a : out.addresses) {
    if (!a.address.is_v6() || !a.is_usable() || a.is(aflag::anycast)) continue;
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
}

bool Host::run(Instant now, const Tables& tables, DiscoveryOutcome& out) {
  deadline_ = Instant::never();
  bool changed = false;
  std::erase_if(links_, [&](const auto& one) { return tables.interfaces.by_index(one.first) == nullptr; });
  // A copy: each change of an interface makes another table.
  const std::vector<iface::InterfaceTable::Pointer> all(tables.interfaces.all().begin(), tables.interfaces.all().end());
  for (const auto& one : all) {
    if (one->is_loopback()) continue;
    iface::Interface interface = *one;
    Link& link = links_[interface.index];
    if (run_link(link, interface, now, out)) {
      tables.interfaces = tables.interfaces.with(interface);
      changed = true;
    }
    deadline_ = std::min(deadline_, deadline_of(link));
    for (const InterfaceAddress& a : interface.addresses) {
      if (a.valid_until > now) deadline_ = std::min(deadline_, a.valid_until);
      if (a.preferred_until > now) deadline_ = std::min(deadline_, a.preferred_until);
    }
  }
  return install_routes(tables.fibs) || changed;
}

bool Host::run_link(Link& link, iface::Interface& interface, Instant now, DiscoveryOutcome& out) {
  const bool up = interface.is_up() && interface.link_up && interface.mtu >= wire::Ipv6View::kMinMtu;
  bool changed = false;
  if (up && !link.up) changed = came_up(link, interface, now);
  if (!up && link.up) link = Link{.conflicts = link.conflicts};
  link.up = up;
  changed |= expire_addresses(interface, now);
  if (!up) return changed;
  forget_expired(link, now);
  changed |= add_link_local(link, interface);
  changed |= form_addresses(link, interface, now);
  changed |= detect(link, interface, now, out);
  changed |= set_parameters(link, interface);
  solicit_routers(link, interface, now, out);
  return changed;
}

/// RFC 4862 section 5.4: what was ours before the link was away may be somebody else's now.
bool Host::came_up(Link& link, iface::Interface& interface, Instant now) {
  bool changed = false;
  for (InterfaceAddress& a : interface.addresses) {
    if (!a.address.is_v6() || !a.is_usable() || !wants_detection(interface, a.flags)) continue;
    a.flags |= aflag::tentative;
    changed = true;
  }
  link.solicits_left = kSolicits;
  // Usually the end of the detection for the link-local address comes first, and asks at once.
  link.next_solicit = now + kRetransmit * (config_.tunables.dad_count + 1) + Duration{static_cast<std::int64_t>(random_.below(kDelayNs))};
  return changed;
}

bool Host::add_link_local(Link& link, iface::Interface& interface) {
  if (config_.tunables.auto_linklocal == 0 || !interface.is(iface::flag::multicast)) return false;
  if (std::ranges::any_of(interface.addresses, is_link_local)) return false;
  InterfaceAddress a{.address = interface.here(stable_address(config_.secret, kLinkLocalPrefix, interface.name, link.conflicts)),
                     .prefix_length = 64,
                     .flags = aflag::autoconf};
  if (wants_detection(interface, 0)) a.flags |= aflag::tentative;
  interface.addresses.push_back(a);
  return true;
}

/// RFC 4862 section 5.5.3, with the identifiers of RFC 7217.
bool Host::form_addresses(Link& link, iface::Interface& interface, Instant now) {
  bool changed = false;
  for (Prefix& p : link.prefixes) {
    if (!std::exchange(p.fresh, false) || !p.said.autonomous || p.said.length != 64 || p.said.preferred_s > p.said.valid_s) continue;
    const auto network = wire::IpPrefix::of(p.said.prefix, 64);
    const Instant valid = after(p.heard, p.said.valid_s), preferred = after(p.heard, p.said.preferred_s);
    bool known = false;
    for (InterfaceAddress& a : interface.addresses) {
      if (!a.is(aflag::autoconf) || is_link_local(a) || !network.contains(a.address)) continue;
      known = true;
      // Nobody may end an address at once by a forged advertisement.
      const bool trusted = valid > now + kTwoHours || valid > a.valid_until;
      const Instant end = trusted ? valid : std::min(a.valid_until, now + kTwoHours);
      if (!is_news(a.preferred_until, preferred, now) && !is_news(a.valid_until, end, now)) continue;
      a.preferred_until = preferred;
      a.valid_until = end;
      if (preferred > now) a.flags &= ~aflag::deprecated;
      changed = true;
    }
    if (known || p.said.valid_s == 0) continue;
    // An address outlives its prefix's entry: what a flood of advertisements forms has a bound of its own.
    if (std::ranges::count_if(interface.addresses, [](const InterfaceAddress& a) { return a.is(aflag::autoconf) && !is_link_local(a); }) >=
        config_.tunables.max_prefixes) {
      ++config_.counters.addresses_left_out;
      continue;
    }
    InterfaceAddress a{.address = stable_address(config_.secret, network.address.v6(), interface.name, link.conflicts),
                       .prefix_length = static_cast<std::uint8_t>(p.said.on_link ? 64 : 128),
                       .flags = aflag::autoconf,
                       .preferred_until = preferred,
                       .valid_until = valid};
    if (wants_detection(interface, 0)) a.flags |= aflag::tentative;
    interface.addresses.push_back(a);
    ++config_.counters.addresses_formed;
    changed = true;
  }
  return changed;
}

bool Host::expire_addresses(iface::Interface& interface, Instant now) {
  bool changed = std::erase_if(interface.addresses, [&](const InterfaceAddress& a) { return a.valid_until <= now; }) != 0;
  for (InterfaceAddress& a : interface.addresses) {
    if (a.preferred_until > now || a.is(aflag::deprecated)) continue;
    a.flags |= aflag::deprecated;
    changed = true;
  }
  return changed;
}

/// Duplicate address detection of every tentative address: RFC 4862 section 5.4.
bool Host::detect(Link& link, iface::Interface& interface, Instant now, DiscoveryOutcome& out) {
  bool changed = false;
  std::erase_if(link.detections, [&](const Detection& d) {
    const InterfaceAddress* a = interface.find(d.address);
    return a == nullptr || !a->is(aflag::tentative);
  });
  for (const InterfaceAddress& a : interface.addresses) {
    if (!a.is(aflag::tentative)) continue;
    if (std::ranges::any_of(link.detections, [&](const Detection& d) { return d.address == a.address; })) continue;
    // The first message of an interface, and what an advertisement makes many hosts do at once, comes after a random delay.
    const bool delayed = a.is(aflag::autoconf);
    const Duration delay{delayed ? static_cast<std::int64_t>(random_.below(kDelayNs)) : 0};
    link.detections.push_back({.address = a.address, .left = config_.tunables.dad_count, .next = now + delay});
    ++config_.counters.dad_started;
  }
  std::vector<IpAddress> taken;
  for (Detection& d : link.detections) {
    if (d.taken) {
      taken.push_back(d.address);
    } else if (d.next <= now && d.left > 0) {
      --d.left;
      d.next = now + kRetransmit;
      DiscoveryMessage m{.interface_index = interface.index, .src = Ipv6Address::any(), .dst = {}, .bytes = {}};
      m.dst = interface.here(d.address.v6().solicited_node());
      wire::append_neighbour_solicitation(m.bytes, {d.address.v6()}, std::nullopt);
      out.send.push_back(std::move(m));
    } else if (d.next <= now) {
      for (InterfaceAddress& a : interface.addresses)
        if (a.address == d.address) a.flags &= ~aflag::tentative;
      // Now there is an address to ask from.
      if (d.address.is_link_local() && link.solicits_left != 0) link.next_solicit = now;
      d.next = Instant::never();
      changed = true;
    }
  }
  for (const IpAddress& address : taken) changed |= end_taken(link, interface, address, out);
  std::erase_if(link.detections, [](const Detection& d) { return d.taken || d.next.is_never(); });
  if (!taken.empty()) wake(now);  // another one is to be tried
  return changed;
}

/// RFC 7217 section 6: another identifier where it was ours to choose; otherwise the operator has to look.
bool Host::end_taken(Link& link, iface::Interface& interface, const IpAddress& address, DiscoveryOutcome& out) {
  ++config_.counters.dad_duplicates;
  out.log.push_back(interface.name + ": another station has " + address.v6().to_string());
  const auto at = std::ranges::find(interface.addresses, address, &InterfaceAddress::address);
  if (at == interface.addresses.end()) return false;
  at->flags = (at->flags & ~aflag::tentative) | aflag::duplicated;
  if (!at->is(aflag::autoconf) || link.conflicts >= kConflictsMax) return true;
  ++link.conflicts;
  interface.addresses.erase(at);
  for (Prefix& p : link.prefixes) p.fresh = true;
  return true;
}

bool Host::set_parameters(const Link& link, iface::Interface& interface) {
  const std::uint32_t mtu = link.mtu.value_or(0);
  const bool changed = interface.mtu6 != mtu || interface.hop_limit6 != link.hop_limit;
  interface.mtu6 = mtu;
  interface.hop_limit6 = link.hop_limit;
  return changed;
}

/// RFC 4861 section 6.3.7.
void Host::solicit_routers(Link& link, const iface::Interface& interface, Instant now, DiscoveryOutcome& out) {
  if (config_.tunables.accept_rtadv == 0 || config_.tunables.forwarding != 0) return;
  if (!interface.is(iface::flag::multicast)) link.solicits_left = 0, link.next_solicit = Instant::never();
  if (link.solicits_left == 0 || link.next_solicit > now) return;
  link.next_solicit = --link.solicits_left == 0 ? Instant::never() : now + kSolicitInterval;
  DiscoveryMessage m{.interface_index = interface.index, .src = Ipv6Address::any(), .dst = interface.here(Ipv6Address::all_routers()), .bytes = {}};
  const auto from = std::ranges::find_if(interface.addresses, [](const InterfaceAddress& a) { return is_link_local(a) && a.is_usable(); });
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
  std::erase_if(link.prefixes, [&](const Prefix& p) { return !p.fresh && p.until() <= now; });
}

std::vector<route::Route> Host::wanted_routes() const {
  struct Default {
    const Router* router;
    std::uint32_t index;
  };
  std::vector<route::Route> out;
  std::vector<Default> defaults;
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
  }
  // RFC 4861 6.3.6, RFC 4191 3.2: who answers first, then who is preferred; the first of equals stays the first.
  std::ranges::stable_sort(defaults, [](const Default& a, const Default& b) {
    if (a.router->reachable != b.router->reachable) return a.router->reachable;
    return a.router->preference > b.router->preference;
  });
  for (const Default& d : defaults)
    out.push_back({.prefix = wire::IpPrefix::of(Ipv6Address::any(), 0), .gateway = IpAddress{d.router->address, d.index},
                   .interface_index = d.index, .flags = rflag::up | rflag::gateway | rflag::dynamic});
  return out;
}

bool Host::install_routes(std::span<route::Fib> fibs) {
  std::vector<route::Route> wanted = wanted_routes();
  bool changed = false;
  for (route::Fib& fib : fibs) changed |= install_routes(fib, wanted);
  installed_ = std::move(wanted);
  return changed;
}

/// Asks the FIB itself what it holds: operators flush routes, and take addresses away together with the routes to their networks.
bool Host::install_routes(route::Fib& fib, std::span<const route::Route> wanted) const {
  const auto contains = [](std::span<const route::Route> all, const route::Route& r) { return std::ranges::find(all, r) != all.end(); };
  const auto holds = [&](const route::Route& r) { return contains(fib.find(r.prefix), r); };
  // An operator's own route to the same place stays as it is, and is not ours to take away.
  const auto has_other = [&](const route::Route& r) {
    return std::ranges::any_of(fib.find(r.prefix), [&](const route::Route& one) { return one.same_entry(r) && one != r; });
  };
  const auto is_default = [](const route::Route& r) { return r.prefix.length == 0; };
  // The order of several default routes is that of their addition: another order is another set.
  std::vector<route::Route> present, right;
  for (const route::Route& r : fib.find(wire::IpPrefix::of(Ipv6Address::any(), 0)))
    if (contains(installed_, r)) present.push_back(r);
  for (const route::Route& r : wanted)
    if (is_default(r) && !has_other(r)) right.push_back(r);
  const bool reorder = present != right;
  bool changed = false;
  for (const route::Route& r : installed_) {
    if ((contains(wanted, r) && !(reorder && is_default(r))) || !holds(r)) continue;
    if (auto next = fib.without({.prefix = r.prefix, .gateway = r.gateway, .interface_index = r.interface_index}))
      fib = std::move(*next), changed = true;
  }
  for (const route::Route& r : wanted)
    if (!holds(r))
      if (auto next = fib.with(r)) fib = std::move(*next), changed = true;
  return changed;
}

Instant Host::deadline_of(const Link& link) const {
  Instant at = link.up ? link.next_solicit : Instant::never();
  if (config_.tunables.accept_rtadv == 0 || config_.tunables.forwarding != 0) at = Instant::never();
  for (const Router& r : link.routers) at = std::min(at, r.until);
  for (const Redirect& r : link.redirects) at = std::min(at, r.until);
  for (const Server& s : link.servers) at = std::min(at, s.until);
  for (const Prefix& p : link.prefixes) at = std::min(at, p.until());
  for (const Detection& d : link.detections) at = std::min(at, d.next);
  return at;
}

DiscoveryState Host::state() const {
  DiscoveryState out;
  for (const auto& [index, link] : links_) {
    for (const Router& r : link.routers)
      out.routers.push_back({index, IpAddress{r.address, index}, r.preference, r.reachable, r.until});
    for (const Prefix& p : link.prefixes)
      out.prefixes.push_back({index, wire::IpPrefix::of(p.said.prefix, p.said.length), p.said.on_link, p.said.autonomous, p.until()});
    for (const Server& s : link.servers) out.dns_servers.push_back({index, IpAddress{s.address, index}, s.until});
  }
  return out;
}

}  // namespace iopkt::ipv6
