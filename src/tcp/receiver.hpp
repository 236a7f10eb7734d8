// The receive half of a connection: RCV.NXT, reassembly, the offered window, what is acknowledged when.
// RFC 9293 sections 3.4, 3.8.6 and 3.10.7.4; RFC 7323 section 2; RFC 2018 section 4 (which blocks to report).
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/box.hpp"
#include "base/time.hpp"
#include "tcp/ranges.hpp"
#include "tcp/segment.hpp"

namespace iopkt::tcp {

/// What came out of order, and what came twice. Plain values.
struct OutOfOrder {
  Range duplicate{};                   ///< To be reported with the next acknowledgment (RFC 2883); empty: begin == end.
  RangeSet beyond;                     ///< Received out of order.
  std::array<Offset, 4> recent{};      ///< A byte of each range of `beyond`, the most recently changed first; 0: none.
  friend bool operator==(const OutOfOrder&, const OutOfOrder&) = default;
};

/// How large the buffer should be: what the user takes in a round trip is measured (see Receiver::tune()). Plain values.
struct Tuning {
  Duration round_trip{};           ///< Smoothed, as the receiver sees it; 0: not known.
  std::uint32_t timed_echo{};      ///< The last timestamp echo that was a sample.
  Offset round_edge{};             ///< Without timestamps: when this edge arrives a window's time is over; 0: none runs.
  Instant round_from{};
  Offset read{};                   ///< Receiver::read when the measurement began.
  Instant from{};
  friend bool operator==(const Tuning&, const Tuning&) = default;
};

/// Plain values; every field may be exported and set again. Invariants (asserted): 1 <= read <= nxt <= adv (+1 after the
/// FIN), all of beyond() lies in (nxt, adv].
///
/// Payload is never held here: accept() says where in the receive ring each new byte belongs, also when it is out of
/// order. A ring of `capacity` bytes never needs to hold a byte at or after stream position `edge() - 1`.
struct Receiver {
  Offset nxt{};   ///< RCV.NXT
  Offset adv{};   ///< Right edge of the offered window, the highest ever sent: RCV.NXT + RCV.WND.
  Offset read{1}; ///< Next byte the user will take.
  std::uint32_t capacity{};
  std::uint8_t scale{};        ///< Shift of windows that we send; 0..14 (RFC 7323 section 2.3).
  bool ack_now{};              ///< An acknowledgment is due with the next poll_output().
  bool fin_received{};         ///< The FIN was reached in order; nxt counts it.
  bool echo_congestion{};      ///< RFC 3168 section 6.1.3: each ACK says ECE, until a CWR comes.
  bool ect_seen{};             ///< Something came with ECT or CE.
  bool urgent_valid{};         ///< `up` means something.
  bool urgent_here{};          ///< The urgent byte itself has come, in order or not.
  std::uint8_t more_acks{};    ///< Duplicate ACKs due beyond the one of ack_now; only counted without SACK.
  std::uint8_t quick_acks{};   ///< Segments in order that are still acknowledged one by one, since something was lost.
  Offset fin{-1};              ///< Where the peer's FIN stands, once it was seen; -1: not yet.
  Offset up{};                 ///< RCV.UP: the byte after the urgent data.
  Offset last_ack_sent{};      ///< RFC 7323 section 4.3
  std::uint32_t unacked{};     ///< Bytes accepted in order since the last acknowledgment.
  std::uint32_t segment_size{536};  ///< The peer's full-sized segment as seen (for "every second segment").
  std::uint32_t ts_recent{};        ///< RFC 7323 section 4.3
  SeqNum irs{};
  Instant ts_recent_at{};
  Instant delack_at{Instant::never()};
  Box<Tuning> tuning;          ///< Once text has come.

  friend bool operator==(const Receiver&, const Receiver&) = default;

  const RangeSet& beyond() const { return holes().beyond; }
  const Range& duplicate() const { return holes().duplicate; }
  /// The byte before `up` was received.
  bool has_urgent_byte() const { return up <= data_end() || (up > nxt && beyond().contains(up - 1)); }
  /// It was reported.
  void forget_duplicate();

  Offset offset_of(SeqNum s) const { return nxt + (s - seq_of(nxt)); }
  SeqNum seq_of(Offset o) const { return irs + static_cast<std::uint32_t>(o); }
  std::uint32_t window() const { return adv > nxt ? static_cast<std::uint32_t>(adv - nxt) : 0; }
  /// End of the in-order stream without the FIN.
  Offset data_end() const { return fin_received ? nxt - 1 : nxt; }

  /// RFC 9293 section 3.10.7.4, first check, table 6: some of [begin, begin + length) is in the window, or nothing at its edge.
  bool acceptable(Offset begin, std::uint32_t length) const;

  struct Accepted {
    std::uint32_t bytes{};        ///< New payload, the sum of the copies.
    std::uint32_t duplicate{};    ///< Payload received before.
    std::uint32_t beyond_edge{};  ///< Payload after the window, cut off.
    bool in_order{};              ///< nxt moved.
    bool limit{};                 ///< Out of order and one hole too many: nothing was kept.
    bool fin_reached{};           ///< This segment completed the stream up to and with the FIN.
  };
  /// Takes the payload [begin, end) of a segment, with or without a FIN after it. Fills `out` (empty before).
  Accepted accept(Offset begin, Offset end, bool has_fin, std::uint32_t max_ranges, Copies& out);

  /// The window field for the next segment, and moves `adv`. Never takes back what was offered but for the rounding of
  /// the scale (RFC 7323 section 2.4); opens by less than min(capacity/2, mss) not at all (section 3.8.6.2.2).
  std::uint16_t offer_window(std::uint32_t mss, bool in_syn);
  /// The user took bytes up to `position`; true when the window has opened so far that the peer should hear of it.
  bool on_read(Offset new_read, std::uint32_t mss);
  /// New text has come: from the first on the pace is measured. `round_trip`: what the sender knows of it by then; 0: nothing.
  void begin_tuning(Duration round_trip, Instant now);
  /// A segment has come since begin_tuning(): measures the round trip by the time since its `echo` was sent, or by the time that a
  /// whole window takes.
  void time_round(std::optional<Duration> since_echo, std::uint32_t echo, Instant now);
  /// The capacity that the user's pace asks for: twice what was taken in the last round trip, so that a sender in slow start is
  /// not held back (Fisk, Feng: "Dynamic right-sizing", 2001). Once per round trip; 0: no more than there is.
  std::uint32_t tune(std::uint32_t mss, Instant now);
  /// [begin, end) had come before: the first part of it is reported once.
  void on_duplicate(Offset begin, Offset end);
  bool has_sacks() const { return holes_ && (!holes_->beyond.empty() || holes_->duplicate.begin < holes_->duplicate.end); }
  /// RFC 2018 section 4, RFC 2883 section 4: the blocks to report, at most `max`; answers their number.
  std::uint8_t sack_blocks(std::array<wire::SackBlock, 4>& blocks, std::uint8_t max) const;

 private:
  const OutOfOrder& holes() const { return holes_ ? *holes_ : no_holes(); }
  static const OutOfOrder& no_holes();
  void close_holes();
  Offset wanted_edge(std::uint32_t mss) const;
  void remember(Offset byte);

  Box<OutOfOrder> holes_;  ///< Only while there is something in it.
};

}  // namespace iopkt::tcp
