// Descriptors that may be sockets of the stack, told apart without the table of this process.
#pragma once

#include <dirent.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "shim/native.hpp"
#include "shim/process.hpp"

namespace iopkt::shim {

struct Candidate {
  int fd;
  std::uint64_t cookie;
  std::uint64_t slot;  ///< of look_up(); kNoSlot: not a socket of this client
  bool attached;       ///< the stack holds the other end
  bool datagram;
};
inline constexpr std::size_t kCandidates = 64;

/// Only AF_UNIX sockets whose peer has a name among the stack's nodes, or that have neither name nor peer,
/// come into question; and only those whose SO_COOKIE the stack knows are ever sent anything.
bool examine(int fd, Candidate& out);

/// Asks the stack which of at most kCandidates are sockets of this process's client. False: it does not
/// answer.
bool look_up(std::span<Candidate> candidates);

/// Calls `use` for each descriptor of the process; without /proc for the first 64 numbers. No allocation.
template <class Use>
void for_each_fd(Use&& use) {
  const int folder =
      static_cast<int>(syscall(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder < 0) {
    for (int fd = 0; fd < 64; ++fd) use(fd);
    return;
  }
  alignas(dirent64) char room[4096];
  for (;;) {
    const long n = syscall(SYS_getdents64, folder, room, sizeof room);
    if (n <= 0) break;
    for (long at = 0; at < n;) {
      const dirent64* item = reinterpret_cast<const dirent64*>(room + at);
      at += item->d_reclen;
      const int fd = item->d_name[0] == '.' ? -1 : atoi(item->d_name);
      if (fd >= 0 && fd != folder) use(fd);
    }
  }
  native::close(folder);
}

}  // namespace iopkt::shim
