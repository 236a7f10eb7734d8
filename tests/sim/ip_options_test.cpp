// IPv4 options of sockets on the wire: source routes out and back, what fragments carry, what segments make room for. RFC 791 section 3.1,
// RFC 1122 sections 3.2.1.8, 4.1.3.2 and 4.2.3.8, RFC 9293 section 3.7.1.
#include <gtest/gtest.h>

#include "ipv4/options.hpp"
#include "socket/numbers.hpp"
#include "stack/state.hpp"
#include "tests/support/sim_net.hpp"
#include "wire/checksum.hpp"
#include "wire/ipv4.hpp"
#include "wire/tcp.hpp"

namespace iopkt::sim {
namespace {

using packet::Drop;
using socket::Errno;
using wire::Endpoint;
using wire::Ipv4Address;
using wire::Port;

constexpr Ipv4Address kNear{10, 0, 0, 9}, kFar{192, 0, 2, 7};

std::vector<std::byte> bytes(std::initializer_list<int> values) {
  std::vector<std::byte> out;
  for (const int v : values) out.push_back(static_cast<std::byte>(v));
  return out;
}

class SimIpOptions : public ::testing::Test {
 protected:
  void SetUp() override {
    net.wire({&host}, {});
    net.tap = [&](const Host&, Frame& frame) {
      if (load_be16(frame, 12) == 0x0800) sent.push_back(frame);
      return true;
    };
    ASSERT_EQ(host.shard(0).set_neighbour({host.interface_index(), kNear}, {{2, 0, 0, 0, 0, 9}}, {}), Errno::ok);
    ASSERT_EQ(host.shard(0).set_neighbour({host.interface_index(), Ipv4Address{10, 0, 0, 2}}, {{2, 0, 0, 0, 0, 2}}, {}), Errno::ok);
  }
  Errno give(stack::SocketId id, std::initializer_list<int> options, bool privileged = true) {
    const auto value = bytes(options);
    return host.shard(0).set_option(id, socket::num::kSolIp, socket::num::ip_options, value, privileged);
  }
  wire::Ipv4View packet(std::size_t i) const { return *wire::Ipv4View::parse(Bytes{sent.at(i)}.subspan(14)); }
  std::vector<std::byte> options(std::size_t i) const { return {packet(i).options().begin(), packet(i).options().end()}; }
  /// A SYN for port 7, which has come with these options.
  void tell_syn(std::initializer_list<int> given, Ipv4Address from = kFar) {
    std::vector<std::byte> segment(20);
    wire::encode(wire::TcpHeader{.src = Port{4000}, .dst = Port{7}, .seq = wire::SeqNum{1}, .flags = wire::syn, .window = 1000}, segment);
    const std::uint32_t pseudo = wire::pseudo_header_sum(from, host.address(), wire::IpProtocol::tcp, 20);
    store_be16(segment, 16, wire::finish(pseudo + wire::sum(segment)));
    tell(wire::IpProtocol::tcp, segment, given, from);
  }
  void tell(wire::IpProtocol protocol, const std::vector<std::byte>& segment, std::initializer_list<int> given, Ipv4Address from = kFar) {
    wire::Ipv4Header h{.id = 1, .ttl = 9, .protocol = protocol, .src = from, .dst = host.address(),
                       .payload_len = static_cast<std::uint16_t>(segment.size())};
    const auto o = bytes(given);
    std::ranges::copy(o, h.options.bytes.begin());
    h.options.len = static_cast<std::uint8_t>(o.size());
    Frame frame(14 + wire::encoded_len(h));
    wire::store_mac(frame, 0, host.stack().network()->interfaces.by_index(host.interface_index())->mac);
    wire::store_mac(frame, 6, {{2, 0, 0, 0, 0, 9}});
    store_be16(frame, 12, 0x0800);
    wire::encode(h, MutableBytes{frame}.subspan(14));
    frame.insert(frame.end(), segment.begin(), segment.end());
    host.receive(frame);
    net.run_for(1ms);
  }
  void accept_source_routes() {
    stack::Network next = *host.stack().network();
    next.settings.ipv4.accept_source_route = 1;
    host.stack().publish(std::move(next));
    net.run_for(1ms);
  }

  SimNet net{1};
  Host& host = net.host("10.0.0.1/24");
  std::vector<Frame> sent;
};

TEST_F(SimIpOptions, ADatagramGoesTheWayThatItsProgramSays) {
  auto& s = host.udp({Ipv4Address::any(), Port{5000}});
  ASSERT_EQ(give(s.id, {1, 131, 11, 4, 10, 0, 0, 9, 192, 0, 2, 1}), Errno::ok);
  ASSERT_EQ(host.send(s, {kFar, Port{53}}, bytes({1, 2})), Errno::ok);
  net.run_for(1ms);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(packet(0).dst(), kNear) << "though there is no route to the end";
  EXPECT_EQ(packet(0).src(), host.address());
  EXPECT_EQ(options(0), bytes({1, 131, 11, 4, 192, 0, 2, 1, 192, 0, 2, 7}));
  // RFC 1122 section 4.1.3.2 with 768: the checksum is that of the end.
  EXPECT_EQ(wire::finish(wire::pseudo_header_sum(host.address(), kFar, wire::IpProtocol::udp, 10) + wire::sum(packet(0).payload())), 0);
  ASSERT_EQ(give(s.id, {}), Errno::ok);
  EXPECT_EQ(host.send(s, {kFar, Port{53}}, bytes({1, 2})), Errno::netunreach);
}

TEST_F(SimIpOptions, AWayOfOnesOwnIsForThePrivileged) {
  auto& s = host.udp({Ipv4Address::any(), Port{5000}});
  for (const int route : {131, 137}) {
    EXPECT_EQ(give(s.id, {1, route, 7, 4, 10, 0, 0, 9}, false), Errno::perm);
    EXPECT_EQ(give(s.id, {1, route, 7, 8, 10, 0, 0, 9}, false), Errno::inval);
  }
  EXPECT_EQ(give(s.id, {7, 7, 4, 0, 0, 0, 0, 0}, false), Errno::ok);
  EXPECT_EQ(give(s.id, {0x99, 4, 0, 0}, false), Errno::inval);
}

/// RFC 1112 section 4.
TEST_F(SimIpOptions, NoSourceRouteEndsAtAGroup) {
  const Endpoint group{Ipv4Address{239, 1, 1, 1}, Port{53}};
  auto& s = host.udp({Ipv4Address::any(), Port{5000}});
  ASSERT_EQ(give(s.id, {131, 7, 4, 10, 0, 0, 9}), Errno::ok);
  stack::DatagramRequest request{.destination = group, .interface_index = host.interface_index()};
  const auto send = [&] { return host.shard(0).send(s.id, request, bytes({1, 2}), {}); };
  EXPECT_EQ(send(), Errno::inval);
  ASSERT_EQ(give(s.id, {148, 4, 0, 0}), Errno::ok);
  EXPECT_EQ(send(), Errno::ok);
  request.options = ipv4::given_options(bytes({131, 7, 4, 10, 0, 0, 9}), false);
  EXPECT_EQ(send(), Errno::inval) << "IP_RETOPTS";
  net.run_for(1ms);
  std::size_t to_group = 0, to_router = 0;
  for (std::size_t i = 0; i < sent.size(); ++i) to_group += packet(i).dst() == group.address.v4(), to_router += packet(i).dst() == kNear;
  EXPECT_EQ(to_group, 1u);
  EXPECT_EQ(to_router, 0u);
}

TEST_F(SimIpOptions, TheFirstStationIsJudgedAsTheEndIs) {
  const Endpoint far{kFar, Port{53}};
  auto& s = host.udp({Ipv4Address::any(), Port{5000}});
  EXPECT_EQ(give(s.id, {131, 7, 4, 224, 0, 0, 1}), Errno::inval);
  ASSERT_EQ(give(s.id, {131, 7, 4, 10, 0, 0, 255}), Errno::ok);
  EXPECT_EQ(host.send(s, far, bytes({1, 2})), Errno::acces);
  EXPECT_EQ(host.shard(0).connect(s.id, far), Errno::acces);
  ASSERT_EQ(give(s.id, {}), Errno::ok);
  const stack::DatagramRequest once{.destination = Endpoint{Ipv4Address{10, 0, 0, 2}, Port{53}},
                                    .options = ipv4::given_options(bytes({131, 7, 4, 255, 255, 255, 255}), false)};
  EXPECT_EQ(host.shard(0).send(s.id, once, bytes({1, 2}), {}), Errno::acces) << "IP_RETOPTS";
  auto& stream = host.stream();
  ASSERT_EQ(give(stream.id, {131, 7, 4, 10, 0, 0, 255}), Errno::ok);
  EXPECT_EQ(host.shard(0).connect(stream.id, far), Errno::netunreach);
  net.run_for(1ms);
  EXPECT_EQ(sent.size(), 0u);
  const std::int32_t on = 1;
  ASSERT_EQ(host.shard(0).set_option(s.id, socket::num::kSolSocket, socket::num::so_broadcast, as_bytes(&on, sizeof on), false), Errno::ok);
  EXPECT_EQ(host.shard(0).send(s.id, once, bytes({1, 2}), {}), Errno::ok);
  net.run_for(1ms);
  EXPECT_EQ(sent.size(), 1u);
}

/// RFC 9293 section 3.9.2.3: TCP speaks to one.
TEST_F(SimIpOptions, NoSegmentGoesToAllOnALink) {
  auto& s = host.stream();
  ASSERT_EQ(give(s.id, {131, 7, 4, 10, 0, 0, 9}), Errno::ok);
  host.connect(s, {kFar, Port{80}});
  net.run_for(1ms);
  ASSERT_EQ(sent.size(), 1u);
  ASSERT_EQ(give(s.id, {131, 7, 4, 10, 0, 0, 255}), Errno::ok);
  net.run_for(1500ms);
  EXPECT_EQ(sent.size(), 1u);
  EXPECT_GT(host.drops(Drop::ip_broadcast_refused), 0u);
  // Nor the way back that somebody says he has come.
  accept_source_routes();
  host.listen(Port{7}, [](Host::Stream&) {});
  tell_syn({131, 11, 12, 192, 0, 2, 1, 10, 0, 0, 255, 0});
  for (std::size_t i = 0; i < sent.size(); ++i) EXPECT_NE(packet(i).dst(), (Ipv4Address{10, 0, 0, 255}));
}

TEST_F(SimIpOptions, NoEchoReplyGoesToAllOnALink) {
  accept_source_routes();
  std::vector<std::byte> echo(8);
  store_u8(echo, 0, 8);
  store_be16(echo, 2, wire::finish(wire::sum(echo)));
  tell(wire::IpProtocol::icmp, echo, {131, 7, 8, 10, 0, 0, 9, 0});
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(packet(0).dst(), kNear);
  tell(wire::IpProtocol::icmp, echo, {131, 7, 8, 10, 0, 0, 255, 0});
  EXPECT_EQ(sent.size(), 1u);
  EXPECT_EQ(host.drops(Drop::ip_broadcast_refused), 1u);
}

TEST_F(SimIpOptions, FragmentsCarryWhatIsToBeCopied) {
  auto& s = host.udp({Ipv4Address::any(), Port{5000}});
  ASSERT_EQ(give(s.id, {7, 7, 4, 0, 0, 0, 0, 148, 4, 0, 0}), Errno::ok);
  ASSERT_EQ(host.send(s, {Ipv4Address{10, 0, 0, 2}, Port{53}}, std::vector<std::byte>(3000)), Errno::ok);
  net.run_for(1ms);
  ASSERT_EQ(sent.size(), 3u);
  EXPECT_EQ(options(0), bytes({7, 7, 8, 10, 0, 0, 1, 148, 4, 0, 0, 0}));
  EXPECT_EQ(options(1), bytes({148, 4, 0, 0}));
  EXPECT_EQ(options(2), bytes({148, 4, 0, 0}));
  for (std::size_t i = 0; i < 3; ++i) EXPECT_LE(packet(i).total_len(), 1500u);
}

TEST_F(SimIpOptions, AConnectionGoesTheWayThatItsProgramSays) {
  auto& s = host.stream();
  ASSERT_EQ(give(s.id, {137, 7, 4, 10, 0, 0, 9}), Errno::ok);
  host.connect(s, {kFar, Port{80}});
  net.run_for(1ms);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(packet(0).dst(), kNear);
  EXPECT_EQ(options(0), bytes({137, 7, 4, 192, 0, 2, 7, 0}));
  EXPECT_EQ(wire::TcpView::parse(packet(0).payload())->header().options.mss, 1460) << "what we take has nothing to do with it";
}

TEST_F(SimIpOptions, AConnectionGoesBackTheWayThatItsSynHasCome) {
  accept_source_routes();
  host.listen(Port{7}, [](Host::Stream&) {});
  tell_syn({131, 11, 12, 192, 0, 2, 1, 10, 0, 0, 9, 0});
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(packet(0).dst(), kNear);
  EXPECT_EQ(options(0), bytes({131, 11, 4, 192, 0, 2, 1, 192, 0, 2, 7, 0}));
  const auto segment = packet(0).payload();
  EXPECT_EQ(wire::finish(wire::pseudo_header_sum(host.address(), kFar, wire::IpProtocol::tcp, static_cast<std::uint32_t>(segment.size())) + wire::sum(segment)), 0);
  // And so does what is sent again.
  net.run_for(1500ms);
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(options(1), options(0));
}

/// RFC 1122 section 4.2.3.8 has source routes in mind: nobody makes us carry 40 bytes in each segment.
TEST_F(SimIpOptions, OfWhatASynHasAConnectionKeepsItsWayAlone) {
  accept_source_routes();
  host.listen(Port{7}, [](Host::Stream&) {});
  tell_syn({7, 15, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 131, 11, 12, 192, 0, 2, 1, 10, 0, 0, 9, 68, 12, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(options(0), bytes({131, 11, 4, 192, 0, 2, 1, 192, 0, 2, 7, 0}));
}

TEST_F(SimIpOptions, WhatASynRecordsIsNotRecordedInItsAnswer) {
  host.listen(Port{7}, [](Host::Stream&) {});
  tell_syn({7, 39, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
           Ipv4Address{10, 0, 0, 2});
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(packet(0).dst(), (Ipv4Address{10, 0, 0, 2}));
  EXPECT_EQ(options(0), bytes({}));
}

TEST_F(SimIpOptions, ByDefaultNobodyComesByASourceRoute) {
  host.listen(Port{7}, [](Host::Stream&) {});
  tell_syn({131, 11, 12, 192, 0, 2, 1, 10, 0, 0, 9, 0});
  EXPECT_EQ(sent.size(), 0u);
  EXPECT_EQ(host.drops(Drop::ip_source_route), 1u);
}

TEST_F(SimIpOptions, TheStackSaysWhereOptionsAreWrong) {
  host.listen(Port{7}, [](Host::Stream&) {});
  tell_syn({7, 7, 3, 0, 0, 0, 0, 0});
  EXPECT_EQ(host.drops(Drop::ip_bad_option), 1u);
}

}  // namespace
}  // namespace iopkt::sim
