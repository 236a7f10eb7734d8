// Explicit congestion notification (RFC 3168), and pacing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tcp/test_pair.hpp"
#include "tcp/test_script.hpp"

namespace iopkt::tcp {
namespace {

using testing::Pair;
using testing::Script;

/// ESTABLISHED by our SYN, with ECN and an MSS of 1000.
void open_ecn(Script& s) {
  s.tunables.ecn_enable = 1;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  const auto syn = s.drain();
  ASSERT_TRUE(syn.at(0).has(wire::ece) && syn.at(0).has(wire::cwr)) << "an ECN-setup SYN";
  s.now += 10ms;
  wire::TcpOptions o;
  o.mss = 1000;
  s.give_raw({.seq = s.irs, .ack = s.iss + 1, .flags = wire::syn | wire::ack | wire::ece, .window = 65535, .options = o});
  ASSERT_TRUE(s.c->info().ecn);
}

TEST(TcpEcn, SetupByRfc3168Section6_1_1) {
  const struct {
    std::uint32_t active, passive;
    bool on;
  } rows[] = {{1, 1, true}, {1, 2, true}, {1, 0, false}, {2, 1, false}, {2, 2, false}, {0, 1, false}};
  for (const auto& row : rows) {
    SCOPED_TRACE(std::to_string(row.active) + " " + std::to_string(row.passive));
    Pair p;
    p.a.tunables.ecn_enable = row.active;
    p.b.tunables.ecn_enable = row.passive;
    p.a.write_limit = 20000;
    p.establish();
    ASSERT_TRUE(p.run_until([&] { return p.b.read == 20000; }, 10s));
    EXPECT_EQ(p.a.connection->info().ecn, row.on);
    EXPECT_EQ(p.b.connection->info().ecn, row.on);
    EXPECT_EQ(p.b.connection->info().ecn_seen, row.on);
    for (const auto& s : p.trace) {
      EXPECT_EQ(s.segment.ect, row.on && s.segment.payload_len > 0) << "data, and nothing else";
      if (s.segment.has(wire::syn)) {
        EXPECT_EQ(s.segment.has(wire::cwr), s.from == 0 && row.active == 1);
      }
    }
  }
}

TEST(TcpEcn, AnAnswerThatIsNoSetupBySection6_1_1) {
  // A peer that reflects what it does not know: ECE and CWR.
  Script s;
  s.tunables.ecn_enable = 1;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  s.drain();
  s.give_raw({.seq = s.irs, .ack = s.iss + 1, .flags = wire::syn | wire::ack | wire::ece | wire::cwr, .window = 65535, .options = {}});
  EXPECT_FALSE(s.c->info().ecn);
}

TEST(TcpEcn, ASynThatWasLostGoesAgainWithoutBySection6_1_1_1) {
  Script s;
  s.tunables.ecn_enable = 1;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  s.drain();
  const auto again = s.next_timer();
  EXPECT_FALSE(again.at(0).has(wire::ece) || again.at(0).has(wire::cwr));
}

TEST(TcpEcn, TheSenderBySection6_1_2) {
  Script s;
  open_ecn(s);
  EXPECT_TRUE(s.write(100000).at(0).ect);
  const auto echo = [&](std::uint32_t ack) { return s.give({.ack = ack, .flags = wire::ack | wire::ece}); };
  auto out = echo(2001);
  EXPECT_EQ(s.c->info().ssthresh, 5000u) << "half of the 10000 in flight before it";
  EXPECT_EQ(s.c->info().phase, Phase::open) << "nothing is sent again";
  EXPECT_EQ(s.count(&Counters<Counter>::ecn_reductions), 1u);
  // Once for a window of data; CWR with the first new data, in a segment of its own.
  std::size_t cwr = 0;
  for (std::uint32_t a = 3001; a <= 10001; a += 1000)
    for (const auto& one : echo(a)) {
      cwr += one.has(wire::cwr);
      if (one.has(wire::cwr)) {
        EXPECT_EQ(one.payload_len, 1000u);
      }
    }
  EXPECT_EQ(cwr, 1u);
  EXPECT_EQ(s.count(&Counters<Counter>::ecn_reductions), 1u);
  echo(static_cast<std::uint32_t>(s.block().snd.nxt));
  EXPECT_EQ(s.count(&Counters<Counter>::ecn_reductions), 2u) << "the next window";
}

TEST(TcpEcn, TheReceiverBySection6_1_3) {
  Script s;
  open_ecn(s);
  const wire::TcpOptions none;
  const auto data = [&](std::uint32_t seq, bool ce, std::uint16_t flags = wire::ack) {
    auto out = s.give_raw({.seq = s.irs + seq, .ack = s.iss + 1, .flags = flags, .window = 65535, .options = none,
                           .payload_len = 1000, .ecn = static_cast<std::uint8_t>(ce ? 3 : 2)});
    for (auto& later : s.wait(50ms)) out.push_back(later);
    return out;
  };
  EXPECT_FALSE(data(1, false).at(0).has(wire::ece));
  EXPECT_TRUE(data(1001, true).at(0).has(wire::ece));
  EXPECT_TRUE(data(2001, false).at(0).has(wire::ece)) << "until CWR comes";
  EXPECT_FALSE(data(3001, false, wire::ack | wire::cwr).at(0).has(wire::ece));
  EXPECT_TRUE(data(4001, true, wire::ack | wire::cwr).at(0).has(wire::ece)) << "a new mark counts";
  EXPECT_EQ(s.count(&Counters<Counter>::rx_ce), 2u);
}

TEST(TcpEcn, RetransmissionsAreNotMarkedBySection6_1_5) {
  Script s;
  open_ecn(s);
  s.write(3000);
  EXPECT_FALSE(s.next_timer().at(0).ect);
}

/// A queue that marks instead of dropping: no loss, and the link is busy.
TEST(TcpEcn, AMarkingQueueLosesNothing) {
  for (const CongestionControl* cc : {&cubic(), &newreno()}) {
    SCOPED_TRACE(cc->name());
    Pair p;
    p.a.config.congestion = cc;
    p.a.tunables.ecn_enable = 1;
    p.faults[0] = {.delay = 10ms, .rate_bps = 20'000'000, .queue_bytes = 400'000, .mark_bytes = 60'000};
    p.a.write_limit = 20'000'000;
    p.a.send_buffer = 1 << 20;
    p.b.config.receive_capacity = p.b.config.receive_capacity_max = 1 << 20;
    p.connect();
    const Instant start = p.now;
    ASSERT_TRUE(p.run_until([&] { return p.b.read == 20'000'000; }, 100s));
    EXPECT_EQ(p.a.count(&Counters<Counter>::tx_retransmitted_segments), 0u);
    EXPECT_GT(p.a.count(&Counters<Counter>::ecn_reductions), 3u);
    EXPECT_LT(p.now - start, 9s) << "8.4 s at the full rate";
  }
}

// ---- pacing -----------------------------------------------------------------------------------------------------------

TEST(TcpPacing, AWindowIsSpreadOverTheRoundTrip) {
  Pair p;
  p.a.tunables.pacing = 1;
  p.a.config.congestion = &newreno();
  p.faults[0].delay = p.faults[1].delay = 50ms;
  p.establish();
  p.a.write_limit = 14480;  // ten segments at 2 * 14600 / 100 ms
  const Instant start = p.now;
  p.settle(0);
  std::size_t at_once = 0;
  for (const auto& s : p.trace) at_once += s.from == 0 && s.at == start && s.segment.payload_len > 0;
  EXPECT_LE(at_once, 3u);
  ASSERT_TRUE(p.run_until([&] { return p.b.read == 14480; }, 1s));
  Instant last{};
  for (const auto& s : p.trace)
    if (s.from == 0 && s.segment.payload_len > 0) last = s.at;
  EXPECT_GE(last - start, 30ms);
  EXPECT_LE(last - start, 55ms);
}

TEST(TcpPacing, TheRateIsReachedWithLargeSegments) {
  Pair p;
  p.keep_trace = false;
  p.a.tunables.pacing = 1;
  p.faults[0] = p.faults[1] = {.delay = 1ms, .rate_bps = 1'000'000'000, .queue_bytes = 1'000'000};
  p.a.write_limit = 60'000'000;
  p.a.send_buffer = 4 << 20;
  p.b.config.receive_capacity = p.b.config.receive_capacity_max = 4 << 20;
  p.connect();
  const Instant start = p.now;
  ASSERT_TRUE(p.run_until([&] { return p.b.read == 60'000'000; }, 100s));
  EXPECT_LT(p.now - start, 560ms) << "502 ms at the full rate";
  const Sender& snd = p.a.connection->export_state().snd;
  EXPECT_GT(snd.pacing_rate(), 100'000'000u);
  EXPECT_EQ(snd.pacing_quantum(), 65536) << "still in large segments";
}

TEST(TcpPacing, OfTheLargestSegmentsTwoMayGoAtOnce) {
  Sender snd;
  snd.peer_mss = snd.path_mss = 65'000;
  EXPECT_EQ(snd.pacing_quantum(), 2 * Offset{snd.mss()});
  EXPECT_GT(snd.pacing_quantum(), 65536);
}

}  // namespace
}  // namespace iopkt::tcp
