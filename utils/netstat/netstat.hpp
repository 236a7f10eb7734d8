// netstat(1): sockets, routes, interfaces, buffers and counters of a stack. BSD's display.
#pragma once

#include "utils/common/command.hpp"

namespace iopkt::utils {

struct NetstatFlags {
  bool addresses = false, all = false, bytes = false, drops = false, interfaces = false, no_link = false,
       buffers = false, groups = false, numeric = false, routes = false, wide = false, verbose = false;
  int statistics = 0;  ///< -s; twice: without zeroes
  std::string family, fib, interface, protocol;
  std::uint64_t wait = 0;  ///< -w, seconds
};

std::string show_sockets(const Node& answer, const NetstatFlags& flags);
std::string show_interfaces(const Node& answer, const NetstatFlags& flags);
std::string show_statistics(const Node& answer, const NetstatFlags& flags);
std::string show_buffers(const Node& answer);
std::string show_groups(const Node& answer);

/// One line of -w: what was counted between two answers of interface.list; `before` may be null (since the
/// start).
std::string show_rate_heading(const NetstatFlags& flags);
std::string show_rate(const Node& now, const Node* before, const NetstatFlags& flags);

int netstat(Io& io, Stack& stack, const Words& words);

}  // namespace iopkt::utils
