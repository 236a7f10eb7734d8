#include "packet/segment.hpp"

#include <algorithm>
#include <array>

#include "wire/checksum.hpp"
#include "wire/ipv4.hpp"
#include "wire/tcp.hpp"
#include "wire/udp.hpp"

namespace iopkt::packet {
namespace {

constexpr std::size_t kIpv6HeaderLen = 40;
/// A bound on network_offset, and the largest headers behind it.
constexpr std::size_t kMaxOffset = 18;
constexpr std::size_t kMaxHeaders = kMaxOffset + wire::Ipv4View::kMaxHeaderLen + wire::TcpView::kMaxHeaderLen;

/// The headers of a packet that is to be cut, and where they lie.
struct Template {
  std::array<std::byte, kMaxHeaders> bytes{};
  std::uint32_t network, transport, header_len;
  bool is_v4, is_tcp;
  bool udp_checksum;
};

bool read_template(const Packet& packet, std::uint32_t network_offset, Template& t) {
  const auto available = std::min<std::uint32_t>(packet.size(), kMaxHeaders);
  packet.copy_out(0, MutableBytes{t.bytes}.first(available));
  const Bytes bytes = Bytes{t.bytes}.first(available);
  if (network_offset > kMaxOffset || available < network_offset + wire::Ipv4View::kMinHeaderLen) return false;
  const std::uint8_t first = load_u8(bytes, network_offset);
  t.network = network_offset;
  t.is_v4 = first >> 4 == 4;
  if (!t.is_v4 && first >> 4 != 6) return false;
  t.transport = network_offset + (t.is_v4 ? (first & 0xfu) * 4 : static_cast<std::uint32_t>(kIpv6HeaderLen));
  if (t.transport < network_offset + wire::Ipv4View::kMinHeaderLen) return false;
  if (available < t.transport + wire::UdpView::kHeaderLen) return false;
  const auto protocol = static_cast<wire::IpProtocol>(load_u8(bytes, network_offset + (t.is_v4 ? 9 : 6)));
  t.is_tcp = (packet.flags & (IOPKT_GSO_TCP4 | IOPKT_GSO_TCP6)) != 0;
  if (protocol != (t.is_tcp ? wire::IpProtocol::tcp : wire::IpProtocol::udp)) return false;
  std::uint32_t transport_len = wire::UdpView::kHeaderLen;
  if (t.is_tcp) {
    if (available < t.transport + wire::TcpView::kMinHeaderLen) return false;
    transport_len = static_cast<std::uint32_t>(load_u8(bytes, t.transport + 12) >> 4) * 4;
    if (transport_len < wire::TcpView::kMinHeaderLen) return false;
  }
  t.header_len = t.transport + transport_len;
  t.udp_checksum =
      !t.is_tcp && ((packet.flags & IOPKT_CSUM_NEEDED) != 0 || load_be16(bytes, t.transport + 6) != 0);
  return t.header_len < packet.size() && t.header_len <= available;
}

/// Number `index` of the segments, with `done` payload bytes before it.
struct Place {
  std::uint32_t index, done, len;
  bool last;
};

void write_network(const Template& t, MutableBytes head, const Place& at) {
  const MutableBytes ip = head.subspan(t.network);
  const std::uint32_t behind = t.header_len - t.transport + at.len;
  if (!t.is_v4) {
    store_be16(ip, 4, static_cast<std::uint16_t>(behind));
    return;
  }
  const std::size_t ip_len = t.transport - t.network;
  store_be16(ip, wire::Ipv4View::At::total_len, static_cast<std::uint16_t>(ip_len + behind));
  // RFC 6864: what cannot be fragmented needs no number of its own, and 0 stays 0.
  const std::uint16_t id = load_be16(ip, wire::Ipv4View::At::id);
  const bool df = (load_u8(ip, wire::Ipv4View::At::fragment) & 0x40) != 0;
  if (id != 0 || !df) store_be16(ip, wire::Ipv4View::At::id, static_cast<std::uint16_t>(id + at.index));
  wire::store_ipv4_checksum(ip.first(ip_len));
}

std::uint32_t pseudo_sum(const Template& t, std::uint32_t len) {
  const Bytes ip = Bytes{t.bytes}.subspan(t.network);
  const auto protocol = t.is_tcp ? wire::IpProtocol::tcp : wire::IpProtocol::udp;
  if (t.is_v4)
    return wire::pseudo_header_sum(wire::load_ipv4(ip, wire::Ipv4View::At::src),
                                   wire::load_ipv4(ip, wire::Ipv4View::At::dst), protocol, len);
  return wire::pseudo_header_sum(wire::load_ipv6(ip, 8), wire::load_ipv6(ip, 24), protocol, len);
}

void write_transport(const Template& t, Packet& segment, MutableBytes head, const Place& at) {
  const MutableBytes transport = head.subspan(t.transport);
  const std::uint32_t len = t.header_len - t.transport + at.len;
  std::size_t checksum_at = wire::UdpView::kChecksumOffset;
  if (t.is_tcp) {
    checksum_at = wire::TcpView::kChecksumOffset;
    store_be32(transport, 4, load_be32(transport, 4) + at.done);
    std::uint8_t flags = load_u8(transport, 13);
    if (!at.last) flags &= static_cast<std::uint8_t>(~(wire::fin | wire::psh));
    if (at.index > 0) flags &= static_cast<std::uint8_t>(~wire::cwr);
    store_u8(transport, 13, flags);
  } else {
    store_be16(transport, 4, static_cast<std::uint16_t>(len));
  }
  store_be16(transport, checksum_at, 0);
  if (!t.is_tcp && !t.udp_checksum) return;
  const std::uint16_t sum = wire::finish(wire::fold(pseudo_sum(t, len) + segment.sum(t.transport, len)));
  store_be16(transport, checksum_at, wire::udp_checksum_field(sum));
}

/// Bytes of network and transport header of a GSO packet that begins with its IP header.
std::uint32_t gso_header_len(const Packet& packet) {
  std::byte byte{};
  packet.copy_out(0, {&byte, 1});
  const auto first = std::to_integer<std::uint32_t>(byte);
  const std::uint32_t ip_len = first >> 4 == 6 ? static_cast<std::uint32_t>(kIpv6HeaderLen) : (first & 0xf) * 4;
  if ((packet.flags & IOPKT_GSO_UDP) != 0) return ip_len + wire::UdpView::kHeaderLen;
  if (packet.size() < ip_len + wire::TcpView::kMinHeaderLen) return packet.size();
  packet.copy_out(ip_len + 12, {&byte, 1});
  return ip_len + (std::to_integer<std::uint32_t>(byte) >> 4) * 4;
}

}  // namespace

bool fits_mtu(const Packet& packet, std::uint32_t mtu) {
  if (packet.size() <= mtu) return true;
  if ((packet.flags & kGsoFlags) == 0) return false;
  return gso_header_len(packet) + packet.gso_size <= mtu;
}

void complete_checksum(Packet& packet) {
  if ((packet.flags & IOPKT_CSUM_NEEDED) == 0) return;
  packet.flags &= ~std::uint32_t{IOPKT_CSUM_NEEDED};
  const std::uint32_t field = std::uint32_t{packet.csum_start} + packet.csum_offset;
  // Metadata of a virtual link whose frame claims more than it holds: whoever receives it finds the wrong
  // sum.
  if (field + 2 > packet.size()) return;
  // The field takes part in the sum with the pseudo-header's share in it.
  const std::uint16_t sum = wire::finish(packet.sum(packet.csum_start, packet.size() - packet.csum_start));
  std::array<std::byte, 2> bytes{};
  store_be16(bytes, 0, wire::udp_checksum_field(sum));
  packet.copy_in(field, bytes);
}

Expected<void, Drop> segment(const Packet& packet, std::uint32_t network_offset, Burst& out) {
  Template t;
  if ((packet.flags & kGsoFlags) == 0 || packet.gso_size == 0 || !read_template(packet, network_offset, t))
    return unexpected(Drop::driver_broken_frame);
  const std::size_t before = out.size();
  const std::uint32_t payload = packet.size() - t.header_len;
  Place at{};
  for (; at.done < payload; at.done += at.len, ++at.index) {
    at.len = std::min<std::uint32_t>(packet.gso_size, payload - at.done);
    at.last = at.done + at.len == payload;
    PacketPtr one = packet.copy_range(packet.cache(), t.header_len + at.done, at.len);
    const MutableBytes head = one ? one->prepend(t.header_len) : MutableBytes{};
    if (head.empty()) {
      out.resize(before);
      return unexpected(Drop::no_buffer);
    }
    std::copy_n(t.bytes.begin(), t.header_len, head.begin());
    write_network(t, head, at);
    write_transport(t, *one, head, at);
    one->flags = packet.flags & std::uint32_t{IOPKT_VLAN_VALID | IOPKT_HASH_VALID};
    one->vlan_tci = packet.vlan_tci;
    one->hash = packet.hash;
    one->txq = packet.txq;
    one->flow_hash = packet.flow_hash;
    one->looped = packet.looped;
    out.push_back(std::move(one));
  }
  return {};
}

}  // namespace iopkt::packet
