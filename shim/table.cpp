// The table of descriptor numbers.
#include "shim/table.hpp"

namespace iopkt::shim {

// 8 MiB of zero pages; only those that are written to take memory.
constinit std::atomic<std::uint64_t> g_table[kTableSize]{};
constinit std::atomic<int> g_table_end{0};

namespace {

constexpr std::uint64_t kBelowGeneration = (std::uint64_t{1} << 40) - 1;

Entry next_generation(Entry before, Entry what) {
  return {((before.generation() + 1) << 40) | (what.bits & kBelowGeneration)};
}

}  // namespace

Entry set_entry(int fd, Entry what) {
  if (static_cast<unsigned>(fd) >= static_cast<unsigned>(kTableSize)) return {};
  int end = g_table_end.load(std::memory_order_relaxed);
  while (end <= fd && !g_table_end.compare_exchange_weak(end, fd + 1, std::memory_order_relaxed)) {
  }
  std::uint64_t before = g_table[fd].load(std::memory_order_acquire);
  while (!g_table[fd].compare_exchange_weak(before, next_generation({before}, what).bits,
                                            std::memory_order_acq_rel)) {
  }
  return {before};
}

bool clear_entry(int fd, Entry expected) {
  std::uint64_t before = expected.bits;
  return g_table[fd].compare_exchange_strong(before, next_generation(expected, {}).bits,
                                             std::memory_order_acq_rel);
}

}  // namespace iopkt::shim
