#include "tcp/state.hpp"

#include <array>

namespace iopkt::tcp {

std::string_view name_of(State state) {
  static constexpr std::array<std::string_view, 10> kNames{"CLOSED",     "SYN_SENT",   "SYN_RCVD", "ESTABLISHED", "FIN_WAIT_1",
                                                           "FIN_WAIT_2", "CLOSE_WAIT", "CLOSING",  "LAST_ACK",    "TIME_WAIT"};
  return kNames[static_cast<std::size_t>(state)];
}

std::string_view name_of(Failure failure) {
  static constexpr std::array<std::string_view, 10> kNames{
      "none",                "reset",                "refused",          "timed_out", "host_unreachable",
      "network_unreachable", "protocol_unreachable", "admin_prohibited", "aborted", "reset_after_fin"};
  return kNames[static_cast<std::size_t>(failure)];
}

}  // namespace iopkt::tcp
