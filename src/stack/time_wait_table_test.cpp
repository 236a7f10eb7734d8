#include "stack/time_wait_table.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

namespace iopkt::stack {
namespace {

FlowKey flow_of(std::uint32_t n) {
  return {{wire::Ipv4Address{10, 0, 0, 1}, wire::Port{80}},
          {wire::Ipv4Address{0x0b000000u + n / 60000}, wire::Port{static_cast<std::uint16_t>(1024 + n % 60000)}}};
}

tcp::TimeWait wait_of(std::uint32_t n, Instant until) {
  return {.snd_nxt = tcp::SeqNum{n},
          .rcv_nxt = tcp::SeqNum{~n},
          .ts_recent = n * 3,
          .timestamp_offset = n * 5,
          .window = static_cast<std::uint16_t>(n),
          .timestamps = n % 2 != 0,
          .until = until};
}

TEST(TimeWaitTable, KeepsWhatItIsGiven) {
  TimeWaitTable table{HashKey{1, 2}, 10'000};
  const Instant now{5'000'000'000};
  EXPECT_EQ(table.find(flow_of(0)), TimeWaitTable::kNone);
  for (std::uint32_t n = 0; n < 5000; ++n)
    ASSERT_TRUE(table.add(flow_of(n), wait_of(n, now + 60s), {.binding = {}, .foreign_shard = static_cast<std::uint8_t>(n % 64), .fib = 3}));
  EXPECT_EQ(table.size(), 5000u);
  for (std::uint32_t n = 0; n < 5000; n += 7) {
    const auto place = table.find(flow_of(n));
    ASSERT_NE(place, TimeWaitTable::kNone);
    EXPECT_EQ(table.wait(place, now), wait_of(n, now + 60s));
    EXPECT_EQ(table.flow(place), flow_of(n));
    EXPECT_EQ(table.foreign_shard(place), n % 64);
    EXPECT_EQ(table.fib(place), 3);
  }
  for (std::uint32_t n = 0; n < 5000; n += 2) table.remove(table.find(flow_of(n)));
  for (std::uint32_t n = 0; n < 5000; ++n) ASSERT_EQ(table.find(flow_of(n)) != TimeWaitTable::kNone, n % 2 == 1) << n;
  EXPECT_EQ(table.size(), 2500u);
}

TEST(TimeWaitTable, EndsInOrderNeverEarly) {
  TimeWaitTable table{HashKey{1, 2}, 100};
  const Instant start{1'234'567'891};
  for (std::uint32_t n = 0; n < 10; ++n) ASSERT_TRUE(table.add(flow_of(n), wait_of(n, start + n * 1s + 1us), {}));
  // The peer sent its FIN again: this one waits anew.
  table.restart(table.find(flow_of(0)), start + 20s);
  std::vector<FlowKey> gone;
  for (Instant now = start; table.size() > 0; now = std::max(table.next_deadline(now), now + 1ms)) {
    table.expire(now, [&](const FlowKey& flow, std::uint8_t) {
      const std::uint32_t n = flow.remote.port.value - 1024;
      EXPECT_GE(now, n == 0 ? start + 20s : start + n * 1s + 1us);
      EXPECT_LE(now, (n == 0 ? start + 20s : start + n * 1s) + 3ms);
      gone.push_back(flow);
    });
  }
  ASSERT_EQ(gone.size(), 10u);
  EXPECT_EQ(gone.front(), flow_of(1));
  EXPECT_EQ(gone.back(), flow_of(0));
  EXPECT_TRUE(table.next_deadline(start).is_never());
}

/// RFC 5961 section 7.
TEST(TimeWaitTable, ChallengesAreLimitedForEachByItself) {
  for (const Instant start : {Instant{0}, Instant{5'000'000'000}, Instant{0xffffff00ll * 1'000'000}})
    for (const std::uint32_t limit : {1u, 3u, 10u, 1000u}) {
      TimeWaitTable table{HashKey{1, 2}, 10};
      for (const std::uint32_t n : {0u, 1u}) ASSERT_TRUE(table.add(flow_of(n), wait_of(n, start + 100ms), {}));
      const auto one = table.find(flow_of(0)), other = table.find(flow_of(1));
      std::uint32_t first = 0, later = 0;
      for (int i = 0; i < 3000; ++i) first += table.may_challenge(one, start, limit) ? 1 : 0;
      EXPECT_EQ(first, limit);
      // Also when it waited anew for many days.
      EXPECT_TRUE(table.may_challenge(other, start + 20 * 24h, limit));
      for (int t = 1; t <= 10'000; ++t) later += table.may_challenge(one, start + t * 1ms, limit) ? 1 : 0;
      EXPECT_LE(later, 2 * limit);
      EXPECT_GE(later, 2 * limit - 2);
    }
}

TEST(TimeWaitTable, IsBoundedAndUsesPlacesAgain) {
  TimeWaitTable table{HashKey{1, 2}, 2000};
  Instant now{};
  for (std::uint32_t round = 0; round < 20; ++round) {
    for (std::uint32_t n = 0; n < 2000; ++n) ASSERT_TRUE(table.add(flow_of(round * 2000 + n), wait_of(n, now + 1s), {}));
    EXPECT_FALSE(table.add(flow_of(999'999), wait_of(0, now + 1s), {}));
    now += 2s;
    std::size_t gone = 0;
    table.expire(now, [&](const FlowKey&, std::uint8_t) { ++gone; });
    EXPECT_EQ(gone, 2000u);
  }
  EXPECT_LE(table.memory(), 2048 * 92 + 65536u);
}

TEST(TimeWaitTable, APortIsFreeWhenTheLastOfItIsGone) {
  socket::PortTable ports{socket::PortTable::Rules::tcp};
  Random random{1};
  TimeWaitTable table{HashKey{1, 2}, 100};
  {
    const auto binding = ports.bind({.port = wire::Port{80}}, random);
    ASSERT_TRUE(binding);
    for (std::uint32_t n = 0; n < 3; ++n) ASSERT_TRUE(table.add(flow_of(n), wait_of(n, Instant{}), {.binding = *binding}));
  }
  for (std::uint32_t n = 0; n < 3; ++n) {
    EXPECT_EQ(ports.size(), 1u);
    table.remove(table.find(flow_of(n)));
  }
  EXPECT_EQ(ports.size(), 0u);
}

/// A million on one listener; the memory is what the table says and what the process grows by.
TEST(TimeWaitTable, AMillionCostLessThanAHundredBytesEach) {
  constexpr std::uint32_t kCount = 1'000'000;
  TimeWaitTable table{HashKey{1, 2}, kCount};
  const Instant now{};
  for (std::uint32_t n = 0; n < kCount; ++n) ASSERT_TRUE(table.add(flow_of(n), wait_of(n, now + 60s), {}));
  EXPECT_LT(table.memory() / kCount, 100u);
  RecordProperty("bytes_each", static_cast<int>(table.memory() / kCount));
  for (std::uint32_t n = 0; n < kCount; n += 997) ASSERT_NE(table.find(flow_of(n)), TimeWaitTable::kNone);
  std::size_t gone = 0;
  table.expire(now + 61s, [&](const FlowKey&, std::uint8_t) { ++gone; });
  EXPECT_EQ(gone, kCount);
}

}  // namespace
}  // namespace iopkt::stack
