#include "tests/support/link.hpp"

#include <cmath>

#include "wire/ipv4.hpp"

namespace iopkt::sim {
namespace {

constexpr std::size_t kEthernet = 14;
constexpr std::size_t kMaxPacket = 1514;  // CoDel leaves a queue alone that holds no more than one (RFC 8289 section 5.4)

std::uint16_t ether_type(const Frame& frame) { return frame.size() > kEthernet + 20 ? load_be16(frame, 12) : std::uint16_t{0}; }
bool is_ip(const Frame& frame) { return ether_type(frame) == 0x0800 || ether_type(frame) == 0x86dd; }

}  // namespace

void Link::put(Instant now, Frame frame) {
  ++counts_.in;
  transmit_until(now);
  if (config_.rate_bps == 0) return fly(now, std::move(frame));
  if (queue_.size() >= config_.queue || queued_bytes_ + frame.size() > config_.queue_bytes) {
    ++counts_.queue_full;
    return;
  }
  queued_bytes_ += frame.size();
  queue_.push_back({now, std::move(frame)});
  transmit_until(now);
}

/// The transmitter takes the next frame when it is done with the one before.
void Link::transmit_until(Instant now) {
  while (!queue_.empty()) {
    const Instant start = std::max(free_at_, queue_.front().since);
    if (start > now) return;
    std::optional<Frame> frame = dequeue(start);
    if (!frame) continue;
    const auto bits = static_cast<std::int64_t>(frame->size() * 8);
    free_at_ = start + Duration{bits * 1'000'000'000 / static_cast<std::int64_t>(config_.rate_bps)};
    fly(free_at_, std::move(*frame));
  }
}

std::optional<Frame> Link::pop(Instant now, bool& ok_to_drop) {
  ok_to_drop = false;
  if (queue_.empty()) {
    first_above_time_.reset();
    return std::nullopt;
  }
  const Duration sojourn = now - queue_.front().since;
  Frame frame = std::move(queue_.front().frame);
  queue_.pop_front();
  queued_bytes_ -= frame.size();
  if (!config_.codel) return frame;
  if (sojourn < config_.codel->target || queued_bytes_ <= kMaxPacket) first_above_time_.reset();
  else if (!first_above_time_) first_above_time_ = now + config_.codel->interval;
  else ok_to_drop = now >= *first_above_time_;
  return frame;
}

/// RFC 8289 section 5.5; without CoDel it is the front of the queue.
std::optional<Frame> Link::dequeue(Instant now) {
  const auto control_law = [&](Instant t) {
    const double root = std::sqrt(static_cast<double>(std::max(count_, 1u)));
    return t + Duration{static_cast<std::int64_t>(static_cast<double>(config_.codel->interval.count()) / root)};
  };
  bool ok_to_drop = false;
  std::optional<Frame> frame = pop(now, ok_to_drop);
  if (!config_.codel) return frame;
  if (dropping_) {
    if (!ok_to_drop) dropping_ = false;
    while (frame && dropping_ && now >= drop_next_) {
      ++count_;
      if (config_.codel->ecn && mark_congestion(*frame)) {
        drop_next_ = control_law(drop_next_);
        return frame;
      }
      ++counts_.codel_dropped;
      frame = pop(now, ok_to_drop);
      if (!ok_to_drop) dropping_ = false;
      else drop_next_ = control_law(drop_next_);
    }
  } else if (frame && ok_to_drop) {
    if (!config_.codel->ecn || !mark_congestion(*frame)) {
      ++counts_.codel_dropped;
      frame = pop(now, ok_to_drop);
    }
    dropping_ = true;
    // A queue that was controlled a moment ago begins near the rate that held it.
    const std::uint32_t delta = count_ - lastcount_;
    count_ = delta > 1 && now - drop_next_ < config_.codel->interval * 16 ? delta : 1;
    drop_next_ = control_law(now);
    lastcount_ = count_;
  }
  return frame;
}

/// ECT becomes CE (RFC 3168 section 5). False: the frame's sender knows no ECN.
bool Link::mark_congestion(Frame& frame) {
  if (!is_ip(frame)) return false;
  const std::size_t at = kEthernet + 1;
  const bool v4 = ether_type(frame) == 0x0800;
  const unsigned shift = v4 ? 0 : 4;
  const std::uint8_t byte = load_u8(frame, at);
  if ((byte >> shift & 3) == 0) return false;
  store_u8(frame, at, static_cast<std::uint8_t>(byte | 3u << shift));
  if (v4) wire::store_ipv4_checksum(MutableBytes{frame}.subspan(kEthernet, std::to_integer<std::size_t>(frame[kEthernet] & std::byte{15}) * 4));
  ++counts_.marked;
  return true;
}

bool Link::lose() {
  bool lost = random_.chance(config_.loss);
  if (config_.lose_every != 0 && counts_.in % config_.lose_every == 0) lost = true;
  if (config_.bursts) {
    if (random_.chance(bad_ ? config_.bursts->to_good : config_.bursts->to_bad)) bad_ = !bad_;
    lost = random_.chance(bad_ ? config_.bursts->loss_bad : config_.bursts->loss_good) || lost;
  }
  return lost;
}

void Link::fly(Instant at, Frame frame) {
  if (lose()) {
    ++counts_.lost;
    return;
  }
  if (config_.mtu != 0 && is_ip(frame) && frame.size() - kEthernet > config_.mtu) {
    ++counts_.too_long;
    return;
  }
  // Without the wish no number is drawn: seeds mean what they meant.
  if (config_.mark > 0 && random_.chance(config_.mark)) mark_congestion(frame);
  Instant arrives = at + config_.delay;
  if (random_.chance(config_.reorder)) {
    ++counts_.reordered;
    const Duration most = config_.reorder_by != 0ns ? config_.reorder_by : config_.delay * 3;
    arrives += Duration{static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(most.count()) + 1))};
  }
  if (random_.chance(config_.duplicate)) {
    ++counts_.duplicated;
    flights_.emplace(arrives + config_.delay / 2, frame);
  }
  // ARP has no checksum of its own: a broken one would teach a wrong neighbour, which is no fault of the stack.
  if (is_ip(frame) && random_.chance(config_.corrupt)) {
    ++counts_.corrupted;
    frame[random_.below(frame.size())] ^= static_cast<std::byte>(1u << random_.below(8));
  }
  flights_.emplace(arrives, std::move(frame));
}

std::optional<Frame> Link::take(Instant now) {
  transmit_until(now);
  if (flights_.empty() || flights_.begin()->first > now) return std::nullopt;
  Frame frame = std::move(flights_.begin()->second);
  flights_.erase(flights_.begin());
  ++counts_.out;
  return frame;
}

Instant Link::next() const {
  const Instant arrival = flights_.empty() ? Instant::never() : flights_.begin()->first;
  return queue_.empty() ? arrival : std::min(arrival, std::max(free_at_, queue_.front().since));
}

}  // namespace iopkt::sim
