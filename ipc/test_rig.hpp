// For the tests of this folder: one slot with both rings in shared memory, a real socket pair, and ends that inject preemption and death.
#pragma once

#include <gtest/gtest.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <new>
#include <thread>
#include <vector>

#include "base/random.hpp"
#include "ipc/arena.hpp"
#include "ipc/datagram_ring.hpp"
#include "ipc/descriptor.hpp"
#include "ipc/doorbell.hpp"
#include "ipc/receive_ring.hpp"
#include "ipc/send_ring.hpp"

namespace iopkt::ipc::test {

/// How long each stress configuration runs. IOPKT_STRESS_MS raises it for a soak.
inline std::chrono::milliseconds stress_time() {
  const char* text = std::getenv("IOPKT_STRESS_MS");  // NOLINT(concurrency-mt-unsafe): nothing sets it
  return std::chrono::milliseconds{text != nullptr ? std::strtol(text, nullptr, 10) : 80};
}
inline std::chrono::steady_clock::time_point now() { return std::chrono::steady_clock::now(); }

/// Waits for something that must come; the bound only ends a test that would hang.
template <class Condition>
bool eventually(Condition condition, std::chrono::seconds bound = std::chrono::seconds{20}) {
  const auto end = now() + bound;
  while (!condition()) {
    if (now() > end) return false;
    sched_yield();
  }
  return true;
}

/// Shared by all threads and forked processes of a test.
struct SharedState {
  std::atomic<std::uint64_t> sum, bytes, events, spurious, operations, kills_left, signals;
  std::atomic<std::uint32_t> stop, alive, ready;
};

inline int poll_mask(int fd) {
  pollfd p{.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP | POLLPRI, .revents = 0};
  poll(&p, 1, 0);
  return p.revents;
}

class Rig {
 public:
  static constexpr std::size_t kRing = 4096;

  explicit Rig(int type = SOCK_STREAM, std::size_t ring_size = kRing) : ring_size_(ring_size) {
    const std::size_t size = kPage * 2 + 4 * ring_size;
    memory_.size = size;
    memory_.base = static_cast<std::byte*>(
        mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    shared = new (memory_.base + kPage + sizeof(Slot)) SharedState{};
    slot = reinterpret_cast<Slot*>(memory_.base + kPage);
    shared->alive = 1;
    reset_slot(*slot, AF_INET, static_cast<std::uint16_t>(type), 0, 7, 0);
    EXPECT_EQ(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds_), 0);
    EXPECT_EQ(set_minimum_buffer(program()), 0);
    end = StackEnd{stack()};
    producer = ReceiveRingProducer{*slot};
    consumer = SendRingConsumer{*slot, type != SOCK_STREAM};
    producer.set_ring(ring_memory(0), ring_ref(0, 0));
    consumer.set_ring(ring_memory(1), ring_ref(1, 0));
    const Unit hello = Unit::hello(1, 0, 7, 0);
    EXPECT_EQ(send(program(), &hello, sizeof hello, 0), static_cast<ssize_t>(sizeof hello));
    EXPECT_TRUE(end.inspect().hello);
  }
  ~Rig() {
    close_program();
    close_stack();
    munmap(memory_.base, memory_.size);
  }
  Rig(const Rig&) = delete;
  Rig& operator=(const Rig&) = delete;

  int program() const { return fds_[0]; }
  int stack() const { return fds_[1]; }
  void close_program() { close_one(0); }
  void close_stack() { close_one(1); }
  std::byte* arena() const { return memory_.base; }
  std::size_t arena_size() const { return memory_.size; }
  std::byte* ring_memory(int which) const { return memory_.base + 2 * kPage + which * ring_size_; }
  RingRef ring_ref(int which, std::uint16_t epoch) const {
    return RingRef::make(2 * kPage + which * ring_size_, ring_size_, epoch);
  }

  ReceiveWord word() const { return {slot->rx_word.load()}; }
  int tokens_queued() const {
    int unread = 0;
    return ioctl_unread(unread) ? unread / kTokenCharge : -1;
  }

  /// Writes bytes of `value` behind the tail and publishes them.
  bool put(std::size_t n, std::uint8_t value = 1) {
    for (std::size_t i = 0; i < n; ++i) {
      producer.base()[(producer.tail() + i) & (producer.size() - 1)] = std::byte{value};
    }
    return producer.publish((producer.tail() + n) & kPositionMask);
  }
  /// What the daemon does with a doorbell.
  void serve_kicks() {
    if (slot->kicks.load() == 0) return;
    const std::uint32_t kicks = slot->kicks.exchange(0);
    if ((kicks & Kick::repair) != 0) producer.repair();
    if ((kicks & Kick::recheck) != 0) producer.recheck();
  }

  Slot* slot = nullptr;
  SharedState* shared = nullptr;
  StackEnd end;
  ReceiveRingProducer producer;
  SendRingConsumer consumer;

 private:
  static constexpr int kTokenCharge = 768;  // what Linux charges for a byte
  bool ioctl_unread(int& out) const { return ioctl(stack(), SIOCOUTQ, &out) == 0; }
  void close_one(int which) {
    if (fds_[which] >= 0) close(fds_[which]);
    fds_[which] = -1;
  }
  Mapping memory_;
  std::size_t ring_size_;
  int fds_[2] = {-1, -1};
};

/// The program's end with injected preemption, and death at a chosen step.
class TestEnd final : public ProgramIo {
 public:
  struct Faults {
    bool preempt = false;
    bool kill = false;
    Step where = Step::won_token;
  };
  TestEnd(const Rig& rig, std::uint64_t seed, Faults faults)
      : real_(rig.program(), *rig.slot, nullptr, nullptr, 0), shared_(rig.shared), random_(seed), faults_(faults) {}

  bool take_token() override { return real_.take_token(); }
  Await await_token() override { return real_.await_token(); }
  Swept sweep_urgent(bool keep) override { return real_.sweep_urgent(keep); }
  Stalled send_stall() override { return real_.send_stall(); }
  void yield() override { sched_yield(); }
  std::uint64_t now_us() override { return real_.now_us(); }
  void ring() override {}  // the rigs look at the slot all the time
  void step(Step step) override {
    if (faults_.kill && step == faults_.where && random_.below(300) == 0) {
      std::uint64_t left = shared_->kills_left.load();
      while (left > 0 && !shared_->kills_left.compare_exchange_weak(left, left - 1)) {
      }
      if (left > 0) raise(SIGKILL);
    }
    if (!faults_.preempt) return;
    const std::uint64_t dice = random_.below(64);
    if (dice < 8) sched_yield();
    if (dice == 8) {
      const timespec moment{.tv_sec = 0, .tv_nsec = 20'000};
      nanosleep(&moment, nullptr);
    }
  }

 private:
  ProgramEnd real_;
  SharedState* shared_;
  Random random_;
  Faults faults_;
};

/// Runs `body(id)` in threads or in forked processes.
class Crew {
 public:
  template <class Body>
  Crew(int count, bool processes, Body body) {
    for (int id = 0; id < count; ++id) {
      if (!processes) {
        threads_.emplace_back(body, id);
        continue;
      }
      const pid_t pid = fork();
      if (pid == 0) {
        forget_thread_id();
        body(id);
        _exit(0);
      }
      children_.push_back(pid);
    }
  }
  /// True if all ended by themselves or were killed by their own fault injection; `bound` only ends a hang.
  bool join(std::chrono::seconds bound = std::chrono::seconds{20}) {
    for (auto& t : threads_) t.join();
    threads_.clear();
    bool good = true;
    for (pid_t& child : children_) {
      int status = 0;
      const pid_t mine = child;
      if (mine == 0) continue;
      if (!eventually([&] { return waitpid(mine, &status, WNOHANG) == mine; }, bound)) {
        kill(mine, SIGKILL);
        waitpid(mine, &status, 0);
        good = false;
      } else if (!(WIFEXITED(status) && WEXITSTATUS(status) == 0) &&
                 !(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)) {
        good = false;
      }
      child = 0;
    }
    return good;
  }
  /// Takes away zombies, so that the lock's death check sees what an init would.
  void reap() {
    for (pid_t& child : children_) {
      if (child != 0 && waitpid(child, nullptr, WNOHANG) == child) child = 0;
    }
  }
  ~Crew() { join(); }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

 private:
  std::vector<std::thread> threads_;
  std::vector<pid_t> children_;
};

}  // namespace iopkt::ipc::test
