// How fast the network delivers: a sample for each acknowledgment. draft-ietf-ccwg-bbr section 4.1 (before it,
// draft-cheng-iccrg-delivery-rate-estimation), names as there.
#pragma once

#include <cstdint>

#include "base/time.hpp"

namespace iopkt::tcp {

struct Sent;

/// What a transmission remembers of the moment in which it went out (section 4.1.2.1.2, P).
struct TransmitState {
  std::uint32_t delivered{}, lost{};  ///< The connection's counts then, modulo 2^32.
  Instant delivered_time{}, first_send_time{};
  std::uint32_t tx_in_flight{};       ///< P.tx_in_flight of draft-ietf-ccwg-bbr,
  bool app_limited{};                 ///< and P.is_app_limited.
  bool known{};                       ///< Any of it.
  friend bool operator==(const TransmitState&, const TransmitState&) = default;
};

/// Section 2.3 and 4.1.2.1.3 (RS), and what of the connection (C) belongs to it. Bytes.
struct RateSample {
  bool has_data{};                 ///< Something was delivered whose transmission is known; else only newly_acked says something.
  bool is_app_limited{};
  bool cwnd_limited{};             ///< C.is_cwnd_limited: the window was in use in the last round trip.
  bool fast_recovery{};
  bool has_selective_acks{};
  std::uint32_t newly_acked{}, newly_lost{};
  std::uint32_t tx_in_flight{};    ///< C.inflight when the newest of what was delivered went out,
  std::uint64_t lost{};            ///< and what was lost since.
  std::uint64_t delivered{};       ///< In the interval.
  std::uint64_t prior_delivered{}; ///< P.delivered
  std::uint64_t delivery_rate{};   ///< Bytes per second; 0: none.
  Duration interval{};
  Duration rtt{};                  ///< 0: none
  Duration srtt{};
  std::uint64_t total_delivered{}; ///< C.delivered
  std::uint32_t inflight{};        ///< C.inflight
  Instant now{};
};

/// One transmission that is taken for lost, and the counts with it.
struct LostPacket {
  std::int64_t begin{}, end{};
  std::uint32_t tx_in_flight{};
  bool is_app_limited{};
  bool has_selective_acks{};
  std::uint64_t lost{};            ///< C.lost - P.lost: since it went out, itself included.
  std::uint64_t total_delivered{};
  Instant now{};
};

/// The connection's part (section 4.1.2.1.1). Plain values.
struct DeliveryRate {
  std::uint64_t delivered{}, lost{};      ///< C.delivered, C.lost
  std::uint64_t app_limited{};            ///< C.app_limited: until so much is delivered; 0: not.
  Instant delivered_time{}, first_send_time{};
  friend bool operator==(const DeliveryRate&, const DeliveryRate&) = default;

  /// Section 4.1.2.2. `idle`: nothing else is in flight. `tx_in_flight`: with it.
  TransmitState on_sent(bool idle, std::uint32_t tx_in_flight, Instant now) {
    if (idle) first_send_time = delivered_time = now;
    return {.delivered = static_cast<std::uint32_t>(delivered), .lost = static_cast<std::uint32_t>(lost),
            .delivered_time = delivered_time, .first_send_time = first_send_time, .tx_in_flight = tx_in_flight,
            .app_limited = app_limited != 0, .known = true};
  }
  /// Section 4.1.2.4 MarkConnectionAppLimited().
  void mark_app_limited(std::uint64_t inflight) { app_limited = delivered + inflight > 0 ? delivered + inflight : 1; }
};

/// UpdateRateSample() and GenerateRateSample() of section 4.1.2.3, for one acknowledgment.
class RateSampler {
 public:
  /// `certain`: it is this transmission that arrived, not an earlier copy, nor one of many.
  void on_delivered(DeliveryRate& c, const Sent& p, const TransmitState& note, bool certain, Instant now);
  /// `min_rtt`: a shorter interval is none; 0: not known.
  RateSample finish(DeliveryRate& c, Duration min_rtt) const;

 private:
  RateSample rs_;
  std::uint64_t newest_ = 0;
  Duration send_elapsed_{}, ack_elapsed_{};
};

}  // namespace iopkt::tcp
