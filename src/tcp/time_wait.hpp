// TIME-WAIT in a compact form. RFC 9293 sections 3.6 and 3.10.7.4, RFC 1337 (no assassination), RFC 6191 (reuse by timestamps).
#pragma once

#include <cstdint>

#include "base/time.hpp"
#include "tcp/segment.hpp"
#include "tcp/tunables.hpp"

namespace iopkt::tcp {

/// Plain values. The caller keeps the pair of endpoints beside it and gives it up at `until`.
struct TimeWait {
  SeqNum snd_nxt{}, rcv_nxt{};
  std::uint32_t ts_recent{};
  std::uint32_t timestamp_offset{};
  std::uint16_t window{};            ///< Last offered, as in the header.
  bool timestamps{};
  Instant until{};
  friend bool operator==(const TimeWait&, const TimeWait&) = default;
};
static_assert(sizeof(TimeWait) <= 32);

struct TimeWaitOutcome {
  enum class Kind : std::uint8_t {
    ignore,     ///< Nothing to send.
    ack,        ///< Send `answer`: the FIN came again, and our ACK of it was lost.
    challenge,  ///< Send `answer`, but at a limited rate (RFC 5961 section 7): two ends that are out of step must not answer each other for ever.
    reopen,     ///< The SYN may open a new connection: give the entry up and let the listener see the segment. An ISS above
                ///< next_iss() keeps old segments out (RFC 9293 section 3.4.3).
  } kind{};
  SegmentOut answer;
};

/// The answer to one segment. Restarts the 2 MSL only for a FIN that the peer sent again. Of `tunables` the MSL counts, and whether a
/// new connection would have timestamps.
TimeWaitOutcome on_segment(TimeWait& self, const SegmentIn& seg, Instant now, const Tunables& tunables);

/// connect() to the same pair of endpoints before `until`: safe when the peer too will see later timestamps (RFC 6191 section 2
/// has the argument for the other side; the clock of timestamps moves in milliseconds). The ISS must be next_iss() or above.
inline bool may_reconnect(const TimeWait& self, Instant now, Duration two_msl) {
  return self.timestamps && now - (self.until - two_msl) >= 1s;
}

/// The least ISS for a connection that follows on the same endpoints.
inline SeqNum next_iss(const TimeWait& self) { return self.snd_nxt + 65536; }

}  // namespace iopkt::tcp
