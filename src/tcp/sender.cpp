#include "tcp/sender.hpp"

#include <algorithm>

namespace iopkt::tcp {

namespace {
constexpr std::uint8_t kDupThresh = 3;  // RFC 5681 section 3.2, RFC 6675 section 2
// A timer that comes late by a turn of the shard does not cost rate; an idle time does not make a burst.
constexpr Duration kPaceSlack = 2ms;
}  // namespace

Duration Sender::rto(Duration initial, Duration maximum) const {
  const Duration base = rtt.rto.count() != 0 ? rtt.rto : initial;
  Duration r = base;
  for (std::uint8_t i = 0; i < backoff && r < maximum; ++i) r *= 2;
  return std::min(r, std::max(maximum, base));
}

// ---- what comes and goes ----------------------------------------------------------------------------------------------

const Outstanding& Sender::none_outstanding() {
  static const Outstanding kNone;
  return kNone;
}

const Marks& Sender::no_marks() {
  static const Marks kNone;
  return kNone;
}

Outstanding& Sender::begin_outstanding() {
  Outstanding& fresh = air_.make();
  fresh.rk.rtt = rack_rtt;
  if (rate) fresh.log.keep_notes();
  return fresh;
}

/// At the end of a flight. What the next one would begin with anyway is not kept.
void Sender::settle(Instant now) {
  if (!air_ || una != nxt || nxt != max || phase != Phase::open || rate) return;
  const Outstanding& a = *air_;
  const bool recovering = a.undo_from >= 0 || mtu_verdict != Verdict::none || a.mtu_probe.end != 0 || a.probe_high != 0 || (!sack && a.recovery_point >= una);
  const bool waiting = a.timed_end != 0 || a.limited_end > una || a.small_end > una || a.pace_at > now - kPaceSlack || !a.reorder_at.is_never();
  if (recovering || waiting) return;
  rack_rtt = a.rk.rtt;
  air_.reset();
}

// ---- what is in the network -------------------------------------------------------------------------------------------

std::int64_t Sender::pipe() const {
  // Without SACK nothing is known but how much is outstanding.
  return sack || phase == Phase::loss ? air().log.flying() : nxt - una;
}

std::int64_t Sender::room() const {
  std::int64_t r = std::int64_t{cc.cwnd} + air().inflation - pipe();
  // RFC 3042: each of the first two duplicate ACKs lets one new segment out. With SACK the scoreboard does it.
  if (phase == Phase::open && !sack) r += std::int64_t{std::min<std::uint8_t>(dup_acks, kDupThresh - 1)} * mss();
  return r;
}

// ---- acknowledgments --------------------------------------------------------------------------------------------------

void Sender::advance_una(Offset to, News& news) {
  air().log.remove_below(to, [&](const Sent& s, const TransmitState& note) { note_delivered(s, note, news); });
  una = to;
  nxt = std::max(nxt, una);
}

bool Sender::sample_rtt(const Ack& a, Offset prior_una, const News& news) {
  if (news.rtt.count() > 0 && (rtt.minimum.count() == 0 || news.rtt < rtt.minimum)) rtt.minimum = news.rtt;
  // RFC 6298 section 3 (Karn): a timed byte that was never sent again; else timestamps, which tell copies apart.
  std::optional<Duration> r;
  if (air().timed_end != 0 && a.ack >= air().timed_end) {
    r = a.now - air().timed_at;
    air().timed_end = 0;
  } else if (a.echoed && air().timed_end == 0 && a.ack > prior_una) {
    r = a.echoed;
  }
  if (!r) return false;
  rtt.sample(*r, a.rto_min, a.rto_max);
  backoff = 0;
  return true;
}

Sender::AckOutcome Sender::on_ack(const Ack& a) {
  IOPKT_ASSERT(a.ack >= una && a.ack <= max);
  AckOutcome out;
  if (!air_ && a.ack == una && a.sacks == nullptr && !rate) return out;  // of a peer that only sends
  check_app_limited();
  News news{.now = a.now, .echo_ms = a.echo_ms, .lost_before = rate ? rate->lost : 0};
  const Offset prior_una = una;
  const std::uint32_t prior_flight = out.flight = flight();
  const Offset outstanding = prior_flight - air().log.sacked();
  const Offset acked = a.ack - una;
  if (sack && a.sacks != nullptr) take_sacks(a, news, out);
  if (acked > 0) {
    advance_una(a.ack, news);
    out.acked = static_cast<std::uint32_t>(acked);
    out.sampled = sample_rtt(a, prior_una, news);
    out.restart_timer = true;
    retries = 0;
    timeout_once = false;
    progress_at = a.now;
    if (phase != Phase::fast_recovery) dup_acks = 0;
    if (phase == Phase::open) head_due = false;
  } else {
    // RFC 5681 section 2, and RFC 6675 section 2: with SACK, what brings news is a duplicate.
    out.duplicate = prior_flight > 0 && (sack ? news.sacked > 0 : a.duplicate_form);
    if (out.duplicate && dup_acks < 255) ++dup_acks;
  }
  out.delivered = static_cast<std::uint32_t>(news.delivered);
  out.packets = news.packets;
  air().rk.fack = std::max(air().rk.fack, news.fack);
  if (uses_rack()) {
    out.reordered = news.reordered && !reordering_seen;
    reordering_seen = reordering_seen || news.reordered;
    adapt_reorder_window(news, false);
    out.probe_repaired = end_probe(a, news, acked == 0 && out.sacks_used + out.dsacks == 0);
    if (out.probe_repaired && phase == Phase::open) {
      // RFC 8985 section 7.4.2: a loss, though nothing is left to repair.
      congestion->on_congestion(cc, std::min(prior_flight, cc.cwnd), a.now);
      air().reduced_at = a.now;
      cc.undo_cwnd = 0;
    }
  }
  if (was_spurious(a, news, out)) {
    undo(a.now);
    out.undone = true;
  }
  const bool lost = find_losses(a, out);
  judge_mtu_probe();
  if (phase == Phase::fast_recovery) in_fast_recovery(a, news, lost, out);
  else in_open(a, news, lost, prior_una, prior_flight, outstanding, out);
  if (congestion->models_path()) model_path(news, prior_una < air().limited_end);
  settle(a.now);
  return out;
}

/// RFC 4821 section 7.6: acknowledged, it went through. Its loss alone is no sign of congestion.
void Sender::judge_mtu_probe() {
  if (air().mtu_probe.end == 0) return;
  if (una >= air().mtu_probe.end) {
    mtu_verdict = Verdict::passes;
    air().mtu_probe = {};
    return;
  }
  const std::size_t i = air().log.first_above(air().mtu_probe.begin);
  if (i >= air().log.size() || air().log[i].state != Sent::State::lost) return;
  spared = phase == Phase::open && only_probe_lost();
  mtu_verdict = Verdict::lost;
  air().mtu_probe = {};
}

/// More than a probe is lost: a congestion, after all.
void Sender::end_sparing(std::uint32_t flight_before, Instant now) {
  if (!spared) return;
  spared = false;
  reduce_window(flight_before, now);
}

bool Sender::only_probe_lost() const {
  if (air().log.lost() != air().mtu_probe.end - air().mtu_probe.begin) return false;
  const auto lost = air().log.first_lost();
  return lost && lost->begin == air().mtu_probe.begin && lost->end == air().mtu_probe.end;
}

void Sender::model_path(const News& news, bool cwnd_limited) {
  RateSample rs = news.sampler.finish(*rate, rtt.minimum);
  rs.cwnd_limited = cwnd_limited;
  rs.fast_recovery = phase == Phase::fast_recovery;
  rs.has_selective_acks = sack;
  rs.newly_lost = static_cast<std::uint32_t>(rate->lost - news.lost_before);
  rs.rtt = news.rtt;
  rs.srtt = rtt.srtt;
  rs.inflight = static_cast<std::uint32_t>(pipe());
  rs.now = news.now;
  if (congestion->on_sample(cc, rs)) rate->mark_app_limited(rs.inflight);
}

void Sender::check_app_limited() {
  // What is less than a segment may be held back by Nagle: it is no reason to be called limited by the network.
  if (rate && tail - nxt < Offset{mss()} && pipe() < std::int64_t{cc.cwnd} && air().log.lost() == 0)
    rate->mark_app_limited(static_cast<std::uint64_t>(pipe()));
}

/// What a transmission of [begin, ...) that the log knows already will say when it is delivered.
void Sender::remember_sent(Offset begin, bool idle, Instant now) {
  if (rate) air().log.remember(begin, rate->on_sent(idle, static_cast<std::uint32_t>(pipe()), now));
}

void Sender::lose(std::size_t i, Instant now) {
  if (air().log[i].state != Sent::State::flying) return;
  air().log.mark_lost(i);
  if (air().mtu_probe.end == 0 || air().log[i].begin < air().mtu_probe.begin || air().log[i].end > air().mtu_probe.end) tell_lost(air().log[i], air().log.note(i), now);
}

void Sender::tell_lost(const Sent& s, const TransmitState& note, Instant now) {
  if (!rate) return;
  rate->lost += static_cast<std::uint64_t>(s.length());
  congestion->on_lost(cc, {.begin = s.begin,
                           .end = s.end,
                           .tx_in_flight = note.tx_in_flight,
                           .is_app_limited = note.app_limited,
                           .has_selective_acks = sack,
                           .lost = static_cast<std::uint32_t>(static_cast<std::uint32_t>(rate->lost) - note.lost),
                           .total_delivered = rate->delivered,
                           .now = now});
}

/// Marks what is lost by now. True: something is, that was not before.
bool Sender::find_losses(const Ack& a, const AckOutcome& out) {
  const Offset before = air().log.lost();
  if (uses_rack()) return lose_by_rack(a.now);
  if (sack && out.sacks_used > 0) lose_by_rfc6675(a.now);
  return air().log.lost() > before;
}

/// An acknowledgment outside of fast recovery: the window grows, a recovery begins, or that of a timeout ends.
void Sender::in_open(const Ack& a, const News& news, bool lost, Offset prior_una, std::uint32_t prior_flight, Offset outstanding,
                     AckOutcome& out) {
  if (out.acked > 0) {
    // RFC 3465 section 2.3: after a timeout L is 1.
    congestion->on_ack(cc, {.acked = out.acked,
                            .abc_limit = phase == Phase::loss ? 1 : a.abc_limit,
                            .flight = prior_flight,
                            .cwnd_limited = phase == Phase::loss || prior_una < air().limited_end,
                            .hystart = a.hystart,
                            .una = una,
                            .nxt = nxt,
                            .rtt = news.rtt,
                            .srtt = rtt.srtt,
                            .now = a.now});
    if (phase == Phase::loss && una >= air().recovery_point) {
      exit_recovery(a.now);
      out.exited_recovery = true;
    }
  }
  if (phase == Phase::loss && frto != 0) step_frto(news, out);
  if (phase != Phase::open || !in_flight()) return;
  // RFC 6675 section 5 steps 1 to 4, RFC 8985 section 6.2; RFC 6582 section 3.2 step 1: without SACK, not for what was sent before
  // the last recovery ended.
  const bool duplicates = !uses_rack() && out.duplicate && dup_acks >= kDupThresh && (sack || una > air().recovery_point);
  if (!lost && air().log.lost() == 0 && !duplicates) return;
  enter_recovery(prior_flight, outstanding, a.now);
  out.entered_recovery = true;
  reduce_proportionally(news.delivered, false);
}

void Sender::in_fast_recovery(const Ack& a, const News& news, bool lost, AckOutcome& out) {
  if (una >= air().recovery_point) {
    exit_recovery(a.now);
    out.exited_recovery = true;
    if (air().log.lost() > 0) {
      enter_recovery(out.flight, flight() - air().log.sacked(), a.now);
      out.entered_recovery = true;
    }
    return;
  }
  if (sack) {
    // Without RACK: a partial acknowledgment that stops at another hole that was sent again already: when is not known, so its time
    // counts from now.
    if (out.acked > 0 && !air().log.empty() && air().log[0].again) air().head_mark = nxt;
    const bool head_again = !uses_rack() && out.acked == 0 && head_lost_again();
    if (head_again) head_due = true;
    if (lost) end_sparing(out.flight, a.now);
    if ((head_again || lost_again) && !congestion->models_path()) {
      reduce_again(out.flight, a.now);
      out.lost_again = true;
    }
    lost_again = false;
    return reduce_proportionally(news.delivered, out.acked > 0 && !lost);
  }
  if (out.acked == 0) {
    // RFC 6582 section 3.2 step 2: each further duplicate is a segment that has left the network.
    if (out.duplicate) air().inflation += mss();
    return;
  }
  // RFC 6582 section 3.2 step 3: the first unacknowledged segment again; deflate by what was acknowledged.
  head_due = true;
  air().inflation -= out.acked;
  if (out.acked >= mss()) air().inflation += mss();
  // The "impatient" variant: only the first partial acknowledgment restarts the timer.
  if (partial_acks > 0) out.restart_timer = false;
  if (partial_acks < 255) ++partial_acks;
}

/// RFC 5681 section 4.3: the loss of a retransmission is another congestion, and a sure one.
void Sender::reduce_again(std::uint32_t flight_before, Instant now) {
  cc.cwnd = std::max(cc.cwnd, air().prr_target);
  reduce_window(flight_before, now);
  cc.undo_cwnd = 0;
  air().recovery_point = nxt;
  air().recover_fs = static_cast<std::uint32_t>(std::max<Offset>(nxt - una - air().log.sacked(), 1));
  air().prr_delivered = air().prr_out = 0;
}

/// RFC 9937 section 6.2.
void Sender::reduce_proportionally(Offset delivered, bool safe) {
  if (!sack || !ways.prr || phase != Phase::fast_recovery || congestion->models_path()) return;
  air().prr_delivered += delivered;
  const std::int64_t inflight = pipe(), ssthresh = air().prr_target, smss = mss();
  std::int64_t count = 0;
  if (inflight > ssthresh) {
    count = (air().prr_delivered * ssthresh + air().recover_fs - 1) / air().recover_fs - air().prr_out;
  } else {
    // PRR-CRB, or PRR-SSRB while each ACK repairs something.
    count = std::max(air().prr_delivered - air().prr_out, std::int64_t{delivered});
    if (safe) count += smss;
    count = std::min(ssthresh - inflight, count);
  }
  if (air().prr_out == 0) count = std::max(count, smss);  // "force a fast retransmit upon entering recovery"
  cc.cwnd = static_cast<std::uint32_t>(std::clamp<std::int64_t>(inflight + std::max<std::int64_t>(count, 0), smss, 1 << 30));
}

/// RFC 6675 leaves a lost retransmission to the timer. But when more than DupThresh - 1 segments that were sent after it are
/// SACKed, it is as lost as anything else (RFC 8985 section 3 has the argument; here for SND.UNA alone).
bool Sender::head_lost_again() const {
  return !head_due && !air().log.empty() && air().log[0].again && air().log.sacked_above(air().head_mark) > Offset{kDupThresh - 1} * mss();
}

/// RFC 5681 section 3.2 step 2: without what limited transmit has sent beyond cwnd. FlightSize is that of before the acknowledgment: what
/// says that something is lost may acknowledge most of a window as well, where acknowledgments are few (GRO, ACK loss).
void Sender::reduce_window(std::uint32_t flight_before, Instant now) {
  congestion->on_enter_recovery(cc, std::min(flight_before, cc.cwnd), now);
  air().prr_target = cc.ssthresh;
  air().reduced_at = now;
}

void Sender::choose(const CongestionControl& algorithm) {
  congestion = &algorithm;
  if (!algorithm.models_path()) return rate.reset();
  rate.make();
  if (air_) air_->log.keep_notes();
}

void Sender::adopt(const CongestionControl& other, Instant now) {
  const bool was_modelled = congestion != nullptr && congestion->models_path();
  choose(other);
  // A model leaves no threshold, which the rest of a recovery needs.
  if (was_modelled && !other.models_path() && phase != Phase::open) {
    cc.ssthresh = std::max(std::min(cc.cwnd, flight()), 2 * std::uint32_t{mss()});
    air().prr_target = cc.ssthresh;
  }
  congestion->on_adopted(cc, rtt.srtt, now);
}

void Sender::enter_recovery(std::uint32_t flight_before, Offset outstanding_before, Instant now) {
  watch_reduction();
  phase = Phase::fast_recovery;
  air().recovery_point = nxt;
  air().rescue = 0;
  partial_acks = 0;
  lost_again = false;
  air().probe_at = Instant::never();
  head_due = !uses_rack() || (!air().log.empty() && air().log[0].state == Sent::State::lost);
  // Without SACK the scoreboard does not know of it, and a model must.
  if (!sack && !air().log.empty()) {
    Sent head = air().log[0];
    head.end = std::min(head.end, head.begin + Offset{mss()});
    tell_lost(head, air().log.note(0), now);
  }
  if (spared) air().prr_target = cc.cwnd;
  else reduce_window(flight_before, now);
  air().recover_fs = static_cast<std::uint32_t>(std::clamp<Offset>(outstanding_before, 1, 1 << 30));
  air().prr_delivered = air().prr_out = 0;
  // RFC 5681 section 3.2 step 3: the three segments that made the duplicates have left.
  air().inflation = sack ? 0 : std::int64_t{kDupThresh} * mss();
}

void Sender::exit_recovery(Instant now) {
  if (congestion->models_path()) {
    if (!spared) congestion->on_exit_recovery(cc, flight(), now);
  } else if (phase == Phase::fast_recovery) {
    if (sack && ways.prr) cc.cwnd = air().prr_target;
    else congestion->on_exit_recovery(cc, flight(), now);
  }
  phase = Phase::open;
  air().inflation = 0;
  dup_acks = 0;
  frto = 0;
  head_due = false;
  spared = false;
  air().undo_until = nxt;
  adapt_reorder_window({}, true);
}

bool Sender::on_timeout(Instant now) {
  bool reneged = false;
  if (!air().log.empty() && air().log[0].state == Sent::State::sacked) {
    air().log.forget_sacks();
    reneged = true;
  }
  // RFC 5682 section 2.1 step 1: not while an earlier loss is being repaired, and once for each.
  const bool first_look = ways.frto && phase == Phase::open && retries == 0 && !reneged;
  watch_reduction();
  congestion->on_timeout(cc, std::min(flight(), cc.cwnd), !timeout_once, now);
  air().reduced_at = now;
  timeout_once = true;
  if (air().mtu_probe.end != 0) mtu_verdict = Verdict::lost;
  if (retries < 255) ++retries;
  if (backoff < 32) ++backoff;
  enter_loss();
  if (uses_rack()) {
    lose_by_timer(now);
  } else {
    for (std::size_t i = 0; i < air().log.size(); ++i) lose(i, now);
  }
  // draft-ietf-ccwg-bbr section 5.6.4.4: one segment beside what may still arrive.
  if (congestion->models_path()) cc.cwnd = static_cast<std::uint32_t>(std::min<std::int64_t>(cc.cwnd + pipe(), 1 << 30));
  frto = first_look ? 2 : 0;
  return reneged;
}

void Sender::enter_loss() {
  phase = Phase::loss;
  air().recovery_point = nxt;
  air().rescue = 0;
  air().inflation = 0;
  dup_acks = 0;
  frto = 0;
  spared = false;
  air().mtu_probe = {};
  head_due = in_flight();
  air().timed_end = 0;
  air().probe_high = 0;
  loss_probe_due = false;
  air().probe_at = air().reorder_at = Instant::never();
}

void Sender::resend_all() {
  enter_loss();
  air().log.lose_all();
  air().undo_from = -1;
}

// ---- pacing, marks ----------------------------------------------------------------------------------------------------

std::uint64_t Sender::pacing_rate() const {
  if (cc.pacing_rate != 0) return cc.pacing_rate;
  if (!ways.pacing || rtt.srtt.count() == 0) return 0;
  // A window per round trip, and some more, so that pacing is not what bounds it: twice in slow start, 1.2 times else.
  const std::uint64_t per_second = std::uint64_t{cc.cwnd} * 1'000'000'000u / static_cast<std::uint64_t>(rtt.srtt.count());
  return std::max<std::uint64_t>(cc.cwnd < cc.ssthresh / 2 ? 2 * per_second : per_second * 6 / 5, mss());
}

Offset Sender::pacing_quantum() const {
  return std::max(static_cast<Offset>(std::min<std::uint64_t>(pacing_rate() / 1000, 1u << 16)), 2 * Offset{mss()});
}

bool Sender::paced(Instant now) {
  if (now >= air().pace_at || pacing_rate() == 0) return false;
  pace_blocked = true;
  return true;
}

bool Sender::on_congestion_echo(std::uint32_t flight_before, Instant now) {
  if (una <= marks().cwr_point) return false;
  make_marks().cwr_point = nxt;
  // A loss of the same window has reduced it already.
  if (phase != Phase::open) return false;
  congestion->on_congestion(cc, std::min(flight_before, cc.cwnd), now);
  if (air_) air_->reduced_at = now;
  cc.undo_cwnd = 0;
  return true;
}

// ---- what goes out next -----------------------------------------------------------------------------------------------

std::optional<Range> Sender::next_hole(bool speculative) const {
  if (head_due) {
    // SND.UNA itself, even if the scoreboard claims it (reneging, RFC 2018 section 8).
    Offset to = std::min(nxt, una + Offset{mss()});
    for (std::size_t i = 1; i < air().log.size() && air().log[i].begin < to; ++i)
      if (air().log[i].state == Sent::State::sacked) to = air().log[i].begin;
    return Range{una, to};
  }
  if (phase == Phase::open || (phase == Phase::fast_recovery && !sack) || frto == 3) return std::nullopt;
  if (const auto lost = air().log.first_lost()) return lost;
  if (!speculative || phase != Phase::fast_recovery || uses_rack()) return std::nullopt;
  // RFC 6675 NextSeg() rule 3: below the highest SACKed byte.
  const Offset highest = air().log.highest_sacked();
  for (std::size_t i = 0; i < air().log.size() && air().log[i].end <= highest; ++i)
    if (air().log[i].state == Sent::State::flying && !air().log[i].again) return Range{air().log[i].begin, air().log[i].end};
  return std::nullopt;
}

std::optional<Range> Sender::rescue_range(std::uint32_t size) const {
  // RFC 6675 NextSeg() rule 4: the highest outstanding bytes that are not SACKed; once while SND.UNA does not pass it.
  if (phase != Phase::fast_recovery || !sack || uses_rack() || air().log.sacked() == 0 || (air().rescue != 0 && una <= air().rescue)) return std::nullopt;
  std::size_t i = air().log.size();
  while (i > 0 && air().log[i - 1].state == Sent::State::sacked) --i;
  if (i == 0) return std::nullopt;
  const Offset to = air().log[i - 1].end;
  Offset from = air().log[i - 1].begin;
  while (--i > 0 && air().log[i - 1].state != Sent::State::sacked && to - from < Offset{size}) from = air().log[i - 1].begin;
  return Range{std::max(from, to - Offset{size}), to};
}

void Sender::on_retransmitted(Range r, std::uint32_t segment, Instant now) {
  head_due = false;
  if (r.begin == una) air().head_mark = nxt;
  const bool idle = pipe() == 0;
  air().log.resent(r, now, segment);
  remember_sent(r.begin, idle, now);
  if (air().timed_end > r.begin) air().timed_end = 0;  // Karn
  if (air().undo_from >= 0) {
    if (air().resent_ms < 0) {
      air().resent_ms = now.milliseconds();
      air().undo_from = r.begin;
    }
    air().undo_bytes += r.end - r.begin;
  }
  resent_total += static_cast<std::uint64_t>(r.end - r.begin);
  on_any_sent(r.end - r.begin, now);
}

void Sender::on_sent_new(Range r, std::uint32_t segment, bool small, Instant now) {
  IOPKT_ASSERT(r.begin == nxt);
  if (!in_flight()) {
    progress_at = now;
    congestion->on_transmit_start(cc, rate && rate->app_limited != 0, now);
  }
  const bool idle = pipe() == 0;
  if (small) air().small_end = r.end;
  nxt = r.end;
  const bool again = r.begin < max;
  air().log.append(r, again, now, segment);
  remember_sent(air().log.back().begin, idle, now);
  max = std::max(max, nxt);
  if (air().timed_end == 0 && !again && phase != Phase::loss) {
    air().timed_end = r.end;
    air().timed_at = now;
  }
  on_any_sent(r.end - r.begin, now);
}

void Sender::on_any_sent(Offset bytes, Instant now) {
  air().prr_out += bytes;
  last_sent = now;
  const std::uint64_t per_second = pacing_rate();
  if (per_second == 0) return;
  air().pace_at = std::max(air().pace_at, now - kPaceSlack) + Duration(static_cast<std::int64_t>(static_cast<std::uint64_t>(bytes) * 1'000'000'000u / per_second));
}

void Sender::on_mtu_probe_sent(Range r, std::uint16_t probe_mss) {
  air().mtu_probe = r;
  air().mtu_probe_mss = probe_mss;
}

void Sender::take_back_unacked() {
  nxt = una;
  air().small_end = std::min(air().small_end, una);
  air().log.truncate(una);
  air().timed_end = 0;
  phase = Phase::open;
  head_due = false;
  frto = 0;
}

void Sender::on_mss_change() { congestion->on_smss_change(cc, mss()); }

void Sender::on_established(std::uint32_t initial_segments, const LossWays& how, Instant now) {
  ways = how;
  cc.smss = mss();
  congestion->on_established(cc, initial_segments, rtt.srtt, now);
  if (air_) air_->recovery_point = air_->limited_end = 0;  // RFC 6582 section 3.2: recover starts as ISS
  last_sent = now;
  progress_at = now;
}

}  // namespace iopkt::tcp
