// Ranges and the receive half, each against a simple model that keeps one flag for each byte.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.hpp"
#include "tcp/ranges.hpp"
#include "tcp/receiver.hpp"

namespace iopkt::tcp {
namespace {

TEST(TcpRanges, AgreeWithASetOfBytes) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Random random(seed);
    RangeSet set;
    std::vector<bool> model(400);
    for (int step = 0; step < 60; ++step) {
      if (random.below(8) == 0) {
        const auto edge = static_cast<Offset>(random.below(400));
        set.remove_below(edge);
        std::fill(model.begin(), model.begin() + edge, false);
      } else {
        const auto begin = static_cast<Offset>(random.below(390));
        const Offset end = begin + 1 + static_cast<Offset>(random.below(9));
        Offset fresh = 0;
        for (Offset i = begin; i < end; ++i) fresh += !model[static_cast<std::size_t>(i)];
        const Offset added = set.add(begin, end, 20);
        if (added < 0) {
          EXPECT_EQ(set.size(), 20u);
        } else {
          EXPECT_EQ(added, fresh);
          std::fill(model.begin() + begin, model.begin() + end, true);
        }
      }
      Offset total = 0;
      for (Offset i = 0; i < 400; ++i) {
        ASSERT_EQ(set.contains(i), model[static_cast<std::size_t>(i)]) << "seed " << seed << " byte " << i;
        total += model[static_cast<std::size_t>(i)];
      }
      EXPECT_EQ(set.total(), total);
      EXPECT_EQ(set.covered(0, 400), total);
      for (std::size_t i = 1; i < set.size(); ++i) EXPECT_LT(set[i - 1].end, set[i].begin) << "touching ranges are one";
    }
  }
}

Receiver fresh(std::uint32_t capacity) {
  Receiver r;
  r.nxt = r.adv = 1;
  r.capacity = capacity;
  r.offer_window(100, false);
  return r;
}

TEST(TcpReceiver, PlacesEachByteOnceWhateverTheOrder) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    Receiver r = fresh(1000);
    std::vector<bool> placed(1000);
    for (int step = 0; step < 20000 && r.nxt < 1001; ++step) {
      const Offset begin = std::max<Offset>(1, r.nxt - 50) + static_cast<Offset>(random.below(300));
      const Offset end = begin + 1 + static_cast<Offset>(random.below(60));
      Copies copies;
      const auto got = r.accept(begin, end, false, 12, copies);
      std::uint32_t sum = 0;
      for (const Copy& c : copies) {
        ASSERT_EQ(static_cast<Offset>(c.to_position) + 1, begin + c.from);
        ASSERT_LE(c.to_position + c.length, 1000u);
        for (std::uint64_t p = c.to_position; p < c.to_position + c.length; ++p) {
          ASSERT_FALSE(placed[p]);
          placed[p] = true;
        }
        sum += c.length;
      }
      EXPECT_EQ(sum, got.bytes);
      EXPECT_LE(r.beyond().size(), 12u);
      for (Offset p = 1; p < r.nxt; ++p) ASSERT_TRUE(placed[static_cast<std::size_t>(p - 1)]);
      if (r.nxt < 1001) {
        ASSERT_FALSE(placed[static_cast<std::size_t>(r.nxt - 1)]);
      }
    }
    EXPECT_EQ(r.nxt, 1001);
    EXPECT_TRUE(r.beyond().empty());
  }
}

TEST(TcpReceiver, MoreHolesThanCopiesAreLeftForLater) {
  Receiver r = fresh(1000);
  Copies copies;
  for (Offset at = 11; at < 211; at += 10) {
    copies.clear();
    r.accept(at, at + 5, false, 100, copies);
  }
  copies.clear();
  const auto got = r.accept(1, 301, false, 100, copies);
  EXPECT_EQ(copies.size(), Copies::kMax);
  EXPECT_EQ(got.bytes, 10u + 7 * 5u);
  EXPECT_EQ(r.nxt, 86);
}

TEST(TcpReceiver, ReportsTheLatestRangesFirst) {
  Receiver r = fresh(60000);
  Copies copies;
  std::array<wire::SackBlock, 4> blocks;
  const auto take = [&](Offset begin, Offset end) {
    copies.clear();
    r.accept(begin, end, false, 100, copies);
  };
  const auto lefts = [&](std::uint8_t max) {
    std::vector<std::uint32_t> out;
    const std::uint8_t n = r.sack_blocks(blocks, max);
    for (std::uint8_t i = 0; i < n; ++i) out.push_back(blocks[i].left.value);
    r.forget_duplicate();
    return out;
  };
  using ::testing::ElementsAre;
  take(100, 200);
  take(300, 400);
  take(500, 600);
  take(700, 800);
  take(900, 1000);
  EXPECT_THAT(lefts(4), ElementsAre(900u, 700u, 500u, 300u));
  EXPECT_THAT(lefts(3), ElementsAre(900u, 700u, 500u));
  take(550, 620);  // RFC 2018 section 4: the block of the segment that triggered the ACK comes first
  EXPECT_THAT(lefts(4), ElementsAre(550u, 500u, 900u, 700u)) << "RFC 2883 section 4: the duplicate, then the range around it";
  EXPECT_THAT(lefts(4), ElementsAre(500u, 900u, 700u, 300u)) << "it is reported once";
  take(200, 300);  // joins two
  EXPECT_THAT(lefts(4), ElementsAre(100u, 500u, 900u, 700u));
  take(1, 100);    // in order up to 400
  EXPECT_EQ(r.nxt, 400);
  EXPECT_THAT(lefts(4), ElementsAre(500u, 900u, 700u));
  take(350, 450);  // half of it is below RCV.NXT
  EXPECT_THAT(lefts(4), ElementsAre(350u, 500u, 900u, 700u));
}

TEST(TcpReceiver, TheWindowOpensInStepsAndNeverRetreats) {
  Receiver r = fresh(1000);
  Copies copies;
  EXPECT_EQ(r.window(), 1000u);
  r.accept(1, 1001, false, 10, copies);
  EXPECT_EQ(r.offer_window(100, false), 0);
  // RFC 9293 section 3.8.6.2.2: not before min(MSS, half of the buffer); an update of its own for a quarter.
  EXPECT_FALSE(r.on_read(100, 100));
  EXPECT_EQ(r.offer_window(100, false), 0);
  EXPECT_FALSE(r.on_read(101, 100));
  EXPECT_EQ(r.offer_window(100, false), 100);
  EXPECT_TRUE(r.on_read(401, 100));
  EXPECT_EQ(r.offer_window(100, false), 400);
  // A smaller buffer does not take back what was offered.
  r.capacity = 300;
  EXPECT_EQ(r.offer_window(100, false), 400);
}

TEST(TcpReceiver, ScaledWindowsRoundDownButWhatWasOfferedIsTaken) {
  Receiver r = fresh(65536 * 2);
  r.scale = 4;
  EXPECT_EQ(r.offer_window(100, false), (65536 * 2) >> 4);
  const Offset edge = r.adv;
  Copies copies;
  r.accept(1, 8, false, 10, copies);
  EXPECT_EQ(r.offer_window(100, false), (65536 * 2 - 7) >> 4);
  EXPECT_EQ(r.adv, edge) << "RFC 7323 section 2.4";
  copies.clear();
  EXPECT_EQ(r.accept(edge - 3, edge, false, 10, copies).bytes, 3u);
}

// ---- autotuning

/// `bytes` arrive and are read, `took` later.
void pass(Receiver& r, Instant& now, Offset bytes, Duration took) {
  Copies copies;
  r.accept(r.nxt, r.nxt + bytes, false, 10, copies);
  now += took;
  r.on_read(r.nxt, 1000);
  r.offer_window(1000, false);
}

TEST(TcpReceiver, AsksForTwiceWhatIsTakenInARoundTrip) {
  Receiver r = fresh(64000);
  r.scale = 2;
  Instant now{};
  r.begin_tuning(100ms, now);
  pass(r, now, 10000, 20ms);
  EXPECT_EQ(r.tune(1000, now), 0u) << "a round trip is not over";
  pass(r, now, 60000, 80ms);
  EXPECT_EQ(r.tune(1000, now), 2 * 70000 + 16 * 1000u);
  pass(r, now, 10000, 100ms);
  EXPECT_EQ(r.tune(1000, now), 0u) << "there is room for that";
  pass(r, now, 64000, 1s);
  EXPECT_EQ(r.tune(1000, now), 0u) << "slow, and not looked at for long";
  r.scale = 0;
  pass(r, now, 64000, 100ms);
  EXPECT_EQ(r.tune(1000, now), 65535u) << "what the field can say";
}

TEST(TcpReceiver, WhatWasReadBeforeTheMeasurementDoesNotCount) {
  Receiver r = fresh(64000);
  Instant now{};
  for (int i = 0; i < 10; ++i) pass(r, now, 60000, 1s);
  r.begin_tuning(100ms, now);
  pass(r, now, 10000, 100ms);
  EXPECT_EQ(r.tune(1000, now), 0u);
}

TEST(TcpReceiver, ASlowReaderAsksForNothing) {
  Receiver r = fresh(64000);
  Instant now{};
  r.begin_tuning(10ms, now);
  Copies copies;
  r.accept(1, 64001, false, 10, copies);
  for (Offset read = 1001; read < 64001; read += 1000) {
    now += 10ms;
    r.on_read(read, 1000);
    ASSERT_EQ(r.tune(1000, now), 0u);
  }
}

TEST(TcpReceiver, MeasuresTheRoundTripByEchoesOrByWindows) {
  Receiver r = fresh(10000);
  r.begin_tuning({}, Instant{});
  r.time_round(40ms, 1, Instant{});
  EXPECT_EQ(r.tuning->round_trip, 40ms);
  r.time_round(400ms, 1, Instant{});
  EXPECT_EQ(r.tuning->round_trip, 40ms) << "one echo counts once: the rest waited";
  r.time_round(80ms, 2, Instant{});
  EXPECT_EQ(r.tuning->round_trip, 45ms);

  Receiver w = fresh(10000);
  Instant now{};
  w.begin_tuning({}, now);
  w.time_round({}, 0, now);
  pass(w, now, 9000, 30ms);
  w.time_round({}, 0, now);
  EXPECT_EQ(w.tuning->round_trip.count(), 0) << "the window is not through";
  pass(w, now, 1000, 10ms);
  w.time_round({}, 0, now);
  EXPECT_EQ(w.tuning->round_trip, 40ms);
  pass(w, now, 10000, 90ms);
  w.time_round({}, 0, now);
  EXPECT_EQ(w.tuning->round_trip, 40ms) << "the shortest";
}

}  // namespace
}  // namespace iopkt::tcp
