// Duplicate address detection: RFC 4862 section 5.4; optimistic, RFC 4429; on links that loop, RFC 7527.
#include <algorithm>

#include "ipv6/host.hpp"

namespace iopkt::ipv6 {
namespace {

namespace aflag = iface::address_flag;
using iface::InterfaceAddress;
using wire::IpAddress;
using wire::Ipv6Address;

constexpr std::uint64_t kDelayNs = 1'000'000'000;  // RFC 4861 section 10: MAX_RTR_SOLICITATION_DELAY
constexpr std::uint32_t kLoopedMore = 3;           // solicitations more on a link that loops: RFC 7527 section 4.2
constexpr std::uint32_t kDetected = aflag::tentative | aflag::optimistic;

}  // namespace

/// What a new address that has `flags` begins with.
std::uint32_t Host::first_flags(const iface::Interface& interface, std::uint32_t flags) const {
  if (config_.tunables.dad_count == 0 || !iface::can_detect(interface, wire::IpFamily::v6, flags)) return 0;
  // RFC 4429 section 3.1: only what is most unlikely to be anybody else's, and not of routers.
  const bool optimistic = config_.tunables.optimistic_dad != 0 && config_.tunables.forwarding == 0 && (flags & aflag::autoconf) != 0;
  return optimistic ? aflag::optimistic : aflag::tentative;
}

/// Duplicate address detection of every tentative address: RFC 4862 section 5.4.
bool Host::detect(Link& link, iface::Interface& interface, Instant now, DiscoveryOutcome& out) {
  bool changed = false;
  std::erase_if(link.detections, [&](const Detection& d) {
    const InterfaceAddress* a = interface.find(d.address);
    return a == nullptr || !is_in_detection(*a);
  });
  for (const InterfaceAddress& a : interface.addresses) {
    if (!is_in_detection(a)) continue;
    if (std::ranges::any_of(link.detections, [&](const Detection& d) { return d.address == a.address; })) continue;
    // The first message of an interface, and what an advertisement makes many hosts do at once, comes after a random delay;
    // not for an optimistic address, which is in use all the while.
    const bool delayed = a.is(aflag::autoconf) && !a.is(aflag::optimistic);
    const Duration delay{delayed ? static_cast<std::int64_t>(random_.below(kDelayNs)) : 0};
    link.detections.push_back({{.address = a.address, .left = config_.tunables.dad_count, .next = now + delay}, false, false, {}});
    ++config_.counters.dad_started;
  }
  std::vector<IpAddress> taken;
  for (Detection& d : link.detections) {
    if (d.looped && !std::exchange(d.told, true)) out.log.push_back(interface.name + ": the link brings back what is sent");
    const auto step = d.step(now);
    if (step == Detection::Step::taken) {
      taken.push_back(d.address);
    } else if (step == Detection::Step::ask) {
      d.next = now + link.retransmit();
      DiscoveryMessage m{.interface_index = interface.index, .src = Ipv6Address::any(), .dst = {}, .bytes = {}};
      m.dst = interface.here(d.address.v6().solicited_node());
      if (config_.tunables.dad_enhanced != 0) d.nonces.push_back(random_.next() >> 16);
      wire::append_neighbour_solicitation(m.bytes, {d.address.v6()}, std::nullopt,
                                          config_.tunables.dad_enhanced != 0 ? std::optional{d.nonces.back()} : std::nullopt);
      out.send.push_back(std::move(m));
    } else if (step == Detection::Step::free) {
      for (InterfaceAddress& a : interface.addresses) {
        if (a.address != d.address) continue;
        a.flags &= ~kDetected;
        if (a.is(aflag::temporary)) link.temporary_conflicts = 0;
      }
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
  at->flags = (at->flags & ~kDetected) | aflag::duplicated;
  if (at->is(aflag::temporary)) {
    // RFC 8981 section 3.4: another one, until it is clear that something else is wrong.
    ++link.temporary_conflicts;
    if (link.temporary_conflicts > kConflictsMax) out.log.push_back(interface.name + ": no more temporary addresses");
    return interface.addresses.erase(at), true;
  }
  if (!at->is(aflag::autoconf) || link.conflicts >= kConflictsMax) return true;
  ++link.conflicts;
  interface.addresses.erase(at);
  for (Prefix& p : link.prefixes) p.fresh = true;
  return true;
}

void Host::found_taken(Link& link, const IpAddress& address, Instant now) {
  for (Detection& d : link.detections)
    if (d.address == address) d.taken = true;
  wake(now);
}

/// RFC 7527 section 4: a solicitation of our own says nothing of others; it is asked more often, since what others say may be lost
/// in the noise. False: it is none of ours.
bool Host::found_looped(Link& link, const IpAddress& address, std::uint64_t nonce) {
  const auto d = std::ranges::find(link.detections, address, &Detection::address);
  if (d == link.detections.end() || std::ranges::find(d->nonces, nonce) == d->nonces.end()) return false;
  ++config_.counters.dad_looped;
  if (!std::exchange(d->looped, true)) d->left += kLoopedMore;
  return true;
}

}  // namespace iopkt::ipv6
