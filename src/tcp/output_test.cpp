// What goes out and what is held back: Nagle, TCP_CORK, silly windows, large segments, urgent data, acknowledgments, ends.
// RFC 9293 sections 3.7.4, 3.8.6; RFC 5681 section 4.2; RFC 6093.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tcp/test_script.hpp"

namespace iopkt::tcp {
namespace {

using testing::From;
using testing::Script;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Lines = std::vector<std::string>;
constexpr std::uint8_t kFin = wire::fin | wire::ack;

TEST(TcpOutput, NagleHoldsTheSecondSmallSegment) {
  Script s;
  s.establish();
  EXPECT_THAT(s.texts(s.write(10)), ElementsAre(". 1 ack 1 len 10"));
  EXPECT_THAT(s.write(10), IsEmpty());
  EXPECT_THAT(s.write(989), IsEmpty());
  EXPECT_THAT(s.texts(s.write(1)), ElementsAre(". 11 ack 1 len 1000")) << "a full one";
}

TEST(TcpOutput, NagleSendsWhenTheSmallOneIsAcknowledged) {
  Script s;
  s.establish();
  s.write(10);
  EXPECT_THAT(s.write(10), IsEmpty());
  EXPECT_THAT(s.texts(s.give({.ack = 11})), ElementsAre(". 11 ack 1 len 10"));
  // Full segments go, their small rest too: none is in flight before it (Minshall).
  s.give({.ack = 21});
  EXPECT_THAT(s.texts(s.write(2010)), ElementsAre(". 21 ack 1 len 2010"));
  EXPECT_THAT(s.texts(s.write(1010)), ElementsAre(". 2031 ack 1 len 1000"));
}

TEST(TcpOutput, BytesBehindTheFinAreNobodys) {
  Script s;
  s.establish();
  s.write(10);
  s.c->shutdown_write();
  s.drain();
  // A program that goes on writing its ring, of malice or in another thread.
  s.c->set_send_tail(20);
  s.c->set_send_more(20);
  s.c->set_send_urgent(20);
  EXPECT_THAT(s.drain(), IsEmpty());
  EXPECT_EQ(s.block().snd.tail, 11);
}

TEST(TcpOutput, AClosedWindowOverNothingIsNotProbed) {
  Script s;
  s.establish();
  s.give({.ack = 1, .window = 0});
  EXPECT_THAT(s.write(1), IsEmpty());
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 1 ack 1 len 1"));
  s.give({.ack = 2, .window = 0});
  EXPECT_THAT(s.wait(std::chrono::hours(2)), IsEmpty());
  EXPECT_EQ(s.c->state(), State::established) << "nobody was asked anything";
}

TEST(TcpOutput, ASmallSegmentWhoseWindowWasTakenBackGoesAgain) {
  Script s;
  s.establish();
  s.write(1);
  s.give({.ack = 1, .window = 0});
  s.wait(5s);
  ASSERT_TRUE(s.block().persisting);
  EXPECT_THAT(s.texts(s.give({.ack = 1})), ElementsAre(". 1 ack 1 len 1"));
}

/// With windows in units of 256.
void establish_scaled(Script& s, std::uint16_t window) {
  s.config.window_scaling = true;
  s.config.receive_capacity_max = 1 << 24;
  wire::TcpOptions o;
  o.mss = 1000;
  o.window_scale = 8;
  s.open_active(o);
  s.give({.window = window});
}

TEST(TcpOutput, ABareAcknowledgmentStandsWhereThePeerTakesIt) {
  Script s;
  establish_scaled(s, 10);
  s.write(2560);
  ASSERT_EQ(s.block().snd.max, 2561);
  // The edge moves from 2561 to 2537 by rounding: the peer may have all that was sent.
  s.give({.ack = 1001, .window = 6});
  s.give({.seq = 1, .ack = 1001, .len = 10, .window = 6});
  EXPECT_THAT(s.texts(s.wait(100ms)), ElementsAre(". 2561 ack 11"));
  // It has taken back more than that.
  s.give({.seq = 11, .ack = 1001, .len = 10, .window = 4});
  EXPECT_THAT(s.texts(s.wait(50ms)), ElementsAre(". 2025 ack 21"));
}

TEST(TcpOutput, TheByteOfARefusedProbeCountsForNothing) {
  Script s;
  establish_scaled(s, 0);
  s.write(100);
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 1 ack 1 len 1"));
  s.give({.window = 0});
  s.give({.seq = 1, .len = 10, .window = 0});
  EXPECT_THAT(s.texts(s.wait(100ms)), ElementsAre(". 1 ack 11"));
  s.c->abort(s.now);
  EXPECT_THAT(s.texts(s.drain()), ElementsAre("R. 1 ack 11"));
}

TEST(TcpOutput, NodelayAndTheTunableSendAtOnce) {
  for (const bool by_option : {true, false}) {
    Script s;
    s.config.options.nodelay = by_option;
    s.tunables.nagle = by_option;
    s.establish();
    s.write(10);
    EXPECT_EQ(s.write(10).size(), 1u);
  }
}

TEST(TcpOutput, AFinIsNeverHeld) {
  Script s;
  s.establish();
  s.write(10);
  s.write(10);
  s.c->shutdown_write();
  EXPECT_THAT(s.texts(s.drain()), ElementsAre("F. 11 ack 1 len 10"));
}

TEST(TcpOutput, CorkHoldsFor200Ms) {
  Script s;
  s.config.options.cork = true;
  s.establish();
  EXPECT_THAT(s.texts(s.write(1500)), ElementsAre(". 1 ack 1 len 1000"));
  s.give({.ack = 1001});
  EXPECT_THAT(s.wait(150ms), IsEmpty());
  EXPECT_THAT(s.texts(s.wait(60ms)), ElementsAre(". 1001 ack 1 len 500"));
  s.give({.ack = 1501});
  EXPECT_THAT(s.write(10), IsEmpty());
  Options o = s.c->options();
  o.cork = false;
  s.c->set_options(o, s.now);
  EXPECT_THAT(s.texts(s.drain()), ElementsAre(". 1501 ack 1 len 10"));
  s.give({.ack = 1511});
  EXPECT_TRUE(s.c->next_deadline().is_never());
}

TEST(TcpOutput, MsgMoreHoldsTheRestOfAWriteUntilTheNext) {
  Script s;
  s.config.options.nodelay = true;
  s.establish();
  const auto write_more = [&](std::uint64_t n) {
    s.c->set_send_tail(s.written += n);
    s.c->set_send_more(s.written);
    return s.drain();
  };
  EXPECT_THAT(write_more(10), IsEmpty());
  EXPECT_THAT(s.texts(write_more(1100)), ElementsAre(". 1 ack 1 len 1000"));
  EXPECT_THAT(s.texts(s.write(5)), ElementsAre(". 1001 ack 1 len 115"));
  s.give({.ack = 1116});
  // Nothing follows: not held for ever, and only once.
  EXPECT_THAT(write_more(10), IsEmpty());
  Options o = s.c->options();
  o.keepalive = true;
  s.c->set_options(o, s.now);  // other options do not matter
  EXPECT_THAT(s.wait(150ms), IsEmpty());
  EXPECT_THAT(s.texts(s.wait(60ms)), ElementsAre(". 1116 ack 1 len 10"));
  s.give({.ack = 1126});
  EXPECT_THAT(write_more(10), IsEmpty());
  s.c->shutdown_write();
  EXPECT_THAT(s.texts(s.drain()), ElementsAre("F. 1126 ack 1 len 10"));
}

TEST(TcpOutput, LargeSegmentsFillTheWindowAtOnce) {
  Script s;
  s.establish();
  auto out = s.write(25500);
  ASSERT_THAT(s.texts(out), ElementsAre(". 1 ack 1 len 10000"));  // RFC 6928: ten segments
  EXPECT_EQ(out[0].gso_size, 1000);
  EXPECT_EQ(out[0].payload_position, 0u);
  EXPECT_FALSE(out[0].has(wire::psh));
  out = s.give({.ack = 10001});
  ASSERT_THAT(s.texts(out), ElementsAre(". 10001 ack 1 len 15500"));  // slow start by bytes: cwnd 20000
  EXPECT_TRUE(out[0].has(wire::psh));
  EXPECT_EQ(out[0].payload_position, 10000u);
}

TEST(TcpOutput, OneLargeSegmentHasABound) {
  Script s;
  s.tunables.init_win = 100;
  wire::TcpOptions o;
  o.mss = 1000;
  o.window_scale = 4;
  s.config.window_scaling = true;
  s.open_active(o, 65535);
  s.give({.window = 65535});
  const auto out = s.write(500000);
  EXPECT_THAT(s.texts(out), ElementsAre(". 1 ack 1 len 65000", ". 65001 ack 1 len 35000"));
}

TEST(TcpOutput, TheSenderAvoidsSillyWindows) {
  const struct {
    const char* says;
    std::uint16_t largest, now;
    std::uint64_t data;
    Lines out;
  } rows[] = {
      {"a full segment goes", 3000, 1000, 5000, {". 1 ack 1 len 1000"}},
      {"less than half of the largest window is not worth it", 3000, 999, 5000, {}},
      {"half of it is", 1900, 950, 5000, {". 1 ack 1 len 950"}},
      {"all that there is goes", 3000, 999, 500, {". 1 ack 1 len 500"}},
      {"nothing into a closed one", 3000, 0, 500, {}},
      {"whole segments of a larger one", 3000, 2999, 5000, {". 1 ack 1 len 2000"}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    Script s;
    s.establish(false, row.largest);
    s.give({.window = row.now});
    EXPECT_EQ(s.texts(s.write(row.data)), row.out);
    EXPECT_EQ(s.c->next_deadline().is_never(), false) << "something watches";
    if (row.out.empty()) {
      // RFC 9293 section 3.8.6.2.1 (4): after the override time, what fits.
      const auto late = s.next_timer();
      ASSERT_EQ(late.size(), 1u);
      EXPECT_EQ(late[0].payload_len, std::max<std::uint32_t>(row.now, 1));
    }
  }
}

TEST(TcpOutput, OptionsTakeTheirRoomFromThePayload) {
  Script s;
  s.config.timestamps = true;
  wire::TcpOptions o;
  o.mss = 1000;
  o.sack_permitted = true;
  o.timestamps = {5, 0};
  s.open_active(o);
  EXPECT_EQ(s.write(2000).at(0).gso_size, 988);
  s.give({.seq = 100, .ack = 2001, .len = 10, .ts = wire::TcpTimestamps{6, 0}});
  s.give({.seq = 200, .ack = 2001, .len = 10, .ts = wire::TcpTimestamps{6, 0}});
  const auto out = s.write(2000);
  EXPECT_EQ(out.at(0).gso_size, 988 - 20);
  EXPECT_EQ(out.at(0).options.sack_count, 2);
  wire::TcpHeader h{.seq = out[0].seq, .flags = out[0].flags, .options = out[0].options};
  EXPECT_EQ(wire::encoded_len(h) - 20 + out[0].gso_size, 1000u) << "what is counted is what the encoder writes";
}

TEST(TcpOutput, UrgentDataIsPointedAt) {
  Script s;
  s.establish();
  s.written = 3000;
  s.c->set_send_tail(3000);
  s.c->set_send_urgent(1500);
  const auto out = s.drain();
  ASSERT_EQ(s.texts(out), (Lines{"U. 1 ack 1 len 1000", "U. 1001 ack 1 len 1000", ". 2001 ack 1 len 1000"}));
  EXPECT_EQ(out[0].urgent, 1500);  // RFC 6093: the byte after
  EXPECT_EQ(out[1].urgent, 500);
  EXPECT_EQ(out[0].gso_size, 0);
}

TEST(TcpOutput, EverySecondFullSegmentIsAcknowledged) {
  Script s;
  s.establish();
  std::size_t acks = 0;
  for (std::uint32_t i = 0; i < 20; ++i) acks += s.give({.seq = 1 + i * 1000, .len = 1000}).size();
  EXPECT_EQ(acks, 10u);
  EXPECT_EQ(s.give({.seq = 20001, .len = 40000}).size(), 1u) << "many in one";
}

TEST(TcpOutput, ASingleSegmentIsAcknowledgedAfterTheDelay) {
  Script s;
  s.establish();
  EXPECT_THAT(s.give({.len = 100}), IsEmpty());
  EXPECT_EQ(s.c->next_deadline() - s.now, ms(s.tunables.delack_ms));
  EXPECT_THAT(s.texts(s.wait(1s)), ElementsAre(". 1 ack 101"));
  EXPECT_EQ(s.count(&Counters<Counter>::tx_delayed_acks), 1u);
  // An answer carries it.
  EXPECT_THAT(s.give({.seq = 101, .len = 100}), IsEmpty());
  EXPECT_THAT(s.texts(s.write(5)), ElementsAre(". 1 ack 201 len 5"));
  s.give({.seq = 201, .ack = 6});
  EXPECT_THAT(s.wait(10s), IsEmpty());
  // TCP_QUICKACK
  Options o = s.c->options();
  o.quickack = true;
  s.c->set_options(o, s.now);
  EXPECT_EQ(s.give({.seq = 201, .ack = 6, .len = 1}).size(), 1u);
}

TEST(TcpOutput, OutOfOrderAndDuplicatesAreAcknowledgedAtOnce) {
  Script s;
  s.establish();
  EXPECT_EQ(s.texts(s.give({.seq = 101, .len = 10})), Lines{". 1 ack 1"});
  EXPECT_EQ(s.texts(s.give({.seq = 101, .len = 10})), Lines{". 1 ack 1"});
  EXPECT_EQ(s.texts(s.give({.seq = 1, .len = 50})), Lines{". 1 ack 51"}) << "part of the hole";
  EXPECT_EQ(s.texts(s.give({.seq = 51, .len = 50})), Lines{". 1 ack 111"});
  EXPECT_EQ(s.texts(s.give({.seq = 101, .len = 10})), Lines{". 1 ack 111"});
}

TEST(TcpOutput, ABurstBeyondAHoleDrawsAsManyDuplicatesUnlessSackSaysIt) {
  for (const bool sack : {false, true}) {
    SCOPED_TRACE(sack);
    Script s;
    s.establish(sack);
    const wire::TcpOptions none;
    const auto quietly = [&](std::uint32_t seq) {
      s.c->on_segment({.seq = s.irs + seq, .ack = s.iss + 1, .flags = wire::ack, .window = 65535, .options = none, .payload_len = 100},
                      s.now, s.copies);
    };
    for (const std::uint32_t seq : {101u, 201u, 301u}) quietly(seq);
    EXPECT_EQ(s.texts(s.drain()), sack ? Lines{". 1 ack 1"} : (Lines{". 1 ack 1", ". 1 ack 1", ". 1 ack 1"}));
    // The hole is filled before they went out: no duplicates of the new number.
    for (const std::uint32_t seq : {501u, 601u, 1u}) quietly(seq);
    EXPECT_EQ(s.texts(s.drain()), Lines{". 1 ack 401"});
  }
}

TEST(TcpOutput, ReadingAnnouncesTheWindow) {
  Script s;
  s.config.receive_capacity = s.config.receive_capacity_max = 8000;
  s.establish();
  for (std::uint32_t i = 0; i < 8; ++i) s.give({.seq = 1 + i * 1000, .len = 1000});
  EXPECT_EQ(s.block().rcv.window(), 0u);
  s.c->set_receive_read(1999);
  EXPECT_THAT(s.drain(), IsEmpty());
  s.c->set_receive_read(2000);
  const auto out = s.drain();
  ASSERT_THAT(s.texts(out), ElementsAre(". 1 ack 8001"));
  EXPECT_EQ(out[0].window, 2000);
  // Growing the buffer likewise.
  s.c->set_receive_capacity(20000);
  EXPECT_EQ(s.drain().at(0).window, 14000);
}

TEST(TcpOutput, CloseWithUnreadDataResets) {
  Script s;
  s.establish();
  s.give({.len = 10});
  s.c->close(s.now);
  EXPECT_THAT(s.texts(s.drain()), ElementsAre("R. 1 ack 11"));
  EXPECT_EQ(s.c->state(), State::closed);
}

TEST(TcpOutput, AbortByRfc9293Section3_10_5) {
  const struct {
    State state;
    Lines out;
  } rows[] = {{State::syn_sent, {}},
              {State::syn_received, {"R. 1 ack 1"}},
              {State::established, {"R. 1 ack 1"}},
              {State::fin_wait_1, {"R. 2 ack 1"}},
              {State::fin_wait_2, {"R. 2 ack 1"}},
              {State::close_wait, {"R. 1 ack 2"}},
              {State::closing, {}},
              {State::last_ack, {}},
              {State::time_wait, {}}};
  for (const auto& row : rows) {
    SCOPED_TRACE(std::string(name_of(row.state)));
    Script s;
    if (row.state <= State::syn_received) {
      s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
      s.drain();
      if (row.state == State::syn_received) s.give({.seq = 0, .ack = 0, .flags = wire::syn});
    } else {
      s.establish();
      const bool peer_first = row.state == State::close_wait || row.state == State::last_ack;
      if (peer_first) s.give({.flags = kFin});
      if (row.state != State::established && row.state != State::close_wait) s.c->shutdown_write();
      s.drain();
      if (row.state == State::closing) s.give({.flags = kFin});
      if (row.state == State::fin_wait_2 || row.state == State::time_wait) s.give({.ack = 2});
      if (row.state == State::time_wait) s.give({.ack = 2, .flags = kFin});
    }
    ASSERT_EQ(s.c->state(), row.state);
    s.c->abort(s.now);
    EXPECT_EQ(s.texts(s.drain()), row.out);
    EXPECT_EQ(s.c->state(), State::closed);
    EXPECT_TRUE(s.events & event_closed);
  }
}

TEST(TcpOutput, ShutdownBeforeTheAnswerClosesAfterIt) {
  Script s;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  s.drain();
  s.c->set_send_tail(3);
  s.c->shutdown_write();
  EXPECT_THAT(s.drain(), IsEmpty());
  EXPECT_THAT(s.texts(s.give({.seq = 0, .flags = wire::syn | wire::ack})), ElementsAre("F. 1 ack 1 len 3"));
  EXPECT_EQ(s.c->state(), State::fin_wait_1);
}

TEST(TcpOutput, MaxsegBoundsBothSides) {
  Script s;
  s.config.options.maxseg = 500;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  EXPECT_EQ(s.drain().at(0).options.mss, 500);
  wire::TcpOptions o;
  o.mss = 1000;
  s.give_raw({.seq = s.irs, .ack = s.iss + 1, .flags = wire::syn | wire::ack, .window = 65535, .options = o});
  EXPECT_EQ(s.write(2000).at(0).gso_size, 500);
}

TEST(TcpOutput, ASmallerPathSendsAgainInSmallerSegments) {
  Script s;
  s.establish();
  s.write(3000);
  const std::uint32_t cwnd = s.c->info().cwnd;
  s.c->on_mtu_change(600, s.iss + 3001, s.now);  // not in flight
  EXPECT_THAT(s.drain(), IsEmpty());
  s.c->on_mtu_change(600, s.iss + 1001, s.now);
  auto out = s.drain();
  EXPECT_EQ(s.texts(out), (Lines{". 1 ack 1 len 600", ". 601 ack 1 len 2400"}));
  EXPECT_EQ(out.back().gso_size, 600);
  EXPECT_EQ(s.c->info().cwnd, cwnd) << "no sign of congestion: RFC 1191 section 6.5";
}

}  // namespace
}  // namespace iopkt::tcp
