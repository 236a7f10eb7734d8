#include "raw/match.hpp"

#include <algorithm>

#include "ipv4/options.hpp"

namespace iopkt::raw {

bool matches(const Bound& bound, wire::IpProtocol protocol, const wire::IpAddress& src,
             const wire::IpAddress& dst, std::uint32_t interface_index,
             std::optional<std::uint8_t> icmp_type) {
  constexpr std::uint8_t kSendOnly = 255;
  if (bound.protocol == kSendOnly) return false;
  if (bound.protocol != 0 && bound.protocol != static_cast<std::uint8_t>(protocol)) return false;
  if (bound.local && !bound.local->is_unspecified() && *bound.local != dst) return false;
  if (bound.remote && !bound.remote->is_unspecified() && *bound.remote != src) return false;
  if (bound.interface_index != 0 && bound.interface_index != interface_index) return false;
  return !(icmp_type && (bound.icmp_filter[*icmp_type / 32] >> *icmp_type % 32 & 1) != 0);
}

Expected<wire::Ipv4Header, HeaderError> complete_header(packet::Packet& packet,
                                                        wire::Ipv4Address default_source, ipv4::IdSource& ids,
                                                        ipv4::Ipv4Counters<Counter>& counters) {
  using wire::Ipv4View;
  if (packet.size() > Ipv4View::kMaxPacketLen) return unexpected(HeaderError::too_big);
  if (packet.size() < Ipv4View::kMinHeaderLen) return unexpected(HeaderError::truncated);
  std::array<std::byte, Ipv4View::kMaxHeaderLen> copy{};
  const auto available = std::min<std::uint32_t>(packet.size(), copy.size());
  packet.copy_out(0, MutableBytes{copy}.first(available));
  const std::uint32_t header_len = (load_u8(copy, 0) & 0xfu) * 4;
  if (load_u8(copy, 0) >> 4 != 4 || header_len < Ipv4View::kMinHeaderLen)
    return unexpected(HeaderError::bad_header);
  if (header_len > packet.size()) return unexpected(HeaderError::truncated);

  const MutableBytes header = MutableBytes{copy}.first(header_len);
  if (!ipv4::check_options(header.subspan(Ipv4View::kMinHeaderLen)))
    return unexpected(HeaderError::bad_option);
  store_be16(header, Ipv4View::At::total_len, static_cast<std::uint16_t>(packet.size()));
  if (load_be32(header, Ipv4View::At::src) == 0) wire::store_ipv4(header, Ipv4View::At::src, default_source);
  const auto view = Ipv4View::parse_header(header);
  if (view->id() == 0 && !(view->df() && !view->is_fragment()))
    store_be16(header, Ipv4View::At::id, ids.next(view->src(), view->dst(), view->protocol()));
  else if (view->id() == 0)
    store_be16(header, Ipv4View::At::id, ids.atomic(view->src(), view->dst(), view->protocol()));
  wire::store_ipv4_checksum(header);

  // The program's bytes may be its own memory: the header is replaced, not changed.
  packet.trim_front(header_len);
  const MutableBytes room = packet.prepend(header_len);
  if (room.empty()) return unexpected(HeaderError::no_buffer);
  std::copy(header.begin(), header.end(), room.begin());
  ++counters.tx_raw;
  return view->header();
}

}  // namespace iopkt::raw
