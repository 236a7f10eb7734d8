// Whom a router is believed what it says of the MTU of a path, on how many shards the sender may be: RFC 1191, RFC 8201 section 6, RFC 5927
// section 7.
#include "socket/numbers.hpp"
#include "stack/ways.hpp"
#include "tests/sim/discovery_fixture.hpp"
#include "wire/icmp.hpp"
#include "wire/ipv4.hpp"

namespace iopkt::sim {
namespace {

namespace num = socket::num;
using wire::Ipv4Address;

constexpr Ipv4Address kOurs{10, 0, 0, 1}, kGateway{10, 0, 0, 9};

/// Far hosts of both families behind a router that is a script.
class SimPathMtu : public SimDiscovery {
 protected:
  void SetUp() override {
    SimDiscovery::SetUp();
    advertise({.lifetime_s = 1800}, {.source_link = kRouterMac});
    ASSERT_EQ(a.shard(0).set_neighbour({a.interface_index(), kGateway}, kRouterMac, {}), Errno::ok);
    change(a, [](stack::Network& n) {
      EXPECT_EQ(control::add_route(n, {.prefix = wire::IpPrefix::of(ip("0.0.0.0"), 0), .gateway = IpAddress{kGateway}}), Errno::ok);
    });
  }
  static IpAddress far(wire::IpFamily family, std::uint32_t n) {
    if (family == wire::IpFamily::v4) return Ipv4Address{(192u << 24 | 168u << 16) + n};
    Ipv6Address out = ip("2001:db9::").v6();
    out.bytes[14] = static_cast<std::uint8_t>(n >> 8), out.bytes[15] = static_cast<std::uint8_t>(n);
    return out;
  }
  IpAddress ours(wire::IpFamily family) const { return family == wire::IpFamily::v4 ? IpAddress{kOurs} : IpAddress{us}; }
  static std::vector<std::byte> udp_header(std::uint16_t from, std::uint16_t to) {
    std::vector<std::byte> out(8);
    store_be16(out, 0, from), store_be16(out, 2, to), store_be16(out, 4, 1408);
    return out;
  }
  /// A router says of a packet of `from` to `to` that it was too long.
  void too_big(const IpAddress& from, const IpAddress& to, IpProtocol protocol, const std::vector<std::byte>& transport, std::uint32_t mtu) {
    if (to.is_v6()) {
      std::vector<std::byte> m(8 + 40);
      wire::encode(wire::Icmpv6Header::too_big(mtu), m);
      wire::encode(wire::Ipv6Header{.payload_len = 1408, .next_header = protocol, .hop_limit = 60, .src = from.v6(), .dst = to.v6()},
                   MutableBytes{m}.subspan(8));
      m.insert(m.end(), transport.begin(), transport.end());
      return nd("2001:db8::77", us, m, 60);
    }
    std::vector<std::byte> m(8 + 20);
    wire::encode(wire::IcmpHeader::unreachable(wire::IcmpUnreachable::fragmentation_needed, static_cast<std::uint16_t>(mtu)), m);
    wire::encode(wire::Ipv4Header{.df = true, .ttl = 60, .protocol = protocol, .src = from.v4(), .dst = to.v4(), .payload_len = 1408},
                 MutableBytes{m}.subspan(8));
    m.insert(m.end(), transport.begin(), transport.end());
    wire::store_icmp_checksum(m);
    const wire::Ipv4Header h{.ttl = 60, .protocol = IpProtocol::icmp, .src = kGateway, .dst = kOurs, .payload_len = static_cast<std::uint16_t>(m.size())};
    Frame frame(14 + 20);
    wire::store_mac(frame, 0, mac(a));
    wire::store_mac(frame, 6, kRouterMac);
    store_be16(frame, 12, 0x0800);
    wire::encode(h, MutableBytes{frame}.subspan(14));
    frame.insert(frame.end(), m.begin(), m.end());
    a.receive(frame);
    net.run_for(1ms);
  }
  void too_big(const IpAddress& to, std::uint16_t from_port, std::uint32_t mtu) {
    too_big(ours(to.family()), to, IpProtocol::udp, udp_header(from_port, 9), mtu);
  }
  void send(stack::SocketId id, std::uint32_t shard, const IpAddress& to, std::size_t size = 1400) {
    a.shard(shard).begin(net.now());
    EXPECT_EQ(a.shard(shard).send(id, {.destination = Endpoint{to, Port{9}}}, std::vector<std::byte>(size), {}), Errno::ok);
    net.run_for(1ms);
  }
  stack::SocketId open(int type, wire::IpFamily family, std::uint32_t shard, int protocol = 0, std::uint8_t fib = 0) {
    const auto id = a.shard(shard).open({.family = family, .type = type, .protocol = protocol, .fib = fib, .privileged = true});
    EXPECT_TRUE(id);
    return *id;
  }
  /// What all shards know of a path.
  std::uint32_t known(const IpAddress& to, std::uint8_t fib = 0) {
    const std::uint32_t one = stack::known_path_mtu(a.shard(0).state(), to, fib);
    for (std::uint32_t n = 1; n < GetParam(); ++n) EXPECT_EQ(stack::known_path_mtu(a.shard(n).state(), to, fib), one);
    return one;
  }
  const std::uint32_t last = GetParam() - 1;
};

TEST_P(SimPathMtu, ForgedMessagesPushNothingOut) {
  for (const auto family : {wire::IpFamily::v4, wire::IpFamily::v6}) {
    Host::UdpSocket& udp = a.udp({ours(family), Port{5000}}, last);
    net.run_for(1ms);
    send(udp.id, last, far(family, 1));
    too_big(far(family, 1), 5000, 1300);
    ASSERT_EQ(known(far(family, 1)), 1300u);
    const std::uint64_t not_sent = a.drops(Drop::icmp_not_sent), no_flow = a.drops(Drop::icmp_no_flow);
    constexpr std::uint32_t kForged = 1100;
    static_assert(kForged > route::PathMtus::kMost);
    for (std::uint32_t n = 2; n < 2 + kForged; ++n) too_big(far(family, n), 5000, 1300);  // a port of ours
    EXPECT_EQ(a.drops(Drop::icmp_not_sent), not_sent + kForged);
    for (std::uint32_t n = 2; n < 2 + kForged; ++n) too_big(far(family, n), 5001, 1300);  // and of nobody
    EXPECT_EQ(a.drops(Drop::icmp_no_flow), no_flow + kForged);
    EXPECT_EQ(known(far(family, 1)), 1300u);
    for (std::uint32_t n = 0; n < GetParam(); ++n) EXPECT_EQ(a.shard(n).state().path_mtus.size(), family == wire::IpFamily::v4 ? 1u : 2u);
    // From another address than ours, and about what cannot be told apart: a connection and a protocol of nobody.
    too_big(far(family, 1), far(family, 3), IpProtocol::udp, udp_header(5000, 9), 1300);
    too_big(ours(family), far(family, 3), IpProtocol::tcp, udp_header(5000, 9), 1300);
    too_big(ours(family), far(family, 3), static_cast<IpProtocol>(253), udp_header(5000, 9), 1300);
    EXPECT_EQ(a.drops(Drop::icmp_no_flow), no_flow + kForged + 3);
    EXPECT_EQ(known(far(family, 3)), 0u);
  }
}

TEST_P(SimPathMtu, WhicheverSocketOfThePortSentIt) {
  for (const auto family : {wire::IpFamily::v4, wire::IpFamily::v6}) {
    std::vector<stack::SocketId> sockets;
    for (std::uint32_t shard = 0; shard < GetParam(); ++shard) {
      sockets.push_back(open(num::kDgram, family, shard));
      const std::int32_t on = 1;
      ASSERT_EQ(a.shard(shard).set_option(sockets.back(), num::kSolSocket, num::so_reuseport, as_bytes(&on, sizeof on), false), Errno::ok);
      ASSERT_EQ(a.shard(shard).bind(sockets.back(), {ours(family), Port{5000}}, true), Errno::ok);
      net.run_for(1ms);
    }
    for (std::uint32_t shard = 0; shard < GetParam(); ++shard) {
      send(sockets[shard], shard, far(family, shard));
      too_big(far(family, shard), 5000, 1300 + shard);
      EXPECT_EQ(known(far(family, shard)), 1300u + shard);
    }
    const std::uint64_t before = family == wire::IpFamily::v4 ? 0 : 1;
    EXPECT_EQ(a.drops(Drop::icmp_not_sent), before);
    too_big(far(family, 77), 5000, 1300);
    EXPECT_EQ(a.drops(Drop::icmp_not_sent), before + 1) << "counted once, whoever was asked";
  }
}

TEST_P(SimPathMtu, OfTheFibOfTheSender) {
  const stack::SocketId udp = open(num::kDgram, wire::IpFamily::v6, last, 0, 1);
  ASSERT_EQ(a.shard(last).bind(udp, {IpAddress{us}, Port{5000}}, true), Errno::ok);
  net.run_for(1ms);
  const IpAddress to = far(wire::IpFamily::v6, 1);
  send(udp, last, to);
  too_big(to, 5000, 1300);
  EXPECT_EQ(known(to, 1), 1300u);
  EXPECT_EQ(known(to, 0), 0u);
}

TEST_P(SimPathMtu, OfRawSocketsThatSentIt) {
  const struct {
    wire::IpFamily family;
    IpProtocol protocol;
  } kinds[] = {{wire::IpFamily::v4, IpProtocol::icmp}, {wire::IpFamily::v6, IpProtocol::icmpv6}};
  for (const auto& kind : kinds) {
    std::vector<std::byte> echo(8, std::byte{});
    echo[0] = std::byte{static_cast<std::uint8_t>(kind.family == wire::IpFamily::v4 ? 8 : 128)};
    const IpAddress to = far(kind.family, 1), from = ours(kind.family);
    const std::uint64_t not_sent = a.drops(Drop::icmp_not_sent), no_flow = a.drops(Drop::icmp_no_flow);
    too_big(from, to, kind.protocol, echo, 1300);
    EXPECT_EQ(a.drops(Drop::icmp_no_flow), no_flow + 1) << "nobody pings";
    const stack::SocketId raw = open(num::kRaw, kind.family, last, static_cast<int>(kind.protocol));
    net.run_for(1ms);
    too_big(from, to, kind.protocol, echo, 1300);
    EXPECT_EQ(a.drops(Drop::icmp_not_sent), not_sent + 1) << "nor that way";
    EXPECT_EQ(known(to), 0u);
    std::vector<std::byte> long_echo = echo;
    long_echo.resize(1400);
    a.shard(last).begin(net.now());
    EXPECT_EQ(a.shard(last).send(raw, {.destination = Endpoint{to, {}}}, long_echo, {}), Errno::ok);
    net.run_for(1ms);
    too_big(from, to, kind.protocol, echo, 1300);
    EXPECT_EQ(known(to), 1300u);
    EXPECT_EQ(a.drops(Drop::icmp_not_sent), not_sent + 1);
    EXPECT_EQ(a.drops(Drop::icmp_no_flow), no_flow + 1);
  }
}

/// Of an answer to an echo request nobody can say whether it was sent: what is said of it counts for such answers.
TEST_P(SimPathMtu, OfEchoRepliesForThoseAlone) {
  const Ipv6Address to = far(wire::IpFamily::v6, 1).v6();
  const auto ask = [&] {
    sent.clear();
    tell({.next_header = IpProtocol::icmpv6, .src = to}, echo(1400));
    return sent.size();
  };
  EXPECT_EQ(ask(), 1u);
  std::vector<std::byte> reply(8);
  wire::encode(wire::Icmpv6Header::echo(wire::Icmpv6Type::echo_reply, 7, 9), reply);
  too_big(IpAddress{us}, IpAddress{to}, IpProtocol::icmpv6, reply, 1300);
  EXPECT_EQ(ask(), 2u);
  EXPECT_EQ(known(IpAddress{to}), 0u);
  Host::UdpSocket& udp = a.udp({IpAddress{us}, Port{5000}}, last);
  net.run_for(1ms);
  sent.clear();
  send(udp.id, last, IpAddress{to});
  EXPECT_EQ(sent.size(), 1u);
  EXPECT_EQ(a.drops(Drop::icmp_no_flow), 0u);
}

INSTANTIATE_TEST_SUITE_P(Shards, SimPathMtu, ::testing::Values(1u, 2u));

}  // namespace
}  // namespace iopkt::sim
