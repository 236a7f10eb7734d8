// Each model of a link against what it promises.
#include "tests/support/link.hpp"

#include <gtest/gtest.h>

#include "wire/ipv4.hpp"

namespace iopkt::sim {
namespace {

/// An IPv4 frame of `size` bytes whose last four are its number; ECN as given.
Frame numbered(std::uint32_t number, std::size_t size = 1000, std::uint8_t ecn = 0) {
  Frame frame(size);
  store_be16(frame, 12, 0x0800);
  wire::encode(wire::Ipv4Header{.tos = ecn, .ttl = 64, .protocol = wire::IpProtocol::udp, .payload_len = static_cast<std::uint16_t>(size - 34)},
               MutableBytes{frame}.subspan(14));
  store_be32(frame, size - 4, number);
  return frame;
}
std::uint32_t number_of(const Frame& frame) { return load_be32(frame, frame.size() - 4); }

struct Seen {
  Instant at;
  std::uint32_t number;
};
/// Runs the link until it is empty.
std::vector<Seen> drain(Link& link) {
  std::vector<Seen> out;
  while (!link.next().is_never()) {
    const Instant at = link.next();
    while (const auto frame = link.take(at)) out.push_back({at, number_of(*frame)});
  }
  return out;
}
std::vector<Seen> send(Link& link, std::uint32_t count, Duration every = 1ms, std::size_t size = 1000) {
  std::vector<Seen> out;
  Instant now{};
  for (std::uint32_t i = 0; i < count; ++i, now += every) {
    while (link.next() <= now) {
      const Instant at = link.next();
      while (const auto frame = link.take(at)) out.push_back({at, number_of(*frame)});
    }
    link.put(now, numbered(i, size));
  }
  for (const Seen& one : drain(link)) out.push_back(one);
  return out;
}

TEST(Link, DelayIsExactAndOrderIsKept) {
  Link link{{.delay = 7ms}, 1};
  const auto seen = send(link, 100);
  ASSERT_EQ(seen.size(), 100u);
  for (std::uint32_t i = 0; i < 100; ++i) {
    EXPECT_EQ(seen[i].number, i);
    EXPECT_EQ(seen[i].at, Instant{} + i * 1ms + 7ms);
  }
}

TEST(Link, MarksWhatMayBeMarked) {
  Link link{{.mark = 1}, 1};
  for (std::uint32_t i = 0; i < 4; ++i) link.put({}, numbered(i, 1000, static_cast<std::uint8_t>(i)));
  std::vector<std::uint8_t> ecn;
  while (const auto frame = link.take(Instant{} + 1s)) {
    const auto view = wire::Ipv4View::parse(Bytes{*frame}.subspan(14));
    ASSERT_TRUE(view && view->checksum_ok());
    ecn.push_back(view->header().ecn());
  }
  EXPECT_EQ(ecn, (std::vector<std::uint8_t>{0, 3, 3, 3}));
  EXPECT_EQ(link.counts().marked, 3u);
}

TEST(Link, RateParesFramesAndTheQueueIsBounded) {
  // 1000 bytes at 1 Mbit/s take 8 ms.
  Link link{{.delay = 0ms, .rate_bps = 1'000'000, .queue = 10}, 1};
  for (std::uint32_t i = 0; i < 20; ++i) link.put(Instant{}, numbered(i));
  EXPECT_EQ(link.queued(), 10u);
  EXPECT_EQ(link.counts().queue_full, 9u) << "one is on the wire, ten wait";
  const auto seen = drain(link);
  ASSERT_EQ(seen.size(), 11u);
  for (std::uint32_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i].at, Instant{} + (i + 1) * 8ms);
}

TEST(Link, TheQueueMayBeBoundedInBytes) {
  Link link{{.delay = 0ms, .rate_bps = 1'000'000, .queue_bytes = 3000}, 1};
  for (std::uint32_t i = 0; i < 6; ++i) link.put(Instant{}, numbered(i));
  EXPECT_EQ(link.counts().queue_full, 2u);
  link.put(Instant{} + 1ms, numbered(9, 100));
  EXPECT_EQ(link.counts().queue_full, 3u) << "a short one does not fit either: 3000 bytes wait";
}

TEST(Link, RandomLossIsAsFrequentAsItSays) {
  Link link{{.loss = 0.1}, 5};
  send(link, 20000);
  EXPECT_NEAR(static_cast<double>(link.counts().lost), 2000, 200);
  EXPECT_EQ(link.counts().lost + link.counts().out, 20000u);
}

TEST(Link, PeriodicLossIsExact) {
  Link link{{.lose_every = 10}, 1};
  const auto seen = send(link, 100);
  EXPECT_EQ(link.counts().lost, 10u);
  for (const Seen& one : seen) EXPECT_NE(one.number % 10, 9u);
}

TEST(Link, GilbertElliottLosesInBursts) {
  // In the bad state a tenth of the time, ten frames long on average: a tenth is lost, in runs.
  Link link{{.bursts = GilbertElliott{.to_bad = 0.1 / 9, .to_good = 0.1}}, 3};
  const auto seen = send(link, 100000);
  EXPECT_NEAR(static_cast<double>(link.counts().lost), 10000, 1500);
  std::uint64_t runs = 0;
  for (std::size_t i = 1; i < seen.size(); ++i) runs += seen[i].number != seen[i - 1].number + 1;
  EXPECT_NEAR(static_cast<double>(link.counts().lost) / static_cast<double>(runs), 10, 1.5);
}

TEST(Link, DuplicatesComeTwice) {
  Link link{{.duplicate = 0.2}, 1};
  const auto seen = send(link, 10000);
  EXPECT_NEAR(static_cast<double>(link.counts().duplicated), 2000, 200);
  EXPECT_EQ(seen.size(), 10000 + link.counts().duplicated);
}

TEST(Link, ReorderedFramesComeLaterAndNeverEarlier) {
  Link link{{.delay = 10ms, .reorder = 0.1, .reorder_by = 5ms}, 1};
  const auto seen = send(link, 10000);
  std::uint64_t overtaken = 0;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const Instant due = Instant{} + seen[i].number * 1ms + 10ms;
    EXPECT_GE(seen[i].at, due);
    EXPECT_LE(seen[i].at, due + 5ms);
    overtaken += i > 0 && seen[i].number < seen[i - 1].number;
  }
  EXPECT_NEAR(static_cast<double>(link.counts().reordered), 1000, 150);
  EXPECT_GT(overtaken, 500u);
  EXPECT_EQ(seen.size(), 10000u);
}

TEST(Link, CorruptionFlipsOneBitOfIpFramesAlone) {
  Link link{{.corrupt = 1}, 1};
  Frame arp(60);
  store_be16(arp, 12, 0x0806);
  link.put(Instant{}, arp);
  link.put(Instant{}, numbered(1));
  const Frame first = *link.take(Instant{} + 1ms), second = *link.take(Instant{} + 1ms);
  EXPECT_EQ(first, arp);
  int bits = 0;
  const Frame sent = numbered(1);
  for (std::size_t i = 0; i < sent.size(); ++i) bits += std::popcount(std::to_integer<unsigned>(sent[i] ^ second[i]));
  EXPECT_EQ(bits, 1);
}

TEST(Link, ABlackHoleSwallowsWhatIsLongerThanItsMtu) {
  Link link{{.mtu = 1000}, 1};
  link.put(Instant{}, numbered(1, 1014));
  link.put(Instant{}, numbered(2, 1015));
  const auto seen = drain(link);
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].number, 1u);
  EXPECT_EQ(link.counts().too_long, 1u);
}

/// A sender at 1.1 times the rate, for twenty seconds; the delay that the last second's frames had in the queue, and the counts.
struct Overload {
  Duration worst_at_end{};
  Link::Counts counts;
};
Overload overload(const LinkConfig& config, std::uint8_t ecn) {
  Link link{config, 1};
  Overload out;
  std::map<std::uint32_t, Instant> sent;
  const auto take = [&](Instant until) {
    while (link.next() <= until) {
      const Instant at = link.next();
      while (const auto frame = link.take(at))
        if (at > Instant{} + 19s && at < Instant{} + 20s) out.worst_at_end = std::max(out.worst_at_end, at - sent[number_of(*frame)]);
    }
  };
  Instant now{};
  // 1000 bytes at 10 Mbit/s take 0.8 ms; 1.1 frames come for each that leaves.
  for (std::uint32_t i = 0; now < Instant{} + 20s; ++i, now += 727us) {
    take(now);
    sent[i] = now;
    link.put(now, numbered(i, 1000, ecn));
  }
  take(Instant{} + 60s);
  out.counts = link.counts();
  return out;
}

TEST(Link, CodelHoldsTheDelayDownWhereDropTailDoesNot) {
  const LinkConfig tail{.delay = 0ms, .rate_bps = 10'000'000, .queue = 1000};
  LinkConfig codel = tail;
  codel.codel = Codel{};
  const Overload without = overload(tail, 0), with = overload(codel, 0);
  EXPECT_GT(without.worst_at_end, 700ms);
  EXPECT_EQ(without.counts.codel_dropped, 0u);
  // A sender that does not yield is met with ever more drops; the queue is short again in the end.
  EXPECT_LT(with.worst_at_end, 100ms);
  EXPECT_GT(with.counts.codel_dropped, 500u);
}

TEST(Link, CodelLeavesAShortQueueAlone) {
  Link link{{.delay = 0ms, .rate_bps = 10'000'000, .codel = Codel{}}, 1};
  send(link, 10000, 1ms);
  EXPECT_EQ(link.counts().codel_dropped, 0u);
  EXPECT_EQ(link.counts().out, 10000u);
}

TEST(Link, CodelMarksInsteadOfDroppingWhereItMay) {
  LinkConfig config{.delay = 0ms, .rate_bps = 10'000'000, .queue = 1000};
  config.codel = Codel{.ecn = true};
  EXPECT_EQ(overload(config, 0).counts.marked, 0u);
  const Overload ect = overload(config, 2);
  EXPECT_GT(ect.counts.marked, 100u);
  EXPECT_EQ(ect.counts.codel_dropped, 0u);
}

TEST(Link, AMarkedFrameIsOneThatAHostBelieves) {
  LinkConfig config{.delay = 0ms, .rate_bps = 1'000'000};
  config.codel = Codel{.target = 1ms, .interval = 1ms, .ecn = true};
  Link link{config, 1};
  for (std::uint32_t i = 0; i < 50; ++i) link.put(Instant{}, numbered(i, 1000, 1));
  std::uint64_t marked = 0;
  while (!link.next().is_never()) {
    const auto frame = link.take(link.next());
    if (!frame) continue;
    const auto view = wire::Ipv4View::parse(Bytes{*frame}.subspan(14));
    ASSERT_TRUE(view.has_value());
    EXPECT_TRUE(view->checksum_ok());
    marked += (view->tos() & 3) == 3;
  }
  EXPECT_GT(marked, 0u);
  EXPECT_EQ(marked, link.counts().marked);
}

TEST(Link, TheSameSeedIsTheSameLink) {
  const LinkConfig bad{.delay = 10ms, .loss = 0.1, .duplicate = 0.1, .reorder = 0.1};
  const auto numbers = [&](std::uint64_t seed) {
    Link link{bad, seed};
    std::vector<std::pair<std::int64_t, std::uint32_t>> out;
    for (const Seen& one : send(link, 1000)) out.emplace_back(one.at.ns, one.number);
    return out;
  };
  EXPECT_EQ(numbers(1), numbers(1));
  EXPECT_NE(numbers(1), numbers(2));
}

}  // namespace
}  // namespace iopkt::sim
