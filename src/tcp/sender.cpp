#include "tcp/sender.hpp"

#include <algorithm>

namespace iopkt::tcp {

namespace {
constexpr std::uint8_t kDupThresh = 3;  // RFC 5681 section 3.2, RFC 6675 section 2
// More holes than that are not known as SACKed, and may be sent again for nothing. See net.inet.tcp.reass.ranges.
constexpr std::size_t kScoreboardRanges = 1024;
}  // namespace

Duration Sender::rto(Duration initial, Duration maximum) const {
  const Duration base = rtt.rto.count() != 0 ? rtt.rto : initial;
  Duration r = base;
  for (std::uint8_t i = 0; i < backoff && r < maximum; ++i) r *= 2;
  return std::min(r, std::max(maximum, base));
}

// ---- what is in the network -------------------------------------------------------------------------------------------

std::int64_t Sender::pipe() const {
  if (phase == Phase::open || (phase == Phase::fast_recovery && !sack)) return (nxt - una) - sacked.covered(una, nxt);
  // RFC 6675 section 4 SetPipe(): not SACKed and not lost, plus retransmitted.
  const Offset edge = std::clamp(phase == Phase::loss ? recovery_point : loss_edge, una, nxt);
  const Offset rxt = std::clamp(high_rxt, una, nxt);
  const Offset alive = (nxt - edge) - sacked.covered(edge, nxt);
  const Offset again = (rxt - una) - sacked.covered(una, rxt);
  return alive + again;
}

std::int64_t Sender::room() const {
  std::int64_t r = std::int64_t{cc.cwnd} + inflation - pipe();
  // RFC 3042: each of the first two duplicate ACKs lets one new segment out. With SACK the scoreboard does it.
  if (phase == Phase::open && !sack) r += std::int64_t{std::min<std::uint8_t>(dup_acks, kDupThresh - 1)} * mss();
  return r;
}

// ---- acknowledgments --------------------------------------------------------------------------------------------------

Sender::SackOutcome Sender::on_sack(const wire::TcpOptions& options, Offset ack) {
  SackOutcome out;
  for (std::uint8_t i = 0; i < options.sack_count; ++i) {
    const Offset left = offset_of(options.sack[i].left);
    const Offset right = left + static_cast<Offset>(options.sack[i].right.value - options.sack[i].left.value);
    // RFC 2883 section 4: the first block below the cumulative ACK, or within the second block, reports a duplicate.
    if (i == 0 && right <= ack) {
      ++out.dsack;
      continue;
    }
    if (i == 0 && options.sack_count > 1 && options.sack[1].left <= options.sack[0].left &&
        options.sack[0].right <= options.sack[1].right) {
      ++out.dsack;
      continue;
    }
    if (right <= ack && right > ack - Offset{max_wnd}) continue;  // an old acknowledgment's block
    if (left <= std::max(una, ack) || right > max || left >= right) {
      ++out.bad;
      continue;
    }
    const Offset added = sacked.add(left, right, kScoreboardRanges);
    if (added > 0) out.new_bytes += added;
    ++out.used;
  }
  if (out.new_bytes > 0) update_loss_edge();
  return out;
}

void Sender::update_loss_edge() {
  // RFC 6675 section 4 IsLost(): DupThresh ranges above, or more than (DupThresh - 1) * SMSS bytes above. What lies lower
  // has at least as much above it, so one edge says it all.
  Offset bytes = 0;
  std::size_t count = 0;
  for (std::size_t i = sacked.size(); i-- > 0;) {
    bytes += sacked[i].end - sacked[i].begin;
    ++count;
    if (count >= kDupThresh || bytes > Offset{kDupThresh - 1} * mss()) {
      loss_edge = std::max(loss_edge, sacked[i].begin);
      return;
    }
  }
}

void Sender::advance_una(Offset to) {
  una = to;
  nxt = std::max(nxt, una);
  high_rxt = std::max(high_rxt, una);
  if (!sacked.empty()) sacked.remove_below(una);
}

void Sender::reset_loss_edge() {
  loss_edge = una;
  update_loss_edge();
}

bool Sender::sample_rtt(const Ack& a, Offset prior_una) {
  // RFC 6298 section 3 (Karn): a timed byte that was never sent again; else timestamps, which tell copies apart.
  std::optional<Duration> r;
  if (timed_end != 0 && a.ack >= timed_end) {
    r = a.now - timed_at;
    timed_end = 0;
  } else if (a.echoed && timed_end == 0 && a.ack > prior_una) {
    r = a.echoed;
  }
  if (!r) return false;
  rtt.sample(*r, a.rto_min, a.rto_max);
  backoff = 0;
  return true;
}

void Sender::in_fast_recovery(const Ack& a, Offset acked, AckOutcome& out) {
  if (una >= recovery_point) {
    phase = Phase::open;
    inflation = 0;
    dup_acks = 0;
    reset_loss_edge();
    congestion->on_exit_recovery(cc, flight(), a.now);
    out.exited_recovery = true;
    return;
  }
  if (sack) {
    // The scoreboard says what is missing. A partial acknowledgment that stops at another hole that was sent again already:
    // when is not known, so its time counts from now.
    if (acked > 0) {
      if (high_rxt > una) head_mark = nxt;
    } else if (head_lost_again()) {
      reduce_window(a.now);
      recovery_point = nxt;
      head_due = true;
      out.lost_again = true;
    }
    return;
  }
  if (acked == 0) {
    // RFC 6582 section 3.2 step 2: each further duplicate is a segment that has left the network.
    if (out.duplicate) inflation += mss();
    return;
  }
  // RFC 6582 section 3.2 step 3: the first unacknowledged segment again; deflate by what was acknowledged.
  high_rxt = una;
  head_due = true;
  inflation -= acked;
  if (acked >= Offset{mss()}) inflation += mss();
  // The "impatient" variant: only the first partial acknowledgment restarts the timer.
  if (partial_acks > 0) out.restart_timer = false;
  if (partial_acks < 255) ++partial_acks;
}

Sender::AckOutcome Sender::on_ack(const Ack& a, bool sack_news) {
  IOPKT_ASSERT(a.ack >= una && a.ack <= max);
  AckOutcome out;
  const Offset prior_una = una;
  const std::uint32_t prior_flight = flight();
  const Offset acked = a.ack - una;
  if (acked > 0) {
    advance_una(a.ack);
    out.acked = static_cast<std::uint32_t>(acked);
    out.sampled = sample_rtt(a, prior_una);
    out.restart_timer = true;
    retries = 0;
    timeout_once = false;
    progress_at = a.now;
    if (phase != Phase::fast_recovery) dup_acks = 0;
  } else {
    // RFC 5681 section 2, and RFC 6675 section 2: with SACK, what brings news is a duplicate.
    out.duplicate = prior_flight > 0 && (sack ? sack_news : a.duplicate_form);
    if (out.duplicate && dup_acks < 255) ++dup_acks;
  }

  switch (phase) {
    case Phase::fast_recovery:
      in_fast_recovery(a, acked, out);
      break;
    case Phase::loss:
    case Phase::open:
      if (acked > 0) {
        // RFC 3465 section 2.3: after a timeout L is 1.
        congestion->on_ack(cc, {.acked = out.acked,
                                .abc_limit = phase == Phase::loss ? 1 : a.abc_limit,
                                .flight = prior_flight,
                                .cwnd_limited = phase == Phase::loss || prior_una < limited_end,
                                .hystart = a.hystart,
                                .una = una,
                                .nxt = nxt,
                                .rtt = a.echoed.value_or(Duration{}),
                                .srtt = rtt.srtt,
                                .now = a.now});
        if (phase == Phase::loss && una >= recovery_point) {
          phase = Phase::open;
          reset_loss_edge();
          out.exited_recovery = true;
        }
        head_due = head_due && phase == Phase::loss;
      }
      if (phase == Phase::open && in_flight()) {
        // RFC 6675 section 5 steps 1 to 4; RFC 6582 section 3.2 step 1: without SACK, not for what was sent before the
        // last recovery ended.
        const bool lost = sack ? loss_edge > una || (out.duplicate && dup_acks >= kDupThresh)
                               : out.duplicate && dup_acks >= kDupThresh && una > recovery_point;
        if (lost) {
          enter_recovery(a.now);
          out.entered_recovery = true;
        }
      }
      break;
  }
  return out;
}

/// RFC 6675 leaves a lost retransmission to the timer. But when more than DupThresh - 1 segments that were sent after it are
/// SACKed, it is as lost as anything else (RFC 8985 section 3 has the argument; here for SND.UNA alone).
bool Sender::head_lost_again() const {
  return !head_due && high_rxt > una && sacked.covered(head_mark, nxt) > Offset{kDupThresh - 1} * mss();
}

/// RFC 5681 section 3.2 step 2: without what limited transmit has sent beyond cwnd.
void Sender::reduce_window(Instant now) { congestion->on_enter_recovery(cc, std::min(flight(), cc.cwnd), now); }

void Sender::enter_recovery(Instant now) {
  phase = Phase::fast_recovery;
  recovery_point = nxt;
  high_rxt = una;
  rescue = 0;
  partial_acks = 0;
  head_due = true;
  reduce_window(now);
  // RFC 5681 section 3.2 step 3: the three segments that made the duplicates have left.
  inflation = sack ? 0 : std::int64_t{kDupThresh} * mss();
}

bool Sender::on_timeout(Instant now) {
  bool reneged = false;
  if (!sacked.empty() && sacked[0].begin <= una) {
    sacked.clear();
    reneged = true;
  }
  congestion->on_timeout(cc, std::min(flight(), cc.cwnd), !timeout_once, now);
  timeout_once = true;
  if (retries < 255) ++retries;
  if (backoff < 32) ++backoff;
  resend_all();
  return reneged;
}

void Sender::resend_all() {
  phase = Phase::loss;
  recovery_point = nxt;
  high_rxt = una;
  rescue = 0;
  inflation = 0;
  dup_acks = 0;
  head_due = in_flight();
  timed_end = 0;
  reset_loss_edge();
}

// ---- what goes out next -----------------------------------------------------------------------------------------------

std::optional<Range> Sender::next_hole(bool speculative) const {
  if (head_due) {
    // SND.UNA itself, even if the scoreboard claims it (reneging, RFC 2018 section 8).
    const Offset to = sacked.empty() || sacked[0].begin <= una ? nxt : std::min(sacked[0].begin, nxt);
    return Range{una, std::min(to, una + Offset{mss()})};
  }
  if (phase == Phase::open || (phase == Phase::fast_recovery && !sack)) return std::nullopt;
  Offset at = std::max(high_rxt, una);
  std::size_t i = sacked.first_above(at);
  if (i < sacked.size() && sacked[i].begin <= at) at = sacked[i++].end;
  const Offset edge = phase == Phase::loss ? recovery_point : loss_edge;
  Offset to = i < sacked.size() ? sacked[i].begin : nxt;
  if (at < edge) return Range{at, std::min(to, std::min(edge, nxt))};
  // RFC 6675 NextSeg() rule 3: below the highest SACKed byte.
  if (speculative && phase == Phase::fast_recovery && i < sacked.size()) return Range{at, to};
  return std::nullopt;
}

std::optional<Range> Sender::rescue_range(std::uint32_t size) const {
  // RFC 6675 NextSeg() rule 4: the highest outstanding bytes that are not SACKed; once while SND.UNA does not pass it.
  if (phase != Phase::fast_recovery || !sack || sacked.empty() || (rescue != 0 && una <= rescue)) return std::nullopt;
  const Offset top = sacked.back().end;
  const bool sacked_to_end = top >= nxt;
  const Offset to = sacked_to_end ? sacked.back().begin : nxt;
  const Offset floor = sacked_to_end ? (sacked.size() > 1 ? sacked[sacked.size() - 2].end : una) : top;
  const Offset from = std::max({floor, una, to - Offset{size}});
  if (from >= to) return std::nullopt;
  return Range{from, to};
}

void Sender::on_retransmitted(Range r) {
  head_due = false;
  if (r.begin == una) head_mark = nxt;
  high_rxt = std::max(high_rxt, r.end);
  if (timed_end > r.begin) timed_end = 0;  // Karn
}

void Sender::on_sent_new(Range r, bool small, Instant now) {
  IOPKT_ASSERT(r.begin == nxt);
  if (!in_flight()) {
    progress_at = now;
    congestion->on_transmit_start(cc, now);
  }
  if (small) small_end = r.end;
  nxt = r.end;
  const bool again = r.begin < max;
  max = std::max(max, nxt);
  if (timed_end == 0 && !again && phase != Phase::loss) {
    timed_end = r.end;
    timed_at = now;
  }
  last_sent = now;
}

void Sender::on_mss_change() { congestion->on_smss_change(cc, mss()); }

void Sender::on_established(std::uint32_t initial_segments, Instant now) {
  cc.smss = mss();
  congestion->on_established(cc, initial_segments, now);
  recovery_point = 0;  // RFC 6582 section 3.2: recover starts as ISS
  high_rxt = una;
  loss_edge = una;
  limited_end = 0;
  last_sent = now;
  progress_at = now;
}

}  // namespace iopkt::tcp
