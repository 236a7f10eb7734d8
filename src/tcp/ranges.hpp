// A bounded set of disjoint ranges over a 64-bit sequence: what arrived out of order, and the SACK scoreboard.
#pragma once

#include <cstdint>
#include <vector>

namespace iopkt::tcp {

/// A sequence number without wrap: 0 is the SYN, 1 + p the byte at stream position p, then the FIN. Signed, because
/// what a peer sends may lie before the SYN.
using Offset = std::int64_t;

/// Not empty: begin < end.
struct Range {
  Offset begin{}, end{};
  friend bool operator==(const Range&, const Range&) = default;
};

/// Sorted, disjoint, not touching. Memory is taken with the first range and given back when the last one leaves.
class RangeSet {
 public:
  bool empty() const { return ranges_.empty(); }
  std::size_t size() const { return ranges_.size(); }
  /// Bytes in all ranges.
  Offset total() const { return total_; }
  const Range& operator[](std::size_t i) const { return ranges_[i]; }
  const std::vector<Range>& ranges() const { return ranges_; }
  const Range& back() const { return ranges_.back(); }

  /// Adds [begin, end), begin < end. Answers how many bytes were not in the set before; -1 when one more range would be
  /// needed than `limit`, and then nothing changes.
  Offset add(Offset begin, Offset end, std::size_t limit);
  /// Takes everything below `edge` out.
  void remove_below(Offset edge);
  void clear();

  /// Bytes of the set in [begin, end).
  Offset covered(Offset begin, Offset end) const;
  /// Index of the first range that ends above `at`; size() when none does.
  std::size_t first_above(Offset at) const;
  bool contains(Offset at) const;

  friend bool operator==(const RangeSet&, const RangeSet&) = default;

 private:
  std::vector<Range> ranges_;
  Offset total_{};
};

}  // namespace iopkt::tcp
