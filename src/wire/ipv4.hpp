// Internet Protocol version 4 headers: RFC 791, RFC 2474 (DSCP), RFC 3168 (ECN), RFC 6864 (identification).
// No state, no I/O, no allocation. Options as such: ipv4_options.hpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "base/bytes.hpp"
#include "base/expected.hpp"
#include "wire/address.hpp"
#include "wire/parse_error.hpp"

namespace iopkt::wire {

/// The bytes between the 20th and the end of the header, as they are on the wire.
struct Ipv4OptionBytes {
  static constexpr std::size_t kMaxLen = 40;
  std::array<std::byte, kMaxLen> bytes{};  ///< The first `len`; the others are 0.
  std::uint8_t len{};                      ///< 0..40
  Bytes span() const { return Bytes{bytes}.first(len); }
  bool empty() const { return len == 0; }
  friend bool operator==(const Ipv4OptionBytes&, const Ipv4OptionBytes&) = default;
};

struct Ipv4Header {
  std::uint8_t tos{};  ///< DSCP << 2 | ECN
  std::uint16_t id{};
  bool df{}, mf{};                  ///< Don't fragment; more fragments
  std::uint16_t fragment_offset{};  ///< In bytes: 0..65528, a multiple of 8
  std::uint8_t ttl{};
  IpProtocol protocol{};
  Ipv4Address src, dst;
  std::uint16_t payload_len{};  ///< Bytes after the header; the sum of both is at most 65535
  Ipv4OptionBytes options;

  constexpr std::uint8_t dscp() const { return tos >> 2; }
  constexpr std::uint8_t ecn() const { return tos & 3; }
  constexpr bool is_fragment() const { return mf || fragment_offset != 0; }
  friend bool operator==(const Ipv4Header&, const Ipv4Header&) = default;
};

/// Shape of a packet. Owns nothing and must not outlive its bytes.
class Ipv4View {
 public:
  static constexpr std::size_t kMinHeaderLen = 20;
  static constexpr std::size_t kMaxHeaderLen = 60;
  static constexpr std::size_t kMaxPacketLen = 65535;
  static constexpr std::size_t kChecksumOffset = 10;

  /// Takes one packet from the front of `bytes`; what its total length leaves over is padding.
  /// Errors: truncated (bytes end before the header, or before the total length says); bad_version (not 4);
  ///         bad_length (header below 20 bytes, or longer than the total length). Judges no checksum.
  static Expected<Ipv4View, ParseError> parse(Bytes bytes) {
    auto view = parse_header(bytes);
    if (!view) return view;
    if (view->total_len() > bytes.size()) return unexpected(ParseError::truncated);
    view->bytes_ = bytes.first(view->total_len());
    return view;
  }
  /// The same, but the payload may be cut short (as in an ICMP error, RFC 792): payload() is what there is.
  static Expected<Ipv4View, ParseError> parse_header(Bytes bytes) {
    if (bytes.size() < kMinHeaderLen) return unexpected(ParseError::truncated);
    const std::uint8_t first = load_u8(bytes, 0);
    if (first >> 4 != 4) return unexpected(ParseError::bad_version);
    const std::size_t header_len = std::size_t{first} % 16 * 4;
    const std::size_t total_len = load_be16(bytes, At::total_len);
    if (header_len < kMinHeaderLen || header_len > total_len) return unexpected(ParseError::bad_length);
    if (header_len > bytes.size()) return unexpected(ParseError::truncated);
    return Ipv4View{bytes.first(std::min(total_len, bytes.size())), header_len};
  }

  /// Copies the options too: for one field take its accessor.
  Ipv4Header header() const;

  std::uint8_t tos() const { return load_u8(bytes_, At::tos); }
  std::size_t total_len() const { return load_be16(bytes_, At::total_len); }
  std::uint16_t id() const { return load_be16(bytes_, At::id); }
  bool df() const { return (load_u8(bytes_, At::fragment) & 0x40) != 0; }
  bool mf() const { return (load_u8(bytes_, At::fragment) & 0x20) != 0; }
  /// In bytes: 0..65528.
  std::uint16_t fragment_offset() const {
    return static_cast<std::uint16_t>(load_be16(bytes_, At::fragment) << 3);
  }
  bool is_fragment() const { return (load_be16(bytes_, At::fragment) & 0x3fff) != 0; }
  std::uint8_t ttl() const { return load_u8(bytes_, At::ttl); }
  IpProtocol protocol() const { return static_cast<IpProtocol>(load_u8(bytes_, At::protocol)); }
  std::uint16_t checksum() const { return load_be16(bytes_, kChecksumOffset); }
  bool checksum_ok() const;
  Ipv4Address src() const { return load_ipv4(bytes_, At::src); }
  Ipv4Address dst() const { return load_ipv4(bytes_, At::dst); }

  /// 20..60
  std::size_t header_len() const { return header_len_; }
  Bytes header_bytes() const { return bytes_.first(header_len_); }
  Bytes options() const { return bytes_.subspan(kMinHeaderLen, header_len_ - kMinHeaderLen); }
  Bytes payload() const { return bytes_.subspan(header_len_); }
  /// Header and payload, without padding.
  Bytes packet() const { return bytes_; }

  struct At {
    static constexpr std::size_t tos = 1, total_len = 2, id = 4, fragment = 6, ttl = 8, protocol = 9,
                                 src = 12, dst = 16;
  };

 private:
  Ipv4View(Bytes bytes, std::size_t header_len) : bytes_(bytes), header_len_(header_len) {}
  Bytes bytes_;
  std::size_t header_len_;
};

/// 20..60: options are padded with end-of-list bytes to a multiple of 4.
constexpr std::size_t encoded_len(const Ipv4Header& h) {
  return Ipv4View::kMinHeaderLen + (std::size_t{h.options.len} + 3) / 4 * 4;
}

/// Writes `h` with its header checksum to the front of `out`, encoded_len(h) bytes or more; answers that
/// length.
std::size_t encode(const Ipv4Header& h, MutableBytes out);

/// Computes the checksum of the header in `header`, exactly the header's bytes, and stores it.
void store_ipv4_checksum(MutableBytes header);

/// A forwarder's change in place: TTL less one, checksum kept right (RFC 1624). The TTL is at least 1.
void decrement_ttl(MutableBytes header);

}  // namespace iopkt::wire
