// What BBR knows of the path, and what follows for the pacing rate and the window: draft-ietf-ccwg-bbr sections 5.5 and 5.6.
#include "tcp/bbr_machine.hpp"

namespace iopkt::tcp::bbr_detail {

// ---- section 5.5: the model ---------------------------------------------------------------------------------------------

void Machine::update_round() {
  b_.round_start = rs_.has_data && rs_.prior_delivered >= b_.next_round_delivered;
  if (!b_.round_start) return;
  start_round();
  ++b_.round_count;
  ++b_.rounds_since_probe_up;
}

void Machine::update_max_bw() {
  update_round();
  if (rs_.delivery_rate > 0 && (rs_.delivery_rate >= b_.max_bw() || !rs_.is_app_limited))
    b_.max_bw_filter[0] = std::max(b_.max_bw_filter[0], rs_.delivery_rate);
}

/// Section 5.5.9
void Machine::update_ack_aggregation() {
  const auto expected_since = [&] {
    const auto interval = static_cast<std::uint64_t>(std::max<std::int64_t>(now_ - b_.extra_acked_interval_start, 0));
    return volume(Wide{b_.bw()} * interval / 1'000'000'000u);
  };
  std::uint32_t expected_delivered = expected_since();
  if (b_.extra_acked_delivered <= expected_delivered) {
    b_.extra_acked_delivered = 0;
    b_.extra_acked_interval_start = now_;
    expected_delivered = 0;
  }
  b_.extra_acked_delivered = volume(Wide{b_.extra_acked_delivered} + rs_.newly_acked);
  const std::uint32_t extra = std::min(b_.extra_acked_delivered - expected_delivered, s_.cwnd);
  // "In Startup, just remember 1 round"
  const std::uint32_t half = b_.full_bw_reached ? kExtraAckedFilterLen / 2 : 1;
  if (b_.round_start && b_.round_count - b_.extra_acked_round >= half) {
    b_.extra_acked_round = b_.round_count;
    b_.extra_acked[1] = b_.full_bw_reached ? b_.extra_acked[0] : 0;
    b_.extra_acked[0] = 0;
  }
  b_.extra_acked[0] = std::max(b_.extra_acked[0], extra);
}

// ---- section 5.5.10: losses ---------------------------------------------------------------------------------------------

bool Machine::is_inflight_too_high(std::uint64_t lost, std::uint32_t tx_in_flight, bool sack) {
  return Wide{lost} * 100 > Wide{tx_in_flight} * kLossThresh || (lost > 0 && !sack);
}

void Machine::handle_inflight_too_high(std::uint32_t tx_in_flight, bool app_limited) {
  b_.prev_probe_too_high = 1;
  b_.is_bw_probe_sample = 0;  // "only react once per bw probe"
  if (!app_limited) b_.inflight_longterm = std::max(tx_in_flight, volume(Wide{target_inflight()} * kBeta / 100));
  if (b_.state != BbrMode::probe_bw_up) return;
  b_.undo_state = BbrMode::probe_bw_up;
  start_probe_bw_down();
}

void Machine::note_congestion() {
  if (!b_.is_loss_in_round) b_.loss_round_delivered = b_.delivered;
  b_.is_loss_in_round = 1;
}

/// Saved once for a recovery, before the first of its losses: later ones meet a model that has changed already, and a probe that looked
/// too high makes a new round of it.
void Machine::note_loss() {
  if (!b_.undo_saved) save_state_upon_loss();
  b_.undo_saved = 1;
  note_congestion();
}

void Machine::handle_lost_packet(const LostPacket& p) {
  b_.delivered = p.total_delivered;
  note_loss();
  if (static_cast<std::uint32_t>(p.begin) != b_.last_lost_end && b_.lost_ranges_in_round < 255) ++b_.lost_ranges_in_round;
  b_.last_lost_end = static_cast<std::uint32_t>(p.end);
  if (!b_.is_bw_probe_sample || !is_inflight_too_high(p.lost, p.tx_in_flight, p.has_selective_acks)) return;
  // InflightAtLoss(): where within this transmission the losses became too many.
  const auto size = static_cast<std::uint64_t>(p.end - p.begin);
  const std::uint64_t inflight_prev = p.tx_in_flight - std::min<std::uint64_t>(p.tx_in_flight, size);
  const std::uint64_t lost_prev = p.lost - std::min(p.lost, size);
  const std::uint64_t budget = inflight_prev * kLossThresh / 100;
  const std::uint64_t lost_prefix = budget > lost_prev ? (budget - lost_prev) * 100 / (100 - kLossThresh) : 0;
  handle_inflight_too_high(volume(Wide{inflight_prev} + lost_prefix), p.is_app_limited);
}

/// Section 3.6: "the congestion controller response MUST treat any CE marks as congestion".
void Machine::handle_congestion(std::uint32_t flight) {
  note_congestion();
  b_.marked_in_round = 1;
  if (b_.is_bw_probe_sample) handle_inflight_too_high(flight, false);
}

void Machine::update_latest_delivery_signals() {
  b_.bw_latest = std::max(b_.bw_latest, rs_.delivery_rate);
  b_.inflight_latest = std::max(b_.inflight_latest, volume(rs_.delivered));
  if (!rs_.has_data || rs_.prior_delivered < b_.loss_round_delivered) return;
  b_.loss_round_delivered = b_.delivered;
  b_.loss_round_start = 1;
}

void Machine::advance_latest_delivery_signals() {
  if (!b_.loss_round_start) return;
  b_.bw_latest = rs_.delivery_rate;
  b_.inflight_latest = volume(rs_.delivered);
}

void Machine::reset_congestion_signals() {
  b_.is_loss_in_round = 0;
  b_.bw_latest = 0;
  b_.inflight_latest = 0;
}

void Machine::update_congestion_signals() {
  update_max_bw();
  if (!b_.loss_round_start) return;
  const bool probing = b_.state == BbrMode::startup || b_.state == BbrMode::probe_bw_refill || b_.state == BbrMode::probe_bw_up;
  if (b_.is_loss_in_round && !probing) {
    // InitLowerBounds(), LossLowerBounds()
    const std::uint64_t bw = b_.bw_shortterm == kForever64 ? b_.max_bw() : b_.bw_shortterm;
    const std::uint32_t volume_now = b_.inflight_shortterm == kForever ? s_.cwnd : b_.inflight_shortterm;
    b_.bw_shortterm = std::max(b_.bw_latest, static_cast<std::uint64_t>(Wide{bw} * kBeta / 100));
    b_.inflight_shortterm = std::max(b_.inflight_latest, volume(Wide{volume_now} * kBeta / 100));
  }
  b_.is_loss_in_round = 0;
}

void Machine::reset_short_term_model() {
  b_.bw_shortterm = kForever64;
  b_.inflight_shortterm = kForever;
}

// ---- section 5.5.11, 5.6.4.4: recoveries, and what was none -------------------------------------------------------------

void Machine::save_state_upon_loss() {
  save_cwnd();
  b_.undo_state = BbrMode::none;
  b_.undo_bw_shortterm = b_.bw_shortterm;
  b_.undo_inflight_shortterm = b_.inflight_shortterm;
  b_.undo_inflight_longterm = b_.inflight_longterm;
}

void Machine::on_enter_recovery() {
  save_cwnd();
  note_loss();
  b_.in_loss_recovery = 1;
}

void Machine::on_exit_recovery() {
  b_.undo_saved = 0;
  // What is sent again for a smaller path MTU is no recovery: prior_cwnd is of an older one.
  if (b_.in_loss_recovery) restore_cwnd();
  b_.in_loss_recovery = 0;
}

void Machine::handle_spurious_loss_detection() {
  on_exit_recovery();
  b_.is_loss_in_round = 0;
  reset_full_bw();
  b_.bw_shortterm = std::max(b_.bw_shortterm, b_.undo_bw_shortterm);
  b_.inflight_shortterm = std::max(b_.inflight_shortterm, b_.undo_inflight_shortterm);
  b_.inflight_longterm = std::max(b_.inflight_longterm, b_.undo_inflight_longterm);
  if (b_.undo_state == BbrMode::startup && b_.state != BbrMode::startup) {
    b_.full_bw_reached = 0;
    if (b_.state != BbrMode::probe_rtt) enter_startup();
  } else if (b_.undo_state == BbrMode::probe_bw_up && b_.state != BbrMode::probe_bw_up && b_.state != BbrMode::probe_rtt) {
    start_probe_bw_refill();
  }
  b_.undo_state = BbrMode::none;
}

void Machine::save_cwnd() {
  const bool modulated = b_.in_loss_recovery || b_.state == BbrMode::probe_rtt;
  b_.prior_cwnd = modulated ? std::max(b_.prior_cwnd, s_.cwnd) : s_.cwnd;
}

// ---- section 5.6: pacing rate and window --------------------------------------------------------------------------------

std::uint32_t Machine::pacing_gain() const {
  switch (b_.state) {
    case BbrMode::startup: return kStartupPacingGain;
    case BbrMode::drain: return kDrainPacingGain;
    case BbrMode::probe_bw_down: return kProbeDownPacingGain;
    case BbrMode::probe_bw_up: return kProbeUpPacingGain;
    default: return 100;
  }
}

std::uint32_t Machine::cwnd_gain() const {
  if (b_.state == BbrMode::probe_rtt) return kProbeRttCwndGain;
  return b_.state == BbrMode::probe_bw_up ? kProbeUpCwndGain : kDefaultCwndGain;
}

void Machine::init_pacing_rate(Duration srtt) {
  b_.has_seen_rtt = srtt.count() != 0;
  const auto per = static_cast<std::uint64_t>(srtt.count() != 0 ? srtt.count() : Duration{1ms}.count());
  s_.pacing_rate = static_cast<std::uint64_t>(Wide{b_.initial_cwnd} * 1'000'000'000u * kStartupPacingGain / 100 / per);
}

void Machine::set_pacing_rate(std::uint32_t gain) {
  const auto rate = static_cast<std::uint64_t>(Wide{b_.bw()} * gain * (100 - kPacingMarginPercent) / 10000);
  // A segment per second at least: what is 0 would not be paced.
  if (b_.full_bw_reached || rate > s_.pacing_rate) s_.pacing_rate = std::max<std::uint64_t>(rate, s_.smss);
}

std::uint32_t Machine::bdp_multiple(std::uint32_t gain) const {
  if (b_.min_rtt == INT64_MAX) return b_.initial_cwnd;
  return volume(Wide{b_.bw()} * static_cast<std::uint64_t>(b_.min_rtt) / 1'000'000'000u * gain / 100);
}

std::uint32_t Machine::quantization_budget(Wide inflight_cap) const {
  // Sections 5.5.8.1 and 5.6.3; as Sender::pacing_quantum() has it.
  const std::uint64_t send_quantum = std::max<std::uint64_t>(std::min<std::uint64_t>(s_.pacing_rate / 1000, 1u << 16), 2 * s_.smss);
  inflight_cap = std::max(inflight_cap, Wide{3 * send_quantum});
  inflight_cap = std::max(inflight_cap, Wide{min_pipe_cwnd()});
  if (b_.state == BbrMode::probe_bw_up) inflight_cap += 2 * s_.smss;
  return volume(inflight_cap);
}

void Machine::set_cwnd() {
  const std::uint32_t max_inflight = quantization_budget(Wide{bdp_multiple(cwnd_gain())} + extra_acked());
  const std::uint32_t grown = grown_window(s_.cwnd, rs_.newly_acked);
  if (b_.full_bw_reached) s_.cwnd = std::min(grown, max_inflight);
  else if (s_.cwnd < max_inflight || rs_.total_delivered < b_.initial_cwnd) s_.cwnd = grown;
  s_.cwnd = std::max(s_.cwnd, min_pipe_cwnd());
  if (b_.state == BbrMode::probe_rtt) s_.cwnd = std::min(s_.cwnd, b_.probe_rtt_cwnd);
  bound_cwnd_for_model();
}

void Machine::bound_cwnd_for_model() {
  std::uint32_t cap = kForever;
  if (b_.in_probe_bw() && b_.state != BbrMode::probe_bw_cruise) cap = b_.inflight_longterm;
  else if (b_.state == BbrMode::probe_rtt || b_.state == BbrMode::probe_bw_cruise) cap = inflight_with_headroom();
  s_.cwnd = std::min(s_.cwnd, std::max(std::min(cap, b_.inflight_shortterm), min_pipe_cwnd()));
}

}  // namespace iopkt::tcp::bbr_detail
