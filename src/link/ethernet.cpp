#include "link/ethernet.hpp"

#include <algorithm>

#include "wire/ethernet.hpp"

namespace iopkt::link {
namespace {

/// Padding refers to these: they outlive every packet.
constexpr std::byte kZeroes[kMinFrameLen]{};

/// Interfaces without a link header tell the protocol by the version field.
Expected<LinkIn, Drop> input_raw(const packet::Packet& packet) {
  if (packet.size() == 0) return unexpected(Drop::link_truncated);
  std::byte first{};
  packet.copy_out(0, {&first, 1});
  switch (std::to_integer<unsigned>(first) >> 4) {
    case 4:
      return LinkIn{.type = wire::EtherType::ipv4};
    case 6:
      return LinkIn{.type = wire::EtherType::ipv6};
    default:
      return unexpected(Drop::link_unknown_type);
  }
}

Cast cast_of(const wire::MacAddress& dst) {
  return dst.is_broadcast() ? Cast::broadcast : dst.is_multicast() ? Cast::multicast : Cast::unicast;
}

}  // namespace

Expected<LinkIn, Drop> input(const iface::Interface& in, packet::Packet& frame) {
  if (!in.is_up()) return unexpected(Drop::link_down);
  frame.rx_interface = in.index;
  frame.link_len = 0;
  if (in.link_type != iface::LinkType::ethernet) return input_raw(frame);

  std::uint32_t header_len = wire::EthernetView::kHeaderLen;
  if (frame.size() < header_len) return unexpected(Drop::link_truncated);
  if (!frame.pull_up(header_len)) return unexpected(Drop::no_buffer);
  const wire::EthernetHeader header = wire::EthernetView::parse(frame.head())->header();
  if (header.src.is_multicast()) return unexpected(Drop::link_bad_source);
  const Cast cast = cast_of(header.dst);
  if (cast == Cast::unicast && header.dst != in.mac) return unexpected(Drop::link_not_for_us);

  LinkIn result{.type = header.type, .src = header.src, .cast = cast};
  if ((frame.flags & IOPKT_VLAN_VALID) != 0) {
    if ((frame.vlan_tci & 0xfff) != 0) return unexpected(Drop::link_vlan);
    frame.flags &= ~std::uint32_t{IOPKT_VLAN_VALID};
  }
  // A priority tag alone names no VLAN (IEEE 802.1Q): the packet is as if untagged.
  if (header.type == wire::EtherType::vlan) {
    header_len += wire::VlanView::kTagLen;
    if (frame.size() < header_len) return unexpected(Drop::link_truncated);
    if (!frame.pull_up(header_len)) return unexpected(Drop::no_buffer);
    const wire::VlanTag tag =
        wire::VlanView::parse(frame.head().subspan(wire::EthernetView::kHeaderLen))->tag();
    if (tag.vlan_id != 0) return unexpected(Drop::link_vlan);
    result.type = tag.type;
  }
  if (static_cast<std::uint16_t>(result.type) < 0x0600) return unexpected(Drop::link_unknown_type);

  frame.link_broadcast = cast == Cast::broadcast;
  frame.link_multicast = cast == Cast::multicast;
  frame.link_len = static_cast<std::uint16_t>(header_len);
  frame.trim_front(header_len);
  return result;
}

Expected<void, Drop> output(const iface::Interface& out, packet::Packet& packet, const wire::MacAddress& dst,
                            wire::EtherType type) {
  if (out.link_type != iface::LinkType::ethernet) return {};
  const MutableBytes room = packet.prepend(wire::EthernetView::kHeaderLen);
  if (room.empty()) return unexpected(Drop::no_buffer);
  wire::encode(wire::EthernetHeader{.dst = dst, .src = out.mac, .type = type}, room);
  constexpr std::uint32_t kGso = IOPKT_GSO_TCP4 | IOPKT_GSO_TCP6 | IOPKT_GSO_UDP;
  if (packet.size() >= kMinFrameLen || (packet.flags & kGso) != 0) return {};
  // The checksum that a device computes runs to the end of the frame: zeroes do not change it.
  const Bytes padding = Bytes{kZeroes}.first(kMinFrameLen - packet.size());
  if (!packet.append_borrowed(padding) && !packet.append(padding)) return unexpected(Drop::no_buffer);
  return {};
}

}  // namespace iopkt::link
