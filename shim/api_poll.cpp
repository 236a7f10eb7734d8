// poll(2) and epoll_wait(2) where a descriptor cannot show what a datagram socket knows: an AF_UNIX end has no POLLERR that goes away again, so an
// error comes as a token, and here it gets its own name. udp(7): POLLERR while an error is pending or the error queue is not empty.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include <algorithm>

#include "shim/data.hpp"
#include "shim/epoll.hpp"
#include "shim/process.hpp"
#include "shim/real.hpp"
#include "shim/table.hpp"
#include "shim/wait.hpp"

using namespace iopkt::shim;
namespace ipc = iopkt::ipc;

namespace {

constexpr nfds_t kListMax = 128;  ///< of a longer list the kernel's own answer is given
constexpr short kReadable = POLLIN | POLLRDNORM;
/// A program that does not ask for data which is there, and waits for errors: how often it looks.
constexpr std::int64_t kSliceNs = 10'000'000;

Entry datagram_at(const pollfd& p) {
  if (p.fd < 0) return {};
  const Entry entry = entry_of(p.fd);
  return entry.ours() && entry.datagram() ? entry : Entry{};
}

/// One pass over a program's list.
struct List {
  pollfd* of_program;
  nfds_t count;
  pollfd asked[kListMax];
  bool pending = false, slices = false;

  /// What to ask the kernel for.
  void prepare() {
    pending = slices = false;
    for (nfds_t i = 0; i < count; ++i) {
      asked[i] = of_program[i];
      const Entry entry = datagram_at(asked[i]);
      if (!entry.ours()) continue;
      const Socket s = socket_of(entry);
      pending = pending || has_error(s);
      if (!asks_for_errors(s) || (asked[i].events & kReadable) != 0) continue;
      if (has_datagram(asked[i].fd, s)) slices = true;
      else asked[i].events = static_cast<short>(asked[i].events | POLLIN);
    }
  }
  /// What the program is told: how many of its descriptors show something.
  int finish() {
    int shown = 0;
    for (nfds_t i = 0; i < count; ++i) {
      of_program[i].revents = asked[i].revents;
      if (const Entry entry = datagram_at(asked[i]); entry.ours()) correct(of_program[i], socket_of(entry));
      shown += of_program[i].revents != 0 ? 1 : 0;
    }
    return shown;
  }
  static void correct(pollfd& p, const Socket& s) {
    const bool error = has_error(s);
    if (!error && !asks_for_errors(s)) return;
    if ((p.revents & kReadable) != 0 && (s.status() & ipc::Status::shut_rd) == 0 && !has_datagram(p.fd, s)) {
      p.revents = static_cast<short>(p.revents & ~kReadable);
      // A token of an error that has gone: nobody else takes it.
      if (!error) take_error_record(p.fd, s);
    }
    p.revents = static_cast<short>(p.revents & (p.events | POLLERR | POLLHUP | POLLNVAL));
    if (error) p.revents = static_cast<short>(p.revents | POLLERR);
  }
};

bool concerns(const pollfd* list, nfds_t count) {
  if (list == nullptr || count > kListMax) return false;
  for (nfds_t i = 0; i < count; ++i)
    if (datagram_at(list[i]).ours()) return true;
  return false;
}

timespec to_timespec(std::int64_t ns) {
  return {.tv_sec = static_cast<time_t>(ns / 1'000'000'000), .tv_nsec = static_cast<long>(ns % 1'000'000'000)};
}

/// `limit_ns` < 0: none.
int poll_list(pollfd* list, nfds_t count, std::int64_t limit_ns, const sigset_t* mask) {
  List work{.of_program = list, .count = count, .asked = {}};
  const std::uint64_t start = now_ns();
  for (;;) {
    work.prepare();
    std::int64_t left = limit_ns < 0 ? -1 : std::max<std::int64_t>(0, limit_ns - static_cast<std::int64_t>(now_ns() - start));
    const bool last = left == 0;
    if (work.pending) left = 0;
    else if (work.slices) left = left < 0 ? kSliceNs : std::min(left, kSliceNs);
    const timespec limit = to_timespec(std::max<std::int64_t>(left, 0));
    if (const int result = real().ppoll(work.asked, count, left < 0 ? nullptr : &limit, mask); result < 0) return result;
    if (const int shown = work.finish(); shown > 0 || last) return shown;
  }
}

}  // namespace

IOPKT_EXPORT int poll(pollfd* list, nfds_t count, int limit_ms) {
  if (!concerns(list, count)) return real().poll(list, count, limit_ms);
  return poll_list(list, count, limit_ms < 0 ? -1 : std::int64_t{limit_ms} * 1'000'000, nullptr);
}

IOPKT_EXPORT int ppoll(pollfd* list, nfds_t count, const timespec* limit, const sigset_t* mask) {
  if (!concerns(list, count) || (limit != nullptr && (limit->tv_sec < 0 || limit->tv_nsec < 0 || limit->tv_nsec >= 1'000'000'000)))
    return real().ppoll(list, count, limit, mask);
  const std::int64_t seconds = limit == nullptr ? 0 : std::min<std::int64_t>(limit->tv_sec, 1'000'000'000);
  return poll_list(list, count, limit == nullptr ? -1 : seconds * 1'000'000'000 + limit->tv_nsec, mask);
}

IOPKT_EXPORT int epoll_wait(int epoll, epoll_event* events, int most, int limit_ms) {
  const int count = real().epoll_wait(epoll, events, most, limit_ms);
  if (count > 0) show_errors(epoll, events, count);
  return count;
}

IOPKT_EXPORT int epoll_pwait(int epoll, epoll_event* events, int most, int limit_ms, const sigset_t* mask) {
  const int count = real().epoll_pwait(epoll, events, most, limit_ms, mask);
  if (count > 0) show_errors(epoll, events, count);
  return count;
}

IOPKT_EXPORT int epoll_pwait2(int epoll, epoll_event* events, int most, const timespec* limit, const sigset_t* mask) {
  if (real().epoll_pwait2 == nullptr) return errno = ENOSYS, -1;
  const int count = real().epoll_pwait2(epoll, events, most, limit, mask);
  if (count > 0) show_errors(epoll, events, count);
  return count;
}

// What _FORTIFY_SOURCE makes of them.
IOPKT_EXPORT int __poll_chk(pollfd* list, nfds_t count, int limit_ms, size_t) { return poll(list, count, limit_ms); }
IOPKT_EXPORT int __ppoll_chk(pollfd* list, nfds_t count, const timespec* limit, const sigset_t* mask, size_t) {
  return ppoll(list, count, limit, mask);
}
