// A counter is a row: one struct per layer, generic over its cell, with a table that names every member.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace iopkt {

/// A cell that one shard writes and any thread may read: relaxed, no read-modify-write on the writer's side.
class Counter {
 public:
  void add(std::uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed); }
  void sub(std::uint64_t n = 1) { value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed); }
  std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }
  void reset() { value_.store(0, std::memory_order_relaxed); }
  Counter& operator++() { return add(), *this; }
  Counter& operator+=(std::uint64_t n) { return add(n), *this; }

 private:
  std::atomic<std::uint64_t> value_{0};
};

template <class Struct, class Cell>
struct CounterSpec {
  std::string_view name;  ///< layer.direction.what
  std::string_view unit;
  std::string_view help;
  Cell Struct::*member;
};

/// Adds what one shard counted to a plain sum. `Live<Counter>` and `Live<std::uint64_t>` are the same rows.
template <template <class> class Counters>
void add_counters(const Counters<Counter>& live, Counters<std::uint64_t>& sum) {
  constexpr auto from = Counters<Counter>::table();
  constexpr auto to = Counters<std::uint64_t>::table();
  static_assert(from.size() == to.size());
  for (std::size_t i = 0; i < from.size(); ++i) sum.*to[i].member += (live.*from[i].member).value();
}

}  // namespace iopkt
