// One stack in virtual time behind a point: IP packets go in and come out, nothing else is on its link.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "stack/counters.hpp"
#include "stack/stack.hpp"

namespace iopkt::script {

using PacketBytes = std::vector<std::byte>;

/// A packet that left, from its IP header on.
struct Captured {
  Instant at;
  PacketBytes bytes;
};

struct MachineOptions {
  std::uint32_t shards = 1;
  std::uint32_t mtu = 1500;
  std::uint64_t seed = 1;
  wire::IpFamily family = wire::IpFamily::v4;  ///< of sockets and packets, where the script leaves it open
};

/// Its address is 192.168.0.1/16; everybody else, 192.0.2.1 for one, is behind the router 192.168.0.2. Of IPv6 its address is
/// fd3d:a0b:17d6::1/64, the peer fd3d:fa7b:d17d::1, and neighbours are known without discovery.
class Machine : public LogSink {
 public:
  static constexpr wire::Ipv4Address kLocal{192, 168, 0, 1}, kRouter{192, 168, 0, 2}, kRemote{192, 0, 2, 1};
  static constexpr wire::Ipv6Address kLocal6{{0xfd, 0x3d, 0x0a, 0x0b, 0x17, 0xd6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}},
      kRouter6{{0xfd, 0x3d, 0x0a, 0x0b, 0x17, 0xd6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}},
      kRemote6{{0xfd, 0x3d, 0xfa, 0x7b, 0xd1, 0x7d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};
  static wire::IpAddress local(wire::IpFamily family) { return family == wire::IpFamily::v4 ? wire::IpAddress{kLocal} : kLocal6; }
  static wire::IpAddress remote(wire::IpFamily family) { return family == wire::IpFamily::v4 ? wire::IpAddress{kRemote} : kRemote6; }

  explicit Machine(const MachineOptions& options);
  ~Machine() override;
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  Instant now() const { return now_; }
  wire::IpFamily family() const { return options_.family; }
  /// A packet from the link, IP header first; handled at once.
  void receive(Bytes packet);
  /// The oldest packet that left and was not taken yet.
  std::optional<Captured> take();
  const std::deque<Captured>& sent() const { return sent_; }
  /// Goes on to the next moment at which the stack has something to do, at most to `limit`, and does it. False: `limit` has come.
  bool step(Instant limit);
  /// Errors: a line that says what is wrong.
  std::optional<std::string> set_variable(std::string_view name, std::string_view value);
  std::uint64_t drops(packet::Drop reason) const;
  std::string last_log() const { return last_log_; }

  stack::Shard& shard(std::uint32_t n) { return stack_->shard(n); }
  std::uint32_t shards() const { return stack_->shard_count(); }
  const stack::Settings& settings() const { return stack_->network()->settings; }
  /// Whatever is to be done now, until nothing is left.
  void settle();

 protected:
  // ---- the program's side
  virtual void on_event(std::uint32_t shard, const stack::SocketEvent& event) = 0;
  virtual void on_accept(std::uint32_t shard, const stack::AcceptEvent& event) = 0;
  virtual void on_datagram(std::uint32_t shard, stack::Datagram&& datagram) = 0;
  virtual bool provide_rings(std::uint32_t shard, std::uint32_t send, std::uint32_t receive, stack::Rings& out) = 0;
  virtual void take_back_rings(stack::Cookie cookie) = 0;

 private:
  class Rings;
  void write(LogLevel, std::string_view line) override { last_log_ = line; }
  bool turn(std::uint32_t n);
  void transmit(std::uint32_t n);

  MachineOptions options_;
  Instant now_{1'000'000'000};
  packet::HeapPages pages_;
  std::vector<std::unique_ptr<Rings>> rings_;
  std::unique_ptr<stack::Stack> stack_;
  std::uint32_t interface_index_ = 0, next_queue_ = 0;
  std::vector<std::pair<std::uint32_t, PacketBytes>> arrived_;
  std::deque<Captured> sent_;
  std::string last_log_;
};

}  // namespace iopkt::script
