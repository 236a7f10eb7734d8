// Functional connections (threads_min, threads_incr, threads_max): requests that the stack has taken and that wait for something
// on the main thread, counted and bounded; what finds none free waits its turn, and nothing is lost.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "mailbox.hpp"

namespace iopkt::daemon {

/// @context One thread (shard 0).
class FunctionalConnections {
 public:
  struct Limits {
    std::uint32_t least = 15, increment = 25, most = 200;
  };
  struct Statistics {
    std::uint32_t made = 0, in_service = 0, waiting = 0, most_in_service = 0;
    std::uint64_t served = 0, waited = 0, exhausted = 0;
  };
  /// `complain` gets the line when all are in service.
  FunctionalConnections(Limits limits, std::function<void(std::string)> complain)
      : limits_(limits), complain_(std::move(complain)) {
    statistics_.made = limits.least;
  }

  /// Starts `begin` with a connection, now or when one is free. Its holder calls done() once.
  void take(Task begin) {
    if (statistics_.in_service == statistics_.made && statistics_.made < limits_.most)
      statistics_.made = std::min(limits_.most, statistics_.made + limits_.increment);
    if (statistics_.in_service == statistics_.made) {
      if (waiting_.empty()) {
        ++statistics_.exhausted;
        complain_("all " + std::to_string(statistics_.made) + " functional connections are in service (threads_max); requests wait");
      }
      ++statistics_.waited;
      waiting_.push_back(std::move(begin));
      statistics_.waiting = static_cast<std::uint32_t>(waiting_.size());
      return;
    }
    start(std::move(begin));
  }
  void done() {
    --statistics_.in_service;
    ++statistics_.served;
    if (waiting_.empty()) return;
    Task next = std::move(waiting_.front());
    waiting_.pop_front();
    statistics_.waiting = static_cast<std::uint32_t>(waiting_.size());
    start(std::move(next));
  }
  const Statistics& statistics() const { return statistics_; }

 private:
  void start(Task begin) {
    ++statistics_.in_service;
    statistics_.most_in_service = std::max(statistics_.most_in_service, statistics_.in_service);
    begin();
  }
  Limits limits_;
  std::function<void(std::string)> complain_;
  Statistics statistics_;
  std::deque<Task> waiting_;
};

}  // namespace iopkt::daemon
