// The client's side of the receive ring. The protocol stands in receive_ring.hpp; nothing here locks or allocates.
#include <algorithm>

#include "ipc/receive_ring.hpp"
#include "ipc/ring_copy.hpp"

namespace iopkt::ipc {

namespace {
/// A reader waits this long for another one that is between winning a token and taking it; then it takes over.
constexpr unsigned kRemoverYieldsMax = 2000;
constexpr std::uint64_t kRemoverPatienceUs = 1000;
/// Before the stream begins there is more at stake.
constexpr std::uint64_t kDrainPatienceUs = 1'000'000;
/// A stack that has lost the CPU inside send() comes back within its turn of the CPU; one that was stopped there must not hang
/// the reader for ever.
constexpr std::uint64_t kSendingPatienceUs = 1'000'000;
constexpr unsigned kStrayTokensMax = 16;
/// A ring is moved within microseconds; a stack that died in between must not hang the reader.
constexpr unsigned kMoveYieldsMax = 10'000;
}  // namespace

struct ReaderCore::Patience {
  unsigned yields = 0;
  std::uint64_t since_us = 0, sending_since_us = 0;
};

// ---------------------------------------------------------------------------------------------- looking and claiming

bool ReaderCore::load(View& view) const {
  for (unsigned tries = 0; tries < kMoveYieldsMax; ++tries) {
    const PositionWord head{slot_->rx_head.load(std::memory_order_acquire)};
    const RingRef ref{slot_->rx_ring.load(std::memory_order_acquire)};
    const ReceiveWord word{slot_->rx_word.load(std::memory_order_acquire)};
    if (word.mode() != Mode::ring || !ref.exists()) return false;
    // Still open after the head was loaded: it is this socket's, and of an epoch that the slot's next thousand do not have.
    if (!io_->still_open()) return false;
    if (ref.size() > arena_size_ || ref.offset() > arena_size_ - ref.size()) return false;
    const std::uint64_t unread = distance(head.position(), word.tail());
    if (ref.epoch() != head.epoch()) {
      io_->yield();
      continue;
    }
    if (unread > ref.size()) continue;  // the head is old: others have read and the stack has filled again
    view = {head, word, arena_ + ref.offset(), ref.size(), static_cast<std::size_t>(unread), {}};
    // Behind W: its tail is not beyond a mark that this does not show.
    if (const UrgentWord urgent{slot_->rx_urgent.load(std::memory_order_acquire)}; urgent.set()) [[unlikely]]
      view.urgent = view_urgent(urgent, slot_->rx_left_out.load(), head.position(), unread);
    return true;
  }
  return false;
}

ReadOutcome ReaderCore::nothing(std::uint32_t status) const {
  if (!io_->still_open()) return {ReadOutcome::Kind::gone};
  if (mode() != Mode::ring) return {ReadOutcome::Kind::stream};
  if ((status & Status::reset) != 0) return {ReadOutcome::Kind::reset};
  if ((status & (Status::fin_received | Status::shut_rd)) != 0) return {ReadOutcome::Kind::eof};
  return {ReadOutcome::Kind::empty};
}

bool ReaderCore::claim(const View& view, std::size_t bytes) {
  std::uint64_t seen = view.head.bits;
  const std::uint64_t next =
      PositionWord::make((view.head.position() + bytes) & kPositionMask, view.head.epoch()).bits;
  // seq_cst: pairs with ask_for_bell(), and orders the copy before it.
  if (!slot_->rx_head.compare_exchange_strong(seen, next)) return false;
  io_->step(Step::claimed);
  const std::uint64_t bell = slot_->rx_bell.load();
  if ((bell & 1) != 0 && !lies_before(position_of(next), position_of(bell))) {
    io_->ring();  // first ring, then forget: a reader killed in between costs a second ring
    std::uint64_t expected = bell;
    slot_->rx_bell.compare_exchange_strong(expected, 0);
  }
  return true;
}

bool ReaderCore::still_valid(const View& view) {
  std::uint64_t seen = view.head.bits;
  return slot_->rx_head.compare_exchange_strong(seen, seen, std::memory_order_acq_rel);
}

void ReaderCore::kick(std::uint32_t why) {
  slot_->kicks.fetch_or(why);
  io_->ring();
}

// ---------------------------------------------------------------------------------------------- settling the token

/// Decided on `word`; true as long as W stays what it is, since the head only grows. torn: the head has passed this tail.
bool ReaderCore::below_lowat(ReceiveWord word, bool& torn) const {
  const RingRef ref{slot_->rx_ring.load(std::memory_order_acquire)};
  const std::uint64_t head = PositionWord{slot_->rx_head.load(std::memory_order_acquire)}.position();
  std::uint64_t unread = distance(head, word.tail());
  torn = unread > kPositionMask / 2;
  // seq_cst: pairs with set_urgent().
  if (const UrgentWord urgent{slot_->rx_urgent.load()}; urgent.set() && !torn) [[unlikely]]
    unread -= view_urgent(urgent, slot_->rx_left_out.load(), head, unread).left_out;
  const std::uint32_t raw = slot_->rx_lowat.load(std::memory_order_acquire);
  return unread < effective_lowat(raw, ref.exists() ? ref.size() : kPage);
}

void ReaderCore::settle() {
  Patience patience;
  while (!settle_once(patience)) {
  }
}

/// One look. True: nothing is left to do for this reader.
bool ReaderCore::settle_once(Patience& patience) {
  io_->step(Step::settling);
  // seq_cst: pairs with send_first(), which shows `sending` and then looks at the head once more.
  std::uint64_t seen = slot_->rx_word.load();
  const ReceiveWord word{seen};
  if (word.mode() != Mode::ring || !io_->still_open()) return true;
  // After a reset the kernel shows `readable` for good, and behind the tokens lies the stack's witness.
  if ((status() & Status::reset) != 0) return true;
  bool torn = false;
  if (!below_lowat(word, torn)) return !torn;
  io_->step(Step::deciding);
  switch (word.state()) {
    case TokenState::none:
      // A byte may still lie there that its winner has not taken: leaving now would make a level-triggered program spin.
      return !word.removing() || wait_for_remover(word, patience);
    case TokenState::want:
      slot_->rx_word.compare_exchange_strong(seen, word.with_state(TokenState::none).bits, std::memory_order_acq_rel);
      return false;
    case TokenState::sending:
      return word.removing() ? wait_for_remover(word, patience) : take_from_sender(word, patience);
    case TokenState::present:
      return word.removing() ? wait_for_remover(word, patience) : remove_token(word);
  }
  return true;
}

/// The stack is inside send(). Leaving now would show a program "readable" where its next read finds nothing, and a blocking one
/// would hang. Once the byte lies there, it is taken in the stack's place, which may be without the CPU for long.
bool ReaderCore::take_from_sender(ReceiveWord word, Patience& patience) {
  using Await = ProgramIo::Await;
  const Await seen = io_->await_token();
  if (seen == Await::gone) return true;
  // Of several tokens it does not show whether the last one has come: that is left to the stack.
  if (seen == Await::there && word.extra() == 0) return remove_token(word);
  const std::uint64_t now = io_->now_us();
  if (patience.sending_since_us == 0) patience.sending_since_us = now;
  if (now - patience.sending_since_us <= kSendingPatienceUs) {
    io_->yield();
    return false;
  }
  // Left to whoever comes next. An edge-triggered program does not come by itself: the next arrival has to renew the edge.
  std::uint64_t expected = word.bits;
  return word.observed() || slot_->rx_word.compare_exchange_strong(
                                expected, word.with(ReceiveWord::kObserved, true).bits, std::memory_order_acq_rel);
}

/// present (or sending, its byte queued) -> none + R; the winner, and nobody else, takes the bytes. False: lost, look again.
bool ReaderCore::remove_token(ReceiveWord word) {
  std::uint64_t seen = word.bits;
  const ReceiveWord next = word.with_state(TokenState::none)
                               .with_extra(0)
                               .with(ReceiveWord::kObserved, false)
                               .with(ReceiveWord::kRemoving, true);
  if (!slot_->rx_word.compare_exchange_strong(seen, next.bits, std::memory_order_acq_rel)) return false;
  finish_removal(1 + word.extra());
  return true;
}

void ReaderCore::finish_removal(unsigned bytes) {
  io_->step(Step::won_token);
  for (unsigned i = 0; i < bytes; ++i) {
    if (io_->take_token()) continue;
    kick(Kick::repair);  // taken by another, or still to come: the stack compares
    break;
  }
  io_->step(Step::took_token);
  std::uint64_t seen = slot_->rx_word.load(std::memory_order_acquire);
  for (;;) {
    const ReceiveWord word{seen};
    if (!word.removing()) {
      // Taken over while we were away: what we took may have been a newer token. The stack compares.
      slot_->rx_strays.fetch_sub(1);
      kick(Kick::repair);
      return;
    }
    const ReceiveWord next = word.with(ReceiveWord::kRemoving, false);
    if (slot_->rx_word.compare_exchange_strong(seen, next.bits, std::memory_order_acq_rel)) return;
  }
}

/// Another reader is between winning and taking: waits, and after a while does it in its place. Always "look again", unless the
/// byte was taken here.
bool ReaderCore::wait_for_remover(ReceiveWord word, Patience& patience) {
  if (patience.yields++ == 0) patience.since_us = io_->now_us();
  const bool long_enough = patience.yields > kRemoverYieldsMax ||
                           (patience.yields % 16 == 0 && io_->now_us() - patience.since_us > kRemoverPatienceUs);
  if (!long_enough) {
    io_->yield();
    return false;
  }
  patience.yields = 0;
  std::uint64_t seen = word.bits;
  const ReceiveWord next = word.with(ReceiveWord::kRemoving, false);
  slot_->rx_strays.fetch_add(2);  // the other one, and this one for as long as it takes
  if (!slot_->rx_word.compare_exchange_strong(seen, next.bits, std::memory_order_acq_rel)) {
    slot_->rx_strays.fetch_sub(2);
    return false;
  }
  // How many the other one owed is not known: take what is there, and let the stack put right what was too much.
  client_word(*slot_, kWitnessWord).store(1);
  for (unsigned i = 0; i <= 2 * (ReceiveWord::kExtraMask + 1); ++i) {
    if (!io_->take_token()) break;
  }
  slot_->rx_strays.fetch_sub(1);
  kick(Kick::repair);
  return false;
}

/// R is what keeps two from draining at once, and the stack from beginning the stream meanwhile.
void ReaderCore::drain() {
  const std::uint64_t since = io_->now_us();
  const auto patient = [&] { return io_->now_us() - since < kDrainPatienceUs; };
  for (;; io_->yield()) {
    std::uint64_t seen = slot_->rx_word.load(std::memory_order_acquire);
    const ReceiveWord word{seen};
    if (word.mode() != Mode::switching) return;
    if ((word.removing() || slot_->rx_strays.load() != 0) && patient()) continue;
    const ReceiveWord next = word.with_state(TokenState::none).with_extra(0).with(ReceiveWord::kRemoving, true);
    if (slot_->rx_word.compare_exchange_strong(seen, next.bits, std::memory_order_acq_rel)) break;
  }
  while (io_->take_token()) {
  }
  std::uint64_t seen = slot_->rx_word.load(std::memory_order_acquire);
  while (ReceiveWord{seen}.removing() &&
         !slot_->rx_word.compare_exchange_weak(seen, ReceiveWord{seen}.with(ReceiveWord::kRemoving, false).bits,
                                               std::memory_order_acq_rel)) {
  }
}

void ReaderCore::observe(const View& view) {
  if (!view.word.edge()) return;
  std::uint64_t seen = slot_->rx_word.load(std::memory_order_acquire);
  for (;;) {
    const ReceiveWord word{seen};
    if (!word.edge() || word.mode() != Mode::ring) return;
    // Room for further edges: all tokens but one are taken out. The state stays present; R keeps others from taking.
    const bool make_room = word.state() == TokenState::present && word.extra() == ReceiveWord::kExtraMask && !word.removing();
    ReceiveWord next = word.with(ReceiveWord::kObserved, true);
    if (make_room) next = next.with_extra(0).with(ReceiveWord::kRemoving, true);
    if (next == word || slot_->rx_word.compare_exchange_strong(seen, next.bits, std::memory_order_acq_rel)) {
      if (make_room) finish_removal(word.extra());
      // Something arrived while we looked: its edge is still to come.
      if (word.tail() != view.word.tail()) kick(Kick::recheck);
      return;
    }
  }
}

void ReaderCore::lowat_changed() {
  std::uint64_t seen = slot_->rx_word.load(std::memory_order_acquire);
  bool torn = false;
  if (below_lowat(ReceiveWord{seen}, torn)) settle();
  // The stack decides the other direction: it may be publishing with the old mark at this moment.
  kick(Kick::recheck);
}

void ReaderCore::set_edge() {
  std::uint64_t seen = slot_->rx_word.load(std::memory_order_acquire);
  while (!ReceiveWord{seen}.edge() &&
         !slot_->rx_word.compare_exchange_weak(seen, ReceiveWord{seen}.with(ReceiveWord::kEdge, true).bits,
                                               std::memory_order_acq_rel)) {
  }
}

// ---------------------------------------------------------------------------------------------- urgent data

bool ReaderCore::sweep_urgent(bool keep) {
  // After the end lies there what no reader may take; and the kernel shows `readable` for good.
  if ((status() & (Status::reset | Status::fin_received | Status::closed)) != 0 || mode() != Mode::ring) return false;
  const std::uint32_t shown = slot_->rx_oob_shown.load(std::memory_order_acquire);
  // Should the end come just now.
  client_word(*slot_, kWitnessWord).store(1);
  if (!hold_removal()) return false;
  using Swept = ProgramIo::Swept;
  Swept swept = io_->sweep_urgent(keep);
  // The stack cannot tell tokens from the rest, and may have sent one too many when it repaired.
  for (unsigned i = 0; i < kStrayTokensMax && swept == Swept::token; ++i) {
    if (ReceiveWord{slot_->rx_word.load(std::memory_order_acquire)}.state() != TokenState::none || !io_->take_token()) break;
    swept = io_->sweep_urgent(keep);
  }
  if (swept == Swept::clean || swept == Swept::stray) slot_->rx_oob_swept.store(shown, std::memory_order_release);
  finish_removal(0);
  if (swept == Swept::stray) kick(Kick::repair);
  return swept == Swept::clean;
}

/// R, without a token to be taken. False: the socket has come to an end.
bool ReaderCore::hold_removal() {
  Patience patience;
  for (;;) {
    std::uint64_t seen = slot_->rx_word.load(std::memory_order_acquire);
    const ReceiveWord word{seen};
    if (word.mode() != Mode::ring || !io_->still_open() || (status() & Status::reset) != 0) return false;
    const ReceiveWord held = word.with(ReceiveWord::kRemoving, true);
    if (word.removing()) wait_for_remover(word, patience);
    else if (slot_->rx_word.compare_exchange_strong(seen, held.bits, std::memory_order_acq_rel)) return true;
  }
}

bool ReaderCore::reaches_lowat() const {
  bool torn = false;
  return !below_lowat(ReceiveWord{slot_->rx_word.load(std::memory_order_acquire)}, torn) && !torn;
}

bool ReaderCore::has_urgent_byte(const View& view) const {
  const UrgentWord urgent{slot_->rx_urgent.load(std::memory_order_acquire)};
  return urgent.here() && view.urgent.known && slot_->rx_oob_taken.load() != (urgent.position() << kPositionShift | 1);
}

/// After a token has left, or the mark was passed: the descriptor shows no more than there is.
void ReaderCore::tidy_urgent() {
  View view;
  if (oob_left() && load(view)) sweep_urgent(has_urgent_byte(view));
}

int ReaderCore::take_urgent(bool peek, std::uint8_t& byte) {
  for (;;) {
    const std::uint32_t seen = status();
    View view;
    const UrgentWord urgent{slot_->rx_urgent.load(std::memory_order_acquire)};
    if (!urgent.set() || urgent.in_line() || !load(view) || !view.urgent.known) return EINVAL;
    std::uint64_t taken = slot_->rx_oob_taken.load();
    const std::uint64_t mine = urgent.position() << kPositionShift | 1;
    if (taken == mine) return EINVAL;
    if ((seen & Status::reset) != 0 && (seen & Status::fin_received) == 0) return ENOTCONN;
    if (!urgent.here()) return (seen & (Status::fin_received | Status::shut_rd)) != 0 ? kOobEnd : EAGAIN;
    byte = urgent.byte();
    if (slot_->rx_urgent.load() != urgent.bits) continue;
    if (peek) return 0;
    if (!slot_->rx_oob_taken.compare_exchange_strong(taken, mine)) continue;
    sweep_urgent(false);
    return 0;
  }
}

// ---------------------------------------------------------------------------------------------- bytes

ReadOutcome ReceiveRingReader::take(std::span<const iovec> to, std::size_t want, bool copy, bool more) {
  for (;;) {
    const std::uint32_t status = core_.status();
    ReaderCore::View view;
    if (!core_.load(view)) return core_.nothing(status);
    const UrgentView& urgent = view.urgent;
    if (more && urgent.at_mark()) return {ReadOutcome::Kind::mark};
    if (view.unread == 0) {
      core_.settle();
      // Also a byte that came out of order: shown(), not the descriptor, has to say that it is here.
      if (urgent.any && core_.oob_left()) [[unlikely]] core_.sweep_urgent(false);
      if (nothing_unread()) return core_.nothing(status);
      continue;
    }
    std::size_t n = std::min(want, view.usable());
    const bool to_mark = urgent.known && urgent.ahead > 0 && urgent.ahead <= n;
    if (to_mark) n = static_cast<std::size_t>(urgent.ahead);
    if (copy && n > 0) scatter(to, view.base, view.size, view.head.position() + urgent.left_out, n);
    io_->step(Step::copied);
    if (!core_.claim(view, urgent.left_out + n)) continue;
    if (urgent.left_out + n < view.unread) core_.observe(view);
    core_.settle();
    if (urgent.any) [[unlikely]] core_.tidy_urgent();
    if (n > 0) return {ReadOutcome::Kind::data, n, to_mark};
  }
}

ReadOutcome ReceiveRingReader::read(std::span<const iovec> to, bool more) {
  const std::size_t want = total_length(to, kRingSizeMax);
  if (want == 0) return {ReadOutcome::Kind::data, 0};
  return take(to, want, true, more);
}

ReadOutcome ReceiveRingReader::discard(std::size_t bytes, bool more) {
  if (bytes == 0) return {ReadOutcome::Kind::data, 0};
  return take({}, bytes, false, more);
}

ReadOutcome ReceiveRingReader::peek(std::span<const iovec> to, std::size_t skip) {
  const std::size_t want = total_length(to, kRingSizeMax);
  for (;;) {
    const std::uint32_t status = core_.status();
    ReaderCore::View view;
    if (!core_.load(view)) return core_.nothing(status);
    const bool bounded = view.urgent.known && view.urgent.ahead > 0;
    if (skip > 0 && bounded && view.urgent.ahead <= skip) return {ReadOutcome::Kind::mark};
    if (view.usable() <= skip) {
      if (view.usable() == 0) core_.settle();
      if (view.unread > 0) core_.observe(view);
      ReaderCore::View again;
      if (core_.load(again) && again.usable() > skip) continue;
      return core_.nothing(status);
    }
    std::size_t n = std::min(want, view.usable() - skip);
    const bool to_mark = bounded && view.urgent.ahead - skip <= n;
    if (to_mark) n = static_cast<std::size_t>(view.urgent.ahead) - skip;
    scatter(to, view.base, view.size, view.head.position() + view.urgent.left_out + skip, n);
    io_->step(Step::copied);
    if (!core_.still_valid(view)) continue;
    core_.observe(view);
    return {ReadOutcome::Kind::data, n, to_mark};
  }
}

bool ReceiveRingReader::at_mark() {
  ReaderCore::View view;
  return core_.load(view) && view.urgent.at_mark();
}

bool ReceiveRingReader::stopped_at_mark() {
  ReaderCore::View view;
  return core_.load(view) && view.urgent.at_mark() && view.unread > view.urgent.gone;
}

ReceiveRingReader::Shown ReceiveRingReader::shown() {
  Shown out;
  ReaderCore::View view;
  if (!core_.urgent().set() || !core_.load(view)) return out;
  out.urgent = true;
  out.priority = core_.has_urgent_byte(view);
  out.readable = core_.reaches_lowat() || (core_.status() & (Status::reset | Status::fin_received | Status::shut_rd)) != 0;
  out.left = core_.oob_left();
  return out;
}

std::size_t ReceiveRingReader::readable() {
  ReaderCore::View view;
  if (!core_.load(view)) return 0;
  if (view.unread > 0) core_.observe(view);
  const std::size_t rest = view.unread - view.urgent.gone;
  const bool to_mark = view.urgent.known && !core_.urgent().in_line() && view.urgent.ahead < rest;
  return to_mark ? static_cast<std::size_t>(view.urgent.ahead) : rest;
}

bool ReceiveRingReader::nothing_unread() const {
  ReaderCore::View view;
  return !core_.load(view) || view.usable() == 0;
}

int take_error(Slot& slot) {
  if (slot.error.load(std::memory_order_relaxed) == 0) return 0;
  return static_cast<int>(slot.error.exchange(0, std::memory_order_acq_rel));
}

}  // namespace iopkt::ipc
