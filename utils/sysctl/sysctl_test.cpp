#include "utils/sysctl/sysctl.hpp"

#include "utils/common/test_stack.hpp"

namespace iopkt::utils {
namespace {

class Sysctl : public ::testing::Test {
 protected:
  void SetUp() override { stack.answer_from("sysctl.get", "variables.json"); }
  Ran run(const Words& words, bool json = false) { return run_words(sysctl, "sysctl", stack, words, json); }
  TestStack stack;
};

TEST_F(Sysctl, Display) {
  const struct {
    Words words;
    const char* file;
  } cases[] = {
      {{"-a"}, "sysctl_a.txt"},          {{"-ae"}, "sysctl_ae.txt"}, {{"-an"}, "sysctl_an.txt"},
      {{"-ad"}, "sysctl_ad.txt"},        {{"-M"}, "sysctl_M.txt"},   {{"-x", "net"}, "sysctl_x.txt"},
      {{"-xx", "net"}, "sysctl_xx.txt"}, {{"-A"}, "sysctl_A.txt"},   {{"-An"}, "sysctl_An.txt"},
  };
  for (const auto& one : cases) {
    const Ran ran = run(one.words);
    EXPECT_EQ(ran.status, 0) << ran.err;
    expect_golden(one.file, ran.out);
  }
  expect_golden("sysctl_a.json", run({"-a"}, true).out);
  expect_golden("sysctl_A.json", run({"-A"}, true).out);
}

TEST_F(Sysctl, RawIsTheValueItself) {
  Node ttl;
  ttl.add_text("name", "net.inet.ip.ttl").add_text("value", "64").add_text("type", "int");
  EXPECT_EQ(show_variable(ttl, {.raw = true}), std::string("\x40\0\0\0", 4));
}

TEST_F(Sysctl, Setting) {
  Node& changed = stack.answers["sysctl.set"].add_list("variables").inner.emplace_back();
  changed.add_text("name", "net.inet.ip.ttl").add_text("old", "64").add_text("value", "32");
  EXPECT_EQ(run({"-w", "net.inet.ip.ttl=32"}).out, "net.inet.ip.ttl: 64 -> 32\n");
  EXPECT_EQ(stack.asked.back(), "sysctl.set name=net.inet.ip.ttl value=32");
  EXPECT_EQ(run({"-nw", "net.inet.ip.ttl = 32"}).out, "64 -> 32\n");
  EXPECT_EQ(stack.asked.back(), "sysctl.set name=net.inet.ip.ttl value=32");
  EXPECT_EQ(run({"-qw", "net.inet.ip.ttl=32"}).out, "");
  stack.asked.clear();
  EXPECT_EQ(run({"net.inet.ip.ttl=32"}).status, 1);
  EXPECT_EQ(run({"-w", "net.inet.ip.ttl"}).status, 1);
  EXPECT_TRUE(stack.asked.empty());
}

TEST_F(Sysctl, AllAreTriedThoughOneFails) {
  stack.refusals["sysctl.set"] = {22, "net.inet.ip.ttl: 300 is not in 1 to 255"};
  const Ran ran = run({"-w", "net.inet.ip.ttl=300", "net.inet.ip.ttl=301"});
  EXPECT_EQ(ran.status, 1);
  EXPECT_EQ(stack.asked.size(), 2u);
}

TEST(SysctlFile, Lines) {
  EXPECT_EQ(read_settings("# no\n\n  a.b = 1 \r\nc.d=\\\n2\n  # indented\ne"),
            (Words{"a.b = 1", "c.d=2", "e"}));
  EXPECT_TRUE(read_settings("").empty());
}

}  // namespace
}  // namespace iopkt::utils
