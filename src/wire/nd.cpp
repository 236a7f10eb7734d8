#include "wire/nd.hpp"

#include <algorithm>

#include "wire/checksum.hpp"

namespace iopkt::wire {
namespace {

enum class Option : std::uint8_t {
  source_link = 1,
  target_link = 2,
  prefix = 3,
  redirected = 4,
  mtu = 5,
  nonce = 14,
  route = 24,
  dns_servers = 25,
  dns_domains = 31,
};
constexpr std::size_t kLinkLen = 8, kPrefixLen = 32, kMtuLen = 8, kNonceLen = 8, kDnsHeadLen = 8;
constexpr std::size_t kNameMax = 253;

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

/// RFC 4191 section 2.3: as many bytes of the prefix as its length needs, or more. False: fewer.
bool read_route(Bytes o, NdOptions& out) {
  const std::uint8_t length = load_u8(o, 2), preference = load_u8(o, 3) >> 3 & 3;
  if (o.size() > 24 || length > 128 || (o.size() - 8) * 8 < length) return false;
  if (preference == 2) return true;
  NdRoute route{.prefix = {}, .length = length, .preference = preference_of(preference), .lifetime_s = load_be32(o, 4)};
  for (std::size_t i = 8; i < o.size(); ++i) route.prefix.bytes[i - 8] = load_u8(o, i);
  if (out.routes.size() < kNdRoutesMax) out.routes.push_back(route);
  else out.left_out = true;
  return true;
}

/// The name at `at` in the form of RFC 1035 section 3.1, and `at` behind it; empty: none that could be a domain's. No compression.
std::string read_name(Bytes o, std::size_t& at) {
  std::string name;
  bool good = true;
  while (at < o.size()) {
    const std::size_t len = load_u8(o, at++);
    if (len == 0) return good && name.size() <= kNameMax ? name : std::string{};
    if (len > 63 || len > o.size() - at) break;
    if (!name.empty()) name += '.';
    for (const std::size_t end = at + len; at < end; ++at) {
      const char c = static_cast<char>(load_u8(o, at));
      // Such names become lines of files.
      good = good && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_');
      name += c;
    }
  }
  at = o.size();
  return {};
}

void read_domains(Bytes o, NdOptions& out) {
  for (std::size_t at = kDnsHeadLen; at < o.size();) {
    std::string name = read_name(o, at);
    if (name.empty()) continue;
    if (out.dns_domains.size() < kNdDomainsMax) out.dns_domains.push_back({std::move(name), load_be32(o, 4)});
    else out.left_out = true;
  }
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
      for (std::size_t at = kDnsHeadLen; at < o.size(); at += 16) {
        if (out.dns_servers.size() < kNdServersMax) out.dns_servers.push_back({load_ipv6(o, at), load_be32(o, 4)});
        else out.left_out = true;
      }
      return true;
    case Option::dns_domains:
      if (o.size() < kDnsHeadLen + 8) return false;
      return read_domains(o, out), true;
    case Option::route: return read_route(o, out);
    case Option::nonce:
      if (o.size() == kNonceLen) out.nonce = std::uint64_t{load_be16(o, 2)} << 32 | load_be32(o, 4);
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

/// An option of `len` bytes; what follows its length is 0.
MutableBytes begin_option(std::vector<std::byte>& out, Option kind, std::size_t len) {
  const MutableBytes o = grow(out, len);
  store_u8(o, 0, static_cast<std::uint8_t>(kind));
  store_u8(o, 1, static_cast<std::uint8_t>(len / 8));
  return o;
}

void append_link(std::vector<std::byte>& out, Option kind, const std::optional<MacAddress>& link) {
  if (!link) return;
  store_mac(begin_option(out, kind, kLinkLen), 2, *link);
}

unsigned bits_of(RouterPreference preference) {
  return preference == RouterPreference::high ? 1 : preference == RouterPreference::low ? 3 : 0;
}

void append_route(std::vector<std::byte>& out, const NdRoute& route) {
  const std::size_t bytes = route.length == 0 ? 0 : route.length <= 64 ? 8 : 16;
  const MutableBytes o = begin_option(out, Option::route, 8 + bytes);
  store_u8(o, 2, route.length);
  store_u8(o, 3, static_cast<std::uint8_t>(bits_of(route.preference) << 3));
  store_be32(o, 4, route.lifetime_s);
  for (std::size_t i = 0; i < bytes; ++i) store_u8(o, 8 + i, route.prefix.bytes[i]);
}

/// An option for those that follow each other with one lifetime.
void append_servers(std::vector<std::byte>& out, std::span<const NdServer> servers) {
  while (!servers.empty()) {
    std::size_t count = 1;
    while (count < servers.size() && servers[count].lifetime_s == servers[0].lifetime_s) ++count;
    const MutableBytes o = begin_option(out, Option::dns_servers, kDnsHeadLen + 16 * count);
    store_be32(o, 4, servers[0].lifetime_s);
    for (std::size_t i = 0; i < count; ++i) store_ipv6(o, kDnsHeadLen + 16 * i, servers[i].address);
    servers = servers.subspan(count);
  }
}

void append_domain(std::vector<std::byte>& out, const NdDomain& domain) {
  const MutableBytes o = begin_option(out, Option::dns_domains, (kDnsHeadLen + domain.name.size() + 2 + 7) / 8 * 8);
  store_be32(o, 4, domain.lifetime_s);
  // Each label behind its length: the dots' places, and one in front.
  std::size_t length_at = kDnsHeadLen, at = length_at + 1;
  for (const char c : domain.name + '.') {
    if (c == '.') {
      store_u8(o, length_at, static_cast<std::uint8_t>(at - length_at - 1));
      length_at = at++;
    } else {
      store_u8(o, at++, static_cast<std::uint8_t>(c));
    }
  }
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

void append_neighbour_solicitation(std::vector<std::byte>& out, const NeighbourSolicitation& m, const std::optional<MacAddress>& link,
                                   std::optional<std::uint64_t> nonce) {
  store_ipv6(begin(out, Icmpv6Type::neighbour_solicitation, NeighbourSolicitation::kLen), 8, m.target);
  append_link(out, Option::source_link, link);
  if (!nonce) return;
  const MutableBytes o = begin_option(out, Option::nonce, kNonceLen);
  store_be16(o, 2, static_cast<std::uint16_t>(*nonce >> 32));
  store_be32(o, 4, static_cast<std::uint32_t>(*nonce));
}

void append_neighbour_advertisement(std::vector<std::byte>& out, const NeighbourAdvertisement& m, const std::optional<MacAddress>& link) {
  const MutableBytes b = begin(out, Icmpv6Type::neighbour_advertisement, NeighbourAdvertisement::kLen);
  store_u8(b, 4, static_cast<std::uint8_t>((m.router ? 0x80 : 0) | (m.solicited ? 0x40 : 0) | (m.override_ ? 0x20 : 0)));
  store_ipv6(b, 8, m.target);
  append_link(out, Option::target_link, link);
}

void append_redirect(std::vector<std::byte>& out, const NdRedirect& m, const std::optional<MacAddress>& link, Bytes redirected) {
  const MutableBytes b = begin(out, Icmpv6Type::redirect, NdRedirect::kLen);
  store_ipv6(b, 8, m.target);
  store_ipv6(b, 24, m.destination);
  append_link(out, Option::target_link, link);
  if (redirected.empty()) return;
  const MutableBytes o = begin_option(out, Option::redirected, (8 + std::min(redirected.size(), kRedirectedMost) + 7) / 8 * 8);
  std::copy_n(redirected.begin(), std::min(redirected.size(), kRedirectedMost), o.begin() + 8);
}

void append_router_advertisement(std::vector<std::byte>& out, const RouterAdvertisement& m, const NdOptions& options) {
  const MutableBytes b = begin(out, Icmpv6Type::router_advertisement, RouterAdvertisement::kLen);
  store_u8(b, 4, m.hop_limit);
  store_u8(b, 5, static_cast<std::uint8_t>((m.managed ? 0x80u : 0) | (m.other ? 0x40u : 0) | bits_of(m.preference) << 3));
  store_be16(b, 6, m.lifetime_s);
  store_be32(b, 8, m.reachable_ms);
  store_be32(b, 12, m.retransmit_ms);
  append_link(out, Option::source_link, options.source_link);
  if (options.mtu) {
    store_be32(begin_option(out, Option::mtu, kMtuLen), 4, *options.mtu);
  }
  for (const NdPrefix& p : options.prefixes) {
    const MutableBytes o = begin_option(out, Option::prefix, kPrefixLen);
    store_u8(o, 2, p.length);
    store_u8(o, 3, static_cast<std::uint8_t>((p.on_link ? 0x80 : 0) | (p.autonomous ? 0x40 : 0)));
    store_be32(o, 4, p.valid_s);
    store_be32(o, 8, p.preferred_s);
    store_ipv6(o, 16, p.prefix);
  }
  for (const NdRoute& r : options.routes) append_route(out, r);
  append_servers(out, options.dns_servers);
  for (const NdDomain& d : options.dns_domains) append_domain(out, d);
}

}  // namespace iopkt::wire
