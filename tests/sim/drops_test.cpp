// Why packets die, by name: for each reason that no layer's own test brings about, the packet or the condition that does, on a whole
// stack. Nothing leaks, and what was fine before goes on.
#include <gtest/gtest.h>

#include <algorithm>

#include "control/interfaces.hpp"
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

constexpr Ipv4Address kStranger{10, 0, 0, 99};

Endpoint at(const Host& host, std::uint16_t port) { return {host.address(), Port{port}}; }

/// An IP packet in a frame to `to`.
Frame packet_to(const Host& to, wire::Ipv4Header header, std::span<const std::byte> payload) {
  if (header.dst.is_unspecified()) header.dst = to.address();
  header.ttl = 64;
  header.payload_len = static_cast<std::uint16_t>(payload.size());
  Frame frame(14 + wire::encoded_len(header));
  const bool all = header.dst.value == (to.address().value | 0xff);
  wire::store_mac(frame, 0, all ? wire::MacAddress::broadcast()
                                : wire::MacAddress{{0x02, 0, 0, 0, 0, static_cast<std::uint8_t>(to.address().value)}});
  wire::store_mac(frame, 6, {{0x02, 0, 0, 0, 0, 0x99}});
  store_be16(frame, 12, 0x0800);
  wire::encode(header, MutableBytes{frame}.subspan(14));
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

std::vector<std::byte> datagram(std::uint16_t from, std::uint16_t to, std::size_t bytes = 0) {
  std::vector<std::byte> out(8 + bytes, std::byte{'u'});
  store_be16(out, 0, from);
  store_be16(out, 2, to);
  store_be16(out, 4, static_cast<std::uint16_t>(out.size()));
  store_be16(out, 6, 0);  // no checksum
  return out;
}

std::vector<std::byte> segment(Ipv4Address from, Ipv4Address to, const wire::TcpHeader& h, std::size_t bytes = 0) {
  std::vector<std::byte> out(wire::encoded_len(h));
  wire::encode(h, out);
  out.resize(out.size() + bytes, std::byte{'t'});
  const std::uint32_t pseudo = wire::pseudo_header_sum(from, to, wire::IpProtocol::tcp, static_cast<std::uint32_t>(out.size()));
  store_be16(out, 16, wire::finish(wire::sum(out, pseudo)));
  return out;
}

/// Two hosts, and a stream between them that has to work whatever else happens.
class SimDrops : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  void SetUp() override {
    net.wire({&a, &b}, {});
    b.listen(Port{7}, [&](Host::Stream& s) { taken.push_back(&s); });
    stream = &a.connect(at(b, 7));
    ASSERT_TRUE(net.run_until([&] { return stream->connected && taken.size() == 1; }, 10s)) << net.trace();
    net.tap = [&](const Host& from, Frame& frame) {
      const auto ip = wire::Ipv4View::parse(Bytes{frame}.subspan(14));
      if (!ip) return true;
      if (ip->header().protocol == wire::IpProtocol::icmp) ++icmp_sent;
      if (ip->header().protocol == wire::IpProtocol::tcp && &from == &a)
        if (const auto tcp = wire::TcpView::parse(ip->payload())) heard_from_a = tcp->header();
      return true;
    };
  }
  /// The stream still carries everything, and nobody holds a packet afterwards.
  void TearDown() override {
    stream->to_send = net.random_bytes(50'000);
    stream->close_after_send = true;
    Host::Stream& other = *taken.at(0);
    ASSERT_TRUE(net.run_until([&] { return other.peer_fin; }, 60s)) << net.trace();
    EXPECT_EQ(other.received, stream->to_send);
    for (Host::Stream* one : taken) one->close();
    net.run_for(200s);
    EXPECT_EQ(a.packets_held() + b.packets_held(), 0u);
  }
  void tell_b(wire::Ipv4Header header, std::span<const std::byte> payload) {
    b.receive(packet_to(b, header, payload));
    net.run_for(1ms);
  }
  void change(Host& host, const std::function<void(stack::Network&)>& how) {
    stack::Network next = *host.stack().network();
    how(next);
    host.stack().publish(std::move(next));
  }
  static void set_up(stack::Network& network, bool up) {
    iface::Interface en = *network.interfaces.by_name("en0");
    en.flags = up ? en.flags | iface::flag::up : en.flags & ~static_cast<std::uint32_t>(iface::flag::up);
    EXPECT_EQ(control::change_interface(network, en), Errno::ok);
  }

  SimNet net{11};
  Host& a = net.host("10.0.0.1/24", {.shards = GetParam()});
  Host& b = net.host("10.0.0.2/24", {.shards = GetParam()});
  Host::Stream* stream = nullptr;
  std::vector<Host::Stream*> taken;
  std::uint64_t icmp_sent = 0;
  wire::TcpHeader heard_from_a;
};

TEST_P(SimDrops, ASynAckForAConnectThatWasGivenUpInTheSameTurn) {
  Host::Stream& s = a.connect(at(b, 9));
  net.tap = [&](const Host& from, Frame& frame) {
    const auto ip = wire::Ipv4View::parse(Bytes{frame}.subspan(14));
    if (!ip || ip->header().protocol != wire::IpProtocol::tcp || &from != &a) return true;
    heard_from_a = wire::TcpView::parse(ip->payload())->header();
    return false;  // b would refuse
  };
  net.run_for(1ms);
  ASSERT_EQ(heard_from_a.flags & (wire::syn | wire::ack), wire::syn);
  const wire::SeqNum iss = heard_from_a.seq;
  const auto answer = segment(b.address(), a.address(), {.src = Port{9}, .dst = heard_from_a.src, .seq = wire::SeqNum{77}, .ack = iss + 1,
                                                         .flags = wire::syn | wire::ack, .window = 1000});
  a.shard(0).close(s.id);
  a.receive(packet_to(a, {.protocol = wire::IpProtocol::tcp, .src = b.address()}, answer));
  net.run_for(1ms);
  EXPECT_EQ(heard_from_a.flags, wire::rst);
  EXPECT_EQ(heard_from_a.seq, iss + 1);
  EXPECT_EQ(a.drops(Drop::tcp_no_socket), 1u);
  net.tap = nullptr;
}

// ---------------------------------------------------------------------------------------------- queues

class SimShardDrops : public SimDrops {};

TEST_P(SimShardDrops, MoreThanTheQueueToTheOwnersShardTakes) {
  std::uint16_t port = 5000;
  while (b.stack().shard_of_port(Port{port}) != 1) ++port;
  Host::UdpSocket& udp = b.udp({Ipv4Address::any(), Port{port}}, 1);
  net.run_for(1ms);
  const std::size_t many = 3 * stack::kShardQueue;  // every other one arrives at shard 0, before shard 1 looks
  for (std::size_t i = 0; i < many; ++i) b.receive(packet_to(b, {.protocol = wire::IpProtocol::udp, .src = a.address()}, datagram(9, port)));
  net.run_for(1ms);
  EXPECT_GE(b.drops(Drop::shard_queue_full), many / 2 - stack::kShardQueue);
  EXPECT_EQ(udp.received.size() + b.drops(Drop::shard_queue_full), many);
}
INSTANTIATE_TEST_SUITE_P(Shards, SimShardDrops, ::testing::Values(2u));

TEST_P(SimDrops, MoreThanTheDeviceTakes) {
  Host::UdpSocket& udp = a.udp(at(a, 5000));
  Host::UdpSocket& to = b.udp(at(b, 9));
  EXPECT_EQ(a.send(udp, at(b, 9), {}), Errno::ok);
  net.run_for(1s);  // the neighbour is known on every shard
  ASSERT_EQ(to.received.size(), 1u);
  for (std::size_t i = 0; i < stack::kTransmitQueueMax + 10; ++i) static_cast<void>(a.send(udp, at(b, 9), {}));
  EXPECT_EQ(a.drops(Drop::link_queue_full), 10u);
  net.run_for(1s);
  EXPECT_EQ(to.received.size(), 1 + stack::kTransmitQueueMax);
}

// ---------------------------------------------------------------------------------------------- neighbours, routes

TEST_P(SimDrops, TheNextHopIsSilent) {
  Host::UdpSocket& udp = a.udp(at(a, 5000));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(a.send(udp, {kStranger, Port{9}}, {}), Errno::ok);
  net.run_for(5s);
  EXPECT_EQ(a.drops(Drop::arp_unresolved), 3u);
}

TEST_P(SimDrops, TheNeighbourTableIsFull) {
  change(a, [](stack::Network& n) { n.settings.neigh.max_entries = 16; });
  net.run_for(1ms);
  const std::uint32_t en0 = a.stack().network()->interfaces.by_name("en0")->index;
  const wire::MacAddress mac{{2, 0, 0, 0, 0, 2}};
  // What never changes is never pushed out: the real peer among them.
  std::uint8_t last = 2;
  while (a.shard(0).set_neighbour({en0, Ipv4Address{10, 0, 0, last}}, mac, {}) == Errno::ok) ++last;
  net.run_for(1ms);
  Host::UdpSocket& udp = a.udp(at(a, 5000));
  EXPECT_EQ(a.send(udp, {kStranger, Port{9}}, {}), Errno::nobufs);
  EXPECT_EQ(a.drops(Drop::arp_table_full), 1u);
}

TEST_P(SimDrops, AnAnswerHasNoWayBack) {
  std::vector<std::byte> message(8);  // an echo request
  message[0] = std::byte{8};
  store_be16(message, 2, wire::finish(wire::sum(message)));
  tell_b({.protocol = wire::IpProtocol::icmp, .src = Ipv4Address{192, 0, 2, 1}}, message);
  EXPECT_EQ(b.drops(Drop::ip_no_route), 1u);
}

TEST_P(SimShardDrops, TheInterfaceWentDownMeanwhile) {
  // Shard 1 asks shard 0 for a neighbour, and before it is heard the interface is no more.
  Host::UdpSocket& udp = a.udp(at(a, 5000), 1);
  net.run_for(1ms);
  EXPECT_EQ(a.send(udp, {kStranger, Port{9}}, {}), Errno::ok);
  change(a, [](stack::Network& n) { set_up(n, false); });
  net.run_for(1ms);
  EXPECT_EQ(a.drops(Drop::ip_down), 1u);
  change(a, [](stack::Network& n) { set_up(n, true); });
  net.run_for(10s);
  EXPECT_EQ(a.drops(Drop::arp_unresolved), 1u) << "what waited for the answer";
}

// ---------------------------------------------------------------------------------------------- IP, ICMP

TEST_P(SimDrops, NobodyTakesTheProtocol) {
  tell_b({.protocol = static_cast<wire::IpProtocol>(200), .src = a.address()}, std::vector<std::byte>(20));
  EXPECT_EQ(b.drops(Drop::ip_unknown_protocol), 1u);
  EXPECT_EQ(icmp_sent, 1u) << "protocol unreachable";
}

TEST_P(SimDrops, ADatagramWhoseRestNeverComes) {
  tell_b({.id = 7, .mf = true, .protocol = wire::IpProtocol::udp, .src = a.address()}, datagram(9, 53, 16));
  EXPECT_GT(b.packets_held(), 0u);
  net.run_for(200s);
  EXPECT_EQ(b.drops(Drop::ip_fragment_timeout), 1u);
  EXPECT_EQ(icmp_sent, 1u) << "time exceeded";
}

TEST_P(SimDrops, NobodyAnswersABroadcast) {
  const Ipv4Address all{10, 0, 0, 255};
  tell_b({.protocol = wire::IpProtocol::udp, .src = a.address(), .dst = all}, datagram(9, 53));
  EXPECT_EQ(b.drops(Drop::ip_broadcast_refused), 1u);
  tell_b({.protocol = wire::IpProtocol::tcp, .src = a.address(), .dst = all},
         segment(a.address(), all, {.src = Port{9}, .dst = Port{7}, .flags = wire::syn}));
  EXPECT_EQ(b.drops(Drop::ip_broadcast_refused), 2u);
  EXPECT_EQ(icmp_sent, 0u);
}

TEST_P(SimDrops, ErrorsBeyondTheRate) {
  const std::uint32_t burst = b.stack().network()->settings.icmp.error_burst;
  for (std::uint32_t i = 0; i < burst + 25; ++i)
    b.receive(packet_to(b, {.protocol = wire::IpProtocol::udp, .src = a.address()}, datagram(9, 53)));
  net.run_for(1ms);
  EXPECT_EQ(b.drops(Drop::udp_no_socket), burst + 25u);
  EXPECT_EQ(b.drops(Drop::icmp_rate_limited), 25u);
  EXPECT_EQ(icmp_sent, burst);
}

TEST_P(SimDrops, AFilterRefuses) {
  struct Refusal {
    static Expected<void, Drop> refuse(void* count, filter::Hook, const iface::Interface&, packet::Packet& packet) {
      const auto ip = wire::Ipv4View::parse_header(packet.head());
      if (!ip || ip->header().protocol != wire::IpProtocol::udp) return {};
      ++*static_cast<int*>(count);
      return unexpected(Drop::filter_blocked);
    }
  };
  int asked = 0;
  for (std::uint32_t n = 0; n < GetParam(); ++n) {
    a.shard(n).state().filters.add(filter::Hook::out, Refusal::refuse, &asked);
    b.shard(n).state().filters.add(filter::Hook::in, Refusal::refuse, &asked);
  }
  Host::UdpSocket& udp = a.udp(at(a, 5000));
  EXPECT_EQ(a.send(udp, at(b, 9), {}), Errno::perm);
  EXPECT_EQ(a.drops(Drop::filter_blocked), 1u);
  tell_b({.protocol = wire::IpProtocol::udp, .src = a.address()}, datagram(9, 53));
  EXPECT_EQ(b.drops(Drop::filter_blocked), 1u);
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(icmp_sent, 0u);
  for (std::uint32_t n = 0; n < GetParam(); ++n) {
    a.shard(n).state().filters.remove(filter::Hook::out, Refusal::refuse, &asked);
    b.shard(n).state().filters.remove(filter::Hook::in, Refusal::refuse, &asked);
  }
}

// ---------------------------------------------------------------------------------------------- TCP

TEST_P(SimDrops, SegmentsThatAreNone) {
  const wire::TcpHeader syn{.src = Port{9}, .dst = Port{7}, .flags = wire::syn};
  auto cut = segment(a.address(), b.address(), syn);
  cut.resize(cut.size() - 1);
  tell_b({.protocol = wire::IpProtocol::tcp, .src = a.address()}, cut);
  EXPECT_EQ(b.drops(Drop::tcp_truncated), 1u);
  auto wrong = segment(a.address(), b.address(), syn);
  wrong[17] ^= std::byte{1};
  tell_b({.protocol = wire::IpProtocol::tcp, .src = a.address()}, wrong);
  EXPECT_EQ(b.drops(Drop::tcp_bad_checksum), 1u);
  tell_b({.protocol = wire::IpProtocol::tcp, .src = Ipv4Address::any()}, segment(Ipv4Address::any(), b.address(), syn));
  EXPECT_EQ(b.drops(Drop::tcp_bad_address), 1u);
  tell_b({.protocol = wire::IpProtocol::tcp, .src = a.address()},
         segment(a.address(), b.address(), {.src = Port{9}, .dst = Port{8}, .flags = wire::syn}));
  EXPECT_EQ(b.drops(Drop::tcp_no_socket), 1u);
  EXPECT_EQ(b.sockets(), 2u) << "the listener and the stream's end";
}

TEST_P(SimDrops, TooManyHolesInAStream) {
  Host::Stream& holed = a.connect(at(b, 7));
  ASSERT_TRUE(net.run_until([&] { return holed.connected && taken.size() == 2; }, 10s)) << net.trace();
  wire::TcpHeader h = heard_from_a;  // the last of the handshake
  h.options.sack_count = 0;
  const wire::SeqNum next = h.seq;
  for (std::uint32_t i = 1; i < 5000 && b.drops(Drop::tcp_range_limit) == 0; ++i) {
    h.seq = next + 2 * i;  // a byte is missing before each
    tell_b({.protocol = wire::IpProtocol::tcp, .src = a.address()}, segment(a.address(), b.address(), h, 1));
  }
  EXPECT_EQ(b.drops(Drop::tcp_range_limit), 1u);
  EXPECT_EQ(taken[1]->received.size(), 0u);
  holed.close();
}

TEST_P(SimDrops, AResetDoesNotEndTimeWait) {
  Host::Stream& s = a.connect(at(b, 7));
  ASSERT_TRUE(net.run_until([&] { return s.connected && taken.size() == 2; }, 10s)) << net.trace();
  s.close();
  ASSERT_TRUE(net.run_until([&] { return taken[1]->peer_fin; }, 10s)) << net.trace();
  taken[1]->close();
  ASSERT_TRUE(net.run_until([&] { return s.released; }, 10s)) << net.trace();
  const wire::TcpHeader& last = heard_from_a;
  a.receive(packet_to(a, {.protocol = wire::IpProtocol::tcp, .src = b.address()},
                      segment(b.address(), a.address(), {.src = last.dst, .dst = last.src, .seq = last.ack, .flags = wire::rst})));
  net.run_for(1ms);
  EXPECT_EQ(a.drops(Drop::tcp_time_wait), 1u);
  std::vector<stack::SocketSummary> all;
  for (std::uint32_t n = 0; n < GetParam(); ++n) a.shard(n).list_sockets(all);
  EXPECT_EQ(std::ranges::count_if(all, [](const auto& one) { return one.state == "TIME_WAIT"; }), 1);
}

/// RFC 6191 section 2: it would open the connection anew; without a listener it is answered as at any closed port.
TEST_P(SimDrops, ANewSynInTimeWaitThatNobodyTakesIsRefused) {
  Host::Stream& s = a.connect(at(b, 7));
  ASSERT_TRUE(net.run_until([&] { return s.connected && taken.size() == 2; }, 10s)) << net.trace();
  s.close();
  ASSERT_TRUE(net.run_until([&] { return taken[1]->peer_fin; }, 10s)) << net.trace();
  taken[1]->close();
  ASSERT_TRUE(net.run_until([&] { return s.released; }, 10s)) << net.trace();
  const wire::TcpHeader last = heard_from_a;
  wire::TcpHeader syn{.src = last.dst, .dst = last.src, .seq = last.ack + 1000, .flags = wire::syn};
  syn.options.timestamps = wire::TcpTimestamps{last.options.timestamps->echo + 1000, 0};
  a.receive(packet_to(a, {.protocol = wire::IpProtocol::tcp, .src = b.address()}, segment(b.address(), a.address(), syn)));
  net.run_for(1ms);
  EXPECT_EQ(heard_from_a.flags, wire::rst | wire::ack);
  EXPECT_EQ(heard_from_a.ack, syn.seq + 1);
}

INSTANTIATE_TEST_SUITE_P(Shards, SimDrops, ::testing::Values(1u, 2u));

}  // namespace
}  // namespace iopkt::sim
