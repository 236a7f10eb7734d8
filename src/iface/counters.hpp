// What an interface counts, as ifconfig -v, netstat -i and nicinfo show it.
#pragma once

#include <array>
#include <cstdint>

#include "base/counters.hpp"

namespace iopkt::iface {

template <class Cell>
struct InterfaceCounters {
  Cell rx_packets{}, rx_bytes{}, rx_broadcasts{}, rx_multicasts{}, rx_errors{}, rx_dropped{};
  Cell tx_packets{}, tx_bytes{}, tx_broadcasts{}, tx_multicasts{}, tx_errors{}, tx_dropped{};
  friend bool operator==(const InterfaceCounters&, const InterfaceCounters&) = default;

  static constexpr auto table() {
    using S = InterfaceCounters;
    return std::array{
        CounterSpec<S, Cell>{"if.rx.broadcasts", "packets", "Received link broadcasts.", &S::rx_broadcasts},
        CounterSpec<S, Cell>{"if.rx.bytes", "bytes", "Received, with link headers.", &S::rx_bytes},
        CounterSpec<S, Cell>{"if.rx.dropped", "packets", "Received and dropped before a protocol.",
                             &S::rx_dropped},
        CounterSpec<S, Cell>{"if.rx.errors", "packets", "Malformed on arrival.", &S::rx_errors},
        CounterSpec<S, Cell>{"if.rx.multicasts", "packets", "Received link multicasts.", &S::rx_multicasts},
        CounterSpec<S, Cell>{"if.rx.packets", "packets", "Received.", &S::rx_packets},
        CounterSpec<S, Cell>{"if.tx.broadcasts", "packets", "Sent link broadcasts.", &S::tx_broadcasts},
        CounterSpec<S, Cell>{"if.tx.bytes", "bytes", "Sent, with link headers.", &S::tx_bytes},
        CounterSpec<S, Cell>{"if.tx.dropped", "packets", "Not sent: no room in the device.", &S::tx_dropped},
        CounterSpec<S, Cell>{"if.tx.errors", "packets", "Not sent: the device refused.", &S::tx_errors},
        CounterSpec<S, Cell>{"if.tx.multicasts", "packets", "Sent link multicasts.", &S::tx_multicasts},
        CounterSpec<S, Cell>{"if.tx.packets", "packets", "Sent.", &S::tx_packets},
    };
  }
};
static_assert(InterfaceCounters<std::uint64_t>::table().size() * sizeof(std::uint64_t) ==
                  sizeof(InterfaceCounters<std::uint64_t>),
              "a row each");

}  // namespace iopkt::iface
