// A hostile client scribbles over all shared words from another thread while the stack works; and honest clients that are
// interrupted by signals, leave by longjmp, or have their rings moved.
#include <fcntl.h>
#include <setjmp.h>
#include <sys/time.h>

#include <cstring>

#include "ipc/test_rig.hpp"

namespace iopkt::ipc::test {
namespace {

/// Every ring has a guard page of a known pattern on both sides.
class Guarded {
 public:
  static constexpr std::size_t kSize = Rig::kRing;
  Guarded() : memory_(3 * kSize, kPattern) {}
  std::byte* ring() { return memory_.data() + kSize; }
  bool intact() const {
    for (std::size_t i = 0; i < kSize; ++i) {
      if (memory_[i] != kPattern || memory_[2 * kSize + i] != kPattern) return false;
    }
    return true;
  }

 private:
  static constexpr std::byte kPattern{0xa5};
  std::vector<std::byte> memory_;
};

class CountingStack final : public StackIo {
 public:
  Sent send_token() override { return ++calls, Sent::done; }
  bool token_queued() override { return ++calls % 2 == 0; }
  unsigned units_above_ballast() override { return ++calls, 3; }
  bool take_unit() override { return ++calls, true; }
  void wake(const std::atomic<std::uint64_t>&) override { ++calls; }
  int calls = 0;
};

/// Writes what is wrong, and what is nearly right, as fast as it can.
void scribble(Slot& slot, Guarded& send, const std::atomic<std::uint32_t>& stop) {
  Random random{1};
  auto* words = reinterpret_cast<std::atomic<std::uint64_t>*>(&slot);
  while (stop == 0) {
    const std::uint64_t value = random.next();
    switch (random.below(6)) {
      case 0: words[random.below(sizeof(Slot) / 8)].store(value, std::memory_order_relaxed); break;
      case 1: slot.rx_word.fetch_xor(value & 0xffff); break;
      case 2: slot.tx_word.fetch_xor(value & 0xffff); break;
      case 3: slot.rx_head.fetch_add((value & 0xfff) << kPositionShift); break;
      case 4: slot.tx_tail.fetch_add((value & 0xfff) << kPositionShift); break;
      case 5: __atomic_store_n(reinterpret_cast<unsigned char*>(send.ring()) + value % Guarded::kSize, value >> 56,
                               __ATOMIC_RELAXED); break;
    }
  }
}

TEST(Hostile, TheStackStaysInItsRingsAndComesBack) {
  auto slot = std::make_unique<Slot>();
  Guarded receive, send;
  std::atomic<std::uint32_t> stop{0};
  std::thread client{scribble, std::ref(*slot), std::ref(send), std::cref(stop)};
  CountingStack io;
  Random random{2};
  std::uint64_t lives = 0, steps = 0;
  const auto end = now() + stress_time();
  // Some lives end before their first step, others take a hundred; how many depends on who has the CPU when.
  constexpr std::uint64_t kSteps = 1000, kLives = 10;
  const auto last = end + 100 * stress_time();
  while (now() < end || ((steps < kSteps || lives < kLives) && now() < last)) {
    ++lives;
    reset_slot(*slot, AF_INET, SOCK_STREAM, 0, lives, 0);
    ReceiveRingProducer producer{*slot};
    SendRingConsumer consumer{*slot, lives % 2 == 0};
    producer.set_ring(receive.ring(), RingRef::make(kPage, Guarded::kSize, 0));
    consumer.set_ring(send.ring(), RingRef::make(2 * kPage, Guarded::kSize, 0));
    for (int i = 0; i < 100 && !producer.broken() && !consumer.broken(); ++i, ++steps) {
      io.calls = 0;
      std::byte payload[1500]{};
      const iovec piece{payload, random.below(sizeof payload)};
      DatagramProducer::put(producer, {}, {&piece, 1});
      producer.flush(io);
      producer.repair();
      producer.flush(io);
      DatagramConsumer::Datagram got;
      if (lives % 2 == 0 && DatagramConsumer::next(consumer, consumer.head(), got)) consumer.consume_to(got.end, io);
      if (lives % 2 != 0) consumer.consume_to((consumer.head() + random.below(consumer.queued() + 1)) & kPositionMask, io);
      consumer.on_units(io);
      ASSERT_LT(io.calls, 100);
      ASSERT_LE(producer.unread(), producer.size());
    }
  }
  stop = 1;
  client.join();
  EXPECT_TRUE(receive.intact());
  EXPECT_TRUE(send.intact());
  EXPECT_GE(steps, kSteps);
  EXPECT_GE(lives, kLives);
}

// ---------------------------------------------------------------------------------------------- signals

struct SignalWork {
  const Rig* rig;
  std::atomic<std::uint64_t> read_sum{0}, written{0};
};
SignalWork* signal_work = nullptr;

void read_some(SignalWork& work, std::size_t n, std::uint64_t seed) {
  TestEnd io{*work.rig, seed, {}};
  ReceiveRingReader reader{*work.rig->slot, work.rig->arena(), work.rig->arena_size(), io};
  unsigned char buffer[256];
  const iovec piece{buffer, n};
  const ReadOutcome got = reader.read({&piece, 1});
  for (std::size_t i = 0; i < got.bytes; ++i) work.read_sum += buffer[i];
}

TEST(Signals, AHandlerReadsTheRingThatItInterrupted) {
  Rig rig;
  SignalWork work{&rig};
  signal_work = &work;
  struct sigaction action{}, before{};
  action.sa_handler = [](int) {
    const int saved = errno;
    read_some(*signal_work, 100, 3);
    errno = saved;
  };
  sigaction(SIGALRM, &action, &before);
  const itimerval often{{0, 200}, {0, 200}};
  setitimer(ITIMER_REAL, &often, nullptr);
  std::uint64_t sum = 0;
  Random random{4};
  const auto end = now() + stress_time();
  while (now() < end) {
    const std::size_t n = random.below(300);
    // One thread is both sides, so the stack must not be interrupted by the program.
    sigset_t alarm, old;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    pthread_sigmask(SIG_BLOCK, &alarm, &old);
    rig.serve_kicks();
    if (n <= rig.producer.free_space()) {
      const auto value = static_cast<std::uint8_t>(random.next());
      rig.put(n, value);
      sum += n * value;
    }
    rig.producer.flush(rig.end);
    pthread_sigmask(SIG_SETMASK, &old, nullptr);
    read_some(work, 1 + random.below(250), 5);
  }
  const itimerval off{};
  setitimer(ITIMER_REAL, &off, nullptr);
  sigaction(SIGALRM, &before, nullptr);
  while (rig.producer.unread() > 0) read_some(work, 256, 6);
  rig.serve_kicks();
  rig.producer.flush(rig.end);
  read_some(work, 256, 7);
  rig.serve_kicks();
  rig.producer.flush(rig.end);
  EXPECT_EQ(work.read_sum, sum);
  EXPECT_FALSE(rig.end.token_queued());
  EXPECT_EQ(rig.word().state(), TokenState::none);
}

jmp_buf escape;
class JumpingEnd final : public ProgramIo {
 public:
  bool take_token() override { return false; }
  Await await_token() override { return Await::not_yet; }
  Stalled send_stall() override { return Stalled::sent; }
  void yield() override { sched_yield(); }
  std::uint64_t now_us() override { return 0; }
  void ring() override {}
  void step(Step s) override {
    if (s == Step::write_copied && jump) {
      jump = false;
      longjmp(escape, 1);  // as out of a signal handler
    }
  }
  bool jump = false;
};

TEST(Signals, AWriteThatWasLeftByLongjmpDoesNotKeepTheLock) {
  Rig rig;
  static JumpingEnd io;
  static std::byte bytes[100];
  if (setjmp(escape) == 0) {
    io.jump = true;
    const iovec piece{bytes, sizeof bytes};
    SendRingWriter{*rig.slot, rig.arena(), rig.arena_size(), io}.write({&piece, 1});
    FAIL() << "it should have jumped";
  }
  EXPECT_EQ(rig.consumer.queued(), 0u);
  const iovec piece{bytes, 10};
  EXPECT_EQ((SendRingWriter{*rig.slot, rig.arena(), rig.arena_size(), io}.write({&piece, 1}).bytes), 10u);
  EXPECT_EQ(rig.consumer.queued(), 10u);
}

// ---------------------------------------------------------------------------------------------- blocking and moving

TEST(Blocking, ReadersThatSleepInTheKernelMissNothing) {
  for (const int readers : {1, 3}) {
    Rig rig;
    const int flags = fcntl(rig.program(), F_GETFL);
    fcntl(rig.program(), F_SETFL, flags & ~O_NONBLOCK);
    Crew crew{readers, true, [&](int id) {
                TestEnd io{rig, static_cast<std::uint64_t>(id), {true, false, Step::copied}};
                ReceiveRingReader reader{*rig.slot, rig.arena(), rig.arena_size(), io};
                for (;;) {
                  unsigned char buffer[100];
                  const iovec piece{buffer, sizeof buffer};
                  const ReadOutcome got = reader.read({&piece, 1});
                  if (got.kind == ReadOutcome::Kind::eof) break;
                  if (got.kind == ReadOutcome::Kind::empty) sleep_for_token(rig.program());
                  for (std::size_t i = 0; i < got.bytes; ++i) rig.shared->sum += buffer[i];
                }
              }};
    Random random{5};
    std::uint64_t sum = 0;
    const auto end = now() + stress_time();
    bool progress = true;
    while (progress && now() < end) {
      const std::size_t n = 1 + random.below(500);
      progress = eventually([&] {
        rig.serve_kicks();
        rig.producer.flush(rig.end);
        return rig.producer.free_space() >= n;
      });
      rig.put(n, 7);
      sum += 7 * n;
      rig.producer.flush(rig.end);
      if (random.below(4) == 0) {
        progress = progress && eventually([&] {
          rig.serve_kicks();
          rig.producer.flush(rig.end);
          return rig.producer.unread() == 0;
        });
      }
    }
    EXPECT_TRUE(progress) << "lost wake-up";
    rig.producer.flush(rig.end);
    rig.slot->status = Status::fin_received;
    rig.end.show_fin();
    EXPECT_TRUE(crew.join());
    EXPECT_EQ(rig.shared->sum, sum);
  }
}

TEST(Moving, RingsMoveWhileBothSidesWork) {
  Rig rig;
  std::uint64_t sum = 0, got_sum = 0;
  Crew crew{2, true, [&](int id) {
              TestEnd io{rig, static_cast<std::uint64_t>(id), {true, false, Step::copied}};
              ReceiveRingReader reader{*rig.slot, rig.arena(), rig.arena_size(), io};
              SendRingWriter writer{*rig.slot, rig.arena(), rig.arena_size(), io};
              std::uint64_t read_sum = 0;
              unsigned char buffer[300];
              for (;;) {
                const iovec piece{buffer, sizeof buffer};
                const ReadOutcome got = reader.read({&piece, 1});
                if (got.kind == ReadOutcome::Kind::eof) break;
                for (std::size_t i = 0; i < got.bytes; ++i) read_sum += buffer[i];
                std::memset(buffer, id + 1, sizeof buffer);
                const WriteOutcome put = writer.write({&piece, 1});
                if (put.kind == WriteOutcome::Kind::data) rig.shared->bytes += put.bytes * static_cast<unsigned>(id + 1);
              }
              rig.shared->sum += read_sum;
            }};
  Random random{6};
  const auto serve = [&] {
    rig.serve_kicks();
    rig.producer.flush(rig.end);
    rig.end.inspect();
    rig.consumer.on_units(rig.end);
    const std::size_t n = rig.consumer.queued();
    for (std::size_t i = 0; i < n; ++i) {
      got_sum += __atomic_load_n(reinterpret_cast<const unsigned char*>(rig.consumer.base()) +
                                     ((rig.consumer.head() + i) & (rig.consumer.size() - 1)),
                                 __ATOMIC_RELAXED);
    }
    rig.consumer.consume_to((rig.consumer.head() + n) & kPositionMask, rig.end);
  };
  int receive_at = 0, send_at = 1, send_left = -1, moves = 0;
  const auto end = now() + stress_time();
  while (now() < end) {
    const std::size_t n = random.below(400);
    if (n <= rig.producer.free_space()) {
      rig.put(n, 3);
      sum += 3 * n;
    }
    if (random.below(3) == 0) serve();
    if (!rig.consumer.old_place_in_use()) send_left = -1;
    int free_place = 0;
    while (free_place == receive_at || free_place == send_at || free_place == send_left) ++free_place;
    if (random.below(8) == 0) {
      const auto epoch = static_cast<std::uint16_t>(rig.producer.epoch() + 1);
      if (rig.producer.move_ring(rig.ring_memory(free_place), rig.ring_ref(free_place, epoch))) {
        receive_at = free_place;
        ++moves;
      }
    } else if (random.below(8) == 0) {
      const auto epoch = static_cast<std::uint16_t>(rig.consumer.epoch() + 1);
      if (rig.consumer.move_ring(rig.ring_memory(free_place), rig.ring_ref(free_place, epoch))) {
        send_left = send_at;
        send_at = free_place;
        ++moves;
      }
    }
  }
  EXPECT_TRUE(eventually([&] {
    serve();
    return rig.producer.unread() == 0;
  }));
  rig.slot->status = Status::fin_received;
  rig.end.show_fin();
  std::atomic<bool> joined{false};
  std::thread drain{[&] {
    while (!joined) serve(), sched_yield();
  }};
  EXPECT_TRUE(crew.join());
  joined = true;
  drain.join();
  serve();
  EXPECT_EQ(rig.shared->sum, sum);
  EXPECT_EQ(got_sum, rig.shared->bytes);
  EXPECT_GT(moves, 10);
}

}  // namespace
}  // namespace iopkt::ipc::test
