#include "icmp/counters.hpp"

namespace iopkt::icmp {

using wire::IcmpType;

void count_received(IcmpCounters<Counter>& counters, IcmpType type) {
  switch (type) {
    case IcmpType::echo_request:
      ++counters.rx_echo;
      return;
    case IcmpType::echo_reply:
      ++counters.rx_echo_reply;
      return;
    case IcmpType::destination_unreachable:
      ++counters.rx_unreachable;
      return;
    case IcmpType::redirect:
      ++counters.rx_redirect;
      return;
    case IcmpType::time_exceeded:
      ++counters.rx_time_exceeded;
      return;
    case IcmpType::parameter_problem:
      ++counters.rx_parameter_problem;
      return;
    case IcmpType::timestamp:
    case IcmpType::timestamp_reply:
      ++counters.rx_timestamp;
      return;
    case IcmpType::address_mask_request:
    case IcmpType::address_mask_reply:
      ++counters.rx_mask;
      return;
    default:
      ++counters.rx_other;
      return;
  }
}

void count_sent(IcmpCounters<Counter>& counters, IcmpType type) {
  switch (type) {
    case IcmpType::echo_reply:
      ++counters.tx_echo_reply;
      return;
    case IcmpType::destination_unreachable:
      ++counters.tx_unreachable;
      return;
    case IcmpType::redirect:
      ++counters.tx_redirect;
      return;
    case IcmpType::time_exceeded:
      ++counters.tx_time_exceeded;
      return;
    case IcmpType::parameter_problem:
      ++counters.tx_parameter_problem;
      return;
    default:
      ++counters.tx_other;
      return;
  }
}

}  // namespace iopkt::icmp
