// The trie against a list that is searched from end to end, and versions that do not disturb each other.
#include "route/fib.hpp"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/random.hpp"
#include "route/source.hpp"

namespace iopkt::route {
namespace {

using wire::Ipv4Address;

IpPrefix prefix(const char* text) {
  const auto p = wire::Ipv4Prefix::parse(text);
  return IpPrefix::of(p->address, p->length);
}
IpPrefix prefix6(const char* text, std::uint8_t length) {
  return IpPrefix::of(*wire::Ipv6Address::parse(text), length);
}
IpAddress ip(const char* text) { return *IpAddress::parse(text); }

Route route(const IpPrefix& p, const char* gateway = nullptr, std::uint32_t interface_index = 1) {
  Route r{.prefix = p, .interface_index = interface_index};
  if (gateway != nullptr) r.gateway = ip(gateway), r.flags |= flag::gateway;
  return r;
}
Fib fib_of(std::initializer_list<Route> routes) {
  Fib fib;
  for (const Route& r : routes) fib = *fib.with(r);
  return fib;
}

TEST(Fib, TheLongestPrefixWins) {
  const Fib fib = fib_of({route(prefix("0.0.0.0/0"), "10.0.0.254"), route(prefix("10.0.0.0/8"), "10.0.0.1"),
                          route(prefix("10.1.0.0/16"), "10.0.0.2"), route(prefix("10.1.2.0/24"), "10.0.0.3"),
                          route(prefix("10.1.2.3/32"), "10.0.0.4")});
  const struct {
    const char *to, *gateway;
  } rows[] = {{"10.1.2.3", "10.0.0.4"}, {"10.1.2.4", "10.0.0.3"},   {"10.1.3.3", "10.0.0.2"},
              {"10.2.2.3", "10.0.0.1"}, {"11.1.2.3", "10.0.0.254"}, {"255.255.255.255", "10.0.0.254"}};
  for (const auto& row : rows) EXPECT_EQ(fib.lookup(ip(row.to))->gateway, ip(row.gateway)) << row.to;
  EXPECT_EQ(fib.lookup(ip("::1")), nullptr) << "families do not mix";
}

TEST(Fib, NothingIsFoundInNothing) {
  EXPECT_EQ(Fib{}.lookup(ip("1.2.3.4")), nullptr);
  EXPECT_EQ(fib_of({route(prefix("10.0.0.0/8"))}).lookup(ip("11.0.0.1")), nullptr);
}

TEST(Fib, SeveralRoutesToOneDestination) {
  const IpPrefix p = prefix("10.9.0.0/16");
  Fib fib = fib_of({route(p, "10.0.0.1"), route(p, "10.0.0.2")});
  EXPECT_EQ(fib.with(route(p, "10.0.0.2", 7)).error(), FibError::exists) << "destination, mask and gateway";
  EXPECT_EQ(fib.lookup(ip("10.9.1.1"))->gateway, ip("10.0.0.1")) << "the one that was added first";
  EXPECT_EQ(fib.without({p}).error(), FibError::ambiguous);
  EXPECT_EQ(fib.without({p, ip("10.0.0.3")}).error(), FibError::not_found);
  fib = *fib.without({p, ip("10.0.0.1")});
  EXPECT_EQ(fib.lookup(ip("10.9.1.1"))->gateway, ip("10.0.0.2"));
  fib = *fib.without({p});
  EXPECT_EQ(fib.without({p}).error(), FibError::not_found);
  EXPECT_EQ(fib.size(), 0u);
}

TEST(Fib, WithoutAGatewayTheInterfaceCounts) {
  const IpPrefix p = prefix("10.9.0.0/16");
  const Fib fib = fib_of({route(p, nullptr, 1), route(p, nullptr, 2)});
  EXPECT_EQ(fib.with(route(p, nullptr, 2)).error(), FibError::exists);
  EXPECT_EQ(fib.without({.prefix = p, .interface_index = 2})->lookup(ip("10.9.0.1"))->interface_index, 1u);
}

TEST(Fib, RoutesThatAreDownArePassedOver) {
  Route down = route(prefix("10.1.0.0/16"), "10.0.0.1");
  down.flags &= ~flag::up;
  const Fib fib =
      fib_of({down, route(prefix("10.1.0.0/16"), "10.0.0.2"), route(prefix("10.0.0.0/8"), "10.0.0.3")});
  EXPECT_EQ(fib.lookup(ip("10.1.0.1"))->gateway, ip("10.0.0.2"));
  const auto not_2 = [](const Route& r) { return r.gateway != ip("10.0.0.2") && (r.flags & flag::up) != 0; };
  EXPECT_EQ(fib.lookup_if(ip("10.1.0.1"), not_2)->gateway, ip("10.0.0.3")) << "then the shorter prefix";
}

TEST(Fib, ARouteIsChangedInItsPlace) {
  const IpPrefix p = prefix("10.9.0.0/16");
  const Fib fib = fib_of({route(p, "10.0.0.1"), route(p, "10.0.0.2")});
  const Fib changed = *fib.changed({p, ip("10.0.0.1")}, route(p, "10.0.0.9"));
  EXPECT_EQ(changed.lookup(ip("10.9.0.1"))->gateway, ip("10.0.0.9"));
  EXPECT_EQ(fib.lookup(ip("10.9.0.1"))->gateway, ip("10.0.0.1"));
  EXPECT_EQ(fib.changed({p, ip("10.0.0.1")}, route(p, "10.0.0.2")).error(), FibError::exists);
  EXPECT_EQ(fib.changed({p}, route(p, "10.0.0.3")).error(), FibError::ambiguous);
}

TEST(Fib, ListsInOrder) {
  const Fib fib = fib_of({route(prefix6("2001:db8::", 32)), route(prefix("10.1.0.0/16"), "10.0.0.2"),
                          route(prefix("10.0.0.0/8")), route(prefix("0.0.0.0/0"), "10.0.0.1"),
                          route(prefix("10.1.0.0/16"), "10.0.0.1"), route(prefix("9.0.0.0/8"))});
  std::vector<std::string> got;
  fib.for_each([&](const Route& r) {
    got.push_back(r.prefix.to_string() + (r.gateway ? ' ' + r.gateway->to_string() : ""));
  });
  EXPECT_EQ(got, (std::vector<std::string>{"0.0.0.0/0 10.0.0.1", "9.0.0.0/8", "10.0.0.0/8",
                                           "10.1.0.0/16 10.0.0.2", "10.1.0.0/16 10.0.0.1", "2001:db8::/32"}));
}

/// What a Fib means, without a trie.
struct Naive {
  std::vector<Route> routes;
  const Route* lookup(const IpAddress& to) const {
    const Route* best = nullptr;
    for (const Route& r : routes)
      if (r.prefix.contains(to) && (best == nullptr || r.prefix.length > best->prefix.length)) best = &r;
    return best;
  }
};

/// Close to each other, so that they nest and share.
IpAddress random_address(Random& random) {
  if (random.chance(0.5)) return Ipv4Address{static_cast<std::uint32_t>(random.next() & 0x8100'0181u)};
  wire::Ipv6Address a;
  for (const std::size_t i : {0u, 1u, 7u, 15u}) a.bytes[i] = static_cast<std::uint8_t>(random.next() & 0x81u);
  return a;
}

TEST(Fib, AgreesWithASearchThroughAllRoutes) {
  Random random{7};
  for (int round = 0; round < 20; ++round) {
    Fib fib;
    Naive naive;
    std::vector<std::pair<Fib, Naive>> versions;
    for (int i = 0; i < 400; ++i) {
      const IpAddress address = random_address(random);
      const auto length = static_cast<std::uint8_t>(random.below(address.bit_length() + 1u));
      Route r{.prefix = IpPrefix::of(address, length),
              .interface_index = static_cast<std::uint32_t>(1 + random.below(3))};
      const auto same = [&](const Route& o) { return o.same_entry(r); };
      if (random.chance(0.6)) {
        const bool exists = std::any_of(naive.routes.begin(), naive.routes.end(), same);
        const auto next = fib.with(r);
        ASSERT_EQ(next.has_value(), !exists);
        if (next) fib = *next, naive.routes.push_back(r);
      } else if (!naive.routes.empty()) {
        if (random.chance(0.5)) r = naive.routes[random.below(naive.routes.size())];
        const auto next = fib.without({r.prefix, {}, r.interface_index});
        ASSERT_EQ(next.has_value(), std::erase_if(naive.routes, same) == 1);
        if (next) fib = *next;
      }
      if (random.chance(0.01)) {
        fib = fib.without_interface(2);
        std::erase_if(naive.routes, [](const Route& o) { return o.interface_index == 2; });
      }
      ASSERT_EQ(fib.size(), naive.routes.size());
      if (random.chance(0.02)) versions.emplace_back(fib, naive);
    }
    versions.emplace_back(fib, naive);
    // Each version still is what it was.
    for (const auto& [version, model] : versions) {
      std::size_t count = 0;
      version.for_each([&](const Route&) { ++count; });
      ASSERT_EQ(count, model.routes.size());
      for (int i = 0; i < 200; ++i) {
        const IpAddress to = random_address(random);
        const Route *got = version.lookup(to), *want = model.lookup(to);
        ASSERT_EQ(got == nullptr, want == nullptr);
        if (got != nullptr) {
          ASSERT_EQ(*got, *want) << to.to_string();
        }
      }
      for (const Route& r : model.routes) ASSERT_FALSE(version.find(r.prefix).empty());
    }
  }
}

TEST(Fib, AChangeAmongManyCostsLittle) {
  Random random{9};
  Fib fib;
  // 100,000 changes that copied everything would take minutes.
  for (int i = 0; i < 100'000; ++i) {
    const Ipv4Address address{static_cast<std::uint32_t>(random.next())};
    if (auto next = fib.with(route(IpPrefix::of(address, static_cast<std::uint8_t>(8 + random.below(25))))))
      fib = *std::move(next);
  }
  EXPECT_GT(fib.size(), 80'000u);
  const Fib copy = fib;
  EXPECT_EQ(copy.size(), fib.size());
}

iface::InterfaceTable interfaces() {
  using namespace iface::flag;
  iface::InterfaceTable table;
  table = table.with({.index = 1,
                      .name = "lo0",
                      .flags = up | loopback,
                      .addresses = {{.address = ip("127.0.0.1"), .prefix_length = 8}}});
  table = table.with({.index = 2,
                      .name = "en0",
                      .flags = up | broadcast,
                      .addresses = {{.address = ip("10.0.0.1"), .prefix_length = 24},
                                    {.address = ip("10.0.1.1"), .prefix_length = 24},
                                    {.address = ip("2001:db8::1"), .prefix_length = 64}}});
  return table.with({.index = 3, .name = "tun0", .flags = up, .addresses = {}});
}

TEST(ChooseSource, IsTheNearestAddressOfTheWayOut) {
  const iface::InterfaceTable table = interfaces();
  Route pinned = route(prefix("0.0.0.0/0"), "10.0.0.254", 2);
  pinned.source = ip("10.0.1.1");
  Route stolen = pinned;
  stolen.source = ip("10.7.7.7");
  const struct {
    const char* says;
    Route route;
    const char *to, *from;
  } rows[] = {
      {"on the link", route(prefix("10.0.1.0/24"), nullptr, 2), "10.0.1.9", "10.0.1.1"},
      {"by the gateway's network", route(prefix("0.0.0.0/0"), "10.0.1.254", 2), "8.8.8.8", "10.0.1.1"},
      {"to ourselves", route(prefix("10.0.0.0/24"), nullptr, 2), "10.0.0.1", "10.0.0.1"},
      {"to another part of 127/8", route(prefix("127.0.0.0/8"), nullptr, 1), "127.0.0.2", "127.0.0.2"},
      {"the route says", pinned, "8.8.8.8", "10.0.1.1"},
      {"the route says what is not ours", stolen, "8.8.8.8", "10.0.0.1"},
      {"an interface without addresses", route(prefix("0.0.0.0/0"), nullptr, 3), "8.8.8.8", "10.0.0.1"},
      {"the other family", route(prefix6("::", 0), nullptr, 3), "2001:db8::9", "2001:db8::1"},
  };
  for (const auto& row : rows)
    EXPECT_EQ(choose_source(table, row.route, ip(row.to)), ip(row.from)) << row.says;
  EXPECT_FALSE(choose_source(table.without(2), route(prefix("0.0.0.0/0"), nullptr, 3), ip("8.8.8.8")))
      << "loopback is no address for others";
}

}  // namespace
}  // namespace iopkt::route
