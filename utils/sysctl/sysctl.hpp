// sysctl(8): reads and changes the stack's variables. Concerns only the stack, not the operating system.
#pragma once

#include "utils/common/command.hpp"

namespace iopkt::utils {

struct SysctlStyle {
  bool describe = false, equals = false, value_only = false, raw = false, tree = false;
  int hex = 0;  ///< -x, -xx
};
/// One variable as asked for, with its newline (raw: without).
std::string show_variable(const Node& variable, const SysctlStyle& style);

/// Lines of a file for -f: comments and blank lines gone, continued lines joined, blanks at both ends taken
/// off.
Words read_settings(std::string_view text);

int sysctl(Io& io, Stack& stack, const Words& words);

}  // namespace iopkt::utils
