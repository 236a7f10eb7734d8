// Time as the stack sees it: it comes in with every call, nothing here reads a clock.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>

namespace iopkt {

using Duration = std::chrono::nanoseconds;
using namespace std::chrono_literals;

/// A point on the caller's monotonic clock, in nanoseconds since a start of its own choosing.
struct Instant {
  std::int64_t ns{};

  static constexpr Instant never() { return {INT64_MAX}; }
  constexpr bool is_never() const { return ns == INT64_MAX; }
  constexpr std::int64_t milliseconds() const { return ns / 1'000'000; }

  friend constexpr auto operator<=>(const Instant&, const Instant&) = default;
  friend constexpr Instant operator+(Instant at, Duration d) { return {at.ns + d.count()}; }
  friend constexpr Instant operator-(Instant at, Duration d) { return {at.ns - d.count()}; }
  friend constexpr Duration operator-(Instant a, Instant b) { return Duration{a.ns - b.ns}; }
  constexpr Instant& operator+=(Duration d) { return ns += d.count(), *this; }
};

}  // namespace iopkt
