// The log of transmissions against a model with a state for each byte.
#include <gtest/gtest.h>

#include <map>

#include "base/random.hpp"
#include "tcp/sent_log.hpp"

namespace iopkt::tcp {
namespace {

struct Byte {
  Sent::State state;
  bool again;
  Instant at;
};

struct Model {
  std::map<Offset, Byte> bytes;
  Offset count(Sent::State s) const {
    Offset n = 0;
    for (const auto& [at, b] : bytes) n += b.state == s;
    return n;
  }
};

void expect_same(const SentLog& log, const Model& m) {
  Offset at = m.bytes.empty() ? 0 : m.bytes.begin()->first, total = 0, again = 0;
  for (std::size_t i = 0; i < log.size(); ++i) {
    ASSERT_EQ(log[i].begin, at);
    ASSERT_LT(log[i].begin, log[i].end);
    for (; at < log[i].end; ++at, ++total) {
      const Byte& b = m.bytes.at(at);
      ASSERT_EQ(log[i].state, b.state) << at;
      if (b.state != Sent::State::flying) continue;
      ASSERT_EQ(log[i].again, b.again) << at;
      if (!b.at.is_never()) {
        ASSERT_EQ(log[i].at, b.at) << at;
      }
      again += b.again;
    }
  }
  ASSERT_EQ(total, static_cast<Offset>(m.bytes.size()));
  ASSERT_EQ(log.flying(), m.count(Sent::State::flying));
  ASSERT_EQ(log.sacked(), m.count(Sent::State::sacked));
  ASSERT_EQ(log.lost(), m.count(Sent::State::lost));
  ASSERT_EQ(log.again(), again);
  std::optional<Range> lost;
  for (const auto& [where, b] : m.bytes) {
    if (b.state != Sent::State::lost) {
      if (lost) break;
    } else if (!lost) {
      lost = Range{where, where + 1};
    } else {
      lost->end = where + 1;
    }
  }
  ASSERT_EQ(log.first_lost(), lost);
}

TEST(TcpSentLog, AgainstAModelOfEveryByte) {
  for (std::uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(seed);
    Random random{seed};
    SentLog log;
    Model m;
    Offset una = 1, nxt = 1;
    Instant now{1000};
    const auto pick = [&](Offset lo, Offset hi) { return lo + static_cast<Offset>(random.below(static_cast<std::uint64_t>(hi - lo + 1))); };
    for (int step = 0; step < 300 && !::testing::Test::HasFatalFailure(); ++step) {
      now += 1ns;
      const auto what = random.below(100);
      if (what < 30) {
        const Offset n = pick(1, 40);
        log.append({nxt, nxt + n}, false, now);
        for (Offset i = nxt; i < nxt + n; ++i) m.bytes[i] = {Sent::State::flying, false, now};
        nxt += n;
      } else if (what < 45 && una < nxt) {
        const Offset to = pick(una, nxt);
        Offset fresh = 0, expected = 0;
        log.remove_below(to, [&](const Sent& s, const TransmitState&) { fresh += s.length(); });
        for (; una < to; ++una) expected += m.bytes.at(una).state != Sent::State::sacked, m.bytes.erase(una);
        ASSERT_EQ(fresh, expected);
      } else if (what < 70 && una + 1 < nxt) {
        const Offset l = pick(una + 1, nxt - 1), r = pick(l + 1, nxt);
        Offset fresh = 0, expected = 0;
        const Offset got = log.sack(l, r, [&](const Sent& s, const TransmitState&) { fresh += s.length(); });
        for (Offset i = l; i < r; ++i) expected += m.bytes.at(i).state != Sent::State::sacked, m.bytes.at(i).state = Sent::State::sacked;
        ASSERT_EQ(fresh, expected);
        ASSERT_EQ(got, expected);
      } else if (what < 80 && !log.empty()) {
        const auto i = static_cast<std::size_t>(random.below(log.size()));
        const Sent s = log[i];
        log.mark_lost(i);
        if (s.state == Sent::State::flying)
          for (Offset b = s.begin; b < s.end; ++b) m.bytes.at(b).state = Sent::State::lost;
      } else if (what < 94) {
        auto lost = log.first_lost();
        if (!lost) continue;
        lost->end = pick(lost->begin + 1, lost->end);
        log.resent(*lost, now);
        for (Offset b = lost->begin; b < lost->end; ++b) m.bytes.at(b) = {Sent::State::flying, true, now};
      } else if (what < 96) {
        log.lose_all();
        for (auto& [at, b] : m.bytes)
          if (b.state == Sent::State::flying) b.state = Sent::State::lost;
      } else if (what < 98) {
        log.find_all();
        for (auto& [at, b] : m.bytes)
          if (b.state == Sent::State::lost) b.state = Sent::State::flying;
      } else {
        log.forget_sacks();
        for (auto& [at, b] : m.bytes) {
          if (b.state == Sent::State::sacked) b.again = true, b.at = Instant::never();
          b.state = Sent::State::lost;
        }
      }
      expect_same(log, m);
    }
  }
}

TEST(TcpSentLog, ManySmallTransmissionsShareTheLastRecord) {
  SentLog log;
  for (Offset i = 1; i <= 100'000; ++i) log.append({i, i + 1}, false, Instant{i});
  EXPECT_EQ(log.size(), SentLog::kMost);
  EXPECT_EQ(log.flying(), 100'000);
  EXPECT_EQ(log.back().at, Instant{100'000});
  EXPECT_TRUE(log.back().shared);
  EXPECT_FALSE(log[SentLog::kMost - 2].shared);
  log.sack(50'000, 50'001, [](const Sent& s, const TransmitState&) { EXPECT_TRUE(s.shared) << "when it went out is not known"; });
  log.truncate(50);
  EXPECT_EQ(log.flying(), 49);
}

/// Notes stay with their records, however these are divided, joined and moved.
TEST(TcpSentLog, WhatIsDeliveredIsToldByPackets) {
  SentLog log;
  std::uint32_t packets = 0;
  const auto count = [&](const Sent& s, const TransmitState&) { packets += s.packets(); };
  log.append({0, 10'000}, false, Instant{1}, 1000);
  log.append({10'000, 10'300}, false, Instant{1}, 1000);
  log.append({10'300, 13'000}, false, Instant{1});
  log.remove_below(4000, count);
  EXPECT_EQ(packets, 4u);
  log.sack(6000, 10'300, count);
  EXPECT_EQ(packets, 4u + 4 + 1);
  log.resent({4000, 6000}, Instant{2}, 500);
  log.remove_below(13'000, count);
  EXPECT_EQ(packets, 9u + 4 + 1) << "as they went out last, and what was SACKed not again";
}

TEST(TcpSentLog, NotesStayWithTheirRecords) {
  Random random{9};
  SentLog log;
  log.append({0, 10}, false, Instant{1});
  log.keep_notes();
  EXPECT_FALSE(log.note(0).known);
  Offset una = 0, nxt = 10;
  std::int64_t now = 1;
  const auto check = [&](const Sent& s, const TransmitState& note) {
    if (note.known) {
      EXPECT_EQ(note.delivered_time, s.at);
    }
  };
  for (int step = 0; step < 20000; ++step) {
    const Instant when{++now};
    const auto offset = [&](Offset most) { return static_cast<Offset>(random.below(static_cast<std::uint64_t>(most) + 1)); };
    const auto what = random.below(10);
    if (what < 5) {
      const Offset n = 1 + offset(40);
      log.append({nxt, nxt + n}, false, when);
      log.remember(nxt, {.delivered_time = when, .known = true});
      nxt += n;
    } else if (what < 7 && una < nxt) {
      const Offset l = una + offset(nxt - una - 1);
      log.sack(l, std::min(l + 1 + offset(60), nxt), check);
    } else if (what == 7 && una < nxt) {
      una += offset(nxt - una) / 2;
      log.remove_below(una, check);
    } else if (what == 8) {
      for (std::size_t i = 0; i < log.size(); i += 1 + random.below(4)) log.mark_lost(i);
    } else if (const auto lost = log.first_lost()) {
      const Range r{lost->begin, std::min(lost->begin + 1 + offset(30), lost->end)};
      log.resent(r, when);
      log.remember(r.begin, {.delivered_time = when, .known = true});
    }
    for (std::size_t i = 0; i < log.size(); ++i)
      if (log[i].state == Sent::State::flying) check(log[i], log.note(i));
  }
}

/// A receiver that makes as many holes as it can, and what is lost goes out again in tiny segments: the work has a bound all the same.
TEST(TcpSentLog, TinyRetransmissionsHaveABound) {
  SentLog log;
  constexpr Offset kRecord = 65'000, kRecords = 64, kEnd = kRecord * kRecords;
  for (Offset i = 0; i < kRecords; ++i) log.append({i * kRecord, (i + 1) * kRecord}, false, Instant{i});
  for (Offset at = 100; at < kEnd; at += 200) log.sack(at, at + 1, [](const Sent&, const TransmitState&) {});
  ASSERT_LE(log.size(), 2 * SentLog::kMost);
  const Offset sacked = log.sacked();
  log.lose_all();
  std::int64_t now = 1000;
  Offset again = 0;
  while (const auto lost = log.first_lost()) {
    const Range r{lost->begin, std::min(lost->begin + 7, lost->end)};
    log.resent(r, Instant{++now});
    again += r.end - r.begin;
    ASSERT_EQ(log.again(), again);
    ASSERT_EQ(log.lost() + log.flying() + log.sacked(), kEnd);
    ASSERT_LE(log.size(), 3 * SentLog::kMost + 4 * kRecords) << "without a bound: one for each seven bytes";
  }
  EXPECT_EQ(log.sacked(), sacked);
  // What shares a record is as young as the youngest of it, and the order of the records' last transmissions stays that of their times.
  for (std::size_t i = 0; i < log.size(); ++i) {
    if (log[i].state != Sent::State::flying) continue;
    ASSERT_EQ(log[i].at, Instant{1000 + static_cast<std::int64_t>(log[i].order) - kRecords});
  }
}

}  // namespace
}  // namespace iopkt::tcp
