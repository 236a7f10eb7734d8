// Lines about what clients do wrong: each is written, but not more often than an operator can read.
#pragma once

#include <chrono>
#include <mutex>
#include <string>

#include "base/log.hpp"

namespace iopkt::daemon {

class Complaints {
 public:
  explicit Complaints(LogSink& log) : log_(log) {}
  /// Any thread. At most kBurst lines at once and one a second afterwards; what was left out is counted in the next line.
  void write(std::string line) {
    const std::lock_guard guard{lock_};
    const auto now = std::chrono::steady_clock::now();
    const auto earned = std::chrono::duration_cast<std::chrono::seconds>(now - last_).count();
    if (earned > 0) {
      tokens_ = earned >= kBurst ? kBurst : (tokens_ + static_cast<int>(earned) > kBurst ? kBurst : tokens_ + static_cast<int>(earned));
      last_ = now;
    }
    if (tokens_ == 0) {
      ++left_out_;
      return;
    }
    --tokens_;
    if (left_out_ != 0) line += " (" + std::to_string(std::exchange(left_out_, 0)) + " such lines were left out)";
    log_.write(LogLevel::warning, line);
  }

 private:
  static constexpr int kBurst = 10;
  LogSink& log_;
  std::mutex lock_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  int tokens_ = kBurst;
  std::uint64_t left_out_ = 0;
};

}  // namespace iopkt::daemon
