// The search for the segment size that a path takes, where no router says it: RFC 4821.
#include <gtest/gtest.h>

#include "tcp/bbr.hpp"
#include "tcp/test_pair.hpp"

namespace iopkt::tcp {
namespace {

using testing::Pair;

std::uint32_t longest = UINT32_MAX;  ///< payload that the path takes

struct Path {
  Pair p;
  explicit Path(std::uint32_t probing, std::uint32_t takes, std::uint64_t seed = 1) : p(seed) {
    longest = takes;
    p.keep_trace = false;
    p.a.tunables.mtu_probing = probing;
    p.a.send_buffer = 1u << 20;
    p.b.config.receive_capacity = p.b.config.receive_capacity_max = 1u << 20;
    p.filter = [](const testing::Sent& s) { return s.from == 0 && s.segment.payload_len > longest; };
    p.faults[0] = {.delay = 10ms, .rate_bps = 50'000'000};
  }
  bool transfer(std::uint64_t bytes, Duration limit = 60s) {
    p.a.write_limit += bytes;
    if (!p.a.connection) p.connect();
    else p.settle(0);
    return p.run_until([&] { return p.b.read == p.a.write_limit; }, limit) && !p.b.corrupt && !p.stuck;
  }
  std::uint32_t mss() const { return p.a.connection->info().path_mss; }
  std::uint64_t count(Counter Counters<Counter>::*c) const { return p.a.count(c); }
};

TEST(TcpMtuProbe, FromBelowToTheWholeSegmentByRfc4821Section7_2) {
  Path f(2, UINT32_MAX);
  f.p.establish();
  EXPECT_EQ(f.mss(), 984u);
  ASSERT_TRUE(f.transfer(3'000'000));
  EXPECT_EQ(f.mss(), 1460u) << "the first probe asked for all of it";
  EXPECT_EQ(f.count(&Counters<Counter>::mtu_probes), 1u);
  EXPECT_EQ(f.count(&Counters<Counter>::mtu_probes_good), 1u);
}

TEST(TcpMtuProbe, FindsWhatAHoleTakes) {
  for (const std::uint32_t takes : {1000u, 1210u, 1388u, 1440u}) {
    SCOPED_TRACE(takes);
    Path f(1, takes);
    ASSERT_TRUE(f.transfer(5'000'000));
    EXPECT_EQ(f.count(&Counters<Counter>::mtu_black_holes), 1u);
    EXPECT_LE(f.mss(), takes + 12) << "12: the timestamps";
    EXPECT_GE(f.mss(), std::max(takes + 12 - 32, 984u));
    // Halves of 476, of which the last is below 32; each size that fails does so three times.
    EXPECT_LE(f.count(&Counters<Counter>::mtu_probes), 7u * 3);
    EXPECT_EQ(f.count(&Counters<Counter>::mtu_probes), f.count(&Counters<Counter>::mtu_probes_good) + f.count(&Counters<Counter>::mtu_probes_lost));
    EXPECT_EQ(f.count(&Counters<Counter>::recovery_rto), 2u) << "those that made the hole known; a probe's loss shows without one";
  }
}

TEST(TcpMtuProbe, ItsLossIsNoSignOfCongestionBySection7_6) {
  Path f(2, 1000);
  f.p.b.config.receive_capacity = f.p.b.config.receive_capacity_max = 65536;  // the queue does not run over
  f.p.establish();
  std::uint32_t cwnd = 0;
  bool shrank = false;
  f.p.a.write_limit = 20'000'000;
  f.p.settle(0);
  while (f.count(&Counters<Counter>::mtu_probes_lost) < 3) {
    cwnd = f.p.a.connection->info().cwnd;
    ASSERT_TRUE(f.p.run_until([&] { return f.p.a.connection->info().phase == Phase::fast_recovery; }, 10s));
    EXPECT_TRUE(f.p.a.connection->export_state().snd.spared);
    ASSERT_TRUE(f.p.run_until([&] { return f.p.a.connection->info().phase == Phase::open; }, 10s));
    shrank = shrank || f.p.a.connection->info().cwnd < cwnd;
  }
  EXPECT_FALSE(shrank);
  EXPECT_EQ(f.p.a.connection->info().ssthresh, UINT32_MAX);
}

TEST(TcpMtuProbe, OtherLossesBesideItAreACongestion) {
  Path f(2, 1000);
  f.p.establish();
  f.p.faults[0].loss = 0.05;
  ASSERT_TRUE(f.transfer(3'000'000));
  EXPECT_LT(f.p.a.connection->info().ssthresh, UINT32_MAX);
}

TEST(TcpMtuProbe, TheSearchBeginsAnewAfterTheIntervalBySection7_5) {
  Path f(1, 1200);
  f.p.a.tunables.mtu_probe_interval_s = 30;
  ASSERT_TRUE(f.transfer(5'000'000));
  EXPECT_LE(f.mss(), 1212u);
  longest = UINT32_MAX;
  f.p.run_for(31s);
  ASSERT_TRUE(f.transfer(3'000'000));
  EXPECT_EQ(f.mss(), 1460u);
}

TEST(TcpMtuProbe, NotWhereItIsTurnedOffNorWithoutSack) {
  Path off(0, UINT32_MAX);
  ASSERT_TRUE(off.transfer(1'000'000));
  EXPECT_EQ(off.mss(), 1460u);
  Path plain(2, UINT32_MAX);
  plain.p.a.config.sack = false;
  ASSERT_TRUE(plain.transfer(1'000'000));
  EXPECT_EQ(plain.mss(), 1460u);
  EXPECT_EQ(plain.count(&Counters<Counter>::mtu_probes), 0u);
}

TEST(TcpMtuProbe, WithBbrItsLossLeavesTheModelAlone) {
  Path f(2, 1200);
  f.p.a.config.congestion = &bbr();
  f.p.establish();
  ASSERT_TRUE(f.transfer(10'000'000));
  EXPECT_GE(f.mss(), 1180u);
  EXPECT_LE(f.mss(), 1212u);
  const BbrState b = f.p.a.connection->export_state().snd.cc.load<BbrState>();
  EXPECT_EQ(b.inflight_longterm, UINT32_MAX);
}

TEST(TcpMtuProbe, DataArrivesWholeOnBadPaths) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Path f(1 + seed % 2, 990 + static_cast<std::uint32_t>(seed) * 20, seed);
    f.p.faults[0].loss = 0.01 * static_cast<double>(seed % 3);
    f.p.faults[0].reorder = 0.02 * static_cast<double>(seed % 4);
    f.p.faults[1].loss = 0.02 * static_cast<double>(seed % 3);
    ASSERT_TRUE(f.transfer(1'000'000, 200s));
  }
}

}  // namespace
}  // namespace iopkt::tcp
