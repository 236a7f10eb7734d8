// CUBIC by RFC 9438 and HyStart++ by RFC 9406, against the formulas in floating point.
#include <gtest/gtest.h>

#include <cmath>

#include "tcp/congestion.hpp"
#include "tcp/hystart.hpp"
#include "tcp/test_pair.hpp"
#include "tcp/test_script.hpp"

namespace iopkt::tcp {
namespace {

constexpr double kC = 0.4, kBeta = 0.7, kAlpha = 3 * (1 - kBeta) / (1 + kBeta);

/// A sender whose window is always full: one acknowledgment for each `step` bytes, a window per round trip.
struct Flow {
  CongestionState s{.smss = 1000};
  Instant now{1'000'000'000};
  Duration rtt{100ms};

  void window(std::uint32_t step) {
    const std::uint32_t cwnd = s.cwnd;
    const auto acks = static_cast<std::int64_t>(std::max(cwnd / step, 1u));
    for (std::int64_t i = 0; i < acks; ++i) {
      now += rtt / acks;
      cubic().on_ack(s, {.acked = step, .abc_limit = 1024, .cwnd_limited = true, .srtt = rtt, .now = now});
    }
  }
  /// Congestion avoidance with this window after a loss of it.
  void lose_at(std::uint32_t cwnd) {
    cubic().on_established(s, 10, {}, now);
    s.cwnd = cwnd;
    cubic().on_enter_recovery(s, cwnd, now);
  }
};

TEST(TcpCubic, ReductionByRfc9438Section4_6) {
  Flow f;
  f.lose_at(100'000);
  EXPECT_EQ(f.s.ssthresh, 70'000u);
  EXPECT_EQ(f.s.cwnd, 70'000u);
  cubic().on_enter_recovery(f.s, 1000, f.now);
  EXPECT_EQ(f.s.ssthresh, 2000u) << "two segments at least";
}

TEST(TcpCubic, GrowthByRfc9438Section4_2AtSeveralRoundTrips) {
  for (const Duration rtt : {Duration{10ms}, Duration{100ms}, Duration{400ms}, Duration{2s}}) {
    SCOPED_TRACE(rtt.count());
    Flow f{.rtt = rtt};
    f.lose_at(2'000'000);
    const Instant start = f.now;
    const double k = std::cbrt(2000 * (1 - kBeta) / kC);
    while (f.now - start < 20s) {
      f.window(1000);
      const double t = static_cast<double>((f.now - start).count()) / 1e9;
      const double w = kC * std::pow(t - k, 3) + 2000;
      // One round trip behind the curve at most, in a thousandth of the window.
      const double before = t - 1e-9 * static_cast<double>(rtt.count());
      const double low = std::max(before <= 0 ? 0.0 : kC * std::pow(before - k, 3) + 2000, 1400.0);
      EXPECT_GE(f.s.cwnd / 1000.0, std::min(low, w) * 0.998 - 2) << t;
      EXPECT_LE(f.s.cwnd / 1000.0, std::max(w, 1400.0 + t * 1e9 / static_cast<double>(rtt.count())) * 1.03 + 2) << t;
    }
  }
}

TEST(TcpCubic, FriendlyRegionByRfc9438Section4_3) {
  // A small window and a short round trip: AIMD with alpha 9/17 is faster than the cubic.
  Flow f{.rtt = 5ms};
  f.lose_at(20'000);
  const double rounds = 100;
  for (int i = 0; i < 100; ++i) f.window(1000);
  // alpha until cwnd_prior, then 1: (20 - 14) / alpha rounds, the others one each.
  const double expected = 20 + (rounds - 6 / kAlpha);
  EXPECT_NEAR(f.s.cwnd / 1000.0, expected, expected * 0.05);
}

TEST(TcpCubic, NothingIsLostByRoundingInALargeWindow) {
  // 600 MB of window: what one ACK adds to W_est is less than a byte.
  Flow f{.rtt = 10ms};
  f.lose_at(600'000'000);
  const double start = f.s.cwnd;
  CongestionState& s = f.s;
  for (int i = 0; i < 420'000; ++i) {  // one window
    f.now += f.rtt / 420'000;
    cubic().on_ack(s, {.acked = 1000, .abc_limit = 1024, .cwnd_limited = true, .srtt = f.rtt, .now = f.now});
  }
  const double k = std::cbrt(600'000 * (1 - kBeta) / kC);
  EXPECT_GT(s.cwnd, start + 60'000);
  EXPECT_NEAR(s.cwnd, (kC * std::pow(0.01 - k, 3) + 600'000) * 1000, 0.05 * (s.cwnd - start));
}

TEST(TcpCubic, FastConvergenceByRfc9438Section4_7) {
  Flow f;
  f.lose_at(1'000'000);
  f.s.cwnd = 800'000;  // lost again before the plateau: W_max = 0.8 * 1.7 / 2
  cubic().on_enter_recovery(f.s, 800'000, f.now);
  const Instant start = f.now;
  const double plateau = 800'000 * (1 + kBeta) / 2, k = std::cbrt((plateau - 560'000) / 1000 / kC);
  while (f.now - start < Duration(static_cast<std::int64_t>(k * 1e9))) f.window(1000);
  EXPECT_NEAR(f.s.cwnd, plateau, plateau * 0.02);
}

TEST(TcpCubic, AfterATimeoutByRfc9438Section4_8) {
  Flow f;
  f.lose_at(1'000'000);
  cubic().on_timeout(f.s, 700'000, true, f.now);
  EXPECT_EQ(f.s.cwnd, 1000u);
  EXPECT_EQ(f.s.ssthresh, 490'000u);
  cubic().on_timeout(f.s, 1000, false, f.now);
  EXPECT_EQ(f.s.ssthresh, 490'000u) << "once";
  while (f.s.in_slow_start()) f.window(1000);
  const Instant start = f.now;
  const double from = f.s.cwnd;
  while (f.now - start < 5s) f.window(1000);
  const double t = static_cast<double>((f.now - start).count()) / 1e9;
  // K is 0, W_max is where this stage began: the convex branch (or AIMD, which is slower than that here).
  EXPECT_NEAR(f.s.cwnd, from + kC * t * t * t * 1000, 6000);
}

TEST(TcpCubic, SpuriousReductionIsTakenBackByRfc9438Section4_9) {
  Flow f;
  f.lose_at(1'000'000);
  for (int i = 0; i < 10; ++i) f.window(1000);
  f.s.undo_cwnd = 0;  // that episode is over
  const CongestionState before = f.s;
  cubic().on_enter_recovery(f.s, f.s.cwnd, f.now);
  cubic().on_enter_recovery(f.s, f.s.cwnd, f.now);
  cubic().on_timeout(f.s, f.s.cwnd, true, f.now);
  cubic().on_undo(f.s, f.now);
  EXPECT_EQ(f.s.cwnd, before.cwnd);
  Flow same = f;
  same.s = before;
  for (int i = 0; i < 20; ++i) f.window(1000), same.window(1000);
  EXPECT_EQ(f.s.cwnd, same.s.cwnd) << "on the same curve";
}

TEST(TcpCubic, TimeOfTheApplicationDoesNotCountBySection4_2) {
  Flow f;
  f.lose_at(1'000'000);
  f.window(1000);
  const std::uint32_t before = f.s.cwnd;
  // Ten minutes with a window that nobody uses, then ten of silence.
  for (int i = 0; i < 6000; ++i) {
    f.now += 100ms;
    cubic().on_ack(f.s, {.acked = 1000, .abc_limit = 1024, .cwnd_limited = false, .srtt = f.rtt, .now = f.now});
  }
  f.now += std::chrono::minutes(10);
  cubic().on_transmit_start(f.s, false, f.now);
  EXPECT_EQ(f.s.cwnd, before);
  f.window(1000);
  EXPECT_LT(f.s.cwnd, before + 60'000) << "the curve goes on where it was";
}

// ---- RFC 9406 ---------------------------------------------------------------------------------------------------------

struct Rounds {
  HyStart h{};
  std::int64_t una{}, nxt{10};
  /// One round of `acks` acknowledgments with this round trip; true: slow start is over.
  bool round(Duration rtt, int acks = 10) {
    bool over = false;
    const std::int64_t end = nxt;
    for (int i = 0; i < acks; ++i) {
      una = i + 1 == acks ? end : una;
      nxt = una + 10;
      over = h.on_ack({.una = una, .nxt = nxt, .rtt = rtt}) || over;
    }
    return over;
  }
};

TEST(TcpHyStart, ConservativeSlowStartByRfc9406Section4_2) {
  Rounds r;
  for (int i = 0; i < 5; ++i) EXPECT_FALSE(r.round(40ms));
  EXPECT_FALSE(r.h.css);
  EXPECT_FALSE(r.round(44ms));
  EXPECT_FALSE(r.h.css) << "less than clamp(40/8, 4, 16) more";
  Rounds grown = r;
  EXPECT_FALSE(grown.round(52ms));
  EXPECT_TRUE(grown.h.css);
  // The partial round counts.
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(grown.round(60ms)) << i;
  EXPECT_TRUE(grown.round(60ms)) << "CSS_ROUNDS";
}

TEST(TcpHyStart, ASpuriousExitGoesBackBySection4_2) {
  Rounds r;
  r.round(40ms);
  r.round(60ms);
  ASSERT_TRUE(r.h.css);
  EXPECT_FALSE(r.round(41ms));
  EXPECT_FALSE(r.h.css);
}

TEST(TcpHyStart, FewSamplesSayNothingBySection4_2) {
  Rounds r;
  r.round(40ms);
  r.round(400ms, 7);
  EXPECT_FALSE(r.h.css) << "N_RTT_SAMPLE is 8";
}

/// A queue many times the path: HyStart++ leaves slow start before it overflows.
TEST(TcpHyStart, SlowStartEndsBeforeALossInADeepQueue) {
  std::uint64_t lost[2]{};
  for (const bool on : {false, true}) {
    testing::Pair p;
    p.faults[0].rate_bps = 50'000'000;
    p.faults[0].queue_bytes = 2'000'000;
    p.a.tunables.hystart = on ? 1 : 0;
    p.a.write_limit = 12'000'000;
    p.a.send_buffer = 8 << 20;
    p.b.config.receive_capacity = p.b.config.receive_capacity_max = 8 << 20;
    p.connect();
    ASSERT_TRUE(p.run_until([&] { return p.b.read >= 5'000'000; }, 100s));
    for (const auto& s : p.trace) lost[on ? 1 : 0] += s.lost;
  }
  EXPECT_GT(lost[0], 50u);
  EXPECT_EQ(lost[1], 0u);
}

TEST(TcpCongestion, NamesAndChoice) {
  EXPECT_EQ(find_congestion("cubic"), &cubic());
  EXPECT_EQ(find_congestion("reno"), &newreno());
  EXPECT_EQ(find_congestion("newreno"), &newreno());
  EXPECT_EQ(find_congestion("bogus"), nullptr);
  testing::Script s;
  s.config.congestion = nullptr;
  s.establish();
  EXPECT_EQ(s.c->info().congestion, "cubic");
  s.config.congestion = &newreno();
  s.establish();
  EXPECT_EQ(s.c->info().congestion, "reno");
  const std::uint32_t cwnd = s.c->info().cwnd;
  Options o = s.c->options();
  o.congestion = &cubic();
  s.c->set_options(o, s.now);
  EXPECT_EQ(s.c->info().congestion, "cubic");
  EXPECT_EQ(s.c->info().cwnd, cwnd);
  s.config.options.congestion = &newreno();
  s.config.congestion = &cubic();
  s.establish();
  EXPECT_EQ(s.c->info().congestion, "reno") << "the socket's own choice goes first";
}

}  // namespace
}  // namespace iopkt::tcp
