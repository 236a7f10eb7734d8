// sysctl's variables: every tunable row of every layer, and what cannot be changed while the stack runs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/verbs.hpp"

namespace iopkt::control {

struct Variable {
  std::string name, unit, help;
  std::string value;  ///< as printed
  bool writable = false;
  bool number = true;
  std::uint64_t initial = 0, minimum = 0, maximum = 0;  ///< of writable ones
};

/// All, sorted by name.
std::vector<Variable> list_variables(const Context& context);

/// Sets a variable in the settings of `next`. Errors: see sysctl.set.
struct SetResult {
  Errno error = Errno::ok;
  std::string line;
};
SetResult set_variable(Network& next, std::string_view name, std::string_view value);

}  // namespace iopkt::control
