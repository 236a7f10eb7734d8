// The building block of --help.
#pragma once

#include <string>

#include "option_row.hpp"

namespace iopkt::daemon {

/// Appends a row as --help shows it: the name and its value, then, indented, help, allowed values and
/// default.
void help_row(std::string& out, const OptionRow& row);

}  // namespace iopkt::daemon
