#include "base/counters.hpp"

#include <gtest/gtest.h>

namespace iopkt {
namespace {

template <class Cell>
struct PairCounters {
  Cell rx{}, tx{};
  friend bool operator==(const PairCounters&, const PairCounters&) = default;
  static constexpr auto table() {
    using S = PairCounters;
    return std::array{CounterSpec<S, Cell>{"pair.rx", "packets", "In.", &S::rx},
                      CounterSpec<S, Cell>{"pair.tx", "packets", "Out.", &S::tx}};
  }
};
using PairSum = PairCounters<std::uint64_t>;
static_assert(PairSum::table().size() * sizeof(std::uint64_t) == sizeof(PairSum), "a row each");

TEST(Counter, AddsSubtractsAndStartsAgain) {
  Counter counter;
  ++counter;
  counter += 10;
  counter.add(5);
  counter.sub(6);
  EXPECT_EQ(counter.value(), 10u);
  counter.reset();
  EXPECT_EQ(counter.value(), 0u);
}

TEST(Counters, TheSumOfTheShardsIsTheWhole) {
  PairCounters<Counter> shard0, shard1;
  shard0.rx += 3;
  shard1.rx += 4;
  ++shard1.tx;
  PairSum sum;
  add_counters<PairCounters>(shard0, sum);
  add_counters<PairCounters>(shard1, sum);
  EXPECT_EQ(sum, (PairSum{.rx = 7, .tx = 1}));
}

}  // namespace
}  // namespace iopkt
