// BBR's machine: one event after the other on the state of a connection. draft-ietf-ccwg-bbr, functions in its words.
// bbr.cpp has its events, bbr_phases.cpp what it does when, bbr_model.cpp what it knows of the path and what follows for rate and window.
#pragma once

#include <algorithm>

#include "tcp/bbr.hpp"

namespace iopkt::tcp::bbr_detail {

__extension__ using Wide = unsigned __int128;

inline constexpr std::uint64_t kForever64 = UINT64_MAX;
inline constexpr std::uint32_t kForever = UINT32_MAX;
// Sections 2.5 to 2.8 and 2.15; gains and shares in hundredths.
inline constexpr std::uint32_t kStartupPacingGain = 277, kDrainPacingGain = 50, kProbeDownPacingGain = 90, kProbeUpPacingGain = 125;
inline constexpr std::uint32_t kDefaultCwndGain = 200, kProbeUpCwndGain = 225, kProbeRttCwndGain = 50;
inline constexpr std::uint32_t kPacingMarginPercent = 1, kLossThresh = 2, kBeta = 70, kHeadroom = 15;
inline constexpr std::uint32_t kMinPipeCwnd = 4;              // segments
inline constexpr std::uint32_t kStartupFullLossCount = 6;
inline constexpr std::uint32_t kExtraAckedFilterLen = 10;     // rounds
inline constexpr std::uint32_t kMostRenoRounds = 63;
inline constexpr Duration kMinRttFilterLen = 10s, kProbeRttDuration = 200ms;

/// Bytes, within the largest window that RFC 7323 allows.
inline std::uint32_t volume(Wide bytes) { return bytes > (1u << 30) ? 1u << 30 : static_cast<std::uint32_t>(bytes); }

/// One event: the state of a connection, and the acknowledgment's sample where there is one.
class Machine {
 public:
  Machine(CongestionState& s, BbrState& b, const RateSample& rs, Instant now) : s_(s), b_(b), rs_(rs), now_(now.ns) {}

  void on_init(Duration srtt);
  void update_on_ack();
  void handle_lost_packet(const LostPacket& p);
  void handle_congestion(std::uint32_t flight);
  void handle_spurious_loss_detection();
  void handle_restart_from_idle();
  void on_enter_recovery();
  void on_exit_recovery();

 private:
  // section 5.3.1, 5.3.2
  void enter_startup() { b_.state = BbrMode::startup; }
  void reset_full_bw();
  void check_full_bw_reached();
  void check_startup_high_loss();
  void check_startup_done();
  void check_drain_done();
  // section 5.3.3
  void start_probe_bw_down();
  void start_probe_bw_refill();
  void start_probe_bw_up();
  void update_probe_bw_cycle_phase();
  bool adapt_long_term_model();
  bool is_time_to_probe_bw();
  bool is_time_to_cruise() const;
  bool is_time_to_go_down();
  void raise_inflight_longterm_slope();
  void probe_inflight_longterm_upward();
  std::uint32_t inflight_with_headroom() const;
  std::uint32_t target_inflight() const { return std::min(bdp_multiple(100), s_.cwnd); }
  void pick_probe_wait();
  // section 5.3.4
  void update_min_rtt();
  void check_probe_rtt();
  void handle_probe_rtt();
  void check_probe_rtt_done();
  // section 5.5
  void start_round() { b_.next_round_delivered = b_.delivered; }
  void update_round();
  void update_max_bw();
  void update_ack_aggregation();
  std::uint32_t extra_acked() const { return std::max(b_.extra_acked[0], b_.extra_acked[1]); }
  void note_congestion();
  void note_loss();
  void handle_inflight_too_high(std::uint32_t tx_in_flight, bool app_limited);
  static bool is_inflight_too_high(std::uint64_t lost, std::uint32_t tx_in_flight, bool sack);
  void update_latest_delivery_signals();
  void advance_latest_delivery_signals();
  void update_congestion_signals();
  void reset_congestion_signals();
  void reset_short_term_model();
  void save_state_upon_loss();
  // section 5.6
  std::uint32_t pacing_gain() const;
  std::uint32_t cwnd_gain() const;
  void init_pacing_rate(Duration srtt);
  void set_pacing_rate(std::uint32_t gain);
  std::uint32_t min_pipe_cwnd() const { return kMinPipeCwnd * s_.smss; }
  std::uint32_t bdp_multiple(std::uint32_t gain) const;
  std::uint32_t quantization_budget(Wide inflight_cap) const;
  std::uint32_t inflight(std::uint32_t gain) const { return quantization_budget(bdp_multiple(gain)); }
  void set_cwnd();
  void bound_cwnd_for_model();
  void save_cwnd();
  void restore_cwnd() { s_.cwnd = std::max(s_.cwnd, b_.prior_cwnd); }

  CongestionState& s_;
  BbrState& b_;
  const RateSample& rs_;
  std::int64_t now_;
};

}  // namespace iopkt::tcp::bbr_detail
