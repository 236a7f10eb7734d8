// What goes out next, and in which order: RST, SYN, retransmissions, new data and FIN, probes, acknowledgments.
// RFC 9293 sections 3.7.4 (Nagle), 3.8.6.1 (probes), 3.8.6.2.1 (silly window); RFC 6675 section 5 (C); RFC 5681 section 4.1.
#include <algorithm>

#include "tcp/connection.hpp"

namespace iopkt::tcp {

namespace {
constexpr Duration kCorkTime = 200ms;  // as Linux's TCP_CORK
}  // namespace

std::optional<SegmentOut> Connection::poll_output(Instant now) {
  if (b_.reset_due) return output_reset(now);
  b_.snd.pace_blocked = false;
  switch (b_.state) {
    case State::closed:
      return std::nullopt;
    case State::syn_sent:
    case State::syn_received:
      if (b_.syn_held && b_.snd.tail <= 1 && !b_.snd.fin_queued) return std::nullopt;
      if (b_.syn_due) return output_syn(now);
      if (b_.fast_open == FastOpen::accepted) break;
      b_.rcv.ack_now = b_.rcv.ack_now && b_.state == State::syn_received;
      return b_.rcv.ack_now ? output_ack(now) : std::nullopt;
    case State::time_wait:
      return b_.rcv.ack_now ? output_ack(now) : std::nullopt;
    default:
      break;
  }
  // RFC 9768 section 3.2.2.1: alone, before any data.
  if (b_.accurate && b_.accurate->handshake_due) return output_ack(now);
  if (b_.probe_due)
    if (auto s = output_probe(now)) return s;
  if (b_.snd.loss_probe_due)
    if (auto s = output_loss_probe(now)) return s;
  // RFC 6675 NextSeg(): what is lost, then new data, then what may be lost, then a rescue.
  if (auto s = output_retransmission(now, false)) return s;
  if (auto s = output_next(now)) return s;
  if (auto s = output_retransmission(now, true)) return s;
  b_.probe_due = false;
  if (b_.keepalive_due) return output_keepalive(now);
  if (b_.rcv.ack_now) return output_ack(now);
  return std::nullopt;
}

// ---- parts of a segment -----------------------------------------------------------------------------------------------

/// Of every segment after the SYN.
std::uint32_t Connection::fixed_options() const { return (b_.timestamps ? 12u : 0u) + b_.options.signature_len; }

/// SACK blocks: 3 beside timestamps, 4 without (RFC 2018 section 3); fewer beside a signature. RFC 9768 section 3.2.3.3: AccECN's
/// option leaves room for two of them, or does without.
Connection::OptionPlan Connection::plan_options(bool data) const {
  OptionPlan plan;
  std::uint32_t room = 40 - fixed_options();
  const bool first_ack = b_.accurate && b_.accurate->handshake_due;
  if (b_.snd.sack && b_.rcv.has_sacks() && room >= 12 && !first_ack) {
    const bool duplicate = b_.rcv.duplicate().begin < b_.rcv.duplicate().end;
    plan.sack_blocks = static_cast<std::uint8_t>(std::min<std::size_t>(b_.rcv.beyond().size() + (duplicate ? 1 : 0), (room - 4) / 8));
  }
  if (!b_.accurate) return plan;
  const std::uint32_t kept = b_.accurate->unsaid != 0 ? std::min<std::uint32_t>(plan.sack_blocks, 2) : plan.sack_blocks;
  room -= std::min(room, kept > 0 ? 4 + 8 * kept : 0);
  plan.accecn = b_.accurate->option(room, data);
  if (plan.accecn && plan.sack_blocks > kept) {
    const std::uint32_t left = 40 - fixed_options() - static_cast<std::uint32_t>(wire::encoded_len(*plan.accecn));
    plan.sack_blocks = static_cast<std::uint8_t>(std::min<std::uint32_t>(plan.sack_blocks, (left - 4) / 8));
  }
  return plan;
}

/// Payload of one full segment: Eff.snd.MSS of RFC 9293 section 3.7.1, less the options that every data segment has now.
std::uint32_t Connection::payload_per_segment() const {
  const OptionPlan plan = plan_options(true);
  std::uint32_t options = fixed_options();
  if (plan.sack_blocks > 0) options += 4 + 8 * plan.sack_blocks;
  if (plan.accecn) options += static_cast<std::uint32_t>(wire::encoded_len(*plan.accecn));
  // IPoptionsize of RFC 9293 section 3.7.1; a peer that takes next to nothing gets that.
  constexpr std::uint32_t kLeast = 24;
  const std::uint32_t network = b_.options.network_words * 4u;
  return std::max(b_.snd.mss() - options, network + kLeast) - network;
}

SegmentOut Connection::header(SeqNum seq, std::uint16_t flags, Instant now, bool data) {
  SegmentOut out;
  out.seq = seq;
  out.flags = static_cast<std::uint16_t>(flags | wire::ack);
  if (b_.rcv.echo_congestion) out.flags |= wire::ece;
  out.ack = b_.rcv.seq_of(b_.rcv.nxt);
  out.window = b_.rcv.offer_window(b_.advertised_mss, false);
  if (b_.timestamps) out.options.timestamps = {timestamp(now), b_.rcv.ts_recent};
  const OptionPlan plan = plan_options(data);
  if (plan.sack_blocks > 0) {
    out.options.sack_count = b_.rcv.sack_blocks(out.options.sack, plan.sack_blocks);
    b_.rcv.forget_duplicate();
  }
  if (b_.accurate) {
    out.flags |= b_.accurate->handshake_due ? handshake_flags(b_.accurate->syn_ecn) : wire::flags_of_ace(b_.accurate->r_cep);
    out.options.accecn = plan.accecn;
    b_.accurate->on_sent(plan.accecn, data);
  }
  ++count().tx_segments;
  on_ack_sent();
  return out;
}

/// Devices that cut do not know the urgent pointer, and some clear CWR in all but the first piece, whatever it means; nor
/// can they sign, or find their way behind extension headers.
bool Connection::may_be_cut(Offset begin) const {
  const bool cwr = b_.snd.cwr_due || (b_.accurate && (wire::flags_of_ace(b_.accurate->r_cep) & wire::cwr) != 0);
  return b_.snd.marks().up <= begin && !cwr && b_.options.signature_len == 0 && b_.options.network_words == 0;
}

void Connection::on_ack_sent() {
  b_.rcv.ack_now = false;
  b_.rcv.delack_at = Instant::never();
  b_.rcv.unacked = 0;
  b_.rcv.last_ack_sent = b_.rcv.nxt;
}

SegmentOut Connection::data_segment(Range range, std::uint32_t mss, Instant now) {
  const Sender& snd = b_.snd;
  const Offset data_end = std::min(range.end, snd.tail);
  SegmentOut out = header(snd.seq_of(range.begin), 0, now, data_end > range.begin);
  if (data_end > range.begin) {
    out.payload_position = static_cast<std::uint64_t>(range.begin - 1);
    out.payload_len = static_cast<std::uint32_t>(data_end - range.begin);
    if (out.payload_len > mss) out.gso_size = static_cast<std::uint16_t>(mss);
    if (data_end == snd.tail) out.flags |= wire::psh;
  }
  if (range.end > snd.tail) out.flags |= wire::fin;
  if (snd.marks().up > range.begin) {
    out.flags |= wire::urg;
    out.urgent = static_cast<std::uint16_t>(std::min<Offset>(snd.marks().up - range.begin, 65535));
  }
  return out;
}

// ---- controls ---------------------------------------------------------------------------------------------------------

std::optional<SegmentOut> Connection::output_reset(Instant) {
  SegmentOut out;
  out.seq = b_.seldom().reset_seq;
  out.flags = wire::rst;
  if (b_.reset_has_ack) {
    out.ack = b_.seldom().reset_ack;
    out.flags |= wire::ack;
  }
  b_.reset_due = false;
  ++count().tx_segments;
  ++count().tx_resets;
  return out;
}

/// <SEQ=ISS><CTL=SYN>, or <SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>, with what we offer or have agreed to.
std::optional<SegmentOut> Connection::output_syn(Instant now) {
  Sender& snd = b_.snd;
  const bool answer = b_.state == State::syn_received;
  SegmentOut out;
  out.seq = snd.iss;
  out.flags = wire::syn;
  out.window = b_.rcv.offer_window(b_.advertised_mss, true);
  out.options.mss = b_.advertised_mss;
  if (b_.window_scaling) out.options.window_scale = b_.rcv.scale;
  out.options.sack_permitted = snd.sack;
  if (b_.timestamps) out.options.timestamps = {timestamp(now), answer ? b_.rcv.ts_recent : 0};
  out.flags |= syn_ecn_flags(answer);
  if (answer) {
    out.flags |= wire::ack;
    out.ack = b_.rcv.seq_of(b_.rcv.nxt);
    on_ack_sent();
  }
  const std::uint16_t data = add_fast_open(out);
  // RFC 9768 section 3.2.3.2; a lost one may have been so for the option.
  if (answer && b_.accurate && b_.accurate->says_options && snd.retries == 0 && !out.options.fast_open && b_.options.signature_len == 0)
    out.options.accecn = b_.accurate->whole_option();
  const Offset end = 1 + Offset{data};
  if (b_.seldom().syn_data) b_.make_seldom().syn_data->sent = std::max(b_.seldom().syn_data->sent, data);
  count().tx_bytes += data;
  b_.syn_due = b_.syn_held = false;
  if (snd.nxt == 0) snd.on_sent_new({0, end}, 0, false, now);
  else out.retransmission = true;
  if (b_.rexmt_at.is_never()) arm_rexmt(now);
  ++count().tx_segments;
  ++count().tx_syns;
  return out;
}

/// RFC 7413: the option, and what of the data goes with our first SYN: answers how much. A SYN that is sent again is a plain one, as
/// the first may have been lost for what it had (section 4.1.3.1).
std::uint16_t Connection::add_fast_open(SegmentOut& syn) const {
  if (b_.options.signature_len != 0) return 0;  // there is no room for both
  const bool answer = syn.has(wire::ack);
  const Box<SynData>& data = b_.seldom().syn_data;
  if (answer ? b_.fast_open != FastOpen::accepted || data->cookie.size == 0 : b_.fast_open == FastOpen::none || b_.snd.nxt != 0) return 0;
  syn.options.fast_open = data->cookie;
  if (answer || b_.fast_open != FastOpen::sent) return 0;
  const std::size_t options = wire::encoded_len(wire::TcpHeader{.options = syn.options}) - wire::TcpView::kMinHeaderLen;
  const Offset room = std::min<Offset>(data->most, b_.snd.path_mss) - static_cast<Offset>(options + b_.options.network_words * 4u);
  syn.payload_len = static_cast<std::uint32_t>(std::clamp<Offset>(b_.snd.tail - 1, 0, std::max<Offset>(room, 0)));
  return static_cast<std::uint16_t>(syn.payload_len);
}

std::optional<SegmentOut> Connection::output_keepalive(Instant now) {
  // RFC 9293 section 3.8.4: <SEQ=SND.NXT-1>, which the peer must answer, without text.
  b_.keepalive_due = false;
  ++count().tx_keepalives;
  return header(b_.snd.seq_of(b_.snd.una - 1), 0, now);
}

std::optional<SegmentOut> Connection::output_ack(Instant now) {
  ++count().tx_pure_acks;
  SegmentOut out = header(b_.snd.seq_of(b_.snd.bare_segment_at()), 0, now);
  if (b_.rcv.more_acks > 0) {
    --b_.rcv.more_acks;
    b_.rcv.ack_now = true;
  }
  return out;
}

// ---- data -------------------------------------------------------------------------------------------------------------

std::optional<SegmentOut> Connection::output_retransmission(Instant now, bool speculative) {
  Sender& snd = b_.snd;
  if (snd.phase == Phase::open || !snd.in_flight()) return std::nullopt;
  const std::uint32_t mss = payload_per_segment();
  const std::int64_t room = snd.room();
  // RFC 6675 section 5 (C): one segment for each SMSS of room; the first one of a recovery in any case.
  if (!snd.head_due && (room < std::int64_t{snd.mss()} || snd.paced(now))) return std::nullopt;
  auto hole = snd.next_hole(speculative);
  bool rescue = false;
  if (!hole && speculative) {
    hole = snd.rescue_range(mss);
    rescue = hole.has_value();
  }
  if (!hole) return std::nullopt;
  // "It MUST NOT be beyond the window"; a closed one is left to the persist timer.
  Range r{hole->begin, std::min(hole->end, std::max(snd.window_edge(), hole->begin))};
  std::int64_t most = mss;
  if (!snd.head_due && may_be_cut(r.begin))
    most = std::clamp<std::int64_t>(room, mss, std::max<std::int64_t>(largest_segment(), mss)) / mss * mss;
  r.end = std::min(r.end, r.begin + most);
  if (r.begin >= r.end) return std::nullopt;
  // RFC 9768 section 3.2.3.2.2: what was lost may have been so for the option.
  if (b_.accurate && r.begin == 1 && b_.accurate->first_data == AccEcn::FirstData::sent) b_.accurate->says_options = false;
  SegmentOut out = data_segment(r, mss, now);
  out.retransmission = true;
  if (rescue) {
    snd.air().rescue = snd.air().recovery_point;
    ++count().recovery_rescue;
  }
  snd.on_retransmitted(r, mss, now);
  ++count().tx_retransmitted_segments;
  count().tx_retransmitted_bytes += out.payload_len;
  // RFC 6675 section 5 step 4.2 and RFC 6298 section 5.1.
  if (b_.rexmt_at.is_never() || b_.persisting) arm_rexmt(now);
  return out;
}

/// Most payload of one segment that a device is to cut.
Offset Connection::largest_segment() const {
  const Offset most{tun().tso_bytes};
  return b_.snd.pacing_rate() == 0 ? most : std::min(most, b_.snd.pacing_quantum());
}

/// Nagle as amended by Minshall (one small segment in flight at a time), TCP_CORK and MSG_MORE: may all that there is go now, the end
/// of which fills no segment?
bool Connection::small_may_go(Offset begin) const {
  const Sender& snd = b_.snd;
  if (snd.fin_queued || b_.cork_flush || snd.marks().up > begin) return true;
  if (corked()) return false;
  if (b_.options.nodelay || tun().nagle == 0) return true;
  return snd.una >= snd.air().small_end;
}

Connection::Permit Connection::permit_new(std::uint32_t mss, Instant now) {
  Sender& snd = b_.snd;
  const Offset begin = snd.nxt;
  const Offset available = std::max<Offset>(snd.tail - begin, 0);
  // RFC 9293 section 3.10.4: the FIN waits for ESTABLISHED.
  const bool fin = snd.fin_queued && begin <= snd.tail && is_synchronized(b_.state);
  if (available == 0 && !fin) return {};
  const Offset window = std::max<Offset>(snd.window_edge() - begin, 0);
  Offset room = std::max<std::int64_t>(snd.room(), 0);
  // RFC 6675 section 5 (C); outside of a recovery a small segment may fill cwnd up.
  if (snd.phase != Phase::open && room < Offset{snd.mss()}) room = 0;

  Offset most = std::max(largest_segment() / mss * Offset{mss}, Offset{mss});
  if (!may_be_cut(begin)) most = mss;
  Permit p;
  const Offset length = std::min({available, window, room, most});
  p.length = static_cast<std::uint32_t>(length);
  if (room < std::min(available, window)) snd.air().limited_end = begin + length;
  const bool all = length == available;
  if (all) {
    p.fin = fin && window > length && (length > 0 || room > 0);
    const std::uint32_t rest = p.length % mss;
    if (rest != 0 && !small_may_go(begin)) {
      p.length -= rest;
      if (corked() && b_.seldom().cork_at.is_never()) b_.make_seldom().cork_at = now + kCorkTime;
    }
    if (fin && !p.fin && p.length == 0) p.by_window = window <= length;
    return p;
  }
  // Cut short by the window, cwnd or the bound of one large segment: whole segments only.
  if (p.length >= mss) {
    p.length -= p.length % mss;
    return p;
  }
  // RFC 9293 section 3.8.6.2.1 (3): or half of the largest window seen. (4): or the timer has run out.
  p.by_window = window <= room;
  const bool enough = p.by_window && p.length > 0 && (p.length >= snd.max_wnd / 2 || b_.probe_due);
  if (!enough) p.length = 0;
  return p;
}

/// New data; a probe of the path MTU goes first, and for its room the rest waits an acknowledgment or two.
std::optional<SegmentOut> Connection::output_next(Instant now) {
  const Sender& snd = b_.snd;
  if (snd.phase == Phase::open) forget_black_hole(now);
  if (const std::uint32_t payload = mtu_probe_due(now); payload != 0) {
    if (b_.snd.paced(now)) return std::nullopt;
    if (std::min<Offset>(snd.room(), snd.window_edge() - snd.nxt) >= payload) return output_mtu_probe(payload, now);
    if (snd.flight() > payload) return std::nullopt;
  }
  return output_new(now);
}

std::optional<SegmentOut> Connection::output_new(Instant now) {
  Sender& snd = b_.snd;
  if (snd.nxt >= snd.end()) return std::nullopt;
  const std::uint32_t mss = payload_per_segment();
  // RFC 5681 section 4.1: after an idle time, the ACK clock has stopped.
  if (!snd.in_flight() && snd.phase == Phase::open && tun().slow_start_after_idle != 0 && !b_.persisting &&
      now - snd.last_sent > current_rto()) {
    const std::uint32_t before = snd.cc.cwnd;
    snd.congestion->on_idle_restart(snd.cc, tun().init_win, now);
    if (snd.cc.cwnd != before) ++count().idle_restarts;
    snd.last_sent = now;
  }
  if (snd.paced(now)) return std::nullopt;
  const Permit p = permit_new(mss, now);
  if (p.length == 0 && !p.fin) {
    // Nothing is in flight whose ACK could open the window: ask for it.
    if (p.by_window && !snd.in_flight() && !b_.persisting) {
      b_.persist_shift = 0;
      arm_persist(now);
    }
    return std::nullopt;
  }
  const Range r{snd.nxt, snd.nxt + p.length + (p.fin ? 1 : 0)};
  SegmentOut out = data_segment(r, mss, now);
  count().tx_bytes += out.payload_len;
  if (p.fin) ++count().tx_fins;
  mark_new_data(out);
  snd.on_sent_new(r, mss, p.length % mss != 0, now);
  if (b_.cork_flush && r.end >= snd.tail) b_.cork_flush = false;
  if (b_.has_seldom() && snd.nxt >= snd.tail) b_.make_seldom().cork_at = Instant::never();
  b_.probe_due = false;
  if (b_.rexmt_at.is_never() || b_.persisting) {
    b_.persist_shift = 0;
    arm_rexmt(now);
  }
  arm_probe(now);
  return out;
}

/// RFC 8985 section 7.3: one new segment, whatever cwnd says, or else the last one again.
std::optional<SegmentOut> Connection::output_loss_probe(Instant now) {
  Sender& snd = b_.snd;
  snd.loss_probe_due = false;
  if (!snd.in_flight()) return std::nullopt;
  const std::uint32_t mss = payload_per_segment();
  const Offset fresh = std::min({snd.tail - snd.nxt, snd.window_edge() - snd.nxt, Offset{mss}});
  // What Nagle or a cork holds back is held back here too.
  const bool again = fresh <= 0 || (fresh < mss && !small_may_go(snd.nxt));
  Range r{snd.nxt, snd.nxt + fresh};
  if (again) {
    const auto last = snd.probe_range(mss);
    if (!last) return std::nullopt;
    // A peer that took its window back would not look at what is beyond.
    r = {last->begin, std::min(last->end, snd.window_edge())};
    if (r.begin >= r.end) return std::nullopt;
  }
  SegmentOut out = data_segment(r, mss, now);
  ++count().recovery_probes;
  if (again) {
    out.retransmission = true;
    snd.on_retransmitted(r, mss, now);
    ++count().tx_retransmitted_segments;
    count().tx_retransmitted_bytes += out.payload_len;
  } else {
    count().tx_bytes += out.payload_len;
    mark_new_data(out);
    snd.on_sent_new(r, mss, fresh < mss, now);
  }
  snd.on_probe_sent(again);
  arm_rexmt(now);
  return out;
}

/// RFC 9293 section 3.8.6.1: one byte of new data (or the FIN) into a closed window, again and again.
std::optional<SegmentOut> Connection::output_probe(Instant now) {
  Sender& snd = b_.snd;
  if (snd.una >= snd.end()) {
    b_.probe_due = false;
    return std::nullopt;
  }
  if (snd.window_edge() > snd.una) return std::nullopt;  // open, if only a little: output_new() knows of the timer
  b_.probe_due = false;
  const Range r{snd.una, snd.una + 1};
  SegmentOut out = data_segment(r, 1, now);
  if (snd.nxt == snd.una) {
    snd.on_sent_new(r, 0, false, now);
    snd.air().timed_end = 0;
    snd.make_marks().probe_end = r.end;
  } else {
    out.retransmission = true;
  }
  ++count().tx_probes;
  return out;
}

}  // namespace iopkt::tcp
