// What ICMP counts: messages by type in both directions.
#pragma once

#include <array>
#include <cstdint>

#include "base/counters.hpp"
#include "wire/icmp.hpp"

namespace iopkt::icmp {

template <class Cell>
struct IcmpCounters {
  Cell rx_messages{}, rx_echo{}, rx_echo_reply{}, rx_unreachable{}, rx_redirect{}, rx_time_exceeded{};
  Cell rx_parameter_problem{}, rx_timestamp{}, rx_mask{}, rx_other{};
  Cell tx_messages{}, tx_echo_reply{}, tx_unreachable{}, tx_redirect{}, tx_time_exceeded{},
      tx_parameter_problem{};
  Cell tx_other{};
  friend bool operator==(const IcmpCounters&, const IcmpCounters&) = default;

  static constexpr auto table() {
    using S = IcmpCounters;
    return std::array{
        CounterSpec<S, Cell>{"icmp.rx.echo", "messages", "Echo requests.", &S::rx_echo},
        CounterSpec<S, Cell>{"icmp.rx.echo_reply", "messages", "Echo replies.", &S::rx_echo_reply},
        CounterSpec<S, Cell>{"icmp.rx.mask", "messages", "Address mask requests and replies.", &S::rx_mask},
        CounterSpec<S, Cell>{"icmp.rx.messages", "messages", "Received with a good checksum.",
                             &S::rx_messages},
        CounterSpec<S, Cell>{"icmp.rx.other", "messages", "Other types.", &S::rx_other},
        CounterSpec<S, Cell>{"icmp.rx.parameter_problem", "messages", "Parameter problem.",
                             &S::rx_parameter_problem},
        CounterSpec<S, Cell>{"icmp.rx.redirect", "messages", "Redirect.", &S::rx_redirect},
        CounterSpec<S, Cell>{"icmp.rx.time_exceeded", "messages", "Time exceeded.", &S::rx_time_exceeded},
        CounterSpec<S, Cell>{"icmp.rx.timestamp", "messages", "Timestamp requests and replies.",
                             &S::rx_timestamp},
        CounterSpec<S, Cell>{"icmp.rx.unreachable", "messages", "Destination unreachable.",
                             &S::rx_unreachable},
        CounterSpec<S, Cell>{"icmp.tx.echo_reply", "messages", "Echo replies built.", &S::tx_echo_reply},
        CounterSpec<S, Cell>{"icmp.tx.messages", "messages", "Built here.", &S::tx_messages},
        CounterSpec<S, Cell>{"icmp.tx.other", "messages", "Other types built.", &S::tx_other},
        CounterSpec<S, Cell>{"icmp.tx.parameter_problem", "messages", "Parameter problem built.",
                             &S::tx_parameter_problem},
        CounterSpec<S, Cell>{"icmp.tx.redirect", "messages", "Redirects built.", &S::tx_redirect},
        CounterSpec<S, Cell>{"icmp.tx.time_exceeded", "messages", "Time exceeded built.",
                             &S::tx_time_exceeded},
        CounterSpec<S, Cell>{"icmp.tx.unreachable", "messages", "Destination unreachable built.",
                             &S::tx_unreachable},
    };
  }
};
static_assert(IcmpCounters<std::uint64_t>::table().size() * sizeof(std::uint64_t) ==
                  sizeof(IcmpCounters<std::uint64_t>),
              "a row each");

void count_received(IcmpCounters<Counter>& counters, wire::IcmpType type);
void count_sent(IcmpCounters<Counter>& counters, wire::IcmpType type);

}  // namespace iopkt::icmp
