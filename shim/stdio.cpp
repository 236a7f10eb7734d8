// FILE streams on sockets.
#include "shim/stdio.hpp"

#include <errno.h>
#include <string.h>

#include <atomic>
#include <cstdint>

#include "shim/confine.hpp"
#include "shim/data.hpp"
#include "shim/descriptors.hpp"
#include "shim/messages.hpp"
#include "shim/native.hpp"
#include "shim/process.hpp"
#include "shim/real.hpp"

namespace iopkt::shim {

namespace {

/// Streams and their descriptors, for fileno(). More streams than this at once work, but have no fileno().
struct Named {
  std::atomic<FILE*> stream;
  std::atomic<int> fd;
};
constexpr int kNamedMax = 1024;
constinit Named g_named[kNamedMax];
constinit std::atomic<bool> g_any{false};

void* cookie_of(int fd) { return reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)); }
int fd_of(void* cookie) { return static_cast<int>(reinterpret_cast<std::intptr_t>(cookie)); }

// By the numbers' present meaning: a program may dup2() something else under an open stream.
ssize_t read_cookie(void* cookie, char* to, size_t size) {
  const int fd = fd_of(cookie);
  const Entry entry = entry_of(fd);
  return entry.ours() ? receive_from(fd, entry, to, size, plain_call(), nullptr, nullptr)
                      : real().read(fd, to, size);
}
ssize_t write_cookie(void* cookie, const char* from, size_t size) {
  const int fd = fd_of(cookie);
  const Entry entry = entry_of(fd);
  const ssize_t n =
      entry.ours() ? send_to(fd, entry, from, size, plain_call(), nullptr, 0) : real().write(fd, from, size);
  return n < 0 ? 0 : n;  // what a cookie's write answers for a failure
}
int seek_cookie(void*, off64_t*, int) {
  errno = ESPIPE;
  return -1;
}
int close_cookie(void* cookie) {
  const int fd = fd_of(cookie);
  for (Named& n : g_named)
    if (n.fd.load() == fd && n.stream.load() != nullptr) n.stream.store(nullptr);
  return close_fd(fd);
}

}  // namespace

FILE* open_stream(int fd, const char* mode) {
  if (mode == nullptr || strchr("rwa", mode[0]) == nullptr || mode[0] == 0) {
    errno = EINVAL;
    return nullptr;
  }
  char kept[4] = {mode[0], 0, 0, 0};
  if (strchr(mode, '+') != nullptr) kept[1] = '+';
  if (strchr(mode, 'e') != nullptr) native::fcntl(fd, F_SETFD, FD_CLOEXEC);
  FILE* stream =
      fopencookie(cookie_of(fd), kept,
                  {.read = read_cookie, .write = write_cookie, .seek = seek_cookie, .close = close_cookie});
  if (stream == nullptr) return nullptr;
  g_any.store(true, std::memory_order_relaxed);
  for (Named& n : g_named) {
    FILE* none = nullptr;
    if (!n.stream.compare_exchange_strong(none, stream)) continue;
    n.fd.store(fd);
    break;
  }
  return stream;
}

int descriptor_of(FILE* stream) {
  if (!g_any.load(std::memory_order_relaxed)) return -1;
  for (const Named& n : g_named)
    if (n.stream.load() == stream) return n.fd.load();
  return -1;
}

void serve_standard_stream(int fd) {
  static constinit std::atomic<bool> served[3];
  if (fd < 0 || fd > STDERR_FILENO || served[fd].exchange(true)) return;
  const KeepErrno keep;
  FILE* stream = open_stream(fd, fd == STDIN_FILENO ? "r" : "w");
  if (stream == nullptr) return;
  if (fd == STDERR_FILENO) setvbuf(stream, nullptr, _IONBF, 0);
  FILE*& standard = fd == STDIN_FILENO ? stdin : fd == STDOUT_FILENO ? stdout : stderr;
  standard = stream;
}

}  // namespace iopkt::shim
