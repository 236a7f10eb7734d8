// An address prefix of either family, and how many leading bits two addresses share.
#pragma once

#include <bit>
#include <compare>
#include <cstdint>
#include <string>

#include "wire/address.hpp"

namespace iopkt::wire {

/// Bit `i` of an address, the most significant being bit 0; i < bit_length().
constexpr bool address_bit(const IpAddress& a, std::uint8_t i) {
  return (a.words()[i / 32] >> (31 - i % 32) & 1) != 0;
}

/// Leading bits that both have: 0..bit_length(), whatever the zones. Both are of one family.
constexpr std::uint8_t common_prefix_length(const IpAddress& a, const IpAddress& b) {
  IOPKT_ASSERT(a.family() == b.family());
  const std::size_t words = a.bit_length() / 32u;
  for (std::size_t i = 0; i < words; ++i)
    if (const std::uint32_t differ = a.words()[i] ^ b.words()[i]; differ != 0)
      return static_cast<std::uint8_t>(i * 32 + static_cast<std::size_t>(std::countl_zero(differ)));
  return a.bit_length();
}

/// The address with all bits behind the first `length` cleared; in the same zone, if it still has one by its scope.
constexpr IpAddress network_of(const IpAddress& a, std::uint8_t length) {
  IOPKT_ASSERT(length <= a.bit_length());
  if (a.is_v4()) return Ipv4Prefix{a.v4(), length}.network();
  Ipv6Address out = a.v6();
  for (std::size_t i = 0; i < 16; ++i) {
    const std::size_t first = i * 8;
    if (first >= length)
      out.bytes[i] = 0;
    else if (first + 8 > length)
      out.bytes[i] = static_cast<std::uint8_t>(out.bytes[i] & (0xff00u >> (length - first)));
  }
  return IpAddress{out, a.zone()};
}

/// A destination: all addresses whose first `length` bits are those of `address`, in its zone if that is said. The other
/// bits of `address` are 0.
struct IpPrefix {
  IpAddress address;
  std::uint8_t length{};  ///< 0..32 or 0..128

  /// Clears host bits.
  static constexpr IpPrefix of(const IpAddress& a, std::uint8_t length) {
    return {network_of(a, length), length};
  }
  static constexpr IpPrefix host(const IpAddress& a) { return {a, a.bit_length()}; }

  constexpr bool contains(const IpAddress& a) const {
    return a.family() == address.family() && (address.zone() == 0 || address.zone() == a.zone()) &&
           common_prefix_length(a, address) >= length;
  }
  constexpr bool contains(const IpPrefix& other) const {
    return other.length >= length && contains(other.address);
  }
  constexpr bool is_host() const { return length == address.bit_length(); }
  std::string to_string() const { return address.to_string() + '/' + std::to_string(length); }

  friend constexpr bool operator==(const IpPrefix&, const IpPrefix&) = default;
  friend constexpr auto operator<=>(const IpPrefix&, const IpPrefix&) = default;
};

}  // namespace iopkt::wire
