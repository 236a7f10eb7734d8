// Verbs about what routers advertise, and the states of addresses, on a whole stack with a script for a router.
#include "control/verbs.hpp"

#include "tests/sim/discovery_fixture.hpp"

namespace iopkt::control {
namespace {

namespace aflag = iface::address_flag;

class Nothing final : public Surroundings {
 public:
  void describe_device(const iface::Interface&, Record&) const override {}
  std::uint64_t hardclock_ticks() const override { return 0; }
  void describe_process(Record&) const override {}
};

class DiscoveryVerbs : public sim::SimDiscovery {
 protected:
  Outcome ask(std::string_view verb, const Record& arguments = {}) {
    a.shard(0).begin(net.now());
    Outcome outcome = run_here(a.stack(), nothing_, true, verb, arguments);
    net.run_for(1ms);
    return outcome;
  }
  static std::vector<Record> list(const Record& answer, std::string_view key) {
    std::vector<Record> out;
    if (const Field* field = answer.find(key))
      for (const Field& one : field->inner.fields()) out.push_back(one.inner);
    return out;
  }
  Record address(std::string_view text) {
    for (const Record& one : list(list(ask("interface.list", Record{}.text("name", "en0")).answer, "interfaces").at(0), "addresses"))
      if (one.text_of("address") == text) return one;
    return {};
  }
  Record add(std::string_view text) { return Record{}.text("name", "en0").address("address", text); }
  Nothing nothing_;
};

TEST_P(DiscoveryVerbs, WhatRoutersSaidIsListed) {
  advertise({.hop_limit = 33, .other = true, .lifetime_s = 1800, .reachable_ms = 20000},
            {.prefixes = {prefix("2001:db8:1::")}, .routes = {{.prefix = sim::ip("2001:db9::").v6(), .length = 32, .lifetime_s = 600}},
             .dns_servers = {{sim::ip("2001:db8::35").v6(), 60}}, .dns_domains = {{"example.org", wire::kLifetimeForever}}});
  net.run_for(10s);
  const Record answer = ask("discovery.list").answer;
  const auto routers = list(answer, "routers"), prefixes = list(answer, "prefixes"), routes = list(answer, "routes");
  ASSERT_EQ(routers.size(), 1u);
  EXPECT_EQ(routers[0].text_of("address"), "fe80::77%en0");
  EXPECT_EQ(routers[0].number_of("expires_s"), 1789u);
  EXPECT_EQ(routers[0].number_of("other"), 1u);
  ASSERT_EQ(prefixes.size(), 1u);
  EXPECT_EQ(prefixes[0].text_of("prefix"), "2001:db8:1::");
  EXPECT_EQ(prefixes[0].number_of("preferred_s"), 14389u);
  ASSERT_EQ(routes.size(), 1u);
  EXPECT_EQ(routes[0].text_of("gateway"), "fe80::77%en0");
  EXPECT_EQ(list(answer, "dns_servers").at(0).text_of("address"), "2001:db8::35");
  EXPECT_EQ(list(answer, "dns_domains").at(0).text_of("domain"), "example.org");
  EXPECT_FALSE(list(answer, "dns_domains").at(0).has("expires_s"));
  const auto interfaces = list(answer, "interfaces");
  ASSERT_EQ(interfaces.size(), 1u);
  EXPECT_EQ(interfaces[0].number_of("hop_limit"), 33u);
  EXPECT_EQ(interfaces[0].number_of("base_reachable_ms"), 20000u);
  EXPECT_EQ(interfaces[0].number_of("advertisements"), 1u);
  EXPECT_EQ(ask("discovery.list", Record{}.text("name", "xyz0")).error, Errno::nxio);
  // Forgotten: the routes go, the address stays.
  EXPECT_EQ(ask("discovery.forget", Record{}.text("what", "routers")).answer.number_of("forgotten"), 1u);
  EXPECT_EQ(ask("discovery.forget", Record{}.text("what", "prefixes")).answer.number_of("forgotten"), 1u);
  EXPECT_EQ(route_to("2001:db9::1"), nullptr);
  EXPECT_EQ(formed("2001:db8:1::").size(), 1u);
  EXPECT_EQ(ask("discovery.forget", Record{}.text("what", "all")).error, Errno::inval);
}

TEST_P(DiscoveryVerbs, RoutersAreAskedAnew) {
  sent.clear();
  EXPECT_EQ(ask("discovery.solicit", Record{}.text("name", "en0")).error, Errno::ok);
  const auto solicitations = [&] {
    return std::ranges::count_if(sent, [](const Sent& one) {
      return one.header.next_header == wire::IpProtocol::icmpv6 && one.icmp().type == wire::Icmpv6Type::router_solicitation;
    });
  };
  EXPECT_EQ(solicitations(), 1);
  net.run_for(20s);
  EXPECT_EQ(solicitations(), 3) << "MAX_RTR_SOLICITATIONS";
  EXPECT_EQ(ask("discovery.solicit", Record{}.text("name", "en0")).answer.number_of("advertisements"), 0u);
  advertise({.lifetime_s = 1800}, {});
  net.run_for(20s);
  EXPECT_EQ(solicitations(), 4) << "answered";
  EXPECT_EQ(ask("discovery.solicit", Record{}.text("name", "en0")).answer.number_of("advertisements"), 1u);
  EXPECT_EQ(ask("discovery.solicit", Record{}.text("name", "lo0")).error, Errno::nxio);
  change(a, [](stack::Network& n) { n.settings.ipv6.forwarding = 1; });
  EXPECT_EQ(ask("discovery.solicit", Record{}.text("name", "en0")).error, Errno::opnotsupp);
}

TEST_P(DiscoveryVerbs, StatesOfAddresses) {
  ASSERT_EQ(ask("address.add", add("2001:db8:5::1").number("pltime", 100).number("vltime", 200)).error, Errno::ok);
  EXPECT_EQ(address("2001:db8:5::1").text_of("flag_names"), "tentative");
  net.run_for(3s);
  EXPECT_EQ(address("2001:db8:5::1").text_of("flag_names"), "");
  EXPECT_EQ(address("2001:db8:5::1").number_of("pltime"), 96u);
  // What is there keeps its state, and what is not said.
  ASSERT_EQ(ask("address.add", add("2001:db8:5::1").text("flags_on", "anycast,deprecated").number("pltime", 50)).error, Errno::ok);
  EXPECT_EQ(address("2001:db8:5::1").text_of("flag_names"), "anycast,deprecated");
  EXPECT_EQ(address("2001:db8:5::1").number_of("pltime"), 49u);
  EXPECT_EQ(address("2001:db8:5::1").number_of("vltime"), 196u);
  ASSERT_EQ(ask("address.add", add("2001:db8:5::1").text("flags_off", "anycast,deprecated").number("pltime", wire::kLifetimeForever)
                                   .number("vltime", wire::kLifetimeForever)).error, Errno::ok);
  EXPECT_EQ(address("2001:db8:5::1").text_of("flag_names"), "");
  EXPECT_FALSE(address("2001:db8:5::1").has("vltime"));
  ASSERT_EQ(ask("address.add", add("2001:db8:5::1").text("flags_on", "tentative")).error, Errno::ok);
  EXPECT_EQ(address("2001:db8:5::1").text_of("flag_names"), "tentative") << "once more";
  net.run_for(3s);
  EXPECT_EQ(address("2001:db8:5::1").text_of("flag_names"), "");
  // Aged at once, and away.
  ASSERT_EQ(ask("address.add", add("2001:db8:5::1").number("pltime", 0).number("vltime", 5)).error, Errno::ok);
  EXPECT_EQ(address("2001:db8:5::1").text_of("flag_names"), "deprecated");
  net.run_for(6s);
  EXPECT_EQ(address("2001:db8:5::1").text_of("address"), "");
  EXPECT_EQ(ask("address.add", add("2001:db8:5::1").number("pltime", 10).number("vltime", 5)).error, Errno::inval);
  EXPECT_EQ(ask("address.add", add("2001:db8:5::1").text("flags_on", "autoconf")).error, Errno::inval);
  EXPECT_EQ(ask("address.add", add("10.0.0.9").text("flags_on", "deprecated")).error, Errno::inval);
}

TEST_P(DiscoveryVerbs, TheLifetimesThatAreShownAreThoseThatCount) {
  advertise({}, {.prefixes = {prefix("2001:db8:1::", 86400, 14400)}});
  net.run_for(100s);
  const std::string own = formed("2001:db8:1::").at(0).address.v6().to_string();
  EXPECT_EQ(address(own).number_of("pltime"), 14299u);
  const auto version = a.stack().network()->version;
  advertise({}, {.prefixes = {prefix("2001:db8:1::", 86400, 14400)}});
  EXPECT_EQ(address(own).number_of("pltime"), 14399u);
  EXPECT_EQ(a.stack().network()->version, version);
  // An operator's word counts until the next advertisement.
  ASSERT_EQ(ask("address.add", add(own).number("pltime", 7)).error, Errno::ok);
  EXPECT_EQ(address(own).text_of("flag_names"), "autoconf");
  EXPECT_EQ(address(own).number_of("pltime"), 6u);
  net.run_for(8s);
  EXPECT_EQ(address(own).text_of("flag_names"), "deprecated,autoconf");
}

INSTANTIATE_TEST_SUITE_P(Shards, DiscoveryVerbs, ::testing::Values(1u, 2u));

}  // namespace
}  // namespace iopkt::control
