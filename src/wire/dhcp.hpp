// Dynamic Host Configuration Protocol messages: RFC 2131 section 2, options: RFC 2132, RFC 3396 (long ones), RFC 3442 (classless routes).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.hpp"
#include "base/expected.hpp"
#include "wire/address.hpp"
#include "wire/ip_prefix.hpp"
#include "wire/parse_error.hpp"

namespace iopkt::wire {

/// Option 53. Other values than the named occur.
enum class DhcpType : std::uint8_t { discover = 1, offer, request, decline, ack, nak, release, inform };

/// RFC 2132; other values than the named occur.
enum class DhcpOption : std::uint8_t {
  pad = 0,
  subnet_mask = 1,
  routers = 3,
  name_servers = 6,
  host_name = 12,
  domain_name = 15,
  mtu = 26,
  broadcast = 28,
  requested_address = 50,
  lease_time = 51,
  overload = 52,
  message_type = 53,
  server = 54,
  parameters = 55,
  message = 56,
  size_max = 57,
  renewal_time = 58,
  rebinding_time = 59,
  client_id = 61,
  classless_routes = 121,
  end = 255,
};

/// A message as a client writes and reads it; options in the order in which they came, each code once.
struct DhcpMessage {
  static constexpr std::uint8_t kRequest = 1, kReply = 2;
  std::uint8_t op = kRequest;
  std::uint32_t xid = 0;
  std::uint16_t seconds = 0;
  bool broadcast = false;  ///< the answer is to be a broadcast
  Ipv4Address ciaddr, yiaddr, siaddr, giaddr;
  MacAddress hardware;
  struct Option {
    DhcpOption code{};
    std::vector<std::byte> value;
    friend bool operator==(const Option&, const Option&) = default;
  };
  std::vector<Option> options;

  const std::vector<std::byte>* find(DhcpOption code) const;
  // Of these, nullopt or empty: not there, or not of the length that it has to have.
  std::optional<std::uint8_t> number8(DhcpOption code) const;
  std::optional<std::uint16_t> number16(DhcpOption code) const;
  std::optional<std::uint32_t> number32(DhcpOption code) const;
  std::optional<Ipv4Address> address(DhcpOption code) const;
  std::vector<Ipv4Address> addresses(DhcpOption code) const;
  /// Printable ASCII without blanks at most; what else is in it ends it.
  std::string name(DhcpOption code) const;
  std::optional<DhcpType> type() const;
  /// RFC 3442; a gateway of 0.0.0.0 is "on the link". Empty: none, or one that is malformed.
  struct ClasslessRoute {
    Ipv4Address destination;
    std::uint8_t length{};
    Ipv4Address gateway;
    friend bool operator==(const ClasslessRoute&, const ClasslessRoute&) = default;
  };
  std::vector<ClasslessRoute> classless_routes() const;

  DhcpMessage& add(DhcpOption code, Bytes value);
  DhcpMessage& add8(DhcpOption code, std::uint8_t value);
  DhcpMessage& add_address(DhcpOption code, Ipv4Address value);
};

inline constexpr std::size_t kDhcpFixedLen = 240;  ///< up to and with the magic cookie
inline constexpr std::size_t kDhcpLeastLen = 300;  ///< RFC 1542 section 2.1: what old relays expect

/// Reads a UDP payload. Errors: truncated (below 240 bytes), bad_type (neither request nor reply, or no magic cookie), bad_hardware
/// (not Ethernet), bad_length (an option that reaches over its end).
Expected<DhcpMessage, ParseError> parse_dhcp(Bytes bytes);
/// The message with its options (values up to 255 bytes are kept, longer ones split by RFC 3396), the end mark and padding.
std::vector<std::byte> encode_dhcp(const DhcpMessage& message);

}  // namespace iopkt::wire
