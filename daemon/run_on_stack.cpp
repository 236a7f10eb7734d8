// Runs a call on a thread of its own whose stack has a chosen size.
#include "run_on_stack.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>

#include "crash.hpp"

namespace iopkt::daemon {
namespace {

struct Call {
  const std::function<void()>& call;
  const char* name;
};

void* run(void* argument) {
  const Call& call = *static_cast<Call*>(argument);
  ::pthread_setname_np(::pthread_self(), call.name);
  give_crash_stack();  // a driver that overruns this one is found out, and the host left as it was
  call.call();
  return nullptr;
}

}  // namespace

std::size_t smallest_stack() {
  const long system = ::sysconf(_SC_THREAD_STACK_MIN);
  std::size_t bytes = std::max<std::size_t>(system > 0 ? static_cast<std::size_t>(system) : 0, 32768);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  bytes *= 8;  // instrumented frames are several times as large
#endif
  return bytes;
}

int run_on_stack(std::size_t bytes, const char* thread_name, const std::function<void()>& call) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  bytes = (std::max(bytes, smallest_stack()) + page - 1) / page * page;
  pthread_attr_t attributes;
  if (const int rc = ::pthread_attr_init(&attributes); rc != 0) return rc;
  int rc = ::pthread_attr_setstacksize(&attributes, bytes);
  Call argument{call, thread_name};
  pthread_t thread{};
  if (rc == 0) rc = ::pthread_create(&thread, &attributes, run, &argument);
  ::pthread_attr_destroy(&attributes);
  if (rc == 0) ::pthread_join(thread, nullptr);
  return rc;
}

}  // namespace iopkt::daemon
