// One control connection: messages in, put together, checked, served one after the other; answers out, from any thread.
#pragma once

#include <atomic>
#include <memory>
#include <set>
#include <vector>

#include "client_request.hpp"
#include "poller.hpp"

namespace iopkt::daemon {

class ControlServer;

class ControlConnection final : public AnswerSink, public PollHandler, public std::enable_shared_from_this<ControlConnection> {
 public:
  /// `share`: of the credential's user. `charge`: of `fd`; empty: no descriptor is left, and there will be no sockets.
  ControlConnection(ControlServer& server, Fd fd, const Credential& credential, std::shared_ptr<DescriptorShare> share,
                    DescriptorCharge charge);
  ~ControlConnection() override = default;

  int fd() const { return fd_.get(); }
  const std::shared_ptr<Client>& client() const { return client_; }
  void set_watch(WatchId watch) { watch_ = watch; }
  WatchId watch() const { return watch_; }
  const std::shared_ptr<DescriptorShare>& share() const { return share_; }
  bool counted() const { return static_cast<bool>(charge_); }
  /// Reads and serves what has arrived, within a budget.
  void read();
  /// No more requests; what is in service may still be answered into the void.
  void shut();

  // ---- PollHandler, shard 0
  void ready(std::uint32_t events) override;

  // ---- AnswerSink, the thread that serves the request
  void answer(ipc::MessageId id, std::uint32_t number, int error, std::span<const std::byte> fixed,
              std::span<const std::byte> blob, std::string_view line, std::span<const int> fds) override;
  bool knows_arena(std::uint32_t arena) const override { return arenas_.contains(arena); }
  void learned_arena(std::uint32_t arena) override { arenas_.insert(arena); }
  void done() override;

 private:
  enum State : int { idle = 0, serving = 1, more_waits = 2 };
  /// False: the connection has broken the protocol.
  bool take(std::span<const std::byte> message, std::vector<Fd> fds, const Credential& sender);
  bool serve(const ipc::Frame& frame, std::vector<std::byte> blob, std::vector<Fd> fds);
  void greet(const ipc::Frame& frame);

  ControlServer& server_;
  const Fd fd_;
  const Credential credential_;       ///< who made it
  Credential sender_;                 ///< who sent the message in hand
  const std::shared_ptr<DescriptorShare> share_;
  DescriptorCharge charge_;
  WatchId watch_ = 0;
  std::shared_ptr<Client> client_;
  bool greeted_ = false, utility_ = false, shut_ = false;
  std::atomic<int> state_{idle};
  std::set<std::uint32_t> arenas_;   ///< touched by the one thread that serves a request
  // A request in several messages.
  std::vector<std::byte> first_, blob_;
  std::vector<Fd> fds_;
  std::uint32_t number_ = 0;
  std::uint16_t id_ = 0;
  bool collecting_ = false;
};

}  // namespace iopkt::daemon
