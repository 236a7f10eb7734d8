// A router between two networks: RFC 1812, RFC 8200, RFC 4443, RFC 4861 section 8.2; the same for both families wherever it is.
#include <map>

#include "tests/sim/ipv6_fixture.hpp"
#include "wire/icmp.hpp"
#include "wire/ipv4.hpp"
#include "wire/tcp.hpp"

namespace iopkt::sim {
namespace {

using wire::IpProtocol;
using wire::Ipv4Address;

/// 10.1.0.0/24, 2001:db8:1::/64 (a, r) and 10.2.0.0/24, 2001:db8:2::/64 (r, b).
class SimForward : public SimIpv6 {
 protected:
  void SetUp() override {
    second = r.add_interface("10.2.0.1/24", "2001:db8:2::1/64");
    net.wire_interfaces({{&a, a.interface_index()}, {&r, r.interface_index()}}, {});
    net.wire_interfaces({{&b, b.interface_index()}, {&r, second}}, {});
    set_forwarding(true);
    route(a, "0.0.0.0/0", "10.1.0.1");
    route(a, "::/0", "2001:db8:1::1");
    route(b, "0.0.0.0/0", "10.2.0.1");
    route(b, "::/0", "2001:db8:2::1");
    net.run_for(10s);
    for (Host* host : {&a, &b, &r}) drops_before[host] = host->drops();
    net.tap = [&](const Host& from, Frame& frame) {
      if (&from == &r) from_router.push_back(frame);
      return true;
    };
  }
  /// Since the beginning of the test: reports of groups and the like are refused before.
  std::uint64_t new_drops(Host& host) { return host.drops() - drops_before[&host]; }
  void set_forwarding(bool on) {
    change(r, [&](stack::Network& n) { n.settings.ipv4.forwarding = n.settings.ipv6.forwarding = on; });
  }
  void route(Host& host, const char* prefix, const char* gateway, std::uint32_t flags = 0) {
    const std::string text{prefix};
    const std::size_t slash = text.find('/');
    change(host, [&](stack::Network& n) {
      EXPECT_EQ(control::add_route(n, {.prefix = wire::IpPrefix::of(ip(text.substr(0, slash).c_str()),
                                                                    static_cast<std::uint8_t>(std::stoi(text.substr(slash + 1)))),
                                       .gateway = gateway == nullptr ? std::optional<IpAddress>{} : ip(gateway), .flags = flags}),
                Errno::ok);
    });
  }
  /// What is in a frame of the router's: nullopt of the other family.
  struct Icmp4 {
    wire::Ipv4Header ip;
    wire::IcmpHeader icmp;
    std::vector<std::byte> quoted;
  };
  std::vector<Icmp4> errors4() const {
    std::vector<Icmp4> out;
    for (const Frame& f : from_router) {
      const auto v = wire::Ipv4View::parse(Bytes{f}.subspan(14));
      if (!v || v->protocol() != IpProtocol::icmp) continue;
      EXPECT_TRUE(v->checksum_ok());
      const auto m = wire::IcmpView::parse(v->payload());
      out.push_back({v->header(), m->header(), {v->payload().begin() + 8, v->payload().end()}});
    }
    return out;
  }
  std::vector<std::pair<wire::Ipv6Header, wire::Icmpv6Header>> errors6() const {
    std::vector<std::pair<wire::Ipv6Header, wire::Icmpv6Header>> out;
    for (const Frame& f : from_router) {
      const auto v = wire::Ipv6View::parse(Bytes{f}.subspan(14));
      if (!v || v->next_header() != IpProtocol::icmpv6) continue;
      const auto m = wire::Icmpv6View::parse(v->payload())->header();
      const auto type = static_cast<unsigned>(m.type);
      if (type < 128 || m.type == wire::Icmpv6Type::redirect) out.emplace_back(v->header(), m);
    }
    return out;
  }
  /// A UDP datagram as the router gets it from a's link.
  void tell4(wire::Ipv4Header h, std::size_t payload = 8, std::optional<wire::MacAddress> to = {}) {
    h.payload_len = static_cast<std::uint16_t>(payload);
    if (h.src.is_unspecified() && !nobody) h.src = a.address();
    if (h.protocol == IpProtocol{}) h.protocol = IpProtocol::udp;
    Frame frame(14 + wire::encoded_len(h));
    wire::store_mac(frame, 0, to.value_or(mac(r)));
    wire::store_mac(frame, 6, mac(a));
    store_be16(frame, 12, 0x0800);
    wire::encode(h, MutableBytes{frame}.subspan(14));
    frame.resize(frame.size() + payload, std::byte{1});
    from_router.clear();
    r.receive(frame);
    net.run_for(10ms);
  }
  void tell6(const wire::Ipv6Header& h, std::size_t payload = 8, std::optional<wire::MacAddress> to = {}) {
    tell6(h, std::vector<std::byte>(payload, std::byte{1}), to);
  }
  void tell6(wire::Ipv6Header h, const std::vector<std::byte>& payload, std::optional<wire::MacAddress> to = {}) {
    if (h.src.is_unspecified()) h.src = ip("2001:db8:1::2").v6();
    if (h.next_header == IpProtocol{}) h.next_header = IpProtocol::udp;
    h.payload_len = static_cast<std::uint16_t>(payload.size());
    Frame frame(14 + 40);
    wire::store_mac(frame, 0, to.value_or(mac(r)));
    wire::store_mac(frame, 6, mac(a));
    store_be16(frame, 12, 0x86dd);
    wire::encode(h, MutableBytes{frame}.subspan(14));
    frame.insert(frame.end(), payload.begin(), payload.end());
    from_router.clear();
    r.receive(frame);
    net.run_for(10ms);
  }
  /// What b gets of a datagram that a sends.
  std::vector<std::byte> datagram(const IpAddress& address, std::size_t size) {
    if (sink == nullptr) sink = &b.udp({Ipv6Address::any(), Port{9}});
    Host& from = a;
    Host::UdpSocket& to = *sink;
    Host::UdpSocket& udp = from.udp({address.is_v4() ? IpAddress{Ipv4Address::any()} : IpAddress{Ipv6Address::any()}, Port{next_port_++}});
    net.run_for(1ms);
    const auto bytes = net.random_bytes(size);
    to.received.clear();
    EXPECT_EQ(from.send(udp, {address, Port{9}}, bytes), Errno::ok);
    net.run_for(50ms);
    return to.received.empty() ? std::vector<std::byte>{} : to.received[0].second;
  }
  Ipv4Address to_b4 = Ipv4Address{10, 2, 0, 2};
  Ipv6Address to_b6 = ip("2001:db8:2::2").v6();
  Host& a = net.host("10.1.0.2/24", options("2001:db8:1::2/64"));
  Host& r = net.host("10.1.0.1/24", options("2001:db8:1::1/64"));
  Host& b = net.host("10.2.0.2/24", options("2001:db8:2::2/64"));
  std::uint32_t second = 0;
  std::vector<Frame> from_router;
  std::uint16_t next_port_ = 5000;
  bool nobody = false;
  std::map<Host*, std::uint64_t> drops_before;
  Host::UdpSocket* sink = nullptr;
};

TEST_P(SimForward, CarriesStreamsAndDatagramsOfBothFamilies) {
  transfer(a, b, b.address());
  std::uint64_t forwarded = 0;
  for (std::uint32_t n = 0; n < GetParam(); ++n) forwarded += r.shard(n).counters().ipv4.forwarded.value();
  EXPECT_GT(forwarded, 20u) << "in large ones";
  from_router.clear();
  for (const std::size_t size : {0u, 100u, 1400u}) {
    EXPECT_EQ(datagram(b.address(), size).size(), size);
    EXPECT_EQ(datagram(IpAddress{to_b6}, size).size(), size);
  }
  // Fragments pass as they are.
  EXPECT_EQ(datagram(b.address(), 5000).size(), 5000u);
  EXPECT_EQ(datagram(IpAddress{to_b6}, 5000).size(), 5000u);
  EXPECT_EQ(new_drops(r), 0u) << net.trace();
  EXPECT_EQ(r.packets_held(), 0u);
}

/// What a receiver would put together is not the router's to change.
TEST_P(SimForward, SegmentsPassAsTheyAre) {
  static_cast<void>(datagram(b.address(), 4));  // the neighbour is known
  const std::uint16_t ids[] = {0x7a11, 0x0003, 0xc0de, 0xc0df};
  std::vector<std::vector<std::byte>> segments;
  from_router.clear();
  for (std::uint32_t i = 0; i < 4; ++i) {
    const wire::TcpHeader tcp{.src = {1000}, .dst = {80}, .seq = {i * 1000}, .ack = {5}, .flags = wire::ack,
                              .window = static_cast<std::uint16_t>(100 + i), .options = {.timestamps = wire::TcpTimestamps{50 + i, 40}}};
    std::vector<std::byte> segment(wire::encoded_len(tcp));
    wire::encode(tcp, segment);
    segment.resize(segment.size() + 1000, static_cast<std::byte>(i));
    const wire::Ipv4Header h{.id = ids[i], .ttl = 64, .protocol = IpProtocol::tcp, .src = a.address(), .dst = to_b4,
                             .payload_len = static_cast<std::uint16_t>(segment.size())};
    store_be16(segment, 16, wire::finish(wire::sum(segment, wire::pseudo_header_sum(h.src, h.dst, h.protocol, h.payload_len))));
    Frame frame(14 + 20);
    wire::store_mac(frame, 0, mac(r));
    wire::store_mac(frame, 6, mac(a));
    store_be16(frame, 12, 0x0800);
    wire::encode(h, MutableBytes{frame}.subspan(14));
    frame.insert(frame.end(), segment.begin(), segment.end());
    segments.push_back(std::move(segment));
    r.receive(frame);
  }
  net.run_for(10ms);
  std::size_t passed = 0;
  for (const Frame& f : from_router) {
    const auto v = wire::Ipv4View::parse(Bytes{f}.subspan(14));
    if (!v || v->protocol() != IpProtocol::tcp || v->dst() != to_b4) continue;
    const std::size_t i = std::ranges::find(ids, v->id()) - std::begin(ids);
    ASSERT_LT(i, segments.size()) << v->id();
    EXPECT_TRUE(std::ranges::equal(v->payload(), segments[i])) << i;
    ++passed;
  }
  EXPECT_EQ(passed, segments.size());
}

TEST_P(SimForward, Ipv6StreamsToo) {
  transfer(a, b, IpAddress{to_b6});
  EXPECT_EQ(r.packets_held(), 0u);
}

TEST_P(SimForward, AHostForwardsNothing) {
  set_forwarding(false);
  const auto before = r.drops(Drop::ip_not_for_us);
  tell4({.ttl = 64, .dst = to_b4});
  tell6({.hop_limit = 64, .dst = to_b6});
  EXPECT_EQ(r.drops(Drop::ip_not_for_us), before + 2);
  EXPECT_TRUE(from_router.empty());
}

TEST_P(SimForward, EveryHopCosts) {
  static_cast<void>(datagram(b.address(), 4));  // neighbours are known
  static_cast<void>(datagram(IpAddress{to_b6}, 4));
  tell4({.ttl = 2, .dst = to_b4});
  ASSERT_EQ(from_router.size(), 1u);
  const auto v4 = wire::Ipv4View::parse(Bytes{from_router[0]}.subspan(14));
  EXPECT_EQ(v4->header().ttl, 1);
  EXPECT_TRUE(v4->checksum_ok());
  tell6({.hop_limit = 2, .dst = to_b6});
  ASSERT_EQ(from_router.size(), 1u);
  EXPECT_EQ(wire::Ipv6View::parse(Bytes{from_router[0]}.subspan(14))->header().hop_limit, 1);
  tell4({.ttl = 1, .dst = to_b4});
  ASSERT_EQ(errors4().size(), 1u);
  EXPECT_EQ(errors4()[0].icmp, wire::IcmpHeader::time_exceeded(wire::IcmpTimeExceeded::in_transit));
  EXPECT_EQ(errors4()[0].ip.src, (Ipv4Address{10, 1, 0, 1}));
  EXPECT_EQ(errors4()[0].ip.dst, a.address());
  EXPECT_EQ(wire::Ipv4View::parse_header(errors4()[0].quoted)->header().ttl, 1) << "quoted as it came";
  tell6({.hop_limit = 1, .dst = to_b6});
  ASSERT_EQ(errors6().size(), 1u);
  EXPECT_EQ(errors6()[0].second.type, wire::Icmpv6Type::time_exceeded);
  EXPECT_EQ(r.drops(Drop::ip_ttl_exceeded), 2u);
}

TEST_P(SimForward, NoWayOn) {
  tell4({.ttl = 64, .dst = {192, 0, 2, 1}});
  ASSERT_EQ(errors4().size(), 1u);
  EXPECT_EQ(errors4()[0].icmp, wire::IcmpHeader::unreachable(wire::IcmpUnreachable::network));
  tell6({.hop_limit = 64, .dst = ip("2001:db9::1").v6()});
  ASSERT_EQ(errors6().size(), 1u);
  EXPECT_EQ(errors6()[0].second, wire::Icmpv6Header::unreachable(wire::Icmpv6Unreachable::no_route));
  route(r, "192.0.2.0/24", nullptr, route::flag::reject);
  route(r, "2001:db9::/32", nullptr, route::flag::reject);
  tell4({.ttl = 64, .dst = {192, 0, 2, 1}});
  EXPECT_EQ(errors4().at(0).icmp, wire::IcmpHeader::unreachable(wire::IcmpUnreachable::host));
  tell6({.hop_limit = 64, .dst = ip("2001:db9::1").v6()});
  EXPECT_EQ(errors6().at(0).second, wire::Icmpv6Header::unreachable(wire::Icmpv6Unreachable::reject_route));
  route(r, "198.51.100.0/24", nullptr, route::flag::blackhole);
  tell4({.ttl = 64, .dst = {198, 51, 100, 1}});
  EXPECT_TRUE(from_router.empty()) << "silently";
  EXPECT_EQ(r.drops(Drop::ip_no_route), 5u);
  // Nobody is at the last hop.
  tell4({.ttl = 64, .dst = {10, 2, 0, 99}});
  tell6({.hop_limit = 64, .dst = ip("2001:db8:2::99").v6()});
  net.run_for(5s);
  ASSERT_EQ(errors6().size(), 1u);
  EXPECT_EQ(errors6()[0].second, wire::Icmpv6Header::unreachable(wire::Icmpv6Unreachable::address));
  ASSERT_EQ(errors4().size(), 1u);
  EXPECT_EQ(errors4()[0].icmp, wire::IcmpHeader::unreachable(wire::IcmpUnreachable::host));
}

TEST_P(SimForward, WhoeverSendsToASilentHopIsToldEachTime) {
  tell4({.ttl = 64, .dst = {10, 2, 0, 99}});
  tell6({.hop_limit = 64, .dst = ip("2001:db8:2::99").v6()});
  net.run_for(3500ms);
  // It counts as down now.
  tell4({.ttl = 64, .dst = {10, 2, 0, 99}});
  ASSERT_EQ(errors4().size(), 1u);
  EXPECT_EQ(errors4()[0].icmp, wire::IcmpHeader::unreachable(wire::IcmpUnreachable::host));
  tell6({.hop_limit = 64, .dst = ip("2001:db8:2::99").v6()});
  ASSERT_EQ(errors6().size(), 1u);
  EXPECT_EQ(errors6()[0].second, wire::Icmpv6Header::unreachable(wire::Icmpv6Unreachable::address));
}

TEST_P(SimForward, ErrorsGoBackByTheFibOfTheWayIn) {
  change(r, [&](stack::Network& n) {
    iface::Interface en = *n.interfaces.by_index(r.interface_index());
    en.fib = 1;
    EXPECT_EQ(control::change_interface(n, en), Errno::ok);
    EXPECT_EQ(control::add_route(n, {.prefix = wire::IpPrefix::of(ip("172.16.0.0"), 16), .gateway = ip("10.1.0.2"), .fib = 1}), Errno::ok);
  });
  tell4({.ttl = 64, .src = {172, 16, 0, 5}, .dst = {10, 2, 0, 99}});
  net.run_for(5s);
  ASSERT_EQ(errors4().size(), 1u);
  EXPECT_EQ(errors4()[0].icmp, wire::IcmpHeader::unreachable(wire::IcmpUnreachable::host));
  EXPECT_EQ(errors4()[0].ip.dst, (Ipv4Address{172, 16, 0, 5}));
}

/// Of a neighbour whose entry had to make room nobody knows anything.
TEST_P(SimForward, NobodyIsUnreachableForWantOfRoom) {
  change(r, [&](stack::Network& n) { n.settings.neigh.max_entries = 16; });
  for (std::uint8_t i = 100; i < 140; ++i) {
    tell4({.ttl = 64, .dst = {10, 2, 0, i}});
    EXPECT_TRUE(errors4().empty()) << unsigned{i};
  }
  EXPECT_GE(r.drops(Drop::arp_unresolved), 20u);
  // Those that are asked for and stay silent still are.
  from_router.clear();
  net.run_for(5s);
  EXPECT_GE(errors4().size(), 8u);
  EXPECT_LE(errors4().size(), 16u);
  EXPECT_EQ(r.packets_held(), 0u);
}

/// RFC 4443 section 2.4 (e).
TEST_P(SimForward, WhatMayBeAnErrorIsNotAnswered) {
  const Ipv6Address nowhere = ip("2001:db9::1").v6();
  const auto piece = [](IpProtocol protocol, std::uint16_t offset) {
    std::vector<std::byte> out(8 + 16, std::byte{0x80});  // as an echo request begins
    store_u8(out, 0, static_cast<std::uint8_t>(protocol));
    store_u8(out, 1, 0);
    store_be16(out, 2, offset);
    return out;
  };
  tell6({.next_header = IpProtocol::fragment, .hop_limit = 64, .dst = nowhere}, piece(IpProtocol::udp, 64));
  EXPECT_EQ(errors6().size(), 1u) << "a piece of a datagram is answered as any packet";
  tell6({.next_header = IpProtocol::fragment, .hop_limit = 64, .dst = nowhere}, piece(IpProtocol::icmpv6, 1));
  EXPECT_EQ(errors6().size(), 1u) << "the first of a question, too";
  tell6({.next_header = IpProtocol::fragment, .hop_limit = 64, .dst = nowhere}, piece(IpProtocol::icmpv6, 64));
  EXPECT_TRUE(errors6().empty()) << "a later one has no type";
  // Destination options that are longer than the packet.
  std::vector<std::byte> chain(16, std::byte{0x80});
  store_u8(chain, 0, static_cast<std::uint8_t>(IpProtocol::icmpv6));
  store_u8(chain, 1, 20);
  tell6({.next_header = IpProtocol::destination_options, .hop_limit = 64, .dst = nowhere}, chain);
  EXPECT_TRUE(errors6().empty()) << "nobody knows what is in it";
  EXPECT_EQ(r.drops(Drop::ip_no_route), 4u);
}

TEST_P(SimForward, ANarrowerLink) {
  change(r, [&](stack::Network& n) {
    iface::Interface en = *n.interfaces.by_index(second);
    en.mtu = 1300;
    EXPECT_EQ(control::change_interface(n, en), Errno::ok);
  });
  tell4({.df = true, .ttl = 64, .dst = to_b4}, 1400);
  ASSERT_EQ(errors4().size(), 1u);
  EXPECT_EQ(errors4()[0].icmp, wire::IcmpHeader::unreachable(wire::IcmpUnreachable::fragmentation_needed, 1300));
  tell6({.hop_limit = 64, .dst = to_b6}, 1400);
  ASSERT_EQ(errors6().size(), 1u);
  EXPECT_EQ(errors6()[0].second, wire::Icmpv6Header::too_big(1300));
  EXPECT_EQ(r.drops(Drop::ip_too_big), 2u);
  // What may be cut is; streams and datagrams find the size that fits.
  EXPECT_EQ(datagram(b.address(), 1452).size(), 1452u);
  static_cast<void>(datagram(IpAddress{to_b6}, 1400));
  EXPECT_EQ(datagram(IpAddress{to_b6}, 1400).size(), 1400u);
  transfer(a, b, b.address(), 100'000);
}

TEST_P(SimForward, WhatIsOfOneLinkStaysThere) {
  struct Row {
    const char *src, *dst;
    Drop why;
  };
  for (const Row& row : std::initializer_list<Row>{{"169.254.1.1", "10.2.0.2", Drop::ip_bad_source},
                                                   {"10.1.0.2", "169.254.1.1", Drop::ip_bad_destination},
                                                   {"127.0.0.1", "10.2.0.2", Drop::ip_bad_source},
                                                   {"10.1.0.2", "127.0.0.1", Drop::ip_bad_destination},
                                                   {"10.1.0.2", "10.2.0.255", Drop::ip_bad_destination},
                                                   {"10.1.0.2", "240.0.0.1", Drop::ip_bad_destination},
                                                   {"10.1.0.255", "10.2.0.2", Drop::ip_bad_source},
                                                   {"224.0.0.5", "10.2.0.2", Drop::ip_bad_source},
                                                   {"10.1.0.2", "224.1.2.3", Drop::ip_not_for_us}}) {
    SCOPED_TRACE(std::string{row.src} + " to " + row.dst);
    const auto before = r.drops(row.why);
    tell4({.ttl = 64, .src = ip(row.src).v4(), .dst = ip(row.dst).v4()});
    EXPECT_EQ(r.drops(row.why), before + 1);
    EXPECT_TRUE(from_router.empty());
  }
  nobody = true;
  tell4({.ttl = 64, .src = {}, .dst = to_b4});
  nobody = false;
  EXPECT_TRUE(from_router.empty());
  // In a frame to all.
  const auto broadcasts = r.drops(Drop::ip_link_broadcast);
  tell4({.ttl = 64, .dst = to_b4}, 8, wire::MacAddress::broadcast());
  tell6({.hop_limit = 64, .dst = to_b6}, 8, wire::MacAddress{{0x33, 0x33, 0, 0, 0, 1}});
  EXPECT_EQ(r.drops(Drop::ip_link_broadcast), broadcasts + 2);
  // RFC 4007 section 9, RFC 4443 3.1: the sender of a link's address hears that it does not reach so far.
  ASSERT_EQ(r.shard(0).set_neighbour({r.interface_index(), ip("fe80::5").with_zone(r.interface_index())}, kRouterMac, {}), Errno::ok);
  net.run_for(1ms);
  for (const Row& row : std::initializer_list<Row>{{"fe80::5", "2001:db8:2::2", Drop::ip_bad_source},
                                                   {"2001:db8:1::2", "fe80::5", Drop::ip_bad_destination},
                                                   {"2001:db8:1::2", "::1", Drop::ip_bad_destination},
                                                   {"::1", "2001:db8:2::2", Drop::ip_bad_source},
                                                   {"2001:db8:1::2", "ff05::5", Drop::ip_not_for_us}}) {
    SCOPED_TRACE(std::string{row.src} + " to " + row.dst);
    const auto before = r.drops(row.why);
    tell6({.hop_limit = 64, .src = ip(row.src).v6(), .dst = ip(row.dst).v6()});
    EXPECT_EQ(r.drops(row.why), before + 1);
    if (row.src != std::string{"fe80::5"}) {
      EXPECT_TRUE(from_router.empty());
      continue;
    }
    ASSERT_EQ(errors6().size(), 1u);
    EXPECT_EQ(errors6()[0].second, wire::Icmpv6Header::unreachable(wire::Icmpv6Unreachable::beyond_scope));
    EXPECT_EQ(errors6()[0].first.dst, ip("fe80::5").v6());
  }
  EXPECT_EQ(new_drops(b), 0u) << "nothing of it came through";
}

TEST_P(SimForward, SourceRoutesAreRefused) {
  wire::Ipv4Header h{.ttl = 64, .dst = to_b4};
  const std::uint8_t lsrr[] = {131, 7, 4, 10, 2, 0, 2, 0};
  std::copy_n(reinterpret_cast<const std::byte*>(lsrr), 8, h.options.bytes.begin());
  h.options.len = 8;
  tell4(h);
  EXPECT_EQ(r.drops(Drop::ip_source_route), 1u);
  EXPECT_TRUE(from_router.empty());
}

TEST_P(SimForward, RecordRouteIsFilledIn) {
  static_cast<void>(datagram(b.address(), 4));
  wire::Ipv4Header h{.ttl = 64, .dst = to_b4};
  const std::uint8_t record[] = {7, 7, 4, 0, 0, 0, 0, 0};
  std::copy_n(reinterpret_cast<const std::byte*>(record), 8, h.options.bytes.begin());
  h.options.len = 8;
  tell4(h);
  ASSERT_EQ(from_router.size(), 1u);
  const auto out = wire::Ipv4View::parse(Bytes{from_router[0]}.subspan(14));
  EXPECT_TRUE(out->checksum_ok());
  EXPECT_EQ(load_be32(out->options(), 3), (Ipv4Address{10, 2, 0, 1}).value);
}

TEST_P(SimForward, WhoeverCouldSendItThereHimselfIsTold) {
  // b's network is also behind a third station on a's link.
  route(r, "192.0.2.0/24", "10.1.0.9");
  change(r, [&](stack::Network& n) {
    EXPECT_EQ(control::add_route(n, {.prefix = wire::IpPrefix::of(ip("2001:db9::"), 32), .gateway = ip("fe80::9").with_zone(r.interface_index()),
                                     .interface_index = r.interface_index()}), Errno::ok);
  });
  for (const char* who : {"10.1.0.9", "fe80::9"})
    ASSERT_EQ(r.shard(0).set_neighbour({r.interface_index(), ip(who).with_zone(r.interface_index())}, kRouterMac, {}), Errno::ok);
  net.run_for(1ms);
  tell4({.ttl = 64, .dst = {192, 0, 2, 1}});
  ASSERT_EQ(errors4().size(), 1u);
  EXPECT_EQ(errors4()[0].icmp, wire::IcmpHeader::redirect(wire::IcmpRedirect::host, {10, 1, 0, 9}));
  EXPECT_EQ(std::ranges::count_if(from_router, [](const Frame& f) {
    const auto v = wire::Ipv4View::parse(Bytes{f}.subspan(14));
    return v && v->protocol() == IpProtocol::udp && v->header().ttl == 63;
  }), 1) << "and it goes on";
  tell6({.hop_limit = 64, .dst = ip("2001:db9::1").v6()});
  ASSERT_EQ(errors6().size(), 1u) << net.trace();
  EXPECT_EQ(errors6()[0].first.hop_limit, 255);
  EXPECT_TRUE(errors6()[0].first.src.is_link_local());
  for (const Frame& f : from_router) {
    const auto v = wire::Ipv6View::parse(Bytes{f}.subspan(14));
    const auto m = v && v->next_header() == IpProtocol::icmpv6 ? wire::parse_nd(v->payload()) : unexpected(wire::ParseError::bad_type);
    const auto* redirect = m ? std::get_if<wire::NdRedirect>(&m->body) : nullptr;
    if (redirect == nullptr) continue;
    EXPECT_EQ(redirect->target, ip("fe80::9").v6());
    EXPECT_EQ(redirect->destination, ip("2001:db9::1").v6());
    EXPECT_LE(40 + v->payload().size(), 1280u);
  }
  // From elsewhere, or switched off, nobody is told.
  tell4({.ttl = 64, .src = {10, 2, 0, 2}, .dst = {192, 0, 2, 1}});
  EXPECT_TRUE(errors4().empty());
  change(r, [](stack::Network& n) { n.settings.ipv4.redirect = n.settings.ipv6.redirect = 0; });
  tell4({.ttl = 64, .dst = {192, 0, 2, 1}});
  tell6({.hop_limit = 64, .dst = ip("2001:db9::1").v6()}, 1400);
  EXPECT_TRUE(errors4().empty() && errors6().empty());
}

/// A host that takes no redirects silences nothing else.
TEST_P(SimForward, RedirectsLeaveRoomForErrors) {
  route(r, "192.0.2.0/24", "10.1.0.9");
  change(r, [&](stack::Network& n) {
    EXPECT_EQ(control::add_route(n, {.prefix = wire::IpPrefix::of(ip("2001:db9::"), 32), .gateway = ip("fe80::9").with_zone(r.interface_index()),
                                     .interface_index = r.interface_index()}), Errno::ok);
  });
  for (const char* who : {"10.1.0.9", "fe80::9"})
    ASSERT_EQ(r.shard(0).set_neighbour({r.interface_index(), ip(who).with_zone(r.interface_index())}, kRouterMac, {}), Errno::ok);
  net.run_for(1ms);
  const auto limited = r.drops(Drop::icmp_rate_limited);
  const auto redirects = [&] {
    std::uint64_t count = 0;
    for (std::uint32_t n = 0; n < GetParam(); ++n)
      count += r.shard(n).counters().ipv4.redirects_sent.value() + r.shard(n).counters().ipv6.redirects_sent.value();
    return count;
  };
  for (int i = 0; i < 60; ++i) tell4({.ttl = 64, .dst = {192, 0, 2, 1}}), tell6({.hop_limit = 64, .dst = ip("2001:db9::1").v6()});
  EXPECT_EQ(redirects(), 2u) << "one each; it was said";
  // To many destinations, too.
  for (std::uint8_t i = 2; i < 120; ++i) tell4({.ttl = 64, .dst = {192, 0, 2, i}});
  EXPECT_LE(redirects(), 40u);
  for (int i = 0; i < 20; ++i) {
    tell4({.ttl = 1, .dst = to_b4});
    EXPECT_EQ(errors4().size(), 1u);
  }
  EXPECT_EQ(r.drops(Drop::icmp_rate_limited), limited);
  // Counted when they are sent.
  const auto before = redirects();
  tell4({.ttl = 64, .protocol = IpProtocol::icmp, .dst = {192, 0, 2, 250}});
  EXPECT_EQ(redirects(), before) << "never about what may be an error";
}

/// RFC 4291 section 2.8.
TEST_P(SimForward, ARouterHearsWhatIsSaidToAllRouters) {
  for (const std::uint32_t index : {r.interface_index(), second}) {
    const auto macs = r.shard(0).multicast_filter(index);
    EXPECT_TRUE(std::ranges::count(macs, wire::MacAddress{{0x33, 0x33, 0, 0, 0, 2}})) << index;
  }
  change(r, [](stack::Network& n) { n.settings.icmp.bmcastecho = 1; });
  const auto ask = [&](const char* group) {
    std::vector<std::byte> echo(8 + 8);
    wire::encode(wire::Icmpv6Header{.type = wire::Icmpv6Type::echo_request}, echo);
    from_router.clear();
    r.receive(packet6({{0x33, 0x33, 0, 0, 0, 2}}, {.next_header = IpProtocol::icmpv6, .hop_limit = 64, .src = ip("2001:db8:1::2").v6(),
                                                   .dst = ip(group).v6()}, echo));
    net.run_for(10ms);
    return std::ranges::count_if(from_router, [](const Frame& f) {
      const auto v = wire::Ipv6View::parse(Bytes{f}.subspan(14));
      return v && v->next_header() == IpProtocol::icmpv6 && load_u8(v->payload(), 0) == static_cast<std::uint8_t>(wire::Icmpv6Type::echo_reply);
    });
  };
  for (const char* group : {"ff02::2", "ff05::2"}) EXPECT_EQ(ask(group), 1) << group;
  EXPECT_EQ(ask("ff05::5"), 0);
  set_forwarding(false);
  for (const char* group : {"ff02::2", "ff05::2"}) EXPECT_EQ(ask(group), 0) << group;
}

TEST_P(SimForward, ARouterIsNoHost) {
  std::vector<std::byte> m;
  wire::append_neighbour_solicitation(m, {ip("2001:db8:1::1").v6()}, mac(a));
  from_router.clear();
  r.receive(packet6(mac(r), {.next_header = IpProtocol::icmpv6, .hop_limit = 255, .src = ip("2001:db8:1::2").v6(), .dst = ip("2001:db8:1::1").v6()}, m));
  net.run_for(1ms);
  ASSERT_EQ(from_router.size(), 1u);
  const auto na = wire::parse_nd(wire::Ipv6View::parse(Bytes{from_router[0]}.subspan(14))->payload());
  EXPECT_TRUE(std::get<wire::NeighbourAdvertisement>(na->body).router);
  m.clear();
  wire::append_router_advertisement(m, {.lifetime_s = 1800}, {});
  r.receive(packet6({{0x33, 0x33, 0, 0, 0, 1}}, {.next_header = IpProtocol::icmpv6, .hop_limit = 255, .src = ip("fe80::77").v6(), .dst = Ipv6Address::all_nodes()}, m));
  net.run_for(1ms);
  EXPECT_EQ(r.drops(Drop::nd_ignored), 1u);
}

/// RFC 1812 section 5.3.5.2, RFC 2644.
TEST_P(SimForward, DirectedBroadcastsPassOnlyWhereTheyAreAskedFor) {
  const IpAddress everybody = ip("10.2.0.255");
  EXPECT_TRUE(datagram(everybody, 20).empty());
  EXPECT_EQ(r.drops(Drop::ip_bad_destination), 1u);
  change(r, [](stack::Network& n) { n.settings.ipv4.directed_broadcast = 1; });
  from_router.clear();
  EXPECT_EQ(datagram(everybody, 20).size(), 20u);
  ASSERT_FALSE(from_router.empty());
  EXPECT_TRUE(wire::load_mac(from_router.back(), 0).is_broadcast());
  // RFC 1122 section 3.2.2: nobody hears of what becomes of a broadcast.
  tell4({.ttl = 1, .dst = {10, 2, 0, 255}});
  EXPECT_EQ(errors4().size(), 0u);
  // What came as a broadcast of the link goes on as none.
  tell4({.ttl = 9, .dst = {10, 2, 0, 255}}, 8, wire::MacAddress::broadcast());
  EXPECT_TRUE(from_router.empty());
}

/// RFC 1122 section 3.2.2.2.
TEST_P(SimForward, AHostFollowsItsRouterToABetterOne) {
  const Ipv4Address better{10, 1, 0, 9}, far{192, 0, 2, 7};
  const auto way = [&] { return a.stack().network()->fibs[0].lookup(far)->gateway; };
  const auto send = [&] {
    static_cast<void>(datagram(far, 10));
    return way();
  };
  route(r, "192.0.2.0/24", "10.1.0.9");
  // FIB 1 has the same router, FIB 2 another one.
  change(a, [&](stack::Network& n) {
    for (const std::uint8_t fib : {std::uint8_t{1}, std::uint8_t{2}})
      EXPECT_EQ(control::add_route(n, {.prefix = wire::IpPrefix::of(Ipv4Address::any(), 0), .gateway = ip(fib == 1 ? "10.1.0.1" : "10.1.0.55"), .fib = fib}),
                Errno::ok);
  });
  const auto way_of = [&](std::uint32_t fib, Ipv4Address to) { return a.stack().network()->fibs[fib].lookup(to)->gateway; };
  for (Host* host : {&a, &r}) ASSERT_EQ(host->shard(0).set_neighbour({host->interface_index(), better}, kRouterMac, {}), Errno::ok);
  EXPECT_EQ(send(), ip("10.1.0.1")) << "net.inet.icmp.drop_redirect";
  net.run_for(10s);
  change(a, [](stack::Network& n) { n.settings.icmp.drop_redirect = 0; });
  EXPECT_EQ(send(), IpAddress{better});
  EXPECT_EQ(way_of(1, far), IpAddress{better});
  EXPECT_EQ(way_of(2, far), ip("10.1.0.55"));
  const route::Route* taken = a.stack().network()->fibs[0].lookup(far);
  EXPECT_EQ(taken->flags, route::flag::up | route::flag::gateway | route::flag::host | route::flag::dynamic);
  // Only the router that is in use knows a better way, and only about what we have sent.
  const auto redirect = [&](Ipv4Address from, Ipv4Address about, Ipv4Address to, Ipv4Address sender) {
    std::vector<std::byte> message(8 + 28);
    wire::encode(wire::IcmpHeader::redirect(wire::IcmpRedirect::host, to), message);
    wire::encode(wire::Ipv4Header{.id = 1, .ttl = 9, .protocol = IpProtocol::udp, .src = sender, .dst = about, .payload_len = 8}, MutableBytes{message}.subspan(8));
    wire::store_icmp_checksum(message);
    const wire::Ipv4Header h{.id = 1, .ttl = 9, .protocol = IpProtocol::icmp, .src = from, .dst = a.address(), .payload_len = 36};
    Frame frame(14 + 20);
    wire::store_mac(frame, 0, mac(a));
    wire::store_mac(frame, 6, kRouterMac);
    store_be16(frame, 12, 0x0800);
    wire::encode(h, MutableBytes{frame}.subspan(14));
    frame.insert(frame.end(), message.begin(), message.end());
    a.receive(frame);
    net.run_for(1ms);
    return a.stack().network()->fibs[0].lookup(about)->gateway;
  };
  const Ipv4Address other{192, 0, 2, 8};
  EXPECT_EQ(redirect({10, 1, 0, 77}, other, better, a.address()), ip("10.1.0.1")) << "not our router";
  EXPECT_EQ(redirect({10, 1, 0, 1}, other, {10, 2, 0, 9}, a.address()), ip("10.1.0.1")) << "not on the link";
  EXPECT_EQ(redirect({10, 1, 0, 1}, other, better, {10, 1, 0, 55}), ip("10.1.0.1")) << "not our packet";
  EXPECT_EQ(redirect({10, 1, 0, 1}, other, better, a.address()), IpAddress{better});
  // Where another router is the first hop, its word counts, and there alone.
  const Ipv4Address third{10, 1, 0, 10};
  redirect({10, 1, 0, 55}, other, third, a.address());
  net.run_for(200ms);
  EXPECT_EQ(way_of(0, other), IpAddress{better});
  EXPECT_EQ(way_of(1, other), IpAddress{better});
  EXPECT_EQ(way_of(2, other), IpAddress{third});
  EXPECT_EQ(way_of(2, far), ip("10.1.0.55"));
  EXPECT_EQ(redirect(better, other, third, a.address()), IpAddress{third}) << "who was sent to may send on";
  // A flood changes tables now and then, and fills no memory.
  const auto version = a.stack().network()->version;
  for (std::uint32_t i = 0; i < 1000; ++i) redirect({10, 1, 0, 1}, Ipv4Address{198u << 24 | 51u << 16 | i}, better, a.address());
  EXPECT_LE(a.stack().network()->version - version, 40u);
  net.run_for(1s);
  std::size_t known = 0;
  a.stack().network()->fibs[0].for_each([&](const route::Route& one) { known += (one.flags & route::flag::dynamic) != 0 && one.prefix.address.is_v4(); });
  // The one of FIB 2 is among the most.
  EXPECT_EQ(known, ipv4::Redirects::kMost - 1);
  net.run_for(601s);
  EXPECT_EQ(way(), ip("10.1.0.1")) << "not for ever";
}

INSTANTIATE_TEST_SUITE_P(Shards, SimForward, ::testing::Values(1u, 2u));

}  // namespace
}  // namespace iopkt::sim
