// The sixth to eighth step of RFC 9293 section 3.10.7.4: URG, the segment text, FIN; and when to acknowledge (section 3.8.6.3,
// RFC 5681 section 4.2).
#include <algorithm>

#include "tcp/connection.hpp"

namespace iopkt::tcp {
namespace {

/// Behind a loss the peer's window is small: a segment that waits for a second one would be missing from it (RFC 5681 section 4.2
/// asks for an acknowledgment of at least every second one).
constexpr std::uint8_t kQuickAcks = 16;

}  // namespace

/// Sixth: RCV.UP <- max(RCV.UP, SEG.UP). RFC 6093 section 3.1: the pointer names the byte after the urgent data, as everybody
/// sends it. The data itself stays in the stream. A pointer at a byte that has come before is of a repeated segment, or means a byte
/// that was shown as ordinary data: nothing urgent is to come (the host's TCP ignores it, too).
void Connection::input_urgent(const SegmentIn& seg, Offset begin) {
  if (!may_receive(b_.state) || seg.urgent == 0) return;
  const Offset up = begin + seg.urgent;
  if (up <= b_.rcv.nxt || (b_.rcv.urgent_valid && up <= b_.rcv.up)) return;
  b_.rcv.up = up;
  b_.rcv.urgent_valid = true;
  b_.rcv.urgent_here = b_.rcv.has_urgent_byte();
  b_.events |= event_urgent;
  ++count().rx_urgent;
}

/// Seventh and eighth. `begin`: where the text begins. Every segment that comes here has text or a FIN.
std::optional<Drop> Connection::input_data(const SegmentIn& seg, Offset begin, Instant now, Copies& out) {
  Receiver& rcv = b_.rcv;
  const Offset end = begin + seg.payload_len;
  if (!may_receive(b_.state)) {
    // "This should not occur, since a FIN has been received from the remote side. Ignore the segment text."
    rcv.ack_now = true;
    return Drop::tcp_out_of_window;
  }
  if (b_.orphan && seg.payload_len > 0 && end > rcv.nxt) {
    // RFC 1122 section 4.2.2.13: data that nobody will read.
    reset_peer();
    fail(Failure::aborted, now);
    return Drop::tcp_after_close;
  }
  const bool had_holes = !rcv.beyond().empty();
  const Offset before = rcv.data_end();
  const Receiver::Accepted got = rcv.accept(begin, end, seg.has(wire::fin), tun().reass_ranges, out);
  count().rx_bytes += got.bytes;
  count().rx_duplicate_bytes += got.duplicate;
  count().rx_after_window_bytes += got.beyond_edge;
  if (!got.in_order) count().rx_out_of_order_bytes += got.bytes;
  if (rcv.data_end() > before) b_.events |= event_readable;
  if (rcv.urgent_valid && !rcv.urgent_here && rcv.has_urgent_byte()) {
    rcv.urgent_here = true;
    b_.events |= event_urgent;
  }
  if (got.bytes > 0) rcv.begin_tuning(b_.snd.rtt.srtt, now);
  if (rcv.tuning) time_round(seg, now);
  schedule_ack(seg, got, had_holes, now);
  if (got.fin_reached) input_fin(now);
  if (got.limit) return Drop::tcp_range_limit;
  return std::nullopt;
}

/// For the receive buffer: how long is a round trip, by this segment?
void Connection::time_round(const SegmentIn& seg, Instant now) {
  if (!b_.timestamps) {
    b_.rcv.time_round(std::nullopt, 0, now);
  } else if (seg.options.timestamps && seg.payload_len >= b_.rcv.segment_size) {
    // Smaller ones may have waited for their sender.
    if (const auto since = since_echo(seg, now)) b_.rcv.time_round(since, seg.options.timestamps->echo, now);
  }
}

void Connection::schedule_ack(const SegmentIn& seg, const Receiver::Accepted& got, bool had_holes, Instant now) {
  Receiver& rcv = b_.rcv;
  if (seg.payload_len <= b_.advertised_mss) rcv.segment_size = std::max(rcv.segment_size, seg.payload_len);
  // RFC 5681 section 4.2: at once for what is out of order, fills a hole, or came before; for a FIN as everybody does.
  if (!got.in_order || got.bytes < seg.payload_len || had_holes || got.fin_reached || b_.options.quickack) {
    // A peer without SACK counts duplicates, so a burst of segments beyond a hole draws as many ACKs. With SACK one says all.
    if (got.in_order) rcv.more_acks = 0;
    else if (rcv.ack_now && !b_.snd.sack && got.bytes > 0 && rcv.more_acks < 255) ++rcv.more_acks;
    rcv.ack_now = true;
    if (!got.in_order || had_holes) rcv.quick_acks = kQuickAcks;
    return;
  }
  if (rcv.quick_acks > 0) {
    --rcv.quick_acks;
    rcv.ack_now = true;
    return;
  }
  // RFC 9293 section 3.8.6.3: every second full-sized segment; others within the delay.
  rcv.unacked += got.bytes;
  if (rcv.unacked >= 2 * rcv.segment_size || tun().delack_ms == 0) {
    rcv.ack_now = true;
  } else if (rcv.delack_at.is_never()) {
    rcv.delack_at = now + ms(tun().delack_ms);
  }
}

/// Eighth: the FIN was reached in order.
void Connection::input_fin(Instant now) {
  ++count().rx_fins;
  b_.events |= event_peer_fin;
  switch (b_.state) {
    case State::established:
      b_.state = State::close_wait;
      break;
    case State::fin_wait_1:
      // Our FIN is not acknowledged: the fifth check would have moved on.
      b_.state = State::closing;
      break;
    case State::fin_wait_2:
      enter_time_wait(now);
      break;
    default:
      break;
  }
}

}  // namespace iopkt::tcp
