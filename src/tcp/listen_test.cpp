// LISTEN, half-open connections, CLOSED and TIME-WAIT: RFC 9293 sections 3.10.7.1, .2 and .4, RFC 1337, RFC 6191; ISNs of RFC 6528.
#include <gtest/gtest.h>

#include "tcp/closed.hpp"
#include "tcp/isn.hpp"
#include "tcp/listen.hpp"
#include "tcp/test_script.hpp"

namespace iopkt::tcp {
namespace {

constexpr std::uint8_t kAck = wire::ack, kSyn = wire::syn, kRst = wire::rst, kFin = wire::fin;

struct Listener {
  Tunables tunables = default_tunables();
  Counters<Counter> counters;
  Context context{&tunables, &counters};
  OpenConfig config{.advertised_mss = 1460, .path_mss = 1460, .receive_capacity = 1 << 20, .receive_capacity_max = 1 << 20};
  Instant now{5'000'000'000};
  wire::TcpOptions options;
  SeqNum iss{1000};

  ListenOutcome hear(SegmentIn seg) { return on_segment_in_listen(context, config, seg, iss, now); }
  HalfOpen child() {
    return hear({.seq = SeqNum{7}, .flags = kSyn, .window = 500, .options = options}).child;
  }
};

TEST(TcpListen, AnswersInTheOrderOfRfc9293Section3_10_7_2) {
  using Kind = ListenOutcome::Kind;
  const struct {
    const char* says;
    std::uint32_t seq, ack;
    std::uint16_t flags;
    Kind kind;
    Drop drop;
    std::uint32_t out_seq, out_ack;
    std::uint16_t out_flags;
  } rows[] = {
      {"RST wins over SYN", 7, 0, kRst | kSyn, Kind::ignore, Drop::tcp_rst_in_listen, 0, 0, 0},
      {"RST wins over ACK", 7, 9, kRst | kAck, Kind::ignore, Drop::tcp_rst_in_listen, 0, 0, 0},
      {"ACK draws a RST at SEG.ACK", 7, 99, kAck, Kind::reset, Drop::tcp_ack_in_listen, 99, 0, kRst},
      {"ACK wins over SYN", 7, 99, kAck | kSyn, Kind::reset, Drop::tcp_ack_in_listen, 99, 0, kRst},
      {"SYN is answered", 7, 0, kSyn, Kind::open_child, {}, 1000, 8, kSyn | kAck},
      {"SYN at 2^32-1 is acknowledged with 0", 0xffffffff, 0, kSyn, Kind::open_child, {}, 1000, 0, kSyn | kAck},
      {"nothing at all", 7, 0, kFin, Kind::ignore, Drop::tcp_no_syn_in_listen, 0, 0, 0},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    Listener l;
    const auto out = l.hear({.seq = SeqNum{row.seq}, .ack = SeqNum{row.ack}, .flags = row.flags, .options = l.options});
    EXPECT_EQ(out.kind, row.kind);
    if (row.kind != Kind::open_child) {
      EXPECT_EQ(out.drop, row.drop);
    }
    EXPECT_EQ(out.answer.seq.value, row.out_seq);
    EXPECT_EQ(out.answer.ack.value, row.out_ack);
    EXPECT_EQ(out.answer.flags, row.out_flags);
  }
}

TEST(TcpListen, AgreesOnlyToWhatBothOffer) {
  const struct {
    const char* says;
    bool we, they;
  } rows[] = {{"both", true, true}, {"only we", true, false}, {"only they", false, true}, {"nobody", false, false}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    Listener l;
    l.config.window_scaling = l.config.timestamps = l.config.sack = row.we;
    if (row.they) {
      l.options.window_scale = 20;
      l.options.timestamps = {55, 0};
      l.options.sack_permitted = true;
    }
    const auto out = l.hear({.seq = SeqNum{7}, .flags = kSyn, .window = 500, .options = l.options});
    const bool both = row.we && row.they;
    EXPECT_EQ(out.answer.options.window_scale.has_value(), both);
    EXPECT_EQ(out.answer.options.timestamps.has_value(), both);
    EXPECT_EQ(out.answer.options.sack_permitted, both);
    EXPECT_EQ(out.answer.options.mss, 1460);
    EXPECT_EQ(out.answer.window, 65535) << "never scaled in a SYN";
    EXPECT_EQ(out.child.snd_scale, both ? 14 : 0) << "more than 14 is 14: RFC 7323 section 2.3";
    EXPECT_EQ(out.child.rcv_scale, both ? 5 : 0) << "the least shift that shows 1 MB";
    EXPECT_EQ(out.child.peer_mss, 536) << "RFC 9293 section 3.7.1: no option";
    if (both) {
      EXPECT_EQ(out.answer.options.timestamps->echo, 55u);
    }
  }
}

TEST(TcpListen, HalfOpenByRfc9293Section3_10_7_4) {
  using Kind = HalfOpenOutcome::Kind;
  const struct {
    const char* says;
    std::uint32_t seq, ack;
    std::uint16_t flags;
    std::uint32_t len;
    Kind kind;
    std::optional<Drop> drop;
    std::uint16_t out_flags;
  } rows[] = {
      {"the ACK completes", 8, 1001, kAck, 0, Kind::complete, std::nullopt, 0},
      {"with text too", 8, 1001, kAck, 100, Kind::complete, std::nullopt, 0},
      {"and with a FIN", 8, 1001, kAck | kFin, 0, Kind::complete, std::nullopt, 0},
      {"the SYN again is answered again", 7, 0, kSyn, 0, Kind::answer, std::nullopt, kSyn | kAck},
      {"another SYN is challenged", 9, 0, kSyn, 0, Kind::answer, Drop::tcp_syn_in_window, kAck},
      {"RST at RCV.NXT ends it", 8, 0, kRst, 0, Kind::give_up, std::nullopt, 0},
      {"RST elsewhere is challenged", 9, 0, kRst, 0, Kind::answer, Drop::tcp_rst_not_exact, kAck},
      {"RST outside is nothing", 7, 0, kRst, 0, Kind::ignore, Drop::tcp_out_of_window, 0},
      {"ACK of ISS is refused", 8, 1000, kAck, 0, Kind::answer, Drop::tcp_bad_ack, kRst},
      {"ACK above SND.NXT likewise", 8, 1002, kAck, 0, Kind::answer, Drop::tcp_bad_ack, kRst},
      {"outside of the window: ACK", 8 + 65535, 1001, kAck, 1, Kind::answer, Drop::tcp_out_of_window, kAck},
      {"no ACK bit", 8, 0, 0, 5, Kind::ignore, Drop::tcp_no_flags, 0},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    Listener l;
    HalfOpen half = l.child();
    const auto out = on_segment(l.context, half,
                                {.seq = SeqNum{row.seq}, .ack = SeqNum{row.ack}, .flags = row.flags, .window = 100,
                                 .options = l.options, .payload_len = row.len},
                                l.now);
    EXPECT_EQ(out.kind, row.kind);
    EXPECT_EQ(out.drop, row.drop);
    if (row.kind == Kind::answer) {
      EXPECT_EQ(out.answer.flags, row.out_flags);
    }
    if (row.kind == Kind::answer && row.out_flags == kAck) {
      EXPECT_EQ(out.answer.seq.value, 1001u);
      EXPECT_EQ(out.answer.ack.value, 8u);
    }
  }
}

TEST(TcpListen, TheSynAckIsSentAgainAndGivenUp) {
  Listener l;
  HalfOpen half = l.child();
  Duration waited{};
  std::uint32_t sent = 0;
  for (;;) {
    EXPECT_EQ(half.deadline - l.now, 1s * (1 << sent)) << "RFC 6298: doubled each time";
    waited += half.deadline - l.now;
    l.now = half.deadline;
    const auto out = on_timer(l.context, half, l.now);
    if (out.kind == HalfOpenOutcome::Kind::give_up) break;
    ASSERT_EQ(out.kind, HalfOpenOutcome::Kind::answer);
    EXPECT_EQ(out.answer.flags, kSyn | kAck);
    ++sent;
  }
  EXPECT_EQ(sent, l.tunables.syn_ack_retries);
  EXPECT_EQ(waited, 63s);
}

TEST(TcpListen, AConnectionMadeOfAHalfOpenOneHasWhatWasAgreed) {
  Listener l;
  l.options.mss = 1200;
  l.options.window_scale = 3;
  l.options.sack_permitted = true;
  const HalfOpen half = l.child();
  Connection c = Connection::from_half_open(l.context, half, l.config, l.now);
  EXPECT_EQ(c.state(), State::syn_received);
  l.now += 20ms;
  Copies copies;
  wire::TcpOptions none;
  c.on_segment({.seq = SeqNum{8}, .ack = SeqNum{1001}, .flags = kAck, .window = 100, .options = none, .payload_len = 9}, l.now,
               copies);
  EXPECT_EQ(c.state(), State::established);
  EXPECT_EQ(c.receive_tail(), 9u);
  const ConnectionInfo i = c.info();
  EXPECT_EQ(i.snd_wnd, 800u);
  EXPECT_EQ(i.snd_mss, 1200u);
  EXPECT_EQ(i.srtt, 20ms) << "from the SYN,ACK";
  EXPECT_EQ(i.cwnd, 12000u);
  EXPECT_TRUE(i.sack);
  // The first window after the SYN is scaled.
  c.set_receive_read(9);
  l.now += 1s;
  c.on_timer(l.now);
  EXPECT_EQ(c.poll_output(l.now)->window, (1 << 20) >> 5);
}

TEST(TcpClosed, AnswersByRfc9293Section3_10_7_1) {
  const wire::TcpOptions o;
  EXPECT_FALSE(on_segment_in_closed({.flags = kRst | kAck, .options = o}));
  const auto with_ack = on_segment_in_closed({.seq = SeqNum{5}, .ack = SeqNum{77}, .flags = kAck, .options = o, .payload_len = 3});
  EXPECT_EQ(with_ack->seq.value, 77u);
  EXPECT_EQ(with_ack->flags, kRst);
  // SEG.LEN counts text, SYN and FIN.
  const auto without = on_segment_in_closed({.seq = SeqNum{0xfffffffe}, .flags = kSyn | kFin, .options = o, .payload_len = 3});
  EXPECT_EQ(without->seq.value, 0u);
  EXPECT_EQ(without->ack.value, 3u);
  EXPECT_EQ(without->flags, kRst | kAck);
}

TEST(TcpTimeWait, AnswersByRfc9293Rfc1337AndRfc6191) {
  using Kind = TimeWaitOutcome::Kind;
  const struct {
    const char* says;
    std::uint32_t seq;
    std::uint16_t flags;
    std::uint32_t len;
    std::optional<std::uint32_t> ts;
    bool timestamps;
    Kind kind;
    bool restarts;
  } rows[] = {
      {"RST is nothing: RFC 1337", 501, kRst, 0, {}, false, Kind::ignore, false},
      {"the FIN again is acknowledged and restarts", 500, kFin | kAck, 0, {}, false, Kind::ack, true},
      {"the FIN with its text likewise", 490, kFin | kAck, 10, {}, false, Kind::ack, true},
      {"old text is acknowledged", 400, kAck, 50, {}, false, Kind::challenge, false},
      {"an acknowledgment is not answered", 501, kAck, 0, {}, false, Kind::ignore, false},
      {"SYN above RCV.NXT reopens", 502, kSyn, 0, {}, false, Kind::reopen, false},
      {"SYN at RCV.NXT does not", 501, kSyn, 0, {}, false, Kind::challenge, false},
      {"SYN below does not", 100, kSyn, 0, {}, false, Kind::challenge, false},
      {"but a later timestamp makes it good: RFC 6191", 100, kSyn, 0, 901, true, Kind::reopen, false},
      {"the same one only with a higher number", 100, kSyn, 0, 900, true, Kind::challenge, false},
      {"as here", 502, kSyn, 0, 900, true, Kind::reopen, false},
      {"an earlier one never", 502, kSyn, 0, 899, true, Kind::challenge, false},
      {"without one, by the number", 502, kSyn, 0, {}, true, Kind::reopen, false},
      {"one where there was none makes it good", 100, kSyn, 0, 1, false, Kind::reopen, false},
      {"old timestamp: no restart by PAWS", 500, kFin | kAck, 0, 800, true, Kind::challenge, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    const Instant now{1'000'000'000};
    TimeWait self{.snd_nxt = {300}, .rcv_nxt = {501}, .ts_recent = 900, .window = 1000, .timestamps = row.timestamps,
                  .until = now + 1s};
    wire::TcpOptions o;
    if (row.ts) o.timestamps = {*row.ts, 0};
    const auto out = on_segment(self, {.seq = {row.seq}, .ack = {300}, .flags = row.flags, .options = o, .payload_len = row.len},
                                now, default_tunables());
    EXPECT_EQ(out.kind, row.kind);
    EXPECT_EQ(self.until, row.restarts ? now + 60s : now + 1s);
    if (row.kind == Kind::ack || row.kind == Kind::challenge) {
      EXPECT_EQ(out.answer.seq.value, 300u);
      EXPECT_EQ(out.answer.ack.value, 501u);
      EXPECT_EQ(out.answer.flags, kAck);
    }
    EXPECT_GT(next_iss(self), self.snd_nxt + 65535);
    EXPECT_EQ(may_reconnect(self, self.until - 60s + 1s, 60s), row.timestamps);
    EXPECT_FALSE(may_reconnect(self, self.until - 60s + 999ms, 60s));
  }
}

TEST(TcpIsn, GrowsWithTimeAndDiffersByEndpoint) {
  const HashKey key{1, 2};
  const wire::Endpoint a{wire::Ipv4Address{10, 0, 0, 1}, {80}}, b{wire::Ipv4Address{10, 0, 0, 2}, {1234}},
      c{wire::Ipv4Address{10, 0, 0, 2}, {1235}};
  const Instant now{1'000'000'000};
  EXPECT_EQ(initial_sequence_number(key, a, b, now + 4ms) - initial_sequence_number(key, a, b, now), 1000);
  EXPECT_NE(initial_sequence_number(key, a, b, now), initial_sequence_number(key, a, c, now));
  EXPECT_NE(initial_sequence_number(key, a, b, now), initial_sequence_number(key, b, a, now));
  EXPECT_NE(initial_sequence_number(key, a, b, now), initial_sequence_number({1, 3}, a, b, now));
  EXPECT_EQ(timestamp_offset(key, a, b), timestamp_offset(key, a, c)) << "one clock for a pair of hosts";
  EXPECT_NE(timestamp_offset(key, a, b), timestamp_offset(key, b, a));
}

}  // namespace
}  // namespace iopkt::tcp
