// RFC 9293 section 3.10.7.3 and 3.10.7.4 as tables: each state, each check, in the RFC's order.
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
constexpr std::uint8_t kFin = wire::fin | wire::ack, kRst = wire::rst, kSyn = wire::syn, kAck = wire::ack;

TEST(TcpInput, SynSentAnswersInTheOrderOfSection3_10_7_3) {
  const struct {
    const char* says;
    std::uint32_t ack;
    std::uint16_t flags;
    State state;
    Failure failure;
    Lines out;
    std::optional<Drop> drop;
  } rows[] = {
      {"ACK of ISS draws a RST at SEG.ACK", 0, kAck, State::syn_sent, Failure::none, {"R 0"}, Drop::tcp_bad_ack},
      {"ACK above SND.NXT likewise", 2, kSyn | kAck, State::syn_sent, Failure::none, {"R 2"}, Drop::tcp_bad_ack},
      {"but not if it is a RST", 2, kRst | kAck, State::syn_sent, Failure::none, {}, Drop::tcp_bad_ack},
      {"RST without ACK is not believed", 0, kRst, State::syn_sent, Failure::none, {}, Drop::tcp_rst_in_syn_sent},
      {"RST with our number refuses", 1, kRst | kAck, State::closed, Failure::refused, {}, std::nullopt},
      {"RST wins over SYN", 1, kRst | kSyn | kAck, State::closed, Failure::refused, {}, std::nullopt},
      {"neither SYN nor RST", 1, kAck, State::syn_sent, Failure::none, {}, Drop::tcp_no_flags},
      {"SYN,ACK establishes", 1, kSyn | kAck, State::established, Failure::none, {". 1 ack 1"}, std::nullopt},
      {"SYN alone is a simultaneous open", 0, kSyn, State::syn_received, Failure::none, {"S. 0 ack 1"}, std::nullopt},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    Script s;
    s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
    EXPECT_EQ(s.texts(s.drain()), Lines{"S 0"});
    const auto out = s.give({.seq = 0, .ack = row.ack, .flags = row.flags});
    EXPECT_EQ(s.texts(out), row.out);
    EXPECT_EQ(s.c->state(), row.state);
    EXPECT_EQ(s.c->failure(), row.failure);
    EXPECT_EQ(s.result.drop, row.drop);
  }
}

TEST(TcpInput, SynSentTakesTextAndFinOfTheSynAck) {
  Script s;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  s.drain();
  const auto out = s.give({.seq = 0, .ack = 1, .flags = wire::syn | kFin, .len = 10});
  EXPECT_THAT(s.texts(out), ElementsAre(". 1 ack 12"));
  EXPECT_EQ(s.c->state(), State::close_wait);
  EXPECT_EQ(s.c->receive_tail(), 10u);
  EXPECT_EQ(s.events & (event_connected | event_peer_fin | event_readable),
            event_connected | event_peer_fin | event_readable);
}

TEST(TcpInput, FirstCheckSequenceNumber) {
  // RCV.NXT = 101, RCV.WND = 65435 of which the edge is 65536.
  const struct {
    const char* says;
    From in;
    bool acceptable;
    Lines out;
  } rows[] = {
      {"old duplicate is acknowledged", {.seq = 51, .len = 50}, false, {". 1 ack 101"}},
      {"empty one below the window likewise", {.seq = 100}, false, {". 1 ack 101"}},
      {"last byte of an overlap is taken", {.seq = 51, .len = 51}, true, {". 1 ack 102"}},
      {"left edge, empty", {.seq = 101}, true, {}},
      {"right edge, empty", {.seq = 65536}, true, {}},
      {"beyond it, empty", {.seq = 65537}, false, {". 1 ack 101"}},
      {"text at the right edge", {.seq = 65536, .len = 1}, false, {". 1 ack 101"}},
      {"text across the right edge is cut", {.seq = 65535, .len = 10}, true, {". 1 ack 101"}},
      {"RST outside of the window is silent", {.seq = 65537, .flags = kRst}, false, {}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    Script s;
    s.establish();
    s.give({.seq = 1, .len = 100});
    s.wait(1s);
    const auto out = s.give(row.in);
    EXPECT_EQ(s.texts(out), row.out);
    EXPECT_EQ(s.result.drop == Drop::tcp_out_of_window, !row.acceptable);
    std::uint32_t taken = 0;
    for (const Copy& copy : s.copies) taken += copy.length;
    EXPECT_EQ(taken, row.acceptable && row.in.len > 0 ? 1u : 0u);
  }
}

TEST(TcpInput, SecondCheckResetIsExactByRfc5961Section3) {
  const State all[] = {State::established, State::fin_wait_1, State::fin_wait_2, State::close_wait, State::closing,
                       State::last_ack};
  for (const State state : all) {
    SCOPED_TRACE(std::string(name_of(state)));
    Script s;
    s.establish();
    s.edit([&](ControlBlock& b) { b.state = state; });
    EXPECT_EQ(s.texts(s.give({.seq = 5, .flags = kRst})), Lines{". 1 ack 1"});  // challenged
    EXPECT_EQ(s.result.drop, Drop::tcp_rst_not_exact);
    EXPECT_EQ(s.c->state(), state);
    EXPECT_THAT(s.give({.seq = 1, .flags = kRst}), IsEmpty());
    EXPECT_EQ(s.c->state(), State::closed);
    const bool quiet = state == State::closing || state == State::last_ack;
    EXPECT_EQ(s.c->failure(), quiet                        ? Failure::none
                              : state == State::close_wait ? Failure::reset_after_fin
                                                           : Failure::reset);
    EXPECT_TRUE(s.events & event_closed);
    EXPECT_TRUE(s.c->next_deadline().is_never());
  }
}

TEST(TcpInput, FourthCheckSynIsChallengedByRfc5961Section4) {
  Script s;
  s.establish();
  for (const std::uint32_t seq : {1u, 1000u}) {
    EXPECT_EQ(s.texts(s.give({.seq = seq, .flags = kSyn})), Lines{". 1 ack 1"});
    EXPECT_EQ(s.result.drop, Drop::tcp_syn_in_window);
  }
  EXPECT_EQ(s.c->state(), State::established);
}

TEST(TcpInput, FifthCheckAckIsBoundedByRfc5961Section5) {
  Script s;
  s.establish(false, 5000);
  s.write(3000);
  const struct {
    const char* says;
    std::uint32_t ack;
    bool good;
  } rows[] = {
      {"above SND.NXT", 3002, false},
      {"SND.UNA - MAX.SND.WND", 1u - 5000u, true},
      {"below that", 0u - 5000u, false},
      {"half round the circle", 0x80000000u, false},
      {"all of it", 3001, true},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    const auto out = s.give({.ack = row.ack});
    EXPECT_EQ(s.result.drop.has_value(), !row.good);
    EXPECT_EQ(s.texts(out), row.good ? Lines{} : Lines{". 3001 ack 1"});
  }
  EXPECT_EQ(s.c->send_acked(), 3000u);
  EXPECT_THAT(s.give({.flags = wire::psh, .len = 4}), IsEmpty());
  EXPECT_EQ(s.result.drop, Drop::tcp_no_flags);
}

TEST(TcpInput, ChallengeAcksHaveARate) {
  Script s;
  s.establish();
  std::size_t answers = 0;
  for (int i = 0; i < 100; ++i) answers += s.give({.seq = 5, .flags = kRst}).size();
  EXPECT_EQ(answers, s.tunables.challenge_ack_limit);
  EXPECT_EQ(s.count(&Counters<Counter>::tx_challenge_limited), 100 - answers);
  s.now += 5s;
  EXPECT_EQ(s.give({.seq = 5, .flags = kRst}).size(), 1u);
}

TEST(TcpInput, ChallengeAcksHaveARateInTimeWaitToo) {
  // Of one that signs, which stays a connection there.
  Script s;
  s.establish();
  s.c->close(s.now);
  s.drain();
  s.give({.ack = 2});
  s.give({.ack = 2, .flags = kFin});
  ASSERT_EQ(s.c->state(), State::time_wait);
  std::size_t out_of_step = 0, fins = 0;
  for (int i = 0; i < 50; ++i) {
    out_of_step += s.give({.seq = 9, .ack = 2}).size() + s.give({.seq = 0, .ack = 2, .len = 1}).size();
    fins += s.give({.ack = 2, .flags = kFin}).size();
  }
  EXPECT_EQ(out_of_step, s.tunables.challenge_ack_limit);
  EXPECT_EQ(s.count(&Counters<Counter>::tx_challenge_limited), 100 - out_of_step);
  EXPECT_EQ(fins, 50u) << "our ACK of it may be lost";
}

TEST(TcpInput, EmptySegmentsOutOfStepAreAnsweredAtThatRateToo) {
  // Two ends that are out of step would answer each other for ever; text is always answered, or its sender would starve.
  Script s;
  s.establish();
  std::size_t empty = 0, with_text = 0;
  for (int i = 0; i < 50; ++i) {
    empty += s.give({.seq = 0}).size();
    with_text += s.give({.seq = 0, .len = 1}).size();
  }
  EXPECT_EQ(empty, s.tunables.challenge_ack_limit);
  EXPECT_EQ(with_text, 50u);
}

TEST(TcpInput, NewsOfASegmentThatWasReceivedBeforeCount) {
  for (const std::uint32_t len : {0u, 10u}) {
    Script s;
    s.establish();
    s.give({.seq = 1, .len = 100});
    s.write(20);
    const auto out = s.give({.seq = 51, .ack = 11, .len = len, .window = 500});
    EXPECT_EQ(s.result.drop, Drop::tcp_out_of_window);
    EXPECT_THAT(s.texts(out), ElementsAre(". 21 ack 101"));
    EXPECT_EQ(s.c->send_acked(), 10u);
    EXPECT_EQ(s.c->info().snd_wnd, 500u);
    s.give({.seq = 51, .ack = 22, .len = len});  // of what was never sent
    s.give({.seq = 51, .ack = 11, .len = len, .window = 900});
    EXPECT_EQ(s.c->send_acked(), 10u);
    EXPECT_EQ(s.c->info().snd_wnd, 500u) << "no news";
  }
}

TEST(TcpInput, AnOldSegmentDoesNotSetTheWindow) {
  Script s;
  s.establish();
  s.give({.seq = 1, .len = 10, .window = 9000});
  s.give({.seq = 11, .len = 10, .window = 8000});
  EXPECT_EQ(s.c->info().snd_wnd, 8000u);
  s.give({.seq = 1, .len = 30, .window = 500});  // overlaps, so it is acceptable, but begins before SND.WL1
  EXPECT_EQ(s.c->info().snd_wnd, 8000u);
  s.write(10);
  s.give({.seq = 31, .ack = 11, .window = 7000});
  s.give({.seq = 31, .ack = 1, .window = 500});  // an older acknowledgment
  EXPECT_EQ(s.c->info().snd_wnd, 7000u);
}

TEST(TcpInput, AckOfOurFinMovesEachState) {
  const struct {
    State before;
    State after;
  } rows[] = {{State::fin_wait_1, State::fin_wait_2}, {State::closing, State::time_wait}, {State::last_ack, State::closed}};
  for (const auto& row : rows) {
    SCOPED_TRACE(std::string(name_of(row.before)));
    Script s;
    s.establish();
    const bool peer_first = row.before == State::last_ack;
    if (peer_first) s.give({.flags = kFin});
    s.c->shutdown_write();
    EXPECT_EQ(s.texts(s.drain()), Lines{peer_first ? "F. 1 ack 2" : "F. 1 ack 1"});
    if (row.before == State::closing) s.give({.flags = kFin});
    ASSERT_EQ(s.c->state(), row.before);
    s.give({.seq = row.before == State::fin_wait_1 ? 1u : 2u, .ack = 2});
    EXPECT_EQ(s.c->state(), row.after);
    EXPECT_TRUE(s.events & event_send_shut);
    EXPECT_TRUE(s.c->send_shut());
  }
}

TEST(TcpInput, FinMovesEachState) {
  const struct {
    State before;
    bool acks_our_fin;
    State after;
  } rows[] = {{State::established, false, State::close_wait},
              {State::fin_wait_1, false, State::closing},
              {State::fin_wait_1, true, State::time_wait},
              {State::fin_wait_2, true, State::time_wait}};
  for (const auto& row : rows) {
    SCOPED_TRACE(std::string(name_of(row.before)) + (row.acks_our_fin ? " acking" : ""));
    Script s;
    s.establish();
    if (row.before != State::established) {
      s.c->shutdown_write();
      s.drain();
    }
    if (row.before == State::fin_wait_2) s.give({.ack = 2});
    ASSERT_EQ(s.c->state(), row.before);
    const auto out = s.give({.ack = row.acks_our_fin ? 2u : 1u, .flags = kFin, .len = 3});
    EXPECT_EQ(s.c->state(), row.after);
    EXPECT_EQ(out.back().ack, s.irs + 5);
    EXPECT_TRUE(s.events & event_peer_fin);
    EXPECT_EQ(s.c->receive_tail(), 3u);
  }
}

TEST(TcpInput, AFinThatComesEarlyWaitsForTheHole) {
  Script s;
  s.establish();
  EXPECT_THAT(s.texts(s.give({.seq = 101, .flags = kFin, .len = 10})), ElementsAre(". 1 ack 1"));
  EXPECT_EQ(s.c->state(), State::established);
  // Text after the FIN's place, and a second FIN elsewhere, are nothing.
  s.give({.seq = 105, .flags = kFin, .len = 20});
  EXPECT_THAT(s.texts(s.give({.seq = 1, .len = 100})), ElementsAre(". 1 ack 112"));
  EXPECT_EQ(s.c->state(), State::close_wait);
  EXPECT_EQ(s.c->receive_tail(), 110u);
}

TEST(TcpInput, TextAfterTheFinIsIgnored) {
  Script s;
  s.establish();
  s.give({.flags = kFin});
  s.give({.seq = 2, .len = 5});
  EXPECT_EQ(s.result.drop, Drop::tcp_out_of_window);
  EXPECT_EQ(s.c->receive_tail(), 0u);
  EXPECT_TRUE(s.copies.empty());
}

TEST(TcpInput, AZeroWindowStillTakesAckUrgAndRst) {
  Script s;
  s.config.receive_capacity = s.config.receive_capacity_max = 100;
  s.establish();
  s.write(10);
  s.give({.seq = 1, .len = 100});
  EXPECT_EQ(s.wait(1s).back().window, 0);
  const auto out = s.give({.seq = 101, .ack = 11, .flags = kAck | wire::urg, .len = 1, .urgent = 1});
  EXPECT_THAT(s.texts(out), ElementsAre(". 11 ack 101"));  // MUST-66, and the probe is answered
  EXPECT_TRUE(s.copies.empty());
  EXPECT_EQ(s.c->send_acked(), 10u);
  EXPECT_TRUE(s.events & event_urgent);
  EXPECT_EQ(s.count(&Counters<Counter>::rx_window_probes), 1u);
  s.give({.seq = 101, .flags = kRst});
  EXPECT_EQ(s.c->failure(), Failure::reset);
}

TEST(TcpInput, AResetBehindAFinIsABrokenPipe) {
  Script s;
  s.establish();
  s.give({.flags = wire::fin | kAck});
  EXPECT_EQ(s.c->state(), State::close_wait);
  s.give({.seq = 2, .flags = kRst});
  EXPECT_EQ(s.c->failure(), Failure::reset_after_fin);
  EXPECT_TRUE(s.events & event_failed);
}

TEST(TcpInput, SimultaneousOpenByRfc9293Figure8) {
  for (const bool ack_by_syn_ack : {true, false}) {
    SCOPED_TRACE(ack_by_syn_ack);
    Script s;
    s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
    s.drain();
    EXPECT_THAT(s.texts(s.give({.seq = 0, .ack = 0, .flags = kSyn})), ElementsAre("S. 0 ack 1"));
    EXPECT_EQ(s.c->state(), State::syn_received);
    // The SYN again: so is the answer.
    EXPECT_THAT(s.texts(s.give({.seq = 0, .ack = 0, .flags = kSyn})), ElementsAre("S. 0 ack 1"));
    if (ack_by_syn_ack) EXPECT_THAT(s.texts(s.give({.seq = 0, .ack = 1, .flags = kSyn | kAck})), ElementsAre(". 1 ack 1"));
    else EXPECT_THAT(s.give({.seq = 1, .ack = 1}), IsEmpty());
    EXPECT_EQ(s.c->state(), State::established);
    EXPECT_TRUE(s.events & event_connected);
  }
}

TEST(TcpInput, SynReceivedRefusesABadAck) {
  Script s;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  s.drain();
  s.give({.seq = 0, .ack = 0, .flags = kSyn});
  EXPECT_THAT(s.texts(s.give({.seq = 1, .ack = 2})), ElementsAre("R 2"));
  EXPECT_EQ(s.c->state(), State::syn_received);
  s.give({.seq = 1, .flags = kRst});
  EXPECT_EQ(s.c->failure(), Failure::refused);
}

TEST(TcpInput, TimestampsByRfc7323Section5_3) {
  Script s;
  s.config.timestamps = true;
  s.config.timestamp_offset = 77;
  wire::TcpOptions o;
  o.mss = 1000;
  o.timestamps = {0xfffffff0u, 0};
  s.open_active(o);
  const auto ts = [](std::uint32_t v) { return wire::TcpTimestamps{v, 0}; };
  // R1, with the wrap of the clock.
  EXPECT_EQ(s.give({.len = 5, .ts = ts(0xffffffefu)}).size(), 1u);
  EXPECT_EQ(s.result.drop, Drop::tcp_paws);
  s.give({.len = 5, .ts = ts(2)});
  EXPECT_EQ(s.result.drop, std::nullopt);
  EXPECT_EQ(s.block().rcv.ts_recent, 2u);
  // R3: beyond Last.ACK.sent it does not count.
  s.give({.seq = 6, .len = 5, .ts = ts(9)});
  EXPECT_EQ(s.block().rcv.ts_recent, 2u);
  EXPECT_EQ(s.wait(1s).back().options.timestamps->echo, 2u);
  s.give({.seq = 11, .len = 5, .ts = ts(12)});
  EXPECT_EQ(s.block().rcv.ts_recent, 12u);
  // Section 3.2: missing.
  EXPECT_THAT(s.give({.seq = 16, .len = 5}), IsEmpty());
  EXPECT_EQ(s.result.drop, Drop::tcp_no_timestamp);
  // Section 5.5: after 24 days nothing is too old.
  s.now += std::chrono::hours(24 * 24 + 1);
  s.give({.seq = 16, .len = 5, .ts = ts(11)});
  EXPECT_EQ(s.result.drop, std::nullopt);
  // A RST needs none.
  s.give({.seq = 21, .flags = kRst});
  EXPECT_EQ(s.c->failure(), Failure::reset);
}

TEST(TcpInput, UrgentByRfc6093) {
  Script s;
  s.establish();
  s.give({.flags = kAck | wire::urg, .len = 10, .urgent = 4});
  EXPECT_TRUE(s.events & event_urgent);
  EXPECT_EQ(s.c->urgent_mark(), 4u);  // byte 3 is the urgent one
  EXPECT_EQ(s.copies[0].length, 10u);  // and lies in the stream
  s.events = 0;
  s.give({.seq = 11, .flags = kAck | wire::urg, .len = 5, .urgent = 0});
  s.give({.seq = 11, .flags = kAck | wire::urg, .urgent = 0});
  EXPECT_FALSE(s.events & event_urgent);  // never backwards
  s.c->set_receive_read(3);
  EXPECT_EQ(s.c->urgent_mark(), 4u);
  s.c->set_receive_read(4);
  EXPECT_EQ(s.c->urgent_mark(), std::nullopt);
  s.give({.seq = 1, .flags = kAck | wire::urg, .len = 10, .urgent = 9});
  EXPECT_FALSE(s.events & event_urgent);  // nor at a byte that came as ordinary data
  EXPECT_EQ(s.c->urgent_mark(), std::nullopt);
}

TEST(TcpInput, AnUrgentByteThatComesLaterIsToldAgain) {
  Script s;
  s.establish();
  s.give({.flags = kAck | wire::urg, .len = 10, .urgent = 31});
  EXPECT_TRUE(s.events & event_urgent);
  EXPECT_FALSE(s.c->urgent_byte_here());
  s.events = 0;
  s.give({.seq = 11, .len = 10});
  EXPECT_FALSE(s.events & event_urgent);
  s.give({.seq = 31, .len = 10});  // out of order: the byte lies in the ring already
  EXPECT_TRUE(s.events & event_urgent);
  EXPECT_TRUE(s.c->urgent_byte_here());
  s.events = 0;
  s.give({.seq = 21, .len = 10});
  EXPECT_FALSE(s.events & event_urgent);
  EXPECT_EQ(s.c->urgent_mark(), 31u);
}

TEST(TcpInput, AfterCloseDataDrawsAReset) {
  Script s;
  s.establish();
  s.c->close(s.now);
  EXPECT_THAT(s.texts(s.drain()), ElementsAre("F. 1 ack 1"));
  s.give({.ack = 2});
  EXPECT_EQ(s.c->state(), State::fin_wait_2);
  EXPECT_THAT(s.texts(s.give({.ack = 2, .len = 1})), ElementsAre("R. 2 ack 1"));
  EXPECT_EQ(s.result.drop, Drop::tcp_after_close);
  EXPECT_EQ(s.c->state(), State::closed);
}

TEST(TcpInput, IcmpErrorsByRfc5927) {
  Script s;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  s.drain();
  s.c->on_icmp_error(Failure::host_unreachable, s.iss + 1, s.now);
  EXPECT_EQ(s.c->state(), State::syn_sent) << "a number that is not in flight";
  s.c->on_icmp_error(Failure::host_unreachable, s.iss, s.now);
  EXPECT_EQ(s.c->failure(), Failure::host_unreachable);

  Script t;
  t.establish();
  t.write(10);
  t.c->on_icmp_error(Failure::refused, t.iss + 1, t.now);
  EXPECT_EQ(t.c->state(), State::established);
  EXPECT_EQ(t.block().soft_error, Failure::refused);
  t.wait(3600s);
  EXPECT_EQ(t.c->failure(), Failure::refused) << "told when the retransmissions have failed";
}

// ---- the receive buffer's autotuning; receiver_test.cpp has the measure itself

/// A receiver of 16,000 bytes with timestamps, 20 ms from its peer.
struct Tuned : Script {
  Tuned() {
    config.timestamps = config.window_scaling = true;
    config.receive_capacity = 16000;
    config.receive_capacity_max = 1 << 20;
    c.emplace(Connection::open_active(context, config, iss, now));
    sent_ = drain().at(0).options.timestamps->value;
    now += kRound;
    wire::TcpOptions o;
    o.mss = 1000;
    o.window_scale = 3;
    o.timestamps = {1, sent_};
    give_raw({.seq = irs, .ack = iss + 1, .flags = wire::syn | wire::ack, .window = 65535, .options = o});
    EXPECT_EQ(c->state(), State::established);
  }
  /// Something of ours, for the peer to echo in what comes a round trip later.
  void answer() {
    sent_ = write(1).at(0).options.timestamps->value;
    wait(kRound);
  }
  /// Segments of `length` bytes that echo what was sent last; read when they are all there, `later`.
  std::uint32_t round(std::uint32_t count, std::uint32_t length, Duration later = {}) {
    const std::uint32_t echo = sent_;
    for (std::uint32_t i = 0; i < count; ++i) {
      for (const auto& out : give({.seq = next_, .len = length, .ts = wire::TcpTimestamps{++clock_, echo}})) sent_ = out.options.timestamps->value;
      EXPECT_EQ(result.drop, std::nullopt);
      next_ += length;
      EXPECT_EQ(c->receive_space_wanted(now), 0u) << "nothing is read yet";
    }
    now += later;
    c->set_receive_read(next_ - 1);
    for (const auto& out : drain()) sent_ = out.options.timestamps->value;
    return c->receive_space_wanted(now);
  }
  static constexpr Duration kRound = 20ms;

 private:
  std::uint32_t next_{1}, clock_{1}, sent_{};
};

TEST(TcpInput, MuchReadLongAgoDoesNotMakeTheBufferGrow) {
  Tuned s;
  for (int i = 0; i < 400; ++i) {
    EXPECT_EQ(s.round(1, 200), 0u);
    s.wait(Tuned::kRound);
  }
  s.answer();
  EXPECT_EQ(s.round(1, 1000, Tuned::kRound), 0u) << "81,000 bytes were read, 1000 of them in this round trip";
}

TEST(TcpInput, TheBufferGrowsForAPeerWithSmallSegments) {
  Tuned s;
  EXPECT_EQ(s.round(30, 524, Tuned::kRound), 2u * 30 * 524 + 16 * 1000) << "the round trip of the handshake";
}

TEST(TcpInput, WhoReceivesNoTextIsNotMeasured) {
  Tuned s;
  s.write(1000);
  s.now += Tuned::kRound;
  s.give({.ack = 1001, .ts = wire::TcpTimestamps{2, 0}});
  s.give({.ack = 1001, .flags = wire::fin | wire::ack, .ts = wire::TcpTimestamps{3, 0}});
  EXPECT_EQ(s.c->state(), State::close_wait);
  EXPECT_FALSE(s.block().rcv.tuning);
}

}  // namespace
}  // namespace iopkt::tcp
