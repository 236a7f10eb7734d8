// epoll, with numbers that cannot be mistaken for those of a descriptor that was closed meanwhile.
#include "poller.hpp"

#include <cerrno>
#include <ctime>

#include "base/assert.hpp"

namespace iopkt::daemon {
namespace {

constexpr std::int64_t kWaitMaxMs = 3'600'000;  // an hour: the caller looks at its deadline again

}  // namespace

bool Poller::open() {
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  return static_cast<bool>(epoll_);
}

Poller::Watch* Poller::find(WatchId id) {
  const auto index = static_cast<std::uint32_t>(id);
  if (index >= watches_.size()) return nullptr;
  Watch& watch = watches_[index];
  return watch.handler != nullptr && watch.generation == static_cast<std::uint32_t>(id >> 32) ? &watch : nullptr;
}

WatchId Poller::add(int fd, std::uint32_t events, PollHandler& handler) {
  std::uint32_t index = 0;
  if (free_.empty()) {
    index = static_cast<std::uint32_t>(watches_.size());
    watches_.emplace_back();
  } else {
    index = free_.back();
    free_.pop_back();
  }
  Watch& watch = watches_[index];
  const WatchId id = static_cast<std::uint64_t>(watch.generation) << 32 | index;
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    free_.push_back(index);
    return 0;
  }
  watch.fd = fd;
  watch.handler = &handler;
  ++used_;
  return id;
}

void Poller::change(WatchId id, std::uint32_t events) {
  Watch* watch = find(id);
  IOPKT_ASSERT(watch != nullptr);
  epoll_event event{};
  event.events = events;
  event.data.u64 = id;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, watch->fd, &event);
}

void Poller::remove(WatchId id) {
  Watch* watch = id == 0 ? nullptr : find(id);
  if (watch == nullptr) return;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, watch->fd, nullptr);
  watch->handler = nullptr;
  watch->fd = -1;
  if (++watch->generation == 0) watch->generation = 1;
  free_.push_back(static_cast<std::uint32_t>(id));
  --used_;
}

int Poller::wait_kernel(Duration timeout) {
  const int room = static_cast<int>(events_.size());
  if (timeout <= Duration::zero()) return ::epoll_wait(epoll_.get(), events_.data(), room, 0);
  if (timeout == Duration::max()) return ::epoll_wait(epoll_.get(), events_.data(), room, -1);
  if (timeout > std::chrono::milliseconds{kWaitMaxMs}) timeout = std::chrono::milliseconds{kWaitMaxMs};
  if (nanoseconds_) {
    const timespec limit{.tv_sec = static_cast<time_t>(timeout.count() / 1'000'000'000),
                         .tv_nsec = static_cast<long>(timeout.count() % 1'000'000'000)};
    const int n = ::epoll_pwait2(epoll_.get(), events_.data(), room, &limit, nullptr);
    if (n >= 0 || errno != ENOSYS) return n;
    nanoseconds_ = false;
  }
  // Rounded up: a deadline is never early, so that a wait of less than a millisecond does not become a spin.
  return ::epoll_wait(epoll_.get(), events_.data(), room, static_cast<int>((timeout.count() + 999'999) / 1'000'000));
}

int Poller::fetch(Duration timeout) {
  const int n = wait_kernel(timeout);
  fetched_ = n < 0 ? 0 : n;
  return fetched_;
}

void Poller::dispatch() {
  for (int i = 0; i < fetched_; ++i) {
    const epoll_event event = events_[static_cast<std::size_t>(i)];
    if (Watch* watch = find(event.data.u64)) watch->handler->ready(event.events);
  }
  fetched_ = 0;
}

}  // namespace iopkt::daemon
