// Closing and copying descriptors.
#include "shim/descriptors.hpp"

#include <errno.h>
#include <limits.h>
#include <linux/close_range.h>
#include <poll.h>

#include <algorithm>

#include "ipc/send_ring.hpp"
#include "shim/confine.hpp"
#include "shim/data.hpp"
#include "shim/epoll.hpp"
#include "shim/native.hpp"
#include "shim/real.hpp"
#include "shim/sockets.hpp"
#include "shim/stdio.hpp"
#include "shim/wait.hpp"

namespace iopkt::shim {

namespace {

int fail(int error) {
  errno = error;
  return -1;
}

/// SO_LINGER with a time: close() waits until everything sent is acknowledged. Where something is unread there is nothing to wait for:
/// the peer is told by a reset (RFC 2525 section 2.17).
void linger(int fd, Entry entry) {
  const Socket s = socket_of(entry);
  const std::uint64_t hints = client_word(s, ClientWord::hints).load(std::memory_order_relaxed);
  const std::uint64_t seconds = hints >> 32;
  if ((hints & Hint::linger) == 0 || seconds == 0 || s.datagram || is_nonblocking(fd, s, plain_call()))
    return;
  if (client_word(s, ClientWord::holders).load(std::memory_order_relaxed) > 1) return;
  if ((s.status() & ipc::Status::connected) == 0) return;
  const KeepErrno keep;
  ipc::ProgramEnd end = s.end(fd);
  if (ipc::ReceiveRingReader(*s.slot, s.arena, s.arena_size, end).readable() > 0) return;
  shutdown_socket(fd, entry, SHUT_WR);
  const ipc::SendRingWriter writer(*s.slot, s.arena, s.arena_size, end);
  const std::uint64_t give_up = now_ns() + seconds * 1'000'000'000;
  while (writer.queued() > 0 && s.alive() && (s.status() & ipc::Status::reset) == 0 && now_ns() < give_up) {
    // Nothing signals an acknowledgement; a closing process may come late by a millisecond.
    if (poll(nullptr, 0, 1) < 0) return;
  }
}

/// Before a number is closed or overwritten: takes its meaning away. False: it had none here.
bool begin_release(int fd, Entry& entry, Leaving& leaving) {
  entry = entry_of(fd);
  if (!entry.ours() || in_vfork_child()) return false;
  linger(fd, entry);
  if (!clear_entry(fd, entry)) return false;
  leaving = leave(entry);
  return true;
}

void finish_release(int fd, const Leaving& leaving) {
  forget_epoll(fd);
  left(leaving);
}

/// A descriptor of this library is in the way of the number that the program wants.
bool make_way(int fd) {
  if (!entry_of(fd).hidden() || in_vfork_child()) return true;
  return move_hidden(fd);
}

/// `to` has become a copy of what `entry` is.
int copied(int to, Entry entry) {
  if (to >= 0 && entry.ours() && !in_vfork_child()) {
    add_holder(to, entry);
    serve_standard_stream(to);
  }
  return to;
}

}  // namespace

int close_fd(int fd) {
  const Entry entry = entry_of(fd);
  if (entry.flags() == 0) return real().close(fd);
  if (entry.hidden()) {
    if (in_vfork_child()) return native::close(fd);
    return fail(EBADF);  // the program never opened it
  }
  Entry was;
  Leaving leaving;
  const bool released = begin_release(fd, was, leaving);
  const int result = native::close(fd);
  if (released) finish_release(fd, leaving);
  return result;
}

int duplicate(int fd) {
  const Entry entry = entry_of(fd);
  if (entry.hidden()) return fail(EBADF);
  return copied(real().dup(fd), entry);
}

int duplicate_above(int fd, int command, int least) {
  const Entry entry = entry_of(fd);
  if (entry.hidden()) return fail(EBADF);
  return copied(native::fcntl(fd, command, least), entry);
}

int duplicate_to(int from, int to) {
  if (from == to) return real().dup2(from, to);
  const Entry entry = entry_of(from);
  if (entry.flags() == 0 && entry_of(to).flags() == 0) return real().dup2(from, to);
  return duplicate_to(from, to, 0);
}

int duplicate_to(int from, int to, int flags) {
  const Entry entry = entry_of(from);
  const Entry target = entry_of(to);
  if ((entry.flags() == 0 && target.flags() == 0) || from == to) return real().dup3(from, to, flags);
  if (entry.hidden()) return fail(EBADF);
  if (!make_way(to)) return fail(EBUSY);
  // A failing dup must leave `to` as it was: the one reason that is left to fail is a bad `from`.
  if (native::fcntl(from, F_GETFD) < 0) return fail(EBADF);
  Entry was;
  Leaving leaving;
  const bool released = begin_release(to, was, leaving);
  const int result = native::dup3(from, to, flags);
  if (result < 0 && released) add_holder(to, was);
  if (result >= 0 && released) finish_release(to, leaving);
  return copied(result, entry);
}

int close_range_of(unsigned first, unsigned last, int flags) {
  if (first > last) return fail(EINVAL);
  if ((flags & CLOSE_RANGE_CLOEXEC) != 0 || in_vfork_child()) return real().close_range(first, last, flags);
  // Around the library's own descriptors, and with sockets told apart.
  const unsigned end = static_cast<unsigned>(std::max(0, g_table_end.load(std::memory_order_acquire)));
  unsigned at = first;
  for (unsigned fd = first; fd < end && fd <= last; ++fd) {
    const Entry entry = entry_of(static_cast<int>(fd));
    if (entry.flags() == 0) continue;
    if (fd > at && real().close_range(at, fd - 1, flags) != 0) return -1;
    if (entry.ours()) close_fd(static_cast<int>(fd));
    at = fd + 1;
  }
  return at > last || at == 0 ? 0 : real().close_range(at, last, flags);
}

void close_from(int first) {
  const KeepErrno keep;
  if (close_range_of(first < 0 ? 0 : static_cast<unsigned>(first), ~0u, 0) != 0)
    real().closefrom(first < 0 ? 0 : first);
}

}  // namespace iopkt::shim
