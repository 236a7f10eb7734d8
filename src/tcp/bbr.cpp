// BBR version 3: draft-ietf-ccwg-bbr, functions and constants in its words, sections of its revision of 2026.
//
// Where it leaves a choice: the extra_acked filter has two halves in place of Nichols' algorithm; a mark of RFC 3168 counts as a lost
// range, in Startup as enough of them; randomness is a hash of the moment in nanoseconds.
#include "tcp/bbr.hpp"

#include <algorithm>

namespace iopkt::tcp {

namespace {

__extension__ using Wide = unsigned __int128;

constexpr std::uint64_t kForever64 = UINT64_MAX;
constexpr std::uint32_t kForever = UINT32_MAX;
// Sections 2.5 to 2.8 and 2.15; gains and shares in hundredths.
constexpr std::uint32_t kStartupPacingGain = 277, kDrainPacingGain = 50, kProbeDownPacingGain = 90, kProbeUpPacingGain = 125;
constexpr std::uint32_t kDefaultCwndGain = 200, kProbeUpCwndGain = 225, kProbeRttCwndGain = 50;
constexpr std::uint32_t kPacingMarginPercent = 1, kLossThresh = 2, kBeta = 70, kHeadroom = 15;
constexpr std::uint32_t kMinPipeCwnd = 4;              // segments
constexpr std::uint32_t kStartupFullLossCount = 6;
constexpr std::uint32_t kExtraAckedFilterLen = 10;     // rounds
constexpr std::uint32_t kMostRenoRounds = 63;
constexpr Duration kMinRttFilterLen = 10s, kProbeRttDuration = 200ms;

std::uint32_t volume(Wide bytes) { return bytes > (1u << 30) ? 1u << 30 : static_cast<std::uint32_t>(bytes); }

std::uint64_t hash(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

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

// ---- section 5.2: the events ------------------------------------------------------------------------------------------

void Machine::on_init(Duration srtt) {
  b_ = {};
  b_.min_rtt = srtt.count() != 0 ? srtt.count() : INT64_MAX;
  b_.min_rtt_stamp = b_.extra_acked_interval_start = now_;
  b_.initial_cwnd = b_.probe_rtt_cwnd = s_.cwnd;
  b_.undo_state = BbrMode::none;
  b_.inflight_longterm = b_.undo_inflight_longterm = kForever;
  b_.undo_bw_shortterm = kForever64;
  b_.undo_inflight_shortterm = kForever;
  b_.probe_up_acked_per_inc = kForever;
  reset_short_term_model();
  reset_full_bw();
  init_pacing_rate(srtt);
  enter_startup();
}

void Machine::update_on_ack() {
  b_.delivered = rs_.total_delivered;
  b_.round_start = b_.loss_round_start = 0;
  if (rs_.newly_acked > 0) {
    update_latest_delivery_signals();
    update_congestion_signals();
    update_ack_aggregation();
    check_full_bw_reached();
    check_startup_done();
    check_drain_done();
    update_probe_bw_cycle_phase();
  }
  update_min_rtt();
  check_probe_rtt();
  if (rs_.newly_acked > 0) advance_latest_delivery_signals();
  if (!b_.has_seen_rtt && rs_.srtt.count() != 0) init_pacing_rate(rs_.srtt);
  set_pacing_rate(pacing_gain());
  set_cwnd();
}

void Machine::handle_restart_from_idle() {
  b_.idle_restart = 1;
  b_.extra_acked_interval_start = now_;
  if (b_.in_probe_bw()) set_pacing_rate(100);
  else if (b_.state == BbrMode::probe_rtt) check_probe_rtt_done();
}

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

void Machine::note_loss() {
  if (!b_.is_loss_in_round) {
    b_.loss_round_delivered = b_.delivered;
    save_state_upon_loss();
  }
  b_.is_loss_in_round = 1;
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
  note_loss();
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

/// What the first loss of the round saved stays: since then it may have changed the model.
void Machine::on_enter_recovery() {
  save_cwnd();
  note_loss();
  b_.in_loss_recovery = 1;
}

void Machine::on_exit_recovery() {
  b_.in_loss_recovery = 0;
  restore_cwnd();
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

/// Runs one step on the state of a connection.
template <class Step>
void with_machine(CongestionState& s, const RateSample& rs, Instant now, Step step) {
  BbrState b = s.load<BbrState>();
  step(Machine(s, b, rs, now), b);
  s.store(b);
}

class Bbr final : public CongestionControl {
 public:
  std::string_view name() const override { return "bbr"; }
  bool models_path() const override { return true; }

  void on_established(CongestionState& s, std::uint32_t segments, Duration srtt, Instant now) const override {
    CongestionControl::on_established(s, segments, srtt, now);
    with_machine(s, {}, now, [&](Machine m, BbrState&) { m.on_init(srtt); });
  }
  void on_adopted(CongestionState& s, Duration srtt, Instant now) const override {
    CongestionControl::on_adopted(s, srtt, now);
    with_machine(s, {}, now, [&](Machine m, BbrState&) { m.on_init(srtt); });
  }
  void on_ack(CongestionState&, const AckSample&) const override {}
  bool on_sample(CongestionState& s, const RateSample& rs) const override {
    bool probe_rtt = false;
    with_machine(s, rs, rs.now, [&](Machine m, BbrState& b) {
      m.update_on_ack();
      probe_rtt = b.state == BbrMode::probe_rtt;
    });
    return probe_rtt;
  }
  void on_lost(CongestionState& s, const LostPacket& p) const override {
    with_machine(s, {}, p.now, [&](Machine m, BbrState&) { m.handle_lost_packet(p); });
  }
  void on_congestion(CongestionState& s, std::uint32_t flight, Instant now) const override {
    with_machine(s, {}, now, [&](Machine m, BbrState&) { m.handle_congestion(flight); });
  }
  void on_enter_recovery(CongestionState& s, std::uint32_t, Instant now) const override {
    remember(s);
    with_machine(s, {}, now, [](Machine m, BbrState&) { m.on_enter_recovery(); });
  }
  void on_exit_recovery(CongestionState& s, std::uint32_t, Instant now) const override {
    with_machine(s, {}, now, [](Machine m, BbrState&) { m.on_exit_recovery(); });
  }
  void on_timeout(CongestionState& s, std::uint32_t flight, bool, Instant now) const override {
    on_enter_recovery(s, flight, now);
    s.cwnd = s.smss;
  }
  void on_undo(CongestionState& s, Instant now) const override {
    if (s.undo_cwnd == 0) return;
    CongestionControl::on_undo(s, now);
    with_machine(s, {}, now, [](Machine m, BbrState&) { m.handle_spurious_loss_detection(); });
  }
  /// Section 5.4: the window stays, the pacing makes up for the ACK clock.
  void on_idle_restart(CongestionState&, std::uint32_t, Instant) const override {}
  void on_transmit_start(CongestionState& s, bool app_limited, Instant now) const override {
    if (!app_limited) return;
    with_machine(s, {}, now, [](Machine m, BbrState&) { m.handle_restart_from_idle(); });
  }
};

const Bbr kBbr{};

}  // namespace

const CongestionControl& bbr() { return kBbr; }

}  // namespace iopkt::tcp
