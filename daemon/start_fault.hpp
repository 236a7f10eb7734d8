// Why the process cannot start: one line for a person, and the exit status.
#pragma once

#include <string>

namespace iopkt::daemon {

struct StartFault {
  static constexpr int kFailed = 1;      ///< the system or another process stands in the way
  static constexpr int kBadCommand = 2;  ///< the command line is wrong; nothing was touched
  int status{kFailed};
  std::string line;  ///< without the program's name and without a newline
};

}  // namespace iopkt::daemon
