// Identifiers of RFC 7217, and the fragments that we make. What the machine does with messages: tests/sim/discovery_test.cpp.
#include "ipv6/host.hpp"

#include <gtest/gtest.h>

#include <set>

#include "ipv6/inet6.hpp"
#include "packet/segment.hpp"
#include "tests/support/test_pool.hpp"

namespace iopkt::ipv6 {
namespace {

using wire::Ipv6Address;
Ipv6Address ip(const char* text) { return *Ipv6Address::parse(text); }

TEST(StableAddress, DependsOnAllThatRfc7217Names) {
  const HashKey secret{1, 2};
  const auto made = stable_address(secret, ip("2001:db8:1::"), "en0", 0);
  EXPECT_EQ(made, stable_address(secret, ip("2001:db8:1::"), "en0", 0)) << "stable";
  EXPECT_TRUE(std::equal(made.bytes.begin(), made.bytes.begin() + 8, ip("2001:db8:1::").bytes.begin()));
  std::set<Ipv6Address> all{made};
  all.insert(stable_address(secret, ip("2001:db8:1::"), "en1", 0));
  all.insert(stable_address(secret, ip("2001:db8:1::"), "en0", 1));
  all.insert(stable_address({1, 3}, ip("2001:db8:1::"), "en0", 0));
  EXPECT_EQ(all.size(), 4u);
  const auto elsewhere = stable_address(secret, ip("2001:db8:2::"), "en0", 0);
  EXPECT_FALSE(std::equal(made.bytes.begin() + 8, made.bytes.end(), elsewhere.bytes.begin() + 8)) << "nobody can follow a host";
}

class Ipv6OutputTest : public testing::Test {
 protected:
  packet::PacketPtr packet(std::size_t payload) {
    auto p = pool_.packet(test::counted(payload));
    wire::Ipv6Header h{.tos = 4, .flow_label = 0x12345, .next_header = wire::IpProtocol::udp, .hop_limit = 64, .src = ip("2001:db8::1"), .dst = ip("2001:db8::2")};
    EXPECT_TRUE(inet6().add_header(*p, h, counters_));
    return p;
  }
  test::TestPool pool_;
  Ipv6Counters<Counter> counters_;
};

TEST_F(Ipv6OutputTest, FragmentsHoldEverythingOnce) {
  for (const std::uint32_t mtu : {1280u, 1300u, 1500u, 9000u}) {
    for (const std::size_t size : {1233u, 1241u, 3000u, 65535u}) {
      SCOPED_TRACE(testing::Message() << mtu << ' ' << size);
      auto p = packet(size);
      if (packet::fits_mtu(*p, mtu)) continue;
      packet::Burst out;
      ASSERT_TRUE(inet6().fragment(p, mtu, 77, out, counters_));
      EXPECT_FALSE(p);
      test::Data whole;
      for (std::size_t i = 0; i < out.size(); ++i) {
        const auto bytes = test::data_of(*out[i]);
        EXPECT_LE(bytes.size(), mtu);
        const auto view = wire::Ipv6View::parse(bytes);
        ASSERT_TRUE(view);
        EXPECT_EQ(view->header().flow_label, 0x12345u);
        ASSERT_EQ(view->next_header(), wire::IpProtocol::fragment);
        const auto f = *wire::Ipv6FragmentHeader::parse(view->payload());
        EXPECT_EQ(f, (wire::Ipv6FragmentHeader{.next_header = wire::IpProtocol::udp, .offset = static_cast<std::uint16_t>(whole.size()),
                                               .more = i + 1 < out.size(), .id = 77}));
        const auto part = view->payload().subspan(8);
        whole.insert(whole.end(), part.begin(), part.end());
      }
      EXPECT_EQ(whole, test::counted(size));
    }
  }
}

TEST_F(Ipv6OutputTest, LimitsAreKept) {
  auto large = pool_.packet(test::Data(65536));
  wire::Ipv6Header h{.next_header = wire::IpProtocol::udp};
  EXPECT_EQ(inet6().add_header(*large, h, counters_).error(), Drop::ip_too_big);
  auto p = packet(3000);
  packet::Burst out;
  EXPECT_EQ(inet6().fragment(p, 1279, 1, out, counters_).error(), Drop::ip_too_big);
  EXPECT_TRUE(p);
  EXPECT_TRUE(out.empty());
}

}  // namespace
}  // namespace iopkt::ipv6
