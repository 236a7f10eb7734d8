// The stack's side of the receive ring: publishing, sending tokens, repairing. The protocol stands in receive_ring.hpp.
#include "base/assert.hpp"
#include "ipc/receive_ring.hpp"
#include "ipc/ring_copy.hpp"

namespace iopkt::ipc {

ReceiveRingProducer::ReceiveRingProducer(Slot& slot, Mode mode) : slot_(&slot), mode_(mode) {}

/// Changes W by CAS; tail and mode are always the stack's own. A client that keeps W moving gets the result stored over its
/// own change after a bounded number of tries. An honest one can be hit by that, too: hence the repair.
template <class Change>
void ReceiveRingProducer::update(Change change) {
  for (int i = 0; i < kCasTriesMax; ++i) {
    std::uint64_t seen = slot_->rx_word.load(std::memory_order_acquire);
    const ReceiveWord next = change(ReceiveWord{seen}).with_tail(tail_).with_mode(mode_);
    if (slot_->rx_word.compare_exchange_strong(seen, next.bits, std::memory_order_acq_rel)) return;
  }
  const ReceiveWord seen{slot_->rx_word.load(std::memory_order_acquire)};
  slot_->rx_word.store(change(seen).with_tail(tail_).with_mode(mode_).bits, std::memory_order_release);
  count(&Counts::forced_stores);
  repair_ = flush_ = true;
}

std::uint64_t ReceiveRingProducer::checked_head() {
  if (closed_) return head_;
  const std::uint64_t head = PositionWord{slot_->rx_head.load()}.position();  // seq_cst: see send_first()
  // From the last good head, the new one lies no further than the tail.
  if (distance(head_, head) > distance(head_, tail_)) {
    broken_ = true;
    return head_;
  }
  head_ = head;
  return head_;
}

void ReceiveRingProducer::set_ring(std::byte* base, RingRef ref) {
  IOPKT_ASSERT(base != nullptr && ref.exists());
  IOPKT_ASSERT(unread() == 0 || broken_);
  base_ = base;
  size_ = static_cast<std::uint32_t>(ref.size());
  epoch_ = ref.epoch();
  slot_->rx_ring.store(ref.bits, std::memory_order_release);
  slot_->rx_head.store(PositionWord::make(head_, epoch_).bits, std::memory_order_release);
}

bool ReceiveRingProducer::move_ring(std::byte* base, RingRef ref) {
  IOPKT_ASSERT(base != nullptr && ref.exists() && ref.epoch() == static_cast<std::uint16_t>(epoch_ + 1));
  const std::size_t n = unread();
  if (broken_ || n > ref.size()) return false;
  if (n > 0) move_between_rings(base, ref.size(), base_, size_, head_, n);
  // Readers that load the new place before the head has the new epoch try again; those with the old epoch lose their CAS.
  slot_->rx_ring.store(ref.bits, std::memory_order_release);
  epoch_ = ref.epoch();
  base_ = base;
  size_ = static_cast<std::uint32_t>(ref.size());
  for (int i = 0; i < kCasTriesMax; ++i) {
    std::uint64_t seen = slot_->rx_head.load(std::memory_order_acquire);
    const std::uint64_t next = PositionWord::make(PositionWord{seen}.position(), epoch_).bits;
    if (slot_->rx_head.compare_exchange_strong(seen, next, std::memory_order_acq_rel)) return true;
  }
  slot_->rx_head.store(PositionWord::make(checked_head(), epoch_).bits, std::memory_order_release);
  count(&Counts::forced_stores);
  return true;
}

bool ReceiveRingProducer::drop_ring() {
  if (unread() != 0) return false;
  slot_->rx_ring.store(0, std::memory_order_release);
  base_ = nullptr;
  size_ = 0;
  return true;
}

bool ReceiveRingProducer::close_ring() {
  IOPKT_ASSERT(mode_ != Mode::ring);
  for (int i = 0; i < kCasTriesMax && !closed_; ++i) {
    std::uint64_t seen = slot_->rx_head.load(std::memory_order_acquire);
    const std::uint64_t head = checked_head();
    if (broken_) return false;
    const std::uint64_t next = PositionWord::make(head, static_cast<std::uint16_t>(epoch_ + 1)).bits;
    closed_ = position_of(seen) == head && slot_->rx_head.compare_exchange_strong(seen, next, std::memory_order_acq_rel);
    if (closed_) ++epoch_;
  }
  return closed_;
}

bool ReceiveRingProducer::readable_to(std::uint64_t new_tail) {
  if (mode_ != Mode::ring || tokens_off_) return false;
  const std::uint32_t lowat = effective_lowat(slot_->rx_lowat.load(std::memory_order_acquire), size_ > 0 ? size_ : kPage);
  const std::uint64_t head = checked_head(), unread = distance(head, new_tail);
  if (!rare_) [[likely]]
    return unread >= lowat;
  return unread - view_urgent(rare_->urgent, rare_->left_out, head, unread).left_out >= lowat;
}

bool ReceiveRingProducer::set_urgent(std::uint64_t position, std::optional<std::uint8_t> byte, bool in_line) {
  Rare& rare = rare_.make();
  const UrgentWord before = rare.urgent, next = UrgentWord::make(position & kPositionMask, byte.has_value(), in_line, byte.value_or(0));
  if (next == before) return false;
  const bool newer = !before.set() || before.position() != next.position();
  // As the host's TCP: one byte is urgent at a time. The one before becomes ordinary data, but for a reader that stands right before it:
  // to that it would look as if there was no mark.
  if (newer && before.set() && !before.in_line() && before.position() == checked_head() && before.position() != tail_) {
    rare.left_out = before.position() << kPositionShift | 1;
    slot_->rx_left_out.store(rare.left_out);
  }
  rare.urgent = next;
  slot_->rx_urgent.store(next.bits);  // seq_cst: a reader that settles by the old word has moved the head that recheck() sees
  if (newer || next.here() != before.here()) rare.tell = flush_ = true;
  return recheck();
}

/// Behind the token, which whoever takes it would else pass it for. Once: where there is no room the descriptor shows those before, and a
/// peer can send any number of them.
void ReceiveRingProducer::tell_urgent(StackIo& io) {
  rare_->tell = false;
  // Whoever it wakes may read, and sweep, before send() has come back here; who counted it as swept before it was there would leave it.
  slot_->rx_oob_shown.store(rare_->told << 1 | 1, std::memory_order_release);
  if (io.send_urgent() == StackIo::Sent::done) ++rare_->told;
  slot_->rx_oob_shown.store(rare_->told << 1, std::memory_order_release);
}

bool ReceiveRingProducer::publish(std::uint64_t new_tail) {
  IOPKT_ASSERT(distance(tail_, new_tail) <= size_ - distance(head_, tail_));
  // The head may be old, so `readable` may be wrong in one direction only: the reader then takes the token back.
  const bool readable = readable_to(new_tail);
  tail_ = new_tail;
  bool want = false, renew = false;
  update([&](ReceiveWord w) {
    want = w.state() == TokenState::want || (w.state() == TokenState::none && readable);
    renew = w.state() == TokenState::present && w.observed() && w.edge();
    if (w.state() == TokenState::none && readable) w = w.with_state(TokenState::want);
    return renew ? w.with(ReceiveWord::kObserved, false) : w;
  });
  renew_ = renew_ || renew;
  flush_ = flush_ || want || renew;
  return flush_;
}

void ReceiveRingProducer::restart_tokens() {
  tokens_off_ = renew_ = repair_ = false;
  if (rare_ && rare_->urgent.set()) rare_->tell = flush_ = true;
  update([](ReceiveWord w) {
    return w.with_state(TokenState::none)
        .with_extra(0)
        .with(ReceiveWord::kRemoving | ReceiveWord::kObserved, false);
  });
  if (size_ != 0) recheck();
}

bool ReceiveRingProducer::recheck() { return publish(tail_); }

bool ReceiveRingProducer::repair() { return repair_ = flush_ = true; }

/// want -> sending -> present, with the byte in between. True: try again later.
bool ReceiveRingProducer::send_first(StackIo& io) {
  std::uint64_t seen = slot_->rx_word.load(std::memory_order_acquire);
  for (int i = 0;; ++i) {
    const ReceiveWord w{seen};
    if (w.state() != TokenState::want) return false;  // cancelled
    const ReceiveWord next = w.with_tail(tail_).with_mode(mode_).with_state(TokenState::sending).with_extra(0).with(
        ReceiveWord::kObserved, false);
    if (slot_->rx_word.compare_exchange_strong(seen, next.bits)) break;
    if (i == kCasTriesMax) return true;
  }
  // Wanted because of an old head, or of an old low-water mark: a reader that has settled since then is seen here; one that
  // settles from now on sees `sending`.
  if (!readable_to(tail_)) {
    update([](ReceiveWord w) { return w.state() == TokenState::sending ? w.with_state(TokenState::none) : w; });
    return false;
  }
  const StackIo::Sent sent = io.send_token();
  const TokenState then = sent == StackIo::Sent::done    ? TokenState::present
                          : sent == StackIo::Sent::again ? TokenState::want
                                                         : TokenState::none;
  if (sent == StackIo::Sent::gone) tokens_off_ = true;
  if (sent == StackIo::Sent::done) count(&Counts::tokens);
  // Another state: a reader has taken the byte before we came back.
  update([&](ReceiveWord w) { return w.state() == TokenState::sending ? w.with_state(then) : w; });
  return sent == StackIo::Sent::again;
}

/// present -> sending -> present with one byte more, for a program that polls edge-triggered. True: try again later.
bool ReceiveRingProducer::send_renewal(StackIo& io) {
  std::uint64_t seen = slot_->rx_word.load(std::memory_order_acquire);
  const ReceiveWord w{seen};
  // Not present: everything before was read, and a new token is or will be an edge of its own. Full: a reader makes room.
  if (w.state() != TokenState::present || w.extra() == ReceiveWord::kExtraMask) return false;
  const ReceiveWord next = w.with_tail(tail_).with_mode(mode_).with_state(TokenState::sending).with_extra(w.extra() + 1);
  if (!slot_->rx_word.compare_exchange_strong(seen, next.bits, std::memory_order_acq_rel)) return true;
  const StackIo::Sent sent = io.send_token();
  if (sent == StackIo::Sent::gone) tokens_off_ = true;
  if (sent == StackIo::Sent::done) count(&Counts::renewed);
  update([&](ReceiveWord v) {
    if (v.state() != TokenState::sending) return v;
    v = v.with_state(TokenState::present);
    return sent == StackIo::Sent::done ? v : v.with_extra(v.extra() > 0 ? v.extra() - 1 : 0);
  });
  return sent == StackIo::Sent::again;
}

/// A reader died or was overtaken between winning a token and taking it. Compares W with what is queued. True: not yet
/// decidable, somebody is removing.
bool ReceiveRingProducer::repair_now(StackIo& io) {
  const ReceiveWord w{slot_->rx_word.load(std::memory_order_acquire)};
  if (w.removing()) return true;
  const bool readable = readable_to(tail_);
  if (rare_ && rare_->told != 0) {
    // Bytes out of band are queued, too: that one is says nothing. A token that is too much goes with what they leave.
    update([&](ReceiveWord v) {
      if (v.removing() || v.state() == TokenState::sending) return v;
      return v.with_state(readable ? TokenState::want : TokenState::none).with_extra(0);
    });
    slot_->rx_oob_shown.store(++rare_->told << 1, std::memory_order_release);
    count(&Counts::repaired);
    return false;
  }
  const bool queued = io.token_queued();
  // A byte without a state becomes a token: the next reader that finds the ring empty takes it. A state without a byte is
  // decided anew; through want, so that such a reader can cancel it.
  const TokenState right = queued ? TokenState::present : readable ? TokenState::want : TokenState::none;
  const auto wrong = [&](ReceiveWord v) {
    return !v.removing() && (queued ? v.state() == TokenState::none
                                    : v.state() == TokenState::present || (v.state() == TokenState::none && readable));
  };
  if (!wrong(w)) return false;
  update([&](ReceiveWord v) { return wrong(v) ? v.with_state(right).with_extra(0) : v; });
  count(&Counts::repaired);
  return false;
}

bool ReceiveRingProducer::flush(StackIo& io) {
  flush_ = false;
  if (mode_ != Mode::ring || tokens_off_) {
    renew_ = repair_ = false;
    return false;
  }
  bool again = false;
  if (repair_) {
    repair_ = false;  // may be set again by a forced store
    if (repair_now(io)) repair_ = again = true;
  }
  if (send_first(io)) again = true;
  if (renew_ && !again) {
    renew_ = false;
    if (send_renewal(io)) renew_ = again = true;
  }
  if (rare_ && rare_->tell && !again) tell_urgent(io);
  flush_ = flush_ || again;
  return flush_;
}

bool ReceiveRingProducer::ask_for_bell(std::uint64_t position) {
  slot_->rx_bell.store(position << kPositionShift | 1);
  const std::uint64_t head = PositionWord{slot_->rx_head.load()}.position();
  if (lies_before(head, position)) return true;
  cancel_bell();
  return false;
}

void ReceiveRingProducer::cancel_bell() { slot_->rx_bell.store(0); }

void ReceiveRingProducer::set_mode(Mode mode) {
  mode_ = mode;
  update([](ReceiveWord w) { return w; });
}

}  // namespace iopkt::ipc
