// NewReno's windows: slow start and congestion avoidance of RFC 5681 with the byte counting of RFC 3465.
#include <algorithm>

#include "tcp/congestion.hpp"

namespace iopkt::tcp {

namespace {

/// RFC 5681 equation 4: half of what was in flight, two segments at least.
std::uint32_t half_of(std::uint32_t flight, std::uint32_t smss) { return std::max(flight / 2, 2 * smss); }

std::uint32_t plus(std::uint32_t cwnd, std::uint32_t more) {
  constexpr std::uint32_t kMost = 1u << 30;  // the largest window that RFC 7323 allows
  return std::min(cwnd + std::min(more, kMost), kMost);
}

class NewReno final : public CongestionControl {
 public:
  std::string_view name() const override { return "newreno"; }

  void on_established(CongestionState& s, std::uint32_t segments, Instant) const override {
    s.cwnd = initial_window(s.smss, segments);
    s.ssthresh = UINT32_MAX;
    s.bytes_acked = 0;
  }

  void on_ack(CongestionState& s, const AckSample& ack) const override {
    if (!ack.cwnd_limited) return;
    std::uint32_t acked = ack.acked;
    if (s.in_slow_start()) {
      // RFC 5681 equation 2 with L of RFC 3465 in place of 1.
      const std::uint32_t step = std::min(acked, ack.abc_limit * s.smss);
      const std::uint32_t used = std::min(step, s.ssthresh - s.cwnd);
      s.cwnd = plus(s.cwnd, used);
      if (s.in_slow_start()) return;
      acked = step - used;  // the rest counts for congestion avoidance
    }
    // Section 3.1: one segment per cwnd bytes acknowledged.
    s.bytes_acked += std::min(acked, s.cwnd);
    if (s.bytes_acked >= s.cwnd) {
      s.bytes_acked -= s.cwnd;
      s.cwnd = plus(s.cwnd, s.smss);
    }
  }

  void on_enter_recovery(CongestionState& s, std::uint32_t flight, Instant) const override {
    s.ssthresh = half_of(flight, s.smss);
    s.cwnd = s.ssthresh;
    s.bytes_acked = 0;
  }

  void on_exit_recovery(CongestionState& s, std::uint32_t flight, Instant) const override {
    // RFC 6582 section 3.2 step 3 option 1: no burst when little is in flight.
    s.cwnd = std::min(s.ssthresh, plus(std::max(flight, s.smss), s.smss));
    s.bytes_acked = 0;
  }

  void on_timeout(CongestionState& s, std::uint32_t flight, bool first, Instant) const override {
    if (first) s.ssthresh = half_of(flight, s.smss);
    s.cwnd = s.smss;
    s.bytes_acked = 0;
  }

  void on_idle_restart(CongestionState& s, std::uint32_t segments, Instant) const override {
    s.cwnd = std::min(s.cwnd, initial_window(s.smss, segments));
    s.bytes_acked = 0;
  }

  void on_smss_change(CongestionState& s, std::uint32_t smss) const override {
    s.smss = smss;
    s.cwnd = std::max(s.cwnd, smss);
  }
};

const NewReno kNewReno{};

}  // namespace

const CongestionControl& newreno() { return kNewReno; }

const CongestionControl* find_congestion(std::string_view name) {
  // BSD says newreno, Linux says reno.
  return name == "newreno" || name == "reno" ? &kNewReno : nullptr;
}

std::string_view congestion_names() { return "newreno"; }

std::uint32_t initial_window(std::uint32_t smss, std::uint32_t segments) {
  // RFC 6928: min(10*MSS, max(2*MSS, 14600)); 14600 is ten segments of 1460.
  return std::min(segments * smss, std::max(2 * smss, segments * 1460));
}

}  // namespace iopkt::tcp
