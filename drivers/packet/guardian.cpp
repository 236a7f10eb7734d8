// The guardian process. The stack has threads when it is started, so the child makes system calls only
// (signal-safety(7)).
#include "guardian.hpp"

#include <linux/close_range.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace devnp_packet {
namespace {

/// Descriptors of the child, the only ones that it keeps.
constexpr int kWire = 0, kControl = 1;

void restore(int index, int mtu, bool was_down, bool mtu_changed) {
  ifreq r{};
  r.ifr_ifindex = index;
  if (::ioctl(kControl, SIOCGIFNAME, &r) != 0) return; /* the interface is gone */
  if (mtu_changed) {
    r.ifr_mtu = mtu;
    (void)::ioctl(kControl, SIOCSIFMTU, &r);
  }
  if (was_down && ::ioctl(kControl, SIOCGIFFLAGS, &r) == 0) {
    r.ifr_flags = static_cast<short>(r.ifr_flags & ~IFF_UP);
    (void)::ioctl(kControl, SIOCSIFFLAGS, &r);
  }
}

/// All signals are blocked here: nothing but SIGKILL ends it before its work is done.
[[noreturn]] void watch(int wire, int control, int index, int mtu) {
  if (::dup2(wire, 64) < 0 || ::dup2(control, 65) < 0) ::_exit(1);
  (void)::dup2(64, kWire);
  (void)::dup2(65, kControl);
  (void)::close_range(2, ~0u, 0);
  (void)::setsid(); /* a signal to the stack's process group is not for us */
  (void)!::chdir("/");
  (void)::prctl(PR_SET_NAME, "io-pkt.guard");
  bool up = false, mtu_changed = false;
  for (;;) {
    char change = 0;
    const ssize_t n = ::read(kWire, &change, 1);
    if (n < 0 && errno == EINTR) continue;
    if (n != 1) break;
    up |= change == static_cast<char>(Guardian::Change::up);
    mtu_changed |= change == static_cast<char>(Guardian::Change::mtu);
  }
  restore(index, mtu, up, mtu_changed);
  ::_exit(0);
}

}  // namespace

int Guardian::spawn(const devnp::HostIf& interface) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return -errno; /* a pipe would raise SIGPIPE */
  devnp::UniqueFd theirs{ends[0]}, ours{ends[1]};
  sigset_t all, before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  const pid_t pid = ::_Fork();
  const int error = errno;
  if (pid == 0) watch(theirs.get(), interface.control(), index_, mtu_);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  if (pid < 0) return -error;
  pid_ = pid;
  wire_ = std::move(ours);
  return 0;
}

int Guardian::before(Change change, const devnp::HostIf& interface) {
  if (pid_ < 0) {
    if (const int rc = spawn(interface); rc != 0) return rc;
  }
  const char byte = static_cast<char>(change);
  return ::send(wire_.get(), &byte, 1, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

void Guardian::close() {
  if (pid_ < 0) return;
  wire_.reset();
  while (::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

}  // namespace devnp_packet
