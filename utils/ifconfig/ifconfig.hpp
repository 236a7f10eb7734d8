// ifconfig(8): shows and changes interfaces. BSD's syntax and display.
#pragma once

#include "utils/common/command.hpp"

namespace iopkt::utils {

struct IfconfigFlags {
  bool all = false, broadcast_only = false, cloners = false, down_only = false, human = false,
       lifetimes = false, list = false, media = false, connected = false, up_only = false, counters = false,
       zero = false;
  std::string family;  ///< whose addresses are shown: "inet", "inet6"; empty: both
};

/// One interface as ifconfig prints it.
std::string show_interface(const Node& interface, const IfconfigFlags& flags);

int ifconfig(Io& io, Stack& stack, const Words& words);

/// Carries out `words` (everything behind the interface's name) for the interface.
int configure_interface(Io& io, Stack& stack, const std::string& name, const Words& words);

}  // namespace iopkt::utils
