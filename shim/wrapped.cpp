// What ipc and client code linked into this library gets when it calls a socket function: the bare system call.
#include <stdarg.h>

#include "shim/native.hpp"

namespace native = iopkt::shim::native;

extern "C" {
int __wrap_close(int fd);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_ioctl(int fd, unsigned long code, ...);
ssize_t __wrap_read(int fd, void* to, size_t n);
ssize_t __wrap_write(int fd, const void* from, size_t n);
int __wrap_socket(int domain, int type, int protocol);
int __wrap_connect(int fd, const sockaddr* a, socklen_t n);
int __wrap_bind(int fd, const sockaddr* a, socklen_t n);
int __wrap_listen(int fd, int backlog);
int __wrap_shutdown(int fd, int how);
int __wrap_accept4(int fd, sockaddr* a, socklen_t* n, int flags);
int __wrap_getsockname(int fd, sockaddr* a, socklen_t* n);
int __wrap_getsockopt(int fd, int level, int name, void* value, socklen_t* n);
int __wrap_setsockopt(int fd, int level, int name, const void* value, socklen_t n);
ssize_t __wrap_recv(int fd, void* to, size_t n, int flags);
ssize_t __wrap_send(int fd, const void* from, size_t n, int flags);
ssize_t __wrap_recvmsg(int fd, msghdr* m, int flags);
ssize_t __wrap_sendmsg(int fd, const msghdr* m, int flags);

int __wrap_close(int fd) { return native::close(fd); }
int __wrap_fcntl(int fd, int command, ...) {
  va_list more;
  va_start(more, command);
  const long argument = va_arg(more, long);
  va_end(more);
  return native::fcntl(fd, command, argument);
}
int __wrap_ioctl(int fd, unsigned long code, ...) {
  va_list more;
  va_start(more, code);
  void* argument = va_arg(more, void*);
  va_end(more);
  return native::ioctl(fd, code, argument);
}
ssize_t __wrap_read(int fd, void* to, size_t n) { return native::read(fd, to, n); }
ssize_t __wrap_write(int fd, const void* from, size_t n) { return native::write(fd, from, n); }
int __wrap_socket(int domain, int type, int protocol) { return native::socket(domain, type, protocol); }
int __wrap_connect(int fd, const sockaddr* a, socklen_t n) { return native::connect(fd, a, n); }
int __wrap_bind(int fd, const sockaddr* a, socklen_t n) { return native::bind(fd, a, n); }
int __wrap_listen(int fd, int backlog) { return native::listen(fd, backlog); }
int __wrap_shutdown(int fd, int how) { return native::shutdown(fd, how); }
int __wrap_accept4(int fd, sockaddr* a, socklen_t* n, int flags) { return native::accept4(fd, a, n, flags); }
int __wrap_getsockname(int fd, sockaddr* a, socklen_t* n) { return native::getsockname(fd, a, n); }
int __wrap_getsockopt(int fd, int level, int name, void* value, socklen_t* n) {
  return native::getsockopt(fd, level, name, value, n);
}
int __wrap_setsockopt(int fd, int level, int name, const void* value, socklen_t n) {
  return native::setsockopt(fd, level, name, value, n);
}
ssize_t __wrap_recv(int fd, void* to, size_t n, int flags) { return native::recv(fd, to, n, flags); }
ssize_t __wrap_send(int fd, const void* from, size_t n, int flags) { return native::send(fd, from, n, flags); }
ssize_t __wrap_recvmsg(int fd, msghdr* m, int flags) { return native::recvmsg(fd, m, flags); }
ssize_t __wrap_sendmsg(int fd, const msghdr* m, int flags) { return native::sendmsg(fd, m, flags); }
}
