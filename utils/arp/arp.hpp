// arp(8): shows and changes the neighbour cache. BSD's syntax.
#pragma once

#include "utils/common/command.hpp"

namespace iopkt::utils {

std::string show_neighbour(const Node& neighbour);
int arp(Io& io, Stack& stack, const Words& words);

}  // namespace iopkt::utils
