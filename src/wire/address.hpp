// Addresses as plain values: MAC, IPv4, IPv6, either family, port, endpoint, prefix; and the numbers that
// name protocols. RFC 791 and 1122 (IPv4 classes and special addresses), RFC 4291 (IPv6), RFC 5952 (IPv6
// text), IEEE 802 (MAC).
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/assert.hpp"
#include "base/bytes.hpp"

namespace iopkt::wire {

/// What follows an Ethernet header. Values below 0x0600 are IEEE 802.3 lengths. Other values than the named
/// occur.
enum class EtherType : std::uint16_t {
  ipv4 = 0x0800,
  arp = 0x0806,
  rarp = 0x8035,
  vlan = 0x8100,  ///< IEEE 802.1Q
  ipv6 = 0x86dd,
  mac_control = 0x8808,
  pppoe_discovery = 0x8863,
  pppoe_session = 0x8864,
  eapol = 0x888e,
  qinq = 0x88a8,  ///< IEEE 802.1ad
  lldp = 0x88cc,
};

/// What follows an IP header (IANA "Assigned Internet Protocol Numbers"). Other values than the named occur.
enum class IpProtocol : std::uint8_t {
  hop_by_hop = 0,
  icmp = 1,
  igmp = 2,
  ipv4 = 4,
  tcp = 6,
  udp = 17,
  ipv6 = 41,
  routing = 43,
  fragment = 44,
  rsvp = 46,
  gre = 47,
  esp = 50,
  ah = 51,
  icmpv6 = 58,
  no_next_header = 59,
  destination_options = 60,
  ospf = 89,
  etherip = 97,
  pim = 103,
  carp = 112,  ///< VRRP's number, which CARP shares.
  sctp = 132,
  udplite = 136,
  pfsync = 240,
};

struct MacAddress {
  std::array<std::uint8_t, 6> bytes{};

  static constexpr MacAddress broadcast() { return {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}}; }
  /// Multicast includes broadcast (IEEE 802: the group bit).
  constexpr bool is_multicast() const { return (bytes[0] & 1) != 0; }
  constexpr bool is_broadcast() const { return *this == broadcast(); }
  constexpr bool is_zero() const { return *this == MacAddress{}; }
  /// Not from a manufacturer's range.
  constexpr bool is_local() const { return (bytes[0] & 2) != 0; }

  /// 12 hexadecimal digits; or six groups of one or two, all parted by ':' or all by '-'.
  static std::optional<MacAddress> parse(std::string_view text);
  /// "02:00:00:00:00:01"
  std::string to_string() const;

  friend constexpr bool operator==(const MacAddress&, const MacAddress&) = default;
  friend constexpr auto operator<=>(const MacAddress&, const MacAddress&) = default;
};

struct Ipv4Address {
  std::uint32_t value{};  ///< Host order: 10.0.0.1 is 0x0a000001.

  constexpr Ipv4Address() = default;
  explicit constexpr Ipv4Address(std::uint32_t host_order) : value(host_order) {}
  constexpr Ipv4Address(std::uint8_t a, std::uint8_t b, std::uint8_t c, std::uint8_t d)
      : value(std::uint32_t{a} << 24 | std::uint32_t{b} << 16 | std::uint32_t{c} << 8 | d) {}

  static constexpr Ipv4Address any() { return {}; }
  static constexpr Ipv4Address loopback() { return {127, 0, 0, 1}; }
  static constexpr Ipv4Address broadcast() { return Ipv4Address{0xffffffffu}; }

  constexpr bool is_unspecified() const { return value == 0; }
  constexpr bool is_loopback() const { return value >> 24 == 127; }       ///< 127/8
  constexpr bool is_multicast() const { return value >> 28 == 0xe; }      ///< 224/4
  constexpr bool is_link_local() const { return value >> 16 == 0xa9fe; }  ///< 169.254/16
  constexpr bool is_limited_broadcast() const { return value == 0xffffffffu; }
  constexpr bool is_reserved() const { return value >> 28 == 0xf && !is_limited_broadcast(); }  ///< class E
  /// 224.0.0/24: never forwarded.
  constexpr bool is_local_network_multicast() const { return value >> 8 == 0xe00000; }
  constexpr bool is_zero_network() const { return value >> 24 == 0; }  ///< 0/8, "this network"

  /// The prefix length of the address's class: A 8, B 16, all else 24 (as BSD's in_ifinit).
  constexpr std::uint8_t class_prefix_length() const {
    return value >> 31 == 0 ? 8 : value >> 30 == 2 ? 16 : 24;
  }

  /// Four decimal numbers 0..255 without leading zeros, as inet_pton(3).
  static std::optional<Ipv4Address> parse_strict(std::string_view text);
  /// inet_aton(3): one to four numbers in C notation (0x: hexadecimal, 0: octal), the last fills the bytes
  /// that are left. "10.184" is 10.0.0.184. Nothing may follow.
  static std::optional<Ipv4Address> parse_bsd(std::string_view text);
  std::string to_string() const;

  friend constexpr bool operator==(Ipv4Address, Ipv4Address) = default;
  friend constexpr auto operator<=>(Ipv4Address, Ipv4Address) = default;
};

struct Ipv6Address {
  std::array<std::uint8_t, 16> bytes{};

  static constexpr Ipv6Address any() { return {}; }
  static constexpr Ipv6Address loopback() { return {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}; }

  constexpr bool is_unspecified() const { return *this == any(); }
  constexpr bool is_loopback() const { return *this == loopback(); }
  constexpr bool is_multicast() const { return bytes[0] == 0xff; }
  constexpr bool is_link_local() const { return bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80; }
  /// fc00::/7 (RFC 4193)
  constexpr bool is_unique_local() const { return (bytes[0] & 0xfe) == 0xfc; }
  /// Of a group: RFC 4291 section 2.7 (1 interface, 2 link, 5 site, 8 organisation, 14 global).
  constexpr std::uint8_t multicast_scope() const { return is_multicast() ? bytes[1] & 0xf : 0; }
  /// Means something on one link alone: link-local addresses, groups of interface-local and link-local scope (RFC 4007).
  constexpr bool has_zone() const { return is_link_local() || multicast_scope() == 1 || multicast_scope() == 2; }
  /// ff02::1:ffXX:XXXX, the group in which an address is asked for (RFC 4291 section 2.7.1).
  constexpr Ipv6Address solicited_node() const {
    return {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, bytes[13], bytes[14], bytes[15]}};
  }
  static constexpr Ipv6Address all_nodes() { return {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}}; }
  static constexpr Ipv6Address all_routers() { return {{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}}; }
  /// ::ffff:a.b.c.d
  constexpr bool is_v4_mapped() const {
    for (std::size_t i = 0; i < 10; ++i)
      if (bytes[i] != 0) return false;
    return bytes[10] == 0xff && bytes[11] == 0xff;
  }

  /// Every form of RFC 4291 section 2.2, no zone.
  static std::optional<Ipv6Address> parse(std::string_view text);
  /// The canonical form of RFC 5952; an IPv4-mapped address ends in a dotted quad (section 5).
  std::string to_string() const;

  friend constexpr bool operator==(const Ipv6Address&, const Ipv6Address&) = default;
  friend constexpr auto operator<=>(const Ipv6Address&, const Ipv6Address&) = default;
};

enum class IpFamily : std::uint32_t { v4 = 4, v6 = 6 };

/// An address of either family. Without padding, so that equal values are equal bytes. IPv4 sorts before
/// IPv6.
///
/// An IPv6 address whose scope is a link has a zone, the index of the interface on that link (RFC 4007): fe80::1%1 and
/// fe80::1%2 are different addresses. It is put in where addresses come in (from a packet: the interface it came by; from
/// a program: sin6_scope_id) and never on the wire. Zone 0 is "not said". All other addresses have zone 0.
class IpAddress {
 public:
  static constexpr std::uint32_t kZoneMax = 0xffffff;

  /// 0.0.0.0
  constexpr IpAddress() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): an Ipv4Address is an IpAddress.
  constexpr IpAddress(Ipv4Address a) : kind_(kind_of(IpFamily::v4)), words_{a.value, 0, 0, 0} {}
  // NOLINTNEXTLINE(google-explicit-constructor): an Ipv6Address is an IpAddress.
  constexpr IpAddress(const Ipv6Address& a) : kind_(kind_of(IpFamily::v6)) {
    for (std::size_t i = 0; i < 16; ++i) words_[i / 4] = words_[i / 4] << 8 | a.bytes[i];
  }
  /// zone: 0..kZoneMax; left out where the address has none by its scope.
  constexpr IpAddress(const Ipv6Address& a, std::uint32_t zone) : IpAddress(a) {
    IOPKT_ASSERT(zone <= kZoneMax);
    if (a.has_zone()) kind_ |= zone;
  }

  constexpr IpFamily family() const { return static_cast<IpFamily>(kind_ >> 24); }
  constexpr bool is_v4() const { return family() == IpFamily::v4; }
  constexpr bool is_v6() const { return family() == IpFamily::v6; }
  constexpr std::uint32_t zone() const { return kind_ & kZoneMax; }
  /// The scope is one link, whether the zone is said or not.
  constexpr bool has_zone() const { return is_v6() && v6().has_zone(); }
  /// The same address in that zone (0..kZoneMax); unchanged where it has none by its scope.
  constexpr IpAddress with_zone(std::uint32_t zone) const { return is_v6() ? IpAddress{v6(), zone} : *this; }
  /// Only of an address of this family.
  constexpr Ipv4Address v4() const {
    IOPKT_ASSERT(is_v4());
    return Ipv4Address{words_[0]};
  }
  /// Only of an address of this family.
  constexpr Ipv6Address v6() const {
    IOPKT_ASSERT(is_v6());
    Ipv6Address a;
    for (std::size_t i = 0; i < 16; ++i)
      a.bytes[i] = static_cast<std::uint8_t>(words_[i / 4] >> (24 - i % 4 * 8));
    return a;
  }
  /// 32 or 128.
  constexpr std::uint8_t bit_length() const { return is_v4() ? 32 : 128; }
  /// The address in host-order words, most significant first; for IPv4 the first one, the rest 0.
  constexpr const std::array<std::uint32_t, 4>& words() const { return words_; }

  constexpr bool is_unspecified() const { return (words_[0] | words_[1] | words_[2] | words_[3]) == 0; }
  constexpr bool is_multicast() const { return is_v4() ? v4().is_multicast() : words_[0] >> 24 == 0xff; }
  constexpr bool is_loopback() const {
    return is_v4() ? v4().is_loopback() : (words_[0] | words_[1] | words_[2]) == 0 && words_[3] == 1;
  }
  constexpr bool is_link_local() const { return is_v4() ? v4().is_link_local() : words_[0] >> 22 == 0x3fa; }

  /// Either family, strict. "%" and a decimal zone may follow an address that has one by its scope.
  static std::optional<IpAddress> parse(std::string_view text);
  /// "10.0.0.1", "fe80::1%2": interfaces' names are known above this library alone.
  std::string to_string() const;

  friend constexpr bool operator==(const IpAddress&, const IpAddress&) = default;
  friend constexpr auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  static constexpr std::uint32_t kind_of(IpFamily family) { return static_cast<std::uint32_t>(family) << 24; }

  std::uint32_t kind_ = kind_of(IpFamily::v4);  // family, then the zone
  std::array<std::uint32_t, 4> words_{};
};

/// "fe80::1%en0" as "fe80::1" and "en0"; the second is empty where no "%" is.
constexpr std::pair<std::string_view, std::string_view> split_zone(std::string_view text) {
  const std::size_t at = text.find('%');
  if (at == std::string_view::npos) return {text, {}};
  return {text.substr(0, at), text.substr(at + 1)};
}

/// A transport port; 0 is "none".
struct Port {
  std::uint16_t value{};  ///< Host order.
  friend constexpr bool operator==(Port, Port) = default;
  friend constexpr auto operator<=>(Port, Port) = default;
};

struct Endpoint {
  IpAddress address;
  Port port;
  /// "10.0.0.1:80", "[::1]:80", "[fe80::1%2]:80"
  std::string to_string() const;
  friend constexpr bool operator==(const Endpoint&, const Endpoint&) = default;
  friend constexpr auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

/// An IPv4 network or an interface address with its network; host bits are kept.
struct Ipv4Prefix {
  Ipv4Address address;
  std::uint8_t length{};  ///< 0..32

  /// The mask of a length 0..32.
  static constexpr Ipv4Address mask_of(std::uint8_t length) {
    IOPKT_ASSERT(length <= 32);
    return Ipv4Address{length == 0 ? 0 : ~std::uint32_t{0} << (32 - length)};
  }
  /// The length of a mask, nullopt if its ones are not contiguous.
  static constexpr std::optional<std::uint8_t> length_of(Ipv4Address mask) {
    const std::uint32_t holes = ~mask.value;
    if ((holes & (holes + 1)) != 0) return std::nullopt;
    return static_cast<std::uint8_t>(std::countl_one(mask.value));
  }
  constexpr Ipv4Address mask() const { return mask_of(length); }
  constexpr Ipv4Address network() const { return Ipv4Address{address.value & mask().value}; }
  /// The address with all host bits set; of a /31 (RFC 3021) and /32 there is none, and this is no broadcast.
  constexpr Ipv4Address broadcast() const { return Ipv4Address{address.value | ~mask().value}; }
  constexpr bool contains(Ipv4Address a) const { return ((a.value ^ address.value) & mask().value) == 0; }

  /// "a.b.c.d/len", strict; without "/len" the length is 32.
  static std::optional<Ipv4Prefix> parse(std::string_view text);
  std::string to_string() const;

  friend constexpr bool operator==(const Ipv4Prefix&, const Ipv4Prefix&) = default;
  friend constexpr auto operator<=>(const Ipv4Prefix&, const Ipv4Prefix&) = default;
};

/// Decimal digits only, 0..max; nullopt for anything else, also for the empty text.
std::optional<std::uint32_t> parse_decimal(std::string_view text, std::uint32_t max);

inline MacAddress load_mac(Bytes b, std::size_t at) {
  IOPKT_ASSERT(at + 6 <= b.size());
  MacAddress mac;
  std::memcpy(mac.bytes.data(), b.data() + at, 6);
  return mac;
}
inline void store_mac(MutableBytes b, std::size_t at, const MacAddress& mac) {
  IOPKT_ASSERT(at + 6 <= b.size());
  std::memcpy(b.data() + at, mac.bytes.data(), 6);
}
inline Ipv4Address load_ipv4(Bytes b, std::size_t at) { return Ipv4Address{load_be32(b, at)}; }
inline void store_ipv4(MutableBytes b, std::size_t at, Ipv4Address a) { store_be32(b, at, a.value); }
inline Ipv6Address load_ipv6(Bytes b, std::size_t at) {
  IOPKT_ASSERT(at + 16 <= b.size());
  Ipv6Address a;
  std::memcpy(a.bytes.data(), b.data() + at, 16);
  return a;
}
inline void store_ipv6(MutableBytes b, std::size_t at, const Ipv6Address& a) {
  IOPKT_ASSERT(at + 16 <= b.size());
  std::memcpy(b.data() + at, a.bytes.data(), 16);
}

static_assert(sizeof(IpAddress) == 20 && std::has_unique_object_representations_v<IpAddress>);
static_assert(std::is_trivially_copyable_v<MacAddress> && std::is_trivially_copyable_v<Ipv4Prefix>);
static_assert(std::is_trivially_copyable_v<IpAddress> && std::is_trivially_copyable_v<Endpoint>);

}  // namespace iopkt::wire
