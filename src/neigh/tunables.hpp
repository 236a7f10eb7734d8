// Tunables of the neighbour cache: sysctl net.inet.arp.*.
#pragma once

#include <array>
#include <cstdint>

#include "base/tunable.hpp"

namespace iopkt::neigh {

struct NeighbourTunables {
  std::uint32_t delay_s, down_s, keep_s, max_entries, max_hold, max_hold_total, max_tries, reachable_s,
      retransmit_ms;

  static constexpr auto table() {
    using T = NeighbourTunables;
    using R = Tunable<T>;
    return std::array{
        R{"net.inet.arp.delay", "seconds",
          "Time for a protocol to confirm a stale neighbour before it is probed.", &T::delay_s, 5, 0, 3600},
        // Long enough to keep ARP below one request a second per destination (RFC 1122 2.3.2.1), short enough
        // for a host that has just booted.
        R{"net.inet.arp.down", "seconds", "Time for which a neighbour that did not answer counts as down.",
          &T::down_s, 3, 1, 3600},
        R{"net.inet.arp.keep", "seconds", "Time after which an unused entry is forgotten.", &T::keep_s, 1200,
          1, 86400},
        R{"net.inet.arp.maxentries", "entries", "Most neighbours kept.", &T::max_entries, 4096, 16, 1u << 20},
        // A handshake, a request and one 64 KB segment.
        R{"net.inet.arp.maxhold", "packets", "Most packets that wait for one neighbour.", &T::max_hold, 16, 1,
          1024},
        R{"net.inet.arp.maxholdtotal", "packets", "Most packets that wait for all neighbours, per shard.",
          &T::max_hold_total, 1024, 1, 65536},
        R{"net.inet.arp.maxtries", "requests",
          "Requests without an answer before a neighbour counts as down.", &T::max_tries, 3, 1, 20},
        R{"net.inet.arp.reachable", "seconds",
          "Time for which a confirmed neighbour is used without a check.", &T::reachable_s, 30, 1, 86400},
        R{"net.inet.arp.retransmit", "milliseconds", "Time between two requests.", &T::retransmit_ms, 1000,
          100, 60000},
    };
  }
};
static_assert(tunables_are_sound<NeighbourTunables>());

}  // namespace iopkt::neigh
