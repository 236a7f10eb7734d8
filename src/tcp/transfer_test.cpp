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

}  // namespace
}  // namespace iopkt::tcp
