// The stack's side of the send ring. The protocol stands in send_ring.hpp.
#include "ipc/send_ring.hpp"

#include "base/assert.hpp"
#include "ipc/ring_copy.hpp"

namespace iopkt::ipc {

SendRingConsumer::SendRingConsumer(Slot& slot, bool datagram) : slot_(&slot), datagram_(datagram) {}

std::uint64_t SendRingConsumer::checked_tail() {
  if (closed_) return tail_;
  const std::uint64_t tail = PositionWord{slot_->tx_tail.load(std::memory_order_acquire)}.position();
  const std::uint64_t used = distance(head_, tail);
  if (used > size_ || used < distance(head_, tail_)) {
    broken_ = true;
    return tail_;
  }
  tail_ = tail;
  return tail_;
}

bool SendRingConsumer::take_urgent(std::uint64_t& position) {
  std::uint64_t seen = slot_->tx_urgent.load(std::memory_order_acquire);
  if ((seen & 1) == 0) return false;
  position = position_of(seen);
  const std::uint64_t ahead = distance(head_, position);
  // The tail is still to come, and with it another bell.
  if (ahead > distance(head_, tail_) && ahead <= size_) return false;
  if (!slot_->tx_urgent.compare_exchange_strong(seen, 0, std::memory_order_acq_rel)) return false;
  return ahead != 0 && ahead <= distance(head_, tail_);
}

bool SendRingConsumer::more_follows() const {
  return slot_->tx_more.load(std::memory_order_acquire) == (tail_ << kPositionShift | 1);
}

void SendRingConsumer::set_ring(std::byte* base, RingRef ref) {
  IOPKT_ASSERT(base != nullptr && ref.exists());
  IOPKT_ASSERT(distance(head_, tail_) == 0);
  base_ = base;
  size_ = static_cast<std::uint32_t>(ref.size());
  epoch_ = ref.epoch();
  slot_->tx_tail.store(PositionWord::make(tail_, epoch_).bits, std::memory_order_release);
  slot_->tx_ring.store(ref.bits, std::memory_order_release);
}

/// Called right after the epoch in the tail was raised. A writer takes the lock, then reads the tail: either it sees the new
/// epoch, or its lock is seen here. Both sides are seq_cst for this.
void SendRingConsumer::leave_place() {
  const std::uint64_t lock = slot_->tx_lock.load();
  left_lock_ = lock_is_held(lock) ? lock : 0;
}

bool SendRingConsumer::old_place_in_use() {
  // Each taking of the lock has a generation of its own.
  if (left_lock_ != 0 && slot_->tx_lock.load() != left_lock_) left_lock_ = 0;
  return left_lock_ != 0;
}

bool SendRingConsumer::move_ring(std::byte* base, RingRef ref) {
  IOPKT_ASSERT(base != nullptr && ref.exists() && ref.epoch() == static_cast<std::uint16_t>(epoch_ + 1));
  if (old_place_in_use()) return false;
  const std::uint16_t next_epoch = ref.epoch();
  for (int i = 0; i < kCasTriesMax; ++i) {
    std::uint64_t seen = slot_->tx_tail.load(std::memory_order_acquire);
    const std::uint64_t tail = checked_tail();
    const std::size_t n = static_cast<std::size_t>(distance(head_, tail));
    if (broken_ || n > ref.size()) return false;
    if (position_of(seen) != tail) continue;
    if (n > 0) move_between_rings(base, ref.size(), base_, size_, head_, n);
    // A writer that is copying to the old place loses its CAS of the tail here, and copies again.
    if (!slot_->tx_tail.compare_exchange_strong(seen, PositionWord::make(tail, next_epoch).bits)) continue;
    leave_place();
    base_ = base;
    size_ = static_cast<std::uint32_t>(ref.size());
    epoch_ = next_epoch;
    slot_->tx_ring.store(ref.bits, std::memory_order_release);
    return true;
  }
  return false;  // writers are too busy; the caller tries another time
}

bool SendRingConsumer::drop_ring() {
  if (size_ == 0) return true;
  if (old_place_in_use()) return false;
  std::uint64_t seen = PositionWord::make(head_, epoch_).bits;
  const std::uint16_t next_epoch = static_cast<std::uint16_t>(epoch_ + 1);
  if (!slot_->tx_tail.compare_exchange_strong(seen, PositionWord::make(head_, next_epoch).bits)) return false;
  leave_place();
  slot_->tx_ring.store(0, std::memory_order_release);
  tail_ = head_;
  epoch_ = next_epoch;
  base_ = nullptr;
  size_ = 0;
  return true;
}

bool SendRingConsumer::close_ring() {
  if (!closed_ && old_place_in_use()) return false;
  for (int i = 0; i < kCasTriesMax && !closed_; ++i) {
    std::uint64_t seen = slot_->tx_tail.load(std::memory_order_acquire);
    const std::uint64_t tail = checked_tail();
    if (broken_) return false;
    if (position_of(seen) != tail) continue;
    const std::uint64_t next = PositionWord::make(tail, static_cast<std::uint16_t>(epoch_ + 1)).bits;
    if (!slot_->tx_tail.compare_exchange_strong(seen, next)) continue;
    leave_place();
    slot_->tx_ring.store(0, std::memory_order_release);
    ++epoch_;
    closed_ = true;
  }
  return closed_;
}

bool SendRingConsumer::stalled() const { return SendWord{slot_->tx_word.load(std::memory_order_acquire)}.stalled(); }

/// Publishes the head; opens V when there is room enough (or in any case), wakes sleepers and takes the unit.
void SendRingConsumer::store_head(bool force_open, StackIo& io) {
  bool opened = false, wake = false;
  const auto next_of = [&](SendWord v) {
    // The tail is read after V: a writer that stalls later fails its CAS on the new head and looks at the room again.
    const std::size_t room = size_ - static_cast<std::size_t>(distance(head_, checked_tail()));
    opened = v.stalled() && (force_open || (room >= unstall_room(datagram_, size_) && !over_limit()));
    wake = v.waiters() && (opened || force_open);
    v = v.with_head(head_);
    if (opened) v = v.with(SendWord::kStalled, false);
    return wake ? v.with(SendWord::kWaiters, false) : v;
  };
  bool stored = false;
  for (int i = 0; i < kCasTriesMax && !stored; ++i) {
    std::uint64_t seen = slot_->tx_word.load(std::memory_order_acquire);
    stored = slot_->tx_word.compare_exchange_strong(seen, next_of(SendWord{seen}).bits, std::memory_order_acq_rel);
  }
  if (!stored) {
    const SendWord seen{slot_->tx_word.load(std::memory_order_acquire)};
    slot_->tx_word.store(next_of(seen).bits, std::memory_order_release);
    count(&Counts::forced_stores);
  }
  if (wake) io.wake(slot_->tx_word);
  if (!opened) return;
  count(&Counts::lifted);
  if (balance(io) == 0) count(&Counts::late_units);
}

bool SendRingConsumer::over_limit() { return low_water_ != 0 && over_low_water(checked_tail(), limit_, low_water_); }

void SendRingConsumer::limit_to(std::uint64_t position, std::uint32_t low_water) {
  limit_ = position & kPositionMask;
  low_water_ = low_water;
  slot_->tx_lowat.store(low_water, std::memory_order_relaxed);
  slot_->tx_limit.store(low_water == 0 ? 0 : limit_ << kPositionShift | 1, std::memory_order_release);
}

void SendRingConsumer::look_again(StackIo& io) { store_head(false, io); }

void SendRingConsumer::consume_to(std::uint64_t new_head, StackIo& io) {
  IOPKT_ASSERT(distance(head_, new_head) <= distance(head_, tail_));
  head_ = new_head;
  store_head(false, io);
}

void SendRingConsumer::release(StackIo& io) { store_head(true, io); }

void SendRingConsumer::begin_stalled() {
  slot_->tx_word.store(SendWord{}.with_head(head_).with(SendWord::kStalled, true).bits, std::memory_order_release);
}

/// Returns how many units it took. The units are looked at before V: see the head of send_ring.hpp.
unsigned SendRingConsumer::balance(StackIo& io) {
  const unsigned above = io.units_above_ballast();
  const unsigned wanted = stalled() ? 1 : 0;
  unsigned taken = 0;
  for (unsigned left = above; left > wanted; --left) {
    if (!io.take_unit()) break;
    ++taken;
  }
  return taken;
}

void SendRingConsumer::on_units(StackIo& io) { balance(io); }

}  // namespace iopkt::ipc
