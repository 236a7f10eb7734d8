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
