// What BBR knows of a path: draft-ietf-ccwg-bbr sections 2.5 to 2.15, names as there without their prefix.
#pragma once

#include <cstdint>

#include "tcp/congestion.hpp"

namespace iopkt::tcp {

/// Section 5.1.1:  startup -> drain -> probe_bw_down -> _cruise -> _refill -> _up -> _down ...; any -> probe_rtt -> startup or _cruise.
enum class BbrMode : std::uint8_t { startup, drain, probe_bw_down, probe_bw_cruise, probe_bw_refill, probe_bw_up, probe_rtt, none };

/// Section 2.13
enum class AckPhase : std::uint8_t { init, refilling, probe_starting, probe_feedback, probe_stopping };

/// Rates in bytes per second, volumes in bytes, times in nanoseconds. UINT64_MAX and UINT32_MAX: infinity.
struct BbrState {
  std::uint64_t max_bw_filter[2];   ///< Of this ProbeBW cycle, and of the one before.
  std::uint64_t bw_shortterm, bw_latest, full_bw, undo_bw_shortterm;
  std::uint64_t next_round_delivered, loss_round_delivered;
  std::uint64_t delivered;          ///< C.delivered at the last acknowledgment or loss
  std::int64_t min_rtt;             ///< INT64_MAX: infinity
  std::int64_t min_rtt_stamp, probe_rtt_done_stamp, extra_acked_interval_start, cycle_stamp, bw_probe_wait;
  std::uint32_t inflight_longterm, inflight_shortterm, inflight_latest, undo_inflight_shortterm, undo_inflight_longterm;
  std::uint32_t prior_cwnd, probe_rtt_cwnd, initial_cwnd;
  std::uint32_t extra_acked_delivered;
  std::uint32_t extra_acked[2];     ///< The filter in two parts of half its length each
  std::uint32_t extra_acked_round;  ///< of which the first began in this round.
  std::uint32_t bw_probe_up_acked, probe_up_acked_per_inc, rounds_since_probe_up, round_count, drain_start_round;
  std::uint32_t last_lost_end;      ///< Where the last loss ended, modulo 2^32: a range or a new one?
  BbrMode state, undo_state;
  AckPhase ack_phase;
  std::uint8_t full_bw_count, bw_probe_up_rounds, lost_ranges_in_round;
  std::uint8_t full_bw_reached, full_bw_now, round_start, loss_round_start, is_loss_in_round, idle_restart;
  std::uint8_t probe_rtt_round_done, min_rtt_expired, is_bw_probe_sample, prev_probe_too_high, prev_probe_precautionary;
  std::uint8_t in_loss_recovery, has_seen_rtt, marked_in_round;
  std::uint8_t undo_saved;          ///< What undo_* hold is of before the losses of this recovery.
  std::uint8_t unused[3];

  std::uint64_t max_bw() const { return max_bw_filter[0] > max_bw_filter[1] ? max_bw_filter[0] : max_bw_filter[1]; }
  /// Section 5.5.10.3 BoundBWForModel()
  std::uint64_t bw() const { return max_bw() < bw_shortterm ? max_bw() : bw_shortterm; }
  bool in_probe_bw() const { return state >= BbrMode::probe_bw_down && state <= BbrMode::probe_bw_up; }
};

}  // namespace iopkt::tcp
