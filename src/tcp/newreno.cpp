// NewReno's windows: slow start and congestion avoidance of RFC 5681 with the byte counting of RFC 3465.
#include <algorithm>

#include "tcp/congestion.hpp"

namespace iopkt::tcp {

namespace {

/// RFC 5681 equation 4: half of what was in flight, two segments at least.
std::uint32_t half_of(std::uint32_t flight, std::uint32_t smss) { return std::max(flight / 2, 2 * smss); }

class NewReno final : public CongestionControl {
 public:
  std::string_view name() const override { return "reno"; }

  void on_ack(CongestionState& s, const AckSample& ack) const override {
    if (!ack.cwnd_limited) return;
    std::uint32_t acked = ack.acked;
    if (s.in_slow_start()) {
      acked = slow_start(s, ack);
      if (s.in_slow_start()) return;
    }
    // Section 3.1: one segment per cwnd bytes acknowledged.
    s.bytes_acked += std::min(acked, s.cwnd);
    if (s.bytes_acked >= s.cwnd) {
      s.bytes_acked -= s.cwnd;
      s.cwnd = grown_window(s.cwnd, s.smss);
    }
  }

  void on_enter_recovery(CongestionState& s, std::uint32_t flight, Instant) const override {
    remember(s);
    s.ssthresh = half_of(flight, s.smss);
    s.cwnd = s.ssthresh;
    s.bytes_acked = 0;
  }

  void on_timeout(CongestionState& s, std::uint32_t flight, bool first, Instant) const override {
    remember(s);
    if (first) s.ssthresh = half_of(flight, s.smss);
    s.cwnd = s.smss;
    s.bytes_acked = 0;
  }
};

const NewReno kNewReno{};

}  // namespace

const CongestionControl& newreno() { return kNewReno; }

}  // namespace iopkt::tcp
