#include "udp/output.hpp"

#include <algorithm>

#include "wire/checksum.hpp"

namespace iopkt::udp {

Expected<void, Drop> add_header(packet::Packet& packet, const wire::Endpoint& src, const wire::Endpoint& dst,
                                Checksum checksum, UdpCounters<Counter>& counters, std::uint16_t gso_size) {
  IOPKT_ASSERT(src.address.family() == dst.address.family());
  IOPKT_ASSERT(checksum != Checksum::none || src.address.is_v4());
  IOPKT_ASSERT(gso_size == 0 || checksum == Checksum::later);
  const std::uint32_t payload = packet.size();
  if (payload > wire::UdpView::kMaxPayloadLen) return unexpected(Drop::ip_too_big);
  const MutableBytes room = packet.prepend(wire::UdpView::kHeaderLen);
  if (room.empty()) return unexpected(Drop::no_buffer);
  wire::encode(wire::UdpHeader{src.port, dst.port, static_cast<std::uint16_t>(payload)}, room);

  const std::uint32_t len = packet.size();
  if (checksum != Checksum::none) {
    const std::uint32_t pseudo =
        wire::pseudo_header_sum(src.address, dst.address, wire::IpProtocol::udp, len);
    if (checksum == Checksum::now) {
      const std::uint16_t sum = wire::finish(wire::fold(pseudo + packet.sum(0, len)));
      store_be16(room, wire::UdpView::kChecksumOffset, wire::udp_checksum_field(sum));
    } else {
      store_be16(room, wire::UdpView::kChecksumOffset, static_cast<std::uint16_t>(pseudo));
      packet.flags |= IOPKT_CSUM_NEEDED;
      packet.csum_start = 0;
      packet.csum_offset = wire::UdpView::kChecksumOffset;
    }
  }
  if (gso_size != 0 && payload > gso_size) {
    packet.flags |= IOPKT_GSO_UDP;
    packet.gso_size = gso_size;
    packet.header_len = wire::UdpView::kHeaderLen;
  }
  ++counters.tx_datagrams;
  counters.tx_bytes += payload;
  return {};
}

Expected<void, Drop> add_lite_header(packet::Packet& packet, const wire::Endpoint& src, const wire::Endpoint& dst,
                                     std::uint32_t coverage, UdpCounters<Counter>& counters) {
  IOPKT_ASSERT(src.address.family() == dst.address.family());
  const std::uint32_t payload = packet.size();
  if (payload > wire::UdpView::kMaxPayloadLen) return unexpected(Drop::ip_too_big);
  const MutableBytes room = packet.prepend(wire::UdpView::kHeaderLen);
  if (room.empty()) return unexpected(Drop::no_buffer);
  wire::encode(wire::UdpHeader{src.port, dst.port, 0}, room);
  const std::uint32_t len = packet.size();
  coverage = coverage == 0 ? len : std::clamp<std::uint32_t>(coverage, wire::UdpView::kHeaderLen, len);
  store_be16(room, wire::UdpView::kLengthOffset, static_cast<std::uint16_t>(coverage));
  const std::uint32_t pseudo =
      wire::pseudo_header_sum(src.address, dst.address, wire::IpProtocol::udplite, len);
  const std::uint16_t sum = wire::finish(wire::fold(pseudo + packet.sum(0, coverage)));
  store_be16(room, wire::UdpView::kChecksumOffset, wire::udp_checksum_field(sum));
  ++counters.tx_datagrams;
  counters.tx_bytes += payload;
  return {};
}

}  // namespace iopkt::udp
