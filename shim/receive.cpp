// Receiving.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>

#include "ipc/receive_ring.hpp"
#include "ipc/sys.hpp"
#include "shim/confine.hpp"
#include "shim/data.hpp"
#include "shim/messages.hpp"
#include "shim/native.hpp"
#include "shim/pieces.hpp"
#include "shim/real.hpp"
#include "shim/stream.hpp"
#include "shim/wait.hpp"

namespace iopkt::shim {

int take_socket_error(int fd, const Socket& s, int flags) {
  const int error = ipc::take_error(*s.slot);
  // The descriptor's own (ECONNRESET or nothing) is only its way to show POLLERR.
  const bool streaming = is_streaming(fd, s);
  const bool native =
      streaming ? (flags & kPlainCall) == 0 : (s.status() & ipc::Status::reset) != 0 || error != 0;
  const int shown = native ? take_native_error(fd, flags) : 0;
  // The stack is gone without a word in the slot.
  if (streaming && error == 0) return shown;
  if (error != 0) take_error_record(fd, s, flags);
  return error;
}

namespace {

/// Yields, while the stack is between an error's record and the error.
constexpr int kErrorPatience = 100;

constexpr std::uint32_t kStates = ipc::Status::connecting | ipc::Status::connected |
                                  ipc::Status::fin_received | ipc::Status::shut_rd | ipc::Status::reset;

/// Sleeps until the descriptor shows something: a token (1), or an end (0). -1 and errno, as recv() has it.
/// `more`: the call has data already, so that a signal ends it with that; and the urgent byte, which is no data, ends it, too.
int await_something(int fd, const Socket& s, int flags, bool more) {
  if ((flags & kPlainCall) == 0 && !more) {
    char token;
    const ssize_t n = real().recv(fd, &token, 1, MSG_PEEK);
    if (n >= 0 || !ipc::sys::refused(errno)) return static_cast<int>(n);
  }
  short seen = 0;
  if (const int error = sleep_by_poll(fd, s, POLLIN | POLLRDHUP, seen); error != 0) return errno = error, -1;
  return (seen & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL)) == 0;
}

/// MSG_PEEK | MSG_WAITALL: there is a token already, so the descriptor is no place to sleep.
int nap() { return ipc::sys::nap(1'000'000); }

/// What a reader does when the ring is empty. 0: look again; otherwise the errno to fail with.
/// `gone` is set when the descriptor shows an end that the slot does not know of (yet).
template <class Reader>
int sleep_until_readable(int fd, Entry entry, const Socket& s, Reader& reader, int flags, bool& gone, bool more = false) {
  if (gone || !s.alive()) return s.datagram ? ENETDOWN : ECONNRESET;
  if ((flags & MSG_DONTWAIT) != 0 || is_nonblocking(fd, s, flags)) return EAGAIN;
  const std::uint32_t status = s.status();
  const auto nothing = [&] {
    return reader.nothing_unread() && s.status() == status &&
           s.slot->error.load(std::memory_order_relaxed) == 0;
  };
  if (spin(s, nothing)) return 0;
  if constexpr (requires { reader.shown(); }) {
    // What shows POLLPRI is no place to sleep.
    if (reader.shown().left) {
      if ((flags & kPlainCall) != 0) return nap();
      reader.sweep_urgent(false);
    }
  }
  const int n = await_something(fd, s, flags, more);
  const int error = n < 0 ? errno : 0;
  if (!unchanged(fd, entry)) return EBADF;
  if (n > 0) return 0;
  if (error == EINTR || error == EAGAIN) return error;
  if (s.slot->error.load(std::memory_order_relaxed) == 0 && s.status() == status) gone = true;
  return 0;
}

ssize_t fail(int error) {
  errno = error;
  return -1;
}

/// How much a blocking call waits for.
std::size_t receive_target(const Socket& s, std::size_t want, int flags) {
  if ((flags & MSG_WAITALL) != 0) return want;
  const std::size_t lowat = s.slot->rx_lowat.load(std::memory_order_relaxed);
  return std::max<std::size_t>(1, std::min(lowat, want));
}

ipc::ReadOutcome look(ipc::ReceiveRingReader& reader, const Pieces& rest, std::size_t done, int flags) {
  Pieces::Window window;
  if ((flags & MSG_TRUNC) != 0 && (flags & MSG_PEEK) == 0) return reader.discard(rest.left(), done > 0);
  const auto pieces = rest.window(window);
  return (flags & MSG_PEEK) != 0 ? reader.peek(pieces, done) : reader.read(pieces, done > 0);
}

/// recv(MSG_OOB). In stream mode no byte is urgent.
ssize_t receive_urgent(int fd, Entry entry, const Socket& s, const iovec* to, std::size_t count, int flags) {
  if ((s.status() & ipc::Status::listening) != 0) return fail(ENOTCONN);
  ipc::ProgramEnd end = end_for(fd, s, flags);
  end.open_while(g_table[fd], entry.bits);
  std::uint8_t byte = 0;
  const int error = ipc::ReceiveRingReader(*s.slot, s.arena, s.arena_size, end).take_urgent((flags & MSG_PEEK) != 0, byte);
  if (error == ipc::kOobEnd) return 0;
  if (error != 0) return fail(error);
  for (; count > 0 && to->iov_len == 0; ++to, --count) {
  }
  if (count == 0) return 0;
  if ((flags & MSG_TRUNC) == 0) *static_cast<std::uint8_t*>(to->iov_base) = byte;
  return 1;
}

}  // namespace

ssize_t receive_stream(int fd, Entry entry, const iovec* to, std::size_t count, int flags) {
  using Kind = ipc::ReadOutcome::Kind;
  const Socket s = socket_of(entry);
  if ((flags & MSG_ERRQUEUE) != 0) return fail(EAGAIN);
  if ((flags & MSG_OOB) != 0) return receive_urgent(fd, entry, s, to, count, flags);
  if ((s.status() & kStates) == 0) return fail(ENOTCONN);

  ipc::ProgramEnd end = end_for(fd, s, flags);
  end.open_while(g_table[fd], entry.bits);
  ipc::ReceiveRingReader reader(*s.slot, s.arena, s.arena_size, end);
  Pieces rest(to, count);
  const std::size_t target = receive_target(s, rest.left(), flags);
  Pieces::Window window;
  std::size_t done = 0;
  bool gone = false;
  for (;;) {
    // recv() of 0 bytes waits for something to come, and takes nothing.
    const bool only_wait = rest.left() == 0 && done == 0 && !is_streaming(fd, s);
    ipc::ReadOutcome outcome{};
    if (only_wait) {
      outcome.kind = reader.nothing_unread() ? Kind::empty : Kind::data;
      if (outcome.kind == Kind::empty &&
          (s.status() & (ipc::Status::fin_received | ipc::Status::shut_rd)) != 0)
        outcome.kind = Kind::eof;
      if (outcome.kind == Kind::empty && (s.status() & ipc::Status::reset) != 0) outcome.kind = Kind::reset;
    } else {
      outcome = look(reader, rest, done, flags);
    }
    switch (outcome.kind) {
      case Kind::data:
        done += outcome.bytes;
        rest.advance(outcome.bytes);
        if (rest.left() == 0 || outcome.at_mark) return static_cast<ssize_t>(done);
        if (outcome.bytes < rest.window_limit() && done >= target) return static_cast<ssize_t>(done);
        continue;
      case Kind::eof:
      case Kind::mark:
        return static_cast<ssize_t>(done);
      case Kind::reset: {
        if (done > 0) return static_cast<ssize_t>(done);
        // Behind a FIN there is the end of file, whatever came then; the error is for who writes.
        if ((s.status() & ipc::Status::fin_received) != 0) return 0;
        const int error = take_socket_error(fd, s, flags);
        return error != 0 ? fail(error) : 0;
      }
      case Kind::stream: {
        is_streaming(fd, s);
        if (done > 0 && (done >= target || (flags & MSG_PEEK) != 0)) return static_cast<ssize_t>(done);
        const auto pieces = rest.window(window);
        const ssize_t n = receive_through(fd, s, pieces.data(), pieces.size(), flags);
        return done > 0 ? static_cast<ssize_t>(done) + std::max<ssize_t>(0, n) : n;
      }
      case Kind::gone:
        return done > 0 ? static_cast<ssize_t>(done) : fail(EBADF);
      case Kind::empty:
        break;
    }
    if (done >= target) return static_cast<ssize_t>(done);
    if (done == 0) {
      if (const int error = ipc::take_error(*s.slot); error != 0) return fail(error);
    }
    const bool peek_for_more =
        (flags & MSG_PEEK) != 0 && done > 0 && (flags & MSG_DONTWAIT) == 0 && !is_nonblocking(fd, s, flags);
    const int error = peek_for_more ? nap() : sleep_until_readable(fd, entry, s, reader, flags, gone, done > 0);
    if (error != 0) return done > 0 ? static_cast<ssize_t>(done) : fail(error);
  }
}

ipc::ReceiveRingReader::Shown show_urgent(int fd, const Socket& s) {
  ipc::ProgramEnd end = s.end(fd);
  return ipc::ReceiveRingReader(*s.slot, s.arena, s.arena_size, end).shown();
}

bool hide_urgent(int fd, const Socket& s) {
  ipc::ProgramEnd end = s.end(fd);
  ipc::ReceiveRingReader reader(*s.slot, s.arena, s.arena_size, end);
  return reader.sweep_urgent(false);
}

bool raises_sigurg(int fd, const sigset_t* mask) {
  const KeepErrno keep;
  if (native::fcntl(fd, F_GETOWN) == 0) return false;
  struct sigaction action{};
  if (sigaction(SIGURG, nullptr, &action) != 0 || action.sa_handler == SIG_IGN || action.sa_handler == SIG_DFL) return false;
  sigset_t own{};
  if (mask == nullptr && pthread_sigmask(SIG_BLOCK, nullptr, &own) == 0) mask = &own;
  return mask != nullptr && sigismember(mask, SIGURG) == 0;
}

/// An error that came in is shown as a record without payload, so that it wakes sleepers and pollers. Once
/// the error is taken its record goes, too, if it is the next.
namespace {
void drop_error_record(ipc::DatagramReader& reader) {
  ipc::RecordHeader next{};
  if (reader.read({}, next, false).kind != ipc::ReadOutcome::Kind::data) return;
  if ((next.flags & ipc::RecordHeader::error_queue) != 0) reader.read({}, next);
}
}  // namespace

void take_error_record(int fd, const Socket& s, int flags) {
  if (!s.datagram) return;
  ipc::ProgramEnd end = end_for(fd, s, flags);
  ipc::DatagramReader reader(*s.slot, s.arena, s.arena_size, end);
  drop_error_record(reader);
}

bool has_datagram(int fd, const Socket& s) {
  ipc::ProgramEnd end = s.end(fd);
  return ipc::DatagramReader(*s.slot, s.arena, s.arena_size, end).has_without(ipc::RecordHeader::error_queue);
}

ssize_t receive_datagram(int fd, Entry entry, const iovec* to, std::size_t count, int flags,
                         Arrival& arrival) {
  using Kind = ipc::ReadOutcome::Kind;
  const Socket s = socket_of(entry);
  if ((flags & MSG_OOB) != 0) return fail(EOPNOTSUPP);
  if ((flags & MSG_ERRQUEUE) != 0) {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(to);
    message.msg_iovlen = count;
    return receive_error(fd, entry, message);
  }
  ipc::ProgramEnd end = end_for(fd, s, flags);
  end.open_while(g_table[fd], entry.bits);
  ipc::DatagramReader reader(*s.slot, s.arena, s.arena_size, end);
  bool gone = false;
  for (;;) {
    // An error that came in (ICMP) goes first, as in udp_recvmsg.
    if (const int error = ipc::take_error(*s.slot); error != 0) {
      drop_error_record(reader);
      return fail(error);
    }
    const ipc::ReadOutcome outcome = reader.read({to, count}, arrival.header, (flags & MSG_PEEK) == 0, &arrival.control);
    if (outcome.kind == Kind::data && (arrival.header.flags & ipc::RecordHeader::error_queue) != 0) {
      if ((flags & MSG_PEEK) != 0) drop_error_record(reader);
      // Its error is stored right behind it, unless another thread has taken that.
      for (int tries = 0; tries < kErrorPatience && s.slot->error.load() == 0; ++tries) sched_yield();
      continue;
    }
    if (outcome.kind == Kind::data) {
      const std::size_t whole = arrival.header.payload_len;
      arrival.truncated = outcome.bytes < whole || (arrival.header.flags & ipc::RecordHeader::truncated) != 0;
      return static_cast<ssize_t>((flags & MSG_TRUNC) != 0 ? whole : outcome.bytes);
    }
    if (outcome.kind == Kind::eof) return 0;
    if (outcome.kind == Kind::gone) return fail(EBADF);
    if (outcome.kind == Kind::reset) {
      const int error = take_socket_error(fd, s, flags);
      return fail(error != 0 ? error : ENETDOWN);
    }
    if (outcome.kind == Kind::stream) return fail(ENETDOWN);  // datagram sockets have no such mode
    if (const int error = sleep_until_readable(fd, entry, s, reader, flags, gone); error != 0)
      return fail(error);
  }
}

}  // namespace iopkt::shim
