// What all algorithms of congestion control have in common, and the list of them.
#include "tcp/congestion.hpp"

#include <algorithm>

namespace iopkt::tcp {

void CongestionControl::on_established(CongestionState& s, std::uint32_t segments, Duration, Instant) const {
  s.cwnd = initial_window(s.smss, segments);
  s.ssthresh = UINT32_MAX;
  s.bytes_acked = 0;
  s.undo_cwnd = 0;
  s.own.reset();
}

void CongestionControl::on_exit_recovery(CongestionState& s, std::uint32_t flight, Instant) const {
  // RFC 6582 section 3.2 step 3 option 1: no burst when little is in flight.
  s.cwnd = std::min(s.ssthresh, grown_window(std::max(flight, s.smss), s.smss));
  s.bytes_acked = 0;
}

void CongestionControl::on_undo(CongestionState& s, Instant) const {
  if (s.undo_cwnd == 0) return;
  s.cwnd = std::max(s.cwnd, s.undo_cwnd);
  s.ssthresh = std::max(s.ssthresh, s.undo_ssthresh);
  s.undo_cwnd = 0;
  s.bytes_acked = 0;
}

void CongestionControl::on_idle_restart(CongestionState& s, std::uint32_t segments, Instant) const {
  s.cwnd = std::min(s.cwnd, initial_window(s.smss, segments));
  s.bytes_acked = 0;
}

void CongestionControl::on_smss_change(CongestionState& s, std::uint32_t smss) const {
  s.smss = smss;
  s.cwnd = std::max(s.cwnd, smss);
}

void CongestionControl::on_adopted(CongestionState& s, Duration, Instant) const {
  s.own.reset();
  s.pacing_rate = 0;
  s.undo_cwnd = 0;
  s.bytes_acked = 0;
}

void CongestionControl::remember(CongestionState& s) {
  if (s.undo_cwnd != 0) return;
  s.undo_cwnd = s.cwnd;
  s.undo_ssthresh = s.ssthresh;
}

const CongestionControl* find_congestion(std::string_view name) {
  if (name == "newreno") return &newreno();
  for (const CongestionControl* one : {&cubic(), &newreno(), &bbr()})
    if (one->name() == name) return one;
  return nullptr;
}

std::string_view congestion_names() { return "cubic reno bbr"; }

std::uint32_t initial_window(std::uint32_t smss, std::uint32_t segments) {
  // RFC 6928: min(10*MSS, max(2*MSS, 14600)); 14600 is ten segments of 1460.
  return std::min(segments * smss, std::max(2 * smss, segments * 1460));
}

std::uint32_t grown_window(std::uint32_t cwnd, std::uint64_t more) {
  constexpr std::uint64_t kMost = 1u << 30;  // the largest window that RFC 7323 allows
  return static_cast<std::uint32_t>(std::min(cwnd + std::min(more, kMost), kMost));
}

std::uint32_t slow_start(CongestionState& s, const AckSample& ack) {
  const std::uint32_t step = std::min(ack.acked, ack.abc_limit * s.smss);
  const std::uint32_t used = std::min(step, s.ssthresh - s.cwnd);
  s.cwnd = grown_window(s.cwnd, used);
  return s.in_slow_start() ? 0 : step - used;
}

}  // namespace iopkt::tcp
