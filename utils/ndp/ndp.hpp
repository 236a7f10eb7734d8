// ndp(8): shows and changes the neighbour cache of IPv6. BSD's syntax and display.
#pragma once

#include "utils/common/command.hpp"

namespace iopkt::utils {

/// `answer` of arp.list with family inet6, as a table.
std::string show_neighbours6(const Node& answer);
/// Parts of the answer of discovery.list: prefixes; routers with what else they say; interfaces.
std::string show_prefixes(const Node& answer);
std::string show_routers(const Node& answer);
std::string show_interfaces6(const Node& answer);
int ndp(Io& io, Stack& stack, const Words& words);

}  // namespace iopkt::utils
