// For tests of the running engine: an engine without devices, and clients that speak the protocol by hand.
#pragma once

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <thread>

#include "fd.hpp"
#include "base/bytes.hpp"
#include "ipc/arena.hpp"
#include "ipc/datagram_ring.hpp"
#include "ipc/descriptor.hpp"
#include "ipc/messages.hpp"
#include "ipc/nodes.hpp"
#include "ipc/offer.hpp"
#include "ipc/receive_ring.hpp"
#include "ipc/records.hpp"
#include "ipc/send_ring.hpp"
#include "stack_engine.hpp"

namespace iopkt::daemon {

namespace fs = std::filesystem;
using ipc::MessageId;
using ipc::Status;

/// Waits for what another thread does. The bound only ends a test that would hang.
inline bool eventually(const std::function<bool()>& what) {
  const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds{30};
  while (!what()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::yield();
  }
  return true;
}

inline short polled(int fd) {
  pollfd p{.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP, .revents = 0};
  ::poll(&p, 1, 0);
  return p.revents;
}

inline Fd connect_node(const std::string& path, int type) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  Fd fd{::socket(AF_UNIX, type | SOCK_CLOEXEC, 0)};
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) fd.reset();
  return fd;
}

inline sockaddr_in inet(std::uint32_t address, std::uint16_t port) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(address);
  in.sin_port = htons(port);
  return in;
}

class EngineTest : public testing::TestWithParam<std::uint32_t> {
 protected:
  /// The stack's IPv6; null: it has none.
  virtual const ipv6::Inet6* inet6() const { return nullptr; }
  void SetUp() override {
    char pattern[] = "/tmp/iopkt-engine-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    base_ = pattern;
    ::setenv("IOPKT_RUN_DIR", (base_ + "/run").c_str(), 1);
    options_ = default_options(Variant::v4_hc);
    options_.tcpip.prefix = base_ + "/p";
    options_.tcpip.recv_ctxt = 4096;
    log_.emplace(Log::Target::standard_error, "test");
    auto instance = Instance::claim(options_);
    ASSERT_TRUE(instance) << instance.error().line;
    instance_ = std::move(*instance);
    context_.emplace(EngineContext{options_, GetParam(), *log_, *instance_, inet6()});
    engine_ = make_stack_engine(*context_);
    plugins_.emplace(engine_->driver_host(), PluginSettings{});
    const auto up = engine_->start(*plugins_);
    ASSERT_TRUE(up) << up.error().line;
    ASSERT_EQ(::pipe2(end_, O_CLOEXEC), 0);
    main_ = std::thread{[this] { engine_->run(end_[0]); }};
  }
  void TearDown() override {
    if (main_.joinable()) {
      EXPECT_EQ(::write(end_[1], "x", 1), 1);
      main_.join();
      ::close(end_[0]);
      ::close(end_[1]);
    }
    if (engine_) engine_->stop();
    plugins_.reset();
    engine_.reset();
    instance_.reset();
    ::unsetenv("IOPKT_RUN_DIR");
    std::error_code ignored;
    fs::remove_all(base_, ignored);
  }

  std::string node(std::string_view name) const { return options_.tcpip.prefix + "/dev/socket/" + std::string{name}; }

  std::string base_;
  Options options_;
  std::optional<Log> log_;
  std::unique_ptr<Instance> instance_;
  std::optional<EngineContext> context_;
  std::unique_ptr<Engine> engine_;
  std::optional<Plugins> plugins_;
  std::thread main_;
  int end_[2] = {-1, -1};
};

/// One process of a client, by hand.
class Program {
 public:
  explicit Program(const std::string& control_node, std::uint32_t parent = 0, std::uint64_t secret = 0, bool utility = false) {
    connection_ = connect_node(control_node, SOCK_SEQPACKET);
    std::array<int, ipc::kMessageFdsMax> fds{};
    const ipc::HelloRequest request{.version = ipc::kProtocolVersion,
                                    .flags = utility ? ipc::HelloFlag::utility : 0,
                                    .parent_client = parent,
                                    .reserved = 0,
                                    .parent_secret = secret};
    const auto result = ipc::call<MessageId::hello>(connection_.get(), scratch_, 2048, ++number_, request, {}, hello, {}, fds);
    greeted = result.transport == 0 && result.error == 0;
    error = result.error;
    if (!greeted || utility) return;
    control_ = ipc::map_control(fds[0]);
    for (std::size_t i = 2; i < result.fds; ++i) events_.push_back(fds[i]);
    for (const int fd : {fds[0], fds[1]}) ::close(fd);
  }
  ~Program() {
    ipc::unmap(control_);
    for (auto& [id, arena] : arenas_) ipc::unmap(arena);
    for (const int fd : events_) ::close(fd);
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  template <MessageId Id>
  int ask(const typename ipc::MessageTypes<Id>::Request& request, std::span<const std::byte> blob = {},
          typename ipc::MessageTypes<Id>::Answer* answer = nullptr, std::span<std::byte> out = {}, std::size_t* got = nullptr) {
    typename ipc::MessageTypes<Id>::Answer value{};
    std::array<int, 4> fds{};
    const auto result =
        ipc::call<Id>(connection_.get(), scratch_, hello.message_max, ++number_, request, blob, value, out, fds);
    if (result.transport != 0) return -result.transport;
    if (result.fds != 0) {
      const ipc::Mapping arena = ipc::map_arena(fds[0]);
      if (arena) arenas_[ipc::arena_header(arena).arena_id] = arena;
      for (std::size_t i = 0; i < result.fds; ++i) ::close(fds[i]);
    }
    if (answer != nullptr) *answer = value;
    if (got != nullptr) *got = result.blob_len;
    return result.error;
  }
  ipc::Slot& slot(std::uint64_t name) {
    const ipc::Mapping& arena = arenas_.at(ipc::arena_of(name));
    return ipc::slot_at(arena.base, ipc::arena_header(arena), ipc::index_of(name));
  }
  std::byte* base(std::uint64_t name) { return arenas_.at(ipc::arena_of(name)).base; }
  std::size_t size(std::uint64_t name) { return arenas_.at(ipc::arena_of(name)).size; }
  std::uint32_t bell_number(std::uint64_t name) {
    return ipc::arena_header(arenas_.at(ipc::arena_of(name))).first_slot + ipc::index_of(name);
  }
  ipc::ProgramEnd end(int fd, std::uint64_t name) { return {fd, slot(name), control_.base, events_.data(), bell_number(name)}; }
  int connection() const { return connection_.get(); }
  void drop_connection() { connection_.reset(); }

  bool greeted = false;
  int error = 0;
  ipc::HelloAnswer hello{};

 private:
  Fd connection_;
  std::array<std::byte, 65536> scratch_{};
  std::uint32_t number_ = 0;
  ipc::Mapping control_;
  std::vector<int> events_;
  std::map<std::uint32_t, ipc::Mapping> arenas_;
};

struct Socket {
  ipc::SlotAnswer slot{};
  Fd fd;
};

inline std::span<const std::byte> bytes_of(const sockaddr_in& in) { return as_bytes(&in, sizeof in); }

/// slot_open and, with `attach`, the native end with its HELLO.
inline Socket open_socket(Program& program, const std::string& attach_node, std::uint16_t type, std::uint32_t protocol = 0) {
  Socket out;
  EXPECT_EQ(program.ask<MessageId::slot_open>({.domain = AF_INET, .type = type, .protocol = protocol, .cookie = 0}, {}, &out.slot), 0);
  if (attach_node.empty()) return out;
  out.fd = connect_node(attach_node, type == SOCK_STREAM ? SOCK_STREAM : SOCK_SEQPACKET);
  ipc::set_minimum_buffer(out.fd.get());
  ipc::ProgramEnd end = program.end(out.fd.get(), out.slot.slot);
  end.send_unit(ipc::Unit::hello(program.hello.client_id, out.slot.slot, out.slot.nonce, 0));
  if (type == SOCK_STREAM) end.send_stall();
  EXPECT_TRUE(eventually([&] { return (program.slot(out.slot.slot).status.load() & Status::attached) != 0; }));
  return out;
}

/// A slot that listens on `port` of all addresses.
inline Socket open_listener(Program& program, const std::string& attach_node, std::uint16_t port, int backlog = 16) {
  Socket out = open_socket(program, attach_node, SOCK_STREAM);
  const sockaddr_in any = inet(0, port);
  EXPECT_EQ(program.ask<MessageId::bind>({.slot = out.slot.slot, .flags = 0, .reserved = 0}, bytes_of(any)), 0);
  EXPECT_EQ(program.ask<MessageId::listen>({.slot = out.slot.slot, .backlog = backlog, .flags = 0}), 0);
  return out;
}

/// The next connection of the listener, without a word to the stack.
inline Socket take_offer(const Socket& listener) {
  Socket out;
  ipc::Offer offer;
  const ssize_t n = ::recvmsg(listener.fd.get(), offer.message(), MSG_CMSG_CLOEXEC);
  EXPECT_GT(n, 0);
  out.fd.reset(offer.descriptor(static_cast<std::size_t>(n)));
  out.slot.slot = offer.hello().slot;
  out.slot.nonce = offer.hello().nonce;
  return out;
}

inline Socket accept_socket(Program& program, const Socket& listener) {
  Socket out = take_offer(listener);
  const std::uint64_t slot = out.slot.slot, nonce = out.slot.nonce;
  EXPECT_EQ(program.ask<MessageId::accept_adopt>({.slot = slot, .nonce = nonce}, {}, &out.slot), 0);
  program.end(out.fd.get(), slot).send_unit(ipc::Unit::hello(program.hello.client_id, slot, nonce, 0));
  return out;
}

/// A connection on its way to `port` of the loopback.
inline Socket connect_to(Program& program, const std::string& attach_node, std::uint16_t port) {
  Socket out = open_socket(program, attach_node, SOCK_STREAM);
  EXPECT_EQ(polled(out.fd.get()) & POLLOUT, 0) << "a connect in progress is not writable";
  const sockaddr_in to = inet(INADDR_LOOPBACK, port);
  EXPECT_EQ(program.ask<MessageId::connect>({.slot = out.slot.slot, .flags = 0, .reserved = 0}, bytes_of(to)),
            EINPROGRESS);
  return out;
}

inline bool has_status(Program& program, const Socket& socket, std::uint32_t bits) {
  return eventually([&] { return (program.slot(socket.slot.slot).status.load() & bits) != 0; });
}

inline std::size_t write_all(Program& program, const Socket& socket, std::string_view text) {
  ipc::ProgramEnd end = program.end(socket.fd.get(), socket.slot.slot);
  ipc::SendRingWriter writer{program.slot(socket.slot.slot), program.base(socket.slot.slot), program.size(socket.slot.slot), end};
  std::size_t done = 0;
  eventually([&] {
    const iovec piece{const_cast<char*>(text.data()) + done, text.size() - done};
    const auto outcome = writer.write({&piece, 1});
    if (outcome.kind == ipc::WriteOutcome::Kind::data) done += outcome.bytes;
    return done == text.size() || outcome.kind == ipc::WriteOutcome::Kind::closed || outcome.kind == ipc::WriteOutcome::Kind::failed;
  });
  return done;
}

/// Reads until `bytes` came or the stream ended.
inline std::string read_some(Program& program, const Socket& socket, std::size_t bytes) {
  ipc::ProgramEnd end = program.end(socket.fd.get(), socket.slot.slot);
  ipc::ReceiveRingReader reader{program.slot(socket.slot.slot), program.base(socket.slot.slot), program.size(socket.slot.slot), end};
  std::string out;
  eventually([&] {
    char buffer[8192];
    const iovec piece{buffer, std::min(sizeof buffer, bytes - out.size())};
    const auto outcome = reader.read({&piece, 1});
    if (outcome.kind == ipc::ReadOutcome::Kind::data) out.append(buffer, outcome.bytes);
    return out.size() == bytes || outcome.kind == ipc::ReadOutcome::Kind::eof || outcome.kind == ipc::ReadOutcome::Kind::reset;
  });
  return out;
}

/// What a verb without arguments answers, as records; empty when it is refused.
inline std::vector<std::byte> asked(const std::string& control_node, std::string_view verb) {
  Program utility{control_node, 0, 0, true};
  std::vector<std::byte> blob;
  ipc::RecordWriter{blob}.text("verb", verb);
  std::vector<std::byte> answer(std::size_t{1} << 20);
  std::size_t got = 0;
  EXPECT_EQ(utility.ask<MessageId::manage>({}, blob, nullptr, answer, &got), 0);
  answer.resize(got);
  return answer;
}

/// Sockets of all clients, as the verb `info` says.
inline std::uint64_t sockets_in_use(const std::string& control_node) {
  const std::vector<std::byte> answer = asked(control_node, "info");
  std::uint64_t sum = 0;
  ipc::RecordReader reader{answer};
  for (ipc::Record record; reader.next(record);)
    if (record.key == "sockets") sum += record.number();
  EXPECT_FALSE(reader.bad());
  return sum;
}

/// How many packets died for the reason of this name, as the verb `statistics` says.
inline std::uint64_t drops_counted(const std::string& control_node, std::string_view name) {
  const std::vector<std::byte> answer = asked(control_node, "statistics");
  ipc::RecordReader reader{answer};
  std::string row;
  for (ipc::Record record; reader.next(record);) {
    if (record.key == "name") row = record.text();
    if (record.key == "value" && row == name) return record.number();
  }
  ADD_FAILURE() << name << " is no counter";
  return 0;
}

}  // namespace iopkt::daemon
