// What time does to a connection: retransmission (RFC 6298), zero-window probes (RFC 9293 section 3.8.6.1), delayed ACK,
// keepalive (section 3.8.4), user timeout (RFC 5482), the ends of FIN-WAIT-2 and TIME-WAIT.
#include <algorithm>

#include "tcp/connection.hpp"

namespace iopkt::tcp {

namespace {
constexpr std::uint32_t kOr(std::uint32_t own, std::uint32_t common) { return own != 0 ? own : common; }
}  // namespace

Duration Connection::current_rto() const { return b_.snd.rto(ms(tun().rto_initial_ms), ms(tun().rto_max_ms)); }

Instant Connection::next_deadline() const {
  return std::min({b_.rexmt_at, b_.rcv.delack_at, b_.seldom().linger_at, b_.seldom().cork_at, b_.keep_at, b_.snd.air().reorder_at, b_.snd.air().probe_at,
                   b_.snd.pace_blocked ? b_.snd.air().pace_at : Instant::never()});
}

void Connection::on_timer(Instant now) {
  const Sender& snd = b_.snd;  // which looks without making anything
  if (b_.state == State::closed) return;
  if (b_.seldom().linger_at <= now) {
    // The 2 MSL of TIME-WAIT, or a FIN that never came for a socket that nobody has.
    return finish();
  }
  b_.snd.check_app_limited();
  if (b_.rcv.delack_at <= now) {
    b_.rcv.delack_at = Instant::never();
    b_.rcv.ack_now = true;
    ++count().tx_delayed_acks;
  }
  if (b_.seldom().cork_at <= now) {
    b_.make_seldom().cork_at = Instant::never();
    b_.cork_flush = true;
  }
  if (snd.air().reorder_at <= now) {
    const Sender::AckOutcome got = b_.snd.on_reorder_timer(now);
    if (got.entered_recovery) ++count().recovery_sack;
    if (got.lost_again) ++count().recovery_lost_again;
  }
  take_mtu_verdict(now);
  if (snd.air().probe_at <= now) {
    // RFC 8985 section 7.3: in place of the retransmission timer, which then begins anew.
    b_.snd.air().probe_at = Instant::never();
    b_.snd.loss_probe_due = true;
    if (b_.rexmt_at <= now && !user_timeout_over(now)) arm_rexmt(now);
  }
  if (b_.rexmt_at <= now) {
    if (b_.persisting) on_persist_timer(now);
    else on_rexmt_timer(now);
  }
  if (b_.keep_at <= now && b_.state != State::closed) on_keepalive_timer(now);
}

void Connection::arm_rexmt(Instant now) {
  b_.persisting = false;
  b_.rexmt_at = now + current_rto();
  if (b_.options.user_timeout_ms != 0)
    b_.rexmt_at = std::max(now + ms(1), std::min(b_.rexmt_at, b_.snd.progress_at + ms(b_.options.user_timeout_ms)));
}

void Connection::arm_probe(Instant now) {
  // The longest delay of an acknowledgment that RFC 8985 section 7.2 counts with: that of a peer whose timer is as coarse as our RTO.
  b_.snd.arm_probe(now, b_.persisting ? Instant::never() : b_.rexmt_at, ms(tun().rto_min_ms));
}

bool Connection::user_timeout_over(Instant now) const {
  return b_.options.user_timeout_ms != 0 && b_.snd.in_flight() &&
         now - b_.snd.progress_at >= ms(b_.options.user_timeout_ms);
}

/// R2 of RFC 1122 section 4.2.3.5, the user timeout, and the shorter patience with a socket that nobody has. Ends the
/// connection when one of them is over.
bool Connection::give_up(std::uint8_t tries, Instant now) {
  const bool opening = !is_synchronized(b_.state);
  const std::uint32_t limit = b_.fast_open == FastOpen::accepted && opening ? tun().syn_ack_retries
                              : opening ? kOr(b_.options.syn_retries, tun().syn_retries)
                              : b_.orphan ? std::min(tun().orphan_retries, tun().rexmt_r2)
                                          : tun().rexmt_r2;
  const bool user = user_timeout_over(now);
  // The user timeout stands in place of R2 (RFC 5482 section 3).
  const bool over = user || (tries >= limit && (b_.options.user_timeout_ms == 0 || b_.orphan));
  if (!over) return false;
  ++(user ? count().timed_out_user : count().timed_out_rexmt);
  if (!opening) reset_peer();
  fail(b_.soft_error != Failure::none ? b_.soft_error : Failure::timed_out, now);
  return true;
}

void Connection::on_rexmt_timer(Instant now) {
  Sender& snd = b_.snd;
  b_.rexmt_at = Instant::never();
  if (!snd.in_flight()) return;
  if (give_up(snd.retries, now)) return;
  if (!is_synchronized(b_.state)) {
    ++snd.retries;
    ++snd.backoff;
    snd.air().timed_end = 0;
    b_.syn_due = b_.syn_lost = true;
    return arm_rexmt(now);
  }
  if (snd.wnd == 0) {
    // The peer closed its window over what is in flight: RFC 1122 section 4.2.2.16 and .17, probe for as long as it answers.
    snd.resend_all();
    snd.head_due = false;
    b_.persisting = true;
    b_.persist_shift = std::max<std::uint8_t>(b_.persist_shift, snd.backoff);
    return on_persist_timer(now);
  }
  ++count().recovery_rto;
  if (snd.on_timeout(now)) ++count().recovery_reneged;
  take_mtu_verdict(now);
  if (snd.retries == tun().rexmt_r1) b_.events |= event_dubious;
  doubt_path_mtu(now);
  arm_rexmt(now);
}

void Connection::arm_persist(Instant now) {
  const Duration least = ms(tun().persist_min_ms), most = ms(tun().persist_max_ms);
  Duration d = b_.snd.rtt.rto.count() != 0 ? b_.snd.rtt.rto : ms(tun().rto_initial_ms);
  for (std::uint8_t i = 0; i < b_.persist_shift && d < most; ++i) d *= 2;
  b_.persisting = true;
  b_.rexmt_at = now + std::clamp(d, least, std::max(least, most));
  // The user timeout counts from the last progress here too.
  if (b_.options.user_timeout_ms != 0 && b_.snd.in_flight())
    b_.rexmt_at = std::max(now + ms(1), std::min(b_.rexmt_at, b_.snd.progress_at + ms(b_.options.user_timeout_ms)));
}

void Connection::on_persist_timer(Instant now) {
  // RFC 1122 section 4.2.2.17: a peer that answers may keep its window closed for ever; a silent one may not. Nobody waits
  // for a socket that is closed: its patience is counted in probes.
  if (give_up(b_.orphan ? std::max(b_.persist_probes, b_.persist_shift) : b_.persist_probes, now)) return;
  b_.probe_due = true;
  if (b_.persist_probes < 255) ++b_.persist_probes;
  if (b_.persist_shift < 32) ++b_.persist_shift;
  arm_persist(now);
}

void Connection::arm_keepalive(Instant now) {
  b_.keep_probes = 0;
  // A closed socket has the limits of orphans instead.
  b_.keep_at = b_.options.keepalive && !b_.orphan ? now + ms(kOr(b_.options.keep_idle_ms, tun().keepidle_s * 1000))
                                                   : Instant::never();
}

void Connection::on_keepalive_timer(Instant now) {
  const Duration idle = ms(kOr(b_.options.keep_idle_ms, tun().keepidle_s * 1000));
  const Duration interval = ms(kOr(b_.options.keep_interval_ms, tun().keepintvl_s * 1000));
  if (!b_.options.keepalive || b_.state == State::time_wait) {
    b_.keep_at = Instant::never();
    return;
  }
  if (b_.snd.in_flight() || b_.persisting) {
    // Retransmissions or probes already ask whether the peer is there.
    b_.keep_at = now + idle;
    return;
  }
  if (b_.keep_probes == 0 && now - b_.last_received < idle) {
    b_.keep_at = b_.last_received + idle;
    return;
  }
  const bool user = b_.options.user_timeout_ms != 0 && b_.keep_probes > 0 &&
                    now - b_.last_received >= ms(b_.options.user_timeout_ms);
  if (user || b_.keep_probes >= kOr(b_.options.keep_count, tun().keepcnt)) {
    ++count().timed_out_keepalive;
    reset_peer();
    return fail(b_.soft_error != Failure::none ? b_.soft_error : Failure::timed_out, now);
  }
  ++b_.keep_probes;
  b_.keepalive_due = true;
  b_.keep_at = now + interval;
}

}  // namespace iopkt::tcp
