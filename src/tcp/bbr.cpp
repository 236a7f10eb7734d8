// BBR version 3: draft-ietf-ccwg-bbr, functions and constants in its words, sections of its revision of 2026.
//
// Where it leaves a choice: the extra_acked filter has two halves in place of Nichols' algorithm; a mark of RFC 3168 counts as a lost
// range, in Startup as enough of them; randomness is a hash of the moment in nanoseconds.
#include "tcp/bbr.hpp"

#include "tcp/bbr_machine.hpp"

namespace iopkt::tcp {

namespace bbr_detail {

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

}  // namespace bbr_detail

namespace {

using bbr_detail::Machine;

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
