// RFC 4987 section 3.6: what a cookie carries, for how long, and that nothing else passes for one.
#include "tcp/syn_cookie.hpp"

#include <gtest/gtest.h>

#include "base/random.hpp"
#include "tcp/test_script.hpp"

namespace iopkt::tcp {
namespace {

constexpr HashKey kSecret{0x1234, 0x5678};
const wire::Endpoint kLocal{wire::Ipv4Address{10, 0, 0, 1}, wire::Port{80}}, kRemote{wire::Ipv4Address{10, 0, 0, 2}, wire::Port{4000}};

TEST(SynCookie, CarriesTheMssRoundedDown) {
  const Instant now{1'000'000'000'000};
  for (const auto& [named, kept] : {std::pair<std::uint16_t, std::uint16_t>{64, 64}, {535, 64}, {536, 536}, {1459, 1440}, {1460, 1460}, {65495, 65483}}) {
    const SeqNum cookie = syn_cookie(kSecret, kLocal, kRemote, SeqNum{77}, named, now);
    EXPECT_EQ(mss_of_cookie(kSecret, kLocal, kRemote, SeqNum{77}, cookie, now), kept);
  }
}

TEST(SynCookie, IsGoodForAMinuteOrTwo) {
  for (std::int64_t start = 0; start < 200; start += 13) {
    const Instant given{1'000'000'000'000 + start * 1'000'000'000};
    const SeqNum cookie = syn_cookie(kSecret, kLocal, kRemote, SeqNum{77}, 1460, given);
    EXPECT_TRUE(mss_of_cookie(kSecret, kLocal, kRemote, SeqNum{77}, cookie, given + 64s));
    EXPECT_FALSE(mss_of_cookie(kSecret, kLocal, kRemote, SeqNum{77}, cookie, given + 128s));
    EXPECT_FALSE(mss_of_cookie(kSecret, kLocal, kRemote, SeqNum{77}, cookie, given + 32 * 64s)) << "the five bits come round";
  }
}

TEST(SynCookie, BelongsToItsSyn) {
  const Instant now{1'000'000'000'000};
  const SeqNum cookie = syn_cookie(kSecret, kLocal, kRemote, SeqNum{77}, 1460, now);
  wire::Endpoint other = kRemote;
  other.port = wire::Port{4001};
  EXPECT_FALSE(mss_of_cookie(kSecret, kLocal, other, SeqNum{77}, cookie, now));
  EXPECT_FALSE(mss_of_cookie(kSecret, kRemote, kLocal, SeqNum{77}, cookie, now));
  EXPECT_FALSE(mss_of_cookie(kSecret, kLocal, kRemote, SeqNum{78}, cookie, now));
  EXPECT_FALSE(mss_of_cookie({kSecret.k0, kSecret.k1 + 1}, kLocal, kRemote, SeqNum{77}, cookie, now));
  Random random{5};
  int passed = 0;
  for (int i = 0; i < 100'000; ++i) passed += mss_of_cookie(kSecret, kLocal, kRemote, SeqNum{77}, SeqNum{static_cast<std::uint32_t>(random.next())}, now).has_value();
  EXPECT_LE(passed, 1) << "one in 2^23 guesses";
}

/// A listener without memory, from the SYN to data in both directions.
struct Listener : testing::Script {
  wire::TcpOptions syn_options;
  SegmentOut syn_ack_;
  std::optional<HalfOpen> child;

  Listener() {
    config.timestamps = config.window_scaling = true;
    config.timestamp_offset = 0xfffffff0;
    config.receive_capacity_max = 1 << 20;
    syn_options.mss = 1400;
  }
  void syn() {
    const SegmentIn seg{.seq = irs, .flags = wire::syn, .window = 5000, .options = syn_options};
    const SeqNum cookie = syn_cookie(kSecret, kLocal, kRemote, irs, *syn_options.mss, now);
    const ListenOutcome outcome = on_segment_in_listen(context, config, seg, cookie, now);
    ASSERT_EQ(outcome.kind, ListenOutcome::Kind::open_child);
    syn_ack_ = cookie_syn_ack(outcome.child, now);
  }
  void ack(std::uint32_t wrong = 0) {
    wire::TcpOptions o;
    if (syn_ack_.options.timestamps) o.timestamps = wire::TcpTimestamps{9001, syn_ack_.options.timestamps->value};
    const SegmentIn seg{.seq = irs + 1, .ack = syn_ack_.seq + 1 + wrong, .flags = wire::ack, .window = 100, .options = o, .payload_len = 10};
    child = child_of_cookie(context, kSecret, config, kLocal, kRemote, seg, now);
    if (!child) return;
    iss = syn_ack_.seq;
    c.emplace(Connection::from_half_open(context, *child, config, now));
    give_raw(seg);
  }
};

TEST(SynCookie, OptionsComeBackThroughTheTimestamp) {
  for (const int scale : {-1, 0, 7, 14}) {
    for (const bool sack : {false, true}) {
      SCOPED_TRACE(scale);
      Listener l;
      l.syn_options.timestamps = wire::TcpTimestamps{9000, 0};
      if (scale >= 0) l.syn_options.window_scale = static_cast<std::uint8_t>(scale);
      l.syn_options.sack_permitted = sack;
      l.now = Instant{1'000'000'000'000} + 17ms;
      l.syn();
      EXPECT_LE(l.syn_ack_.options.timestamps->value - l.config.timestamp_offset, static_cast<std::uint32_t>(l.now.milliseconds()));
      l.now += 30ms;
      l.ack();
      ASSERT_TRUE(l.child);
      EXPECT_EQ(l.c->state(), State::established);
      EXPECT_EQ(l.c->receive_tail(), 10u);
      const ConnectionInfo info = l.c->info();
      EXPECT_EQ(info.window_scaling, scale >= 0);
      EXPECT_EQ(info.snd_scale, scale >= 0 ? scale : 0);
      EXPECT_EQ(info.sack, sack);
      EXPECT_TRUE(info.timestamps);
      EXPECT_EQ(info.snd_mss, 1000u) << "the path's";
      EXPECT_EQ(info.snd_wnd, 100u << (scale >= 0 ? scale : 0));
    }
  }
}

TEST(SynCookie, WithoutTimestampsOnlyTheMssIsKept) {
  Listener l;
  l.syn_options.window_scale = 7;
  l.syn_options.sack_permitted = true;
  l.syn();
  EXPECT_FALSE(l.syn_ack_.options.window_scale);
  EXPECT_FALSE(l.syn_ack_.options.sack_permitted);
  l.ack();
  ASSERT_TRUE(l.child);
  EXPECT_EQ(l.c->state(), State::established);
  EXPECT_FALSE(l.c->info().window_scaling || l.c->info().sack || l.c->info().timestamps);
  EXPECT_EQ(l.c->export_state().snd.peer_mss, 1380);
  EXPECT_EQ(l.c->info().srtt.count(), 0) << "when the SYN,ACK left is not known";
}

TEST(SynCookie, AWrongNumberOpensNothing) {
  Listener l;
  l.syn();
  l.ack(1);
  EXPECT_FALSE(l.child);
}

}  // namespace
}  // namespace iopkt::tcp
