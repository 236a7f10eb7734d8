// IPv6 between whole stacks: TCP, UDP, fragments, and packets that nobody should send; RFC 8200, 4443, 5722, 6946, 7112.
#include "tests/sim/ipv6_fixture.hpp"

namespace iopkt::sim {
namespace {

TEST_P(SimIpv6, LoopbackCarriesEverything) {
  Host& a = net.host("10.0.0.1/24", options());
  net.run_for(1ms);
  transfer(a, a, Ipv6Address::loopback());
  Host::UdpSocket& to = a.udp({Ipv6Address::loopback(), Port{9}});
  Host::UdpSocket& from = a.udp({Ipv6Address::any(), Port{5000}}, GetParam() - 1);
  net.run_for(1ms);
  const auto large = net.random_bytes(60'000);
  EXPECT_EQ(a.send(from, {Ipv6Address::loopback(), Port{9}}, large), Errno::ok);
  net.run_for(10ms);
  ASSERT_EQ(to.received.size(), 1u);
  EXPECT_EQ(to.received[0].second, large);
  EXPECT_EQ(to.received[0].first, (Endpoint{Ipv6Address::loopback(), Port{5000}}));
}

TEST_P(SimIpv6, AnInterfaceFindsItsAddressAndTcpItsNeighbour) {
  Host& a = net.host("10.0.0.1/24", options());
  Host& b = net.host("10.0.0.2/24", options());
  net.wire({&a, &b}, {.delay = 2ms, .loss = 0.02, .duplicate = 0.01, .reorder = 0.05, .corrupt = 0.01});
  EXPECT_TRUE(a.link_local().is_unspecified()) << "tentative";
  ASSERT_TRUE(wait_for_link_local({&a, &b})) << net.trace();
  EXPECT_EQ(a.link_local().zone(), a.interface_index());
  EXPECT_NE(a.link_local().v6(), b.link_local().v6());
  transfer(a, b, b.link_local().with_zone(a.interface_index()));
  EXPECT_GT(b.tcp_counters().rx_segments, 0u);
}

TEST_P(SimIpv6, LargeDatagramsAreFragmentedAndPutTogether) {
  Host& a = net.host("10.0.0.1/24", options("2001:db8::1/64"));
  Host& b = net.host("10.0.0.2/24", options("2001:db8::2/64"));
  net.wire({&a, &b}, {.reorder = 0.5});
  ASSERT_TRUE(wait_for_link_local({&a, &b}));
  Host::UdpSocket& from = a.udp({ip("2001:db8::1"), Port{5000}});
  Host::UdpSocket& to = b.udp({Ipv6Address::any(), Port{9}}, GetParam() - 1);
  net.run_for(1ms);
  for (const std::size_t size : {std::size_t{0}, std::size_t{1452}, std::size_t{1453}, std::size_t{30'000}, std::size_t{65'527}}) {
    const auto payload = net.random_bytes(size);
    EXPECT_EQ(a.send(from, {ip("2001:db8::2"), Port{9}}, payload), Errno::ok);
    net.run_for(100ms);
    ASSERT_FALSE(to.received.empty()) << size << net.trace();
    EXPECT_EQ(to.received.back().second, payload);
    to.received.clear();
  }
  EXPECT_GT(a.shard(0).counters().ipv6.tx_fragments.value() + a.shard(GetParam() - 1).counters().ipv6.tx_fragments.value(), 60u);
  net.run_for(100s);
  EXPECT_EQ(b.packets_held(), 0u);
}

TEST_P(SimIpv6, OffloadsCarryTheSame) {
  constexpr std::uint32_t kAll = IOPKT_CAP_CSUM_TX | IOPKT_CAP_CSUM_RX | IOPKT_CAP_TSO4 | IOPKT_CAP_TSO6;
  auto offloading = options("2001:db8::1/64");
  offloading.capabilities = kAll;
  Host& a = net.host("10.0.0.1/24", offloading);
  Host& b = net.host("10.0.0.2/24", options("2001:db8::2/64"));
  net.wire({&a, &b}, {.loss = 0.01});
  net.run_for(1ms);
  transfer(a, b, ip("2001:db8::2"), 2'000'000);
  EXPECT_EQ(b.drops(Drop::tcp_bad_checksum), 0u);
}

TEST_P(SimIpv6Alone, AnswersEchoes) {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{56}, std::size_t{1452}}) {
    sent.clear();
    tell({.next_header = wire::IpProtocol::icmpv6}, echo(size));
    ASSERT_EQ(sent.size(), 1u) << size;
    EXPECT_EQ(sent[0].icmp(), wire::Icmpv6Header::echo(wire::Icmpv6Type::echo_reply, 7, 9));
    EXPECT_TRUE(sent[0].checksum_ok());
    EXPECT_EQ(sent[0].payload.size(), 8 + size);
    EXPECT_EQ(sent[0].header.src, ip("2001:db8::1").v6());
    EXPECT_EQ(sent[0].header.hop_limit, 64);
  }
}

// ---------------------------------------------------------------------------------------------- what is refused

using wire::IpProtocol;

std::vector<std::byte> bytes_of(std::initializer_list<int> values, std::size_t zeroes = 0) {
  std::vector<std::byte> out;
  for (const int v : values) out.push_back(static_cast<std::byte>(v));
  out.resize(out.size() + zeroes);
  return out;
}
std::vector<std::byte> operator+(std::vector<std::byte> a, const std::vector<std::byte>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
std::vector<std::byte> datagram6(const Ipv6Address& from, const Ipv6Address& to, std::uint16_t port, std::size_t size = 8) {
  std::vector<std::byte> out(8 + size, std::byte{'u'});
  store_be16(out, 0, 4000);
  store_be16(out, 2, port);
  store_be16(out, 4, static_cast<std::uint16_t>(out.size()));
  store_be16(out, 6, 0);
  const auto pseudo = wire::pseudo_header_sum(from, to, IpProtocol::udp, static_cast<std::uint32_t>(out.size()));
  store_be16(out, 6, wire::udp_checksum_field(wire::finish(wire::sum(out, pseudo))));
  return out;
}
/// An ICMPv6 error's type, code and value.
using Error = std::tuple<int, int, std::uint32_t>;

TEST_P(SimIpv6Alone, HeadersThatNobodyShouldSend) {
  const auto padding = [](int next) { return bytes_of({next, 0, 1, 4, 0, 0, 0, 0}); };
  std::vector<std::byte> chain;
  for (int i = 0; i < 9; ++i) chain = chain + padding(i == 8 ? 17 : 60);
  const auto option = [](int type) { return bytes_of({17, 0, 1, 0, type, 2, 0, 0}); };
  const struct {
    const char* says;
    IpProtocol next;
    std::vector<std::byte> rest;
    Drop drop;
    std::optional<Error> answer;
  } rows[] = {
      {"hop-by-hop not first", IpProtocol::destination_options, padding(0) + padding(17), Drop::ip6_bad_extension, Error{4, 1, 40}},
      {"cut short", IpProtocol::destination_options, bytes_of({17, 5, 1, 4, 0, 0, 0, 0}), Drop::ip6_bad_extension, {}},
      {"an option over the end", IpProtocol::destination_options, bytes_of({17, 0, 30, 9, 0, 0, 0, 0}), Drop::ip6_bad_extension, {}},
      {"nine headers", IpProtocol::destination_options, chain, Drop::ip6_extension_limit, {}},
      {"nine options", IpProtocol::destination_options,
       bytes_of({17, 2, 30, 0, 30, 0, 30, 0, 30, 0, 30, 0, 30, 0, 30, 0, 30, 0, 30, 0, 1, 0, 0, 0}), Drop::ip6_extension_limit, {}},
      {"600 bytes of options", IpProtocol::destination_options, bytes_of({17, 74, 1, 255}, 596), Drop::ip6_extension_limit, {}},
      {"an option to drop for", IpProtocol::destination_options, option(0x5e), Drop::ip6_unknown_option, {}},
      {"an option to complain about", IpProtocol::destination_options, option(0x9e), Drop::ip6_unknown_option, Error{4, 2, 44}},
      {"a jumbo payload that is none", IpProtocol::hop_by_hop, option(0xc2), Drop::ip6_jumbogram, Error{4, 2, 44}},
      {"... unless to a group", IpProtocol::hop_by_hop, option(0xde), Drop::ip6_unknown_option, Error{4, 2, 44}},
      {"type 0 routing", IpProtocol::routing, bytes_of({17, 2, 0, 1, 0, 0, 0, 0}, 16), Drop::ip6_routing_header, Error{4, 0, 42}},
      {"a later fragment's odd length", IpProtocol::fragment, bytes_of({17, 0, 0, 1, 0, 0, 0, 1}, 9), Drop::ip_bad_fragment, Error{4, 0, 4}},
      {"a fragment beyond 65535", IpProtocol::fragment, bytes_of({17, 0, 255, 248, 0, 0, 0, 1}, 16), Drop::ip_bad_fragment, Error{4, 0, 42}},
      {"a first fragment without ports", IpProtocol::fragment, bytes_of({60, 0, 0, 1, 0, 0, 0, 1}) + padding(6), Drop::ip6_incomplete_chain,
       Error{4, 3, 0}},
      {"nothing follows", IpProtocol::no_next_header, bytes_of({1, 2, 3}), Drop::ip6_no_next_header, {}},
      {"an unknown protocol", IpProtocol::destination_options, padding(200) + bytes_of({}, 8), Drop::ip_unknown_protocol, Error{4, 1, 40}},
      {"ICMP of IPv4", IpProtocol::icmp, bytes_of({8, 0, 0xf7, 0xff, 0, 0, 0, 0}), Drop::ip_unknown_protocol, Error{4, 1, 6}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    sent.clear();
    const std::uint64_t before = a.drops(row.drop);
    tell({.next_header = row.next}, row.rest);
    EXPECT_EQ(a.drops(row.drop), before + 1) << net.trace();
    ASSERT_EQ(sent.size(), row.answer ? 1u : 0u);
    if (!row.answer) continue;
    const auto h = sent[0].icmp();
    EXPECT_EQ((Error{static_cast<int>(h.type), h.code, h.rest}), *row.answer);
    EXPECT_TRUE(sent[0].checksum_ok());
    EXPECT_LE(40 + sent[0].payload.size(), 1280u);
  }
  EXPECT_EQ(a.packets_held(), 0u);
}

TEST_P(SimIpv6Alone, AddressesThatAreNone) {
  const auto tell_from = [&](const char* src, const char* dst, Drop why) {
    const std::uint64_t before = a.drops(why);
    from_nobody = true;
    wire::Ipv6Header h{.next_header = IpProtocol::udp, .src = ip(src).v6(), .dst = ip(dst).v6()};
    tell(h, datagram6(h.src, h.dst, 9));
    EXPECT_EQ(a.drops(why), before + 1) << src << " " << dst;
  };
  for (const char* src : {"ff02::1", "::", "::1", "::ffff:10.0.0.1", "2001:db8::1"}) tell_from(src, "2001:db8::1", Drop::ip_bad_source);
  for (const char* dst : {"::1", "::ffff:10.0.0.1", "ff01::1", "ff00::1"}) tell_from("2001:db8::99", dst, Drop::ip_bad_destination);
  for (const char* dst : {"2001:db8::2", "fe80::1234", "ff02::1:ff00:9999", "ff0e::1", "ff02::2"})
    tell_from("2001:db8::99", dst, Drop::ip_not_for_us);
  EXPECT_TRUE(sent.empty());
}

TEST_P(SimIpv6Alone, RawSocketsSeeWhatStandsBehindTheHeaders) {
  const auto id = a.shard(0).open({.family = wire::IpFamily::v6, .type = 3, .protocol = 58, .privileged = true, .cookie = 99});
  ASSERT_TRUE(id);
  net.run_for(1ms);
  std::vector<std::vector<std::byte>> seen;
  const auto tell_and_take = [&](std::vector<std::byte> frame) {
    stack::Shard& shard = a.shard(0);
    shard.begin(net.now());
    packet::Burst burst;
    packet::PacketPtr packet = packet::allocate_header(shard.cache());
    ASSERT_TRUE(packet && packet->append(frame));
    burst.push_back(std::move(packet));
    shard.receive(a.interface_index(), std::move(burst));
    for (const auto& d : shard.take_datagrams()) {
      seen.emplace_back(d.payload->size());
      d.payload->copy_out(0, seen.back());
    }
  };
  const wire::Ipv6Header h{.next_header = IpProtocol::destination_options, .hop_limit = 64, .src = ip("2001:db8::99").v6(), .dst = ip("2001:db8::1").v6()};
  auto message = echo(4);
  wire::store_icmpv6_checksum(message, h.src, h.dst);
  tell_and_take(packet6(mac(a), h, bytes_of({58, 0, 1, 4, 0, 0, 0, 0}) + message));
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0], message) << "RFC 3542 3: no header";
  message[3] ^= std::byte{1};
  tell_and_take(packet6(mac(a), h, bytes_of({58, 0, 1, 4, 0, 0, 0, 0}) + message));
  EXPECT_EQ(seen.size(), 1u) << "RFC 3542 3.1: a wrong checksum";
  EXPECT_GT(a.drops(Drop::icmp_bad_checksum), 0u);
  a.shard(0).close(*id);
  net.run_for(1ms);
}

TEST_P(SimIpv6Alone, TheVersionIsThatOfTheEtherType) {
  const Ipv6Address us = ip("2001:db8::1").v6(), them = ip("2001:db8::99").v6();
  Host::UdpSocket& udp = a.udp({Ipv6Address::any(), Port{9}});
  net.run_for(1ms);
  Frame six = packet6(mac(a), {.next_header = IpProtocol::udp, .hop_limit = 64, .src = them, .dst = us}, datagram6(them, us, 9));
  const auto tell_as = [&](std::uint16_t type) {
    store_be16(six, 12, type);
    a.receive(six);
    net.run_for(1ms);
  };
  tell_as(0x0800);
  EXPECT_EQ(a.drops(Drop::ip_bad_version), 1u);
  six[14] = std::byte{0x45};
  tell_as(0x86dd);
  EXPECT_EQ(a.drops(Drop::ip_bad_version), 2u);
  EXPECT_EQ(a.drops(), 2u);
  six[14] = std::byte{0x60};
  tell_as(0x86dd);
  EXPECT_EQ(udp.received.size(), 1u);
  EXPECT_EQ(a.drops(), 2u);
}

TEST_P(SimIpv6Alone, PortsThatNobodyHas) {
  const Ipv6Address us = ip("2001:db8::1").v6(), them = ip("2001:db8::99").v6();
  tell({.next_header = IpProtocol::udp}, datagram6(them, us, 9, 2000));
  EXPECT_EQ(a.drops(Drop::udp_no_socket), 1u);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].icmp(), wire::Icmpv6Header::unreachable(wire::Icmpv6Unreachable::port));
  EXPECT_EQ(sent[0].header.src, us);
  EXPECT_TRUE(sent[0].checksum_ok());
  EXPECT_EQ(40 + sent[0].payload.size(), 1280u) << "as much as fits";
  auto none = datagram6(them, us, 9);
  store_be16(none, 6, 0);
  tell({.next_header = IpProtocol::udp}, none);
  EXPECT_EQ(a.drops(Drop::udp_bad_checksum), 1u) << "RFC 8200 8.1";
  // An error about an error would go on for ever.
  auto error = bytes_of({1, 4, 0, 0, 0, 0, 0, 0}, 60);
  sent.clear();
  tell({.next_header = IpProtocol::icmpv6}, error);
  EXPECT_EQ(a.drops(Drop::icmp_no_flow), 1u);
  EXPECT_TRUE(sent.empty());
}

TEST_P(SimIpv6Alone, FragmentsThatOverlapOrNeverEnd) {
  const auto fragment = [&](int offset, bool more, int id, std::size_t size) {
    std::vector<std::byte> out(8);
    wire::encode(wire::Ipv6FragmentHeader{.next_header = IpProtocol::udp, .offset = static_cast<std::uint16_t>(offset), .more = more,
                                          .id = static_cast<std::uint32_t>(id)}, out);
    return out + std::vector<std::byte>(size);
  };
  tell({.next_header = IpProtocol::fragment}, fragment(0, true, 1, 64));
  tell({.next_header = IpProtocol::fragment}, fragment(56, true, 1, 64));
  EXPECT_EQ(a.drops(Drop::ip_fragment_overlap), 2u) << "RFC 5722: all of it";
  tell({.next_header = IpProtocol::fragment}, fragment(64, false, 1, 64));
  EXPECT_EQ(a.drops(Drop::ip_fragment_overlap), 3u);
  // RFC 6946: a whole packet has nothing to do with fragments of the same number.
  const Ipv6Address us = ip("2001:db8::1").v6(), them = ip("2001:db8::99").v6();
  Host::UdpSocket& udp = a.udp({Ipv6Address::any(), Port{9}});
  net.run_for(1ms);
  tell({.next_header = IpProtocol::fragment}, fragment(0, false, 1, 0) + datagram6(them, us, 9));
  EXPECT_EQ(udp.received.size(), 1u);
  tell({.next_header = IpProtocol::fragment}, fragment(0, true, 2, 64));
  sent.clear();
  net.run_for(100s);
  EXPECT_EQ(a.drops(Drop::ip_fragment_timeout), 1u);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].icmp(), wire::Icmpv6Header::time_exceeded(wire::Icmpv6TimeExceeded::reassembly));
}

INSTANTIATE_TEST_SUITE_P(Shards, SimIpv6Alone, ::testing::Values(1u, 2u));

TEST_P(SimIpv6, AnAddressOfALinkNeedsItsLink) {
  Host& a = net.host("10.0.0.1/24", options());
  ASSERT_TRUE(wait_for_link_local({&a}));
  Host::Stream& s = a.connect({ip("fe80::5"), Port{7}});
  EXPECT_EQ(s.error, Errno::inval);
  Host::Stream& far = a.connect({ip("fe80::5%200"), Port{7}});
  EXPECT_EQ(far.error, Errno::nodev) << "no such link";
}

TEST(SimIpv4Alone, KnowsNoIpv6) {
  SimNet net{3};
  Host& a = net.host("10.0.0.1/24");
  a.receive(packet6(a.stack().network()->interfaces.by_name("en0")->mac, {.next_header = IpProtocol::udp}, std::vector<std::byte>(8)));
  net.run_for(1ms);
  EXPECT_EQ(a.drops(Drop::link_unknown_type), 1u);
  EXPECT_EQ(a.shard(0).open({.family = wire::IpFamily::v6, .type = 1}).error(), Errno::afnosupport);
  EXPECT_EQ(a.stack().network()->interfaces.find_local(Ipv6Address::loopback()), nullptr);
}

INSTANTIATE_TEST_SUITE_P(Shards, SimIpv6, ::testing::Values(1u, 2u));

}  // namespace
}  // namespace iopkt::sim
