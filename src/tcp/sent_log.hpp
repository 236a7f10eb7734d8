// What is in flight, transmission by transmission: when each piece went out, and whether it is SACKed or lost. The scoreboard of
// RFC 6675 section 2 and the per-segment state of RFC 8985 section 5.2.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "base/time.hpp"
#include "tcp/delivery_rate.hpp"
#include "tcp/ranges.hpp"

namespace iopkt::tcp {

/// One transmission: of up to 64 KB, or what is left of it after parts had other fates.
struct Sent {
  enum class State : std::uint8_t { flying, sacked, lost };

  Offset begin{}, end{};
  Instant at{};            ///< Of its last transmission.
  std::uint64_t order{};   ///< Of its last transmission among all: those of one turn have the same time.
  State state{};
  bool again{};            ///< It was sent more than once.
  bool shared{};           ///< Several transmissions that had no room for records of their own: `at` is the newest one's.
  std::uint16_t segment{65535};  ///< Payload of each packet that it went out as; the least where it is shared.

  Offset length() const { return end - begin; }
  /// As how many it went out, at most.
  std::uint32_t packets() const { return length() <= segment ? 1 : static_cast<std::uint32_t>((length() + segment - 1) / segment); }
  friend bool operator==(const Sent&, const Sent&) = default;
};
static_assert(sizeof(Sent) == 40);

/// Sorted by sequence, without gaps from SND.UNA to SND.NXT (the SYN of a passive open is not in it). Memory is taken as it grows and
/// mostly given back when it is empty. Work and memory have a bound, about 3 * kMost records: beyond kMost what is sent shares the last
/// one; beyond 2 * kMost SACK blocks that would divide records are not known, and what is sent again shares the record before it.
///
/// What the delivery rate has to know of each transmission lies beside the records, for connections that model their path.
class SentLog {
 public:
  static constexpr std::size_t kMost = 2048;
  static constexpr Offset kLargest = 65536;  ///< of records that share: what one transmission may have at most

  bool empty() const { return head_ == log_.size(); }
  std::size_t size() const { return log_.size() - head_; }
  /// From the oldest sequence on.
  const Sent& operator[](std::size_t i) const { return log_[head_ + i]; }
  const Sent& back() const { return log_.back(); }

  /// Bytes by state; `again`: of those that fly, what was sent more than once.
  Offset flying() const { return flying_; }
  Offset sacked() const { return sacked_; }
  Offset lost() const { return lost_; }
  Offset again() const { return again_; }

  /// Index of the first record that ends above `at`; size() when none does.
  std::size_t first_above(Offset at) const;
  /// SACKed bytes at or above `at`.
  Offset sacked_above(Offset at) const;
  /// End of the highest SACKed record; 0: none.
  Offset highest_sacked() const;

  /// [r.begin, r.end) went out; r.begin is the end of the last record. `again`: a zero-window probe had part of it before.
  /// `segment`: see Sent; 0: it was one packet.
  void append(Range r, bool again, Instant at, std::uint32_t segment = 0);
  /// From now on transmissions have notes; those before were not noted.
  void keep_notes();
  bool keeps_notes() const { return noted_; }
  /// What was noted of record i; all zero where nothing was.
  const TransmitState& note(std::size_t i) const { return noted_ ? notes_[head_ + i] : kNoNote; }
  /// Of the transmission that append() or resent() told of last, which begins at `at`.
  void remember(Offset at, const TransmitState& note);
  /// Everything below `una` is acknowledged: `delivered(const Sent&, const TransmitState&)` for each piece that was not SACKed before.
  template <class Delivered>
  void remove_below(Offset una, Delivered&& delivered);
  /// The peer has [l, r): `delivered(const Sent&, const TransmitState&)` for each piece that is news. Answers how many bytes are.
  template <class Delivered>
  Offset sack(Offset l, Offset r, Delivered&& delivered);
  void mark_lost(std::size_t i);
  /// All that is not SACKed is lost.
  void lose_all();
  /// What is called lost flies (it was no loss).
  void find_all();
  /// The peer took its SACKs back: what was SACKed is lost.
  void forget_sacks();
  /// The lowest lost bytes at or above SND.UNA, adjacent records together.
  std::optional<Range> first_lost() const;
  /// [r.begin, r.end) went out again; `segment` as with append().
  void resent(Range r, Instant at, std::uint32_t segment = 0);
  /// Nothing at or above `edge` was sent, after all.
  void truncate(Offset edge);
  void clear();

  friend bool operator==(const SentLog& a, const SentLog& b) {
    return a.size() == b.size() && std::equal(a.oldest(), a.log_.end(), b.oldest()) && a.noted_ == b.noted_ &&
           (!a.noted_ || std::equal(a.notes_.begin() + static_cast<std::ptrdiff_t>(a.head_), a.notes_.end(),
                                    b.notes_.begin() + static_cast<std::ptrdiff_t>(b.head_)));
  }

 private:
  std::vector<Sent>::const_iterator oldest() const { return log_.begin() + static_cast<std::ptrdiff_t>(head_); }
  Sent& at(std::size_t i) { return log_[head_ + i]; }
  void set_state(Sent& s, Sent::State state, bool again);
  void count(const Sent& s, int sign);
  void split(std::size_t i, Offset where);
  bool share_with_left(std::size_t i, Range r, Instant when, std::uint16_t segment);
  void erase(std::size_t from, std::size_t to);
  void merge_sacked(std::size_t from, std::size_t to);
  void give_back();

  static constexpr TransmitState kNoNote{};
  std::vector<Sent> log_;
  std::vector<TransmitState> notes_;  ///< As many, or none.
  bool noted_{};
  std::uint64_t order_{};      ///< Of the last transmission.
  std::size_t head_{};        ///< Records before it are gone.
  Offset flying_{}, sacked_{}, lost_{}, again_{};
  Offset lost_from_{};         ///< Every lost record ends above it.
};

template <class Delivered>
void SentLog::remove_below(Offset una, Delivered&& delivered) {
  while (!empty() && at(0).begin < una) {
    Sent& first = at(0);
    Sent piece = first;
    piece.end = std::min(first.end, una);
    if (piece.state != Sent::State::sacked) delivered(static_cast<const Sent&>(piece), note(0));
    count(piece, -1);
    if (piece.end < first.end) {
      first.begin = piece.end;
      return;
    }
    ++head_;
  }
  give_back();
}

template <class Delivered>
Offset SentLog::sack(Offset l, Offset r, Delivered&& delivered) {
  std::size_t i = first_above(l);
  if (i < size() && at(i).begin < l && at(i).state != Sent::State::sacked) {
    if (size() >= 2 * kMost) return 0;
    split(i++, l);
  }
  const std::size_t first = i;
  Offset news = 0;
  for (; i < size() && at(i).begin < r; ++i) {
    if (at(i).state == Sent::State::sacked) continue;
    if (at(i).end > r) {
      if (size() >= 2 * kMost) break;
      split(i, r);
    }
    delivered(static_cast<const Sent&>(at(i)), note(i));
    news += at(i).length();
    set_state(at(i), Sent::State::sacked, at(i).again);
  }
  if (news > 0) merge_sacked(first, i);
  return news;
}

}  // namespace iopkt::tcp
