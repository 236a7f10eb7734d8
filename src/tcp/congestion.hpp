// The seam for congestion control: what happened, in the words of RFC 5681, goes in; cwnd and ssthresh are set.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

#include "base/box.hpp"
#include "base/time.hpp"
#include "tcp/delivery_rate.hpp"

namespace iopkt::tcp {

/// Plain values of one connection; the algorithm's own words lie in `own`.
struct CongestionState {
  std::uint32_t cwnd{};                    ///< Bytes.
  std::uint32_t ssthresh{UINT32_MAX};      ///< Bytes.
  std::uint32_t smss{};                    ///< Sender maximum segment size, without options.
  std::uint32_t bytes_acked{};             ///< RFC 3465, RFC 5681 section 3.1: counts towards the next growth.
  std::uint64_t pacing_rate{};             ///< Bytes per second; 0: the algorithm has no opinion.
  std::uint32_t undo_cwnd{};               ///< cwnd before the reductions that may still turn out to be spurious; 0: none.
  std::uint32_t undo_ssthresh{};
  using Words = std::array<std::uint64_t, 28>;
  Box<Words> own;                          ///< The algorithm's own, once it has something to keep; see load() and store().

  bool in_slow_start() const { return cwnd < ssthresh; }
  friend bool operator==(const CongestionState&, const CongestionState&) = default;

  /// All zero before the first store().
  template <class Own>
  Own load() const {
    static_assert(std::is_trivially_copyable_v<Own> && sizeof(Own) <= sizeof(Words));
    Own o{};
    if (own) std::memcpy(&o, own->data(), sizeof o);
    return o;
  }
  template <class Own>
  void store(const Own& o) {
    static_assert(std::has_unique_object_representations_v<Own>, "compared as words");
    std::memcpy(own.make().data(), &o, sizeof o);
  }
};

/// One acknowledgment that moved SND.UNA outside of fast recovery.
struct AckSample {
  std::uint32_t acked{};        ///< Bytes newly acknowledged (cumulatively).
  std::uint32_t abc_limit{};    ///< Most segments that count at once (RFC 3465 L).
  std::uint32_t flight{};       ///< FlightSize before this acknowledgment.
  bool cwnd_limited{};          ///< The window was in use; when false it does not grow (RFC 7661).
  bool hystart{};               ///< RFC 9406 may end the first slow start.
  std::int64_t una{}, nxt{};    ///< SND.UNA and SND.NXT now: rounds are told apart by them.
  Duration rtt{};               ///< Of this acknowledgment; 0: not known.
  Duration srtt{};
  Instant now{};
};

/// An algorithm. Without state of its own: one constant instance serves all connections of all shards.
class CongestionControl {
 public:
  virtual ~CongestionControl() = default;
  /// As TCP_CONGESTION and sysctl spell it; at most 15 characters.
  virtual std::string_view name() const = 0;
  /// RFC 5681 section 3.1: the initial window of `segments` segments (RFC 6928), fewer after a lost SYN. `srtt` 0: not measured.
  virtual void on_established(CongestionState& s, std::uint32_t segments, Duration srtt, Instant now) const;
  virtual void on_ack(CongestionState& s, const AckSample& ack) const = 0;
  /// Loss seen through duplicate ACKs or SACK, or a mark of the network (RFC 3168): sets ssthresh (RFC 5681 equation 4) and
  /// cwnd = ssthresh. The first reduction since undo_cwnd was cleared is remembered for on_undo().
  virtual void on_enter_recovery(CongestionState& s, std::uint32_t flight, Instant now) const = 0;
  /// Without PRR: everything in flight at the loss is acknowledged (RFC 6582 section 3.2 step 3, RFC 6675 section 5).
  virtual void on_exit_recovery(CongestionState& s, std::uint32_t flight, Instant now) const;
  /// RFC 5681 section 3.1: loss window of one segment. `first`: ssthresh is set only at the first timeout of a segment.
  virtual void on_timeout(CongestionState& s, std::uint32_t flight, bool first, Instant now) const = 0;
  /// What on_enter_recovery() and on_timeout() reduced was no loss (RFC 4015 section 3.3, RFC 9438 section 4.9): as it was before.
  virtual void on_undo(CongestionState& s, Instant now) const;
  /// RFC 5681 section 4.1: nothing sent for longer than one RTO; restart window min(IW, cwnd).
  virtual void on_idle_restart(CongestionState& s, std::uint32_t segments, Instant now) const;
  /// Data goes out while nothing is in flight: the time since the last acknowledgment was the application's. `app_limited`: it had
  /// nothing to send for a while (draft-ietf-ccwg-bbr section 4.1.2.4).
  virtual void on_transmit_start(CongestionState&, bool /*app_limited*/, Instant) const {}
  /// The segment size changed (path MTU).
  virtual void on_smss_change(CongestionState& s, std::uint32_t smss) const;
  /// The program chose this algorithm for a connection that has another: cwnd and ssthresh stay.
  virtual void on_adopted(CongestionState& s, Duration srtt, Instant now) const;

  // ---- algorithms that model the path
  /// cwnd and pacing_rate come from a model of the path, at each acknowledgment and in a recovery too: neither RFC 9937 nor ssthresh
  /// has a say. on_exit_recovery() is then called after a timeout's recovery also.
  virtual bool models_path() const { return false; }
  /// At the end of each acknowledgment. True: what is in flight counts as limited by the application.
  virtual bool on_sample(CongestionState&, const RateSample&) const { return false; }
  /// One transmission is taken for lost; before a recovery that begins for it.
  virtual void on_lost(CongestionState&, const LostPacket&) const {}
  /// A congestion without a recovery: a mark (RFC 3168), or a loss that a probe has repaired.
  virtual void on_congestion(CongestionState& s, std::uint32_t flight, Instant now) const { on_enter_recovery(s, flight, now); }

 protected:
  static void remember(CongestionState& s);
};

/// RFC 5681 with appropriate byte counting.
const CongestionControl& newreno();
/// RFC 9438 with HyStart++ (RFC 9406): the default.
const CongestionControl& cubic();
/// BBR version 3 (draft-ietf-ccwg-bbr).
const CongestionControl& bbr();
/// By name; nullptr: no such algorithm. "newreno" (BSD) is "reno" (Linux).
const CongestionControl* find_congestion(std::string_view name);
/// Separated by blanks, the default first.
std::string_view congestion_names();

/// RFC 6928 equation 1: the upper bound of the initial window in bytes for IW10, scaled to `segments`.
std::uint32_t initial_window(std::uint32_t smss, std::uint32_t segments);
/// RFC 5681 equation 2 with L of RFC 3465 in place of 1: slow start, not beyond ssthresh. Answers the acknowledged bytes that it had
/// no use for.
std::uint32_t slow_start(CongestionState& s, const AckSample& ack);
/// cwnd + more, not beyond the largest window that RFC 7323 allows.
std::uint32_t grown_window(std::uint32_t cwnd, std::uint64_t more);

}  // namespace iopkt::tcp
