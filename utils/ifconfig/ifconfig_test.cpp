#include "utils/ifconfig/ifconfig.hpp"

#include "utils/common/test_stack.hpp"

namespace iopkt::utils {
namespace {

Ran run(TestStack& stack, const Words& words, bool json = false) {
  return run_words(ifconfig, "ifconfig", stack, words, json);
}

TEST(Ifconfig, Display) {
  const struct {
    Words words;
    const char* file;
  } cases[] = {
      {{"-a"}, "ifconfig_a.txt"},           {{}, "ifconfig_a.txt"},
      {{"-av"}, "ifconfig_av.txt"},         {{"-a", "-vh"}, "ifconfig_avh.txt"},
      {{"-am", "inet"}, "ifconfig_am.txt"}, {{"-au"}, "ifconfig_au.txt"},
  };
  for (const auto& one : cases) {
    TestStack stack;
    stack.answer_from("interface.list", "interfaces.json");
    const Ran ran = run(stack, one.words);
    EXPECT_EQ(ran.status, 0) << ran.err;
    expect_golden(one.file, ran.out);
  }
}

TEST(Ifconfig, ListsNames) {
  TestStack stack;
  stack.answer_from("interface.list", "interfaces.json");
  EXPECT_EQ(run(stack, {"-l"}).out, "lo0 en0 wan0\n");
  EXPECT_EQ(run(stack, {"-lb"}).out, "en0 wan0\n");
  EXPECT_EQ(run(stack, {"-ld"}).out, "wan0\n");
  EXPECT_EQ(run(stack, {"-lu"}).out, "lo0 en0\n");
  EXPECT_EQ(run(stack, {"-ls"}).out, "lo0 en0\n");
}

TEST(Ifconfig, JsonIsTheStacksAnswer) {
  TestStack stack;
  stack.answer_from("interface.list", "interfaces.json");
  expect_golden("ifconfig_a.json", run(stack, {"-a"}, true).out);
}

TEST(Ifconfig, CarrierIsTheStatus) {
  for (const bool carrier : {false, true}) {
    TestStack stack;
    stack.answers["interface.list"]
        .add_list("interfaces")
        .inner.emplace_back()
        .add_boolean("carrier", carrier);
    EXPECT_EQ(run(stack, {"-s", "en0"}).status, carrier ? 0 : 1);
  }
}

TEST(Ifconfig, WordsBecomeRequests) {
  const struct {
    Words words;
    std::vector<std::string> asked;
  } cases[] = {
      {{"en0", "10.184"}, {"address.add name=en0 address=10.0.0.184"}},
      {{"en0", "inet", "10.0.0.1", "netmask", "255.255.0.0", "up"},
       {"interface.set name=en0 up=1", "address.add name=en0 address=10.0.0.1 netmask=255.255.0.0"}},
      {{"en0", "10.0.0.1/24", "mtu", "1400", "alias"},
       {"interface.set name=en0 mtu=1400", "address.add name=en0 address=10.0.0.1 prefix_length=24 alias=1"}},
      {{"en0", "alias", "10.0.0.2", "netmask", "0xffffffff", "broadcast", "10.0.0.255"},
       {"address.add name=en0 address=10.0.0.2 netmask=0xffffffff broadcast=10.0.0.255 alias=1"}},
      {{"en0", "-alias", "10.0.0.2"}, {"address.delete name=en0 address=10.0.0.2"}},
      {{"en0", "10.0.0.2", "delete"}, {"address.delete name=en0 address=10.0.0.2"}},
      {{"en0", "delete"}, {"address.delete name=en0"}},
      {{"tun0", "10.0.0.1", "10.0.0.2", "prefixlen", "32"},
       {"address.add name=tun0 address=10.0.0.1 peer=10.0.0.2 prefix_length=32"}},
      {{"en0", "down", "-arp", "link0", "-link2", "debug"},
       {"interface.set name=en0 up=0", "interface.set name=en0 arp=0", "interface.set name=en0 link0=1",
        "interface.set name=en0 link2=0", "interface.set name=en0 debug=1"}},
      {{"wm0", "ip4csum", "tcp4csum", "-udp4csum-tx"},
       {"interface.set name=wm0 capability_on=ip4csum", "interface.set name=wm0 capability_on=tcp4csum",
        "interface.set name=wm0 capability_off=udp4csum-tx"}},
      {{"lo1", "create", "127.1.0.1/8", "up"},
       {"interface.create name=lo1", "interface.set name=lo1 up=1",
        "address.add name=lo1 address=127.1.0.1 prefix_length=8"}},
      {{"en0", "destroy"}, {"interface.destroy name=en0"}},
      {{"en0", "inet6", "2001:DB8::1"}, {"address.add name=en0 address=2001:db8::1"}},
      {{"en0", "inet6", "alias", "fe80::1%en0", "prefixlen", "64"},
       {"address.add name=en0 address=fe80::1%en0 prefix_length=64 alias=1"}},
      {{"en0", "inet6", "2001:db8::1", "anycast", "-deprecated", "-tentative", "pltime", "600", "vltime", "infty"},
       {"address.add name=en0 address=2001:db8::1 flags_on=anycast flags_off=deprecated,tentative pltime=600 vltime=4294967295"}},
      {{"en0", "10.0.0.5/24", "alias", "tentative"},
       {"address.add name=en0 address=10.0.0.5 prefix_length=24 alias=1 flags_on=tentative"}},
      {{"en0", "autoip"}, {"interface.set name=en0 autoip=1"}},
      {{"en0", "-autoip"}, {"interface.set name=en0 autoip=0"}},
      {{"en0", "inet6", "2001:db8::1/48", "-alias"}, {"address.delete name=en0 family=inet6 address=2001:db8::1"}},
      {{"vlan77", "inet6", "alias", "2a03::E1/64", "up"},
       {"interface.set name=vlan77 up=1", "address.add name=vlan77 address=2a03::e1 prefix_length=64 alias=1"}},
      {{"en0", "lladdr", "02:00:00:00:00:01", "metric", "3"},
       {"interface.set name=en0 mac=02:00:00:00:00:01", "interface.set name=en0 metric=3"}},
  };
  for (const auto& one : cases) {
    TestStack stack;
    const Ran ran = run(stack, one.words);
    EXPECT_EQ(ran.status, 0) << ran.err;
    EXPECT_EQ(ran.out + ran.err, "");
    EXPECT_EQ(stack.asked, one.asked);
  }
}

TEST(Ifconfig, AMaskAloneChangesTheAddressThatIsThere) {
  TestStack stack;
  stack.answer_from("interface.list", "interfaces.json");
  stack.answers["interface.list"].inner[0].inner.erase(
      stack.answers["interface.list"].inner[0].inner.begin());
  EXPECT_EQ(run(stack, {"en0", "netmask", "0xffff0000"}).status, 0);
  EXPECT_EQ(stack.asked.back(), "address.add name=en0 address=10.0.2.15 netmask=0xffff0000");
}

TEST(Ifconfig, TheLowHalfOfAnAddressFromTheLinkAddress) {
  TestStack stack;
  stack.answer_from("interface.list", "interfaces.json");
  stack.answers["interface.list"].inner[0].inner.erase(stack.answers["interface.list"].inner[0].inner.begin());
  EXPECT_EQ(run(stack, {"en0", "inet6", "2001:db8::/64", "eui64"}).status, 0);
  EXPECT_EQ(stack.asked.back(), "address.add name=en0 address=2001:db8::201:2ff:fec5:10d4 prefix_length=64");
  EXPECT_EQ(run(stack, {"en0", "inet6", "2001:db8::1", "eui64"}).err,
            "ifconfig: 2001:db8::1: eui64 fills in the low 64 bits, which are not 0\n");
}

TEST(Ifconfig, DisplayOfBothFamilies) {
  TestStack stack;
  stack.answer_from("interface.list", "interfaces6.json");
  expect_golden("ifconfig_a6.txt", run(stack, {"-a"}).out);
  expect_golden("ifconfig_aL6.txt", run(stack, {"-aL", "inet6"}).out);
  EXPECT_EQ(run(stack, {"-a", "inet6"}).out.find("inet "), std::string::npos);
  EXPECT_EQ(run(stack, {"en0", "inet"}).out.find("inet6"), std::string::npos);
}

TEST(Ifconfig, Mistakes) {
  const struct {
    Words words;
    std::string err;
  } cases[] = {
      {{"en0", "10.0.0.256"}, "ifconfig: 10.0.0.256: bad value\n"},
      {{"en0", "10.0.0.1/33"}, "ifconfig: 10.0.0.1/33: bad value\n"},
      {{"en0", "10.0.0.1", "10.0.0.2", "10.0.0.3"}, "ifconfig: 10.0.0.3: bad value\n"},
      {{"en0", "mtu"}, "ifconfig: 'mtu' requires argument\n"},
      {{"en0", "mtu", "many"}, "ifconfig: many: bad value\n"},
      {{"en0", "vlan", "5"}, "ifconfig: vlan: not built yet\n"},
      {{"en0", "inet6", "10.0.0.1"}, "ifconfig: 10.0.0.1: bad value\n"},
      {{"en0", "inet6", "2001:db8::1/129"}, "ifconfig: 2001:db8::1/129: bad value\n"},
      {{"en0", "inet6", "2001:db8::1", "netmask", "255.0.0.0"}, "ifconfig: netmask, broadcast: not of inet6\n"},
      {{"en0", "inet6", "delete"}, "ifconfig: inet6: no address given\n"},
      {{"en0", "10.0.0.1", "anycast"}, "ifconfig: anycast: bad value\n"},
      {{"en0", "10.0.0.1", "pltime", "5"}, "ifconfig: pltime: only of inet6\n"},
      {{"en0", "inet6", "2001:db8::1", "vltime", "soon"}, "ifconfig: soon: bad value\n"},
      {{"en0", "inet6", "deprecated"}, "ifconfig: inet6: no address given\n"},
      {{"en0", "2001:db8::1"}, "ifconfig: 2001:db8::1: bad value\n"},
      {{"en0", "iso", "49"}, "ifconfig: iso: not built yet\n"},
      {{"en0", "ssid", "home"}, "ifconfig: ssid: not built yet\n"},
  };
  for (const auto& one : cases) {
    TestStack stack;
    const Ran ran = run(stack, one.words);
    EXPECT_EQ(ran.status, 1);
    EXPECT_EQ(ran.err, one.err);
    EXPECT_TRUE(stack.asked.empty());
  }
}

TEST(Ifconfig, ZeroShowsAndZeroesNoMoreThanWhatIsShown) {
  TestStack stack;
  stack.answer_from("interface.list", "interfaces.json");
  const Ran ran = run(stack, {"-az", "-d"});  // wan0 is the one that is down
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(stack.asked, (std::vector<std::string>{"interface.list", "interface.zero name=wan0"}));
  EXPECT_NE(ran.out.find("\tinput: "), std::string::npos) << ran.out;
}

TEST(Ifconfig, Help) {
  TestStack stack;
  const Ran ran = run(stack, {"--help"});
  EXPECT_EQ(ran.status, 0);
  EXPECT_TRUE(ran.out.starts_with("usage: ifconfig"));
  EXPECT_EQ(ran.err, "");
  EXPECT_TRUE(stack.asked.empty());
}

TEST(Ifconfig, TheStacksRefusalIsPrintedAndEndsTheCommand) {
  TestStack stack;
  stack.refusals["interface.list"] = {6, "interface xyz0 does not exist"};
  EXPECT_EQ(run(stack, {"xyz0"}).err, "ifconfig: interface xyz0 does not exist\n");
  stack.refusals["interface.set"] = {1, {}};
  stack.asked.clear();
  const Ran ran = run(stack, {"en0", "up", "10.0.0.1"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.err, "ifconfig: Operation not permitted\n");
  EXPECT_EQ(stack.asked.size(), 1u);
}

TEST(Ifconfig, UsageForWhatMakesNoSense) {
  for (const Words& words : {Words{"-X"}, Words{"-al"}, Words{"-lz"}, Words{"-z", "en0", "up"}, Words{"-s"}, Words{"-C", "en0"}}) {
    TestStack stack;
    const Ran ran = run(stack, words);
    EXPECT_EQ(ran.status, 1);
    EXPECT_NE(ran.err.find("usage: ifconfig"), std::string::npos);
    EXPECT_TRUE(stack.asked.empty());
  }
}

}  // namespace
}  // namespace iopkt::utils
