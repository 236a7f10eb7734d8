// A hierarchical timing wheel: any number of timers, each scheduled, moved and cancelled in constant time.
// Varghese, Lauck: "Hashed and hierarchical timing wheels" (1987), scheme 7.
//
// Level L has 64 slots of 64^L ticks each. A timer lies at the level of the highest 6-bit digit in which its
// tick differs from the wheel's own, so all timers of level L come before all of level L+1, and a slot before
// the wheel's digit is empty. When the wheel enters a slot of a higher level, that slot's timers move down,
// in their order. Eleven digits hold every 64-bit tick: nothing is out of range.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/assert.hpp"
#include "base/time.hpp"

namespace iopkt {

class TimerWheel;

/// What is scheduled: a member or base of its user, who finds himself from it. Idle when made; its end
/// cancels it.
class TimerNode {
 public:
  TimerNode() = default;
  TimerNode(const TimerNode&) = delete;
  TimerNode& operator=(const TimerNode&) = delete;
  ~TimerNode() { cancel(); }

  /// Waits for its time, or is due and not yet fired.
  bool is_scheduled() const { return wheel_ != nullptr; }
  /// Nothing if it is idle.
  void cancel();

 private:
  friend class TimerWheel;
  TimerNode* prev_ = nullptr;
  TimerNode* next_ = nullptr;
  TimerWheel* wheel_ = nullptr;
  std::uint64_t tick_ = 0;
  std::uint16_t slot_ = 0;  ///< level * 64 + slot, or TimerWheel::kNoSlot
};

/// @context One thread; its nodes too. Neither is moved.
class TimerWheel {
 public:
  /// `tick`: how late a timer may fire, 1 ns or more.
  explicit TimerWheel(Instant start, Duration tick = 1ms);
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;
  /// Nodes that are still scheduled become idle.
  ~TimerWheel();

  /// Fires `node` in the first advance() to `at` or later: never before `at`, less than a tick after it. A
  /// time that has come already: in the next advance(). Instant::never(): the node becomes idle. A scheduled
  /// node is moved; within the same tick it keeps its place. @cost O(1)
  void schedule(TimerNode& node, Instant at);
  /// Nothing if it is idle. Only of this wheel's nodes. @cost O(1)
  void cancel(TimerNode& node);

  /// Moves to `now` and calls `on_expired(TimerNode&)` for each node whose time has come, `most` of them; answers how many. The
  /// others are the first of the next advance.
  /// Earlier ticks first, of one tick those that were scheduled first. The node is idle when it is called
  /// with, and may be destroyed. The call may schedule and cancel any node, also ones that are due in the
  /// same advance; what it schedules for a time up to `now` waits for the next advance, so that every advance
  /// ends. It must not call advance(). A `now` before an earlier one only fires what is due already.
  template <class F>
  std::size_t advance(Instant now, F on_expired, std::size_t most = SIZE_MAX) {
    IOPKT_ASSERT(!advancing_ && "advance() is not called from inside itself");
    advancing_ = true;
    collect(now);
    std::size_t fired = 0;
    for (; fired < most && !is_empty(firing_); ++fired) {
      TimerNode& node = *firing_.next_;
      cancel(node);
      on_expired(node);
    }
    advancing_ = false;
    return fired;
  }

  /// When to advance next: not after the first node's firing time; never() without nodes. Often before it:
  /// when many nodes are far away, there are up to ten earlier calls in which they only come closer. An
  /// advance() to this time always makes progress: a node fires, or this answer gets later. @cost O(1)
  Instant next_deadline() const;

  /// Nodes that are scheduled. @cost O(1)
  std::size_t size() const { return size_; }

 private:
  static constexpr unsigned kBits = 6;
  static constexpr std::size_t kSlots = std::size_t{1} << kBits;
  static constexpr std::size_t kLevels = (64 + kBits - 1) / kBits;
  static constexpr std::uint16_t kNoSlot = 0xffff;
  /// So many nodes of a higher level's slot next_deadline() looks at, to spare an almost idle stack the
  /// earlier calls.
  static constexpr int kLookedAt = 8;

  static bool is_empty(const TimerNode& head) { return head.next_ == &head; }
  static void make_empty(TimerNode& head) { head.prev_ = head.next_ = &head; }
  static void append(TimerNode& head, TimerNode& node);
  static void remove(TimerNode& node);

  std::uint64_t tick_at_or_after(Instant at) const;
  std::uint64_t tick_at_or_before(Instant now) const;
  Instant time_of(std::uint64_t tick) const;
  /// The tick at which a slot begins; the slot is not before the wheel's digit of this level.
  std::uint64_t slot_start(std::size_t level, std::size_t slot) const;
  void place(TimerNode& node);
  void collect(Instant now);
  void enter_slot(std::size_t level, std::size_t slot);
  void abandon(TimerNode& head);

  Instant start_;
  std::uint64_t tick_ns_;
  std::uint64_t elapsed_ =
      0;  ///< The tick that the wheel stands at: all before and itself have been collected.
  std::size_t size_ = 0;
  std::array<std::uint64_t, kLevels> occupied_{};  ///< A bit per slot that has nodes.
  std::array<TimerNode, kLevels * kSlots> slots_;  ///< List heads.
  TimerNode due_;     ///< Scheduled for a time that had come: for the next advance().
  TimerNode firing_;  ///< What the advance() under way, or the next, has still to call.
  bool advancing_ = false;
};

inline void TimerNode::cancel() {
  if (wheel_ != nullptr) wheel_->cancel(*this);
}

}  // namespace iopkt
