// TCP Fast Open, RFC 7413: cookies, what a client remembers, and the connection's part on both sides. The rest is in
// tests/script/rfc7413.
#include "tcp/fast_open.hpp"

#include <gtest/gtest.h>

#include "tcp/test_script.hpp"
#include "wire/test_frames.hpp"

namespace iopkt::tcp {
namespace {

using testing::Script;
using wire::test::from_hex;

const wire::IpAddress kLocal{wire::Ipv4Address{192, 168, 0, 1}}, kServer{wire::Ipv4Address{192, 0, 2, 1}};

wire::FastOpenCookie cookie_of(std::string_view hex) {
  wire::FastOpenCookie out;
  for (const std::byte b : from_hex(hex)) out.bytes[out.size++] = b;
  return out;
}

TEST(TcpFastOpen, CookiesAreTheHosts) {
  // Of packetdrill's defaults, which the kernel's tests use: key and client, and the key of zeroes.
  EXPECT_EQ(fast_open_cookie(fast_open_key(from_hex("a1a1a1a1b2b2b2b2c3c3c3c3d4d4d4d4")), kLocal, kServer), cookie_of("3021b9d889017eeb"));
  EXPECT_EQ(fast_open_cookie({}, kLocal, kServer), cookie_of("b7c12350a90dc8f5"));
  const HashKey key{1, 2};
  EXPECT_NE(fast_open_cookie(key, kLocal, kServer), fast_open_cookie(key, kServer, kLocal));
  const wire::IpAddress v6{*wire::Ipv6Address::parse("2001:db8::1")}, other{*wire::Ipv6Address::parse("2001:db8::2")};
  EXPECT_NE(fast_open_cookie(key, v6, v6), fast_open_cookie(key, v6, other));
}

TEST(TcpFastOpen, AClientRemembersServersWithinABound) {
  FastOpenCache cache{{1, 2}};
  const Instant now{1'000'000'000};
  EXPECT_EQ(cache.find(kLocal, kServer, now).cookie.size, 0) << "ask";
  cache.learn(kLocal, kServer, cookie_of("01020304"), 1200);
  EXPECT_EQ(cache.find(kLocal, kServer, now).cookie, cookie_of("01020304"));
  EXPECT_EQ(cache.find(kLocal, kServer, now).mss, 1200);
  EXPECT_EQ(cache.find(kServer, kServer, now).cookie.size, 0) << "cookies are for one address of ours";
  for (std::uint32_t i = 0; i < FastOpenCache::kMost; ++i)
    cache.learn(kLocal, wire::IpAddress{wire::Ipv4Address{0x0a000000 + i}}, cookie_of("01020304"), 1200);
  EXPECT_EQ(cache.size(), FastOpenCache::kMost);
  EXPECT_EQ(cache.find(kLocal, kServer, now).cookie.size, 0) << "the oldest made room";
}

TEST(TcpFastOpen, APathThatLosesSynsIsLeftAloneForLongerAndLonger) {
  FastOpenCache cache{{1, 2}};
  Instant now{1'000'000'000};
  cache.learn(kLocal, kServer, cookie_of("01020304"), 1200);
  for (const Duration pause : {60s, 120s, 240s}) {
    cache.lost(kLocal, kServer, 60s, now);
    EXPECT_EQ(cache.find(kLocal, kServer, now).cookie.size, 0);
    EXPECT_TRUE(cache.find(kLocal, kServer, now + pause - 1s).paused);
    EXPECT_FALSE(cache.find(kLocal, kServer, now + pause).paused);
    now += pause;
  }
  for (int i = 0; i < 300; ++i) cache.lost(kLocal, kServer, 86400s, now);
  EXPECT_FALSE(cache.find(kLocal, kServer, now + FastOpenCache::kLongestPause).paused);
  cache.learn(kLocal, kServer, cookie_of("01020304"), 1200);
  cache.lost(kLocal, kServer, 60s, now);
  EXPECT_FALSE(cache.find(kLocal, kServer, now + 60s).paused) << "a cookie says that the path is good";
}

struct FastScript : Script {
  /// SYN-SENT with a cookie and `bytes` written.
  SegmentOut send_syn(std::uint64_t bytes, std::uint16_t mss = 1000) {
    config.fast_open = cookie_of("0102030405060708");
    config.fast_open_mss = mss;
    config.hold_syn = true;
    c.emplace(Connection::open_active(context, config, iss, now));
    EXPECT_TRUE(drain().empty()) << "the SYN waits";
    EXPECT_TRUE(c->next_deadline().is_never());
    const auto sent = write(bytes);
    EXPECT_EQ(sent.size(), 1u);
    return sent.at(0);
  }
  std::vector<SegmentOut> answer(std::uint32_t ack, std::uint8_t more = 0) {
    wire::TcpOptions o;
    o.mss = 1000;
    now += 1ms;
    return give_raw({.seq = irs, .ack = iss + ack, .flags = static_cast<std::uint16_t>(wire::syn | wire::ack | more), .window = 65535, .options = o});
  }
};

TEST(TcpFastOpen, TheSynCarriesWhatFitsBesideItsOptions) {
  for (const auto& [written, mss, carried] : std::initializer_list<std::tuple<std::uint64_t, std::uint16_t, std::uint32_t>>{
           {100, 1000, 100}, {5000, 1000, 980}, {5000, 536, 516}, {5000, 9000, 980}, {5000, 0, 44}}) {
    FastScript s;
    const SegmentOut syn = s.send_syn(written, mss);
    EXPECT_TRUE(syn.has(wire::syn));
    EXPECT_EQ(syn.payload_len, carried);
    ASSERT_TRUE(syn.options.fast_open);
    EXPECT_EQ(syn.options.fast_open->size, 8);
    const auto rest = s.answer(1 + carried);
    EXPECT_EQ(s.c->state(), State::established);
    EXPECT_TRUE(s.c->info().syn_data);
    EXPECT_EQ(s.c->send_acked(), carried);
    std::uint64_t sent = carried;
    for (const SegmentOut& one : rest) sent += one.payload_len;
    EXPECT_EQ(sent, written);
    EXPECT_EQ(s.count(&Counters<Counter>::tx_bytes), written);
    EXPECT_EQ(s.count(&Counters<Counter>::fast_open_active), 1u);
  }
}

TEST(TcpFastOpen, DataThatIsNotTakenGoesAgainAtOnce) {
  FastScript s;
  s.send_syn(500);
  EXPECT_EQ(s.texts(s.answer(1)), (std::vector<std::string>{". 1 ack 1 len 500"}));
  EXPECT_FALSE(s.c->info().syn_data);
  EXPECT_EQ(s.c->info().fast_open_fail, 2);
  EXPECT_EQ(s.block().snd.phase, Phase::open) << "no sign of congestion";
  s.give({.ack = 501});
  EXPECT_EQ(s.c->send_acked(), 500u);
  EXPECT_EQ(s.count(&Counters<Counter>::fast_open_active_fail), 1u);
}

TEST(TcpFastOpen, APartOfItMayBeTaken) {
  FastScript s;
  s.send_syn(500);
  EXPECT_EQ(s.texts(s.answer(201)), (std::vector<std::string>{". 201 ack 1 len 300"}));
  EXPECT_TRUE(s.c->info().syn_data);
}

TEST(TcpFastOpen, MoreThanWasSentIsNotAcknowledged) {
  FastScript s;
  s.send_syn(500);
  EXPECT_EQ(s.texts(s.answer(502)), (std::vector<std::string>{"R 502"}));
  EXPECT_EQ(s.c->state(), State::syn_sent);
}

TEST(TcpFastOpen, ASynThatIsSentAgainIsPlain) {
  FastScript s;
  s.send_syn(500);
  const auto again = s.next_timer();
  ASSERT_EQ(s.texts(again), (std::vector<std::string>{"S 0"}));
  EXPECT_FALSE(again[0].options.fast_open);
  EXPECT_TRUE(s.c->fast_open_lost());
  EXPECT_EQ(s.texts(s.answer(1)), (std::vector<std::string>{". 1 ack 1 len 500"}));
  EXPECT_EQ(s.c->info().fast_open_fail, 3);
}

TEST(TcpFastOpen, AHeldSynGoesWithTheEndOfWriting) {
  FastScript s;
  s.config.fast_open = cookie_of("01020304");
  s.config.hold_syn = true;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  EXPECT_TRUE(s.drain().empty());
  s.c->shutdown_write();
  EXPECT_EQ(s.texts(s.drain()), (std::vector<std::string>{"S 0"}));
}

struct Passive : Script {
  Passive(std::uint32_t payload, std::uint16_t window = 65535) {
    wire::TcpOptions o;
    o.mss = 1000;
    const SegmentIn syn{.seq = irs, .flags = wire::syn, .window = window, .options = o, .payload_len = payload};
    const HalfOpen half = half_open_of(context, config, syn, iss, now);
    c.emplace(Connection::open_fast(context, half, config, payload, now, copies));
  }
};

TEST(TcpFastOpen, AConnectionThatASynOpenedSendsBeforeItIsAcknowledged) {
  Passive s(300);
  ASSERT_EQ(s.copies.size(), 1u);
  EXPECT_EQ(s.copies[0], (Copy{.from = 0, .to_position = 0, .length = 300}));
  EXPECT_EQ(s.texts(s.drain()), (std::vector<std::string>{"S. 0 ack 301"}));
  EXPECT_EQ(s.events, event_readable);
  EXPECT_EQ(s.c->state(), State::syn_received);
  EXPECT_EQ(s.texts(s.write(1500)), (std::vector<std::string>{". 1 ack 301 len 1500"}));
  s.c->shutdown_write();
  EXPECT_TRUE(s.drain().empty()) << "the FIN waits for ESTABLISHED";
  s.now += 10ms;
  EXPECT_EQ(s.texts(s.give({.seq = 301, .ack = 1501})), (std::vector<std::string>{"F. 1501 ack 301"}));
  EXPECT_EQ(s.c->state(), State::fin_wait_1);
}

TEST(TcpFastOpen, ItsSynAckIsSentAgainAndThenGivenUp) {
  Passive s(300);
  s.drain();
  s.write(100);
  std::uint32_t syn_acks = 0;
  for (int i = 0; i < 100 && s.c->state() != State::closed; ++i)
    for (const SegmentOut& one : s.next_timer()) syn_acks += one.has(wire::syn);
  EXPECT_EQ(s.c->state(), State::closed);
  EXPECT_EQ(syn_acks, s.tunables.syn_ack_retries);
}

TEST(TcpFastOpen, DataLostBehindTheSynAckIsRepaired) {
  Passive s(300);
  s.drain();
  s.write(3000);
  s.now += 10ms;
  s.give({.seq = 301, .ack = 1});
  EXPECT_EQ(s.c->state(), State::established);
  const auto again = s.next_timer();
  ASSERT_FALSE(again.empty());
  EXPECT_EQ(s.rel_seq(again[0]), 1u);
  EXPECT_TRUE(again[0].retransmission);
}

TEST(TcpFastOpen, ARstEndsItAsAConnection) {
  Passive s(0);
  s.drain();
  s.give({.seq = 1, .ack = 0, .flags = wire::rst});
  EXPECT_EQ(s.c->failure(), Failure::reset);
}

TEST(TcpFastOpen, AnIcmpErrorDoesNotEndWhatAProgramHas) {
  Passive s(0);
  s.drain();
  s.c->on_icmp_error(Failure::host_unreachable, s.iss, s.now);
  EXPECT_EQ(s.c->state(), State::syn_received);
  s.now += 10ms;
  s.give({.seq = 1, .ack = 1});
  EXPECT_EQ(s.c->state(), State::established);
}

TEST(TcpFastOpen, ASynThatIsSignedMeanwhileHasNeitherCookieNorData) {
  FastScript s;
  s.config.fast_open = cookie_of("0102030405060708");
  s.config.fast_open_mss = 1000;
  s.config.hold_syn = true;
  s.c.emplace(Connection::open_active(s.context, s.config, s.iss, s.now));
  s.c->set_options({.signature_len = 20}, s.now);
  const auto sent = s.write(500);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(sent[0].has(wire::syn));
  EXPECT_EQ(sent[0].payload_len, 0u);
  EXPECT_FALSE(sent[0].options.fast_open);
}

}  // namespace
}  // namespace iopkt::tcp
