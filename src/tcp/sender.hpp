// The send half of a connection: SND.UNA to SND.NXT, what is lost, what goes out next, cwnd, RTO.
// RFC 9293 section 3.4, RFC 5681, RFC 6582 (no SACK), RFC 6675 (SACK), RFC 8985 (RACK-TLP), RFC 9937 (PRR), RFC 6298 (timer),
// RFC 3042 (limited transmit), RFC 5682 (F-RTO), RFC 3522 and RFC 3708 (spurious retransmissions).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/box.hpp"
#include "base/time.hpp"
#include "tcp/congestion.hpp"
#include "tcp/ranges.hpp"
#include "tcp/rtt.hpp"
#include "tcp/segment.hpp"
#include "tcp/sent_log.hpp"

namespace iopkt::tcp {

/// open -> fast_recovery [enter_recovery]   three duplicate ACKs, or the scoreboard says that something is lost
/// any  -> loss          [on_timeout]       the retransmission timer; the path MTU shrank [resend_all]
/// fast_recovery, loss -> open [on_ack]     SND.UNA passes the recovery point, or it was no loss [undo]
enum class Phase : std::uint8_t { open, fast_recovery, loss };

/// Which of the newer ways of finding and answering losses a connection uses (net.inet.tcp.*).
struct LossWays {
  bool rack{};   ///< RFC 8985, with SACK only
  bool prr{};    ///< RFC 9937, with SACK only
  bool frto{};   ///< RFC 5682
  bool pacing{}; ///< For algorithms that do not set a rate of their own.
  friend bool operator==(const LossWays&, const LossWays&) = default;
};

/// RFC 8985 section 5.3, names as there; what outlives a flight is in Sender.
struct Rack {
  std::uint64_t xmit_order{};  ///< When the newest delivered segment was sent (RACK.xmit_ts, see Sent::order),
  Offset end{};             ///< where it ended,
  Duration rtt{};           ///< and how long it took.
  Offset fack{};            ///< Highest delivered.
  Offset dsack_round{-1};   ///< -1: none
  friend bool operator==(const Rack&, const Rack&) = default;
};

/// What there is to know of data that is in the network, and of a recovery. Plain values.
struct Outstanding {
  SentLog log;
  Rack rk;
  Offset small_end{};          ///< End of the last segment below one MSS (Nagle as amended by Minshall).
  Offset limited_end{};        ///< SND.NXT when cwnd last held something back: ACKs up to here may let cwnd grow.
  // Loss recovery.
  Offset recovery_point{};     ///< RFC 6675 RecoveryPoint, RFC 6582 recover: SND.NXT at the loss.
  Offset rescue{};             ///< RFC 6675 RescueRxt; 0: none in this recovery.
  Offset head_mark{};          ///< SND.NXT when SND.UNA was sent again: SACKs above it without progress say: lost again.
  std::int64_t inflation{};    ///< RFC 6582 without SACK: segments that left the network.
  Instant reorder_at{Instant::never()};  ///< RFC 8985 section 6.2 step 5: what is not delivered by then is lost.
  Instant probe_at{Instant::never()};    ///< PTO of RFC 8985 section 7.2
  Offset probe_high{};         ///< TLP.end_seq; 0: no probe is out.
  Instant reduced_at{};        ///< Of the last reduction: the loss of what was sent again since then is another one.
  std::int64_t prr_delivered{}, prr_out{};
  std::uint32_t recover_fs{};  ///< RFC 9937 RecoverFS
  std::uint32_t prr_target{};  ///< What the window of this recovery comes down to: ssthresh; the whole of it when only a probe was lost.
  Range mtu_probe{};           ///< What a segment larger than mss() has: RFC 4821 section 7. Empty: none is out.
  std::uint16_t mtu_probe_mss{};  ///< The MSS that it would show.
  Instant pace_at{};           ///< Paced: nothing goes out before.
  // Was it a loss at all? Of the reductions since cc.undo_cwnd was set.
  Offset undo_from{-1};        ///< SND.UNA then; -1: nothing to undo.
  Offset undo_until{};         ///< Later news do not count; set when the recovery ends.
  std::int64_t undo_bytes{};   ///< Sent again and not reported as duplicates (RFC 3708).
  std::int64_t resent_ms{-1};  ///< Millisecond of the first retransmission (RFC 3522); -1: none.
  // Measurement.
  Offset timed_end{};          ///< The byte whose ACK ends a measurement; 0: none runs.
  Instant timed_at{};
  friend bool operator==(const Outstanding&, const Outstanding&) = default;
};

/// Places in the stream that mean something to few connections. Plain values.
struct Marks {
  Offset up{};             ///< SND.UP: the byte after the urgent data; urgent while una < up.
  Offset more_end{};       ///< Where the user said that more follows at once (MSG_MORE); counts while it is the tail.
  Offset probe_end{};      ///< End of the byte that the last zero-window probe sent for the first time.
  Offset cwr_point{};      ///< RFC 3168: SND.NXT at the last reduction that a mark asked for.
  friend bool operator==(const Marks&, const Marks&) = default;
};

/// Plain values; every field may be exported and set again. Invariants (asserted): una <= nxt <= max, the log covers [una, nxt).
struct Sender {
  SeqNum iss{};
  std::uint16_t peer_mss{536};     ///< RFC 9293 section 3.7.1 SendMSS
  std::uint16_t path_mss{536};     ///< What path and user allow.
  Offset una{};            ///< SND.UNA
  Offset nxt{};            ///< SND.NXT: next to send for the first time. Retransmission never moves it back.
  Offset max{};            ///< Highest ever sent; above nxt only after a zero-window probe that was not accepted.
  Offset tail{1};          ///< End of what the user wrote; the FIN stands here.
  Offset wl1{}, wl2{};     ///< SND.WL1 (an offset of the receive side), SND.WL2
  std::uint32_t wnd{}, max_wnd{};  ///< SND.WND, and the largest the peer offered.
  std::uint8_t scale{};            ///< Shift of windows that we receive.
  bool sack{};
  bool fin_queued{};
  LossWays ways;
  // Loss recovery; the rest of it lies in air().
  Phase phase{Phase::open};
  bool head_due{};             ///< [una, una + mss) goes out next, whatever cwnd says.
  bool timeout_once{};         ///< ssthresh was set for this timeout (RFC 5681 equation 4: first one only).
  std::uint8_t dup_acks{};
  std::uint8_t retries{};      ///< Timeouts without progress.
  std::uint8_t backoff{};      ///< Doublings of the RTO; ends with a valid sample (Karn).
  std::uint8_t partial_acks{};
  std::uint8_t frto{};         ///< RFC 5682 section 2.1, the step that the next ACK decides: 2 or 3; 0: none.
  bool probe_again{};          ///< TLP.is_retrans
  bool loss_probe_due{};       ///< A probe goes out next.
  bool lost_again{};           ///< RACK found that what was sent again since the last reduction is lost.
  enum class Verdict : std::uint8_t { none, passes, lost } mtu_verdict{};  ///< Of the last probe, until somebody has taken it.
  bool spared{};               ///< The recovery repairs such a probe alone: no sign of congestion.
  bool pace_blocked{};         ///< Something waits for its pace.
  bool cwr_due{};              ///< The next new segment says CWR.
  std::uint8_t reo_wnd_mult{1}; ///< RACK.reo_wnd_mult, RACK.reo_wnd_persist, RACK.reordering_seen
  std::uint8_t reo_wnd_persist : 7 {16};
  bool reordering_seen : 1 {};
  Box<DeliveryRate> rate;      ///< draft-ietf-ccwg-bbr section 4.1, for algorithms that model the path.
  RttEstimator rtt;
  Duration rack_rtt{};         ///< RACK.rtt, while nothing is outstanding.
  Instant last_sent{};         ///< Of data; RFC 5681 section 4.1
  Instant progress_at{};       ///< Since when una waits: for R2 and the user timeout.
  std::uint64_t resent_total{};  ///< Bytes that were sent again, ever.
  CongestionState cc;
  const CongestionControl* congestion{};

  friend bool operator==(const Sender&, const Sender&) = default;

  /// There while it is needed: an idle connection has none, and reads what it would be at its beginning.
  const Outstanding& air() const { return air_ ? *air_ : none_outstanding(); }
  Outstanding& air() { return air_ ? *air_ : begin_outstanding(); }
  bool has_air() const { return static_cast<bool>(air_); }
  const Marks& marks() const { return marks_ ? *marks_ : no_marks(); }
  Marks& make_marks() { return marks_.make(); }

  SeqNum seq_of(Offset o) const { return iss + static_cast<std::uint32_t>(o); }
  Offset offset_of(SeqNum s) const { return una + (s - seq_of(una)); }
  /// RFC 9293 section 3.7.1 Eff.snd.MSS without the length of options.
  std::uint32_t mss() const { return peer_mss < path_mss ? peer_mss : path_mss; }
  /// End of sequence space that may ever be sent: data and FIN.
  Offset end() const { return tail + (fin_queued ? 1 : 0); }
  Offset window_edge() const { return una + wnd; }
  /// Where a segment without text stands, so that the peer looks at it: SND.NXT; at the edge when the peer has taken its window back,
  /// for it would not look at what is beyond. An edge that moved by less than the unit of the window field did so by rounding
  /// (RFC 7323 section 2.4): then the peer still takes what it offered before, and has perhaps received it. The byte of a zero-window
  /// probe is not such: it was never offered, and was most likely refused.
  Offset bare_segment_at() const {
    const Offset edge = std::max(window_edge(), una);
    const bool probe = wnd == 0 && max == marks().probe_end && max == una + 1;
    return !probe && max - edge < (Offset{1} << scale) ? max : std::min(edge, max);
  }
  bool in_flight() const { return una < nxt; }
  std::uint32_t flight() const { return static_cast<std::uint32_t>(nxt - una); }
  /// FIN was sent at least once.
  bool fin_sent() const { return fin_queued && max > tail; }
  bool fin_acked() const { return fin_queued && una > tail; }
  bool uses_rack() const { return sack && ways.rack; }

  /// RFC 6675 SetPipe(): bytes thought to be in the network.
  std::int64_t pipe() const;
  /// cwnd - pipe, with limited transmit and RFC 6582 inflation.
  std::int64_t room() const;

  /// How an acknowledgment looked.
  struct Ack {
    Offset ack{};                    ///< una < ack <= max, or == una
    bool duplicate_form{};           ///< No data, SYN, FIN or new window (RFC 5681 section 2).
    const wire::TcpOptions* sacks{}; ///< Its SACK blocks, if they count; nullptr: none.
    std::uint32_t abc_limit{};
    bool hystart{};
    std::optional<Duration> echoed;      ///< Round trip by timestamps.
    std::optional<std::int64_t> echo_ms; ///< The millisecond, on our clock, in which what it echoes was sent.
    Duration rto_min{}, rto_max{};
    Instant now{};
  };
  struct AckOutcome {
    std::uint32_t acked{};
    std::uint32_t flight{};     ///< FlightSize before it.
    std::uint32_t delivered{};  ///< Bytes that the peer is now known to have, by SACK or without,
    std::uint32_t packets{};    ///< and the packets that they were in.
    bool duplicate{}, entered_recovery{}, exited_recovery{}, sampled{}, lost_again{}, undone{}, probe_repaired{}, reordered{};
    bool restart_timer{};   ///< RFC 6298 section 5.3
    std::uint8_t sacks_used{}, sacks_bad{}, dsacks{};
  };
  AckOutcome on_ack(const Ack& a);

  /// RFC 3168 section 6.1.2: the peer has seen a mark, says an acknowledgment before which `flight` bytes were in flight. Answers true
  /// when the window was reduced for it, once for each window of data.
  bool on_congestion_echo(std::uint32_t flight, Instant now);

  /// draft-ietf-ccwg-bbr section 4.1.2.4 CheckIfApplicationLimited(): before the user's data grows, an acknowledgment or a timer is
  /// looked at.
  void check_app_limited();
  /// Bytes per second; 0: not paced.
  std::uint64_t pacing_rate() const;
  /// Most bytes that go out at once: what a millisecond has room for, two segments at least.
  Offset pacing_quantum() const;
  /// Nothing may go out yet; pace_at says when.
  bool paced(Instant now);

  /// RFC 6298 section 5.4 to 5.6, RFC 5681 section 3.1. Answers true when the peer had reneged (RFC 2018 section 8).
  bool on_timeout(Instant now);
  /// reorder_at has come. Answers entered_recovery or lost_again.
  AckOutcome on_reorder_timer(Instant now);
  /// All in flight goes out again in new segments, the window unchanged (RFC 1191 section 6.5: not a sign of congestion).
  void resend_all();

  /// RFC 8985 section 7.2: arms probe_at, or clears it where a probe has no place. `rto_at`: when the retransmission timer ends.
  void arm_probe(Instant now, Instant rto_at, Duration max_ack_delay);
  /// RFC 8985 section 7.3: what the probe sends again when there is no new data: the end of what was sent.
  std::optional<Range> probe_range(std::uint32_t mss) const;
  void on_probe_sent(bool again);

  /// NextSeg() rules 1 and 3 of RFC 6675, or what RACK or the timer call lost: the first hole to send again.
  /// `speculative`: rule 3, holes not yet thought lost.
  std::optional<Range> next_hole(bool speculative) const;
  /// Rule 4, once per recovery.
  std::optional<Range> rescue_range(std::uint32_t mss) const;
  /// In packets of `segment` bytes.
  void on_retransmitted(Range r, std::uint32_t segment, Instant now);
  /// `small`: it ends in less than a full segment.
  void on_sent_new(Range r, std::uint32_t segment, bool small, Instant now);
  /// What on_sent_new() told of last was a segment that shows whether the path takes `probe_mss`.
  void on_mtu_probe_sent(Range r, std::uint16_t probe_mss);
  /// What is in flight was not accepted (a window probe's byte, data of a SYN): SND.NXT goes back to SND.UNA.
  void take_back_unacked();
  void on_mss_change();
  /// The algorithm to begin with.
  void choose(const CongestionControl& algorithm);
  /// TCP_CONGESTION in the middle of it.
  void adopt(const CongestionControl& other, Instant now);
  void on_established(std::uint32_t initial_segments, const LossWays& how, Instant now);

  Duration rto(Duration initial, Duration maximum) const;

 private:
  /// What one acknowledgment says about single transmissions.
  struct News {
    Instant now{};
    std::optional<std::int64_t> echo_ms;
    Offset delivered{};            ///< Bytes, RFC 9937 DeliveredData.
    std::uint32_t packets{};
    Offset sacked{};               ///< Of these, by SACK.
    Offset fack{};
    Instant newest{};              ///< The last sent of what was never sent again.
    Duration rtt{};                ///< Of that one; 0: none.
    bool original{};               ///< Something of before the recovery point was delivered and never sent again.
    bool reordered{}, dsack{}, dsack_of_probe{};
    std::uint64_t lost_before{};   ///< rate.lost before it
    RateSampler sampler;
  };
  static const Outstanding& none_outstanding();
  static const Marks& no_marks();
  Outstanding& begin_outstanding();
  void settle(Instant now);
  // sender.cpp
  void advance_una(Offset to, News& news);
  bool sample_rtt(const Ack& a, Offset prior_una, const News& news);
  bool find_losses(const Ack& a, const AckOutcome& out);
  void enter_recovery(std::uint32_t flight_before, Offset outstanding_before, Instant now);
  void exit_recovery(Instant now);
  void on_any_sent(Offset bytes, Instant now);
  void reduce_window(std::uint32_t flight_before, Instant now);
  void reduce_again(std::uint32_t flight_before, Instant now);
  void enter_loss();
  bool head_lost_again() const;
  void in_open(const Ack& a, const News& news, bool lost, Offset prior_una, std::uint32_t prior_flight, Offset outstanding, AckOutcome& out);
  void in_fast_recovery(const Ack& a, const News& news, bool lost, AckOutcome& out);
  void reduce_proportionally(Offset delivered, bool safe);
  void model_path(const News& news, bool cwnd_limited);
  void remember_sent(Offset begin, bool idle, Instant now);
  void lose(std::size_t i, Instant now);
  void judge_mtu_probe();
  void end_sparing(std::uint32_t flight_before, Instant now);
  bool only_probe_lost() const;
  void tell_lost(const Sent& s, const TransmitState& note, Instant now);
  // rack.cpp
  void take_sacks(const Ack& a, News& news, AckOutcome& out);
  void note_delivered(const Sent& s, const TransmitState& note, News& news);
  void lose_by_rfc6675(Instant now);
  bool lose_by_rack(Instant now);
  void lose_by_timer(Instant now);
  Duration reorder_window() const;
  void adapt_reorder_window(const News& news, bool exiting);
  bool end_probe(const Ack& a, const News& news, bool duplicate);
  // undo.cpp
  void watch_reduction();
  void step_frto(const News& news, const AckOutcome& out);
  void on_dsack(Range r);
  bool was_spurious(const Ack& a, const News& news, const AckOutcome& out);
  void undo(Instant now);

  Box<Outstanding> air_;
  Box<Marks> marks_;  ///< None while all of them are 0.
};

}  // namespace iopkt::tcp
