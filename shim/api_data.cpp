// What programs call: reading and writing. A descriptor that is not the stack's goes straight to libc.
#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#include <algorithm>

#include "shim/confine.hpp"
#include "shim/data.hpp"
#include "shim/inherit.hpp"
#include "shim/messages.hpp"
#include "shim/options.hpp"
#include "shim/real.hpp"
#include "shim/stream.hpp"
#include "shim/table.hpp"
#include "shim/transfer.hpp"

using namespace iopkt::shim;

namespace {

ssize_t fail(int error) {
  errno = error;
  return -1;
}

/// 0, or the errno for a list that readv and its kin refuse.
int check_list(const iovec* list, int count) {
  if (count < 0 || count > IOV_MAX) return EINVAL;
  if (list == nullptr && count > 0) return EFAULT;
  return total_of(list, static_cast<std::size_t>(count)) < 0 ? EINVAL : 0;
}

ssize_t read_list(int fd, Entry entry, const iovec* list, int count) {
  if (const int error = check_list(list, count); error != 0) return fail(error);
  if (total_of(list, static_cast<std::size_t>(count)) == 0) return 0;  // read of nothing does not wait
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(list);
  message.msg_iovlen = static_cast<std::size_t>(count);
  return receive_message(fd, entry, &message, plain_call());
}

ssize_t write_list(int fd, Entry entry, const iovec* list, int count) {
  if (const int error = check_list(list, count); error != 0) return fail(error);
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(list);
  message.msg_iovlen = static_cast<std::size_t>(count);
  return send_message(fd, entry, &message, plain_call());
}

ssize_t receive(int fd, Entry entry, void* to, std::size_t size, int flags) {
  const iovec piece{to, std::min(size, kTransferMax)};
  if (!entry.datagram()) return receive_stream(fd, entry, &piece, 1, flags);
  Arrival arrival;
  return receive_datagram(fd, entry, &piece, 1, flags, arrival);
}

ssize_t send_stream_or_datagram(int fd, Entry entry, const void* from, std::size_t size, int flags) {
  if (entry.datagram() || (flags & (MSG_OOB | MSG_FASTOPEN)) != 0)
    return send_to(fd, entry, from, size, flags, nullptr, 0);
  const iovec piece{const_cast<void*>(from), std::min(size, kTransferMax)};
  return send_stream(fd, entry, &piece, 1, flags);
}

}  // namespace

// ---------------------------------------------------------------------------------------------- read and
// write

IOPKT_EXPORT ssize_t read(int fd, void* to, size_t size) {
  const Entry entry = entry_of(fd);
  if (!entry.ours()) [[likely]]
    return real().read(fd, to, size);
  return size == 0 ? 0 : receive(fd, entry, to, size, plain_call());
}

IOPKT_EXPORT ssize_t write(int fd, const void* from, size_t size) {
  const Entry entry = entry_of(fd);
  if (!entry.ours()) [[likely]]
    return real().write(fd, from, size);
  return send_stream_or_datagram(fd, entry, from, size, plain_call());
}

IOPKT_EXPORT ssize_t readv(int fd, const iovec* list, int count) {
  const Entry entry = entry_of(fd);
  return entry.ours() ? read_list(fd, entry, list, count) : real().readv(fd, list, count);
}

IOPKT_EXPORT ssize_t writev(int fd, const iovec* list, int count) {
  const Entry entry = entry_of(fd);
  return entry.ours() ? write_list(fd, entry, list, count) : real().writev(fd, list, count);
}

// An offset of -1 means "where the file stands": the only one that a socket takes.
IOPKT_EXPORT ssize_t preadv2(int fd, const iovec* list, int count, off_t offset, int flags) {
  const Entry entry = entry_of(fd);
  if (!entry.ours() || offset != -1) return real().preadv2(fd, list, count, offset, flags);
  if (const int error = check_list(list, count); error != 0) return fail(error);
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(list);
  message.msg_iovlen = static_cast<std::size_t>(count);
  return receive_message(fd, entry, &message, (flags & RWF_NOWAIT) != 0 ? MSG_DONTWAIT : 0);
}
IOPKT_EXPORT ssize_t pwritev2(int fd, const iovec* list, int count, off_t offset, int flags) {
  const Entry entry = entry_of(fd);
  if (!entry.ours() || offset != -1) return real().pwritev2(fd, list, count, offset, flags);
  return write_list(fd, entry, list, count);
}
IOPKT_EXPORT ssize_t preadv64v2(int fd, const iovec* list, int count, off64_t offset, int flags) {
  return preadv2(fd, list, count, offset, flags);
}
IOPKT_EXPORT ssize_t pwritev64v2(int fd, const iovec* list, int count, off64_t offset, int flags) {
  return pwritev2(fd, list, count, offset, flags);
}

// ---------------------------------------------------------------------------------------------- recv and
// send

IOPKT_EXPORT ssize_t recv(int fd, void* to, size_t size, int flags) {
  const Entry entry = entry_of(fd);
  return entry.ours() ? receive(fd, entry, to, size, flags) : real().recv(fd, to, size, flags);
}

IOPKT_EXPORT ssize_t recvfrom(int fd, void* __restrict to, size_t size, int flags,
                              sockaddr* __restrict address, socklen_t* __restrict length) {
  const Entry entry = entry_of(fd);
  if (!entry.ours()) return real().recvfrom(fd, to, size, flags, address, length);
  return receive_from(fd, entry, to, size, flags, address, length);
}

IOPKT_EXPORT ssize_t recvmsg(int fd, msghdr* message, int flags) {
  const Entry entry = entry_of(fd);
  if (entry.ours()) return receive_message(fd, entry, message, flags);
  const ssize_t n = real().recvmsg(fd, message, flags);
  if (n >= 0 && message->msg_controllen > 0) adopt_received(*message);
  return n;
}

IOPKT_EXPORT int recvmmsg(int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  const Entry entry = entry_of(fd);
  if (!entry.ours()) {
    const int n = real().recvmmsg(fd, messages, count, flags, timeout);
    for (int i = 0; i < n; ++i)
      if (messages[i].msg_hdr.msg_controllen > 0) adopt_received(messages[i].msg_hdr);
    return n;
  }
  timespec start{};
  if (timeout != nullptr) {
    if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= 1'000'000'000) {
      errno = EINVAL;
      return -1;
    }
    clock_gettime(CLOCK_MONOTONIC, &start);
  }
  unsigned done = 0;
  for (; done < std::min<unsigned>(count, IOV_MAX); ++done) {
    const ssize_t n = receive_message(fd, entry, &messages[done].msg_hdr, flags & ~MSG_WAITFORONE);
    if (n < 0) break;
    messages[done].msg_len = static_cast<unsigned>(n);
    if ((flags & MSG_WAITFORONE) != 0) flags |= MSG_DONTWAIT;
    if (timeout == nullptr) continue;
    // As the kernel does: looked at between messages only.
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    const long long passed = (now.tv_sec - start.tv_sec) * 1'000'000'000LL + (now.tv_nsec - start.tv_nsec);
    if (passed >= timeout->tv_sec * 1'000'000'000LL + timeout->tv_nsec) {
      ++done;
      break;
    }
  }
  return done > 0 || count == 0 ? static_cast<int>(done) : -1;
}

IOPKT_EXPORT ssize_t send(int fd, const void* from, size_t size, int flags) {
  const Entry entry = entry_of(fd);
  return entry.ours() ? send_stream_or_datagram(fd, entry, from, size, flags)
                      : real().send(fd, from, size, flags);
}

IOPKT_EXPORT ssize_t sendto(int fd, const void* from, size_t size, int flags, const sockaddr* address,
                            socklen_t length) {
  const Entry entry = entry_of(fd);
  if (!entry.ours()) return real().sendto(fd, from, size, flags, address, length);
  return send_to(fd, entry, from, size, flags, address, length);
}

IOPKT_EXPORT ssize_t sendmsg(int fd, const msghdr* message, int flags) {
  const Entry entry = entry_of(fd);
  if (entry.ours()) return send_message(fd, entry, message, flags);
  if (message != nullptr && message->msg_controllen > 0) hand_over(*message);
  return real().sendmsg(fd, message, flags);
}

IOPKT_EXPORT int sendmmsg(int fd, mmsghdr* messages, unsigned count, int flags) {
  const Entry entry = entry_of(fd);
  if (!entry.ours()) {
    for (unsigned i = 0; messages != nullptr && i < std::min<unsigned>(count, IOV_MAX); ++i)
      if (messages[i].msg_hdr.msg_controllen > 0) hand_over(messages[i].msg_hdr);
    return real().sendmmsg(fd, messages, count, flags);
  }
  unsigned done = 0;
  for (; done < std::min<unsigned>(count, IOV_MAX); ++done) {
    const ssize_t n = send_message(fd, entry, &messages[done].msg_hdr, flags);
    if (n < 0) break;
    messages[done].msg_len = static_cast<unsigned>(n);
  }
  return done > 0 || count == 0 ? static_cast<int>(done) : -1;
}

// ---------------------------------------------------------------------------------------------- files and
// pipes

IOPKT_EXPORT ssize_t sendfile(int out, int in, off_t* offset, size_t count) noexcept {
  if (!entry_of(out).ours() && !entry_of(in).ours()) return real().sendfile(out, in, offset, count);
  return send_file(out, in, offset, count);
}
IOPKT_EXPORT ssize_t sendfile64(int out, int in, off64_t* offset, size_t count) noexcept {
  return sendfile(out, in, offset, count);
}

IOPKT_EXPORT ssize_t splice(int in, off64_t* in_offset, int out, off64_t* out_offset, size_t count,
                            unsigned flags) {
  if (!entry_of(in).ours() && !entry_of(out).ours())
    return real().splice(in, in_offset, out, out_offset, count, flags);
  return splice_fd(in, in_offset, out, out_offset, count, flags);
}

// ---------------------------------------------------------------------------------------------- other names
// of the same

IOPKT_EXPORT ssize_t __read(int fd, void* to, size_t size) { return read(fd, to, size); }
IOPKT_EXPORT ssize_t __write(int fd, const void* from, size_t size) { return write(fd, from, size); }
IOPKT_EXPORT ssize_t __send(int fd, const void* from, size_t size, int flags) {
  return send(fd, from, size, flags);
}

// _FORTIFY_SOURCE: the size of the buffer comes along.
extern "C" [[noreturn]] void __chk_fail(void);
IOPKT_EXPORT ssize_t __read_chk(int fd, void* to, size_t size, size_t room) {
  if (size > room) __chk_fail();
  return read(fd, to, size);
}
IOPKT_EXPORT ssize_t __recv_chk(int fd, void* to, size_t size, size_t room, int flags) {
  if (size > room) __chk_fail();
  return recv(fd, to, size, flags);
}
IOPKT_EXPORT ssize_t __recvfrom_chk(int fd, void* to, size_t size, size_t room, int flags, sockaddr* address,
                                    socklen_t* length) {
  if (size > room) __chk_fail();
  return recvfrom(fd, to, size, flags, address, length);
}
