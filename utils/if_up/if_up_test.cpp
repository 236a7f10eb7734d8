#include "utils/if_up/if_up.hpp"

#include "utils/common/test_stack.hpp"

namespace iopkt::utils {
namespace {

/// en0: up, with an address and a carrier. wan0: down, without either. See tests/golden/interfaces.json.
TEST(IfUp, WhatCounts) {
  const struct {
    Words words;
    int status;
  } cases[] = {
      {{"en0"}, 0},
      {{"wan0"}, 1},
      {{"nope"}, 1},
      {{"-p", "wan0"}, 0},
      {{"-p", "nope"}, 1},
      {{"-l", "en0"}, 0},
      {{"-pl", "wan0"}, 1},
      {{"en0", "wan0"}, 0},
      {{"-a", "en0", "wan0"}, 1},
      {{"-ap", "en0", "wan0"}, 0},
      {{"-a", "lo0", "en0"}, 0},
  };
  for (Words words : {Words{"-m", "0"}, Words{"-s", "0"}, Words{"-s5", "-m0"}}) {
    for (const auto& one : cases) {
      Words all = words;
      all.insert(all.end(), {"-r", "2"});
      all.insert(all.end(), one.words.begin(), one.words.end());
      TestStack stack;
      stack.answer_from("interface.list", "interfaces.json");
      EXPECT_EQ(run_words(if_up, "if_up", stack, all).status, one.status) << one.words.back();
      EXPECT_EQ(stack.asked.size(), one.status == 0 ? 1u : 3u);
    }
  }
}

TEST(IfUp, AStackThatDoesNotRunIsWaitedForAndNamed) {
  TestStack stack;
  stack.refusals["interface.list"] = {2, "no stack is running at /dev/socket"};
  const Ran ran = run_words(if_up, "if_up", stack, {"-m0", "-r1", "en0"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.err, "if_up: no stack is running at /dev/socket\n");
  EXPECT_EQ(stack.asked.size(), 2u);
}

TEST(IfUp, Mistakes) {
  for (const Words& words :
       {Words{}, Words{"-m"}, Words{"-m", "x", "en0"}, Words{"-6", "en0"}, Words{"-q", "en0"}}) {
    TestStack stack;
    EXPECT_NE(run_words(if_up, "if_up", stack, words).status, 0);
    EXPECT_TRUE(stack.asked.empty());
  }
}

}  // namespace
}  // namespace iopkt::utils
