// Whose an IPv4 address is: conflict detection (RFC 5227), and addresses that an interface gives itself (RFC 3927).
//
// As with neighbour discovery it lives on shard 0, and what it decides becomes part of the tables in run() alone: a packet leaves a mark.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/random.hpp"
#include "base/time.hpp"
#include "iface/detection.hpp"
#include "ipv4/tunables.hpp"
#include "neigh/counters.hpp"
#include "route/fib.hpp"

namespace iopkt::ipv4 {

/// The address of this interface after `conflicts` of its addresses were others': the same after a restart (RFC 3927 section 2.1).
wire::Ipv4Address link_local_address(const wire::MacAddress& mac, std::uint32_t conflicts);

class AddressClaims {
 public:
  // RFC 5227 section 1.1; RFC 3927 section 9 has the same.
  static constexpr Duration kProbeWait = 1s, kProbeMin = 1s, kProbeMax = 2s, kAnnounceWait = 2s, kAnnounceInterval = 2s;
  static constexpr Duration kRateLimitInterval = 60s, kDefendInterval = 10s;
  static constexpr std::uint32_t kProbes = 3, kAnnouncements = 2, kConflictsMax = 10;

  struct Send {
    std::uint32_t interface_index;
    wire::Ipv4Address address;
    bool probe;  ///< Otherwise an announcement
  };
  struct Outcome {
    std::vector<Send> send;
    std::vector<std::string> log;
  };
  struct Tables {
    iface::InterfaceTable& interfaces;
    std::span<route::Fib> fibs;
  };

  /// `tunables` and `counters` outlive it; tunables may change between calls.
  AddressClaims(const Ipv4Tunables& tunables, neigh::ArpCounters<Counter>& counters, std::uint64_t seed)
      : tunables_(tunables), counters_(counters), random_(seed) {}

  /// Another station uses, or asks for, the address of ours on that interface.
  void contested(const iface::Interface& in, wire::Ipv4Address address, Instant now, Outcome& out);
  /// The tables are others now, by whoever: run() will look at them.
  void tables_changed(Instant now) { wake(now); }
  Instant next_deadline() const { return deadline_; }
  /// Does what is due, and brings the tables up to date. True: they changed.
  bool run(Instant now, const Tables& tables, Outcome& out);

 private:
  struct Claim {
    iface::Detection asked;
    std::uint32_t announcements{};  ///< Still to be sent
    Instant defended{};             ///< When that was done last; the beginning of time: never
    bool probing{};                 ///< Not in use yet
    bool lost{};                    ///< To be given up, after it was in use
  };
  struct Link {
    bool up{};
    std::uint32_t conflicts{};  ///< Link-local addresses that were others'
    Instant next_try{};         ///< When the next of these may be tried
    std::vector<Claim> claims;
  };

  void wake(Instant now) { deadline_ = std::min(deadline_, now); }
  bool run_link(Link& link, iface::Interface& interface, Instant now, const Tables& tables, Outcome& out);
  bool came_up(iface::Interface& interface) const;
  bool choose_link_local(Link& link, iface::Interface& interface, Instant now, const Tables& tables);
  void follow(Link& link, const iface::Interface& interface, Instant now);
  bool advance(Link& link, Claim& claim, iface::Interface& interface, Instant now, const Tables& tables, Outcome& out);
  Duration below(Duration most);
  bool give_up(Link& link, iface::Interface& interface, wire::IpAddress address, Instant now, const Tables& tables, Outcome& out);

  const Ipv4Tunables& tunables_;
  neigh::ArpCounters<Counter>& counters_;
  Random random_;
  std::map<std::uint32_t, Link> links_;
  Instant deadline_{Instant::never()};
};

}  // namespace iopkt::ipv4
