#include "wire/ipv4.hpp"

#include "wire/checksum.hpp"

namespace iopkt::wire {

Ipv4Header Ipv4View::header() const {
  Ipv4Header h{.tos = tos(),
               .id = id(),
               .df = df(),
               .mf = mf(),
               .fragment_offset = fragment_offset(),
               .ttl = ttl(),
               .protocol = protocol(),
               .src = src(),
               .dst = dst(),
               .payload_len = static_cast<std::uint16_t>(total_len() - header_len_),
               .options = {}};
  const Bytes o = options();
  h.options.len = static_cast<std::uint8_t>(o.size());
  std::copy(o.begin(), o.end(), h.options.bytes.begin());
  return h;
}

bool Ipv4View::checksum_ok() const { return finish(sum(header_bytes())) == 0; }

std::size_t encode(const Ipv4Header& h, MutableBytes out) {
  using At = Ipv4View::At;
  const std::size_t len = encoded_len(h);
  IOPKT_ASSERT(h.options.len <= Ipv4OptionBytes::kMaxLen);
  IOPKT_ASSERT(out.size() >= len);
  IOPKT_ASSERT(len + h.payload_len <= Ipv4View::kMaxPacketLen);
  IOPKT_ASSERT(h.fragment_offset % 8 == 0);
  const auto fragment =
      static_cast<std::uint16_t>((h.df ? 0x4000 : 0) | (h.mf ? 0x2000 : 0) | h.fragment_offset / 8);
  store_u8(out, 0, static_cast<std::uint8_t>(0x40 | len / 4));
  store_u8(out, At::tos, h.tos);
  store_be16(out, At::total_len, static_cast<std::uint16_t>(len + h.payload_len));
  store_be16(out, At::id, h.id);
  store_be16(out, At::fragment, fragment);
  store_u8(out, At::ttl, h.ttl);
  store_u8(out, At::protocol, static_cast<std::uint8_t>(h.protocol));
  store_ipv4(out, At::src, h.src);
  store_ipv4(out, At::dst, h.dst);
  const auto options = out.subspan(Ipv4View::kMinHeaderLen, len - Ipv4View::kMinHeaderLen);
  std::copy_n(h.options.bytes.begin(), h.options.len, options.begin());
  std::fill(options.begin() + h.options.len, options.end(), std::byte{0});
  store_ipv4_checksum(out.first(len));
  return len;
}

void store_ipv4_checksum(MutableBytes header) {
  store_be16(header, Ipv4View::kChecksumOffset, 0);
  store_be16(header, Ipv4View::kChecksumOffset, finish(sum(header)));
}

void decrement_ttl(MutableBytes header) {
  const std::uint16_t before = load_be16(header, Ipv4View::At::ttl);
  IOPKT_ASSERT(before >> 8 != 0);
  const auto after = static_cast<std::uint16_t>(before - 0x100);
  store_be16(header, Ipv4View::At::ttl, after);
  const std::uint16_t checksum = load_be16(header, Ipv4View::kChecksumOffset);
  store_be16(header, Ipv4View::kChecksumOffset, updated_checksum16(checksum, before, after));
}

}  // namespace iopkt::wire
