// Cutting and putting together: what one does, the other undoes; and what must never be put together stays
// apart.
#include "packet/segment.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "base/random.hpp"
#include "tests/support/test_pool.hpp"
#include "wire/checksum.hpp"
#include "wire/ethernet.hpp"
#include "wire/ipv6.hpp"
#include "wire/tcp.hpp"
#include "wire/udp.hpp"

namespace iopkt::packet {
namespace {

using test::Data;
using test::data_of;

constexpr wire::Ipv4Address kSrc{10, 0, 0, 1}, kDst{10, 0, 0, 2};

struct Recipe {
  wire::TcpHeader tcp{.src = {1000},
                      .dst = {80},
                      .seq = {0xfffffe00},
                      .ack = {5},
                      .flags = wire::ack,
                      .window = 100,
                      .options = {.timestamps = wire::TcpTimestamps{50, 40}}};
  wire::Ipv4Header ip{.id = 7, .ttl = 64, .protocol = wire::IpProtocol::tcp, .src = kSrc, .dst = kDst};
  std::size_t payload = 1000;
  unsigned first = 0;
  bool ethernet = true;
  std::size_t padding = 0;
};

class SegmentTest : public testing::Test {
 protected:
  PacketPtr make(const Recipe& r) {
    Data segment(wire::encoded_len(r.tcp));
    wire::encode(r.tcp, segment);
    const Data payload = test::counted(r.payload, r.first);
    segment.insert(segment.end(), payload.begin(), payload.end());
    const auto pseudo = wire::pseudo_header_sum(r.ip.src, r.ip.dst, r.ip.protocol,
                                                static_cast<std::uint32_t>(segment.size()));
    store_be16(segment, 16, wire::finish(wire::sum(segment, pseudo)));
    PacketPtr packet = pool_.ipv4(r.ip, segment);
    if (r.ethernet)
      wire::encode(wire::EthernetHeader{{{1}}, {{2}}, wire::EtherType::ipv4}, packet->prepend(14));
    EXPECT_TRUE(packet->append_zeroes(static_cast<std::uint32_t>(r.padding)));
    return packet;
  }
  /// As TCP output makes it.
  PacketPtr make_large(Recipe r, std::uint16_t gso_size) {
    PacketPtr packet = make(r);
    const std::uint32_t network = r.ethernet ? 14 : 0;
    packet->flags = IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP4;
    packet->gso_size = gso_size;
    packet->csum_start = static_cast<std::uint16_t>(network + 20);
    packet->csum_offset = 16;
    const auto pseudo =
        wire::pseudo_header_sum(r.ip.src, r.ip.dst, r.ip.protocol, packet->size() - network - 20);
    Data field(2);
    store_be16(field, 0, static_cast<std::uint16_t>(pseudo));
    packet->copy_in(network + 36, field);
    return packet;
  }
  /// Header and payload of a packet whose checksums are right.
  std::pair<wire::TcpHeader, Data> read(const Packet& packet, std::uint32_t network) {
    const Data all = data_of(packet);
    const auto ip = wire::Ipv4View::parse(Bytes{all}.subspan(network));
    EXPECT_TRUE(ip && ip->checksum_ok());
    const auto pseudo = wire::pseudo_header_sum(ip->src(), ip->dst(), ip->protocol(),
                                                static_cast<std::uint32_t>(ip->payload().size()));
    EXPECT_EQ(wire::finish(wire::sum(ip->payload(), pseudo)), 0);
    const auto tcp = wire::TcpView::parse(ip->payload());
    return {tcp->header(), Data(tcp->payload().begin(), tcp->payload().end())};
  }
  test::TestPool pool_;
};

TEST_F(SegmentTest, CutsIntoWholeSegments) {
  for (const bool ethernet : {true, false}) {
    const std::uint32_t network = ethernet ? 14 : 0;
    Recipe r{.payload = 2500, .ethernet = ethernet};
    r.tcp.flags = wire::ack | wire::psh | wire::fin | wire::cwr;
    const PacketPtr large = make_large(r, 1000);
    Burst out;
    ASSERT_TRUE(segment(*large, network, out));
    ASSERT_EQ(out.size(), 3u);
    Data all;
    for (std::size_t i = 0; i < 3; ++i) {
      const auto [tcp, payload] = read(*out[i], network);
      EXPECT_EQ(payload.size(), i < 2 ? 1000u : 500u);
      EXPECT_EQ(tcp.seq.value, static_cast<std::uint32_t>(0xfffffe00 + 1000 * i)) << "wraps";
      EXPECT_EQ(tcp.flags, i == 0   ? wire::ack | wire::cwr
                           : i == 1 ? wire::ack
                                    : wire::ack | wire::psh | wire::fin);
      EXPECT_EQ(tcp.options, r.tcp.options);
      const Data bytes = data_of(*out[i]);
      EXPECT_EQ(wire::Ipv4View::parse(Bytes{bytes}.subspan(network))->id(), 7 + i);
      EXPECT_EQ(out[i]->flags & (kGsoFlags | IOPKT_CSUM_NEEDED), 0u);
      all.insert(all.end(), payload.begin(), payload.end());
    }
    EXPECT_EQ(all, test::counted(2500));
  }
}

TEST_F(SegmentTest, AtomicDatagramsKeepIdentificationZero) {
  Recipe r{.payload = 2000, .ethernet = false};
  r.ip.df = true;
  r.ip.id = 0;
  Burst out;
  ASSERT_TRUE(segment(*make_large(r, 1000), 0, out));
  EXPECT_EQ(wire::Ipv4View::parse(data_of(*out[1]))->id(), 0);
}

TEST_F(SegmentTest, CutsDatagrams) {
  Data datagram(8);
  wire::encode(wire::UdpHeader{{5}, {6}, 2500}, datagram);
  const Data payload = test::counted(2500);
  datagram.insert(datagram.end(), payload.begin(), payload.end());
  const PacketPtr large =
      pool_.ipv4({.id = 1, .ttl = 9, .protocol = wire::IpProtocol::udp, .src = kSrc, .dst = kDst}, datagram);
  large->flags = IOPKT_CSUM_NEEDED | IOPKT_GSO_UDP;
  large->csum_start = 20;
  large->csum_offset = 6;
  large->gso_size = 1200;
  Burst out;
  ASSERT_TRUE(segment(*large, 0, out));
  ASSERT_EQ(out.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i) {
    const Data bytes = data_of(*out[i]);
    const auto ip = wire::Ipv4View::parse(bytes);
    const auto udp = wire::UdpView::parse(ip->payload());
    ASSERT_TRUE(udp);
    EXPECT_EQ(udp->payload().size(), i < 2 ? 1200u : 100u);
    const auto pseudo = wire::pseudo_header_sum(kSrc, kDst, wire::IpProtocol::udp,
                                                static_cast<std::uint32_t>(ip->payload().size()));
    EXPECT_EQ(wire::finish(wire::sum(ip->payload(), pseudo)), 0);
  }
}

TEST_F(SegmentTest, RefusesMetadataThatContradictsTheHeaders) {
  const struct {
    const char* says;
    std::function<void(Packet&)> spoil;
  } rows[] = {
      {"no size", [](Packet& p) { p.gso_size = 0; }},
      {"not asked for", [](Packet& p) { p.flags = 0; }},
      {"another protocol", [](Packet& p) { p.flags = IOPKT_GSO_UDP; }},
      {"not IP", [](Packet& p) { p.mutable_head()[14] = std::byte{0x25}; }},
      {"header length of 0", [](Packet& p) { p.mutable_head()[14] = std::byte{0x40}; }},
      {"data offset of 0", [](Packet& p) { p.mutable_head()[46] = std::byte{0}; }},
      {"no payload", [](Packet& p) { p.trim_back(p.size() - 66); }},
      {"cut in the TCP header", [](Packet& p) { p.trim_back(p.size() - 50); }},
      {"cut in the IP header", [](Packet& p) { p.trim_back(p.size() - 20); }},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    PacketPtr packet = make_large({}, 500);
    ASSERT_TRUE(packet->pull_up(66));
    row.spoil(*packet);
    Burst out;
    const auto done = segment(*packet, 14, out);
    ASSERT_FALSE(done);
    EXPECT_EQ(done.error(), Drop::driver_broken_frame);
    EXPECT_TRUE(out.empty());
  }
}

TEST_F(SegmentTest, CompletesChecksums) {
  PacketPtr packet = make_large({.ethernet = false}, 0);
  packet->flags = IOPKT_CSUM_NEEDED;
  complete_checksum(*packet);
  EXPECT_EQ(packet->flags, 0u);
  read(*packet, 0);

  packet->flags = IOPKT_CSUM_NEEDED;
  packet->csum_start = 0xfff0;  // cut off meanwhile
  const Data before = data_of(*packet);
  complete_checksum(*packet);
  EXPECT_EQ(data_of(*packet), before);
}

TEST_F(SegmentTest, CoalesceUndoesSegment) {
  Random random{1};
  for (int round = 0; round < 200; ++round) {
    Recipe r{.payload = 1 + random.below(9000), .ethernet = random.chance(0.5)};
    if (random.chance(0.5)) r.tcp.options.timestamps.reset();
    r.tcp.flags = random.chance(0.5) ? wire::ack : wire::ack | wire::psh;
    const std::uint32_t network = r.ethernet ? 14 : 0;
    const auto size = static_cast<std::uint16_t>(100 + random.below(1400));
    const PacketPtr large = make_large(r, size);
    Burst burst;
    ASSERT_TRUE(segment(*large, network, burst));
    const std::size_t count = burst.size();
    const Coalesced done = coalesce(burst, network);
    EXPECT_EQ(done.taken, count - 1);
    EXPECT_EQ(done.lost, 0u);
    ASSERT_EQ(burst.size(), 1u);
    if (count == 1) continue;
    EXPECT_EQ(burst[0]->flags & (IOPKT_GSO_TCP4 | IOPKT_CSUM_NEEDED),
              std::uint32_t{IOPKT_GSO_TCP4 | IOPKT_CSUM_NEEDED});
    EXPECT_EQ(burst[0]->gso_size, std::min<std::size_t>(size, r.payload));
    EXPECT_EQ(burst[0]->csum_start, network + 20);
    EXPECT_EQ(burst[0]->header_len, network + 20 + wire::encoded_len(r.tcp));
    Burst again;
    ASSERT_TRUE(segment(*burst[0], network, again));
    EXPECT_EQ(again.size(), count);
    complete_checksum(*burst[0]);
    const auto [tcp, payload] = read(*burst[0], network);
    EXPECT_EQ(tcp, r.tcp);
    EXPECT_EQ(payload, test::counted(r.payload));
  }
}

TEST_F(SegmentTest, CoalescesOnlyWhatSimplyContinues) {
  const struct {
    const char* says;
    std::function<void(Recipe&)> change;  // to the second of two
    std::size_t left;
  } rows[] = {
      {"continues", [](Recipe&) {}, 1},
      {"shorter", [](Recipe& r) { r.payload = 10; }, 1},
      {"shorter, with padding", [](Recipe& r) { r.payload = 1, r.padding = 20; }, 1},
      {"longer", [](Recipe& r) { r.payload = 1001; }, 2},
      {"push", [](Recipe& r) { r.tcp.flags |= wire::psh; }, 1},
      {"another window", [](Recipe& r) { r.tcp.window = 200; }, 1},
      {"a later timestamp", [](Recipe& r) { r.tcp.options.timestamps->value = 60; }, 1},
      {"an earlier timestamp", [](Recipe& r) { r.tcp.options.timestamps->value = 49; }, 2},
      {"an earlier echo", [](Recipe& r) { r.tcp.options.timestamps->echo = 39; }, 2},
      {"no timestamp", [](Recipe& r) { r.tcp.options.timestamps.reset(); }, 2},
      {"a hole", [](Recipe& r) { r.tcp.seq += 1; }, 2},
      {"overlap", [](Recipe& r) { r.tcp.seq -= 1; }, 2},
      {"no payload", [](Recipe& r) { r.payload = 0; }, 2},
      {"fin", [](Recipe& r) { r.tcp.flags |= wire::fin; }, 2},
      {"urgent", [](Recipe& r) { r.tcp.flags |= wire::urg; }, 2},
      {"congestion echo", [](Recipe& r) { r.tcp.flags |= wire::ece; }, 2},
      {"another count of marks (RFC 9768)", [](Recipe& r) { r.tcp.flags |= wire::ae; }, 2},
      {"another acknowledgment", [](Recipe& r) { r.tcp.ack += 1; }, 2},
      {"another port", [](Recipe& r) { r.tcp.src = {1001}; }, 2},
      {"another host", [](Recipe& r) { r.ip.src = wire::Ipv4Address{10, 0, 0, 3}; }, 2},
      {"another TOS", [](Recipe& r) { r.ip.tos = 3; }, 2},
      {"another TTL", [](Recipe& r) { r.ip.ttl = 63; }, 2},
      {"don't fragment", [](Recipe& r) { r.ip.df = true; }, 2},
      {"a fragment", [](Recipe& r) { r.ip.mf = true; }, 2},
      {"IP options", [](Recipe& r) { r.ip.options.len = 4, r.ip.options.bytes.fill(std::byte{1}); }, 2},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    Recipe first, second;
    second.tcp.seq += 1000;
    second.first = 1000;
    row.change(second);
    Burst burst;
    burst.push_back(make(first));
    burst.push_back(make(second));
    coalesce(burst, 14);
    EXPECT_EQ(burst.size(), row.left);
    if (burst.size() != 1) continue;
    complete_checksum(*burst[0]);
    const auto [tcp, payload] = read(*burst[0], 14);
    EXPECT_EQ(payload, test::counted(1000 + second.payload));
    EXPECT_EQ(tcp.window, second.tcp.window);
    EXPECT_EQ(tcp.flags, second.tcp.flags);
    EXPECT_EQ(tcp.options, first.tcp.options) << "of the first byte";
  }
}

/// RFC 9768 section 3.3.4: each segment of a connection with AccECN has some of these flags. CWR is cleared by who cuts.
TEST_F(SegmentTest, CoalescesWithTheSameCountOfMarks) {
  for (const bool exact : {false, true}) {
    for (std::uint16_t ace = 0; ace < 8; ++ace) {
      SCOPED_TRACE(ace);
      Recipe first;
      first.tcp.flags |= wire::flags_of_ace(ace);
      Recipe second = first;
      second.tcp.seq += 1000, second.first = 1000, second.ip.id = 8;
      Burst burst;
      burst.push_back(make(first));
      burst.push_back(make(second));
      coalesce(burst, 14, exact);
      EXPECT_EQ(burst.size(), exact && (wire::flags_of_ace(ace) & wire::cwr) != 0 ? 2u : 1u);
      complete_checksum(*burst[0]);
      EXPECT_EQ(read(*burst[0], 14).first.flags, first.tcp.flags);
    }
  }
}

TEST_F(SegmentTest, WhatIsPutTogetherExactlyIsCutIntoWhatItWas) {
  const struct {
    const char* says;
    bool df;
    std::uint16_t id[2];
    std::function<void(Recipe&)> change;  // to the second of two
    std::size_t left;
  } rows[] = {
      {"counts on", false, {0xffff, 0}, [](Recipe&) {}, 1},
      {"counts on with DF", true, {7, 8}, [](Recipe& r) { r.payload = 10; }, 1},
      {"all 0", true, {0, 0}, [](Recipe& r) { r.tcp.flags |= wire::psh; }, 1},
      {"0 without DF", false, {0, 0}, [](Recipe&) {}, 2},
      {"0, but counts", true, {0, 1}, [](Recipe&) {}, 2},
      {"another identification", false, {7, 9}, [](Recipe&) {}, 2},
      {"another window", false, {7, 8}, [](Recipe& r) { r.tcp.window += 1; }, 2},
      {"a later timestamp", false, {7, 8}, [](Recipe& r) { r.tcp.options.timestamps->value += 1; }, 2},
      {"a later echo", false, {7, 8}, [](Recipe& r) { r.tcp.options.timestamps->echo += 1; }, 2},
      {"an urgent pointer without the bit", false, {7, 8}, [](Recipe& r) { r.tcp.urgent = 3; }, 2},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    Recipe first, second;
    second.first = 1000;
    second.tcp.seq += 1000;
    first.ip.df = second.ip.df = row.df;
    first.ip.id = row.id[0], second.ip.id = row.id[1];
    row.change(second);
    Burst burst;
    burst.push_back(make(first));
    burst.push_back(make(second));
    const Data before[] = {data_of(*burst[0]), data_of(*burst[1])};
    coalesce(burst, 14, true);
    ASSERT_EQ(burst.size(), row.left);
    if (row.left != 1) continue;
    Burst again;
    ASSERT_TRUE(segment(*burst[0], 14, again));
    ASSERT_EQ(again.size(), 2u);
    for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(data_of(*again[i]), before[i]);
  }
}

TEST_F(SegmentTest, Ipv6IsPutTogetherAndCutInTheSameWay) {
  const auto src = *wire::Ipv6Address::parse("2001:db8::1"), dst = *wire::Ipv6Address::parse("2001:db8::2");
  const auto make6 = [&](std::uint32_t number, std::size_t payload, std::uint32_t label = 5, std::uint8_t hops = 64) {
    const wire::TcpHeader tcp{.src = {1000}, .dst = {80}, .seq = {0xfffffe00 + number * 1000}, .ack = {5}, .flags = wire::ack, .window = 100,
                              .options = {.timestamps = wire::TcpTimestamps{50, 40}}};
    Data bytes(wire::encoded_len(tcp));
    wire::encode(tcp, bytes);
    const Data rest = test::counted(payload, number * 1000);
    bytes.insert(bytes.end(), rest.begin(), rest.end());
    const auto pseudo = wire::pseudo_header_sum(src, dst, wire::IpProtocol::tcp, static_cast<std::uint32_t>(bytes.size()));
    store_be16(bytes, 16, wire::finish(wire::sum(bytes, pseudo)));
    PacketPtr packet = pool_.packet(bytes);
    wire::encode(wire::Ipv6Header{.flow_label = label, .payload_len = static_cast<std::uint16_t>(bytes.size()),
                                  .next_header = wire::IpProtocol::tcp, .hop_limit = hops, .src = src, .dst = dst},
                 packet->prepend(40));
    wire::encode(wire::EthernetHeader{{{1}}, {{2}}, wire::EtherType::ipv6}, packet->prepend(14));
    return packet;
  };
  Burst burst;
  std::vector<Data> before;
  for (std::uint32_t i = 0; i < 5; ++i) {
    burst.push_back(make6(i, i == 4 ? 77 : 1000));
    before.push_back(data_of(*burst.back()));
  }
  EXPECT_EQ(coalesce(burst, 14).taken, 4u);
  ASSERT_EQ(burst.size(), 1u);
  EXPECT_EQ(burst[0]->flags, std::uint32_t{IOPKT_GSO_TCP6 | IOPKT_CSUM_NEEDED});
  EXPECT_EQ(burst[0]->csum_start, 54);
  Burst again;
  ASSERT_TRUE(segment(*burst[0], 14, again));
  ASSERT_EQ(again.size(), before.size());
  for (std::size_t i = 0; i < before.size(); ++i) EXPECT_EQ(data_of(*again[i]), before[i]);
  complete_checksum(*burst[0]);
  const std::uint32_t pseudo = wire::pseudo_header_sum(src, dst, wire::IpProtocol::tcp, burst[0]->size() - 54);
  EXPECT_EQ(wire::finish(wire::fold(pseudo + burst[0]->sum(54, burst[0]->size() - 54))), 0);
  for (const auto& [label, hops] : {std::pair{6u, 64}, std::pair{5u, 63}}) {
    Burst apart;
    apart.push_back(make6(0, 1000));
    apart.push_back(make6(1, 1000, label, static_cast<std::uint8_t>(hops)));
    coalesce(apart, 14);
    EXPECT_EQ(apart.size(), 2u) << "another flow label, another way";
  }
}

TEST_F(SegmentTest, ABadChecksumStaysAlone) {
  for (const std::size_t bad : {0u, 1u}) {
    for (const std::uint32_t at : {24u, 100u}) {  // IP identification, payload
      Recipe first, second;
      second.tcp.seq += 1000;
      Burst burst;
      burst.push_back(make(first));
      burst.push_back(make(second));
      const Data wrong = test::bytes({0x55});
      burst[bad]->copy_in(at, wrong);
      coalesce(burst, 14);
      EXPECT_EQ(burst.size(), 2u);
    }
  }
}

TEST_F(SegmentTest, FlowsThatAlternateAreTakenApart) {
  Burst burst;
  for (std::uint32_t i = 0; i < 5; ++i)
    for (std::uint16_t flow = 0; flow < 12; ++flow) {
      Recipe r{.payload = 100, .first = 100 * i};
      r.tcp.src = {flow};
      r.tcp.seq += 100 * i;
      burst.push_back(make(r));
    }
  Burst few;
  for (auto& packet : burst)
    if (std::to_integer<int>(data_of(*packet)[35]) < 8) few.push_back(std::move(packet));
  coalesce(few, 14);
  ASSERT_EQ(few.size(), 8u);
  for (std::size_t i = 0; i < 8; ++i) {
    complete_checksum(*few[i]);
    const auto [tcp, payload] = read(*few[i], 14);
    EXPECT_EQ(tcp.src.value, i) << "in order of arrival";
    EXPECT_EQ(payload, test::counted(500));
  }
}

TEST_F(SegmentTest, StopsAt65535Bytes) {
  Burst burst;
  for (std::uint32_t i = 0; i < 50; ++i) {
    Recipe r{.payload = 1448};
    r.tcp.seq += 1448 * i;
    burst.push_back(make(r));
  }
  coalesce(burst, 14);
  ASSERT_EQ(burst.size(), 2u);
  EXPECT_LE(burst[0]->size(), 65535u + 14);
  EXPECT_GT(burst[0]->size(), 64'000u);
}

TEST_F(SegmentTest, LeavesGarbageAlone) {
  Random random{3};
  for (int round = 0; round < 300; ++round) {
    Burst burst;
    std::size_t bytes = 0;
    for (int i = 0; i < 6; ++i) {
      Recipe r{.payload = 1 + random.below(60)};
      PacketPtr packet = make(r);
      for (int n = 0; n < 3; ++n) {
        const Data noise = test::bytes({static_cast<int>(random.below(256))});
        packet->copy_in(static_cast<std::uint32_t>(random.below(packet->size())), noise);
      }
      packet->trim_back(static_cast<std::uint32_t>(random.below(packet->size())));
      bytes += packet->size();
      burst.push_back(std::move(packet));
    }
    coalesce(burst, random.chance(0.5) ? 14 : 0);
    EXPECT_LE(burst.size(), 6u);
    std::size_t left = 0;
    for (const PacketPtr& packet : burst) left += packet->size();
    EXPECT_LE(left, bytes);
  }
}

}  // namespace
}  // namespace iopkt::packet
