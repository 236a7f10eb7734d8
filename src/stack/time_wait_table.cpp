#include "stack/time_wait_table.hpp"

namespace iopkt::stack {

TimeWaitTable::Place TimeWaitTable::find(const FlowKey& flow) const {
  if (size_ == 0) return kNone;
  Place p = buckets_[bucket_of(flow)];
  while (p != kNone && at(p).flow != flow) p = at(p).chain;
  return p;
}

bool TimeWaitTable::add(const FlowKey& flow, const tcp::TimeWait& wait, const Owner& owner) {
  if (size_ >= most_) return false;
  if (size_ >= 2 * buckets_.size()) grow();
  const Place place = take_place();
  Entry& e = at(place);
  e.flow = flow;
  e.snd_nxt = wait.snd_nxt;
  e.rcv_nxt = wait.rcv_nxt;
  e.ts_recent = wait.ts_recent;
  e.timestamp_offset = wait.timestamp_offset;
  e.window = wait.window;
  e.challenged_ms = e.until_ms - (1u << 30);  // long ago
  e.timestamps = wait.timestamps;
  e.until_ms = milliseconds_up(wait.until);
  e.held = hold(owner.binding);
  e.foreign_shard = owner.foreign_shard;
  e.fib = owner.fib & 0x7f;
  Place& head = buckets_[bucket_of(flow)];
  e.chain = head;
  head = place;
  append(place);
  ++size_;
  return true;
}

void TimeWaitTable::remove(Place place) {
  Place* link = &buckets_[bucket_of(at(place).flow)];
  while (*link != place) link = &at(*link).chain;
  *link = at(place).chain;
  unlink(place);
  let_go(at(place).held);
  at(place).chain = free_;
  free_ = place;
  --size_;
}

tcp::TimeWait TimeWaitTable::wait(Place place, Instant now) const {
  const Entry& e = at(place);
  return {.snd_nxt = e.snd_nxt,
          .rcv_nxt = e.rcv_nxt,
          .ts_recent = e.ts_recent,
          .timestamp_offset = e.timestamp_offset,
          .window = e.window,
          .timestamps = e.timestamps != 0,
          .until = instant(e.until_ms, now)};
}

void TimeWaitTable::restart(Place place, Instant until) {
  if (at(place).until_ms == milliseconds_up(until)) return;
  at(place).until_ms = milliseconds_up(until);
  unlink(place);
  append(place);
}

bool TimeWaitTable::may_challenge(Place place, Instant now, std::uint32_t limit) {
  constexpr auto kPeriod = static_cast<std::int32_t>(tcp::kChallengePeriodMs);
  std::uint32_t& until = at(place).challenged_ms;
  const std::uint32_t now_ms = milliseconds(now);
  const auto each = kPeriod / static_cast<std::int32_t>(limit);
  auto ahead = static_cast<std::int32_t>(until - now_ms);
  if (ahead < 0 || ahead > kPeriod) ahead = 0;  // long ago; very long: half a round of the clock and more
  if (ahead + each > kPeriod) return false;
  until = now_ms + static_cast<std::uint32_t>(ahead + each);
  return true;
}

std::size_t TimeWaitTable::memory() const {
  return pieces_.size() * kPiece * sizeof(Entry) + pieces_.capacity() * sizeof pieces_[0] + buckets_.capacity() * sizeof(Place);
}

void TimeWaitTable::grow() {
  buckets_.assign(buckets_.empty() ? kFirstBuckets : buckets_.size() * 2, kNone);
  for (Place p = first_; p != kNone; p = at(p).later) {
    Place& head = buckets_[bucket_of(at(p).flow)];
    at(p).chain = head;
    head = p;
  }
}

TimeWaitTable::Place TimeWaitTable::take_place() {
  if (free_ == kNone) {
    const auto first = static_cast<Place>(pieces_.size() * kPiece);
    pieces_.push_back(std::make_unique<Entry[]>(kPiece));
    for (Place p = first + kPiece; p-- > first;) {
      at(p).chain = free_;
      free_ = p;
    }
  }
  const Place place = free_;
  free_ = at(place).chain;
  return place;
}

void TimeWaitTable::append(Place place) {
  Entry& e = at(place);
  e.earlier = last_;
  e.later = kNone;
  (last_ == kNone ? first_ : at(last_).later) = place;
  last_ = place;
}

void TimeWaitTable::unlink(Place place) {
  const Entry& e = at(place);
  (e.earlier == kNone ? first_ : at(e.earlier).later) = e.later;
  (e.later == kNone ? last_ : at(e.later).earlier) = e.earlier;
}

std::uint32_t TimeWaitTable::hold(const socket::BindingPtr& binding) {
  const auto [known, is_new] = held_by_binding_.try_emplace(binding.get(), 0);
  if (is_new) {
    if (free_held_.empty()) {
      free_held_.push_back(static_cast<std::uint32_t>(held_.size()));
      held_.emplace_back();
    }
    known->second = free_held_.back();
    free_held_.pop_back();
    held_[known->second].binding = binding;
  }
  ++held_[known->second].count;
  return known->second;
}

void TimeWaitTable::let_go(std::uint32_t held) {
  Held& h = held_[held];
  if (--h.count > 0) return;
  held_by_binding_.erase(h.binding.get());
  h.binding.reset();
  free_held_.push_back(held);
}

}  // namespace iopkt::stack
