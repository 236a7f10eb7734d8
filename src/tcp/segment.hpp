// What goes into and comes out of the TCP machine: headers without ports, payload as ranges. RFC 9293 section 3.1.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/assert.hpp"
#include "packet/drops.hpp"
#include "wire/tcp.hpp"

namespace iopkt::tcp {

using packet::Drop;
using wire::SeqNum;

/// One received segment (after GRO possibly the sum of several). The checksum has been verified.
struct SegmentIn {
  SeqNum seq{}, ack{};
  std::uint16_t flags{};    ///< wire::TcpFlag, or'ed
  std::uint16_t window{};   ///< As in the header: not scaled.
  std::uint16_t urgent{};
  const wire::TcpOptions& options;
  std::uint32_t payload_len{};  ///< 0 .. 2^20
  std::uint16_t packets{1};     ///< As which it came.
  std::uint8_t ecn{};           ///< Of IP (RFC 3168 section 5): 0 not ECN-capable, 1 ECT(1), 2 ECT(0), 3 congestion experienced.

  bool ce() const { return ecn == 3; }
  bool has(wire::TcpFlag f) const { return (flags & f) != 0; }
  /// SEG.LEN: data, SYN and FIN.
  std::uint32_t length() const { return payload_len + (has(wire::syn) ? 1u : 0u) + (has(wire::fin) ? 1u : 0u); }
};

/// Bytes [from, from + length) of the segment's payload belong at stream position to_position of the receive ring.
struct Copy {
  std::uint32_t from{};
  std::uint64_t to_position{};
  std::uint32_t length{};
  friend bool operator==(const Copy&, const Copy&) = default;
};

/// The copies that one segment asks for: in order, disjoint, never a byte that was received before. More than kMax holes
/// in one segment: the rest of it is not accepted and the peer sends it again.
class Copies {
 public:
  static constexpr std::size_t kMax = 8;
  void push(const Copy& c) {
    IOPKT_ASSERT(count_ < kMax);
    items_[count_++] = c;
  }
  bool full() const { return count_ == kMax; }
  bool empty() const { return count_ == 0; }
  void clear() { count_ = 0; }
  std::size_t size() const { return count_; }
  const Copy* begin() const { return items_.data(); }
  const Copy* end() const { return items_.data() + count_; }
  const Copy& operator[](std::size_t i) const { return items_[i]; }

 private:
  std::array<Copy, kMax> items_;
  std::size_t count_{};
};

/// One segment to send. Ports, checksum and the IP header are the caller's.
struct SegmentOut {
  SeqNum seq{}, ack{};
  std::uint16_t flags{};
  std::uint16_t window{};  ///< As in the header: scaled already.
  std::uint16_t urgent{};
  wire::TcpOptions options;
  std::uint64_t payload_position{};  ///< Stream position in the send ring of the first byte.
  std::uint32_t payload_len{};       ///< May span many segments; the header and payload together fit in 65535 - 60 bytes.
  std::uint16_t gso_size{};          ///< Payload of each segment on the wire when payload_len is above it; else 0.
  bool retransmission{};             ///< For statistics and traces.
  bool ect{};                        ///< IP is to say ECT(0).

  bool has(wire::TcpFlag f) const { return (flags & f) != 0; }
};

/// What became of a received segment.
struct SegmentResult {
  /// Set: the segment was not accepted (an answer may still be due in poll_output()). To be counted by the caller.
  std::optional<Drop> drop;
  /// TIME-WAIT, and this SYN may open a new connection on the same pair of endpoints (RFC 9293 section 3.10.7.4, RFC 6191):
  /// the caller gives up this connection and hands the segment to the listener with new_iss_floor below its new ISS.
  bool reopen{};
};

}  // namespace iopkt::tcp
