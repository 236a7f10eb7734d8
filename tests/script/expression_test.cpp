#include "tests/script/expression.hpp"

#include <gtest/gtest.h>

#include "tests/script/syntax.hpp"

namespace iopkt::script {
namespace {

Names names() {
  Names n;
  n.value = [](const std::string& name) -> std::optional<std::int64_t> { return name == "ten" ? std::optional<std::int64_t>(10) : std::nullopt; };
  n.call = [](const std::string& f, const std::string& text) -> std::optional<std::int64_t> {
    return f == "length" ? std::optional(static_cast<std::int64_t>(text.size())) : std::nullopt;
  };
  return n;
}
std::int64_t value(const std::string& text) { return evaluate(text, names()); }
std::string fault(const std::string& code) {
  try {
    check_assertions(code, 7, names());
  } catch (const Fault& f) {
    return std::to_string(f.line) + ": " + f.what();
  }
  return "none";
}

TEST(ScriptExpression, PrecedenceIsPythons) {
  EXPECT_EQ(value("1 + 2 * 3"), 7);
  EXPECT_EQ(value("(1 + 2) * 3"), 9);
  EXPECT_EQ(value("7 // 2 - 7 % 4"), 0);
  EXPECT_EQ(value("1 << 4 | 3"), 19);
  EXPECT_EQ(value("0xff & 0x0f ^ 1"), 14);
  EXPECT_EQ(value("-3 + 5"), 2);
  EXPECT_EQ(value("not 1 == 2 and 3 > 2"), 1);
  EXPECT_EQ(value("0 or 5"), 5);
  EXPECT_EQ(value("1 < 2 < 3"), 1);
  EXPECT_EQ(value("3 > 2 > 2"), 0);
  EXPECT_EQ(value("8 >> 1 >= 4"), 1);
  EXPECT_EQ(value("ten * ten == 100"), 1);
  EXPECT_EQ(value("length(\"four\")"), 4);
}

TEST(ScriptExpression, NothingOverflowsOrRecursesForEver) {
  EXPECT_EQ(value("0x7fffffffffffffff + 1"), INT64_MIN);
  EXPECT_EQ(value("-0x8000000000000000 / -1"), INT64_MIN);
  EXPECT_EQ(fault("assert " + std::string(1000, '(')).substr(0, 25), "7: in the assertion \"((((");
  EXPECT_NE(fault("assert 1 / 0").find("a division by 0"), std::string::npos);
  EXPECT_NE(fault("assert 1 << 64").find("a shift by 64"), std::string::npos);
}

TEST(ScriptExpression, AnAssertionSaysWhatItSaw) {
  EXPECT_EQ(fault("assert ten == 10; assert 1 < 2"), "none");
  EXPECT_EQ(fault("\n assert ten == 10 # fine\n assert ten == 11\n"), "9: assertion does not hold: ten == 11 (ten is 10)");
  EXPECT_EQ(fault("print(ten)"), "7: expected \"assert\": print(ten)");
  EXPECT_NE(fault("assert eleven").find("unknown name: eleven"), std::string::npos);
  EXPECT_NE(fault("assert width(\"x\")").find("unknown name: width"), std::string::npos);
  EXPECT_NE(fault("assert 1 2").find("unexpected 2"), std::string::npos);
}

}  // namespace
}  // namespace iopkt::script
