#include "utils/rtsol/rtsol.hpp"

#include "utils/common/test_stack.hpp"

namespace iopkt::utils {
namespace {

unsigned waited = 0;
int rtsol_without_waiting(Io& io, Stack& stack, const Words& words) {
  waited = 0;
  return rtsol(io, stack, words, [](unsigned ms) { waited += ms; });
}
Ran run(TestStack& stack, const Words& words, bool json = false) { return run_words(rtsol_without_waiting, "rtsol", stack, words, json); }

/// A stack that has two interfaces; en0 has taken three advertisements, en1 none.
TestStack with_routers() {
  TestStack stack;
  stack.answer_from("discovery.list", "discovery.json");
  return stack;
}

TEST(Rtsol, WaitsForAnAdvertisement) {
  TestStack stack = with_routers();
  const Ran ran = run(stack, {"en0"});
  EXPECT_EQ(ran.status, 0) << ran.err;
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(stack.asked, (Words{"discovery.solicit name=en0", "discovery.list"}));
  EXPECT_EQ(waited, 0u);
}

TEST(Rtsol, GivesUpAfterThreeSolicitations) {
  TestStack stack = with_routers();
  stack.answers["discovery.solicit"].add_number("advertisements", 3);  // those of before do not count
  const Ran ran = run(stack, {"en0"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.err, "rtsol: en0: no router answers\n");
  EXPECT_EQ(waited, 13'000u);
}

TEST(Rtsol, AllInterfaces) {
  TestStack stack = with_routers();
  const Ran ran = run(stack, {"-a", "-d"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.out, "en0: routers are asked\nen1: routers are asked\nen0: a router answered\n");
  EXPECT_EQ(ran.err, "rtsol: en1: no router answers\n");
}

TEST(Rtsol, Json) {
  TestStack stack = with_routers();
  const Ran ran = run(stack, {"en0"}, true);
  EXPECT_EQ(ran.status, 0);
  const auto tree = from_json(ran.out);
  ASSERT_TRUE(tree);
  EXPECT_EQ(tree->list("interfaces")[0].text_of("interface"), "en0");
  EXPECT_EQ(tree->list("interfaces")[0].number_of("advertised"), 1u);
}

TEST(Rtsol, Mistakes) {
  for (const Words& words : {Words{}, Words{"-a", "en0"}, Words{"-x", "en0"}}) {
    TestStack stack;
    EXPECT_EQ(run(stack, words).status, 1);
    EXPECT_TRUE(stack.asked.empty());
  }
  TestStack stack;
  stack.refusals["discovery.solicit"] = {6, "interface xyz0 does not exist"};
  EXPECT_EQ(run(stack, {"xyz0"}).err, "rtsol: interface xyz0 does not exist\n");
}

}  // namespace
}  // namespace iopkt::utils
