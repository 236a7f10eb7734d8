// libslirp behind one epoll descriptor. Its protocol with the program around it: libslirp.h
// (slirp_pollfds_fill and slirp_pollfds_poll alternate; timers and sockets are reported through callbacks).
#include "engine.hpp"

#include <arpa/inet.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <mutex>

namespace devnp_slirp {
namespace {

constexpr int kEventsPerRound = 64;

std::mutex global_lock;

std::int64_t clock_ns() {
  timespec t{};
  ::clock_gettime(CLOCK_MONOTONIC, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

std::uint32_t to_epoll(int slirp_events) {
  std::uint32_t e = 0;
  if ((slirp_events & SLIRP_POLL_IN) != 0) e |= EPOLLIN;
  if ((slirp_events & SLIRP_POLL_OUT) != 0) e |= EPOLLOUT;
  if ((slirp_events & SLIRP_POLL_PRI) != 0) e |= EPOLLPRI;
  return e;
}

int to_slirp(std::uint32_t epoll_events) {
  int e = 0;
  if ((epoll_events & EPOLLIN) != 0) e |= SLIRP_POLL_IN;
  if ((epoll_events & EPOLLOUT) != 0) e |= SLIRP_POLL_OUT;
  if ((epoll_events & EPOLLPRI) != 0) e |= SLIRP_POLL_PRI;
  if ((epoll_events & EPOLLERR) != 0) e |= SLIRP_POLL_ERR;
  if ((epoll_events & EPOLLHUP) != 0) e |= SLIRP_POLL_HUP;
  return e;
}

in_addr net_order(std::uint32_t address) { return {htonl(address)}; }

}  // namespace

Engine::Lock::Lock() { global_lock.lock(); }
Engine::Lock::~Lock() { global_lock.unlock(); }

// ---- what slirp calls
// -------------------------------------------------------------------------------------------

const SlirpCb* Engine::callbacks() {
  static const SlirpCb table = {
      .send_packet = [](const void* frame, std::size_t len,
                        void* self) { return static_cast<Engine*>(self)->deliver(frame, len); },
      .guest_error = [](const char* text, void* self) { static_cast<Engine*>(self)->log_.debug("%s", text); },
      .clock_get_ns = [](void*) { return clock_ns(); },
      .timer_new = nullptr,
      .timer_free =
          [](void* timer, void* self) {
            auto& timers = static_cast<Engine*>(self)->timers_;
            std::erase_if(timers, [timer](const auto& t) { return t.get() == timer; });
          },
      .timer_mod = [](void* timer, std::int64_t due_ms,
                      void*) { static_cast<Timer*>(timer)->due_ms = due_ms; },
      // A number may come back as another socket: what the epoll set knew of it is void at both ends of its
      // life.
      .register_poll_fd = [](int fd, void* self) { static_cast<Engine*>(self)->forget(fd); },
      .unregister_poll_fd = [](int fd, void* self) { static_cast<Engine*>(self)->forget(fd); },
      .notify = [](void*) {},
      .init_completed = [](Slirp*, void*) {},
      .timer_new_opaque = [](SlirpTimerId id, void* opaque, void* self) -> void* {
        auto* engine = static_cast<Engine*>(self);
        engine->timers_.push_back(std::make_unique<Timer>(Timer{engine, id, opaque}));
        return engine->timers_.back().get();
      },
  };
  return &table;
}

ssize_t Engine::deliver(const void* frame, std::size_t len) {
  if (len > devnp::kFrameMax || !queue_.push(frame, static_cast<std::uint32_t>(len))) dropped_.add();
  return static_cast<ssize_t>(len); /* lost frames are TCP's matter, as on any wire */
}

int Engine::add_poll(int fd, int events) {
  const auto at = static_cast<std::size_t>(fd);
  if (at >= watches_.size()) watches_.resize(at + 64);
  const int index = static_cast<int>(polled_.size());
  watches_[at].index = index;
  watches_[at].wanted = to_epoll(events);
  polled_.push_back(fd);
  return index;
}

void Engine::forget(int fd) {
  if (fd < 0 || static_cast<std::size_t>(fd) >= watches_.size()) return;
  Watch& w = watches_[static_cast<std::size_t>(fd)];
  if (w.in_set) (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
  w = {};
}

// ---- start and end
// ----------------------------------------------------------------------------------------------

int Engine::start(const Config& config, const devnp::Log& log) {
  log_ = log;
  epoll_.reset(::epoll_create1(EPOLL_CLOEXEC));
  timer_.reset(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  ready_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!epoll_ || !timer_ || !ready_) return -errno;
  for (const int fd : {timer_.get(), ready_.get()}) {
    epoll_event e{EPOLLIN, {.fd = fd}};
    if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0) return -errno;
  }
  if (!queue_.reserve(config.queue_bytes)) return -ENOMEM;

  const Settings& s = config.settings;
  SlirpConfig c{};
  c.version = 4;
  c.restricted = config.restricted ? 1 : 0;
  c.in_enabled = true;
  c.vnetwork = net_order(s.network);
  c.vnetmask = net_order(s.mask);
  c.vhost = net_order(s.host);
  c.vdhcp_start = net_order(s.guest);
  c.vnameserver = net_order(s.dns);
  c.if_mtu = c.if_mru = config.mtu;
  c.disable_host_loopback = !config.loopback;
  c.disable_dhcp = !config.dhcp;
  slirp_ = ::slirp_new(&c, callbacks(), this);
  if (slirp_ == nullptr) {
    log_.error("libslirp %s does not start with these settings", ::slirp_version_string());
    return -EINVAL;
  }
  if (const int rc = forward_ports(config); rc != 0) return rc;
  settle();
  return 0;
}

int Engine::forward_ports(const Config& config) {
  for (std::size_t i = 0; i < config.settings.forward_count; ++i) {
    const Forward& f = config.settings.forward[i];
    errno = 0;
    if (::slirp_add_hostfwd(slirp_, f.udp ? 1 : 0, net_order(f.host_address), f.host_port,
                            net_order(f.guest_address), f.guest_port) == 0) {
      continue;
    }
    const int error = errno != 0 ? errno : EADDRINUSE;
    log_.error("hostfwd=: %s port %u of the host: %s", f.udp ? "udp" : "tcp", f.host_port,
               std::strerror(error));
    return -error;
  }
  return 0;
}

Engine::~Engine() {
  if (slirp_ != nullptr) ::slirp_cleanup(slirp_);
}

// ---- rounds
// -----------------------------------------------------------------------------------------------------

std::uint32_t Engine::run_timers(std::uint32_t timeout_ms) {
  const std::int64_t now = clock_ns() / 1'000'000;
  for (std::size_t i = 0; i < timers_.size(); ++i) {
    Timer& t = *timers_[i];
    if (t.due_ms < 0) continue;
    if (t.due_ms <= now) {
      t.due_ms = -1;
      ::slirp_handle_timer(slirp_, t.id, t.opaque); /* may set it again */
    }
    if (i < timers_.size() && timers_[i]->due_ms >= 0) {
      timeout_ms = std::min(timeout_ms,
                            static_cast<std::uint32_t>(std::max<std::int64_t>(timers_[i]->due_ms - now, 1)));
    }
  }
  return timeout_ms;
}

void Engine::arm(std::uint32_t timeout_ms) {
  const bool never = timeout_ms == UINT32_MAX;
  const std::int64_t now_ms = clock_ns() / 1'000'000;
  const std::int64_t due_ms = never ? -1 : now_ms + std::max(timeout_ms, 1u);
  // An earlier deadline that is still ahead may stay: a round too many does no harm, a system call per burst
  // does.
  if (armed_ms_ == due_ms || (!never && armed_ms_ > now_ms && armed_ms_ <= due_ms)) return;
  itimerspec t{};
  if (!never) t.it_value = {due_ms / 1000, (due_ms % 1000) * 1'000'000};
  (void)::timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME, &t, nullptr);
  armed_ms_ = due_ms;
}

void Engine::settle() {
  for (const int fd : polled_) watches_[static_cast<std::size_t>(fd)].index = -1;
  polled_.clear();
  std::uint32_t timeout_ms = UINT32_MAX;
  ::slirp_pollfds_fill(
      slirp_, &timeout_ms,
      [](int fd, int events, void* self) { return static_cast<Engine*>(self)->add_poll(fd, events); }, this);
  arm(run_timers(timeout_ms));

  // The set follows the round: what slirp did not name must leave, or its hang-up would be reported for ever.
  std::erase_if(in_set_, [this](int fd) {
    const Watch& w = watches_[static_cast<std::size_t>(fd)];
    if (w.in_set && w.index < 0) forget(fd);
    return !w.in_set;
  });
  for (const int fd : polled_) {
    Watch& w = watches_[static_cast<std::size_t>(fd)];
    if (w.in_set && w.events == w.wanted) continue;
    epoll_event e{w.wanted, {.fd = fd}};
    if (::epoll_ctl(epoll_.get(), w.in_set ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &e) != 0) {
      log_.warning("descriptor %d cannot be watched: %s", fd, std::strerror(errno));
      continue;
    }
    if (!w.in_set) in_set_.push_back(fd);
    w.in_set = true;
    w.events = w.wanted;
  }

  if (queue_.empty() != announced_) return;
  std::uint64_t one = 1;
  if (announced_)
    (void)!::read(ready_.get(), &one, sizeof one);
  else
    (void)!::write(ready_.get(), &one, sizeof one);
  announced_ = !announced_;
}

void Engine::service() {
  if (queue_.used() > queue_.size() / 2) return;
  epoll_event events[kEventsPerRound];
  const int n = ::epoll_wait(epoll_.get(), events, kEventsPerRound, 0);
  bool work = false;
  events_.assign(polled_.size(), 0);
  for (int i = 0; i < n; ++i) {
    const int fd = events[i].data.fd;
    if (fd == ready_.get()) continue;
    work = true;
    if (fd == timer_.get()) {
      std::uint64_t expired;
      (void)!::read(fd, &expired, sizeof expired);
      armed_ms_ = -1;
      continue;
    }
    const int index = watches_[static_cast<std::size_t>(fd)].index;
    if (index >= 0) events_[static_cast<std::size_t>(index)] = events[i].events;
  }
  if (!work) return;
  ::slirp_pollfds_poll(
      slirp_, 0,
      [](int index, void* self) {
        const auto& happened = static_cast<Engine*>(self)->events_;
        const auto at = static_cast<std::size_t>(index);
        return at < happened.size() ? to_slirp(happened[at]) : 0;
      },
      this);
}

void Engine::input(const std::uint8_t* frame, std::uint32_t len) {
  ::slirp_input(slirp_, frame, static_cast<int>(len));
}

}  // namespace devnp_slirp
