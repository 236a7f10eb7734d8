// The thread of one shard: its turns, its sleep, and how others wake it.
//
// A turn: mail and descriptors -> doorbells of clients -> bursts from devices -> timers -> output -> bursts to devices ->
// what clients are told. Without work it spins for a bounded time, then arms every way in which work can arrive, looks once
// more, and sleeps in epoll until the next deadline. An idle shard makes no system call.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "base/log.hpp"
#include "base/time.hpp"
#include "device_queues.hpp"
#include "ipc/arena.hpp"
#include "mailbox.hpp"
#include "poller.hpp"
#include "stack/stack.hpp"

namespace iopkt::daemon {

/// The clients' side of a shard, as its thread drives it.
class ClientTurns {
 public:
  virtual ~ClientTurns() = default;
  /// Doorbells. True: there was work.
  virtual bool collect() = 0;
  /// Events, connections and datagrams of this turn, then tokens. True: another turn may find more.
  virtual bool deliver() = 0;
  /// Before sleeping: every client has to ring from now on. False: one has rung meanwhile.
  virtual bool arm() = 0;
  /// How long at most to sleep, for what the clients' side has to try again.
  virtual Duration longest_sleep() const = 0;
};

class ShardThread final : private PollHandler {
 public:
  struct Settings {
    std::string name;               ///< of the thread: "io-pkt.0"
    Duration spin{};                ///< how long to look for work before sleeping
    std::uint32_t position = 0, pollers = 1;
    bool polls = true;              ///< false: sends to devices but polls none
    int priority = 0;               ///< SCHED_RR; 0: the default scheduler
    std::atomic<std::uint32_t>* alive = nullptr;  ///< status page: bound to the thread's life
  };
  ShardThread(stack::Stack& stack, std::uint32_t number, Settings settings, LogSink& log);
  ~ShardThread();

  /// Before start(). False: errno is set.
  [[nodiscard]] bool prepare();
  void set_clients(ClientTurns* clients) { clients_ = clients; }
  /// Called on this thread when an interface's device has to let other groups through; before start().
  using OnFilter = std::function<void(std::uint32_t interface_index, std::vector<wire::MacAddress> macs)>;
  void set_on_filter(OnFilter call) { on_filter_ = std::move(call); }
  /// `peers`: all shards' threads by number.
  void start(std::vector<ShardThread*> peers);
  void stop();

  /// Any thread: `task` runs on this one, soon.
  void post(Task task);
  /// Any thread: waits until `task` has run. Not from this thread; false: the thread is not running.
  bool call(Task task);
  /// Any thread: something was put where this shard looks.
  void wake();

  // This thread, or before start().
  /// One turn at that time. True: another one may find more. Tests make turns by hand, without start().
  bool turn(Instant now);
  stack::Shard& shard() { return shard_; }
  std::uint32_t number() const { return number_; }
  Poller& poller() { return poller_; }
  DeviceQueues& devices() { return devices_; }
  LogSink& log() { return log_; }
  Instant now() const { return now_; }
  bool is_current() const;
  /// The packet cache of the shard whose thread this is; null elsewhere.
  static packet::Cache* current_cache();

  /// Any thread; what the watchdog and operators read.
  std::uint64_t turns() const { return turns_.load(std::memory_order_relaxed); }
  std::uint64_t sleeps() const { return sleeps_.load(std::memory_order_relaxed); }

 private:
  void ready(std::uint32_t events) override;
  void run();
  bool run_mail();
  void sleep();
  Duration sleep_limit();
  void wake_peers();
  static Instant clock();

  const std::uint32_t number_;
  stack::Shard& shard_;
  const Settings settings_;
  LogSink& log_;
  Poller poller_;
  DeviceQueues devices_;
  ClientTurns* clients_ = nullptr;
  OnFilter on_filter_;
  Mailbox mail_;
  Fd event_;
  std::vector<ShardThread*> peers_;
  std::thread thread_;
  Instant now_{}, polled_{};
  std::atomic<bool> stopping_{false}, running_{false};
  ipc::AliveNode alive_node_{};
  alignas(64) std::atomic<bool> sleeping_{false};
  std::atomic<std::uint64_t> turns_{0}, sleeps_{0};
};

}  // namespace iopkt::daemon
