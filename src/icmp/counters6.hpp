// What ICMPv6 counts: messages by type in both directions.
#pragma once

#include <array>
#include <cstdint>

#include "base/counters.hpp"
#include "wire/icmpv6.hpp"

namespace iopkt::icmp {

template <class Cell>
struct Icmp6Counters {
  Cell rx_messages{}, rx_echo{}, rx_echo_reply{}, rx_unreachable{}, rx_too_big{}, rx_time_exceeded{}, rx_parameter_problem{};
  Cell rx_router_solicit{}, rx_router_advert{}, rx_neighbour_solicit{}, rx_neighbour_advert{}, rx_redirect{}, rx_listener{}, rx_other{};
  Cell tx_messages{}, tx_echo{}, tx_echo_reply{}, tx_unreachable{}, tx_too_big{}, tx_time_exceeded{}, tx_parameter_problem{};
  Cell tx_router_solicit{}, tx_router_advert{}, tx_neighbour_solicit{}, tx_neighbour_advert{}, tx_redirect{}, tx_listener{}, tx_other{};
  friend bool operator==(const Icmp6Counters&, const Icmp6Counters&) = default;

  static constexpr auto table() {
    using S = Icmp6Counters;
    using R = CounterSpec<S, Cell>;
    return std::array{
        R{"icmp6.rx.echo", "messages", "Echo requests.", &S::rx_echo},
        R{"icmp6.rx.echo_reply", "messages", "Echo replies.", &S::rx_echo_reply},
        R{"icmp6.rx.listener", "messages", "Multicast listener discovery.", &S::rx_listener},
        R{"icmp6.rx.messages", "messages", "Received with a good checksum.", &S::rx_messages},
        R{"icmp6.rx.neighbour_advert", "messages", "Neighbour advertisements.", &S::rx_neighbour_advert},
        R{"icmp6.rx.neighbour_solicit", "messages", "Neighbour solicitations.", &S::rx_neighbour_solicit},
        R{"icmp6.rx.other", "messages", "Other types.", &S::rx_other},
        R{"icmp6.rx.parameter_problem", "messages", "Parameter problem.", &S::rx_parameter_problem},
        R{"icmp6.rx.redirect", "messages", "Redirect.", &S::rx_redirect},
        R{"icmp6.rx.router_advert", "messages", "Router advertisements.", &S::rx_router_advert},
        R{"icmp6.rx.router_solicit", "messages", "Router solicitations.", &S::rx_router_solicit},
        R{"icmp6.rx.time_exceeded", "messages", "Time exceeded.", &S::rx_time_exceeded},
        R{"icmp6.rx.too_big", "messages", "Packet too big.", &S::rx_too_big},
        R{"icmp6.rx.unreachable", "messages", "Destination unreachable.", &S::rx_unreachable},
        R{"icmp6.tx.echo", "messages", "Echo requests.", &S::tx_echo},
        R{"icmp6.tx.echo_reply", "messages", "Echo replies.", &S::tx_echo_reply},
        R{"icmp6.tx.listener", "messages", "Multicast listener discovery.", &S::tx_listener},
        R{"icmp6.tx.messages", "messages", "Sent, those of raw sockets too.", &S::tx_messages},
        R{"icmp6.tx.neighbour_advert", "messages", "Neighbour advertisements.", &S::tx_neighbour_advert},
        R{"icmp6.tx.neighbour_solicit", "messages", "Neighbour solicitations.", &S::tx_neighbour_solicit},
        R{"icmp6.tx.other", "messages", "Other types.", &S::tx_other},
        R{"icmp6.tx.parameter_problem", "messages", "Parameter problem.", &S::tx_parameter_problem},
        R{"icmp6.tx.redirect", "messages", "Redirect.", &S::tx_redirect},
        R{"icmp6.tx.router_advert", "messages", "Router advertisements.", &S::tx_router_advert},
        R{"icmp6.tx.router_solicit", "messages", "Router solicitations.", &S::tx_router_solicit},
        R{"icmp6.tx.time_exceeded", "messages", "Time exceeded.", &S::tx_time_exceeded},
        R{"icmp6.tx.too_big", "messages", "Packet too big.", &S::tx_too_big},
        R{"icmp6.tx.unreachable", "messages", "Destination unreachable.", &S::tx_unreachable},
    };
  }
};
static_assert(Icmp6Counters<std::uint64_t>::table().size() * sizeof(std::uint64_t) == sizeof(Icmp6Counters<std::uint64_t>),
              "a row each");

void count_received(Icmp6Counters<Counter>& counters, wire::Icmpv6Type type);
void count_sent(Icmp6Counters<Counter>& counters, wire::Icmpv6Type type);

}  // namespace iopkt::icmp
