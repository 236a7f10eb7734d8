// SEGMENT ARRIVES: RFC 9293 sections 3.10.7.3 (SYN-SENT) and 3.10.7.4 (all others), the checks in the RFC's order, with those of
// RFC 7323 section 5.3 and RFC 5961 sections 3 to 5 at their places.
#include <algorithm>

#include "tcp/connection.hpp"

namespace iopkt::tcp {

namespace {
constexpr std::uint8_t kMaxScale = 14;         // RFC 7323 section 2.3
constexpr std::uint16_t kMinPeerMss = 64;      // room for 40 bytes of options and some payload
constexpr Duration kTimestampAge = std::chrono::hours(24 * 24);  // RFC 7323 section 5.5
}  // namespace

SegmentResult Connection::on_segment(const SegmentIn& seg, Instant now, Copies& out) {
  out.clear();
  switch (b_.state) {
    case State::closed:
      return {.drop = Drop::tcp_no_socket};
    case State::syn_sent:
      return input_syn_sent(seg, now, out);
    case State::time_wait:
      return input_time_wait(seg, now);
    default:
      return input_synchronized(seg, now, out);
  }
}

/// What the peer's SYN agrees to of what we offer; until now the fields said what we offer.
void Connection::negotiate(const wire::TcpOptions& options, Instant now) {
  if (options.mss && *options.mss != 0) b_.snd.peer_mss = std::max(*options.mss, kMinPeerMss);
  if (b_.window_scaling && options.window_scale) {
    b_.snd.scale = std::min(*options.window_scale, kMaxScale);
  } else {
    // RFC 7323 section 2.2: both or none.
    b_.window_scaling = false;
    b_.snd.scale = b_.rcv.scale = 0;
  }
  b_.timestamps = b_.timestamps && options.timestamps.has_value();
  if (b_.timestamps) {
    b_.rcv.ts_recent = options.timestamps->value;
    b_.rcv.ts_recent_at = now;
  }
  b_.snd.sack = b_.snd.sack && options.sack_permitted;
}

SegmentResult Connection::input_syn_sent(const SegmentIn& seg, Instant now, Copies& out) {
  const Offset ack = b_.snd.offset_of(seg.ack);
  // First, the ACK bit: SEG.ACK =< ISS or SEG.ACK > SND.NXT: <SEQ=SEG.ACK><CTL=RST>, unless RST.
  if (seg.has(wire::ack) && (ack <= 0 || ack > b_.snd.max)) {
    if (!seg.has(wire::rst)) queue_reset(seg.ack, std::nullopt);
    return {.drop = Drop::tcp_bad_ack};
  }
  // Second, RST: only one that acknowledges our SYN is true.
  if (seg.has(wire::rst)) {
    if (!seg.has(wire::ack)) return {.drop = Drop::tcp_rst_in_syn_sent};
    ++count().rx_resets;
    fail(Failure::refused, now);
    return {};
  }
  // Fourth, SYN. Fifth: neither SYN nor RST.
  if (!seg.has(wire::syn)) return {.drop = Drop::tcp_no_flags};
  b_.rcv.irs = seg.seq;
  b_.last_received = now;
  negotiate(seg.options, now);
  negotiate_ecn(seg);
  // RFC 7323 section 2.2: the window of a segment with SYN is never scaled.
  b_.snd.wnd = b_.snd.max_wnd = seg.window;
  b_.snd.wl1 = 0;
  b_.snd.wl2 = std::max<Offset>(seg.has(wire::ack) ? ack : 0, 0);
  if (!seg.has(wire::ack)) {
    // Both opened at once: <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>
    b_.state = State::syn_received;
    b_.syn_due = true;
    return {};
  }
  b_.rcv.ack_now = true;
  establish(now);
  input_ack(seg, 0, ack, now);
  if (b_.ecn == EcnMode::accurate) input_syn_ack_ecn(seg, now);
  if (b_.seldom().syn_data && b_.seldom().syn_data->sent > 0) on_syn_data_answered(now);
  if (seg.payload_len > 0 || seg.has(wire::fin)) {
    // "If there are other controls or text in the segment, then continue processing at the sixth step."
    if (const auto drop = input_data(seg, 1, now, out)) return {.drop = drop};
  }
  return {};
}

/// RFC 7413 section 4.1.3.1: what the server did not take of the SYN's data goes again, as if it had never been sent.
void Connection::on_syn_data_answered(Instant) {
  b_.syn_data_acked = b_.snd.una > 1;
  ++(b_.syn_data_acked ? count().fast_open_active : count().fast_open_active_fail);
  if (!b_.snd.in_flight()) return;
  b_.snd.take_back_unacked();
  b_.rexmt_at = b_.snd.air().probe_at = Instant::never();
}

SegmentResult Connection::input_synchronized(const SegmentIn& segment, Instant now, Copies& out) {
  SegmentIn seg = segment;
  Offset begin = b_.rcv.offset_of(seg.seq);
  if (b_.state == State::syn_received && seg.has(wire::syn) && begin == 0 && !seg.has(wire::rst)) {
    // The peer's SYN again, or after a simultaneous open its SYN,ACK (RFC 9293 figure 8). The SYN is known: cut it off.
    if (!seg.has(wire::ack)) {
      b_.syn_due = true;
      if (!input_syn_again_ecn(seg)) {
        reset_peer();
        fail(Failure::refused, now);
      }
      return {};
    }
    if (b_.ecn == EcnMode::accurate) input_syn_ack_ecn(seg, now);
    seg.flags = static_cast<std::uint16_t>(seg.flags & ~wire::syn);
    begin = 1;
    b_.rcv.ack_now = true;
  }

  // RFC 7323 section 5.3 R1, then first: the sequence number.
  if (const auto drop = check_timestamp(seg, now)) {
    b_.rcv.ack_now = b_.rcv.ack_now || (*drop == Drop::tcp_paws);
    return {.drop = drop};
  }
  if (const auto drop = check_sequence(seg, begin, now)) {
    // Two ends whose acknowledgments were lost send each other nothing but what is known. So the news in it count, as in 4.4BSD.
    if (brings_old_news(seg, begin)) input_ack(seg, begin, b_.snd.offset_of(seg.ack), now);
    return {.drop = drop};
  }

  // Second, RST.
  if (seg.has(wire::rst)) {
    return {.drop = input_reset(begin, now)};
  }
  // Fourth, SYN: RFC 5961 section 4.2, whatever its number.
  if (seg.has(wire::syn)) {
    challenge(now);
    return {.drop = Drop::tcp_syn_in_window};
  }
  // Fifth, ACK.
  if (!seg.has(wire::ack)) return {.drop = Drop::tcp_no_flags};
  const Offset ack = b_.snd.offset_of(seg.ack);
  if (const auto drop = check_ack(seg, ack, now)) return {.drop = drop};
  update_ts_recent(seg, begin, now);
  if (b_.ecn != EcnMode::none && !segment.has(wire::syn)) input_ecn(seg);
  b_.last_received = now;
  b_.keep_probes = b_.persist_probes = 0;
  const bool last_ack = b_.state == State::syn_received;
  if (last_ack) establish(now);
  input_ack(seg, begin, ack, now, last_ack);
  if (b_.state == State::closed || b_.state == State::time_wait) return {};

  // Sixth, URG. Seventh, the text. Eighth, FIN.
  if (seg.has(wire::urg)) input_urgent(seg, begin);
  if (seg.payload_len > 0 || seg.has(wire::fin)) return {.drop = input_data(seg, begin, now, out)};
  ++count().rx_pure_acks;
  return {};
}

/// RFC 7323 sections 3.2 and 5.3 R1.
std::optional<Drop> Connection::check_timestamp(const SegmentIn& seg, Instant now) {
  if (!b_.timestamps || seg.has(wire::rst)) return std::nullopt;
  if (!seg.options.timestamps) return Drop::tcp_no_timestamp;
  if (static_cast<std::int32_t>(seg.options.timestamps->value - b_.rcv.ts_recent) >= 0) return std::nullopt;
  // Section 5.5: after 24 days of silence the peer's clock may have gone half way round.
  return now - b_.rcv.ts_recent_at > kTimestampAge ? std::nullopt : std::optional{Drop::tcp_paws};
}

/// First, check sequence number: RFC 9293 section 3.10.7.4.
std::optional<Drop> Connection::check_sequence(const SegmentIn& seg, Offset begin, Instant now) {
  const Receiver& rcv = b_.rcv;
  if (rcv.acceptable(begin, seg.length())) return std::nullopt;
  const Offset end = begin + seg.length();
  if (rcv.window() == 0 && begin <= rcv.nxt && end > rcv.nxt) {
    // A window probe: nothing of its text is kept, but RST, URG and ACK count (MUST-66), and it is answered.
    ++count().rx_window_probes;
    b_.rcv.ack_now = true;
    return std::nullopt;
  }
  if (!seg.has(wire::rst)) {
    if (seg.payload_len > 0 && end <= rcv.nxt) {
      count().rx_duplicate_bytes += seg.payload_len;
      // Not of another age.
      if (end + Offset{rcv.capacity} > rcv.nxt) b_.rcv.on_duplicate(begin, begin + seg.payload_len);
    }
    // "<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>". One without text is answered at a limited rate: two ends that are out of
    // step would otherwise answer each other for ever.
    if (seg.length() > 0) b_.rcv.ack_now = true;
    else challenge(now);
    // RFC 9768 section 3.2.2.1: our ACK of it was lost, unless something that followed on it shows that it was not. Then the flags of the
    // next one are a counter to the server, as all others.
    if (b_.accurate && seg.has(wire::syn) && seg.has(wire::ack) && begin == 0 && b_.rcv.nxt == 1 && b_.snd.max <= 1) b_.accurate->on_syn_ack(seg.ecn);
  }
  return Drop::tcp_out_of_window;
}

/// A segment all of which was received before, that acknowledges more than any other did. What the peer still sends lies no further
/// back than what it may have in flight.
bool Connection::brings_old_news(const SegmentIn& seg, Offset begin) const {
  if (b_.state == State::syn_received || !seg.has(wire::ack) || seg.has(wire::rst) || seg.has(wire::syn)) return false;
  const Offset ack = b_.snd.offset_of(seg.ack), end = begin + seg.length();
  return end <= b_.rcv.nxt && end + Offset{b_.rcv.capacity} > b_.rcv.nxt && ack > b_.snd.una && ack <= b_.snd.max;
}

/// RFC 7323 section 4.3 (2) and 5.3 R3.
void Connection::update_ts_recent(const SegmentIn& seg, Offset begin, Instant now) {
  if (!b_.timestamps || !seg.options.timestamps || begin > b_.rcv.last_ack_sent) return;
  b_.rcv.ts_recent = seg.options.timestamps->value;
  b_.rcv.ts_recent_at = now;
}

/// Second, check the RST bit: RFC 5961 section 3.2. The segment is in the window.
std::optional<Drop> Connection::input_reset(Offset begin, Instant now) {
  if (begin != b_.rcv.nxt) {
    challenge(now);
    return Drop::tcp_rst_not_exact;
  }
  ++count().rx_resets;
  switch (b_.state) {
    case State::syn_received:
      // A program has one that Fast Open opened already.
      fail(b_.fast_open == FastOpen::accepted ? Failure::reset : Failure::refused, now);
      break;
    case State::closing:
    case State::last_ack:
      finish();
      break;
    case State::close_wait:
      fail(Failure::reset_after_fin, now);
      break;
    default:
      fail(Failure::reset, now);
  }
  return std::nullopt;
}

/// Fifth, check the ACK field: RFC 9293 section 3.10.7.4 and RFC 5961 section 5.2.
std::optional<Drop> Connection::check_ack(const SegmentIn& seg, Offset ack, Instant now) {
  if (b_.state == State::syn_received) {
    // SND.UNA < SEG.ACK =< SND.NXT, else <SEQ=SEG.ACK><CTL=RST>
    if (ack > b_.snd.una && ack <= b_.snd.max) return std::nullopt;
    queue_reset(seg.ack, std::nullopt);
    return Drop::tcp_bad_ack;
  }
  // (SND.UNA - MAX.SND.WND) =< SEG.ACK =< SND.NXT
  if (ack <= b_.snd.max && ack >= b_.snd.una - Offset{b_.snd.max_wnd}) return std::nullopt;
  challenge(now);
  return Drop::tcp_bad_ack;
}

SegmentResult Connection::input_time_wait(const SegmentIn& seg, Instant now) {
  TimeWait self = time_wait();
  const TimeWaitOutcome outcome = tcp::on_segment(self, seg, now, tun());
  b_.make_seldom().linger_at = self.until;
  switch (outcome.kind) {
    case TimeWaitOutcome::Kind::ignore:
      break;
    case TimeWaitOutcome::Kind::ack:
      b_.rcv.ack_now = true;
      break;
    case TimeWaitOutcome::Kind::challenge:
      challenge(now);
      break;
    case TimeWaitOutcome::Kind::reopen:
      ++count().time_wait_reopened;
      return {.drop = std::nullopt, .reopen = true};
  }
  return {.drop = Drop::tcp_time_wait};
}

/// RFC 5961 section 7: a challenge ACK, at a limited rate, counted per connection (a shared count would be a side channel).
void Connection::challenge(Instant now) {
  Seldom& seldom = b_.make_seldom();
  if (now - seldom.challenge_from >= ms(kChallengePeriodMs)) {
    seldom.challenge_from = now;
    seldom.challenge_count = 0;
  }
  if (seldom.challenge_count >= tun().challenge_ack_limit) {
    ++count().tx_challenge_limited;
    return;
  }
  ++seldom.challenge_count;
  ++count().tx_challenge_acks;
  b_.rcv.ack_now = true;
}

}  // namespace iopkt::tcp
