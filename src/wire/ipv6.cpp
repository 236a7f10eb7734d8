#include "wire/ipv6.hpp"

namespace iopkt::wire {

std::size_t encode(const Ipv6Header& h, MutableBytes out) {
  using At = Ipv6View::At;
  IOPKT_ASSERT(out.size() >= Ipv6View::kHeaderLen && h.flow_label <= 0xfffff);
  store_be32(out, 0, 6u << 28 | std::uint32_t{h.tos} << 20 | h.flow_label);
  store_be16(out, At::payload_len, h.payload_len);
  store_u8(out, At::next_header, static_cast<std::uint8_t>(h.next_header));
  store_u8(out, At::hop_limit, h.hop_limit);
  store_ipv6(out, At::src, h.src);
  store_ipv6(out, At::dst, h.dst);
  return Ipv6View::kHeaderLen;
}

Expected<Ipv6FragmentHeader, ParseError> Ipv6FragmentHeader::parse(Bytes bytes) {
  if (bytes.size() < kLen) return unexpected(ParseError::truncated);
  const std::uint16_t word = load_be16(bytes, 2);
  return Ipv6FragmentHeader{.next_header = static_cast<IpProtocol>(load_u8(bytes, 0)),
                            .offset = static_cast<std::uint16_t>(word & 0xfff8),
                            .more = (word & 1) != 0,
                            .id = load_be32(bytes, 4)};
}

std::size_t encode(const Ipv6FragmentHeader& h, MutableBytes out) {
  IOPKT_ASSERT(h.offset % 8 == 0);
  store_u8(out, 0, static_cast<std::uint8_t>(h.next_header));
  store_u8(out, 1, 0);
  store_be16(out, 2, static_cast<std::uint16_t>(h.offset | (h.more ? 1 : 0)));
  store_be32(out, 4, h.id);
  return Ipv6FragmentHeader::kLen;
}

Expected<std::size_t, ParseError> extension_len(IpProtocol kind, Bytes bytes) {
  if (bytes.size() < 8) return unexpected(ParseError::truncated);
  const std::size_t field = load_u8(bytes, 1);
  // RFC 4302 section 2.2: the authentication header counts in words of 4 bytes.
  const std::size_t len = kind == IpProtocol::fragment ? Ipv6FragmentHeader::kLen
                          : kind == IpProtocol::ah     ? (field + 2) * 4
                                                       : (field + 1) * 8;
  if (len > bytes.size() || len < 8) return unexpected(ParseError::truncated);
  return len;
}

Expected<UpperLayer, ParseError> find_upper_layer(Bytes packet) {
  const auto ip = Ipv6View::parse_header(packet);
  if (!ip) return unexpected(ip.error());
  UpperLayer found{.protocol = ip->next_header(), .offset = Ipv6View::kHeaderLen, .named_at = Ipv6View::At::next_header, .fragment = {}};
  for (std::size_t count = 0; is_extension(found.protocol); ++count) {
    if (count == kExtensionHeadersMax) return unexpected(ParseError::bad_length);
    const Bytes rest = ip->packet().subspan(found.offset);
    const auto len = extension_len(found.protocol, rest);
    if (!len) return unexpected(len.error());
    if (found.offset + *len > Ipv6View::kHeaderLen + kExtensionBytesMax) return unexpected(ParseError::bad_length);
    if (found.protocol == IpProtocol::fragment) found.fragment = *Ipv6FragmentHeader::parse(rest);
    if (found.protocol == IpProtocol::routing && load_u8(rest, 2) == kSegmentRoutingType && load_u8(rest, 3) != 0 && *len >= 24)
      found.last_segment = load_ipv6(rest, 8);
    found.protocol = static_cast<IpProtocol>(load_u8(rest, 0));
    found.named_at = found.offset;
    found.offset += *len;
    if (found.fragment && found.fragment->offset != 0) break;
  }
  return found;
}

Expected<std::optional<Ipv6Option>, ParseError> Ipv6OptionReader::next() {
  while (at_ < header_.size()) {
    const std::uint8_t type = load_u8(header_, at_);
    if (type == static_cast<std::uint8_t>(Ipv6OptionType::pad1)) {
      ++at_;
      continue;
    }
    if (at_ + 2 > header_.size()) return unexpected(ParseError::truncated);
    const std::size_t len = load_u8(header_, at_ + 1);
    if (at_ + 2 + len > header_.size()) return unexpected(ParseError::truncated);
    const Ipv6Option option{.type = type, .offset = at_, .data = header_.subspan(at_ + 2, len)};
    at_ += 2 + len;
    if (type != static_cast<std::uint8_t>(Ipv6OptionType::padn)) return option;
  }
  return std::nullopt;
}

}  // namespace iopkt::wire
