// CUBIC: RFC 9438, in bytes and integers; its slow start is RFC 9406's.
#include <algorithm>

#include "tcp/congestion.hpp"
#include "tcp/hystart.hpp"

namespace iopkt::tcp {

namespace {

__extension__ using Wide = unsigned __int128;

// Section 4.6: beta 0.7. Section 5: C 0.4 segments/s^3. Section 4.3: alpha = 3 * (1 - beta) / (1 + beta) = 9/17.
constexpr std::uint32_t kBeta = 7, kBetaOf = 10;
constexpr std::uint32_t kC = 4, kCOf = 10;
constexpr std::uint32_t kAlpha = 9, kAlphaOf = 17;
constexpr std::uint32_t kEstimateUnit = 1u << 20;  // w_est in parts of a byte: what one ACK adds may be less than a byte
constexpr std::int64_t kMostMicroseconds = std::int64_t{1} << 31;  // of t - K: 35 min, when any window is at its bound

/// The words of sections 4.1 and 4.2, windows in bytes.
struct Curve {
  std::int64_t epoch;      ///< epoch_start in nanoseconds; valid with in_epoch.
  std::int64_t k;          ///< K in microseconds.
  std::uint64_t w_est;     ///< In 1/kEstimateUnit bytes.
  std::uint64_t rest;      ///< What the last division left over of cwnd's growth: no drift.
  std::uint32_t w_max;     ///< 0: undefined, the next congestion avoidance begins on the plateau.
  std::uint32_t cwnd_prior;
  std::uint64_t in_epoch;  ///< bool
};

struct Own {
  Curve curve, prior;      ///< prior: for on_undo (section 4.9)
  std::int64_t last_ack;
  HyStart hystart;
};

/// The largest r with r^3 <= n; n below 2^95.
std::int64_t cube_root(Wide n) {
  std::int64_t r = 0;
  for (int bit = 31; bit >= 0; --bit) {
    const std::int64_t more = r | std::int64_t{1} << bit;
    const Wide wide = static_cast<Wide>(more);
    if (wide * wide * wide <= n) r = more;
  }
  return r;
}

/// Section 4.2 equation 2: K = cubic_root((W_max - cwnd_epoch) / C), in microseconds.
std::int64_t time_to_plateau(std::uint32_t missing, std::uint32_t smss) {
  constexpr Wide kMicrosecondsCubed = static_cast<Wide>(1'000'000) * 1'000'000 * 1'000'000;
  return cube_root(static_cast<Wide>(missing) * kCOf * kMicrosecondsCubed / (kC * smss));
}

/// Equation 1: W_cubic(t) = C * (t - K)^3 + W_max, in bytes.
std::uint64_t w_cubic(const Curve& c, std::uint32_t smss, Duration t) {
  constexpr Wide kMicrosecondsCubed = static_cast<Wide>(1'000'000) * 1'000'000 * 1'000'000;
  const std::int64_t from_plateau = t.count() / 1000 - c.k;
  const auto d = static_cast<Wide>(std::min(from_plateau < 0 ? -from_plateau : from_plateau, kMostMicroseconds));
  const auto away = static_cast<std::uint64_t>(d * d * d * (kC * smss) / kCOf / kMicrosecondsCubed);
  if (from_plateau >= 0) return c.w_max + away;
  return c.w_max > away ? c.w_max - away : 0;
}

class Cubic final : public CongestionControl {
 public:
  std::string_view name() const override { return "cubic"; }

  void on_ack(CongestionState& s, const AckSample& ack) const override {
    // Nothing has begun yet (the acknowledgment of a SYN is no reason to: RFC 5681 section 3.1).
    if (!s.own && !ack.cwnd_limited) return;
    Own own = s.load<Own>();
    grow(s, own, ack);
    own.last_ack = ack.now.ns;
    s.store(own);
  }

  void on_enter_recovery(CongestionState& s, std::uint32_t flight, Instant) const override {
    Own own = s.load<Own>();
    save(s, own);
    own.curve.cwnd_prior = s.cwnd;
    // Section 4.7: a flow whose plateau came down leaves room to others.
    own.curve.w_max = s.cwnd < own.curve.w_max
                          ? static_cast<std::uint32_t>(std::uint64_t{s.cwnd} * (kBetaOf + kBeta) / (2 * kBetaOf))
                          : s.cwnd;
    own.curve.in_epoch = 0;
    s.store(own);
    s.ssthresh = reduced(flight, s.smss);
    s.cwnd = s.ssthresh;
  }

  /// Section 4.8.
  void on_timeout(CongestionState& s, std::uint32_t flight, bool first, Instant) const override {
    Own own = s.load<Own>();
    save(s, own);
    if (first) {
      s.ssthresh = reduced(flight, s.smss);
      own.curve.cwnd_prior = s.cwnd;
    }
    own.curve.w_max = 0;
    own.curve.in_epoch = 0;
    s.store(own);
    s.cwnd = s.smss;
  }

  /// Section 4.9: all of it as before the congestion event that was none.
  void on_undo(CongestionState& s, Instant now) const override {
    if (s.undo_cwnd == 0) return;
    Own own = s.load<Own>();
    own.curve = own.prior;
    own.last_ack = now.ns;
    s.store(own);
    CongestionControl::on_undo(s, now);
  }

  void on_idle_restart(CongestionState& s, std::uint32_t segments, Instant now) const override {
    if (s.own) {
      Own own = s.load<Own>();
      own.curve.in_epoch = 0;
      s.store(own);
    }
    CongestionControl::on_idle_restart(s, segments, now);
  }

  /// Section 4.2: t has no time in which cwnd had no reason to grow.
  void on_transmit_start(CongestionState& s, bool, Instant now) const override {
    if (!s.own) return;
    Own own = s.load<Own>();
    own.curve.epoch += now.ns - own.last_ack;
    own.last_ack = now.ns;
    s.store(own);
  }

 private:
  static std::uint32_t reduced(std::uint32_t flight, std::uint32_t smss) {
    return std::max(static_cast<std::uint32_t>(std::uint64_t{flight} * kBeta / kBetaOf), 2 * smss);
  }

  static void save(CongestionState& s, Own& own) {
    if (s.undo_cwnd == 0) own.prior = own.curve;
    remember(s);
  }

  static void grow(CongestionState& s, Own& own, const AckSample& ack) {
    AckSample rest = ack;
    if (s.in_slow_start()) {
      rest.acked = slow_start_step(s, own, ack);
      if (s.in_slow_start() || rest.acked == 0) return;
    }
    avoid_congestion(s, own.curve, rest, own.last_ack);
  }

  /// Answers the bytes that are left for congestion avoidance.
  static std::uint32_t slow_start_step(CongestionState& s, Own& own, const AckSample& ack) {
    // RFC 9406 section 4.3: only while ssthresh is arbitrarily high.
    const bool first = ack.hystart && s.ssthresh == UINT32_MAX;
    std::uint32_t left = 0;
    if (ack.cwnd_limited) {
      AckSample step = ack;
      if (first && own.hystart.css) step.acked = std::min(ack.acked, ack.abc_limit * s.smss) / HyStart::kGrowthDivisor;
      left = slow_start(s, step);
    }
    if (first && own.hystart.on_ack(ack)) s.ssthresh = s.cwnd;
    return left;
  }

  static void avoid_congestion(CongestionState& s, Curve& c, const AckSample& ack, std::int64_t last_ack) {
    if (!ack.cwnd_limited) {
      if (c.in_epoch) c.epoch += ack.now.ns - last_ack;
      return;
    }
    if (!c.in_epoch) begin_epoch(s, c, ack.now);
    const std::uint64_t acked = std::min(ack.acked, s.cwnd);
    const Duration t{ack.now.ns - c.epoch};
    // Section 4.3 equation 4; alpha is 1 once the window of before the reduction is reached again.
    const bool back = c.w_est / kEstimateUnit >= c.cwnd_prior;
    c.w_est += static_cast<std::uint64_t>(static_cast<Wide>(acked) * s.smss * kEstimateUnit * (back ? 1 : kAlpha) /
                                          (static_cast<Wide>(s.cwnd) * (back ? 1 : kAlphaOf)));
    const std::uint64_t estimate = c.w_est / kEstimateUnit;
    if (w_cubic(c, s.smss, t) < estimate) {
      if (estimate > s.cwnd) s.cwnd = grown_window(s.cwnd, estimate - s.cwnd);
      return;
    }
    // Sections 4.4 and 4.5: (target - cwnd) / cwnd for each segment, target being one round trip ahead.
    const std::uint64_t target = std::clamp(w_cubic(c, s.smss, t + ack.srtt), std::uint64_t{s.cwnd}, std::uint64_t{s.cwnd} * 3 / 2);
    const std::uint64_t growth = (target - s.cwnd) * acked + c.rest;
    c.rest = growth % s.cwnd;
    s.cwnd = grown_window(s.cwnd, growth / s.cwnd);
  }

  static void begin_epoch(const CongestionState& s, Curve& c, Instant now) {
    c.in_epoch = 1;
    c.epoch = now.ns;
    c.rest = 0;
    c.w_est = std::uint64_t{s.cwnd} * kEstimateUnit;
    // After a timeout, or a slow start that ended without loss (sections 4.8 and 4.10), there is no plateau to come back to.
    if (c.w_max == 0) c.cwnd_prior = std::max(c.cwnd_prior, s.cwnd);
    c.k = c.w_max > s.cwnd ? time_to_plateau(c.w_max - s.cwnd, s.smss) : 0;
    c.w_max = std::max(c.w_max, s.cwnd);
  }
};

const Cubic kCubic{};

}  // namespace

const CongestionControl& cubic() { return kCubic; }

}  // namespace iopkt::tcp
