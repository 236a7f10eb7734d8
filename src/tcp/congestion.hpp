// The seam for congestion control: what happened, in the words of RFC 5681, goes in; cwnd and ssthresh are set.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "base/time.hpp"

namespace iopkt::tcp {

/// Plain values of one connection; the algorithm's own words lie in `own`.
struct CongestionState {
  std::uint32_t cwnd{};                    ///< Bytes.
  std::uint32_t ssthresh{UINT32_MAX};      ///< Bytes.
  std::uint32_t smss{};                    ///< Sender maximum segment size, without options.
  std::uint32_t bytes_acked{};             ///< RFC 3465, RFC 5681 section 3.1: counts towards the next growth.
  std::array<std::uint64_t, 6> own{};      ///< The algorithm's own.

  bool in_slow_start() const { return cwnd < ssthresh; }
  friend bool operator==(const CongestionState&, const CongestionState&) = default;
};

/// One acknowledgment that moved SND.UNA outside of fast recovery.
struct AckSample {
  std::uint32_t acked{};        ///< Bytes newly acknowledged (cumulatively).
  std::uint32_t abc_limit{};    ///< Most segments that count at once (RFC 3465 L).
  std::uint32_t flight{};       ///< FlightSize before this acknowledgment.
  bool cwnd_limited{};          ///< The window was in use; when false it does not grow (RFC 7661).
  Duration srtt{};
  Instant now{};
};

/// An algorithm. Without state of its own: one constant instance serves all connections of all shards.
class CongestionControl {
 public:
  virtual ~CongestionControl() = default;
  /// As TCP_CONGESTION and sysctl spell it.
  virtual std::string_view name() const = 0;
  /// RFC 5681 section 3.1: the initial window of `segments` segments (RFC 6928), fewer after a lost SYN.
  virtual void on_established(CongestionState& s, std::uint32_t segments, Instant now) const = 0;
  virtual void on_ack(CongestionState& s, const AckSample& ack) const = 0;
  /// Loss seen through duplicate ACKs or SACK: sets ssthresh (RFC 5681 equation 4) and cwnd = ssthresh.
  virtual void on_enter_recovery(CongestionState& s, std::uint32_t flight, Instant now) const = 0;
  /// Everything in flight at the loss is acknowledged (RFC 6582 section 3.2 step 3, RFC 6675 section 5).
  virtual void on_exit_recovery(CongestionState& s, std::uint32_t flight, Instant now) const = 0;
  /// RFC 5681 section 3.1: loss window of one segment. `first`: ssthresh is set only at the first timeout of a segment.
  virtual void on_timeout(CongestionState& s, std::uint32_t flight, bool first, Instant now) const = 0;
  /// RFC 5681 section 4.1: nothing sent for longer than one RTO; restart window min(IW, cwnd).
  virtual void on_idle_restart(CongestionState& s, std::uint32_t segments, Instant now) const = 0;
  /// The segment size changed (path MTU).
  virtual void on_smss_change(CongestionState& s, std::uint32_t smss) const = 0;
};

/// RFC 5681 with appropriate byte counting: the default until there are others.
const CongestionControl& newreno();
/// By name; nullptr: no such algorithm. All names: congestion_names().
const CongestionControl* find_congestion(std::string_view name);
/// Separated by blanks, the default first.
std::string_view congestion_names();

/// RFC 6928 equation 1: the upper bound of the initial window in bytes for IW10, scaled to `segments`.
std::uint32_t initial_window(std::uint32_t smss, std::uint32_t segments);

}  // namespace iopkt::tcp
