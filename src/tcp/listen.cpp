#include "tcp/listen.hpp"

#include <algorithm>

namespace iopkt::tcp {

namespace {

constexpr std::uint16_t kMinMss = 64;

SegmentOut reset_to(const SegmentIn& seg) {
  // <SEQ=SEG.ACK><CTL=RST>
  SegmentOut out;
  out.seq = seg.ack;
  out.flags = wire::rst;
  return out;
}

Duration syn_ack_timeout(const Context& context, std::uint8_t retries) {
  Duration d = ms(context.tunables->rto_initial_ms);
  for (std::uint8_t i = 0; i < retries && d < ms(context.tunables->rto_max_ms); ++i) d *= 2;
  return std::min(d, ms(context.tunables->rto_max_ms));
}

/// Challenge ACKs of RFC 5961, at a limited rate.
bool may_challenge(const Context& context, HalfOpen& self, Instant now) {
  if (now - self.challenge_from >= ms(kChallengePeriodMs)) {
    self.challenge_from = now;
    self.challenge_count = 0;
  }
  if (self.challenge_count >= context.tunables->challenge_ack_limit) {
    ++context.counters->tx_challenge_limited;
    return false;
  }
  ++self.challenge_count;
  ++context.counters->tx_challenge_acks;
  return true;
}

/// <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>
SegmentOut ack_of(const HalfOpen& self, Instant now) {
  SegmentOut out = syn_ack(self, now);
  out.seq = self.iss + 1;
  out.flags = wire::ack;
  if (self.ecn == EcnMode::accurate) out.flags |= wire::flags_of_ace(AccEcn{}.r_cep);
  out.window = static_cast<std::uint16_t>(self.rcv_wnd >> self.rcv_scale);
  out.options = {};
  if (self.timestamps)
    out.options.timestamps = {static_cast<std::uint32_t>(now.milliseconds()) + self.timestamp_offset, self.ts_recent};
  return out;
}

}  // namespace

HalfOpen half_open_of(const Context& context, const OpenConfig& config, const SegmentIn& seg, SeqNum iss, Instant now) {
  const Tunables& t = *context.tunables;
  const std::uint16_t maxseg = config.options.maxseg != 0 ? std::max(config.options.maxseg, kMinMss) : UINT16_MAX;
  HalfOpen h;
  h.iss = iss;
  h.irs = seg.seq;
  h.timestamp_offset = config.timestamp_offset;
  h.started = now;
  h.deadline = now + syn_ack_timeout(context, 0);
  h.snd_wnd = seg.window;
  h.advertised_mss = std::min(config.advertised_mss, maxseg);
  h.peer_mss = std::max(seg.options.mss.value_or(0) != 0 ? *seg.options.mss : config.default_peer_mss, kMinMss);
  h.rcv_wnd = static_cast<std::uint16_t>(std::min<std::uint32_t>(config.receive_capacity, 65535));
  h.window_scaling = config.window_scaling && t.rfc1323 != 0 && seg.options.window_scale.has_value();
  if (h.window_scaling) {
    h.snd_scale = std::min<std::uint8_t>(*seg.options.window_scale, 14);
    h.rcv_scale = window_scale_for(config);
  }
  h.timestamps = config.timestamps && t.timestamps != 0 && seg.options.timestamps.has_value();
  if (h.timestamps) h.ts_recent = seg.options.timestamps->value;
  h.sack = config.sack && t.sack_enable != 0 && seg.options.sack_permitted;
  h.ecn = ecn_granted(t.ecn_enable, seg.flags);
  h.syn_ecn = seg.ecn;
  h.accecn_option = t.ecn_option != 0 && config.options.signature_len == 0;
  return h;
}

ListenOutcome on_segment_in_listen(const Context& context, const OpenConfig& config, const SegmentIn& seg, SeqNum iss,
                                   Instant now) {
  using Kind = ListenOutcome::Kind;
  // First, RST: nothing was sent on this connection that it could answer.
  if (seg.has(wire::rst)) return {.kind = Kind::ignore, .drop = Drop::tcp_rst_in_listen};
  // Second, ACK: there is nothing to acknowledge. <SEQ=SEG.ACK><CTL=RST>
  if (seg.has(wire::ack)) return {.kind = Kind::reset, .drop = Drop::tcp_ack_in_listen, .answer = reset_to(seg)};
  // Third, SYN: a child enters SYN-RECEIVED and the listener stays. <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>
  if (seg.has(wire::syn)) {
    // SYN with FIN is no opening that any host makes, but section 3.10.7.2 does not forbid it: the FIN is not kept.
    ListenOutcome out{.kind = Kind::open_child};
    out.child = half_open_of(context, config, seg, iss, now);
    out.answer = syn_ack(out.child, now);
    ++context.counters->half_open_created;
    ++context.counters->tx_syns;
    return out;
  }
  // Fourth, anything else had an ACK or a RST in a correct peer and never gets here.
  return {.kind = Kind::ignore, .drop = Drop::tcp_no_syn_in_listen};
}

/// RFC 9768 section 3.2.3.2.2: without the option when it is sent again, and then without ECN.
static void add_ecn(const HalfOpen& self, SegmentOut& out) {
  if (self.ecn == EcnMode::classic) out.flags |= wire::ece;
  if (self.ecn != EcnMode::accurate || self.retries > 1) return;
  out.flags |= handshake_flags(self.syn_ecn);
  if (self.accecn_option && self.retries == 0 && !self.syn_again && !self.fast_open) out.options.accecn = AccEcn{}.whole_option();
}

SegmentOut syn_ack(const HalfOpen& self, Instant now) {
  SegmentOut out;
  out.seq = self.iss;
  out.ack = self.irs + 1;
  out.flags = wire::syn | wire::ack;
  out.window = self.rcv_wnd;  // RFC 7323 section 2.2: never scaled in a SYN
  out.options.mss = self.advertised_mss;
  if (self.window_scaling) out.options.window_scale = self.rcv_scale;
  out.options.sack_permitted = self.sack;
  if (self.timestamps)
    out.options.timestamps = {static_cast<std::uint32_t>(now.milliseconds()) + self.timestamp_offset, self.ts_recent};
  add_ecn(self, out);
  out.retransmission = self.retries > 0;
  return out;
}

/// <SEQ=SND.NXT><ACK=RCV.NXT><CTL=RST,ACK>
static SegmentOut reset_of(const HalfOpen& self) {
  SegmentOut out;
  out.seq = self.iss + 1;
  out.ack = self.irs + 1;
  out.flags = wire::rst | wire::ack;
  return out;
}

/// RFC 9768 section 3.1.5. False: it asks for the other kind of ECN than the one before, so that nobody knows which is in use.
static bool take_syn_again(const Context& context, HalfOpen& self, const SegmentIn& syn) {
  const EcnMode asked = ecn_granted(context.tunables->ecn_enable, syn.flags);
  if (self.ecn != EcnMode::none && asked != EcnMode::none && asked != self.ecn) return false;
  self.syn_ecn = syn.ecn;
  self.syn_again = true;
  self.ecn_doubted = self.ecn_doubted || asked == EcnMode::none;
  return true;
}

HalfOpenOutcome on_segment(const Context& context, HalfOpen& self, const SegmentIn& seg, Instant now) {
  using Kind = HalfOpenOutcome::Kind;
  const std::int32_t ahead = seg.seq - (self.irs + 1);  // SEG.SEQ - RCV.NXT

  // The SYN again: the SYN,ACK was lost. Exactly the same one, so that nobody else can make us send.
  if (seg.has(wire::syn) && !seg.has(wire::ack) && !seg.has(wire::rst) && ahead == -1) {
    if (!take_syn_again(context, self, seg)) return {.kind = Kind::reset, .answer = reset_of(self)};
    if (!may_challenge(context, self, now)) return {.kind = Kind::ignore, .drop = Drop::tcp_syn_in_window};
    ++context.counters->half_open_rexmt;
    ++context.counters->tx_syns;
    return {.kind = Kind::answer, .answer = syn_ack(self, now)};
  }
  // RFC 7323 section 5.3 R1 and section 3.2.
  if (self.timestamps && !seg.has(wire::rst)) {
    if (!seg.options.timestamps) return {.kind = Kind::ignore, .drop = Drop::tcp_no_timestamp};
    if (static_cast<std::int32_t>(seg.options.timestamps->value - self.ts_recent) < 0) {
      if (!may_challenge(context, self, now)) return {.kind = Kind::ignore, .drop = Drop::tcp_paws};
      return {.kind = Kind::answer, .drop = Drop::tcp_paws, .answer = ack_of(self, now)};
    }
  }
  // First, the sequence number.
  const auto length = static_cast<std::int32_t>(seg.length());
  const auto window = static_cast<std::int32_t>(self.rcv_wnd);
  const bool acceptable = window == 0 ? length == 0 && ahead == 0
                                      : ahead < window && (length == 0 ? ahead >= 0 : ahead + length > 0);
  const bool probe = window == 0 && ahead <= 0 && ahead + length > 0;
  if (!acceptable && !probe) {
    if (seg.has(wire::rst) || !may_challenge(context, self, now))
      return {.kind = Kind::ignore, .drop = Drop::tcp_out_of_window};
    return {.kind = Kind::answer, .drop = Drop::tcp_out_of_window, .answer = ack_of(self, now)};
  }
  // Second, RST: back to LISTEN, which never left. RFC 5961 section 3.2: only the exact one.
  if (seg.has(wire::rst)) {
    if (ahead == 0) {
      ++context.counters->half_open_reset;
      return {.kind = Kind::give_up};
    }
    if (!may_challenge(context, self, now)) return {.kind = Kind::ignore, .drop = Drop::tcp_rst_not_exact};
    return {.kind = Kind::answer, .drop = Drop::tcp_rst_not_exact, .answer = ack_of(self, now)};
  }
  // Fourth, SYN.
  if (seg.has(wire::syn)) {
    if (!may_challenge(context, self, now)) return {.kind = Kind::ignore, .drop = Drop::tcp_syn_in_window};
    return {.kind = Kind::answer, .drop = Drop::tcp_syn_in_window, .answer = ack_of(self, now)};
  }
  // Fifth, ACK: SND.UNA < SEG.ACK =< SND.NXT, else <SEQ=SEG.ACK><CTL=RST>.
  if (!seg.has(wire::ack)) return {.kind = Kind::ignore, .drop = Drop::tcp_no_flags};
  if (seg.ack != self.iss + 1) return {.kind = Kind::answer, .drop = Drop::tcp_bad_ack, .answer = reset_to(seg)};
  return {.kind = Kind::complete};
}

HalfOpenOutcome on_timer(const Context& context, HalfOpen& self, Instant now) {
  using Kind = HalfOpenOutcome::Kind;
  if (self.retries >= context.tunables->syn_ack_retries) {
    ++context.counters->half_open_timed_out;
    return {.kind = Kind::give_up};
  }
  ++self.retries;
  self.ecn_doubted = self.ecn_doubted || self.retries > 1;
  self.deadline = now + syn_ack_timeout(context, self.retries);
  ++context.counters->half_open_rexmt;
  ++context.counters->tx_syns;
  return {.kind = Kind::answer, .answer = syn_ack(self, now)};
}

}  // namespace iopkt::tcp
