// One thread's epoll set: descriptors and who is called when they are ready. epoll(7).
#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstdint>
#include <vector>

#include "base/time.hpp"
#include "fd.hpp"

namespace iopkt::daemon {

class PollHandler {
 public:
  /// `events`: EPOLLIN ... of the descriptor. May remove its own watch, or any other, and may be destroyed inside.
  virtual void ready(std::uint32_t events) = 0;

 protected:
  ~PollHandler() = default;
};

/// A watch of one Poller; 0: none.
using WatchId = std::uint64_t;

/// One thread. A handler whose watch was removed is never called again, also not for what the kernel has reported already.
class Poller {
 public:
  /// False: errno is set.
  [[nodiscard]] bool open();
  /// 0: errno is set. `events`: EPOLLIN | EPOLLET ... The descriptor stays the caller's.
  [[nodiscard]] WatchId add(int fd, std::uint32_t events, PollHandler& handler);
  void change(WatchId id, std::uint32_t events);
  /// Before the descriptor is closed. 0 is allowed.
  void remove(WatchId id);
  /// Waits at most `timeout` (0: not at all; Duration::max(): without limit). Answers how many are ready.
  int fetch(Duration timeout);
  /// Calls the handlers of what the last fetch() found.
  void dispatch();
  std::size_t size() const { return used_; }

 private:
  struct Watch {
    int fd = -1;
    std::uint32_t generation = 1;
    PollHandler* handler = nullptr;
  };
  Watch* find(WatchId id);
  int wait_kernel(Duration timeout);

  Fd epoll_;
  std::vector<Watch> watches_;
  std::vector<std::uint32_t> free_;
  std::size_t used_ = 0;
  std::array<epoll_event, 128> events_{};
  int fetched_ = 0;
  bool nanoseconds_ = true;  ///< the kernel has epoll_pwait2 (Linux 5.11)
};

}  // namespace iopkt::daemon
