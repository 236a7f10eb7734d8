// Interfaces between the drivers, the shards and the Network: taken up, changed, given back.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "plugins.hpp"
#include "shard_thread.hpp"

namespace iopkt::daemon {

/// The stack's side of every attached interface. Main thread, but for what says otherwise.
class InterfacesHost final : public DriverHost {
 public:
  InterfacesHost(stack::Stack& stack, LogSink& log, bool dedicated);
  /// Before the first interface is taken up.
  void set_threads(std::vector<ShardThread*> threads) { threads_ = std::move(threads); }

  // ---- DriverHost
  iopkt_frame* alloc(std::uint32_t capacity) override;
  void release(iopkt_frame* frame) override;
  void link_state(AttachedInterface& interface) override;  // any thread
  void log(LogLevel level, std::string_view line) override;  // any thread
  bool name_taken(std::string_view name) override;

  /// Publishes it, down. False: there are too many interfaces.
  [[nodiscard]] bool take_up(AttachedInterface& interface);
  /// The device is brought up and the shards poll it / the reverse. An errno, 0: done. Interfaces without a device: 0.
  int start(std::uint32_t index);
  int stop(std::uint32_t index);
  /// No shard touches it any more and the device is stopped; the caller publishes a Network without it. Null: it has no device.
  AttachedInterface* give_back(std::uint32_t index);
  /// Every interface, when no shard runs any more.
  void stop_all();

  /// What a driver can be told while it runs. An errno, 0: done, EOPNOTSUPP: it cannot.
  int set_mtu(std::uint32_t index, std::uint32_t mtu);
  int set_mac(std::uint32_t index, const std::uint8_t mac[6]);
  int set_promiscuous(std::uint32_t index, bool on);
  /// The group addresses that the device is to let through.
  int set_multicast(std::uint32_t index, const std::vector<wire::MacAddress>& macs);
  /// Any thread. False: no device.
  bool statistics(std::uint32_t index, iopkt_statistics& out, std::string& driver, std::string& description);
  /// The attached interface behind a name; null: none, or one that no driver made.
  std::shared_ptr<RunningInterface> find(std::string_view name) const;

 private:
  template <class Change>
  int change(std::uint32_t index, Change call);
  std::shared_ptr<RunningInterface> by_index(std::uint32_t index) const;
  void on_shard0(Task task);
  void on_every_shard(const std::function<void(ShardThread&)>& call);

  stack::Stack& stack_;
  LogSink& log_;
  const bool dedicated_;
  std::vector<ShardThread*> threads_;
  mutable std::mutex lock_;         // running_
  mutable std::mutex device_lock_;  // calls into drivers' control side; never taken inside lock_
  std::vector<std::shared_ptr<RunningInterface>> running_;
};

}  // namespace iopkt::daemon
