// ndp(8): shows and changes the neighbour cache of IPv6. BSD's syntax and display.
#pragma once

#include "utils/common/command.hpp"

namespace iopkt::utils {

/// `answer` of arp.list with family inet6, as a table.
std::string show_neighbours6(const Node& answer);
int ndp(Io& io, Stack& stack, const Words& words);

}  // namespace iopkt::utils
