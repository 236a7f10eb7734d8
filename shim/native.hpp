// Bare system calls: no cancellation point, no other library in between, no recursion into what this library
// replaces. They answer as libc does: -1 and errno. The linker also sends the socket calls of the other
// object files in this library here (shim.cmake, --wrap), so that ipc and client code never meets the
// replaced functions.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstddef>

namespace iopkt::shim::native {

inline int close(int fd) { return static_cast<int>(syscall(SYS_close, fd)); }
inline int fcntl(int fd, int command, long argument = 0) {
  return static_cast<int>(syscall(SYS_fcntl, fd, command, argument));
}
inline int ioctl(int fd, unsigned long code, void* argument) {
  return static_cast<int>(syscall(SYS_ioctl, fd, code, argument));
}
inline ssize_t write(int fd, const void* from, std::size_t n) { return syscall(SYS_write, fd, from, n); }
inline ssize_t read(int fd, void* to, std::size_t n) { return syscall(SYS_read, fd, to, n); }
inline ssize_t writev(int fd, const iovec* v, int n) { return syscall(SYS_writev, fd, v, n); }
inline int socket(int domain, int type, int protocol) {
  return static_cast<int>(syscall(SYS_socket, domain, type, protocol));
}
inline int connect(int fd, const sockaddr* a, socklen_t n) {
  return static_cast<int>(syscall(SYS_connect, fd, a, n));
}
inline int bind(int fd, const sockaddr* a, socklen_t n) {
  return static_cast<int>(syscall(SYS_bind, fd, a, n));
}
inline int listen(int fd, int backlog) { return static_cast<int>(syscall(SYS_listen, fd, backlog)); }
inline int shutdown(int fd, int how) { return static_cast<int>(syscall(SYS_shutdown, fd, how)); }
inline int accept4(int fd, sockaddr* a, socklen_t* n, int flags) {
  return static_cast<int>(syscall(SYS_accept4, fd, a, n, flags));
}
inline int getsockname(int fd, sockaddr* a, socklen_t* n) {
  return static_cast<int>(syscall(SYS_getsockname, fd, a, n));
}
inline int getpeername(int fd, sockaddr* a, socklen_t* n) {
  return static_cast<int>(syscall(SYS_getpeername, fd, a, n));
}
inline int getsockopt(int fd, int level, int name, void* value, socklen_t* n) {
  return static_cast<int>(syscall(SYS_getsockopt, fd, level, name, value, n));
}
inline int setsockopt(int fd, int level, int name, const void* value, socklen_t n) {
  return static_cast<int>(syscall(SYS_setsockopt, fd, level, name, value, n));
}
inline ssize_t recv(int fd, void* to, std::size_t n, int flags) {
  return syscall(SYS_recvfrom, fd, to, n, flags, nullptr, nullptr);
}
inline ssize_t send(int fd, const void* from, std::size_t n, int flags) {
  return syscall(SYS_sendto, fd, from, n, flags, nullptr, 0);
}
inline ssize_t recvmsg(int fd, msghdr* m, int flags) { return syscall(SYS_recvmsg, fd, m, flags); }
inline ssize_t sendmsg(int fd, const msghdr* m, int flags) { return syscall(SYS_sendmsg, fd, m, flags); }
inline int dup3(int from, int to, int flags) { return static_cast<int>(syscall(SYS_dup3, from, to, flags)); }

}  // namespace iopkt::shim::native
