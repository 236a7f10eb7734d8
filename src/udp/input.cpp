#include "udp/input.hpp"

#include "wire/checksum.hpp"

namespace iopkt::udp {
namespace {

bool checksum_is_good(const wire::IpAddress& src, const wire::IpAddress& dst, const packet::Packet& packet,
                      std::uint32_t len, const UdpTunables& tunables) {
  if ((packet.flags & (IOPKT_CSUM_VALID | IOPKT_CSUM_NEEDED)) != 0) return true;
  if (packet.looped && tunables.do_loopback_cksum == 0) return true;
  const std::uint32_t pseudo = wire::pseudo_header_sum(src, dst, wire::IpProtocol::udp, len);
  return wire::finish(wire::fold(pseudo + packet.sum(0, len))) == 0;
}

/// Counts a good datagram whose header is in front of `packet`.
UdpIn accepted(const wire::IpAddress& src, const wire::IpAddress& dst, const packet::Packet& packet,
               UdpCounters<Counter>& counters) {
  const auto payload_len = static_cast<std::uint16_t>(packet.size() - wire::UdpView::kHeaderLen);
  ++counters.rx_datagrams;
  counters.rx_bytes += payload_len;
  if (packet.link_broadcast || packet.link_multicast) ++counters.rx_broadcasts;
  const wire::UdpHeader header{
      .src = {load_be16(packet.head(), 0)}, .dst = {load_be16(packet.head(), 2)}, .payload_len = payload_len};
  return {.src = {src, header.src}, .dst = {dst, header.dst}, .header = header};
}

}  // namespace

Expected<UdpIn, Drop> input(const wire::IpAddress& src, const wire::IpAddress& dst, packet::Packet& packet,
                            const UdpTunables& tunables, UdpCounters<Counter>& counters) {
  if (packet.size() < wire::UdpView::kHeaderLen) return unexpected(Drop::udp_truncated);
  if (!packet.pull_up(wire::UdpView::kHeaderLen)) return unexpected(Drop::no_buffer);
  const std::uint32_t len = load_be16(packet.head(), 4);
  if (len < wire::UdpView::kHeaderLen || len > packet.size()) return unexpected(Drop::udp_truncated);
  packet.trim_back(packet.size() - len);

  const std::uint16_t checksum = load_be16(packet.head(), wire::UdpView::kChecksumOffset);
  const bool left_to_device = (packet.flags & IOPKT_CSUM_NEEDED) != 0;
  if (checksum == 0 && !left_to_device) {
    if (src.is_v6()) return unexpected(Drop::udp_bad_checksum);
    ++counters.rx_no_checksum;
  } else if (!checksum_is_good(src, dst, packet, len, tunables)) {
    return unexpected(Drop::udp_bad_checksum);
  }
  return accepted(src, dst, packet, counters);
}

Expected<UdpIn, Drop> lite_input(const wire::IpAddress& src, const wire::IpAddress& dst, packet::Packet& packet,
                                 const UdpTunables& tunables, UdpCounters<Counter>& counters) {
  if (packet.size() < wire::UdpView::kHeaderLen) return unexpected(Drop::udp_truncated);
  if (!packet.pull_up(wire::UdpView::kHeaderLen)) return unexpected(Drop::no_buffer);
  const std::uint32_t len = packet.size();
  // RFC 3828 section 3.1.
  const std::uint32_t field = load_be16(packet.head(), 4);
  const std::uint32_t coverage = field == 0 ? len : field;
  if (coverage < wire::UdpView::kHeaderLen || coverage > len) return unexpected(Drop::udplite_bad_coverage);
  if (load_be16(packet.head(), wire::UdpView::kChecksumOffset) == 0) return unexpected(Drop::udp_bad_checksum);
  if (!packet.looped || tunables.do_loopback_cksum != 0) {
    // No device knows this protocol, so what it says about a checksum is about another one. The pseudo-header has the length
    // of the whole, whatever is covered.
    const std::uint32_t pseudo = wire::pseudo_header_sum(src, dst, wire::IpProtocol::udplite, len);
    if (wire::finish(wire::fold(pseudo + packet.sum(0, coverage))) != 0) return unexpected(Drop::udp_bad_checksum);
  }
  UdpIn in = accepted(src, dst, packet, counters);
  in.coverage = coverage;
  in.partial = coverage < len;
  return in;
}

}  // namespace iopkt::udp
