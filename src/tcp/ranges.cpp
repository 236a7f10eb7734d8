#include "tcp/ranges.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace iopkt::tcp {

std::size_t RangeSet::first_above(Offset at) const {
  // Most additions are at the end or very near to it.
  if (ranges_.empty() || ranges_.back().end <= at) return ranges_.size();
  const auto it = std::partition_point(ranges_.begin(), ranges_.end(), [at](const Range& r) { return r.end <= at; });
  return static_cast<std::size_t>(it - ranges_.begin());
}

bool RangeSet::contains(Offset at) const {
  const std::size_t i = first_above(at);
  return i < ranges_.size() && ranges_[i].begin <= at;
}

Offset RangeSet::covered(Offset begin, Offset end) const {
  Offset sum = 0;
  for (std::size_t i = first_above(begin); i < ranges_.size() && ranges_[i].begin < end; ++i)
    sum += std::min(ranges_[i].end, end) - std::max(ranges_[i].begin, begin);
  return sum;
}

Offset RangeSet::add(Offset begin, Offset end, std::size_t limit) {
  IOPKT_ASSERT(begin < end);
  // All ranges that overlap or touch [begin, end) become one.
  const std::size_t first = first_above(begin - 1);
  std::size_t last = first;
  Range merged{begin, end};
  Offset known = 0;
  while (last < ranges_.size() && ranges_[last].begin <= end) {
    merged.begin = std::min(merged.begin, ranges_[last].begin);
    merged.end = std::max(merged.end, ranges_[last].end);
    known += ranges_[last].end - ranges_[last].begin;
    ++last;
  }
  const Offset added = merged.end - merged.begin - known;
  const auto at = ranges_.begin() + static_cast<std::ptrdiff_t>(first);
  if (first == last) {
    if (ranges_.size() >= limit) return -1;
    ranges_.insert(at, merged);
  } else {
    *at = merged;
    ranges_.erase(at + 1, ranges_.begin() + static_cast<std::ptrdiff_t>(last));
  }
  total_ += added;
  return added;
}

void RangeSet::remove_below(Offset edge) {
  if (ranges_.empty() || ranges_.front().begin >= edge) return;
  const std::size_t keep = first_above(edge);
  for (std::size_t i = 0; i < keep; ++i) total_ -= ranges_[i].end - ranges_[i].begin;
  if (keep == ranges_.size()) return clear();
  ranges_.erase(ranges_.begin(), ranges_.begin() + static_cast<std::ptrdiff_t>(keep));
  if (ranges_.front().begin < edge) {
    total_ -= edge - ranges_.front().begin;
    ranges_.front().begin = edge;
  }
}

void RangeSet::clear() {
  ranges_ = {};
  total_ = 0;
}

}  // namespace iopkt::tcp
