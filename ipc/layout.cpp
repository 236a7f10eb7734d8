// Names of a socket under their seqlock, and the client's side of the doorbell.
#include "ipc/layout.hpp"

#include <sched.h>

#include <cerrno>
#include <cstring>

#include "ipc/doorbell.hpp"
#include "ipc/sys.hpp"

namespace iopkt::ipc {

static_assert(sizeof(Names) == sizeof(std::uint64_t) * 6);

// The data words carry release and acquire themselves, so that no fence is needed: a data word that was stored after the sequence
// became odd cannot be seen without that sequence.
void write_names(Slot& slot, const Names& names) {
  std::uint64_t words[6];
  std::memcpy(words, &names, sizeof words);
  const std::uint32_t sequence = slot.names_sequence.load(std::memory_order_relaxed) & ~1u;
  slot.names_sequence.store(sequence + 1, std::memory_order_relaxed);
  for (std::size_t i = 0; i < 6; ++i) slot.names[i].store(words[i], std::memory_order_release);
  slot.names_sequence.store(sequence + 2, std::memory_order_release);
}

Names read_names(const Slot& slot) {
  std::uint64_t words[6];
  for (int tries = 0; tries < 10'000; ++tries) {
    const std::uint32_t before = slot.names_sequence.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < 6; ++i) words[i] = slot.names[i].load(std::memory_order_acquire);
    if ((before & 1) == 0 && slot.names_sequence.load(std::memory_order_relaxed) == before) break;
    if (tries > 100) sched_yield();  // the stack's thread may be waiting for this very processor
  }
  Names names;
  std::memcpy(&names, words, sizeof words);
  return names;
}

void ring(Doorbell& bell, std::uint32_t slot_number, int event_fd) {
  if (slot_number >= kClientSlotsMax) return;
  const std::uint32_t word = slot_number / 64, group = word / 64;
  const std::uint64_t group_bit = std::uint64_t{1} << (word % 64), summary_bit = std::uint64_t{1} << group;
  bell.bits[word].fetch_or(std::uint64_t{1} << (slot_number % 64));
  if ((bell.groups[group].load() & group_bit) == 0) bell.groups[group].fetch_or(group_bit);
  if ((bell.summary.load() & summary_bit) == 0) bell.summary.fetch_or(summary_bit);

  std::uint32_t armed = bell.need_wake.load();
  if ((armed & 1) == 0) return;
  const int saved = errno;
  const std::uint64_t one = 1;
  while (sys::write(event_fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
  errno = saved;
  bell.need_wake.compare_exchange_strong(armed, armed & ~1u);
}

}  // namespace iopkt::ipc
