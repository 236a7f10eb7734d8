// Redirects that a host follows: what the network sees of them is in tests/sim/forward_test.cpp.
#include "ipv4/redirects.hpp"

#include <gtest/gtest.h>

namespace iopkt::ipv4 {
namespace {

using wire::Ipv4Address;

constexpr Ipv4Address kRouter{10, 1, 0, 1}, kBetter{10, 1, 0, 9}, kBest{10, 1, 0, 10}, kFar{192, 0, 2, 7};

route::Fib fib(std::uint32_t number) {
  const route::Route router{.prefix = wire::IpPrefix::of(Ipv4Address::any(), 0), .gateway = kRouter, .interface_index = 1, .source = {}};
  return *route::Fib{number}.with(router);
}

TEST(Redirects, OneThatFindsNoRoomTakesNothingAway) {
  const Ipv4Tunables ipv4{};
  icmp::IcmpTunables icmp{};
  icmp.redirect_timeout_s = 600;
  Redirects redirects{ipv4, icmp};
  const iface::InterfaceTable interfaces = iface::InterfaceTable{}.with(
      {.index = 1, .name = "en0", .flags = iface::flag::up, .addresses = {{.address = Ipv4Address{10, 1, 0, 2}, .prefix_length = 24}}});
  const iface::Interface& en0 = *interfaces.by_index(1);
  std::array<route::Fib, 2> fibs{fib(0), fib(1)};
  const std::array<route::Fib, 2> fresh = fibs;
  Instant now{1'000'000'000};
  const auto hear = [&](std::span<const route::Fib> of, Ipv4Address about, Ipv4Address to) {
    return redirects.heard(en0, of, {.from = kRouter, .gateway = to, .destination = about, .local = Ipv4Address{10, 1, 0, 2}}, now).has_value();
  };
  const auto way = [&](std::size_t n, Ipv4Address to) { return fibs[n].lookup(to)->gateway; };
  EXPECT_TRUE(hear(fresh, kFar, kBetter));
  for (std::uint32_t i = 1; i < Redirects::kMost; ++i) EXPECT_TRUE(hear(fresh, Ipv4Address{198u << 24 | 51u << 16 | i}, kBetter));
  EXPECT_TRUE(redirects.run(now, interfaces, fibs));
  for (const std::size_t n : {0u, 1u}) EXPECT_EQ(way(n, kFar), wire::IpAddress{kBetter});
  // Of one FIB alone it would be one more.
  EXPECT_FALSE(hear(std::span{fresh}.first(1), kFar, kBest));
  redirects.tables_changed(now += std::chrono::seconds{1});
  EXPECT_FALSE(redirects.run(now, interfaces, fibs));
  for (const std::size_t n : {0u, 1u}) EXPECT_EQ(way(n, kFar), wire::IpAddress{kBetter}) << n;
  // Of both it takes the place of the old one.
  EXPECT_TRUE(hear(fresh, kFar, kBest));
  EXPECT_TRUE(redirects.run(now, interfaces, fibs));
  for (const std::size_t n : {0u, 1u}) EXPECT_EQ(way(n, kFar), wire::IpAddress{kBest}) << n;
}

}  // namespace
}  // namespace iopkt::ipv4
