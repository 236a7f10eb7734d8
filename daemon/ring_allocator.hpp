// Which part of an arena belongs to which ring: blocks of 2^n pages, kept in private memory that no client can write.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <vector>

#include "ipc/layout.hpp"

namespace iopkt::daemon {

/// Buddy blocks, and in front of them a few recently used ones of each size, whose pages the system still holds: a new connection
/// then costs no page fault. What is warm beyond the bound is given back (`punch`) in batches.
/// @context One thread.
class RingAllocator {
 public:
  /// Gives [offset, offset + size) of the arena back to the system; it then reads as zero.
  using Punch = std::function<void(std::size_t offset, std::size_t size)>;

  /// Memory from `begin` to `end` of the arena (multiples of kPage). At most `warm_bytes` stay warm.
  RingAllocator(std::size_t begin, std::size_t end, std::size_t warm_bytes, Punch punch);

  /// A block of `size` bytes, a power of two from kRingSizeMin to kRingSizeMax, aligned to kPage; nullopt: no room. Its content is what
  /// the arena's client left in it.
  std::optional<std::size_t> take(std::size_t size);
  /// Precondition: take(size) answered `offset`, and it was not given back since.
  void give(std::size_t offset, std::size_t size);
  /// Gives back what is warm beyond the bound, at most `budget` bytes of it. True: there is more.
  bool trim(std::size_t budget);

  bool above_bound() const { return warm_ > warm_bytes_; }

  std::size_t used() const { return used_; }    ///< bytes in blocks that were taken
  std::size_t warm() const { return warm_; }    ///< bytes in blocks that are free but not punched
  std::size_t capacity() const { return capacity_; }

 private:
  static constexpr unsigned kMinOrder = 12, kMaxOrder = 24, kOrders = kMaxOrder - kMinOrder + 1;
  static unsigned order_of(std::size_t size) { return static_cast<unsigned>(std::countr_zero(size)) - kMinOrder; }
  std::optional<std::size_t> take_cold(unsigned order);
  void give_cold(std::size_t offset, unsigned order);
  bool cool_one();

  std::size_t begin_, end_, warm_bytes_, capacity_ = 0, used_ = 0, warm_ = 0;
  Punch punch_;
  std::array<std::set<std::size_t>, kOrders> free_;           // offsets relative to begin_
  std::array<std::vector<std::size_t>, kOrders> warm_blocks_;
};

}  // namespace iopkt::daemon
