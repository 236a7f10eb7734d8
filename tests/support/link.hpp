// One direction of a path: a queue before a transmitter of some rate, then a wire that delays, loses, doubles, reorders and breaks
// frames. Virtual time; every accident comes from the seed.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "base/random.hpp"
#include "base/time.hpp"

namespace iopkt::sim {

using Frame = std::vector<std::byte>;

/// Bursts of loss: a wire with two states (Gilbert 1960, Elliott 1963). Probabilities 0..1, per frame.
struct GilbertElliott {
  double to_bad = 0, to_good = 1;        ///< of changing state before a frame
  double loss_good = 0, loss_bad = 1;    ///< of losing it there
};

/// Controlled delay, RFC 8289: frames that lay longer than `target` for an `interval` are dropped, or marked CE where they may be.
struct Codel {
  Duration target = 5ms, interval = 100ms;
  bool ecn = false;
};

/// What a link does; probabilities 0..1, zero: never.
struct LinkConfig {
  Duration delay = 1ms;
  double loss = 0, duplicate = 0, reorder = 0, corrupt = 0;
  double mark = 0;                     ///< congestion experienced, of frames whose sender knows ECN
  std::uint64_t rate_bps = 0;          ///< 0: no limit, and then no queue
  std::size_t queue = 1000;            ///< frames that wait for the rate; the rest is lost (drop-tail)
  std::size_t queue_bytes = SIZE_MAX;  ///< the same in bytes
  std::optional<Codel> codel;
  std::optional<GilbertElliott> bursts;
  std::uint64_t lose_every = 0;        ///< each Nth frame is lost
  std::size_t mtu = 0;                 ///< a black hole: longer IP packets vanish without a word; 0: none
  Duration reorder_by{};               ///< most that a reordered frame comes later; 0: three times the delay
};

class Link {
 public:
  /// What became of frames.
  struct Counts {
    std::uint64_t in = 0, out = 0, queue_full = 0, codel_dropped = 0, marked = 0, lost = 0, too_long = 0, duplicated = 0,
                  reordered = 0, corrupted = 0;
  };

  Link(const LinkConfig& config, std::uint64_t seed) : config_(config), random_(seed) {}

  /// A frame enters. `now` never goes back.
  void put(Instant now, Frame frame);
  /// The next frame that has arrived by `now`.
  std::optional<Frame> take(Instant now);
  /// When to come again: something arrives or leaves the queue. never(): the link is empty.
  Instant next() const;

  const Counts& counts() const { return counts_; }
  std::size_t queued() const { return queue_.size(); }
  /// Frames meet the new conditions from now on.
  void change(const LinkConfig& config) { config_ = config; }

 private:
  struct Waiting {
    Instant since;
    Frame frame;
  };
  void transmit_until(Instant now);
  std::optional<Frame> dequeue(Instant now);
  std::optional<Frame> pop(Instant now, bool& ok_to_drop);
  bool mark_congestion(Frame& frame);
  void fly(Instant at, Frame frame);
  bool lose();

  LinkConfig config_;
  Random random_;
  Counts counts_;
  std::deque<Waiting> queue_;
  std::size_t queued_bytes_ = 0;
  Instant free_at_{};
  std::multimap<Instant, Frame> flights_;
  bool bad_ = false;  // of GilbertElliott
  // Of CoDel, names as in RFC 8289 section 5.3.
  std::optional<Instant> first_above_time_;
  Instant drop_next_{};
  std::uint32_t count_ = 0, lastcount_ = 0;
  bool dropping_ = false;
};

}  // namespace iopkt::sim
