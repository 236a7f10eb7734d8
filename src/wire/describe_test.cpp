#include "wire/describe.hpp"

#include <gtest/gtest.h>

#include "wire/icmp.hpp"
#include "wire/ipv4.hpp"
#include "wire/ipv6.hpp"
#include "wire/nd.hpp"
#include "wire/tcp.hpp"
#include "wire/test_frames.hpp"

namespace iopkt::wire {
namespace {

using test::from_hex;

constexpr const char* kSyn =
    "45 00 00 30 0f 41 40 00 80 06 91 eb 91 fe a0 ed 41 d0 e4 df 0d 2c 00 50 38 af fe 13 00 00 00 00 70 02 "
    "22 38 c3 0c "
    "00 00 02 04 05 b4 01 01 04 02";

TEST(Describe, SaysOneLineOfEachKind) {
  const std::string ethernet = "020000000002 020000000001 ";
  const struct {
    std::string hex;
    const char* line;
  } rows[] = {
      {ethernet + "0806 0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002",
       "02:00:00:00:00:01 > 02:00:00:00:00:02 arp who-has 10.0.0.2 tell 10.0.0.1"},
      {ethernet + "0806 0001 0800 06 04 0002 020000000001 0a000001 020000000002 0a000002",
       "02:00:00:00:00:01 > 02:00:00:00:00:02 arp reply 10.0.0.1 is-at 02:00:00:00:00:01"},
      {ethernet + "0806 0001 0800 06 04 0001 020000000001 00000000 000000000000 0a000002",
       "02:00:00:00:00:01 > 02:00:00:00:00:02 arp probe 10.0.0.2"},
      {ethernet + "0806 0001 0800", "02:00:00:00:00:01 > 02:00:00:00:00:02 arp truncated len=4"},
      {ethernet + "0800 " + kSyn,
       "02:00:00:00:00:01 > 02:00:00:00:00:02 ipv4 145.254.160.237:3372 > 65.208.228.223:80 tcp [S] "
       "seq=951057939 "
       "win=8760 len=0 <mss 1460,sackok> ttl=128 df"},
      {ethernet + "8100 a005 88cc 0102",
       "02:00:00:00:00:01 > 02:00:00:00:00:02 vlan 5 priority=5 type 0x88cc len=2"},
      {ethernet + "0026 4242", "02:00:00:00:00:01 > 02:00:00:00:00:02 llc len=38"},
      {"0200", "ethernet truncated len=2"},
  };
  for (const auto& row : rows) EXPECT_EQ(describe(from_hex(row.hex)), row.line);
}

TEST(Describe, TellsOfAccEcn) {
  const auto line = [](const TcpHeader& h) {
    std::vector<std::byte> segment(encoded_len(h));
    encode(h, segment);
    std::vector<std::byte> packet(20);
    encode(Ipv4Header{.ttl = 64, .protocol = IpProtocol::tcp, .src = {10, 0, 0, 1}, .dst = {10, 0, 0, 2},
                      .payload_len = static_cast<std::uint16_t>(segment.size())}, packet);
    packet.insert(packet.end(), segment.begin(), segment.end());
    return describe_ip(packet);
  };
  TcpHeader h{.flags = syn | ece | cwr | ae};
  EXPECT_NE(line(h).find("tcp [SEWA] "), std::string::npos) << line(h);
  h = {.flags = ack | ae | ece};
  h.options.accecn = AccEcnOption{.fields = 2, .e0b = 1461, .ceb = 7};
  EXPECT_NE(line(h).find("tcp [.EA] "), std::string::npos) << line(h);
  EXPECT_NE(line(h).find("<ecn e0b 1461 ceb 7>"), std::string::npos) << line(h);
  h.options.accecn = AccEcnOption{.order1 = true, .fields = 3, .e0b = 1, .ceb = 0, .e1b = 9};
  EXPECT_NE(line(h).find("<ecn e1b 9 ceb 0 e0b 1>"), std::string::npos) << line(h);
}

TEST(Describe, JudgesTransportChecksumsOnlyWhenAsked) {
  auto packet = from_hex(kSyn);
  EXPECT_EQ(describe_ip(packet, {.transport_checksums = true}).find("bad-checksum"), std::string::npos);
  packet[30] ^= std::byte{1};
  EXPECT_EQ(describe_ip(packet).find("bad-checksum"), std::string::npos);
  EXPECT_NE(describe_ip(packet, {.transport_checksums = true}).find(" bad-checksum"), std::string::npos);
  packet[8] = std::byte{127};
  EXPECT_NE(describe_ip(packet).find(" ttl=127 df bad-ip-checksum"), std::string::npos);
}

/// An IPv4 packet from 10.0.0.1 to 10.0.0.2 with a right header checksum.
std::vector<std::byte> packet_of(Ipv4Header h, const std::vector<std::byte>& payload) {
  h.src = {10, 0, 0, 1};
  h.dst = {10, 0, 0, 2};
  h.ttl = 64;
  h.payload_len = static_cast<std::uint16_t>(payload.size());
  std::vector<std::byte> packet(encoded_len(h));
  encode(h, packet);
  packet.insert(packet.end(), payload.begin(), payload.end());
  return packet;
}

TEST(Describe, SaysWhatLiesInsideIp) {
  const Ipv4Header udp{.protocol = IpProtocol::udp, .options = {}};
  const auto datagram = from_hex("0007 0009 000c 0000 01020304");
  EXPECT_EQ(describe_ip(packet_of(udp, datagram)), "10.0.0.1:7 > 10.0.0.2:9 udp len=4 ttl=64");

  Ipv4Header fragment = udp;
  fragment.mf = true;
  fragment.id = 5;
  EXPECT_EQ(describe_ip(packet_of(fragment, from_hex("0007 0009 0100 0000"))),
            "10.0.0.1:7 > 10.0.0.2:9 udp udp-len=256 len=8 fragment id=5 offset=0+ ttl=64");
  fragment.mf = false;
  fragment.fragment_offset = 1480;
  EXPECT_EQ(describe_ip(packet_of(fragment, datagram)),
            "10.0.0.1 > 10.0.0.2 udp len=12 fragment id=5 offset=1480 ttl=64");

  EXPECT_EQ(describe_ip(packet_of(udp, from_hex("0007 0009 0004 0000"))),
            "10.0.0.1:7 > 10.0.0.2:9 udp udp-len=4 bad_length len=8 ttl=64");
  EXPECT_EQ(describe_ip(packet_of(udp, from_hex("0007"))), "10.0.0.1 > 10.0.0.2 udp truncated len=2 ttl=64");

  auto unreachable = std::vector<std::byte>(8);
  const auto quoted = packet_of(udp, datagram);
  encode(IcmpHeader::unreachable(IcmpUnreachable::fragmentation_needed, 1400), unreachable);
  unreachable.insert(unreachable.end(), quoted.begin(), quoted.begin() + 28);
  store_icmp_checksum(unreachable);
  const Ipv4Header icmp{.tos = 0xc0, .protocol = IpProtocol::icmp, .options = {}};
  EXPECT_EQ(describe_ip(packet_of(icmp, unreachable)),
            "10.0.0.1 > 10.0.0.2 icmp unreachable fragmentation-needed mtu=1400 "
            "(10.0.0.1:7 > 10.0.0.2:9 udp udp-len=12 len=8 ttl=64) ttl=64 tos=0xc0");
  unreachable[2] ^= std::byte{1};
  EXPECT_NE(describe_ip(packet_of(icmp, unreachable)).find(") bad-checksum ttl"), std::string::npos);

  Ipv4Header with_options{.protocol = static_cast<IpProtocol>(200), .options = {}};
  with_options.options.len = 8;
  with_options.options.bytes = {std::byte{148}, std::byte{4}, std::byte{0}, std::byte{0},
                                std::byte{1},   std::byte{7}, std::byte{99}};
  EXPECT_EQ(describe_ip(packet_of(with_options, {})),
            "10.0.0.1 > 10.0.0.2 protocol 200 len=0 ttl=64 options <router-alert,nop,bad_length>");
}

TEST(Describe, SaysIcmpv6AndWhatStandsBefore) {
  const auto line = [](IpProtocol next, std::vector<std::byte> rest, bool checksum) {
    const Ipv6Address src = *Ipv6Address::parse("fe80::1"), dst = *Ipv6Address::parse("ff02::1");
    if (checksum) store_icmpv6_checksum(rest, src, dst);
    std::vector<std::byte> bytes(40);
    encode(Ipv6Header{.payload_len = static_cast<std::uint16_t>(rest.size()), .next_header = next, .hop_limit = 255, .src = src, .dst = dst},
           bytes);
    bytes.insert(bytes.end(), rest.begin(), rest.end());
    return describe_ip(bytes);
  };
  std::vector<std::byte> m;
  append_neighbour_advertisement(m, {.target = *Ipv6Address::parse("fe80::1"), .override_ = true}, MacAddress{{2, 0, 0, 0, 0, 1}});
  EXPECT_EQ(line(IpProtocol::icmpv6, m, true), "fe80::1 > ff02::1 icmpv6 neighbour fe80::1 [O] is-at 02:00:00:00:00:01 hops=255");
  EXPECT_EQ(line(IpProtocol::icmpv6, m, false), "fe80::1 > ff02::1 icmpv6 neighbour fe80::1 [O] is-at 02:00:00:00:00:01 bad-checksum hops=255");
  m.clear();
  append_router_advertisement(m, {.lifetime_s = 1800}, {.mtu = 1400, .prefixes = {{.prefix = *Ipv6Address::parse("2001:db8::"), .length = 64,
                                                                                    .on_link = true, .autonomous = true}}});
  EXPECT_EQ(line(IpProtocol::icmpv6, m, true),
            "fe80::1 > ff02::1 icmpv6 router-advertisement lifetime=1800 mtu=1400 prefix 2001:db8::/64 L A hops=255");
  m = test::from_hex("02 00 00 00 00 00 05 00 60 00 00 00 00 08 11 40 20010db8000000000000000000000001 20010db8000000000000000000000002 1234 0035 0008 0000");
  EXPECT_EQ(line(IpProtocol::icmpv6, m, true),
            "fe80::1 > ff02::1 icmpv6 too-big mtu=1280 ([2001:db8::1]:4660 > [2001:db8::2]:53 udp len=0 hops=64) hops=255");
  EXPECT_EQ(line(IpProtocol::hop_by_hop, test::from_hex("2c 00 05 02 00 00 01 00 11 00 00 01 00 00 00 07 1234 0035 0010 0000"), false),
            "[fe80::1]:4660 > [ff02::1]:53 udp udp-len=16 len=8 fragment id=7 offset=0+ hops=255");
  EXPECT_EQ(line(IpProtocol::fragment, test::from_hex("11 00 00 08 00 00 00 07 00 00"), false),
            "fe80::1 > ff02::1 udp len=2 fragment id=7 offset=8 hops=255");
  EXPECT_EQ(line(IpProtocol::routing, test::from_hex("11 09 00 00 00 00 00 00"), false), "fe80::1 > ff02::1 routing truncated len=8 hops=255");
}

TEST(Describe, SaysIpv6) {
  const auto packet = from_hex(
      "60000000 000c 11 40 20010db8000000000000000000000001 fe800000000000000000000000000002 0007 0009 000c "
      "0000 01020304");
  EXPECT_EQ(describe_ip(packet), "[2001:db8::1]:7 > [fe80::2]:9 udp len=4 hops=64");
  EXPECT_EQ(describe_ip(Bytes{packet}.first(39)), "ip-header truncated len=39");
}

TEST(Describe, IsOneLineOfPrintableTextForAnyBytes) {
  Random random{1};
  const auto check = [](Bytes bytes) {
    for (const std::string& line : {describe(bytes, {.transport_checksums = true}), describe_ip(bytes)}) {
      ASSERT_FALSE(line.empty());
      for (const char c : line) ASSERT_TRUE(c >= ' ' && c <= '~') << line;
      ASSERT_EQ(line.find("  "), std::string::npos) << line;
    }
  };
  test::for_each_damage(from_hex(std::string{"020000000002 020000000001 0800 "} + kSyn), check);
  test::for_each_damage(from_hex(kSyn), check);
  for (int i = 0; i < 20'000; ++i) {
    auto bytes = test::random_bytes(random, random.below(120));
    if (!bytes.empty()) bytes[0] = std::byte{0x45};
    check(bytes);
  }
}

TEST(Describe, TunnelsInTunnelsEnd) {
  std::vector<std::byte> packet =
      packet_of({.protocol = IpProtocol::udp, .options = {}}, from_hex("0007 0009 0008 0000"));
  for (int i = 0; i < 100; ++i) packet = packet_of({.protocol = IpProtocol::ipv4, .options = {}}, packet);
  EXPECT_LT(describe_ip(packet).size(), 400u);
}

}  // namespace
}  // namespace iopkt::wire
