#include "base/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace iopkt {

void assertion_failed(const char* belief, const char* file, int line) noexcept {
  std::fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, belief);
  std::abort();
}

}  // namespace iopkt
