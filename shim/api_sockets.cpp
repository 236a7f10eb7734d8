// What programs call: sockets and descriptors. A descriptor that is not the stack's goes straight to libc.
#include <errno.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "shim/confine.hpp"
#include "shim/descriptors.hpp"
#include "shim/epoll.hpp"
#include "shim/fork.hpp"
#include "shim/inherit.hpp"
#include "shim/options.hpp"
#include "shim/process.hpp"
#include "shim/real.hpp"
#include "shim/resolver.hpp"
#include "shim/sockets.hpp"
#include "shim/stdio.hpp"
#include "shim/table.hpp"

using namespace iopkt::shim;

namespace {

int refuse(std::atomic<bool>& once, const char* what) {
  say(once, what, " is not built yet: EAFNOSUPPORT (IOPKT_KERNEL lets the kernel have it)");
  errno = EAFNOSUPPORT;
  return -1;
}

/// Netlink protocols that configure or show networks; the others (audit, events of devices ...) are the
/// kernel's business.
bool is_network_netlink(int protocol) {
  return protocol == NETLINK_ROUTE || protocol == NETLINK_SOCK_DIAG || protocol == NETLINK_XFRM;
}

}  // namespace

__attribute__((constructor)) static void start() {
  find_real();
  prepare_process();
  confine_libc_resolver();
  adopt_inherited();
}

// ---------------------------------------------------------------------------------------------- sockets

IOPKT_EXPORT int socket(int domain, int type, int protocol) noexcept {
  static constinit std::atomic<bool> packet_said{false}, netlink_said{false}, key_said{false};
  switch (domain) {
    case AF_INET:
      return settings().kernel_inet ? real().socket(domain, type, protocol)
                                    : open_socket(domain, type, protocol);
    case AF_INET6:
      // EAFNOSUPPORT from a stack without IPv6, as from a host: programs then take IPv4.
      return settings().kernel_inet6 ? real().socket(domain, type, protocol) : open_socket(domain, type, protocol);
    case AF_PACKET:
      if (settings().kernel_packet) break;
      return refuse(packet_said, "AF_PACKET");
    case AF_NETLINK:
      if (settings().kernel_netlink || !is_network_netlink(protocol)) break;
      return refuse(netlink_said, "AF_NETLINK (route, sock_diag, xfrm)");
    case AF_KEY:
      return refuse(key_said, "AF_KEY");
    default:
      break;
  }
  return real().socket(domain, type, protocol);
}

IOPKT_EXPORT int bind(int fd, const sockaddr* address, socklen_t length) noexcept {
  const Entry entry = entry_of(fd);
  return entry.ours() ? bind_socket(entry, address, length) : real().bind(fd, address, length);
}

IOPKT_EXPORT int listen(int fd, int backlog) noexcept {
  const Entry entry = entry_of(fd);
  return entry.ours() ? listen_socket(fd, entry, backlog) : real().listen(fd, backlog);
}

IOPKT_EXPORT int accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  const Entry entry = entry_of(fd);
  return entry.ours() ? accept_socket(fd, entry, address, length, flags)
                      : real().accept4(fd, address, length, flags);
}

IOPKT_EXPORT int accept(int fd, sockaddr* __restrict address, socklen_t* __restrict length) {
  const Entry entry = entry_of(fd);
  return entry.ours() ? accept_socket(fd, entry, address, length, 0) : real().accept(fd, address, length);
}

IOPKT_EXPORT int connect(int fd, const sockaddr* address, socklen_t length) {
  const Entry entry = entry_of(fd);
  return entry.ours() ? connect_socket(fd, entry, address, length) : real().connect(fd, address, length);
}
IOPKT_EXPORT int __connect(int fd, const sockaddr* address, socklen_t length) {
  return connect(fd, address, length);
}

IOPKT_EXPORT int shutdown(int fd, int how) noexcept {
  const Entry entry = entry_of(fd);
  return entry.ours() ? shutdown_socket(fd, entry, how) : real().shutdown(fd, how);
}

IOPKT_EXPORT int getsockname(int fd, sockaddr* __restrict address, socklen_t* __restrict length) noexcept {
  const Entry entry = entry_of(fd);
  return entry.ours() ? socket_name(entry, address, length) : real().getsockname(fd, address, length);
}

IOPKT_EXPORT int getpeername(int fd, sockaddr* __restrict address, socklen_t* __restrict length) noexcept {
  const Entry entry = entry_of(fd);
  return entry.ours() ? peer_name(entry, address, length) : real().getpeername(fd, address, length);
}

IOPKT_EXPORT int getsockopt(int fd, int level, int name, void* __restrict value,
                            socklen_t* __restrict length) noexcept {
  const Entry entry = entry_of(fd);
  return entry.ours() ? get_option(fd, entry, level, name, value, length)
                      : real().getsockopt(fd, level, name, value, length);
}

IOPKT_EXPORT int setsockopt(int fd, int level, int name, const void* value, socklen_t length) noexcept {
  const Entry entry = entry_of(fd);
  return entry.ours() ? set_option(fd, entry, level, name, value, length)
                      : real().setsockopt(fd, level, name, value, length);
}

IOPKT_EXPORT int ioctl(int fd, unsigned long code, ...) noexcept {
  va_list more;
  va_start(more, code);
  void* argument = va_arg(more, void*);
  va_end(more);
  const Entry entry = entry_of(fd);
  return entry.ours() ? control(fd, entry, code, argument) : real().ioctl(fd, code, argument);
}

IOPKT_EXPORT int sockatmark(int fd) noexcept {
  const Entry entry = entry_of(fd);
  return entry.ours() ? at_mark(fd, entry) : real().sockatmark(fd);
}

IOPKT_EXPORT int epoll_ctl(int epoll, int operation, int fd, epoll_event* event) noexcept {
  const Entry entry = entry_of(fd);
  if (entry.ours()) note_epoll(epoll, operation, fd, entry, event);
  return real().epoll_ctl(epoll, operation, fd, event);
}

// ---------------------------------------------------------------------------------------------- descriptors

IOPKT_EXPORT int close(int fd) {
  if (entry_of(fd).flags() == 0) [[likely]]
    return real().close(fd);
  return close_fd(fd);
}
IOPKT_EXPORT int __close(int fd) { return close(fd); }

IOPKT_EXPORT int close_range(unsigned first, unsigned last, int flags) noexcept {
  return close_range_of(first, last, flags);
}
IOPKT_EXPORT void closefrom(int first) noexcept { close_from(first); }
IOPKT_EXPORT int dup(int fd) noexcept { return duplicate(fd); }
IOPKT_EXPORT int dup2(int from, int to) noexcept { return duplicate_to(from, to); }
IOPKT_EXPORT int dup3(int from, int to, int flags) noexcept { return duplicate_to(from, to, flags); }

IOPKT_EXPORT int fcntl(int fd, int command, ...) {
  va_list more;
  va_start(more, command);
  void* argument = va_arg(more, void*);
  va_end(more);
  if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) {
    return duplicate_above(fd, command, static_cast<int>(reinterpret_cast<std::intptr_t>(argument)));
  }
  const int result = real().fcntl(fd, command, argument);
  if (const Entry entry = entry_of(fd); command == F_SETFL && result == 0 && entry.ours())
    remember_blocking(socket_of(entry), (reinterpret_cast<std::intptr_t>(argument) & O_NONBLOCK) != 0);
  return result;
}
IOPKT_EXPORT int fcntl64(int fd, int command, ...) {
  va_list more;
  va_start(more, command);
  void* argument = va_arg(more, void*);
  va_end(more);
  return fcntl(fd, command, argument);
}

// ---------------------------------------------------------------------------------------------- streams

IOPKT_EXPORT FILE* fdopen(int fd, const char* mode) noexcept {
  return entry_of(fd).ours() ? open_stream(fd, mode) : real().fdopen(fd, mode);
}
IOPKT_EXPORT int fileno(FILE* stream) noexcept {
  const int fd = descriptor_of(stream);
  return fd >= 0 ? fd : real().fileno(stream);
}
IOPKT_EXPORT int fileno_unlocked(FILE* stream) noexcept {
  const int fd = descriptor_of(stream);
  return fd >= 0 ? fd : real().fileno_unlocked(stream);
}

IOPKT_EXPORT int vdprintf(int fd, const char* __restrict format, va_list arguments) {
  if (!entry_of(fd).ours()) return real().vdprintf(fd, format, arguments);
  char* text = nullptr;
  const int length = vasprintf(&text, format, arguments);
  if (length < 0) return -1;
  int done = 0;
  while (done < length) {
    const ssize_t n = write(fd, text + done, static_cast<std::size_t>(length - done));
    if (n < 0) break;
    done += static_cast<int>(n);
  }
  free(text);
  return done < length ? -1 : length;
}
IOPKT_EXPORT int dprintf(int fd, const char* __restrict format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int n = vdprintf(fd, format, arguments);
  va_end(arguments);
  return n;
}
IOPKT_EXPORT int __vdprintf_chk(int fd, int, const char* format, va_list arguments) {
  return vdprintf(fd, format, arguments);
}
IOPKT_EXPORT int __dprintf_chk(int fd, int, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const int n = vdprintf(fd, format, arguments);
  va_end(arguments);
  return n;
}

// ---------------------------------------------------------------------------------------------- giving up
// rights The control connection is made before: afterwards its node may be out of reach. What may be asked through it goes by
// the rights of whoever asks, at that moment.

#define IOPKT_RIGHTS(result, name, parameters, arguments) \
  IOPKT_EXPORT result name parameters noexcept {          \
    connect_before_losing_rights();                       \
    return real().name arguments;                         \
  }
IOPKT_RIGHTS(int, setuid, (uid_t u), (u))
IOPKT_RIGHTS(int, setgid, (gid_t g), (g))
IOPKT_RIGHTS(int, seteuid, (uid_t u), (u))
IOPKT_RIGHTS(int, setegid, (gid_t g), (g))
IOPKT_RIGHTS(int, setreuid, (uid_t r, uid_t e), (r, e))
IOPKT_RIGHTS(int, setregid, (gid_t r, gid_t e), (r, e))
IOPKT_RIGHTS(int, setresuid, (uid_t r, uid_t e, uid_t s), (r, e, s))
IOPKT_RIGHTS(int, setresgid, (gid_t r, gid_t e, gid_t s), (r, e, s))
IOPKT_RIGHTS(int, setgroups, (size_t n, const gid_t* list), (n, list))
IOPKT_RIGHTS(int, chroot, (const char* path), (path))
IOPKT_EXPORT int initgroups(const char* user, gid_t group) {
  connect_before_losing_rights();
  return real().initgroups(user, group);
}
