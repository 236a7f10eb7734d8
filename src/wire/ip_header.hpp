// What every protocol above IP needs to know about the packet that carried it, whatever the family; and the header itself
// as it came, so that it can be put in front again and quoted.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.hpp"
#include "wire/address.hpp"
#include "wire/checksum.hpp"
#include "wire/ipv4.hpp"
#include "wire/ipv6.hpp"

namespace iopkt::wire {

/// A copy of a network header with its options or extension headers; memory of its own only beyond 60 bytes.
class HeaderBytes {
 public:
  HeaderBytes() = default;
  explicit HeaderBytes(Bytes bytes) : len_(bytes.size()) {
    if (len_ > kInline) more_.assign(bytes.begin(), bytes.end());
    else std::copy(bytes.begin(), bytes.end(), inline_.begin());
  }
  std::size_t size() const { return len_; }
  Bytes span() const { return len_ > kInline ? Bytes{more_} : Bytes{inline_}.first(len_); }
  MutableBytes mutable_span() { return len_ > kInline ? MutableBytes{more_} : MutableBytes{inline_}.first(len_); }

 private:
  static constexpr std::size_t kInline = Ipv4View::kMaxHeaderLen;
  std::array<std::byte, kInline> inline_;
  std::vector<std::byte> more_;
  std::size_t len_ = 0;
};

struct IpHeader {
  IpAddress src, dst;     ///< With the zone of the interface that it came by
  IpProtocol protocol{};  ///< Of the payload: behind all extension headers
  std::uint8_t ttl{};     ///< Or hop limit
  std::uint8_t tos{};     ///< Or traffic class: DSCP << 2 | ECN
  HeaderBytes bytes;

  IpHeader() = default;
  // NOLINTNEXTLINE(google-explicit-constructor): the same header, in the other form.
  IpHeader(const Ipv4Header& h)
      : src(h.src), dst(h.dst), protocol(h.protocol), ttl(h.ttl), tos(h.tos), bytes(encoded(h)) {}
  /// `raw`: exactly the header's bytes, of which `h` was read.
  IpHeader(const Ipv4Header& h, Bytes raw)
      : src(h.src), dst(h.dst), protocol(h.protocol), ttl(h.ttl), tos(h.tos), bytes(raw) {}
  /// `raw`: the IPv6 header and all extension headers up to `upper`. `zone`: of the interface.
  IpHeader(const Ipv6Header& h, IpProtocol upper, Bytes raw, std::uint32_t zone)
      : src(h.src, zone), dst(h.dst, zone), protocol(upper), ttl(h.hop_limit), tos(h.tos), bytes(raw) {}

  constexpr IpFamily family() const { return dst.family(); }
  constexpr std::uint8_t ecn() const { return tos & 3; }

  /// Makes `bytes` those of a whole packet of `payload_len` bytes, not a fragment; with ECN `mark` added.
  /// bytes.size() + payload_len is at most 65535.
  void make_whole(std::size_t payload_len, std::uint8_t mark) {
    const MutableBytes b = bytes.mutable_span();
    tos |= mark;
    if (dst.is_v4()) {
      store_u8(b, Ipv4View::At::tos, tos);
      store_be16(b, Ipv4View::At::total_len, static_cast<std::uint16_t>(b.size() + payload_len));
      store_be16(b, Ipv4View::At::fragment, load_be16(b, Ipv4View::At::fragment) & 0x4000);
      return store_ipv4_checksum(b);
    }
    store_be32(b, 0, load_be32(b, 0) | std::uint32_t{mark} << 20);
    store_be16(b, Ipv6View::At::payload_len, static_cast<std::uint16_t>(b.size() - Ipv6View::kHeaderLen + payload_len));
  }

 private:
  static HeaderBytes encoded(const Ipv4Header& h) {
    std::array<std::byte, Ipv4View::kMaxHeaderLen> raw{};
    return HeaderBytes{Bytes{raw}.first(encode(h, raw))};
  }
};

/// Where a fragment belongs in its datagram.
struct IpFragment {
  std::uint32_t id{};
  std::uint32_t offset{};        ///< In bytes
  bool more{};
  std::uint16_t header_len{};    ///< In front of the fragment's payload: for IPv6 with the fragment header
};

}  // namespace iopkt::wire
