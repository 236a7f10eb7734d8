// Sockets of AF_INET6 as requests make them: both families at one socket, or one alone; RFC 3493 sections 3.7 and 5.3.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "socket/numbers.hpp"
#include "stack/state.hpp"
#include "tests/support/sim_net.hpp"

namespace iopkt::sim {
namespace {

namespace num = socket::num;
using socket::Errno;
using wire::Endpoint;
using wire::IpAddress;
using wire::IpFamily;
using wire::Port;

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

/// One stack; everything loops.
class DualStack : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  stack::Shard& shard() { return host.shard(0); }
  stack::SocketId open(IpFamily family, int type = num::kDgram, int protocol = 0) {
    const auto id = shard().open({.family = family, .type = type, .protocol = protocol, .privileged = true});
    EXPECT_TRUE(id.has_value());
    return id.value_or(stack::SocketId{});
  }
  Errno set(stack::SocketId id, int level, int name, std::int32_t value) {
    return shard().set_option(id, level, name, as_bytes(&value, sizeof value), true);
  }
  Errno send(stack::SocketId id, const char* to, std::uint16_t port, stack::DatagramRequest request = {}) {
    request.destination = Endpoint{ip(to), Port{port}};
    const std::byte one{1};
    return shard().send(id, request, {&one, 1}, {});
  }
  bool conflicts(stack::SocketId first, const char* a, stack::SocketId second, const char* b) {
    EXPECT_EQ(shard().bind(first, {ip(a), Port{7000}}, true), Errno::ok);
    const bool taken = shard().bind(second, {ip(b), Port{7000}}, true) == Errno::addrinuse;
    shard().close(first);
    shard().close(second);
    net.run_for(1ms);
    return taken;
  }

  SimNet net{11};
  Host& host = net.host("10.0.0.1/24", {.shards = GetParam(), .ipv6 = true});
  Host& other = net.host("10.0.0.2/24", {.shards = GetParam(), .ipv6 = true});
  void SetUp() override {
    net.wire({&host, &other}, {});
    net.run_for(1ms);
  }
};
INSTANTIATE_TEST_SUITE_P(Shards, DualStack, testing::Values(1u, 2u));

TEST_P(DualStack, AStackWithoutIpv6HasNoSuchSockets) {
  SimNet alone{1};
  Host& old = alone.host("10.0.0.1/24");
  EXPECT_EQ(old.shard(0).open({.family = IpFamily::v6, .type = num::kDgram}).error(), Errno::afnosupport);
}

TEST_P(DualStack, AFreshSocketHasTheWildcardOfItsFamily) {
  EXPECT_EQ(shard().local_endpoint(open(IpFamily::v6)).address, IpAddress{wire::Ipv6Address::any()});
  EXPECT_EQ(shard().local_endpoint(open(IpFamily::v4)).address, IpAddress{wire::Ipv4Address::any()});
}

TEST_P(DualStack, WhatOneFamilyHasNotIsRefused) {
  const auto only = open(IpFamily::v6);
  EXPECT_EQ(set(only, num::kSolIpv6, num::ipv6_v6only, 1), Errno::ok);
  EXPECT_EQ(shard().bind(only, {ip("127.0.0.1"), Port{7001}}, true), Errno::inval);
  EXPECT_EQ(send(only, "127.0.0.1", 9), Errno::netunreach);
  EXPECT_EQ(shard().connect(only, {ip("127.0.0.1"), Port{9}}), Errno::netunreach);
  const auto four = open(IpFamily::v4);
  EXPECT_EQ(shard().bind(four, {ip("::1"), Port{7001}}, true), Errno::inval);
  EXPECT_EQ(send(four, "::1", 9), Errno::netunreach);
  EXPECT_EQ(shard().connect(open(IpFamily::v4, num::kStream), {ip("::1"), Port{9}}), Errno::netunreach);
  EXPECT_EQ(shard().bind(open(IpFamily::v6, num::kRaw, 58), {ip("127.0.0.1"), {}}, true), Errno::addrnotavail);
  EXPECT_EQ(set(four, num::kSolIpv6, num::ipv6_v6only, 1), Errno::noprotoopt);
}

TEST_P(DualStack, V6OnlyIsForSocketsWithoutAPort) {
  const auto bound = open(IpFamily::v6);
  EXPECT_EQ(shard().bind(bound, {ip("::"), Port{7001}}, true), Errno::ok);
  EXPECT_EQ(set(bound, num::kSolIpv6, num::ipv6_v6only, 1), Errno::inval);
  EXPECT_EQ(set(open(IpFamily::v6, num::kRaw, 58), num::kSolIpv6, num::ipv6_v6only, 1), Errno::inval);
}

TEST_P(DualStack, APortForBothFamiliesIsTakenInBoth) {
  EXPECT_TRUE(conflicts(open(IpFamily::v6), "::", open(IpFamily::v4), "0.0.0.0"));
  EXPECT_TRUE(conflicts(open(IpFamily::v4), "127.0.0.1", open(IpFamily::v6), "::"));
  const auto only = open(IpFamily::v6);
  EXPECT_EQ(set(only, num::kSolIpv6, num::ipv6_v6only, 1), Errno::ok);
  EXPECT_FALSE(conflicts(only, "::", open(IpFamily::v4), "0.0.0.0"));
  EXPECT_FALSE(conflicts(open(IpFamily::v6), "::1", open(IpFamily::v4), "0.0.0.0"));
}

TEST_P(DualStack, APortOfIpv4AloneIsNoneOfIpv6) {
  const auto owner = open(IpFamily::v6);
  EXPECT_EQ(set(owner, num::kSolIpv6, num::ipv6_v6only, 1), Errno::ok);
  ASSERT_EQ(shard().bind(owner, {ip("::"), Port{7020}}, true), Errno::ok);
  for (const char* own : {"0.0.0.0", "10.0.0.1"}) {
    SCOPED_TRACE(own);
    const auto four = open(IpFamily::v6), stream = open(IpFamily::v6, num::kStream);
    ASSERT_EQ(shard().bind(four, {ip(own), Port{7020}}, true), Errno::ok);
    ASSERT_EQ(shard().bind(stream, {ip(own), Port{7020}}, true), Errno::ok);
    EXPECT_EQ(send(four, "::1", 9), Errno::afnosupport) << "from the owner's port";
    EXPECT_EQ(shard().check_destination(four, {ip("::1"), Port{9}}, 1, true, 0), Errno::afnosupport);
    EXPECT_EQ(shard().connect(four, {ip("::1"), Port{9}}), Errno::afnosupport) << "for the owner's datagrams";
    EXPECT_EQ(shard().connect(stream, {ip("::1"), Port{9}}), Errno::afnosupport);
    EXPECT_EQ(shard().local_endpoint(four), (Endpoint{ip(own), Port{7020}}));
    EXPECT_EQ(send(four, "10.0.0.1", 9), Errno::ok);
    EXPECT_EQ(shard().connect(four, {ip("10.0.0.1"), Port{9}}), Errno::ok);
    EXPECT_EQ(shard().disconnect(four), Errno::ok);
    EXPECT_EQ(shard().connect(four, {ip("::1"), Port{9}}), Errno::afnosupport) << "and stays of its family";
    shard().close(four);
    shard().close(stream);
    net.run_for(1ms);
  }
}

TEST_P(DualStack, DatagramsOfBothFamiliesReachOneSocket) {
  Host::UdpSocket& both = host.udp({ip("::"), Port{7002}});
  const auto from = open(IpFamily::v6);
  ASSERT_EQ(shard().bind(from, {ip("::"), Port{7003}}, true), Errno::ok);
  EXPECT_EQ(send(from, "::1", 7002), Errno::ok);
  EXPECT_EQ(send(from, "127.0.0.1", 7002), Errno::ok);
  EXPECT_EQ(send(from, "::", 7002), Errno::ok) << "to this host";
  ASSERT_TRUE(net.run_until([&] { return both.received.size() == 3; }, 1s)) << net.trace();
  std::vector<IpAddress> sources;
  for (const auto& [source, bytes] : both.received) sources.push_back(source.address);
  EXPECT_EQ(std::ranges::count(sources, ip("::1")), 2);
  EXPECT_EQ(std::ranges::count(sources, ip("127.0.0.1")), 1);
}

TEST_P(DualStack, AnInterfaceOrSourceThatCannotBe) {
  const auto from = open(IpFamily::v6);
  EXPECT_EQ(send(from, "::1", 9, {.interface_index = 0xffffffff}), Errno::nodev);
  EXPECT_EQ(send(from, "::1", 9, {.source = ip("10.0.0.1")}), Errno::inval) << "of the other family";
  EXPECT_EQ(send(from, "::1", 9, {.source = ip("2001:db8::77")}), Errno::inval) << "another's";
  EXPECT_EQ(send(from, "fe80::1", 9), Errno::inval) << "on which link?";
}

TEST_P(DualStack, GroupsGoByAnInterfaceThatThereIs) {
  const auto from = open(IpFamily::v6);
  ASSERT_TRUE(net.run_until([&] { return !host.link_local().is_unspecified(); }, 10s)) << "a source on the link";
  EXPECT_EQ(set(from, num::kSolIpv6, num::ipv6_multicast_if, 4711), Errno::nodev);
  EXPECT_EQ(send(from, "ff02::1", 9), Errno::inval);
  EXPECT_EQ(set(from, num::kSolIpv6, num::ipv6_multicast_if, 2), Errno::ok);
  EXPECT_EQ(send(from, "ff02::1", 9), Errno::ok);
}

TEST_P(DualStack, RawSocketsOfIpv6GetNoHeaderAndWriteAChecksum) {
  const auto raw = open(IpFamily::v6, num::kRaw, 200);
  EXPECT_EQ(set(raw, num::kSolIpv6, num::ipv6_checksum, 2), Errno::ok);
  stack::DatagramRequest request{.destination = Endpoint{ip("::1"), {}}};
  const std::array<std::byte, 6> payload{std::byte{1}, std::byte{2}, std::byte{0xee}, std::byte{0xee}, std::byte{5}, std::byte{6}};
  EXPECT_EQ(shard().send(raw, request, Bytes{payload}.first(3), {}), Errno::inval) << "no room for the checksum";
  EXPECT_EQ(set(raw, num::kSolIpv6, num::ipv6_checksum, 1), Errno::inval);
  EXPECT_EQ(shard().open({.family = IpFamily::v6, .type = num::kDgram, .protocol = 58, .privileged = true}).error(), Errno::acces);
  const auto icmp = open(IpFamily::v6, num::kRaw, 58);
  EXPECT_EQ(set(icmp, num::kSolIpv6, num::ipv6_checksum, 4), Errno::inval) << "always at 2";
  EXPECT_EQ(shard().send(raw, request, payload, {}), Errno::ok);
  net.run_for(1ms);
}

}  // namespace
}  // namespace iopkt::sim
