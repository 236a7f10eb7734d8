// Buddy allocation of ring memory.
#include "ring_allocator.hpp"

#include <utility>

#include "base/assert.hpp"

namespace iopkt::daemon {

static_assert(ipc::kRingSizeMin == std::size_t{1} << 12 && ipc::kRingSizeMax == std::size_t{1} << 24);

RingAllocator::RingAllocator(std::size_t begin, std::size_t end, std::size_t warm_bytes, Punch punch)
    : begin_(begin), end_(end), warm_bytes_(warm_bytes), punch_(std::move(punch)) {
  IOPKT_ASSERT(begin % ipc::kPage == 0 && end % ipc::kPage == 0 && begin <= end);
  // The largest aligned blocks that fit, from the front.
  for (std::size_t at = 0; at < end - begin;) {
    unsigned order = kOrders - 1;
    const auto block = [](unsigned o) { return std::size_t{1} << (o + kMinOrder); };
    while (at % block(order) != 0 || at + block(order) > end - begin) --order;
    free_[order].insert(at);
    at += block(order);
    capacity_ = at;
  }
}

std::optional<std::size_t> RingAllocator::take_cold(unsigned order) {
  unsigned from = order;
  while (from < kOrders && free_[from].empty()) ++from;
  if (from == kOrders) return std::nullopt;
  const std::size_t at = *free_[from].begin();
  free_[from].erase(free_[from].begin());
  while (from > order) {
    --from;
    free_[from].insert(at + (std::size_t{1} << (from + kMinOrder)));
  }
  return at;
}

void RingAllocator::give_cold(std::size_t at, unsigned order) {
  for (; order + 1 < kOrders; ++order) {
    const std::size_t size = std::size_t{1} << (order + kMinOrder);
    const auto buddy = free_[order].find(at ^ size);
    if (buddy == free_[order].end()) break;
    free_[order].erase(buddy);
    at &= ~size;
  }
  free_[order].insert(at);
}

/// Punches one warm block, of the largest size that has any.
bool RingAllocator::cool_one() {
  for (unsigned order = kOrders; order-- > 0;) {
    if (warm_blocks_[order].empty()) continue;
    const std::size_t at = warm_blocks_[order].back();
    const std::size_t size = std::size_t{1} << (order + kMinOrder);
    warm_blocks_[order].pop_back();
    warm_ -= size;
    punch_(begin_ + at, size);
    give_cold(at, order);
    return true;
  }
  return false;
}

std::optional<std::size_t> RingAllocator::take(std::size_t size) {
  IOPKT_ASSERT(std::has_single_bit(size) && size >= ipc::kRingSizeMin && size <= ipc::kRingSizeMax);
  const unsigned order = order_of(size);
  std::optional<std::size_t> at;
  if (!warm_blocks_[order].empty()) {
    at = warm_blocks_[order].back();
    warm_blocks_[order].pop_back();
    warm_ -= size;
  } else {
    at = take_cold(order);
    // Warm blocks of other sizes may stand in the way.
    while (!at && cool_one()) at = take_cold(order);
  }
  if (!at) return std::nullopt;
  used_ += size;
  return begin_ + *at;
}

void RingAllocator::give(std::size_t offset, std::size_t size) {
  IOPKT_ASSERT(offset >= begin_ && offset + size <= end_ && used_ >= size);
  used_ -= size;
  warm_ += size;
  warm_blocks_[order_of(size)].push_back(offset - begin_);
}

bool RingAllocator::trim(std::size_t budget) {
  const std::size_t before = warm_;
  while (warm_ > warm_bytes_ && before - warm_ < budget && cool_one()) {
  }
  return warm_ > warm_bytes_;
}

}  // namespace iopkt::daemon
