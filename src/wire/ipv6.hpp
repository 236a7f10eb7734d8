// Internet Protocol version 6 headers: RFC 8200 (format, extension headers, fragments), RFC 2474 and 3168 (traffic class).
// No state, no I/O, no allocation. What an extension header means for a packet is ipv6/extensions.hpp's matter.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.hpp"
#include "base/expected.hpp"
#include "wire/address.hpp"
#include "wire/parse_error.hpp"

namespace iopkt::wire {

struct Ipv6Header {
  std::uint8_t tos{};          ///< Traffic class: DSCP << 2 | ECN
  std::uint32_t flow_label{};  ///< 20 bits
  std::uint16_t payload_len{};  ///< Bytes after the 40 of this header: extension headers count
  IpProtocol next_header{};
  std::uint8_t hop_limit{};
  Ipv6Address src, dst;
  friend bool operator==(const Ipv6Header&, const Ipv6Header&) = default;
};

/// Shape of a packet. Owns nothing and must not outlive its bytes.
class Ipv6View {
 public:
  static constexpr std::size_t kHeaderLen = 40;
  static constexpr std::size_t kMaxPayloadLen = 65535;  ///< Without jumbograms (RFC 2675)
  static constexpr std::uint32_t kMinMtu = 1280;        ///< RFC 8200 section 5: what every link carries

  /// Takes one packet from the front of `bytes`; what its payload length leaves over is padding.
  /// Errors: truncated (bytes end before the header, or before the payload length says); bad_version (not 6).
  static Expected<Ipv6View, ParseError> parse(Bytes bytes) {
    auto view = parse_header(bytes);
    if (view && kHeaderLen + view->payload_len() > bytes.size()) return unexpected(ParseError::truncated);
    return view;
  }
  /// The same, but the payload may be cut short (as in an ICMPv6 error): payload() is what there is.
  static Expected<Ipv6View, ParseError> parse_header(Bytes bytes) {
    if (bytes.size() < kHeaderLen) return unexpected(ParseError::truncated);
    if (load_u8(bytes, 0) >> 4 != 6) return unexpected(ParseError::bad_version);
    return Ipv6View{bytes.first(std::min(bytes.size(), kHeaderLen + load_be16(bytes, At::payload_len)))};
  }

  Ipv6Header header() const {
    return {.tos = tos(),
            .flow_label = load_be32(bytes_, 0) & 0xfffff,
            .payload_len = payload_len(),
            .next_header = next_header(),
            .hop_limit = hop_limit(),
            .src = src(),
            .dst = dst()};
  }
  std::uint8_t tos() const { return static_cast<std::uint8_t>(load_be16(bytes_, 0) >> 4); }
  std::uint16_t payload_len() const { return load_be16(bytes_, At::payload_len); }
  IpProtocol next_header() const { return static_cast<IpProtocol>(load_u8(bytes_, At::next_header)); }
  std::uint8_t hop_limit() const { return load_u8(bytes_, At::hop_limit); }
  Ipv6Address src() const { return load_ipv6(bytes_, At::src); }
  Ipv6Address dst() const { return load_ipv6(bytes_, At::dst); }
  Bytes payload() const { return bytes_.subspan(kHeaderLen); }
  /// Header and payload, without padding.
  Bytes packet() const { return bytes_; }

  struct At {
    static constexpr std::size_t payload_len = 4, next_header = 6, hop_limit = 7, src = 8, dst = 24;
  };

 private:
  explicit Ipv6View(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

/// Writes `h` to the front of `out`, 40 bytes or more; answers 40. flow_label is at most 0xfffff.
std::size_t encode(const Ipv6Header& h, MutableBytes out);

/// The fragment extension header (RFC 8200 section 4.5).
struct Ipv6FragmentHeader {
  static constexpr std::size_t kLen = 8;
  IpProtocol next_header{};
  std::uint16_t offset{};  ///< In bytes: 0..65528, a multiple of 8
  bool more{};
  std::uint32_t id{};
  /// A whole packet in a single fragment (RFC 6946).
  constexpr bool is_atomic() const { return offset == 0 && !more; }
  friend bool operator==(const Ipv6FragmentHeader&, const Ipv6FragmentHeader&) = default;

  /// From the front of `bytes`. Errors: truncated (below 8 bytes).
  static Expected<Ipv6FragmentHeader, ParseError> parse(Bytes bytes);
};
/// Writes 8 bytes; answers 8.
std::size_t encode(const Ipv6FragmentHeader& h, MutableBytes out);

/// Headers that may stand before a transport's: hop-by-hop, routing, fragment, destination options, authentication.
constexpr bool is_extension(IpProtocol p) {
  return p == IpProtocol::hop_by_hop || p == IpProtocol::routing || p == IpProtocol::fragment ||
         p == IpProtocol::destination_options || p == IpProtocol::ah;
}

/// Bounds of a walk over extension headers (RFC 8504 section 5.3 lets a host set them; RFC 8883, RFC 9098 say why): more
/// than any sender in use needs.
inline constexpr std::size_t kExtensionHeadersMax = 8;
inline constexpr std::size_t kExtensionBytesMax = 512;
/// What has to be one piece to find a packet's transport header and its ports.
inline constexpr std::size_t kIpv6WalkLen = Ipv6View::kHeaderLen + kExtensionBytesMax + 8;

/// One extension header at the front of `bytes`: its length in bytes, by its kind. Errors: truncated.
Expected<std::size_t, ParseError> extension_len(IpProtocol kind, Bytes bytes);

/// The routing header that is sent, and read where it tells whom a packet was for (RFC 8754).
inline constexpr std::uint8_t kSegmentRoutingType = 4;

/// Extension headers to send: `bytes` begins with one of the kind `first`, each says what follows, but for the last one.
struct Ipv6Extensions {
  IpProtocol first{};
  Bytes bytes;
  std::optional<Ipv6Address> last_segment{};  ///< of the routing header, which is filled in with it: whom the packet is for at last
};

/// Where the transport header of a packet is, without a judgement on what stands before.
struct UpperLayer {
  IpProtocol protocol{};
  std::size_t offset{};                       ///< From the packet's first byte
  std::size_t named_at{};                     ///< Of the Next Header field that says `protocol`
  std::optional<Ipv6FragmentHeader> fragment; ///< The last one met
  std::optional<Ipv6Address> last_segment{};  ///< Of a routing header of type 4 with segments left: whom the packet is for at last
};
/// `packet` begins with an IPv6 header. Stops behind the fragment header of a fragment other than the first.
/// Errors: truncated, bad_version; bad_length (over the bounds above).
Expected<UpperLayer, ParseError> find_upper_layer(Bytes packet);

/// Options of hop-by-hop and destination headers (RFC 8200 section 4.2): one at a time, padding left out.
enum class Ipv6OptionType : std::uint8_t { pad1 = 0, padn = 1, router_alert = 5, jumbo = 0xc2, home_address = 0xc9 };
struct Ipv6Option {
  std::uint8_t type{};
  std::size_t offset{};  ///< Of the type byte, from the start of the extension header
  Bytes data;
};
class Ipv6OptionReader {
 public:
  /// `header`: the whole extension header, as extension_len() bounds it.
  explicit Ipv6OptionReader(Bytes header) : header_(header) {}
  /// nullopt at the end. Errors: truncated (an option reaches over the end).
  Expected<std::optional<Ipv6Option>, ParseError> next();

 private:
  Bytes header_;
  std::size_t at_ = 2;
};

}  // namespace iopkt::wire
