// Where the stack says what a person should know; the shell decides whether that is syslog, journald or standard error.
#pragma once

#include <string_view>

namespace iopkt {

enum class LogLevel { error, warning, notice, info, debug };

class LogSink {
 public:
  virtual ~LogSink() = default;
  virtual void write(LogLevel level, std::string_view line) = 0;
};

}  // namespace iopkt
