// The doorbell: how a client tells a shard that a slot needs a look, with a system call only when the shard may be asleep.
//
// Client (ring): set the slot's bit, then its group bit, then its summary bit, then look at need_wake.
// Shard (sleep): arm need_wake, then look at the summary. Shard (collect): clear top down: summary, groups, bits.
// All accesses are seq_cst, so they have one total order, and each of these pairs is Dekker's: write own, read other's.
//  1. bit set before the level above is read; level above cleared before the bits are read. If the client reads "already
//     set" above, its read precedes the shard's clearing, so its bit precedes the shard's reading of the bits: it is seen.
//     If it reads "clear", it sets it, and the next collect finds it.
//  2. summary set before need_wake is read; need_wake armed before the summary is read. Either the client sees "armed" and
//     writes the event descriptor, or the shard sees the summary and does not sleep.
// need_wake counts: even = disarmed, odd = armed, and every arming has a new number. The client writes the event descriptor
// first and disarms afterwards, by CAS from the number it saw. A client killed between the two costs a second write, never
// a wake-up, and a slow one cannot disarm a later sleep.
// Meaning for clients: disarmed = the shard is awake and polls this client, so spinning for an answer makes sense.
#pragma once

#include <bit>
#include <cstdint>

#include "ipc/layout.hpp"

namespace iopkt::ipc {

/// Client side. `slot_number` is ArenaHeader::first_slot + index, below kClientSlotsMax. `event_fd` is the shard's. One to three
/// locked instructions; a write() only when the shard sleeps. Async-signal-safe; keeps errno.
void ring(Doorbell& bell, std::uint32_t slot_number, int event_fd);

/// Client side: true if the shard polls this client now.
inline bool shard_awake(const Doorbell& bell) { return (bell.need_wake.load(std::memory_order_relaxed) & 1) == 0; }

/// Stack side. One relaxed load: is anything to collect? Cheap enough for every lap of the shard.
inline bool rung(const Doorbell& bell) { return bell.summary.load(std::memory_order_relaxed) != 0; }

/// Stack side: takes all set bits and calls `look(slot_number)` for each. Bounded by the number of bits (kClientSlotsMax), also
/// against a client that sets them as fast as it can: each level is taken once. The number is only a hint from the
/// client: it may name a slot that does not exist or has not changed.
template <class Look>
void collect(Doorbell& bell, Look&& look) {
  std::uint64_t summary = bell.summary.exchange(0);
  for (; summary != 0; summary &= summary - 1) {
    const unsigned g = static_cast<unsigned>(std::countr_zero(summary));
    std::uint64_t group = bell.groups[g].exchange(0);
    for (; group != 0; group &= group - 1) {
      const unsigned w = g * 64 + static_cast<unsigned>(std::countr_zero(group));
      std::uint64_t word = bell.bits[w].exchange(0);
      for (; word != 0; word &= word - 1) look(w * 64 + static_cast<std::uint32_t>(std::countr_zero(word)));
    }
  }
}

/// Stack side: the same without trusting the upper levels. For when a process of the client has died: it may have set a bit and not
/// the levels above it. Costs a pass over 32 KiB.
template <class Look>
void collect_stranded(Doorbell& bell, Look&& look) {
  bell.summary.exchange(0);
  for (auto& group : bell.groups) group.exchange(0);
  for (std::uint32_t w = 0; w < 64 * 64; ++w) {
    if (bell.bits[w].load() == 0) continue;
    std::uint64_t word = bell.bits[w].exchange(0);
    for (; word != 0; word &= word - 1) look(w * 64 + static_cast<std::uint32_t>(std::countr_zero(word)));
  }
}

/// Stack side: a shard's own number for the arming of one client's bell. The shard arms the clients it polled, then checks them.
/// A client that nobody polls stays armed: its next ring comes through the event descriptor.
/// Each event of that descriptor means that the client may have disarmed the bell, also when nothing is rung any more (the ring was
/// collected before the client came to look at need_wake): whoever keeps a bell armed over several sleeps must arm it anew after
/// such an event, or the next ring is silent.
class DoorbellArmer {
 public:
  /// Arms; false: something was rung meanwhile, so do not sleep (disarmed again).
  [[nodiscard]] bool arm(Doorbell& bell) {
    number_ += 2;
    bell.need_wake.store(number_ | 1);
    if (bell.summary.load() == 0) return true;
    disarm(bell);
    return false;
  }
  /// After waking: clients need not write their event descriptors any more.
  void disarm(Doorbell& bell) { bell.need_wake.store(number_); }

 private:
  std::uint32_t number_ = 0;
};

}  // namespace iopkt::ipc
