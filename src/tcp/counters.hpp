// What TCP counts, one row each (netstat -s). Why a segment was not accepted is counted by its packet::Drop instead.
#pragma once

#include <array>
#include <cstdint>

#include "base/counters.hpp"

namespace iopkt::tcp {

template <class Cell>
struct Counters {
  Cell opens_active{}, opens_passive{}, established{}, closed{}, failed{}, timed_out_rexmt{}, timed_out_keepalive{},
      timed_out_user{};
  Cell rx_segments{}, rx_bytes{}, rx_out_of_order_bytes{}, rx_duplicate_bytes{}, rx_after_window_bytes{}, rx_window_probes{},
      rx_pure_acks{}, rx_duplicate_acks{}, rx_acked_bytes{}, rx_sack_blocks{}, rx_bad_sack_blocks{}, rx_dsack_blocks{},
      rx_resets{}, rx_fins{}, rx_urgent{}, rx_icmp_errors{}, rx_icmp_ignored{};
  Cell tx_segments{}, tx_bytes{}, tx_retransmitted_segments{}, tx_retransmitted_bytes{}, tx_pure_acks{},
      tx_window_updates{}, tx_delayed_acks{}, tx_challenge_acks{}, tx_challenge_limited{}, tx_resets{}, tx_probes{},
      tx_keepalives{}, tx_syns{}, tx_fins{};
  Cell recovery_fast{}, recovery_sack{}, recovery_rto{}, recovery_rescue{}, recovery_lost_again{}, recovery_reneged{}, recovery_undone{}, recovery_probes{}, recovery_probe_repaired{}, recovery_reordered{}, rtt_samples{},
      idle_restarts{}, mtu_reductions{}, mtu_black_holes{}, mtu_probes{}, mtu_probes_good{}, mtu_probes_lost{};
  Cell ecn_accurate{}, ecn_delivered_ce{}, ecn_established{}, ecn_mangled{}, ecn_reductions{}, rx_ce{};
  Cell fast_open_active{}, fast_open_active_fail{}, fast_open_paused{}, fast_open_passive{}, fast_open_bad{}, fast_open_cookies{},
      fast_open_overflow{};
  Cell signatures_good{};
  Cell cookies_sent{}, cookies_good{}, half_open_created{}, half_open_completed{}, half_open_timed_out{}, half_open_reset{}, half_open_rexmt{},
      time_wait_entered{}, time_wait_left_out{}, time_wait_reopened{}, closed_resets{};
  friend bool operator==(const Counters&, const Counters&) = default;

  static constexpr auto table() {
    using S = Counters;
    using Row = CounterSpec<S, Cell>;
    return std::array{
        Row{"tcp.conn.active", "connections", "Opened by connect.", &S::opens_active},
        Row{"tcp.conn.closed", "connections", "Ended in order.", &S::closed},
        Row{"tcp.conn.established", "connections", "Reached ESTABLISHED.", &S::established},
        Row{"tcp.conn.failed", "connections", "Reset, refused, timed out or aborted.", &S::failed},
        Row{"tcp.conn.passive", "connections", "Opened by a peer through a listener.", &S::opens_passive},
        Row{"tcp.conn.timeout.keepalive", "connections", "Given up after keepalive probes.", &S::timed_out_keepalive},
        Row{"tcp.conn.timeout.rexmt", "connections", "Given up after R2 retransmissions.", &S::timed_out_rexmt},
        Row{"tcp.conn.timeout.user", "connections", "Given up at the user timeout.", &S::timed_out_user},
        Row{"tcp.cookies.good", "connections", "Opened by a SYN cookie that came back.", &S::cookies_good},
        Row{"tcp.cookies.sent", "segments", "SYN,ACKs with a cookie (RFC 4987).", &S::cookies_sent},
        Row{"tcp.ecn.accurate", "connections", "Both ends speak AccECN (RFC 9768).", &S::ecn_accurate},
        Row{"tcp.ecn.ce", "segments", "Received with a mark of congestion (RFC 3168).", &S::rx_ce},
        Row{"tcp.ecn.delivered_ce", "segments", "Of ours, those that AccECN peers say came with a mark.", &S::ecn_delivered_ce},
        Row{"tcp.ecn.established", "connections", "Both ends speak ECN.", &S::ecn_established},
        Row{"tcp.ecn.mangled", "connections", "Sent without ECN on, as the path changes its bits (RFC 9768 3.2.2.3).", &S::ecn_mangled},
        Row{"tcp.ecn.reductions", "times", "Window reduced as the peer echoed a mark.", &S::ecn_reductions},
        Row{"tcp.fastopen.active", "connections", "Data in our SYN was taken (RFC 7413).", &S::fast_open_active},
        Row{"tcp.fastopen.active_fail", "connections", "Data in our SYN was not taken.", &S::fast_open_active_fail},
        Row{"tcp.fastopen.bad_cookies", "segments", "SYNs with a cookie that is none of ours.", &S::fast_open_bad},
        Row{"tcp.fastopen.cookies", "segments", "SYNs that got a cookie.", &S::fast_open_cookies},
        Row{"tcp.fastopen.overflow", "segments", "SYNs with a good cookie, but the listener's queue was full.", &S::fast_open_overflow},
        Row{"tcp.fastopen.passive", "connections", "Opened at once by a SYN with a good cookie.", &S::fast_open_passive},
        Row{"tcp.fastopen.paused", "times", "SYNs with the option got lost: plain ones for some time.", &S::fast_open_paused},
        Row{"tcp.half_open.completed", "connections", "SYN,ACKs answered with a good ACK.", &S::half_open_completed},
        Row{"tcp.half_open.created", "connections", "SYNs taken by listeners.", &S::half_open_created},
        Row{"tcp.half_open.reset", "connections", "Ended by a RST.", &S::half_open_reset},
        Row{"tcp.half_open.rexmt", "segments", "SYN,ACKs sent again.", &S::half_open_rexmt},
        Row{"tcp.half_open.timed_out", "connections", "SYN,ACKs never answered.", &S::half_open_timed_out},
        Row{"tcp.recovery.fast", "times", "Fast recoveries without SACK (RFC 6582).", &S::recovery_fast},
        Row{"tcp.recovery.idle_restarts", "times", "Window reduced after idling (RFC 5681 4.1).", &S::idle_restarts},
        Row{"tcp.recovery.lost_again", "times", "Retransmissions that were seen to be lost too.", &S::recovery_lost_again},
        Row{"tcp.recovery.mtu_black_holes", "times", "Segment size reduced as full segments vanished.", &S::mtu_black_holes},
        Row{"tcp.recovery.mtu_probes", "segments", "Larger than known to get through (RFC 4821 7).", &S::mtu_probes},
        Row{"tcp.recovery.mtu_probes_good", "segments", "Of these, those that did.", &S::mtu_probes_good},
        Row{"tcp.recovery.mtu_probes_lost", "segments", "Of these, those that did not.", &S::mtu_probes_lost},
        Row{"tcp.recovery.mtu_reductions", "times", "Segment size reduced for the path.", &S::mtu_reductions},
        Row{"tcp.recovery.probe_repaired", "times", "Losses that a tail loss probe repaired.", &S::recovery_probe_repaired},
        Row{"tcp.recovery.probes", "segments", "Tail loss probes (RFC 8985 7).", &S::recovery_probes},
        Row{"tcp.recovery.reneged", "times", "Peer took back what it had SACKed (RFC 2018 8).", &S::recovery_reneged},
        Row{"tcp.recovery.reordered", "connections", "Where segments were seen to overtake each other.", &S::recovery_reordered},
        Row{"tcp.recovery.rescue", "segments", "Rescue retransmissions (RFC 6675 4).", &S::recovery_rescue},
        Row{"tcp.recovery.rto", "times", "Retransmission timeouts (RFC 6298).", &S::recovery_rto},
        Row{"tcp.recovery.sack", "times", "Fast recoveries with SACK (RFC 6675).", &S::recovery_sack},
        Row{"tcp.recovery.rtt_samples", "samples", "Round-trip times measured.", &S::rtt_samples},
        Row{"tcp.recovery.undone", "times", "Reductions taken back: nothing was lost (RFC 3522, 3708, 5682).", &S::recovery_undone},
        Row{"tcp.rx.acked_bytes", "bytes", "Sent bytes that were acknowledged.", &S::rx_acked_bytes},
        Row{"tcp.rx.after_window_bytes", "bytes", "Beyond the offered window, cut off.", &S::rx_after_window_bytes},
        Row{"tcp.rx.bad_sack_blocks", "blocks", "SACK blocks outside of what is in flight.", &S::rx_bad_sack_blocks},
        Row{"tcp.rx.bytes", "bytes", "Accepted payload.", &S::rx_bytes},
        Row{"tcp.rx.dsack_blocks", "blocks", "Duplicates that the peer reports (RFC 2883).", &S::rx_dsack_blocks},
        Row{"tcp.rx.duplicate_acks", "segments", "Duplicate acknowledgments (RFC 5681 2).", &S::rx_duplicate_acks},
        Row{"tcp.rx.duplicate_bytes", "bytes", "Payload received before.", &S::rx_duplicate_bytes},
        Row{"tcp.rx.fins", "segments", "FINs reached in order.", &S::rx_fins},
        Row{"tcp.rx.icmp_errors", "messages", "ICMP errors for connections.", &S::rx_icmp_errors},
        Row{"tcp.rx.icmp_ignored", "messages", "ICMP errors about nothing in flight (RFC 5927).", &S::rx_icmp_ignored},
        Row{"tcp.rx.out_of_order_bytes", "bytes", "Accepted payload beyond a hole.", &S::rx_out_of_order_bytes},
        Row{"tcp.rx.pure_acks", "segments", "Acknowledgments without payload.", &S::rx_pure_acks},
        Row{"tcp.rx.resets", "segments", "Accepted RSTs.", &S::rx_resets},
        Row{"tcp.rx.sack_blocks", "blocks", "SACK blocks used.", &S::rx_sack_blocks},
        Row{"tcp.rx.segments", "segments", "Received, as given by GRO (counted by whoever receives them).", &S::rx_segments},
        Row{"tcp.rx.urgent", "segments", "That moved the urgent mark.", &S::rx_urgent},
        Row{"tcp.rx.window_probes", "segments", "Payload that met a closed window.", &S::rx_window_probes},
        Row{"tcp.signatures.good", "segments", "Received with a good signature (RFC 2385, 5925).", &S::signatures_good},
        Row{"tcp.time_wait.entered", "connections", "Entered TIME-WAIT.", &S::time_wait_entered},
        Row{"tcp.time_wait.left_out", "connections", "Ended without TIME-WAIT, as too many were in it.",
            &S::time_wait_left_out},
        Row{"tcp.time_wait.reopened", "connections", "SYNs that ended a TIME-WAIT early (RFC 6191).",
            &S::time_wait_reopened},
        Row{"tcp.tx.bytes", "bytes", "Payload sent for the first time.", &S::tx_bytes},
        Row{"tcp.tx.challenge_acks", "segments", "Challenge ACKs (RFC 5961).", &S::tx_challenge_acks},
        Row{"tcp.tx.challenge_limited", "segments", "Challenge ACKs not sent for their rate.", &S::tx_challenge_limited},
        Row{"tcp.tx.closed_resets", "segments", "RSTs to segments of no connection (counted by whoever sends them).", &S::closed_resets},
        Row{"tcp.tx.delayed_acks", "segments", "Acknowledgments sent by the timer.", &S::tx_delayed_acks},
        Row{"tcp.tx.fins", "segments", "FINs, first transmissions.", &S::tx_fins},
        Row{"tcp.tx.keepalives", "segments", "Keepalive probes.", &S::tx_keepalives},
        Row{"tcp.tx.probes", "segments", "Zero-window probes.", &S::tx_probes},
        Row{"tcp.tx.pure_acks", "segments", "Acknowledgments without payload.", &S::tx_pure_acks},
        Row{"tcp.tx.resets", "segments", "RSTs of connections.", &S::tx_resets},
        Row{"tcp.tx.retransmitted_bytes", "bytes", "Payload sent again.", &S::tx_retransmitted_bytes},
        Row{"tcp.tx.retransmitted_segments", "segments", "Sent again, before cutting.", &S::tx_retransmitted_segments},
        Row{"tcp.tx.segments", "segments", "Sent by connections, before cutting.", &S::tx_segments},
        Row{"tcp.tx.syns", "segments", "SYNs and SYN,ACKs.", &S::tx_syns},
        Row{"tcp.tx.window_updates", "segments", "Acknowledgments that only open the window.", &S::tx_window_updates},
    };
  }
};

static_assert(Counters<std::uint64_t>::table().size() * sizeof(std::uint64_t) == sizeof(Counters<std::uint64_t>),
              "a row each");

}  // namespace iopkt::tcp
