#include "base/timer_wheel.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/random.hpp"

namespace iopkt {
namespace {

constexpr Instant kStart{1'000'000'007};

/// A node that knows its number.
struct Timer : TimerNode {
  int id = 0;
};

std::vector<int> fired_until(TimerWheel& wheel, Instant now) {
  std::vector<int> ids;
  wheel.advance(now, [&](TimerNode& node) { ids.push_back(static_cast<Timer&>(node).id); });
  return ids;
}

TEST(TimerWheel, NeverFiresEarlyAndAtMostATickLate) {
  const Duration delays[] = {1ns,    999'999ns, 1ms,     1'000'001ns, 63ms,  64ms, 65ms,      4095ms,
                             4096ms, 4097ms,    262143s, 262144ms,    7200s, 240h, 24h * 365, 24h * 36500};
  for (const Duration delay : delays) {
    SCOPED_TRACE(delay.count());
    TimerWheel wheel{kStart};
    Timer timer;
    const Instant at = kStart + delay;
    wheel.schedule(timer, at);
    EXPECT_TRUE(fired_until(wheel, at - 1ns).empty());
    EXPECT_TRUE(timer.is_scheduled());
    EXPECT_EQ(fired_until(wheel, at + 1ms - 1ns).size(), 1u);
    EXPECT_FALSE(timer.is_scheduled());
    EXPECT_EQ(wheel.size(), 0u);
    EXPECT_EQ(wheel.next_deadline(), Instant::never());
  }
}

TEST(TimerWheel, ATimeThatHasComeFiresInTheNextAdvance) {
  TimerWheel wheel{kStart};
  fired_until(wheel, kStart + 100ms);
  Timer before, now;
  before.id = 1, now.id = 2;
  wheel.schedule(now, kStart + 100ms);
  wheel.schedule(before, kStart - 5s);
  EXPECT_LE(wheel.next_deadline(), kStart + 100ms);
  EXPECT_EQ(fired_until(wheel, kStart + 100ms), (std::vector{2, 1})) << "in the order of scheduling";
}

TEST(TimerWheel, NeverMeansIdle) {
  TimerWheel wheel{kStart};
  Timer timer;
  wheel.schedule(timer, kStart + 1s);
  wheel.schedule(timer, Instant::never());
  EXPECT_FALSE(timer.is_scheduled());
  EXPECT_EQ(wheel.size(), 0u);
  EXPECT_TRUE(wheel.next_deadline().is_never());
}

TEST(TimerWheel, ReachesTheEndOfTime) {
  TimerWheel wheel{Instant{-5}, 1ns};
  Timer timer;
  wheel.schedule(timer, Instant{INT64_MAX - 1});
  EXPECT_EQ(wheel.next_deadline(), Instant{INT64_MAX - 1});
  EXPECT_TRUE(fired_until(wheel, Instant{INT64_MAX - 2}).empty());
  EXPECT_EQ(fired_until(wheel, Instant{INT64_MAX - 1}).size(), 1u);
}

TEST(TimerWheel, OfOneTickTheFirstScheduledFiresFirst) {
  TimerWheel wheel{kStart};
  std::deque<Timer> timers(4);
  for (int i = 0; i < 4; ++i) timers[static_cast<std::size_t>(i)].id = i;
  const Instant at = kStart + 10s;
  wheel.schedule(timers[2], at);  // far away: a high level
  fired_until(wheel, kStart + 9s);
  wheel.schedule(timers[0], at);
  fired_until(wheel, at - 2ms);
  wheel.schedule(timers[3], at);  // the lowest level
  wheel.schedule(timers[1], at);
  EXPECT_EQ(fired_until(wheel, at + 5s), (std::vector{2, 0, 3, 1}));
}

TEST(TimerWheel, TheCallMayChangeOtherTimersOfTheSameAdvance) {
  TimerWheel wheel{kStart};
  Timer first, second, third, fourth;
  auto gone = std::make_unique<Timer>();
  first.id = 1, second.id = 2, third.id = 3, fourth.id = 4, gone->id = 5;
  wheel.schedule(first, kStart + 5ms);
  for (Timer* t : {&second, gone.get(), &third, &fourth}) wheel.schedule(*t, kStart + 6ms);
  std::vector<int> ids;
  const auto on_expired = [&](TimerNode& node) {
    const int id = static_cast<Timer&>(node).id;
    EXPECT_FALSE(node.is_scheduled());
    ids.push_back(id);
    if (id == 1) {
      wheel.cancel(second);
      gone.reset();                          // a destroyed node is cancelled
      wheel.schedule(third, kStart + 20ms);  // moved out of this advance
      wheel.schedule(first, kStart);  // itself, for the past: in the next advance, or this would not end
      EXPECT_LE(wheel.next_deadline(), kStart + 10ms) << "the fourth is still to fire";
    }
  };
  EXPECT_EQ(wheel.advance(kStart + 10ms, on_expired), 2u);
  EXPECT_EQ(ids, (std::vector{1, 4}));
  EXPECT_EQ(wheel.size(), 2u);
  ids.clear();
  wheel.advance(kStart + 10ms, [&](TimerNode& node) { ids.push_back(static_cast<Timer&>(node).id); });
  wheel.advance(kStart + 20ms, [&](TimerNode& node) { ids.push_back(static_cast<Timer&>(node).id); });
  EXPECT_EQ(ids, (std::vector{1, 3}));
}

TEST(TimerWheel, WhatAnAdvanceMayNotCallIsFirstInTheNext) {
  TimerWheel wheel{kStart};
  std::array<Timer, 5> timers;
  for (int id = 0; id < 5; ++id) timers[static_cast<std::size_t>(id)].id = id;
  for (Timer& timer : std::span{timers}.first(4)) wheel.schedule(timer, kStart + 1ms);
  std::vector<int> ids;
  const auto on_expired = [&](TimerNode& node) { ids.push_back(static_cast<Timer&>(node).id); };
  EXPECT_EQ(wheel.advance(kStart + 1ms, on_expired, 2), 2u);
  wheel.cancel(timers[3]);
  wheel.schedule(timers[4], kStart + 2ms);
  EXPECT_LE(wheel.next_deadline(), kStart + 1ms);
  EXPECT_EQ(wheel.advance(kStart + 2ms, on_expired, 2), 2u);
  EXPECT_EQ(ids, (std::vector{0, 1, 2, 4}));
  EXPECT_TRUE(wheel.next_deadline().is_never());
}

TEST(TimerWheel, TheEndOfTheWheelLeavesItsNodesIdle) {
  Timer far, due;
  {
    TimerWheel wheel{kStart};
    wheel.schedule(far, kStart + 1h);
    wheel.schedule(due, kStart);
  }
  EXPECT_FALSE(far.is_scheduled());
  EXPECT_FALSE(due.is_scheduled());
}

TEST(TimerWheel, ASingleTimerCostsOneWakeUp) {
  TimerWheel wheel{kStart};
  Timer timer;
  wheel.schedule(timer, kStart + 7200s);
  const Instant at = wheel.next_deadline();
  EXPECT_GE(at, kStart + 7200s);
  EXPECT_LT(at, kStart + 7200s + 1ms);
  EXPECT_EQ(fired_until(wheel, at).size(), 1u);
}

/// What a wheel must do, by looking at every timer each time.
class Model {
 public:
  void schedule(int id, Instant at) {
    const std::int64_t tick = tick_after(at);
    if (const auto old = timers_.find(id);
        old != timers_.end() && old->second.tick == tick && tick > now_tick_)
      return;
    timers_[id] = {tick <= now_tick_ ? -1 : tick, tick, ++sequence_};
  }
  void cancel(int id) { timers_.erase(id); }
  std::size_t size() const { return timers_.size(); }
  std::vector<int> advance(Instant now) {
    now_tick_ = std::max(now_tick_, (now.ns - kStart.ns) / 1'000'000);
    std::vector<std::pair<std::pair<std::int64_t, int>, int>> due;
    for (const auto& [id, t] : timers_)
      if (t.tick <= now_tick_) due.push_back({{t.order, t.sequence}, id});
    std::sort(due.begin(), due.end());
    std::vector<int> ids;
    for (const auto& [order, id] : due) ids.push_back(id), timers_.erase(id);
    return ids;
  }
  /// The first firing time; of what is due already, the time of the tick that the wheel stands at.
  Instant first() const {
    Instant first = Instant::never();
    for (const auto& [id, t] : timers_) first = std::min(first, kStart + std::max(t.tick, now_tick_) * 1ms);
    return first;
  }

 private:
  struct Scheduled {
    std::int64_t order, tick;
    int sequence;
  };
  static std::int64_t tick_after(Instant at) {
    return at <= kStart ? 0 : (at.ns - kStart.ns + 999'999) / 1'000'000;
  }
  std::map<int, Scheduled> timers_;
  std::int64_t now_tick_ = 0;
  int sequence_ = 0;
};

Duration random_delay(Random& random) {
  // Every magnitude from nanoseconds to days is as likely as any other; some lie in the past.
  const auto ns = static_cast<std::int64_t>(random.next() >> (17 + random.below(46)));
  return random.chance(0.05) ? Duration{-ns} : Duration{ns};
}

TEST(TimerWheel, BehavesAsTheModelUnderRandomCalls) {
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random{seed};
    TimerWheel wheel{kStart};
    Model model;
    std::deque<Timer> timers(1 + random.below(60));
    for (std::size_t i = 0; i < timers.size(); ++i) timers[i].id = static_cast<int>(i);
    Instant now = kStart;
    for (int step = 0; step < 3000; ++step) {
      Timer& timer = timers[random.below(timers.size())];
      const std::uint64_t what = random.below(10);
      if (what < 6) {
        const Instant at = now + random_delay(random);
        wheel.schedule(timer, at);
        model.schedule(timer.id, at);
      } else if (what < 7) {
        wheel.cancel(timer);
        model.cancel(timer.id);
      } else {
        const bool to_deadline = what < 9 && !wheel.next_deadline().is_never();
        now = to_deadline ? std::max(now, wheel.next_deadline())
                          : now + std::max(Duration{0}, random_delay(random));
        ASSERT_EQ(fired_until(wheel, now), model.advance(now)) << "step " << step;
      }
      ASSERT_EQ(wheel.size(), model.size());
      ASSERT_LE(wheel.next_deadline(), model.first());
      ASSERT_EQ(wheel.next_deadline().is_never(), model.size() == 0);
    }
  }
}

TEST(TimerWheel, AdvancingToTheDeadlineAlwaysMakesProgress) {
  Random random{7};
  TimerWheel wheel{kStart};
  std::deque<Timer> timers(5000);
  for (Timer& timer : timers) wheel.schedule(timer, kStart + Duration{random.below(3'600'000'000'000)});
  std::size_t fired = 0;
  std::size_t calls = 0;
  while (wheel.size() > 0) {
    const Instant deadline = wheel.next_deadline();
    const std::size_t n = wheel.advance(deadline, [](TimerNode&) {});
    ASSERT_TRUE(n > 0 || wheel.next_deadline() > deadline);
    fired += n;
    ++calls;
  }
  EXPECT_EQ(fired, timers.size());
  EXPECT_LT(calls, 2 * timers.size()) << "calls that only bring timers closer are few";
}

}  // namespace
}  // namespace iopkt
