// The loop of a shard.
#include "shard_thread.hpp"

#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>

#include <cstring>
#include <semaphore>

#include "base/assert.hpp"
#include "crash.hpp"

namespace iopkt::daemon {
namespace {

/// While there is work, descriptors are looked at this often; devices and doorbells at every turn.
constexpr Duration kBusyPoll = std::chrono::microseconds{20};

thread_local const ShardThread* t_thread = nullptr;
thread_local packet::Cache* t_cache = nullptr;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#else
  asm volatile("" ::: "memory");
#endif
}

}  // namespace

ShardThread::ShardThread(stack::Stack& stack, std::uint32_t number, Settings settings, LogSink& log)
    : number_(number),
      shard_(stack.shard(number)),
      settings_(std::move(settings)),
      log_(log),
      devices_(shard_, poller_, log, settings_.position, settings_.pollers, settings_.polls) {}

ShardThread::~ShardThread() { stop(); }

packet::Cache* ShardThread::current_cache() { return t_cache; }
bool ShardThread::is_current() const { return t_thread == this; }

Instant ShardThread::clock() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return {now.tv_sec * 1'000'000'000LL + now.tv_nsec};
}

bool ShardThread::prepare() {
  event_.reset(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event_ || !poller_.open()) return false;
  // Edge-triggered and never read: each write is an event.
  return poller_.add(event_.get(), EPOLLIN | EPOLLET, *this) != 0;
}

void ShardThread::ready(std::uint32_t) {}

void ShardThread::start(std::vector<ShardThread*> peers) {
  peers_ = std::move(peers);
  running_ = true;
  thread_ = std::thread{[this] { run(); }};
}

void ShardThread::stop() {
  if (!thread_.joinable()) return;
  stopping_ = true;
  post([] {});
  thread_.join();
}

void ShardThread::post(Task task) {
  mail_.post(std::move(task));
  wake();
}

bool ShardThread::call(Task task) {
  IOPKT_ASSERT(!is_current());
  if (!running_) return false;
  const auto done = std::make_shared<std::binary_semaphore>(0);
  post([task = std::move(task), done]() mutable {
    task();
    done->release();
  });
  // A thread that ends before it reads its mail runs it on its way out.
  done->acquire();
  return true;
}

void ShardThread::wake() {
  if (!sleeping_.load(std::memory_order_seq_cst)) return;
  if (!sleeping_.exchange(false)) return;
  const std::uint64_t one = 1;
  while (::write(event_.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void ShardThread::run() {
  give_crash_stack();
  t_thread = this;
  t_cache = &shard_.cache();
  ::pthread_setname_np(::pthread_self(), settings_.name.substr(0, 15).c_str());
  if (settings_.alive != nullptr && !ipc::bind_alive(*settings_.alive, alive_node_))
    log_.write(LogLevel::error, settings_.name + ": clients cannot be told of the thread's end: " + std::strerror(errno));
  if (settings_.priority > 0) {
    sched_param parameter{};
    parameter.sched_priority = settings_.priority;
    if (const int rc = ::pthread_setschedparam(::pthread_self(), SCHED_RR, &parameter); rc != 0)
      log_.write(LogLevel::warning, settings_.name + ": priority " + std::to_string(settings_.priority) +
                                        " is not permitted (" + std::strerror(rc) + "); default scheduler");
  }
  Instant busy = clock();
  while (!stopping_.load(std::memory_order_relaxed)) {
    if (turn(clock())) {
      busy = now_;
    } else if (now_ - busy < settings_.spin) {
      relax();
    } else {
      sleep();
      busy = clock();
    }
  }
  running_ = false;
  run_mail();
  t_cache = nullptr;
}

bool ShardThread::run_mail() {
  std::vector<Task> tasks = mail_.take();
  for (Task& task : tasks) task();
  return !tasks.empty();
}

bool ShardThread::turn(Instant now) {
  turns_.store(turns_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  now_ = now;
  shard_.begin(now_);
  bool work = shard_.poll_inbox();
  work = run_mail() || work;
  if (now_ - polled_ >= kBusyPoll) {
    polled_ = now_;
    work = poller_.fetch(Duration::zero()) > 0 || work;
    poller_.dispatch();
  }
  if (clients_ != nullptr) work = clients_->collect() || work;
  work = devices_.receive() || work;
  shard_.run_timers();
  shard_.finish();
  work = devices_.transmit() || work;
  devices_.tell_credit();
  if (clients_ != nullptr) work = clients_->deliver() || work;
  for (const std::uint32_t index : shard_.take_filter_changes())
    if (on_filter_) on_filter_(index, shard_.multicast_filter(index));
  wake_peers();
  return work || shard_.has_work() || devices_.wants_turn();
}

void ShardThread::wake_peers() {
  for (std::uint64_t mask = shard_.take_wakeups(); mask != 0; mask &= mask - 1) {
    const auto peer = static_cast<std::size_t>(std::countr_zero(mask));
    if (peer < peers_.size()) peers_[peer]->wake();
  }
}

Duration ShardThread::sleep_limit() {
  Duration limit = devices_.longest_sleep();
  if (clients_ != nullptr) limit = std::min(limit, clients_->longest_sleep());
  const Instant deadline = shard_.next_deadline();
  if (!deadline.is_never()) limit = std::min(limit, std::max(deadline - clock(), Duration::zero()));
  return limit;
}

void ShardThread::sleep() {
  // From here on whoever puts something in front of us wakes us; what was put there before is seen by the looks below.
  sleeping_.store(true, std::memory_order_seq_cst);
  if (!mail_.empty() || shard_.poll_inbox() || shard_.has_work() || (clients_ != nullptr && !clients_->arm())) {
    sleeping_.store(false);
    return;
  }
  const Duration limit = sleep_limit();
  sleeps_.store(sleeps_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  poller_.fetch(limit);
  sleeping_.store(false);
  now_ = polled_ = clock();
  shard_.begin(now_);
  poller_.dispatch();
}

}  // namespace iopkt::daemon
