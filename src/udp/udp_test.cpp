// Datagrams: what goes out comes in again, with each kind of checksum, and nothing broken does.
#include <gtest/gtest.h>

#include "packet/segment.hpp"
#include "tests/support/test_pool.hpp"
#include "udp/input.hpp"
#include "udp/output.hpp"
#include "wire/checksum.hpp"

namespace iopkt::udp {
namespace {

using test::Data;
using test::data_of;
using wire::Endpoint;

const Endpoint kA4{wire::Ipv4Address{10, 0, 0, 1}, {1000}}, kB4{wire::Ipv4Address{10, 0, 0, 2}, {53}};
const Endpoint kA6{*wire::IpAddress::parse("2001:db8::1"), {1000}},
    kB6{*wire::IpAddress::parse("2001:db8::2"), {53}};

class UdpTest : public testing::Test {
 protected:
  Expected<UdpIn, Drop> run(packet::Packet& packet, const Endpoint& src = kA4, const Endpoint& dst = kB4) {
    return input(src.address, dst.address, packet, tunables_, counters_);
  }
  packet::PacketPtr datagram(const Data& payload, Checksum checksum = Checksum::now) {
    auto packet = pool_.packet(payload);
    EXPECT_TRUE(add_header(*packet, kA4, kB4, checksum, counters_));
    return packet;
  }
  test::TestPool pool_;
  UdpTunables tunables_ = initial_values<UdpTunables>();
  UdpCounters<Counter> counters_;
};

TEST_F(UdpTest, WhatGoesOutComesIn) {
  for (const bool v6 : {false, true})
    for (const Checksum checksum : {Checksum::none, Checksum::later, Checksum::now})
      for (const std::size_t size : {0u, 1u, 1471u, 5000u}) {
        if (v6 && checksum == Checksum::none) continue;
        const Endpoint &a = v6 ? kA6 : kA4, &b = v6 ? kB6 : kB4;
        auto packet = pool_.packet(test::counted(size));
        ASSERT_TRUE(add_header(*packet, a, b, checksum, counters_));
        EXPECT_EQ(load_be16(packet->head(), 6) == 0, checksum == Checksum::none);
        if (checksum == Checksum::later && size % 2 == 1) packet::complete_checksum(*packet);
        ASSERT_TRUE(packet->append_zeroes(5));  // padding of the link
        const auto in = run(*packet, a, b);
        ASSERT_TRUE(in);
        EXPECT_EQ(in->src, a);
        EXPECT_EQ(in->dst, b);
        EXPECT_EQ(in->header.payload_len, size);
        packet->trim_front(8);
        EXPECT_EQ(data_of(*packet), test::counted(size));
      }
}

TEST_F(UdpTest, OneWrongBitIsFound) {
  const Data good = data_of(*datagram(test::counted(21)));
  for (std::size_t i = 0; i < good.size() * 8; ++i) {
    Data bad = good;
    bad[i / 8] ^= std::byte{1} << (i % 8);
    auto packet = pool_.packet(bad);
    const auto in = run(*packet);
    EXPECT_FALSE(in) << i;
    const bool in_length = i / 8 == 4 || i / 8 == 5;
    EXPECT_TRUE(in_length || in.error() == Drop::udp_bad_checksum) << i;
  }
  auto packet = pool_.packet(good);
  EXPECT_FALSE(run(*packet, kA4, kA4)) << "the addresses count too";
}

TEST_F(UdpTest, RefusesWhatIsTooShort) {
  const Data good = data_of(*datagram(test::counted(21)));
  for (std::size_t n = 0; n < good.size(); ++n) {
    auto packet = pool_.packet(Bytes{good}.first(n));
    EXPECT_EQ(run(*packet).error(), Drop::udp_truncated);
  }
  for (const auto len : std::initializer_list<std::uint16_t>{0, 7, 30}) {
    Data bad = good;
    store_be16(bad, 4, len);
    auto packet = pool_.packet(bad);
    EXPECT_EQ(run(*packet).error(), Drop::udp_truncated) << len;
  }
}

TEST_F(UdpTest, NoChecksumIsAllowedInIpv4Only) {
  auto packet = datagram(test::counted(5), Checksum::none);
  EXPECT_TRUE(run(*packet));
  EXPECT_EQ(counters_.rx_no_checksum.value(), 1u);
  EXPECT_EQ(run(*packet, kA6, kB6).error(), Drop::udp_bad_checksum);
}

TEST_F(UdpTest, WhatTheDeviceCheckedIsNotCheckedAgain) {
  Data bad = data_of(*datagram(test::counted(5)));
  bad[10] ^= std::byte{1};
  auto packet = pool_.packet(bad);
  packet->flags = IOPKT_CSUM_VALID;
  EXPECT_TRUE(run(*packet));
  packet->flags = 0;
  packet->looped = true;
  EXPECT_TRUE(run(*packet));
  tunables_.do_loopback_cksum = 1;
  EXPECT_FALSE(run(*packet));
}

TEST_F(UdpTest, AChecksumOfZeroIsSentAsOnes) {
  // A payload that makes the sum 0xffff, so that the field would be 0, which means "none".
  auto probe = datagram(test::bytes({0, 0}));
  const std::uint16_t field = load_be16(probe->head(), 6);
  Data payload(2);
  store_be16(payload, 0, field);
  for (const Checksum checksum : {Checksum::now, Checksum::later}) {
    auto packet = datagram(payload, checksum);
    packet::complete_checksum(*packet);
    EXPECT_EQ(load_be16(packet->head(), 6), 0xffff);
    EXPECT_TRUE(run(*packet));
    EXPECT_EQ(counters_.rx_no_checksum.value(), 0u);
  }
}

TEST_F(UdpTest, RefusesMoreThanTheLengthFieldSays) {
  auto packet = pool_.packet(Data(65528));
  EXPECT_EQ(add_header(*packet, kA4, kB4, Checksum::now, counters_).error(), Drop::ip_too_big);
  packet->trim_back(1);
  EXPECT_TRUE(add_header(*packet, kA4, kB4, Checksum::now, counters_));
}

TEST_F(UdpTest, ManyInOneAreCutLater) {
  auto packet = pool_.packet(test::counted(2500));
  ASSERT_TRUE(add_header(*packet, kA4, kB4, Checksum::later, counters_, 1000));
  EXPECT_EQ(packet->flags, std::uint32_t{IOPKT_CSUM_NEEDED | IOPKT_GSO_UDP});
  EXPECT_EQ(packet->gso_size, 1000);
  packet = pool_.packet(test::counted(1000));
  ASSERT_TRUE(add_header(*packet, kA4, kB4, Checksum::later, counters_, 1000));
  EXPECT_EQ(packet->flags, std::uint32_t{IOPKT_CSUM_NEEDED}) << "one is one";
}

// ---- UDP-Lite

class UdpLiteTest : public UdpTest {
 protected:
  Expected<UdpIn, Drop> run_lite(packet::Packet& packet) {
    return lite_input(kA4.address, kB4.address, packet, tunables_, counters_);
  }
  Data lite(const Data& payload, std::uint32_t coverage) {
    auto packet = pool_.packet(payload);
    EXPECT_TRUE(add_lite_header(*packet, kA4, kB4, coverage, counters_));
    return data_of(*packet);
  }
};

TEST_F(UdpLiteTest, OnlyWhatIsCoveredIsChecked) {
  struct Row {
    std::uint32_t asked, covered;
  };
  for (const Row row : {Row{0, 29}, {1, 8}, {8, 8}, {9, 9}, {20, 20}, {29, 29}, {65535, 29}}) {
    const Data good = lite(test::counted(21), row.asked);
    EXPECT_EQ(load_be16(good, 4), row.covered);
    auto packet = pool_.packet(good);
    const auto in = run_lite(*packet);
    ASSERT_TRUE(in);
    EXPECT_EQ(in->header.payload_len, 21u);
    EXPECT_EQ(in->coverage, row.covered);
    EXPECT_EQ(in->partial, row.covered < 29);
    for (std::size_t i = 0; i < good.size(); ++i) {
      if (i == 4 || i == 5) continue;  // the coverage itself
      Data bad = good;
      bad[i] ^= std::byte{4};
      packet = pool_.packet(bad);
      EXPECT_EQ(run_lite(*packet).has_value(), i >= row.covered) << i;
    }
  }
}

TEST_F(UdpLiteTest, RefusesImpossibleCoverageAndNoChecksum) {
  const Data good = lite(test::counted(21), 0);
  for (const auto coverage : std::initializer_list<std::uint16_t>{1, 7, 30, 65535}) {
    Data bad = good;
    store_be16(bad, 4, coverage);
    auto packet = pool_.packet(bad);
    EXPECT_EQ(run_lite(*packet).error(), Drop::udplite_bad_coverage) << coverage;
  }
  for (std::size_t n = 0; n < 8; ++n) {
    auto packet = pool_.packet(Bytes{good}.first(n));
    EXPECT_EQ(run_lite(*packet).error(), Drop::udp_truncated);
  }
  Data bad = good;
  store_be16(bad, 6, 0);
  auto packet = pool_.packet(bad);
  packet->looped = true;
  EXPECT_EQ(run_lite(*packet).error(), Drop::udp_bad_checksum);
}

}  // namespace
}  // namespace iopkt::udp
