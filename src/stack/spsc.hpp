// A bounded queue with one writer and one reader, each a shard; in a test both are the same thread.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <utility>

#include "base/assert.hpp"

namespace iopkt::stack {

template <class T>
class SpscQueue {
 public:
  explicit SpscQueue(std::size_t capacity) : mask_(std::bit_ceil(capacity) - 1), cells_(new T[mask_ + 1]) {}

  /// False: full, `item` is untouched.
  bool push(T&& item) {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_seen_ > mask_) {
      head_seen_ = head_.load(std::memory_order_acquire);
      if (tail - head_seen_ > mask_) return false;
    }
    cells_[tail & mask_] = std::move(item);
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }
  bool pop(T& item) {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_seen_) {
      tail_seen_ = tail_.load(std::memory_order_acquire);
      if (head == tail_seen_) return false;
    }
    item = std::move(cells_[head & mask_]);
    head_.store(head + 1, std::memory_order_release);
    return true;
  }
  bool empty() const { return head_.load(std::memory_order_acquire) == tail_.load(std::memory_order_acquire); }
  /// How many were ever pushed / popped: a writer that remembers pushed() knows when the reader has passed it.
  std::size_t pushed() const { return tail_.load(std::memory_order_acquire); }
  std::size_t popped() const { return head_.load(std::memory_order_acquire); }

 private:
  const std::size_t mask_;
  std::unique_ptr<T[]> cells_;
  alignas(64) std::atomic<std::size_t> head_{0};
  std::size_t tail_seen_ = 0;
  alignas(64) std::atomic<std::size_t> tail_{0};
  std::size_t head_seen_ = 0;
};

}  // namespace iopkt::stack
