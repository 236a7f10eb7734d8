// Losses found by time and by probes (RACK-TLP, RFC 8985), repaired at a proportional rate (PRR, RFC 9937), and reductions that are
// taken back (RFC 3522, RFC 3708, RFC 5682).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tcp/test_pair.hpp"
#include "tcp/test_script.hpp"

namespace iopkt::tcp {
namespace {

using testing::From;
using testing::Script;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Lines = std::vector<std::string>;

struct Rack_ : Script {
  Rack_() { tunables.rack = tunables.prr = tunables.frto = 1; }
  /// ESTABLISHED with SACK, a round trip of 20 ms, and plenty to send: ten segments of 1000 bytes in flight since `sent`.
  void ten() {
    open();
    sent = now;
    ASSERT_THAT(texts(write(100000)), ElementsAre(". 1 ack 1 len 10000"));
    now += 20ms;
  }
  void open(bool timestamps = false) {
    config.timestamps = timestamps;
    c.emplace(Connection::open_active(context, config, iss, now));
    drain();
    now += 20ms;
    wire::TcpOptions o;
    o.mss = 1000;
    o.sack_permitted = true;
    if (timestamps) o.timestamps = {1, ts()};
    give_raw({.seq = irs, .ack = iss + 1, .flags = wire::syn | wire::ack, .window = 65535, .options = o});
    events = 0;
  }
  /// What a segment that we send now carries.
  std::uint32_t ts() const { return c->timestamp(now); }
  const Sender& snd() const { return block().snd; }
  Instant sent;
};

TEST(TcpRack, TimeNotOrderByRfc8985Section6_2) {
  Rack_ s;
  s.ten();
  // One segment overtook the first: that may be reordering, for a quarter of the shortest round trip.
  EXPECT_THAT(s.texts(s.give({.sack = {{1001, 2001}}})), ElementsAre(". 10001 ack 1 len 1000"));
  EXPECT_EQ(s.c->info().phase, Phase::open);
  EXPECT_EQ(s.snd().air().reorder_at, s.sent + 25ms);
  EXPECT_THAT(s.texts(s.wait(5ms)), ElementsAre(". 1 ack 1 len 1000"));
  EXPECT_EQ(s.c->info().phase, Phase::fast_recovery);
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_sack), 1u);
}

/// RFC 5681 section 3.2: FlightSize is what was in flight when the loss was seen, though the same acknowledgment may end most of it, as
/// where GRO makes one of a burst.
TEST(TcpRack, AnAcknowledgmentOfABurstHalvesTheWholeWindow) {
  Rack_ s;
  s.ten();
  s.give({.ack = 6001, .sack = {{7001, 10001}}});
  ASSERT_EQ(s.c->info().phase, Phase::fast_recovery);
  EXPECT_EQ(s.c->info().ssthresh, 5000u);
}

TEST(TcpRack, WithoutReorderingThreeAreEnoughBySection6_2Step4) {
  Rack_ s;
  s.ten();
  EXPECT_EQ(s.text(s.give({.sack = {{1001, 4001}}}).at(0)), ". 1 ack 1 len 1000");
}

TEST(TcpRack, WhereSegmentsWereReorderedThreeAreNoLossBySection6_2Step4) {
  Rack_ s;
  s.ten();
  s.give({.sack = {{1001, 2001}}});
  s.give({.ack = 2001});  // the first one came after all
  EXPECT_TRUE(s.c->info().reordering);
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_reordered), 1u);
  s.give({.ack = 2001, .sack = {{3001, 7001}}});
  EXPECT_EQ(s.c->info().phase, Phase::open);
  EXPECT_EQ(s.snd().air().reorder_at, s.sent + 25ms);
  s.wait(5ms);
  EXPECT_EQ(s.c->info().phase, Phase::fast_recovery);
}

TEST(TcpRack, DsacksWidenTheWindowBySection6_2Step4) {
  Rack_ s;
  s.ten();
  s.give({.ack = 1001, .sack = {{1, 1001}}});
  EXPECT_EQ(s.snd().reo_wnd_mult, 2);
  s.give({.ack = 2001, .sack = {{1001, 2001}}});
  EXPECT_EQ(s.snd().reo_wnd_mult, 2) << "once a round";
  s.give({.ack = 2001, .sack = {{3001, 4001}}});
  EXPECT_EQ(s.snd().air().reorder_at, s.sent + 30ms) << "20 ms and 2 * 20 ms / 4";
}

TEST(TcpRack, ALostRetransmissionIsLostAgainBySection6_2Step5) {
  Rack_ s;
  s.ten();
  s.give({.sack = {{1001, 4001}}});
  ASSERT_EQ(s.c->info().phase, Phase::fast_recovery);
  const std::uint32_t first = s.c->info().ssthresh;
  s.now += 20ms;
  // What went out with the retransmission is there, the retransmission is not.
  for (std::uint32_t to = 5001; to <= 10001; to += 1000) s.give({.sack = {{1001, to}}});
  ASSERT_EQ(s.count(&Counters<Counter>::tx_retransmitted_segments), 1u);
  s.now += 25ms;
  const auto out = s.give({.sack = {{1001, static_cast<std::uint32_t>(s.snd().nxt)}}});
  ASSERT_FALSE(out.empty());
  EXPECT_EQ(s.text(out.at(0)), ". 1 ack 1 len 1000");
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_lost_again), 1u);
  EXPECT_LT(s.c->info().ssthresh, first) << "another congestion (RFC 5681 section 4.3)";
}

TEST(TcpRack, AfterATimeoutOnlyWhatIsOldIsLostBySection6_3) {
  Rack_ s;
  s.open();
  s.write(1000);
  s.now += 150ms;
  s.write(9000);
  EXPECT_EQ(s.c->info().flight, 10000u);
  s.tunables.frto = 0;
  s.edit([](ControlBlock& b) { b.snd.air().probe_at = Instant::never(), b.snd.rtt.srtt = b.snd.rtt.minimum = b.snd.air().rk.rtt = 100ms; });
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 1 ack 1 len 1000"));
  EXPECT_EQ(s.c->info().phase, Phase::loss);
  EXPECT_EQ(s.c->info().lost, 0u);
  EXPECT_EQ(s.c->info().pipe, 10000u) << "what was sent later is still on its way";
}

// ---- tail loss probes -------------------------------------------------------------------------------------------------

TEST(TcpTlp, ProbeWithNewDataByRfc8985Section7_3) {
  Rack_ s;
  s.ten();  // cwnd is full
  EXPECT_EQ(s.snd().air().probe_at, s.sent + 40ms) << "2 * SRTT";
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 10001 ack 1 len 1000"));
  EXPECT_EQ(s.now, s.sent + 40ms);
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_probes), 1u);
  EXPECT_TRUE(s.snd().air().probe_at.is_never()) << "one at a time";
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 1 ack 1 len 1000"));
  EXPECT_EQ(s.c->info().phase, Phase::loss);
}

TEST(TcpTlp, ALostTailIsRepairedInOneRoundBySection7_4_2) {
  Rack_ s;
  s.open();
  s.write(3000);
  s.now += 20ms;
  s.give({.ack = 2001});
  const auto probe = s.next_timer();
  EXPECT_THAT(s.texts(probe), ElementsAre(". 2001 ack 1 len 1000"));
  EXPECT_TRUE(probe.at(0).retransmission);
  s.now += 20ms;
  const std::uint32_t cwnd = s.c->info().cwnd;
  s.give({.ack = 3001});
  EXPECT_EQ(s.c->info().cwnd, cwnd) << "perhaps both arrived";
  s.write(1000);
  s.now += 20ms;
  s.give({.ack = 4001});
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_probe_repaired), 1u);
  EXPECT_LT(s.c->info().cwnd, cwnd);
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_rto), 0u);
}

TEST(TcpTlp, AProbeThatWasNotNeededCostsNothingBySection7_4_2) {
  for (const bool dsack : {true, false}) {
    Rack_ s;
    s.open();
    s.write(3000);
    s.next_timer();
    s.now += 20ms;
    s.give({.ack = 3001});
    if (dsack) s.give({.ack = 3001, .sack = {{2001, 3001}}});
    else s.give({.ack = 3001});
    const std::uint32_t cwnd = s.c->info().cwnd;
    s.write(1000);
    s.now += 20ms;
    s.give({.ack = 4001});
    EXPECT_GE(s.c->info().cwnd, cwnd);
    EXPECT_EQ(s.count(&Counters<Counter>::recovery_probe_repaired), 0u);
    EXPECT_FALSE(s.snd().has_air()) << "what such a probe has taught takes no memory of its own";
    EXPECT_EQ(s.snd().reo_wnd_mult, dsack ? 2 : 1);
  }
}

TEST(TcpTlp, OneSegmentWaitsForADelayedAckBySection7_2) {
  Rack_ s;
  s.open();
  const Instant at = s.now;
  s.write(1000);
  EXPECT_EQ(s.snd().air().probe_at, std::min(s.block().rexmt_at, at + 240ms));
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 1 ack 1 len 1000"));
  EXPECT_EQ(s.c->info().phase, Phase::open) << "in place of the timer";
}

/// The last segments of each burst are lost: the timer has little to do.
TEST(TcpTlp, TailsOfBurstsAreRepairedWithoutTimeouts) {
  std::uint64_t timeouts[2]{};
  for (const bool on : {false, true}) {
    testing::Pair p(3);
    p.faults[0].loss = 0.05;
    p.a.tunables.rack = on ? 1 : 0;
    p.connect();
    for (int burst = 0; burst < 200; ++burst) {
      p.a.write_limit += 12000;
      p.settle(0);
      ASSERT_TRUE(p.run_until([&] { return p.b.read == p.a.write_limit; }, 100s));
      p.run_for(50ms);
    }
    timeouts[on ? 1 : 0] = p.a.count(&Counters<Counter>::recovery_rto);
  }
  EXPECT_GT(timeouts[0], 2 * timeouts[1]);
}

// ---- PRR --------------------------------------------------------------------------------------------------------------

TEST(TcpPrr, OneForTwoByRfc9937Section6_2) {
  Rack_ s;
  s.ten();
  // NewReno halves ten segments: 5000. RecoverFS is 10000: every second delivered segment lets one out.
  s.give({.sack = {{1001, 4001}}});
  ASSERT_EQ(s.c->info().ssthresh, 5000u);
  std::uint32_t out = 0;
  for (std::uint32_t to = 5001; to <= 10001; to += 1000)
    for (const auto& one : s.give({.sack = {{1001, to}}})) out += one.payload_len;
  // ceil(4000 * 5000 / 10000) less 1000 that went out already; from 5000 in flight on, one for one.
  EXPECT_EQ(out, 4000u);
  EXPECT_EQ(s.snd().air().prr_delivered, 9000);
  s.give({.ack = 10001});
  EXPECT_EQ(s.c->info().cwnd, 5000u) << "the end of the recovery: ssthresh";
}

TEST(TcpPrr, TheReductionBoundByRfc9937Section6_2) {
  Rack_ s;
  s.ten();
  // Most of the window is lost: what is left is below ssthresh, so each delivered segment lets one out (CRB).
  std::uint32_t out = 0;
  for (const auto& one : s.give({.sack = {{9001, 10001}}})) out += one.payload_len;
  for (const auto& one : s.wait(5ms)) out += one.payload_len;
  EXPECT_EQ(s.c->info().phase, Phase::fast_recovery);
  EXPECT_EQ(s.c->info().lost, 8000u);
  EXPECT_EQ(out, 2000u) << "a new one in open, and the forced retransmission";
  // Repairs that arrive: one more each (SSRB), slow start up to ssthresh.
  s.now += 20ms;
  std::uint32_t again = 0;
  for (const auto& one : s.give({.ack = 1001, .sack = {{9001, 11001}}})) again += one.payload_len;
  EXPECT_EQ(again, 3000u) << "two were delivered";
}

// ---- undo -------------------------------------------------------------------------------------------------------------

TEST(TcpUndo, FRtoByRfc5682Section2_1) {
  Rack_ s;
  s.ten();
  s.edit([](ControlBlock& b) { b.snd.air().probe_at = Instant::never(); });
  const std::uint32_t cwnd = s.c->info().cwnd;
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 1 ack 1 len 1000"));
  ASSERT_EQ(s.c->info().phase, Phase::loss);
  // Step 2b: the first ACK lets two new segments out. Step 3b: the second one acknowledges what was never sent again.
  EXPECT_THAT(s.texts(s.give({.ack = 1001})), ElementsAre(". 10001 ack 1 len 2000"));
  s.give({.ack = 2001});
  EXPECT_EQ(s.c->info().phase, Phase::open);
  EXPECT_GE(s.c->info().cwnd, cwnd);
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_undone), 1u);
  EXPECT_EQ(s.count(&Counters<Counter>::tx_retransmitted_segments), 1u);
}

TEST(TcpUndo, FRtoOfARealLossByRfc5682Section3_1) {
  Rack_ s;
  s.ten();
  s.edit([](ControlBlock& b) { b.snd.air().probe_at = Instant::never(); });
  s.next_timer();
  EXPECT_THAT(s.texts(s.give({.ack = 1001})), ElementsAre(". 10001 ack 1 len 2000"));
  // Only the new data arrives: the second segment is lost.
  const auto out = s.give({.ack = 1001, .sack = {{10001, 11001}}});
  EXPECT_EQ(s.c->info().phase, Phase::loss);
  ASSERT_FALSE(out.empty());
  EXPECT_EQ(s.rel_seq(out.at(0)), 1001u);
  EXPECT_LE(s.c->info().cwnd, 3000u);
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_undone), 0u);
}

TEST(TcpUndo, FRtoOfARealLossWithoutSackByRfc5682Section2_1) {
  Rack_ s;
  s.establish();
  s.write(100000);
  s.next_timer();
  EXPECT_THAT(s.texts(s.give({.ack = 1001})), ElementsAre(". 10001 ack 1 len 2000"));
  // Step 3a: a duplicate. The next hole goes out at once, though the new data counts as in flight.
  EXPECT_EQ(s.text(s.give({.ack = 1001}).at(0)), ". 1001 ack 1 len 1000");
  EXPECT_EQ(s.c->info().cwnd, 3000u);
}

TEST(TcpUndo, EifelByRfc3522Section3_2) {
  Rack_ s;
  s.open(true);
  s.write(100000);
  const std::uint32_t original = s.ts();
  const std::uint32_t cwnd = s.c->info().cwnd;
  s.now += 20ms;
  s.give({.sack = {{1001, 4001}}, .ts = wire::TcpTimestamps{2, original}});
  ASSERT_EQ(s.c->info().phase, Phase::fast_recovery);
  s.now += 2ms;
  s.give({.ack = 4001, .ts = wire::TcpTimestamps{3, original}});
  EXPECT_EQ(s.c->info().phase, Phase::open);
  EXPECT_GE(s.c->info().cwnd, cwnd);
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_undone), 1u);
}

TEST(TcpUndo, DuplicatesOfAllThatWasSentAgainByRfc3708) {
  Rack_ s;
  s.ten();
  const std::uint32_t cwnd = s.c->info().cwnd;
  s.give({.sack = {{1001, 4001}}});
  ASSERT_EQ(s.c->info().phase, Phase::fast_recovery);
  s.now += 20ms;
  s.give({.ack = 10001});
  ASSERT_EQ(s.c->info().phase, Phase::open) << "the recovery is over before the duplicate is reported";
  ASSERT_LT(s.c->info().cwnd, cwnd);
  s.give({.ack = 10001, .sack = {{1, 1001}}});
  EXPECT_GE(s.c->info().cwnd, cwnd);
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_undone), 1u);
}

// ---- bounds -----------------------------------------------------------------------------------------------------------

TEST(TcpRack, DividedAcknowledgmentsGrowNothingByRfc3465) {
  std::uint32_t cwnd[2];
  for (const std::uint32_t step : {1000u, 10u}) {
    Rack_ s;
    s.ten();
    for (std::uint32_t a = 1 + step; a <= 10001; a += step) s.give({.ack = a});
    cwnd[step == 10] = s.c->info().cwnd;
  }
  EXPECT_EQ(cwnd[0], cwnd[1]);
}

TEST(TcpRack, HostileSacksHaveABound) {
  Rack_ s;
  s.config.receive_capacity = 65535;
  s.open();
  s.edit([](ControlBlock& b) { b.snd.cc.cwnd = 1 << 20, b.snd.wnd = b.snd.max_wnd = 1 << 20; });
  s.write(1 << 20);
  for (std::uint32_t at = 3; at < 60000; at += 2)
    s.give({.window = 65535, .sack = {{at, at + 1}, {at + 200001, at + 200002}, {at + 400001, at + 400002}}});
  EXPECT_LE(s.snd().air().log.size(), 2 * SentLog::kMost + 700);
  s.give({.ack = (1 << 20) + 1});
  EXPECT_EQ(s.snd().air().log.size(), 0u);
  EXPECT_EQ(s.c->info().sacked, 0u);
}

/// More transmissions in flight than there are records: the last ones share one, and its time is the newest one's. Of the pieces that
/// arrive nobody knows when they went out.
TEST(TcpRack, PartsOfASharedRecordAreNoSample) {
  Rack_ s;
  s.config.options.nodelay = true;
  s.open();
  s.edit([](ControlBlock& b) { b.snd.cc.cwnd = 1 << 20; });
  std::vector<Instant> sent_at;
  for (int i = 0; i < 4000; ++i) {
    s.write(10);
    sent_at.push_back(s.now);
    s.now += 10us;
  }
  ASSERT_TRUE(s.snd().air().log.back().shared);
  for (std::size_t i = 0; i < sent_at.size(); i += 2) {
    s.now = std::max(s.now, sent_at[i + 1] + 50ms);
    s.give({.ack = static_cast<std::uint32_t>(1 + 10 * (i + 2))});
  }
  EXPECT_EQ(s.c->info().min_rtt, Duration{20ms}) << "of the SYN";
  EXPECT_GE(s.snd().rack_rtt, Duration{50ms});
}

/// The timer calls lost what was sent in a recovery: it does not go out again at once, but as acknowledgments come.
TEST(TcpRack, WhatTheReorderingTimerLosesIsGovernedByPrr) {
  Rack_ s;
  s.open();
  s.edit([](ControlBlock& b) { b.snd.cc.cwnd = 40'000, b.snd.reordering_seen = true; });
  s.write(1'000'000);
  s.now += 20ms;
  s.give({.sack = {{39001, 40001}}});
  EXPECT_THAT(s.texts(s.wait(5ms)), ElementsAre(". 1 ack 1 len 1000")) << "all but the last is lost, and one goes out";
  ASSERT_EQ(s.c->info().phase, Phase::fast_recovery);
  std::uint32_t una = 1, sent = 1000;
  for (int round = 0; round < 8 && sent != 5000; ++round) {
    s.now += 20ms;
    una += sent;
    sent = 0;
    for (const auto& out : s.give({.ack = una, .sack = {{39001, 40001}}})) sent += out.payload_len;
  }
  ASSERT_EQ(sent, 5000u);
  // The last of these five arrives, the four before it do not.
  s.now += 20ms;
  EXPECT_THAT(s.give({.ack = una, .sack = {{39001, 40001}, {una + 4000, una + 5000}}}).size(), 1u);
  const auto burst = s.wait(5ms);
  ASSERT_EQ(burst.size(), 1u) << "a congestion of its own: one goes out, as at the beginning of a recovery";
  EXPECT_EQ(burst[0].payload_len, 1000u);
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_lost_again), 1u);
}

}  // namespace
}  // namespace iopkt::tcp
