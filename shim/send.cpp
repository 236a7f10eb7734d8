// Sending.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "ipc/send_ring.hpp"
#include "ipc/sys.hpp"
#include "shim/confine.hpp"
#include "shim/data.hpp"
#include "shim/native.hpp"
#include "shim/pieces.hpp"
#include "shim/sockets.hpp"
#include "shim/stream.hpp"
#include "shim/wait.hpp"

namespace iopkt::shim {

ssize_t total_of(const iovec* pieces, std::size_t count) {
  std::size_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (pieces[i].iov_len > static_cast<std::size_t>(SSIZE_MAX) - sum) return -1;
    sum += pieces[i].iov_len;
  }
  return static_cast<ssize_t>(sum);
}

namespace {

ssize_t fail(int error) {
  errno = error;
  return -1;
}

/// EPIPE, with the signal unless it was declined.
ssize_t broken_pipe(int fd, const Socket& s, int flags) {
  if ((flags & MSG_NOSIGNAL) == 0) raise_broken_pipe(fd, s, flags);
  return fail(EPIPE);
}

/// SO_SNDTIMEO of the descriptor; -1: none.
std::int64_t send_timeout_ns(int fd) {
  timeval t{};
  socklen_t length = sizeof t;
  if (native::getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, &length) != 0 || (t.tv_sec == 0 && t.tv_usec == 0))
    return -1;
  return static_cast<std::int64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::int64_t>(t.tv_usec) * 1000;
}

}  // namespace

int sleep_until_writable(int fd, Entry entry, const Socket& s, int flags) {
  const auto stalled = [&] {
    return ipc::SendWord{s.slot->tx_word.load(std::memory_order_acquire)}.stalled();
  };
  if (spin(s, stalled)) return 0;
  if ((flags & kPlainCall) != 0) {
    short seen = 0;
    const int error = sleep_by_poll(fd, s, POLLOUT, seen);
    if (!unchanged(fd, entry)) return EBADF;
    // Who has filled the ring has perhaps not said so to the descriptor yet.
    if (error == 0 && stalled()) ipc::sys::nap(1'000'000);
    return error;
  }
  ipc::ProgramEnd end = s.end(fd);
  ipc::SendRingWriter writer(*s.slot, s.arena, s.arena_size, end);
  int error = writer.sleep_for_room(s.life(), send_timeout_ns(fd));
  if (error == ETIMEDOUT) error = EAGAIN;
  if (!unchanged(fd, entry)) return EBADF;
  return error;
}

ssize_t send_stream(int fd, Entry entry, const iovec* from, std::size_t count, int flags) {
  using Kind = ipc::WriteOutcome::Kind;
  const Socket s = socket_of(entry);
  if (total_of(from, count) == 0 && (client_word(s, ClientWord::hints).load(std::memory_order_relaxed) & Hint::syn_held) != 0) {
    client_word(s, ClientWord::hints).fetch_and(~Hint::syn_held);
    const ipc::AddressRequest release{.slot = s.name, .flags = ipc::AddressRequest::no_data, .reserved = 0};
    const int error = request_about<ipc::MessageId::connect>(s, release);
    if (error != EINPROGRESS && error != 0) return fail(error);
    if (error != 0 && ((flags & MSG_DONTWAIT) != 0 || is_nonblocking(fd, s, flags))) return fail(error);
  }
  ipc::ProgramEnd end = end_for(fd, s, flags);
  end.open_while(g_table[fd], entry.bits);
  ipc::SendRingWriter writer(*s.slot, s.arena, s.arena_size, end);
  Pieces rest(from, count);
  std::size_t done = 0;
  const auto partial_or = [&](int error) { return done > 0 ? static_cast<ssize_t>(done) : fail(error); };
  for (;;) {
    Pieces::Window window;
    const ipc::WriteOutcome outcome =
        writer.write(rest.window(window), (flags & MSG_OOB) != 0, (flags & MSG_MORE) != 0);
    switch (outcome.kind) {
      case Kind::data:
        done += outcome.bytes;
        rest.advance(outcome.bytes);
        if (rest.left() == 0) return static_cast<ssize_t>(done);
        continue;
      case Kind::closed:
        return done > 0 ? static_cast<ssize_t>(done) : broken_pipe(fd, s, flags);
      case Kind::failed: {
        if (done > 0) return static_cast<ssize_t>(done);
        const int error = take_socket_error(fd, s, flags);
        return error == 0 || error == EPIPE ? broken_pipe(fd, s, flags) : fail(error);
      }
      case Kind::stream: {
        if (!is_streaming(fd, s)) continue;
        if (rest.left() == 0) return static_cast<ssize_t>(done);
        const auto pieces = rest.window(window);
        const ssize_t n =
            send_through(fd, s, pieces.data(), pieces.size(), flags | (done > 0 ? MSG_NOSIGNAL : 0));
        if (n < 0) return done > 0 ? static_cast<ssize_t>(done) : n;
        done += static_cast<std::size_t>(n);
        rest.advance(static_cast<std::size_t>(n));
        if (rest.left() == 0 || static_cast<std::size_t>(n) < rest.window_limit())
          return static_cast<ssize_t>(done);
        continue;
      }
      case Kind::too_long:
        return partial_or(EMSGSIZE);
      case Kind::gone:
        return partial_or(EBADF);
      case Kind::no_ring:
        if ((s.status() & (ipc::Status::connecting | ipc::Status::connected)) == 0)
          return broken_pipe(fd, s, flags);
        break;
      case Kind::full:
        break;
    }
    if (!s.alive()) return done > 0 ? static_cast<ssize_t>(done) : broken_pipe(fd, s, flags);
    if ((flags & MSG_DONTWAIT) != 0 || is_nonblocking(fd, s, flags)) return partial_or(EAGAIN);
    const int error = sleep_until_writable(fd, entry, s, flags);
    if (error == EPIPE) return done > 0 ? static_cast<ssize_t>(done) : broken_pipe(fd, s, flags);
    if (error != 0) return partial_or(error);
  }
}

ssize_t send_datagram(int fd, Entry entry, const iovec* from, std::size_t count, int flags,
                      const ipc::RecordHeader& header, std::span<const std::byte> control) {
  using Kind = ipc::WriteOutcome::Kind;
  const Socket s = socket_of(entry);
  ipc::ProgramEnd end = end_for(fd, s, flags);
  end.open_while(g_table[fd], entry.bits);
  ipc::DatagramWriter writer(*s.slot, s.arena, s.arena_size, end);
  for (;;) {
    if (s.slot->error.load(std::memory_order_relaxed) != 0)
      if (const int error = take_socket_error(fd, s, flags); error != 0) return fail(error);
    const ipc::WriteOutcome outcome = writer.write(header, {from, count}, control);
    switch (outcome.kind) {
      case Kind::data:
        return total_of(from, count);
      case Kind::closed:
        return broken_pipe(fd, s, flags);
      case Kind::failed: {
        const int error = take_socket_error(fd, s, flags);
        return fail(error != 0 ? error : EPIPE);
      }
      case Kind::too_long:
        return fail(EMSGSIZE);
      case Kind::gone:
        return fail(EBADF);
      case Kind::stream:  // datagram sockets have no such mode
        return fail(ENETDOWN);
      case Kind::no_ring:
        // The stack has not seen HELLO yet: its answer brings the ring.
      case Kind::full:
        break;
    }
    if (!s.alive()) return fail(ENETDOWN);
    if ((flags & MSG_DONTWAIT) != 0 || is_nonblocking(fd, s, flags)) return fail(EAGAIN);
    if (const int error = sleep_until_writable(fd, entry, s, flags); error != 0)
      return fail(error == EPIPE ? ENETDOWN : error);
  }
}

ssize_t send_extended(int fd, Entry entry, const iovec* from, std::size_t count, int flags, ipc::RecordHeader header,
                      std::span<const std::byte> control) {
  const Socket s = socket_of(entry);
  if (s.slot->error.load(std::memory_order_relaxed) != 0)
    if (const int error = take_socket_error(fd, s, flags); error != 0) return fail(error);
  if ((s.status() & ipc::Status::shut_wr) != 0) return broken_pipe(fd, s, flags);
  const auto length = static_cast<std::size_t>(total_of(from, count));
  header.control_len = static_cast<std::uint16_t>(control.size());
  const std::size_t size = sizeof header + control.size() + length;
  void* room = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return fail(ENOBUFS);
  auto* at = static_cast<std::byte*>(room);
  memcpy(at, &header, sizeof header);
  at += sizeof header;
  if (!control.empty()) memcpy(at, control.data(), control.size());
  at += control.size();
  for (std::size_t i = 0; i < count; ++i) {
    if (from[i].iov_len != 0) memcpy(at, from[i].iov_base, from[i].iov_len);
    at += from[i].iov_len;
  }
  const int error = request_about<ipc::MessageId::send_datagram>(s, {.slot = s.name}, {static_cast<const std::byte*>(room), size});
  munmap(room, size);
  return error != 0 ? fail(error) : static_cast<ssize_t>(length);
}

}  // namespace iopkt::shim
