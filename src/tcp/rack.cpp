// What single transmissions tell: SACK blocks (RFC 2018, RFC 2883), losses by RFC 6675 or by time (RACK), and probes for what is lost
// at the end of a flight (TLP). RFC 8985, names and steps as there.
#include <algorithm>

#include "tcp/sender.hpp"

namespace iopkt::tcp {

namespace {
constexpr std::uint8_t kDupThresh = 3;
constexpr std::uint8_t kReorderPersist = 16;  // section 6.2 step 4
constexpr Duration kMinProbe = 10ms;          // a receiver's delayed ACK of a path with a tiny round trip is no loss
}  // namespace

void Sender::take_sacks(const Ack& a, News& news, AckOutcome& out) {
  const auto& blocks = a.sacks->sack;
  for (std::uint8_t i = 0; i < a.sacks->sack_count; ++i) {
    const Offset left = offset_of(blocks[i].left);
    const Offset right = left + static_cast<Offset>(blocks[i].right.value - blocks[i].left.value);
    // RFC 2883 section 4: the first block below the cumulative ACK, or within the second block, reports a duplicate.
    const bool within = a.sacks->sack_count > 1 && blocks[1].left <= blocks[0].left && blocks[0].right <= blocks[1].right;
    if (i == 0 && left < right && (right <= a.ack || within)) {
      ++out.dsacks;
      // Of data that was never sent, or so long ago that nobody asks: no more than a number.
      if (right > una - Offset{max_wnd} - Offset{1 << 20} && right <= max) {
        news.dsack = true;
        news.dsack_of_probe = right == air().probe_high;
        on_dsack({left, right});
      }
      continue;
    }
    if (right <= a.ack && right > a.ack - Offset{max_wnd}) continue;  // an old acknowledgment's block
    if (left <= std::max(una, a.ack) || right > max || left >= right) {
      ++out.sacks_bad;
      continue;
    }
    news.sacked += air().log.sack(left, right, [&](const Sent& s, const TransmitState& note) { note_delivered(s, note, news); });
    ++out.sacks_used;
  }
}

/// RFC 8985 section 6.2 steps 1 to 3, and what else one delivered transmission says.
void Sender::note_delivered(const Sent& s, const TransmitState& note, News& news) {
  news.delivered += s.length();
  news.packets += s.packets();
  news.fack = std::max(news.fack, s.end);
  const Duration took = news.now - s.at;
  const bool earlier_copy = s.again && ((news.echo_ms && *news.echo_ms < s.at.milliseconds()) || took < rtt.minimum);
  if (rate) news.sampler.on_delivered(*rate, s, note, !earlier_copy && !s.shared, news.now);
  if (!s.again) {
    news.original = news.original || s.end <= air().recovery_point;
    news.reordered = news.reordered || s.end < air().rk.fack;
    if (!s.shared && s.at >= news.newest && took.count() > 0) {
      news.newest = s.at;
      news.rtt = took;
    }
  } else if (earlier_copy) {
    return;
  }
  // RACK_sent_after(): what was sent as one segment is in the order of its sequence.
  if (s.order > air().rk.xmit_order || (s.order == air().rk.xmit_order && s.end > air().rk.end)) {
    air().rk.xmit_order = s.order;
    air().rk.end = s.end;
    // When this part of a shared record went out is not known, but not later.
    air().rk.rtt = s.shared ? std::max(air().rk.rtt, took) : took;
  }
}

/// RFC 6675 section 4 IsLost(): DupThresh ranges above, or more than (DupThresh - 1) * SMSS bytes above. What lies lower has at least
/// as much above it, so one edge says it all.
void Sender::lose_by_rfc6675(Instant now) {
  Offset bytes = 0;
  std::size_t count = 0, i = air().log.size();
  while (i > 0) {
    const Sent& s = air().log[--i];
    if (s.state != Sent::State::sacked) continue;
    bytes += s.length();
    ++count;
    if (count >= kDupThresh || bytes > Offset{kDupThresh - 1} * mss()) break;
    if (i == 0) return;
  }
  if (count < kDupThresh && bytes <= Offset{kDupThresh - 1} * mss()) return;
  while (i-- > 0)
    if (!air().log[i].again) lose(i, now);
}

/// Section 6.2 step 4: RACK_update_reo_wnd().
void Sender::adapt_reorder_window(const News& news, bool exiting) {
  if (air().rk.dsack_round >= 0 && una >= air().rk.dsack_round) air().rk.dsack_round = -1;
  if (air().rk.dsack_round < 0 && news.dsack) {
    air().rk.dsack_round = nxt;
    if (reo_wnd_mult < 255) ++reo_wnd_mult;
    reo_wnd_persist = kReorderPersist;
  } else if (exiting) {
    if (reo_wnd_persist > 0) --reo_wnd_persist;
    if (reo_wnd_persist == 0) reo_wnd_mult = 1;
  }
}

Duration Sender::reorder_window() const {
  if (!reordering_seen && (phase != Phase::open || air().log.sacked() > Offset{kDupThresh - 1} * mss())) return Duration{};
  return std::min(rtt.minimum / 4 * reo_wnd_mult, rtt.srtt);
}

/// Section 6.2 step 5: RACK_detect_loss(). True: something is lost that was not before.
bool Sender::lose_by_rack(Instant now) {
  air().reorder_at = Instant::never();
  // Nothing can have been overtaken where all is in order.
  if (air().log.sacked() == 0 && air().log.again() == 0 && air().log.lost() == 0) return false;
  const Duration patience = air().rk.rtt + reorder_window();
  bool lost = false;
  for (std::size_t i = 0; i < air().log.size(); ++i) {
    const Sent& s = air().log[i];
    if (s.state != Sent::State::flying) continue;
    if (s.order > air().rk.xmit_order || (s.order == air().rk.xmit_order && s.end >= air().rk.end)) continue;
    if (s.at + patience > now) {
      const Instant at = s.at + patience;
      air().reorder_at = air().reorder_at.is_never() ? at : std::max(air().reorder_at, at);
      continue;
    }
    lost = true;
    lost_again = lost_again || (s.again && s.at >= air().reduced_at && phase == Phase::fast_recovery);
    lose(i, now);
  }
  return lost;
}

/// Section 6.3: RACK_mark_losses_on_RTO().
void Sender::lose_by_timer(Instant now) {
  const Duration patience = air().rk.rtt + reorder_window();
  for (std::size_t i = 0; i < air().log.size(); ++i)
    if (i == 0 || air().log[i].again || air().log[i].at + patience <= now) lose(i, now);
}

Sender::AckOutcome Sender::on_reorder_timer(Instant now) {
  AckOutcome out;
  air().reorder_at = Instant::never();
  if (!uses_rack()) return out;
  const Offset outstanding = flight() - air().log.sacked();
  if (!lose_by_rack(now)) return out;
  judge_mtu_probe();
  if (phase == Phase::open) {
    enter_recovery(flight(), outstanding, now);
    out.entered_recovery = true;
  } else if (phase == Phase::fast_recovery) {
    end_sparing(flight(), now);
    out.lost_again = lost_again && !congestion->models_path();
    if (out.lost_again) reduce_again(flight(), now);
    lost_again = false;
  }
  // What is lost has left the network at once: RFC 9937 says how much of it goes out again before the next acknowledgment.
  reduce_proportionally(0, false);
  return out;
}

// ---- section 7: tail loss probes --------------------------------------------------------------------------------------

void Sender::arm_probe(Instant now, Instant rto_at, Duration max_ack_delay) {
  air().probe_at = Instant::never();
  if (!uses_rack() || phase != Phase::open || !in_flight() || air().log.sacked() > 0 || air().probe_high != 0 || loss_probe_due || retries > 0 ||
      rto_at.is_never())
    return;
  Duration pto = rtt.srtt.count() != 0 ? std::max(2 * rtt.srtt, kMinProbe) : Duration{1s};
  if (flight() <= mss()) pto += max_ack_delay;
  air().probe_at = std::min(now + pto, rto_at);
}

std::optional<Range> Sender::probe_range(std::uint32_t size) const {
  if (air().log.empty() || air().log.back().state != Sent::State::flying) return std::nullopt;
  return Range{std::max(air().log.back().begin, air().log.back().end - Offset{size}), air().log.back().end};
}

void Sender::on_probe_sent(bool again) {
  loss_probe_due = false;
  air().probe_high = nxt;
  probe_again = again;
}

/// Section 7.4.2: TLP_process_ack(). True: the probe has repaired a loss.
bool Sender::end_probe(const Ack& a, const News& news, bool duplicate) {
  if (air().probe_high == 0 || a.ack < air().probe_high) return false;
  if (probe_again && !news.dsack_of_probe && a.ack == air().probe_high && !duplicate) return false;  // the next one will tell
  const bool repaired = probe_again && !news.dsack_of_probe && a.ack > air().probe_high;
  air().probe_high = 0;
  return repaired;
}

}  // namespace iopkt::tcp
