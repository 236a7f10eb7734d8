// Finds the functions that this library replaces.
#include "shim/real.hpp"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

namespace iopkt::shim {

constinit Real g_real;
constinit bool g_real_ready = false;

namespace {

template <class Function>
void find(Function*& out, const char* name, bool optional = false) {
  void* symbol = dlsym(RTLD_NEXT, name);
  if (symbol == nullptr && !optional) {
    constexpr char kWhat[] = "libiopkt-socket: this C library has no ";
    // The raw descriptor: stdio may not be usable yet.
    if (::write(STDERR_FILENO, kWhat, sizeof kWhat - 1) < 0 ||
        ::write(STDERR_FILENO, name, strlen(name)) < 0 || ::write(STDERR_FILENO, "\n", 1) < 0) {
      abort();
    }
    abort();
  }
  memcpy(&out, &symbol, sizeof symbol);
}

}  // namespace

// Idempotent: two threads that come here at once store the same values.
void find_real() {
#define IOPKT_FIND(name) find(g_real.name, #name);
  IOPKT_REAL_FUNCTIONS(IOPKT_FIND)
#undef IOPKT_FIND
#define IOPKT_FIND(name) find(g_real.name, #name, true);
  IOPKT_OPTIONAL_FUNCTIONS(IOPKT_FIND)
#undef IOPKT_FIND
  __atomic_store_n(&g_real_ready, true, __ATOMIC_RELEASE);
}

}  // namespace iopkt::shim
