// What IPv4 counts. Why packets died is counted by drop reason.
#pragma once

#include <array>
#include <cstdint>

#include "base/counters.hpp"

namespace iopkt::ipv4 {

template <class Cell>
struct Ipv4Counters {
  Cell rx_packets{}, rx_bytes{}, rx_delivered{}, rx_broadcasts{}, rx_multicasts{}, rx_options{};
  Cell reassembly_fragments{}, reassembly_done{}, reassembly_duplicates{};
  Cell forwarded{}, redirects_sent{};
  Cell tx_packets{}, tx_raw{}, tx_fragmented{}, tx_fragments{};
  friend bool operator==(const Ipv4Counters&, const Ipv4Counters&) = default;

  static constexpr auto table() {
    using S = Ipv4Counters;
    return std::array{
        CounterSpec<S, Cell>{"ip.forward.packets", "packets", "Forwarded.", &S::forwarded},
        CounterSpec<S, Cell>{"ip.forward.redirects", "packets", "Redirects sent.", &S::redirects_sent},
        CounterSpec<S, Cell>{"ip.reassembly.datagrams", "datagrams", "Put together.", &S::reassembly_done},
        CounterSpec<S, Cell>{"ip.reassembly.duplicates", "fragments", "Came twice.",
                             &S::reassembly_duplicates},
        CounterSpec<S, Cell>{"ip.reassembly.fragments", "fragments", "Received.", &S::reassembly_fragments},
        CounterSpec<S, Cell>{"ip.rx.broadcasts", "packets", "To a broadcast address.", &S::rx_broadcasts},
        CounterSpec<S, Cell>{"ip.rx.bytes", "bytes", "Received, with headers.", &S::rx_bytes},
        CounterSpec<S, Cell>{"ip.rx.delivered", "packets", "Good packets for this host.", &S::rx_delivered},
        CounterSpec<S, Cell>{"ip.rx.multicasts", "packets", "To a multicast group.", &S::rx_multicasts},
        CounterSpec<S, Cell>{"ip.rx.options", "packets", "With options.", &S::rx_options},
        CounterSpec<S, Cell>{"ip.rx.packets", "packets", "Received.", &S::rx_packets},
        CounterSpec<S, Cell>{"ip.tx.fragmented", "packets", "Cut into fragments.", &S::tx_fragmented},
        CounterSpec<S, Cell>{"ip.tx.fragments", "fragments", "Made.", &S::tx_fragments},
        CounterSpec<S, Cell>{"ip.tx.packets", "packets", "Built here, with a header of ours.",
                             &S::tx_packets},
        CounterSpec<S, Cell>{"ip.tx.raw", "packets", "Sent with the program's own header.", &S::tx_raw},
    };
  }
};
static_assert(Ipv4Counters<std::uint64_t>::table().size() * sizeof(std::uint64_t) ==
                  sizeof(Ipv4Counters<std::uint64_t>),
              "a row each");

}  // namespace iopkt::ipv4
