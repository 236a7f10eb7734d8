// Was it a loss at all? Reductions that turn out to be for nothing are taken back: by timestamps (Eifel, RFC 3522), because all that
// was sent again arrived twice (DSACK, RFC 3708), or because data from before a timeout still arrives (F-RTO, RFC 5682).
#include <algorithm>

#include "tcp/sender.hpp"

namespace iopkt::tcp {

/// To be called before a reduction: the first one of an episode is what undo() goes back to.
void Sender::watch_reduction() {
  if (phase != Phase::open) return;
  cc.undo_cwnd = 0;
  air().undo_from = una;
  air().undo_bytes = 0;
  air().resent_ms = -1;
}

void Sender::on_dsack(Range r) {
  if (air().undo_from < 0 || r.end <= air().undo_from) return;
  air().undo_bytes -= r.end - std::max(r.begin, air().undo_from);
}

bool Sender::was_spurious(const Ack& a, const News& news, const AckOutcome& out) {
  if (air().undo_from < 0 || cc.undo_cwnd == 0 || air().resent_ms < 0) return false;
  if (phase == Phase::open) {
    // The recovery is over; duplicates of its retransmissions are reported for one more flight.
    if (una > air().undo_until) air().undo_from = -1;
    return air().undo_from >= 0 && news.dsack && air().undo_bytes <= 0;
  }
  if (news.dsack && air().undo_bytes <= 0) return true;
  // RFC 3522 section 3.2 step 5: the acknowledgment of the first retransmission echoes what was sent before it.
  if (out.acked > 0 && una > air().undo_from && a.echo_ms && *a.echo_ms < air().resent_ms) return true;
  // RFC 5682 section 2.1 step 3b, section 3.1 step 3b.
  return frto == 3 && news.original;
}

/// RFC 5682 section 2.1: the first ACK after the timeout lets new data out in place of retransmissions, the second one decides.
void Sender::step_frto(const News& news, const AckOutcome& out) {
  if (frto == 3) {
    // Step 3a: it was a loss. Without SACK nobody says that the two new segments are through: SND.UNA does not wait for them.
    frto = 0;
    cc.cwnd = 3 * mss();
    head_due = true;
    return;
  }
  // Section 3.1 step 2: with SACK, duplicates from before the timeout say nothing.
  if (out.acked == 0 && sack && news.sacked > 0) return;
  const Offset least = nxt + Offset{mss()};
  frto = out.acked > 0 && end() >= least && window_edge() >= least ? 3 : 0;
  if (frto == 3) cc.cwnd = static_cast<std::uint32_t>(std::min<std::int64_t>(pipe() + 2 * Offset{mss()}, 1 << 30));
}

void Sender::undo(Instant now) {
  congestion->on_undo(cc, now);
  if (phase != Phase::open) air().log.find_all();
  phase = Phase::open;
  air().inflation = 0;
  dup_acks = 0;
  frto = 0;
  head_due = false;
  spared = false;
  air().undo_from = -1;
  air().resent_ms = -1;
}

}  // namespace iopkt::tcp
