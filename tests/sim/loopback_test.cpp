// RFC 1122 section 3.2.1.3 (g), RFC 4291 section 2.5.3: a loopback address is of this host alone.
#include "tests/sim/ipv6_fixture.hpp"
#include "wire/ipv4.hpp"

namespace iopkt::sim {
namespace {

class SimLoopbackSource : public SimIpv6 {};

TEST_P(SimLoopbackSource, NothingFromALoopbackAddressLeaves) {
  Host& a = net.host("10.0.0.1/24", options("2001:db8::1/64"));
  Host& b = net.host("10.0.0.2/24", options("2001:db8::2/64"));
  net.wire({&a, &b}, {});
  std::size_t leaked = 0;
  net.tap = [&](const Host&, Frame& frame) {
    const Bytes ip_bytes = Bytes{frame}.subspan(14);
    const auto v4 = wire::Ipv4View::parse_header(ip_bytes);
    const auto v6 = wire::Ipv6View::parse_header(ip_bytes);
    leaked += (v4 && v4->src().is_loopback()) || (v6 && v6->src().is_loopback());
    return true;
  };
  ASSERT_TRUE(wait_for_link_local({&a, &b}));
  net.run_for(3s);
  for (const char* from : {"127.0.0.1", "127.3.2.1", "::1"}) {
    const IpAddress to = ip(from).is_v4() ? ip("10.0.0.2") : ip("2001:db8::2");
    Host::UdpSocket& udp = a.udp({ip(from), Port{5000}}, GetParam() - 1);
    net.run_for(1ms);
    EXPECT_EQ(a.send(udp, {to, Port{9}}, {}), Errno::inval) << from;
    EXPECT_EQ(a.send(udp, {ip(from), Port{5000}}, {}), Errno::ok) << from;
    net.run_for(10ms);
    EXPECT_EQ(udp.received.size(), 1u) << from;
    Host::Stream& stream = a.stream(GetParam() - 1, to.family());
    EXPECT_EQ(a.shard(GetParam() - 1).bind(stream.id, {ip(from), Port{0}}), Errno::ok);
    a.connect(stream, {to, Port{7}});
    EXPECT_EQ(stream.error, Errno::inval) << from;
    stream.close();
  }
  EXPECT_EQ(a.drops(Drop::ip_loopback_source), 3u);
  EXPECT_EQ(leaked, 0u);
}

INSTANTIATE_TEST_SUITE_P(Shards, SimLoopbackSource, ::testing::Values(1u, 2u));

}  // namespace
}  // namespace iopkt::sim
