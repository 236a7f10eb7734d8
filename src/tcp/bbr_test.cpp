// BBR version 3: the states of draft-ietf-ccwg-bbr on paths of known rate and delay, much as its appendix A asks; and the delivery rate.
#include <gtest/gtest.h>

#include "tcp/bbr.hpp"
#include "tcp/test_pair.hpp"

namespace iopkt::tcp {
namespace {

using testing::Pair;

constexpr std::uint64_t kPayloadOf = 1448, kFrame = 1460 + 66 - 12;  // what test_pair's wire counts for a full segment

/// a sends to b over a bottleneck; 20 ms each way.
struct Flow {
  Pair p;
  explicit Flow(std::uint64_t rate_bps = 10'000'000, std::uint32_t queue = 200'000, std::uint64_t seed = 1,
                void (*adjust)(Pair&) = [](Pair&) {})
      : p(seed) {
    p.keep_trace = false;
    p.a.config.congestion = &bbr();
    p.a.send_buffer = 8u << 20;
    p.b.config.receive_capacity = p.b.config.receive_capacity_max = 8u << 20;
    p.faults[0] = {.delay = 20ms, .rate_bps = rate_bps, .queue_bytes = queue};
    p.faults[1].delay = 20ms;
    adjust(p);
    p.establish();
  }
  const Sender& snd() const { return p.a.connection->export_state().snd; }
  BbrState bbr_state() const { return snd().cc.load<BbrState>(); }
  BbrMode mode() const { return bbr_state().state; }
  void send(std::uint64_t bytes) {
    p.a.write_limit += bytes;
    p.settle(0);
  }
  void send_for_ever() { send(std::uint64_t{1} << 40); }
  bool reach(BbrMode mode_wanted, Duration limit = 60s) {
    return p.run_until([&] { return mode() == mode_wanted; }, limit);
  }
  /// Payload bytes per second that the bottleneck has room for.
  double capacity() const { return static_cast<double>(p.faults[0].rate_bps) / 8 * kPayloadOf / kFrame; }
  double goodput(Duration time) {
    const std::uint64_t before = p.b.read;
    p.run_for(time);
    return static_cast<double>(p.b.read - before) * 1e9 / static_cast<double>(time.count());
  }
};

TEST(TcpDeliveryRate, IsThatOfTheBottleneck) {
  Flow f;
  f.send_for_ever();
  f.p.run_for(3s);
  EXPECT_NEAR(static_cast<double>(f.bbr_state().max_bw()), f.capacity(), f.capacity() * 0.03);
  EXPECT_GE(f.snd().rate->delivered, static_cast<std::uint64_t>(f.snd().una) - 1);
  EXPECT_EQ(f.snd().rate->app_limited, 0u);
}

TEST(TcpDeliveryRate, WhatTheApplicationHeldBackIsMarkedSo) {
  Flow f;
  for (int i = 0; i < 50; ++i) {
    f.send(3000);
    f.p.run_for(100ms);
  }
  EXPECT_NE(f.snd().rate->app_limited, 0u);
  // Never limited by the network: it cannot have found its bandwidth.
  EXPECT_EQ(f.mode(), BbrMode::startup);
  EXPECT_FALSE(f.bbr_state().full_bw_reached);
}

TEST(TcpDeliveryRate, AnAckThatComesTooFastIsBoundedByTheSendRate) {
  // The acknowledgments of a second come at once: what was sent slowly was not delivered faster (section 4.1.1.2.3).
  DeliveryRate c;
  Sent first{.begin = 0, .end = 1000, .at = Instant{0}, .order = 1}, last{.begin = 1000, .end = 2000, .order = 2};
  const TransmitState first_note = c.on_sent(true, 0, Instant{1'000'000'000});
  first.at = Instant{1'000'000'000};
  last.at = Instant{2'000'000'000};
  const TransmitState last_note = c.on_sent(false, 0, last.at);
  const Instant now{2'010'000'000};
  RateSampler sampler;
  sampler.on_delivered(c, first, first_note, true, now);
  sampler.on_delivered(c, last, last_note, true, now);
  const RateSample rs = sampler.finish(c, Duration{});
  EXPECT_EQ(rs.delivered, 2000u);
  EXPECT_EQ(rs.interval, Duration{1010ms});
  EXPECT_EQ(rs.delivery_rate, 2000u * 1000 / 1010);
}

TEST(TcpDeliveryRate, NoSampleOfAnIntervalBelowTheMinimum) {
  DeliveryRate c;
  Sent one{.begin = 0, .end = 1000, .at = Instant{1'000'000'000}, .order = 1};
  const TransmitState note = c.on_sent(true, 0, one.at);
  RateSampler sampler;
  sampler.on_delivered(c, one, note, true, one.at + 5ms);
  EXPECT_EQ(sampler.finish(c, 10ms).delivery_rate, 0u);
  EXPECT_EQ(sampler.finish(c, 5ms).delivery_rate, 200'000u);
}

TEST(TcpBbr, StartupEndsOnThePlateauAndDrainInOneRound) {
  Flow f;
  f.send_for_ever();
  ASSERT_TRUE(f.reach(BbrMode::drain, 5s));
  const BbrState at_end = f.bbr_state();
  EXPECT_EQ(at_end.full_bw_count, 3);
  EXPECT_TRUE(at_end.full_bw_now && at_end.full_bw_reached);
  EXPECT_EQ(at_end.inflight_longterm, UINT32_MAX) << "no loss had a part in it";
  EXPECT_NEAR(static_cast<double>(at_end.max_bw()), f.capacity(), f.capacity() * 0.02);
  EXPECT_EQ(f.snd().cc.pacing_rate, at_end.bw() * 50 * 99 / 10000);
  ASSERT_TRUE(f.p.run_until([&] { return f.bbr_state().in_probe_bw(); }, 1s));
  EXPECT_LE(f.snd().pipe(), static_cast<std::int64_t>(f.capacity() * 0.045) + 6 * 1448) << "the queue is gone";
  EXPECT_LE(f.bbr_state().round_count, at_end.round_count + 4);
}

TEST(TcpBbr, StartupDoublesItsRateEachRound) {
  Flow f(1'000'000'000, 16u << 20);
  f.send_for_ever();
  std::uint32_t round = f.bbr_state().round_count;
  std::uint64_t before = 0;
  int doubled = 0;
  while (f.mode() == BbrMode::startup && doubled < 4) {
    ASSERT_TRUE(f.p.run_until([&] { return f.bbr_state().round_count != round; }, 1s));
    round = f.bbr_state().round_count;
    const std::uint64_t now = f.snd().cc.pacing_rate;
    if (before != 0 && now > before * 17 / 10) ++doubled;
    before = now;
  }
  EXPECT_EQ(doubled, 4);
}

TEST(TcpBbr, StartupEndsOnLossesOfAShallowQueue) {
  // 2 % of losses in six ranges of a round: a queue of ten segments.
  Flow f(20'000'000, 15'000);
  f.send_for_ever();
  ASSERT_TRUE(f.reach(BbrMode::drain, 5s));
  EXPECT_TRUE(f.bbr_state().full_bw_reached);
  EXPECT_NE(f.bbr_state().inflight_longterm, UINT32_MAX);
  EXPECT_GT(f.goodput(20s), f.capacity() * 0.8);
}

TEST(TcpBbr, DrainEndsAfterThreeRoundsInAnyCase) {
  Flow f;
  f.send_for_ever();
  ASSERT_TRUE(f.reach(BbrMode::drain, 5s));
  f.p.faults[0].rate_bps /= 4;  // what was learnt is far too much now
  const std::uint32_t round = f.bbr_state().round_count;
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_down, 10s));
  EXPECT_EQ(f.bbr_state().round_count, round + 4);
}

TEST(TcpBbr, ProbeBwCyclesThroughItsFourStates) {
  Flow f;
  f.send_for_ever();
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_down));
  EXPECT_NEAR(static_cast<double>(f.snd().cc.pacing_rate), static_cast<double>(f.bbr_state().bw()) * 0.9 * 0.99, 2.0);
  for (int cycle = 0; cycle < 3; ++cycle) {
    ASSERT_TRUE(f.reach(BbrMode::probe_bw_cruise));
    EXPECT_NEAR(static_cast<double>(f.snd().cc.pacing_rate), static_cast<double>(f.bbr_state().bw()) * 0.99, 2.0);
    const Instant since{f.bbr_state().cycle_stamp};
    ASSERT_TRUE(f.reach(BbrMode::probe_bw_refill));
    EXPECT_LE(f.p.now - since, 3100ms) << "T_bbr is 2 to 3 s (section 5.3.3.6.2)";
    ASSERT_TRUE(f.reach(BbrMode::probe_bw_up, 1s));
    EXPECT_NEAR(static_cast<double>(f.snd().cc.pacing_rate), static_cast<double>(f.bbr_state().bw()) * 1.25 * 0.99, 2.0);
    ASSERT_TRUE(f.reach(BbrMode::probe_bw_down, 5s));
  }
}

TEST(TcpBbr, KeepsTheQueueShort) {
  Flow f(10'000'000, 2'000'000);  // a queue of 1.6 s
  f.send_for_ever();
  f.p.run_for(5s);
  EXPECT_GT(f.goodput(20s), f.capacity() * 0.95);
  EXPECT_LT(f.snd().rtt.srtt, 80ms) << "of 40 ms without a queue";
}

TEST(TcpBbr, ProbeRttHalvesTheWindowForTwoHundredMilliseconds) {
  Flow f;
  f.send_for_ever();
  // A queue that stays: the round trip does not come down to its minimum again.
  f.p.run_for(3s);
  f.p.faults[0].delay += 10ms;
  ASSERT_TRUE(f.reach(BbrMode::probe_rtt, 20s));
  const BbrState b = f.bbr_state();
  // Of the minimum that has just run out, not of the sample that takes its place.
  EXPECT_NEAR(b.probe_rtt_cwnd, 0.5 * static_cast<double>(b.bw()) * 0.0415, 3000.0);
  const Instant entered = f.p.now;
  ASSERT_TRUE(f.p.run_until([&] { return f.bbr_state().probe_rtt_done_stamp != 0; }, 1s));
  EXPECT_LE(f.snd().cc.cwnd, b.probe_rtt_cwnd);
  EXPECT_NE(f.snd().rate->app_limited, 0u) << "its low samples do not count";
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_cruise, 1s));
  EXPECT_GE(f.p.now - entered, 200ms);
  EXPECT_GE(Duration{f.bbr_state().min_rtt}, 50ms);
  EXPECT_GT(f.goodput(3s), f.capacity() * 0.9);
}

TEST(TcpBbr, AnIdleTimeStandsForProbeRtt) {
  Flow f;
  f.send(20'000'000);
  ASSERT_TRUE(f.p.run_until([&] { return f.p.b.read == f.p.a.write_limit; }, 60s));
  const std::uint32_t cwnd = f.snd().cc.cwnd;
  f.p.run_for(15s);
  ASSERT_TRUE(f.bbr_state().in_probe_bw());
  f.send(2'000'000);
  EXPECT_TRUE(f.bbr_state().idle_restart);
  EXPECT_EQ(f.snd().cc.cwnd, cwnd) << "section 5.4: the window stays";
  EXPECT_EQ(f.snd().cc.pacing_rate, f.bbr_state().bw() * 99 / 100);
  f.p.run_for(100ms);
  EXPECT_FALSE(f.bbr_state().idle_restart);
  EXPECT_TRUE(f.bbr_state().in_probe_bw());
}

TEST(TcpBbr, LossesOutsideOfAProbeLowerTheShortTermModelOnly) {
  Flow f;
  f.send_for_ever();
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_cruise));
  const std::uint64_t max_bw = f.bbr_state().max_bw();
  f.p.faults[0].loss = 0.05;
  ASSERT_TRUE(f.p.run_until([&] { return f.bbr_state().bw_shortterm != UINT64_MAX; }, 2s));
  EXPECT_GE(f.bbr_state().bw_shortterm, max_bw * 7 / 10);
  EXPECT_LT(f.bbr_state().inflight_shortterm, UINT32_MAX);
  EXPECT_EQ(f.bbr_state().max_bw(), max_bw);
  f.p.faults[0].loss = 0;
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_refill));
  EXPECT_EQ(f.bbr_state().bw_shortterm, UINT64_MAX) << "REFILL forgets it";
}

TEST(TcpBbr, LossesOfAProbeBoundTheLongTermModel) {
  Flow f;
  f.send_for_ever();
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_up));
  f.p.faults[0].loss = 0.2;
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_down, 2s));
  f.p.faults[0].loss = 0;
  const BbrState b = f.bbr_state();
  EXPECT_TRUE(b.prev_probe_too_high);
  EXPECT_NE(b.inflight_longterm, UINT32_MAX);
  EXPECT_GE(b.inflight_longterm, static_cast<std::uint32_t>(static_cast<double>(b.bw()) * 0.04 * 0.7) - 3000);
  // The next probe is a cautious one (section 5.3.3.5.2).
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_up));
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_down, 2s));
  EXPECT_FALSE(f.bbr_state().prev_probe_too_high);
}

TEST(TcpBbr, OnePercentOfLossHardlyCosts) {
  Flow f(20'000'000);
  f.p.faults[0].loss = 0.01;
  f.send_for_ever();
  f.p.run_for(5s);
  EXPECT_GT(f.goodput(20s), f.capacity() * 0.85);
}

TEST(TcpBbr, FindsTenTimesTheBandwidth) {
  Flow f(10'000'000, 2'000'000);
  f.send_for_ever();
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_cruise));
  f.p.faults[0].rate_bps *= 10;
  f.p.run_for(25s);
  EXPECT_GT(f.goodput(5s), f.capacity() * 0.85);
}

TEST(TcpBbr, ComesDownToATenthOfTheBandwidth) {
  Flow f(100'000'000, 400'000);
  f.send_for_ever();
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_cruise));
  f.p.faults[0].rate_bps /= 10;
  f.p.run_for(25s);
  EXPECT_LT(static_cast<double>(f.bbr_state().max_bw()), f.capacity() * 1.1);
  EXPECT_GT(f.goodput(5s), f.capacity() * 0.8);
}

TEST(TcpBbr, FourSegmentsAtLeast) {
  Flow f(100'000);  // a bandwidth-delay product of a third of a segment
  f.send_for_ever();
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_cruise, 120s));
  EXPECT_GE(f.snd().cc.cwnd, 4u * 1448);
  EXPECT_GT(f.goodput(30s), f.capacity() * 0.85);
}

TEST(TcpBbr, ATimeoutLeavesOneSegmentAndTheModel) {
  Flow f;
  f.send_for_ever();
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_cruise));
  const std::uint64_t max_bw = f.bbr_state().max_bw();
  f.p.faults[0].loss = 1;
  const auto timeouts = f.p.a.count(&Counters<Counter>::recovery_rto);
  ASSERT_TRUE(f.p.run_until([&] { return f.p.a.count(&Counters<Counter>::recovery_rto) > timeouts; }, 5s));
  EXPECT_LE(f.snd().cc.cwnd, f.snd().pipe() + f.snd().mss());
  f.p.faults[0].loss = 0;
  EXPECT_EQ(f.bbr_state().max_bw(), max_bw);
  f.p.run_for(5s);
  EXPECT_GT(f.goodput(5s), f.capacity() * 0.9);
}

TEST(TcpBbr, AMarkIsACongestion) {
  Flow f(10'000'000, 400'000, 1, [](Pair& p) {
    p.a.tunables.ecn_enable = p.b.tunables.ecn_enable = 1;
    p.faults[0].mark_bytes = 10'000;
  });
  f.send_for_ever();
  f.p.run_for(5s);
  EXPECT_TRUE(f.bbr_state().full_bw_reached);
  EXPECT_NE(f.bbr_state().inflight_longterm, UINT32_MAX);
  EXPECT_GT(f.p.a.count(&Counters<Counter>::ecn_reductions), 0u);
  EXPECT_GT(f.goodput(10s), f.capacity() * 0.8);
}

TEST(TcpBbr, AReorderingThatLookedLikeLossIsTakenBack) {
  Flow f(10'000'000, 400'000);
  f.send_for_ever();
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_cruise));
  f.p.faults[0].reorder = 0.02;
  f.p.faults[0].reorder_delay = 35ms;
  f.p.run_for(2s);
  f.p.faults[0].reorder = 0;
  EXPECT_GT(f.p.a.count(&Counters<Counter>::recovery_undone), 0u);
  f.p.run_for(5s);
  EXPECT_GT(f.goodput(5s), f.capacity() * 0.9);
}

/// The losses of one acknowledgment, in a probe, and the recovery that follows: what undo() goes back to is of before all of them.
TEST(TcpBbr, AProbeThatOnlyLookedTooHighIsTakenBackWhole) {
  Flow f;
  f.send_for_ever();
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_up));
  CongestionState s = f.snd().cc;
  BbrState b = s.load<BbrState>();
  b.inflight_longterm = 500'000;
  b.is_bw_probe_sample = 1;
  s.store(b);
  LostPacket lost{.begin = 1, .end = 1449, .tx_in_flight = 60'000, .has_selective_acks = true, .lost = 1448, .now = f.p.now};
  for (int i = 0; i < 3; ++i) {
    bbr().on_lost(s, lost);
    lost.begin += 10'000, lost.end += 10'000, lost.lost += 1448;
  }
  ASSERT_EQ(s.load<BbrState>().state, BbrMode::probe_bw_down) << "looked too high";
  ASSERT_LT(s.load<BbrState>().inflight_longterm, 100'000u);
  bbr().on_enter_recovery(s, 60'000, f.p.now);
  bbr().on_undo(s, f.p.now);
  EXPECT_EQ(s.load<BbrState>().inflight_longterm, 500'000u);
  EXPECT_EQ(s.load<BbrState>().state, BbrMode::probe_bw_refill) << "and the probe is made again";
}

/// A smaller path MTU sends all again, which is no recovery: the window of an older one does not come back with its end.
TEST(TcpBbr, TheWindowOfAnOldRecoveryDoesNotComeBack) {
  Flow f;
  f.send_for_ever();
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_cruise));
  CongestionState s = f.snd().cc;
  bbr().on_enter_recovery(s, s.cwnd, f.p.now);
  bbr().on_exit_recovery(s, s.cwnd, f.p.now);
  s.cwnd /= 4;
  const std::uint32_t now = s.cwnd;
  bbr().on_exit_recovery(s, s.cwnd, f.p.now);
  EXPECT_EQ(s.cwnd, now);
}

TEST(TcpBbr, WithoutSack) {
  Flow f(10'000'000, 200'000, 1, [](Pair& p) {
    p.a.config.sack = false;
    p.faults[0].loss = 0.001;
  });
  ASSERT_FALSE(f.p.a.connection->info().sack);
  f.send(10'000'000);
  EXPECT_TRUE(f.p.run_until([&] { return f.p.b.read == f.p.a.write_limit; }, 60s));
  EXPECT_FALSE(f.p.b.corrupt);
}

TEST(TcpBbr, ChosenInTheMiddleOfATransfer) {
  Flow f;
  f.p.a.connection->set_options({.congestion = &cubic()}, f.p.now);
  f.send_for_ever();
  f.p.run_for(3s);
  EXPECT_EQ(f.snd().pacing_rate(), 0u);
  f.p.a.connection->set_options({.congestion = &bbr()}, f.p.now);
  EXPECT_NE(f.snd().pacing_rate(), 0u);
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_cruise));
  f.p.a.connection->set_options({.congestion = &newreno()}, f.p.now);
  EXPECT_EQ(f.snd().pacing_rate(), 0u);
  EXPECT_GT(f.goodput(5s), f.capacity() * 0.8);
}

TEST(TcpBbr, LeftInARecoveryItLeavesAWindowThatTheLossAllows) {
  Flow f;
  f.send_for_ever();
  ASSERT_TRUE(f.reach(BbrMode::probe_bw_cruise));
  f.p.faults[0].loss = 0.02;
  ASSERT_TRUE(f.p.run_until([&] { return f.snd().phase == Phase::fast_recovery; }, 20s));
  f.p.faults[0].loss = 0;
  const std::uint32_t before = f.snd().cc.cwnd;
  f.p.a.connection->set_options({.congestion = &cubic()}, f.p.now);
  ASSERT_TRUE(f.p.run_until([&] { return f.snd().phase == Phase::open; }, 20s));
  EXPECT_LE(f.snd().cc.cwnd, before);
  EXPECT_LE(f.snd().cc.ssthresh, before);
}

TEST(TcpBbr, DataArrivesWholeOverBadPaths) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Flow f(5'000'000 + seed * 1'000'000, 20'000, seed);
    f.p.faults[0].loss = 0.01 * static_cast<double>(seed % 5);
    f.p.faults[0].reorder = 0.02 * static_cast<double>(seed % 3);
    f.p.faults[1].loss = 0.02 * static_cast<double>(seed % 4);
    f.p.faults[0].duplicate = 0.01;
    f.send(2'000'000);
    ASSERT_TRUE(f.p.run_until([&] { return f.p.b.read == f.p.a.write_limit; }, 200s));
    ASSERT_FALSE(f.p.b.corrupt || f.p.stuck);
  }
}

}  // namespace
}  // namespace iopkt::tcp
