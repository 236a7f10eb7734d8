// User Datagram Protocol: RFC 768. No state, no I/O, no allocation.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.hpp"
#include "base/expected.hpp"
#include "wire/address.hpp"
#include "wire/parse_error.hpp"

namespace iopkt::wire {

/// Meaning. src 0 = no answer wanted; payload_len counts the bytes after the header, 0..65527.
struct UdpHeader {
  Port src, dst;
  std::uint16_t payload_len{};
  friend constexpr bool operator==(const UdpHeader&, const UdpHeader&) = default;
};

/// Shape. Owns nothing and must not outlive its bytes. Once parse() has accepted them, no accessor can reach
/// outside.
class UdpView {
 public:
  static constexpr std::size_t kHeaderLen = 8;
  static constexpr std::size_t kLengthOffset = 4;
  static constexpr std::size_t kChecksumOffset = 6;
  static constexpr std::size_t kMaxPayloadLen = 65535 - kHeaderLen;

  /// Takes one datagram from the front of `bytes`; what its length field leaves over is padding.
  /// Errors: truncated (bytes end before the header, or before the length field says);
  ///         bad_length (length field below 8).
  static Expected<UdpView, ParseError> parse(Bytes bytes) {
    if (bytes.size() < kHeaderLen) return unexpected(ParseError::truncated);
    const std::size_t len = load_be16(bytes, At::len);
    if (len < kHeaderLen) return unexpected(ParseError::bad_length);
    if (len > bytes.size()) return unexpected(ParseError::truncated);
    return UdpView{bytes.first(len)};
  }
  UdpHeader header() const {
    return {
        .src = src(), .dst = dst(), .payload_len = static_cast<std::uint16_t>(bytes_.size() - kHeaderLen)};
  }
  Port src() const { return Port{load_be16(bytes_, At::src)}; }
  Port dst() const { return Port{load_be16(bytes_, At::dst)}; }
  /// 0: the sender computed none (IPv4 only).
  std::uint16_t checksum() const { return load_be16(bytes_, kChecksumOffset); }
  Bytes payload() const { return bytes_.subspan(kHeaderLen); }
  /// Header and payload, without padding: what the checksum covers beside the pseudo-header.
  Bytes datagram() const { return bytes_; }

 private:
  struct At {
    static constexpr std::size_t src = 0, dst = 2, len = 4;
  };
  explicit UdpView(Bytes bytes) : bytes_(bytes) {}
  friend std::size_t encode(const UdpHeader& h, MutableBytes out);
  Bytes bytes_;
};

/// Writes `h` with a zero checksum to the front of `out`, 8 bytes or more; answers 8. payload_len is
/// 0..65527.
inline std::size_t encode(const UdpHeader& h, MutableBytes out) {
  IOPKT_ASSERT(h.payload_len <= UdpView::kMaxPayloadLen);
  store_be16(out, UdpView::At::src, h.src.value);
  store_be16(out, UdpView::At::dst, h.dst.value);
  store_be16(out, UdpView::At::len, static_cast<std::uint16_t>(h.payload_len + UdpView::kHeaderLen));
  store_be16(out, UdpView::kChecksumOffset, 0);
  return UdpView::kHeaderLen;
}

/// The field's value for a finished partial sum: 0, which would mean "none", is sent as 0xffff (RFC 768).
constexpr std::uint16_t udp_checksum_field(std::uint16_t finished) {
  return finished == 0 ? 0xffff : finished;
}

}  // namespace iopkt::wire
