// Stream mode: switching, and the calls on the descriptor itself.
#include "shim/stream.hpp"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>

#include <algorithm>

#include "client/paths.hpp"
#include "ipc/nodes.hpp"
#include "shim/addresses.hpp"
#include "ipc/receive_ring.hpp"
#include "ipc/send_ring.hpp"
#include "ipc/stream_end.hpp"
#include "ipc/sys.hpp"
#include "shim/candidates.hpp"
#include "shim/confine.hpp"
#include "shim/data.hpp"
#include "shim/real.hpp"
#include "shim/sockets.hpp"
#include "shim/wait.hpp"

namespace iopkt::shim {

namespace {

using ipc::Mode;

/// The stack answers at once; what takes time are calls of other processes on the same socket.
constexpr std::uint64_t kSwitchPatienceNs = 5'000'000'000;

Mode mode_of(const Socket& s) {
  return ipc::ReceiveWord{s.slot->rx_word.load(std::memory_order_acquire)}.mode();
}

int ask(const Socket& s, Mode mode) {
  return request_about<ipc::MessageId::set_mode>(
      s, {.slot = s.name, .mode = static_cast<std::uint32_t>(mode), .reserved = 0});
}

void set_int(int fd, int name, int value) { native::setsockopt(fd, SOL_SOCKET, name, &value, sizeof value); }

/// Takes out what is no data, and gives the descriptor what the rings had.
void prepare(int fd, const Socket& s) {
  ipc::ProgramEnd end = s.end(fd);
  char urgent;
  native::recv(fd, &urgent, 1, MSG_OOB | MSG_DONTWAIT);
  ipc::ReceiveRingReader(*s.slot, s.arena, s.arena_size, end).drain();
  ipc::SendRingWriter(*s.slot, s.arena, s.arena_size, end).wait_for_others();
  set_int(fd, SO_SNDBUF, ipc::kStreamBuffer);
  set_int(fd, SO_RCVLOWAT, static_cast<int>(std::max(1u, s.slot->rx_lowat.load())));
}

void copy_timeout(int from, int to, int name) {
  timeval value{};
  socklen_t length = sizeof value;
  if (native::getsockopt(from, SOL_SOCKET, name, &value, &length) == 0)
    native::setsockopt(to, SOL_SOCKET, name, &value, length);
}

/// A new connection to the stack for the same socket. -1: failed.
int fresh_end(int old, const Socket& s) {
  const int fd = native::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  sockaddr_un node;
  const socklen_t length = client::node_address(settings().prefix, ipc::attach_node(domain_of(s), false), node);
  const ipc::Unit hello = ipc::Unit::hello(s.link->client_id, s.name,
                                           s.slot->nonce.load(std::memory_order_acquire), ipc::socket_cookie(fd));
  if (length == 0 || native::connect(fd, reinterpret_cast<const sockaddr*>(&node), length) != 0 ||
      !s.end(fd).send_unit(hello)) {
    native::close(fd);
    return -1;
  }
  set_int(fd, SO_SNDBUF, ipc::kStreamBuffer);
  copy_timeout(old, fd, SO_RCVTIMEO);
  copy_timeout(old, fd, SO_SNDTIMEO);
  if ((s.status() & ipc::Status::shut_wr) != 0) native::shutdown(fd, SHUT_WR);
  native::fcntl(fd, F_SETFL, native::fcntl(old, F_GETFL));
  return fd;
}

/// The peer has ended its stream and the old descriptor shows that, so nothing more can come through it:
/// every number of this process that means it gets a new one.
bool replace_descriptor(int fd, const Socket& s) {
  const int fresh = fresh_end(fd, s);
  if (fresh < 0) return false;
  const std::uint64_t cookie = ipc::socket_cookie(fd);
  for_each_fd([&](int other) {
    if (other == fresh || ipc::socket_cookie(other) != cookie) return;
    const int flags = native::fcntl(other, F_GETFD);
    native::dup3(fresh, other, (flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0);
  });
  native::close(fresh);
  return true;
}

/// From switching to stream. False: the stack refuses.
bool finish_switch(int fd, const Socket& s) {
  const std::uint64_t give_up = now_ns() + kSwitchPatienceNs;
  bool replaced = false;
  while (mode_of(s) == Mode::switching) {
    prepare(fd, s);
    const int error = ask(s, Mode::stream);
    if (error == 0) return true;
    if (error == ESHUTDOWN && !replaced) {
      if (!replace_descriptor(fd, s)) return false;
      replaced = true;
    } else if ((error != EAGAIN && error != ESHUTDOWN) || now_ns() > give_up) {
      return false;
    }
    poll(nullptr, 0, 1);
  }
  return mode_of(s) == Mode::stream;
}

ssize_t fail(int error) {
  errno = error;
  return -1;
}

/// What the slot knows better than the descriptor; 0: nothing.
int known_error(int fd, const Socket& s, int flags) {
  const KeepErrno keep;
  return take_socket_error(fd, s, flags);
}

/// recv(MSG_TRUNC) of TCP throws away; the kernel's AF_UNIX would copy.
ssize_t discard_through(int fd, std::size_t size, int flags) {
  char scrap[16 * 1024];
  std::size_t done = 0;
  while (done < size) {
    const ssize_t n =
        real().recv(fd, scrap, std::min(size - done, sizeof scrap), flags | (done > 0 ? MSG_DONTWAIT : 0));
    if (n <= 0) return done > 0 ? static_cast<ssize_t>(done) : n;
    done += static_cast<std::size_t>(n);
  }
  return static_cast<ssize_t>(done);
}

}  // namespace

bool is_streaming(int fd, const Socket& s) {
  const Mode mode = mode_of(s);
  if (mode != Mode::switching) return mode == Mode::stream;
  const KeepErrno keep;
  if (confined()) {
    // A filter may not let this process help; whoever began has it done in a moment.
    const std::uint64_t give_up = now_ns() + kSwitchPatienceNs;
    while (mode_of(s) == Mode::switching && now_ns() < give_up) ipc::sys::pause_cpu();
    return true;
  }
  finish_switch(fd, s);
  return true;
}

bool make_streaming(int fd, const Socket& s) {
  const KeepErrno keep;
  if (s.datagram) return false;
  const std::uint64_t give_up = now_ns() + kSwitchPatienceNs;
  while (mode_of(s) == Mode::ring) {
    const int error = ask(s, Mode::switching);
    if (error != 0 && (error != EAGAIN || now_ns() > give_up)) return false;
    if (error == EAGAIN) poll(nullptr, 0, 1);
  }
  return mode_of(s) == Mode::stream || finish_switch(fd, s);
}

ssize_t receive_through(int fd, const Socket& s, const iovec* to, std::size_t count, int flags) {
  const auto size = static_cast<std::size_t>(std::max<ssize_t>(0, total_of(to, count)));
  ssize_t n;
  if (size == 0) {
    // Waits for something to come, and takes nothing.
    char byte;
    n = real().recv(fd, &byte, 1, (flags & MSG_DONTWAIT) | MSG_PEEK);
    if (n > 0) return 0;
  } else if ((flags & MSG_TRUNC) != 0 && (flags & MSG_PEEK) == 0) {
    n = discard_through(fd, size, flags & MSG_DONTWAIT);
  } else if ((flags & kPlainCall) != 0) {
    while (to->iov_len == 0) ++to;
    n = real().read(fd, to->iov_base, to->iov_len);
  } else {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(to);
    message.msg_iovlen = count;
    n = real().recvmsg(fd, &message, flags & (MSG_DONTWAIT | MSG_PEEK | MSG_WAITALL));
  }
  if (n > 0 || (n < 0 && errno != ECONNRESET)) return n;
  const int error = known_error(fd, s, flags);
  return error != 0 ? fail(error) : n;
}

ssize_t send_through(int fd, const Socket& s, const iovec* from, std::size_t count, int flags) {
  if ((flags & kPlainCall) != 0)
    return count == 1 ? real().write(fd, from->iov_base, from->iov_len)
                      : real().writev(fd, from, static_cast<int>(count));
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(from);
  message.msg_iovlen = count;
  const ssize_t n = real().sendmsg(fd, &message, (flags & MSG_DONTWAIT) | MSG_NOSIGNAL);
  if (n >= 0 || (errno != EPIPE && errno != ECONNRESET)) return n;
  const int error = known_error(fd, s, flags);
  if (error != 0 && error != EPIPE) return fail(error);
  if ((flags & MSG_NOSIGNAL) == 0) raise_broken_pipe(fd, s, flags);
  return fail(EPIPE);
}

void hand_over(const msghdr& message) {
  msghdr& m = const_cast<msghdr&>(message);  // CMSG_NXTHDR only reads
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(0)) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      const Entry entry = entry_of(fd);
      if (entry.ours() && !entry.datagram()) make_streaming(fd, socket_of(entry));
    }
  }
}

}  // namespace iopkt::shim
