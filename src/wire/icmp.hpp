// Internet Control Message Protocol for IPv4: RFC 792, RFC 950 (address mask), RFC 1122 3.2.2 (codes), RFC
// 1191 (next-hop MTU), RFC 1812 (codes 13..15), RFC 4884 (extended messages are read as plain ones).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.hpp"
#include "base/expected.hpp"
#include "wire/address.hpp"
#include "wire/parse_error.hpp"

namespace iopkt::wire {

/// Other values than the named occur.
enum class IcmpType : std::uint8_t {
  echo_reply = 0,
  destination_unreachable = 3,
  source_quench = 4,  ///< Deprecated by RFC 6633: neither sent nor obeyed.
  redirect = 5,
  echo_request = 8,
  router_advertisement = 9,
  router_solicitation = 10,
  time_exceeded = 11,
  parameter_problem = 12,
  timestamp = 13,
  timestamp_reply = 14,
  address_mask_request = 17,
  address_mask_reply = 18,
};

/// Codes of destination_unreachable.
enum class IcmpUnreachable : std::uint8_t {
  network = 0,
  host = 1,
  protocol = 2,
  port = 3,
  fragmentation_needed = 4,
  source_route_failed = 5,
  network_unknown = 6,
  host_unknown = 7,
  host_isolated = 8,
  network_prohibited = 9,
  host_prohibited = 10,
  network_for_tos = 11,
  host_for_tos = 12,
  administratively_prohibited = 13,
  host_precedence_violation = 14,
  precedence_cutoff = 15,
};
/// Codes of time_exceeded.
enum class IcmpTimeExceeded : std::uint8_t { in_transit = 0, reassembly = 1 };
/// Codes of redirect.
enum class IcmpRedirect : std::uint8_t { network = 0, host = 1, network_for_tos = 2, host_for_tos = 3 };
/// Codes of parameter_problem.
enum class IcmpParameterProblem : std::uint8_t { at_pointer = 0, option_missing = 1, bad_length = 2 };

/// The first eight bytes without the checksum; `rest` are the last four, by type.
struct IcmpHeader {
  IcmpType type{};
  std::uint8_t code{};
  std::uint32_t rest{};

  /// echo, timestamp, address mask: who asked, and which of the questions.
  constexpr std::uint16_t identifier() const { return static_cast<std::uint16_t>(rest >> 16); }
  constexpr std::uint16_t sequence() const { return static_cast<std::uint16_t>(rest); }
  /// fragmentation_needed: RFC 1191; 0 from a router older than that.
  constexpr std::uint16_t next_hop_mtu() const { return static_cast<std::uint16_t>(rest); }
  /// redirect: the better router.
  constexpr Ipv4Address gateway() const { return Ipv4Address{rest}; }
  /// parameter_problem at_pointer: offset of the offending byte.
  constexpr std::uint8_t pointer() const { return static_cast<std::uint8_t>(rest >> 24); }
  /// Answers to an IP packet, whose beginning is the payload. Nobody answers these (RFC 1122 section 3.2.2).
  constexpr bool is_error() const {
    return type == IcmpType::destination_unreachable || type == IcmpType::source_quench ||
           type == IcmpType::redirect || type == IcmpType::time_exceeded ||
           type == IcmpType::parameter_problem;
  }

  static constexpr IcmpHeader echo(IcmpType type, std::uint16_t identifier, std::uint16_t sequence) {
    return {.type = type, .code = 0, .rest = std::uint32_t{identifier} << 16 | sequence};
  }
  /// next_hop_mtu: only with fragmentation_needed.
  static constexpr IcmpHeader unreachable(IcmpUnreachable code, std::uint16_t next_hop_mtu = 0) {
    return {.type = IcmpType::destination_unreachable,
            .code = static_cast<std::uint8_t>(code),
            .rest = next_hop_mtu};
  }
  static constexpr IcmpHeader time_exceeded(IcmpTimeExceeded code) {
    return {.type = IcmpType::time_exceeded, .code = static_cast<std::uint8_t>(code), .rest = 0};
  }
  static constexpr IcmpHeader redirect(IcmpRedirect code, Ipv4Address gateway) {
    return {.type = IcmpType::redirect, .code = static_cast<std::uint8_t>(code), .rest = gateway.value};
  }
  static constexpr IcmpHeader parameter_problem(IcmpParameterProblem code, std::uint8_t pointer) {
    return {.type = IcmpType::parameter_problem,
            .code = static_cast<std::uint8_t>(code),
            .rest = std::uint32_t{pointer} << 24};
  }
  friend constexpr bool operator==(const IcmpHeader&, const IcmpHeader&) = default;
};

/// Body of timestamp and timestamp_reply: milliseconds since midnight UT; the high bit marks another unit.
struct IcmpTimestamps {
  std::uint32_t originate{}, receive{}, transmit{};
  friend constexpr bool operator==(const IcmpTimestamps&, const IcmpTimestamps&) = default;
};

/// Shape of a message. Owns nothing and must not outlive its bytes.
class IcmpView {
 public:
  static constexpr std::size_t kHeaderLen = 8;
  static constexpr std::size_t kChecksumOffset = 2;
  static constexpr std::size_t kTimestampsLen = 12;
  static constexpr std::size_t kAddressMaskLen = 4;

  /// Takes the whole of `bytes` as one message. Errors: truncated (below 8 bytes). Judges no checksum.
  static Expected<IcmpView, ParseError> parse(Bytes bytes) {
    if (bytes.size() < kHeaderLen) return unexpected(ParseError::truncated);
    return IcmpView{bytes};
  }
  IcmpHeader header() const { return {.type = type(), .code = code(), .rest = rest()}; }
  IcmpType type() const { return static_cast<IcmpType>(load_u8(bytes_, 0)); }
  std::uint8_t code() const { return load_u8(bytes_, 1); }
  std::uint16_t checksum() const { return load_be16(bytes_, kChecksumOffset); }
  bool checksum_ok() const;
  std::uint32_t rest() const { return load_be32(bytes_, 4); }
  /// Data of an echo, the beginning of the packet that an error answers, …
  Bytes payload() const { return bytes_.subspan(kHeaderLen); }

  /// Errors: bad_type (neither timestamp nor timestamp_reply); truncated (below 12 bytes of payload).
  Expected<IcmpTimestamps, ParseError> timestamps() const;
  /// Errors: bad_type (neither address_mask_request nor _reply); truncated (below 4 bytes of payload).
  Expected<Ipv4Address, ParseError> address_mask() const;

 private:
  explicit IcmpView(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

/// Writes the header with a zero checksum to the front of `out`, 8 bytes or more; answers 8.
std::size_t encode(const IcmpHeader& h, MutableBytes out);
/// Writes the body that follows the header, 12 bytes; answers 12.
std::size_t encode(const IcmpTimestamps& t, MutableBytes out);

/// Computes the checksum of `message`, exactly the message's bytes (8 or more), and stores it.
void store_icmp_checksum(MutableBytes message);

/// RFC 4884 section 7: whether the checksum is wrong, though there is one, or the objects do not fill `bytes`. Of another version than 2
/// nobody here can tell.
inline constexpr std::size_t kIcmpExtensionHeaderLen = 4;
bool is_bad_icmp_extension(Bytes bytes);

}  // namespace iopkt::wire
