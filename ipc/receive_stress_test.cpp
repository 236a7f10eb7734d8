// The token protocol under several readers: threads and processes, level and edge triggered, preempted and killed.
#include "ipc/test_rig.hpp"

namespace iopkt::ipc::test {
namespace {

struct Setup {
  int readers;
  bool processes, edge, preempt, kill;
  bool slow_stack = false;
  bool urgent = false;
};

/// Reads as a program does: waits for readiness, reads until there is nothing (edge) or a while (level).
void read_until_end(const Rig& rig, int id, const Setup& setup) {
  TestEnd io{rig, static_cast<std::uint64_t>(id) + 1, {setup.preempt, setup.kill, Step::won_token}};
  ReceiveRingReader reader{*rig.slot, rig.arena(), rig.arena_size(), io};
  Random random{static_cast<std::uint64_t>(id) * 77 + 5};
  const int ep = epoll_create1(EPOLL_CLOEXEC);
  epoll_event interest{.events = EPOLLIN | (setup.edge ? EPOLLET : 0u), .data = {}};
  epoll_ctl(ep, EPOLL_CTL_ADD, rig.program(), &interest);
  if (setup.edge) reader.set_edge();
  rig.shared->ready.fetch_add(1);
  std::uint64_t sum = 0;
  unsigned char buffer[512];
  for (bool end = false; !end;) {
    epoll_event event;
    if (epoll_wait(ep, &event, 1, -1) <= 0) continue;
    rig.shared->events.fetch_add(1);
    for (bool first = true;; first = false) {
      const iovec piece{buffer, 1 + random.below(sizeof buffer)};
      const ReadOutcome got = reader.read({&piece, 1});
      if (got.kind != ReadOutcome::Kind::data) {
        if (got.kind == ReadOutcome::Kind::empty && first) rig.shared->spurious.fetch_add(1);
        end = got.kind == ReadOutcome::Kind::eof;
        break;
      }
      for (std::size_t i = 0; i < got.bytes; ++i) sum += buffer[i];
      rig.shared->operations.fetch_add(1);
      if (!setup.edge && random.below(3) == 0) break;
    }
  }
  close(ep);
  rig.shared->sum.fetch_add(sum);
}

/// The stack's end, which loses the CPU now and then before or after the byte is queued.
class PreemptedEnd final : public StackIo {
 public:
  explicit PreemptedEnd(StackEnd& end) : end_(end) {}
  Sent send_token() override {
    pause(20'000);
    const Sent sent = end_.send_token();
    pause(20'000'000);  // longer than a reader would look for it in vain
    return sent;
  }
  Sent send_urgent() override { return end_.send_urgent(); }
  bool token_queued() override { return end_.token_queued(); }
  unsigned units_above_ballast() override { return end_.units_above_ballast(); }
  bool take_unit() override { return end_.take_unit(); }
  void wake(const std::atomic<std::uint64_t>& word) override { end_.wake(word); }

 private:
  void pause(long nanoseconds) {
    const timespec moment{.tv_sec = 0, .tv_nsec = nanoseconds};
    if (random_.below(16) == 0) nanosleep(&moment, nullptr);
  }
  StackEnd& end_;
  Random random_{1234};
};

/// The stack: publishes bursts; serves kicks; answers what it published.
class Publisher {
 public:
  Publisher(Rig& rig, const Setup& setup) : rig_(rig), slow_(setup.slow_stack), urgent_(setup.urgent) {}

  /// False: readers made no progress for too long, a wake-up was lost.
  bool one_burst() {
    const std::size_t n = 1 + random_.below(200);
    if (!eventually([&] {
          serve();
          return rig_.producer.free_space() >= n;
        })) {
      return false;
    }
    // Whether anybody gets an urgent byte depends on what comes first; a 0 does not count.
    const std::size_t urgent = urgent_ && random_.below(4) == 0 ? random_.below(n) : n;
    if (urgent < n) (void)rig_.producer.set_urgent(rig_.producer.tail() + urgent, 0, random_.below(4) == 0);
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint8_t value = i == urgent ? 0 : static_cast<std::uint8_t>(random_.next());
      racy_put((rig_.producer.tail() + i) & (rig_.producer.size() - 1), value);
      sum += value;
    }
    rig_.producer.publish((rig_.producer.tail() + n) & kPositionMask);
    ++bursts;
    if (random_.below(2) == 0) serve();
    if (random_.below(8) == 0) sched_yield();
    return true;
  }
  void serve() {
    rig_.serve_kicks();
    if (!rig_.producer.wants_flush()) return;
    if (slow_) rig_.producer.flush(preempted_);
    else rig_.producer.flush(rig_.end);
  }
  /// At rest: everything read, the state none, nobody removing, no byte queued.
  bool comes_to_rest() {
    return eventually([&] {
      serve();
      const ReceiveWord w = rig_.word();
      return rig_.producer.unread() == 0 && w.state() == TokenState::none && !w.removing() &&
             !rig_.end.token_queued() && !rig_.producer.wants_flush();
    });
  }
  std::uint64_t sum = 0, bursts = 0;

 private:
  void racy_put(std::size_t at, std::uint8_t value) {
    __atomic_store_n(reinterpret_cast<unsigned char*>(rig_.producer.base()) + at, value, __ATOMIC_RELAXED);
  }
  Rig& rig_;
  const bool slow_, urgent_;
  PreemptedEnd preempted_{rig_.end};
  Random random_{99};
};

void run(const Setup& setup, int type) {
  SCOPED_TRACE(testing::Message() << setup.readers << (setup.processes ? " processes" : " threads")
                                  << (setup.edge ? " edge" : " level") << (setup.preempt ? " preempted" : "")
                                  << (setup.slow_stack ? " slow stack" : "") << (setup.urgent ? " urgent" : "")
                                  << (setup.kill ? " killed" : "") << " type " << type);
  Rig rig{type};
  ReceiveRingProducer::Counts counts;
  rig.producer.count_into(counts);
  rig.shared->kills_left = setup.kill ? setup.readers - 1 : 0;
  Crew crew{setup.readers, setup.processes, [&](int id) { read_until_end(rig, id, setup); }};
  ASSERT_TRUE(eventually([&] { return rig.shared->ready >= static_cast<unsigned>(setup.readers); }));
  Publisher publisher{rig, setup};
  const auto end = now() + stress_time();
  bool alive = true;
  while (alive && now() < end) {
    for (int i = 0; i < 200 && alive; ++i) alive = publisher.one_burst();
    // A killed reader leaves R to whoever looks next; without a level-triggered look nobody may.
    if (alive && !setup.kill) {
      alive = publisher.comes_to_rest();
      EXPECT_TRUE(alive) << "not at rest: state " << static_cast<int>(rig.word().state()) << " R "
                         << rig.word().removing() << " unread " << rig.producer.unread() << " tokens "
                         << rig.tokens_queued();
    }
  }
  EXPECT_TRUE(alive) << "lost wake-up: state " << static_cast<int>(rig.word().state()) << " unread "
                     << rig.producer.unread() << " tokens " << rig.tokens_queued();
  if (setup.kill) {
    EXPECT_TRUE(publisher.comes_to_rest()) << "state " << static_cast<int>(rig.word().state()) << " R "
                                           << rig.word().removing() << " tokens " << rig.tokens_queued();
  }
  rig.slot->status.fetch_or(Status::fin_received);
  rig.end.show_fin();
  EXPECT_TRUE(crew.join());
  EXPECT_FALSE(rig.producer.broken());
  if (!setup.kill) {
    EXPECT_EQ(rig.shared->sum, publisher.sum);
    if (setup.readers == 1 && !setup.edge && !setup.urgent) {
      EXPECT_EQ(rig.shared->spurious, 0u);
    }
  }
  if (std::getenv("IOPKT_STRESS_VERBOSE") != nullptr) {  // NOLINT(concurrency-mt-unsafe)
    const ReceiveRingProducer::Counts& c = counts;
    printf("%d %s %s%s%s: bursts %lu reads %lu events %lu spurious %lu tokens %lu renewed %lu repaired %lu forced %lu\n",
           setup.readers, setup.processes ? "proc" : "thr", setup.edge ? "ET" : "LT", setup.preempt ? " preempt" : "",
           setup.kill ? " kill" : "", publisher.bursts, rig.shared->operations.load(), rig.shared->events.load(),
           rig.shared->spurious.load(), c.tokens, c.renewed, c.repaired, c.forced_stores);
  }
}

TEST(ReceiveStress, ThreadsAndProcessesLevelAndEdge) {
  for (const bool processes : {false, true}) {
    for (const int readers : {1, 2, 4}) {
      for (const bool edge : {false, true}) {
        for (const bool preempt : {false, true}) run({readers, processes, edge, preempt, false}, SOCK_STREAM);
      }
    }
  }
}

TEST(ReceiveStress, TheStackLosesTheCpuInsideSend) {
  for (const bool processes : {false, true}) {
    for (const int readers : {1, 2}) {
      for (const bool edge : {false, true}) run({readers, processes, edge, false, false, true}, SOCK_STREAM);
    }
  }
}

TEST(ReceiveStress, UrgentBytes) {
  for (const bool processes : {false, true}) {
    for (const int readers : {1, 2}) {
      for (const bool edge : {false, true})
        run({.readers = readers, .processes = processes, .edge = edge, .preempt = true, .kill = false, .urgent = true}, SOCK_STREAM);
    }
  }
}

TEST(ReceiveStress, SequencedPackets) {
  for (const bool edge : {false, true}) run({2, true, edge, true, false}, SOCK_SEQPACKET);
}

TEST(ReceiveStress, ReadersKilledBetweenWinningATokenAndTakingIt) {
  for (const int readers : {2, 4}) run({readers, true, false, true, true}, SOCK_STREAM);
  run({.readers = 3, .processes = true, .edge = false, .preempt = true, .kill = true, .urgent = true}, SOCK_STREAM);
}

}  // namespace
}  // namespace iopkt::ipc::test
