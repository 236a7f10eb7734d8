// Connections in TIME-WAIT: a table of their own, because there may be a million, and all that each still needs is to answer a
// late segment, to keep its port and to end. Each costs less than 100 bytes with its place in the table.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "socket/port_table.hpp"
#include "stack/flow.hpp"
#include "tcp/time_wait.hpp"

namespace iopkt::stack {

/// @context One thread.
/// @cost    O(1) for everything but the insertion that doubles the table. Memory is taken in pieces and stays.
class TimeWaitTable {
 public:
  using Place = std::uint32_t;
  static constexpr Place kNone = UINT32_MAX;
  static constexpr std::uint8_t kNoShard = 255;

  /// What belongs to a connection besides its numbers.
  struct Owner {
    socket::BindingPtr binding;            ///< keeps the local port
    std::uint8_t foreign_shard = kNoShard; ///< where a message::FlowAdd of it went
    std::uint8_t fib = 0;
  };

  TimeWaitTable(HashKey key, std::size_t most) : hash_{key}, most_(most) {}

  /// kNone: there is none.
  Place find(const FlowKey& flow) const;
  /// False: the table is full. The flow is not in it yet.
  bool add(const FlowKey& flow, const tcp::TimeWait& wait, const Owner& owner);
  void remove(Place place);

  tcp::TimeWait wait(Place place, Instant now) const;
  /// After on_segment(): only `until` may have changed.
  void restart(Place place, Instant until);
  /// RFC 5961 section 7: whether one more challenge ACK may go. So many in a row, and as many in each period after that.
  bool may_challenge(Place place, Instant now, std::uint32_t limit);
  const FlowKey& flow(Place place) const { return at(place).flow; }
  std::uint8_t foreign_shard(Place place) const { return at(place).foreign_shard; }
  std::uint8_t fib(Place place) const { return at(place).fib; }

  /// Removes those whose time has come, the oldest first: on_gone(flow, foreign_shard) for each. All wait equally long; when
  /// net.inet.tcp.msl was changed in between, one may stay for as long as those before it.
  template <class F>
  void expire(Instant now, F on_gone) {
    while (first_ != kNone && static_cast<std::int32_t>(at(first_).until_ms - milliseconds(now)) <= 0) {
      const FlowKey flow = at(first_).flow;
      const std::uint8_t shard = at(first_).foreign_shard;
      remove(first_);
      on_gone(flow, shard);
    }
  }
  /// When expire() has to be called; `now` that of the last turn. Instant::never() when nothing waits.
  Instant next_deadline(Instant now) const { return first_ == kNone ? Instant::never() : instant(at(first_).until_ms, now); }

  template <class F>
  void for_each(F visit) const {
    for (Place p = first_; p != kNone; p = at(p).later) visit(at(p).flow);
  }
  std::size_t size() const { return size_; }
  /// Bytes of the table as it is, without the claims to ports.
  std::size_t memory() const;

 private:
  struct Entry {
    FlowKey flow;
    tcp::SeqNum snd_nxt, rcv_nxt;
    std::uint32_t ts_recent, timestamp_offset;
    std::uint32_t until_ms;        ///< of the shard's clock, modulo 2^32
    std::uint32_t held;            ///< place of the binding in held_
    Place chain;                   ///< the next of this bucket, or the next free place
    Place earlier, later;          ///< by `until`
    std::uint32_t challenged_ms;   ///< when all challenge ACKs of before count no more
    std::uint16_t window;
    std::uint8_t foreign_shard;
    std::uint8_t fib : 7;
    std::uint8_t timestamps : 1;
  };
  static_assert(sizeof(Entry) <= 92);
  static constexpr std::size_t kPiece = 1024;  ///< entries
  static constexpr std::size_t kFirstBuckets = 1024;

  /// A claim to a port that several connections may share.
  struct Held {
    socket::BindingPtr binding;
    std::uint32_t count = 0;
  };

  static std::uint32_t milliseconds(Instant at) { return static_cast<std::uint32_t>(at.milliseconds()); }
  static std::uint32_t milliseconds_up(Instant at) { return static_cast<std::uint32_t>((at.ns + 999'999) / 1'000'000); }
  static Instant instant(std::uint32_t ms, Instant now) {
    const auto ahead = static_cast<std::int32_t>(ms - milliseconds(now));
    return {(now.milliseconds() + ahead) * 1'000'000};
  }
  Entry& at(Place place) { return pieces_[place / kPiece][place % kPiece]; }
  const Entry& at(Place place) const { return pieces_[place / kPiece][place % kPiece]; }
  std::size_t bucket_of(const FlowKey& flow) const { return hash_(flow) & (buckets_.size() - 1); }
  void grow();
  Place take_place();
  void append(Place place);
  void unlink(Place place);
  std::uint32_t hold(const socket::BindingPtr& binding);
  void let_go(std::uint32_t held);

  FlowKeyHash hash_;
  std::size_t most_, size_ = 0;
  std::vector<Place> buckets_;
  std::vector<std::unique_ptr<Entry[]>> pieces_;
  Place free_ = kNone, first_ = kNone, last_ = kNone;
  std::vector<Held> held_;
  std::vector<std::uint32_t> free_held_;
  std::unordered_map<const socket::Binding*, std::uint32_t> held_by_binding_;
};

}  // namespace iopkt::stack
