// Which segment size the path takes, where no ICMP message says so: RFC 4821, the search of section 7 with the three tries of RFC 8899
// section 5.1.2. Probes are segments of the stream, larger than what is known to get through; a lost one is repaired as any loss, but
// is no sign of congestion. Only with SACK and RACK, which tell it apart.
#include <algorithm>
#include <utility>

#include "tcp/connection.hpp"

namespace iopkt::tcp {

namespace {
constexpr std::uint16_t kBaseMss = 1024 - 40;  // RFC 4821 section 7.2
constexpr std::uint16_t kNear = 32;            // the search is over: not worth another loss
constexpr std::uint8_t kMaxProbes = 3;         // RFC 8899 section 5.1.2 MAX_PROBES
constexpr Offset kFollowing = 3;               // segments behind a probe, so that its loss shows without a timeout (RFC 4821 section 7.4)
}  // namespace

/// RFC 2923 section 2.1, RFC 4821 section 7.7: full segments vanish again and again, and no ICMP message says why. Smaller ones may get
/// through.
void Connection::doubt_path_mtu(Instant now) {
  constexpr std::uint8_t kTimeouts = 2;
  constexpr std::uint16_t kCommon = 1280 - 60;  // what every path takes today
  const Sender& snd = b_.snd;
  if (tun().mtu_probing == 0 || snd.retries < kTimeouts || snd.flight() < snd.mss() || snd.mss() <= kCommon) return;
  begin_mtu_search(b_.seldom().mtu ? b_.seldom().mtu->hole_mss : snd.path_mss, now);
  b_.snd.cc.cwnd = std::min(b_.snd.cc.cwnd, b_.snd.mss());
  ++count().mtu_black_holes;
}

/// `from`: what is hoped for in the end.
void Connection::begin_mtu_search(std::uint16_t from, Instant now) {
  b_.make_seldom().mtu.make() = {
      .hole_mss = from, .search_high = from, .search_at = now, .hole_until = now + seconds(tun().mtu_probe_interval_s)};
  set_path_mss(std::min(from, kBaseMss));
}

bool Connection::searches_mtu() const { return b_.snd.uses_rack() && (b_.snd.ways.prr || b_.snd.congestion->models_path()); }

/// RFC 1191 section 6.3, RFC 4821 section 7.5: what was learnt about a path is doubted after a time. Without probes that means full
/// segments at once.
void Connection::forget_black_hole(Instant now) {
  if (!b_.seldom().mtu || now < b_.seldom().mtu->hole_until) return;
  MtuSearch& search = *b_.make_seldom().mtu;
  search.hole_until = now + seconds(tun().mtu_probe_interval_s);
  search.search_high = search.hole_mss;
  search.search_losses = 0;
  if (searches_mtu()) return;
  set_path_mss(std::max(search.hole_mss, b_.snd.path_mss));
  b_.make_seldom().mtu.reset();
}

/// RFC 4821 section 7.3: all of it first, for most holes pass; then the middle. 0: the search is over.
std::uint16_t Connection::next_probe_mss() const {
  const Box<MtuSearch>& search = b_.seldom().mtu;
  if (!search) return 0;
  const std::uint16_t high = std::min(search->search_high, b_.snd.peer_mss), low = b_.snd.path_mss;
  if (high <= low) return 0;
  if (high == std::min(search->hole_mss, b_.snd.peer_mss)) return high;
  return high - low < kNear ? 0 : static_cast<std::uint16_t>(low + (high - low + 1) / 2);
}

/// RFC 4821 section 7.4: enough to send behind it, a window for that, and nothing else to find out at the same time. Answers the
/// payload of the probe, 0: none is due.
std::uint32_t Connection::mtu_probe_due(Instant now) const {
  const Sender& snd = b_.snd;
  const Box<MtuSearch>& search = b_.seldom().mtu;
  if (!search || now < search->search_at || !searches_mtu() || snd.phase != Phase::open || snd.air().mtu_probe.end != 0) return 0;
  if (snd.air().log.sacked() > 0 || snd.rtt.srtt.count() == 0 || b_.persisting || snd.marks().up > snd.nxt || snd.cwr_due) return 0;
  const std::uint16_t probe_mss = next_probe_mss();
  if (probe_mss == 0) return 0;
  const std::uint32_t payload = probe_mss - (snd.mss() - payload_per_segment());
  const Offset needed = payload + kFollowing * snd.mss();
  return snd.tail - snd.nxt >= needed && snd.wnd >= needed && snd.cc.cwnd >= needed ? payload : 0;
}

SegmentOut Connection::output_mtu_probe(std::uint32_t payload, Instant now) {
  Sender& snd = b_.snd;
  const Range r{snd.nxt, snd.nxt + payload};
  SegmentOut out = data_segment(r, payload, now);
  count().tx_bytes += out.payload_len;
  ++count().mtu_probes;
  snd.on_sent_new(r, 0, false, now);
  snd.on_mtu_probe_sent(r, next_probe_mss());
  if (b_.rexmt_at.is_never()) arm_rexmt(now);
  arm_probe(now);
  return out;
}

/// RFC 4821 section 7.6: what the last probe has shown.
void Connection::take_mtu_verdict(Instant now) {
  const Sender::Verdict verdict = std::exchange(b_.snd.mtu_verdict, Sender::Verdict::none);
  if (verdict == Sender::Verdict::none || !b_.seldom().mtu) return;
  MtuSearch& search = *b_.make_seldom().mtu;
  const std::uint16_t probed = b_.snd.air().mtu_probe_mss;
  if (verdict == Sender::Verdict::passes) {
    ++count().mtu_probes_good;
    search.search_losses = 0;
    search.search_at = now;
    set_path_mss(std::max(probed, b_.snd.path_mss));
    if (b_.snd.path_mss >= search.hole_mss) b_.make_seldom().mtu.reset();
    return;
  }
  ++count().mtu_probes_lost;
  search.search_at = now + current_rto();
  if (++search.search_losses < kMaxProbes) return;
  search.search_losses = 0;
  search.search_high = static_cast<std::uint16_t>(probed - 1);
}

}  // namespace iopkt::tcp
