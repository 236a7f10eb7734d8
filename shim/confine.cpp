// What calls of a confined process do in place of those that its filter may not let through.
#include "shim/confine.hpp"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <algorithm>

#include "ipc/send_ring.hpp"
#include "ipc/sys.hpp"
#include "shim/native.hpp"
#include "shim/real.hpp"

namespace iopkt::shim {

constinit std::atomic<bool> g_confined{false};

namespace {

// SO_RCVTIMEO_NEW, SO_SNDTIMEO_NEW: the same values here, where time has 64 bits.
constexpr int kReceiveLimitNew = 66, kSendLimitNew = 67;

/// The last moment at which everything is allowed.
void be_ready_for_a_filter() {
  if (confined() || in_vfork_child()) return;
  connect_before_losing_rights();
  speak_plainly();
  ipc::know_thread_id();
  g_confined.store(true, std::memory_order_relaxed);
}

bool remembered_nonblocking(const Socket& s) {
  return (client_word(s, ClientWord::hints).load(std::memory_order_relaxed) & Hint::nonblocking) != 0;
}

}  // namespace

ipc::ProgramEnd end_for(int fd, const Socket& s, int flags) {
  if ((flags & kPlainCall) == 0) return s.end(fd);
  return s.end(fd, remembered_nonblocking(s) ? ipc::Calls::plain_nonblocking : ipc::Calls::plain);
}

bool is_nonblocking(int fd, const Socket& s, int flags) {
  if ((flags & kPlainCall) == 0) {
    const int got = native::fcntl(fd, F_GETFL);
    if (got >= 0) return (got & O_NONBLOCK) != 0;
    if (!ipc::sys::refused(errno)) return true;
  }
  return remembered_nonblocking(s);
}

void remember_blocking(const Socket& s, bool nonblocking) {
  std::atomic<std::uint64_t>& hints = client_word(s, ClientWord::hints);
  if (nonblocking) {
    hints.fetch_or(Hint::nonblocking);
  } else {
    hints.fetch_and(~Hint::nonblocking);
  }
}

void remember_limit(const Socket& s, int option, const timeval& limit) {
  const bool receive = option == SO_RCVTIMEO || option == kReceiveLimitNew;
  if (!receive && option != SO_SNDTIMEO && option != kSendLimitNew) return;
  const std::uint64_t us =
      static_cast<std::uint64_t>(limit.tv_sec) * 1'000'000 + static_cast<std::uint64_t>(limit.tv_usec);
  client_word(s, receive ? ClientWord::receive_limit : ClientWord::send_limit).store(us);
}

int sleep_by_poll(int fd, const Socket& s, short events, short& revents) {
  const bool receive = (events & POLLIN) != 0;
  const std::uint64_t us =
      client_word(s, receive ? ClientWord::receive_limit : ClientWord::send_limit).load();
  const int ms = us == 0 ? -1 : static_cast<int>(std::min<std::uint64_t>((us + 999) / 1000, INT32_MAX));
  pollfd p{.fd = fd, .events = events, .revents = 0};
  const int n = real().poll(&p, 1, ms);
  revents = p.revents;
  return n > 0 ? 0 : n == 0 ? EAGAIN : errno;
}

int take_native_error(int fd, int flags) {
  int shown = 0;
  socklen_t length = sizeof shown;
  if ((flags & kPlainCall) == 0) native::getsockopt(fd, SOL_SOCKET, SO_ERROR, &shown, &length);
  return shown;
}

void raise_broken_pipe(int fd, const Socket& s, int flags) {
  if ((flags & kPlainCall) == 0) {
    syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), SIGPIPE);
    return;
  }
  if (s.datagram) return;
  // The descriptor's own sending side has ended, too (or is about to): writing nothing to it raises the
  // signal.
  const int keep = errno;
  for (int tries = 0; tries < 100 && native::write(fd, "", 0) == 0; ++tries) ipc::sys::nap(100'000);
  errno = keep;
}

}  // namespace iopkt::shim

using namespace iopkt::shim;

IOPKT_EXPORT int prctl(int option, ...) noexcept {
  va_list more;
  va_start(more, option);
  unsigned long arguments[4];
  for (unsigned long& argument : arguments) argument = va_arg(more, unsigned long);
  va_end(more);
  if (option == PR_SET_SECCOMP || option == PR_SET_NO_NEW_PRIVS) be_ready_for_a_filter();
  return real().prctl(option, arguments[0], arguments[1], arguments[2], arguments[3]);
}
