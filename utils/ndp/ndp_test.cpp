#include "utils/ndp/ndp.hpp"

#include <algorithm>

#include "utils/common/test_stack.hpp"

namespace iopkt::utils {
namespace {

TEST(Ndp, Display) {
  TestStack stack;
  stack.answer_from("arp.list", "neighbours6.json");
  expect_golden("ndp_a.txt", run_words(ndp, "ndp", stack, {"-an"}).out);
  expect_golden("ndp_a.json", run_words(ndp, "ndp", stack, {"-a"}, true).out);
}

TEST(Ndp, WhatRoutersSaid) {
  TestStack stack;
  stack.answer_from("discovery.list", "discovery.json");
  expect_golden("ndp_p.txt", run_words(ndp, "ndp", stack, {"-p"}).out);
  expect_golden("ndp_r.txt", run_words(ndp, "ndp", stack, {"-r"}).out);
  expect_golden("ndp_i.txt", run_words(ndp, "ndp", stack, {"-i", "en0"}).out);
  EXPECT_EQ(stack.asked, (Words{"discovery.list", "discovery.list", "discovery.list name=en0"}));
  const auto tree = from_json(run_words(ndp, "ndp", stack, {"-r"}, true).out);
  ASSERT_TRUE(tree);
  EXPECT_EQ(tree->list("routers").size(), 2u);
  EXPECT_NE(run_words(ndp, "ndp", stack, {"-i", "en0", "nud"}).err.find("sysctl"), std::string::npos);
}

int left = 0;
std::uint64_t asked_for = 0;
int ndp_thrice(Io& io, Stack& stack, const Words& words) {
  left = 2;
  return ndp(io, stack, words, [](std::uint64_t seconds) { return asked_for = seconds, left-- > 0; });
}

TEST(Ndp, AgainAndAgain) {
  TestStack stack;
  stack.answer_from("arp.list", "neighbours6.json");
  const std::string once = run_words(ndp, "ndp", stack, {"-a"}).out;
  stack.asked.clear();
  EXPECT_EQ(run_words(ndp_thrice, "ndp", stack, {"-A", "7"}).out, once + once + once);
  EXPECT_EQ(stack.asked, Words(3, "arp.list family=inet6"));
  EXPECT_EQ(asked_for, 7u);
  stack.refusals["arp.list"] = {6, "gone"};
  EXPECT_EQ(run_words(ndp_thrice, "ndp", stack, {"-A", "7"}).status, 1) << "no stack, no more lists";
}

TEST(Ndp, Times) {
  EXPECT_EQ(with_time("Neighbor\nfe80::1\nfe80::2\n", "12:00:00.000001 "), "Neighbor\n12:00:00.000001 fe80::1\n12:00:00.000001 fe80::2\n");
  EXPECT_EQ(with_time("", "12:00:00.000001 "), "");
  TestStack stack;
  stack.answer_from("arp.list", "neighbours6.json");
  const std::string plain = run_words(ndp, "ndp", stack, {"-a"}).out, timed = run_words(ndp, "ndp", stack, {"-at"}).out;
  const auto rows = static_cast<std::size_t>(std::ranges::count(plain, '\n')) - 1;
  EXPECT_EQ(timed.size(), plain.size() + rows * 16);
}

TEST(Ndp, NoEntry) {
  TestStack stack;
  const Ran ran = run_words(ndp, "ndp", stack, {"2001:DB8::7"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.out, "2001:DB8::7 (2001:db8::7) -- no entry\n");
}

TEST(Ndp, WordsBecomeRequests) {
  const std::pair<Words, std::string> cases[] = {
      {{"-s", "fe80::7%en0", "0:1:2:3:4:5"}, "arp.set address=fe80::7%en0 mac=0:1:2:3:4:5"},
      {{"-s", "2001:db8::7", "0:1:2:3:4:5", "temp", "proxy"}, "arp.set address=2001:db8::7 mac=0:1:2:3:4:5 temporary=1 proxy=1"},
      {{"-d", "fe80::7%en0"}, "arp.delete address=fe80::7%en0"},
      {{"-c"}, "arp.flush family=inet6"},
      {{"-P"}, "discovery.forget what=prefixes"},
      {{"-R"}, "discovery.forget what=routers"},
      {{"-a"}, "arp.list family=inet6"},
  };
  for (const auto& [words, asked] : cases) {
    TestStack stack;
    EXPECT_EQ(run_words(ndp, "ndp", stack, words).status, 0);
    EXPECT_EQ(stack.asked, Words{asked});
  }
}

TEST(Ndp, Mistakes) {
  for (const Words& words : {Words{}, Words{"-d"}, Words{"-s", "fe80::7%en0"}, Words{"-s", "::7", "0:1:2:3:4:5", "pub"}, Words{"10.0.0.7"},
                             Words{"-q"}, Words{"-a", "::7"}, Words{"-a", "-c"}, Words{"-p", "-r"}, Words{"-I"}, Words{"-H"}, Words{"-A", "0"}, Words{"-A", "x"}, Words{"-A", "1", "-c"}, Words{"-A", "1", "::7"}, Words{"-i", "en0", "-r"}, Words{"-f", "/nonexistent"}}) {
    TestStack stack;
    EXPECT_EQ(run_words(ndp, "ndp", stack, words).status, 1);
    EXPECT_TRUE(stack.asked.empty());
  }
}

}  // namespace
}  // namespace iopkt::utils
