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
/// Each line of a table but its head with a time before it ("12:34:56.000007 ").
std::string with_time(std::string_view table, std::string_view time);
/// How -A passes the seconds between two lists. False: no more.
using Again = bool (*)(std::uint64_t seconds);
int ndp(Io& io, Stack& stack, const Words& words);
int ndp(Io& io, Stack& stack, const Words& words, Again again);

}  // namespace iopkt::utils
