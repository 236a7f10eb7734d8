#include "wire/nd.hpp"

#include "wire/checksum.hpp"

namespace iopkt::wire {
namespace {

enum class Option : std::uint8_t {
  source_link = 1,
  target_link = 2,
  prefix = 3,
  redirected = 4,
  mtu = 5,
  dns_servers = 25,
};
constexpr std::size_t kLinkLen = 8, kPrefixLen = 32, kMtuLen = 8, kDnsHeadLen = 8;

RouterPreference preference_of(std::uint8_t bits) {
  return bits == 1 ? RouterPreference::high : bits == 3 ? RouterPreference::low : RouterPreference::medium;
}

NdPrefix read_prefix(Bytes o) {
  return {.prefix = load_ipv6(o, 16),
          .length = load_u8(o, 2),
          .on_link = (load_u8(o, 3) & 0x80) != 0,
          .autonomous = (load_u8(o, 3) & 0x40) != 0,
          .valid_s = load_be32(o, 4),
          .preferred_s = load_be32(o, 8)};
}

/// One option, whole, into what it means. False: a length that its kind never has.
bool read_option(Bytes o, NdOptions& out) {
  switch (static_cast<Option>(load_u8(o, 0))) {
    // RFC 2464 section 6: of Ethernet alone.
    case Option::source_link:
    case Option::target_link: {
      if (o.size() != kLinkLen) return false;
      auto& place = load_u8(o, 0) == 1 ? out.source_link : out.target_link;
      if (!place) place = load_mac(o, 2);
      return true;
    }
    case Option::prefix:
      if (o.size() != kPrefixLen || load_u8(o, 2) > 128) return false;
      if (out.prefixes.size() < kNdPrefixesMax) out.prefixes.push_back(read_prefix(o));
      else out.left_out = true;
      return true;
    case Option::mtu:
      if (o.size() != kMtuLen) return false;
      out.mtu = load_be32(o, 4);
      return true;
    case Option::dns_servers:
      // RFC 8106 section 5.1: one address at least, and whole ones.
      if (o.size() < kDnsHeadLen + 16 || o.size() % 16 != kDnsHeadLen) return false;
      out.dns_lifetime_s = load_be32(o, 4);
      for (std::size_t at = kDnsHeadLen; at < o.size(); at += 16) {
        if (out.dns_servers.size() < kNdServersMax) out.dns_servers.push_back(load_ipv6(o, at));
        else out.left_out = true;
      }
      return true;
    case Option::redirected: break;
  }
  return true;
}

Expected<NdOptions, ParseError> read_options(Bytes bytes) {
  NdOptions out;
  for (std::size_t count = 0; !bytes.empty(); ++count) {
    if (bytes.size() < 8) return unexpected(ParseError::truncated);
    const std::size_t len = std::size_t{load_u8(bytes, 1)} * 8;
    if (len == 0 || count == kNdOptionsMax) return unexpected(ParseError::bad_length);
    if (len > bytes.size()) return unexpected(ParseError::truncated);
    if (!read_option(bytes.first(len), out)) return unexpected(ParseError::bad_length);
    bytes = bytes.subspan(len);
  }
  return out;
}

std::size_t fixed_len(Icmpv6Type type) {
  switch (type) {
    case Icmpv6Type::router_solicitation: return RouterSolicitation::kLen;
    case Icmpv6Type::router_advertisement: return RouterAdvertisement::kLen;
    case Icmpv6Type::neighbour_solicitation: return NeighbourSolicitation::kLen;
    case Icmpv6Type::neighbour_advertisement: return NeighbourAdvertisement::kLen;
    case Icmpv6Type::redirect: return NdRedirect::kLen;
    default: return 0;
  }
}

NdBody read_body(Icmpv6Type type, Bytes b) {
  switch (type) {
    case Icmpv6Type::router_advertisement:
      return RouterAdvertisement{.hop_limit = load_u8(b, 4),
                                 .managed = (load_u8(b, 5) & 0x80) != 0,
                                 .other = (load_u8(b, 5) & 0x40) != 0,
                                 .preference = preference_of(load_u8(b, 5) >> 3 & 3),
                                 .lifetime_s = load_be16(b, 6),
                                 .reachable_ms = load_be32(b, 8),
                                 .retransmit_ms = load_be32(b, 12)};
    case Icmpv6Type::neighbour_solicitation: return NeighbourSolicitation{load_ipv6(b, 8)};
    case Icmpv6Type::neighbour_advertisement:
      return NeighbourAdvertisement{.target = load_ipv6(b, 8),
                                    .router = (load_u8(b, 4) & 0x80) != 0,
                                    .solicited = (load_u8(b, 4) & 0x40) != 0,
                                    .override_ = (load_u8(b, 4) & 0x20) != 0};
    case Icmpv6Type::redirect: return NdRedirect{.target = load_ipv6(b, 8), .destination = load_ipv6(b, 24)};
    default: return RouterSolicitation{};
  }
}

/// `len` zeroes behind `out`; the place of the new ones.
MutableBytes grow(std::vector<std::byte>& out, std::size_t len) {
  const std::size_t before = out.size();
  out.resize(before + len);
  return MutableBytes{out}.subspan(before);
}

MutableBytes begin(std::vector<std::byte>& out, Icmpv6Type type, std::size_t len) {
  const MutableBytes b = grow(out, len);
  encode(Icmpv6Header{.type = type}, b);
  return b;
}

void append_link(std::vector<std::byte>& out, Option kind, const std::optional<MacAddress>& link) {
  if (!link) return;
  const MutableBytes o = grow(out, kLinkLen);
  store_u8(o, 0, static_cast<std::uint8_t>(kind));
  store_u8(o, 1, 1);
  store_mac(o, 2, *link);
}

}  // namespace

void store_icmpv6_checksum(MutableBytes message, const Ipv6Address& src, const Ipv6Address& dst) {
  store_be16(message, Icmpv6View::kChecksumOffset, 0);
  const std::uint32_t pseudo = pseudo_header_sum(src, dst, IpProtocol::icmpv6, static_cast<std::uint32_t>(message.size()));
  store_be16(message, Icmpv6View::kChecksumOffset, finish(sum(message, pseudo)));
}

Expected<NdMessage, ParseError> parse_nd(Bytes message) {
  const auto view = Icmpv6View::parse(message);
  if (!view) return unexpected(view.error());
  const std::size_t fixed = fixed_len(view->type());
  if (fixed == 0 || view->header().code != 0) return unexpected(ParseError::bad_type);
  if (message.size() < fixed) return unexpected(ParseError::truncated);
  auto options = read_options(message.subspan(fixed));
  if (!options) return unexpected(options.error());
  return NdMessage{read_body(view->type(), message), std::move(*options)};
}

void append_router_solicitation(std::vector<std::byte>& out, const std::optional<MacAddress>& link) {
  begin(out, Icmpv6Type::router_solicitation, RouterSolicitation::kLen);
  append_link(out, Option::source_link, link);
}

void append_neighbour_solicitation(std::vector<std::byte>& out, const NeighbourSolicitation& m, const std::optional<MacAddress>& link) {
  store_ipv6(begin(out, Icmpv6Type::neighbour_solicitation, NeighbourSolicitation::kLen), 8, m.target);
  append_link(out, Option::source_link, link);
}

void append_neighbour_advertisement(std::vector<std::byte>& out, const NeighbourAdvertisement& m, const std::optional<MacAddress>& link) {
  const MutableBytes b = begin(out, Icmpv6Type::neighbour_advertisement, NeighbourAdvertisement::kLen);
  store_u8(b, 4, static_cast<std::uint8_t>((m.router ? 0x80 : 0) | (m.solicited ? 0x40 : 0) | (m.override_ ? 0x20 : 0)));
  store_ipv6(b, 8, m.target);
  append_link(out, Option::target_link, link);
}

void append_redirect(std::vector<std::byte>& out, const NdRedirect& m, const std::optional<MacAddress>& link) {
  const MutableBytes b = begin(out, Icmpv6Type::redirect, NdRedirect::kLen);
  store_ipv6(b, 8, m.target);
  store_ipv6(b, 24, m.destination);
  append_link(out, Option::target_link, link);
}

void append_router_advertisement(std::vector<std::byte>& out, const RouterAdvertisement& m, const NdOptions& options) {
  const MutableBytes b = begin(out, Icmpv6Type::router_advertisement, RouterAdvertisement::kLen);
  const unsigned preference = m.preference == RouterPreference::high ? 1 : m.preference == RouterPreference::low ? 3 : 0;
  store_u8(b, 4, m.hop_limit);
  store_u8(b, 5, static_cast<std::uint8_t>((m.managed ? 0x80u : 0) | (m.other ? 0x40u : 0) | preference << 3));
  store_be16(b, 6, m.lifetime_s);
  store_be32(b, 8, m.reachable_ms);
  store_be32(b, 12, m.retransmit_ms);
  append_link(out, Option::source_link, options.source_link);
  if (options.mtu) {
    const MutableBytes o = grow(out, kMtuLen);
    store_u8(o, 0, static_cast<std::uint8_t>(Option::mtu));
    store_u8(o, 1, 1);
    store_be32(o, 4, *options.mtu);
  }
  for (const NdPrefix& p : options.prefixes) {
    const MutableBytes o = grow(out, kPrefixLen);
    store_u8(o, 0, static_cast<std::uint8_t>(Option::prefix));
    store_u8(o, 1, 4);
    store_u8(o, 2, p.length);
    store_u8(o, 3, static_cast<std::uint8_t>((p.on_link ? 0x80 : 0) | (p.autonomous ? 0x40 : 0)));
    store_be32(o, 4, p.valid_s);
    store_be32(o, 8, p.preferred_s);
    store_ipv6(o, 16, p.prefix);
  }
  if (options.dns_servers.empty()) return;
  const MutableBytes o = grow(out, kDnsHeadLen + 16 * options.dns_servers.size());
  store_u8(o, 0, static_cast<std::uint8_t>(Option::dns_servers));
  store_u8(o, 1, static_cast<std::uint8_t>(o.size() / 8));
  store_be32(o, 4, options.dns_lifetime_s);
  for (std::size_t i = 0; i < options.dns_servers.size(); ++i) store_ipv6(o, kDnsHeadLen + 16 * i, options.dns_servers[i]);
}

}  // namespace iopkt::wire
