#include "tcp/sent_log.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace iopkt::tcp {

namespace {
constexpr std::size_t kKept = 8;        // records whose memory an idle connection keeps
constexpr std::size_t kSlack = 64;   // dead records before they are moved out of the way

std::uint16_t segment_of(Range r, std::uint32_t segment) {
  const Offset length = r.end - r.begin;
  return static_cast<std::uint16_t>(std::clamp<Offset>(segment == 0 ? length : std::min<Offset>(segment, length), 1, 65535));
}
}  // namespace

std::size_t SentLog::first_above(Offset at) const {
  const auto it = std::partition_point(oldest(), log_.end(), [at](const Sent& s) { return s.end <= at; });
  return static_cast<std::size_t>(it - oldest());
}

Offset SentLog::sacked_above(Offset edge) const {
  Offset sum = 0;
  for (std::size_t i = first_above(edge); i < size(); ++i)
    if ((*this)[i].state == Sent::State::sacked) sum += (*this)[i].end - std::max((*this)[i].begin, edge);
  return sum;
}

Offset SentLog::highest_sacked() const {
  if (sacked_ == 0) return 0;
  for (std::size_t i = size(); i-- > 0;)
    if ((*this)[i].state == Sent::State::sacked) return (*this)[i].end;
  return 0;
}

void SentLog::count(const Sent& s, int sign) {
  const Offset n = sign * s.length();
  switch (s.state) {
    case Sent::State::flying:
      flying_ += n;
      if (s.again) again_ += n;
      break;
    case Sent::State::sacked:
      sacked_ += n;
      break;
    case Sent::State::lost:
      lost_ += n;
      break;
  }
}

void SentLog::set_state(Sent& s, Sent::State state, bool again) {
  count(s, -1);
  s.state = state;
  s.again = again;
  count(s, 1);
}

void SentLog::split(std::size_t i, Offset where) {
  Sent upper = at(i);
  upper.begin = where;
  at(i).end = where;
  log_.insert(oldest() + static_cast<std::ptrdiff_t>(i) + 1, upper);
  if (noted_) {
    const TransmitState same = notes_[head_ + i];
    notes_.insert(notes_.begin() + static_cast<std::ptrdiff_t>(head_ + i) + 1, same);
  }
}

void SentLog::erase(std::size_t from, std::size_t to) {
  const auto place = [this](auto& v, std::size_t i) { return v.begin() + static_cast<std::ptrdiff_t>(head_ + i); };
  log_.erase(place(log_, from), place(log_, to));
  if (noted_) notes_.erase(place(notes_, from), place(notes_, to));
}

/// Adjacent SACKed records become one: what there was to learn of each is learnt.
void SentLog::merge_sacked(std::size_t from, std::size_t to) {
  const auto is_sacked = [&](std::size_t i) { return at(i).state == Sent::State::sacked; };
  while (from > 0 && is_sacked(from - 1)) --from;
  while (to < size() && is_sacked(to)) ++to;
  std::size_t out = from;
  for (std::size_t i = from + 1; i < to; ++i) {
    if (is_sacked(out) && is_sacked(i)) {
      at(out).end = at(i).end;
      continue;
    }
    at(++out) = at(i);
    if (noted_) notes_[head_ + out] = notes_[head_ + i];
  }
  if (from < to) erase(out + 1, to);
}

void SentLog::append(Range r, bool again, Instant when, std::uint32_t segment) {
  IOPKT_ASSERT(empty() || back().end == r.begin);
  if (size() >= kMost && back().state == Sent::State::flying) {
    // Later than it was for a part of it: only more patience.
    Sent& last = log_.back();
    count(last, -1);
    last.end = r.end;
    last.at = when;
    last.order = ++order_;
    last.again = last.again || again;
    last.shared = true;
    last.segment = std::min(last.segment, segment_of(r, segment));
    return count(last, 1);
  }
  if (head_ >= kSlack && head_ * 2 >= log_.size()) {
    log_.erase(log_.begin(), oldest());
    if (noted_) notes_.erase(notes_.begin(), notes_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }
  log_.push_back({.begin = r.begin, .end = r.end, .at = when, .order = ++order_, .again = again, .segment = segment_of(r, segment)});
  if (noted_) notes_.emplace_back();
  count(log_.back(), 1);
}

void SentLog::keep_notes() {
  if (noted_) return;
  noted_ = true;
  notes_.assign(log_.size(), {});
}

void SentLog::remember(Offset where, const TransmitState& note) {
  if (!noted_) return;
  const std::size_t i = first_above(where);
  if (i < size()) notes_[head_ + i] = note;
}

void SentLog::give_back() {
  if (!empty()) return;
  head_ = 0;
  lost_from_ = 0;
  notes_ = {};
  if (log_.capacity() > kKept) log_ = {};
  else log_.clear();
}

void SentLog::mark_lost(std::size_t i) {
  Sent& s = at(i);
  if (s.state != Sent::State::flying) return;
  lost_from_ = lost_ == 0 ? s.begin : std::min(lost_from_, s.begin);
  set_state(s, Sent::State::lost, s.again);
}

void SentLog::lose_all() {
  for (std::size_t i = 0; i < size(); ++i) mark_lost(i);
}

void SentLog::find_all() {
  for (std::size_t i = 0; i < size(); ++i)
    if (at(i).state == Sent::State::lost) set_state(at(i), Sent::State::flying, at(i).again);
}

void SentLog::forget_sacks() {
  for (std::size_t i = 0; i < size(); ++i)
    if (at(i).state == Sent::State::sacked) set_state(at(i), Sent::State::flying, true);
  lose_all();
}

std::optional<Range> SentLog::first_lost() const {
  if (lost_ == 0) return std::nullopt;
  for (std::size_t i = first_above(lost_from_); i < size(); ++i) {
    if ((*this)[i].state != Sent::State::lost) continue;
    Range r{(*this)[i].begin, (*this)[i].end};
    while (++i < size() && (*this)[i].state == Sent::State::lost) r.end = (*this)[i].end;
    return r;
  }
  return std::nullopt;
}

/// At the bound: the beginning of record i that went out again becomes part of the record on its left that did so just before. For
/// that one it is later than it was: only more patience.
bool SentLog::share_with_left(std::size_t i, Range r, Instant when, std::uint16_t segment) {
  if (size() < 2 * kMost || i == 0 || at(i).begin != r.begin || at(i).end <= r.end) return false;
  Sent& left = at(i - 1);
  if (left.state != Sent::State::flying || !left.again || left.length() >= kLargest) return false;
  Sent& rest = at(i);
  count(left, -1), count(rest, -1);
  left.end = rest.begin = r.end;
  left.at = when;
  left.order = ++order_;
  left.shared = true;
  left.segment = std::min(left.segment, segment);
  count(left, 1), count(rest, 1);
  if (lost_from_ >= r.begin && lost_from_ < r.end) lost_from_ = r.end;
  return true;
}

void SentLog::resent(Range r, Instant when, std::uint32_t segment) {
  std::size_t i = first_above(r.begin);
  if (i == size() || share_with_left(i, r, when, segment_of(r, segment))) return;
  if (at(i).begin < r.begin) split(i++, r.begin);
  std::size_t last = i;
  while (last < size() && at(last).end < r.end) ++last;
  if (last < size() && at(last).end > r.end) split(last, r.end);
  last = std::min(last + 1, size());
  for (std::size_t k = i; k < last; ++k) count(at(k), -1);
  at(i) = {.begin = at(i).begin, .end = at(last - 1).end, .at = when, .order = ++order_, .state = Sent::State::flying, .again = true,
           .segment = segment_of(r, segment)};
  count(at(i), 1);
  if (lost_from_ >= r.begin && lost_from_ < r.end) lost_from_ = r.end;
  erase(i + 1, last);
}

void SentLog::truncate(Offset edge) {
  while (!empty() && log_.back().end > edge) {
    Sent& last = log_.back();
    count(last, -1);
    if (last.begin < edge) {
      last.end = edge;
      count(last, 1);
      return;
    }
    log_.pop_back();
    if (noted_) notes_.pop_back();
  }
  give_back();
}

void SentLog::clear() {
  log_.clear();
  notes_.clear();
  head_ = 0;
  flying_ = sacked_ = lost_ = again_ = 0;
  give_back();
}

}  // namespace iopkt::tcp
