// The handler for faults of our own: drivers are stopped and interfaces restored before the core is written.
#pragma once

namespace iopkt::daemon {

using CrashHook = void (*)(void* argument);

/// Hooks run once, the last added first, on the thread that failed, with a limit of kCrashHookSeconds for all
/// of them together. They may find any lock held and any memory broken; a hook that fails itself ends the
/// process. Adding and removing: any thread, not for the data path. False: the table (1024 hooks) is full.
bool add_crash_hook(CrashHook hook, void* argument);
void remove_crash_hook(CrashHook hook, void* argument);

inline constexpr unsigned kCrashHookSeconds = 3;

/// Handles SIGSEGV, SIGBUS, SIGILL, SIGFPE and SIGABRT: runs the hooks, then lets the signal do what it does
/// by default, at the instruction that failed. Also give_crash_stack() for the calling thread.
void install_crash_handler();

/// Whether the calling thread is the one whose fault is being handled: it must take no lock that it may hold
/// already.
bool is_crashing();

/// Lets the handler work when the calling thread has run out of its own stack. Once per thread; kept until it
/// ends.
void give_crash_stack();

}  // namespace iopkt::daemon
