// One formatted line to the stack's log, each with the driver's name in front.
#pragma once

#include <iopkt/driver.h>

#include <cstdarg>
#include <cstdio>

namespace devnp {

/// Longest line given to the log; the rest of a longer one is cut.
inline constexpr int kLogLineMax = 400;

/// Where a driver's messages go. Copies share the host, which outlives every device.
class Log {
 public:
  Log() = default;
  /// `driver` is a literal such as "devnp-tap"; info and debug lines appear from `verbose` 1 and 2 on.
  Log(const iopkt_host* host, const char* driver, unsigned verbose)
      : host_(host), driver_(driver), verbose_(verbose) {}

  __attribute__((format(printf, 2, 3))) void error(const char* format, ...) const {
    std::va_list args;
    va_start(args, format);
    line(IOPKT_LOG_ERROR, format, args);
    va_end(args);
  }
  __attribute__((format(printf, 2, 3))) void warning(const char* format, ...) const {
    std::va_list args;
    va_start(args, format);
    line(IOPKT_LOG_WARNING, format, args);
    va_end(args);
  }
  __attribute__((format(printf, 2, 3))) void notice(const char* format, ...) const {
    std::va_list args;
    va_start(args, format);
    line(IOPKT_LOG_NOTICE, format, args);
    va_end(args);
  }
  __attribute__((format(printf, 2, 3))) void info(const char* format, ...) const {
    if (verbose_ < 1) return;
    std::va_list args;
    va_start(args, format);
    line(IOPKT_LOG_INFO, format, args);
    va_end(args);
  }
  __attribute__((format(printf, 2, 3))) void debug(const char* format, ...) const {
    if (verbose_ < 2) return;
    std::va_list args;
    va_start(args, format);
    line(IOPKT_LOG_DEBUG, format, args);
    va_end(args);
  }

 private:
  void line(int level, const char* format, std::va_list args) const {
    if (host_ == nullptr || host_->log == nullptr) return;
    char text[kLogLineMax];
    const int head = std::snprintf(text, sizeof text, "%s: ", driver_);
    std::vsnprintf(text + head, sizeof text - static_cast<std::size_t>(head), format, args);
    host_->log(host_->ctx, level, text);
  }

  const iopkt_host* host_ = nullptr;
  const char* driver_ = "";
  unsigned verbose_ = 0;
};

}  // namespace devnp
