// Routes that the network told, beside those of operators.
#pragma once

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "base/time.hpp"
#include "route/fib.hpp"

namespace iopkt::route {

/// Keeps the FIBs to what is wanted.
class DynamicRoutes {
 public:
  /// Puts in what is missing of `wanted` and takes out what was there of the last call and is not wanted any more. Of several to one
  /// place the first is the first. The same FIBs each time. `look`: they may have changed meanwhile; without it equal wishes change
  /// nothing. True: they changed now.
  bool install(std::span<Fib> fibs, std::vector<Route> wanted, bool look);

 private:
  bool install(Fib& fib, std::span<const Route> wanted) const;
  bool is_reordered(const Fib& fib, const wire::IpPrefix& prefix, std::span<const Route> wanted) const;
  std::vector<Route> installed_;
};

/// What packets say changes the tables that all shards read a few times at once, and then now and then: each change has its price, and
/// anybody on the link can cause one.
class NewsLimit {
 public:
  static constexpr unsigned kAtOnce = 16;
  static constexpr Duration kTime = 100ms;
  /// There is something new: when it may be taken in.
  Instant due(Instant now) {
    earn(now);
    waits_ = true;
    return left_ > 0 ? now : from_ + kTime;
  }
  /// The tables were brought up to date. A change that something else brought about before its time is owed.
  void taken(Instant now, bool changed) {
    if (!std::exchange(waits_, false) || !changed) return;
    earn(now);
    if (left_ > 0) --left_;
    else from_ += kTime;
  }
  /// Whether something was said that no table shows yet.
  bool waits() const { return waits_; }

 private:
  void earn(Instant now) {
    const auto gained = (now - from_) / kTime;
    if (gained <= 0) return;
    from_ = left_ + gained >= kAtOnce ? now : from_ + gained * kTime;
    left_ = static_cast<unsigned>(std::min<std::int64_t>(kAtOnce, left_ + gained));
  }

  bool waits_ = false;
  unsigned left_ = kAtOnce;
  Instant from_{};  // since when the next one is earned
};

}  // namespace iopkt::route
