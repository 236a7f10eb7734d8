// epoll registrations. The kernel does the polling; what is kept here is only what connect-after-refusal
// needs: it puts a new file at the descriptor, and the kernel forgets registrations with the file; and whose
// events are those of sockets with an error queue.
#include "shim/epoll.hpp"

#include <errno.h>

#include <algorithm>
#include <atomic>
#include <span>

#include "ipc/receive_ring.hpp"
#include "shim/confine.hpp"
#include "shim/data.hpp"
#include "shim/native.hpp"
#include "shim/process.hpp"
#include "shim/real.hpp"
#include "shim/stream.hpp"

namespace iopkt::shim {

namespace {

struct Registration {
  int fd;  ///< 0: free, else fd + 1
  int epoll;
  epoll_event event;
  bool datagram;
};
/// Sockets that are not connected yet, or have an error queue, and are watched: more than this at once are not
/// put back, and show errors as data (a documented limit).
constexpr int kRegistrations = 1024;
constinit Registration g_registrations[kRegistrations]{};
constinit std::atomic<int> g_count{0};
/// Registrations of sockets with an error queue, by the epoll's number: a wait on one without any costs one load.
constexpr int kEpollGroups = 256;  // a power of two
constinit std::atomic<int> g_with_errors[kEpollGroups]{};
constinit std::atomic<bool> g_held{false};

/// Held for a pass over the table; signals are blocked meanwhile, so that a handler cannot wait for its own
/// thread.
class Lock {
 public:
  Lock() {
    while (g_held.exchange(true, std::memory_order_acquire)) {
    }
  }
  ~Lock() { g_held.store(false, std::memory_order_release); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  NoSignals no_signals_;
};

Registration* find(int fd, int epoll) {
  for (Registration& r : g_registrations)
    if (r.fd == fd + 1 && r.epoll == epoll) return &r;
  return nullptr;
}

Registration* find_free() {
  for (Registration& r : g_registrations)
    if (r.fd == 0) return &r;
  return nullptr;
}

std::atomic<int>& with_errors(int epoll) { return g_with_errors[static_cast<unsigned>(epoll) % kEpollGroups]; }

void remove(Registration& r) {
  r.fd = 0;
  if (r.datagram) with_errors(r.epoll).fetch_sub(1, std::memory_order_relaxed);
  g_count.fetch_sub(1, std::memory_order_relaxed);
}

/// An event that has the data of a socket with an error.
struct Suspect {
  epoll_event* event;
  int fd;
  int others = 0;        ///< registrations with the same data that are not the socket's
  bool present = false;  ///< the socket's own is among them
};
/// More in one batch show the error and keep the rest.
constexpr std::size_t kSuspects = 64;

/// A line of proc(5)'s fdinfo of an epoll.
struct Line {
  int fd;
  std::uint32_t events;
  std::uint64_t data;
};

/// "tfd: 8 events: 19 data: 8 pos:0 ...": decimal, hexadecimal, hexadecimal. False: another line.
bool read_line(const char* line, Line& out) {
  const auto is = [](const char* text, const char* word) {
    while (*word != 0 && *text == *word) ++text, ++word;
    return *word == 0;
  };
  if (!is(line, "tfd:")) return false;
  int fd = 0;
  for (line += 4; *line == ' '; ++line) {
  }
  for (; *line >= '0' && *line <= '9'; ++line) fd = fd * 10 + (*line - '0');
  const auto number = [&](const char* name, std::uint64_t& value) {
    while (*line != 0 && !is(line, name)) ++line;
    if (*line == 0) return false;
    while (*line != ' ' && *line != 0) ++line;
    while (*line == ' ') ++line;
    for (value = 0;; ++line) {
      if (*line >= '0' && *line <= '9') value = value << 4 | static_cast<std::uint64_t>(*line - '0');
      else if (*line >= 'a' && *line <= 'f') value = value << 4 | static_cast<std::uint64_t>(*line - 'a' + 10);
      else return true;
    }
  };
  std::uint64_t events = 0, data = 0;
  if (!number("events:", events) || !number("data:", data)) return false;
  out = {.fd = fd, .events = static_cast<std::uint32_t>(events), .data = data};
  return true;
}

void compare(const Line& line, std::span<Suspect> suspects) {
  for (Suspect& one : suspects) {
    if (one.event->data.u64 != line.data) continue;
    if (one.fd == line.fd && !one.present) one.present = true;
    else ++one.others;
  }
}

/// The kernel's own list says whose data it is: a program may give many descriptors the same, also of files that are not ours, and
/// in another process. False: it cannot be read, or has more lines than one error may cost.
template <class Visit>
bool for_each_registration(int epoll, Visit visit) {
  if (confined()) return false;
  char path[48] = "/proc/self/fdinfo/";
  char* at = path + sizeof "/proc/self/fdinfo/" - 1;
  char digits[12];
  int n = 0;
  for (unsigned rest = static_cast<unsigned>(epoll); n == 0 || rest != 0; rest /= 10) digits[n++] = static_cast<char>('0' + rest % 10);
  while (n > 0) *at++ = digits[--n];
  *at = 0;
  const int file = static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC));
  if (file < 0) return false;
  constexpr int kReadsMax = 64;
  char text[4096];
  std::size_t length = 0;
  bool whole = false;
  for (int reads = 0; reads < kReadsMax && !whole; ++reads) {
    const ssize_t got = native::read(file, text + length, sizeof text - 1 - length);
    if (got < 0) break;
    length += static_cast<std::size_t>(got);
    whole = got == 0;
    std::size_t done = 0;
    for (std::size_t i = 0; i < length; ++i) {
      if (text[i] != '\n') continue;
      text[i] = 0;
      if (Line line; read_line(text + done, line)) visit(line);
      done = i + 1;
    }
    if (done == 0 && length == sizeof text - 1) break;  // no such line is that long
    std::copy(text + done, text + length, text);
    length -= done;
  }
  native::close(file);
  return whole;
}

}  // namespace

void note_epoll(int epoll, int operation, int fd, Entry entry, const epoll_event* event) {
  const Socket s = socket_of(entry);
  if (operation != EPOLL_CTL_DEL && event != nullptr && (event->events & EPOLLET) != 0 &&
      !is_streaming(fd, s)) {
    ipc::ProgramEnd end = s.end(fd);
    ipc::ReceiveRingReader(*s.slot, s.arena, s.arena_size, end).set_edge();
  }
  const bool kept = s.datagram ? asks_for_errors(s) : (s.status() & (ipc::Status::connected | ipc::Status::listening)) == 0;
  if (!kept && g_count.load(std::memory_order_relaxed) == 0) return;
  const Lock lock;
  Registration* r = find(fd, epoll);
  if (r != nullptr && (operation == EPOLL_CTL_DEL || !kept || event == nullptr)) remove(*r);
  if (operation == EPOLL_CTL_DEL || !kept || event == nullptr) return;
  if (r == nullptr && (r = find_free()) != nullptr) {
    g_count.fetch_add(1, std::memory_order_relaxed);
    if (s.datagram) with_errors(epoll).fetch_add(1, std::memory_order_relaxed);
  }
  if (r != nullptr) *r = {.fd = fd + 1, .epoll = epoll, .event = *event, .datagram = s.datagram};
}

void show_errors(int epoll, epoll_event* events, int count) {
  if (with_errors(epoll).load(std::memory_order_relaxed) == 0) return;
  const KeepErrno keep;
  Suspect suspects[kSuspects];
  std::size_t used = 0;
  {
    const Lock lock;
    for (const Registration& r : g_registrations) {
      if (r.fd == 0 || !r.datagram || r.epoll != epoll) continue;
      const Entry entry = entry_of(r.fd - 1);
      if (!entry.ours() || !entry.datagram() || !has_error(socket_of(entry))) continue;
      for (epoll_event* e = events; e < events + count; ++e) {
        if (e->data.u64 != r.event.data.u64) continue;
        if (used < kSuspects) suspects[used++] = {.event = e, .fd = r.fd - 1};
        else e->events |= EPOLLERR;
      }
    }
  }
  if (used == 0) return;
  const std::span<Suspect> found{suspects, used};
  const bool certain = for_each_registration(epoll, [&](const Line& line) { compare(line, found); });
  for (const Suspect& one : found) {
    if (certain && !one.present) continue;  // of an epoll that had this number before
    one.event->events |= EPOLLERR;
    const Entry entry = entry_of(one.fd);
    const bool alone = certain && one.others == 0 && entry.ours() && entry.datagram();
    // What may be another's is not taken away: it would be asked for without end, or never come again.
    if (alone && !has_datagram(one.fd, socket_of(entry))) one.event->events &= ~static_cast<std::uint32_t>(EPOLLIN | EPOLLRDNORM);
  }
}

namespace {

/// urgent_count() when show_urgent_events() last looked at an epoll of this number: epoll << 32 | count.
constinit std::atomic<std::uint64_t> g_urgent_seen[kEpollGroups]{};

/// A registered socket with urgent data.
struct Urgent {
  int fd;
  std::uint32_t wanted;
  std::uint64_t data;
  bool shared = false;  ///< others have the same data
};
constexpr std::size_t kUrgent = 64;  ///< more in one epoll show what their descriptors show

/// True: it said that there is something to read.
bool correct(epoll_event& event, const Urgent& one, const ipc::ReceiveRingReader::Shown& shown) {
  constexpr std::uint32_t kData = EPOLLIN | EPOLLRDNORM;
  const bool wrong = !shown.readable && (event.events & (EPOLLHUP | EPOLLERR)) == 0 && (event.events & kData) != 0;
  if (wrong) event.events &= ~kData;
  event.events &= ~static_cast<std::uint32_t>(EPOLLPRI);
  if (shown.priority) event.events |= one.wanted & EPOLLPRI;
  return wrong;
}

}  // namespace

int show_urgent_events(int epoll, epoll_event* events, int count, const sigset_t* mask, bool& interrupted) {
  const KeepErrno keep;
  const std::uint64_t now = static_cast<std::uint64_t>(static_cast<std::uint32_t>(epoll)) << 32 | urgent_count();
  std::atomic<std::uint64_t>& seen = g_urgent_seen[static_cast<unsigned>(epoll) % kEpollGroups];
  // What does not ask for EPOLLPRI shows nothing wrong once it was looked at.
  const bool priority = std::any_of(events, events + count, [](const epoll_event& e) { return (e.events & EPOLLPRI) != 0; });
  if (!priority && seen.load(std::memory_order_relaxed) == now) return count;
  Urgent found[kUrgent];
  std::size_t used = 0;
  const bool certain = for_each_registration(epoll, [&](const Line& line) {
    const Entry entry = entry_of(line.fd);
    if (used == kUrgent || !entry.ours() || entry.datagram()) return;
    const auto shown = show_urgent(line.fd, socket_of(entry));
    // One that a signal's handler has taken leaves its event behind.
    const auto is_event = [&](const epoll_event& e) { return e.data.u64 == line.data; };
    if (!shown.urgent || (!shown.left && !shown.priority && std::none_of(events, events + count, is_event))) return;
    // Once shown, one with EPOLLONESHOT tells no more what it waits for, and an event that is kept back would not come again.
    if ((line.events & EPOLLONESHOT) == 0) found[used++] = {.fd = line.fd, .wanted = line.events, .data = line.data};
  });
  if (!certain) {
    seen.store(now, std::memory_order_relaxed);  // too many, or it cannot be read: so it will be the next time
    return count;
  }
  if (used != 0) for_each_registration(epoll, [&](const Line& line) {
    for (Urgent& one : std::span{found, used}) one.shared = one.shared || (one.data == line.data && one.fd != line.fd);
  });
  bool settled = true;
  for (const Urgent& one : std::span{found, used}) {
    const Entry entry = entry_of(one.fd);
    if (!entry.ours() || entry.datagram()) continue;
    const Socket s = socket_of(entry);
    const auto shown = show_urgent(one.fd, s);
    const bool shows_priority = shown.priority && (one.wanted & EPOLLPRI) != 0;
    bool wrong = false;
    for (epoll_event* e = events; !one.shared && e < events + count; ++e)
      if (e->data.u64 == one.data) wrong = correct(*e, one, shown) || wrong;
    if (shows_priority) continue;
    const bool hidden = (wrong || (!shown.readable && shown.left)) && hide_urgent(one.fd, s);
    interrupted = interrupted || (wrong && hidden && raises_sigurg(one.fd, mask));
    settled = settled && !wrong;  // by the next look
  }
  if (settled) seen.store(now, std::memory_order_relaxed);
  return static_cast<int>(std::remove_if(events, events + count, [](const epoll_event& e) { return e.events == 0; }) - events);
}

void restore_epoll(int fd) {
  if (g_count.load(std::memory_order_relaxed) == 0) return;
  const KeepErrno keep;
  const Lock lock;
  for (Registration& r : g_registrations)
    if (r.fd == fd + 1 && !r.datagram) real().epoll_ctl(r.epoll, EPOLL_CTL_ADD, fd, &r.event);
}

void forget_epoll(int fd) {
  if (g_count.load(std::memory_order_relaxed) == 0) return;
  const Lock lock;
  for (Registration& r : g_registrations)
    if (r.fd == fd + 1) remove(r);
}

}  // namespace iopkt::shim
