// The routing table as netstat -r and route show print it.
#pragma once

#include <string>

#include "utils/common/command.hpp"

namespace iopkt::utils {

struct RouteTableStyle {
  bool spaced_flags = false;  ///< a blank between the flag letters
  bool with_fib = false;      ///< a heading per table
  std::string family;         ///< "inet" or "inet6" alone; empty: both
};
/// `routes` as route.list answers them; `neighbours` (may be empty) as arp.list does: shown as link-level
/// routes.
std::string show_routes(const Node& routes, const Node& neighbours, const RouteTableStyle& style);

}  // namespace iopkt::utils
