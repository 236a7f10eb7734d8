#include "utils/nicinfo/nicinfo.hpp"

#include "utils/common/test_stack.hpp"

namespace iopkt::utils {
namespace {

TEST(Nicinfo, Display) {
  TestStack stack;
  stack.answer_from("interface.list", "interfaces.json");
  expect_golden("nicinfo.txt", run_words(nicinfo, "nicinfo", stack, {}).out);
  expect_golden("nicinfo_en0.json", run_words(nicinfo, "nicinfo", stack, {"en0"}, true).out);
}

TEST(Nicinfo, HelpAndWrongOptions) {
  TestStack stack;
  EXPECT_EQ(run_words(nicinfo, "nicinfo", stack, {"--help"}).out, "usage: nicinfo [--json] [interface ...]\n");
  const Ran wrong = run_words(nicinfo, "nicinfo", stack, {"-x"});
  EXPECT_EQ(wrong.status, 1);
  EXPECT_EQ(wrong.err, "nicinfo: unknown option -- x\nusage: nicinfo [--json] [interface ...]\n");
  EXPECT_TRUE(stack.asked.empty());
}

TEST(Nicinfo, UnknownInterface) {
  TestStack stack;
  stack.answer_from("interface.list", "interfaces.json");
  const Ran ran = run_words(nicinfo, "nicinfo", stack, {"xyz0", "wan0"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(ran.err, "nicinfo: interface xyz0 does not exist\n");
  EXPECT_TRUE(ran.out.starts_with("wan0:\n"));
}

}  // namespace
}  // namespace iopkt::utils
