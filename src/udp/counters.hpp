// What UDP counts, and UDP-Lite with it.
#pragma once

#include <array>
#include <cstdint>

#include "base/counters.hpp"

namespace iopkt::udp {

template <class Cell>
struct UdpCounters {
  Cell rx_datagrams{}, rx_bytes{}, rx_no_checksum{}, rx_broadcasts{}, tx_datagrams{}, tx_bytes{};
  friend bool operator==(const UdpCounters&, const UdpCounters&) = default;

  static constexpr auto table() {
    using S = UdpCounters;
    return std::array{
        CounterSpec<S, Cell>{"udp.rx.broadcasts", "datagrams", "To a broadcast or multicast address.",
                             &S::rx_broadcasts},
        CounterSpec<S, Cell>{"udp.rx.bytes", "bytes", "Payload received.", &S::rx_bytes},
        CounterSpec<S, Cell>{"udp.rx.datagrams", "datagrams", "Received and well formed.", &S::rx_datagrams},
        CounterSpec<S, Cell>{"udp.rx.no_checksum", "datagrams", "Came without a checksum.",
                             &S::rx_no_checksum},
        CounterSpec<S, Cell>{"udp.tx.bytes", "bytes", "Payload passed to IP.", &S::tx_bytes},
        CounterSpec<S, Cell>{"udp.tx.datagrams", "datagrams", "Passed to IP.", &S::tx_datagrams},
    };
  }
};
static_assert(UdpCounters<std::uint64_t>::table().size() * sizeof(std::uint64_t) ==
                  sizeof(UdpCounters<std::uint64_t>),
              "a row each");

}  // namespace iopkt::udp
