// The stall protocol and the writer lock under several writers: threads and processes, level and edge triggered or asleep on the futex,
// preempted, and killed while they hold the lock or a stall.
#include "ipc/test_rig.hpp"

namespace iopkt::ipc::test {
namespace {

enum class Wait { level, edge, futex };

struct Setup {
  int writers;
  bool processes;
  Wait wait;
  bool preempt, kill;
  Step where = Step::won_stall;
};

/// Writes as a program does: waits for writability, writes until full (edge) or a while (level).
void write_until_stop(const Rig& rig, int id, const Setup& setup) {
  TestEnd io{rig, static_cast<std::uint64_t>(id) + 1, {setup.preempt, setup.kill, setup.where}};
  SendRingWriter writer{*rig.slot, rig.arena(), rig.arena_size(), io};
  Random random{static_cast<std::uint64_t>(id) * 77 + 5};
  const int ep = epoll_create1(EPOLL_CLOEXEC);
  epoll_event interest{.events = EPOLLOUT | (setup.wait == Wait::edge ? EPOLLET : 0u), .data = {}};
  epoll_ctl(ep, EPOLL_CTL_ADD, rig.program(), &interest);
  rig.shared->ready.fetch_add(1);
  unsigned char bytes[700];
  while (rig.shared->stop == 0) {
    epoll_event event;
    if (setup.wait != Wait::futex && epoll_wait(ep, &event, 1, -1) <= 0) continue;
    rig.shared->events.fetch_add(1);
    for (int i = 0; rig.shared->stop == 0; ++i) {
      if (setup.wait == Wait::level && i > 3) break;
      const std::size_t n = 1 + random.below(sizeof bytes);
      for (std::size_t k = 0; k < n; ++k) bytes[k] = static_cast<unsigned char>(random.next());
      const iovec piece{bytes, n};
      const WriteOutcome done = writer.write({&piece, 1});
      if (done.kind != WriteOutcome::Kind::data) {
        if (i == 0) rig.shared->spurious.fetch_add(1);
        if (setup.wait == Wait::futex) writer.sleep_for_room(rig.shared->alive, -1);
        break;
      }
      std::uint64_t sum = 0;
      for (std::size_t k = 0; k < done.bytes; ++k) sum += bytes[k];
      rig.shared->sum.fetch_add(sum);
      rig.shared->bytes.fetch_add(done.bytes);
      rig.shared->operations.fetch_add(1);
    }
  }
  close(ep);
}

/// The stack: takes what is there in random portions, with its descriptor watched edge-triggered.
class Taker {
 public:
  explicit Taker(Rig& rig) : rig_(rig) {
    epoll_event interest{.events = EPOLLIN | EPOLLET, .data = {}};
    epoll_ctl(ep_, EPOLL_CTL_ADD, rig.stack(), &interest);
  }
  ~Taker() { close(ep_); }
  Taker(const Taker&) = delete;
  Taker& operator=(const Taker&) = delete;

  bool step(std::size_t most) {
    epoll_event event;
    if (epoll_wait(ep_, &event, 1, 0) > 0) {
      const auto arrivals = rig_.end.inspect();
      EXPECT_EQ(arrivals.fault, StackEnd::Fault::none);
      rig_.consumer.on_units(rig_.end);
    }
    const std::size_t there = rig_.consumer.queued();
    if (there == 0) return false;
    const std::size_t n = std::min(there, static_cast<std::size_t>(1 + random_.below(most)));
    const std::uint64_t head = rig_.consumer.head();
    for (std::size_t i = 0; i < n; ++i) {
      sum += __atomic_load_n(reinterpret_cast<const unsigned char*>(rig_.consumer.base()) +
                                 ((head + i) & (rig_.consumer.size() - 1)),
                             __ATOMIC_RELAXED);
    }
    taken += n;
    rig_.consumer.consume_to((head + n) & kPositionMask, rig_.end);
    return true;
  }
  std::uint64_t sum = 0, taken = 0;

 private:
  Rig& rig_;
  int ep_ = epoll_create1(EPOLL_CLOEXEC);
  Random random_{7};
};

void run(const Setup& setup, int type = SOCK_STREAM) {
  SCOPED_TRACE(testing::Message() << setup.writers << (setup.processes ? " processes" : " threads") << " wait "
                                  << static_cast<int>(setup.wait) << (setup.preempt ? " preempted" : "")
                                  << (setup.kill ? " killed at " : " ") << static_cast<int>(setup.where));
  Rig rig{type};
  rig.consumer = SendRingConsumer{*rig.slot, false};  // the stream rules over both kinds of socket
  rig.consumer.set_ring(rig.ring_memory(1), rig.ring_ref(1, 0));
  SendRingConsumer::Counts counts;
  rig.consumer.count_into(counts);
  rig.shared->kills_left = setup.kill ? setup.writers - 1 : 0;
  Crew crew{setup.writers, setup.processes, [&](int id) { write_until_stop(rig, id, setup); }};
  ASSERT_TRUE(eventually([&] { return rig.shared->ready >= static_cast<unsigned>(setup.writers); }));
  Taker taker{rig};
  const auto end = now() + stress_time();
  bool progress = true;
  for (unsigned i = 0; progress && now() < end; ++i) {
    progress = eventually([&] {
      if (setup.kill) crew.reap();
      return taker.step(700);
    });
    if (i % 64 == 0) sched_yield();
  }
  EXPECT_TRUE(progress) << "lost wake-up: V " << std::hex << rig.slot->tx_word << " tail " << rig.slot->tx_tail << " lock "
                        << rig.slot->tx_lock << " program polls " << poll_mask(rig.program());
  rig.shared->stop = 1;
  rig.shared->alive = 0;
  // Sleepers notice the end as they do in life: room comes, or the stack is gone.
  EXPECT_TRUE(eventually([&] {
    crew.reap();
    taker.step(700);
    if (setup.wait == Wait::futex) rig.end.wake(rig.slot->tx_word);
    return !taker.step(700) && !rig.consumer.stalled() && rig.end.units_above_ballast() == 0 &&
           (poll_mask(rig.program()) & POLLOUT) != 0;
  })) << "at rest: V "
      << std::hex << rig.slot->tx_word << " units " << rig.end.units_above_ballast();
  std::atomic<bool> joined{false};
  std::thread drain{[&] {  // writers may still add their last bytes
    while (!joined) {
      if (!taker.step(700)) sched_yield();
      if (setup.wait == Wait::futex) rig.end.wake(rig.slot->tx_word);
    }
  }};
  EXPECT_TRUE(crew.join());
  joined = true;
  drain.join();
  while (taker.step(700)) {
  }
  EXPECT_FALSE(rig.consumer.broken());
  EXPECT_FALSE(rig.consumer.stalled());
  EXPECT_EQ(poll_mask(rig.program()), POLLOUT);
  if (!setup.kill) {
    EXPECT_EQ(taker.taken, rig.shared->bytes);
    EXPECT_EQ(taker.sum, rig.shared->sum);
  }
  if (setup.writers == 1 && setup.wait == Wait::level) {
    EXPECT_EQ(rig.shared->spurious, 0u);
  }
  if (std::getenv("IOPKT_STRESS_VERBOSE") != nullptr) {  // NOLINT(concurrency-mt-unsafe)
    const SendRingConsumer::Counts& c = counts;
    printf("%d %s wait %d%s%s: writes %lu bytes %lu events %lu spurious %lu lifted %lu late units %lu forced %lu\n",
           setup.writers, setup.processes ? "proc" : "thr", static_cast<int>(setup.wait), setup.preempt ? " preempt" : "",
           setup.kill ? " kill" : "", rig.shared->operations.load(), taker.taken, rig.shared->events.load(),
           rig.shared->spurious.load(), c.lifted, c.late_units, c.forced_stores);
  }
}

TEST(SendStress, ThreadsAndProcessesLevelEdgeAndAsleep) {
  for (const bool processes : {false, true}) {
    for (const int writers : {1, 2, 4}) {
      for (const Wait wait : {Wait::level, Wait::edge, Wait::futex}) {
        for (const bool preempt : {false, true}) run({writers, processes, wait, preempt, false});
      }
    }
  }
}

TEST(SendStress, SequencedPackets) { run({2, true, Wait::level, true, false}, SOCK_SEQPACKET); }

TEST(SendStress, WritersKilledWithAStallOrTheLock) {
  for (const Step where : {Step::won_stall, Step::write_copied, Step::write_published}) {
    run({4, true, Wait::level, true, true, where});
  }
}

}  // namespace
}  // namespace iopkt::ipc::test
