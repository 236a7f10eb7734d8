// More SYNs at a time than can be answered: what belongs to connections goes first, a turn answers some, the others wait, and what
// finds no room is dropped by name. RFC 4987.
#include <gtest/gtest.h>

#include "control/interfaces.hpp"
#include "stack/openings.hpp"
#include "tests/sim/ipv6_fixture.hpp"
#include "wire/ipv4.hpp"
#include "wire/tcp.hpp"

namespace iopkt::sim {
namespace {

using stack::kOpeningsPerTurn;
using stack::kOpeningsWaiting;
using stack::PeerCredit;
using wire::Ipv4Address;

constexpr wire::MacAddress kOurMac{{0x02, 0, 0, 0, 0, 2}};

struct Tcp {
  wire::TcpHeader header;
  IpAddress src, dst;
  std::size_t payload_len;
};

std::optional<Tcp> tcp_of(const Frame& frame) {
  const Bytes bytes = Bytes{frame}.subspan(14);
  if (const auto v4 = wire::Ipv4View::parse(bytes); v4 && v4->header().protocol == wire::IpProtocol::tcp)
    if (const auto tcp = wire::TcpView::parse(v4->payload()))
      return Tcp{tcp->header(), v4->src(), v4->dst(), v4->payload().size() - tcp->header_len()};
  if (const auto v6 = wire::Ipv6View::parse(bytes); v6 && v6->next_header() == wire::IpProtocol::tcp)
    if (const auto tcp = wire::TcpView::parse(v6->payload()))
      return Tcp{tcp->header(), v6->src(), v6->dst(), v6->payload().size() - tcp->header_len()};
  return std::nullopt;
}

/// Over IPv4, over IPv6, and over IPv6 with a header in between, which a kernel's filter does not look behind.
enum class Over : std::uint8_t { v4, v6, v6_options };

class SimOpenings : public ::testing::TestWithParam<Over> {
 protected:
  explicit SimOpenings(std::uint32_t shards = 1) : shards_(shards) {
    net.wire({&a, &b}, {});
    b.listen(Port{7}, [&](Host::Stream& s) { accepted.push_back(&s); }, 1000);
    net.run_for(10ms);
  }
  bool is_v4() const { return GetParam() == Over::v4; }
  Endpoint listener() const { return {is_v4() ? ip("10.0.0.2") : ip("2001:db8::2"), Port{7}}; }
  /// Of ever new strangers, none of which is there.
  Endpoint stranger() {
    const std::uint32_t n = ++strangers_;
    const std::uint16_t port = static_cast<std::uint16_t>(1024 + n % 60000);
    if (is_v4()) return {Ipv4Address{0xc6120000u + n}, Port{port}};
    return {ip(("2001:db8:1:" + std::to_string(n % 9000) + "::1").c_str()), Port{port}};
  }
  Frame syn(Endpoint from, Endpoint to) const {
    return segment(from, to, {.src = from.port, .dst = to.port, .seq = {1}, .flags = wire::syn, .window = 1000});
  }
  Frame segment(Endpoint from, Endpoint to, const wire::TcpHeader& h) const {
    std::vector<std::byte> tcp(wire::encoded_len(h));
    wire::encode(h, tcp);
    const std::uint32_t pseudo = wire::pseudo_header_sum(from.address, to.address, wire::IpProtocol::tcp, static_cast<std::uint32_t>(tcp.size()));
    store_be16(tcp, 16, wire::finish(wire::sum(tcp, pseudo)));
    if (!is_v4()) {
      auto next = wire::IpProtocol::tcp;
      if (GetParam() == Over::v6_options) {
        const std::array<std::byte, 8> options{std::byte{6}, std::byte{0}, std::byte{1}, std::byte{4}};  // PadN
        tcp.insert(tcp.begin(), options.begin(), options.end());
        next = wire::IpProtocol::destination_options;
      }
      return packet6(kOurMac, {.next_header = next, .hop_limit = 64, .src = from.address.v6(), .dst = to.address.v6()}, tcp);
    }
    const wire::Ipv4Header header{.ttl = 64, .protocol = wire::IpProtocol::tcp, .src = from.address.v4(), .dst = to.address.v4(),
                                  .payload_len = static_cast<std::uint16_t>(tcp.size())};
    Frame frame(14 + wire::encoded_len(header));
    wire::store_mac(frame, 0, kOurMac);
    wire::store_mac(frame, 6, kRouterMac);
    store_be16(frame, 12, 0x0800);
    wire::encode(header, MutableBytes{frame}.subspan(14));
    frame.insert(frame.end(), tcp.begin(), tcp.end());
    return frame;
  }
  void flood(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) b.receive(syn(stranger(), listener()));
  }
  /// A stream to the listener, each of whose segments comes behind so many SYNs.
  void transfer_behind_floods(std::size_t of);
  std::uint64_t answered() const { return b.tcp_counters().half_open_created + b.tcp_counters().cookies_sent; }

  const std::uint32_t shards_;
  SimNet net{4};
  Host& a = net.host("10.0.0.1/24", {.ipv6 = true, .prefix6 = "2001:db8::1/64"});
  Host& b = net.host("10.0.0.2/24", {.shards = shards_, .ipv6 = true, .prefix6 = "2001:db8::2/64",
                                     .adjust = [](stack::StackConfig& c) { c.half_open_max = 100; }});
  std::vector<Host::Stream*> accepted;

 private:
  std::uint32_t strangers_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Families, SimOpenings, ::testing::Values(Over::v4, Over::v6, Over::v6_options));

/// Half of all frames come to the shard that has not their flow.
class SimOpeningsOfTwoShards : public SimOpenings {
 protected:
  SimOpeningsOfTwoShards() : SimOpenings(2) {}
};
INSTANTIATE_TEST_SUITE_P(Families, SimOpeningsOfTwoShards, ::testing::Values(Over::v4, Over::v6, Over::v6_options));

void SimOpenings::transfer_behind_floods(std::size_t of) {
  Host::Stream& s = a.connect(listener());
  ASSERT_TRUE(net.run_until([&] { return s.connected && accepted.size() == 1; }, 10s)) << net.trace();
  const std::uint64_t before = answered();
  std::uint64_t turns = 0;
  net.tap = [&](const Host& from, Frame& frame) {
    // Whatever the connection sends comes behind a flood that no turn has the time for.
    const auto tcp = tcp_of(frame);
    if (&from == &a && tcp && tcp->payload_len > 0) flood(of), ++turns;
    return true;
  };
  s.to_send = net.random_bytes(60'000);
  s.close_after_send = true;
  ASSERT_TRUE(net.run_until([&] { return accepted[0]->received == s.to_send; }, 30s)) << net.trace();
  EXPECT_GT(turns, 10u);
  EXPECT_EQ(a.tcp_counters().tx_retransmitted_segments, 0u) << "nothing of the connection was lost";
  net.tap = nullptr;
  net.run_for(1s);
  EXPECT_EQ(answered() - before + b.drops(Drop::tcp_syn_queue_full), turns * of);
  EXPECT_GT(b.drops(Drop::tcp_syn_queue_full), 0u);
  EXPECT_GE(answered() - before, turns) << "and some were answered";
  EXPECT_EQ(b.drops(Drop::shard_queue_full), 0u);
}

TEST_P(SimOpenings, ConnectionsGoFirstAndTheTransferGoesOn) { transfer_behind_floods(3000); }
TEST_P(SimOpeningsOfTwoShards, ConnectionsGoFirstAndTheTransferGoesOn) { transfer_behind_floods(6000); }

TEST_P(SimOpenings, ATurnAnswersABoundedNumberBehindWhatIsThereAlready) {
  Host::Stream& s = a.connect(listener());
  ASSERT_TRUE(net.run_until([&] { return s.connected && accepted.size() == 1; }, 10s)) << net.trace();
  std::vector<Frame> data;  // two segments are acknowledged at once
  net.tap = [&](const Host& from, Frame& frame) {
    const auto tcp = tcp_of(frame);
    if (&from != &a || !tcp || tcp->payload_len == 0) return true;
    data.push_back(frame);
    return false;
  };
  s.to_send = net.random_bytes(5000);
  ASSERT_TRUE(net.run_until([&] { return data.size() >= 4; }, 10s));
  const std::uint64_t before = answered();
  std::optional<std::uint64_t> at_our_ack;
  net.tap = [&](const Host& from, Frame& frame) {
    const auto tcp = tcp_of(frame);
    if (&from == &b && tcp && tcp->dst == accepted[0]->host->shard(0).remote_endpoint(accepted[0]->id).address && !at_our_ack) at_our_ack = answered();
    return true;
  };
  flood(kOpeningsWaiting + 500);
  for (const Frame& frame : data) b.receive(frame);
  ASSERT_TRUE(net.run_until([&] { return at_our_ack.has_value(); }, 10s)) << net.trace();
  EXPECT_EQ(*at_our_ack - before, kOpeningsPerTurn);
  EXPECT_EQ(accepted[0]->received, s.to_send);
  net.run_for(1s);
  EXPECT_EQ(answered() - before, kOpeningsWaiting) << "who waits is answered";
  EXPECT_EQ(b.drops(Drop::tcp_syn_queue_full), 500u);
}

TEST_P(SimOpenings, APeerThatCompletesHandshakesIsNotShort) {
  for (int i = 0; i < 3; ++i) a.connect(listener());
  ASSERT_TRUE(net.run_until([&] { return accepted.size() == 3; }, 10s)) << net.trace();
  const std::uint64_t dropped = b.drops(Drop::tcp_syn_queue_full);
  const IpAddress peer = is_v4() ? ip("10.0.0.1") : ip("2001:db8::1");
  // The flood comes first. Each handshake has earned two answers; once they are spent the peer is a stranger.
  const std::uint64_t before = answered();
  flood(kOpeningsWaiting);
  const std::size_t credit = 3 * PeerCredit::kPerHandshake;
  for (std::uint16_t i = 0; i < credit + 5; ++i) b.receive(syn({peer, Port{static_cast<std::uint16_t>(2000 + i)}}, listener()));
  net.run_for(1s);
  EXPECT_EQ(b.drops(Drop::tcp_syn_queue_full) - dropped, 5u);
  EXPECT_EQ(answered() - before, kOpeningsWaiting + credit);
}

TEST_P(SimOpenings, WhileConnectionsHaveWorkStrangersAreAnsweredAtARate) {
  stack::Network next = *b.stack().network();
  next.settings.tcp.syn_rate = 1000;
  b.stack().publish(std::move(next));
  Host::Stream& s = a.connect(listener());
  ASSERT_TRUE(net.run_until([&] { return s.connected && accepted.size() == 1; }, 10s)) << net.trace();
  const Instant start = net.now();
  const std::uint64_t before = answered();
  std::uint64_t floods = 0;
  net.tap = [&](const Host& from, Frame& frame) {
    const auto tcp = tcp_of(frame);
    if (&from != &a || !tcp || tcp->payload_len == 0) return true;
    flood(50);
    ++floods;
    return true;
  };
  s.to_send = net.random_bytes(200'000);
  ASSERT_TRUE(net.run_until([&] { return accepted[0]->received == s.to_send; }, 30s)) << net.trace();
  const double seconds = static_cast<double>((net.now() - start).count()) / 1e9;
  EXPECT_GT(floods, 100u);
  EXPECT_LE(static_cast<double>(answered() - before), 1000 * seconds + 2 * kOpeningsPerTurn);
  EXPECT_GT(b.drops(Drop::tcp_syn_queue_full), 0u);
  // With nothing to do for connections all who wait are answered.
  net.tap = nullptr;
  net.run_for(1s);
  EXPECT_EQ(answered() - before + b.drops(Drop::tcp_syn_queue_full), 50 * floods);
  EXPECT_EQ(b.shard(0).openings_wanted(), kOpeningsPerTurn);
}

TEST_P(SimOpenings, WhoseCreditChangesIsTold) {
  std::vector<stack::CreditNews>& told = b.credit_news;
  const IpAddress peer = is_v4() ? ip("10.0.0.1") : ip("2001:db8::1");
  a.connect(listener());
  ASSERT_TRUE(net.run_until([&] { return accepted.size() == 1; }, 10s)) << net.trace();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].peer, peer);
  EXPECT_EQ(told[0].credit, PeerCredit::kPerHandshake);
  told.clear();
  // Who waits for nobody spends nothing; behind a flood the credit is used up, and that is told once.
  b.receive(syn({peer, Port{3000}}, listener()));
  net.run_for(2ms);
  EXPECT_TRUE(told.empty());
  flood(kOpeningsWaiting);
  for (std::uint16_t i = 0; i < 3; ++i) b.receive(syn({peer, Port{static_cast<std::uint16_t>(3001 + i)}}, listener()));
  net.run_for(1ms);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].peer, peer);
  EXPECT_EQ(told[0].credit, 0u);
}

/// A new peer takes the place of another, and the host's table hears of both.
TEST_P(SimOpenings, WhoLosesHisPlaceIsTold) {
  stack::Network next = *b.stack().network();
  const IpAddress router = is_v4() ? ip("10.0.0.1") : ip("2001:db8::1");
  const auto everywhere = wire::IpPrefix::of(is_v4() ? IpAddress{Ipv4Address::any()} : ip("::"), 0);
  ASSERT_EQ(control::add_route(next, {.prefix = everywhere, .gateway = router}), Errno::ok);
  b.stack().publish(std::move(next));
  // Whoever asks completes the handshake.
  net.tap = [&](const Host& from, Frame& frame) {
    const auto tcp = tcp_of(frame);
    if (&from != &b || !tcp) return true;
    if ((tcp->header.flags & (wire::syn | wire::ack)) == (wire::syn | wire::ack))
      b.receive(segment({tcp->dst, tcp->header.dst}, {tcp->src, tcp->header.src},
                        {.src = tcp->header.dst, .dst = tcp->header.src, .seq = {2}, .ack = tcp->header.seq + 1, .flags = wire::ack,
                         .window = 1000}));
    return false;
  };
  const auto lost = [&] { return std::ranges::find(b.credit_news, 0, &stack::CreditNews::credit); };
  std::vector<IpAddress> earlier;
  IpAddress last;
  for (int i = 0; i < 900 && lost() == b.credit_news.end(); ++i) {
    const Endpoint from = stranger();
    if (i > 0) earlier.push_back(last);
    last = from.address;
    b.receive(syn(from, listener()));
    net.run_for(2ms);
    ASSERT_EQ(accepted.size(), static_cast<std::size_t>(i) + 1) << net.trace();
  }
  ASSERT_NE(lost(), b.credit_news.end());
  const auto same_place = [&](const IpAddress& other) {
    return other.words()[0] == lost()->peer.words()[0] && other.words()[1] == lost()->peer.words()[1];
  };
  EXPECT_TRUE(std::ranges::any_of(earlier, same_place));
  EXPECT_FALSE(same_place(last));
  EXPECT_EQ(b.credit_news.back().peer, last);
  EXPECT_EQ(b.credit_news.back().credit, PeerCredit::kPerHandshake);
}

TEST_P(SimOpenings, WhatARouterSendsOnIsNoOpening) {
  stack::Network next = *b.stack().network();
  next.settings.ipv4.forwarding = next.settings.ipv6.forwarding = 1;
  b.stack().publish(std::move(next));
  net.run_for(1ms);
  const Endpoint elsewhere{is_v4() ? ip("10.0.0.1") : ip("2001:db8::1"), Port{7}};
  for (int i = 0; i < 2000; ++i) b.receive(syn(stranger(), elsewhere));
  net.run_for(1ms);
  EXPECT_EQ(b.drops(Drop::tcp_syn_queue_full), 0u);
  EXPECT_EQ(answered(), 0u);
  flood(kOpeningsWaiting + 1);
  net.run_for(1ms);
  EXPECT_EQ(b.drops(Drop::tcp_syn_queue_full), 1u);
}

TEST(Pace, GivesTheSameShareOfEveryTurn) {
  stack::Pace pace;
  Instant now{1'000'000'000};
  const std::uint32_t rate = 10'000;  // one each 100 us
  pace.tick(now);
  EXPECT_EQ(pace.available(rate), 5u) << "the longest turn";
  for (int i = 0; i < 100; ++i) pace.tick(now += 100us);
  EXPECT_EQ(pace.available(rate), kOpeningsPerTurn) << "it saves up no more than that";
  pace.spend(rate, kOpeningsPerTurn);
  EXPECT_EQ(pace.available(rate), 0u);
  EXPECT_EQ(pace.until(rate, 3), 300us);
  pace.tick(now += 250us);
  EXPECT_EQ(pace.available(rate), 2u);
  EXPECT_EQ(pace.until(rate, 3), 50us);
  pace.tick(now += 10s);
  EXPECT_EQ(pace.available(rate), 7u) << "the machine was elsewhere";
  pace.tick(now - 1s);
  EXPECT_EQ(pace.available(rate), 7u);
  pace.spend(rate, 20);
  EXPECT_EQ(pace.available(rate), 0u);
  EXPECT_EQ(pace.available(0), kOpeningsPerTurn) << "no bound";
  EXPECT_EQ(pace.until(0, 16), Duration::zero());
}

TEST(PeerCredit, IsBoundedAndSpent) {
  PeerCredit credit{{1, 2}};
  const IpAddress v4 = ip("10.0.0.1"), v6 = ip("2001:db8::1"), same_network = ip("2001:db8::2"), other = ip("2001:db8:0:1::1");
  EXPECT_FALSE(credit.spend(v4));
  for (int i = 0; i < 10000; ++i) credit.earn(v4);
  for (int i = 0; i < PeerCredit::kMost; ++i) ASSERT_TRUE(credit.spend(v4)) << i;
  EXPECT_FALSE(credit.spend(v4));
  credit.earn(v6);
  EXPECT_FALSE(credit.spend(other));
  EXPECT_TRUE(credit.spend(same_network));
  EXPECT_TRUE(credit.spend(v6));
  EXPECT_FALSE(credit.spend(v6));
}

/// Whoever loses his place loses it in the host's table, too.
TEST(PeerCredit, SaysWhoHasLostHisPlace) {
  for (const bool v4 : {true, false}) {
    PeerCredit credit{{1, 2}};
    std::optional<IpAddress> displaced;
    std::vector<IpAddress> known;
    while (!displaced && known.size() < 10'000) {
      Ipv6Address network = ip("2001:db8::").v6();
      network.bytes[6] = static_cast<std::uint8_t>(known.size() >> 8), network.bytes[7] = static_cast<std::uint8_t>(known.size());
      known.push_back(v4 ? IpAddress{Ipv4Address{0x0a000000 + static_cast<std::uint32_t>(known.size())}} : IpAddress{network});
      const auto earned = credit.earn(known.back());
      EXPECT_EQ(earned.credit, PeerCredit::kPerHandshake);
      displaced = earned.displaced;
    }
    ASSERT_TRUE(displaced);
    EXPECT_EQ(std::ranges::count(known, *displaced), 1);
    EXPECT_EQ(credit.spend(*displaced), 0);
    EXPECT_EQ(credit.spend(known.back()), PeerCredit::kPerHandshake);
    EXPECT_EQ(credit.spend(known.back()), 1);
    EXPECT_FALSE(credit.earn(*displaced).displaced) << "there was nothing left to lose";
  }
}

}  // namespace
}  // namespace iopkt::sim
