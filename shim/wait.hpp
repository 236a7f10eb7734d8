// Waiting for the stack: spin for a bounded time while it is awake, then sleep.
#pragma once

#include <time.h>

#include "ipc/doorbell.hpp"
#include "ipc/sys.hpp"
#include "shim/process.hpp"

namespace iopkt::shim {

inline std::uint64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(t.tv_nsec);
}

/// Looks again and again while `nothing()` and the shard polls, at most for the time that the stack
/// recommends. True: worth a look.
template <class Nothing>
bool spin(const Socket& s, Nothing&& nothing) {
  const std::uint32_t bound = ipc::control_header(s.link->control).spin_ns.load(std::memory_order_relaxed);
  const ipc::Doorbell& bell =
      ipc::doorbell_at(s.link->control.base, s.shard() < s.link->shard_count ? s.shard() : 0);
  if (bound == 0 || !ipc::shard_awake(bell)) return false;
  const std::uint64_t end = now_ns() + bound;
  do {
    for (int i = 0; i < 32; ++i) {
      if (!nothing()) return true;
      ipc::sys::pause_cpu();
    }
  } while (ipc::shard_awake(bell) && now_ns() < end);
  return !nothing();
}

}  // namespace iopkt::shim
