#include "route/path_mtu.hpp"

#include <gtest/gtest.h>

namespace iopkt::route {
namespace {

PathKey host(std::uint32_t n) {
  wire::Ipv6Address a = *wire::Ipv6Address::parse("2001:db8::");
  a.bytes[14] = static_cast<std::uint8_t>(n >> 8);
  a.bytes[15] = static_cast<std::uint8_t>(n);
  return {a};
}

TEST(PathMtus, OnlyLowersAndForgetsAfterTenMinutes) {
  PathMtus mtus{{1, 2}};
  const Instant start{77};
  EXPECT_EQ(mtus.find(host(1), start), 0u);
  EXPECT_TRUE(mtus.learn(host(1), 1400, start));
  EXPECT_FALSE(mtus.learn(host(1), 1450, start + 1s));
  EXPECT_FALSE(mtus.learn(host(1), 1400, start + 1s)) << "and the time does not begin again";
  EXPECT_EQ(mtus.find(host(1), start + 599s), 1400u);
  EXPECT_TRUE(mtus.learn(host(1), 1280, start + 300s));
  EXPECT_EQ(mtus.find(host(1), start + 899s), 1280u);
  EXPECT_EQ(mtus.find(host(1), start + 900s), 0u);
  EXPECT_TRUE(mtus.learn(host(1), 1500, start + 900s)) << "a new path";
  EXPECT_EQ(mtus.find(host(2), start + 900s), 0u);
}

TEST(PathMtus, AreOfOneFibAndNoSmallerThanAnybodyBelieves) {
  PathMtus mtus{{1, 2}};
  const wire::IpAddress v4 = *wire::IpAddress::parse("192.0.2.1");
  EXPECT_TRUE(mtus.learn({v4, 1}, 68, {}));
  EXPECT_EQ(mtus.find({v4, 1}, {}), 552u);
  EXPECT_EQ(mtus.find({v4, 0}, {}), 0u) << "there the route may be another";
  EXPECT_FALSE(mtus.learn({v4, 1}, 100, {})) << "no smaller than before";
  EXPECT_TRUE(mtus.learn(host(1), 0, {}));
  EXPECT_EQ(mtus.find(host(1), {}), 1280u);
}

TEST(PathMtus, AreBounded) {
  PathMtus mtus{{1, 2}};
  for (std::uint32_t n = 0; n < PathMtus::kMost + 10; ++n) mtus.learn(host(n), 1300, {});
  EXPECT_EQ(mtus.size(), PathMtus::kMost);
  EXPECT_EQ(mtus.find(host(9), {}), 0u) << "the first went";
  EXPECT_EQ(mtus.find(host(10), {}), 1300u);
}

TEST(LongSent, KnowsWhoSentWhereForTwoMinutes) {
  LongSent sent{{1, 2}};
  const LongSent::Key key{host(1).destination, 5000, 17};
  EXPECT_FALSE(sent.find(key, {}));
  sent.note(key, 3, Instant{});
  EXPECT_EQ(sent.find(key, Instant{} + 119s), 3);
  EXPECT_FALSE(sent.find({host(2).destination, 5000, 17}, {}));
  EXPECT_FALSE(sent.find({host(1).destination, 5001, 17}, {}));
  EXPECT_FALSE(sent.find({host(1).destination, 5000, 136}, {}));
  EXPECT_FALSE(sent.find(key, Instant{} + 120s));
}

}  // namespace
}  // namespace iopkt::route
