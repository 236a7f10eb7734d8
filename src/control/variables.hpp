// sysctl's variables: every tunable row of every layer, and what cannot be changed while the stack runs.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "control/variable.hpp"
#include "control/verbs.hpp"

namespace iopkt::control {

/// All, sorted by name.
std::vector<Variable> list_variables(const Context& context);

/// Sets a variable in the settings of `next`. Errors: see sysctl.set.
struct SetResult {
  Errno error = Errno::ok;
  std::string line;
};
SetResult set_variable(Network& next, std::string_view name, std::string_view value);

}  // namespace iopkt::control
