// liburing: the kernel reads and writes descriptors by itself, and would find readiness where the data should
// be.
#include <dlfcn.h>
#include <errno.h>

#include "shim/process.hpp"
#include "shim/real.hpp"

using namespace iopkt::shim;

namespace {

int refuse() {
  static constinit std::atomic<bool> said{false};
  say(said,
      "io_uring cannot use the stack's sockets: ENOSYS (IOPKT_KERNEL=inet allows it, with the kernel's own)");
  return -ENOSYS;
}

template <class... Arguments>
int pass_on(const char* name, Arguments... arguments) {
  using Function = int (*)(Arguments...);
  const auto next = reinterpret_cast<Function>(dlsym(RTLD_NEXT, name));
  return next != nullptr ? next(arguments...) : -ENOSYS;
}

}  // namespace

IOPKT_EXPORT int io_uring_queue_init(unsigned entries, void* ring, unsigned flags) {
  return settings().kernel_inet ? pass_on("io_uring_queue_init", entries, ring, flags) : refuse();
}
IOPKT_EXPORT int io_uring_queue_init_params(unsigned entries, void* ring, void* parameters) {
  return settings().kernel_inet ? pass_on("io_uring_queue_init_params", entries, ring, parameters) : refuse();
}
IOPKT_EXPORT int io_uring_queue_init_mem(unsigned entries, void* ring, void* parameters, void* memory,
                                         size_t size) {
  return settings().kernel_inet ? pass_on("io_uring_queue_init_mem", entries, ring, parameters, memory, size)
                                : refuse();
}
