// Settings of TCP, one row each: sysctl, --help and the reference page read the same table.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "base/time.hpp"

namespace iopkt::tcp {

/// Values in the unit of their row. The initial values stand in kTunables alone: use default_tunables(). mssdflt, recvspace and
/// sendspace with their maxima are for whoever makes an OpenConfig.
struct Tunables {
  std::uint32_t abc_limit, challenge_ack_limit, delack_ms, ecn_enable, ecn_option, fastopen_client, fastopen_pause_s, fastopen_server, finwait2_ms, frto, hystart, init_win, keepcnt, keepidle_s, keepintvl_s,
      mssdflt, msl_ms, mtu_probe_interval_s, mtu_probing, nagle, notsent_lowat, orphan_retries, pacing, persist_max_ms, persist_min_ms, prr, rack, reass_ranges, recvspace, recvspace_max,
      rexmt_r1, rexmt_r2, rfc1323, rto_initial_ms, rto_max_ms, rto_min_ms, sack_enable, sendspace, sendspace_max,
      slow_start_after_idle, syn_ack_retries, syn_rate, syn_retries, syncookies, timestamps, tso_bytes;
};

inline constexpr std::uint32_t kChallengePeriodMs = 5000;  ///< of challenge_ack_limit

struct TunableSpec {
  std::string_view name;  ///< Of the sysctl variable.
  std::string_view unit, help;
  std::uint32_t Tunables::*field;
  std::uint32_t initial, min, max;
};

inline constexpr std::array kTunables{
    // RFC 3465 says 2; a receiver behind GRO acknowledges up to 64 KB at once, and those bytes did leave the network.
    TunableSpec{"net.inet.tcp.abc.limit", "segments", "Most that one acknowledgment adds to the congestion window.",
                &Tunables::abc_limit, 64, 1, 1024},
    TunableSpec{"net.inet.tcp.challenge_ack_limit", "per 5 s", "Challenge ACKs of one connection (RFC 5961 section 7).",
                &Tunables::challenge_ack_limit, 10, 1, 1000},
    TunableSpec{"net.inet.tcp.congctl.hystart", "bool", "CUBIC's first slow start ends when delays grow (RFC 9406).",
                &Tunables::hystart, 1, 0, 1},
    // RFC 9293 section 3.8.6.3 allows 500; Linux uses 40 to 200.
    TunableSpec{"net.inet.tcp.delack", "ms", "Longest delay of an acknowledgment.", &Tunables::delack_ms, 40, 0, 500},
    // The numbers of Linux's tcp_ecn.
    TunableSpec{"net.inet.tcp.ecn.enable", "choice",
                "ECN (RFC 3168): 0 never, 1 asked for and granted, 2 granted; AccECN (RFC 9768) granted, and 3 asked for, 4 ECN asked for, 5 none.",
                &Tunables::ecn_enable, 2, 0, 5},
    TunableSpec{"net.inet.tcp.ecn.option", "bool", "AccECN's option, which counts bytes (RFC 9768 section 3.2.3), is sent.", &Tunables::ecn_option,
                1, 0, 1},
    // As FreeBSD and the host have it: a client harms nobody, but a server hands out data that may come twice (RFC 7413 section 6.1).
    TunableSpec{"net.inet.tcp.fastopen.client_enable", "bool", "Programs may send data with a SYN (RFC 7413).", &Tunables::fastopen_client, 1, 0,
                1},
    TunableSpec{"net.inet.tcp.fastopen.path_disable_time", "s", "Plain SYNs to a server after one with the option was lost; doubled each time.",
                &Tunables::fastopen_pause_s, 900, 0, 86400},
    TunableSpec{"net.inet.tcp.fastopen.server_enable", "bool", "Listeners with TCP_FASTOPEN take data with a SYN (RFC 7413).",
                &Tunables::fastopen_server, 0, 0, 1},
    TunableSpec{"net.inet.tcp.finwait2_timeout", "ms", "How long a closed socket waits for the peer's FIN.",
                &Tunables::finwait2_ms, 60000, 1000, 3600000},
    TunableSpec{"net.inet.tcp.frto", "bool", "After a timeout, new data shows whether it was spurious (RFC 5682).", &Tunables::frto, 1, 0, 1},
    TunableSpec{"net.inet.tcp.init_win", "segments", "Initial congestion window (RFC 6928).", &Tunables::init_win, 10, 1,
                100},
    // NetBSD says 8, the host 9; it is what getsockopt() shows to the host's programs.
    TunableSpec{"net.inet.tcp.keepcnt", "probes", "Keepalive probes without an answer that end a connection.",
                &Tunables::keepcnt, 9, 1, 127},
    TunableSpec{"net.inet.tcp.keepidle", "s", "Idle time before the first keepalive probe.", &Tunables::keepidle_s, 7200,
                1, 32767},
    TunableSpec{"net.inet.tcp.keepintvl", "s", "Time between keepalive probes.", &Tunables::keepintvl_s, 75, 1, 32767},
    // RFC 9293 section 3.4.1 says 2 min; everybody's TIME-WAIT lasts 60 s.
    TunableSpec{"net.inet.tcp.msl", "ms", "Maximum segment lifetime; TIME-WAIT lasts twice as long.", &Tunables::msl_ms,
                30000, 10, 255000},
    TunableSpec{"net.inet.tcp.mssdflt", "bytes", "Segment size when an IPv4 peer names none (RFC 9293 section 3.7.1).",
                &Tunables::mssdflt, 536, 64, 65495},
    TunableSpec{"net.inet.tcp.mtu_probe_interval", "s", "When a segment size that did not get through is tried again (RFC 4821 7.5).",
                &Tunables::mtu_probe_interval_s, 600, 1, 86400},
    TunableSpec{"net.inet.tcp.mtu_probing", "choice",
                "Path MTU by probes (RFC 4821): 0 never, 1 where full segments vanish without a word, 2 always.",
                &Tunables::mtu_probing, 1, 0, 2},
    TunableSpec{"net.inet.tcp.nagle", "bool", "Hold small segments while one is unacknowledged (RFC 9293 section 3.7.4).",
                &Tunables::nagle, 1, 0, 1},
    TunableSpec{"net.inet.tcp.notsent_lowat", "bytes", "What was written but not sent yet, at most, where TCP_NOTSENT_LOWAT does not say.",
                &Tunables::notsent_lowat, UINT32_MAX, 1, UINT32_MAX},
    TunableSpec{"net.inet.tcp.orphan_retries", "retries", "Retransmissions or probes without progress after close().",
                &Tunables::orphan_retries, 8, 1, 30},
    TunableSpec{"net.inet.tcp.pacing", "bool", "Segments are spread over the round trip (bbr always does).", &Tunables::pacing, 0, 0, 1},
    TunableSpec{"net.inet.tcp.persist_max", "ms", "Longest time between zero-window probes.", &Tunables::persist_max_ms,
                60000, 1000, 600000},
    TunableSpec{"net.inet.tcp.persist_min", "ms", "Shortest time before a zero-window probe.", &Tunables::persist_min_ms,
                200, 10, 60000},
    TunableSpec{"net.inet.tcp.prr", "bool", "Proportional rate reduction while a loss is repaired (RFC 9937).", &Tunables::prr, 1, 0, 1},
    TunableSpec{"net.inet.tcp.rack", "bool", "Losses are found by time, and by probes (RFC 8985); off: by RFC 6675.", &Tunables::rack, 1, 0, 1},
    // A slow start that overshoots a queue loses every other segment of a window: 1024 holes are 3 MB of window, 16 KB here.
    TunableSpec{"net.inet.tcp.reass.ranges", "ranges", "Holes in the receive sequence that one connection may have.",
                &Tunables::reass_ranges, 1024, 4, 16384},
    TunableSpec{"net.inet.tcp.recvspace", "bytes", "Receive buffer of a new socket.", &Tunables::recvspace, 262144, 2048,
                1u << 30},
    TunableSpec{"net.inet.tcp.recvspace_max", "bytes", "Largest receive buffer; the window scale is chosen for it.",
                &Tunables::recvspace_max, 16777216, 2048, 1u << 30},
    TunableSpec{"net.inet.tcp.rexmt_r1", "retries", "Retransmissions before the next hop is doubted (R1).",
                &Tunables::rexmt_r1, 3, 1, 30},
    TunableSpec{"net.inet.tcp.rexmt_r2", "retries", "Retransmissions before the connection is given up (R2).",
                &Tunables::rexmt_r2, 15, 3, 30},
    TunableSpec{"net.inet.tcp.rfc1323", "bool", "Window scaling (RFC 7323).", &Tunables::rfc1323, 1, 0, 1},
    TunableSpec{"net.inet.tcp.rto_initial", "ms", "Timeout before the first measurement (RFC 6298).",
                &Tunables::rto_initial_ms, 1000, 100, 60000},
    TunableSpec{"net.inet.tcp.rto_max", "ms", "Longest retransmission timeout (RFC 6298: at least 60 s).",
                &Tunables::rto_max_ms, 120000, 1000, 600000},
    // RFC 6298 says 1 s; every stack of today uses 200 ms or less.
    TunableSpec{"net.inet.tcp.rto_min", "ms", "Shortest retransmission timeout.", &Tunables::rto_min_ms, 200, 5, 60000},
    TunableSpec{"net.inet.tcp.sack.enable", "bool", "Selective acknowledgments (RFC 2018).", &Tunables::sack_enable, 1, 0,
                1},
    TunableSpec{"net.inet.tcp.sendspace", "bytes", "Send buffer of a new socket.", &Tunables::sendspace, 262144, 2048,
                1u << 30},
    TunableSpec{"net.inet.tcp.sendspace_max", "bytes", "Largest send buffer.", &Tunables::sendspace_max, 16777216, 2048,
                1u << 30},
    TunableSpec{"net.inet.tcp.slow_start_after_idle", "bool",
                "Restart from the initial window after an idle time (RFC 5681 section 4.1).",
                &Tunables::slow_start_after_idle, 1, 0, 1},
    TunableSpec{"net.inet.tcp.syn_ack_retries", "retries", "Retransmissions of a SYN,ACK.", &Tunables::syn_ack_retries, 5,
                1, 30},
    TunableSpec{"net.inet.tcp.syn_rate", "SYNs/s",
                "SYNs of strangers that each shard answers while connections have work (RFC 4987); 0: no bound.", &Tunables::syn_rate, 10000, 0,
                10000000},
    // 1 s doubled seven times is 4 min; RFC 1122 section 4.2.3.5 asks for 3 min at least.
    TunableSpec{"net.inet.tcp.syn_retries", "retries", "Retransmissions of a SYN.", &Tunables::syn_retries, 7, 1, 30},
    TunableSpec{"net.inet.tcp.syncookies", "0..2", "SYN cookies (RFC 4987): 0 never, 1 when too many are half-open, 2 always.",
                &Tunables::syncookies, 1, 0, 2},
    TunableSpec{"net.inet.tcp.timestamps", "bool", "Timestamps and PAWS (RFC 7323).", &Tunables::timestamps, 1, 0, 1},
    TunableSpec{"net.inet.tcp.tso_bytes", "bytes", "Most payload of one segment given to the device to cut.",
                &Tunables::tso_bytes, 65000, 536, 65000},
};

constexpr Tunables default_tunables() {
  Tunables t{};
  for (const auto& row : kTunables) t.*row.field = row.initial;
  return t;
}

constexpr Duration ms(std::uint32_t n) { return std::chrono::milliseconds(n); }
constexpr Duration seconds(std::uint32_t n) { return std::chrono::seconds(n); }

static_assert(kTunables.size() * sizeof(std::uint32_t) == sizeof(Tunables), "a row each");
static_assert([] {
  for (std::size_t i = 0; i < kTunables.size(); ++i) {
    const auto& t = kTunables[i];
    if (t.initial < t.min || t.initial > t.max || t.help.empty()) return false;
    if (i > 0 && !(kTunables[i - 1].name < t.name)) return false;
  }
  return true;
}());

}  // namespace iopkt::tcp
