// exec and posix_spawn.
#include "shim/exec.hpp"

#include <alloca.h>
#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <atomic>

#include "shim/handover.hpp"
#include "shim/real.hpp"

extern "C" char** environ;

namespace iopkt::shim {

namespace {

constexpr std::size_t kNameLength = sizeof kClientVariable - 1;
/// Written once, under the lock of the control connection; every client's text has the same form and length.
char g_variable[64];
constinit std::atomic<bool> g_known{false};

bool is_ours(const char* item) { return strncmp(item, kClientVariable, kNameLength) == 0; }

}  // namespace

bool client_to_join(unsigned& client, unsigned long& secret) {
  for (char** item = environ; item != nullptr && *item != nullptr; ++item) {
    if (!is_ours(*item)) continue;
    return sscanf(*item + kNameLength, "%x:%lx", &client, &secret) == 2 && client != 0;
  }
  return false;
}

void remember_client(unsigned client, unsigned long secret) {
  snprintf(g_variable, sizeof g_variable, "%s%08x:%016lx", kClientVariable, client, secret);
  g_known.store(true, std::memory_order_release);
}

std::size_t environment_room(char* const* environment) {
  std::size_t n = 0;
  while (environment != nullptr && environment[n] != nullptr) ++n;
  return n + 2;
}

char* const* new_environment(char* const* environment, char** room) {
  if (!g_known.load(std::memory_order_acquire)) return environment;
  bool preloaded = false;
  std::size_t n = 0;
  for (std::size_t i = 0; environment != nullptr && environment[i] != nullptr; ++i) {
    preloaded |= strncmp(environment[i], "LD_PRELOAD=", 11) == 0;
    if (!is_ours(environment[i])) room[n++] = environment[i];
  }
  if (!preloaded) return environment;
  room[n++] = g_variable;
  room[n] = nullptr;
  return room;
}

}  // namespace iopkt::shim

using namespace iopkt::shim;

// The list lives on the stack: an exec may follow vfork(), or be called by a signal handler.
#define IOPKT_ENVIRONMENT(environment) \
  new_environment(environment, static_cast<char**>(alloca(environment_room(environment) * sizeof(char*))))

IOPKT_EXPORT int execve(const char* path, char* const* arguments, char* const* environment) noexcept {
  const ExecHandover handover(path, false, environment);
  return real().execve(path, arguments, IOPKT_ENVIRONMENT(environment));
}
IOPKT_EXPORT int execv(const char* path, char* const* arguments) noexcept {
  return execve(path, arguments, environ);
}
IOPKT_EXPORT int execvpe(const char* file, char* const* arguments, char* const* environment) noexcept {
  const ExecHandover handover(file, true, environment);
  return real().execvpe(file, arguments, IOPKT_ENVIRONMENT(environment));
}
IOPKT_EXPORT int execvp(const char* file, char* const* arguments) noexcept {
  return execvpe(file, arguments, environ);
}
IOPKT_EXPORT int fexecve(int fd, char* const* arguments, char* const* environment) noexcept {
  const ExecHandover handover(fd, environment);
  return real().fexecve(fd, arguments, IOPKT_ENVIRONMENT(environment));
}
IOPKT_EXPORT int posix_spawn(pid_t* __restrict pid, const char* __restrict path,
                             const posix_spawn_file_actions_t* __restrict actions,
                             const posix_spawnattr_t* __restrict attributes,
                             char* const* __restrict arguments, char* const* __restrict environment) {
  hand_over_to_spawned(path, false, environment);
  return real().posix_spawn(pid, path, actions, attributes, arguments, IOPKT_ENVIRONMENT(environment));
}
IOPKT_EXPORT int posix_spawnp(pid_t* __restrict pid, const char* __restrict file,
                              const posix_spawn_file_actions_t* __restrict actions,
                              const posix_spawnattr_t* __restrict attributes,
                              char* const* __restrict arguments, char* const* __restrict environment) {
  hand_over_to_spawned(file, true, environment);
  return real().posix_spawnp(pid, file, actions, attributes, arguments, IOPKT_ENVIRONMENT(environment));
}
// The child gets a copy under another number, whatever becomes of the one that it is made from.
IOPKT_EXPORT int posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t* actions, int from,
                                                  int to) noexcept {
  note_spawn_copy(from);
  return real().posix_spawn_file_actions_adddup2(actions, from, to);
}

// The calls with the arguments one by one, up to a null; execle has the environment behind it.
#define IOPKT_COLLECT(first)                                                   \
  va_list counting, reading;                                                   \
  va_start(counting, first);                                                   \
  va_copy(reading, counting);                                                  \
  std::size_t count = 1;                                                       \
  while (va_arg(counting, char*) != nullptr) ++count;                          \
  va_end(counting);                                                            \
  char** arguments = static_cast<char**>(alloca((count + 1) * sizeof(char*))); \
  arguments[0] = const_cast<char*>(first);                                     \
  for (std::size_t i = 1; i <= count; ++i) arguments[i] = va_arg(reading, char*)

IOPKT_EXPORT int execl(const char* path, const char* first, ...) noexcept {
  IOPKT_COLLECT(first);
  va_end(reading);
  return execv(path, arguments);
}
IOPKT_EXPORT int execlp(const char* file, const char* first, ...) noexcept {
  IOPKT_COLLECT(first);
  va_end(reading);
  return execvp(file, arguments);
}
IOPKT_EXPORT int execle(const char* path, const char* first, ...) noexcept {
  IOPKT_COLLECT(first);
  char* const* environment = va_arg(reading, char* const*);
  va_end(reading);
  return execve(path, arguments, environment);
}
