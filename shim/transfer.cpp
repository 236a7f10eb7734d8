// Moving data between a socket and another descriptor. The kernel cannot reach the rings, so it goes through
// a buffer.
#include "shim/transfer.hpp"

#include <errno.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>

#include "ipc/receive_ring.hpp"
#include "ipc/send_ring.hpp"
#include "shim/confine.hpp"
#include "shim/data.hpp"
#include "shim/native.hpp"
#include "shim/real.hpp"
#include "shim/stream.hpp"

namespace iopkt::shim {

namespace {

constexpr std::size_t kBuffer = 32 * 1024;

ssize_t fail(int error) {
  errno = error;
  return -1;
}

std::size_t room_of(int fd, const Socket& s) {
  ipc::ProgramEnd end = s.end(fd);
  return ipc::SendRingWriter(*s.slot, s.arena, s.arena_size, end).room();
}

/// Pipe or file to socket. Only as much is read as the ring takes now: what was taken from a pipe could not
/// be put back.
ssize_t splice_out(int in, off64_t* offset, int out, Entry entry, std::size_t count, unsigned flags) {
  const Socket s = socket_of(entry);
  const int send_flags = MSG_NOSIGNAL | ((flags & SPLICE_F_NONBLOCK) != 0 ? MSG_DONTWAIT : 0);
  if (entry.datagram()) return fail(EINVAL);
  std::size_t room = room_of(out, s);
  while (room == 0) {
    if ((send_flags & MSG_DONTWAIT) != 0 || is_nonblocking(out, s, 0)) return fail(EAGAIN);
    const int error = sleep_until_writable(out, entry, s);
    if (error != 0) return fail(error);
    if (is_streaming(out, s)) return real().splice(in, offset, out, nullptr, count, flags);
    if ((room = room_of(out, s)) == 0 &&
        (s.status() & (ipc::Status::connected | ipc::Status::connecting)) == 0)
      return fail(EPIPE);
  }
  char buffer[16 * 1024];
  const std::size_t want = std::min({count, room, sizeof buffer});
  const ssize_t n = offset != nullptr ? pread(in, buffer, want, *offset) : real().read(in, buffer, want);
  if (n <= 0) return n;
  if (offset != nullptr) *offset += n;
  const iovec piece{buffer, static_cast<std::size_t>(n)};
  return send_stream(out, entry, &piece, 1, MSG_NOSIGNAL);
}

/// Socket to pipe or file: looked at first, and taken only as far as the other side took it.
ssize_t splice_in(int in, Entry entry, int out, off64_t* offset, std::size_t count, unsigned flags) {
  if (entry.datagram()) return fail(EINVAL);
  const Socket s = socket_of(entry);
  ipc::ProgramEnd end = s.end(in);
  // As the host: it goes up to the urgent byte's place, and never over it.
  if (ipc::ReceiveRingReader(*s.slot, s.arena, s.arena_size, end).stopped_at_mark())
    return is_nonblocking(in, s, 0) ? fail(EAGAIN) : 0;
  char buffer[16 * 1024];
  const iovec piece{buffer, std::min(count, sizeof buffer)};
  const int receive_flags = (flags & SPLICE_F_NONBLOCK) != 0 ? MSG_DONTWAIT : 0;
  const ssize_t seen = receive_stream(in, entry, &piece, 1, receive_flags | MSG_PEEK);
  if (seen <= 0) return seen;
  if ((flags & SPLICE_F_NONBLOCK) != 0 && offset == nullptr) {
    pollfd ready{.fd = out, .events = POLLOUT, .revents = 0};
    if (real().poll(&ready, 1, 0) == 0) return fail(EAGAIN);
  }
  // A pipe takes at most what one write of PIPE_BUF takes without blocking in the middle.
  const std::size_t portion =
      std::min<std::size_t>(static_cast<std::size_t>(seen), offset != nullptr ? sizeof buffer : 4096);
  const ssize_t n =
      offset != nullptr ? pwrite(out, buffer, portion, *offset) : real().write(out, buffer, portion);
  if (n <= 0) return n;
  if (offset != nullptr) *offset += n;
  const iovec taken{buffer, static_cast<std::size_t>(n)};
  return receive_stream(in, entry, &taken, 1, MSG_DONTWAIT);
}

}  // namespace

ssize_t send_file(int out, int in, off_t* offset, std::size_t count) {
  const Entry entry = entry_of(out);
  if (entry_of(in).ours()) return fail(EINVAL);  // as any socket as a source
  if (is_streaming(out, socket_of(entry))) return real().sendfile(out, in, offset, count);
  struct stat status;
  if (fstat(in, &status) != 0) return -1;
  if (!S_ISREG(status.st_mode) && !S_ISBLK(status.st_mode)) return fail(EINVAL);
  if (offset != nullptr && *offset < 0) return fail(EINVAL);
  off_t at = offset != nullptr ? *offset : lseek(in, 0, SEEK_CUR);
  if (at < 0) return -1;
  count = std::min(count, kTransferMax);
  const Socket s = socket_of(entry);
  char buffer[kBuffer];
  std::size_t done = 0;
  ssize_t result = 0;
  while (done < count) {
    // Reading more than fits would be reading it twice.
    std::size_t portion = std::min(count - done, sizeof buffer);
    if (!entry.datagram()) portion = std::min(portion, std::max<std::size_t>(room_of(out, s), 4096));
    const ssize_t n = pread(in, buffer, portion, at);
    if (n <= 0) {
      result = n;
      break;
    }
    const iovec piece{buffer, static_cast<std::size_t>(n)};
    result = entry.datagram() ? send_datagram(out, entry, &piece, 1, 0, {})
                              : send_stream(out, entry, &piece, 1, 0);
    if (result <= 0) break;
    done += static_cast<std::size_t>(result);
    at += result;
    if (result < n) break;
  }
  if (done > 0 || result == 0) {
    if (offset != nullptr) {
      *offset = at;
    } else {
      lseek(in, at, SEEK_SET);
    }
  }
  return done > 0 ? static_cast<ssize_t>(done) : result;
}

ssize_t splice_fd(int in, off64_t* in_offset, int out, off64_t* out_offset, std::size_t count,
                  unsigned flags) {
  const Entry from = entry_of(in);
  const Entry to = entry_of(out);
  if ((from.ours() && in_offset != nullptr) || (to.ours() && out_offset != nullptr)) return fail(EINVAL);
  if (from.ours() && to.ours()) return fail(EINVAL);  // one side has to be a pipe
  if (count == 0) return 0;
  const int ours = to.ours() ? out : in;
  if (is_streaming(ours, socket_of(to.ours() ? to : from)))
    return real().splice(in, in_offset, out, out_offset, count, flags);
  return to.ours() ? splice_out(in, in_offset, out, to, count, flags)
                   : splice_in(in, from, out, out_offset, count, flags);
}

}  // namespace iopkt::shim
