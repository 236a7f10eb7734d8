// More accurate ECN feedback (RFC 9768): the arithmetic of appendix A, the handshake's tables, and both halves of a connection.
#include "tcp/accecn.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tcp/syn_cookie.hpp"
#include "tcp/test_pair.hpp"
#include "tcp/test_script.hpp"

namespace iopkt::tcp {
namespace {

using testing::Pair;
using testing::Script;
using C = Counters<Counter>;

constexpr std::uint16_t kAll = wire::ae | wire::cwr | wire::ece;
constexpr std::uint8_t kNotEct = 0, kEct1 = 1, kEct0 = 2, kCe = 3;

TEST(AccEcn, TheAceFieldByAppendixA2) {
  const struct {
    std::uint8_t ace;
    std::uint32_t counter, acked;
    std::optional<std::uint32_t> ce_bytes;
    std::uint32_t more;
  } rows[] = {
      {5, 5, 1, {}, 0},
      {0, 5, 3, {}, 3},       // 5 + 3 is 0
      {0, 5, 9, {}, 3},       // of 9, 11 cannot be: once round is the most
      {0, 5, 11, {}, 11},     // of 11, it can
      {5, 5, 8, {}, 8},       // nothing moved, or all eight are marked
      {5, 5, 7, {}, 0},
      {5, 5, 20, {}, 16},
      {5, 5, 20, 0u, 0},      // and the option says that nothing is
      {6, 5, 20, 1000u, 1},   // one segment is
      {6, 5, 20, 17000u, 17},
      {6, 5, 20, 8000u, 9},   // the fewest that have so many bytes
      {6, 5, 20, 9000u, 9},
      {6, 5, 20, 9001u, 17},
      {6, 5, 20, 20000u, 17},
      {7, 5, 1, {}, 2},       // more marks than packets: some had no data
      {1, 0xfffffffe, 3, {}, 3},
  };
  for (const auto& row : rows)
    EXPECT_EQ(decode_ace(row.ace, row.counter, row.acked, row.ce_bytes, 1000, true), row.more)
        << int{row.ace} << " " << row.counter << " " << row.acked << " " << row.ce_bytes.value_or(77);
  // Where no marks were seen of late, none are likely, and a first one is told of at once.
  EXPECT_EQ(decode_ace(5, 5, 44, {}, 1000, false), 0u);
  EXPECT_EQ(decode_ace(6, 5, 44, {}, 1000, false), 1u);
  EXPECT_EQ(decode_ace(6, 5, 20, 17000u, 1000, false), 17u) << "bytes are no guess";
}

TEST(AccEcn, WhateverAcksAreLostTheCountIsRightBySection3_2_2_5) {
  // With options any thinning of acknowledgments, without them less than eight packets each.
  Random random{3};
  for (const bool options : {true, false}) {
    AccEcn receiver, sender;
    std::uint32_t marked = 0, unsaid = 0;
    for (int i = 0; i < 20000; ++i) {
      const bool ce = random.chance(0.3);
      const SegmentIn data{.options = {}, .payload_len = 1000, .ecn = static_cast<std::uint8_t>(ce ? kCe : kEct0)};
      receiver.on_packets(data, true);
      marked += ce;
      if (++unsaid < (options ? 1 + random.below(40) : 1 + random.below(7))) continue;
      wire::TcpOptions o;
      o.accecn = receiver.option(28, false);
      if (!options) o.accecn.reset();
      sender.on_ack({.flags = static_cast<std::uint16_t>(wire::ack | wire::flags_of_ace(receiver.r_cep)), .options = o}, unsaid, 1000, true);
      receiver.on_sent(o.accecn, false);
      unsaid = 0;
      ASSERT_EQ(sender.s_cep - 5, marked);
      if (options) {
        ASSERT_EQ(sender.s_ceb, marked * 1000);
        ASSERT_EQ(sender.s_e0b & wire::AccEcnOption::kMask, receiver.r_e0b & wire::AccEcnOption::kMask);
      }
    }
    EXPECT_TRUE(sender.sends_ect && sender.heeds);
  }
}

TEST(AccEcn, WhatASynGetsBySection3_1_2) {
  const struct {
    std::uint32_t enable;
    std::uint16_t syn;
    EcnMode mode;
  } rows[] = {
      {0, kAll, EcnMode::none},
      {2, kAll, EcnMode::classic},
      {1, wire::cwr | wire::ece, EcnMode::classic},
      {3, 0, EcnMode::none},
      {3, wire::cwr | wire::ece, EcnMode::classic},
      {3, kAll, EcnMode::accurate},
      {4, kAll, EcnMode::accurate},
      {5, kAll, EcnMode::accurate},
      {3, wire::ae, EcnMode::accurate},  // section 3.1.3
      {3, wire::ece, EcnMode::accurate},
      {2, wire::ece, EcnMode::none},
  };
  for (const auto& row : rows) EXPECT_EQ(ecn_granted(row.enable, static_cast<std::uint16_t>(row.syn | wire::syn)), row.mode) << row.enable << " " << row.syn;
  const EcnMode answers[] = {EcnMode::none, EcnMode::classic, EcnMode::accurate, EcnMode::accurate,
                             EcnMode::accurate, EcnMode::accurate, EcnMode::accurate, EcnMode::none};
  for (std::uint16_t ace = 0; ace < 8; ++ace) EXPECT_EQ(ecn_of_answer(wire::flags_of_ace(ace)), answers[ace]) << ace;
  for (const std::uint8_t field : {kNotEct, kEct1, kEct0, kCe}) EXPECT_EQ(handshake_ecn(handshake_flags(field)), field);
}

TEST(AccEcn, TheShortestOptionBySection3_2_3_3) {
  AccEcn a;
  EXPECT_FALSE(a.option(40, true)) << "nothing is new";
  const auto packet = [&](std::uint8_t ecn, std::uint32_t size) { a.on_packets({.options = {}, .payload_len = size, .ecn = ecn}, true); };
  packet(kEct0, 100);
  EXPECT_EQ(a.option(8, true), (wire::AccEcnOption{.fields = 1, .e0b = 101}));
  EXPECT_FALSE(a.option(4, true));
  a.on_sent(a.option(8, true), true);
  EXPECT_FALSE(a.option(40, true)) << "said";
  EXPECT_TRUE(a.option(40, false)) << "but acknowledgments alone may get lost";
  packet(kCe, 50);
  EXPECT_EQ(a.option(8, true), (wire::AccEcnOption{.fields = 2, .e0b = 101, .ceb = 50}));
  a.on_sent(a.option(8, true), true);
  packet(kEct1, 7);
  EXPECT_EQ(a.option(12, true), (wire::AccEcnOption{.fields = 3, .e0b = 101, .ceb = 50, .e1b = 8})) << "all that ever counted";
  EXPECT_EQ(a.option(8, true), (wire::AccEcnOption{.order1 = true, .fields = 1, .e1b = 8})) << "at least what is new";
  packet(kEct0, 1);
  EXPECT_FALSE(a.option(8, true)) << "half of the news would be taken for the whole";
  packet(kNotEct, 1000), packet(kCe, 0);
  EXPECT_EQ(a.option(12, true), (wire::AccEcnOption{.fields = 3, .e0b = 102, .ceb = 50, .e1b = 8}));
  a.r_ceb = 0x1000002;
  EXPECT_EQ(a.option(12, true)->ceb, 2u) << "modulo 2^24";
  a.says_options = false;
  EXPECT_FALSE(a.option(12, true));
}

TEST(AccEcn, AcknowledgmentsAreDueBySection3_2_2_5_1) {
  AccEcn a;
  const auto packet = [&](std::uint8_t ecn, std::uint32_t size, bool waiting) {
    return a.on_packets({.options = {}, .payload_len = size, .ecn = ecn}, waiting);
  };
  EXPECT_FALSE(packet(kEct0, 1000, true));
  EXPECT_TRUE(packet(kCe, 1000, true)) << "data with a mark after one without";
  a.on_sent({}, false);
  EXPECT_FALSE(packet(kCe, 1000, true));
  EXPECT_TRUE(packet(kCe, 1000, true)) << "two marks, data waits";
  a.on_sent({}, false);
  EXPECT_FALSE(packet(kCe, 0, false));
  EXPECT_FALSE(packet(kCe, 0, false));
  EXPECT_TRUE(packet(kCe, 0, false)) << "the third of marked acknowledgments";
  EXPECT_EQ(a.r_cep, 11u);
  EXPECT_TRUE(a.on_packets({.options = {}, .payload_len = 20000, .packets = 20, .ecn = kCe}, true)) << "GRO";
  EXPECT_EQ(a.r_cep, 31u);
}

TEST(AccEcn, ZeroedAndContradictingFeedbackBySections3_2_2_4And3_2_3_2) {
  wire::TcpOptions o;
  const auto ack = [&](AccEcn& a, std::uint16_t ace, std::uint32_t packets = 1) {
    return a.on_ack({.flags = static_cast<std::uint16_t>(wire::ack | wire::flags_of_ace(ace)), .options = o}, packets, 1000, true);
  };
  AccEcn a;
  EXPECT_FALSE(ack(a, 0).congestion);
  EXPECT_FALSE(a.sends_ect || a.heeds) << "ACE does not begin with zero";
  EXPECT_FALSE(ack(a, 1).congestion);
  AccEcn many;
  EXPECT_EQ(ack(many, 0, 5).marks, 3u) << "but three marks bring it there";
  EXPECT_TRUE(many.sends_ect);
  AccEcn zeroed;
  o.accecn = wire::AccEcnOption{.fields = 3, .ceb = 0, .e1b = 1};
  ack(zeroed, 5);
  EXPECT_EQ(zeroed.heard, AccEcn::Heard::zeroed);
  o.accecn = wire::AccEcnOption{.fields = 3, .e0b = 0x8001, .ceb = 0, .e1b = 1};
  EXPECT_EQ(ack(zeroed, 5, 20).marks, 16u) << "options do not count: the safest likely case";
  AccEcn rewritten;
  for (std::uint32_t i = 1; i <= 4; ++i) {
    o.accecn = wire::AccEcnOption{.fields = 2, .e0b = 1, .ceb = i * 1000};
    EXPECT_EQ(ack(rewritten, 5).congestion, i <= 3) << i;
  }
  EXPECT_FALSE(rewritten.sends_ect) << "marked bytes without marked packets";
}

// ---- connections ------------------------------------------------------------------------------------------------------

/// ESTABLISHED by our SYN; the SYN,ACK as given.
void open_accurate(Script& s, std::uint16_t flags = wire::cwr, std::uint8_t ip_ecn = kNotEct) {
  s.tunables.ecn_enable = 3;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  const auto syn = s.drain();
  ASSERT_EQ(syn.at(0).flags & kAll, kAll);
  EXPECT_FALSE(syn.at(0).ect || syn.at(0).options.accecn);
  s.now += 10ms;
  wire::TcpOptions o;
  o.mss = 1000;
  const auto out = s.give_raw({.seq = s.irs, .ack = s.iss + 1, .flags = static_cast<std::uint16_t>(wire::syn | wire::ack | flags), .window = 65535,
                               .options = o, .ecn = ip_ecn});
  ASSERT_TRUE(s.c->info().accurate_ecn);
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].flags & kAll, handshake_flags(ip_ecn)) << "table 3";
  EXPECT_EQ(out[0].options.accecn, (wire::AccEcnOption{.fields = 3, .e0b = 1, .ceb = 0, .e1b = 1}));
}

TEST(AccEcn, SetupOfAllKindsOfPeers) {
  const struct {
    std::uint32_t active, passive;
    bool accurate, any;
  } rows[] = {{3, 3, true, true}, {3, 4, true, true}, {3, 5, true, true}, {3, 2, false, true}, {3, 1, false, true}, {3, 0, false, false},
              {4, 3, false, true}, {1, 3, false, true}, {5, 3, false, false}, {2, 3, false, false}, {0, 3, false, false}};
  for (const auto& row : rows) {
    SCOPED_TRACE(std::to_string(row.active) + " " + std::to_string(row.passive));
    Pair p;
    p.a.tunables.ecn_enable = row.active;
    p.b.tunables.ecn_enable = row.passive;
    p.a.write_limit = p.b.write_limit = 20000;
    p.establish();
    ASSERT_TRUE(p.run_until([&] { return p.b.read == 20000 && p.a.read == 20000; }, 10s));
    for (const testing::Host* h : {&p.a, &p.b}) {
      EXPECT_EQ(h->connection->info().accurate_ecn, row.accurate);
      EXPECT_EQ(h->connection->info().ecn, row.any);
      EXPECT_EQ(h->count(&C::ecn_accurate), row.accurate ? 1u : 0u);
      EXPECT_EQ(h->count(&C::ecn_mangled), 0u);
    }
    for (const auto& s : p.trace) {
      EXPECT_EQ(s.segment.ect, row.any && s.segment.payload_len > 0) << "data, and nothing else";
      EXPECT_TRUE(row.accurate || !s.segment.options.accecn);
    }
  }
}

TEST(AccEcn, MarksReduceOnceForAWindowAndAreNotAnsweredWithCwr) {
  Script s;
  open_accurate(s);
  EXPECT_TRUE(s.write(100000).at(0).ect);
  std::uint16_t ace = 5;
  std::size_t out = 0;
  for (std::uint32_t a = 2001; a <= 9001; a += 1000) {
    for (const auto& one : s.give({.ack = a, .flags = static_cast<std::uint16_t>(wire::ack | wire::flags_of_ace(++ace))})) {
      ++out;
      EXPECT_EQ(wire::ace_of(one.flags), 5) << "a counter, and no CWR";
    }
  }
  EXPECT_GT(out, 2u);
  EXPECT_EQ(s.count(&C::ecn_reductions), 1u);
  EXPECT_EQ(s.c->info().delivered_ce, 8u);
  s.give({.ack = static_cast<std::uint32_t>(s.block().snd.nxt), .flags = static_cast<std::uint16_t>(wire::ack | wire::flags_of_ace(++ace))});
  EXPECT_EQ(s.count(&C::ecn_reductions), 2u) << "the next window";
}

TEST(AccEcn, LargeAcknowledgmentsWithoutMarksAreNoSignOfThemBySection3_2_2_5) {
  Script s;
  open_accurate(s);
  s.edit([](ControlBlock& b) { b.snd.cc.cwnd = 200'000; });
  s.write(2'000'000);
  std::uint32_t acked = 1;
  const auto ack = [&](std::uint32_t packets, std::uint16_t ace) {
    s.now += 1ms;
    s.give({.ack = acked += packets * 1000, .flags = static_cast<std::uint16_t>(wire::ack | wire::flags_of_ace(ace))});
  };
  const auto open_window = [&] { s.edit([](ControlBlock& b) { b.snd.wnd = b.snd.max_wnd = b.snd.cc.cwnd = 300'000; }), s.drain(); };
  open_window();
  for (int i = 0; i < 10; ++i) ack(44, 5), open_window();
  EXPECT_EQ(s.count(&C::ecn_reductions), 0u);
  EXPECT_EQ(s.c->info().delivered_ce, 0u);
  ack(44, 6);
  EXPECT_EQ(s.c->info().delivered_ce, 1u);
  EXPECT_EQ(s.count(&C::ecn_reductions), 1u);
  open_window();
  // Within the round trip: all eightfold.
  const Offset end = s.block().accurate->marks_end;
  ack(44, 6);
  EXPECT_EQ(s.c->info().delivered_ce, 41u);
  while (s.block().snd.una <= end) ack(6, 6);
  open_window();
  ack(44, 6);
  EXPECT_EQ(s.c->info().delivered_ce, 41u) << "the guess was no mark";
}

TEST(AccEcn, PacketsAreCountedAsTheyWereSent) {
  Script s;
  s.config.options.nodelay = true;
  open_accurate(s);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(s.write(100).size(), 1u);
  s.give({.ack = 301, .flags = wire::ack});  // 5 and three marks
  EXPECT_TRUE(s.block().accurate->sends_ect) << "three small segments bring the field to zero";
  EXPECT_EQ(s.c->info().delivered_ce, 3u);
  // Eight small ones, all marked, and the option that says so: not a contradiction.
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 8; ++i) EXPECT_EQ(s.write(10).size(), 1u);
    wire::TcpOptions o;
    o.accecn = wire::AccEcnOption{.fields = 2, .e0b = 1, .ceb = 80u * static_cast<std::uint32_t>(round + 1)};
    s.give_raw({.seq = s.irs + 1, .ack = s.iss + 301 + 80 * static_cast<std::uint32_t>(round + 1), .flags = wire::ack, .window = 65535, .options = o});
  }
  EXPECT_TRUE(s.block().accurate->sends_ect);
  EXPECT_EQ(s.c->info().delivered_ce, 35u);
  EXPECT_EQ(s.count(&C::ecn_mangled), 0u);
}

TEST(AccEcn, ALateSynAckIsAnsweredWithTheCounterBySection3_2_2_1) {
  const auto syn_ack = [](Script& s) {
    wire::TcpOptions o;
    o.mss = 1000;
    return s.c->on_segment({.seq = s.irs, .ack = s.iss + 1, .flags = wire::syn | wire::ack | wire::cwr, .window = 65535, .options = o}, s.now, s.copies);
  };
  Script first;
  open_accurate(first);
  syn_ack(first);
  auto out = first.drain();
  EXPECT_EQ(wire::ace_of(out.at(0).flags), 2) << "our ACK may have been lost";
  Script received;
  open_accurate(received);
  received.give({.len = 100});
  syn_ack(received);
  out = received.drain();
  EXPECT_EQ(wire::ace_of(out.at(0).flags), 5) << "the server has sent data: it is established";
  Script sent;
  open_accurate(sent);
  sent.write(100);
  syn_ack(sent);
  out = sent.drain();
  EXPECT_EQ(wire::ace_of(out.at(0).flags), 5);
  Script both;
  open_accurate(both);
  syn_ack(both);
  out = both.give({.len = 100});
  EXPECT_EQ(wire::ace_of(out.at(0).flags), 5) << "data in the same turn";
}

TEST(AccEcn, AnAcknowledgmentWithoutNewsDoesNotCountBySection3_2_2) {
  Script s;
  open_accurate(s);
  s.write(3000);
  s.give({.ack = 1, .flags = static_cast<std::uint16_t>(wire::ack | wire::flags_of_ace(2))});
  EXPECT_EQ(s.c->info().delivered_ce, 0u) << "the handshake's encoding of an acknowledgment that came twice";
}

TEST(AccEcn, ManglingStopsEctButNotFeedbackBySection3_2_2_3) {
  for (const std::uint8_t field : {kEct1, kEct0, kCe}) {
    Script s;
    open_accurate(s, handshake_flags(field));
    EXPECT_FALSE(s.write(1000).at(0).ect);
    EXPECT_EQ(s.count(&C::ecn_mangled), 1u);
    EXPECT_EQ(s.count(&C::ecn_reductions), field == kCe ? 1u : 0u);
    const wire::TcpOptions none;
    const auto out = s.give_raw({.seq = s.irs + 1, .ack = s.iss + 1, .flags = wire::ack | wire::ae | wire::ece, .window = 65535,
                                 .options = none, .payload_len = 1000, .ecn = kCe});
    EXPECT_EQ(wire::ace_of(out.at(0).flags), 6);
  }
}

TEST(AccEcn, AMarkedSynAckCountsOnceBySection3_2_2_2) {
  Script s;
  open_accurate(s, wire::cwr, kCe);
  EXPECT_EQ(s.block().accurate->r_cep, 6u);
  // Again: the answer has the encoding once more.
  wire::TcpOptions o;
  o.mss = 1000;
  const auto out = s.give_raw({.seq = s.irs, .ack = s.iss + 1, .flags = wire::syn | wire::ack | wire::cwr, .window = 65535, .options = o, .ecn = kCe});
  EXPECT_EQ(out.at(0).flags & kAll, wire::ae | wire::cwr);
  EXPECT_EQ(s.block().accurate->r_cep, 6u);
}

TEST(AccEcn, LostSynsBySection3_1_4_1) {
  Script s;
  s.tunables.ecn_enable = 3;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  EXPECT_EQ(s.drain().at(0).flags & kAll, kAll);
  EXPECT_EQ(s.next_timer().at(0).flags & kAll, kAll) << "once more";
  EXPECT_EQ(s.next_timer().at(0).flags & kAll, 0);
  wire::TcpOptions o;
  s.give_raw({.seq = s.irs, .ack = s.iss + 1, .flags = wire::syn | wire::ack | wire::cwr, .window = 65535, .options = o});
  EXPECT_TRUE(s.c->info().accurate_ecn) << "the answer to the first two";
  EXPECT_TRUE(s.write(1000).at(0).ect);
}

TEST(AccEcn, TheOptionIsGivenUpWhenTheFirstDataIsLostBySection3_2_3_2_2) {
  Script s;
  open_accurate(s);
  EXPECT_TRUE(s.write(1000).at(0).options.accecn);
  EXPECT_FALSE(s.next_timer().at(0).options.accecn);
  EXPECT_FALSE(s.block().accurate->says_options);
}

TEST(AccEcn, TheOptionCanBeTurnedOff) {
  Pair p;
  p.a.tunables.ecn_enable = p.b.tunables.ecn_enable = 3;
  p.a.tunables.ecn_option = p.b.tunables.ecn_option = 0;
  p.a.write_limit = p.b.write_limit = 20000;
  p.establish();
  ASSERT_TRUE(p.run_until([&] { return p.b.read == 20000 && p.a.read == 20000; }, 10s));
  for (const auto& s : p.trace) EXPECT_FALSE(s.segment.options.accecn);
}

/// A listener that has heard a SYN with all flags.
struct Half {
  Script s;
  HalfOpen half;
  SegmentOut answer;
  wire::TcpOptions syn_options;
  explicit Half(std::uint8_t ip_ecn = kNotEct, std::uint16_t flags = kAll) {
    s.tunables.ecn_enable = 3;
    syn_options.mss = 1000;
    auto out = on_segment_in_listen(s.context, s.config, syn(ip_ecn, flags), s.iss, s.now);
    half = out.child;
    answer = out.answer;
  }
  SegmentIn syn(std::uint8_t ip_ecn, std::uint16_t flags) {
    return {.seq = s.irs, .flags = static_cast<std::uint16_t>(wire::syn | flags), .window = 65535, .options = syn_options, .ecn = ip_ecn};
  }
  HalfOpenOutcome again(std::uint8_t ip_ecn, std::uint16_t flags) { return on_segment(s.context, half, syn(ip_ecn, flags), s.now); }
  /// The ACK with these flags.
  void complete(std::uint16_t flags) {
    s.c.emplace(Connection::from_half_open(s.context, half, s.config, s.now));
    s.give({.flags = static_cast<std::uint16_t>(wire::ack | flags)});
    ASSERT_EQ(s.c->state(), State::established);
  }
};

TEST(AccEcn, TheServerAnswersBySection3_1_1) {
  for (const std::uint8_t field : {kNotEct, kEct1, kEct0, kCe}) {
    Half h{field};
    EXPECT_EQ(h.answer.flags & kAll, handshake_flags(field));
    EXPECT_TRUE(h.answer.options.accecn);
    // Section 3.1.5: the latest SYN; and without the option, which may be why the first was lost.
    const auto second = h.again(kEct0, kAll);
    EXPECT_EQ(second.answer.flags & kAll, wire::ae);
    EXPECT_FALSE(second.answer.options.accecn);
  }
}

TEST(AccEcn, TheServerFallsBackBySection3_2_3_2_2) {
  Half h;
  h.s.now = h.half.deadline;
  auto out = on_timer(h.s.context, h.half, h.s.now);
  EXPECT_EQ(out.answer.flags & kAll, wire::cwr);
  EXPECT_FALSE(out.answer.options.accecn);
  h.s.now = h.half.deadline;
  out = on_timer(h.s.context, h.half, h.s.now);
  EXPECT_EQ(out.answer.flags & kAll, 0);
  h.complete(wire::cwr);
  EXPECT_TRUE(h.s.c->info().accurate_ecn) << "the mode stays";
  EXPECT_FALSE(h.s.write(1000).at(0).ect) << "but who has offered none does not use it (section 3.1.5)";
}

TEST(AccEcn, OtherSynsInTheSameHandshakeBySection3_1_5) {
  Half plain;
  EXPECT_EQ(plain.again(kNotEct, 0).answer.flags & kAll, wire::cwr) << "AccECN once more";
  plain.complete(wire::cwr);
  EXPECT_FALSE(plain.s.write(1000).at(0).ect);
  Half classic;
  const auto out = classic.again(kNotEct, wire::cwr | wire::ece);
  EXPECT_EQ(out.kind, HalfOpenOutcome::Kind::reset);
  EXPECT_TRUE(out.answer.has(wire::rst) && out.answer.has(wire::ack));
  EXPECT_EQ(out.answer.ack, classic.s.irs + 1);
  Half refused{kNotEct, 0};
  EXPECT_EQ(refused.again(kNotEct, kAll).answer.flags & kAll, 0) << "none stays none";
}

TEST(AccEcn, TheLastAckBySection3_2_2_1) {
  const struct {
    std::uint16_t ace;
    bool ect, heeds;
    std::uint32_t s_cep;
  } rows[] = {{0, false, false, 5}, {1, true, true, 5}, {2, true, true, 5}, {3, false, true, 5},
              {4, false, true, 5},  {5, true, true, 5}, {6, false, true, 6}, {7, true, true, 5}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.ace);
    Half h;
    h.complete(wire::flags_of_ace(row.ace));
    const AccEcn& a = *h.s.block().accurate;
    EXPECT_EQ(a.sends_ect, row.ect);
    EXPECT_EQ(a.heeds, row.heeds);
    EXPECT_EQ(a.s_cep, row.s_cep);
    EXPECT_EQ(h.s.count(&C::ecn_reductions), row.s_cep == 6 ? 1u : 0u);
    EXPECT_EQ(h.s.write(1000).at(0).ect, row.ect);
  }
}

TEST(AccEcn, SackBlocksGoFirstBySection3_2_3_3) {
  Script s;
  s.config.timestamps = true;
  s.tunables.ecn_enable = 3;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  s.drain();
  wire::TcpOptions o;
  o.mss = 1000;
  o.sack_permitted = true;
  o.timestamps = wire::TcpTimestamps{1, 0};
  s.give_raw({.seq = s.irs, .ack = s.iss + 1, .flags = wire::syn | wire::ack | wire::cwr, .window = 65535, .options = o});
  o.mss.reset();
  o.sack_permitted = false;
  const auto hole = [&](std::uint32_t seq, std::uint8_t ecn) {
    return s.give_raw({.seq = s.irs + seq, .ack = s.iss + 1, .flags = wire::ack | wire::ae | wire::ece, .window = 65535, .options = o, .payload_len = 1000,
                       .ecn = ecn}).at(0);
  };
  EXPECT_EQ(hole(2001, kEct0).options.accecn->fields, 1);
  auto out = hole(4001, kEct0);
  EXPECT_EQ(out.options.sack_count, 2);
  EXPECT_EQ(out.options.accecn->fields, 1) << "8 bytes beside two blocks";
  out = hole(6001, kCe);
  EXPECT_EQ(out.options.sack_count, 2) << "and the third block gives way";
  EXPECT_EQ(out.options.accecn->fields, 2);
  out = hole(8001, kNotEct);
  EXPECT_EQ(out.options.sack_count, 3) << "nothing is new";
  EXPECT_FALSE(out.options.accecn);
  s.edit([](ControlBlock& b) { b.accurate->unsaid = b.accurate->moved = AccEcn::e0b | AccEcn::e1b; });
  out = hole(10001, kNotEct);
  EXPECT_EQ(out.options.sack_count, 3);
  EXPECT_FALSE(out.options.accecn) << "12 bytes have no room beside two blocks";
}

TEST(AccEcn, SimultaneousOpenBySection3_1_2) {
  Script s;
  s.tunables.ecn_enable = 3;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  s.drain();
  const wire::TcpOptions none;
  auto out = s.give_raw({.seq = s.irs, .flags = static_cast<std::uint16_t>(wire::syn | kAll), .window = 65535, .options = none, .ecn = kEct0});
  EXPECT_EQ(out.at(0).flags & kAll, wire::ae) << "as a server would";
  out = s.give_raw({.seq = s.irs, .ack = s.iss + 1, .flags = wire::syn | wire::ack | wire::cwr, .window = 65535, .options = none, .ecn = kCe});
  ASSERT_EQ(s.c->state(), State::established);
  EXPECT_EQ(wire::ace_of(out.at(0).flags), 6) << "the counter: nobody is in SYN-RECEIVED";
  EXPECT_TRUE(s.write(500).at(0).ect);
}

TEST(AccEcn, ACookieRemembersItByTheAckBySection5_1) {
  constexpr HashKey kSecret{1, 2};
  const wire::Endpoint local{wire::Ipv4Address{10, 0, 0, 1}, wire::Port{80}}, remote{wire::Ipv4Address{10, 0, 0, 2}, wire::Port{4000}};
  for (std::uint16_t ace = 0; ace < 8; ++ace) {
    SCOPED_TRACE(ace);
    Half h{kEct0};
    h.half.iss = syn_cookie(kSecret, local, remote, h.s.irs, 1000, h.s.now);
    EXPECT_EQ(cookie_syn_ack(h.half, h.s.now).flags & kAll, wire::ae);
    const wire::TcpOptions none;
    const auto child = child_of_cookie(h.s.context, kSecret, h.s.config, local, remote,
                                       {.seq = h.s.irs + 1, .ack = h.half.iss + 1, .flags = static_cast<std::uint16_t>(wire::ack | wire::flags_of_ace(ace)),
                                        .window = 65535, .options = none}, h.s.now);
    ASSERT_TRUE(child);
    EXPECT_EQ(child->ecn, ace > 1 ? EcnMode::accurate : EcnMode::none);
    h.s.tunables.ecn_enable = 2;
    EXPECT_EQ(half_open_of(h.s.context, h.s.config, h.syn(kNotEct, kAll), h.s.iss, h.s.now).ecn, EcnMode::classic);
  }
}

/// Bulk data over a queue that marks: nothing is lost, the link is busy, and the marks are counted exactly, also where most
/// acknowledgments are lost.
TEST(AccEcn, AMarkingQueueAndLostAcknowledgments) {
  for (const double ack_loss : {0.0, 0.6}) {
    for (const CongestionControl* cc : {&cubic(), &newreno(), &bbr()}) {
      SCOPED_TRACE(std::string(cc->name()) + " " + std::to_string(ack_loss));
      Pair p;
      p.keep_trace = false;
      p.a.config.congestion = cc;
      p.a.tunables.ecn_enable = p.b.tunables.ecn_enable = 3;
      p.establish();
      // BBR keeps the queue short.
      p.faults[0] = {.delay = 10ms, .rate_bps = 20'000'000, .queue_bytes = 400'000, .mark_bytes = cc == &bbr() ? 10'000u : 60'000u};
      p.faults[1].loss = ack_loss;
      p.a.write_limit = 20'000'000;
      p.a.send_buffer = 1 << 20;
      p.b.config.receive_capacity = p.b.config.receive_capacity_max = 1 << 20;
      p.settle(0);
      const Instant start = p.now;
      ASSERT_TRUE(p.run_until([&] { return p.b.read == 20'000'000 && p.a.connection->send_acked() == 20'000'000; }, 100s));
      EXPECT_GT(p.b.count(&C::rx_ce), 10u);
      EXPECT_EQ(p.a.connection->info().delivered_ce, p.b.count(&C::rx_ce));
      EXPECT_GT(p.a.count(&C::ecn_reductions), 3u);
      if (ack_loss == 0.0) {
        EXPECT_EQ(p.a.count(&C::tx_retransmitted_segments), 0u);
        EXPECT_LT(p.now - start, 9500ms) << "8.4 s at the full rate";
      }
    }
  }
}

}  // namespace
}  // namespace iopkt::tcp
