// epoll registrations. The kernel does the polling; what is kept here is only what connect-after-refusal
// needs: it puts a new file at the descriptor, and the kernel forgets registrations with the file; and whose
// events are those of sockets with an error queue.
#include "shim/epoll.hpp"

#include <errno.h>

#include <atomic>

#include "ipc/receive_ring.hpp"
#include "shim/data.hpp"
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
constinit std::atomic<int> g_count{0}, g_datagrams{0};
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

void remove(Registration& r) {
  r.fd = 0;
  if (r.datagram) g_datagrams.fetch_sub(1, std::memory_order_relaxed);
  g_count.fetch_sub(1, std::memory_order_relaxed);
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
    if (s.datagram) g_datagrams.fetch_add(1, std::memory_order_relaxed);
  }
  if (r != nullptr) *r = {.fd = fd + 1, .epoll = epoll, .event = *event, .datagram = s.datagram};
}

void show_errors(int epoll, epoll_event* events, int count) {
  if (g_datagrams.load(std::memory_order_relaxed) == 0) return;
  const KeepErrno keep;
  for (epoll_event* e = events; e < events + count; ++e) {
    int fd = -1;
    {
      const Lock lock;
      for (const Registration& r : g_registrations)
        if (r.fd != 0 && r.datagram && r.epoll == epoll && r.event.data.u64 == e->data.u64) fd = r.fd - 1;
    }
    const Entry entry = fd < 0 ? Entry{} : entry_of(fd);
    if (!entry.ours() || !entry.datagram()) continue;
    const Socket s = socket_of(entry);
    if (!has_error(s)) continue;
    e->events |= EPOLLERR;
    if (!has_datagram(fd, s)) e->events &= ~static_cast<std::uint32_t>(EPOLLIN | EPOLLRDNORM);
  }
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
