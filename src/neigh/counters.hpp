// What the neighbour cache counts.
#pragma once

#include <array>
#include <cstdint>

#include "base/counters.hpp"

namespace iopkt::neigh {

template <class Cell>
struct ArpCounters {
  Cell rx_packets{}, rx_requests{}, rx_replies{}, rx_probes{}, rx_announcements{}, rx_conflicts{};
  Cell tx_requests{}, tx_replies{}, tx_probes{}, tx_announcements{};
  Cell dad_started{}, dad_duplicates{}, dad_defended{};
  Cell learned{}, changed{}, failed{}, held{};
  friend bool operator==(const ArpCounters&, const ArpCounters&) = default;

  static constexpr auto table() {
    using S = ArpCounters;
    return std::array{
        CounterSpec<S, Cell>{"arp.cache.changed", "entries", "Neighbours that got another address.",
                             &S::changed},
        CounterSpec<S, Cell>{"arp.cache.failed", "entries", "Neighbours that did not answer.", &S::failed},
        CounterSpec<S, Cell>{"arp.cache.held", "packets", "Waited for a neighbour.", &S::held},
        CounterSpec<S, Cell>{"arp.cache.learned", "entries", "Neighbours resolved.", &S::learned},
        CounterSpec<S, Cell>{"arp.dad.defended", "addresses", "Announced against another station that used them.", &S::dad_defended},
        CounterSpec<S, Cell>{"arp.dad.duplicates", "addresses", "Found to be another station's.", &S::dad_duplicates},
        CounterSpec<S, Cell>{"arp.dad.started", "addresses", "Duplicate address detection begun.", &S::dad_started},
        CounterSpec<S, Cell>{"arp.rx.announcements", "packets", "Gratuitous.", &S::rx_announcements},
        CounterSpec<S, Cell>{"arp.rx.conflicts", "packets", "From another station with our address.",
                             &S::rx_conflicts},
        CounterSpec<S, Cell>{"arp.rx.packets", "packets", "Received.", &S::rx_packets},
        CounterSpec<S, Cell>{"arp.rx.probes", "packets", "Asked without a sender address.", &S::rx_probes},
        CounterSpec<S, Cell>{"arp.rx.replies", "packets", "Replies received.", &S::rx_replies},
        CounterSpec<S, Cell>{"arp.rx.requests", "packets", "Requests received.", &S::rx_requests},
        CounterSpec<S, Cell>{"arp.tx.announcements", "packets", "Announcements of our addresses.", &S::tx_announcements},
        CounterSpec<S, Cell>{"arp.tx.probes", "packets", "Probes for addresses that may become ours.", &S::tx_probes},
        CounterSpec<S, Cell>{"arp.tx.replies", "packets", "Replies built.", &S::tx_replies},
        CounterSpec<S, Cell>{"arp.tx.requests", "packets", "Requests built.", &S::tx_requests},
    };
  }
};
static_assert(ArpCounters<std::uint64_t>::table().size() * sizeof(std::uint64_t) ==
                  sizeof(ArpCounters<std::uint64_t>),
              "a row each");

}  // namespace iopkt::neigh
