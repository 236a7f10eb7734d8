// Headers, identifications and fragments; fragments are checked by putting them together again.
#include "ipv4/output.hpp"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "base/random.hpp"
#include "ipv4/reassembly.hpp"
#include "packet/segment.hpp"
#include "tests/support/test_pool.hpp"
#include "wire/checksum.hpp"
#include "wire/tcp.hpp"
#include "wire/udp.hpp"

namespace iopkt::ipv4 {
namespace {

using test::Data;
using test::data_of;
using wire::Ipv4Address;

constexpr Ipv4Address kSrc{10, 0, 0, 1}, kDst{10, 0, 0, 2};

class Ipv4OutputTest : public testing::Test {
 protected:
  wire::Ipv4Header header() {
    return {.ttl = 64, .protocol = wire::IpProtocol::udp, .src = kSrc, .dst = kDst};
  }
  test::TestPool pool_;
  Ipv4Counters<Counter> counters_;
  IdSource ids_{{1, 2}, 0};
};

TEST_F(Ipv4OutputTest, PutsAHeaderInFront) {
  auto packet = pool_.packet(test::counted(100));
  packet->flags = IOPKT_CSUM_NEEDED;
  wire::Ipv4Header h = header();
  h.tos = 0x10;
  ASSERT_TRUE(add_header(*packet, h, ids_, counters_));
  const Data bytes = data_of(*packet);
  const auto view = wire::Ipv4View::parse(bytes);
  ASSERT_TRUE(view && view->checksum_ok());
  EXPECT_EQ(view->header(), h);
  EXPECT_EQ(h.payload_len, 100);
  EXPECT_NE(h.id, 0);
  EXPECT_EQ(packet->csum_start, 20) << "counts from the front";
  EXPECT_EQ(counters_.tx_packets.value(), 1u);
}

TEST_F(Ipv4OutputTest, RefusesMoreThan65535Bytes) {
  auto packet = pool_.packet(Data(65515));
  wire::Ipv4Header h = header();
  ASSERT_TRUE(add_header(*packet, h, ids_, counters_));
  packet = pool_.packet(Data(65516));
  EXPECT_EQ(add_header(*packet, h, ids_, counters_).error(), Drop::ip_too_big);
  EXPECT_EQ(packet->size(), 65516u);
}

TEST(IdSource, NeverUsesReservedOnesNorOneTwiceInARow) {
  for (const std::uint32_t reserved : {0u, 2u, 256u, 32768u}) {
    for (const std::uint32_t shards : {1u, 3u}) {
      std::map<std::uint16_t, std::uint32_t> owner;
      for (std::uint32_t shard = 0; shard < shards; ++shard) {
        IdSource ids{{3, 4}, reserved, shard, shards};
        const std::uint32_t count = (65535 - reserved) / shards;
        std::set<std::uint16_t> seen;
        for (std::uint32_t i = 0; i < count; ++i) {
          const std::uint16_t id = ids.next(kSrc, kDst, wire::IpProtocol::udp);
          EXPECT_GT(id, reserved);
          EXPECT_TRUE(seen.insert(id).second) << "before all others were used";
          EXPECT_TRUE(owner.try_emplace(id, shard).first->second == shard) << "two shards";
        }
        EXPECT_EQ(ids.atomic(kSrc, kDst, wire::IpProtocol::tcp) == 0, reserved == 0);
      }
    }
  }
}

TEST(IdSource, RunsAreWithoutAGapAndWithoutReservedOnes) {
  IdSource ids{{5, 6}, 32768};
  Random random{1};
  for (int i = 0; i < 5000; ++i) {
    const auto count = static_cast<std::uint32_t>(1 + random.below(46));
    const std::uint16_t first = ids.next_run(kSrc, kDst, wire::IpProtocol::tcp, count);
    EXPECT_GT(first, 32768);
    EXPECT_LE(first + count - 1, 65535u);
  }
}

TEST(IdSource, TellsOnePeerNothingAboutAnother) {
  IdSource ids{{7, 8}, 0};
  const std::uint16_t first = ids.next(kSrc, kDst, wire::IpProtocol::udp);
  for (int i = 0; i < 10; ++i) ids.next(kSrc, Ipv4Address{10, 9, 9, 9}, wire::IpProtocol::udp);
  EXPECT_EQ(ids.next(kSrc, kDst, wire::IpProtocol::udp), static_cast<std::uint16_t>(first + 1));
}

TEST_F(Ipv4OutputTest, FragmentsComeTogetherAgain) {
  Random random{2};
  const Ipv4Tunables tunables = [] {
    auto t = initial_values<Ipv4Tunables>();
    t.max_frags_per_packet = 2000;
    t.max_frag_bytes = 1u << 30;
    return t;
  }();
  for (int round = 0; round < 100; ++round) {
    const Data payload = test::counted(1 + random.below(20'000), static_cast<unsigned>(round));
    const auto mtu = static_cast<std::uint32_t>(random.chance(0.3) ? 68 : 576 + random.below(2000));
    auto packet = pool_.packet(payload);
    wire::Ipv4Header h = header();
    if (random.chance(0.5))
      h.options = {.bytes = {std::byte{148}, std::byte{4}, {}, {}, std::byte{7}, std::byte{7}, std::byte{4}},
                   .len = 12};
    ASSERT_TRUE(add_header(*packet, h, ids_, counters_));
    packet::Burst out;
    ASSERT_TRUE(fragment(packet, mtu, out, counters_));
    EXPECT_FALSE(packet);
    Reassembly reassembly{tunables, counters_, {1, 1}};
    std::vector<Dead> dead;
    std::optional<Reassembly::Done> done;
    // Any order will do.
    while (!out.empty()) {
      const std::size_t i = random.below(out.size());
      const Data bytes = data_of(*out[i]);
      const auto view = wire::Ipv4View::parse(bytes);
      ASSERT_TRUE(view && view->checksum_ok());
      EXPECT_LE(bytes.size(), mtu);
      const std::size_t options = h.options.empty() ? 0 : view->fragment_offset() == 0 ? 12 : 4;
      EXPECT_EQ(view->options().size(), options);
      EXPECT_FALSE(done);
      const wire::IpFragment where{.id = view->id(), .offset = view->fragment_offset(), .more = view->mf(),
                                   .header_len = static_cast<std::uint16_t>(view->header_len())};
      done = reassembly.insert(view->header(), where, std::move(out[i]), {}, dead);
      out.erase(out.begin() + static_cast<std::ptrdiff_t>(i));
    }
    ASSERT_TRUE(done);
    EXPECT_EQ(wire::Ipv4View::parse_header(done->header.bytes.span())->header(), h);
    EXPECT_EQ(data_of(*done->packet), payload);
    EXPECT_TRUE(dead.empty());
  }
}

TEST_F(Ipv4OutputTest, DontFragmentIsObeyed) {
  auto packet = pool_.packet(Data(2000));
  wire::Ipv4Header h = header();
  h.df = true;
  ASSERT_TRUE(add_header(*packet, h, ids_, counters_));
  EXPECT_EQ(h.id, 0) << "atomic: RFC 6864";
  packet::Burst out;
  EXPECT_EQ(fragment(packet, 1500, out, counters_).error(), Drop::ip_too_big);
  EXPECT_TRUE(packet);
  EXPECT_TRUE(out.empty());
  EXPECT_TRUE(fragment(packet, 2020, out, counters_));
  EXPECT_EQ(out.size(), 1u);
}

TEST_F(Ipv4OutputTest, AFragmentIsCutWithItsPlaceKept) {
  wire::Ipv4Header h = header();
  h.id = 9;
  h.mf = true;
  h.fragment_offset = 800;
  auto packet = pool_.ipv4(h, Data(1600));
  packet::Burst out;
  ASSERT_TRUE(fragment(packet, 1000, out, counters_));
  ASSERT_EQ(out.size(), 2u);
  const std::uint16_t offsets[] = {800, 800 + 976};
  for (std::size_t i = 0; i < 2; ++i) {
    const Data bytes = data_of(*out[i]);
    const auto view = wire::Ipv4View::parse(bytes);
    EXPECT_EQ(view->fragment_offset(), offsets[i]);
    EXPECT_TRUE(view->mf()) << "the last one is elsewhere";
    EXPECT_EQ(view->id(), 9);
  }
}

TEST_F(Ipv4OutputTest, CompletesAChecksumBeforeItCuts) {
  const std::uint32_t pseudo = wire::pseudo_header_sum(kSrc, kDst, wire::IpProtocol::udp, 3008);
  auto packet = pool_.packet(test::counted(3000));
  const MutableBytes front = packet->prepend(8);
  wire::encode(wire::UdpHeader{{1}, {2}, 3000}, front);
  store_be16(front, 6, static_cast<std::uint16_t>(pseudo));
  packet->flags = IOPKT_CSUM_NEEDED;
  packet->csum_offset = 6;
  wire::Ipv4Header h = header();
  ASSERT_TRUE(add_header(*packet, h, ids_, counters_));
  packet::Burst out;
  ASSERT_TRUE(fragment(packet, 1500, out, counters_));
  Data all;
  for (const auto& one : out) {
    EXPECT_EQ(one->flags & IOPKT_CSUM_NEEDED, 0u);
    const Data bytes = data_of(*one);
    all.insert(all.end(), bytes.begin() + 20, bytes.end());
  }
  EXPECT_EQ(wire::finish(wire::sum(all, pseudo)), 0);
}

TEST_F(Ipv4OutputTest, LargeSegmentsPassWhenTheirPartsFit) {
  Data segment(20 + 5000);
  wire::encode(wire::TcpHeader{.src = {1}, .dst = {2}, .flags = wire::ack}, segment);
  for (const bool df : {true, false}) {
    auto packet = pool_.packet(segment);
    packet->flags = IOPKT_GSO_TCP4 | IOPKT_CSUM_NEEDED;
    packet->gso_size = 1460;
    packet->csum_offset = 16;
    wire::Ipv4Header h = header();
    h.protocol = wire::IpProtocol::tcp;
    h.df = df;
    ASSERT_TRUE(add_header(*packet, h, ids_, counters_));
    packet::Burst out;
    ASSERT_TRUE(fragment(packet, 1500, out, counters_));
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(out[0]->size(), 5040u);
    packet = std::move(out[0]);
    out.clear();
    // The path is narrower than the segments were made for.
    const auto done = fragment(packet, 1400, out, counters_);
    EXPECT_EQ(done.has_value(), !df);
    EXPECT_EQ(out.size(), df ? 0u : 7u) << "four segments, three of them in two fragments";
    EXPECT_EQ(static_cast<bool>(packet), df);
  }
}

}  // namespace
}  // namespace iopkt::ipv4
