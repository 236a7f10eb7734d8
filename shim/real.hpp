// The next definition of every function that this library replaces: what libc (or another preloaded library)
// would do.
#pragma once

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <grp.h>
#include <ifaddrs.h>
#include <net/if.h>

namespace iopkt::shim {

// X(name): found with dlsym(RTLD_NEXT, name); its type is that of the declaration in libc's headers.
#define IOPKT_REAL_FUNCTIONS(X)                                                                             \
  X(socket)                                                                                                 \
  X(bind)                                                                                                   \
  X(listen) X(accept) X(accept4) X(connect) X(shutdown) X(getsockname) X(getpeername) X(getsockopt)         \
      X(setsockopt) X(read) X(readv) X(preadv2) X(write) X(writev) X(pwritev2) X(send) X(sendto) X(sendmsg) \
          X(sendmmsg) X(recv) X(recvfrom) X(recvmsg) X(recvmmsg) X(sendfile) X(splice) X(close)             \
              X(close_range) X(closefrom) X(poll) X(ppoll) X(select) X(pselect) X(dup) X(dup2) X(dup3) X(fcntl) X(ioctl) X(epoll_ctl) X(epoll_wait) X(epoll_pwait) X(fdopen)   \
                  X(vdprintf) X(sockatmark) X(fileno) X(fileno_unlocked) X(setuid) X(setgid) X(seteuid)     \
                      X(setegid) X(setreuid) X(setregid) X(setresuid) X(setresgid) X(setgroups) X(prctl)    \
                          X(initgroups) X(chroot) X(execve) X(getaddrinfo) X(getnameinfo) X(gethostbyname)  \
                              X(gethostbyname2) X(gethostbyname_r) X(gethostbyname2_r) X(gethostbyaddr)     \
                                  X(gethostbyaddr_r) X(getifaddrs) X(freeifaddrs) X(if_nametoindex)         \
                                      X(if_indextoname) X(if_nameindex) X(if_freenameindex) X(execvpe)      \
                                          X(fexecve) X(posix_spawn) X(posix_spawnp) X(posix_spawn_file_actions_adddup2)

// The same, null where libc is older than they are.
#define IOPKT_OPTIONAL_FUNCTIONS(X) X(epoll_pwait2)

struct Real {
#define IOPKT_REAL_MEMBER(name) decltype(&::name) name = nullptr;
  IOPKT_REAL_FUNCTIONS(IOPKT_REAL_MEMBER)
  IOPKT_OPTIONAL_FUNCTIONS(IOPKT_REAL_MEMBER)
#undef IOPKT_REAL_MEMBER
};

extern Real g_real;
extern bool g_real_ready;
/// Looks all of them up. Aborts with a message when libc lacks one that is not optional.
void find_real();

/// The table; valid also before this library's constructor ran (another library's constructor may read or
/// write).
inline const Real& real() {
  if (!g_real_ready) [[unlikely]]
    find_real();
  return g_real;
}

}  // namespace iopkt::shim

/// A definition that programs see. Everything else in this library is hidden.
#define IOPKT_EXPORT extern "C" __attribute__((visibility("default")))
