// poll(2), select(2) and epoll_wait(2) where a descriptor cannot show what a socket knows.
// Datagram sockets: an AF_UNIX end has no POLLERR that goes away again, so an error comes as a token, and here it gets its own name. udp(7):
// POLLERR while an error is pending or the error queue is not empty.
// Stream sockets: a byte out of band that is all that came shows POLLIN on an AF_UNIX end, and tcp(7) shows POLLPRI alone.
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>
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

Entry stream_at(const pollfd& p) {
  if (p.fd < 0) return {};
  const Entry entry = entry_of(p.fd);
  return entry.ours() && !entry.datagram() ? entry : Entry{};
}

/// One pass over a program's list.
struct List {
  pollfd* of_program;
  nfds_t count;
  pollfd asked[kListMax];
  const sigset_t* mask;
  bool pending = false, slices = false, hidden = false, interrupted = false;

  /// What to ask the kernel for. `slept`: urgent data that is hidden now came meanwhile, and its signal ends the call.
  void prepare(bool slept) {
    pending = slices = hidden = interrupted = false;
    const bool urgent = urgent_count() != 0;
    for (nfds_t i = 0; i < count; ++i) {
      asked[i] = of_program[i];
      if (const Entry stream = urgent ? stream_at(asked[i]) : Entry{}; stream.ours()) prepare_stream(asked[i], socket_of(stream), slept);
      const Entry entry = datagram_at(asked[i]);
      if (!entry.ours()) continue;
      const Socket s = socket_of(entry);
      pending = pending || has_error(s);
      if (!asks_for_errors(s) || (asked[i].events & kReadable) != 0) continue;
      if (has_datagram(asked[i].fd, s)) slices = true;
      else asked[i].events = static_cast<short>(asked[i].events | POLLIN);
    }
  }
  void prepare_stream(const pollfd& p, const Socket& s, bool slept) {
    const auto shown = show_urgent(p.fd, s);
    if (!shown.urgent) return;
    if (shown.priority && (p.events & POLLPRI) != 0) pending = true;
    else if (!shown.readable) hide(p, s, shown.left, slept);
  }
  void hide(const pollfd& p, const Socket& s, bool left, bool slept) {
    // The signal's handler may have taken the byte, so that nothing is left.
    if ((!left || hide_urgent(p.fd, s)) && slept && raises_sigurg(p.fd, mask)) interrupted = true;
  }
  /// What the program is told: how many of its descriptors show something.
  int finish() {
    int shown = 0;
    const bool urgent = urgent_count() != 0;
    for (nfds_t i = 0; i < count; ++i) {
      of_program[i].revents = asked[i].revents;
      if (const Entry stream = urgent ? stream_at(asked[i]) : Entry{}; stream.ours()) correct_stream(of_program[i], socket_of(stream));
      if (const Entry entry = datagram_at(asked[i]); entry.ours()) correct(of_program[i], socket_of(entry));
      shown += of_program[i].revents != 0 ? 1 : 0;
    }
    return shown;
  }
  void correct_stream(pollfd& p, const Socket& s) {
    const auto shown = show_urgent(p.fd, s);
    if (!shown.urgent) return;
    const short before = p.revents;
    if (!shown.readable && (p.revents & (POLLHUP | POLLERR)) == 0) p.revents = static_cast<short>(p.revents & ~kReadable);
    p.revents = static_cast<short>(p.revents & ~POLLPRI);
    hidden = hidden || p.revents != before;
    const bool tells = shown.priority && (p.events & POLLPRI) != 0;
    if (((before & ~p.revents) & kReadable) != 0 && !tells) hide(p, s, shown.left, true);
    if (shown.priority) p.revents = static_cast<short>(p.revents | (p.events & POLLPRI));
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

bool concerns(pollfd* list, nfds_t count) {
  if (list == nullptr || count > kListMax) return false;
  const bool urgent = urgent_count() != 0;
  for (nfds_t i = 0; i < count; ++i) {
    if (datagram_at(list[i]).ours()) return true;
    const Entry stream = urgent ? stream_at(list[i]) : Entry{};
    if (stream.ours() && show_urgent(list[i].fd, socket_of(stream)).urgent) return true;
  }
  return false;
}

timespec to_timespec(std::int64_t ns) {
  return {.tv_sec = static_cast<time_t>(ns / 1'000'000'000), .tv_nsec = static_cast<long>(ns % 1'000'000'000)};
}

int nap(const sigset_t* mask) {
  const timespec millisecond = to_timespec(1'000'000);
  return real().ppoll(nullptr, 0, &millisecond, mask);
}

/// `limit_ns` < 0: none; since `start`. `slept`: the native call has, before.
int poll_list(pollfd* list, nfds_t count, std::int64_t limit_ns, std::uint64_t start, const sigset_t* mask, bool slept) {
  List work{.of_program = list, .count = count, .asked = {}, .mask = mask};
  for (unsigned hides = 0;; slept = false) {
    work.prepare(slept);
    std::int64_t left = limit_ns < 0 ? -1 : std::max<std::int64_t>(0, limit_ns - static_cast<std::int64_t>(now_ns() - start));
    const bool last = left == 0;
    if (work.pending || work.interrupted) left = 0;
    else if (work.slices) left = left < 0 ? kSliceNs : std::min(left, kSliceNs);
    const timespec limit = to_timespec(std::max<std::int64_t>(left, 0));
    if (const int result = real().ppoll(work.asked, count, left < 0 ? nullptr : &limit, mask); result < 0) return result;
    if (const int shown = work.finish(); shown > 0 || (last && !work.interrupted)) return shown;
    if (work.interrupted) return errno = EINTR, -1;
    // Another one is between the token and the ring, or the descriptor cannot be put right here.
    if (work.hidden && hides++ > 0 && nap(mask) < 0) return -1;
  }
}

/// `native()`: the call itself. The first urgent data of this process may have come while that slept.
template <class Native>
int poll_or_list(pollfd* list, nfds_t count, std::int64_t limit_ns, const sigset_t* mask, Native native) {
  const std::uint64_t start = limit_ns > 0 ? now_ns() : 0;
  const bool native_first = !concerns(list, count);
  if (native_first) {
    const int shown = native();
    if (shown <= 0 || urgent_count() == 0 || !concerns(list, count)) return shown;
  }
  return poll_list(list, count, limit_ns, start, mask, native_first);
}

// ---------------------------------------------------------------------------------------------- select

constexpr short kSelectsRead = POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR;
constexpr short kSelectsWrite = POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR;

/// select(2)'s sets as the program gave them: a call overwrites them.
struct Sets {
  int count;
  fd_set read, write, except;

  Sets(int end, const fd_set* r, const fd_set* w, const fd_set* e) : count(end) {
    copy(read, r);
    copy(write, w);
    copy(except, e);
  }
  std::size_t size() const { return (static_cast<std::size_t>(count) + NFDBITS - 1) / NFDBITS * sizeof(fd_mask); }
  void copy(fd_set& to, const fd_set* from) const {
    if (from != nullptr) memcpy(&to, from, size());
    else memset(&to, 0, size());
  }
  void give(const fd_set& from, fd_set* to) const {
    if (to != nullptr) memcpy(to, &from, size());
  }
  /// As a list for poll(2). False: it is too long.
  bool list(pollfd (&out)[kListMax], nfds_t& used) const {
    used = 0;
    for (int fd = 0; fd < count; ++fd) {
      const int events = (FD_ISSET(fd, &read) ? POLLIN : 0) | (FD_ISSET(fd, &write) ? POLLOUT : 0) | (FD_ISSET(fd, &except) ? POLLPRI : 0);
      if (events == 0) continue;
      if (used == kListMax) return false;
      out[used++] = {.fd = fd, .events = static_cast<short>(events), .revents = 0};
    }
    return true;
  }
  /// The answer to select() of a list that was polled.
  int answer(const Sets& asked, const pollfd* polled, nfds_t used) {
    memset(&read, 0, size()), memset(&write, 0, size()), memset(&except, 0, size());
    int bits = 0;
    for (const pollfd* p = polled; p < polled + used; ++p) {
      if ((p->revents & POLLNVAL) != 0) return errno = EBADF, -1;
      if ((p->revents & kSelectsRead) != 0 && FD_ISSET(p->fd, &asked.read)) FD_SET(p->fd, &read), ++bits;
      if ((p->revents & kSelectsWrite) != 0 && FD_ISSET(p->fd, &asked.write)) FD_SET(p->fd, &write), ++bits;
      if ((p->revents & POLLPRI) != 0 && FD_ISSET(p->fd, &asked.except)) FD_SET(p->fd, &except), ++bits;
    }
    return bits;
  }
};

/// `native(limit)`: the call itself. `limit_ns` < 0: none.
template <class Native>
int select_sets(int count, fd_set* read, fd_set* write, fd_set* except, std::int64_t limit_ns, const sigset_t* mask, Native native) {
  if (count <= 0 || count > FD_SETSIZE) return native();
  const Sets asked(count, read, write, except);
  const std::uint64_t start = limit_ns > 0 ? now_ns() : 0;
  const bool before = urgent_count() != 0;
  int shown = 0;
  if (!before && ((shown = native()) <= 0 || urgent_count() == 0)) return shown;
  pollfd list[kListMax] = {};
  nfds_t used = 0;
  const bool listed = asked.list(list, used);
  if (before && !(listed && concerns(list, used)) && (shown = native()) <= 0) return shown;
  if (!listed || (shown > 0 && !concerns(list, used))) return shown;
  Sets found = asked;
  int bits = 0;
  for (bool slept = !before;; slept = true) {
    shown = poll_list(list, used, limit_ns, start, mask, slept);
    if (shown < 0 || (bits = found.answer(asked, list, used)) < 0) return -1;
    if (bits != 0 || shown == 0) break;
    // An end, which is nothing to whoever asks only for room or for urgent data.
    if (nap(mask) < 0) return -1;
    if (limit_ns >= 0 && now_ns() - start >= static_cast<std::uint64_t>(limit_ns)) break;
  }
  asked.give(found.read, read);
  asked.give(found.write, write);
  asked.give(found.except, except);
  return bits;
}

// ---------------------------------------------------------------------------------------------- epoll

/// `native(limit)` waits for `limit_ns`, < 0: without end.
template <class Native>
int wait_for_events(int epoll, epoll_event* events, std::int64_t limit_ns, const sigset_t* mask, Native native) {
  std::uint64_t start = 0;
  std::int64_t left = limit_ns;
  for (unsigned empty = 0;; ++empty) {
    int count = native(left);
    if (count <= 0) return count;
    show_errors(epoll, events, count);
    if (urgent_count() == 0) [[likely]]
      return count;
    bool interrupted = false;
    count = show_urgent_events(epoll, events, count, mask, interrupted);
    if (count == 0 && interrupted) return errno = EINTR, -1;
    if (count != 0 || left == 0) return count;
    // Urgent data alone, of which this epoll is not to be told.
    if (empty > 1 && nap(mask) < 0) return -1;
    if (start == 0) start = now_ns();
    if (left > 0) left = std::max<std::int64_t>(0, limit_ns - static_cast<std::int64_t>(now_ns() - start));
  }
}

constexpr std::int64_t kMs = 1'000'000;
int to_ms(std::int64_t ns) { return ns < 0 ? -1 : static_cast<int>(std::min<std::int64_t>((ns + kMs - 1) / kMs, INT32_MAX)); }

}  // namespace

IOPKT_EXPORT int select(int count, fd_set* read, fd_set* write, fd_set* except, timeval* limit) {
  const bool good = limit == nullptr || (limit->tv_sec >= 0 && limit->tv_usec >= 0);
  if (!good) return real().select(count, read, write, except, limit);
  const std::int64_t seconds = limit == nullptr ? 0 : std::min<std::int64_t>(limit->tv_sec, 1'000'000'000);
  const std::int64_t ns = limit == nullptr ? -1 : seconds * 1'000'000'000 + limit->tv_usec * 1000;
  const std::uint64_t start = urgent_count() != 0 ? now_ns() : 0;
  const int bits = select_sets(count, read, write, except, ns, nullptr, [&] { return real().select(count, read, write, except, limit); });
  if (start != 0 && limit != nullptr) {  // as the kernel has it: what is left
    const std::int64_t left = std::max<std::int64_t>(0, ns - static_cast<std::int64_t>(now_ns() - start));
    *limit = {.tv_sec = static_cast<time_t>(left / 1'000'000'000), .tv_usec = static_cast<suseconds_t>(left % 1'000'000'000 / 1000)};
  }
  return bits;
}

IOPKT_EXPORT int pselect(int count, fd_set* read, fd_set* write, fd_set* except, const timespec* limit, const sigset_t* mask) {
  const auto native = [&] { return real().pselect(count, read, write, except, limit, mask); };
  if (limit != nullptr && (limit->tv_sec < 0 || limit->tv_nsec < 0 || limit->tv_nsec >= 1'000'000'000)) return native();
  const std::int64_t seconds = limit == nullptr ? 0 : std::min<std::int64_t>(limit->tv_sec, 1'000'000'000);
  return select_sets(count, read, write, except, limit == nullptr ? -1 : seconds * 1'000'000'000 + limit->tv_nsec, mask, native);
}

IOPKT_EXPORT int poll(pollfd* list, nfds_t count, int limit_ms) {
  return poll_or_list(list, count, limit_ms < 0 ? -1 : limit_ms * kMs, nullptr, [&] { return real().poll(list, count, limit_ms); });
}

IOPKT_EXPORT int ppoll(pollfd* list, nfds_t count, const timespec* limit, const sigset_t* mask) {
  if (limit != nullptr && (limit->tv_sec < 0 || limit->tv_nsec < 0 || limit->tv_nsec >= 1'000'000'000))
    return real().ppoll(list, count, limit, mask);
  const std::int64_t seconds = limit == nullptr ? 0 : std::min<std::int64_t>(limit->tv_sec, 1'000'000'000);
  return poll_or_list(list, count, limit == nullptr ? -1 : seconds * 1'000'000'000 + limit->tv_nsec, mask,
                      [&] { return real().ppoll(list, count, limit, mask); });
}

IOPKT_EXPORT int epoll_wait(int epoll, epoll_event* events, int most, int limit_ms) {
  return wait_for_events(epoll, events, limit_ms < 0 ? -1 : limit_ms * kMs, nullptr,
                         [&](std::int64_t left) { return real().epoll_wait(epoll, events, most, to_ms(left)); });
}

IOPKT_EXPORT int epoll_pwait(int epoll, epoll_event* events, int most, int limit_ms, const sigset_t* mask) {
  return wait_for_events(epoll, events, limit_ms < 0 ? -1 : limit_ms * kMs, mask,
                         [&](std::int64_t left) { return real().epoll_pwait(epoll, events, most, to_ms(left), mask); });
}

IOPKT_EXPORT int epoll_pwait2(int epoll, epoll_event* events, int most, const timespec* limit, const sigset_t* mask) {
  if (real().epoll_pwait2 == nullptr) return errno = ENOSYS, -1;
  constexpr long kLarge = 1'000'000'000;
  const bool plain = limit != nullptr && limit->tv_sec >= 0 && limit->tv_sec < kLarge && limit->tv_nsec >= 0 && limit->tv_nsec < kLarge;
  return wait_for_events(epoll, events, plain ? limit->tv_sec * 1'000'000'000 + limit->tv_nsec : -1, mask, [&](std::int64_t left) {
    const timespec rest = to_timespec(std::max<std::int64_t>(left, 0));
    return real().epoll_pwait2(epoll, events, most, plain ? &rest : limit, mask);
  });
}

// What _FORTIFY_SOURCE makes of them.
IOPKT_EXPORT int __poll_chk(pollfd* list, nfds_t count, int limit_ms, size_t) { return poll(list, count, limit_ms); }
IOPKT_EXPORT int __ppoll_chk(pollfd* list, nfds_t count, const timespec* limit, const sigset_t* mask, size_t) {
  return ppoll(list, count, limit, mask);
}
