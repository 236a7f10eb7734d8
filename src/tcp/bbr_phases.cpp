// What BBR does when: Startup, Drain, the cycle of ProbeBW, ProbeRTT. draft-ietf-ccwg-bbr sections 5.3.1 to 5.3.4.
#include "tcp/bbr_machine.hpp"

namespace iopkt::tcp::bbr_detail {

namespace {

std::uint64_t hash(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

}  // namespace

// ---- section 5.3.1: Startup; section 5.3.2: Drain -----------------------------------------------------------------------

void Machine::reset_full_bw() {
  b_.full_bw = 0;
  b_.full_bw_count = 0;
  b_.full_bw_now = 0;
}

void Machine::check_full_bw_reached() {
  if (b_.full_bw_now || !b_.round_start || rs_.is_app_limited || rs_.delivery_rate == 0) return;
  if (Wide{rs_.delivery_rate} * 100 >= Wide{b_.full_bw} * 125) {
    reset_full_bw();
    b_.full_bw = rs_.delivery_rate;
    return;
  }
  if (++b_.full_bw_count < 3) return;
  b_.full_bw_now = b_.full_bw_reached = 1;
}

void Machine::check_startup_high_loss() {
  if (b_.full_bw_reached || !b_.loss_round_start) return;
  const bool enough = rs_.has_selective_acks ? b_.lost_ranges_in_round >= kStartupFullLossCount : b_.lost_ranges_in_round > 0;
  const bool lossy = rs_.fast_recovery && enough && is_inflight_too_high(rs_.lost, rs_.tx_in_flight, rs_.has_selective_acks);
  if (lossy || b_.marked_in_round) {
    b_.undo_state = BbrMode::startup;
    b_.full_bw_reached = b_.full_bw_now = 1;
    b_.inflight_longterm = std::max(bdp_multiple(100), b_.inflight_latest);
  }
  b_.lost_ranges_in_round = 0;
  b_.marked_in_round = 0;
}

void Machine::check_startup_done() {
  if (b_.state != BbrMode::startup) return;
  check_startup_high_loss();
  if (!b_.full_bw_reached) return;
  b_.state = BbrMode::drain;
  b_.drain_start_round = b_.round_count;
}

void Machine::check_drain_done() {
  if (b_.state == BbrMode::drain && (rs_.inflight <= inflight(100) || b_.round_count > b_.drain_start_round + 3)) start_probe_bw_down();
}

// ---- section 5.3.3: ProbeBW ---------------------------------------------------------------------------------------------

void Machine::start_probe_bw_down() {
  reset_congestion_signals();
  b_.probe_up_acked_per_inc = kForever;
  pick_probe_wait();
  b_.cycle_stamp = now_;
  b_.ack_phase = AckPhase::probe_stopping;
  start_round();
  b_.state = BbrMode::probe_bw_down;
}

void Machine::start_probe_bw_refill() {
  reset_short_term_model();
  b_.bw_probe_up_rounds = 0;
  b_.bw_probe_up_acked = 0;
  b_.prev_probe_precautionary = 0;
  b_.ack_phase = AckPhase::refilling;
  start_round();
  b_.state = BbrMode::probe_bw_refill;
}

void Machine::start_probe_bw_up() {
  b_.ack_phase = AckPhase::probe_starting;
  start_round();
  reset_full_bw();
  b_.full_bw = rs_.delivery_rate;
  b_.state = BbrMode::probe_bw_up;
  raise_inflight_longterm_slope();
}

void Machine::update_probe_bw_cycle_phase() {
  if (!b_.full_bw_reached || adapt_long_term_model()) return;
  switch (b_.state) {
    case BbrMode::probe_bw_down:
      if (!is_time_to_probe_bw() && is_time_to_cruise()) b_.state = BbrMode::probe_bw_cruise;
      break;
    case BbrMode::probe_bw_cruise:
      is_time_to_probe_bw();
      break;
    case BbrMode::probe_bw_refill:
      // "After one round of REFILL, start UP"
      if (!b_.round_start) break;
      b_.is_bw_probe_sample = 1;
      start_probe_bw_up();
      break;
    case BbrMode::probe_bw_up:
      if (!is_time_to_go_down()) break;
      b_.prev_probe_too_high = 0;  // "no high loss (yet)"
      start_probe_bw_down();
      break;
    default:
      break;
  }
}

/// True: it has decided on the next state.
bool Machine::adapt_long_term_model() {
  if (b_.ack_phase == AckPhase::probe_starting && b_.round_start) b_.ack_phase = AckPhase::probe_feedback;
  if (b_.ack_phase == AckPhase::probe_stopping && b_.round_start) {
    b_.is_bw_probe_sample = 0;
    b_.ack_phase = AckPhase::init;
    if (b_.in_probe_bw() && !rs_.is_app_limited) {
      // Section 5.5.6 AdvanceMaxBwFilter()
      b_.max_bw_filter[1] = b_.max_bw_filter[0];
      b_.max_bw_filter[0] = 0;
    }
    if (b_.in_probe_bw() && b_.prev_probe_precautionary && !b_.prev_probe_too_high) {
      start_probe_bw_refill();
      return true;
    }
  }
  if (is_inflight_too_high(rs_.lost, rs_.tx_in_flight, rs_.has_selective_acks) || b_.inflight_longterm == kForever) return false;
  b_.inflight_longterm = std::max(b_.inflight_longterm, rs_.tx_in_flight);
  if (b_.state == BbrMode::probe_bw_up) probe_inflight_longterm_upward();
  return false;
}

bool Machine::is_time_to_probe_bw() {
  // Section 5.3.3.6.2: a Reno flow with this window would have probed by now.
  const std::uint32_t reno_rounds = std::min(target_inflight() / s_.smss, kMostRenoRounds);
  if (now_ <= b_.cycle_stamp + b_.bw_probe_wait && b_.rounds_since_probe_up < reno_rounds) return false;
  start_probe_bw_refill();
  return true;
}

bool Machine::is_time_to_cruise() const {
  return rs_.inflight <= inflight_with_headroom() && rs_.inflight <= inflight(100);
}

bool Machine::is_time_to_go_down() {
  if (b_.prev_probe_too_high && rs_.inflight >= b_.inflight_longterm) {
    b_.prev_probe_precautionary = 1;
    return true;
  }
  if (rs_.cwnd_limited && s_.cwnd >= b_.inflight_longterm) {
    // inflight_longterm is what limits the bandwidth.
    reset_full_bw();
    b_.full_bw = rs_.delivery_rate;
    return false;
  }
  return b_.full_bw_now != 0;
}

void Machine::pick_probe_wait() {
  const std::uint64_t random = hash(static_cast<std::uint64_t>(now_) + b_.delivered);
  b_.rounds_since_probe_up = random & 1;
  b_.bw_probe_wait = Duration{2s}.count() + static_cast<std::int64_t>((random >> 1) % 1'000'000'000);
}

std::uint32_t Machine::inflight_with_headroom() const {
  if (b_.inflight_longterm == kForever) return kForever;
  const std::uint32_t headroom = std::max(s_.smss, volume(Wide{b_.inflight_longterm} * kHeadroom / 100));
  return std::max(b_.inflight_longterm - std::min(headroom, b_.inflight_longterm), min_pipe_cwnd());
}

void Machine::raise_inflight_longterm_slope() {
  const std::uint32_t growth_this_round = 1u << b_.bw_probe_up_rounds;
  b_.bw_probe_up_rounds = std::min<std::uint8_t>(b_.bw_probe_up_rounds + 1, 30);
  b_.probe_up_acked_per_inc = std::max(s_.cwnd / growth_this_round, s_.smss);
}

void Machine::probe_inflight_longterm_upward() {
  if (!rs_.cwnd_limited || s_.cwnd < b_.inflight_longterm) return;
  b_.bw_probe_up_acked += rs_.newly_acked;
  if (b_.bw_probe_up_acked >= b_.probe_up_acked_per_inc) {
    const std::uint32_t delta = b_.bw_probe_up_acked / b_.probe_up_acked_per_inc;
    b_.bw_probe_up_acked -= delta * b_.probe_up_acked_per_inc;
    b_.inflight_longterm = volume(Wide{b_.inflight_longterm} + Wide{delta} * s_.smss);
  }
  if (b_.round_start) raise_inflight_longterm_slope();
}

// ---- section 5.3.4: ProbeRTT --------------------------------------------------------------------------------------------

void Machine::update_min_rtt() {
  b_.min_rtt_expired = now_ > b_.min_rtt_stamp + kMinRttFilterLen.count();
  // Before a sample that a queue has perhaps made longer replaces it.
  if (b_.min_rtt_expired && b_.state != BbrMode::probe_rtt)
    b_.probe_rtt_cwnd = std::max(bdp_multiple(kProbeRttCwndGain), min_pipe_cwnd());
  if (rs_.rtt.count() > 0 && (rs_.rtt.count() < b_.min_rtt || b_.min_rtt_expired)) {
    b_.min_rtt = rs_.rtt.count();
    b_.min_rtt_stamp = now_;
  }
}

void Machine::check_probe_rtt() {
  if (b_.state != BbrMode::probe_rtt && b_.min_rtt_expired && !b_.idle_restart) {
    save_cwnd();
    b_.state = BbrMode::probe_rtt;
    b_.probe_rtt_done_stamp = 0;
    b_.ack_phase = AckPhase::probe_stopping;
    start_round();
  }
  if (b_.state == BbrMode::probe_rtt) handle_probe_rtt();
  if (rs_.delivered > 0) b_.idle_restart = 0;
}

/// MarkConnectionAppLimited() is on_sample()'s answer.
void Machine::handle_probe_rtt() {
  if (b_.probe_rtt_done_stamp == 0) {
    if (rs_.inflight > b_.probe_rtt_cwnd) return;
    b_.probe_rtt_done_stamp = now_ + kProbeRttDuration.count();
    b_.probe_rtt_round_done = 0;
    start_round();
    return;
  }
  if (b_.round_start) b_.probe_rtt_round_done = 1;
  if (b_.probe_rtt_round_done) check_probe_rtt_done();
}

void Machine::check_probe_rtt_done() {
  if (b_.probe_rtt_done_stamp == 0 || now_ <= b_.probe_rtt_done_stamp) return;
  b_.min_rtt_stamp = now_;
  restore_cwnd();
  // ExitProbeRTT()
  reset_short_term_model();
  if (!b_.full_bw_reached) return enter_startup();
  start_probe_bw_down();
  b_.state = BbrMode::probe_bw_cruise;
}

}  // namespace iopkt::tcp::bbr_detail
