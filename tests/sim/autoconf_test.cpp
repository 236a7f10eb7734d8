// What routers say of a link, and the addresses that come and go with it: RFC 4861 6.3.4, 4862, 8981, 4429, 7527, 4191, 8106.
#include "tests/sim/discovery_fixture.hpp"

namespace iopkt::sim {
namespace {

namespace aflag = iface::address_flag;

class SimAutoconf : public SimDiscovery {
 protected:
  void set(std::uint32_t ipv6::Ipv6Tunables::* member, std::uint32_t value) {
    change(a, [&](stack::Network& n) { n.settings.ipv6.*member = value; });
  }
  /// The formed addresses of a prefix that have exactly these of the flags.
  std::vector<iface::InterfaceAddress> with(const char* text, std::uint32_t wanted, std::uint32_t of) {
    auto all = formed(text);
    std::erase_if(all, [&](const iface::InterfaceAddress& one) { return (one.flags & of) != wanted; });
    return all;
  }
  std::vector<iface::InterfaceAddress> temporaries() { return with("2001:db8:1::", aflag::temporary, aflag::temporary); }
  std::string source_to(const char* destination) {
    Host::UdpSocket& udp = a.udp({Ipv6Address::any(), Port{next_port_++}});
    net.run_for(1ms);
    sent.clear();
    EXPECT_EQ(a.send(udp, {ip(destination), Port{9}}, {}), Errno::ok);
    net.run_for(1ms);
    for (const Sent& one : sent)
      if (one.header.next_header == IpProtocol::udp) return one.header.src.to_string();
    return {};
  }
  std::uint16_t next_port_ = 5000;
};

TEST_P(SimAutoconf, TheTimesOfARouterCount) {
  advertise({.lifetime_s = 1800, .reachable_ms = 4000, .retransmit_ms = 200}, {.source_link = kRouterMac});
  const std::uint32_t reachable = en0(a).reachable6_ms;
  EXPECT_GE(reachable, 2000u);
  EXPECT_LE(reachable, 6000u);
  EXPECT_EQ(en0(a).retransmit6_ms, 200u);
  const std::uint64_t version = a.stack().network()->version;
  // Said again it is the same for two hours; what nobody can mean is not taken.
  for (int i = 0; i < 20; ++i) advertise({.lifetime_s = 1800, .reachable_ms = 4000, .retransmit_ms = 200}, {.source_link = kRouterMac});
  advertise({.lifetime_s = 1800}, {.source_link = kRouterMac});
  advertise({.lifetime_s = 1800, .reachable_ms = 3600001, .retransmit_ms = 0xffffffff}, {.source_link = kRouterMac});
  advertise({.lifetime_s = 1800, .reachable_ms = 1, .retransmit_ms = 1}, {.source_link = kRouterMac});
  EXPECT_EQ(a.stack().network()->version, version);
  EXPECT_EQ(en0(a).reachable6_ms, reachable);
  // Three requests, 200 ms apart.
  Host::UdpSocket& udp = a.udp({Ipv6Address::any(), Port{next_port_++}});
  net.run_for(1ms);
  sent.clear();
  EXPECT_EQ(a.send(udp, {ip("2001:db8::55"), Port{9}}, {}), Errno::ok);
  net.run_for(410ms);
  EXPECT_EQ(solicited().size(), 3u);
  net.run_for(200ms);
  EXPECT_EQ(neighbour("2001:db8::55")->state, neigh::State::failed);
  // One that answered is believed for that time.
  EXPECT_EQ(a.send(udp, {ip("2001:db8::56"), Port{9}}, {}), Errno::ok);
  std::vector<std::byte> na;
  wire::append_neighbour_advertisement(na, {.target = ip("2001:db8::56").v6(), .solicited = true, .override_ = true}, kRouterMac);
  nd("2001:db8::56", us, na);
  net.run_for(std::chrono::milliseconds{reachable - 100});
  EXPECT_EQ(neighbour("2001:db8::56")->state, neigh::State::reachable);
  net.run_for(200ms);
  EXPECT_EQ(neighbour("2001:db8::56")->state, neigh::State::stale);
  net.run_for(7200s);
  advertise({.lifetime_s = 1800, .reachable_ms = 4000}, {.source_link = kRouterMac});
  EXPECT_NE(en0(a).reachable6_ms, reachable) << "another one after some hours";
  // IPv4 has its own.
  EXPECT_EQ(a.stack().network()->settings.neigh.reachable_s, 30u);
}

/// Nobody on the link makes the tables change with each of his packets.
TEST_P(SimAutoconf, ParametersThatAlternateAreTakenNowAndThen) {
  advertise({.hop_limit = 64, .lifetime_s = 1800}, {});
  EXPECT_EQ(en0(a).hop_limit6, 64);
  const std::uint64_t version = a.stack().network()->version;
  for (int i = 0; i < 200; ++i) advertise({.hop_limit = static_cast<std::uint8_t>(65 + i % 2), .lifetime_s = 1800}, {});
  EXPECT_EQ(a.stack().network()->version, version) << "within a fifth of a second";
  net.run_for(1s);
  EXPECT_EQ(en0(a).hop_limit6, 66) << "what was said last";
  EXPECT_EQ(a.stack().network()->version, version + 1);
}

TEST_P(SimAutoconf, RoutersAndPrefixesThatAlternateAreTakenNowAndThen) {
  net.run_for(10s);
  const std::uint64_t version = a.stack().network()->version;
  for (std::uint16_t i = 0; i < 200; ++i) {
    const bool there = i % 2 != 0;
    advertise({.lifetime_s = static_cast<std::uint16_t>(there ? 1800 : 0)}, {.prefixes = {prefix("2001:db8:1::", there ? 86400 : 0, 0)}});
  }
  EXPECT_LE(a.stack().network()->version - version, 30u) << "within a fifth of a second";
  net.run_for(1s);
  EXPECT_NE(route_to("2001:db8:55::1"), nullptr) << "what was said last";
  const std::uint64_t settled = a.stack().network()->version;
  advertise({.lifetime_s = 0}, {});
  EXPECT_EQ(route_to("2001:db8:55::1"), nullptr) << "at once, when it is quiet";
  EXPECT_GT(a.stack().network()->version, settled);
}

TEST_P(SimAutoconf, AnOperatorsLifetimesEnd) {
  const auto add = [&](const char* text, std::uint32_t preferred, std::uint32_t valid) {
    change(a, [&](stack::Network& n) {
      EXPECT_EQ(control::add_address(n, a.interface_index(), {.address = ip(text), .prefix_length = 64, .alias = true, .flags = aflag::no_dad,
                                                              .preferred_until = net.now() + std::chrono::seconds{preferred},
                                                              .valid_until = net.now() + std::chrono::seconds{valid}}), Errno::ok);
    });
  };
  add("2001:db8:7::1", 10, 20);
  add("2001:db8:8::1", 10, 20);
  add("2001:db8:8::2", 10, 40);
  net.run_for(11s);
  EXPECT_TRUE(formed("2001:db8:7::").at(0).is(aflag::deprecated));
  EXPECT_NE(route_to("2001:db8:7::9"), nullptr);
  add("2001:db8:7::1", 10, 20);  // later than it was
  EXPECT_FALSE(formed("2001:db8:7::").at(0).is(aflag::deprecated));
  net.run_for(11s);
  EXPECT_EQ(formed("2001:db8:7::").size(), 1u);
  EXPECT_EQ(formed("2001:db8:8::").size(), 1u);
  EXPECT_NE(route_to("2001:db8:8::9"), nullptr) << "the other one is still there";
  net.run_for(20s);
  EXPECT_TRUE(formed("2001:db8:7::").empty());
  EXPECT_EQ(route_to("2001:db8:7::9"), nullptr) << "its network goes with an address";
  EXPECT_EQ(route_to("2001:db8:8::9"), nullptr);
}

TEST_P(SimAutoconf, LifetimesEndOnLoopbackToo) {
  change(a, [&](stack::Network& n) {
    EXPECT_EQ(control::add_address(n, 1, {.address = ip("2001:db8:7::1"), .prefix_length = 128, .alias = true, .valid_until = net.now() + 5s}), Errno::ok);
  });
  const auto here = [&] { return a.stack().network()->interfaces.find_local(ip("2001:db8:7::1")) != nullptr; };
  EXPECT_TRUE(here());
  net.run_for(6s);
  EXPECT_FALSE(here());
  EXPECT_NE(a.stack().network()->interfaces.find_local(ip("::1")), nullptr);
}

TEST_P(SimAutoconf, TemporaryAddressesComeBesideTheOthers) {
  advertise({.lifetime_s = 9000}, {.source_link = kRouterMac, .prefixes = {prefix("2001:db8:1::", 604800, 604800)}});
  net.run_for(3s);
  EXPECT_TRUE(temporaries().empty()) << "off";
  set(&ipv6::Ipv6Tunables::use_temporary, 1);
  ASSERT_EQ(temporaries().size(), 1u);
  EXPECT_TRUE(temporaries()[0].is(aflag::tentative));
  net.run_for(3s);
  ASSERT_EQ(temporaries().size(), 1u);
  const auto first = temporaries()[0];
  EXPECT_TRUE(first.is_usable());
  EXPECT_EQ(formed("2001:db8:1::").size(), 2u);
  // RFC 8981 3.4: two days at most, and preferred for a day less the desync factor.
  const auto state = a.shard(0).discovery_state();
  const auto life = std::ranges::find(state.lifetimes, first.address, &ipv6::DiscoveryState::Lifetime::address);
  ASSERT_NE(life, state.lifetimes.end());
  EXPECT_LE(life->valid_until, net.now() + 172800s);
  EXPECT_GT(life->valid_until, net.now() + 172790s);
  EXPECT_LE(life->preferred_until, net.now() + 86400s);
  EXPECT_GE(life->preferred_until, net.now() - 10s + 86400s * 6 / 10);
  // Rule 7 of RFC 6724, unless the operator wants it the other way.
  EXPECT_EQ(source_to("2001:db9::1"), first.address.v6().to_string());
  set(&ipv6::Ipv6Tunables::prefer_temporary, 0);
  EXPECT_NE(source_to("2001:db9::1"), first.address.v6().to_string());
  EXPECT_EQ(a.shard(0).counters().ipv6.addresses_temporary.value(), 1u);
}

TEST_P(SimAutoconf, TemporaryAddressesFollowEachOther) {
  set(&ipv6::Ipv6Tunables::use_temporary, 1);
  set(&ipv6::Ipv6Tunables::temporary_preferred_s, 1000);
  set(&ipv6::Ipv6Tunables::temporary_valid_s, 2000);
  const auto say = [&] { advertise({.lifetime_s = 9000}, {.prefixes = {prefix("2001:db8:1::", 604800, 604800)}}); };
  say();
  net.run_for(3s);
  std::set<Ipv6Address> seen;
  for (int i = 0; i < 1000; ++i) {
    say();  // no router makes one live on
    net.run_for(10s);
    const auto all = temporaries();
    EXPECT_GE(std::ranges::count_if(all, [](const auto& one) { return one.is_usable() && !one.is(aflag::deprecated); }), 1) << i;
    EXPECT_LE(all.size(), 4u);
    for (const auto& one : all) seen.insert(one.address.v6());
  }
  // One each 600 to 1000 s.
  EXPECT_GE(seen.size(), 10u);
  EXPECT_LE(seen.size(), 18u);
  EXPECT_EQ(with("2001:db8:1::", 0, aflag::temporary).size(), 1u);
  // A prefix that is no longer preferred gets none.
  advertise({.lifetime_s = 9000}, {.prefixes = {prefix("2001:db8:1::", 604800, 0)}});
  EXPECT_TRUE(with("2001:db8:1::", aflag::temporary, aflag::temporary | aflag::deprecated).empty());
  const std::size_t count = temporaries().size();
  net.run_for(3000s);
  EXPECT_TRUE(temporaries().empty()) << count;
}

TEST_P(SimAutoconf, ATemporaryAddressThatIsTakenIsReplaced) {
  set(&ipv6::Ipv6Tunables::use_temporary, 1);
  advertise({.lifetime_s = 9000}, {.prefixes = {prefix("2001:db8:1::")}});
  std::set<Ipv6Address> tried;
  for (int i = 0; i < 10 && !temporaries().empty(); ++i) {
    const Ipv6Address address = temporaries()[0].address.v6();
    tried.insert(address);
    solicit("::", address, address.solicited_node(), std::nullopt);
    net.run_for(1ms);
  }
  EXPECT_EQ(tried.size(), 4u) << "TEMP_IDGEN_RETRIES";
  EXPECT_TRUE(temporaries().empty());
  net.run_for(3s);
  EXPECT_EQ(formed("2001:db8:1::").size(), 1u);
}

TEST_P(SimAutoconf, AnOptimisticAddressIsUsedAtOnce) {
  set(&ipv6::Ipv6Tunables::optimistic_dad, 1);
  advertise({.lifetime_s = 9000}, {.source_link = kRouterMac, .prefixes = {prefix("2001:db8:1::")}});
  ASSERT_EQ(formed("2001:db8:1::").size(), 1u);
  const Ipv6Address own = formed("2001:db8:1::")[0].address.v6();
  EXPECT_TRUE(formed("2001:db8:1::")[0].is(aflag::optimistic));
  EXPECT_TRUE(formed("2001:db8:1::")[0].is_usable());
  // RFC 4429 3.3: answered for, but nobody's entry is overridden.
  sent.clear();
  solicit("2001:db8::98", own, own.solicited_node());
  ASSERT_FALSE(sent.empty());
  EXPECT_FALSE(std::get<wire::NeighbourAdvertisement>(wire::parse_nd(sent[0].payload)->body).override_);
  // 3.2: no solicitation goes from it.
  Host::UdpSocket& udp = a.udp({own, Port{next_port_++}});
  net.run_for(1ms);
  sent.clear();
  EXPECT_EQ(a.send(udp, {ip("2001:db8:1::55"), Port{9}}, {}), Errno::ok);
  net.run_for(1ms);
  EXPECT_TRUE(std::ranges::none_of(sent, [&](const Sent& one) { return one.header.next_header == IpProtocol::icmpv6 && one.header.src == own; }));
  net.run_for(3s);
  EXPECT_FALSE(formed("2001:db8:1::")[0].is(aflag::optimistic));
  // Whoever has it wins.
  advertise({.lifetime_s = 9000}, {.prefixes = {prefix("2001:db8:2::")}});
  const Ipv6Address other = formed("2001:db8:2::").at(0).address.v6();
  std::vector<std::byte> na;
  wire::append_neighbour_advertisement(na, {.target = other, .override_ = true}, kRouterMac);
  nd("2001:db8:2::5", Ipv6Address::all_nodes(), na);
  EXPECT_TRUE(std::ranges::none_of(formed("2001:db8:2::"), [&](const auto& one) { return one.address.v6() == other; }));
}

TEST_P(SimAutoconf, AnOptimisticAddressGivesWayToWhoeverProbesForIt) {
  set(&ipv6::Ipv6Tunables::optimistic_dad, 1);
  sent.clear();
  advertise({.lifetime_s = 9000}, {.source_link = kRouterMac, .prefixes = {prefix("2001:db8:1::")}});
  ASSERT_EQ(formed("2001:db8:1::").size(), 1u);
  const Ipv6Address own = formed("2001:db8:1::")[0].address.v6();
  ASSERT_TRUE(formed("2001:db8:1::")[0].is(aflag::optimistic));
  EXPECT_EQ(std::ranges::count(solicited(), own), 1) << "at once: it is in use already";
  sent.clear();
  solicit("::", own, own.solicited_node(), std::nullopt);
  EXPECT_TRUE(std::ranges::none_of(sent, [](const Sent& one) {
    const auto m = one.header.next_header == IpProtocol::icmpv6 ? wire::parse_nd(one.payload) : unexpected(wire::ParseError::bad_type);
    return m && std::holds_alternative<wire::NeighbourAdvertisement>(m->body);
  })) << "it is not defended";
  EXPECT_TRUE(std::ranges::none_of(formed("2001:db8:1::"), [&](const auto& one) { return one.address.v6() == own; }));
  EXPECT_EQ(a.shard(0).counters().ipv6.dad_duplicates.value(), 1u);
}

TEST_P(SimAutoconf, ALoopedLinkTakesNoAddressAway) {
  std::vector<Sent> looped;
  const auto echo_back = [&] {
    looped.clear();
    std::swap(looped, sent);
    for (const Sent& one : looped)
      if (one.header.next_header == IpProtocol::icmpv6 && one.header.src == Ipv6Address::any())
        nd("::", one.header.dst, one.payload);
  };
  sent.clear();
  advertise({.lifetime_s = 9000}, {.prefixes = {prefix("2001:db8:1::")}});
  int back = 0;
  for (int i = 0; i < 80; ++i) {
    net.run_for(100ms);
    const auto before = a.drops(Drop::nd_looped);
    echo_back();
    back += static_cast<int>(a.drops(Drop::nd_looped) - before);
  }
  EXPECT_EQ(back, 4) << "RFC 7527 4.2: asked three times more";
  ASSERT_EQ(formed("2001:db8:1::").size(), 1u);
  EXPECT_TRUE(formed("2001:db8:1::")[0].is_usable());
  EXPECT_EQ(a.shard(0).counters().ipv6.dad_duplicates.value(), 0u);
  // Without nonces there is no telling, as before.
  set(&ipv6::Ipv6Tunables::dad_enhanced, 0);
  sent.clear();
  advertise({.lifetime_s = 9000}, {.prefixes = {prefix("2001:db8:2::")}});
  net.run_for(1100ms);
  echo_back();
  net.run_for(1ms);
  EXPECT_GE(a.shard(0).counters().ipv6.dad_duplicates.value(), 1u);
}

TEST_P(SimAutoconf, MoreSpecificRoutesOfRouters) {
  const auto gateway = [&](const char* to) {
    const route::Route* r = route_to(to);
    return r != nullptr && r->gateway ? r->gateway->with_zone(0) : IpAddress{};
  };
  const auto route = [&](const char* text, std::uint8_t length, wire::RouterPreference preference, std::uint32_t lifetime) {
    return wire::NdOptions{.routes = {{.prefix = ip(text).v6(), .length = length, .preference = preference, .lifetime_s = lifetime}}};
  };
  using enum wire::RouterPreference;
  advertise({.lifetime_s = 1800}, {}, "fe80::71");
  advertise({}, route("2001:db9::", 32, low, 600), "fe80::72");
  EXPECT_EQ(gateway("2001:db9::1"), ip("fe80::72")) << "no default router, but the way to this";
  EXPECT_EQ(gateway("2001:dba::1"), ip("fe80::71"));
  advertise({}, route("2001:db9::", 32, medium, 600), "fe80::73");
  EXPECT_EQ(gateway("2001:db9::1"), ip("fe80::73")) << "preferred";
  advertise({}, route("2001:db9::", 32, high, 600), "fe80::72");
  EXPECT_EQ(gateway("2001:db9::1"), ip("fe80::72")) << "it changed its mind";
  EXPECT_EQ(a.shard(0).discovery_state().routes.size(), 2u);
  advertise({}, route("2001:db9::", 32, high, 0), "fe80::72");
  EXPECT_EQ(gateway("2001:db9::1"), ip("fe80::73"));
  net.run_for(601s);
  EXPECT_EQ(gateway("2001:db9::1"), ip("fe80::71"));
  // ::/0 says more of the default route than the message's head.
  advertise({.preference = low, .lifetime_s = 0}, route("::", 0, high, 900), "fe80::72");
  EXPECT_EQ(gateway("2001:db9::1"), ip("fe80::72"));
  advertise({}, route("fe80::", 64, high, 600), "fe80::72");
  EXPECT_TRUE(a.shard(0).discovery_state().routes.empty());
  // Bounded.
  set(&ipv6::Ipv6Tunables::max_routes, 4);
  for (int i = 0; i < 10; ++i) advertise({}, route(("2001:db9:" + std::to_string(i) + "::").c_str(), 48, high, 600), "fe80::72");
  EXPECT_EQ(a.shard(0).discovery_state().routes.size(), 4u);
  EXPECT_EQ(a.drops(Drop::nd_limit), 6u);
}

/// RFC 4191 section 3.1: what the option says is the router's lifetime; the head's does not come in between.
TEST_P(SimAutoconf, ADefaultRouteInAnOptionStaysWhatItIs) {
  using enum wire::RouterPreference;
  const auto gateway = [&] { return route_to("2001:db9::1")->gateway->with_zone(0); };
  const auto say = [&](const char* who, std::uint32_t lifetime) {
    advertise({}, {.routes = {{.prefix = {}, .length = 0, .preference = medium, .lifetime_s = lifetime}}}, who);
  };
  say("fe80::71", 900);
  say("fe80::72", 900);
  EXPECT_EQ(gateway(), ip("fe80::71"));
  const std::uint64_t version = a.stack().network()->version;
  for (int i = 0; i < 5; ++i) say("fe80::71", 900);
  EXPECT_EQ(gateway(), ip("fe80::71")) << "the first of equals stays the first";
  EXPECT_EQ(a.stack().network()->version, version);
  say("fe80::71", 70'000);
  say("fe80::72", wire::kLifetimeForever);
  auto routers = a.shard(0).discovery_state().routers;
  ASSERT_EQ(routers.size(), 2u);
  EXPECT_GT(routers[0].until, net.now() + 69'000s);
  EXPECT_TRUE(routers[1].until.is_never());
  // A router whose head says so, and the option does not, is none.
  advertise({.lifetime_s = 1800}, {.routes = {{.prefix = {}, .length = 0, .preference = high, .lifetime_s = 0}}}, "fe80::71");
  EXPECT_EQ(a.shard(0).discovery_state().routers.size(), 1u);
}

TEST_P(SimAutoconf, NameServersAndDomainsHaveLifetimesOfTheirOwn) {
  advertise({.lifetime_s = 1800}, {.dns_servers = {{ip("2001:db8::35").v6(), 60}, {ip("fe80::35").v6(), 120}},
                                   .dns_domains = {{"example.org", 60}, {"lan", 120}}});
  auto state = a.shard(0).discovery_state();
  ASSERT_EQ(state.dns_servers.size(), 2u);
  EXPECT_EQ(state.dns_servers[1].address, ip("fe80::35").with_zone(a.interface_index()));
  ASSERT_EQ(state.dns_domains.size(), 2u);
  EXPECT_EQ(state.dns_domains[0].name, "example.org");
  net.run_for(61s);
  state = a.shard(0).discovery_state();
  EXPECT_EQ(state.dns_servers.size(), 1u);
  EXPECT_EQ(state.dns_domains.size(), 1u);
  advertise({.lifetime_s = 1800}, {.dns_servers = {{ip("fe80::35").v6(), 0}}, .dns_domains = {{"lan", 0}}});
  state = a.shard(0).discovery_state();
  EXPECT_TRUE(state.dns_servers.empty() && state.dns_domains.empty());
}

INSTANTIATE_TEST_SUITE_P(Shards, SimAutoconf, ::testing::Values(1u, 2u));

}  // namespace
}  // namespace iopkt::sim
