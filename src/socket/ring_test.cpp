#include "socket/ring.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace iopkt::socket {
namespace {

TEST(Ring, WritesAcrossItsEnd) {
  std::vector<std::byte> memory(16);
  const RingMemory ring{memory.data(), 16};
  const std::byte bytes[6]{std::byte{1}, std::byte{2}, std::byte{3}, std::byte{4}, std::byte{5}, std::byte{6}};
  const std::uint64_t position = (std::uint64_t{1} << 40) + 13;  // byte 13 of the ring
  ring.write(position, bytes);
  EXPECT_EQ(memory[13], std::byte{1});
  EXPECT_EQ(memory[15], std::byte{3});
  EXPECT_EQ(memory[0], std::byte{4});
  const auto spans = ring.at(position, 6);
  EXPECT_EQ(spans.first.size(), 3u);
  EXPECT_EQ(spans.second.size(), 3u);
  EXPECT_EQ(spans.second.data(), memory.data());
}

TEST(Ring, ATailThatAClientCannotHaveReached) {
  std::vector<std::byte> memory(16);
  const SendRing fresh{.memory = {memory.data(), 16}, .head = 100, .tail = 108};
  const struct {
    std::uint64_t to;
    bool good;
  } rows[] = {{108, true}, {116, true}, {117, false}, {107, false}, {99, false}, {0, false}, {~std::uint64_t{0}, false}};
  for (const auto& row : rows) {
    SendRing ring = fresh;
    EXPECT_EQ(ring.move_tail(row.to), row.good) << row.to;
    EXPECT_EQ(ring.tail, row.good ? row.to : fresh.tail);
  }
}

TEST(Ring, AHeadThatAClientCannotHaveReached) {
  std::vector<std::byte> memory(16);
  const ReceiveRing fresh{.memory = {memory.data(), 16}, .head = 100, .tail = 108};
  const struct {
    std::uint64_t to;
    bool good;
  } rows[] = {{100, true}, {108, true}, {109, false}, {99, false}, {~std::uint64_t{0}, false}};
  for (const auto& row : rows) {
    ReceiveRing ring = fresh;
    EXPECT_EQ(ring.move_head(row.to), row.good) << row.to;
    EXPECT_EQ(ring.head, row.good ? row.to : fresh.head);
  }
}

}  // namespace
}  // namespace iopkt::socket
