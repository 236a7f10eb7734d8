// What a script plays against: socket calls as the kernel's interface has them, packets, and a clock. sockets.hpp is the stack itself
// in this process; loaded.hpp is a library that exports packetdrill's table.
#pragma once

#include <poll.h>
#include <sys/epoll.h>

#include <array>

#include "tests/script/machine.hpp"

namespace iopkt::script {

/// One socket call, its arguments and what it answers beside its result.
struct Request {
  enum class Op : std::uint8_t {
    socket, bind, listen, accept, connect, read, readv, recv, recvfrom, recvmsg, write, writev, send, sendto, sendmsg, fcntl, ioctl,
    close, shutdown, getsockopt, setsockopt, poll, epoll_create, epoll_ctl, epoll_wait, pipe, splice
  };
  Op op{};
  int fd = -1;
  /// domain, type, protocol; backlog; command, argument; level, name; how; timeout (ms); epoll's operation, descriptor; splice's output
  std::int64_t a = 0, b = 0, c = 0;
  int flags = 0;                        ///< MSG_*, of recvmsg the answered ones too; SPLICE_F_*
  PacketBytes data;                     ///< to send; an option's value, in or out; received
  std::size_t room = 0;                 ///< bytes that the caller's buffer has, or events
  std::vector<std::size_t> pieces;      ///< lengths of an iovec
  PacketBytes address;                  ///< a sockaddr, in or out; empty: NULL
  bool want_address = false;
  PacketBytes control;                  ///< of sendmsg and recvmsg: struct cmsghdr and what follows
  std::size_t control_room = 0;         ///< for it
  std::vector<pollfd> polls;
  std::vector<epoll_event> events;      ///< epoll_ctl: one; epoll_wait: those that are ready
  std::array<int, 2> ends{-1, -1};      ///< of a pipe
  std::size_t done = 0;                 ///< of a write that blocks: bytes that are in the buffer already
  std::optional<Instant> until;         ///< of poll and epoll_wait: when it gives up
};

class System {
 public:
  virtual ~System() = default;
  virtual Instant now() const = 0;
  /// Of what a script leaves open: sockets, addresses, packets.
  virtual wire::IpFamily family() const { return wire::IpFamily::v4; }
  /// The call's result, or a negative errno; nullopt: it blocks, and is to be asked again after a step() with the same request.
  virtual std::optional<std::int64_t> attempt(Request& request) = 0;
  /// A packet to the stack, from its IP header on.
  virtual void inject(Bytes packet) = 0;
  /// The oldest packet that left and was not taken.
  virtual std::optional<Captured> take() = 0;
  /// For systems that cannot look without waiting: time passes until a packet leaves. None: never will.
  virtual std::optional<Captured> sniff() { return std::nullopt; }
  /// Goes on in time, at most to `limit`, at least until something may have changed. False: `limit` has come.
  virtual bool step(Instant limit) = 0;
  /// Errors: a line that says what is wrong.
  virtual std::optional<std::string> set_variable(std::string_view name, std::string_view value) = 0;
  /// How many packets were dropped for the reason; nullopt: this system cannot say, or knows no such reason.
  virtual std::optional<std::uint64_t> drops(std::string_view reason) const = 0;
};

}  // namespace iopkt::script
