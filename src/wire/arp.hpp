// Address Resolution Protocol for IPv4 over Ethernet: RFC 826, RFC 5227 (probes, announcements).
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.hpp"
#include "base/expected.hpp"
#include "wire/address.hpp"
#include "wire/parse_error.hpp"

namespace iopkt::wire {

/// Other values than the named occur.
enum class ArpOperation : std::uint16_t { request = 1, reply = 2, reverse_request = 3, reverse_reply = 4 };

struct ArpPacket {
  ArpOperation operation{};
  MacAddress sender_mac;
  Ipv4Address sender_ip;
  MacAddress target_mac;  ///< Without meaning in a request.
  Ipv4Address target_ip;

  /// RFC 5227 section 1.1: asks whether somebody has the address, without claiming it.
  constexpr bool is_probe() const { return operation == ArpOperation::request && sender_ip.is_unspecified(); }
  /// RFC 5227 section 1.1: claims the address. Gratuitous ARP, as request or as reply.
  constexpr bool is_announcement() const { return sender_ip == target_ip && !sender_ip.is_unspecified(); }
  friend constexpr bool operator==(const ArpPacket&, const ArpPacket&) = default;
};

/// Shape of a packet. Owns nothing and must not outlive its bytes.
class ArpView {
 public:
  static constexpr std::size_t kLen = 28;

  /// Takes an Ethernet payload; what follows the packet is padding.
  /// Errors: truncated (below 28 bytes); bad_hardware (not Ethernet with 6 bytes); bad_protocol (not IPv4
  /// with 4).
  static Expected<ArpView, ParseError> parse(Bytes bytes) {
    if (bytes.size() < kLen) return unexpected(ParseError::truncated);
    if (load_be16(bytes, 0) != kHardwareEthernet || load_u8(bytes, 4) != 6)
      return unexpected(ParseError::bad_hardware);
    if (load_be16(bytes, 2) != static_cast<std::uint16_t>(EtherType::ipv4) || load_u8(bytes, 5) != 4)
      return unexpected(ParseError::bad_protocol);
    return ArpView{bytes.first(kLen)};
  }
  ArpPacket packet() const {
    return {.operation = static_cast<ArpOperation>(load_be16(bytes_, 6)),
            .sender_mac = load_mac(bytes_, 8),
            .sender_ip = load_ipv4(bytes_, 14),
            .target_mac = load_mac(bytes_, 18),
            .target_ip = load_ipv4(bytes_, 24)};
  }

  static constexpr std::uint16_t kHardwareEthernet = 1;

 private:
  explicit ArpView(Bytes bytes) : bytes_(bytes) {}
  Bytes bytes_;
};

/// Writes to the front of `out`, 28 bytes or more; answers 28.
inline std::size_t encode(const ArpPacket& p, MutableBytes out) {
  store_be16(out, 0, ArpView::kHardwareEthernet);
  store_be16(out, 2, static_cast<std::uint16_t>(EtherType::ipv4));
  store_u8(out, 4, 6);
  store_u8(out, 5, 4);
  store_be16(out, 6, static_cast<std::uint16_t>(p.operation));
  store_mac(out, 8, p.sender_mac);
  store_ipv4(out, 14, p.sender_ip);
  store_mac(out, 18, p.target_mac);
  store_ipv4(out, 24, p.target_ip);
  return ArpView::kLen;
}

}  // namespace iopkt::wire
