// The handler for faults of our own. Everything here that runs in it is async-signal-safe; hooks are best
// effort.
#include "crash.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <mutex>

namespace iopkt::daemon {
namespace {

constexpr std::array kSignals{SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
constexpr std::size_t kHooksMax = 1024;
constexpr std::size_t kStackBytes = 65536;

struct Slot {
  std::atomic<CrashHook> hook{};
  std::atomic<void*> argument{};
};
// Read by a handler that can take no lock, so that it must live in static storage.
Slot g_hooks[kHooksMax];
std::mutex g_hooks_lock;  // of add and remove
std::atomic<pid_t> g_failed_thread{0};
std::atomic<int> g_signal{0};

void restore_default(int signal) {
  struct sigaction action{};
  action.sa_handler = SIG_DFL;
  ::sigaction(signal, &action, nullptr);
}

void say(const char* text) {
  if (::write(STDERR_FILENO, text, std::strlen(text)) < 0) return;
}

/// A hook takes too long: end now, with the signal that it all began with.
void on_alarm(int) {
  const int signal = g_signal.load();
  restore_default(signal);
  say("io-pkt: a driver does not stop; giving up\n");
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, signal);
  ::raise(signal);
  ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  ::_exit(128 + signal);
}

void run_hooks() {
  for (std::size_t i = kHooksMax; i-- > 0;) {
    const CrashHook hook = g_hooks[i].hook.exchange(nullptr);
    if (hook) hook(g_hooks[i].argument.load());
  }
}

void on_fault(int signal, siginfo_t* info, void*) {
  pid_t nobody = 0;
  const pid_t self = ::gettid();
  if (g_failed_thread.compare_exchange_strong(nobody, self)) {
    g_signal = signal;
    say("io-pkt: fault; drivers are stopped\n");
    struct sigaction action{};
    action.sa_handler = on_alarm;
    ::sigaction(SIGALRM, &action, nullptr);
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGALRM);
    ::pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    ::alarm(kCrashHookSeconds);
    run_hooks();
    ::alarm(0);
  } else if (nobody != self) {
    // Another thread is at it; it ends the process.
    for (;;) ::pause();
  }
  restore_default(signal);
  // A fault comes again when the instruction does; what was sent has to be sent again.
  if (info->si_code <= 0) ::raise(signal);
}

/// An alternate stack that goes with its thread.
class CrashStack {
 public:
  CrashStack() {
    memory_ =
        ::mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
    if (memory_ == MAP_FAILED) return;
    stack_t stack{.ss_sp = memory_, .ss_flags = 0, .ss_size = kStackBytes};
    ::sigaltstack(&stack, nullptr);
  }
  ~CrashStack() {
    if (memory_ == MAP_FAILED) return;
    stack_t none{.ss_sp = nullptr, .ss_flags = SS_DISABLE, .ss_size = 0};
    ::sigaltstack(&none, nullptr);
    ::munmap(memory_, kStackBytes);
  }

 private:
  void* memory_;
};

}  // namespace

bool add_crash_hook(CrashHook hook, void* argument) {
  const std::lock_guard guard{g_hooks_lock};
  // Behind the last one in use, so that the order of the slots is the order of the additions.
  std::size_t at = kHooksMax;
  while (at > 0 && !g_hooks[at - 1].hook.load()) --at;
  if (at == kHooksMax) {
    for (at = 0; at < kHooksMax && g_hooks[at].hook.load(); ++at) {
    }
    if (at == kHooksMax) return false;
  }
  g_hooks[at].argument = argument;
  g_hooks[at].hook = hook;
  return true;
}

void remove_crash_hook(CrashHook hook, void* argument) {
  const std::lock_guard guard{g_hooks_lock};
  for (Slot& slot : g_hooks)
    if (slot.hook.load() == hook && slot.argument.load() == argument) slot.hook = nullptr;
}

void install_crash_handler() {
  give_crash_stack();
  struct sigaction action{};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  for (const int signal : kSignals) ::sigaction(signal, &action, nullptr);
}

bool is_crashing() {
  const pid_t failed = g_failed_thread.load(std::memory_order_relaxed);
  return failed != 0 && failed == ::gettid();
}

void give_crash_stack() {
  thread_local const CrashStack stack;
  static_cast<void>(stack);
}

}  // namespace iopkt::daemon
