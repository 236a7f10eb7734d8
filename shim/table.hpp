// Which descriptor numbers are sockets of the stack. One atomic word per number, so that every call, also in
// a signal handler, finds out with one load; a word that changed while a call slept says that the number was
// closed or given to something else.
#pragma once

#include <atomic>
#include <cstdint>

namespace iopkt::shim {

/// fs.nr_open's default: no descriptor number is higher unless an administrator raised it; those above stay
/// with the kernel.
inline constexpr int kTableSize = 1 << 20;

/// generation 24 | flags 8 | arena (index into this process's arenas) 12 | slot index in the arena 20
struct Entry {
  static constexpr std::uint64_t kOurs = 1 << 0;
  static constexpr std::uint64_t kDatagram = 1 << 1;  ///< everything but TCP
  static constexpr std::uint64_t kHidden = 1 << 2;    ///< this library's own descriptor: not for the program

  static constexpr std::uint32_t kArenasMax = 1 << 12;
  static constexpr std::uint32_t kArenaSlotsMax = 1 << 20;

  std::uint64_t bits{};

  constexpr std::uint32_t index() const { return static_cast<std::uint32_t>(bits & (kArenaSlotsMax - 1)); }
  constexpr std::uint32_t arena() const { return static_cast<std::uint32_t>(bits >> 20 & (kArenasMax - 1)); }
  constexpr std::uint64_t flags() const { return bits >> 32 & 0xff; }
  constexpr std::uint64_t generation() const { return bits >> 40; }
  constexpr bool ours() const { return (bits >> 32 & kOurs) != 0; }
  constexpr bool datagram() const { return (bits >> 32 & kDatagram) != 0; }
  constexpr bool hidden() const { return (bits >> 32 & kHidden) != 0; }
  /// The same socket, whatever the number and its generation.
  constexpr bool same_socket(Entry other) const {
    return ours() && other.ours() && (bits << 24) == (other.bits << 24);
  }

  static constexpr Entry make(std::uint32_t arena, std::uint32_t index, std::uint64_t flags) {
    return {flags << 32 | std::uint64_t{arena} << 20 | index};
  }
  friend constexpr bool operator==(Entry, Entry) = default;
};

extern std::atomic<std::uint64_t> g_table[kTableSize];
/// One above the highest number that was ever set.
extern std::atomic<int> g_table_end;

/// What `fd` is; nothing for numbers outside the table.
inline Entry entry_of(int fd) {
  if (static_cast<unsigned>(fd) >= static_cast<unsigned>(kTableSize)) [[unlikely]]
    return {};
  return {g_table[fd].load(std::memory_order_acquire)};
}
/// True while `fd` still is what it was when `entry` was looked up.
inline bool unchanged(int fd, Entry entry) { return entry_of(fd) == entry; }

/// Makes `fd` mean `what` (its generation is ignored; the next one is taken). Answers what it was.
/// Async-signal-safe.
Entry set_entry(int fd, Entry what);
/// Makes `fd` mean nothing, if it still is `expected`. False: somebody else was faster.
bool clear_entry(int fd, Entry expected);

}  // namespace iopkt::shim
