// Fragments in every order, twice, overlapping, too many, never complete: what comes out and that memory
// stays bounded.
#include "ipv4/reassembly.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.hpp"
#include "tests/support/test_pool.hpp"

namespace iopkt::ipv4 {
namespace {

using packet::Drop;
using test::Data;
using test::data_of;

struct Part {
  std::uint16_t offset, len;
  bool more;
  std::uint8_t ecn = 0;
};

class ReassemblyTest : public testing::Test {
 protected:
  std::optional<Reassembly::Done> add(const Part& part, std::uint16_t id = 1, Instant now = {}) {
    const wire::Ipv4Header h{.tos = part.ecn,
                             .id = id,
                             .mf = part.more,
                             .fragment_offset = part.offset,
                             .ttl = 9,
                             .protocol = wire::IpProtocol::udp,
                             .src = wire::Ipv4Address{10, 0, 0, 2},
                             .dst = wire::Ipv4Address{10, 0, 0, 1},
                             .payload_len = part.len};
    return insert(h, pool_.ipv4(h, test::counted(part.len, part.offset)), now);
  }
  std::optional<Reassembly::Done> insert(const wire::Ipv4Header& h, packet::PacketPtr packet, Instant now = {}) {
    const wire::IpFragment fragment{.id = h.id, .offset = h.fragment_offset, .more = h.mf,
                                    .header_len = static_cast<std::uint16_t>(wire::encoded_len(h))};
    return reassembly_.insert(h, fragment, std::move(packet), now, dead_);
  }
  std::vector<Drop> deaths() {
    std::vector<Drop> out;
    for (const Dead& d : dead_) out.push_back(d.why);
    dead_.clear();
    return out;
  }
  test::TestPool pool_;
  Ipv4Tunables tunables_ = initial_values<Ipv4Tunables>();
  Ipv4Counters<Counter> counters_;
  std::vector<Dead> dead_;
  Reassembly reassembly_{tunables_, counters_, {1, 2}};
};

TEST_F(ReassemblyTest, AnyOrderWillDo) {
  std::vector<Part> parts{{0, 1480, true}, {1480, 1480, true}, {2960, 1480, true}, {4440, 3, false}};
  std::sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) { return a.offset < b.offset; });
  do {
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const auto done = add(parts[i]);
      ASSERT_EQ(done.has_value(), i == 3);
      if (!done) continue;
      EXPECT_EQ(data_of(*done->packet), test::counted(4443));
      const auto whole = wire::Ipv4View::parse_header(done->header.bytes.span());
      ASSERT_TRUE(whole);
      EXPECT_FALSE(whole->is_fragment());
      EXPECT_TRUE(whole->checksum_ok());
      EXPECT_EQ(whole->total_len(), 20u + 4443);
      EXPECT_EQ(done->packet->network_len, 20);
    }
    EXPECT_EQ(reassembly_.datagrams(), 0u);
    EXPECT_EQ(reassembly_.bytes(), 0u);
  } while (std::next_permutation(parts.begin(), parts.end(),
                                 [](const Part& a, const Part& b) { return a.offset < b.offset; }));
  EXPECT_EQ(counters_.reassembly_done.value(), 24u);
  EXPECT_TRUE(dead_.empty());
}

TEST_F(ReassemblyTest, AnExactCopyChangesNothing) {
  add({0, 8, true});
  add({0, 8, true});
  add({16, 8, false});
  add({16, 8, false});
  EXPECT_EQ(deaths(), (std::vector{Drop::ip_fragment_duplicate, Drop::ip_fragment_duplicate}));
  EXPECT_TRUE(add({8, 8, true}));
  EXPECT_EQ(counters_.reassembly_duplicates.value(), 2u);
}

TEST_F(ReassemblyTest, WhatContradictsEndsTheDatagramForGood) {
  const struct {
    const char* says;
    std::vector<Part> parts;  // the last one contradicts
  } rows[] = {
      {"overlap with the one before", {{0, 16, true}, {8, 16, true}}},
      {"overlap with the one behind", {{8, 16, true}, {0, 16, true}}},
      {"inside", {{0, 32, true}, {8, 8, true}}},
      {"around", {{8, 8, true}, {0, 32, true}}},
      {"the same start, longer", {{0, 8, true}, {0, 16, true}}},
      {"two ends", {{16, 8, false}, {24, 8, false}}},
      {"an end before what is there", {{16, 8, true}, {8, 8, false}}},
      {"behind the end", {{8, 8, false}, {16, 8, true}}},
      {"up to the end, with more", {{16, 8, false}, {8, 8, true}, {0, 8, true}, {16, 8, true}}},
      {"the last as if it were not", {{16, 8, true}, {16, 8, false}}},
  };
  std::uint16_t id = 100;
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    ++id;
    bool done = false;
    for (std::size_t i = 0; i < row.parts.size() && !done; ++i) done = add(row.parts[i], id).has_value();
    if (done) {  // complete before the contradiction: that begins another one
      dead_.clear();
      continue;
    }
    const auto why = deaths();
    EXPECT_EQ(why.size(), row.parts.size());
    EXPECT_TRUE(std::all_of(why.begin(), why.end(), [](Drop d) { return d == Drop::ip_fragment_overlap; }));
    EXPECT_EQ(reassembly_.bytes(), 0u);
    add({40, 8, true}, id);
    EXPECT_EQ(deaths(), std::vector{Drop::ip_fragment_overlap}) << "what still comes dies as well";
  }
}

TEST_F(ReassemblyTest, RefusesImpossibleFragments) {
  const struct {
    const char* says;
    Part part;
    bool good;
  } rows[] = {
      {"a length that 8 does not divide", {0, 7, true}, false},
      {"nothing", {8, 0, false}, false},
      {"behind 65535", {65528, 8, false}, false},
      {"up to 65535 with its header", {65504, 11, false}, true},
      {"one more", {65504, 12, false}, false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    add(row.part);
    EXPECT_EQ(deaths(), row.good ? std::vector<Drop>{} : std::vector{Drop::ip_bad_fragment});
  }
  EXPECT_EQ(reassembly_.datagrams(), 1u);
}

TEST_F(ReassemblyTest, EndsAfterItsTime) {
  const Instant start{1'000'000'000};
  EXPECT_TRUE(reassembly_.next_deadline().is_never());
  add({0, 8, true}, 1, start);
  add({16, 8, true}, 1, start + 10s);
  add({16, 8, false}, 2, start + 1s);
  EXPECT_EQ(reassembly_.next_deadline(), start + 30s);
  tunables_.frag_ttl_s = 5;
  EXPECT_EQ(reassembly_.next_deadline(), start + 5s) << "a change is of what waits, too";
  tunables_.frag_ttl_s = 30;
  std::vector<Reassembly::Expired> out;
  reassembly_.run(start + 30s - 1ns, out);
  EXPECT_TRUE(out.empty());
  reassembly_.run(start + 31s, out);
  ASSERT_EQ(out.size(), 2u);
  ASSERT_TRUE(out[0].first);
  EXPECT_EQ(wire::Ipv4View::parse_header(out[0].first->bytes.span())->id(), 1);
  ASSERT_EQ(out[0].packets.size(), 2u);
  EXPECT_EQ(data_of(*out[0].packets[0]), test::counted(8));
  EXPECT_FALSE(out[1].first) << "without the first fragment nobody is told";
  EXPECT_EQ(reassembly_.datagrams(), 0u);
  EXPECT_EQ(reassembly_.bytes(), 0u);
  EXPECT_TRUE(reassembly_.next_deadline().is_never());
  EXPECT_FALSE(add({8, 8, true}, 1, start + 32s)) << "begins anew";
}

TEST_F(ReassemblyTest, KeepsOnlySoManyDatagrams) {
  tunables_.max_frag_packets = 3;
  for (std::uint16_t id = 1; id <= 5; ++id) add({0, 8, true}, id);
  EXPECT_EQ(deaths(), (std::vector{Drop::ip_fragment_limit, Drop::ip_fragment_limit}));
  EXPECT_EQ(reassembly_.datagrams(), 3u);
  EXPECT_TRUE(add({8, 8, false}, 3));
  EXPECT_FALSE(add({8, 8, false}, 1)) << "the oldest went";
  tunables_.max_frag_packets = 0;
  add({0, 8, true}, 9);
  EXPECT_EQ(deaths().back(), Drop::ip_fragment_limit);
}

TEST_F(ReassemblyTest, KeepsOnlySoManyBytes) {
  tunables_.max_frag_bytes = 100'000;
  for (std::uint16_t id = 1; id <= 10; ++id)
    for (std::uint16_t i = 0; i < 10; ++i) {
      add({static_cast<std::uint16_t>(8 * i), 8, true}, id);
      EXPECT_LE(reassembly_.bytes(), 100'000u) << "the memory counts, not what is used of it";
    }
  EXPECT_GT(deaths().size(), 50u);
}

TEST_F(ReassemblyTest, KeepsOnlySoManyFragmentsOfOne) {
  tunables_.max_frags_per_packet = 4;
  for (std::uint16_t i = 0; i < 5; ++i) add({static_cast<std::uint16_t>(16 * i), 8, true});
  EXPECT_EQ(deaths(), (std::vector<Drop>(5, Drop::ip_fragment_limit)));
}

TEST_F(ReassemblyTest, CongestionMarksAsRfc3168Section5_3) {
  const struct {
    std::uint8_t first, second;
    int whole;  // -1: dropped
  } rows[] = {{0, 0, 0}, {2, 2, 2}, {2, 3, 3}, {3, 2, 3}, {0, 3, -1}, {3, 0, -1}};
  for (const auto& row : rows) {
    SCOPED_TRACE(testing::Message() << int{row.first} << ' ' << int{row.second});
    add({0, 8, true, row.first});
    const auto done = add({8, 8, false, row.second});
    ASSERT_EQ(done.has_value(), row.whole >= 0);
    EXPECT_EQ(done ? done->header.ecn() : -1, row.whole);
    EXPECT_EQ(deaths().size(), done ? 0u : 2u);
  }
}

TEST_F(ReassemblyTest, LentFragmentsAreOwned) {
  Data lent = test::counted(8);
  wire::Ipv4Header h{.id = 1, .mf = true, .protocol = wire::IpProtocol::udp, .payload_len = 8};
  auto packet = packet::allocate_header(pool_.cache());
  ASSERT_TRUE(packet->append_borrowed(lent));
  wire::encode(h, packet->prepend(20));
  insert(h, std::move(packet));
  std::fill(lent.begin(), lent.end(), std::byte{0xee});
  h.mf = false;
  h.fragment_offset = 8;
  const auto done = insert(h, pool_.ipv4(h, test::counted(8, 8)));
  ASSERT_TRUE(done);
  EXPECT_EQ(data_of(*done->packet), test::counted(16));
}

TEST_F(ReassemblyTest, OfIpv6TheIdentificationAloneCounts) {
  const auto from = *wire::Ipv6Address::parse("2001:db8::1"), to = *wire::Ipv6Address::parse("2001:db8::2");
  const auto add6 = [&](std::uint32_t offset, bool more, std::size_t len, wire::IpProtocol upper, std::size_t extensions = 0) {
    // The header of the whole: no fragment header; in the packet it lies before the payload.
    const wire::Ipv6Header h{.payload_len = static_cast<std::uint16_t>(extensions + 8 + len), .next_header = upper, .hop_limit = 9,
                             .src = from, .dst = to};
    Data raw(40 + extensions);
    wire::encode(h, raw);
    Data frame = raw;
    frame.resize(frame.size() + 8);
    const Data payload = test::counted(len, offset);
    frame.insert(frame.end(), payload.begin(), payload.end());
    const wire::IpFragment fragment{.id = 0x12345678, .offset = offset, .more = more, .header_len = static_cast<std::uint16_t>(48 + extensions)};
    return reassembly_.insert(wire::IpHeader{h, upper, raw, 0}, fragment, pool_.packet(frame), {}, dead_);
  };
  EXPECT_FALSE(add6(0, true, 1232, wire::IpProtocol::udp));
  const auto done = add6(1232, false, 100, wire::IpProtocol::destination_options);
  ASSERT_TRUE(done);
  EXPECT_EQ(done->header.protocol, wire::IpProtocol::udp) << "as the first one says";
  EXPECT_EQ(wire::Ipv6View::parse_header(done->header.bytes.span())->payload_len(), 1332);
  EXPECT_EQ(data_of(*done->packet), test::counted(1332));
  add6(65528, false, 7, wire::IpProtocol::udp);
  EXPECT_TRUE(dead_.empty()) << "the largest";
  add6(65528, false, 7, wire::IpProtocol::udp, 8);
  EXPECT_EQ(deaths(), std::vector{Drop::ip_bad_fragment});
  // Each piece fits behind its own headers, the whole does not behind the first one's.
  EXPECT_FALSE(add6(0, true, 8184, wire::IpProtocol::udp, 8));
  for (std::uint32_t at = 8184; at < 65472; at += 8184) EXPECT_FALSE(add6(at, true, 8184, wire::IpProtocol::udp));
  EXPECT_TRUE(dead_.empty());
  EXPECT_FALSE(add6(65472, true, 56, wire::IpProtocol::udp));
  EXPECT_EQ(deaths(), std::vector<Drop>(10, Drop::ip_bad_fragment));
}

}  // namespace
}  // namespace iopkt::ipv4
