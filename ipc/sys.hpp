// The system calls of this folder, made directly: inside the preloaded library the C library's names (recv, close ...) are that
// library's own replacements. Same results as the C library's: -1 and errno. No cancellation points.
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>

namespace iopkt::ipc::sys {

inline ssize_t recv(int fd, void* to, std::size_t n, int flags) {
  return syscall(SYS_recvfrom, fd, to, n, flags, nullptr, nullptr);
}
inline ssize_t send(int fd, const void* from, std::size_t n, int flags) {
  return syscall(SYS_sendto, fd, from, n, flags, nullptr, 0);
}
inline ssize_t recvmsg(int fd, msghdr* message, int flags) { return syscall(SYS_recvmsg, fd, message, flags); }
inline ssize_t sendmsg(int fd, const msghdr* message, int flags) { return syscall(SYS_sendmsg, fd, message, flags); }
inline int shutdown(int fd, int how) { return static_cast<int>(syscall(SYS_shutdown, fd, how)); }
inline int setsockopt(int fd, int level, int name, const void* value, socklen_t n) {
  return static_cast<int>(syscall(SYS_setsockopt, fd, level, name, value, n));
}
inline int getsockopt(int fd, int level, int name, void* value, socklen_t* n) {
  return static_cast<int>(syscall(SYS_getsockopt, fd, level, name, value, n));
}
inline int bind(int fd, const sockaddr* address, socklen_t n) {
  return static_cast<int>(syscall(SYS_bind, fd, address, n));
}
inline int poll_one(pollfd& p, int timeout_ms) {
#ifdef SYS_poll  // what the C library's poll() is: a program's seccomp filter knows it
  return static_cast<int>(syscall(SYS_poll, &p, 1, timeout_ms));
#else
  timespec timeout{.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * 1'000'000L};
  return static_cast<int>(syscall(SYS_ppoll, &p, 1, timeout_ms < 0 ? nullptr : &timeout, nullptr, 0));
#endif
}
/// Sleeps at most that long, with a call that no seccomp filter of a program with threads leaves out. EINTR: a signal was caught; else 0.
inline int nap(std::int64_t ns) {
  const std::uint32_t nobody_wakes = 0;
  const timespec timeout{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000};
  return syscall(SYS_futex, &nobody_wakes, FUTEX_WAIT_PRIVATE, 0, &timeout, nullptr, 0) < 0 && errno == EINTR ? EINTR : 0;
}
inline void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#endif
}
/// A seccomp filter (or a security module) does not let the call through.
inline bool refused(int error) { return error == EPERM || error == EACCES || error == ENOSYS; }
inline int close(int fd) { return static_cast<int>(syscall(SYS_close, fd)); }
inline ssize_t read(int fd, void* to, std::size_t n) { return syscall(SYS_read, fd, to, n); }
inline ssize_t write(int fd, const void* from, std::size_t n) { return syscall(SYS_write, fd, from, n); }
inline int open_for_reading(const char* path) {
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC));
}
inline int get_seals(int fd) { return static_cast<int>(syscall(SYS_fcntl, fd, F_GET_SEALS)); }
inline int unread_by_peer(int fd, int request, int* out) { return static_cast<int>(syscall(SYS_ioctl, fd, request, out)); }

}  // namespace iopkt::ipc::sys
