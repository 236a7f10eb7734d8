#include "utils/route/route.hpp"

#include <algorithm>
#include <cerrno>

#include "utils/common/test_stack.hpp"

namespace iopkt::utils {
namespace {

Ran run(TestStack& stack, const Words& words) { return run_words(route, "route", stack, words); }

Words sorted_words(const std::string& text) {
  std::stringstream rest{text};
  Words words;
  for (std::string word; rest >> word;) words.push_back(word);
  std::sort(words.begin(), words.end());
  return words;
}

TEST(Route, Destinations) {
  const struct {
    const char* word;
    DestinationKind kind;
    const char* address;
    int length;
  } cases[] = {
      {"default", DestinationKind::guess, "0.0.0.0", 0},
      {"0.0.0.0", DestinationKind::guess, "0.0.0.0", 0},
      {"128.32", DestinationKind::guess, "128.0.0.32", 32},
      {"128.32", DestinationKind::net, "128.32.0.0", 16},
      {"10", DestinationKind::net, "10.0.0.0", 8},
      {"10.1", DestinationKind::net, "10.1.0.0", 16},
      {"10.0.0.0", DestinationKind::guess, "10.0.0.0", 8},
      {"10.0.2.0", DestinationKind::guess, "10.0.2.0", 32},
      {"192.168.1.0", DestinationKind::guess, "192.168.1.0", 24},
      {"192.168.1.0", DestinationKind::host, "192.168.1.0", 32},
      {"10.0.2.7/24", DestinationKind::guess, "10.0.2.0", 24},
      {"10.2/16", DestinationKind::guess, "10.2.0.0", 16},
      {"172.16", DestinationKind::net, "172.16.0.0", 16},
      {"1.2.3.4", DestinationKind::net, "1.2.3.4", 32},
  };
  for (const auto& one : cases) {
    const auto got = parse_destination(one.word, one.kind);
    ASSERT_TRUE(got.has_value()) << one.word;
    EXPECT_EQ(got->address, one.address) << one.word;
    EXPECT_EQ(got->length, one.length) << one.word;
  }
  for (const char* bad : {"", "hello", "1.2.3.4.5", "10/33", "256", "10/-1", "10/"})
    EXPECT_FALSE(parse_destination(bad, DestinationKind::net).has_value()) << bad;
}

TEST(Route, WordsBecomeRequestsAndLines) {
  const struct {
    Words words;
    std::string asked, out;
  } cases[] = {
      {{"add", "default", "10.0.0.1"},
       "route.add gateway=10.0.0.1 destination=0.0.0.0 prefix_length=0",
       "add net default: gateway 10.0.0.1\n"},
      {{"add", "-net", "10.9", "10.0.0.1"},
       "route.add gateway=10.0.0.1 destination=10.9.0.0 prefix_length=16",
       "add net 10.9: gateway 10.0.0.1\n"},
      {{"add", "-host", "10.9", "10.1"},
       "route.add gateway=10.0.0.1 destination=10.0.0.9 prefix_length=32",
       "add host 10.9: gateway 10.1\n"},
      {{"add", "10.9.0.0", "10.0.0.1", "255.255.128.0"},
       "route.add gateway=10.0.0.1 destination=10.9.0.0 prefix_length=17",
       "add net 10.9.0.0: gateway 10.0.0.1\n"},
      {{"add", "-net", "10.9.0.0", "-netmask", "0xffff0000", "-interface", "en0", "-mtu", "1400"},
       "route.add mtu=1400 interface=en0 destination=10.9.0.0 prefix_length=16",
       "add net 10.9.0.0: gateway en0\n"},
      {{"add", "-net", "10.9", "10.0.0.1", "-cc", "reno"},
       "route.add congestion=reno gateway=10.0.0.1 destination=10.9.0.0 prefix_length=16",
       "add net 10.9: gateway 10.0.0.1\n"},
      {{"add", "192.0.2.0/24", "-blackhole"},
       "route.add blackhole=1 destination=192.0.2.0 prefix_length=24",
       "add net 192.0.2.0/24\n"},
      {{"-q", "delete", "default"}, "route.delete destination=0.0.0.0 prefix_length=0", ""},
      {{"change", "default", "10.0.0.7", "-fib", "2"},
       "route.change fib=2 gateway=10.0.0.7 destination=0.0.0.0 prefix_length=0",
       "change net default: gateway 10.0.0.7\n"},
      {{"add", "-inet6", "default", "fe80::1%en0"}, "route.add gateway=fe80::1%en0 destination=:: prefix_length=0",
       "add net default: gateway fe80::1%en0\n"},
      {{"add", "2001:DB8:1::1/48", "2001:db8::1"}, "route.add gateway=2001:db8::1 destination=2001:db8:1:: prefix_length=48",
       "add net 2001:DB8:1::1/48: gateway 2001:db8::1\n"},
      {{"add", "-inet6", "2001:db8::7", "2001:db8::1"}, "route.add gateway=2001:db8::1 destination=2001:db8::7 prefix_length=128",
       "add host 2001:db8::7: gateway 2001:db8::1\n"},
      {{"add", "-inet6", "-net", "2001:db8::7", "-interface", "en0"}, "route.add interface=en0 destination=2001:db8:: prefix_length=64",
       "add net 2001:db8::7: gateway en0\n"},
      {{"add", "-inet6", "2001:db8::7", "::1", "-prefixlen", "32"}, "route.add gateway=::1 destination=2001:db8:: prefix_length=32",
       "add net 2001:db8::7: gateway ::1\n"},
  };
  for (const auto& one : cases) {
    TestStack stack;
    const Ran ran = run(stack, one.words);
    EXPECT_EQ(ran.status, 0) << ran.err;
    // The order of arguments says nothing.
    ASSERT_EQ(stack.asked.size(), 1u);
    EXPECT_EQ(sorted_words(stack.asked[0]), sorted_words(one.asked));
    EXPECT_EQ(ran.out, one.out);
  }
}

TEST(Route, FlushOfOneFamily) {
  TestStack stack;
  run(stack, {"flush", "-inet6"});
  EXPECT_EQ(stack.asked, Words{"route.flush family=inet6"});
}

TEST(Route, DisplayOfBothFamilies) {
  TestStack stack;
  stack.answer_from("route.list", "routes6.json");
  expect_golden("route_show6.txt", run(stack, {"-n", "show"}).out);
  const std::string only = run(stack, {"show", "-inet6"}).out;
  EXPECT_EQ(only.find("Internet:"), std::string::npos) << only;
  EXPECT_NE(only.find("Internet6:"), std::string::npos) << only;
}

TEST(Route, Refusals) {
  TestStack stack;
  stack.refusals["route.add"] = {EEXIST, "File exists"};
  stack.refusals["route.delete"] = {ESRCH, "not in table"};
  Ran ran = run(stack, {"add", "default", "10.0.0.1"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.out, "add net default: gateway 10.0.0.1: File exists\n");
  EXPECT_EQ(ran.err, "route: writing to routing socket: File exists\n");
  ran = run(stack, {"delete", "default"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.out, "delete net default: not in table\n");
}

TEST(Route, NothingIsSentWithDebugOrForMistakes) {
  for (const Words& words :
       {Words{"-d", "add", "default", "10.0.0.1"}, Words{"-t", "flush"}, Words{"monitor"}, Words{"add"},
        Words{"add", "default"}, Words{"add", "default", "gw"}, Words{"frob"}, Words{"-Z"}, Words{},
        Words{"add", "-inet6", "10.0.0.0", "::1"}, Words{"add", "-inet6", "2001:db8::/129", "::1"},
        Words{"add", "2001:db8::", "::1", "-prefixlen", "129"}, Words{"add", "-inet6", "::", "::1", "-netmask", "255.0.0.0"}, Words{"add", "default", "10.0.0.1", "-mtu"}}) {
    TestStack stack;
    run(stack, words);
    EXPECT_TRUE(stack.asked.empty()) << (words.empty() ? "" : words[0]);
  }
}

TEST(Route, AChangeIsToldInJsonToo) {
  TestStack stack;
  const auto done = run_words(route, "route", stack, {"add", "-net", "10.9", "10.0.0.1"}, true);
  EXPECT_EQ(done.status, 0);
  for (const char* part : {"\"command\": \"add\"", "\"destination\": \"10.9\"", "\"gateway\": \"10.0.0.1\""})
    EXPECT_NE(done.out.find(part), std::string::npos) << done.out;
}

TEST(Route, Display) {
  TestStack stack;
  stack.answer_from("route.list", "routes.json");
  stack.answer_from("route.get", "route_get.json");
  expect_golden("route_show.txt", run(stack, {"-n", "show"}).out);
  expect_golden("route_show_spaced.txt", run(stack, {"-S", "show"}).out);
  expect_golden("route_get.txt", run(stack, {"get", "9.9.9.9"}).out);
  EXPECT_EQ(run(stack, {"-s", "get", "9.9.9.9"}).out, "10.0.2.2\n");
}

}  // namespace
}  // namespace iopkt::utils
