#include "socket/port_table.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <vector>

namespace iopkt::socket {
namespace {

using wire::Ipv4Address;
using wire::Port;
constexpr Ipv4Address kAny{}, kOne{10, 0, 0, 1}, kTwo{10, 0, 0, 2};

/// One claim is held; may another one have the same port?
struct Row {
  const char* says;
  BindRequest held, wanted;
  bool held_listens;
  bool tcp_allows, udp_allows;
};

BindRequest claim(Ipv4Address address, bool reuse_address = false, bool reuse_port = false, std::uint32_t user = 1) {
  return {.address = address, .port = Port{80}, .reuse_address = reuse_address, .reuse_port = reuse_port, .user = user};
}

TEST(PortTable, TwoClaimsOfOnePortAsTheHostDecides) {
  const Row rows[] = {
      {"different addresses", claim(kOne), claim(kTwo), true, true, true},
      {"the same address", claim(kOne), claim(kOne), false, false, false},
      {"any address overlaps", claim(kAny), claim(kOne), false, false, false},
      {"and the other way round", claim(kOne), claim(kAny), false, false, false},
      {"both reuse the address, nobody listens", claim(kOne, true), claim(kOne, true), false, true, true},
      {"both reuse the address, one listens", claim(kOne, true), claim(kOne, true), true, false, true},
      {"only the new one reuses", claim(kOne), claim(kOne, true), false, false, false},
      {"only the old one reuses", claim(kOne, true), claim(kOne), false, false, false},
      {"both share the port", claim(kAny, false, true), claim(kAny, false, true), true, true, true},
      {"both share the port, another user", claim(kAny, false, true), claim(kAny, false, true, 2), true, false, false},
      {"only one shares the port", claim(kAny, false, true), claim(kAny), false, false, false},
  };
  for (const Row& row : rows) {
    for (const auto rules : {PortTable::Rules::tcp, PortTable::Rules::udp}) {
      SCOPED_TRACE(row.says);
      Random random{1};
      PortTable table(rules);
      const auto held = table.bind(row.held, random);
      ASSERT_TRUE(held.has_value());
      if (row.held_listens && rules == PortTable::Rules::tcp) {
        ASSERT_EQ(table.start_listening(**held), Errno::ok);
      }
      const auto wanted = table.bind(row.wanted, random);
      const bool allowed = rules == PortTable::Rules::tcp ? row.tcp_allows : row.udp_allows;
      EXPECT_EQ(wanted.has_value(), allowed);
      if (!allowed) {
        EXPECT_EQ(wanted.error(), Errno::addrinuse);
      }
    }
  }
}

TEST(PortTable, TwoFamiliesShareAPortAsTheHostDecides) {
  const wire::IpAddress any6 = wire::Ipv6Address::any(), one6 = *wire::IpAddress::parse("2001:db8::1");
  const auto claim6 = [](const wire::IpAddress& address, bool only = false) {
    BindRequest out = claim(kAny);
    out.address = address;
    out.v6_only = only;
    return out;
  };
  const struct {
    const char* says;
    BindRequest held, wanted;
    bool allowed;
  } rows[] = {
      {"both any: the dual one is for both families", claim6(any6), claim(kAny), false},
      {"the same with one IPv4 address", claim6(any6), claim(kOne), false},
      {"any of IPv6 only", claim6(any6, true), claim(kAny), true},
      {"any of IPv6 only and one IPv4 address", claim6(any6, true), claim(kOne), true},
      {"one IPv6 address and any of IPv4", claim6(one6), claim(kAny), true},
      {"one IPv6 address and any of IPv6", claim6(one6), claim6(any6), false},
      {"one IPv6 address and any of IPv6 only", claim6(one6), claim6(any6, true), false},
      {"twice any of IPv6, one of them only", claim6(any6, true), claim6(any6), false},
      {"an IPv4 address on a socket of IPv6 (mapped) and on one of IPv4", claim6(kOne), claim(kOne), false},
      {"any of IPv4 on a socket of IPv6 and one address of IPv6", claim6(kAny), claim6(one6), true},
  };
  for (const auto& row : rows)
    for (const bool swapped : {false, true}) {
      SCOPED_TRACE(row.says);
      Random random{1};
      PortTable table(PortTable::Rules::tcp);
      const auto held = table.bind(swapped ? row.wanted : row.held, random);
      const auto wanted = table.bind(swapped ? row.held : row.wanted, random);
      EXPECT_EQ(wanted.has_value(), row.allowed);
    }
}

TEST(PortTable, AnotherFibHasPortsOfItsOwn) {
  Random random{1};
  PortTable table(PortTable::Rules::tcp);
  BindRequest other = claim(kOne);
  other.fib = 1;
  const auto a = table.bind(claim(kOne), random), b = table.bind(other, random);
  EXPECT_TRUE(a.has_value() && b.has_value());
}

TEST(PortTable, OneListenerUnlessThePortIsShared) {
  Random random{1};
  PortTable table(PortTable::Rules::tcp);
  const auto a = table.bind(claim(kAny, true), random), b = table.bind(claim(kAny, true), random);
  ASSERT_TRUE(a && b);
  EXPECT_EQ(table.start_listening(**a), Errno::ok);
  EXPECT_EQ(table.start_listening(**b), Errno::addrinuse);
  table.stop_listening(**a);
  EXPECT_EQ(table.start_listening(**b), Errno::ok);
}

TEST(PortTable, EphemeralPortsAreInRangeDistinctAndSuit) {
  Random random{1};
  PortTable table(PortTable::Rules::tcp);
  const BindRequest any{.address = kOne};
  const EphemeralPorts ten{50000, 50009};
  std::vector<BindingPtr> held;
  std::set<std::uint16_t> seen;
  const auto even = [](Port port) { return port.value % 2 == 0; };
  for (int i = 0; i < 5; ++i) {
    auto binding = table.bind(any, random, ten, even);
    ASSERT_TRUE(binding.has_value());
    EXPECT_TRUE(seen.insert((*binding)->port().value).second);
    EXPECT_EQ((*binding)->port().value % 2, 0);
    EXPECT_TRUE((*binding)->port().value >= 50000 && (*binding)->port().value <= 50009);
    held.push_back(std::move(*binding));
  }
  EXPECT_EQ(table.bind(any, random, ten, even).error(), Errno::addrinuse);
  // The last holder of a claim frees the port; a connection that shares the claim keeps it.
  BindingPtr connection = held.back();
  held.pop_back();
  EXPECT_EQ(table.bind(any, random, ten, even).error(), Errno::addrinuse);
  connection.reset();
  EXPECT_TRUE(table.bind(any, random, ten, even).has_value());
  held.clear();
  EXPECT_EQ(table.size(), 0u);
}

/// RFC 6056 section 3: whoever is off the path cannot say which port is next, neither from those before nor from those to another peer.
TEST(PortTable, EphemeralPortsCannotBeGuessed) {
  constexpr int kCount = 400;
  for (const bool connects : {false, true}) {
    SCOPED_TRACE(connects ? "connect" : "bind");
    const auto ports = [&](std::uint64_t seed, std::uint8_t peers) {
      Random random{seed};
      PortTable table(PortTable::Rules::tcp);
      std::vector<std::vector<std::uint16_t>> out(peers);
      std::vector<BindingPtr> held;
      for (int i = 0; i < kCount; ++i) {
        const std::size_t peer = static_cast<std::size_t>(i) % peers;
        BindRequest request{.address = kOne};
        if (connects) request.remote = {wire::Ipv4Address{192, 0, 2, static_cast<std::uint8_t>(peer + 1)}, Port{80}};
        auto binding = table.bind(request, random);
        EXPECT_TRUE(binding.has_value());
        out[peer].push_back((*binding)->port().value);
        // Some last, some are over at once.
        if (i % 3 == 0) held.push_back(std::move(*binding));
      }
      return out;
    };
    const auto one = ports(1, 1)[0], other = ports(2, 1)[0];
    std::set<std::uint16_t> distinct(one.begin(), one.end());
    std::set<int> pieces;
    int near = 0, equal = 0;
    for (std::size_t i = 0; i < one.size(); ++i) {
      pieces.insert((one[i] - 49152) / 1024);
      equal += one[i] == other[i] ? 1 : 0;
      if (i > 0) near += std::abs(one[i] - one[i - 1]) <= 16 ? 1 : 0;
    }
    EXPECT_GT(distinct.size(), kCount * 9u / 10);
    EXPECT_EQ(pieces.size(), 16u) << "of the whole range";
    EXPECT_LT(near, kCount / 20) << "not one after the other";
    EXPECT_LT(equal, kCount / 20) << "another key, other ports";
    const auto both = ports(3, 2);
    std::set<int> distances;
    for (std::size_t i = 0; i < both[0].size(); ++i) distances.insert(both[0][i] - both[1][i]);
    EXPECT_GT(distances.size(), both[0].size() * 9 / 10) << "nor do those to one peer tell of those to another";
  }
}

TEST(PortTable, AFullRangeIsSharedByThoseWhoMay) {
  Random random{1};
  PortTable table(PortTable::Rules::tcp);
  const EphemeralPorts one{50000, 50000};
  const auto first = table.bind({.address = kOne, .reuse_address = true}, random, one);
  EXPECT_TRUE(first.has_value());
  EXPECT_TRUE(table.bind({.address = kOne, .reuse_address = true}, random, one).has_value());
  EXPECT_FALSE(table.bind({.address = kOne}, random, one).has_value());
}

TEST(PortTable, ConnectionsToOtherPeersShareTheRange) {
  PortTable table(PortTable::Rules::tcp);
  Random random{5};
  std::vector<BindingPtr> held;
  const auto connect = [&](std::uint8_t peer) {
    auto got = table.bind({.address = kOne, .remote = {Ipv4Address{10, 0, 0, peer}, Port{80}}}, random, {50000, 50009});
    if (got) held.push_back(*got);
    return got ? Errno::ok : got.error();
  };
  for (std::uint8_t peer = 20; peer < 23; ++peer) {
    std::set<std::uint16_t> ports;
    for (int i = 0; i < 10; ++i) {
      ASSERT_EQ(connect(peer), Errno::ok) << int{peer} << " " << i;
      ports.insert(held.back()->port().value);
    }
    EXPECT_EQ(ports.size(), 10u) << "to one peer each port once";
    EXPECT_EQ(connect(peer), Errno::addrinuse);
  }
  BindRequest chosen = claim(kOne);
  chosen.port = Port{50003};
  EXPECT_FALSE(table.bind(chosen, random)) << "who names a port wants it for all peers";
  held.clear();
  auto alone = table.bind(chosen, random);
  ASSERT_TRUE(alone);
  for (int i = 0; i < 9; ++i) ASSERT_EQ(connect(20), Errno::ok);
  EXPECT_EQ(connect(20), Errno::addrinuse) << "and has it so";
}

TEST(PortTable, ClaimsOfOnePortGoInAnyOrder) {
  Random random{1};
  for (const std::array<int, 3>& order : {std::array{0, 1, 2}, std::array{2, 1, 0}, std::array{1, 2, 0}, std::array{1, 0, 2}}) {
    PortTable table(PortTable::Rules::tcp);
    std::array<BindingPtr, 3> held;
    for (BindingPtr& one : held) one = *table.bind(claim(kOne, true), random);
    for (const int which : order) {
      EXPECT_FALSE(table.bind(claim(kOne), random));
      held[static_cast<std::size_t>(which)].reset();
    }
    EXPECT_TRUE(table.bind(claim(kOne), random));
    EXPECT_EQ(table.size(), 0u);
  }
}

}  // namespace
}  // namespace iopkt::socket
