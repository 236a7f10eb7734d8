// LISTEN and SYN-RECEIVED without a connection: what a listener answers, and a half-open connection in a compact form.
// RFC 9293 sections 3.10.7.2 and 3.10.7.4, RFC 7323 section 2.2, RFC 4987 section 3 (bounded state), RFC 5961.
#pragma once

#include <cstdint>
#include <optional>

#include "base/time.hpp"
#include "tcp/connection.hpp"
#include "tcp/segment.hpp"

namespace iopkt::tcp {

/// A SYN that was answered. Plain values; the caller's table keeps the pair of endpoints beside it, bounds the number,
/// and calls on_timer() at `deadline`. Payload that came with the SYN is not kept: the peer sends it again.
struct HalfOpen {
  SeqNum iss{}, irs{};
  std::uint32_t ts_recent{}, timestamp_offset{};
  Instant deadline{};               ///< Next SYN,ACK or the end.
  Instant started{};
  Instant challenge_from{};
  std::uint16_t snd_wnd{};          ///< Of the SYN, never scaled.
  std::uint16_t peer_mss{536}, advertised_mss{536};
  std::uint16_t rcv_wnd{};          ///< Offered in our SYN,ACK.
  std::uint16_t challenge_count{};
  std::uint8_t snd_scale{}, rcv_scale{}, retries{};
  bool window_scaling{}, timestamps{}, sack{};
  EcnMode ecn{};
  std::uint8_t syn_ecn{};  ///< IP-ECN of the last SYN.
  bool ecn_doubted{};      ///< RFC 9768 section 3.1.5: the client may not know that we speak AccECN.
  bool accecn_option{};    ///< The first SYN,ACK has the option, if it speaks AccECN.
  bool syn_again{};        ///< The SYN came more than once.
  /// The time since `started` is no round trip: made of a cookie (syn_cookie.hpp), or acknowledged before and not taken then.
  bool untimed{};
  bool fast_open{};  ///< The SYN,ACK gives a Fast Open cookie: the caller knows which.
  friend bool operator==(const HalfOpen&, const HalfOpen&) = default;
};
static_assert(sizeof(HalfOpen) <= 64);

struct ListenOutcome {
  enum class Kind : std::uint8_t {
    ignore,      ///< `drop` says why.
    reset,       ///< Send `answer`.
    open_child,  ///< Keep `child` and send `answer`; or, when the table is full, forget both: see syn_cookie.hpp.
  } kind{};
  Drop drop{};
  SegmentOut answer;
  HalfOpen child;
};

/// The child of a SYN: what both sides agree to.
HalfOpen half_open_of(const Context& context, const OpenConfig& config, const SegmentIn& syn, SeqNum iss, Instant now);

/// RFC 9293 section 3.10.7.2: what LISTEN answers to a segment of no connection. `iss` is taken for a child.
ListenOutcome on_segment_in_listen(const Context& context, const OpenConfig& config, const SegmentIn& seg, SeqNum iss,
                                   Instant now);

struct HalfOpenOutcome {
  enum class Kind : std::uint8_t {
    ignore,    ///< `drop` says why, if anything was wrong.
    answer,    ///< Send `answer`; keep the child.
    complete,  ///< Connection::from_half_open(), then give it the segment. No room to accept: keep the child and ignore.
    give_up,   ///< Forget the child; send nothing.
    reset,     ///< Send `answer` and forget the child.
  } kind{};
  std::optional<Drop> drop;
  SegmentOut answer;
};

/// RFC 9293 section 3.10.7.4 for SYN-RECEIVED after a passive OPEN.
HalfOpenOutcome on_segment(const Context& context, HalfOpen& self, const SegmentIn& seg, Instant now);
/// At or after `deadline`: answer (the SYN,ACK again) or give_up.
HalfOpenOutcome on_timer(const Context& context, HalfOpen& self, Instant now);
/// The SYN,ACK as it goes out now.
SegmentOut syn_ack(const HalfOpen& self, Instant now);

}  // namespace iopkt::tcp
