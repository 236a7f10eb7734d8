#include "base/counted.hpp"

#include <gtest/gtest.h>

#include <thread>
#include <utility>
#include <vector>

namespace iopkt {
namespace {

struct Thing : Counted<Thing> {
  explicit Thing(int& its_ends) : ends(its_ends) {}
  ~Thing() { ++ends; }
  int& ends;
};

TEST(Counted, EndsWithItsLastOwner) {
  int ends = 0;
  CountedPtr<Thing> first = make_counted<Thing>(ends);
  {
    const CountedPtr<Thing> second = first;
    EXPECT_EQ(second, first);
    CountedPtr<Thing> third{second.get()};
    const CountedPtr<Thing>& itself = third;
    third = itself;
    first = nullptr;
    EXPECT_FALSE(first);
    first = std::move(third);
    EXPECT_EQ(third, nullptr);
  }
  EXPECT_EQ(ends, 0);
  first.reset();
  EXPECT_EQ(ends, 1);
}

TEST(Counted, MayBeConstant) {
  int ends = 0;
  CountedPtr<const Thing> one = make_counted<const Thing>(ends);
  one = make_counted<const Thing>(ends);
  EXPECT_EQ(ends, 1);
}

TEST(Counted, HasOwnersOnSeveralThreads) {
  int ends = 0;
  {
    const CountedPtr<Thing> shared = make_counted<Thing>(ends);
    std::vector<std::thread> threads;
    for (int t = 0; t < 3; ++t)
      threads.emplace_back([&shared] {
        for (int i = 0; i < 10'000; ++i) CountedPtr<Thing>{shared}.reset();
      });
    for (std::thread& one : threads) one.join();
    EXPECT_EQ(ends, 0);
  }
  EXPECT_EQ(ends, 1);
}

}  // namespace
}  // namespace iopkt
