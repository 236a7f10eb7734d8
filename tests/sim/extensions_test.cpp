// What programs put between the IPv6 header and the transport's (RFC 3542), flow labels (RFC 6437), anycast addresses (RFC 4291 section
// 2.6, RFC 4861 section 7.2.7), between whole stacks.
#include "socket/numbers.hpp"
#include "stack/ways.hpp"
#include "tests/sim/ipv6_fixture.hpp"
#include "wire/ipv6_extensions.hpp"
#include "wire/tcp.hpp"

namespace iopkt::sim {
namespace {

namespace num = socket::num;
using wire::IpProtocol;

/// One option that nobody knows and everybody skips.
std::string options_header(std::size_t size) {
  std::string out(size, '\0');
  out[1] = static_cast<char>(size / 8 - 1);
  out[2] = 0x1e;
  out[3] = static_cast<char>(size - 4);
  return out;
}
Bytes bytes(const std::string& text) { return as_bytes(text.data(), text.size()); }

Errno set(Host& host, std::uint32_t shard, stack::SocketId id, int name, const std::string& value) {
  return host.shard(shard).set_option(id, num::kSolIpv6, name, bytes(value), true);
}

TEST_P(SimIpv6, DatagramsWithHeadersAreFragmentedBehindWhatRoutersRead) {
  Host& a = net.host("10.0.0.1/24", options("2001:db8::1/64"));
  Host& b = net.host("10.0.0.2/24", options("2001:db8::2/64"));
  std::size_t fragments = 0;
  net.tap = [&](const Host& from, Frame& frame) {
    const auto view = wire::Ipv6View::parse(Bytes{frame}.subspan(14));
    if (!view || &from != &a || view->next_header() != IpProtocol::hop_by_hop || load_u8(view->payload(), 0) == 58) return true;
    ++fragments;
    EXPECT_LE(view->payload_len() + 40u, 1500u);
    // RFC 8200 section 4.5: each has the hop-by-hop header; the destination options are part of what is cut.
    EXPECT_EQ(load_u8(view->payload(), 0), 44);
    const auto cut = wire::Ipv6FragmentHeader::parse(view->payload().subspan(16));
    EXPECT_EQ(cut->next_header, IpProtocol::destination_options);
    return true;
  };
  net.wire({&a, &b}, {.reorder = 0.5});
  ASSERT_TRUE(wait_for_link_local({&a, &b}));
  Host::UdpSocket& from = a.udp({ip("2001:db8::1"), Port{5000}});
  Host::UdpSocket& to = b.udp({Ipv6Address::any(), Port{9}}, GetParam() - 1);
  net.run_for(1ms);
  ASSERT_EQ(set(a, from.shard, from.id, num::ipv6_hopopts, options_header(16)), Errno::ok);
  ASSERT_EQ(set(a, from.shard, from.id, num::ipv6_dstopts, options_header(24)), Errno::ok);
  for (const std::size_t size : {std::size_t{1413}, std::size_t{30'000}, std::size_t{65'400}}) {
    const auto payload = net.random_bytes(size);
    EXPECT_EQ(a.send(from, {ip("2001:db8::2"), Port{9}}, payload), Errno::ok);
    net.run_for(100ms);
    ASSERT_FALSE(to.received.empty()) << size << net.trace();
    EXPECT_EQ(to.received.back().second, payload);
    to.received.clear();
  }
  EXPECT_GT(fragments, 60u);
  // All that the length field says.
  EXPECT_EQ(a.send(from, {ip("2001:db8::2"), Port{9}}, net.random_bytes(65'527)), Errno::msgsize);
}

/// RFC 9293 section 3.7.1: the MSS that is named does not know of options, what is sent does.
TEST_P(SimIpv6, SegmentsLeaveRoomForHeaders) {
  Host& a = net.host("10.0.0.1/24", options("2001:db8::1/64"));
  Host& b = net.host("10.0.0.2/24", options("2001:db8::2/64"));
  std::size_t largest = 0, data = 0;
  std::optional<std::uint16_t> named;
  net.tap = [&](const Host& from, Frame& frame) {
    const auto view = wire::Ipv6View::parse(Bytes{frame}.subspan(14));
    if (!view || &from != &a) return true;
    const auto upper = wire::find_upper_layer(view->packet());
    if (!upper || upper->protocol != IpProtocol::tcp) return true;
    const auto segment = wire::TcpView::parse(view->packet().subspan(upper->offset));
    if (!segment) return true;
    if ((segment->flags() & wire::syn) != 0) named = segment->header().options.mss;
    EXPECT_EQ(view->next_header(), IpProtocol::destination_options);
    largest = std::max<std::size_t>(largest, view->packet().size());
    data += segment->payload().size();
    return true;
  };
  net.wire({&a, &b}, {.delay = 1ms});
  ASSERT_TRUE(wait_for_link_local({&a, &b}));
  Host::Stream* taken = nullptr;
  b.listen(Port{7}, [&](Host::Stream& s) { taken = &s; });
  net.run_for(10ms);
  Host::Stream& s = a.stream(0, wire::IpFamily::v6);
  EXPECT_EQ(set(a, 0, s.id, num::ipv6_dstopts, options_header(64)), Errno::ok);
  a.connect(s, {ip("2001:db8::2"), Port{7}});
  s.to_send = net.random_bytes(100'000);
  s.close_after_send = true;
  ASSERT_TRUE(net.run_until([&] { return taken != nullptr && taken->peer_fin; }, 600s)) << net.trace();
  EXPECT_EQ(taken->received, s.to_send);
  EXPECT_EQ(named, 1440);
  EXPECT_EQ(largest, 1500u);
  EXPECT_EQ(a.drops(Drop::ip_too_big), 0u);
}

class SimIpv6Extensions : public SimIpv6Alone {};

/// RFC 8754 section 3.1: to the first station, with the checksum of the last.
TEST_P(SimIpv6Extensions, ADatagramGoesByItsSegments) {
  Host::UdpSocket& from = a.udp({ip("2001:db8::1"), Port{5000}});
  std::string header(40, '\0');
  header[1] = 4, header[2] = 4, header[3] = 1, header[4] = 1;
  std::vector<std::byte> station(16);
  wire::store_ipv6(station, 0, ip("2001:db8::99").v6());
  std::copy_n(reinterpret_cast<const char*>(station.data()), 16, header.begin() + 24);
  ASSERT_EQ(set(a, from.shard, from.id, num::ipv6_rthdr, header), Errno::ok);
  const auto payload = net.random_bytes(100);
  EXPECT_EQ(a.send(from, {ip("2001:db8:7::7"), Port{9}}, payload), Errno::ok);
  net.run_for(1ms);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.dst, ip("2001:db8::99").v6());
  ASSERT_EQ(sent[0].header.next_header, IpProtocol::routing);
  EXPECT_EQ(load_u8(sent[0].payload, 0), 17);
  EXPECT_EQ(wire::load_ipv6(sent[0].payload, 8), ip("2001:db8:7::7").v6());
  const Bytes udp = Bytes{sent[0].payload}.subspan(40);
  EXPECT_EQ(wire::finish(wire::sum(udp, wire::pseudo_header_sum(ip("2001:db8::1").v6(), ip("2001:db8:7::7").v6(), IpProtocol::udp,
                                                                static_cast<std::uint32_t>(udp.size())))),
            0);
}

/// The route and the source are those of the first station: to the end there is no route.
TEST_P(SimIpv6Extensions, ConnectionsGoByTheirSegments) {
  std::string header(40, '\0');
  header[1] = 4, header[2] = 4, header[3] = 1, header[4] = 1;
  std::vector<std::byte> station(16);
  wire::store_ipv6(station, 0, ip("2001:db8::99").v6());
  std::copy_n(reinterpret_cast<const char*>(station.data()), 16, header.begin() + 24);
  Host::Stream& s = a.stream(0, wire::IpFamily::v6);
  EXPECT_EQ(a.shard(0).connect(s.id, {ip("2001:db8:7::7"), Port{80}}), Errno::netunreach);
  ASSERT_EQ(set(a, 0, s.id, num::ipv6_rthdr, header), Errno::ok);
  EXPECT_EQ(a.shard(0).connect(s.id, {ip("2001:db8:7::7"), Port{80}}), Errno::inprogress);
  Host::UdpSocket& from = a.udp({Ipv6Address::any(), Port{5000}});
  ASSERT_EQ(set(a, from.shard, from.id, num::ipv6_rthdr, header), Errno::ok);
  EXPECT_EQ(a.shard(from.shard).connect(from.id, {ip("2001:db8:7::7"), Port{9}}), Errno::ok);
  EXPECT_EQ(a.shard(from.shard).local_endpoint(from.id).address, ip("2001:db8::1"));
  net.run_for(1ms);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.dst, ip("2001:db8::99").v6());
  EXPECT_EQ(wire::load_ipv6(sent[0].payload, 8), ip("2001:db8:7::7").v6());
}

TEST_P(SimIpv6Extensions, WhatADatagramBringsIsGivenAlong) {
  Host::UdpSocket& to = a.udp({ip("2001:db8::1"), Port{9}});
  net.run_for(1ms);
  std::vector<std::byte> message(8 + 8 + 3);
  const std::string header = options_header(8);
  std::copy_n(bytes(header).begin(), 8, message.begin());
  store_u8(message, 0, 17);
  wire::encode(wire::UdpHeader{.src = Port{7}, .dst = Port{9}, .payload_len = 3}, MutableBytes{message}.subspan(8));
  const auto pseudo = wire::pseudo_header_sum(ip("2001:db8::99").v6(), ip("2001:db8::1").v6(), IpProtocol::udp, 11);
  store_be16(message, 14, wire::udp_checksum_field(wire::finish(wire::sum(Bytes{message}.subspan(8), pseudo))));
  tell({.tos = 0x28, .flow_label = 0x12345, .next_header = IpProtocol::destination_options}, message);
  ASSERT_EQ(to.received.size(), 1u);
  EXPECT_EQ(to.flow_infos[0], 0x2812345u);
  EXPECT_EQ(to.extensions[0], std::vector<std::byte>(message.begin(), message.begin() + 8));
}

/// UDP_GRO: two that a program must tell apart.
TEST_P(SimIpv6Extensions, HeadersOfAnotherKindDoNotComeTogether) {
  Host::UdpSocket& to = a.udp({ip("2001:db8::1"), Port{9}});
  const std::int32_t on = 1;
  a.shard(to.shard).set_option(to.id, num::kSolUdp, num::udp_gro, as_bytes(&on, sizeof on), false);
  stack::ShardState& s = a.shard(to.shard).state();
  const auto bring = [&](IpProtocol kind, std::uint32_t path_mtu) {
    stack::Datagram d{.id = to.id, .path_mtu = path_mtu};
    d.extras_kind = static_cast<std::uint8_t>(kind);
    d.extras.assign(8, std::byte{0});
    d.payload = packet::allocate_header(s.cache);
    ASSERT_TRUE(d.payload && d.payload->append(Bytes{d.extras}));
    stack::deliver(s, to.shard, std::move(d));
  };
  bring(IpProtocol::hop_by_hop, 0);
  bring(IpProtocol::hop_by_hop, 0);
  EXPECT_EQ(s.datagrams.size(), 1u);
  bring(IpProtocol::destination_options, 0);
  EXPECT_EQ(s.datagrams.size(), 2u);
  bring(IpProtocol::hop_by_hop, 1280);
  bring(IpProtocol::hop_by_hop, 0);
  EXPECT_EQ(s.datagrams.size(), 4u) << "a notice of IPV6_RECVPATHMTU takes nothing in";
  s.datagrams.clear();
}

/// RFC 3542 section 11.3; of IPV6_MTU_DISCOVER the host says nothing.
TEST_P(SimIpv6Extensions, WhoWantsItWholeHearsOfThePath) {
  Host::UdpSocket& from = a.udp({ip("2001:db8::1"), Port{5000}});
  const auto turn_on = [&](int name, std::int32_t value) {
    ASSERT_EQ(a.shard(from.shard).set_option(from.id, num::kSolIpv6, name, as_bytes(&value, sizeof value), false), Errno::ok);
  };
  turn_on(num::ipv6_recvpathmtu, 1);
  stack::ShardState& s = a.shard(from.shard).state();
  const auto told = [&](std::optional<bool> whole) {
    s.datagrams.clear();
    const stack::DatagramRequest request{.destination = Endpoint{ip("2001:db8::99"), Port{9}}, .dont_fragment = whole};
    EXPECT_EQ(a.shard(from.shard).send(from.id, request, net.random_bytes(2000), {}), Errno::msgsize);
    const std::uint32_t mtu = s.datagrams.empty() ? 0 : s.datagrams.front().path_mtu;
    s.datagrams.clear();
    return mtu;
  };
  EXPECT_EQ(told(true), 1500u) << "as control data";
  turn_on(num::ipv6_mtu_discover, 2);
  EXPECT_EQ(told({}), 0u);
  EXPECT_EQ(told(false), 0u) << "one datagram does not take back what holds for all";
  turn_on(num::ipv6_dontfrag, 1);
  EXPECT_EQ(told({}), 1500u);
  turn_on(num::ipv6_mtu_discover, 1);
  EXPECT_EQ(told({}), 1500u);
  const stack::DatagramRequest cut{.destination = Endpoint{ip("2001:db8::99"), Port{9}}, .dont_fragment = false};
  EXPECT_EQ(a.shard(from.shard).send(from.id, cut, net.random_bytes(2000), {}), Errno::ok);
}

Expected<void, Drop> refuse_short(void*, filter::Hook, const iface::Interface&, packet::Packet& packet) {
  if (packet.size() < 100) return unexpected(Drop::ip_no_route);
  return {};
}

/// UDP_SEGMENT with headers that no device can copy: an error would have the program send the first two again.
TEST_P(SimIpv6Extensions, WhatHasLeftIsNoError) {
  Host::UdpSocket& from = a.udp({ip("2001:db8::1"), Port{5000}});
  ASSERT_EQ(set(a, from.shard, from.id, num::ipv6_dstopts, options_header(8)), Errno::ok);
  a.shard(from.shard).state().filters.add(filter::Hook::out, &refuse_short, nullptr);
  EXPECT_EQ(a.send(from, {ip("2001:db8::99"), Port{9}}, net.random_bytes(2020), 1000), Errno::ok);
  net.run_for(1ms);
  EXPECT_EQ(sent.size(), 2u);
  EXPECT_EQ(a.send(from, {ip("2001:db8::99"), Port{9}}, net.random_bytes(20), 10), Errno::perm) << "nothing has left";
}

TEST_P(SimIpv6Extensions, LeasedLabelsAreSent) {
  Host::UdpSocket& from = a.udp({ip("2001:db8::1"), Port{5000}});
  ASSERT_EQ(a.shard(from.shard).use_flow_info(from.id, 0x54321), Errno::ok) << "without IPV6_FLOWINFO_SEND it says nothing";
  ASSERT_EQ(a.send(from, {ip("2001:db8::99"), Port{9}}, net.random_bytes(1)), Errno::ok);
  const std::int32_t on = 1;
  ASSERT_EQ(a.shard(from.shard).set_option(from.id, num::kSolIpv6, num::ipv6_flowinfo_send, as_bytes(&on, sizeof on), false), Errno::ok);
  ASSERT_EQ(a.shard(from.shard).use_flow_info(from.id, 0xf54321), Errno::ok);
  ASSERT_EQ(a.send(from, {ip("2001:db8::99"), Port{9}}, net.random_bytes(1)), Errno::ok);
  net.run_for(1ms);
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_NE(sent[0].header.flow_label, 0x54321u);
  EXPECT_EQ(sent[1].header.flow_label, 0x54321u);
}

/// RFC 4884 section 7: what stands behind the datagram in an error, for who asked for it; and what is wrong with it.
TEST_P(SimIpv6Extensions, ExtensionsOfErrorsAreShown) {
  Host::UdpSocket& from = a.udp({ip("2001:db8::1"), Port{5000}});
  const std::int32_t on = 1;
  const auto turn_on = [&](int name) {
    ASSERT_EQ(a.shard(from.shard).set_option(from.id, num::kSolIpv6, name, as_bytes(&on, sizeof on), false), Errno::ok);
  };
  turn_on(num::ipv6_recverr);
  const auto error = [&](std::uint8_t words, std::size_t original, std::uint8_t object_len, std::uint16_t spoil) {
    std::vector<std::byte> m(8 + original + 12);
    store_u8(m, 0, 1), store_u8(m, 1, 3), store_u8(m, 4, words);
    const MutableBytes quoted = MutableBytes{m}.subspan(8);
    wire::encode(wire::Ipv6Header{.payload_len = 60, .next_header = IpProtocol::udp, .hop_limit = 64, .src = ip("2001:db8::1").v6(),
                                  .dst = ip("2001:db8::99").v6()}, quoted);
    wire::encode(wire::UdpHeader{.src = Port{5000}, .dst = Port{9}, .payload_len = 52}, quoted.subspan(40));
    const MutableBytes extension = quoted.subspan(original);
    store_u8(extension, 0, 0x20);
    store_be16(extension, 4, object_len), store_u8(extension, 6, 1), store_u8(extension, 7, 1);
    store_be16(extension, 2, static_cast<std::uint16_t>(wire::finish(wire::sum(extension, 0)) ^ spoil));
    from.reported.clear();
    tell({.next_header = IpProtocol::icmpv6}, m);
    net.run_for(1ms);
    return from.reported.empty() ? stack::ErrorInfo{} : from.reported[0].first;
  };
  EXPECT_EQ(error(16, 128, 8, 0).extension_at, 0) << "nobody asked";
  ASSERT_EQ(from.reported.size(), 1u);
  turn_on(num::ipv6_recverr_rfc4884);
  stack::ErrorInfo got = error(16, 128, 8, 0);
  EXPECT_EQ(got.extension_at, 128 - 48) << "behind the headers that the program did not write";
  EXPECT_FALSE(got.extension_bad);
  EXPECT_TRUE(error(16, 128, 8, 0x100).extension_bad) << "the checksum";
  EXPECT_TRUE(error(16, 128, 12, 0).extension_bad) << "an object over the end";
  EXPECT_TRUE(error(16, 128, 3, 0).extension_bad) << "an object without a head";
  EXPECT_EQ(error(15, 120, 8, 0).extension_at, 0) << "RFC 4884 section 5.3: at least 128 bytes";
  EXPECT_EQ(error(0, 128, 8, 0).extension_at, 0);
  EXPECT_EQ(error(255, 128, 8, 0).extension_at, 0) << "beyond the end";
}

// ---------------------------------------------------------------------------------------------- anycast

std::vector<std::byte> solicitation(const Ipv6Address& target) {
  std::vector<std::byte> out;
  wire::append_neighbour_solicitation(out, {target}, kRouterMac);
  return out;
}

TEST_P(SimIpv6Extensions, RoutersAnswerForTheirSubnet) {
  const Ipv6Address anycast = ip("2001:db8::").v6();
  const auto ask = [&] {
    sent.clear();
    tell({.next_header = IpProtocol::icmpv6, .hop_limit = 255, .dst = anycast.solicited_node()}, solicitation(anycast),
         link::multicast_mac(IpAddress{anycast.solicited_node()}));
  };
  ask();
  net.run_for(2s);
  EXPECT_TRUE(sent.empty()) << "a host has no such address";
  change(a, [](stack::Network& n) { n.settings.ipv6.forwarding = 1; });
  net.run_for(1s);
  ask();
  EXPECT_TRUE(sent.empty()) << "RFC 4861 section 7.2.7: not at once";
  ASSERT_TRUE(net.run_until([&] { return !sent.empty(); }, 1s));
  const auto nd = wire::parse_nd(sent[0].payload);
  ASSERT_TRUE(nd);
  const auto* m = std::get_if<wire::NeighbourAdvertisement>(&nd->body);
  ASSERT_NE(m, nullptr);
  EXPECT_EQ(m->target, anycast);
  EXPECT_TRUE(m->router && m->solicited && !m->override_);
  EXPECT_TRUE(sent[0].header.src.is_link_local());
  sent.clear();
  tell({.next_header = IpProtocol::icmpv6, .dst = anycast}, echo(8));
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].icmp().type, wire::Icmpv6Type::echo_reply);
  EXPECT_EQ(sent[0].header.src, ip("2001:db8::1").v6()) << "RFC 4443 section 2.2: an address that is ours alone";
  change(a, [](stack::Network& n) { n.settings.ipv6.forwarding = 0; });
  ask();
  net.run_for(2s);
  EXPECT_TRUE(sent.empty());
}

TEST_P(SimIpv6Extensions, ProgramsJoinAnycastAddresses) {
  Host::UdpSocket& k = a.udp({Ipv6Address::any(), Port{9}}, GetParam() - 1);
  const auto mreq = [&](const char* address) {
    std::string out(20, '\0');
    wire::store_ipv6({reinterpret_cast<std::byte*>(out.data()), 16}, 0, ip(address).v6());
    const std::uint32_t index = a.interface_index();
    std::memcpy(out.data() + 16, &index, sizeof index);
    return out;
  };
  stack::Shard& shard = a.shard(GetParam() - 1);
  const auto change_option = [&](int name, const std::string& value, bool privileged) {
    const Errno result = shard.set_option(k.id, num::kSolIpv6, name, bytes(value), privileged);
    net.run_for(1ms);
    return result;
  };
  const std::string wanted = mreq("2001:db8::aaaa");
  EXPECT_EQ(change_option(num::ipv6_join_anycast, wanted, false), Errno::perm);
  EXPECT_EQ(change_option(num::ipv6_join_anycast, mreq("2001:db8::1"), true), Errno::inval) << "our own";
  EXPECT_EQ(change_option(num::ipv6_join_anycast, mreq("ff02::1"), true), Errno::inval);
  EXPECT_EQ(change_option(num::ipv6_join_anycast, mreq("2001:db8:9::1"), true), Errno::addrnotavail) << "of no network here";
  EXPECT_EQ(change_option(num::ipv6_join_anycast, wanted, true), Errno::ok);
  sent.clear();
  tell({.next_header = IpProtocol::icmpv6, .dst = ip("2001:db8::aaaa").v6()}, echo(8));
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.src, ip("2001:db8::1").v6());
  EXPECT_EQ(a.shard(0).list_groups().size(), a.shard(GetParam() - 1).list_groups().size());
  EXPECT_EQ(change_option(num::ipv6_leave_anycast, wanted, false), Errno::ok);
  EXPECT_EQ(change_option(num::ipv6_leave_anycast, wanted, false), Errno::noent);
  sent.clear();
  tell({.next_header = IpProtocol::icmpv6, .dst = ip("2001:db8::aaaa").v6()}, echo(8));
  EXPECT_TRUE(sent.empty());
}

INSTANTIATE_TEST_SUITE_P(Shards, SimIpv6Extensions, ::testing::Values(1u, 2u));

}  // namespace
}  // namespace iopkt::sim
