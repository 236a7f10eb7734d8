#include "wire/ipv6_extensions.hpp"

#include <array>

namespace iopkt::wire {
namespace {

constexpr std::size_t kHeaderMax = 255 * 8;
constexpr std::size_t kSegmentLen = 16;

/// Where the header of that kind lies in a chain that is_sendable(); nullopt: nowhere.
std::optional<std::size_t> find_kind(IpProtocol first, Bytes bytes, IpProtocol wanted) {
  for (std::size_t at = 0; at < bytes.size();) {
    if (first == wanted) return at;
    const auto len = extension_len(first, bytes.subspan(at));
    if (!len) return std::nullopt;
    first = static_cast<IpProtocol>(load_u8(bytes, at));
    at += *len;
  }
  return std::nullopt;
}

}  // namespace

std::optional<ExtensionChain> chain_of(const ExtensionSet& set) {
  struct Part {
    IpProtocol kind;
    const std::string* header;
  };
  static const std::string kNone;
  const std::array<Part, 4> parts{{{IpProtocol::hop_by_hop, &set.hop_by_hop},
                                   {IpProtocol::destination_options, set.routing.empty() ? &kNone : &set.before_routing},
                                   {IpProtocol::routing, &set.routing},
                                   {IpProtocol::destination_options, &set.destination}}};
  ExtensionChain chain;
  std::size_t named_at = 0;
  for (const Part& part : parts) {
    if (part.header->empty()) continue;
    if (chain.bytes.empty()) chain.first = part.kind;
    else chain.bytes[named_at] = static_cast<std::byte>(part.kind);
    named_at = chain.bytes.size();
    const auto* from = reinterpret_cast<const std::byte*>(part.header->data());
    chain.bytes.insert(chain.bytes.end(), from, from + part.header->size());
  }
  if (chain.bytes.size() > kExtensionBytesMax) return std::nullopt;
  return chain;
}

Expected<Bytes, ParseError> sole_extension(Bytes value) {
  if (value.size() % 8 != 0 || value.size() > kHeaderMax) return unexpected(ParseError::bad_length);
  const auto len = extension_len(IpProtocol::destination_options, value);
  if (!len) return unexpected(len.error());
  return value.first(*len);
}

bool is_segment_routing(Bytes header) {
  constexpr std::size_t kTypeAt = 2, kLeftAt = 3, kLastEntryAt = 4, kSegmentsAt = 8;
  if (header.size() < kSegmentsAt + kSegmentLen || load_u8(header, kTypeAt) != kSegmentRoutingType) return false;
  const std::size_t segments = load_u8(header, kLastEntryAt) + std::size_t{1};
  if (kSegmentsAt + segments * kSegmentLen > header.size() || load_u8(header, kLeftAt) >= segments) return false;
  // The first is the end of the way, whose place the destination takes.
  for (std::size_t i = 1; i < segments; ++i)
    if (load_ipv6(header, kSegmentsAt + i * kSegmentLen).is_multicast()) return false;
  return true;
}

bool is_sendable(IpProtocol first, Bytes bytes) {
  if (bytes.empty() || bytes.size() > kExtensionBytesMax) return false;
  // In the order of sending; destination options may come at two places.
  constexpr std::array kOrder{IpProtocol::hop_by_hop, IpProtocol::destination_options, IpProtocol::routing, IpProtocol::destination_options};
  std::size_t place = 0;
  for (std::size_t at = 0; at < bytes.size();) {
    while (place < kOrder.size() && kOrder[place] != first) ++place;
    if (place++ == kOrder.size()) return false;
    const auto len = extension_len(first, bytes.subspan(at));
    if (!len) return false;
    if (first == IpProtocol::routing && !is_segment_routing(bytes.subspan(at, *len))) return false;
    first = static_cast<IpProtocol>(load_u8(bytes, at));
    at += *len;
  }
  return true;
}

bool has_routing(IpProtocol first, Bytes bytes) { return find_kind(first, bytes, IpProtocol::routing).has_value(); }

std::optional<Ipv6Address> first_segment(IpProtocol first, Bytes bytes) {
  const auto at = find_kind(first, bytes, IpProtocol::routing);
  if (!at || load_u8(bytes, *at + 3) == 0) return std::nullopt;
  return load_ipv6(bytes, *at + 8 + load_u8(bytes, *at + 3) * kSegmentLen);
}

std::size_t unfragmentable_len(Bytes packet) {
  const auto ip = Ipv6View::parse_header(packet);
  std::size_t end = Ipv6View::kHeaderLen, at = end;
  if (!ip) return end;
  // Through the routing header, if there is one, else the hop-by-hop options.
  for (IpProtocol kind = ip->next_header(); kind == IpProtocol::hop_by_hop || kind == IpProtocol::destination_options || kind == IpProtocol::routing;) {
    const auto len = extension_len(kind, packet.subspan(at));
    if (!len) break;
    at += *len;
    if (kind != IpProtocol::destination_options) end = at;
    kind = static_cast<IpProtocol>(load_u8(packet, at - *len));
  }
  return end;
}

}  // namespace iopkt::wire
