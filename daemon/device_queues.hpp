// The device side of one shard: which queues it polls, and the bursts between them and the stack. include/iopkt/driver.h.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/log.hpp"
#include "base/time.hpp"
#include "plugins.hpp"
#include "poller.hpp"
#include "stack/shard.hpp"

namespace iopkt::daemon {

/// An interface while the shards use it. Made by the engine, told to every shard, and destroyed when none uses it any more.
struct RunningInterface {
  AttachedInterface* attached{};
  std::uint32_t index{};  ///< in the stack's Network
  /// One per queue that more than one shard would use; null where one thread has the queue for itself.
  std::vector<std::unique_ptr<std::mutex>> shared;
  bool polled = false;          ///< the shards use it; main thread
  std::atomic<bool> failed{};  ///< the device answered a negative number: it is not called again
};

/// All calls on the shard's thread.
class DeviceQueues {
 public:
  /// `position` of the `pollers` shards that poll devices; `polls`: false for a shard that only sends (the dedicated one).
  DeviceQueues(stack::Shard& shard, Poller& poller, LogSink& log, std::uint32_t position, std::uint32_t pollers, bool polls);
  ~DeviceQueues();

  /// Which queues are shared by several shards, so that both sides of the ABI's promise (one thread at a time) hold.
  static std::vector<std::unique_ptr<std::mutex>> make_locks(const iopkt_device_info& info, std::uint32_t shards,
                                                             std::uint32_t pollers, bool dedicated);

  void add(const std::shared_ptr<RunningInterface>& interface);
  void remove(std::uint32_t index);

  /// Bounded bursts of each queue that may have work, those that bring only SYNs last and no more of them than the shard would answer.
  /// True: frames came.
  bool receive();
  /// Everything that the shard has to send and the devices take. True: something was sent.
  bool transmit();
  /// What the shard has to say about peers, to the drivers that ask for it.
  void tell_credit();
  /// Some queue had more than its budget: do not sleep.
  bool wants_turn() const { return hungry_; }
  /// When a queue has to be polled although its descriptor is quiet.
  Duration longest_sleep() const;

 private:
  struct Queue;
  struct Sender;
  bool receive_from(Queue& queue, std::uint32_t max);
  bool receive_openings(Queue& queue);
  bool send_to(Sender& sender);
  bool drop_all(packet::Burst& burst);  ///< counted; false
  void fail(RunningInterface& interface, const char* call, int error);

  stack::Shard& shard_;
  Poller& poller_;
  LogSink& log_;
  std::uint32_t position_, pollers_;
  bool polls_, hungry_ = false;
  std::vector<std::unique_ptr<Queue>> queues_;  // of an interface, those for openings behind the others
  std::vector<std::unique_ptr<Sender>> senders_;  // by interface index
  packet::Burst burst_;
};

}  // namespace iopkt::daemon
