// The fifth check of RFC 9293 section 3.10.7.4: what an acknowledgment does to the send half, the window and the state.
#include <algorithm>

#include "tcp/connection.hpp"

namespace iopkt::tcp {

/// SND.WND, SND.WL1, SND.WL2: only from segments that are not older than the last one used, by their sequence or acknowledgment
/// number.
void Connection::update_window(const SegmentIn& seg, Offset begin, Offset ack) {
  Sender& snd = b_.snd;
  if (ack < snd.una || !(snd.wl1 < begin || (snd.wl1 == begin && snd.wl2 <= ack) || snd.wl2 < ack)) return;
  // RFC 7323 section 2.2: not scaled when SYN is set; such segments do not come here with text.
  const std::uint32_t wnd = std::uint32_t{seg.window} << (seg.has(wire::syn) ? 0 : snd.scale);
  snd.wl1 = std::max(snd.wl1, begin);
  snd.wl2 = ack;
  if (wnd == snd.wnd) return;
  const bool opened = wnd > snd.wnd;
  snd.wnd = wnd;
  snd.max_wnd = std::max(snd.max_wnd, wnd);
  if (!opened || !b_.persisting) return;
  // The window opened while probes went out: the byte of a probe that was not accepted goes again, with more.
  b_.persisting = b_.probe_due = false;
  b_.persist_shift = 0;
  b_.rexmt_at = Instant::never();
  if (snd.flight() <= 1) snd.take_back_unacked();
  else snd.resend_all();
}

/// RFC 7323 section 4.1; an echo of the future, or of another age, says nothing.
std::optional<Duration> Connection::since_echo(const SegmentIn& seg, Instant now) const {
  if (!b_.timestamps || !seg.options.timestamps || seg.options.timestamps->echo == 0) return std::nullopt;
  const std::uint32_t elapsed = timestamp(now) - seg.options.timestamps->echo;
  if (elapsed >= tun().rto_max_ms) return std::nullopt;
  return std::max<Duration>(ms(elapsed), 500us);
}

/// `ack` was checked by check_ack: at most SND.NXT, perhaps old. `last_of_handshake`: it ended SYN-RECEIVED.
void Connection::input_ack(const SegmentIn& seg, Offset begin, Offset ack, Instant now, bool last_of_handshake) {
  Sender& snd = b_.snd;
  if (ack < snd.una) return;  // "If the ACK is a duplicate (SEG.ACK =< SND.UNA), it can be ignored."

  Sender::Ack a{.ack = ack, .abc_limit = tun().abc_limit, .hystart = tun().hystart != 0, .rto_min = ms(tun().rto_min_ms), .rto_max = ms(tun().rto_max_ms)};
  a.now = now;
  if (snd.sack && seg.options.sack_count > 0) a.sacks = &seg.options;
  // RFC 5681 section 2. A segment with SYN had an unscaled window.
  a.duplicate_form = seg.length() == 0 && ack == snd.una && snd.in_flight() && !b_.persisting &&
                     (std::uint32_t{seg.window} << snd.scale) == snd.wnd;
  a.echoed = since_echo(seg, now);
  if (a.echoed) a.echo_ms = now.milliseconds() - *a.echoed / 1ms;
  const bool fin_was_acked = snd.fin_acked();
  const std::uint64_t acked_before = send_acked();
  const Sender::AckOutcome got = snd.on_ack(a);
  count().rx_acked_bytes += send_acked() - acked_before;
  if (got.duplicate) ++count().rx_duplicate_acks;
  if (got.sampled) ++count().rtt_samples;
  if (got.entered_recovery) ++(snd.sack ? count().recovery_sack : count().recovery_fast);
  if (got.lost_again) ++count().recovery_lost_again;
  if (got.undone) ++count().recovery_undone;
  if (got.probe_repaired) ++count().recovery_probe_repaired;
  if (got.reordered) ++count().recovery_reordered;
  take_mtu_verdict(now);
  count().rx_sack_blocks += got.sacks_used;
  count().rx_bad_sack_blocks += got.sacks_bad;
  count().rx_dsack_blocks += got.dsacks;
  if (b_.ecn != EcnMode::none && !seg.has(wire::syn)) input_ecn_echo(seg, got, now, last_of_handshake);
  update_window(seg, begin, ack);

  if (got.acked > 0) {
    if (send_acked() > acked_before) b_.events |= event_writable;
    b_.soft_error = Failure::none;
    // RFC 6298 sections 5.2 and 5.3.
    if (!snd.in_flight()) {
      // With nothing left to ask for, a closed window is of no interest.
      if (snd.una >= snd.end()) b_.persisting = b_.probe_due = false;
      if (!b_.persisting) b_.rexmt_at = Instant::never();
      if (snd.has_air()) snd.air().probe_at = Instant::never();
    } else if (got.restart_timer && !b_.persisting) {
      arm_rexmt(now);
      arm_probe(now);
    }
    if (snd.fin_acked() && !fin_was_acked) on_fin_acked(now);
  }
}

/// The state changes of the fifth check when our FIN is acknowledged.
void Connection::on_fin_acked(Instant now) {
  b_.events |= event_send_shut;
  switch (b_.state) {
    case State::fin_wait_1:
      b_.state = State::fin_wait_2;
      // Not in RFC 9293: nobody is left to read what may come, so this half does not wait for ever.
      if (b_.orphan) b_.make_seldom().linger_at = now + finwait2();
      break;
    case State::closing:
      enter_time_wait(now);
      break;
    case State::last_ack:
      finish();
      break;
    default:
      break;
  }
}

}  // namespace iopkt::tcp
