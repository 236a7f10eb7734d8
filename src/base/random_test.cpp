#include "base/random.hpp"

#include <gtest/gtest.h>

#include <array>
#include <set>

namespace iopkt {
namespace {

TEST(SipHash, AnswersTheReferenceVectors) {
  // vectors_sip64 of the authors' reference implementation (github.com/veorq/SipHash): key 00 01 … 0f, input
  // 00 01 … of length 0 to 15. Length 15 is the worked example in appendix A of Aumasson, Bernstein:
  // "SipHash: a fast short-input PRF" (2012).
  constexpr std::array<std::uint64_t, 16> kExpected{
      0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a, 0x85676696d7fb7e2d,
      0xcf2794e0277187b7, 0x18765564cd99a68d, 0xcbc9466e58fee3ce, 0xab0200f58b01d137,
      0x93f5f5799a932462, 0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
      0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee, 0xa129ca6149be45e5};
  const HashKey key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  std::array<std::uint8_t, 16> input{};
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = static_cast<std::uint8_t>(i);
  for (std::size_t length = 0; length < kExpected.size(); ++length)
    EXPECT_EQ(siphash24(key, as_bytes(input.data(), length)), kExpected[length]) << "length " << length;
}

TEST(SipHash, DependsOnEveryByteAndOnTheKey) {
  std::array<std::uint8_t, 40> input{};
  const std::uint64_t zero = siphash24({1, 2}, as_bytes(input.data(), input.size()));
  EXPECT_NE(zero, siphash24({1, 3}, as_bytes(input.data(), input.size())));
  std::set<std::uint64_t> seen{zero};
  for (auto& byte : input) {
    byte = 1;
    EXPECT_TRUE(seen.insert(siphash24({1, 2}, as_bytes(input.data(), input.size()))).second);
    byte = 0;
  }
}

TEST(Random, SameSeedSameNumbers) {
  Random a{42}, b{42}, c{43};
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t n = a.next();
    EXPECT_EQ(n, b.next());
    differs = differs || n != c.next();
  }
  EXPECT_TRUE(differs);
}

TEST(Random, FollowsThePublishedAlgorithms) {
  // kSecond is the second number of Vigna's splitmix64.c with the seed 0, so the second word of the state;
  // the first answer of xoshiro256** is rotl(s[1] * 5, 7) * 9.
  constexpr std::uint64_t kSecond = 0x6e789e6aa1b965f4;
  const std::uint64_t product = kSecond * 5;
  EXPECT_EQ(Random{0}.next(), ((product << 7) | (product >> 57)) * 9);
}

TEST(Random, BelowCoversItsRangeEvenly) {
  Random random{1};
  std::array<int, 10> count{};
  for (int i = 0; i < 100'000; ++i) ++count.at(random.below(count.size()));
  for (const int n : count) EXPECT_NEAR(n, 10'000, 500);
  EXPECT_EQ(random.below(1), 0u);
}

TEST(Random, ChanceKeepsItsPromise) {
  Random random{2};
  int hits = 0;
  for (int i = 0; i < 100'000; ++i) {
    hits += random.chance(0.25) ? 1 : 0;
    ASSERT_FALSE(random.chance(0));
    ASSERT_TRUE(random.chance(1));
  }
  EXPECT_NEAR(hits, 25'000, 1000);
}

}  // namespace
}  // namespace iopkt
