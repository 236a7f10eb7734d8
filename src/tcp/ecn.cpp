// Explicit congestion notification, of a connection: RFC 3168 section 6.1, or more accurately RFC 9768 (accecn.hpp).
#include <algorithm>

#include "tcp/connection.hpp"

namespace iopkt::tcp {

/// The peer's SYN,ACK or, where both open at once, its SYN: RFC 3168 section 6.1.1; RFC 9768 section 3.1.2, table 2.
void Connection::negotiate_ecn(const SegmentIn& seg) {
  switch (b_.ecn) {
    case EcnMode::none:
      return;
    case EcnMode::classic:
      // The answer has ECE alone, another SYN both.
      if (b_.syn_lost || !seg.has(wire::ece) || seg.has(wire::cwr) == seg.has(wire::ack)) b_.ecn = EcnMode::none;
      return;
    case EcnMode::accurate:
      // Also to a SYN that was sent again without (section 3.1.4.1): it may be the first one that is answered.
      b_.ecn = seg.has(wire::ack) ? ecn_of_answer(seg.flags) : ecn_granted(tun().ecn_enable, seg.flags);
      if (b_.ecn == EcnMode::accurate) begin_accurate_ecn(seg.ecn);
  }
}

void Connection::begin_accurate_ecn(std::uint8_t peer_syn_ecn) {
  AccEcn& a = b_.accurate.make();
  a.syn_ecn = peer_syn_ecn;
  a.says_options = tun().ecn_option != 0;
}

/// RFC 9768 sections 3.2.2.2 and 3.2.2.3: the SYN,ACK says how our SYN came, which was not ECN-capable.
void Connection::input_syn_ack_ecn(const SegmentIn& seg, Instant now) {
  AccEcn& a = *b_.accurate;
  a.on_syn_ack(seg.ecn);
  if (b_.snd.max <= 1) a.first_data = AccEcn::FirstData::due;
  // Where both opened at once nobody is in SYN-RECEIVED to read it.
  if (b_.state == State::syn_received) a.handshake_due = false;
  const auto echo = handshake_ecn(seg.flags);
  if (echo && a.on_handshake_echo(*echo)) reduce_for_mark(b_.snd.flight(), now);
  if (!a.sends_ect) ++count().ecn_mangled;
}

/// RFC 9768 section 3.1.5: a SYN in SYN-RECEIVED. False: it asks for the other kind of ECN than the one before.
bool Connection::input_syn_again_ecn(const SegmentIn& seg) {
  const EcnMode asked = ecn_granted(tun().ecn_enable, seg.flags);
  if (b_.ecn != EcnMode::none && asked != EcnMode::none && asked != b_.ecn) return false;
  if (!b_.accurate) return true;
  b_.accurate->syn_ecn = seg.ecn;
  if (asked == EcnMode::none) b_.accurate->sends_ect = false;
  return true;
}

/// RFC 9768 section 3.2.2.1: the ACK of our SYN,ACK.
void Connection::input_last_ack_ecn(const SegmentIn& seg, std::uint32_t flight, Instant now) {
  AccEcn& a = *b_.accurate;
  const bool trusted = a.sends_ect;
  if (a.on_last_ack(seg.flags)) reduce_for_mark(flight, now);
  if (trusted && !a.sends_ect) ++count().ecn_mangled;
}

/// What arrived and was accepted: RFC 3168 section 6.1.3; RFC 9768 section 3.2.
void Connection::input_ecn(const SegmentIn& seg) {
  Receiver& rcv = b_.rcv;
  if (seg.ce()) count().rx_ce += seg.packets;
  if (b_.ecn == EcnMode::accurate) {
    rcv.ect_seen = rcv.ect_seen || seg.ecn != 0;
    // A server that has sent data knows of our ACK, but for one of Fast Open.
    if (seg.payload_len > 0 && b_.fast_open == FastOpen::none) b_.accurate->handshake_due = false;
    if (b_.accurate->on_packets(seg, seg.payload_len > 0 || rcv.unacked > 0)) rcv.ack_now = true;
    return;
  }
  if (seg.payload_len == 0) return;
  rcv.ect_seen = rcv.ect_seen || seg.ecn != 0;
  if (seg.has(wire::cwr)) rcv.echo_congestion = false;
  if (!seg.ce()) return;
  // At once: the sender should hear of it within this round trip.
  rcv.ack_now = rcv.ack_now || !rcv.echo_congestion;
  rcv.echo_congestion = true;
}

/// What an acceptable acknowledgment says of our own: RFC 3168 section 6.1.2; RFC 9768 sections 3.2.2 and 3.2.3.
void Connection::input_ecn_echo(const SegmentIn& seg, const Sender::AckOutcome& got, Instant now, bool last_of_handshake) {
  if (b_.ecn == EcnMode::classic) {
    if (!seg.has(wire::ece)) return;
    // Once for each window; and the next new data says so.
    const Offset before = b_.snd.marks().cwr_point;
    reduce_for_mark(got.flight, now);
    b_.snd.cwr_due = b_.snd.cwr_due || b_.snd.marks().cwr_point != before;
    return;
  }
  // One with data or SACK blocks has no encoding of its own.
  if (last_of_handshake && seg.length() == 0 && seg.options.sack_count == 0) return input_last_ack_ecn(seg, got.flight, now);
  // Appendix A.1: one that brings no news may be of before the last one. Its counts come again.
  AccEcn& a = *b_.accurate;
  if (got.delivered == 0) return;
  const bool trusted = a.sends_ect;
  const AccEcn::Echo echo = a.on_ack(seg, got.packets, b_.snd.mss(), b_.snd.una <= a.marks_end);
  if (echo.told) a.marks_end = b_.snd.max;
  if (trusted && !a.sends_ect) ++count().ecn_mangled;
  count().ecn_delivered_ce += echo.marks;
  if (echo.congestion) reduce_for_mark(got.flight, now);
}

void Connection::reduce_for_mark(std::uint32_t flight, Instant now) {
  if (b_.snd.on_congestion_echo(flight, now)) ++count().ecn_reductions;
}

/// Of our SYN, or SYN,ACK. What was lost may have been so for its flags (RFC 3168 section 6.1.1.1); AccECN tries twice (RFC 9768
/// sections 3.1.4.1 and 3.2.3.2.2).
std::uint16_t Connection::syn_ecn_flags(bool answer) {
  switch (b_.ecn) {
    case EcnMode::none:
      return 0;
    case EcnMode::classic:
      if (answer) return wire::ece;
      return b_.syn_lost ? 0 : wire::ece | wire::cwr;
    case EcnMode::accurate:
      break;
  }
  if (b_.snd.retries <= 1) return answer ? handshake_flags(b_.accurate->syn_ecn) : wire::ae | wire::cwr | wire::ece;
  // Section 3.1.5: the client may have taken this as a refusal.
  if (answer) b_.accurate->sends_ect = false;
  return 0;
}

/// RFC 3168 section 6.1.5, RFC 9768 section 4: only new data is ECN-capable; RFC 3168 section 6.1.2: the first of it after a reduction
/// says so.
void Connection::mark_new_data(SegmentOut& out) {
  if (b_.ecn == EcnMode::none || out.payload_len == 0) return;
  if (b_.accurate) {
    out.ect = b_.accurate->sends_ect;
    return;
  }
  out.ect = true;
  if (b_.snd.cwr_due) out.flags |= wire::cwr;
  b_.snd.cwr_due = false;
}

}  // namespace iopkt::tcp
