// One TCP connection as a pure machine: segments, user calls and time go in; segments, copies, events and a deadline come out.
// RFC 9293 (all), RFC 5681/6582/6675/8985/9937 (loss), RFC 6298 (RTO), RFC 7323 (scale, timestamps, PAWS), RFC 5961 (blind attacks).
//
// No port, address, clock, allocation on the data path, or packet in here. What the owner does:
//
//   on_segment()   then copies each Copy from the payload into the receive ring, then calls poll_output() until it
//                  answers nothing, then take_events(), then re-arms its timer with next_deadline(). A burst of
//                  segments may be given before the output is asked for.
//   on_timer()     when next_deadline() has come; then the same. Spurious calls do no harm.
//   user calls     then the same. No user call sends anything by itself.
//
// Stream positions are absolute, 64 bits, from 0: position p of the send ring is the p-th byte ever written.
//
// closed --open_active--> syn_sent --SYN,ACK--> established            [input_syn_sent]
//                         syn_sent --SYN--> syn_received               [input_syn_sent]   simultaneous open
// half-open (listen.hpp) --ACK--> syn_received --ACK--> established    [input_ack]
// SYN with a good cookie (open_fast) --> syn_received, which sends and receives data already    [RFC 7413]
// established --close, shutdown--> fin_wait_1 --ACK--> fin_wait_2 --FIN--> time_wait   [input_ack, input_data]
//                                  fin_wait_1 --FIN--> closing --ACK--> time_wait      simultaneous close
// established --FIN--> close_wait --close--> last_ack --ACK--> closed
// any --RST, abort, timeout--> closed
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/box.hpp"
#include "base/time.hpp"
#include "tcp/accecn.hpp"
#include "tcp/counters.hpp"
#include "tcp/receiver.hpp"
#include "tcp/segment.hpp"
#include "tcp/sender.hpp"
#include "tcp/state.hpp"
#include "tcp/time_wait.hpp"
#include "tcp/tunables.hpp"

namespace iopkt::tcp {

struct HalfOpen;

/// What all connections of a shard share. Outlives them.
struct Context {
  const Tunables* tunables{};
  Counters<Counter>* counters{};
};

/// Per socket. Zero times and counts: the stack's tunables.
struct Options {
  bool nodelay{};                     ///< TCP_NODELAY
  bool cork{};                        ///< TCP_CORK: only full segments, for 200 ms at most.
  bool quickack{};                    ///< TCP_QUICKACK: no delayed acknowledgments while set.
  bool keepalive{};                   ///< SO_KEEPALIVE
  std::uint8_t keep_count{};          ///< TCP_KEEPCNT, 0..127
  std::uint32_t keep_idle_ms{};       ///< TCP_KEEPIDLE
  std::uint32_t keep_interval_ms{};   ///< TCP_KEEPINTVL
  std::uint32_t user_timeout_ms{};    ///< TCP_USER_TIMEOUT: longest time that sent data stays unacknowledged.
  std::uint8_t syn_retries{};         ///< TCP_SYNCNT
  std::uint32_t finwait2_ms{};        ///< TCP_LINGER2
  std::uint16_t maxseg{};             ///< TCP_MAXSEG: bound of both MSS values; 0: none.
  std::uint8_t signature_len{};       ///< Bytes of each header that a signature takes, a multiple of 4; such segments are not for devices to cut.
  std::uint8_t network_words{};       ///< IP options or extension headers of each packet, in words of 4 bytes; nor are those.
  const CongestionControl* congestion{};  ///< TCP_CONGESTION; nullptr: as the connection was opened.
  friend bool operator==(const Options&, const Options&) = default;
};

/// What an opening needs to know about route, buffers and wishes.
struct OpenConfig {
  /// TCP Fast Open (RFC 7413). Active: our SYN asks for a cookie (an empty one), or has it and data. open_fast(): what the SYN,ACK
  /// gives, if not empty.
  std::optional<wire::FastOpenCookie> fast_open;
  std::uint16_t fast_open_mss{536};  ///< Active: what the server named when it gave the cookie; bounds the data of the SYN.
  bool hold_syn{};                   ///< Active: the SYN waits for the first data, or for the end of writing.
  std::uint16_t advertised_mss{536};    ///< MTU of the interface less IP and TCP header: goes into our MSS option.
  std::uint16_t path_mss{536};          ///< MTU of the path less IP and TCP header: bounds what we send.
  std::uint16_t default_peer_mss{536};  ///< When the peer names none: 536 (IPv4), 1220 (IPv6).
  std::uint32_t receive_capacity{65536};      ///< Size of the receive ring; 0 .. 2^30
  std::uint32_t receive_capacity_max{65536};  ///< What it may grow to: chooses the window scale.
  std::uint32_t timestamp_offset{};           ///< See isn.hpp.
  bool window_scaling{true}, timestamps{true}, sack{true};  ///< And-ed with the tunables.
  const CongestionControl* congestion{};      ///< Of route and stack; options.congestion goes first; nullptr: cubic()
  Options options;
};

/// RFC 7323 section 2.2: the least shift with which the largest buffer can be offered.
std::uint8_t window_scale_for(const OpenConfig& config);

/// RFC 7413: what our SYN or SYN,ACK has.
struct SynData {
  std::uint16_t most{};         ///< Bound of the data in our SYN, before options.
  std::uint16_t sent{};         ///< Bytes that our SYN had.
  wire::FastOpenCookie cookie;  ///< Goes into our SYN or SYN,ACK; empty in a SYN: asks.
  friend bool operator==(const SynData&, const SynData&) = default;
};

/// RFC 4821 section 7: a search for the path MTU. Plain values.
struct MtuSearch {
  std::uint16_t hole_mss{};            ///< path_mss as route and ICMP say, while less is known to get through; 0: not so.
  std::uint16_t search_high{};         ///< RFC 4821 section 7.1: larger ones do not get through, as far as is known.
  std::uint8_t search_losses{};        ///< Probes of the same size that were lost, one after the other.
  Instant search_at{};                 ///< When the next probe may go out.
  Instant hole_until{};                ///< When the search begins anew.
  friend bool operator==(const MtuSearch&, const MtuSearch&) = default;
};

/// What TCP Fast Open is to a connection.
enum class FastOpen : std::uint8_t {
  none,
  asked,     ///< Our SYN asked for a cookie.
  sent,      ///< Our SYN had one, and data if there was any.
  accepted,  ///< The peer's SYN had a good one.
};

/// What happens to few connections, or at their ends. Plain values.
struct Seldom {
  Box<SynData> syn_data;               ///< There unless fast_open is none.
  Box<MtuSearch> mtu;                  ///< While less is known to get through than route and ICMP say.
  SeqNum reset_seq{}, reset_ack{};     ///< Of the reset that is due.
  std::uint16_t challenge_count{};     ///< In the 5 s from challenge_from.
  Instant challenge_from{};
  Instant linger_at{Instant::never()}; ///< FIN-WAIT-2 of a closed socket, or TIME-WAIT.
  Instant cork_at{Instant::never()};   ///< The held segment goes then.
  friend bool operator==(const Seldom&, const Seldom&) = default;
};

/// Everything a connection is: plain values, comparable, to be exported and imported (a successor process, tests).
/// Instants are of the same monotonic clock on both sides.
struct ControlBlock {
  State state{State::closed};
  Failure failure{};
  Failure soft_error{};           ///< The last ICMP error while synchronized (RFC 1122 section 4.2.3.9).
  bool timestamps{};              ///< RFC 7323: both sides offered it.
  EcnMode ecn{};                  ///< What both sides speak; until our SYN is answered: what we offer.
  bool window_scaling{};          ///< Likewise.
  bool offer_sack{};              ///< Our SYN carries SACK-permitted.
  FastOpen fast_open{};
  bool syn_held{};                ///< The SYN waits for data.
  bool syn_data_acked{};          ///< Data of a SYN, ours or the peer's, was taken.
  bool syn_due{};                 ///< SYN or SYN,ACK goes out next.
  bool syn_lost{};                ///< It was sent more than once: initial window and RTO are careful.
  bool orphan{};                  ///< The user has closed: nobody reads or writes any more.
  bool reset_due{};               ///< A reset goes out next; the state is CLOSED then.
  bool reset_has_ack{};
  bool probe_due{}, keepalive_due{};
  bool persisting{};              ///< The rexmt timer is the persist timer.
  bool cork_flush{};              ///< What TCP_CORK holds goes out now.
  std::uint8_t persist_shift{};
  std::uint8_t persist_probes{};  ///< Zero-window probes without any answer.
  std::uint8_t keep_probes{};     ///< Keepalive probes without an answer.
  std::uint16_t advertised_mss{536};
  Events events{};
  std::uint32_t timestamp_offset{};
  Box<AccEcn> accurate;           ///< There in EcnMode::accurate.
  Options options;
  Sender snd;
  Receiver rcv;
  Instant rexmt_at{Instant::never()};  ///< Retransmission or persist timer.
  Instant keep_at{Instant::never()};
  Instant last_received{};
  friend bool operator==(const ControlBlock&, const ControlBlock&) = default;

  const Seldom& seldom() const { return seldom_ ? *seldom_ : none_seldom(); }
  Seldom& make_seldom() { return seldom_.make(); }
  bool has_seldom() const { return static_cast<bool>(seldom_); }

 private:
  static const Seldom& none_seldom();
  Box<Seldom> seldom_;
};

/// For TCP_INFO and operators. Times as they stand, sizes in bytes.
struct ConnectionInfo {
  State state{};
  Phase phase{};
  bool timestamps{}, sack{}, window_scaling{};
  std::uint8_t snd_scale{}, rcv_scale{}, retries{}, backoff{}, keep_probes{};
  std::uint32_t snd_mss{}, rcv_mss{}, advertised_mss{}, path_mss{};
  std::uint32_t cwnd{}, ssthresh{}, snd_wnd{}, rcv_wnd{}, flight{}, sacked{}, lost{}, resent{}, pipe{};
  std::uint64_t sent_unsent{}, received_unread{}, bytes_acked{}, bytes_received{}, resent_total{};
  std::uint64_t pacing_rate{};  ///< Bytes per second; 0: not paced.
  bool reordering{}, ecn{}, ecn_seen{};
  bool accurate_ecn{};
  std::uint32_t delivered_ce{};  ///< AccECN: packets that arrived marked, as the peer says.
  bool syn_data{};              ///< The data of a SYN was taken.
  std::uint8_t fast_open_fail{};  ///< Linux's enum tcp_fastopen_client_fail: 1 no cookie, 2 data not taken, 3 SYN sent again.
  Duration srtt{}, rttvar{}, rto{}, min_rtt{};
  Instant last_sent{}, last_received{};
  std::string_view congestion;
};

class Connection {
 public:
  /// RFC 9293 section 3.10.1 active OPEN: SYN-SENT; the SYN comes from poll_output().
  static Connection open_active(const Context& context, const OpenConfig& config, SeqNum iss, Instant now);
  /// A half-open connection whose ACK has come (listen.hpp): SYN-RECEIVED. Give it the very segment next.
  static Connection from_half_open(const Context& context, const HalfOpen& half, const OpenConfig& config, Instant now);
  /// RFC 7413 section 4.2.2: a SYN with a good cookie opens at once. Sends the SYN,ACK and may send data behind it; takes the SYN's
  /// payload, of which `out` says what goes where.
  static Connection open_fast(const Context& context, const HalfOpen& half, const OpenConfig& config, std::uint32_t payload_len, Instant now,
                              Copies& out);
  /// What export_state() answered, in this or an earlier process.
  static Connection import_state(const Context& context, const ControlBlock& block);
  const ControlBlock& export_state() const { return b_; }

  /// RFC 9293 section 3.10.7.3 and .4. `out` is cleared first. Bounded by O(ranges) work.
  SegmentResult on_segment(const SegmentIn& seg, Instant now, Copies& out);
  /// The next segment to send; call until nullopt. Each call makes progress: the number of answers is bounded by
  /// windows, not by the peer.
  std::optional<SegmentOut> poll_output(Instant now);
  Instant next_deadline() const;
  void on_timer(Instant now);

  /// The user wrote up to `position` (never backwards). Ignored after shutdown_write(), and when nobody takes it any more.
  void set_send_tail(std::uint64_t position);
  /// The byte before `position` is urgent (MSG_OOB; RFC 6093): position <= the tail.
  void set_send_urgent(std::uint64_t position);
  /// MSG_MORE: what is written up to `position` waits for more, 200 ms at most, as with TCP_CORK; position <= the tail. A later
  /// write without it ends that.
  void set_send_more(std::uint64_t position);
  /// The user took everything up to `position` (never backwards, at most receive_tail()).
  void set_receive_read(std::uint64_t position);
  /// How large the receive ring should be for what the user takes in a round trip (RFC 7323 section 2.3 is the bound); 0: as
  /// it is. To be asked whenever something happened; answers once per round trip.
  std::uint32_t receive_space_wanted(Instant now);
  /// How large the send ring should be: two windows, so that the user writes one while the other is in the network.
  std::uint32_t send_space_wanted() const;
  /// Size of the receive ring. A ring that is made smaller must still hold what was offered: up to receive_edge().
  void set_receive_capacity(std::uint32_t bytes);
  void set_options(const Options& options, Instant now);
  const Options& options() const { return b_.options; }

  /// True: OpenConfig::hold_syn still kept the SYN back, and does so no longer.
  bool release_syn() { return std::exchange(b_.syn_held, false); }
  /// Our FIN follows the data written so far.
  void shutdown_write();
  /// The user is gone. With unread data, or when more comes: RST (RFC 1122 section 4.2.2.13, RFC 2525 section 2.17).
  /// SO_LINGER with a time: call this and wait for event_send_shut, then abort(); with time 0: abort() at once.
  void close(Instant now);
  /// RFC 9293 section 3.10.5: RST where the peer knows of the connection. failure() becomes `why`.
  void abort(Instant now, Failure why = Failure::aborted);

  /// A segment that began there has been sent and not been acknowledged (RFC 5927 section 4.1).
  bool in_flight(SeqNum seq) const;
  /// An ICMP error that quotes `seq`. Ignored unless seq is in flight (RFC 5927 section 4.1). Ends a connection that is
  /// being opened; in synchronized states only remembered (RFC 1122 section 4.2.3.9).
  void on_icmp_error(Failure what, SeqNum seq, Instant now);
  /// The path takes segments of `path_mss` payload with fixed headers; a smaller one sends again what is in flight
  /// (RFC 1191 section 6.5). With a seq (from an ICMP message): ignored unless it is in flight.
  void on_mtu_change(std::uint16_t path_mss, std::optional<SeqNum> seq, Instant now);

  State state() const { return b_.state; }
  Failure failure() const { return b_.failure; }
  /// Answers the raised bits and clears them.
  Events take_events();
  /// Bytes [0, receive_tail()) are in order in the receive ring.
  /// close() would be a reset for it.
  bool has_unread() const { return b_.rcv.data_end() > b_.rcv.read; }
  std::uint64_t receive_tail() const { return static_cast<std::uint64_t>(b_.rcv.data_end() < 1 ? 0 : b_.rcv.data_end() - 1); }
  /// Stream positions of what lies in the receive ring beyond receive_tail(), out of order. Valid until the next segment.
  template <class F>
  void for_each_beyond(F visit) const {
    for (const Range& r : b_.rcv.beyond().ranges()) visit(static_cast<std::uint64_t>(r.begin - 1), static_cast<std::uint32_t>(r.end - r.begin));
  }
  /// Nothing at or after this stream position is ever placed before the next poll_output().
  std::uint64_t receive_edge() const { return static_cast<std::uint64_t>(b_.rcv.adv < 1 ? 0 : b_.rcv.adv - 1); }
  /// Bytes below this position of the send ring are acknowledged and may be overwritten.
  std::uint64_t send_acked() const;
  /// Position right after the urgent byte, while the user has not read past it (RFC 6093: in-line; SIOCATMARK compares
  /// the read position with urgent_mark() - 1).
  std::optional<std::uint64_t> urgent_mark() const;
  /// That byte has come, in order or not.
  bool urgent_byte_here() const { return b_.rcv.urgent_here; }
  bool peer_fin() const { return b_.rcv.fin_received; }
  /// Our FIN and all before it is acknowledged.
  bool send_shut() const { return b_.snd.fin_acked(); }
  bool is_orphan() const { return b_.orphan; }
  /// Our SYN asked for something that it did not get an answer with: it had a Fast Open option and was sent again without.
  /// Our SYN has, or had, a Fast Open option.
  bool fast_open_offered() const { return b_.fast_open == FastOpen::asked || b_.fast_open == FastOpen::sent; }
  bool fast_open_lost() const { return b_.syn_lost && fast_open_offered(); }
  SeqNum iss() const { return b_.snd.iss; }
  SeqNum irs() const { return b_.rcv.irs; }
  /// RFC 5925 section 6.2: the sequence number extension of a segment that we send, or that has come.
  std::uint32_t send_extension(SeqNum seq) const { return extension(b_.snd.iss, b_.snd.offset_of(seq)); }
  std::uint32_t receive_extension(SeqNum seq) const { return extension(b_.rcv.irs, b_.rcv.offset_of(seq)); }
  /// End of what was sent at least once, as a stream position: TCP_NOTSENT_LOWAT counts from here.
  std::uint64_t sent_position() const { return static_cast<std::uint64_t>(std::clamp<Offset>(b_.snd.nxt, 1, b_.snd.tail) - 1); }
  /// Milliseconds clock of TSval.
  std::uint32_t timestamp(Instant now) const;
  /// In TIME-WAIT: the compact form that may replace this connection.
  TimeWait time_wait() const;
  ConnectionInfo info() const;

 private:
  explicit Connection(const Context& context) : context_(&context) {}
  static Connection child_of(const Context& context, const HalfOpen& half, const OpenConfig& config, Instant now);
  LossWays loss_ways() const;
  static std::uint32_t extension(SeqNum first, Offset at) {
    return static_cast<std::uint32_t>(std::max<Offset>(Offset{first.value} + at, 0) >> 32);
  }
  const Tunables& tun() const { return *context_->tunables; }
  Counters<Counter>& count() const { return *context_->counters; }

  // input.cpp: RFC 9293 section 3.10.7, in its order.
  SegmentResult input_syn_sent(const SegmentIn& seg, Instant now, Copies& out);
  SegmentResult input_synchronized(const SegmentIn& seg, Instant now, Copies& out);
  SegmentResult input_time_wait(const SegmentIn& seg, Instant now);
  void negotiate(const wire::TcpOptions& options, Instant now);
  std::optional<Drop> check_timestamp(const SegmentIn& seg, Instant now);
  std::optional<Drop> check_sequence(const SegmentIn& seg, Offset begin, Instant now);
  bool brings_old_news(const SegmentIn& seg, Offset begin) const;
  std::optional<Drop> input_reset(Offset begin, Instant now);
  std::optional<Drop> check_ack(const SegmentIn& seg, Offset ack, Instant now);
  void on_syn_data_answered(Instant now);
  void update_ts_recent(const SegmentIn& seg, Offset begin, Instant now);
  void challenge(Instant now);

  // ecn.cpp
  void negotiate_ecn(const SegmentIn& seg);
  void begin_accurate_ecn(std::uint8_t peer_syn_ecn);
  void input_syn_ack_ecn(const SegmentIn& seg, Instant now);
  bool input_syn_again_ecn(const SegmentIn& seg);
  void input_last_ack_ecn(const SegmentIn& seg, std::uint32_t flight, Instant now);
  void input_ecn(const SegmentIn& seg);
  void input_ecn_echo(const SegmentIn& seg, const Sender::AckOutcome& got, Instant now, bool last_of_handshake);
  void reduce_for_mark(std::uint32_t flight, Instant now);
  std::uint16_t syn_ecn_flags(bool answer);
  void mark_new_data(SegmentOut& out);

  // input_ack.cpp, input_data.cpp: the fifth check, and the sixth to eighth.
  void input_ack(const SegmentIn& seg, Offset begin, Offset ack, Instant now, bool last_of_handshake = false);
  void update_window(const SegmentIn& seg, Offset begin, Offset ack);
  std::optional<Duration> since_echo(const SegmentIn& seg, Instant now) const;
  void on_fin_acked(Instant now);
  void input_urgent(const SegmentIn& seg, Offset begin);
  std::optional<Drop> input_data(const SegmentIn& seg, Offset begin, Instant now, Copies& out);
  void time_round(const SegmentIn& seg, Instant now);
  void input_fin(Instant now);
  void schedule_ack(const SegmentIn& seg, const Receiver::Accepted& got, bool had_holes, Instant now);

  // output.cpp
  std::optional<SegmentOut> output_reset(Instant now);
  std::optional<SegmentOut> output_syn(Instant now);
  std::uint16_t add_fast_open(SegmentOut& syn) const;
  std::optional<SegmentOut> output_retransmission(Instant now, bool speculative);
  std::optional<SegmentOut> output_next(Instant now);
  std::optional<SegmentOut> output_new(Instant now);
  std::optional<SegmentOut> output_loss_probe(Instant now);
  SegmentOut output_mtu_probe(std::uint32_t payload, Instant now);
  std::optional<SegmentOut> output_probe(Instant now);
  std::optional<SegmentOut> output_keepalive(Instant now);
  std::optional<SegmentOut> output_ack(Instant now);
  /// How much of [snd.nxt, ...) may go out now; 0: nothing. Sets what holds it back.
  struct Permit {
    std::uint32_t length{};
    bool fin{}, by_window{};
  };
  Offset largest_segment() const;
  Permit permit_new(std::uint32_t mss, Instant now);
  bool small_may_go(Offset begin) const;
  /// TCP_CORK, or MSG_MORE with the last write.
  bool corked() const { return b_.options.cork || b_.snd.marks().more_end == b_.snd.tail; }
  Duration finwait2() const;
  SegmentOut data_segment(Range range, std::uint32_t mss, Instant now);
  SegmentOut header(SeqNum seq, std::uint16_t flags, Instant now, bool data = false);
  std::uint32_t payload_per_segment() const;
  std::uint32_t fixed_options() const;
  /// What of the options that come and go has a place in the next header.
  struct OptionPlan {
    std::uint8_t sack_blocks{};
    std::optional<wire::AccEcnOption> accecn;
  };
  OptionPlan plan_options(bool data) const;
  bool may_be_cut(Offset begin) const;
  void on_ack_sent();
  void arm_persist(Instant now);

  // connection.cpp, timers.cpp
  void establish(Instant now);
  void enter_time_wait(Instant now);
  void stop_timers();
  void fail(Failure why, Instant now);
  void finish();
  void queue_reset(SeqNum seq, std::optional<SeqNum> ack);
  void reset_peer();
  void arm_rexmt(Instant now);
  void arm_probe(Instant now);
  // mtu_probe.cpp
  void doubt_path_mtu(Instant now);
  void forget_black_hole(Instant now);
  void begin_mtu_search(std::uint16_t from, Instant now);
  void take_mtu_verdict(Instant now);
  bool searches_mtu() const;
  std::uint32_t mtu_probe_due(Instant now) const;
  std::uint16_t next_probe_mss() const;
  void arm_keepalive(Instant now);
  void on_rexmt_timer(Instant now);
  void on_persist_timer(Instant now);
  void on_keepalive_timer(Instant now);
  bool user_timeout_over(Instant now) const;
  bool give_up(std::uint8_t tries, Instant now);
  void set_path_mss(std::uint16_t path_mss);
  Duration current_rto() const;

  const Context* context_;
  ControlBlock b_;
};

}  // namespace iopkt::tcp
