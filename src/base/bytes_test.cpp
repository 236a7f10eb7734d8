#include "base/bytes.hpp"

#include <gtest/gtest.h>

#include <array>

namespace iopkt {
namespace {

TEST(Bytes, LoadsAreBigEndianAtAnyOffset) {
  std::array<std::byte, 12> memory{};
  for (std::size_t i = 0; i < memory.size(); ++i) memory[i] = static_cast<std::byte>(i + 1);
  const Bytes bytes{memory};
  EXPECT_EQ(load_u8(bytes, 11), 12);
  EXPECT_EQ(load_be16(bytes, 1), 0x0203);
  EXPECT_EQ(load_be32(bytes, 3), 0x04050607u);
  EXPECT_EQ(load_be64(bytes, 4), 0x05060708090a0b0cu);
}

TEST(Bytes, StoresWriteTheirBytesAndNoOther) {
  std::array<std::byte, 20> memory{};
  const MutableBytes bytes{memory};
  store_u8(bytes, 1, 0x11);
  store_be16(bytes, 3, 0x2122);
  store_be32(bytes, 6, 0x31323334);
  store_be64(bytes, 11, 0x4142434445464748);
  constexpr std::array<int, 20> kExpected{0, 0x11, 0,    0x21, 0x22, 0,    0x31, 0x32, 0x33, 0x34,
                                          0, 0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0};
  for (std::size_t i = 0; i < memory.size(); ++i)
    EXPECT_EQ(std::to_integer<int>(memory[i]), kExpected[i]) << i;
}

using BytesDeathTest = ::testing::Test;

TEST(BytesDeathTest, ReachingOverTheEndIsABrokenInvariant) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  std::array<std::byte, 4> memory{};
  const MutableBytes bytes{memory};
  EXPECT_DEATH(load_u8(bytes, 4), "broken invariant");
  EXPECT_DEATH(load_be16(bytes, 3), "broken invariant");
  EXPECT_DEATH(load_be32(bytes, 1), "broken invariant");
  EXPECT_DEATH(store_be64(bytes, 0, 1), "broken invariant");
}

}  // namespace
}  // namespace iopkt
