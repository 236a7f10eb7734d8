// Runs a call on a thread of its own whose stack has a chosen size.
#pragma once

#include <cstddef>
#include <functional>

namespace iopkt::daemon {

/// Smallest stack that a thread here can start on, bytes: what the C library asks for, and room for a few
/// calls.
std::size_t smallest_stack();

/// Runs `call` to its end on a new thread with a stack of `bytes` (raised to smallest_stack()) above a guard
/// page, and waits for it. Answers 0, or a positive errno when the thread cannot be made; `call` has then not
/// run.
int run_on_stack(std::size_t bytes, const char* thread_name, const std::function<void()>& call);

}  // namespace iopkt::daemon
