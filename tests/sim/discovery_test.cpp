// Neighbours, routers and addresses that find themselves: RFC 4861, 4862, 7217, 4191, 8106, 8201.
#include "tests/sim/discovery_fixture.hpp"

namespace iopkt::sim {
namespace {

TEST_P(SimDiscovery, AnswersForItsAddressesAlone) {
  solicit("2001:db8::98", us, us.solicited_node());
  ASSERT_EQ(sent.size(), 1u) << net.trace();
  EXPECT_EQ(sent[0].header.hop_limit, 255);
  EXPECT_EQ(sent[0].header.src, us);
  EXPECT_EQ(sent[0].header.dst, ip("2001:db8::98").v6());
  EXPECT_TRUE(sent[0].checksum_ok());
  const auto answer = wire::parse_nd(sent[0].payload);
  ASSERT_TRUE(answer);
  const auto na = std::get<wire::NeighbourAdvertisement>(answer->body);
  EXPECT_TRUE(na.target == us && na.solicited && na.override_ && !na.router);
  EXPECT_EQ(answer->options.target_link, mac(a));
  ASSERT_TRUE(neighbour("2001:db8::98"));
  EXPECT_EQ(neighbour("2001:db8::98")->state, neigh::State::delay) << "who asks is known, and the answer was sent there";
  // Duplicate address detection of another station: told to all.
  sent.clear();
  solicit("::", us, us.solicited_node(), std::nullopt);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].header.dst, Ipv6Address::all_nodes());
  EXPECT_FALSE(std::get<wire::NeighbourAdvertisement>(wire::parse_nd(sent[0].payload)->body).solicited);
  sent.clear();
  solicit("2001:db8::98", ip("2001:db8::5").v6(), ip("2001:db8::ff00:1").v6());
  solicit("2001:db8::98", ip("2001:db8::101:1").v6(), us.solicited_node());
  EXPECT_EQ(a.drops(Drop::nd_not_for_us), 1u);
  EXPECT_TRUE(sent.empty());
}

TEST_P(SimDiscovery, MessagesThatAreNone) {
  solicit("2001:db8::98", us, us.solicited_node(), kRouterMac, 254);
  EXPECT_EQ(a.drops(Drop::nd_bad_hop_limit), 1u);
  solicit("2001:db8::98", ip("ff02::1").v6(), us.solicited_node());
  solicit("::", us, us.solicited_node(), kRouterMac);             // nobody has no link address
  solicit("::", us, Ipv6Address::all_nodes(), std::nullopt);      // to another group
  solicit("2001:db8::98", us, us.solicited_node(), wire::MacAddress::broadcast());
  solicit("2001:db8::98", us, us.solicited_node(), mac(a));
  advertise({.lifetime_s = 1800}, {}, "2001:db8::77");
  std::vector<std::byte> na;
  wire::append_neighbour_advertisement(na, {.target = ip("2001:db8::98").v6(), .solicited = true}, kRouterMac);
  nd("2001:db8::98", Ipv6Address::all_nodes(), na);               // solicited by everybody
  EXPECT_EQ(a.drops(Drop::nd_bad_address), 7u);
  std::vector<std::byte> cut;
  wire::append_neighbour_solicitation(cut, {us}, kRouterMac);
  cut[25] = std::byte{0};  // an option of no length
  nd("2001:db8::98", us.solicited_node(), cut);
  EXPECT_EQ(a.drops(Drop::nd_malformed), 1u);
  std::vector<std::byte> rs;
  wire::append_router_solicitation(rs, kRouterMac);
  nd("fe80::5", Ipv6Address::all_nodes(), rs);
  EXPECT_EQ(a.drops(Drop::nd_not_for_us), 1u);
  EXPECT_TRUE(sent.empty());
  EXPECT_FALSE(neighbour("2001:db8::98"));
}

/// RFC 6980 section 5: who watches the link for false messages does not put fragments together.
TEST_P(SimDiscovery, MessagesInFragmentsAreIgnored) {
  const Ipv6Address them = ip("2001:db8::98").v6(), group = us.solicited_node();
  std::vector<std::byte> m;
  wire::append_neighbour_solicitation(m, {us}, kRouterMac);
  wire::store_icmpv6_checksum(m, them, group);
  const auto fragment = [&](std::uint16_t offset, bool more, std::uint32_t id, std::size_t size) {
    std::vector<std::byte> out(wire::Ipv6FragmentHeader::kLen);
    wire::encode(wire::Ipv6FragmentHeader{.next_header = IpProtocol::icmpv6, .offset = offset, .more = more, .id = id}, out);
    out.insert(out.end(), m.begin() + offset, m.begin() + offset + static_cast<std::ptrdiff_t>(size));
    tell({.next_header = IpProtocol::fragment, .hop_limit = 255, .src = them, .dst = group}, out, link::multicast_mac(IpAddress{group}));
  };
  fragment(0, false, 1, m.size());
  EXPECT_EQ(a.drops(Drop::nd_malformed), 1u) << "atomic";
  fragment(0, true, 2, 16);
  fragment(16, false, 2, m.size() - 16);
  EXPECT_EQ(a.drops(Drop::nd_malformed), 2u);
  EXPECT_EQ(a.drops(), 2u);
  EXPECT_TRUE(sent.empty());
  EXPECT_FALSE(neighbour("2001:db8::98"));
  solicit("2001:db8::98", us, group);
  EXPECT_EQ(sent.size(), 1u) << "the same in one piece";
}

TEST_P(SimDiscovery, TheNeighbourCacheIsBounded) {
  change(a, [](stack::Network& n) { n.settings.neigh.max_entries = 64; });
  for (int i = 0; i < 500; ++i) solicit(("2001:db8::5:" + std::to_string(i)).c_str(), us, us.solicited_node());
  EXPECT_LE(a.shard(0).list_neighbours().size(), 64u);
  EXPECT_TRUE(neighbour("2001:db8::99")) << "what the operator said stays";
  // Scans of a whole network from inside are bounded too.
  Host::UdpSocket& udp = a.udp({Ipv6Address::any(), Port{5000}});
  for (int i = 0; i < 500; ++i) static_cast<void>(a.send(udp, {ip(("2001:db8::6:" + std::to_string(i)).c_str()), Port{9}}, {}));
  net.run_for(20s);
  EXPECT_LE(a.shard(0).list_neighbours().size(), 64u);
  EXPECT_EQ(a.drops(Drop::arp_unresolved), 500u);
  EXPECT_EQ(a.packets_held(), 0u);
}

TEST_P(SimDiscovery, ARouterGivesAddressesAndAWayOut) {
  EXPECT_EQ(route_to("2001:db9::1"), nullptr);
  advertise({.hop_limit = 33, .lifetime_s = 1800},
            {.source_link = kRouterMac, .mtu = 1400, .prefixes = {prefix("2001:db8:1::")}, .dns_servers = {{ip("2001:db8::35").v6(), 600}}});
  ASSERT_EQ(formed("2001:db8:1::").size(), 1u);
  EXPECT_TRUE(formed("2001:db8:1::")[0].is(iface::address_flag::tentative | iface::address_flag::autoconf));
  net.run_for(3s);
  const auto address = formed("2001:db8:1::").at(0);
  EXPECT_TRUE(address.is_usable());
  EXPECT_EQ(address.prefix_length, 64);
  ASSERT_NE(route_to("2001:db9::1"), nullptr);
  EXPECT_EQ(route_to("2001:db9::1")->gateway, ip("fe80::77").with_zone(a.interface_index()));
  ASSERT_NE(route_to("2001:db8:1::5"), nullptr);
  EXPECT_FALSE(route_to("2001:db8:1::5")->gateway);
  EXPECT_EQ(en0(a).mtu_of(wire::IpFamily::v6), 1400u);
  EXPECT_EQ(en0(a).mtu_of(wire::IpFamily::v4), 1500u);
  // What goes out: over the router, with its hop limit, from the new address; the large ones in pieces of its MTU.
  sent.clear();
  Host::UdpSocket& udp = a.udp({Ipv6Address::any(), Port{5000}});
  net.run_for(1ms);
  EXPECT_EQ(a.send(udp, {ip("2001:db9::1"), Port{9}}, std::vector<std::byte>(1400)), Errno::ok);
  net.run_for(1ms);
  ASSERT_EQ(sent.size(), 2u) << net.trace();
  EXPECT_EQ(sent[0].header.hop_limit, 33);
  EXPECT_LE(40 + sent[0].payload.size(), 1400u);
  const auto state = a.shard(0).discovery_state();
  ASSERT_EQ(state.routers.size(), 1u);
  ASSERT_EQ(state.dns_servers.size(), 1u);
  EXPECT_EQ(state.dns_servers[0].address, ip("2001:db8::35"));
  // And away again: the router, then its servers.
  advertise({.lifetime_s = 0}, {});
  EXPECT_EQ(route_to("2001:db9::1"), nullptr);
  net.run_for(601s);
  EXPECT_TRUE(a.shard(0).discovery_state().dns_servers.empty());
}

TEST_P(SimDiscovery, AddressesAge) {
  advertise({.lifetime_s = 9000}, {.prefixes = {prefix("2001:db8:1::", 20000, 100)}});
  net.run_for(101s);
  ASSERT_EQ(formed("2001:db8:1::").size(), 1u);
  EXPECT_TRUE(formed("2001:db8:1::")[0].is(iface::address_flag::deprecated));
  // RFC 4862 5.5.3 (e): nobody may take an address away at once ...
  advertise({.lifetime_s = 9000}, {.prefixes = {prefix("2001:db8:1::", 1, 1)}});
  EXPECT_EQ(lifetime("2001:db8:1::").valid_until, net.now() - 1ms + 7200s) << "(3): two hours are left";
  net.run_for(7000s);
  const Instant end = lifetime("2001:db8:1::").valid_until;
  advertise({.lifetime_s = 9000}, {.prefixes = {prefix("2001:db8:1::", 100, 100)}});
  EXPECT_EQ(lifetime("2001:db8:1::").valid_until, end) << "(2): of two hours or less nothing is taken";
  advertise({.lifetime_s = 9000}, {.prefixes = {prefix("2001:db8:1::", 300, 100)}});
  EXPECT_EQ(lifetime("2001:db8:1::").valid_until, net.now() - 1ms + 300s) << "(1): more than is left";
  advertise({.lifetime_s = 9000}, {.prefixes = {prefix("2001:db8:1::", 1, 1)}});
  EXPECT_EQ(formed("2001:db8:1::").size(), 1u);
  net.run_for(301s);
  EXPECT_TRUE(formed("2001:db8:1::").empty()) << "... but in two hours";
  EXPECT_NE(route_to("2001:db9::1"), nullptr);
  net.run_for(9000s);
  EXPECT_EQ(route_to("2001:db9::1"), nullptr) << "a router that is silent for its lifetime";
  // Prefixes that no address is formed of.
  auto odd = prefix("2001:db8:2::");
  odd.length = 56;
  advertise({.lifetime_s = 0}, {.prefixes = {odd, prefix("fe80::"), prefix("2001:db8:3::", 10, 20)}});
  EXPECT_TRUE(formed("2001:db8:2::").empty());
  EXPECT_TRUE(formed("2001:db8:3::").empty());
}

TEST_P(SimDiscovery, EachWordOfALifetimeCountsByRfc4862Section5_5_3) {
  // Behind a burst the tables follow later: of several words the last alone is seen then, but all have happened.
  const auto burst = [&] {
    for (int i = 0; i < 40; ++i) advertise({.lifetime_s = static_cast<std::uint16_t>(i % 2 == 0 ? 1800 : 0)}, {});
    EXPECT_FALSE(a.shard(0).discovery_state().settled);
  };
  burst();
  advertise({.lifetime_s = 0}, {.prefixes = {prefix("2001:db8:1::", 86400)}});
  advertise({.lifetime_s = 0}, {.prefixes = {prefix("2001:db8:1::", 1, 1)}});
  EXPECT_TRUE(formed("2001:db8:1::").empty());
  net.run_for(200ms);
  EXPECT_TRUE(a.shard(0).discovery_state().settled);
  ASSERT_EQ(formed("2001:db8:1::").size(), 1u);
  EXPECT_GT(lifetime("2001:db8:1::").valid_until, net.now() + 7100s);
  // Of one that is there: more than two hours, and then nothing.
  net.run_for(3000s);
  burst();
  advertise({.lifetime_s = 0}, {.prefixes = {prefix("2001:db8:1::", 86400)}});
  advertise({.lifetime_s = 0}, {.prefixes = {prefix("2001:db8:1::", 1, 1)}});
  net.run_for(200ms);
  EXPECT_GT(lifetime("2001:db8:1::").valid_until, net.now() + 7100s) << "two hours from then, not what was left of those before";
  // A word that is none of autoconfiguration takes nothing back.
  burst();
  advertise({.lifetime_s = 0}, {.prefixes = {prefix("2001:db8:2::")}});
  auto other = prefix("2001:db8:2::");
  other.autonomous = false;
  advertise({.lifetime_s = 0}, {.prefixes = {other}});
  net.run_for(200ms);
  EXPECT_EQ(formed("2001:db8:2::").size(), 1u);
}

TEST_P(SimDiscovery, TheTablesFollowTenTimesASecond) {
  net.run_for(10s);
  const auto version = [&] { return a.stack().network()->version; };
  const std::uint64_t before = version();
  const Instant from = net.now();
  for (int i = 0; net.now() < from + 5s; ++i) {
    advertise({.lifetime_s = static_cast<std::uint16_t>(i % 2 == 0 ? 1800 : 0)}, {});
    net.run_for(7ms);
  }
  EXPECT_LE(version() - before, 16u + 50 + 1);
  EXPECT_GE(version() - before, 50u);
}

TEST_P(SimDiscovery, FloodsOfAdvertisementsAreBounded) {
  const auto limits = a.stack().network()->settings.ipv6;
  for (int i = 0; i < 300; ++i) {
    const std::string n = std::to_string(i);
    advertise({.lifetime_s = 1800}, {.prefixes = {prefix(("2001:db8:f:" + n + "::").c_str())}}, ("fe80::1:" + n).c_str());
  }
  const auto state = a.shard(0).discovery_state();
  EXPECT_EQ(state.routers.size(), limits.max_routers);
  EXPECT_EQ(state.prefixes.size(), limits.max_prefixes);
  EXPECT_EQ(a.drops(Drop::nd_limit), 300 - limits.max_routers);
  EXPECT_LE(en0(a).addresses.size(), 3 + limits.max_prefixes);
  change(a, [](stack::Network& n) { n.settings.ipv6.accept_rtadv = 0; });
  advertise({.lifetime_s = 0}, {}, "fe80::1:1");
  EXPECT_EQ(a.drops(Drop::nd_ignored), 1u);
  EXPECT_EQ(a.shard(0).discovery_state().routers.size(), limits.max_routers);
}

TEST_P(SimDiscovery, AddressesThatOutliveTheirPrefixesAreBounded) {
  const auto limits = a.stack().network()->settings.ipv6;
  const std::size_t before = en0(a).addresses.size();
  for (int i = 0; i < 100; ++i) {
    auto one = prefix(("2001:db8:f:" + std::to_string(i) + "::").c_str(), wire::kLifetimeForever, wire::kLifetimeForever);
    advertise({.lifetime_s = 0}, {.prefixes = {one}});
    net.run_for(200ms);  // quicker changes are looked at later
    // Taken out of the list of prefixes, which says nothing of the address.
    one.autonomous = false;
    one.valid_s = one.preferred_s = 0;
    advertise({.lifetime_s = 0}, {.prefixes = {one}});
    net.run_for(200ms);
  }
  EXPECT_EQ(en0(a).addresses.size(), before + limits.max_prefixes);
}

TEST_P(SimDiscovery, NoRouterLowersTheHopLimitToNothing) {
  advertise({.hop_limit = 200, .lifetime_s = 1800}, {});
  EXPECT_EQ(en0(a).hop_limit6, 200);
  net.run_for(1s);
  advertise({.hop_limit = 1, .lifetime_s = 1800}, {});
  net.run_for(1s);
  EXPECT_EQ(en0(a).hop_limit6, 200);
  advertise({.hop_limit = 32, .lifetime_s = 1800}, {});
  EXPECT_EQ(en0(a).hop_limit6, 32);
}

TEST_P(SimDiscovery, WhatIsSaidAgainIsNoNews) {
  const auto version = [&] { return a.stack().network()->version; };
  const auto say = [&](std::uint32_t valid, std::uint32_t preferred) {
    advertise({.hop_limit = 33, .lifetime_s = 1800}, {.mtu = 1400, .prefixes = {prefix("2001:db8:1::", valid, preferred)}});
  };
  say(86400, 14400);
  net.run_for(3s);
  const std::uint64_t before = version();
  const Instant first = lifetime("2001:db8:1::").valid_until;
  for (int i = 0; i < 500; ++i) say(86400, 14400);
  net.run_for(300s);
  say(86400, 14400);
  EXPECT_GT(lifetime("2001:db8:1::").valid_until, first + 300s) << "it lives on ...";
  say(86400, 100);
  say(wire::kLifetimeForever, wire::kLifetimeForever);
  EXPECT_TRUE(lifetime("2001:db8:1::").valid_until.is_never());
  say(86400, 100);
  EXPECT_EQ(version(), before) << "... and no other shard has to know";
  // What does change is taken at once.
  say(86400, 0);
  EXPECT_EQ(version(), before + 1);
  EXPECT_TRUE(formed("2001:db8:1::").at(0).is(iface::address_flag::deprecated));
  for (int i = 0; i < 500; ++i) say(86400, 0);
  EXPECT_EQ(version(), before + 1) << "deprecated is deprecated";
  say(86400, 1);
  EXPECT_EQ(version(), before + 2);
  EXPECT_FALSE(formed("2001:db8:1::").at(0).is(iface::address_flag::deprecated));
  // A short life that is renewed in time does not end; one that is not does.
  for (int i = 0; i < 10; ++i) {
    net.run_for(700ms);
    say(86400, 1);
    EXPECT_FALSE(formed("2001:db8:1::").at(0).is(iface::address_flag::deprecated));
  }
  EXPECT_EQ(version(), before + 2);
  net.run_for(2s);
  EXPECT_TRUE(formed("2001:db8:1::").at(0).is(iface::address_flag::deprecated));
  // A router's own parameters.
  advertise({.hop_limit = 34, .lifetime_s = 1800}, {.mtu = 1400});
  EXPECT_EQ(version(), before + 4) << "the hop limit, after the address";
}

TEST_P(SimDiscovery, TheBestRouterThatAnswersIsUsed) {
  const auto gateway = [&] { return route_to("2001:db9::1")->gateway->with_zone(0); };
  advertise({.lifetime_s = 1800}, {.source_link = kRouterMac}, "fe80::71");
  advertise({.preference = wire::RouterPreference::high, .lifetime_s = 1800}, {}, "fe80::72");
  EXPECT_EQ(gateway(), ip("fe80::72")) << "RFC 4191";
  Host::UdpSocket& udp = a.udp({Ipv6Address::any(), Port{5000}});
  net.run_for(1ms);
  static_cast<void>(a.send(udp, {ip("2001:db9::1"), Port{9}}, {}));
  net.run_for(10s);  // nobody is there
  EXPECT_EQ(gateway(), ip("fe80::71")) << "RFC 4861 6.3.6";
  std::vector<std::byte> na;
  wire::append_neighbour_advertisement(na, {.target = ip("fe80::71").v6(), .router = false, .override_ = true}, kRouterMac);
  nd("fe80::71", Ipv6Address::all_nodes(), na);
  EXPECT_EQ(gateway(), ip("fe80::72")) << "RFC 4861 7.2.5: no router any more";
}

/// RFC 4861 section 7.2.5: an advertisement says whether its target is a router only where it changes the neighbour's entry too.
TEST_P(SimDiscovery, OnlyAnAdvertisementThatIsTakenInEndsARouter) {
  constexpr wire::MacAddress kOther{{0x02, 0, 0, 0, 0, 0x66}};
  const auto via = [&](const char* to) {
    const route::Route* r = route_to(to);
    return r != nullptr && r->gateway ? r->gateway->with_zone(0) : IpAddress{};
  };
  const auto says = [&](bool solicited, bool override_, const std::optional<wire::MacAddress>& link) {
    std::vector<std::byte> na;
    wire::append_neighbour_advertisement(
        na, {.target = ip("fe80::77").v6(), .router = false, .solicited = solicited, .override_ = override_}, link);
    nd("fe80::77", solicited ? us : Ipv6Address::all_nodes(), na);
  };
  const auto is_router = [&] { return !a.shard(0).discovery_state().routers.empty(); };
  const wire::NdOptions more{.source_link = kRouterMac,
                             .routes = {{.prefix = ip("2001:db9::").v6(), .length = 32, .preference = {}, .lifetime_s = 600}}};
  const auto comes_back = [&] {
    advertise({.lifetime_s = 1800}, more);
    std::vector<std::byte> m;
    wire::append_redirect(m, {.target = ip("fe80::77").v6(), .destination = ip("2001:dba::1").v6()}, kRouterMac);
    nd("fe80::77", us, m);
    net.run_for(1s);
    ASSERT_TRUE(is_router());
    ASSERT_EQ(via("2001:db9::1"), ip("fe80::77"));
  };
  // Nobody asked for it, and it has no entry.
  advertise({.lifetime_s = 1800}, {.routes = more.routes});
  ASSERT_EQ(neighbour("fe80::77"), std::nullopt);
  for (const bool override_ : {false, true}) says(false, override_, kOther), says(true, override_, std::nullopt);
  EXPECT_TRUE(is_router());
  EXPECT_EQ(neighbour("fe80::77"), std::nullopt);
  comes_back();
  for (const bool solicited : {false, true}) says(solicited, false, kOther);
  net.run_for(1s);
  EXPECT_TRUE(is_router()) << "another address without the override flag";
  EXPECT_EQ(via("2001:db9::1"), ip("fe80::77"));
  EXPECT_EQ(neighbour("fe80::77")->mac, kRouterMac);
  says(true, false, kRouterMac);
  ASSERT_EQ(neighbour("fe80::77")->state, neigh::State::reachable);
  EXPECT_FALSE(is_router()) << "the same address, without the override flag";
  comes_back();
  says(true, false, kRouterMac);
  comes_back();
  says(false, false, kOther);
  EXPECT_EQ(neighbour("fe80::77")->state, neigh::State::stale) << "no more than that";
  EXPECT_TRUE(is_router());
  for (const auto& [override_, link] : {std::pair{true, std::optional{kOther}}, {false, std::optional<wire::MacAddress>{}}}) {
    comes_back();
    says(false, override_, link);
    net.run_for(1s);
    EXPECT_FALSE(is_router());
    EXPECT_TRUE(a.shard(0).discovery_state().routes.empty()) << "nor is it one to where it was the better way (RFC 4191)";
    EXPECT_EQ(route_to("2001:db9::1"), nullptr);
    EXPECT_EQ(route_to("2001:dba::1"), nullptr) << "nor by a redirect";
  }
}

TEST_P(SimDiscovery, RoutesThatAreTakenAwayComeBack) {
  const auto gateway = [&](std::uint32_t fib) {
    const route::Route* r = a.stack().network()->fibs[fib].lookup(ip("2001:db9::1"));
    return r != nullptr && r->gateway ? r->gateway->with_zone(0) : IpAddress{};
  };
  advertise({.lifetime_s = 1800}, {.prefixes = {prefix("2001:db8:1::")}}, "fe80::71");
  advertise({.lifetime_s = 1800}, {}, "fe80::72");
  net.run_for(3s);  // nobody else has the address that was formed
  const std::size_t count = a.stack().network()->fibs[0].size();
  change(a, [](stack::Network& n) { EXPECT_EQ(control::flush_routes(n, 0, wire::IpFamily::v6), 2u); });
  EXPECT_EQ(gateway(0), ip("fe80::71"));
  EXPECT_EQ(gateway(1), ip("fe80::71"));
  // An address of the same network goes, and with it the way there.
  change(a, [&](stack::Network& n) {
    EXPECT_EQ(control::add_address(n, a.interface_index(), {.address = ip("2001:db8:1::5"), .prefix_length = 64}), Errno::ok);
    EXPECT_EQ(control::remove_address(n, a.interface_index(), ip("2001:db8:1::5")), Errno::ok);
  });
  EXPECT_NE(route_to("2001:db8:1::5"), nullptr);
  // One of several: the order stays.
  change(a, [&](stack::Network& n) {
    for (const std::uint8_t fib : {std::uint8_t{0}, std::uint8_t{1}})
      EXPECT_EQ(control::remove_route(n, {.prefix = wire::IpPrefix::of(Ipv6Address::any(), 0),
                                          .gateway = ip("fe80::71").with_zone(a.interface_index()), .fib = fib}), Errno::ok);
  });
  EXPECT_EQ(gateway(0), ip("fe80::71"));
  EXPECT_EQ(gateway(1), ip("fe80::71"));
  EXPECT_EQ(a.stack().network()->fibs[0].size(), count);
  // What an operator put in the place of one is not ours, neither to double nor to take away.
  change(a, [&](stack::Network& n) {
    const control::RouteRequest own{.prefix = wire::IpPrefix::of(Ipv6Address::any(), 0),
                                    .gateway = ip("fe80::71").with_zone(a.interface_index()), .interface_index = a.interface_index()};
    EXPECT_EQ(control::remove_route(n, own), Errno::ok);
    EXPECT_EQ(control::add_route(n, own), Errno::ok);
  });
  EXPECT_EQ(a.stack().network()->fibs[0].size(), count);
  const std::uint64_t version = a.stack().network()->version;
  net.run_for(5s);
  EXPECT_EQ(a.stack().network()->version, version) << "settled";
  for (const char* router : {"fe80::71", "fe80::72"}) advertise({.lifetime_s = 0}, {}, router);
  EXPECT_EQ(gateway(0), ip("fe80::71"));
  EXPECT_EQ(gateway(1), IpAddress{});
}

TEST_P(SimDiscovery, RedirectsOfTheRouterInUseAreFollowed) {
  advertise({.lifetime_s = 1800}, {.source_link = kRouterMac});
  const auto redirect = [&](const char* from, const char* destination, const char* target) {
    std::vector<std::byte> m;
    wire::append_redirect(m, {.target = ip(target).v6(), .destination = ip(destination).v6()}, kRouterMac);
    nd(from, us, m);
  };
  redirect("fe80::66", "2001:db9::1", "fe80::66");
  redirect("fe80::77", "2001:db9::1", "2001:db9::2");
  redirect("fe80::77", "ff0e::1", "fe80::66");
  redirect("2001:db8::77", "2001:db9::1", "fe80::66");
  EXPECT_EQ(a.drops(Drop::nd_bad_address), 4u);
  EXPECT_EQ(route_to("2001:db9::1")->gateway, ip("fe80::77").with_zone(a.interface_index()));
  redirect("fe80::77", "2001:db9::1", "fe80::66");
  EXPECT_EQ(route_to("2001:db9::1")->gateway, ip("fe80::66").with_zone(a.interface_index()));
  EXPECT_EQ(route_to("2001:db9::2")->gateway, ip("fe80::77").with_zone(a.interface_index()));
  redirect("fe80::77", "2001:db9::3", "2001:db9::3");
  EXPECT_FALSE(route_to("2001:db9::3")->gateway) << "on the link";
  net.run_for(601s);
  EXPECT_EQ(route_to("2001:db9::1")->gateway, ip("fe80::77").with_zone(a.interface_index()));
}

TEST_P(SimDiscovery, APacketTooBigIsBelieved) {
  advertise({.lifetime_s = 1800}, {.source_link = kRouterMac});
  Host::UdpSocket& udp = a.udp({us, Port{5000}}, GetParam() - 1);
  net.run_for(1ms);
  const auto send = [&] {
    sent.clear();
    EXPECT_EQ(a.send(udp, {ip("2001:db9::1"), Port{9}}, std::vector<std::byte>(1452)), Errno::ok);
    net.run_for(1ms);
    return sent.size();
  };
  EXPECT_EQ(send(), 1u);
  const auto too_big = [&](std::uint32_t mtu, const Sent& about) {
    std::vector<std::byte> m(8 + 40);
    wire::encode(wire::Icmpv6Header::too_big(mtu), m);
    wire::encode(about.header, MutableBytes{m}.subspan(8));
    m.insert(m.end(), about.payload.begin(), about.payload.begin() + 100);
    nd("2001:db8::77", us, m, 60);
  };
  Sent stranger = sent[0];
  stranger.header.src = ip("2001:db8::5").v6();
  const Sent own = sent[0];
  too_big(1400, stranger);
  EXPECT_EQ(send(), 1u) << "about a packet that was not ours";
  too_big(1400, own);
  EXPECT_EQ(send(), 2u);
  EXPECT_LE(40 + sent[0].payload.size(), 1400u);
  too_big(600, own);
  EXPECT_EQ(send(), 2u);
  EXPECT_EQ(40 + sent[0].payload.size(), 1280u) << "RFC 8201 4";
  net.run_for(601s);
  advertise({.lifetime_s = 1800}, {.source_link = kRouterMac});
  EXPECT_EQ(send(), 1u) << "after ten minutes a larger one is tried";
}

INSTANTIATE_TEST_SUITE_P(Shards, SimDiscovery, ::testing::Values(1u, 2u));

class SimAddresses : public SimIpv6 {};

TEST_P(SimAddresses, WhoComesSecondTakesAnotherAddress) {
  auto same = options();
  same.adjust = [](stack::StackConfig& config) { config.stable_secret = {7, 7}; };
  Host& a = net.host("10.0.0.1/24", same);
  net.wire({&a}, {});
  ASSERT_TRUE(wait_for_link_local({&a}));
  Host& b = net.host("10.0.0.2/24", same);
  net.wire({&a, &b}, {});
  ASSERT_TRUE(wait_for_link_local({&b})) << net.trace();
  EXPECT_NE(a.link_local().v6(), b.link_local().v6());
  EXPECT_EQ(b.shard(0).counters().ipv6.dad_duplicates.value(), 1u);
  // An operator's address is not changed but left alone.
  change(b, [&](stack::Network& n) {
    EXPECT_EQ(control::add_address(n, b.interface_index(), {.address = a.link_local().v6(), .prefix_length = 64}), Errno::ok);
  });
  net.run_for(3s);
  const auto* taken = en0(b).find(a.link_local().with_zone(b.interface_index()));
  ASSERT_NE(taken, nullptr);
  EXPECT_TRUE(taken->is(iface::address_flag::duplicated));
  EXPECT_EQ(b.stack().network()->interfaces.find_local(taken->address), nullptr);
}

TEST_P(SimAddresses, ALinkThatBecomesNarrowerStopsNobody) {
  Host& a = net.host("10.0.0.1/24", options("2001:db8::1/64"));
  Host& b = net.host("10.0.0.2/24", options("2001:db8::2/64"));
  net.wire({&a, &b}, {});
  ASSERT_TRUE(wait_for_link_local({&a, &b}));
  Host::Stream* taken = nullptr;
  b.listen(Port{7}, [&](Host::Stream& s) { taken = &s; });
  net.run_for(10ms);
  Host::Stream& s = a.connect({ip("2001:db8::2"), Port{7}}, GetParam() - 1);
  s.to_send = net.random_bytes(500'000);
  s.close_after_send = true;
  ASSERT_TRUE(net.run_until([&] { return taken != nullptr && taken->received.size() > 100'000; }, 60s));
  std::vector<std::byte> m;
  wire::append_router_advertisement(m, {}, {.mtu = 1300});
  const wire::Ipv6Header h{.next_header = IpProtocol::icmpv6, .hop_limit = 255, .src = ip("fe80::77").v6(), .dst = Ipv6Address::all_nodes()};
  a.receive(packet6({{0x33, 0x33, 0, 0, 0, 1}}, h, m));
  net.run_for(1ms);
  EXPECT_EQ(en0(a).mtu_of(wire::IpFamily::v6), 1300u);
  std::size_t longest = 0;
  net.tap = [&](const Host& from, Frame& frame) {
    if (&from == &a) longest = std::max(longest, frame.size());
    return true;
  };
  ASSERT_TRUE(net.run_until([&] { return taken->peer_fin; }, 60s)) << net.trace();
  EXPECT_EQ(taken->received, s.to_send);
  EXPECT_LE(longest, 14 + 1300u);
  EXPECT_GT(longest, 14 + 1280u);
  taken->close();
  net.run_for(200s);
  EXPECT_EQ(a.packets_held() + b.packets_held(), 0u);
}

TEST_P(SimAddresses, ALinkThatComesBackIsAskedAgain) {
  Host& a = net.host("10.0.0.1/24", options());
  ASSERT_TRUE(wait_for_link_local({&a}));
  const IpAddress before = a.link_local();
  const auto set_link = [&](bool up) {
    change(a, [&](stack::Network& n) {
      iface::Interface en = *n.interfaces.by_index(a.interface_index());
      en.link_up = up;
      EXPECT_EQ(control::change_interface(n, en), Errno::ok);
    });
  };
  set_link(false);
  set_link(true);
  EXPECT_TRUE(a.link_local().is_unspecified());
  ASSERT_TRUE(wait_for_link_local({&a}));
  EXPECT_EQ(a.link_local(), before) << "RFC 7217: the same on the same network";
}

INSTANTIATE_TEST_SUITE_P(Shards, SimAddresses, ::testing::Values(1u, 2u));

}  // namespace
}  // namespace iopkt::sim
