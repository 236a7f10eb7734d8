// One variable, as sysctl shows it.
#pragma once

#include <cstdint>
#include <string>

namespace iopkt::control {

struct Variable {
  std::string name, unit, help;
  std::string value;  ///< as printed
  bool writable = false;
  bool number = true;
  std::uint64_t initial = 0, minimum = 0, maximum = 0;  ///< of writable ones
};

}  // namespace iopkt::control
