// The send half of a connection: SND.UNA to SND.NXT, what is lost, what goes out next, cwnd, RTO.
// RFC 9293 section 3.4, RFC 5681, RFC 6582 (no SACK), RFC 6675 (SACK), RFC 6298 (timer), RFC 3042 (limited transmit).
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

#include "base/time.hpp"
#include "tcp/congestion.hpp"
#include "tcp/ranges.hpp"
#include "tcp/rtt.hpp"
#include "tcp/segment.hpp"

namespace iopkt::tcp {

/// open -> fast_recovery [enter_recovery]   three duplicate ACKs, or SACK says that SND.UNA is lost
/// any  -> loss          [on_timeout]       the retransmission timer; the path MTU shrank [resend_all]
/// fast_recovery, loss -> open [on_ack]     SND.UNA passes the recovery point
enum class Phase : std::uint8_t { open, fast_recovery, loss };

/// Plain values; every field may be exported and set again. Invariants (asserted): una <= nxt <= max, sacked within
/// (una, max), una <= high_rxt once a recovery began.
struct Sender {
  SeqNum iss{};
  Offset una{};            ///< SND.UNA
  Offset nxt{};            ///< SND.NXT: next to send for the first time. Retransmission never moves it back.
  Offset max{};            ///< Highest ever sent; above nxt only after a zero-window probe that was not accepted.
  Offset tail{1};          ///< End of what the user wrote; the FIN stands here.
  Offset up{};             ///< SND.UP: the byte after the urgent data; urgent while una < up.
  Offset more_end{};       ///< Where the user said that more follows at once (MSG_MORE); counts while it is the tail.
  Offset wl1{}, wl2{};     ///< SND.WL1 (an offset of the receive side), SND.WL2
  Offset probe_end{};      ///< End of the byte that the last zero-window probe sent for the first time.
  Offset small_end{};      ///< End of the last segment below one MSS (Nagle as amended by Minshall).
  Offset limited_end{};    ///< SND.NXT when cwnd last held something back: ACKs up to here may let cwnd grow.
  std::uint32_t wnd{}, max_wnd{};  ///< SND.WND, and the largest the peer offered.
  std::uint16_t peer_mss{536};     ///< RFC 9293 section 3.7.1 SendMSS
  std::uint16_t path_mss{536};     ///< What path and user allow.
  std::uint8_t scale{};            ///< Shift of windows that we receive.
  bool sack{};
  bool fin_queued{};
  // Loss recovery.
  Phase phase{Phase::open};
  bool head_due{};             ///< [una, una + mss) goes out next, whatever cwnd says.
  bool timeout_once{};         ///< ssthresh was set for this timeout (RFC 5681 equation 4: first one only).
  std::uint8_t dup_acks{};
  std::uint8_t retries{};      ///< Timeouts without progress.
  std::uint8_t backoff{};      ///< Doublings of the RTO; ends with a valid sample (Karn).
  std::uint8_t partial_acks{};
  Offset recovery_point{};     ///< RFC 6675 RecoveryPoint, RFC 6582 recover: SND.NXT at the loss.
  Offset high_rxt{};           ///< RFC 6675 HighRxt, as an end.
  Offset rescue{};             ///< RFC 6675 RescueRxt; 0: none in this recovery.
  Offset loss_edge{};          ///< IsLost() holds for what is not SACKed below here.
  Offset head_mark{};          ///< SND.NXT when SND.UNA was sent again: SACKs above it without progress say: lost again.
  std::int64_t inflation{};    ///< RFC 6582 without SACK: segments that left the network.
  RangeSet sacked;
  // Measurement.
  RttEstimator rtt;
  Offset timed_end{};          ///< The byte whose ACK ends a measurement; 0: none runs.
  Instant timed_at{};
  Instant last_sent{};         ///< Of data; RFC 5681 section 4.1
  Instant progress_at{};       ///< Since when una waits: for R2 and the user timeout.
  CongestionState cc;
  const CongestionControl* congestion{};

  friend bool operator==(const Sender&, const Sender&) = default;

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
    const bool probe = wnd == 0 && max == probe_end && max == una + 1;
    return !probe && max - edge < (Offset{1} << scale) ? max : std::min(edge, max);
  }
  bool in_flight() const { return una < nxt; }
  std::uint32_t flight() const { return static_cast<std::uint32_t>(nxt - una); }
  /// FIN was sent at least once.
  bool fin_sent() const { return fin_queued && max > tail; }
  bool fin_acked() const { return fin_queued && una > tail; }

  /// RFC 6675 SetPipe(): bytes thought to be in the network.
  std::int64_t pipe() const;
  /// cwnd - pipe, with limited transmit and RFC 6582 inflation.
  std::int64_t room() const;

  /// How an acknowledgment looked.
  struct Ack {
    Offset ack{};                    ///< una < ack <= max, or == una
    bool duplicate_form{};           ///< No data, SYN, FIN or new window (RFC 5681 section 2).
    std::uint32_t abc_limit{};
    bool hystart{};
    std::optional<Duration> echoed;  ///< Round trip by timestamps.
    Duration rto_min{}, rto_max{};
    Instant now{};
  };
  struct AckOutcome {
    std::uint32_t acked{};
    bool duplicate{}, entered_recovery{}, exited_recovery{}, sampled{}, lost_again{};
    bool restart_timer{};   ///< RFC 6298 section 5.3
  };
  /// Takes SACK blocks into the scoreboard; to be called before on_ack. Answers bytes that were not known before.
  struct SackOutcome {
    Offset new_bytes{};
    std::uint8_t used{}, bad{}, dsack{};
  };
  SackOutcome on_sack(const wire::TcpOptions& options, Offset ack);
  AckOutcome on_ack(const Ack& a, bool sack_news);

  /// RFC 6298 section 5.4 to 5.6, RFC 5681 section 3.1. Answers true when the peer had reneged (RFC 2018 section 8).
  bool on_timeout(Instant now);
  /// All in flight goes out again in new segments, the window unchanged (RFC 1191 section 6.5: not a sign of congestion).
  void resend_all();

  /// NextSeg() rules 1 and 3 of RFC 6675, or go-back-N after a timeout: the first hole to send again.
  /// `speculative`: rule 3, holes not yet thought lost.
  std::optional<Range> next_hole(bool speculative) const;
  /// Rule 4, once per recovery.
  std::optional<Range> rescue_range(std::uint32_t mss) const;
  void on_retransmitted(Range r);
  /// `small`: it ends in less than a full segment.
  void on_sent_new(Range r, bool small, Instant now);
  void on_mss_change();
  void on_established(std::uint32_t initial_segments, Instant now);

  Duration rto(Duration initial, Duration maximum) const;

 private:
  void advance_una(Offset to);
  void update_loss_edge();
  void reset_loss_edge();
  void enter_recovery(Instant now);
  void reduce_window(Instant now);
  bool head_lost_again() const;
  bool sample_rtt(const Ack& a, Offset prior_una);
  void in_fast_recovery(const Ack& a, Offset acked, AckOutcome& out);
};

}  // namespace iopkt::tcp
