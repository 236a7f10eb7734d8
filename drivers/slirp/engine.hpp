// libslirp as something that one descriptor announces: its sockets, its timers and its frames.
#pragma once

#include <libslirp.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "../support/frame_io.hpp"
#include "../support/log.hpp"
#include "../support/unique_fd.hpp"
#include "frame_queue.hpp"
#include "settings.hpp"

namespace devnp_slirp {

/// One virtual network. It has no thread: slirp runs inside the stack's calls, so a frame costs no wake-up of
/// another thread. descriptor() polls readable when service() has work or frames are queued.
///
/// libslirp keeps its clock and the name server's address in globals: every call on any engine is made with
/// the lock of lock() held.
class Engine {
 public:
  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  struct Config {
    Settings settings;
    std::uint32_t mtu = 1500;             /* 68..65521 */
    std::uint32_t queue_bytes = 1u << 22; /* power of two, above twice the MTU */
    bool restricted = false, loopback = true, dhcp = true;
  };
  /// 0, or a negative errno after a line in the log; then only destruction is left.
  int start(const Config& config, const devnp::Log& log);

  /// Handles what sockets and timers have ready, unless half of the queue is still full.
  void service();
  /// One frame from the stack. Call settle() after the last one of a burst.
  void input(const std::uint8_t* frame, std::uint32_t len);
  /// Brings the descriptor up to date with slirp's sockets and the queue.
  void settle();

  FrameQueue& queue() { return queue_; }
  int descriptor() const { return epoll_.get(); }
  /// A descriptor that is always writable: input() always has room.
  int writable() const { return ready_.get(); }
  std::uint64_t dropped() const { return dropped_.get(); }

  class Lock {
   public:
    Lock();
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
  };

 private:
  struct Timer {
    Engine* engine;
    SlirpTimerId id;
    void* opaque;
    std::int64_t due_ms = -1; /* of CLOCK_MONOTONIC; -1: not set */
  };
  struct Watch {              /* by descriptor */
    int index = -1;           /* slirp's number of it in this round */
    std::uint32_t wanted = 0; /* events of this round */
    std::uint32_t events = 0; /* events in the epoll set */
    bool in_set = false;
  };

  static const SlirpCb* callbacks();
  int forward_ports(const Config& config);
  int add_poll(int fd, int events);
  void forget(int fd);
  void arm(std::uint32_t timeout_ms);
  std::uint32_t run_timers(std::uint32_t timeout_ms);
  ssize_t deliver(const void* frame, std::size_t len);

  Slirp* slirp_ = nullptr;
  devnp::Log log_;
  FrameQueue queue_;
  devnp::UniqueFd epoll_, timer_, ready_;
  bool announced_ = false; /* ready_ is readable */
  std::int64_t armed_ms_ = -1;
  std::vector<Watch> watches_;
  std::vector<int> polled_;           /* descriptors of this round, by slirp's number */
  std::vector<std::uint32_t> events_; /* what happened, by slirp's number */
  std::vector<int> in_set_;
  std::vector<std::unique_ptr<Timer>> timers_;
  devnp::Counter dropped_;
};

}  // namespace devnp_slirp
