// fork and vfork.
#include "shim/fork.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>

#include "ipc/send_ring.hpp"
#include "shim/confine.hpp"
#include "shim/process.hpp"
#include "shim/table.hpp"

namespace iopkt::shim {

namespace {

/// In a page that the kernel wipes in the child of a fork, but that a vfork child shares with its parent.
struct Identity {
  std::atomic<pid_t> pid;
};
constinit std::atomic<Identity*> g_identity{nullptr};
constinit std::uint64_t g_mask_before_fork = 0;

/// Every descriptor of the parent is now also the child's. Counted before the fork, so that no close() in the
/// parent can come between.
void count_holders_twice() {
  const int end = g_table_end.load(std::memory_order_acquire);
  for (int fd = 0; fd < end; ++fd) {
    const Entry entry = entry_of(fd);
    if (!entry.ours()) continue;
    const Socket s = socket_of(entry);
    client_word(s, ClientWord::shared).store(1, std::memory_order_relaxed);
    client_word(s, ClientWord::holders).fetch_add(1, std::memory_order_relaxed);
  }
}

void before_fork() {
  const std::uint64_t all = ~std::uint64_t{0};
  std::uint64_t saved = 0;
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &saved, sizeof saved);
  lock_for_fork();
  g_mask_before_fork = saved;
  count_holders_twice();
}

void after_fork_in_parent() {
  const std::uint64_t saved = g_mask_before_fork;
  unlock_after_fork_in_parent();
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &saved, nullptr, sizeof saved);
}

void after_fork_in_child() {
  const std::uint64_t saved = g_mask_before_fork;
  g_identity.load(std::memory_order_relaxed)->pid.store(getpid(), std::memory_order_relaxed);
  ipc::forget_thread_id(confined());
  restart_after_fork_in_child();
  syscall(SYS_rt_sigprocmask, SIG_SETMASK, &saved, nullptr, sizeof saved);
}

}  // namespace

void prepare_process() {
  Identity* identity = g_identity.load(std::memory_order_acquire);
  if (identity == nullptr) {
    void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return;  // the next call tries again
    if (madvise(page, 4096, MADV_WIPEONFORK) != 0)
      static_cast<void>(0);  // older kernel: only bare clones are not seen
    identity = static_cast<Identity*>(page);
    identity->pid.store(getpid(), std::memory_order_relaxed);
    Identity* none = nullptr;
    if (!g_identity.compare_exchange_strong(none, identity)) {
      munmap(page, 4096);
      return;
    }
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
    settings();
    return;
  }
  if (identity->pid.load(std::memory_order_relaxed) == 0) {
    // fork without handlers: _Fork(), or a bare clone().
    count_holders_twice();
    ipc::forget_thread_id(confined());
    restart_after_fork_in_child();
    identity->pid.store(getpid(), std::memory_order_relaxed);
  }
}

bool in_vfork_child() {
  const Identity* identity = g_identity.load(std::memory_order_acquire);
  if (identity == nullptr) return false;
  const pid_t known = identity->pid.load(std::memory_order_relaxed);
  return known != 0 && known != getpid();
}

}  // namespace iopkt::shim
