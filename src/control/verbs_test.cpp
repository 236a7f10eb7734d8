// The verbs on a whole stack of two shards: what they answer, what they change, whom they refuse.
#include "control/verbs.hpp"

#include <gtest/gtest.h>

#include <set>

#include "control/variables.hpp"
#include "stack/counters.hpp"
#include "tests/sim/ipv6_fixture.hpp"

namespace iopkt::control {
namespace {

class Nothing final : public Surroundings {
 public:
  void describe_device(const iface::Interface& interface, Record& out) const override {
    if (!interface.is_loopback()) out.text("driver", "sim");
  }
  std::uint64_t hardclock_ticks() const override { return 1234; }
  void describe_process(Record& out) const override { out.text("variant", "test"); }
};

class Verbs : public ::testing::Test {
 protected:
  Outcome ask(std::string_view verb, const Record& arguments = {}, bool privileged = true) {
    Outcome outcome = run_here(host.stack(), nothing, privileged, verb, arguments);
    net.run_for(1ms);
    return outcome;
  }
  const iface::Interface& en0() { return *host.stack().network()->interfaces.by_name("en0"); }
  static Record named(std::string_view name) { return Record{}.text("name", name); }
  static std::vector<Record> list(const Outcome& outcome, std::string_view key) {
    std::vector<Record> out;
    if (const Field* field = outcome.answer.find(key))
      for (const Field& one : field->inner.fields()) out.push_back(one.inner);
    return out;
  }
  std::set<std::string> route_names() {
    std::set<std::string> out;
    for (const Record& r : list(ask("route.list"), "routes"))
      out.insert(std::string(r.text_of("destination")) + "/" + std::to_string(r.number_of("prefix_length")) +
                 " " + std::string(r.text_of("gateway")) + " " + std::string(r.text_of("flag_letters")));
    return out;
  }

  Nothing nothing;
  sim::SimNet net{7};
  sim::Host& host = net.host("10.0.0.1/24", {.shards = 2});
  sim::Host& peer = net.host("10.0.0.2/24");
  void SetUp() override { net.wire({&host, &peer}, {}); }
};

TEST_F(Verbs, EveryRowIsFoundAndRefusesWhatItDoesNotKnow) {
  for (const VerbRow& row : verb_rows()) {
    EXPECT_EQ(find_verb(row.name), &row);
    EXPECT_EQ(ask(row.name, Record{}.text("no_such_argument", "x")).error, Errno::inval) << row.name;
    if (row.changes) {
      EXPECT_EQ(ask(row.name, {}, false).error, Errno::perm) << row.name;
    }
  }
  EXPECT_EQ(ask("interface.lis").error, Errno::opnotsupp);
}

TEST_F(Verbs, WhatOnlyShowsNeedsNoPrivilegeAndChangesNothing) {
  const auto version = host.stack().network()->version;
  for (const VerbRow& row : verb_rows()) {
    if (row.changes) continue;
    const Outcome outcome = ask(
        row.name, row.name == "route.get" ? Record{}.address("destination", "10.0.0.2") : Record{}, false);
    EXPECT_EQ(outcome.error, Errno::ok) << row.name << ": " << outcome.line;
    EXPECT_FALSE(outcome.answer.fields().empty() && row.name != "arp.list") << row.name;
  }
  EXPECT_EQ(host.stack().network()->version, version);
}

TEST_F(Verbs, LoopbackIsShownAsDocumented) {
  const auto shown = list(ask("interface.list", named("lo0")), "interfaces");
  ASSERT_EQ(shown.size(), 1u);
  EXPECT_EQ(shown[0].number_of("flags"), 0x8049u);
  EXPECT_EQ(shown[0].text_of("flag_names"), "UP,LOOPBACK,RUNNING,MULTICAST");
  EXPECT_EQ(shown[0].number_of("mtu"), 33192u);
  const Field* addresses = shown[0].find("addresses");
  ASSERT_NE(addresses, nullptr);
  EXPECT_EQ(addresses->inner.fields()[0].inner.text_of("netmask"), "0xff000000");
}

TEST_F(Verbs, UnknownInterfaceIsNamed) {
  for (const char* verb :
       {"interface.list", "interface.set", "interface.destroy", "address.add", "address.delete"}) {
    const Outcome outcome = ask(verb, named("xyz0"));
    EXPECT_EQ(outcome.error, Errno::nxio) << verb;
    EXPECT_EQ(outcome.line, "interface xyz0 does not exist") << verb;
  }
}

TEST_F(Verbs, SettingsBecomeDeviceStepsInOrder) {
  const std::uint32_t index = en0().index;
  const Outcome outcome =
      ask("interface.set",
          named("en0").boolean("up", false).number("mtu", 1400).text("mac", "02:00:00:00:00:77"));
  ASSERT_EQ(outcome.error, Errno::ok) << outcome.line;
  ASSERT_EQ(outcome.steps.size(), 3u);
  EXPECT_EQ(outcome.steps[0].kind, DeviceStep::Kind::stop);
  EXPECT_EQ(outcome.steps[1],
            (DeviceStep{.kind = DeviceStep::Kind::set_mtu, .interface_index = index, .mtu = 1400}));
  EXPECT_EQ(outcome.steps[2].mac.to_string(), "02:00:00:00:00:77");
  EXPECT_FALSE(en0().is_up());
  EXPECT_EQ(en0().mtu, 1400u);
  EXPECT_EQ(list(ask("interface.list", named("en0")), "interfaces")[0].text_of("status"), "no carrier");
  // Down already: the device is not stopped twice.
  EXPECT_TRUE(ask("interface.set", named("en0").boolean("up", false)).steps.empty());
  EXPECT_EQ(ask("interface.set", named("en0").boolean("up", true)).steps.at(0).kind, DeviceStep::Kind::start);
}

TEST_F(Verbs, BadSettingsChangeNothing) {
  const struct {
    Record arguments;
    Errno error;
  } cases[] = {
      {named("en0").number("mtu", 67), Errno::inval},
      {named("en0").number("mtu", 1u << 20), Errno::inval},
      {named("en0").text("mac", "01:00:00:00:00:01"), Errno::inval},
      {named("en0").text("mac", "hello"), Errno::inval},
      {named("lo0").text("mac", "02:00:00:00:00:01"), Errno::opnotsupp},
      {named("en0").number("fib", 16), Errno::inval},
      {named("en0").text("capability_on", "warp"), Errno::inval},
      {named("en0").text("capability_on", "tso4"), Errno::opnotsupp},
      {named("en0").boolean("up", false).number("mtu", 1), Errno::inval},
  };
  const auto version = host.stack().network()->version;
  for (const auto& one : cases) {
    const Outcome outcome = ask("interface.set", one.arguments);
    EXPECT_EQ(outcome.error, one.error) << outcome.line;
    EXPECT_FALSE(outcome.line.empty());
  }
  EXPECT_EQ(host.stack().network()->version, version);
}

TEST_F(Verbs, FlagWords) {
  ask("interface.set", named("en0").boolean("arp", false).boolean("link1", true));
  EXPECT_TRUE(en0().is(iface::flag::no_arp | iface::flag::link1));
  ask("interface.set", named("en0").boolean("arp", true).boolean("link1", false));
  EXPECT_EQ(en0().flags & (iface::flag::no_arp | iface::flag::link1), 0u);
}

TEST_F(Verbs, AddressesComeAndGoWithTheirRoutes) {
  EXPECT_EQ(
      ask("address.add",
          named("en0").address("address", "10.1.0.1").text("netmask", "0xffff0000").boolean("alias", true))
          .error,
      Errno::ok);
  EXPECT_TRUE(route_names().contains("10.1.0.0/16  UC"));
  EXPECT_EQ(en0().addresses.size(), 2u);
  // Without alias the first address is replaced.
  EXPECT_EQ(ask("address.add", named("en0").address("address", "10.2.0.1").number("prefix_length", 24)).error,
            Errno::ok);
  EXPECT_EQ(en0().addresses[0].address.to_string(), "10.2.0.1");
  EXPECT_FALSE(route_names().contains("10.0.0.0/24  UC"));
  EXPECT_EQ(ask("address.delete", named("en0").address("address", "10.2.0.1")).error, Errno::ok);
  EXPECT_FALSE(route_names().contains("10.2.0.0/24  UC"));
  EXPECT_EQ(ask("address.delete", named("en0").address("address", "10.2.0.1")).error, Errno::addrnotavail);
}

TEST_F(Verbs, BadAddresses) {
  const Record bad[] = {
      named("en0").address("address", "10.0.0.256"),
      named("en0").address("address", "255.255.255.255"),
      named("en0").address("address", "224.0.0.1"),
      named("en0").address("address", "10.0.0.9").text("netmask", "255.0.255.0"),
      named("en0").address("address", "10.0.0.9").number("prefix_length", 33),
      named("en0").address("address", "10.0.0.9").address("broadcast", "x"),
  };
  for (const Record& arguments : bad)
    EXPECT_EQ(ask("address.add", arguments).error, Errno::inval) << arguments.text_of("address");
  EXPECT_EQ(ask("address.add", named("en0").address("address", "2001:db8::1")).error, Errno::afnosupport);
}

TEST_F(Verbs, LoopbackInterfacesAreClonedOthersRefusedByName) {
  EXPECT_EQ(ask("interface.create", named("lo1")).error, Errno::ok);
  EXPECT_EQ(ask("interface.create", named("lo1")).error, Errno::exist);
  EXPECT_EQ(ask("address.add", named("lo1").address("address", "127.1.0.1")).error, Errno::ok);
  EXPECT_TRUE(host.stack().network()->interfaces.by_name("lo1")->is_up());
  EXPECT_TRUE(ask("interface.destroy", named("lo1")).steps.empty());
  EXPECT_EQ(host.stack().network()->interfaces.by_name("lo1"), nullptr);
  EXPECT_EQ(ask("interface.destroy", named("lo0")).error, Errno::inval);
  for (const char* name : {"tap0", "tun3", "vlan73", "bridge0", "sl0"}) {
    const Outcome outcome = ask("interface.create", named(name));
    EXPECT_EQ(outcome.error, Errno::opnotsupp) << name;
    EXPECT_NE(outcome.line.find("not built yet"), std::string::npos) << name;
  }
  for (const char* name : {"", "lo", "7", "en5", "lo99999999999"})
    EXPECT_NE(ask("interface.create", named(name)).error, Errno::ok) << name;
}

TEST_F(Verbs, AnIndexIsUsedAgainOnlyWhenNoneIsLeft) {
  const auto index_of = [&](const char* name) { return host.stack().network()->interfaces.by_name(name)->index; };
  ASSERT_EQ(ask("interface.create", named("lo1")).error, Errno::ok);
  const std::uint32_t first = index_of("lo1");
  for (std::uint32_t n = first; n + 1 < stack::kInterfacesMax; ++n) {
    ASSERT_EQ(ask("interface.destroy", named("lo1")).error, Errno::ok);
    ASSERT_EQ(ask("interface.create", named("lo1")).error, Errno::ok);
    ASSERT_EQ(index_of("lo1"), n + 1);
  }
  ASSERT_EQ(ask("interface.create", named("lo2")).error, Errno::ok);
  EXPECT_EQ(index_of("lo2"), first);
  std::string name;
  Errno error = Errno::ok;
  std::size_t count = host.stack().network()->interfaces.all().size();
  for (int unit = 3; error == Errno::ok; ++unit, ++count) {
    name = "lo" + std::to_string(unit);
    error = ask("interface.create", named(name)).error;
  }
  EXPECT_EQ(error, Errno::nfile);
  EXPECT_EQ(count, stack::kInterfacesMax);
}

TEST_F(Verbs, DestroyingADriversInterfaceAsksTheDriver) {
  const std::uint32_t index = en0().index;
  const Outcome outcome = run({host.stack(), nothing, true, {}}, "interface.destroy", named("en0"));
  ASSERT_EQ(outcome.steps.size(), 1u);
  EXPECT_EQ(outcome.steps[0], (DeviceStep{.kind = DeviceStep::Kind::destroy, .interface_index = index}));
  ASSERT_TRUE(outcome.next.has_value());
  EXPECT_EQ(outcome.next->interfaces.by_name("en0"), nullptr);
  EXPECT_NE(host.stack().network()->interfaces.by_name("en0"), nullptr)
      << "nothing is published before the driver agreed";
}

TEST_F(Verbs, ALinkThatChangesWhileTheDriverIsAskedIsNotForgotten) {
  const Context context{host.stack(), nothing, true, {}};
  const Record arguments = named("en0").number("mtu", 1400);
  Outcome outcome = run(context, "interface.set", arguments);
  ASSERT_TRUE(outcome.next.has_value());
  Network meanwhile = *host.stack().network();
  iface::Interface changed = en0();
  changed.link_up = false;
  changed.speed_mbps = 10;
  meanwhile.interfaces = meanwhile.interfaces.with(changed);
  host.stack().publish(std::move(meanwhile));
  decide_again(context, "interface.set", arguments, outcome);
  const iface::Interface* result = outcome.next->interfaces.by_name("en0");
  EXPECT_FALSE(result->link_up);
  EXPECT_EQ(result->speed_mbps, 10u);
  EXPECT_EQ(result->mtu, 1400u);
  EXPECT_TRUE(outcome.steps.empty()) << "the driver was asked";
}

TEST_F(Verbs, WhatDiscoveryLearnsWhileTheDriverIsAskedIsNotForgotten) {
  sim::Host& six = net.host("10.0.0.3/24", {.ipv6 = true});
  net.wire({&host, &peer, &six}, {});
  ASSERT_TRUE(net.run_until([&] { return !six.link_local().is_unspecified(); }, 10s));
  const Context context{six.stack(), nothing, true, {}};
  const Record arguments = named("en0").number("mtu", 1400);
  Outcome outcome = run(context, "interface.set", arguments);
  ASSERT_TRUE(outcome.next.has_value());
  const auto router = *wire::Ipv6Address::parse("fe80::77"), prefix = *wire::Ipv6Address::parse("2001:db8:1::");
  std::vector<std::byte> ra;
  wire::append_router_advertisement(ra, {.lifetime_s = 1800},
                                    {.prefixes = {{.prefix = prefix, .length = 64, .on_link = true, .autonomous = true,
                                                   .valid_s = 86400, .preferred_s = 14400}}});
  six.receive(sim::packet6({{0x33, 0x33, 0, 0, 0, 1}},
                           {.next_header = wire::IpProtocol::icmpv6, .hop_limit = 255, .src = router, .dst = wire::Ipv6Address::all_nodes()}, ra));
  net.run_for(1ms);
  decide_again(context, "interface.set", arguments, outcome);
  ASSERT_TRUE(outcome.next.has_value());
  six.stack().publish(std::move(*outcome.next));
  net.run_for(3s);
  const Network& network = *six.stack().network();
  const iface::Interface& en = *network.interfaces.by_name("en0");
  EXPECT_EQ(en.mtu, 1400u);
  EXPECT_TRUE(std::ranges::any_of(en.addresses, [&](const auto& a) { return wire::IpPrefix::of(prefix, 64).contains(a.address) && a.is_usable(); }));
  EXPECT_NE(network.fibs[0].lookup(*wire::IpAddress::parse("2001:db9::1")), nullptr) << "the default route";
  EXPECT_NE(network.fibs[0].lookup(*wire::IpAddress::parse("2001:db8:1::5")), nullptr) << "the route to the link's prefix";
}

TEST_F(Verbs, WhatWasDecidedOnThePresentNetworkStays) {
  const Context context{host.stack(), nothing, true, {}};
  const Record arguments = named("en0").number("mtu", 1400);
  Outcome outcome = run(context, "interface.set", arguments);
  decide_again(context, "interface.set", arguments, outcome);
  EXPECT_EQ(outcome.steps.size(), 1u) << "not decided again";
  ask("interface.destroy", named("en0"));
  decide_again(context, "interface.set", arguments, outcome);
  EXPECT_EQ(outcome.error, Errno::nxio);
  EXPECT_FALSE(outcome.next.has_value());
}

TEST_F(Verbs, Routes) {
  const Record way =
      Record{}.address("destination", "0.0.0.0").number("prefix_length", 0).address("gateway", "10.0.0.2");
  EXPECT_EQ(ask("route.add", way).error, Errno::ok);
  EXPECT_TRUE(route_names().contains("0.0.0.0/0 10.0.0.2 UGS"));
  const Outcome again = ask("route.add", way);
  EXPECT_EQ(again.error, Errno::exist);
  EXPECT_EQ(again.line, "File exists");
  EXPECT_EQ(ask("route.add", Record{}.address("destination", "9.9.9.9").address("gateway", "11.0.0.1")).error,
            Errno::netunreach);
  EXPECT_EQ(ask("route.delete", Record{}.address("destination", "9.9.9.9")).line, "not in table");

  const Outcome got = ask("route.get", Record{}.address("destination", "9.9.9.9"));
  ASSERT_EQ(got.error, Errno::ok);
  EXPECT_EQ(got.answer.find("route")->inner.text_of("gateway"), "10.0.0.2");
  EXPECT_EQ(got.answer.find("route")->inner.text_of("local"), "10.0.0.1");
  EXPECT_EQ(ask("route.get", Record{}.address("destination", "10.0.0.1"))
                .answer.find("route")
                ->inner.text_of("interface"),
            "lo0");

  // Two ways to one destination: the gateway has to be named.
  EXPECT_EQ(ask("route.add", Record{}
                                 .address("destination", "0.0.0.0")
                                 .number("prefix_length", 0)
                                 .address("gateway", "10.0.0.3"))
                .error,
            Errno::ok);
  EXPECT_EQ(ask("route.delete", Record{}.address("destination", "0.0.0.0").number("prefix_length", 0)).error,
            Errno::inval);
  EXPECT_EQ(list(ask("route.flush"), "routes").size(), 2u);
  EXPECT_EQ(ask("route.get", Record{}.address("destination", "9.9.9.9")).error, Errno::esrch);
}

TEST_F(Verbs, RoutingTablesAreApart) {
  const Record way = Record{}
                         .address("destination", "9.0.0.0")
                         .number("prefix_length", 8)
                         .address("gateway", "10.0.0.2")
                         .number("fib", 3);
  EXPECT_EQ(ask("route.add", way).error, Errno::ok);
  EXPECT_EQ(ask("route.get", Record{}.address("destination", "9.9.9.9")).error, Errno::esrch);
  EXPECT_EQ(ask("route.get", Record{}.address("destination", "9.9.9.9").number("fib", 3)).error, Errno::ok);
  EXPECT_EQ(ask("route.list", Record{}.number("fib", 16)).error, Errno::inval);
}

TEST_F(Verbs, Neighbours) {
  EXPECT_EQ(ask("arp.set", Record{}.address("address", "10.0.0.9").text("mac", "02:00:00:00:00:09")).error,
            Errno::ok);
  const auto shown = list(ask("arp.list"), "neighbours");
  ASSERT_EQ(shown.size(), 1u);
  EXPECT_EQ(shown[0].text_of("mac"), "02:00:00:00:00:09");
  EXPECT_EQ(shown[0].text_of("interface"), "en0");
  EXPECT_EQ(shown[0].number_of("permanent"), 1u);
  EXPECT_EQ(ask("arp.set", Record{}.address("address", "11.0.0.9").text("mac", "02:00:00:00:00:09")).error,
            Errno::netunreach);
  EXPECT_EQ(ask("arp.set", Record{}.address("address", "10.0.0.9").text("mac", "2:0")).error, Errno::inval);
  EXPECT_EQ(ask("arp.delete", Record{}.address("address", "10.0.0.9")).error, Errno::ok);
  EXPECT_EQ(ask("arp.delete", Record{}.address("address", "10.0.0.9")).error, Errno::esrch);
}

TEST_F(Verbs, NeighboursGoWithTheirInterface) {
  host.connect({peer.address(), wire::Port{9}}, 0);
  net.run_for(100ms);
  ask("arp.set", Record{}.address("address", "10.0.0.9").text("mac", "02:00:00:00:00:09"));
  ASSERT_EQ(list(ask("arp.list"), "neighbours").size(), 2u);
  ask("interface.set", named("en0").boolean("up", false));
  const auto kept = list(ask("arp.list"), "neighbours");
  ASSERT_EQ(kept.size(), 1u) << "down: what was learned is forgotten, what was set stays";
  EXPECT_EQ(kept[0].text_of("address"), "10.0.0.9");
  ask("interface.destroy", named("en0"));
  EXPECT_TRUE(list(ask("arp.list"), "neighbours").empty());
}

TEST_F(Verbs, EveryVariableTakesItsRangeAndNothingElse) {
  const auto set = [&](const Variable& v, std::uint64_t value) {
    return ask("sysctl.set", named(v.name).text("value", std::to_string(value)));
  };
  // Its last port is tried first, and must not come to lie below the first one.
  EXPECT_EQ(ask("sysctl.set", named("net.inet.ip.anonportmin").text("value", "1024")).error, Errno::ok);
  std::size_t writable = 0;
  for (const Variable& v : list_variables({host.stack(), nothing, true, {}})) {
    EXPECT_FALSE(v.help.empty()) << v.name;
    if (!v.writable) {
      EXPECT_EQ(set(v, 1).error, Errno::perm) << v.name;
      continue;
    }
    ++writable;
    if (!v.number) {
      EXPECT_EQ(v.name, "net.inet.tcp.congctl.selected");
      continue;
    }
    for (const std::uint64_t good : {v.minimum, v.maximum, v.initial}) {
      const Outcome outcome = set(v, good);
      ASSERT_EQ(outcome.error, Errno::ok) << v.name << ": " << outcome.line;
      EXPECT_EQ(list(ask("sysctl.get", named(v.name)), "variables").at(0).text_of("value"),
                std::to_string(good))
          << v.name;
    }
    EXPECT_EQ(set(v, v.maximum + 1).error, Errno::inval) << v.name;
    if (v.minimum > 0) {
      EXPECT_EQ(set(v, v.minimum - 1).error, Errno::inval) << v.name;
    }
    EXPECT_EQ(ask("sysctl.set", named(v.name).text("value", "")).error, Errno::inval) << v.name;
    EXPECT_EQ(ask("sysctl.set", named(v.name).text("value", "1x")).error, Errno::inval) << v.name;
  }
  EXPECT_EQ(writable, tcp::kTunables.size() + ipv4::Ipv4Tunables::table().size() +
                          icmp::IcmpTunables::table().size() + udp::UdpTunables::table().size() +
                          neigh::NeighbourTunables::table().size() + 1 /* net.inet.tcp.congctl.selected */);
}

TEST_F(Verbs, CongestionControlIsChosenByName) {
  const std::string name = "net.inet.tcp.congctl.selected";
  EXPECT_EQ(list(ask("sysctl.get", named("net.inet.tcp.congctl.available")), "variables").at(0).text_of("value"), tcp::congestion_names());
  EXPECT_EQ(list(ask("sysctl.get", named(name)), "variables").at(0).text_of("value"), "cubic");
  const Outcome set = ask("sysctl.set", named(name).text("value", "newreno"));
  ASSERT_EQ(set.error, Errno::ok);
  EXPECT_EQ(list(set, "variables").at(0).text_of("old"), "cubic");
  EXPECT_EQ(list(set, "variables").at(0).text_of("value"), "reno");
  EXPECT_EQ(host.stack().network()->settings.congestion, &tcp::newreno());
  EXPECT_EQ(ask("sysctl.set", named(name).text("value", "bogus")).error, Errno::inval);
  EXPECT_EQ(ask("sysctl.set", named(name).text("value", "")).error, Errno::inval);
  const auto route = [&](const char* verb, const char* cc) {
    Record r;
    r.address("destination", "192.0.2.0").number("prefix_length", 24).address("gateway", "127.0.0.1").text("congestion", cc);
    return ask(verb, std::move(r));
  };
  EXPECT_EQ(route("route.add", "bogus").error, Errno::inval);
  ASSERT_EQ(route("route.add", "newreno").error, Errno::ok);
  const auto found = host.stack().network()->fibs[0].lookup(*wire::IpAddress::parse("192.0.2.1"));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->congestion, "reno");
}

TEST_F(Verbs, CountersBeginAnew) {
  const auto received = [&](const Outcome& outcome) {
    return list(outcome, "interfaces").at(0).find("counters")->inner.number_of("rx.packets");
  };
  const sim::Frame nobodys(60);
  host.receive(nobodys);
  host.receive(nobodys);
  net.run_for(1ms);
  EXPECT_EQ(received(ask("interface.list", named("en0"))), 2u);
  EXPECT_EQ(received(ask("interface.zero", named("en0"))), 2u) << "what was counted until now";
  EXPECT_EQ(received(ask("interface.list", named("en0"))), 0u);
  host.receive(nobodys);
  net.run_for(1ms);
  EXPECT_EQ(received(ask("interface.list", named("en0"))), 1u);
  EXPECT_EQ(ask("interface.zero", named("nope0")).error, Errno::nxio);
}

TEST_F(Verbs, TheFirstEphemeralPortIsNotAboveTheLast) {
  const auto set = [&](const char* name, const char* value) {
    return ask("sysctl.set", named(name).text("value", value));
  };
  EXPECT_EQ(set("net.inet.ip.anonportmax", "49151").error, Errno::inval);
  EXPECT_EQ(set("net.inet.ip.anonportmax", "49152").error, Errno::ok);
  EXPECT_EQ(set("net.inet.ip.anonportmin", "49153").line,
            "net.inet.ip.anonportmin: 49153: net.inet.ip.anonportmin would be above net.inet.ip.anonportmax");
  EXPECT_EQ(set("net.inet.ip.anonportmin", "20000").error, Errno::ok);
  EXPECT_EQ(set("net.inet.ip.lowportmin", "700").error, Errno::opnotsupp);
  EXPECT_EQ(host.stack().network()->settings.ipv4.anonportmin, 20000u);
  EXPECT_EQ(host.stack().network()->settings.ipv4.anonportmax, 49152u);
}

TEST_F(Verbs, VariablesByNameAndPrefix) {
  EXPECT_EQ(list(ask("sysctl.get", named("net.inet.ip.ttl")), "variables").at(0).text_of("value"), "64");
  EXPECT_GT(list(ask("sysctl.get", named("net.inet.tcp")), "variables").size(), 20u);
  EXPECT_EQ(ask("sysctl.get", named("net.inet.tc")).line,
            "third level name 'tc' in 'net.inet.tc' is invalid");
  EXPECT_EQ(ask("sysctl.get", named("nosuch.x")).line, "top level name 'nosuch' in 'nosuch.x' is invalid");
  EXPECT_EQ(ask("sysctl.set", named("qnx.kern.droproot").text("value", "1")).error, Errno::opnotsupp);
  EXPECT_EQ(ask("sysctl.set", named("net.inet.icmp.drop_redirect").text("value", "0")).error, Errno::ok);
  EXPECT_EQ(ask("sysctl.set", named("net.inet.icmp.drop_redirect").text("value", "2")).error, Errno::inval);
  EXPECT_EQ(ask("sysctl.set", named("net.inet.icmp.drop_redirect").text("value", "1")).error, Errno::ok);
  const auto changed = list(ask("sysctl.set", named("net.inet.ip.ttl").text("value", "0x20")), "variables");
  EXPECT_EQ(changed.at(0).text_of("old"), "64");
  EXPECT_EQ(changed.at(0).text_of("value"), "32");
  EXPECT_EQ(host.stack().network()->settings.ipv4.ttl, 32u);
}

TEST_F(Verbs, StatisticsHoldEveryRowOfEveryLayerSummedOverShards) {
  std::set<std::string> counters, drops;
  for (const Record& p : list(ask("statistics"), "protocols")) {
    for (const Field& row : p.find("counters")->inner.fields())
      counters.insert(std::string(row.inner.text_of("name")));
    for (const Field& row : p.find("drops")->inner.fields())
      drops.insert(std::string(row.inner.text_of("name")));
  }
  for (const auto& row : tcp::Counters<Counter>::table())
    EXPECT_TRUE(counters.contains(std::string(row.name))) << row.name;
  for (const auto& row : ipv4::Ipv4Counters<Counter>::table())
    EXPECT_TRUE(counters.contains(std::string(row.name))) << row.name;
  for (const auto& row : packet::kDrops) EXPECT_TRUE(drops.contains(std::string(row.name))) << row.name;

  host.shard(0).count_drop(packet::Drop::filter_blocked);
  host.shard(1).count_drop(packet::Drop::filter_blocked);
  const Outcome filter = ask("statistics", Record{}.text("protocol", "filter"));
  EXPECT_EQ(list(filter, "protocols").at(0).find("drops")->inner.fields().at(0).inner.number_of("value"), 2u);
  EXPECT_EQ(ask("statistics", Record{}.text("protocol", "ipx")).error, Errno::protonosupport);
}

TEST_F(Verbs, SocketsOfAllShardsAreListed) {
  host.listen(wire::Port{80}, [](sim::Host::Stream&) {}, 16, 1);
  net.run_for(1ms);
  host.connect({peer.address(), wire::Port{9}}, 0);
  const auto lines = list(ask("sockets"), "sockets");
  ASSERT_EQ(lines.size(), 2u);
  std::set<std::string> states;
  for (const Record& line : lines) states.insert(std::string(line.text_of("state")));
  EXPECT_TRUE(states.contains("LISTEN"));
  for (const char* key :
       {"interfaces", "routes", "variables", "protocols", "buffers", "sockets", "neighbours"})
    EXPECT_TRUE(ask("snapshot").answer.has(key)) << key;
}

}  // namespace
}  // namespace iopkt::control
