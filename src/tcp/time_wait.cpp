#include "tcp/time_wait.hpp"

namespace iopkt::tcp {

namespace {

SegmentOut answer_of(const TimeWait& self, Instant now) {
  SegmentOut out;
  out.seq = self.snd_nxt;
  out.ack = self.rcv_nxt;
  out.flags = wire::ack;
  out.window = self.window;
  if (self.timestamps)
    out.options.timestamps = {static_cast<std::uint32_t>(now.milliseconds()) + self.timestamp_offset, self.ts_recent};
  return out;
}

}  // namespace

TimeWaitOutcome on_segment(TimeWait& self, const SegmentIn& seg, Instant now, const Tunables& tunables) {
  using Kind = TimeWaitOutcome::Kind;
  // RFC 1337: a RST never ends TIME-WAIT.
  if (seg.has(wire::rst)) return {Kind::ignore, {}};

  const bool has_ts = seg.options.timestamps.has_value();
  if (seg.has(wire::syn) && !seg.has(wire::ack)) {
    // RFC 6191 section 2: with timestamps on both, a later timestamp, or the same one and a higher sequence number; where only the
    // new one has them, no old segment can be taken for one of its. Else RFC 9293 section 3.10.7.4 (and RFC 1122 section 4.2.2.13):
    // a sequence number above all of the old ones.
    const bool seq_above = seg.seq > self.rcv_nxt;
    const bool would_have_ts = has_ts && tunables.timestamps != 0;
    bool fresh = seq_above || (would_have_ts && !self.timestamps);
    if (self.timestamps && would_have_ts) {
      const auto age = static_cast<std::int32_t>(seg.options.timestamps->value - self.ts_recent);
      fresh = age > 0 || (age == 0 && seq_above);
    }
    if (fresh) return {Kind::reopen, {}};
    return {Kind::challenge, answer_of(self, now)};
  }

  if (self.timestamps && has_ts && static_cast<std::int32_t>(seg.options.timestamps->value - self.ts_recent) < 0)
    return {Kind::challenge, answer_of(self, now)};  // PAWS: RFC 7323 section 5.3 R1

  const std::int32_t ahead = seg.seq - self.rcv_nxt;
  if (seg.length() == 0 && ahead == 0) return {Kind::ignore, {}};  // the acknowledgment of our last ACK, or an echo of it
  // Retransmission of the FIN: its number is the one before RCV.NXT.
  if (seg.has(wire::fin) && ahead + static_cast<std::int32_t>(seg.length()) == 0) {
    self.until = now + 2 * ms(tunables.msl_ms);
    return {Kind::ack, answer_of(self, now)};
  }
  return {Kind::challenge, answer_of(self, now)};
}

}  // namespace iopkt::tcp
