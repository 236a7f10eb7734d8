// The switch to stream mode at random moments, under several readers and writers: no byte is lost, doubled, or taken for a token.
#include <sys/uio.h>

#include <functional>
#include <utility>

#include "ipc/ring_copy.hpp"
#include "ipc/stream_end.hpp"
#include "ipc/test_rig.hpp"

namespace iopkt::ipc::test {
namespace {

struct Setup {
  int readers, writers;
  bool processes, preempt;
  bool kill = false;
  Step where = Step::won_token;
};
enum Wish : std::uint64_t { none, switching, stream };

std::uint8_t value_at(std::uint64_t position) { return static_cast<std::uint8_t>(position * 167 + (position >> 8) * 31); }

/// What a client does that meets `switching`, whoever began. `signals` is the control connection.
class Client {
 public:
  Client(const Rig& its_rig, int id, const Setup& setup)
      : rig(its_rig),
        io{its_rig, static_cast<std::uint64_t>(id) + 1, {setup.preempt, setup.kill, setup.where}},
        reader{*its_rig.slot, its_rig.arena(), its_rig.arena_size(), io},
        writer{*its_rig.slot, its_rig.arena(), its_rig.arena_size(), io},
        random{static_cast<std::uint64_t>(id) * 91 + 3} {}

  Mode mode() const { return ReceiveWord{rig.slot->rx_word.load()}.mode(); }
  void ask(Wish wish) {
    std::uint64_t seen = rig.shared->signals.load();
    while (seen < wish && !rig.shared->signals.compare_exchange_weak(seen, wish)) {
    }
  }
  void help() {
    while (mode() == Mode::ring) sched_yield();
    while (mode() == Mode::switching) {
      reader.drain();
      writer.wait_for_others();
      const int size = 65536;
      setsockopt(rig.program(), SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
      ask(Wish::stream);
      sched_yield();
    }
  }

  const Rig& rig;
  TestEnd io;
  ReceiveRingReader reader;
  SendRingWriter writer;
  Random random;
};

void read_until_end(const Rig& rig, int id, const Setup& setup) {
  Client me{rig, id, setup};
  const bool alone = setup.readers == 1;
  rig.shared->ready.fetch_add(1);
  std::uint64_t sum = 0, at = 0;
  unsigned char buffer[700];
  for (;;) {
    const iovec piece{buffer, 1 + me.random.below(sizeof buffer)};
    const ReadOutcome got = me.reader.read({&piece, 1});
    ssize_t n = static_cast<ssize_t>(got.bytes);
    if (got.kind == ReadOutcome::Kind::stream) {
      me.help();
      n = recv(rig.program(), buffer, piece.iov_len, MSG_DONTWAIT);
      if (n == 0) break;
    }
    if (n <= 0) {
      pollfd p{.fd = rig.program(), .events = POLLIN, .revents = 0};
      poll(&p, 1, 10);
      continue;
    }
    for (ssize_t i = 0; i < n; ++i, ++at) {
      sum += buffer[i];
      if (alone && buffer[i] != value_at(at)) rig.shared->spurious.fetch_add(1);
    }
  }
  rig.shared->sum.fetch_sub(sum);
}

void write_until_stop(const Rig& rig, int id, const Setup& setup) {
  Client me{rig, id + 100, setup};
  rig.shared->ready.fetch_add(1);
  std::uint64_t at = 0;
  unsigned char buffer[700];
  while (rig.shared->stop == 0) {
    const std::size_t want = 1 + me.random.below(sizeof buffer);
    for (std::size_t i = 0; i < want; ++i) buffer[i] = value_at(at + i);
    const iovec piece{buffer, want};
    const WriteOutcome got = me.writer.write({&piece, 1});
    ssize_t n = static_cast<ssize_t>(got.bytes);
    if (got.kind == WriteOutcome::Kind::stream) {
      me.help();
      n = send(rig.program(), buffer, want, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (n <= 0) {
      pollfd p{.fd = rig.program(), .events = POLLOUT, .revents = 0};
      poll(&p, 1, 10);
      continue;
    }
    std::uint64_t sum = 0;
    for (ssize_t i = 0; i < n; ++i) sum += buffer[i];
    rig.shared->operations.fetch_add(sum);
    rig.shared->bytes.fetch_add(static_cast<std::uint64_t>(n));
    at += static_cast<std::uint64_t>(n);
  }
}

/// The daemon's part, in both modes.
class Stack {
 public:
  Stack(Rig& rig, const Setup& setup) : rig_(rig), setup_(setup) {}

  void turn() {
    rig_.serve_kicks();
    if (!stream_) {
      const auto arrivals = rig_.end.inspect();
      EXPECT_EQ(arrivals.fault, StackEnd::Fault::none);
      EXPECT_EQ(arrivals.hello || arrivals.attach, false);
      rig_.consumer.on_units(rig_.end);
    }
    take();
    give();
    if (rig_.producer.wants_flush()) rig_.producer.flush(rig_.end);
    const std::uint64_t wish = rig_.shared->signals.load();
    if (wish >= Wish::switching && !closed_) begin_switch();
    if (wish >= Wish::stream && closed_ && !stream_) begin_stream();
  }
  bool streaming() const { return stream_; }
  void finish() {
    ASSERT_TRUE(eventually([&] { return turn(), given_ == published_; }));
    end_.show_fin();
  }
  void drain() {
    while (!take()) {
    }
  }

  std::uint64_t taken = 0, taken_sum = 0;

 private:
  void begin_switch() {
    rig_.producer.set_mode(Mode::switching);
    if (!rig_.producer.close_ring() || !rig_.consumer.close_ring()) return;
    closed_ = true;
    given_ = rig_.producer.checked_head();
    rig_.consumer.release(rig_.end);
  }
  void begin_stream() {
    if (rig_.end.token_queued() || rig_.consumer.old_place_in_use()) return;
    rig_.end.drain_to_ballast();
    rig_.producer.set_mode(Mode::stream);
    end_ = StreamEnd{rig_.stack(), rig_.end.queued() * kUnitSize};
    stream_ = true;
    tail_ = rig_.consumer.checked_tail();
  }

  /// True: nothing is left.
  bool take() {
    const std::uint64_t tail = stream_ ? tail_ : rig_.consumer.checked_tail();
    const std::size_t n = static_cast<std::size_t>(distance(position_, tail));
    for (std::size_t i = 0; i < n; ++i, ++position_, ++taken) {
      const auto value =
          __atomic_load_n(reinterpret_cast<const std::uint8_t*>(rig_.consumer.base()) + (position_ & (Rig::kRing - 1)),
                          __ATOMIC_RELAXED);
      taken_sum += value;
      if (setup_.writers == 1 && value != value_at(position_)) rig_.shared->spurious.fetch_add(1);
    }
    if (!stream_) {
      rig_.consumer.consume_to(position_, rig_.end);
      return n == 0;
    }
    // Looked at in the next turn: nobody else may write there any more.
    const std::size_t start = tail_ & (Rig::kRing - 1), room = 1 + random_.below(Rig::kRing);
    const std::size_t first = std::min(room, Rig::kRing - start);
    const iovec spans[2] = {{rig_.consumer.base() + start, first}, {rig_.consumer.base(), room - first}};
    const auto got = end_.take(spans);
    tail_ += got.bytes;
    return n == 0 && got.bytes == 0 && got.dry;
  }

  void give() {
    const std::uint64_t head = closed_ ? given_ : rig_.producer.checked_head();
    const std::size_t space = Rig::kRing - static_cast<std::size_t>(distance(head, published_));
    const std::size_t n = rig_.shared->stop != 0 ? 0 : std::min<std::size_t>(space, random_.below(400));
    std::uint64_t sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const std::uint8_t value = value_at(published_ + i);
      copy_to_ring(rig_.producer.base(), Rig::kRing, published_ + i, &value, 1);  // a slow reader may still look here
      sum += value;
    }
    rig_.shared->sum.fetch_add(sum);
    published_ += n;
    if (!closed_) rig_.producer.publish(published_);
    if (!stream_) return;
    const std::size_t start = given_ & (Rig::kRing - 1);
    const std::size_t all = static_cast<std::size_t>(published_ - given_), first = std::min(all, Rig::kRing - start);
    const iovec spans[2] = {{rig_.producer.base() + start, first}, {rig_.producer.base(), all - first}};
    std::size_t done = 0;
    EXPECT_NE(end_.give(spans, done), StreamEnd::Given::gone);
    given_ += done;
  }

  Rig& rig_;
  const Setup& setup_;
  StreamEnd end_;
  bool closed_ = false, stream_ = false;
  std::uint64_t position_ = 0, tail_ = 0, published_ = 0, given_ = 0;
  Random random_{11};
};

void round(const Setup& setup, unsigned turns) {
  Rig rig;
  rig.shared->kills_left = setup.kill ? 2 : 0;
  Stack stack{rig, setup};
  const int count = setup.readers + setup.writers;
  Crew crew{count, setup.processes, [&](int id) {
              if (id < setup.readers) read_until_end(rig, id, setup);
              else write_until_stop(rig, id, setup);
            }};
  ASSERT_TRUE(eventually([&] { return rig.shared->ready >= static_cast<unsigned>(count); }));
  for (unsigned i = 0; i < turns; ++i) stack.turn();
  std::thread switcher{[&] {
    Client me{rig, 500, {.readers = 2, .writers = 2, .processes = false, .preempt = false}};
    me.ask(Wish::switching);
    me.help();
  }};
  const auto turn = [&] {
    if (setup.kill) crew.reap();
    stack.turn();
    return stack.streaming();
  };
  EXPECT_TRUE(eventually(turn)) << "W " << std::hex << rig.slot->rx_word << " strays " << rig.slot->rx_strays << " stalling "
                                << rig.slot->tx_stalling << " lock " << rig.slot->tx_lock;
  switcher.join();
  for (unsigned i = 0; i < 200; ++i) stack.turn();
  rig.shared->stop = 1;
  stack.finish();
  EXPECT_TRUE(crew.join());
  stack.drain();
  EXPECT_FALSE(rig.producer.broken() || rig.consumer.broken());
  if (setup.kill) return;
  EXPECT_EQ(stack.taken, rig.shared->bytes);
  EXPECT_EQ(stack.taken_sum, rig.shared->operations);
  EXPECT_EQ(rig.shared->sum, 0u) << "readers did not get what was given";
  EXPECT_EQ(rig.shared->spurious, 0u) << "bytes in the wrong order";
  rig.close_stack();
  EXPECT_EQ(poll_mask(rig.program()) & (POLLERR | POLLHUP), POLLERR | POLLHUP) << "the ballast makes it a reset";
}

void run(const Setup& setup) {
  SCOPED_TRACE(testing::Message() << setup.readers << " readers " << setup.writers << " writers"
                                  << (setup.processes ? " processes" : " threads") << (setup.preempt ? " preempted" : ""));
  Random random{17};
  const auto end = now() + stress_time();
  do {
    round(setup, static_cast<unsigned>(random.below(300)));
  } while (!testing::Test::HasFailure() && now() < end);
}

TEST(StreamSwitch, ThreadsAndProcessesInTheMiddleOfCalls) {
  for (const bool processes : {false, true}) {
    for (const auto& [readers, writers] : {std::pair{1, 1}, {2, 2}, {4, 4}}) {
      for (const bool preempt : {false, true}) run({readers, writers, processes, preempt});
    }
  }
}

TEST(StreamSwitch, ProcessesKilledInTheMiddleDelayItOnly) {
  for (const Step where : {Step::won_token, Step::won_stall, Step::write_copied})
    round({.readers = 3, .writers = 3, .processes = true, .preempt = true, .kill = true, .where = where}, 400);
}

/// One end of the program, held at a step.
class HeldEnd final : public ProgramIo {
 public:
  explicit HeldEnd(const Rig& rig) : real_(rig.program(), *rig.slot, nullptr, nullptr, 0) {}
  bool take_token() override { return real_.take_token(); }
  Await await_token() override { return real_.await_token(); }
  Stalled send_stall() override { return ++stalls, real_.send_stall(); }
  void yield() override {
    sched_yield();
    ++yields;
    if (at_yield) at_yield();
  }
  std::uint64_t now_us() override { return real_.now_us(); }
  void ring() override {}
  void step(Step step) override {
    if (at_step && step == where) std::exchange(at_step, nullptr)();
  }
  Step where{};
  std::function<void()> at_step, at_yield;
  unsigned yields = 0, stalls = 0;

 private:
  ProgramEnd real_;
};

TEST(StreamSwitch, WaitsForAReaderThatWasOvertaken) {
  Rig rig;
  HeldEnd slow{rig}, other{rig}, switcher{rig};
  std::atomic<bool> held{false}, go_on{false};
  slow.where = Step::won_token;
  slow.at_step = [&] {
    held = true;
    EXPECT_TRUE(eventually([&] { return go_on.load(); }));
  };
  const auto read = [&](HeldEnd& io) {
    char buffer[64];
    const iovec piece{buffer, sizeof buffer};
    return ReceiveRingReader{*rig.slot, rig.arena(), rig.arena_size(), io}.read({&piece, 1}).kind;
  };
  rig.put(10);
  rig.producer.flush(rig.end);
  std::thread reader{[&] { EXPECT_EQ(read(slow), ReadOutcome::Kind::data); }};
  ASSERT_TRUE(eventually([&] { return held.load(); }));
  EXPECT_EQ(read(other), ReadOutcome::Kind::empty) << "after it has taken the token in the slow one's place";
  EXPECT_EQ(rig.slot->rx_strays, 1u);
  rig.producer.set_mode(Mode::switching);
  ASSERT_TRUE(rig.producer.close_ring());
  switcher.at_yield = [&] { go_on = true; };
  ReceiveRingReader{*rig.slot, rig.arena(), rig.arena_size(), switcher}.drain();
  EXPECT_GT(switcher.yields, 0u) << "the slow one could still take a byte of the stream";
  go_on = true;
  reader.join();
  EXPECT_EQ(rig.slot->rx_strays, 0u);
}

TEST(StreamSwitch, AWriterThatComesLateSendsNoStall) {
  Rig rig;
  HeldEnd late{rig}, switcher{rig};
  late.where = Step::deciding_stall;
  late.at_step = [&] {  // it has seen that the ring is full, and no more
    rig.producer.set_mode(Mode::switching);
    ASSERT_TRUE(rig.producer.close_ring() && rig.consumer.close_ring());
    rig.consumer.release(rig.end);
    SendRingWriter{*rig.slot, rig.arena(), rig.arena_size(), switcher}.wait_for_others();
    EXPECT_EQ(rig.slot->tx_stalling, 0u);
    rig.producer.set_mode(Mode::stream);
  };
  std::vector<char> data(Rig::kRing);
  const iovec piece{data.data(), data.size()};
  const auto outcome = SendRingWriter{*rig.slot, rig.arena(), rig.arena_size(), late}.write({&piece, 1});
  EXPECT_EQ(outcome.bytes, data.size());
  EXPECT_EQ(rig.consumer.queued(), data.size()) << "what was written before the switch counts";
  EXPECT_EQ(late.stalls, 0u);
}

TEST(StreamEnd, LeavesTheBallastAndKeepsOrder) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
  const Unit unit = Unit::stall();
  for (int i = 0; i < 9; ++i) ASSERT_EQ(send(fds[0], &unit, sizeof unit, 0), 64);
  StreamEnd end{fds[1], 9 * kUnitSize};
  std::byte room[300];
  const iovec span{room, sizeof room};
  EXPECT_TRUE(end.take({&span, 1}).dry) << "units are no data";
  std::uint64_t sent = 0, got = 0;
  Random random{5};
  while (got < 100'000) {
    std::uint8_t data[500];
    const std::size_t n = random.below(sizeof data);
    for (std::size_t i = 0; i < n; ++i) data[i] = value_at(sent + i);
    if (const ssize_t k = send(fds[0], data, n, 0); k > 0) sent += static_cast<std::uint64_t>(k);
    const std::size_t first = random.below(100), second = random.below(200);
    const iovec spans[2] = {{room, first}, {room + 100, second}};
    const auto taken = end.take(spans);
    for (std::size_t i = 0; i < taken.bytes; ++i, ++got)
      ASSERT_EQ(room[i < first ? i : 100 + i - first], std::byte{value_at(got)});
    if (taken.dry) {
      ASSERT_EQ(got, sent);
    }
    int unread = 0;
    ASSERT_EQ(ioctl(fds[1], SIOCINQ, &unread), 0);
    ASSERT_GE(unread, 1);
  }
  // Out-of-band bytes are nobody's data, and stop nothing.
  ASSERT_EQ(send(fds[0], "o", 1, MSG_OOB), 1);
  while (end.take({&span, 1}).bytes > 0) {
  }
  ASSERT_EQ(send(fds[0], "abc", 3, 0), 3);
  std::size_t more = 0;
  EXPECT_TRUE(eventually([&] { return (more += end.take({&span, 1}).bytes) >= 3; }));
  end.drop_ballast();
  close(fds[1]);
  char byte;
  EXPECT_EQ(recv(fds[0], &byte, 1, 0), 0) << "no ballast, no reset";
  close(fds[0]);
}

}  // namespace
}  // namespace iopkt::ipc::test
