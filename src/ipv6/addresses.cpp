// Addresses that form themselves and age: RFC 4862 section 5.5, with the identifiers of RFC 7217; temporary ones, RFC 8981.
#include <algorithm>
#include <array>

#include "ipv6/host.hpp"

namespace iopkt::ipv6 {
namespace {

namespace aflag = iface::address_flag;
using iface::InterfaceAddress;
using wire::Ipv6Address;

constexpr Duration kTwoHours = 7200s;             // RFC 4862 section 5.5.3 (e)
constexpr std::uint64_t kDesyncShare = 10, kDesyncOf = 4;  // RFC 8981 section 3.8: MAX_DESYNC_FACTOR is 0.4 of the preferred lifetime
constexpr Ipv6Address kLinkLocalPrefix{{0xfe, 0x80}};

/// RFC 5453: the anycast address of routers, and those of RFC 2526 and of the IANA's block.
bool is_reserved_identifier(std::uint64_t id) {
  return id == 0 || (id >= 0x02005efffe000000 && id <= 0x02005efffeffffff) || id >= 0xfdffffffffffff80;
}

bool is_of(const InterfaceAddress& a, const wire::IpPrefix& network, bool temporary) {
  return a.is(aflag::autoconf) && a.is(aflag::temporary) == temporary && !is_link_local(a) && network.contains(a.address);
}

std::ptrdiff_t count_formed(const iface::Interface& interface, bool temporary) {
  return std::ranges::count_if(interface.addresses, [&](const InterfaceAddress& a) {
    return a.is(aflag::autoconf) && a.is(aflag::temporary) == temporary && !is_link_local(a);
  });
}

}  // namespace

Ipv6Address stable_address(HashKey secret, const Ipv6Address& prefix, std::string_view interface_name, std::uint32_t conflicts,
                           std::uint64_t number) {
  std::array<std::byte, 8 + 16 + 4 + 8> input{};
  Ipv6Address address = prefix;
  for (;;) {
    std::copy_n(as_bytes(prefix.bytes.data(), 8).begin(), 8, input.begin());
    const auto name = as_bytes(interface_name.data(), std::min<std::size_t>(interface_name.size(), 16));
    std::copy(name.begin(), name.end(), input.begin() + 8);
    store_be32(input, 24, conflicts);
    store_be64(input, 28, number);
    const std::uint64_t id = siphash24(secret, input);
    if (!is_reserved_identifier(id)) {
      for (std::size_t i = 0; i < 8; ++i) address.bytes[8 + i] = static_cast<std::uint8_t>(id >> (56 - 8 * i));
      return address;
    }
    // Practically never; kConflictsMax away from the row of real conflicts.
    conflicts += kConflictsMax + 1;
  }
}

bool Host::add_link_local(Link& link, iface::Interface& interface) {
  if (config_.tunables.auto_linklocal == 0 || !interface.is(iface::flag::multicast)) return false;
  if (std::ranges::any_of(interface.addresses, is_link_local)) return false;
  InterfaceAddress a{.address = interface.here(stable_address(config_.secret, kLinkLocalPrefix, interface.name, link.conflicts)),
                     .prefix_length = 64,
                     .flags = aflag::autoconf | first_flags(interface, aflag::autoconf)};
  interface.addresses.push_back(a);
  return true;
}

/// Which ends count: those that an operator gave since the last look, or else ours.
void Host::follow_operator(Link& link, const iface::Interface& interface) {
  std::erase_if(link.lifetimes, [&](const Lifetime& life) { return interface.find(life.address) == nullptr; });
  for (const InterfaceAddress& a : interface.addresses) {
    if (!a.address.is_v6()) continue;
    const auto life = std::ranges::find(link.lifetimes, a.address, &Lifetime::address);
    if (life == link.lifetimes.end()) {
      if (a.is(aflag::autoconf) || !a.valid_until.is_never() || !a.preferred_until.is_never())
        link.lifetimes.push_back({a.address, a.preferred_until, a.valid_until, a.preferred_until, a.valid_until});
    } else {
      if (life->seen_preferred != a.preferred_until) life->preferred = life->seen_preferred = a.preferred_until;
      if (life->seen_valid != a.valid_until) life->valid = life->seen_valid = a.valid_until;
    }
  }
}

void Host::write_lifetimes(Link& link, iface::Interface& interface) {
  for (Lifetime& life : link.lifetimes) {
    const auto a = std::ranges::find(interface.addresses, life.address, &InterfaceAddress::address);
    if (a == interface.addresses.end()) continue;
    a->preferred_until = life.seen_preferred = life.preferred;
    a->valid_until = life.seen_valid = life.valid;
  }
}

/// RFC 4862 section 5.5.3 (e): nobody may end an address at once by a forged advertisement.
Instant Host::renewed(Instant valid_now, Instant said, Instant now) {
  const bool trusted = said > now + kTwoHours || said > valid_now;
  return trusted ? said : std::min(valid_now, now + kTwoHours);
}

/// RFC 4862 section 5.5.3: what another word of its prefix makes of the ends of an address, or of one that is to be formed. At once: the
/// rules are about each word, and run() may look at the last of several.
void Host::age_address(Link& link, const iface::Interface& interface, Prefix& p, Instant now) {
  if (!p.said.autonomous || p.said.length != 64 || p.said.preferred_s > p.said.valid_s) return;
  const auto network = wire::IpPrefix::of(p.said.prefix, 64);
  bool known = false;
  for (const InterfaceAddress& a : interface.addresses) {
    if (!a.is(aflag::autoconf) || is_link_local(a) || !network.contains(a.address)) continue;
    known |= !a.is(aflag::temporary);
    const auto life = std::ranges::find(link.lifetimes, a.address, &Lifetime::address);
    if (life == link.lifetimes.end()) continue;
    life->valid = std::min(renewed(life->valid, p.until(), now), life->valid_most);
    life->preferred = std::min(p.preferred_until(), life->preferred_most);
  }
  if (known) p.to_form.reset();
  else if (p.to_form && p.to_form->valid > now) p.to_form = {p.preferred_until(), renewed(p.to_form->valid, p.until(), now)};
  else if (p.said.valid_s != 0) p.to_form = {p.preferred_until(), p.until()};
}

bool Host::form_addresses(Link& link, iface::Interface& interface, Instant now) {
  bool changed = false;
  for (Prefix& p : link.prefixes) {
    if (!std::exchange(p.fresh, false)) continue;
    const auto network = wire::IpPrefix::of(p.said.prefix, 64);
    bool known = false;
    for (InterfaceAddress& a : interface.addresses) {
      if (!a.is(aflag::autoconf) || is_link_local(a) || !network.contains(a.address)) continue;
      known |= !a.is(aflag::temporary);
      const auto life = std::ranges::find(link.lifetimes, a.address, &Lifetime::address);
      if (life == link.lifetimes.end()) continue;
      const std::uint32_t flags = life->preferred > now ? a.flags & ~aflag::deprecated : a.flags | aflag::deprecated;
      changed |= std::exchange(a.flags, flags) != flags;
    }
    if (!known && p.to_form && p.to_form->valid > now) changed |= form_address(link, interface, p, now);
    p.to_form.reset();
  }
  return changed;
}

/// One that nothing can be told of but the network.
bool Host::form_address(Link& link, iface::Interface& interface, const Prefix& p, Instant now) {
  // An address outlives its prefix's entry: what a flood of advertisements forms has a bound of its own.
  if (count_formed(interface, false) >= config_.tunables.max_prefixes) {
    ++config_.counters.addresses_left_out;
    return false;
  }
  InterfaceAddress a{.address = stable_address(config_.secret, p.said.prefix, interface.name, link.conflicts),
                     .prefix_length = static_cast<std::uint8_t>(p.said.on_link ? 64 : 128),
                     .flags = aflag::autoconf | first_flags(interface, aflag::autoconf),
                     .preferred_until = p.to_form->preferred,
                     .valid_until = p.to_form->valid};
  if (a.preferred_until <= now) a.flags |= aflag::deprecated;
  link.lifetimes.push_back({a.address, a.preferred_until, a.valid_until, a.preferred_until, a.valid_until});
  interface.addresses.push_back(a);
  ++config_.counters.addresses_formed;
  return true;
}

/// RFC 8981 section 3.8: how long before the end of a temporary address the next one is formed.
Duration Host::regenerate_advance(const Link& link) const {
  return 2s + kConflictsMax * config_.tunables.dad_count * link.retransmit();
}

/// RFC 8981 section 3.4: every prefix has a temporary address that is preferred and will be for a while.
bool Host::form_temporaries(Link& link, iface::Interface& interface, Instant now) {
  if (config_.tunables.use_temporary == 0) return false;
  bool changed = false;
  for (const Prefix& p : link.prefixes) {
    if (!p.said.autonomous || p.said.length != 64 || p.said.preferred_s > p.said.valid_s || p.until() <= now) continue;
    const auto network = wire::IpPrefix::of(p.said.prefix, 64);
    bool present = false;
    for (const InterfaceAddress& a : interface.addresses) {
      if (!is_of(a, network, true)) continue;
      const auto life = std::ranges::find(link.lifetimes, a.address, &Lifetime::address);
      if (life == link.lifetimes.end()) continue;
      life->succeeded = life->preferred - regenerate_advance(link) <= now;
      present |= !life->succeeded;
    }
    if (!present) changed |= form_temporary(link, interface, p, now);
  }
  return changed;
}

bool Host::form_temporary(Link& link, iface::Interface& interface, const Prefix& p, Instant now) {
  const ipv6::Ipv6Tunables& t = config_.tunables;
  const Duration advance = regenerate_advance(link), most = std::chrono::seconds{t.temporary_preferred_s};
  // Hosts that heard the same advertisement do not change their addresses at the same time.
  const Duration desync = std::chrono::milliseconds{random_.below(std::uint64_t{t.temporary_preferred_s} * 1000 * kDesyncOf / kDesyncShare)};
  const Instant valid_most = now + std::chrono::seconds{t.temporary_valid_s};
  const Instant preferred_most = std::min(now + most - std::min(desync, std::max(most - advance - 1s, Duration{})), valid_most);
  const Instant preferred = std::min(p.preferred_until(), preferred_most), valid = std::min(p.until(), valid_most);
  if (preferred - advance <= now || link.temporary_conflicts > kConflictsMax) return false;
  if (count_formed(interface, true) >= kTemporariesMax) return ++config_.counters.addresses_left_out, false;
  InterfaceAddress a{.address = stable_address(config_.secret, p.said.prefix, interface.name, link.temporary_conflicts, random_.next()),
                     .prefix_length = static_cast<std::uint8_t>(p.said.on_link ? 64 : 128),
                     .flags = aflag::autoconf | aflag::temporary | first_flags(interface, aflag::autoconf),
                     .preferred_until = preferred,
                     .valid_until = valid};
  link.lifetimes.push_back({a.address, preferred, valid, preferred, valid, preferred_most, valid_most});
  interface.addresses.push_back(a);
  ++config_.counters.addresses_temporary;
  return true;
}

bool Host::expire_addresses(Link& link, iface::Interface& interface, Instant now) {
  bool changed = false;
  for (const Lifetime& life : link.lifetimes) {
    const auto a = std::ranges::find(interface.addresses, life.address, &InterfaceAddress::address);
    if (a == interface.addresses.end()) continue;
    if (life.valid <= now) {
      leave_network(interface, *a);
      interface.addresses.erase(a);
      changed = true;
    } else if (life.preferred <= now && !a->is(aflag::deprecated)) {
      a->flags |= aflag::deprecated;
      changed = true;
    }
  }
  std::erase_if(link.lifetimes, [&](const Lifetime& life) { return life.valid <= now; });
  return changed;
}

}  // namespace iopkt::ipv6
