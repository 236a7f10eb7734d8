#include "tcp/receiver.hpp"

#include <algorithm>
#include <utility>

namespace iopkt::tcp {

namespace {
/// Shorter round trips are measured in pieces of this length: so long a reader may be without its CPU, and that fine are timestamps.
constexpr Duration kTuneLeast = 1ms;
}  // namespace

const OutOfOrder& Receiver::no_holes() {
  static const OutOfOrder kNone;
  return kNone;
}

void Receiver::close_holes() {
  if (holes_ && !has_sacks()) holes_.reset();
}

void Receiver::forget_duplicate() {
  if (!holes_) return;
  holes_->duplicate = {};
  close_holes();
}

bool Receiver::acceptable(Offset begin, std::uint32_t length) const {
  const Offset end = begin + length;
  // Also at the edge, which the table leaves out: there stand the acknowledgments of a peer that has filled the window and lost the
  // end of it on the way.
  if (length == 0) return begin >= nxt && begin <= std::max(adv, nxt);
  // A closed window takes nothing of a segment with a length.
  return adv > nxt && begin < adv && end > nxt;
}

Receiver::Accepted Receiver::accept(Offset begin, Offset end, bool has_fin, std::uint32_t max_ranges, Copies& out) {
  Accepted got;
  on_duplicate(begin, end);
  Offset b = std::max(begin, nxt);
  Offset e = std::min(end, adv);
  if (fin >= 0) e = std::min(e, fin);  // nothing comes after a FIN
  if (end > adv) got.beyond_edge = static_cast<std::uint32_t>(end - std::max(adv, begin));
  if (b < e) {
    // What is new of [b, e): the gaps between the ranges that are there.
    Offset at = b;
    const RangeSet& there = beyond();
    for (std::size_t i = there.first_above(b); at < e; ++i) {
      const Offset gap_end = i < there.size() ? std::min(there[i].begin, e) : e;
      if (gap_end > at) {
        if (out.full()) {
          e = at;
          break;
        }
        out.push({static_cast<std::uint32_t>(at - begin), static_cast<std::uint64_t>(at - 1),
                  static_cast<std::uint32_t>(gap_end - at)});
        got.bytes += static_cast<std::uint32_t>(gap_end - at);
      }
      at = i < there.size() ? there[i].end : e;
    }
    if (b == nxt) {
      got.in_order = true;
      nxt = e;
      if (!there.empty() && there[0].begin <= nxt) {
        const std::size_t i = there.first_above(nxt);
        if (i < there.size() && there[i].begin <= nxt) nxt = there[i].end;
        holes_->beyond.remove_below(nxt);
        close_holes();
      }
    } else if (holes_.make().beyond.add(b, e, max_ranges) < 0) {
      out.clear();
      got.bytes = 0;
      got.limit = true;
      return got;
    } else {
      remember(b);
    }
  }
  const Offset received = static_cast<Offset>(end - begin);
  got.duplicate = static_cast<std::uint32_t>(received - got.bytes - got.beyond_edge > 0 ? received - got.bytes - got.beyond_edge : 0);
  // A FIN counts when the data before it fits into the window and nothing was received after it.
  if (has_fin && fin < 0 && end >= nxt && end <= adv && (beyond().empty() || beyond().back().end <= end)) fin = end;
  if (fin >= 0 && nxt == fin && !fin_received) {
    nxt = fin + 1;
    fin_received = true;
    got.fin_reached = true;
    got.in_order = true;
  }
  return got;
}

void Receiver::remember(Offset byte) {
  // Move to the front; others of the same range go, so that four different ranges are remembered.
  const RangeSet& beyond = holes_->beyond;
  const std::size_t mine = beyond.first_above(byte);
  std::array<Offset, 4> next{byte, 0, 0, 0};
  std::size_t n = 1;
  for (const Offset other : holes_->recent) {
    if (n == next.size() || other == 0) break;
    const std::size_t i = beyond.first_above(other);
    if (i != mine && i < beyond.size() && beyond[i].begin <= other) next[n++] = other;
  }
  holes_->recent = next;
}

std::uint8_t Receiver::sack_blocks(std::array<wire::SackBlock, 4>& blocks, std::uint8_t max) const {
  std::uint8_t n = 0;
  const auto& [duplicate, beyond, recent] = holes();
  std::array<std::size_t, 4> used{};
  used.fill(SIZE_MAX);
  if (duplicate.begin < duplicate.end) {
    blocks[n++] = {seq_of(duplicate.begin), seq_of(duplicate.end)};
    // RFC 2883 section 4 (4): with the range around it, if there is one, as the second block.
    const std::size_t i = beyond.first_above(duplicate.begin);
    if (n < max && i < beyond.size() && beyond[i].begin <= duplicate.begin) {
      used[n] = i;
      blocks[n++] = {seq_of(beyond[i].begin), seq_of(beyond[i].end)};
    }
  }
  for (const Offset byte : recent) {
    if (n == max || byte == 0) break;
    const std::size_t i = beyond.first_above(byte);
    if (i == beyond.size() || beyond[i].begin > byte) continue;
    if (std::find(used.begin(), used.begin() + n, i) != used.begin() + n) continue;
    used[n] = i;
    blocks[n++] = {seq_of(beyond[i].begin), seq_of(beyond[i].end)};
  }
  return n;
}

void Receiver::on_duplicate(Offset begin, Offset end) {
  if (begin >= end) return;
  if (begin < nxt) {
    holes_.make().duplicate = {begin, std::min(end, nxt)};
    return;
  }
  const RangeSet& there = beyond();
  const std::size_t i = there.first_above(begin);
  if (i == there.size() || there[i].begin >= end) return;
  holes_->duplicate = {std::max(there[i].begin, begin), std::min(there[i].end, end)};
}

Offset Receiver::wanted_edge(std::uint32_t mss) const {
  const Offset edge = read + capacity;
  // RFC 9293 section 3.8.6.2.2: silly window avoidance of the receiver.
  const Offset least = std::min<Offset>(capacity / 2, mss);
  return edge - adv >= least ? std::max(edge, adv) : adv;
}

std::uint16_t Receiver::offer_window(std::uint32_t mss, bool in_syn) {
  if (fin_received) return static_cast<std::uint16_t>(std::min<Offset>(std::max<Offset>(adv - nxt, 0) >> scale, 65535));
  const Offset edge = wanted_edge(mss);
  const std::uint8_t shift = in_syn ? 0 : scale;
  const Offset field = std::min<Offset>(std::max<Offset>(edge - nxt, 0) >> shift, 65535);
  adv = std::max(adv, nxt + (field << shift));
  return static_cast<std::uint16_t>(field);
}

bool Receiver::on_read(Offset new_read, std::uint32_t mss) {
  IOPKT_ASSERT(new_read >= read);
  IOPKT_ASSERT(new_read <= data_end());
  read = new_read;
  if (fin_received) return false;
  // An update of its own for a quarter of the buffer, or two segments when that is more; at the latest for half.
  // What the field cannot say (RFC 7323 section 2.2) is not news: without scaling every call of the user would send an update.
  const Offset most = Offset{65535} << scale, whole = std::min<Offset>(capacity, most);
  const Offset opened = std::min(read + capacity, nxt + most) - adv;
  return opened >= std::min<Offset>(std::max<Offset>(whole / 4, 2 * Offset{mss}), std::max<Offset>(whole / 2, 1));
}

void Receiver::begin_tuning(Duration round_trip, Instant now) {
  if (!tuning) tuning.make() = {.round_trip = round_trip, .read = read, .from = now};
}

void Receiver::time_round(std::optional<Duration> since_echo, std::uint32_t echo, Instant now) {
  Tuning& t = *tuning;
  if (since_echo) {
    // Each echo once: what comes later with the same one waited for the window or for its sender.
    if (echo == t.timed_echo && t.round_trip.count() != 0) return;
    t.timed_echo = echo;
    t.round_trip = t.round_trip.count() == 0 ? *since_echo : (7 * t.round_trip + *since_echo) / 8;
    return;
  }
  if (t.round_edge != 0 && nxt < t.round_edge) return;
  // At least a round trip, more when the window was not in use: the shortest counts.
  if (t.round_edge != 0 && (t.round_trip.count() == 0 || now - t.round_from < t.round_trip)) t.round_trip = now - t.round_from;
  t.round_edge = adv;
  t.round_from = now;
}

std::uint32_t Receiver::tune(std::uint32_t mss, Instant now) {
  if (!tuning || tuning->round_trip.count() == 0) return 0;
  const Duration passed = now - tuning->from, round = std::max(tuning->round_trip, kTuneLeast);
  if (passed < round) return 0;
  const Offset taken = read - std::exchange(tuning->read, read);
  tuning->from = now;
  // A longer pause between two looks is no longer round trip.
  if (passed >= 2 * round || fin_received || taken < capacity / 2) return 0;
  // More than the field can say is no use (RFC 7323 section 2.3).
  const Offset wanted = std::min<Offset>(2 * taken + 16 * Offset{mss}, Offset{65535} << scale);
  return wanted > Offset{capacity} ? static_cast<std::uint32_t>(wanted) : 0;
}

}  // namespace iopkt::tcp
