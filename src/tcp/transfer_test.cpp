// Whole transfers between two ends over a wire with faults: the stream arrives intact and both ends close in order.
#include <gtest/gtest.h>

#include "tcp/test_pair.hpp"

namespace iopkt::tcp {
namespace {

using testing::Pair;

/// Both write, shut down and close; true when both are gone without a failure.
void expect_clean_transfer(Pair& p, std::uint64_t a_bytes, std::uint64_t b_bytes, Duration limit) {
  p.a.write_limit = a_bytes;
  p.b.write_limit = b_bytes;
  p.a.shut_when_written = p.b.shut_when_written = true;
  p.a.close_when_done = p.b.close_when_done = true;
  p.connect();
  const bool done = p.run_until([&] { return p.a.destroyed && p.b.destroyed; }, limit);
  EXPECT_TRUE(done) << p.text();
  EXPECT_FALSE(p.stuck);
  EXPECT_EQ(p.a.read, b_bytes);
  EXPECT_EQ(p.b.read, a_bytes);
  EXPECT_FALSE(p.a.corrupt);
  EXPECT_FALSE(p.b.corrupt);
  EXPECT_EQ(p.a.last_failure, Failure::none);
  EXPECT_EQ(p.b.last_failure, Failure::none);
}

TEST(TcpTransfer, SmallStreamOverACleanWire) {
  Pair p;
  expect_clean_transfer(p, 10000, 5000, 300s);
  EXPECT_EQ(p.a.count(&Counters<Counter>::tx_retransmitted_segments), 0u);
  EXPECT_EQ(p.b.count(&Counters<Counter>::tx_retransmitted_segments), 0u);
}

TEST(TcpTransfer, ManySeedsOfABadWire) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Pair p(seed);
    for (auto& f : p.faults) {
      f.loss = 0.01 * static_cast<double>(seed % 11);
      f.duplicate = 0.02;
      f.reorder = 0.05;
      f.merge = 0.3;
    }
    if (seed % 3 == 0) p.a.config.sack = false;
    if (seed % 5 == 0) p.b.config.timestamps = false;
    if (seed % 7 == 0) p.b.config.window_scaling = false;
    if (seed % 4 == 0) p.b.config.receive_capacity = 20000;
    p.a.iss = SeqNum{0xffffffffu - static_cast<std::uint32_t>(seed * 100)};
    p.b.iss = SeqNum{0x7fffff00u};
    expect_clean_transfer(p, 200000 + seed * 7, seed * 997, 4000s);
    if (HasFailure()) break;
  }
}

TEST(TcpTransfer, SimultaneousOpenAndClose) {
  Pair p;
  for (auto* h : {&p.a, &p.b}) {
    h->use_config();
    h->write_limit = 50000;
    h->shut_when_written = h->close_when_done = true;
    h->connection.emplace(Connection::open_active(h->context, h->config, h->iss, p.now));
  }
  p.settle(0);
  p.settle(1);
  ASSERT_TRUE(p.run_until([&] { return p.a.destroyed && p.b.destroyed; }, 300s)) << p.text();
  EXPECT_EQ(p.a.read, 50000u);
  EXPECT_EQ(p.b.read, 50000u);
  EXPECT_EQ(p.a.last_failure, Failure::none);
  EXPECT_EQ(p.b.last_failure, Failure::none);
  // Both went through TIME-WAIT: both closed first.
  EXPECT_EQ(p.a.count(&Counters<Counter>::time_wait_entered) + p.b.count(&Counters<Counter>::time_wait_entered), 2u);
}

TEST(TcpTransfer, TheSideThatClosesFirstWaits) {
  Pair p;
  p.a.write_limit = 1000;
  p.a.shut_when_written = p.a.close_when_done = true;
  p.b.close_when_done = true;
  p.connect();
  ASSERT_TRUE(p.run_until([&] { return p.a.destroyed && p.b.destroyed; }, 300s));
  EXPECT_EQ(p.a.count(&Counters<Counter>::time_wait_entered), 1u);
  EXPECT_EQ(p.b.count(&Counters<Counter>::time_wait_entered), 0u);
  EXPECT_EQ(p.a.count(&Counters<Counter>::closed), 1u);
  EXPECT_EQ(p.b.count(&Counters<Counter>::closed), 1u);
}

TEST(TcpTransfer, AReaderThatStopsAndGoesOn) {
  Pair p;
  p.a.write_limit = 2000000;
  p.a.shut_when_written = true;
  p.b.config.receive_capacity = p.b.config.receive_capacity_max = 100000;
  p.connect();
  for (int i = 0; i < 5; ++i) {
    p.b.reading = false;
    p.run_for(200s);
    ASSERT_TRUE(p.b.connection);
    EXPECT_LE(p.b.connection->receive_tail() - p.b.read, 100000u);
    EXPECT_EQ(p.a.connection->state(), State::fin_wait_1 == p.a.connection->state() ? State::fin_wait_1 : State::established);
    p.b.reading = true;
    p.settle(1);
    p.run_for(3ms);
  }
  ASSERT_TRUE(p.run_until([&] { return p.b.read == 2000000; }, 100s)) << p.text();
  EXPECT_FALSE(p.b.corrupt);
  EXPECT_GT(p.a.count(&Counters<Counter>::tx_probes), 20u);
  EXPECT_EQ(p.a.count(&Counters<Counter>::recovery_rto), 0u) << "a closed window is no loss";
}

/// Windows go in units of 2^scale, so an edge may move to the left by a little. Acknowledgments that stand at such an edge lie before
/// what the peer has received: neither end would take those of the other, and both would wait for ever.
TEST(TcpTransfer, TwoEndsThatHaveFilledEachOthersWindowGoOn) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Pair p{seed};
    p.faults[0].loss = p.faults[1].loss = seed % 2 == 0 ? 0.03 : 0;
    for (auto& h : p.hosts) {
      h.write_limit = 3000000;
      h.send_buffer = 262144;
      h.config.receive_capacity = 20000 + static_cast<std::uint32_t>(seed) * 77;
      h.config.receive_capacity_max = 16777216;
      h.reading = false;
    }
    p.connect();
    p.run_for(2s);
    for (int i = 0; i < 2; ++i) {
      p.hosts[i].reading = true;
      p.settle(i);
    }
    ASSERT_TRUE(p.run_until([&] { return p.a.read == 3000000 && p.b.read == 3000000; }, 100s)) << p.text();
    if (seed % 2 == 0) continue;
    for (const auto& h : p.hosts) {
      EXPECT_TRUE(h.drops.empty());
      EXPECT_EQ(h.count(&Counters<Counter>::tx_challenge_acks), 0u);
    }
  }
}

TEST(TcpTransfer, AClosedWindowDoesNotHoldUpTheOtherDirection) {
  Pair p;
  for (auto& h : p.hosts) {
    h.write_limit = 3000000;
    h.config.receive_capacity = 65536;
    h.config.receive_capacity_max = 16777216;
  }
  p.b.reading = false;
  p.connect();
  p.run_for(5s);
  ASSERT_GT(p.a.count(&Counters<Counter>::tx_probes), 0u);
  p.b.write_limit = 6000000;  // begins again while a's window is closed
  p.settle(1);
  EXPECT_TRUE(p.run_until([&] { return p.a.read == 6000000; }, 10s)) << p.a.read;
  EXPECT_EQ(p.b.count(&Counters<Counter>::recovery_rto), 0u);
  p.b.reading = true;
  p.settle(1);
  EXPECT_TRUE(p.run_until([&] { return p.b.read == 3000000; }, 10s)) << p.b.read;
}

TEST(TcpTransfer, RefusedAndUnanswered) {
  Pair p;
  p.connect();
  p.b.listening = false;
  ASSERT_TRUE(p.run_until([&] { return p.a.destroyed; }, 10s));
  EXPECT_EQ(p.a.last_failure, Failure::refused);

  Pair q;
  q.faults[1].loss = 1.0;
  q.connect();
  ASSERT_TRUE(q.run_until([&] { return q.a.destroyed && !q.b.half; }, 1000s));
  EXPECT_EQ(q.a.last_failure, Failure::timed_out);
  EXPECT_EQ(q.b.count(&Counters<Counter>::half_open_timed_out), q.b.count(&Counters<Counter>::half_open_created));
}

TEST(TcpTransfer, AHostThatForgotTheConnectionResetsIt) {
  Pair p;
  p.establish();
  p.b.connection.reset();  // it restarted
  p.b.listening = false;
  p.a.write_limit = 10;
  p.settle(0);
  ASSERT_TRUE(p.run_until([&] { return p.a.destroyed; }, 10s));
  EXPECT_EQ(p.a.last_failure, Failure::reset);
}

TEST(TcpTransfer, TheNetworkVanishes) {
  Pair p;
  p.establish();
  p.a.write_limit = 100000;
  p.faults[0].loss = p.faults[1].loss = 1.0;
  p.settle(0);
  ASSERT_TRUE(p.run_until([&] { return p.a.destroyed; }, 3600s));
  EXPECT_EQ(p.a.last_failure, Failure::timed_out);
  EXPECT_EQ(p.a.count(&Counters<Counter>::tx_retransmitted_segments), p.a.tunables.rexmt_r2) << p.text();
}

TEST(TcpTransfer, ALongOutageIsSurvived) {
  Pair p;
  p.a.write_limit = 3000000;
  p.connect();
  p.run_for(100ms);
  p.faults[0].loss = p.faults[1].loss = 1.0;
  p.run_for(60s);
  p.faults[0].loss = p.faults[1].loss = 0.0;
  EXPECT_TRUE(p.run_until([&] { return p.b.read == 3000000; }, 200s)) << p.text();
  EXPECT_FALSE(p.b.corrupt);
}

/// Decision: all state can be exported. After every step both ends continue as a copy of themselves.
TEST(TcpTransfer, ExportedAndImportedAtEveryStepItIsTheSame) {
  std::vector<std::string> traces;
  for (const bool copy : {false, true}) {
    Pair p(42);
    p.faults[0].loss = p.faults[1].loss = 0.05;
    p.a.write_limit = 300000;
    p.b.write_limit = 50000;
    p.a.shut_when_written = p.b.shut_when_written = true;
    p.a.close_when_done = p.b.close_when_done = true;
    p.connect();
    EXPECT_TRUE(p.run_until(
        [&] {
          for (auto* h : {&p.a, &p.b})
            if (copy && h->connection) {
              const ControlBlock block = h->connection->export_state();
              h->connection.reset();
              h->connection.emplace(Connection::import_state(h->context, block));
            }
          return p.a.destroyed && p.b.destroyed;
        },
        1000s));
    traces.push_back(p.text());
  }
  EXPECT_EQ(traces[0], traces[1]);
}

/// On a clean path the bottleneck is kept busy: not below 90 % of what headers leave, from the first byte to the last.
TEST(TcpTransfer, ACleanBottleneckIsFilled) {
  const struct {
    std::uint64_t rate_bps;
    Duration one_way;
    std::uint32_t queue;
    std::uint64_t bytes;
    double share;
  } rows[] = {
      {10'000'000, 10ms, 60000, 10'000'000, 0.93},
      {100'000'000, 5ms, 300000, 40'000'000, 0.93},
      {1'000'000'000, 1ms, 1000000, 60'000'000, 0.90},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.rate_bps);
    Pair p;
    p.keep_trace = false;
    p.faults[0] = {.delay = row.one_way, .rate_bps = row.rate_bps, .queue_bytes = row.queue};
    p.faults[1] = {.delay = row.one_way, .rate_bps = row.rate_bps, .queue_bytes = row.queue};
    p.a.write_limit = row.bytes;
    p.a.send_buffer = 4 << 20;
    p.b.config.receive_capacity = p.b.config.receive_capacity_max = 4 << 20;
    p.connect();
    const Instant start = p.now;
    ASSERT_TRUE(p.run_until([&] { return p.b.read == row.bytes; }, 1000s));
    const double seconds = static_cast<double>((p.now - start).count()) / 1e9;
    const double share = static_cast<double>(row.bytes) * 8 / seconds / (static_cast<double>(row.rate_bps) * 1448 / 1514);
    EXPECT_GT(share, row.share);
    RecordProperty("share", std::to_string(share));
  }
}

}  // namespace
}  // namespace iopkt::tcp
