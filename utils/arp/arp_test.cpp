#include "utils/arp/arp.hpp"

#include "utils/common/test_stack.hpp"

namespace iopkt::utils {
namespace {

TEST(Arp, Display) {
  TestStack stack;
  stack.answer_from("arp.list", "neighbours.json");
  expect_golden("arp_a.txt", run_words(arp, "arp", stack, {"-an"}).out);
  expect_golden("arp_a.json", run_words(arp, "arp", stack, {"-a"}, true).out);
}

TEST(Arp, NoEntry) {
  TestStack stack;
  const Ran ran = run_words(arp, "arp", stack, {"10.7"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.out, "10.7 (10.0.0.7) -- no entry\n");
}

TEST(Arp, WordsBecomeRequests) {
  const std::pair<Words, std::string> cases[] = {
      {{"-s", "10.0.0.7", "0:1:2:3:4:5"}, "arp.set address=10.0.0.7 mac=0:1:2:3:4:5"},
      {{"-s", "10.0.0.7", "0:1:2:3:4:5", "temp"}, "arp.set address=10.0.0.7 mac=0:1:2:3:4:5 temporary=1"},
      {{"-s", "10.0.0.7", "0:1:2:3:4:5", "pub", "proxy"},
       "arp.set address=10.0.0.7 mac=0:1:2:3:4:5 published=1 proxy=1"},
      {{"-d", "10.0.0.7"}, "arp.delete address=10.0.0.7"},
      {{"-d", "-a"}, "arp.flush"},
  };
  for (const auto& [words, asked] : cases) {
    TestStack stack;
    EXPECT_EQ(run_words(arp, "arp", stack, words).status, 0);
    EXPECT_EQ(stack.asked, Words{asked});
  }
}

TEST(Arp, Mistakes) {
  for (const Words& words :
       {Words{}, Words{"-d"}, Words{"-d", "10.0.0.7", "pub"}, Words{"-s", "10.0.0.7"}, Words{"-s", "10.0.0.7", "0:1:2:3:4:5", "proxy"},
        Words{"host"}, Words{"-q"}, Words{"-a", "10.0.0.7"}, Words{"-f", "/nonexistent"}}) {
    TestStack stack;
    EXPECT_EQ(run_words(arp, "arp", stack, words).status, 1);
    EXPECT_TRUE(stack.asked.empty());
  }
}

}  // namespace
}  // namespace iopkt::utils
