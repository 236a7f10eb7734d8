// The rings between a program and a stream socket, as the stack sees them: memory and 64-bit positions.
//
// A position counts bytes since the stream began; position p lies at byte p % size. In the daemon the memory is a client's
// arena, in tests a vector. Positions that a client moves come in through progress(), checked; the stack never reads its
// own positions back from shared memory.
#pragma once

#include <cstdint>

#include "base/bytes.hpp"

namespace iopkt::socket {

struct RingMemory {
  std::byte* base = nullptr;
  std::uint32_t size = 0;  ///< a power of two; 0: no ring

  /// The bytes of [position, position + length) as at most two spans; length <= size.
  struct Spans {
    MutableBytes first, second;
  };
  Spans at(std::uint64_t position, std::uint32_t length) const {
    IOPKT_ASSERT(length <= size);
    const auto start = static_cast<std::uint32_t>(position & (size - 1));
    const std::uint32_t before_wrap = length < size - start ? length : size - start;
    return {{base + start, before_wrap}, {base, length - before_wrap}};
  }
  void write(std::uint64_t position, Bytes bytes) const {
    const Spans to = at(position, static_cast<std::uint32_t>(bytes.size()));
    std::memcpy(to.first.data(), bytes.data(), to.first.size());
    if (!to.second.empty()) std::memcpy(to.second.data(), bytes.data() + to.first.size(), to.second.size());
  }
};

/// What a program has given us to send: [head, tail). TCP refers to it until it is acknowledged.
struct SendRing {
  RingMemory memory;
  std::uint64_t head = 0;  ///< acknowledged: the program may reuse what lies before
  std::uint64_t tail = 0;  ///< as the client said, checked

  /// False: the client's tail is impossible.
  [[nodiscard]] bool move_tail(std::uint64_t to) {
    if (to - head > memory.size || to - tail > memory.size) return false;
    tail = to;
    return true;
  }
};

/// What a program has not read yet: [head, tail). Out-of-order bytes lie beyond the tail.
struct ReceiveRing {
  RingMemory memory;
  std::uint64_t head = 0;  ///< read, as the client said, checked
  std::uint64_t tail = 0;  ///< in order so far

  /// False: the client's head is impossible.
  [[nodiscard]] bool move_head(std::uint64_t to) {
    if (to - head > tail - head) return false;
    head = to;
    return true;
  }
  std::uint32_t unread() const { return static_cast<std::uint32_t>(tail - head); }
};


}  // namespace iopkt::socket
