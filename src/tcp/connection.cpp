#include "tcp/connection.hpp"

#include <algorithm>
#include <utility>

#include "tcp/listen.hpp"

namespace iopkt::tcp {

namespace {

constexpr std::uint16_t kMinMss = 64;  // 40 bytes of options and some payload

// There may be 100,000 that do nothing: what only some need, or all only for a time, lies in a Box.
static_assert(sizeof(Connection) <= 456);

}  // namespace

const Seldom& ControlBlock::none_seldom() {
  static const Seldom kNone;
  return kNone;
}

// ---- opening ----------------------------------------------------------------------------------------------------------

std::uint8_t window_scale_for(const OpenConfig& config) {
  const std::uint32_t capacity = std::max(config.receive_capacity, config.receive_capacity_max);
  std::uint8_t shift = 0;
  while (shift < 14 && (capacity >> shift) > 65535) ++shift;
  return shift;
}

static void set_up(ControlBlock& b, const OpenConfig& config) {
  const std::uint16_t maxseg = config.options.maxseg != 0 ? std::max(config.options.maxseg, kMinMss) : UINT16_MAX;
  b.options = config.options;
  b.timestamp_offset = config.timestamp_offset;
  b.advertised_mss = std::min(config.advertised_mss, maxseg);
  b.snd.path_mss = std::max(std::min(config.path_mss, maxseg), kMinMss);
  b.snd.peer_mss = std::max(config.default_peer_mss, kMinMss);
  b.snd.choose(config.options.congestion != nullptr ? *config.options.congestion
               : config.congestion != nullptr       ? *config.congestion
                                                    : cubic());
  b.rcv.capacity = config.receive_capacity;
  b.rcv.segment_size = std::min<std::uint32_t>(536, b.advertised_mss);
}

Connection Connection::open_active(const Context& context, const OpenConfig& config, SeqNum iss, Instant now) {
  Connection c(context);
  ControlBlock& b = c.b_;
  const Tunables& t = *context.tunables;
  set_up(b, config);
  b.state = State::syn_sent;
  b.syn_due = true;
  b.window_scaling = config.window_scaling && t.rfc1323 != 0;
  b.timestamps = config.timestamps && t.timestamps != 0;
  b.snd.sack = config.sack && t.sack_enable != 0;
  b.ecn = ecn_asked(t.ecn_enable);
  b.rcv.scale = b.window_scaling ? window_scale_for(config) : 0;
  b.snd.iss = iss;
  b.snd.cc.smss = b.snd.cc.cwnd = b.snd.mss();
  if (config.fast_open) {
    b.fast_open = config.fast_open->size == 0 ? FastOpen::asked : FastOpen::sent;
    SynData& syn_data = b.make_seldom().syn_data.make();
    syn_data.cookie = *config.fast_open;
    syn_data.most = std::max<std::uint16_t>(config.fast_open_mss, kMinMss);
    b.syn_held = config.hold_syn;
  }
  b.rcv.nxt = b.rcv.adv = 1;  // the peer's SYN is not known yet; nothing else can come before it
  b.last_received = now;
  ++c.count().opens_active;
  return c;
}

Connection Connection::child_of(const Context& context, const HalfOpen& half, const OpenConfig& config, Instant now) {
  Connection c(context);
  ControlBlock& b = c.b_;
  set_up(b, config);
  b.state = State::syn_received;
  b.timestamp_offset = half.timestamp_offset;
  b.advertised_mss = half.advertised_mss;
  b.window_scaling = half.window_scaling;
  b.timestamps = half.timestamps;
  b.ecn = half.ecn;
  if (b.ecn == EcnMode::accurate) {
    c.begin_accurate_ecn(half.syn_ecn);
    b.accurate->sends_ect = !half.ecn_doubted;
    b.accurate->says_options = b.accurate->says_options && half.retries == 0;
  }
  b.syn_lost = half.retries > 0 && !half.untimed;
  Sender& snd = b.snd;
  snd.iss = half.iss;
  snd.nxt = snd.max = 1;
  snd.peer_mss = half.peer_mss;
  snd.scale = half.snd_scale;
  snd.sack = half.sack;
  snd.wnd = snd.max_wnd = half.snd_wnd;
  snd.cc.smss = snd.cc.cwnd = snd.mss();
  snd.progress_at = half.started;
  if (half.retries == 0 && !half.untimed) {
    snd.air().timed_end = 1;
    snd.air().timed_at = half.started;
  }
  Receiver& rcv = b.rcv;
  rcv.irs = half.irs;
  rcv.nxt = rcv.last_ack_sent = 1;
  rcv.adv = 1 + Offset{half.rcv_wnd};
  rcv.scale = half.rcv_scale;
  rcv.ts_recent = half.ts_recent;
  rcv.ts_recent_at = now;
  b.last_received = now;
  ++c.count().opens_passive;
  return c;
}

Connection Connection::from_half_open(const Context& context, const HalfOpen& half, const OpenConfig& config, Instant now) {
  Connection c = child_of(context, half, config, now);
  c.arm_rexmt(now);
  ++c.count().half_open_completed;
  return c;
}

Connection Connection::open_fast(const Context& context, const HalfOpen& half, const OpenConfig& config, std::uint32_t payload_len,
                                 Instant now, Copies& out) {
  Connection c = child_of(context, half, config, now);
  ControlBlock& b = c.b_;
  b.fast_open = FastOpen::accepted;
  b.make_seldom().syn_data.make().cookie = config.fast_open.value_or(wire::FastOpenCookie{});
  b.syn_due = true;
  b.snd.nxt = b.snd.max = 0;
  b.snd.air().timed_end = 0;
  b.snd.on_established(context.tunables->init_win, c.loss_ways(), now);
  out.clear();
  if (payload_len > 0) {
    const Receiver::Accepted got = b.rcv.accept(1, 1 + Offset{payload_len}, false, context.tunables->reass_ranges, out);
    c.count().rx_bytes += got.bytes;
    c.count().rx_after_window_bytes += got.beyond_edge;
    b.syn_data_acked = got.bytes > 0;
    b.events |= event_readable;
  }
  ++c.count().fast_open_passive;
  return c;
}

Connection Connection::import_state(const Context& context, const ControlBlock& block) {
  Connection c(context);
  c.b_ = block;
  return c;
}

LossWays Connection::loss_ways() const {
  return {.rack = tun().rack != 0, .prr = tun().prr != 0, .frto = tun().frto != 0, .pacing = tun().pacing != 0};
}

/// Both SYNs are known; ours is acknowledged by the segment that is being processed.
void Connection::establish(Instant now) {
  Sender& snd = b_.snd;
  if (tun().mtu_probing == 2 && snd.sack) begin_mtu_search(snd.path_mss, now);
  snd.on_established(b_.syn_lost ? 1 : tun().init_win, loss_ways(), now);
  // RFC 6298 section 5.7: a SYN that was lost says that 1 s may be too short.
  if (b_.syn_lost && snd.rtt.rto.count() == 0) snd.rtt.rto = std::min<Duration>(3s, ms(tun().rto_max_ms));
  snd.backoff = 0;
  snd.retries = 0;
  b_.state = State::established;
  b_.syn_due = false;
  b_.events |= event_connected;
  ++count().established;
  if (b_.ecn != EcnMode::none) ++count().ecn_established;
  if (b_.ecn == EcnMode::accurate) ++count().ecn_accurate;
  // shutdown_write() and close() may have come before; the FIN was not to go out then.
  if (snd.fin_queued) b_.state = State::fin_wait_1;
  arm_keepalive(now);
}

// ---- the ends ---------------------------------------------------------------------------------------------------------

void Connection::stop_timers() {
  if (b_.has_seldom()) b_.make_seldom().linger_at = b_.make_seldom().cork_at = Instant::never();
  b_.rexmt_at = b_.keep_at = b_.rcv.delack_at = Instant::never();
  if (b_.snd.has_air()) b_.snd.air().reorder_at = b_.snd.air().probe_at = Instant::never();
  b_.snd.pace_blocked = false;
  b_.persisting = b_.probe_due = b_.keepalive_due = b_.syn_due = false;
}

void Connection::enter_time_wait(Instant now) {
  stop_timers();
  b_.state = State::time_wait;
  b_.make_seldom().linger_at = now + 2 * ms(tun().msl_ms);
  ++count().time_wait_entered;
}

void Connection::finish() {
  stop_timers();
  b_.state = State::closed;
  b_.rcv.ack_now = false;
  b_.rcv.more_acks = 0;
  b_.events |= event_closed;
  ++count().closed;
}

void Connection::fail(Failure why, Instant) {
  stop_timers();
  b_.state = State::closed;
  b_.rcv.ack_now = false;
  b_.rcv.more_acks = 0;
  b_.failure = why;
  b_.events |= event_failed | event_closed;
  ++count().failed;
}

void Connection::queue_reset(SeqNum seq, std::optional<SeqNum> ack) {
  b_.reset_due = true;
  b_.make_seldom().reset_seq = seq;
  b_.reset_has_ack = ack.has_value();
  b_.make_seldom().reset_ack = ack.value_or(SeqNum{});
}

/// <SEQ=SND.NXT><ACK=RCV.NXT><CTL=RST,ACK> (RFC 9293 section 3.10.5)
void Connection::reset_peer() {
  // Beyond what the peer's window has taken in, a RST would only be challenged (RFC 5961 section 3.2).
  queue_reset(b_.snd.seq_of(b_.snd.bare_segment_at()), b_.rcv.seq_of(b_.rcv.nxt));
}

// ---- user calls -------------------------------------------------------------------------------------------------------

void Connection::set_send_tail(std::uint64_t position) {
  const Offset tail = static_cast<Offset>(position) + 1;
  if (b_.state == State::closed || b_.snd.fin_queued || b_.orphan) return;
  IOPKT_ASSERT(tail >= b_.snd.tail);
  b_.snd.check_app_limited();
  b_.snd.tail = tail;
}

void Connection::set_send_urgent(std::uint64_t position) {
  const Offset up = static_cast<Offset>(position) + 1;
  if (b_.state == State::closed || b_.snd.fin_queued || b_.orphan) return;
  IOPKT_ASSERT(up <= b_.snd.tail);
  b_.snd.make_marks().up = std::max(b_.snd.marks().up, up);
}

void Connection::set_send_more(std::uint64_t position) {
  const Offset end = static_cast<Offset>(position) + 1;
  // What is written behind our FIN nobody takes; a program may do so all the same.
  if (b_.state == State::closed || b_.snd.fin_queued || b_.orphan) return;
  IOPKT_ASSERT(end <= b_.snd.tail);
  b_.snd.make_marks().more_end = end;
}

void Connection::set_receive_read(std::uint64_t position) {
  if (b_.rcv.on_read(static_cast<Offset>(position) + 1, b_.advertised_mss) && may_receive(b_.state)) {
    b_.rcv.ack_now = true;
    ++count().tx_window_updates;
  }
}

std::uint32_t Connection::receive_space_wanted(Instant now) {
  return may_receive(b_.state) && !b_.orphan ? b_.rcv.tune(b_.advertised_mss, now) : 0;
}

std::uint32_t Connection::send_space_wanted() const {
  const Sender& snd = b_.snd;
  if (!may_send(b_.state) || b_.orphan) return 0;
  return 2 * std::min({snd.cc.cwnd, snd.max_wnd, std::uint32_t{1} << 30});
}

void Connection::set_receive_capacity(std::uint32_t bytes) {
  b_.rcv.capacity = bytes;
  // A larger buffer is offered as if the user had read.
  if (b_.rcv.on_read(b_.rcv.read, b_.advertised_mss) && may_receive(b_.state)) b_.rcv.ack_now = true;
}

void Connection::set_options(const Options& options, Instant now) {
  const bool keepalive_changed = options.keepalive != b_.options.keepalive ||
                                 options.keep_idle_ms != b_.options.keep_idle_ms ||
                                 options.keep_interval_ms != b_.options.keep_interval_ms;
  if (!options.cork && b_.snd.marks().more_end != b_.snd.tail) {
    if (b_.has_seldom()) b_.make_seldom().cork_at = Instant::never();
    b_.cork_flush = false;
  }
  // TCP_QUICKACK also sends what was being delayed.
  if (options.quickack && !b_.options.quickack && !b_.rcv.delack_at.is_never()) b_.rcv.ack_now = true;
  b_.options = options;
  if (options.congestion != nullptr && options.congestion != b_.snd.congestion) b_.snd.adopt(*options.congestion, now);
  if (keepalive_changed && is_synchronized(b_.state)) arm_keepalive(now);
  if (options.user_timeout_ms != 0 && b_.snd.in_flight() && !b_.rexmt_at.is_never())
    b_.rexmt_at = std::min(b_.rexmt_at, b_.snd.progress_at + ms(options.user_timeout_ms));
  if (options.maxseg != 0 && options.maxseg < b_.snd.path_mss) set_path_mss(options.maxseg);
}

void Connection::shutdown_write() {
  if (b_.snd.fin_queued) return;
  switch (b_.state) {
    case State::syn_sent:
    case State::syn_received:  // establish() goes on to FIN-WAIT-1
      b_.snd.fin_queued = true;
      break;
    case State::established:
      b_.snd.fin_queued = true;
      b_.state = State::fin_wait_1;
      break;
    case State::close_wait:
      b_.snd.fin_queued = true;
      b_.state = State::last_ack;
      break;
    default:
      break;
  }
}

void Connection::close(Instant now) {
  if (b_.orphan) return;
  b_.orphan = true;
  if (b_.state == State::closed) return;
  // What was written already follows the SYN: with Fast Open, connect() was done before there was an answer.
  if (b_.state == State::syn_sent && b_.snd.tail <= 1) return finish();
  if (has_unread() && b_.state != State::time_wait) {
    // RFC 2525 section 2.17: unread data is lost, and the peer should know.
    reset_peer();
    return fail(Failure::aborted, now);
  }
  shutdown_write();
  arm_keepalive(now);
  if (b_.state == State::fin_wait_2) b_.make_seldom().linger_at = now + finwait2();
}

Duration Connection::finwait2() const {
  return ms(b_.options.finwait2_ms != 0 ? b_.options.finwait2_ms : tun().finwait2_ms);
}

void Connection::abort(Instant now, Failure why) {
  switch (b_.state) {
    case State::closed:
      return;
    case State::syn_sent:
    case State::closing:
    case State::last_ack:
    case State::time_wait:
      break;  // section 3.10.5: "simply delete the TCB"
    default:
      reset_peer();
  }
  // Data that the peer never acknowledged may be behind CLOSING and LAST-ACK.
  if ((b_.state == State::closing || b_.state == State::last_ack) && b_.snd.una < b_.snd.tail) reset_peer();
  fail(why, now);
}

bool Connection::in_flight(SeqNum seq) const {
  const Offset at = b_.snd.offset_of(seq);
  return at >= b_.snd.una && at < b_.snd.max;
}

void Connection::on_icmp_error(Failure what, SeqNum seq, Instant now) {
  if (b_.state == State::closed || b_.state == State::time_wait || !in_flight(seq)) {
    ++count().rx_icmp_ignored;
    return;
  }
  ++count().rx_icmp_errors;
  // A connection that Fast Open accepted is one for its program already.
  if (is_synchronized(b_.state) || b_.fast_open == FastOpen::accepted) b_.soft_error = what;
  else fail(what, now);
}

void Connection::set_path_mss(std::uint16_t path_mss) {
  const std::uint32_t before = b_.snd.mss();
  b_.snd.path_mss = std::max(path_mss, kMinMss);
  if (b_.snd.mss() != before) b_.snd.on_mss_change();
}

void Connection::on_mtu_change(std::uint16_t path_mss, std::optional<SeqNum> seq, Instant now) {
  if (b_.options.maxseg != 0) path_mss = std::min(path_mss, b_.options.maxseg);
  if (seq && (!in_flight(*seq) || path_mss >= b_.snd.path_mss)) {
    ++count().rx_icmp_ignored;
    return;
  }
  const std::uint32_t before = b_.snd.mss();
  if (b_.has_seldom()) b_.make_seldom().mtu.reset();  // now it is known
  if (b_.snd.has_air()) b_.snd.air().mtu_probe = {};
  set_path_mss(path_mss);
  if (b_.snd.mss() >= before) return;
  ++count().mtu_reductions;
  if (is_synchronized(b_.state) && b_.state != State::time_wait && b_.snd.in_flight() && !b_.persisting) {
    b_.snd.resend_all();
    arm_rexmt(now);
  }
}

// ---- what others see --------------------------------------------------------------------------------------------------

Events Connection::take_events() { return std::exchange(b_.events, Events{0}); }

std::uint64_t Connection::send_acked() const {
  const Offset at = std::min(b_.snd.una, b_.snd.tail);
  return at < 1 ? 0 : static_cast<std::uint64_t>(at - 1);
}

std::optional<std::uint64_t> Connection::urgent_mark() const {
  if (!b_.rcv.urgent_valid || b_.rcv.up <= b_.rcv.read) return std::nullopt;
  return static_cast<std::uint64_t>(b_.rcv.up - 1);
}

std::uint32_t Connection::timestamp(Instant now) const {
  return static_cast<std::uint32_t>(now.milliseconds()) + b_.timestamp_offset;
}

TimeWait Connection::time_wait() const {
  return {.snd_nxt = b_.snd.seq_of(b_.snd.max),
          .rcv_nxt = b_.rcv.seq_of(b_.rcv.nxt),
          .ts_recent = b_.rcv.ts_recent,
          .timestamp_offset = b_.timestamp_offset,
          .window = static_cast<std::uint16_t>(std::min<std::uint32_t>(b_.rcv.window() >> b_.rcv.scale, 65535)),
          .timestamps = b_.timestamps,
          .until = b_.seldom().linger_at};
}

ConnectionInfo Connection::info() const {
  const Sender& s = b_.snd;
  const Receiver& r = b_.rcv;
  ConnectionInfo i;
  i.state = b_.state;
  i.phase = s.phase;
  i.timestamps = b_.timestamps;
  i.sack = s.sack;
  i.window_scaling = b_.window_scaling;
  i.snd_scale = s.scale;
  i.rcv_scale = r.scale;
  i.retries = s.retries;
  i.backoff = s.backoff;
  i.keep_probes = b_.keep_probes;
  i.snd_mss = s.mss();
  i.rcv_mss = r.segment_size;
  i.advertised_mss = b_.advertised_mss;
  i.path_mss = s.path_mss;
  i.cwnd = s.cc.cwnd;
  i.ssthresh = s.cc.ssthresh;
  i.snd_wnd = s.wnd;
  i.rcv_wnd = r.window();
  i.flight = s.flight();
  i.sacked = static_cast<std::uint32_t>(s.air().log.sacked());
  i.lost = static_cast<std::uint32_t>(s.air().log.lost());
  i.resent = static_cast<std::uint32_t>(s.air().log.again());
  i.resent_total = s.resent_total;
  i.reordering = s.reordering_seen;
  i.pacing_rate = s.pacing_rate();
  i.ecn = b_.ecn != EcnMode::none;
  i.accurate_ecn = b_.ecn == EcnMode::accurate;
  if (b_.accurate) i.delivered_ce = b_.accurate->s_cep - 5;
  i.ecn_seen = r.ect_seen;
  i.syn_data = b_.syn_data_acked;
  if (fast_open_lost()) i.fast_open_fail = 3;
  else if (b_.fast_open == FastOpen::asked) i.fast_open_fail = 1;
  else if (b_.fast_open == FastOpen::sent && b_.seldom().syn_data->sent > 0 && !b_.syn_data_acked && is_synchronized(b_.state)) i.fast_open_fail = 2;
  i.pipe = static_cast<std::uint32_t>(std::max<std::int64_t>(s.pipe(), 0));
  i.sent_unsent = static_cast<std::uint64_t>(std::max<Offset>(s.tail - s.nxt, 0));
  i.received_unread = static_cast<std::uint64_t>(std::max<Offset>(r.data_end() - r.read, 0));
  i.bytes_acked = send_acked();
  i.bytes_received = receive_tail();
  i.srtt = s.rtt.srtt;
  i.rttvar = s.rtt.rttvar;
  i.rto = current_rto();
  i.min_rtt = s.rtt.minimum;
  i.last_sent = s.last_sent;
  i.last_received = b_.last_received;
  i.congestion = s.congestion->name();
  return i;
}

}  // namespace iopkt::tcp
