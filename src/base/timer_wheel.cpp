#include "base/timer_wheel.hpp"

#include <algorithm>
#include <bit>

namespace iopkt {

TimerWheel::TimerWheel(Instant start, Duration tick)
    : start_(start), tick_ns_(static_cast<std::uint64_t>(tick.count())) {
  IOPKT_ASSERT(tick.count() > 0);
  for (TimerNode& head : slots_) make_empty(head);
  make_empty(due_);
  make_empty(firing_);
}

TimerWheel::~TimerWheel() {
  for (TimerNode& head : slots_) abandon(head);
  abandon(due_);
  abandon(firing_);
}

void TimerWheel::abandon(TimerNode& head) {
  while (!is_empty(head)) cancel(*head.next_);
}

void TimerWheel::append(TimerNode& head, TimerNode& node) {
  node.prev_ = head.prev_;
  node.next_ = &head;
  head.prev_->next_ = &node;
  head.prev_ = &node;
}

void TimerWheel::remove(TimerNode& node) {
  node.prev_->next_ = node.next_;
  node.next_->prev_ = node.prev_;
  node.prev_ = node.next_ = nullptr;
}

std::uint64_t TimerWheel::tick_at_or_after(Instant at) const {
  if (at <= start_) return 0;
  const std::uint64_t ns = static_cast<std::uint64_t>(at.ns) - static_cast<std::uint64_t>(start_.ns);
  return ns / tick_ns_ + (ns % tick_ns_ != 0 ? 1 : 0);
}

std::uint64_t TimerWheel::tick_at_or_before(Instant now) const {
  if (now <= start_) return 0;
  return (static_cast<std::uint64_t>(now.ns) - static_cast<std::uint64_t>(start_.ns)) / tick_ns_;
}

Instant TimerWheel::time_of(std::uint64_t tick) const {
  const std::uint64_t room =
      static_cast<std::uint64_t>(INT64_MAX - 1) - static_cast<std::uint64_t>(start_.ns);
  if (tick > room / tick_ns_) return Instant{INT64_MAX - 1};  // rounding up reached over the end of time
  return Instant{static_cast<std::int64_t>(static_cast<std::uint64_t>(start_.ns) + tick * tick_ns_)};
}

std::uint64_t TimerWheel::slot_start(std::size_t level, std::size_t slot) const {
  const std::size_t above = kBits * (level + 1);
  const std::uint64_t prefix = above >= 64 ? 0 : elapsed_ >> above << above;
  return prefix | static_cast<std::uint64_t>(slot) << (kBits * level);
}

void TimerWheel::place(TimerNode& node) {
  if (node.tick_ <= elapsed_) {
    node.slot_ = kNoSlot;
    append(due_, node);
    return;
  }
  const auto highest_bit = static_cast<std::size_t>(std::bit_width(node.tick_ ^ elapsed_)) - 1;
  const std::size_t level = highest_bit / kBits;
  const std::size_t slot = node.tick_ >> (kBits * level) & (kSlots - 1);
  node.slot_ = static_cast<std::uint16_t>(level * kSlots + slot);
  occupied_[level] |= std::uint64_t{1} << slot;
  append(slots_[node.slot_], node);
}

void TimerWheel::schedule(TimerNode& node, Instant at) {
  IOPKT_ASSERT((node.wheel_ == nullptr || node.wheel_ == this) && "a node belongs to one wheel at a time");
  if (at.is_never()) return cancel(node);
  const std::uint64_t tick = tick_at_or_after(at);
  if (node.wheel_ != nullptr) {
    if (node.tick_ == tick && node.slot_ != kNoSlot) return;
    cancel(node);
  }
  node.wheel_ = this;
  node.tick_ = tick;
  ++size_;
  place(node);
}

void TimerWheel::cancel(TimerNode& node) {
  if (node.wheel_ == nullptr) return;
  IOPKT_ASSERT(node.wheel_ == this);
  remove(node);
  node.wheel_ = nullptr;
  --size_;
  if (node.slot_ != kNoSlot && is_empty(slots_[node.slot_]))
    occupied_[node.slot_ / kSlots] &= ~(std::uint64_t{1} << node.slot_ % kSlots);
}

void TimerWheel::collect(Instant now) {
  // The order of due_ before all else: their times came before anything that still lies in the wheel.
  while (!is_empty(due_)) {
    TimerNode& node = *due_.next_;
    remove(node);
    append(firing_, node);
  }
  const std::uint64_t target = tick_at_or_before(now);
  for (std::size_t level = 0; level < kLevels;) {
    if (occupied_[level] == 0) {
      ++level;
      continue;
    }
    const auto slot = static_cast<std::size_t>(std::countr_zero(occupied_[level]));
    const std::uint64_t begins = slot_start(level, slot);
    if (begins > target) break;  // all that lies at higher levels comes later still
    IOPKT_ASSERT(begins > elapsed_);
    elapsed_ = begins;
    enter_slot(level, slot);
    level = 0;  // the slot's nodes moved down
  }
  elapsed_ = std::max(elapsed_, target);
}

void TimerWheel::enter_slot(std::size_t level, std::size_t slot) {
  TimerNode& head = slots_[level * kSlots + slot];
  occupied_[level] &= ~(std::uint64_t{1} << slot);
  while (!is_empty(head)) {
    TimerNode& node = *head.next_;
    remove(node);
    if (node.tick_ > elapsed_) {
      place(node);
    } else {
      node.slot_ = kNoSlot;
      append(firing_, node);
    }
  }
}

Instant TimerWheel::next_deadline() const {
  if (!is_empty(firing_) || !is_empty(due_)) return time_of(elapsed_);
  for (std::size_t level = 0; level < kLevels; ++level) {
    if (occupied_[level] == 0) continue;
    const auto slot = static_cast<std::size_t>(std::countr_zero(occupied_[level]));
    const TimerNode& head = slots_[level * kSlots + slot];
    std::uint64_t first = UINT64_MAX;
    int looked_at = 0;
    for (const TimerNode* node = head.next_; node != &head; node = node->next_) {
      if (++looked_at > kLookedAt) return time_of(slot_start(level, slot));
      first = std::min(first, node->tick_);
    }
    return time_of(first);
  }
  return Instant::never();
}

}  // namespace iopkt
