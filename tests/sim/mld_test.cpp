// Multicast over IPv6 on whole stacks: who hears what, and what routers are told. RFC 3810, RFC 2710, RFC 3590.
#include <cstring>

#include "socket/numbers.hpp"
#include "tests/sim/ipv6_fixture.hpp"
#include "wire/mld.hpp"

namespace iopkt::sim {
namespace {

namespace num = socket::num;
using wire::GroupRecordType;
using wire::Icmpv6Type;
using wire::IpProtocol;

const Ipv6Address kGroup = ip("ff15::7").v6();
constexpr std::size_t kAlertLen = 8;

std::vector<std::byte> mreq(const Ipv6Address& group, std::uint32_t index) {
  std::vector<std::byte> out(20);
  wire::store_ipv6(out, 0, group);
  std::memcpy(out.data() + 16, &index, sizeof index);
  return out;
}

/// struct group_req, or group_source_req with a source.
std::vector<std::byte> group_req(const Ipv6Address& group, std::uint32_t index, std::optional<IpAddress> source = {}) {
  std::vector<std::byte> out(8 + 128 * (source ? 2 : 1));
  std::memcpy(out.data(), &index, sizeof index);
  const auto put = [&](std::size_t at, const Ipv6Address& a) {
    const std::uint16_t family = num::kAfInet6;
    std::memcpy(out.data() + at, &family, sizeof family);
    wire::store_ipv6(out, at + 8, a);
  };
  put(8, group);
  if (source) put(136, source->v6());
  return out;
}

class SimMld : public SimIpv6Alone {
 protected:
  Errno set(const Host::UdpSocket& socket, int name, const std::vector<std::byte>& value) {
    return a.shard(socket.shard).set_option(socket.id, num::kSolIpv6, name, value, false);
  }
  Errno set(const Host::UdpSocket& socket, int name, std::int32_t value) {
    return a.shard(socket.shard).set_option(socket.id, num::kSolIpv6, name, as_bytes(&value, sizeof value), false);
  }
  Host::UdpSocket& udp(std::uint16_t port) { return a.udp({Ipv6Address::any(), Port{port}}, GetParam() - 1); }
  std::uint32_t en0_index() { return a.interface_index(); }
  /// Behind a router alert, or without.
  void mld(std::vector<std::byte> message, const char* src = "fe80::77", std::uint8_t hops = 1, bool alert = true,
           const Ipv6Address& dst = Ipv6Address::all_nodes()) {
    const Ipv6Address from = ip(src).v6();
    wire::store_icmpv6_checksum(message, from, dst);
    if (alert) {
      const auto head = {58, 0, 5, 2, 0, 0, 1, 0};
      std::vector<std::byte> whole;
      for (const int one : head) whole.push_back(static_cast<std::byte>(one));
      whole.insert(whole.end(), message.begin(), message.end());
      message = whole;
    }
    from_nobody = true;
    // packet6() fills in the checksum of what it takes for ICMPv6; that of a message behind a header is right already.
    tell({.next_header = alert ? IpProtocol::hop_by_hop : IpProtocol::icmpv6, .hop_limit = hops, .src = from, .dst = dst}, message,
         link::multicast_mac(IpAddress{dst}));
    from_nobody = false;
  }
  static std::vector<std::byte> query2(const Ipv6Address& group = {}, std::uint16_t code = 100, std::initializer_list<const char*> sources = {}) {
    std::vector<std::byte> out(wire::MldView::kQueryLen + 16 * sources.size());
    wire::encode_mld(Icmpv6Type::listener_query, code, group, out);
    store_u8(out, 24, 2), store_u8(out, 25, 125);
    store_be16(out, 26, static_cast<std::uint16_t>(sources.size()));
    std::size_t at = wire::MldView::kQueryLen;
    for (const char* one : sources) wire::store_ipv6(out, at, ip(one).v6()), at += 16;
    return out;
  }
  static std::vector<std::byte> message1(Icmpv6Type type, const Ipv6Address& group = {}, std::uint16_t delay = 100) {
    std::vector<std::byte> out(wire::MldView::kQueryV1Len);
    wire::encode_mld(type, delay, group, out);
    return out;
  }
  struct Said {
    GroupRecordType type;
    Ipv6Address group;
    std::vector<Ipv6Address> sources;
    friend bool operator==(const Said&, const Said&) = default;
  };
  /// What the reports of version 2 say, in order.
  static std::vector<Said> said(const std::vector<Sent>& all) {
    std::vector<Said> out;
    for (const Sent& one : all) {
      const auto view = wire::MldView::parse(Bytes{one.payload}.subspan(kAlertLen));
      if (!view || view->type() != Icmpv6Type::listener_report_v2) continue;
      Bytes rest = view->records();
      for (std::size_t i = 0; i < view->record_count(); ++i) {
        const auto record = *wire::MldRecordView::parse(rest);
        Said& what = out.emplace_back(Said{record.type(), record.group(), {}});
        for (std::size_t n = 0; n < record.source_count(); ++n) what.sources.push_back(record.source(n));
        rest = rest.subspan(record.size());
      }
    }
    return out;
  }
  static Icmpv6Type type_of(const Sent& one) { return static_cast<Icmpv6Type>(load_u8(one.payload, kAlertLen)); }
  /// A datagram to the group, from a host of the link.
  void datagram(const Ipv6Address& group, std::uint16_t port, const char* src = "2001:db8::99") {
    std::vector<std::byte> udp(wire::UdpView::kHeaderLen + 4, std::byte{'x'});
    store_be16(udp, 0, 4000), store_be16(udp, 2, port), store_be16(udp, 4, 12), store_be16(udp, 6, 0);
    const std::uint32_t pseudo = wire::pseudo_header_sum(ip(src), IpAddress{group}, IpProtocol::udp, 12);
    store_be16(udp, 6, wire::finish(wire::sum(udp, pseudo)));
    tell({.next_header = IpProtocol::udp, .hop_limit = 1, .src = ip(src).v6(), .dst = group}, udp, link::multicast_mac(IpAddress{group}));
  }
};

TEST_P(SimMld, ReportsGoToRoutersOfTheLink) {
  Host::UdpSocket& s = udp(5000);
  ASSERT_EQ(set(s, num::ipv6_add_membership, mreq(kGroup, en0_index())), Errno::ok);
  net.run_for(5s);
  ASSERT_EQ(reports.size(), 2u) << "each change is told twice";
  for (const Sent& one : reports) {
    EXPECT_EQ(one.header.dst, wire::kMldRouters);
    EXPECT_EQ(one.header.src, a.link_local().v6());
    EXPECT_EQ(one.header.hop_limit, 1);
    const std::vector<std::byte> alert{one.payload.begin(), one.payload.begin() + kAlertLen};
    EXPECT_EQ(load_be32(alert, 0), 0x3a000502u);
    EXPECT_EQ(load_be32(alert, 4), 0x00000100u);
    const Bytes message = Bytes{one.payload}.subspan(kAlertLen);
    const std::uint32_t pseudo = wire::pseudo_header_sum(IpAddress{one.header.src}, IpAddress{one.header.dst}, IpProtocol::icmpv6,
                                                         static_cast<std::uint32_t>(message.size()));
    EXPECT_EQ(wire::finish(wire::sum(message, pseudo)), 0);
  }
  EXPECT_EQ(said(reports), (std::vector<Said>(2, {GroupRecordType::to_exclude, kGroup, {}})));
  reports.clear();
  ASSERT_EQ(set(s, num::ipv6_drop_membership, mreq(kGroup, en0_index())), Errno::ok);
  net.run_for(5s);
  EXPECT_EQ(said(reports), (std::vector<Said>(2, {GroupRecordType::to_include, kGroup, {}})));
  EXPECT_EQ(a.packets_held(), 0u);
}

/// RFC 3590: before there is an address the source is "::", and what was said so is said again.
TEST_P(SimMld, SolicitedNodeGroupsAreJoinedAndSaidAgainByAnAddress) {
  const Ipv6Address ours = a.link_local().v6().solicited_node();
  std::size_t unnamed = 0, from_us = 0;
  for (const Sent& one : at_start) {
    const std::vector<Said> what = said({one});
    if (std::ranges::find(what, Said{GroupRecordType::to_exclude, ours, {}}) == what.end()) continue;
    if (one.header.src.is_unspecified()) ++unnamed;
    if (one.header.src == a.link_local().v6()) ++from_us;
  }
  EXPECT_GE(unnamed, 1u);
  EXPECT_EQ(from_us, 2u);
  // Two addresses of one group: it goes with the last.
  change(a, [&](stack::Network& next) {
    ASSERT_EQ(control::add_address(next, en0_index(), {.address = ip("2001:db8::aa:1234"), .prefix_length = 64}), Errno::ok);
  });
  net.run_for(5s);
  const Ipv6Address group = ip("2001:db8::aa:1234").v6().solicited_node();
  EXPECT_EQ(said(reports), (std::vector<Said>(2, {GroupRecordType::to_exclude, group, {}})));
  reports.clear();
  change(a, [&](stack::Network& next) {
    ASSERT_EQ(control::remove_address(next, en0_index(), ip("2001:db8::aa:1234")), Errno::ok);
  });
  net.run_for(5s);
  EXPECT_EQ(said(reports), (std::vector<Said>(2, {GroupRecordType::to_include, group, {}})));
}

TEST_P(SimMld, QueriesOfTheLinkAreAnswered) {
  Host::UdpSocket& s = udp(5000);
  ASSERT_EQ(set(s, num::mcast_join_group, group_req(kGroup, en0_index())), Errno::ok);
  const Ipv6Address ssm = ip("ff35::9").v6();
  ASSERT_EQ(set(s, num::mcast_join_source_group, group_req(ssm, en0_index(), ip("2001:db8::99"))), Errno::ok);
  net.run_for(5s);
  EXPECT_EQ(std::ranges::count(said(reports), Said{GroupRecordType::allow, ssm, {ip("2001:db8::99").v6()}}), 2);
  reports.clear();
  mld(query2());
  net.run_for(1s);
  const std::vector<Said> all = said(reports);
  EXPECT_EQ(all.size(), 4u) << "two solicited-node groups and two that a program joined";
  EXPECT_NE(std::ranges::find(all, Said{GroupRecordType::is_exclude, kGroup, {}}), all.end());
  EXPECT_NE(std::ranges::find(all, Said{GroupRecordType::is_include, ssm, {ip("2001:db8::99").v6()}}), all.end());
  reports.clear();
  mld(query2(kGroup), "fe80::77", 1, true, kGroup);
  net.run_for(1s);
  EXPECT_EQ(said(reports), (std::vector<Said>{{GroupRecordType::is_exclude, kGroup, {}}}));
  reports.clear();
  mld(query2(ssm, 100, {"2001:db8::98", "2001:db8::99"}));
  net.run_for(1s);
  EXPECT_EQ(said(reports), (std::vector<Said>{{GroupRecordType::is_include, ssm, {ip("2001:db8::99").v6()}}}));
  reports.clear();
  mld(query2(ssm, 100, {"2001:db8::98"}));
  net.run_for(1s);
  EXPECT_TRUE(reports.empty());
  EXPECT_EQ(a.drops(), 0u);
}

TEST_P(SimMld, WhatIsNoQueryOfTheLinkIsDropped) {
  udp(5000);
  mld(query2(), "2001:db8::77");
  mld(query2(), "fe80::77", 255);
  mld(query2(), "fe80::77", 1, false);
  mld(message1(Icmpv6Type::listener_report, kGroup), "fe80::77", 2);
  EXPECT_EQ(a.drops(Drop::mld_not_local), 4u);
  std::vector<std::byte> between = query2();
  between.resize(27);
  mld(between);
  std::vector<std::byte> cut = query2(kGroup, 100, {"2001:db8::98"});
  cut.resize(40);
  mld(cut);
  EXPECT_EQ(a.drops(Drop::mld_malformed), 2u);
  mld(query2(ip("2001:db8::1").v6()));
  EXPECT_EQ(a.drops(Drop::mld_ignored), 1u);
  net.run_for(1s);
  EXPECT_TRUE(reports.empty());
  EXPECT_EQ(a.drops(), 7u);
}

/// RFC 3810 section 8.2.1, RFC 2710 sections 3 and 4.
TEST_P(SimMld, AnOlderQuerierIsAnsweredInItsVersion) {
  Host::UdpSocket& s = udp(5000);
  ASSERT_EQ(set(s, num::ipv6_add_membership, mreq(kGroup, en0_index())), Errno::ok);
  net.run_for(5s);
  reports.clear();
  mld(message1(Icmpv6Type::listener_query));
  net.run_for(1s);
  ASSERT_EQ(reports.size(), 3u);
  std::vector<Ipv6Address> groups;
  for (const Sent& one : reports) {
    EXPECT_EQ(type_of(one), Icmpv6Type::listener_report);
    EXPECT_EQ(one.header.dst, wire::load_ipv6(one.payload, kAlertLen + 8)) << "to the group itself";
    groups.push_back(one.header.dst);
  }
  EXPECT_EQ(std::ranges::count(groups, kGroup), 1);
  // Another host says so first.
  reports.clear();
  mld(message1(Icmpv6Type::listener_query, kGroup, 1000), "fe80::77", 1, true, kGroup);
  mld(message1(Icmpv6Type::listener_report, kGroup, 0), "fe80::99", 1, true, kGroup);
  net.run_for(2s);
  EXPECT_TRUE(reports.empty());
  mld(message1(Icmpv6Type::listener_query, kGroup));
  net.run_for(1s);
  ASSERT_EQ(reports.size(), 1u);
  reports.clear();
  ASSERT_EQ(set(s, num::ipv6_drop_membership, mreq(kGroup, en0_index())), Errno::ok);
  net.run_for(1s);
  ASSERT_EQ(reports.size(), 1u);
  EXPECT_EQ(type_of(reports[0]), Icmpv6Type::listener_done);
  EXPECT_EQ(reports[0].header.dst, Ipv6Address::all_routers());
  EXPECT_EQ(wire::load_ipv6(reports[0].payload, kAlertLen + 8), kGroup);
}

TEST_P(SimMld, AGroupIsHeardByThoseWhoJoined) {
  Host::UdpSocket& joined = udp(5000);
  Host::UdpSocket& other = a.udp({Ipv6Address::any(), Port{5001}});
  datagram(kGroup, 5000);
  EXPECT_EQ(a.drops(Drop::ip_not_for_us), 1u);
  ASSERT_EQ(set(joined, num::ipv6_add_membership, mreq(kGroup, en0_index())), Errno::ok);
  EXPECT_EQ(set(joined, num::ipv6_add_membership, mreq(kGroup, 0)), Errno::addrinuse);
  EXPECT_EQ(set(joined, num::ipv6_add_membership, mreq(kGroup, 4711)), Errno::nodev);
  datagram(kGroup, 5000);
  datagram(kGroup, 5001);
  EXPECT_EQ(joined.received.size(), 1u);
  EXPECT_EQ(other.received.size(), 1u) << "IPV6_MULTICAST_ALL: what others have joined";
  const std::int32_t off = 0;
  ASSERT_EQ(a.shard(0).set_option(other.id, num::kSolIpv6, num::ipv6_multicast_all, as_bytes(&off, sizeof off), false), Errno::ok);
  net.run_for(1ms);
  datagram(kGroup, 5001);
  EXPECT_EQ(other.received.size(), 1u);
  ASSERT_EQ(set(joined, num::mcast_block_source, group_req(kGroup, en0_index(), ip("2001:db8::99"))), Errno::ok);
  datagram(kGroup, 5000);
  EXPECT_EQ(joined.received.size(), 1u);
  datagram(kGroup, 5000, "2001:db8::98");
  EXPECT_EQ(joined.received.size(), 2u);
  // A source of the link has the zone of the group's interface, said or not.
  ASSERT_EQ(set(joined, num::mcast_block_source, group_req(kGroup, en0_index(), ip("fe80::99"))), Errno::ok);
  datagram(kGroup, 5000, "fe80::99");
  EXPECT_EQ(joined.received.size(), 2u);
  // What we send ourselves is heard here, too.
  const std::size_t before = sent.size();
  ASSERT_EQ(set(joined, num::ipv6_multicast_if, static_cast<std::int32_t>(en0_index())), Errno::ok);
  EXPECT_EQ(a.send(joined, {IpAddress{kGroup}, Port{5000}}, net.random_bytes(9)), Errno::ok);
  net.run_for(1ms);
  EXPECT_EQ(joined.received.size(), 3u);
  EXPECT_EQ(sent.size(), before + 1);
  ASSERT_EQ(set(joined, num::ipv6_multicast_loop, 0), Errno::ok);
  EXPECT_EQ(a.send(joined, {IpAddress{kGroup}, Port{5000}}, net.random_bytes(9)), Errno::ok);
  net.run_for(1ms);
  EXPECT_EQ(joined.received.size(), 3u);
  EXPECT_EQ(sent.size(), before + 2);
}

/// RFC 5014: what the socket prefers goes before what the stack does; each stands behind the other in the order of addresses once.
TEST_P(SimMld, TheSocketSaysWhetherTemporaryAddressesAreUsed) {
  change(a, [&](stack::Network& next) {
    iface::Interface changed = *next.interfaces.by_index(en0_index());
    changed.addresses.push_back({.address = ip("2001:db8::7e"), .prefix_length = 64, .flags = iface::address_flag::temporary});
    ASSERT_EQ(control::change_interface(next, changed), Errno::ok);
  });
  Host::UdpSocket& s = udp(5000);
  const auto source = [&] {
    sent.clear();
    EXPECT_EQ(a.send(s, {ip("2001:db8::99"), Port{7}}, net.random_bytes(9)), Errno::ok);
    net.run_for(1ms);
    return sent.empty() ? Ipv6Address{} : sent[0].header.src;
  };
  // The stack's setting, unless the socket says.
  for (const bool preferred : {true, false}) {
    change(a, [&](stack::Network& next) { next.settings.ipv6.prefer_temporary = preferred; });
    ASSERT_EQ(set(s, num::ipv6_addr_preferences, socket::kPreferEither), Errno::ok);
    EXPECT_EQ(source(), ip(preferred ? "2001:db8::7e" : "2001:db8::1").v6());
    ASSERT_EQ(set(s, num::ipv6_addr_preferences, socket::kPreferTemporary), Errno::ok);
    EXPECT_EQ(source(), ip("2001:db8::7e").v6());
    ASSERT_EQ(set(s, num::ipv6_addr_preferences, socket::kPreferPublic), Errno::ok);
    EXPECT_EQ(source(), ip("2001:db8::1").v6());
  }
}

/// RFC 4291 section 2.8: whoever forwards is among all routers of its links, and says so.
TEST_P(SimMld, ARouterListensToItsGroup) {
  change(a, [&](stack::Network& next) { next.settings.ipv6.forwarding = 1; });
  net.run_for(5s);
  EXPECT_EQ(std::ranges::count(said(reports), Said{GroupRecordType::to_exclude, Ipv6Address::all_routers(), {}}), 2);
  const std::vector<wire::MacAddress> heard = a.shard(0).multicast_filter(en0_index());
  EXPECT_EQ(std::ranges::count(heard, link::multicast_mac(IpAddress{Ipv6Address::all_routers()})), 1);
}

/// IPV6_AUTOFLOWLABEL, IPV6_MTU and IPV6_PKTINFO of the socket, on the wire.
TEST_P(SimMld, OptionsOfTheSocketShapeItsPackets) {
  Host::UdpSocket& s = udp(5000);
  const Endpoint to{ip("2001:db8::99"), Port{7}};
  const auto send = [&](std::size_t size) {
    sent.clear();
    EXPECT_EQ(a.send(s, to, net.random_bytes(size)), Errno::ok);
    net.run_for(1ms);
  };
  send(1400);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_NE(sent[0].header.flow_label, 0u);
  ASSERT_EQ(set(s, num::ipv6_autoflowlabel, 0), Errno::ok);
  ASSERT_EQ(set(s, num::ipv6_mtu, 1300), Errno::ok);
  send(1400);
  ASSERT_EQ(sent.size(), 2u);
  for (const Sent& one : sent) {
    EXPECT_EQ(one.header.flow_label, 0u);
    EXPECT_EQ(one.header.next_header, IpProtocol::fragment);
    EXPECT_LE(one.header.payload_len, 1300 - 40);
  }
  std::vector<std::byte> info(20);
  const std::uint32_t nowhere = 4711, index = en0_index();
  std::memcpy(info.data() + 16, &nowhere, sizeof nowhere);
  ASSERT_EQ(set(s, num::ipv6_pktinfo, info), Errno::ok);
  EXPECT_EQ(a.send(s, to, net.random_bytes(9)), Errno::nodev);
  // Whose address means something on one link alone is found by it.
  EXPECT_NE(a.send(s, {ip("fe80::99"), Port{7}}, net.random_bytes(9)), Errno::ok);
  std::memcpy(info.data() + 16, &index, sizeof index);
  ASSERT_EQ(set(s, num::ipv6_pktinfo, info), Errno::ok);
  EXPECT_EQ(a.send(s, {ip("fe80::99"), Port{7}}, net.random_bytes(9)), Errno::ok);
}

TEST_P(SimMld, TheMembershipsOfAUserAreBounded) {
  Host::UdpSocket* last = nullptr;
  std::uint32_t taken = 0;
  Errno refused = Errno::ok;
  for (std::uint32_t i = 0; i < 2000 && refused == Errno::ok; ++i) {
    if (i % 100 == 0) last = &udp(static_cast<std::uint16_t>(6000 + i));
    Ipv6Address group = kGroup;
    group.bytes[12] = static_cast<std::uint8_t>(i / 256), group.bytes[13] = static_cast<std::uint8_t>(i);
    refused = set(*last, num::ipv6_add_membership, mreq(group, en0_index()));
    if (refused == Errno::ok) ++taken;
  }
  EXPECT_EQ(refused, Errno::nomem);
  EXPECT_EQ(taken, 1024u);
  a.shard(last->shard).close(last->id);
  net.run_for(1s);
  Host::UdpSocket& next = udp(9000);
  EXPECT_EQ(set(next, num::ipv6_add_membership, mreq(ip("ff15::aaaa").v6(), en0_index())), Errno::ok) << "with the socket they end";
}

/// Each change of a group puts all filters together, on every shard: what a user can name there is bounded.
TEST_P(SimMld, TheSourcesOfAUserAreBounded) {
  std::uint32_t named = 0, sockets = 0;
  Errno refused = Errno::ok;
  Host::UdpSocket* first = nullptr;
  while (refused == Errno::ok && sockets < 200) {
    Host::UdpSocket& s = udp(static_cast<std::uint16_t>(6000 + sockets++));
    if (first == nullptr) first = &s;
    refused = set(s, num::ipv6_add_membership, mreq(kGroup, en0_index()));
    for (std::uint32_t i = 0; i < 64 && refused == Errno::ok; ++i) {
      Ipv6Address source = ip("2001:db8::").v6();
      source.bytes[13] = static_cast<std::uint8_t>(sockets), source.bytes[14] = static_cast<std::uint8_t>(i);
      refused = set(s, num::mcast_block_source, group_req(kGroup, en0_index(), IpAddress{source}));
      if (refused == Errno::ok) ++named;
    }
  }
  EXPECT_TRUE(refused == Errno::nobufs || refused == Errno::nomem);
  EXPECT_EQ(named + sockets, 4096u + (refused == Errno::nomem ? 1 : 0)) << "with the memberships";
  a.shard(first->shard).close(first->id);
  net.run_for(1s);
  EXPECT_EQ(set(udp(9000), num::ipv6_add_membership, mreq(ip("ff15::aaaa").v6(), en0_index())), Errno::ok);
}

/// RFC 4291 section 2.7: what is of interface scope, or of none, is heard here and on no link.
TEST_P(SimMld, InterfaceScopeLeavesNoHost) {
  Host::UdpSocket& s = udp(5000);
  ASSERT_EQ(set(s, num::ipv6_multicast_if, static_cast<std::int32_t>(en0_index())), Errno::ok);
  ASSERT_EQ(set(s, num::ipv6_add_membership, mreq(ip("ff01::5").v6(), en0_index())), Errno::ok);
  net.run_for(1s);
  const std::size_t before = sent.size();
  for (const char* group : {"ff01::5", "ff00::5", "ff11::6"}) EXPECT_EQ(a.send(s, {ip(group), Port{5000}}, net.random_bytes(9)), Errno::ok) << group;
  net.run_for(1s);
  EXPECT_EQ(sent.size(), before);
  EXPECT_EQ(s.received.size(), 1u) << "ff01::5 is heard here";
  EXPECT_EQ(a.send(s, {ip("ff02::5"), Port{5000}}, net.random_bytes(9)), Errno::ok);
  net.run_for(1s);
  EXPECT_EQ(sent.size(), before + 1);
}

INSTANTIATE_TEST_SUITE_P(Shards, SimMld, ::testing::Values(1u, 2u));

}  // namespace
}  // namespace iopkt::sim
