// What IPv6 counts. Why packets died is counted by drop reason; reassembly by its own rows, of both families together.
#pragma once

#include <array>
#include <cstdint>

#include "base/counters.hpp"

namespace iopkt::ipv6 {

template <class Cell>
struct Ipv6Counters {
  Cell rx_packets{}, rx_bytes{}, rx_delivered{}, rx_multicasts{}, rx_extensions{}, rx_atomic_fragments{};
  Cell tx_packets{}, tx_raw{}, tx_fragmented{}, tx_fragments{};
  Cell forwarded{}, redirects_sent{};
  Cell dad_started{}, dad_duplicates{}, dad_looped{};
  Cell addresses_formed{}, addresses_temporary{}, addresses_left_out{}, routers_learned{};
  friend bool operator==(const Ipv6Counters&, const Ipv6Counters&) = default;

  static constexpr auto table() {
    using S = Ipv6Counters;
    using R = CounterSpec<S, Cell>;
    return std::array{
        R{"ip6.autoconf.addresses", "addresses", "Formed from advertised prefixes.", &S::addresses_formed},
        R{"ip6.autoconf.left_out", "addresses", "Not formed: the interface has net.inet6.ip6.maxifprefixes of them.",
          &S::addresses_left_out},
        R{"ip6.autoconf.routers", "routers", "Default routers learned.", &S::routers_learned},
        R{"ip6.autoconf.temporary", "addresses", "Temporary ones formed (RFC 8981).", &S::addresses_temporary},
        R{"ip6.dad.duplicates", "addresses", "Found to be another station's.", &S::dad_duplicates},
        R{"ip6.dad.looped", "messages", "Our own solicitations that came back.", &S::dad_looped},
        R{"ip6.dad.started", "addresses", "Duplicate address detection begun.", &S::dad_started},
        R{"ip6.forward.packets", "packets", "Forwarded.", &S::forwarded},
        R{"ip6.forward.redirects", "packets", "Redirects sent.", &S::redirects_sent},
        R{"ip6.rx.atomic_fragments", "packets", "Whole packets with a fragment header.", &S::rx_atomic_fragments},
        R{"ip6.rx.bytes", "bytes", "Received, with headers.", &S::rx_bytes},
        R{"ip6.rx.delivered", "packets", "Good packets for this host.", &S::rx_delivered},
        R{"ip6.rx.extensions", "packets", "With extension headers.", &S::rx_extensions},
        R{"ip6.rx.multicasts", "packets", "To a multicast group.", &S::rx_multicasts},
        R{"ip6.rx.packets", "packets", "Received.", &S::rx_packets},
        R{"ip6.tx.fragmented", "packets", "Cut into fragments.", &S::tx_fragmented},
        R{"ip6.tx.fragments", "fragments", "Made.", &S::tx_fragments},
        R{"ip6.tx.packets", "packets", "Built here, with a header of ours.", &S::tx_packets},
        R{"ip6.tx.raw", "packets", "Sent with the program's own header.", &S::tx_raw},
    };
  }
};
static_assert(Ipv6Counters<std::uint64_t>::table().size() * sizeof(std::uint64_t) == sizeof(Ipv6Counters<std::uint64_t>),
              "a row each");

}  // namespace iopkt::ipv6
