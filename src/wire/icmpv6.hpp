// Internet Control Message Protocol for IPv6: RFC 4443 (errors, echo), RFC 4861 (numbers of neighbour discovery), RFC 2710,
// 3810 (of listener discovery). The messages of neighbour discovery: nd.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.hpp"
#include "base/expected.hpp"
#include "wire/address.hpp"
#include "wire/parse_error.hpp"

namespace iopkt::wire {

/// Other values than the named occur.
enum class Icmpv6Type : std::uint8_t {
  destination_unreachable = 1,
  packet_too_big = 2,
  time_exceeded = 3,
  parameter_problem = 4,
  echo_request = 128,
  echo_reply = 129,
  listener_query = 130,
  listener_report = 131,
  listener_done = 132,
  router_solicitation = 133,
  router_advertisement = 134,
  neighbour_solicitation = 135,
  neighbour_advertisement = 136,
  redirect = 137,
  listener_report_v2 = 143,
};

/// Codes of destination_unreachable.
enum class Icmpv6Unreachable : std::uint8_t {
  no_route = 0,
  administratively_prohibited = 1,
  beyond_scope = 2,
  address = 3,
  port = 4,
  failed_policy = 5,
  reject_route = 6,
};
/// Codes of time_exceeded.
enum class Icmpv6TimeExceeded : std::uint8_t { in_transit = 0, reassembly = 1 };
/// Codes of parameter_problem. incomplete_chain: RFC 7112.
enum class Icmpv6ParameterProblem : std::uint8_t { header_field = 0, next_header = 1, option = 2, incomplete_chain = 3 };

/// The first eight bytes without the checksum; `rest` are the last four, by type.
struct Icmpv6Header {
  Icmpv6Type type{};
  std::uint8_t code{};
  std::uint32_t rest{};

  constexpr std::uint16_t identifier() const { return static_cast<std::uint16_t>(rest >> 16); }
  constexpr std::uint16_t sequence() const { return static_cast<std::uint16_t>(rest); }
  /// packet_too_big
  constexpr std::uint32_t mtu() const { return rest; }
  /// parameter_problem: offset of the offending byte in the packet that is answered.
  constexpr std::uint32_t pointer() const { return rest; }
  /// RFC 4443 section 2.1: the high bit is clear.
  constexpr bool is_error() const { return static_cast<std::uint8_t>(type) < 128; }

  static constexpr Icmpv6Header echo(Icmpv6Type type, std::uint16_t identifier, std::uint16_t sequence) {
    return {.type = type, .code = 0, .rest = std::uint32_t{identifier} << 16 | sequence};
  }
  static constexpr Icmpv6Header unreachable(Icmpv6Unreachable code) {
    return {.type = Icmpv6Type::destination_unreachable, .code = static_cast<std::uint8_t>(code), .rest = 0};
  }
  static constexpr Icmpv6Header too_big(std::uint32_t mtu) {
    return {.type = Icmpv6Type::packet_too_big, .code = 0, .rest = mtu};
  }
  static constexpr Icmpv6Header time_exceeded(Icmpv6TimeExceeded code) {
    return {.type = Icmpv6Type::time_exceeded, .code = static_cast<std::uint8_t>(code), .rest = 0};
  }
  static constexpr Icmpv6Header parameter_problem(Icmpv6ParameterProblem code, std::uint32_t pointer) {
    return {.type = Icmpv6Type::parameter_problem, .code = static_cast<std::uint8_t>(code), .rest = pointer};
  }
  friend constexpr bool operator==(const Icmpv6Header&, const Icmpv6Header&) = default;
};

/// Shape of a message. Owns nothing and must not outlive its bytes. The checksum needs the IPv6 addresses: the caller's.
class Icmpv6View {
 public:
  static constexpr std::size_t kHeaderLen = 8;
  static constexpr std::size_t kChecksumOffset = 2;

  /// Takes the whole of `bytes` as one message. Errors: truncated (below 8 bytes).
  static Expected<Icmpv6View, ParseError> parse(Bytes bytes) {
    if (bytes.size() < kHeaderLen) return unexpected(ParseError::truncated);
    return Icmpv6View{bytes};
  }
  Icmpv6Header header() const { return {.type = type(), .code = load_u8(bytes_, 1), .rest = load_be32(bytes_, 4)}; }
  Icmpv6Type type() const { return static_cast<Icmpv6Type>(load_u8(bytes_, 0)); }
  std::uint16_t checksum() const { return load_be16(bytes_, kChecksumOffset); }
  Bytes payload() const { return bytes_.subspan(kHeaderLen); }
  Bytes message() const { return bytes_; }

 private:
  explicit Icmpv6View(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

/// Writes the header with a zero checksum to the front of `out`, 8 bytes or more; answers 8.
inline std::size_t encode(const Icmpv6Header& h, MutableBytes out) {
  store_u8(out, 0, static_cast<std::uint8_t>(h.type));
  store_u8(out, 1, h.code);
  store_be16(out, Icmpv6View::kChecksumOffset, 0);
  store_be32(out, 4, h.rest);
  return Icmpv6View::kHeaderLen;
}

/// Computes the checksum of `message`, exactly the message's bytes (8 or more), and stores it.
void store_icmpv6_checksum(MutableBytes message, const Ipv6Address& src, const Ipv6Address& dst);

}  // namespace iopkt::wire
