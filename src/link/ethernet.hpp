// Frames in and out: Ethernet II (RFC 894), IEEE 802.1Q priority tags (RFC 1122 2.3), and interfaces without
// link headers.
#pragma once

#include <cstdint>

#include "base/expected.hpp"
#include "iface/interface.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"
#include "wire/address.hpp"

namespace iopkt::link {

using iface::Cast;
using packet::Drop;

inline constexpr std::uint32_t kMinFrameLen = 60;  ///< Without the frame check sequence

struct LinkIn {
  wire::EtherType type{};
  wire::MacAddress src;      ///< Zero where there is no link header
  Cast cast{Cast::unicast};  ///< To whom the frame was addressed
};

/// Takes the link header off the front, whatever the interface's link type: afterwards the packet begins with
/// the network header, and rx_interface, link_len, link_broadcast and link_multicast are set. Packet taps
/// look at the frame before. Padding stays: only the network layer knows its length. Frames to other stations
/// always end here, in promiscuous mode too: that mode is for taps. Errors: link_down, link_truncated,
/// link_bad_source (a group address), link_not_for_us, link_vlan (a VLAN other than 0), link_unknown_type
/// (IEEE 802.3 LLC; without a link header: neither IPv4 nor IPv6), no_buffer.
Expected<LinkIn, Drop> input(const iface::Interface& in, packet::Packet& frame);

/// Puts the link header in front (none on raw_ip and loopback) and pads to 60 bytes, unless the frame will be
/// cut. Errors: no_buffer.
Expected<void, Drop> output(const iface::Interface& out, packet::Packet& packet, const wire::MacAddress& dst,
                            wire::EtherType type);

/// The MAC address of an IPv4 multicast group: RFC 1112 6.4.
constexpr wire::MacAddress multicast_mac(wire::Ipv4Address group) {
  return {{0x01, 0x00, 0x5e, static_cast<std::uint8_t>(group.value >> 16 & 0x7f),
           static_cast<std::uint8_t>(group.value >> 8), static_cast<std::uint8_t>(group.value)}};
}

/// Of a group of either family: RFC 1112 6.4, RFC 2464 7.
constexpr wire::MacAddress multicast_mac(const wire::IpAddress& group) {
  if (group.is_v4()) return multicast_mac(group.v4());
  const std::uint32_t low = group.words()[3];
  return {{0x33, 0x33, static_cast<std::uint8_t>(low >> 24), static_cast<std::uint8_t>(low >> 16), static_cast<std::uint8_t>(low >> 8),
           static_cast<std::uint8_t>(low)}};
}

}  // namespace iopkt::link
