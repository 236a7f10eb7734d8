// Where the process's lines go: standard error in the foreground, the system's log in the background.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/log.hpp"

namespace iopkt::daemon {

/// Any thread may write. A line is one record: control characters in it are shown as '?'.
class Log final : public LogSink {
 public:
  enum class Target : std::uint8_t {
    standard_error,  ///< with the time of day; the journal's own form when standard error is the journal
    system,          ///< syslog; until quiet_standard_error(), warnings and errors also on standard error
  };
  Log(Target target, const std::string& identity);
  ~Log() override;
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  void write(LogLevel level, std::string_view line) override;
  /// To the system's log only, for what the user has been told otherwise. Nothing with
  /// Target::standard_error.
  void write_system(LogLevel level, std::string_view line);
  /// Target::system: the start is over, nobody reads standard error any more.
  void quiet_standard_error();

 private:
  struct Sinks;
  std::unique_ptr<Sinks> sinks_;
};

}  // namespace iopkt::daemon
