// What time does: RFC 6298 (RTO), RFC 9293 sections 3.8.4 (keepalive) and 3.8.6.1 (zero window), RFC 1122 section 4.2.3.5 (R1, R2),
// RFC 5482 (user timeout), TIME-WAIT, FIN-WAIT-2.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tcp/test_pair.hpp"
#include "tcp/test_script.hpp"

namespace iopkt::tcp {
namespace {

using testing::Script;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Lines = std::vector<std::string>;
constexpr std::uint8_t kFin = wire::fin | wire::ack;

TEST(TcpTimers, RttByRfc6298Section2) {
  RttEstimator e;
  e.sample(100ms, 10ms, 60s);
  EXPECT_EQ(e.srtt, 100ms);
  EXPECT_EQ(e.rttvar, 50ms);
  EXPECT_EQ(e.rto, 300ms);
  e.sample(200ms, 10ms, 60s);
  EXPECT_EQ(e.rttvar, 62500us);    // 3/4 * 50 + 1/4 * |100 - 200|
  EXPECT_EQ(e.srtt, 112500us);     // 7/8 * 100 + 1/8 * 200
  EXPECT_EQ(e.rto, 362500us);
  for (int i = 0; i < 200; ++i) e.sample(1ms, 200ms, 60s);
  EXPECT_EQ(e.rto, 200ms);
  EXPECT_EQ(e.minimum, 1ms);
}

TEST(TcpTimers, TheSynIsSentAgainForFourMinutes) {
  Script s;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  s.drain();
  const Instant start = s.now;
  Duration expected = 1s;
  for (std::uint32_t i = 0; i < s.tunables.syn_retries; ++i) {
    const Instant before = s.now;
    EXPECT_THAT(s.texts(s.next_timer()), ElementsAre("S 0"));
    EXPECT_EQ(s.now - before, expected);
    expected = std::min<Duration>(expected * 2, 120s);
  }
  s.wait(130s);
  EXPECT_EQ(s.c->failure(), Failure::timed_out);
  EXPECT_GE(s.now - start, 180s) << "RFC 1122 section 4.2.3.5: 3 minutes at least";
  EXPECT_THAT(s.drain(), IsEmpty()) << "no RST: the peer knows nothing";
}

TEST(TcpTimers, ASocketMayHaveItsOwnPatience) {
  Script s;
  s.config.options.syn_retries = 2;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  s.drain();
  EXPECT_EQ(s.wait(100s).size(), 2u);
  EXPECT_EQ(s.c->failure(), Failure::timed_out);

  Script closed;
  closed.config.options.finwait2_ms = 5000;
  closed.establish();
  closed.c->close(closed.now);
  closed.drain();
  closed.give({.ack = 2});
  EXPECT_EQ(closed.c->state(), State::fin_wait_2);
  closed.wait(4s);
  EXPECT_EQ(closed.c->state(), State::fin_wait_2);
  closed.wait(2s);
  EXPECT_EQ(closed.c->state(), State::closed);
}

TEST(TcpTimers, ALostSynMakesTheStartCareful) {
  Script s;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  s.drain();
  s.next_timer();
  wire::TcpOptions o;
  o.mss = 1000;
  s.give_raw({.seq = s.irs, .ack = s.iss + 1, .flags = wire::syn | wire::ack, .window = 65535, .options = o});
  EXPECT_EQ(s.c->info().cwnd, 1000u);        // RFC 5681 section 3.1
  EXPECT_EQ(s.c->info().rto, 3s);            // RFC 6298 section 5.7
  EXPECT_EQ(s.c->info().srtt, 0s) << "Karn: which SYN was answered is unknown";
}

TEST(TcpTimers, RetransmissionsBackOffToR2) {
  Script s;
  s.establish();
  s.write(2500);
  Duration expected = 200ms;
  for (std::uint32_t i = 0; i < s.tunables.rexmt_r2; ++i) {
    const Instant before = s.now;
    const auto out = s.next_timer();
    ASSERT_THAT(s.texts(out), ElementsAre(". 1 ack 1 len 1000"));  // loss window: one segment
    EXPECT_TRUE(out[0].retransmission);
    EXPECT_EQ(s.now - before, expected) << i;
    expected = std::min<Duration>(expected * 2, 120s);
    EXPECT_EQ((s.events & event_dubious) != 0, i + 1 >= s.tunables.rexmt_r1);
    EXPECT_EQ(s.c->info().cwnd, 1000u);
    EXPECT_EQ(s.c->info().ssthresh, 2000u) << "half of the flight, two segments at least; only once";
  }
  EXPECT_THAT(s.texts(s.wait(121s)), ElementsAre("R. 2501 ack 1"));
  EXPECT_EQ(s.c->failure(), Failure::timed_out);
  EXPECT_EQ(s.count(&Counters<Counter>::timed_out_rexmt), 1u);
  EXPECT_EQ(s.count(&Counters<Counter>::recovery_rto), s.tunables.rexmt_r2);
}

TEST(TcpTimers, BackoffEndsWithAValidSample) {
  Script s;
  s.establish();
  s.write(1000);
  s.next_timer();
  s.next_timer();
  EXPECT_EQ(s.c->info().rto, 800ms);
  s.give({.ack = 1001});
  EXPECT_EQ(s.c->info().rto, 800ms) << "Karn: of a segment that was sent more than once";
  s.write(1000);
  s.now += 5ms;
  s.give({.ack = 2001});
  EXPECT_EQ(s.c->info().rto, 200ms);
}

TEST(TcpTimers, TheUserTimeoutIsKeptToTheMillisecond) {
  Script s;
  s.config.options.user_timeout_ms = 3000;
  s.establish();
  s.now += 10s;
  s.write(10);
  s.wait(2999ms);
  EXPECT_EQ(s.c->state(), State::established);
  s.wait(1ms);
  EXPECT_EQ(s.c->failure(), Failure::timed_out);
  EXPECT_EQ(s.count(&Counters<Counter>::timed_out_user), 1u);
}

TEST(TcpTimers, AClosedWindowIsProbedForEver) {
  Script s;
  s.establish(false, 1000);
  s.write(1000);
  EXPECT_THAT(s.give({.ack = 1001, .window = 0}), IsEmpty());
  EXPECT_THAT(s.write(5000), IsEmpty());
  Duration expected = 200ms;
  for (int i = 0; i < 30; ++i) {
    const Instant before = s.now;
    EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 1001 ack 1 len 1"));
    EXPECT_EQ(s.now - before, expected) << i;
    expected = std::min<Duration>(expected * 2, 60s);
    s.give({.ack = 1001, .window = 0});  // RFC 1122 section 4.2.2.17: it answers, so it may stay closed
  }
  EXPECT_EQ(s.c->state(), State::established);
  EXPECT_EQ(s.c->info().cwnd, 10000u) << "no congestion";
  EXPECT_EQ(s.count(&Counters<Counter>::tx_probes), 30u);
  // Opened: the byte of the probe goes again, with the rest.
  EXPECT_THAT(s.texts(s.give({.ack = 1001, .window = 3000})), ElementsAre(". 1001 ack 1 len 3000"));
  s.give({.ack = 4001, .window = 3000});
  EXPECT_EQ(s.c->send_acked(), 4000u);
  EXPECT_EQ(s.c->info().retries, 0);
}

TEST(TcpTimers, AProbeThatIsTakenMovesOn) {
  Script s;
  s.establish(false, 1000);
  s.write(1000);
  s.give({.ack = 1001, .window = 0});
  s.write(5000);
  s.next_timer();
  EXPECT_THAT(s.give({.ack = 1002, .window = 0}), IsEmpty());
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 1002 ack 1 len 1"));
  EXPECT_THAT(s.texts(s.give({.ack = 1003, .window = 2000})), ElementsAre(". 1003 ack 1 len 2000"));
}

TEST(TcpTimers, ASilentPeerWithAClosedWindowIsGivenUp) {
  Script s;
  s.establish(false, 1000);
  s.write(1000);
  s.give({.ack = 1001, .window = 0});
  s.write(10);
  s.wait(7200s);
  EXPECT_EQ(s.c->failure(), Failure::timed_out);
  EXPECT_EQ(s.count(&Counters<Counter>::tx_probes), s.tunables.rexmt_r2);
}

TEST(TcpTimers, AWindowClosedOverDataInFlightIsProbed) {
  Script s;
  s.establish();
  s.write(3000);
  s.give({.ack = 1, .window = 0});
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 1 ack 1 len 1"));
  EXPECT_EQ(s.c->info().cwnd, 10000u);
  EXPECT_THAT(s.texts(s.give({.ack = 1, .window = 5000})), ElementsAre(". 1 ack 1 len 1000", ". 1001 ack 1 len 2000"));
}

TEST(TcpTimers, AFinIntoAClosedWindowIsTheProbe) {
  Script s;
  s.establish(false, 1000);
  s.write(1000);
  s.give({.ack = 1001, .window = 0});
  s.c->shutdown_write();
  EXPECT_THAT(s.drain(), IsEmpty());
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre("F. 1001 ack 1"));
  s.give({.ack = 1002, .window = 0});
  EXPECT_EQ(s.c->state(), State::fin_wait_2);
  EXPECT_THAT(s.wait(60s), IsEmpty());
}

TEST(TcpTimers, KeepaliveAsksAndIsAnswered) {
  Script s;
  s.config.options = {.keepalive = true, .keep_count = 3, .keep_idle_ms = 10000, .keep_interval_ms = 1000};
  s.establish();
  s.now += 4s;
  s.give({.len = 1});
  Instant before = s.now;
  s.wait(1s);  // the acknowledgment
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 0 ack 2"));  // SND.NXT - 1
  EXPECT_EQ(s.now - before, 10s) << "from the last segment heard";
  s.give({.seq = 2});
  before = s.now;
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 0 ack 2"));
  EXPECT_EQ(s.now - before, 10s);
  before = s.now;
  for (int i = 0; i < 2; ++i) EXPECT_THAT(s.texts(s.next_timer()), ElementsAre(". 0 ack 2"));
  EXPECT_EQ(s.now - before, 2s);
  EXPECT_THAT(s.texts(s.next_timer()), ElementsAre("R. 1 ack 2"));
  EXPECT_EQ(s.c->failure(), Failure::timed_out);
  EXPECT_EQ(s.count(&Counters<Counter>::tx_keepalives), 4u);
}

TEST(TcpTimers, KeepaliveProbesAreAnswered) {
  Script s;
  s.establish();
  s.give({.len = 1});
  s.wait(1s);
  EXPECT_THAT(s.texts(s.give({.seq = 1})), ElementsAre(". 1 ack 2"));
}

TEST(TcpTimers, TimeWaitLastsTwoMslAndRestartsWithTheFin) {
  Script s;
  s.establish();
  s.c->close(s.now);
  s.drain();
  s.give({.ack = 2});
  EXPECT_THAT(s.texts(s.give({.ack = 2, .flags = kFin})), ElementsAre(". 2 ack 2"));
  EXPECT_EQ(s.c->state(), State::time_wait);
  s.wait(59s);
  EXPECT_EQ(s.c->time_wait().until - s.now, 1s);
  EXPECT_THAT(s.texts(s.give({.ack = 2, .flags = kFin})), ElementsAre(". 2 ack 2"));
  s.wait(59s);
  EXPECT_EQ(s.c->state(), State::time_wait);
  EXPECT_THAT(s.give({.seq = 2, .flags = wire::rst}), IsEmpty());  // RFC 1337
  EXPECT_EQ(s.c->state(), State::time_wait);
  s.give({.seq = 3, .flags = wire::syn});
  EXPECT_TRUE(s.result.reopen);
  s.wait(1s);
  EXPECT_EQ(s.c->state(), State::closed);
  EXPECT_EQ(s.c->failure(), Failure::none);
}

TEST(TcpTimers, NobodyWaitsForAFinOfAClosedSocket) {
  Script s;
  s.establish();
  s.c->shutdown_write();
  s.drain();
  s.give({.ack = 2});
  s.wait(3600s);
  EXPECT_EQ(s.c->state(), State::fin_wait_2) << "half-closed: the user still reads";
  s.c->close(s.now);
  s.wait(59s);
  EXPECT_EQ(s.c->state(), State::fin_wait_2);
  s.wait(1s);
  EXPECT_EQ(s.c->state(), State::closed);
}

TEST(TcpTimers, OrphansHaveLessPatience) {
  Script s;
  s.establish(false, 1000);
  s.write(2000);
  s.give({.ack = 1001, .window = 0});
  s.c->close(s.now);
  for (int i = 0; i < 40 && s.c->state() != State::closed; ++i) {
    s.next_timer(61s);
    if (s.c->state() != State::closed) s.give({.ack = 1001, .window = 0});  // as sockstress does
  }
  EXPECT_EQ(s.c->state(), State::closed);
  EXPECT_EQ(s.count(&Counters<Counter>::tx_probes), s.tunables.orphan_retries);
}

TEST(TcpTimers, IdlingShrinksTheWindowByRfc5681Section4_1) {
  Script s;
  s.establish();
  s.write(60000);
  for (std::uint32_t a = 10001; a <= 60001; a += 10000) s.give({.ack = std::min(a, 60001u)});
  EXPECT_GT(s.c->info().cwnd, 30000u);
  s.wait(10s);
  EXPECT_EQ(s.write(50000).at(0).payload_len, 10000u);
  EXPECT_EQ(s.count(&Counters<Counter>::idle_restarts), 1u);
}

/// Nothing above 1100 bytes gets through, and no router says so.
TEST(TcpTimers, AnIcmpBlackHoleIsGotThroughByRfc4821Section7_7) {
  for (const bool on : {true, false}) {
    testing::Pair p;
    p.a.tunables.mtu_probing = on ? 1 : 0;
    p.filter = [](const testing::Sent& s) { return s.from == 0 && s.segment.payload_len > 1100; };
    p.a.write_limit = 100000;
    p.connect();
    EXPECT_EQ(p.run_until([&] { return p.b.read == 100000; }, 60s), on);
    EXPECT_EQ(p.a.count(&Counters<Counter>::mtu_black_holes), on ? 1u : 0u);
    if (!on) continue;
    EXPECT_EQ(p.a.connection->info().path_mss, 984u);
    // Ten minutes later the path may be another.
    p.filter = nullptr;
    p.run_for(601s);
    p.a.write_limit = 200000;
    p.settle(0);
    ASSERT_TRUE(p.run_until([&] { return p.b.read == 200000; }, 10s));
    EXPECT_EQ(p.a.connection->info().path_mss, 1460u);
  }
}

}  // namespace
}  // namespace iopkt::tcp
