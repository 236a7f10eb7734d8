// Loss: fast recovery without SACK (RFC 6582), with SACK (RFC 6675), after a timeout (RFC 5681 section 3.1, RFC 2018 section 8),
// limited transmit (RFC 3042); the windows of RFC 5681.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tcp/test_pair.hpp"
#include "tcp/test_script.hpp"

namespace iopkt::tcp {
namespace {

using testing::From;
using testing::Script;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Lines = std::vector<std::string>;

/// Ten segments of 1000 bytes in flight, cwnd 10000, and plenty to send.
void ten_in_flight(Script& s, bool sack) {
  s.establish(sack);
  ASSERT_THAT(s.texts(s.write(100000)), ElementsAre(". 1 ack 1 len 10000"));
}

TEST(TcpRecovery, NewRenoByRfc6582Section3_2) {
  Script s;
  ten_in_flight(s, false);
  // RFC 3042: the first two duplicates let a new segment out each.
  EXPECT_THAT(s.texts(s.give({})), ElementsAre(". 10001 ack 1 len 1000"));
  EXPECT_THAT(s.texts(s.give({})), ElementsAre(". 11001 ack 1 len 1000"));
  // Step 2: ssthresh = FlightSize / 2, without what limited transmit has sent; the lost segment; cwnd = ssthresh + 3.
  EXPECT_THAT(s.texts(s.give({})), ElementsAre(". 1 ack 1 len 1000"));
  EXPECT_EQ(s.c->info().phase, Phase::fast_recovery);
  EXPECT_EQ(s.c->info().ssthresh, 5000u);
  EXPECT_EQ(s.block().snd.air().inflation, 3000);
  // Step 3: 12 in flight, 8 allowed; the fifth further duplicate makes room.
  for (int i = 0; i < 4; ++i) EXPECT_THAT(s.give({}), IsEmpty());
  EXPECT_THAT(s.texts(s.give({})), ElementsAre(". 12001 ack 1 len 1000"));
  // Partial: the next hole at once; deflated by 4000, plus one segment.
  EXPECT_THAT(s.texts(s.give({.ack = 4001})), ElementsAre(". 4001 ack 1 len 1000", ". 13001 ack 1 len 1000"));
  // Full: cwnd = min(ssthresh, FlightSize + SMSS) = 3000, and two are in flight.
  const auto out = s.give({.ack = 12001});
  EXPECT_EQ(s.c->info().phase, Phase::open);
  EXPECT_EQ(s.c->info().cwnd, 3000u);
  EXPECT_THAT(s.texts(out), ElementsAre(". 14001 ack 1 len 1000"));
}

TEST(TcpRecovery, NewRenoDoesNotStartTwiceForOneWindow) {
  Script s;
  ten_in_flight(s, false);
  for (int i = 0; i < 3; ++i) s.give({});
  s.give({.ack = 12001});
  ASSERT_EQ(s.c->info().phase, Phase::open);
  // Duplicates that our own retransmissions may have caused: RFC 6582 section 3.2 step 1.
  for (int i = 0; i < 5; ++i) s.give({.ack = 12001});
  EXPECT_EQ(s.c->info().phase, Phase::open);
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_fast), 1u);
}

TEST(TcpRecovery, WhatIsNoDuplicate) {
  Script s;
  ten_in_flight(s, false);
  for (int i = 0; i < 5; ++i) {
    s.give({.seq = 1u + static_cast<std::uint32_t>(i) * 10, .len = 10});                       // text
    s.give({.seq = 51, .window = static_cast<std::uint16_t>(60000 + i)});                        // another window
  }
  EXPECT_EQ(s.count(&Counters<Counter>::rx_duplicate_acks), 0u);
  EXPECT_EQ(s.c->info().phase, Phase::open);
}

TEST(TcpRecovery, SackByRfc6675Section5) {
  Script s;
  ten_in_flight(s, true);
  // Segments 1 and 3 are lost. Before DupThresh, each SACK makes room for new data (pipe shrinks).
  EXPECT_THAT(s.texts(s.give({.sack = {{1001, 2001}}})), ElementsAre(". 10001 ack 1 len 1000"));
  EXPECT_THAT(s.texts(s.give({.sack = {{3001, 4001}, {1001, 2001}}})), ElementsAre(". 11001 ack 1 len 1000"));
  // Three segments above SND.UNA: lost. ssthresh = 10000/2; pipe = 12 - 3 sacked - 1 lost + 1 again = 9.
  EXPECT_THAT(s.texts(s.give({.sack = {{3001, 5001}, {1001, 2001}}})), ElementsAre(". 1 ack 1 len 1000"));
  EXPECT_EQ(s.c->info().phase, Phase::fast_recovery);
  EXPECT_EQ(s.c->info().cwnd, 5000u);
  EXPECT_EQ(s.c->info().pipe, 9000u);
  // Segment 3 is lost when more than two segments above it are SACKed; nothing goes before pipe < cwnd.
  EXPECT_THAT(s.give({.sack = {{3001, 6001}, {1001, 2001}}}), IsEmpty());
  EXPECT_EQ(s.c->info().pipe, 7000u);
  EXPECT_THAT(s.give({.sack = {{3001, 7001}, {1001, 2001}}}), IsEmpty());
  EXPECT_EQ(s.c->info().pipe, 6000u);
  EXPECT_THAT(s.give({.sack = {{3001, 8001}, {1001, 2001}}}), IsEmpty());
  EXPECT_THAT(s.texts(s.give({.sack = {{3001, 9001}, {1001, 2001}}})), ElementsAre(". 2001 ack 1 len 1000"));
  // The first retransmission arrives, then the second: the recovery ends at RecoveryPoint.
  EXPECT_THAT(s.texts(s.give({.ack = 2001, .sack = {{3001, 9001}}})), ElementsAre(". 12001 ack 1 len 1000"));
  EXPECT_EQ(s.c->info().phase, Phase::fast_recovery);
  s.give({.ack = 9001});
  EXPECT_EQ(s.c->info().phase, Phase::fast_recovery);
  s.give({.ack = 12001});
  EXPECT_EQ(s.c->info().phase, Phase::open);
  EXPECT_EQ(s.count(&Counters<Counter>::tx_retransmitted_segments), 2u);
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_sack), 1u);
}

TEST(TcpRecovery, OneLargeSackIsEnough) {
  Script s;
  ten_in_flight(s, true);
  // After GRO one ACK reports all: more than two segments above SND.UNA.
  const auto out = s.give({.sack = {{2001, 10001}}});
  EXPECT_EQ(s.c->info().phase, Phase::fast_recovery);
  EXPECT_EQ(s.texts(out), (Lines{". 1 ack 1 len 1000", ". 1001 ack 1 len 1000", ". 10001 ack 1 len 3000"}));
}

TEST(TcpRecovery, RescueRetransmissionByRfc6675Rule4) {
  Script s;
  s.establish(true);
  s.write(10000);
  // 1 and the last one are lost: nothing is SACKed above the last one, so IsLost() never says it.
  s.give({.sack = {{1001, 4001}}});
  const auto out = s.give({.sack = {{1001, 9001}}});
  EXPECT_EQ(s.texts(out), Lines{". 9001 ack 1 len 1000"});
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_rescue), 1u);
  EXPECT_THAT(s.give({.ack = 9001}), IsEmpty()) << "once";
  EXPECT_EQ(s.c->info().phase, Phase::fast_recovery);
  s.give({.ack = 10001});
  EXPECT_EQ(s.c->info().phase, Phase::open);
}

TEST(TcpRecovery, BadBlocksChangeNothing) {
  const struct {
    const char* says;
    std::pair<std::uint32_t, std::uint32_t> block;
  } rows[] = {{"beyond SND.NXT", {9001, 10002}},
              {"empty", {5001, 5001}},
              {"backwards", {6001, 5001}},
              {"at SND.UNA", {1, 1001}},
              {"around everything", {0x80000000u, 0x7fffffffu}}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    Script s;
    ten_in_flight(s, true);
    s.give({.sack = {row.block}});
    EXPECT_EQ(s.count(&Counters<Counter>::rx_bad_sack_blocks), 1u);
    EXPECT_EQ(s.c->info().sacked, 0u);
    EXPECT_EQ(s.c->info().phase, Phase::open);
  }
  Script s;
  ten_in_flight(s, true);
  s.give({.ack = 5001, .sack = {{1001, 2001}}});
  EXPECT_EQ(s.count(&Counters<Counter>::rx_dsack_blocks), 1u);
  EXPECT_EQ(s.count(&Counters<Counter>::rx_bad_sack_blocks), 0u);
}

TEST(TcpRecovery, AfterATimeoutWhatWasSackedIsNotSentAgain) {
  Script s;
  s.establish(true);
  s.write(10000);
  s.give({.sack = {{2001, 3001}}});
  s.give({.sack = {{2001, 3001}, {4001, 5001}}});
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 1 ack 1 len 1000"));
  EXPECT_EQ(s.c->info().phase, Phase::loss);
  EXPECT_EQ(s.c->info().cwnd, 1000u);
  // Slow start from one segment, over the holes: 1001..2000, 3001..4000, 5001..10000.
  EXPECT_THAT(s.texts(s.give({.ack = 1001, .sack = {{2001, 3001}, {4001, 5001}}})),
              ElementsAre(". 1001 ack 1 len 1000", ". 3001 ack 1 len 1000"));
  EXPECT_THAT(s.texts(s.give({.ack = 3001, .sack = {{4001, 5001}}})), ElementsAre(". 5001 ack 1 len 2000"));
  EXPECT_THAT(s.texts(s.give({.ack = 5001})), ElementsAre(". 7001 ack 1 len 2000"));
  EXPECT_THAT(s.texts(s.give({.ack = 7001})), ElementsAre(". 9001 ack 1 len 1000"));
  s.give({.ack = 10001});
  EXPECT_EQ(s.c->info().phase, Phase::open);
  EXPECT_EQ(s.c->info().ssthresh, 5000u);
}

TEST(TcpRecovery, AReneguePeerIsForgiven) {
  Script s;
  s.establish(true);
  s.write(10000);
  s.give({.sack = {{1001, 2001}}});
  s.give({.ack = 1001});  // and what it had reported right there is gone
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 1001 ack 1 len 1000"));
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_reneged), 1u);
  EXPECT_EQ(s.c->info().sacked, 0u);
}

TEST(TcpRecovery, ALostRetransmissionIsSeenInWhatWasSentAfterIt) {
  Script s;
  ten_in_flight(s, true);
  EXPECT_EQ(s.texts(s.give({.sack = {{1001, 10001}}})), (Lines{". 1 ack 1 len 1000", ". 10001 ack 1 len 4000"}));
  // Two segments from after the retransmission say nothing yet: DupThresh.
  for (const std::uint32_t to : {11001u, 12001u}) s.give({.sack = {{1001, to}}});
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_lost_again), 0u);
  const auto out = s.give({.sack = {{1001, 13001}}});
  EXPECT_EQ(s.text(out.at(0)), ". 1 ack 1 len 1000");
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_lost_again), 1u);
  EXPECT_EQ(s.c->info().cwnd, 2500u) << "another congestion";
  s.give({.ack = 13001});
  EXPECT_EQ(s.c->info().phase, Phase::fast_recovery) << "until what was in flight then is through";
}

TEST(TcpRecovery, ALostRetransmissionIsFoundByTheTimer) {
  Script s;
  ten_in_flight(s, true);
  s.give({.sack = {{1001, 10001}}});
  ASSERT_EQ(s.c->info().phase, Phase::fast_recovery);
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 1 ack 1 len 1000"));
  EXPECT_EQ(s.c->info().phase, Phase::loss);
}

TEST(TcpNewReno, GrowsByRfc5681AndRfc3465) {
  const auto& cc = newreno();
  CongestionState s{.smss = 1000};
  cc.on_established(s, 10, {}, {});
  EXPECT_EQ(s.cwnd, 10000u);
  const auto ack = [&](std::uint32_t bytes, bool limited = true) {
    cc.on_ack(s, {.acked = bytes, .abc_limit = 2, .cwnd_limited = limited});
  };
  ack(1000);
  EXPECT_EQ(s.cwnd, 11000u);
  ack(9000);
  EXPECT_EQ(s.cwnd, 13000u) << "L = 2 segments";
  ack(9000, false);
  EXPECT_EQ(s.cwnd, 13000u) << "RFC 7661: an unused window does not grow";
  s.ssthresh = 14000;
  ack(2000);
  EXPECT_EQ(s.cwnd, 14000u) << "slow start ends at ssthresh";
  for (int i = 0; i < 13; ++i) ack(1000);
  EXPECT_EQ(s.cwnd, 15000u) << "one segment for each window";
  cc.on_enter_recovery(s, 15000, {});
  EXPECT_EQ(s.ssthresh, 7500u);
  EXPECT_EQ(s.cwnd, 7500u);
  cc.on_exit_recovery(s, 100, {});
  EXPECT_EQ(s.cwnd, 2000u);
  cc.on_timeout(s, 2000, true, {});
  EXPECT_EQ(s.cwnd, 1000u);
  EXPECT_EQ(s.ssthresh, 2000u);
  EXPECT_EQ(initial_window(1460, 10), 14600u);
  EXPECT_EQ(initial_window(8960, 10), 17920u) << "RFC 6928: two large ones";
  EXPECT_EQ(initial_window(536, 10), 5360u);
  EXPECT_EQ(find_congestion("reno"), &cc);
  EXPECT_EQ(find_congestion("bogus"), nullptr);
}

/// Each lost segment is sent again once, and not many others: what SACK is for.
TEST(TcpRecovery, SackRepairsWhatWasLostAndLittleElse) {
  std::uint64_t lost = 0, again = 0, timeouts = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    testing::Pair p(seed);
    p.faults[0].loss = 0.02;
    p.a.write_limit = 1000000;
    p.a.shut_when_written = true;
    p.connect();
    ASSERT_TRUE(p.run_until([&] { return p.b.read == 1000000; }, 1000s)) << seed;
    for (const auto& s : p.trace) lost += s.lost && s.segment.payload_len > 0;
    again += (p.a.count(&Counters<Counter>::tx_retransmitted_bytes) + 1447) / 1448;
    timeouts += p.a.count(&Counters<Counter>::recovery_rto);
  }
  EXPECT_GT(lost, 500u);
  EXPECT_GE(again + 50, lost);
  EXPECT_LE(again, lost + lost / 5);
  EXPECT_LE(timeouts, lost / 4);
}

TEST(TcpRecovery, ReorderingByTwoIsNoLoss) {
  testing::Pair p;
  p.faults[0].reorder = 0.02;
  p.faults[0].rate_bps = 10'000'000;
  p.faults[0].queue_bytes = 1 << 20;  // the whole window
  p.faults[0].reorder_delay = 2ms;  // less than two segments at this rate
  p.a.write_limit = 1000000;
  p.connect();
  ASSERT_TRUE(p.run_until([&] { return p.b.read == 1000000; }, 100s));
  EXPECT_EQ(p.a.count(&Counters<Counter>::tx_retransmitted_segments), 0u);
}

}  // namespace
}  // namespace iopkt::tcp
