// Interfaces as values: what one is, and the immutable table of them that every layer above reads.
// RFC 1122 3.3.1 and 3.2.1.3 (which addresses are ours), BSD <net/if.h> (flags).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.hpp"
#include "iface/counters.hpp"
#include "iopkt/driver.h"
#include "wire/address.hpp"
#include "wire/ip_prefix.hpp"

namespace iopkt::iface {

using wire::IpAddress;
using wire::Ipv4Address;
using wire::MacAddress;

/// Interface.flags, with the numbers that ifconfig prints.
namespace flag {
inline constexpr std::uint32_t up = 0x1;
inline constexpr std::uint32_t broadcast = 0x2;
inline constexpr std::uint32_t debug = 0x4;
inline constexpr std::uint32_t loopback = 0x8;
inline constexpr std::uint32_t point_to_point = 0x10;
inline constexpr std::uint32_t no_trailers = 0x20;
inline constexpr std::uint32_t running = 0x40;
inline constexpr std::uint32_t no_arp = 0x80;
inline constexpr std::uint32_t promiscuous = 0x100;
inline constexpr std::uint32_t all_multicast = 0x200;
inline constexpr std::uint32_t output_active = 0x400;
inline constexpr std::uint32_t simplex = 0x800;  ///< Does not hear what it sends.
inline constexpr std::uint32_t link0 = 0x1000;
inline constexpr std::uint32_t link1 = 0x2000;
inline constexpr std::uint32_t link2 = 0x4000;
inline constexpr std::uint32_t multicast = 0x8000;
}  // namespace flag

struct FlagName {
  std::uint32_t bit;
  std::string_view name;
};
/// In the order of their bits.
inline constexpr FlagName kFlagNames[] = {
    {flag::up, "UP"},
    {flag::broadcast, "BROADCAST"},
    {flag::debug, "DEBUG"},
    {flag::loopback, "LOOPBACK"},
    {flag::point_to_point, "POINTOPOINT"},
    {flag::no_trailers, "NOTRAILERS"},
    {flag::running, "RUNNING"},
    {flag::no_arp, "NOARP"},
    {flag::promiscuous, "PROMISC"},
    {flag::all_multicast, "ALLMULTI"},
    {flag::output_active, "OACTIVE"},
    {flag::simplex, "SIMPLEX"},
    {flag::link0, "LINK0"},
    {flag::link1, "LINK1"},
    {flag::link2, "LINK2"},
    {flag::multicast, "MULTICAST"},
};

/// What the link header is. The numbers of driver.h; loopback has no link header, as raw_ip.
enum class LinkType : std::uint8_t {
  ethernet = IOPKT_LINK_ETHERNET,
  raw_ip = IOPKT_LINK_RAW_IP,
  loopback = 24
};

/// To whom a frame or a packet was addressed. Anycast: to whoever of several is nearest, who answers with an address of his own.
enum class Cast : std::uint8_t { unicast, multicast, broadcast, anycast };

/// InterfaceAddress.flags, with the numbers of BSD's IN6_IFF_*; those of IPv4 addresses mean the same.
namespace address_flag {
inline constexpr std::uint32_t anycast = 0x1;
inline constexpr std::uint32_t tentative = 0x2;    ///< Not ours before it is known that nobody else has it (RFC 4862 5.4)
inline constexpr std::uint32_t duplicated = 0x4;   ///< Somebody else has it
inline constexpr std::uint32_t detached = 0x8;
inline constexpr std::uint32_t deprecated = 0x10;  ///< For connections that have it, not for new ones
inline constexpr std::uint32_t no_dad = 0x20;      ///< Taken without asking
inline constexpr std::uint32_t autoconf = 0x40;    ///< Formed here: from an advertised prefix, or link-local
inline constexpr std::uint32_t temporary = 0x80;   ///< Of RFC 8981: random, and not for long
inline constexpr std::uint32_t optimistic = 0x200; ///< In use while it is not yet known that nobody else has it (RFC 4429)
}  // namespace address_flag
/// In the order in which ifconfig prints them.
inline constexpr FlagName kAddressFlagNames[] = {
    {address_flag::anycast, "anycast"},       {address_flag::tentative, "tentative"}, {address_flag::duplicated, "duplicated"},
    {address_flag::detached, "detached"},     {address_flag::deprecated, "deprecated"}, {address_flag::no_dad, "nodad"},
    {address_flag::autoconf, "autoconf"},     {address_flag::temporary, "temporary"}, {address_flag::optimistic, "optimistic"},
};

struct InterfaceAddress {
  IpAddress address;  ///< Of link scope: in the interface's zone
  std::uint8_t prefix_length{};
  std::optional<Ipv4Address> broadcast;  ///< Directed broadcast, on interfaces that have flag::broadcast
  std::optional<IpAddress> peer;         ///< The other end of a point-to-point link
  std::uint32_t flags = 0;               ///< address_flag
  Instant preferred_until = Instant::never(), valid_until = Instant::never();

  constexpr bool is(std::uint32_t wanted) const { return (flags & wanted) == wanted; }
  /// Packets may come to it and go from it.
  constexpr bool is_usable() const { return (flags & (address_flag::tentative | address_flag::duplicated)) == 0; }
  constexpr wire::IpPrefix network() const { return wire::IpPrefix::of(address, prefix_length); }
  friend bool operator==(const InterfaceAddress&, const InterfaceAddress&) = default;
};

/// Immutable once published: a change is a new value in a new table.
struct Interface {
  std::uint32_t index{};  ///< 1.., never used twice while the stack runs
  std::string name;       ///< "lo0"; 1..15 bytes
  LinkType link_type{LinkType::ethernet};
  MacAddress mac;
  std::uint32_t mtu{1500};  ///< Bytes of a network packet
  std::uint32_t mtu_min{68}, mtu_max{65535};
  std::uint32_t flags{};
  std::uint32_t capabilities{};             ///< IOPKT_CAP_*: what the device can
  std::uint32_t enabled_capabilities{};     ///< IOPKT_CAP_*: what may be used; a subset
  std::vector<InterfaceAddress> addresses;  ///< In order of addition; the first of a family is its primary
  bool link_up{true};
  bool autoip{};               ///< Gives itself a link-local IPv4 address where it has no other (RFC 3927)
  std::uint32_t speed_mbps{};  ///< 0: unknown
  std::uint32_t metric{};
  std::uint32_t mtu6{};       ///< Of IPv6 packets, as routers advertise; 0: mtu
  std::uint8_t hop_limit6{};  ///< As routers advertise; 0: net.inet6.ip6.hlim
  std::uint32_t reachable6_ms{}, retransmit6_ms{};  ///< Of neighbours over IPv6, as routers advertise; 0: net.inet.arp.*
  std::uint32_t fib{};  ///< By which the stack's own answers go to what arrives here: echo replies, errors, resets
  InterfaceCounters<std::uint64_t> zero;  ///< What had been counted when the counters were zeroed last (ifconfig -z)

  bool is(std::uint32_t flags_wanted) const { return (flags & flags_wanted) == flags_wanted; }
  bool is_up() const { return is(flag::up); }
  bool is_loopback() const { return is(flag::loopback); }
  bool can(std::uint32_t capability) const { return (enabled_capabilities & capability) == capability; }
  /// Bytes that the link puts in front of a network packet.
  std::uint32_t link_header_len() const { return link_type == LinkType::ethernet ? 14 : 0; }
  /// For packets of a family.
  std::uint32_t mtu_of(wire::IpFamily family) const {
    return family == wire::IpFamily::v6 && mtu6 != 0 && mtu6 < mtu ? mtu6 : mtu;
  }
  /// The address with this interface's zone, if it has one by its scope.
  IpAddress here(const wire::Ipv6Address& address) const { return {address, index}; }
  /// The primary address of a family; nullptr: it has none.
  const InterfaceAddress* primary(wire::IpFamily family) const;
  const InterfaceAddress* find(const IpAddress& address) const;
  /// The limited broadcast address, or that of one of its networks; always false without flag::broadcast.
  bool is_broadcast_address(Ipv4Address address) const;
  /// The address whose network (or point-to-point peer) holds `address`; the longest prefix wins, then the
  /// first.
  const InterfaceAddress* connected(const IpAddress& address) const;
};

/// All interfaces of a stack at one moment. Lookups by address cost O(log addresses).
class InterfaceTable {
 public:
  using Pointer = std::shared_ptr<const Interface>;

  InterfaceTable() = default;
  /// Indices are 1.. and distinct, as are the names.
  explicit InterfaceTable(std::vector<Pointer> interfaces);

  /// In order of their indices.
  std::span<const Pointer> all() const { return interfaces_; }
  const Interface* by_index(std::uint32_t index) const {
    return index < by_index_.size() ? by_index_[index] : nullptr;
  }
  const Interface* by_name(std::string_view name) const;
  /// The highest index that this table or one that it came from had.
  std::uint32_t highest_index() const { return highest_; }
  /// The interface that has this address as its own, and may use it. Every IPv4 address in the network of a loopback
  /// interface is its own (RFC 1122 3.2.1.3 (g): all of 127/8 loops). nullptr: the address is not ours.
  const Interface* find_local(const IpAddress& address) const;
  /// Broadcast address of any interface.
  bool is_any_broadcast(Ipv4Address address) const;
  /// The interface on whose network `address` is; the longest prefix wins.
  const Interface* find_connected(const IpAddress& address) const;

  /// A new table with this interface added or put in the place of the one with the same index.
  InterfaceTable with(Interface changed) const;
  InterfaceTable without(std::uint32_t index) const;

 private:
  std::vector<Pointer> interfaces_;
  std::uint32_t highest_{};
  std::vector<const Interface*> by_index_;
  std::vector<std::pair<IpAddress, const Interface*>> local_;  // sorted by address
  std::vector<Ipv4Address> broadcast_;                         // sorted
  std::vector<std::pair<wire::IpPrefix, const Interface*>> loopback_;
};

}  // namespace iopkt::iface
