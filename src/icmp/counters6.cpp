#include "icmp/counters6.hpp"

namespace iopkt::icmp {
namespace {

using wire::Icmpv6Type;
using Cells = Icmp6Counters<Counter>;

struct Pair {
  Counter Cells::*rx;
  Counter Cells::*tx;
};

Pair cells_of(Icmpv6Type type) {
  switch (type) {
    case Icmpv6Type::destination_unreachable: return {&Cells::rx_unreachable, &Cells::tx_unreachable};
    case Icmpv6Type::packet_too_big: return {&Cells::rx_too_big, &Cells::tx_too_big};
    case Icmpv6Type::time_exceeded: return {&Cells::rx_time_exceeded, &Cells::tx_time_exceeded};
    case Icmpv6Type::parameter_problem: return {&Cells::rx_parameter_problem, &Cells::tx_parameter_problem};
    case Icmpv6Type::echo_request: return {&Cells::rx_echo, &Cells::tx_echo};
    case Icmpv6Type::echo_reply: return {&Cells::rx_echo_reply, &Cells::tx_echo_reply};
    case Icmpv6Type::router_solicitation: return {&Cells::rx_router_solicit, &Cells::tx_router_solicit};
    case Icmpv6Type::router_advertisement: return {&Cells::rx_router_advert, &Cells::tx_router_advert};
    case Icmpv6Type::neighbour_solicitation: return {&Cells::rx_neighbour_solicit, &Cells::tx_neighbour_solicit};
    case Icmpv6Type::neighbour_advertisement: return {&Cells::rx_neighbour_advert, &Cells::tx_neighbour_advert};
    case Icmpv6Type::redirect: return {&Cells::rx_redirect, &Cells::tx_redirect};
    case Icmpv6Type::listener_query:
    case Icmpv6Type::listener_report:
    case Icmpv6Type::listener_done:
    case Icmpv6Type::listener_report_v2: return {&Cells::rx_listener, &Cells::tx_listener};
  }
  return {&Cells::rx_other, &Cells::tx_other};
}

}  // namespace

void count_received(Cells& counters, Icmpv6Type type) {
  ++counters.rx_messages;
  ++(counters.*cells_of(type).rx);
}

void count_sent(Cells& counters, Icmpv6Type type) {
  ++counters.tx_messages;
  ++(counters.*cells_of(type).tx);
}

}  // namespace iopkt::icmp
