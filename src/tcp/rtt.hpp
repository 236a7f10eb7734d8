// The retransmission timeout from round-trip times. RFC 6298.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/time.hpp"

namespace iopkt::tcp {

/// Plain values: SRTT, RTTVAR, and the RTO before backoff. Zero srtt: nothing was measured yet.
struct RttEstimator {
  Duration srtt{}, rttvar{}, rto{}, minimum{};
  friend bool operator==(const RttEstimator&, const RttEstimator&) = default;

  /// Section 2.2 (first measurement) and 2.3: alpha 1/8, beta 1/4, K 4.
  void sample(Duration r, Duration rto_min, Duration rto_max) {
    if (r.count() < 1) r = Duration{1};
    if (srtt.count() == 0) {
      srtt = r;
      rttvar = r / 2;
    } else {
      const Duration error = srtt > r ? srtt - r : r - srtt;
      rttvar = rttvar - rttvar / 4 + error / 4;
      srtt = std::max(srtt - srtt / 8 + r / 8, Duration{1});
    }
    minimum = minimum.count() == 0 ? r : std::min(minimum, r);
    // The clock granularity G is that of the timestamps, 1 ms.
    rto = std::clamp<Duration>(srtt + std::max<Duration>(1ms, 4 * rttvar), rto_min, rto_max);
  }
};

}  // namespace iopkt::tcp
