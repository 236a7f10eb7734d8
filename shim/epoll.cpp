// epoll registrations. The kernel does the polling; what is kept here is only what connect-after-refusal
// needs: it puts a new file at the descriptor, and the kernel forgets registrations with the file.
#include "shim/epoll.hpp"

#include <errno.h>

#include <atomic>

#include "ipc/receive_ring.hpp"
#include "shim/process.hpp"
#include "shim/real.hpp"
#include "shim/stream.hpp"

namespace iopkt::shim {

namespace {

struct Registration {
  int fd;  ///< 0: free, else fd + 1
  int epoll;
  epoll_event event;
};
/// Sockets that are not connected yet and are watched: more than this at once are not put back (a documented
/// limit).
constexpr int kRegistrations = 1024;
constinit Registration g_registrations[kRegistrations]{};
constinit std::atomic<int> g_count{0};
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
  if (s.datagram) return;
  const bool may_be_replaced = (s.status() & (ipc::Status::connected | ipc::Status::listening)) == 0;
  if (!may_be_replaced && g_count.load(std::memory_order_relaxed) == 0) return;
  const Lock lock;
  Registration* r = find(fd, epoll);
  if (operation == EPOLL_CTL_DEL || !may_be_replaced) {
    if (r != nullptr) remove(*r);
    return;
  }
  if (event == nullptr) return;
  if (r == nullptr && (r = find_free()) != nullptr) g_count.fetch_add(1, std::memory_order_relaxed);
  if (r != nullptr) *r = {.fd = fd + 1, .epoll = epoll, .event = *event};
}

void restore_epoll(int fd) {
  if (g_count.load(std::memory_order_relaxed) == 0) return;
  const KeepErrno keep;
  const Lock lock;
  for (Registration& r : g_registrations)
    if (r.fd == fd + 1) real().epoll_ctl(r.epoll, EPOLL_CTL_ADD, fd, &r.event);
}

void forget_epoll(int fd) {
  if (g_count.load(std::memory_order_relaxed) == 0) return;
  const Lock lock;
  for (Registration& r : g_registrations)
    if (r.fd == fd + 1) remove(r);
}

}  // namespace iopkt::shim
