#include "ipv4/claims.hpp"

#include <algorithm>
#include <array>

#include "route/connected.hpp"

namespace iopkt::ipv4 {
namespace {

namespace aflag = iface::address_flag;
using iface::Detection;
using iface::Interface;
using iface::InterfaceAddress;
using wire::IpAddress;
using wire::Ipv4Address;

/// One that an interface has given itself.
bool is_own_link_local(const InterfaceAddress& a) { return a.address.is_v4() && a.is(aflag::autoconf); }

void remove_address(Interface& interface, std::vector<InterfaceAddress>::iterator at, const AddressClaims::Tables& tables) {
  route::remove_connected(tables.fibs, interface, *at);
  interface.addresses.erase(at);
}

}  // namespace

Ipv4Address link_local_address(const wire::MacAddress& mac, std::uint32_t conflicts) {
  // 169.254.1.0 to 169.254.254.255: the first and the last 256 are reserved.
  constexpr std::uint32_t kFirst = 169u << 24 | 254u << 16 | 1u << 8, kCount = 254 * 256;
  constexpr HashKey kAnyKey{0x3927, 0x169254};  // the same everywhere: stations have to differ, not to surprise
  std::array<std::byte, 10> input{};
  wire::store_mac(input, 0, mac);
  store_be32(input, 6, conflicts);
  return Ipv4Address{static_cast<std::uint32_t>(kFirst + siphash24(kAnyKey, input) % kCount)};
}

void AddressClaims::contested(const Interface& in, Ipv4Address address, Instant now, Outcome& out) {
  const InterfaceAddress* own = in.find(address);
  const auto link = links_.find(in.index);
  if (own == nullptr || link == links_.end()) return;
  const auto claim = std::ranges::find(link->second.claims, own->address, [](const Claim& c) { return c.asked.address; });
  if (claim == link->second.claims.end() || claim->lost) return;
  if (own->is(aflag::tentative)) {
    claim->asked.taken = true;
    return wake(now);
  }
  // RFC 5227 section 2.4 (c), RFC 3927 section 2.5 (b): once in a while, so that two that both defend themselves do not shout at each other.
  const bool again = claim->defended != Instant{} && now - claim->defended < kDefendInterval;
  if (!again) {
    claim->defended = now;
    ++counters_.dad_defended;
    out.log.push_back(in.name + ": another station uses our address " + address.to_string());
    return out.send.push_back({in.index, address, false});
  }
  // What an operator or a server gave stays; of our own there are others.
  if (!is_own_link_local(*own)) return;
  claim->lost = true;
  wake(now);
}

bool AddressClaims::run(Instant now, const Tables& tables, Outcome& out) {
  deadline_ = Instant::never();
  bool changed = false;
  std::erase_if(links_, [&](const auto& one) { return tables.interfaces.by_index(one.first) == nullptr; });
  const std::vector<iface::InterfaceTable::Pointer> all(tables.interfaces.all().begin(), tables.interfaces.all().end());
  for (const auto& one : all) {
    if (one->link_type != iface::LinkType::ethernet) continue;
    Interface interface = *one;
    Link& link = links_[interface.index];
    if (run_link(link, interface, now, tables, out)) {
      tables.interfaces = tables.interfaces.with(interface);
      changed = true;
    }
    for (const Claim& c : link.claims) wake(c.asked.next);
    if (interface.autoip && link.up && link.next_try > now) wake(link.next_try);
  }
  return changed;
}

bool AddressClaims::run_link(Link& link, Interface& interface, Instant now, const Tables& tables, Outcome& out) {
  const bool up = interface.is_up() && interface.link_up && !interface.is(iface::flag::no_arp);
  bool changed = false;
  if (up && !link.up) {
    link.claims.clear();
    changed = came_up(interface);
  }
  link.up = up;
  changed |= choose_link_local(link, interface, now, tables);
  if (!up) return changed;
  follow(link, interface, now);
  for (std::size_t i = 0; i < link.claims.size(); ++i) changed |= advance(link, link.claims[i], interface, now, tables, out);
  std::erase_if(link.claims, [&](const Claim& c) {
    const InterfaceAddress* a = interface.find(c.asked.address);
    return a == nullptr || a->is(aflag::duplicated);
  });
  return changed;
}

Duration AddressClaims::below(Duration most) { return Duration{static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(most.count())))}; }

/// RFC 5227 section 2.1: while the link was away somebody else may have come.
bool AddressClaims::came_up(Interface& interface) const {
  bool changed = false;
  for (InterfaceAddress& a : interface.addresses) {
    const bool asks = a.address.is_v4() && (tunables_.dad_count != 0 || is_own_link_local(a)) && a.is_usable();
    if (!asks || !iface::can_detect(interface, wire::IpFamily::v4, a.flags)) continue;
    a.flags |= aflag::tentative;
    changed = true;
  }
  return changed;
}

/// RFC 3927 sections 1.9 and 2.1: an address of our own where there is no other; beside another it is for what has it already.
bool AddressClaims::choose_link_local(Link& link, Interface& interface, Instant now, const Tables& tables) {
  const auto own = std::ranges::find_if(interface.addresses, is_own_link_local);
  const bool present = own != interface.addresses.end();
  const bool other = std::ranges::any_of(interface.addresses, [](const InterfaceAddress& a) {
    return a.address.is_v4() && !is_own_link_local(a) && !a.is(aflag::duplicated);
  });
  if (present && (!interface.autoip || (other && !own->is_usable()))) return remove_address(interface, own, tables), true;
  if (present) {
    const std::uint32_t flags = other ? own->flags | aflag::deprecated : own->flags & ~aflag::deprecated;
    return std::exchange(own->flags, flags) != flags;
  }
  if (!interface.autoip || other || !link.up || link.next_try > now) return false;
  InterfaceAddress a{.address = link_local_address(interface.mac, link.conflicts), .prefix_length = 16, .flags = aflag::autoconf | aflag::tentative};
  if (interface.is(iface::flag::broadcast)) a.broadcast = wire::Ipv4Prefix{a.address.v4(), 16}.broadcast();
  interface.addresses.push_back(a);
  for (route::Fib& fib : tables.fibs)
    if (auto next = fib.with(route::connected(interface, a))) fib = std::move(*next);
  return true;
}

/// Of each address that is or may become ours there is a claim, and of nothing else.
void AddressClaims::follow(Link& link, const Interface& interface, Instant now) {
  std::erase_if(link.claims, [&](const Claim& c) {
    const InterfaceAddress* a = interface.find(c.asked.address);
    // An operator may have it asked about anew that has long been in use.
    return a == nullptr || a->is(aflag::duplicated) || (a->is(aflag::tentative) && !c.probing);
  });
  for (const InterfaceAddress& a : interface.addresses) {
    if (!a.address.is_v4() || a.is(aflag::duplicated)) continue;
    if (std::ranges::find(link.claims, a.address, [](const Claim& c) { return c.asked.address; }) != link.claims.end()) continue;
    Claim claim{.asked = {.address = a.address, .next = Instant::never()}, .probing = a.is(aflag::tentative)};
    if (claim.probing) {
      claim.asked.left = tunables_.dad_count != 0 && !is_own_link_local(a) ? tunables_.dad_count : kProbes;
      claim.asked.next = now + below(kProbeWait);
      ++counters_.dad_started;
    } else if (iface::can_detect(interface, wire::IpFamily::v4, a.flags)) {
      claim.announcements = kAnnouncements;
      claim.asked.next = now;
    }
    link.claims.push_back(claim);
  }
}

bool AddressClaims::advance(Link& link, Claim& claim, Interface& interface, Instant now, const Tables& tables, Outcome& out) {
  const auto at = std::ranges::find(interface.addresses, claim.asked.address, &InterfaceAddress::address);
  if (at == interface.addresses.end()) return false;
  const Ipv4Address address = claim.asked.address.v4();
  const bool was_probing = claim.probing;
  if (claim.lost) return give_up(link, interface, claim.asked.address, now, tables, out);
  switch (claim.asked.step(now)) {
    case Detection::Step::wait: return false;
    case Detection::Step::taken: return give_up(link, interface, claim.asked.address, now, tables, out);
    case Detection::Step::ask: {
      claim.asked.next = now + (claim.asked.left != 0 ? kProbeMin + below(kProbeMax - kProbeMin) : kAnnounceWait);
      ++counters_.tx_probes;
      out.send.push_back({interface.index, address, true});
      return false;
    }
    case Detection::Step::free: break;
  }
  if (was_probing) {
    at->flags &= ~aflag::tentative;
    claim.probing = false;
    claim.announcements = kAnnouncements;
  }
  if (claim.announcements != 0) {
    --claim.announcements;
    ++counters_.tx_announcements;
    out.send.push_back({interface.index, address, false});
  }
  claim.asked.next = claim.announcements != 0 ? now + kAnnounceInterval : Instant::never();
  return was_probing;
}

bool AddressClaims::give_up(Link& link, Interface& interface, IpAddress address, Instant now, const Tables& tables, Outcome& out) {
  ++counters_.dad_duplicates;
  out.log.push_back(interface.name + ": another station has " + address.to_string());
  const auto at = std::ranges::find(interface.addresses, address, &InterfaceAddress::address);
  if (!is_own_link_local(*at)) {
    at->flags = (at->flags & ~aflag::tentative) | aflag::duplicated;
    return true;
  }
  // RFC 3927 section 2.2.1: whoever meets that many others slows down.
  ++link.conflicts;
  link.next_try = link.conflicts >= kConflictsMax ? now + kRateLimitInterval : now;
  remove_address(interface, at, tables);
  wake(now);
  return true;
}

}  // namespace iopkt::ipv4
