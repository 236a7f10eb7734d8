// What a route and a socket's options decide of the way of its packets: SO_SETFIB, SO_DONTROUTE, a route's congestion control, and which
// source a datagram to a group has.
#include <cstring>

#include "socket/numbers.hpp"
#include "tests/sim/ipv6_fixture.hpp"

namespace iopkt::sim {
namespace {

namespace num = socket::num;
using wire::IpFamily;

/// a has en0 with b and en1 with c; what is behind them both is on both.
class SimWays : public SimIpv6 {
 protected:
  static constexpr const char* kFar4 = "192.0.2.1";
  static constexpr const char* kFar6 = "2001:db8:f::1";

  void SetUp() override {
    second = a.add_interface("10.2.0.1/24", "2001:db8:2::1/64");
    net.wire_interfaces({{&a, a.interface_index()}, {&b, b.interface_index()}}, {});
    net.wire_interfaces({{&a, second}, {&c, c.interface_index()}}, {});
    for (Host* far : {&b, &c}) {
      change(*far, [&](stack::Network& n) {
        EXPECT_EQ(control::add_address(n, far->interface_index(), {.address = ip(kFar4), .prefix_length = 32, .alias = true}), Errno::ok);
        EXPECT_EQ(control::add_address(n, far->interface_index(), {.address = ip(kFar6), .prefix_length = 128}), Errno::ok);
      });
    }
    net.run_for(5s);
  }
  /// To what is far, over b or c.
  void route(std::uint8_t fib, bool over_b, std::string congestion = {}) {
    change(a, [&](stack::Network& n) {
      for (const bool four : {true, false})
        EXPECT_EQ(control::add_route(n, {.prefix = wire::IpPrefix::of(ip(four ? "192.0.2.0" : "2001:db8:f::"), four ? 24 : 48),
                                         .gateway = ip(four ? (over_b ? "10.1.0.2" : "10.2.0.2") : (over_b ? "2001:db8:1::2" : "2001:db8:2::2")),
                                         .congestion = congestion, .fib = fib}),
                  Errno::ok);
    });
  }
  Errno set(std::uint32_t shard, stack::SocketId id, int level, int name, std::int32_t value) {
    return a.shard(shard).set_option(id, level, name, as_bytes(&value, sizeof value), true);
  }
  std::string congestion(const Host::Stream& s) {
    const auto shown = a.shard(s.shard).get_option(s.id, num::kSolTcp, num::tcp_congestion, 16);
    return shown ? std::string(reinterpret_cast<const char*>(shown->data())) : "none";
  }

  Host& a = net.host("10.1.0.1/24", options("2001:db8:1::1/64"));
  Host& b = net.host("10.1.0.2/24", options("2001:db8:1::2/64"));
  Host& c = net.host("10.2.0.2/24", options("2001:db8:2::2/64"));
  std::uint32_t second = 0;
};
INSTANTIATE_TEST_SUITE_P(Shards, SimWays, testing::Values(1u, 2u));

TEST_P(SimWays, ASocketOfAnotherFibTakesItsRoutes) {
  route(0, true);
  route(1, false);
  for (const char* far : {kFar4, kFar6}) {
    SCOPED_TRACE(far);
    for (const std::uint8_t fib : {std::uint8_t{0}, std::uint8_t{1}}) {
      Host& there = fib == 0 ? b : c;
      Host& elsewhere = fib == 0 ? c : b;
      const std::uint16_t port = static_cast<std::uint16_t>(7000 + fib + (far == kFar4 ? 0 : 10));
      std::size_t wrong = 0;
      Host::Stream* taken = nullptr;
      there.listen(Port{port}, [&](Host::Stream& s) { taken = &s; });
      elsewhere.listen(Port{port}, [&](Host::Stream&) { ++wrong; });
      Host::UdpSocket& heard = there.udp({ip(far), Port{port}});
      Host::Stream& s = a.stream(GetParam() - 1, ip(far).family());
      ASSERT_EQ(set(s.shard, s.id, num::kSolSocket, num::so_setfib, fib), Errno::ok);
      s.to_send = net.random_bytes(20'000);
      s.close_after_send = true;
      a.connect(s, {ip(far), Port{port}});
      ASSERT_TRUE(net.run_until([&] { return taken != nullptr && taken->peer_fin; }, 30s)) << net.trace();
      EXPECT_EQ(taken->received, s.to_send);
      EXPECT_EQ(wrong, 0u);
      Host::UdpSocket& udp = a.udp({far == kFar4 ? ip("0.0.0.0") : ip("::"), Port{static_cast<std::uint16_t>(5000 + port)}});
      ASSERT_EQ(set(udp.shard, udp.id, num::kSolSocket, num::so_setfib, fib), Errno::ok);
      EXPECT_EQ(a.send(udp, {ip(far), Port{port}}, std::vector<std::byte>(10)), Errno::ok);
      EXPECT_TRUE(net.run_until([&] { return heard.received.size() == 1; }, 5s)) << net.trace();
    }
  }
}

TEST_P(SimWays, DontrouteReachesNeighboursAlone) {
  route(0, true);
  for (const bool four : {true, false}) {
    SCOPED_TRACE(four ? "IPv4" : "IPv6");
    const Endpoint far{ip(four ? kFar4 : kFar6), Port{7}}, near{ip(four ? "10.1.0.2" : "2001:db8:1::2"), Port{7}};
    Host::UdpSocket& udp = a.udp({ip(four ? "0.0.0.0" : "::"), Port{5000}});
    const auto send = [&](const Endpoint& to) { return a.send(udp, to, std::vector<std::byte>(10)); };
    const auto connect = [&](const Endpoint& to) {
      const Host::Stream& s = a.stream(0, to.address.family());
      EXPECT_EQ(set(s.shard, s.id, num::kSolSocket, num::so_dontroute, 1), Errno::ok);
      return a.shard(s.shard).connect(s.id, to);
    };
    EXPECT_EQ(send(far), Errno::ok);
    ASSERT_EQ(set(udp.shard, udp.id, num::kSolSocket, num::so_dontroute, 1), Errno::ok);
    EXPECT_EQ(send(far), Errno::netunreach);
    EXPECT_EQ(send(near), Errno::ok);
    EXPECT_EQ(connect(far), Errno::netunreach);
    EXPECT_NE(connect(near), Errno::netunreach);
    ASSERT_EQ(set(udp.shard, udp.id, num::kSolSocket, num::so_dontroute, 0), Errno::ok);
    EXPECT_EQ(send(far), Errno::ok);
    a.shard(udp.shard).close(udp.id);
    net.run_for(1s);
  }
}

TEST_P(SimWays, ARouteNamesTheCongestionControlOfItsConnections) {
  route(0, true, "reno");
  route(1, false, "bbr");
  for (Host* far : {&b, &c}) far->listen(Port{7}, [](Host::Stream&) {});
  const struct {
    std::uint8_t fib;
    const char *to, *option, *used;
  } rows[] = {{0, kFar4, "", "reno"},         {0, kFar6, "", "reno"},           {1, kFar4, "", "bbr"},
              {1, kFar6, "", "bbr"},          {0, "10.1.0.2", "", "cubic"},     {0, "2001:db8:1::2", "", "cubic"},
              {0, kFar4, "cubic", "cubic"},   {0, "10.1.0.2", "reno", "reno"}};
  for (const auto& row : rows) {
    SCOPED_TRACE(std::string(row.to) + " in FIB " + std::to_string(row.fib) + " " + row.option);
    Host::Stream& s = a.stream(GetParam() - 1, ip(row.to).family());
    ASSERT_EQ(set(s.shard, s.id, num::kSolSocket, num::so_setfib, row.fib), Errno::ok);
    if (*row.option != 0) {
      const Bytes name = as_bytes(row.option, std::strlen(row.option));
      ASSERT_EQ(a.shard(s.shard).set_option(s.id, num::kSolTcp, num::tcp_congestion, name, true), Errno::ok);
    }
    a.connect(s, {ip(row.to), Port{7}});
    ASSERT_TRUE(net.run_until([&] { return s.connected; }, 10s)) << net.trace();
    EXPECT_EQ(congestion(s), row.used);
  }
  // Who is connected to, too.
  a.listen(Port{8}, [](Host::Stream&) {});
  Host::Stream& from_far = b.stream(0, IpFamily::v4);
  ASSERT_EQ(b.shard(0).bind(from_far.id, {ip(kFar4), Port{4000}}), Errno::ok);
  a.accept_at_once = false;
  b.connect(from_far, {ip("10.1.0.1"), Port{8}});
  ASSERT_TRUE(net.run_until([&] { return !a.waiting().empty(); }, 10s)) << net.trace();
  const auto& [shard, event] = a.waiting().front();
  const auto shown = a.shard(shard).get_option(event.child, num::kSolTcp, num::tcp_congestion, 16);
  ASSERT_TRUE(shown.has_value());
  EXPECT_STREQ(reinterpret_cast<const char*>(shown->data()), "reno");
}

/// RFC 6724 section 4: nobody on en0 could answer to an address of en1.
TEST_P(SimWays, ADatagramToAGroupCarriesAnAddressOfItsInterface) {
  change(a, [&](stack::Network& n) { EXPECT_EQ(control::remove_address(n, a.interface_index(), ip("2001:db8:1::1")), Errno::ok); });
  std::vector<IpAddress> sources;
  net.tap = [&](const Host& from, Frame& frame) {
    const auto v = wire::Ipv6View::parse(Bytes{frame}.subspan(14));
    if (&from == &a && load_be16(frame, 12) == 0x86dd && v && v->next_header() == wire::IpProtocol::udp) sources.push_back(v->header().src);
    return true;
  };
  Host::UdpSocket& udp = a.udp({Ipv6Address::any(), Port{5000}});
  for (const char* group : {"ff02::1", "ff05::1", "ff0e::1"})
    for (const std::uint32_t out : {a.interface_index(), second}) {
      ASSERT_EQ(set(udp.shard, udp.id, num::kSolIpv6, num::ipv6_multicast_if, static_cast<std::int32_t>(out)), Errno::ok);
      sources.clear();
      ASSERT_EQ(a.send(udp, {ip(group), Port{9}}, std::vector<std::byte>(10)), Errno::ok);
      net.run_for(1s);
      ASSERT_EQ(sources.size(), 1u) << group;
      if (out == a.interface_index()) {
        EXPECT_EQ(sources[0].with_zone(0), a.link_local().with_zone(0)) << group;
      } else if (std::string_view(group) != "ff02::1") {
        EXPECT_EQ(sources[0], ip("2001:db8:2::1")) << group;
      }
    }
}

}  // namespace
}  // namespace iopkt::sim
