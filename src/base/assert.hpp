// IOPKT_ASSERT: a belief about our own code. What the network, a client or a plug-in can cause is never asserted.
#pragma once

namespace iopkt {
/// Prints the broken belief to standard error and aborts. Never returns.
[[noreturn]] void assertion_failed(const char* belief, const char* file, int line) noexcept;
}  // namespace iopkt

#define IOPKT_ASSERT(condition) \
  (static_cast<bool>(condition) ? static_cast<void>(0) : ::iopkt::assertion_failed(#condition, __FILE__, __LINE__))
