// Multicast on whole stacks: who hears what, and what routers are told.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "control/interfaces.hpp"
#include "socket/numbers.hpp"
#include "tests/support/sim_net.hpp"
#include "wire/checksum.hpp"
#include "wire/igmp.hpp"
#include "wire/ipv4.hpp"

namespace iopkt::sim {
namespace {

using socket::Errno;
using wire::Endpoint;
using wire::Ipv4Address;
using wire::Port;
namespace num = socket::num;

constexpr Ipv4Address kA{10, 0, 0, 1}, kB{10, 0, 0, 2}, kC{10, 0, 0, 3};
constexpr Ipv4Address kGroup{239, 1, 1, 1};

/// struct ip_mreq, or ip_mreq_source with a third address.
std::vector<std::byte> request(std::initializer_list<Ipv4Address> addresses) {
  std::vector<std::byte> out(addresses.size() * 4);
  std::size_t at = 0;
  for (const Ipv4Address one : addresses) wire::store_ipv4(out, at, one), at += 4;
  return out;
}

Errno set(Host& host, const Host::UdpSocket& socket, int name, const std::vector<std::byte>& value) {
  return host.shard(socket.shard).set_option(socket.id, num::kSolIp, name, value, false);
}
Errno set(Host& host, const Host::UdpSocket& socket, int name, std::int32_t value) {
  return host.shard(socket.shard).set_option(socket.id, num::kSolIp, name, as_bytes(&value, sizeof value), false);
}

/// IGMP messages on the wire, as a router would see them.
struct Heard {
  Ipv4Address from, to;
  std::vector<std::byte> message;
  std::uint8_t ttl;
  std::size_t options;
};

struct Rig {
  explicit Rig(std::uint32_t shards = 1) : net(5), a(net.host("10.0.0.1/24", {.shards = shards})), b(net.host("10.0.0.2/24", {.shards = shards})) {
    net.wire({&a, &b}, {});
    net.tap = [this](const Host&, Frame& frame) {
      const auto ip = wire::Ipv4View::parse(Bytes{frame}.subspan(14));
      if (ip && ip->protocol() == wire::IpProtocol::igmp)
        igmp.push_back({ip->src(), ip->dst(), {ip->payload().begin(), ip->payload().end()}, ip->ttl(), ip->options().size()});
      return true;
    };
  }
  /// A query from a router that is no host of the net.
  void query(const std::vector<std::byte>& message, Ipv4Address to = wire::kAllSystems) {
    const wire::Ipv4Header ip{.ttl = 1, .protocol = wire::IpProtocol::igmp, .src = {10, 0, 0, 254}, .dst = to,
                              .payload_len = static_cast<std::uint16_t>(message.size())};
    Frame frame(14 + wire::encoded_len(ip));
    wire::store_mac(frame, 0, {{1, 0, 0x5e, 0, 0, 1}});
    wire::store_mac(frame, 6, {{2, 0, 0, 0, 0, 0xfe}});
    store_be16(frame, 12, 0x0800);
    wire::encode(ip, MutableBytes{frame}.subspan(14));
    frame.insert(frame.end(), message.begin(), message.end());
    a.receive(frame);
    net.run_for(1ms);
  }
  SimNet net;
  Host &a, &b;
  std::vector<Heard> igmp;
};

std::vector<std::byte> with_checksum(std::vector<std::byte> message) {
  store_be16(message, 2, 0);
  store_be16(message, 2, wire::finish(wire::sum(message, 0)));
  return message;
}

TEST(SimGroups, AGroupIsHeardByThoseWhoJoined) {
  for (const std::uint32_t shards : {1u, 2u}) {
    SCOPED_TRACE(shards);
    Rig r{shards};
    Host::UdpSocket& joined = r.a.udp({Ipv4Address{}, Port{5000}}, shards - 1);
    Host::UdpSocket& sender = r.b.udp({Ipv4Address{}, Port{4000}});
    EXPECT_EQ(set(r.b, sender, num::ip_multicast_if, request({kB})), Errno::ok);
    EXPECT_EQ(r.b.send(sender, {kGroup, Port{5000}}, r.net.random_bytes(10)), Errno::ok);
    r.net.run_for(1s);
    EXPECT_TRUE(joined.received.empty());
    EXPECT_GT(r.a.drops(packet::Drop::ip_not_for_us), 0u);
    EXPECT_EQ(set(r.a, joined, num::ip_add_membership, request({kGroup, kA})), Errno::ok);
    EXPECT_EQ(set(r.a, joined, num::ip_add_membership, request({kGroup, kA})), Errno::addrinuse);
    r.net.run_for(5s);
    r.b.send(sender, {kGroup, Port{5000}}, r.net.random_bytes(10));
    r.net.run_for(1s);
    EXPECT_EQ(joined.received.size(), 1u);
    EXPECT_EQ(set(r.a, joined, num::ip_drop_membership, request({kGroup, kA})), Errno::ok);
    EXPECT_EQ(set(r.a, joined, num::ip_drop_membership, request({kGroup, kA})), Errno::addrnotavail);
    r.b.send(sender, {kGroup, Port{5000}}, r.net.random_bytes(10));
    r.net.run_for(1s);
    EXPECT_EQ(joined.received.size(), 1u);
    ASSERT_EQ(r.igmp.size(), 4u) << "each change is told twice";
    EXPECT_EQ(r.igmp[0].to, wire::kIgmpRouters);
    EXPECT_EQ(r.igmp[0].from, kA);
    EXPECT_EQ(r.igmp[0].ttl, 1);
    EXPECT_EQ(r.igmp[0].options, 4u) << "router alert";
    EXPECT_EQ(r.a.packets_held(), 0u);
  }
}

TEST(SimGroups, SourcesAreFilteredPerSocket) {
  Rig r;
  Host::UdpSocket& only = r.a.udp({Ipv4Address{}, Port{5000}});
  Host::UdpSocket& all = r.a.udp({Ipv4Address{}, Port{5001}});
  Host::UdpSocket& none = r.a.udp({Ipv4Address{}, Port{5002}});
  EXPECT_EQ(set(r.a, only, num::ip_add_source_membership, request({kGroup, kA, kC})), Errno::ok);
  EXPECT_EQ(set(r.a, none, num::ip_multicast_all, 0), Errno::ok);
  Host::UdpSocket& sender = r.b.udp({Ipv4Address{}, Port{4000}});
  set(r.b, sender, num::ip_multicast_if, request({kB}));
  const auto send = [&] {
    for (const std::uint16_t port : std::array<std::uint16_t, 3>{5000, 5001, 5002}) r.b.send(sender, {kGroup, Port{port}}, r.net.random_bytes(10));
    r.net.run_for(1s);
  };
  send();
  EXPECT_TRUE(only.received.empty()) << "the interface listens to another source";
  EXPECT_TRUE(all.received.empty());
  EXPECT_EQ(set(r.a, only, num::ip_add_source_membership, request({kGroup, kA, kB})), Errno::ok);
  send();
  EXPECT_EQ(only.received.size(), 1u);
  EXPECT_EQ(all.received.size(), 1u) << "IP_MULTICAST_ALL: what others have joined";
  EXPECT_TRUE(none.received.empty());
  EXPECT_EQ(set(r.a, all, num::ip_add_membership, request({kGroup, kA})), Errno::ok);
  EXPECT_EQ(set(r.a, all, num::ip_block_source, request({kGroup, kA, kB})), Errno::ok);
  EXPECT_EQ(set(r.a, all, num::ip_block_source, request({kGroup, kA, kB})), Errno::addrnotavail);
  send();
  EXPECT_EQ(only.received.size(), 2u);
  EXPECT_EQ(all.received.size(), 1u);
  EXPECT_EQ(set(r.a, all, num::ip_unblock_source, request({kGroup, kA, kB})), Errno::ok);
  send();
  EXPECT_EQ(all.received.size(), 2u);
  EXPECT_EQ(set(r.a, only, num::ip_drop_source_membership, request({kGroup, kA, kC})), Errno::ok);
  EXPECT_EQ(set(r.a, only, num::ip_drop_source_membership, request({kGroup, kA, kB})), Errno::ok);
  EXPECT_EQ(set(r.a, only, num::ip_drop_membership, request({kGroup, kA})), Errno::addrnotavail) << "the last source was the membership";
}

/// struct ip_mreqn.
std::vector<std::byte> by_index(Ipv4Address address, std::uint32_t index) {
  std::vector<std::byte> out = request({{}, address});
  out.resize(12);
  std::memcpy(out.data() + 8, &index, sizeof index);
  return out;
}

TEST(SimGroups, NobodyElseIsTheSource) {
  Rig r;
  Host::UdpSocket& heard = r.b.udp({Ipv4Address{}, Port{5000}});
  EXPECT_EQ(set(r.b, heard, num::ip_add_membership, request({kGroup, kB})), Errno::ok);
  Host::UdpSocket& sender = r.a.udp({Ipv4Address{}, Port{4000}});
  const std::uint32_t en0 = r.a.interface_index();
  const auto send = [&] {
    const Errno sent = r.a.send(sender, {kGroup, Port{5000}}, r.net.random_bytes(10));
    r.net.run_for(10ms);
    return sent;
  };
  EXPECT_EQ(set(r.a, sender, num::ip_multicast_if, by_index(kC, 4711)), Errno::addrnotavail);
  EXPECT_EQ(set(r.a, sender, num::ip_multicast_if, by_index(kC, en0)), Errno::ok) << "the host looks when it sends";
  EXPECT_EQ(send(), Errno::netunreach);
  EXPECT_EQ(set(r.a, sender, num::ip_multicast_if, by_index({}, en0)), Errno::ok);
  EXPECT_EQ(send(), Errno::ok);
  EXPECT_EQ(set(r.a, sender, num::ip_multicast_if, by_index(kA, en0)), Errno::ok);
  EXPECT_EQ(send(), Errno::ok);
  ASSERT_EQ(heard.received.size(), 2u);
  for (const auto& [source, bytes] : heard.received) EXPECT_EQ(source.address, kA);
  stack::Network next = *r.a.stack().network();
  ASSERT_EQ(control::remove_address(next, en0, kA), Errno::ok);
  r.a.stack().publish(std::move(next));
  r.net.run_for(1ms);
  EXPECT_EQ(send(), Errno::netunreach) << "ours no longer";
  EXPECT_EQ(heard.received.size(), 2u);
}

TEST(SimGroups, WhatIsSentIsHeardHere) {
  for (const std::uint32_t shards : {1u, 2u}) {
    Rig r{shards};
    Host::UdpSocket& joined = r.a.udp({Ipv4Address{}, Port{5000}}, shards - 1);
    Host::UdpSocket& sender = r.a.udp({Ipv4Address{}, Port{4000}});
    EXPECT_EQ(set(r.a, joined, num::ip_add_membership, request({kGroup, kA})), Errno::ok);
    set(r.a, sender, num::ip_multicast_if, request({kA}));
    std::size_t frames = 0;
    r.net.tap = [&](const Host&, Frame& frame) { return frames += frame[23] == std::byte{17}, true; };
    r.net.run_for(1s);
    r.a.send(sender, {kGroup, Port{5000}}, r.net.random_bytes(10));
    r.net.run_for(1s);
    EXPECT_EQ(joined.received.size(), 1u);
    EXPECT_EQ(frames, 1u);
    set(r.a, sender, num::ip_multicast_ttl, 0);
    r.a.send(sender, {kGroup, Port{5000}}, r.net.random_bytes(10));
    r.net.run_for(1s);
    EXPECT_EQ(joined.received.size(), 2u);
    EXPECT_EQ(frames, 1u) << "a TTL of 0 stays here";
    set(r.a, sender, num::ip_multicast_ttl, 1);
    set(r.a, sender, num::ip_multicast_loop, 0);
    r.a.send(sender, {kGroup, Port{5000}}, r.net.random_bytes(10));
    r.net.run_for(1s);
    EXPECT_EQ(joined.received.size(), 2u);
    EXPECT_EQ(frames, 2u);
    // A broadcast is always heard by the host that sends it.
    const std::int32_t on = 1;
    r.a.shard(0).set_option(sender.id, num::kSolSocket, num::so_broadcast, as_bytes(&on, sizeof on), false);
    r.a.send(sender, {Ipv4Address{10, 0, 0, 255}, Port{5000}}, r.net.random_bytes(10));
    r.net.run_for(1s);
    EXPECT_EQ(joined.received.size(), 3u);
    EXPECT_EQ(frames, 3u);
    EXPECT_EQ(r.a.packets_held(), 0u);
  }
}

TEST(SimGroups, QueriesAreAnsweredInTheQueriersVersion) {
  Rig r;
  Host::UdpSocket& joined = r.a.udp({Ipv4Address{}, Port{5000}});
  set(r.a, joined, num::ip_add_membership, request({kGroup, kA}));
  r.net.run_for(5s);
  r.igmp.clear();
  std::vector<std::byte> general(12);
  general[0] = std::byte{0x11}, general[1] = std::byte{20}, general[8] = std::byte{2}, general[9] = std::byte{125};
  r.query(with_checksum(general));
  r.net.run_for(3s);
  ASSERT_EQ(r.igmp.size(), 1u);
  const auto report = wire::IgmpView::parse(r.igmp[0].message);
  ASSERT_TRUE(report);
  EXPECT_TRUE(report->checksum_ok());
  const auto record = wire::IgmpRecordView::parse(report->records());
  EXPECT_EQ(record->type(), wire::GroupRecordType::is_exclude);
  EXPECT_EQ(record->group(), kGroup);
  r.igmp.clear();
  std::vector<std::byte> v2(8);
  wire::encode_igmp(wire::IgmpType::query, 20, {}, v2);
  r.query(v2);
  r.net.run_for(3s);
  ASSERT_EQ(r.igmp.size(), 1u);
  EXPECT_EQ(wire::IgmpView::parse(r.igmp[0].message)->type(), wire::IgmpType::report_v2);
  EXPECT_EQ(r.igmp[0].to, kGroup);
  r.igmp.clear();
  r.a.shard(0).close(joined.id);
  r.net.run_for(3s);
  ASSERT_EQ(r.igmp.size(), 1u) << "who goes leaves";
  EXPECT_EQ(wire::IgmpView::parse(r.igmp[0].message)->type(), wire::IgmpType::leave);
  EXPECT_EQ(r.igmp[0].to, wire::kAllRouters);
}

TEST(SimGroups, BadIgmpIsCounted) {
  Rig r;
  r.query({std::byte{0x11}});
  EXPECT_EQ(r.a.drops(packet::Drop::igmp_truncated), 1u);
  std::vector<std::byte> v2(8);
  wire::encode_igmp(wire::IgmpType::query, 20, {}, v2);
  v2[7] = std::byte{1};
  r.query(v2);
  EXPECT_EQ(r.a.drops(packet::Drop::igmp_bad_checksum), 1u);
  r.query(with_checksum({std::byte{0x13}, {}, {}, {}, {}, {}, {}, {}}));
  EXPECT_EQ(r.a.drops(packet::Drop::igmp_ignored), 1u);
  std::vector<std::byte> odd(10);
  odd[0] = std::byte{0x11};
  r.query(with_checksum(odd));
  EXPECT_EQ(r.a.drops(packet::Drop::igmp_ignored), 2u);
}

TEST(SimGroups, ADeviceIsToldWhatToLetThrough) {
  Rig r;
  r.a.shard(0).take_filter_changes();
  Host::UdpSocket& joined = r.a.udp({Ipv4Address{}, Port{5000}});
  set(r.a, joined, num::ip_add_membership, request({kGroup, kA}));
  const std::uint32_t index = r.a.stack().network()->interfaces.by_name("en0")->index;
  EXPECT_EQ(r.a.shard(0).take_filter_changes(), (std::vector<std::uint32_t>{index}));
  EXPECT_EQ(r.a.shard(0).multicast_filter(index),
            (std::vector<wire::MacAddress>{{{1, 0, 0x5e, 0, 0, 1}}, {{1, 0, 0x5e, 1, 1, 1}}}));
  for (int i = 0; i < 10; ++i) {
    set(r.a, joined, num::ip_drop_membership, request({kGroup, kA}));
    set(r.a, joined, num::ip_add_membership, request({kGroup, kA}));
  }
  EXPECT_EQ(r.a.shard(0).take_filter_changes(), (std::vector<std::uint32_t>{index})) << "once, however often it changed";
  set(r.a, joined, num::ip_drop_membership, request({kGroup, kA}));
  EXPECT_EQ(r.a.shard(0).multicast_filter(index).size(), 1u);
}

TEST(SimGroups, ADeviceLetsThroughWhatIpv6Needs) {
  SimNet net(1);
  Host& host = net.host("10.0.0.1/24", {.ipv6 = true});
  net.wire({&host, &net.host("10.0.0.2/24")}, {});
  net.run_for(5s);
  const std::uint32_t index = host.stack().network()->interfaces.by_name("en0")->index;
  EXPECT_FALSE(host.shard(0).take_filter_changes().empty()) << "the link-local address came later than the interface";
  const auto macs = host.shard(0).multicast_filter(index);
  EXPECT_TRUE(std::ranges::count(macs, wire::MacAddress{{0x33, 0x33, 0, 0, 0, 1}}));
  EXPECT_TRUE(std::ranges::any_of(macs, [](const wire::MacAddress& m) { return m.bytes[0] == 0x33 && m.bytes[2] == 0xff; }))
      << "solicitations for its address";
}

TEST(SimGroups, AChangeThatFailsChangesNothing) {
  Rig r;
  Host::UdpSocket& joined = r.a.udp({Ipv4Address{}, Port{5000}});
  ASSERT_EQ(set(r.a, joined, num::ip_add_membership, request({kGroup, kA})), Errno::ok);
  EXPECT_EQ(set(r.a, joined, num::ip_drop_source_membership, request({kGroup, kA, kB})), Errno::addrnotavail);
  std::vector<std::byte> asked = request({kGroup, kA, {}, {}});  // struct ip_msfilter
  const auto filter = r.a.shard(joined.shard).get_option(joined.id, num::kSolIp, num::ip_msfilter, asked.size(), asked);
  ASSERT_TRUE(filter);
  EXPECT_EQ((*filter)[8], 0) << "MCAST_EXCLUDE, as before";
  Host::UdpSocket& sender = r.b.udp({Ipv4Address{}, Port{4000}});
  set(r.b, sender, num::ip_multicast_if, request({kB}));
  r.b.send(sender, {kGroup, Port{5000}}, r.net.random_bytes(10));
  r.net.run_for(1s);
  EXPECT_EQ(joined.received.size(), 1u);
}

TEST(SimGroups, WhatIsAskedForIsBounded) {
  Rig r;
  Host::UdpSocket& joined = r.a.udp({Ipv4Address{}, Port{5000}});
  EXPECT_EQ(set(r.a, joined, num::ip_add_membership, request({kA, kA})), Errno::inval);
  EXPECT_EQ(set(r.a, joined, num::ip_add_membership, request({kGroup, {10, 9, 9, 9}})), Errno::nodev);
  EXPECT_EQ(set(r.a, joined, num::ip_block_source, request({kGroup, kA, kB})), Errno::inval) << "not joined";
  for (std::uint8_t i = 1; i <= 20; ++i) EXPECT_EQ(set(r.a, joined, num::ip_add_membership, request({{239, 2, 2, i}, kA})), Errno::ok);
  EXPECT_EQ(set(r.a, joined, num::ip_add_membership, request({{239, 2, 2, 21}, kA})), Errno::nobufs);
  for (std::uint8_t i = 1; i <= 10; ++i)
    EXPECT_EQ(set(r.a, joined, num::ip_block_source, request({{239, 2, 2, 1}, kA, {10, 1, 1, i}})), Errno::ok);
  EXPECT_EQ(set(r.a, joined, num::ip_block_source, request({{239, 2, 2, 1}, kA, {10, 1, 1, 11}})), Errno::nobufs);
}

/// As a DHCP client does.
TEST(SimGroups, WhoHasNoAddressYetSaysSoToAll) {
  Rig r;
  stack::Network bare = *r.a.stack().network();
  iface::Interface en0 = *bare.interfaces.by_name("en0");
  const std::uint32_t index = en0.index;
  en0.addresses.clear();
  bare.interfaces = bare.interfaces.with(en0);
  r.a.stack().publish(std::move(bare));
  r.net.run_for(1ms);
  Host::UdpSocket& client = r.a.udp({Ipv4Address{}, Port{68}});
  Host::UdpSocket& server = r.b.udp({Ipv4Address{}, Port{67}});
  const std::string name = "en0";
  const std::int32_t on = 1;
  EXPECT_EQ(r.a.shard(0).set_option(client.id, num::kSolSocket, num::so_bindtodevice, as_bytes(name.data(), name.size()), true), Errno::ok);
  r.a.shard(0).set_option(client.id, num::kSolSocket, num::so_broadcast, as_bytes(&on, sizeof on), false);
  EXPECT_EQ(r.a.send(client, {Ipv4Address{255, 255, 255, 255}, Port{67}}, r.net.random_bytes(10)), Errno::ok);
  r.net.run_for(1s);
  ASSERT_EQ(server.received.size(), 1u);
  EXPECT_EQ(server.received[0].first, (Endpoint{Ipv4Address{}, Port{68}}));
  EXPECT_NE(index, 0u);
}

/// ICMP errors for sockets that ask for them, and for those that do not; and UDP_GRO.
TEST(SimGroups, ErrorsGoToTheSocketsThatTheyAreAbout) {
  for (const std::uint32_t shards : {1u, 2u}) {
    Rig r{shards};
    const std::int32_t on = 1;
    Host::UdpSocket& asks = r.a.udp({Ipv4Address{}, Port{6000}}, shards - 1);
    Host::UdpSocket& quiet = r.a.udp({Ipv4Address{}, Port{6001}});
    Host::UdpSocket& connected = r.a.udp({Ipv4Address{}, Port{6002}});
    set(r.a, asks, num::ip_recverr, on);
    r.a.shard(0).connect(connected.id, {kB, Port{9}});
    const auto payload = r.net.random_bytes(10);
    for (Host::UdpSocket* one : {&asks, &quiet, &connected}) r.a.send(*one, {kB, Port{9}}, payload);
    r.net.run_for(1s);
    ASSERT_EQ(asks.reported.size(), 1u);
    EXPECT_EQ(asks.reported[0].first.error, Errno::connrefused);
    EXPECT_EQ(asks.reported[0].first.offender, kB);
    EXPECT_EQ(asks.reported[0].second, payload);
    EXPECT_TRUE(quiet.reported.empty() && quiet.errors.empty());
    EXPECT_EQ(connected.errors, std::vector<Errno>{Errno::connrefused});
    set(r.a, asks, num::ip_mtu_discover, 2);
    EXPECT_EQ(r.a.send(asks, {kB, Port{9}}, r.net.random_bytes(1473)), Errno::msgsize);
    r.net.run_for(1s);
    ASSERT_EQ(asks.reported.size(), 2u);
    EXPECT_EQ(asks.reported[1].first.origin, stack::ErrorInfo::kLocal);
    EXPECT_EQ(asks.reported[1].first.info, 1500u);
    EXPECT_EQ(r.a.packets_held(), 0u);
  }
}

TEST(SimGroups, SegmentsComeTogetherAgain) {
  Rig r;
  const std::int32_t on = 1;
  Host::UdpSocket& together = r.b.udp({Ipv4Address{}, Port{7000}});
  Host::UdpSocket& sender = r.a.udp({Ipv4Address{}, Port{4000}});
  r.b.shard(0).set_option(together.id, num::kSolUdp, num::udp_gro, as_bytes(&on, sizeof on), false);
  const auto payload = r.net.random_bytes(3500);
  EXPECT_EQ(r.a.send(sender, {kB, Port{7000}}, payload, 1000), Errno::ok);
  EXPECT_EQ(r.a.send(sender, {kB, Port{7000}}, payload, 10), Errno::inval) << "more than 128 datagrams";
  EXPECT_EQ(r.a.send(sender, {kB, Port{7000}}, payload, 1473), Errno::msgsize);
  r.net.run_for(1s);
  std::vector<std::byte> all;
  for (const auto& [from, bytes] : together.received) all.insert(all.end(), bytes.begin(), bytes.end());
  EXPECT_EQ(all, payload);
  // Each frame of the simulated wire is a turn of its own; over loopback they come in one.
  Host::UdpSocket& here = r.a.udp({Ipv4Address{}, Port{7001}});
  r.a.shard(0).set_option(here.id, num::kSolUdp, num::udp_gro, as_bytes(&on, sizeof on), false);
  EXPECT_EQ(r.a.send(sender, {kA, Port{7001}}, payload, 1000), Errno::ok);
  r.net.run_for(1s);
  ASSERT_EQ(here.received.size(), 1u);
  EXPECT_EQ(here.received[0].second, payload);
  EXPECT_EQ(here.segments[0], 1000u);
}

}  // namespace
}  // namespace iopkt::sim
