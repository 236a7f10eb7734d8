// HyStart++: the first slow start ends when round trips grow, not only when packets are lost. RFC 9406 section 4.2.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tcp/congestion.hpp"

namespace iopkt::tcp {

/// Plain values. All zero: a slow start that has not begun.
struct HyStart {
  std::int64_t window_end;        ///< The round ends when SND.UNA gets here.
  std::int64_t last_min, current_min, baseline;  ///< Nanoseconds; 0: infinity.
  std::uint8_t samples;           ///< rttSampleCount, counts to kSamples.
  std::uint8_t css_rounds;        ///< Rounds of Conservative Slow Start that are over.
  bool css;
  std::uint8_t unused[5];

  static constexpr std::uint32_t kGrowthDivisor = 4;
  static constexpr std::uint8_t kSamples = 8, kCssRounds = 5;
  static constexpr Duration kMinThreshold = 4ms, kMaxThreshold = 16ms;

  /// One acknowledgment of the slow start. True: it is over, ssthresh is to become cwnd.
  bool on_ack(const AckSample& ack) {
    if (ack.rtt.count() > 0) {
      current_min = current_min == 0 ? ack.rtt.count() : std::min(current_min, ack.rtt.count());
      if (samples < kSamples) ++samples;
      if (samples == kSamples) judge();
    }
    if (ack.una < window_end) return false;
    window_end = ack.nxt;
    last_min = current_min;
    current_min = 0;
    samples = 0;
    return css && ++css_rounds >= kCssRounds;
  }

 private:
  void judge() {
    if (css) {
      // Round trips got shorter again: the delay came from elsewhere.
      if (current_min >= baseline) return;
      css = false;
      baseline = 0;
    } else if (last_min != 0) {
      const Duration threshold = std::clamp(Duration{last_min / 8}, kMinThreshold, kMaxThreshold);
      if (current_min < last_min + threshold.count()) return;
      css = true;
      css_rounds = 0;
      baseline = current_min;
    }
  }
};

}  // namespace iopkt::tcp
