#include "utils/netstat/netstat.hpp"

#include "utils/common/test_stack.hpp"

namespace iopkt::utils {
namespace {

class Netstat : public ::testing::Test {
 protected:
  void SetUp() override {
    stack.answer_from("interface.list", "interfaces.json");
    stack.answer_from("route.list", "routes.json");
    stack.answer_from("arp.list", "neighbours.json");
    stack.answer_from("sockets", "sockets.json");
    stack.answer_from("statistics", "statistics.json");
    stack.answer_from("buffers", "buffers.json");
    stack.answer_from("group.list", "groups.json");
  }
  Ran run(const Words& words, bool json = false) { return run_words(netstat, "netstat", stack, words, json); }
  TestStack stack;
};

TEST_F(Netstat, Display) {
  const struct {
    Words words;
    const char* file;
  } cases[] = {
      {{"-n"}, "netstat.txt"},          {{"-an"}, "netstat_a.txt"}, {{"-Aan"}, "netstat_A.txt"},
      {{"-anT"}, "netstat_T.txt"},      {{"-rn"}, "netstat_r.txt"}, {{"-rnL"}, "netstat_rL.txt"},
      {{"-F", "a"}, "netstat_F.txt"},   {{"-i"}, "netstat_i.txt"},  {{"-ibd"}, "netstat_ibd.txt"},
      {{"-I", "en0"}, "netstat_I.txt"}, {{"-s"}, "netstat_s.txt"},  {{"-ss"}, "netstat_ss.txt"},
      {{"-sv"}, "netstat_sv.txt"},      {{"-m"}, "netstat_m.txt"},
      {{"-g"}, "netstat_g.txt"},
  };
  for (const auto& one : cases) {
    const Ran ran = run(one.words);
    EXPECT_EQ(ran.status, 0) << ran.err;
    expect_golden(one.file, ran.out);
  }
  expect_golden("netstat_a.json", run({"-an"}, true).out);
  expect_golden("netstat_s.json", run({"-s"}, true).out);
}

TEST_F(Netstat, BothFamilies) {
  stack.answer_from("interface.list", "interfaces6.json");
  stack.answer_from("route.list", "routes6.json");
  stack.answer_from("sockets", "sockets6.json");
  expect_golden("netstat_a6.txt", run({"-anT"}).out);
  expect_golden("netstat_i6.txt", run({"-inT"}).out);
  expect_golden("netstat_r6.txt", run({"-rnL"}).out);
  const std::string only = run({"-anf", "inet6"}).out;
  EXPECT_EQ(only.find("Active Internet connections"), std::string::npos) << only;
  EXPECT_EQ(run({"-rnf", "inet6"}).out.find("Internet:"), std::string::npos);
  EXPECT_EQ(stack.asked.back(), "arp.list family=inet6");
  run({"-rn"});
  EXPECT_EQ(stack.asked.back(), "arp.list family=inet6") << "where there are routes of IPv6";
}

TEST_F(Netstat, RatesAreDifferences) {
  const NetstatFlags flags{.interface = "en0"};
  const Node& before = stack.answers["interface.list"];
  Node now = before;
  // en0 has received 10 packets more, lo0 1.
  for (auto [at, more] : {std::pair{1, 10}, std::pair{0, 1}})
    for (Node& field : now.inner[0].inner[static_cast<std::size_t>(at)].inner)
      if (field.key == "counters")
        for (Node& counter : field.inner)
          if (counter.key == "rx.packets") counter.number += static_cast<std::uint64_t>(more);
  expect_golden("netstat_w.txt",
                show_rate_heading(flags) + show_rate(now, nullptr, flags) + show_rate(now, &before, flags));
}

TEST_F(Netstat, WhatIsAsked) {
  run({"-p", "tcp"});
  EXPECT_EQ(stack.asked.back(), "statistics protocol=tcp");
  run({"-rLF", "3"});
  EXPECT_EQ(stack.asked.back(), "route.list fib=3");
  run({"-f", "arp"});
  EXPECT_EQ(stack.asked.back(), "statistics protocol=arp");
}

TEST_F(Netstat, Mistakes) {
  for (const Words& words : {Words{"-f", "unix"}, Words{"-f", "ns"}, Words{"-F", "16"},
                             Words{"-w", "0"}, Words{"-Z"}, Words{"word"}, Words{"-p"}, Words{"-P", "1"}}) {
    const Ran ran = run(words);
    EXPECT_EQ(ran.status, 1) << words[0];
    EXPECT_FALSE(ran.err.empty()) << words[0];
    EXPECT_EQ(ran.out, "") << words[0];
  }
}

}  // namespace
}  // namespace iopkt::utils
