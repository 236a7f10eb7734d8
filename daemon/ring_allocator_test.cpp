// Ring blocks never overlap, come back whole, and no more than the bound stays warm.
#include "ring_allocator.hpp"

#include <gtest/gtest.h>

#include <map>

#include "base/random.hpp"

namespace iopkt::daemon {
namespace {

constexpr std::size_t kKiB = 1024, kMiB = 1024 * kKiB;

struct Punched {
  std::size_t bytes = 0;
  RingAllocator::Punch call() {
    return [this](std::size_t, std::size_t size) { bytes += size; };
  }
};

TEST(RingAllocator, BlocksNeverOverlapAndAllComesBack) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Random random{seed};
    Punched punched;
    const std::size_t begin = 5 * ipc::kPage, end = begin + 8 * kMiB - 3 * ipc::kPage;
    RingAllocator rings{begin, end, kMiB, punched.call()};
    std::map<std::size_t, std::size_t> held;
    for (int step = 0; step < 4000; ++step) {
      if (held.empty() || random.chance(0.55)) {
        const std::size_t size = ipc::kRingSizeMin << random.below(9);
        const auto at = rings.take(size);
        if (!at) continue;
        ASSERT_EQ(*at % ipc::kPage, 0u);
        ASSERT_GE(*at, begin);
        ASSERT_LE(*at + size, end);
        const auto next = held.lower_bound(*at);
        if (next != held.end()) {
          ASSERT_LE(*at + size, next->first);
        }
        if (next != held.begin()) {
          const auto previous = std::prev(next);
          ASSERT_LE(previous->first + previous->second, *at);
        }
        held[*at] = size;
      } else {
        auto which = held.begin();
        std::advance(which, static_cast<long>(random.below(held.size())));
        rings.give(which->first, which->second);
        held.erase(which);
      }
      while (rings.trim(64 * kKiB)) {
      }
      ASSERT_LE(rings.warm(), kMiB);
    }
    for (const auto& [at, size] : held) rings.give(at, size);
    EXPECT_EQ(rings.used(), 0u);
    // Everything merges again: the largest block that ever fitted fits.
    EXPECT_TRUE(rings.take(4 * kMiB));
  }
}

TEST(RingAllocator, WarmBlocksAreUsedAgainWithoutPunching) {
  Punched punched;
  RingAllocator rings{0, kMiB, 256 * kKiB, punched.call()};
  const auto first = rings.take(64 * kKiB);
  ASSERT_TRUE(first);
  rings.give(*first, 64 * kKiB);
  EXPECT_EQ(rings.take(64 * kKiB), first);
  EXPECT_EQ(punched.bytes, 0u);
}

TEST(RingAllocator, FullAnswersNothingAndWarmBlocksMakeRoomForOtherSizes) {
  Punched punched;
  RingAllocator rings{0, 256 * kKiB, 256 * kKiB, punched.call()};
  std::vector<std::size_t> small;
  while (const auto at = rings.take(ipc::kRingSizeMin)) small.push_back(*at);
  EXPECT_EQ(small.size(), 64u);
  EXPECT_FALSE(rings.take(ipc::kRingSizeMin));
  for (const std::size_t at : small) rings.give(at, ipc::kRingSizeMin);
  EXPECT_EQ(rings.warm(), 256 * kKiB);
  EXPECT_TRUE(rings.take(256 * kKiB));
  EXPECT_EQ(punched.bytes, 256 * kKiB);
}

TEST(RingAllocator, TrimKeepsToItsBudget) {
  Punched punched;
  RingAllocator rings{0, kMiB, 0, punched.call()};
  std::vector<std::size_t> blocks;
  for (int i = 0; i < 16; ++i) blocks.push_back(*rings.take(64 * kKiB));
  for (const std::size_t at : blocks) rings.give(at, 64 * kKiB);
  EXPECT_TRUE(rings.trim(128 * kKiB));
  EXPECT_EQ(punched.bytes, 128 * kKiB);
  while (rings.trim(128 * kKiB)) {
  }
  EXPECT_EQ(rings.warm(), 0u);
}

}  // namespace
}  // namespace iopkt::daemon
