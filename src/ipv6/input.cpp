#include "ipv6/input.hpp"

#include <algorithm>

namespace iopkt::ipv6 {
namespace {

using wire::Icmpv6Header;
using wire::Icmpv6ParameterProblem;
using wire::IpProtocol;
using wire::Ipv6Address;
using wire::Ipv6View;

/// RFC 8504 section 5.3: options beside padding that one header may have.
constexpr std::size_t kOptionsMax = 8;

Refused refuse(Drop why, std::optional<icmp::Message> answer = {}) { return {why, answer}; }
Refused problem(Drop why, Icmpv6ParameterProblem code, std::size_t pointer) {
  return {why, Icmpv6Header::parameter_problem(code, static_cast<std::uint32_t>(pointer))};
}

/// RFC 4291 2.5.2, 2.5.3, 2.7: what can never be a source, and what can be none from outside.
bool is_bad_source(const InputContext& context, const packet::Packet& packet, const Ipv6Address& src, const Ipv6Address& dst) {
  if (src.is_multicast()) return true;
  // Only who has no address yet has none, and he speaks to groups alone (RFC 4861 4.1, 4.3).
  if (src.is_unspecified()) return !dst.is_multicast();
  if (packet.looped) return false;
  // IPv4-mapped addresses are a matter between programs and their host, never of the wire.
  return src.is_loopback() || src.is_v4_mapped() ||
         context.interfaces.find_local(wire::IpAddress{src, context.in.index}) != nullptr;
}

bool is_bad_destination(const packet::Packet& packet, const Ipv6Address& dst) {
  if (dst.is_unspecified() || dst.is_v4_mapped()) return true;
  if (dst.is_multicast() && dst.multicast_scope() == 0) return true;
  return !packet.looped && (dst.is_loopback() || dst.multicast_scope() == 1);
}

/// Groups that every node is in, without asking anybody (RFC 4291 2.8).
bool is_own_group(const InputContext& context, const Ipv6Address& group) {
  if (group.multicast_scope() == 1 || group.multicast_scope() == 2) {
    Ipv6Address link_scope = group;
    link_scope.bytes[1] = static_cast<std::uint8_t>((group.bytes[1] & 0xf0) | 2);
    if (link_scope == Ipv6Address::all_nodes()) return true;
    if (link_scope == Ipv6Address::all_routers()) return context.tunables.forwarding != 0;
  }
  return false;
}

struct Destination {
  Way way;
  Cast cast;
};

Expected<Destination, Refused> destination_of(const InputContext& context, const packet::Packet& packet, const Ipv6View& ip) {
  const Ipv6Address dst = ip.dst();
  if (dst.is_multicast()) {
    const Membership& groups = context.groups;
    if (packet.looped || is_own_group(context, dst) ||
        (groups.joined != nullptr && groups.joined(groups.context, context.in.index, dst, ip.src())))
      return Destination{Way::deliver, Cast::multicast};
    return unexpected(refuse(Drop::ip_not_for_us));
  }
  // As in IPv4: a unicast packet to a group of stations is an attack or a mistake.
  if (packet.link_broadcast || packet.link_multicast) return unexpected(refuse(Drop::ip_link_broadcast));
  if (const iface::Interface* own = context.interfaces.find_local(wire::IpAddress{dst, context.in.index})) {
    const iface::InterfaceAddress* as = own->find(wire::IpAddress{dst, context.in.index});
    return Destination{Way::deliver, as != nullptr && as->is(iface::address_flag::anycast) ? Cast::anycast : Cast::unicast};
  }
  if (context.groups.anycast != nullptr && context.groups.anycast(context.groups.context, context.in.index, dst, false))
    return Destination{Way::deliver, Cast::anycast};
  if (context.tunables.forwarding == 0) return unexpected(refuse(Drop::ip_not_for_us));
  // RFC 4007 section 9: what means something on one link alone stays there.
  if (dst.is_link_local() || dst.is_loopback()) return unexpected(refuse(Drop::ip_bad_destination));
  if (ip.src().is_link_local())
    return unexpected(refuse(Drop::ip_bad_source, Icmpv6Header::unreachable(wire::Icmpv6Unreachable::beyond_scope)));
  return Destination{Way::forward, Cast::unicast};
}

constexpr auto kJumbo = static_cast<std::uint8_t>(wire::Ipv6OptionType::jumbo);

/// RFC 2675 section 3: no link here has room for a jumbogram. Where in the packet the option is that makes it one; its length is 0
/// elsewhere, so that nothing but this header is there to be read. nullopt: none.
std::optional<std::size_t> find_jumbo(Bytes walked) {
  constexpr std::size_t kAt = Ipv6View::kHeaderLen;
  if (walked.size() <= kAt) return std::nullopt;
  const auto len = wire::extension_len(IpProtocol::hop_by_hop, walked.subspan(kAt));
  if (!len) return std::nullopt;
  wire::Ipv6OptionReader reader{walked.subspan(kAt, *len)};
  for (std::size_t count = 0; count < kOptionsMax; ++count) {
    const auto option = reader.next();
    if (!option || !*option) break;
    if ((*option)->type == kJumbo) return kAt + (*option)->offset;
  }
  return std::nullopt;
}

/// RFC 8200 section 4.2: what an option that nobody knows asks for is in its first two bits.
Expected<void, Refused> judge_options(Bytes header, std::size_t at, bool to_group) {
  wire::Ipv6OptionReader reader{header};
  for (std::size_t count = 0;; ++count) {
    const auto option = reader.next();
    if (!option) return unexpected(refuse(Drop::ip6_bad_extension));
    if (!*option) return {};
    if (count == kOptionsMax) return unexpected(refuse(Drop::ip6_extension_limit));
    const unsigned action = (*option)->type >> 6;
    if (action == 0) continue;
    const Drop why = (*option)->type == kJumbo ? Drop::ip6_jumbogram : Drop::ip6_unknown_option;
    if (action == 1 || (action == 3 && to_group)) return unexpected(refuse(why));
    return unexpected(problem(why, Icmpv6ParameterProblem::option, at + (*option)->offset));
  }
}

struct Chain {
  IpProtocol protocol;
  std::size_t offset, named_at;
};

/// RFC 7112: all headers are in the first fragment, the transport's too.
bool is_whole_chain(Bytes packet) {
  const auto upper = wire::find_upper_layer(packet);
  if (!upper) return false;
  const std::size_t rest = packet.size() - upper->offset;
  switch (upper->protocol) {
    case IpProtocol::tcp: return rest >= 20;
    case IpProtocol::udp:
    case IpProtocol::udplite:
    case IpProtocol::icmpv6: return rest >= 8;
    default: return true;
  }
}

Expected<wire::IpFragment, Refused> read_fragment(const packet::Packet& packet, Bytes walked, const Chain& at) {
  const auto f = *wire::Ipv6FragmentHeader::parse(walked.subspan(at.offset));
  const auto header_len = static_cast<std::uint16_t>(at.offset + wire::Ipv6FragmentHeader::kLen);
  const std::uint32_t length = packet.size() - header_len;
  const auto bad = [&](std::size_t pointer) -> Refused {
    // RFC 4443 section 2.4 (e): whether the whole is an error message is not known of a later piece.
    if (f.offset != 0 && f.next_header == IpProtocol::icmpv6) return {Drop::ip_bad_fragment, std::nullopt};
    return problem(Drop::ip_bad_fragment, Icmpv6ParameterProblem::header_field, pointer);
  };
  if (f.more && length % 8 != 0) return unexpected(bad(Ipv6View::At::payload_len));
  if (at.offset - Ipv6View::kHeaderLen + f.offset + length > Ipv6View::kMaxPayloadLen) return unexpected(bad(at.offset + 2));
  if (f.offset == 0 && !is_whole_chain(walked))
    return unexpected(problem(Drop::ip6_incomplete_chain, Icmpv6ParameterProblem::incomplete_chain, 0));
  return wire::IpFragment{.id = f.id, .offset = f.offset, .more = f.more, .header_len = header_len};
}

/// The extension headers in their order, up to the transport or to the header of a real fragment.
Expected<void, Refused> walk(const InputContext& context, const packet::Packet& packet, bool to_group, Chain& at,
                             std::optional<wire::IpFragment>& fragment) {
  const Bytes walked = packet.head();
  for (std::size_t count = 0; wire::is_extension(at.protocol) && at.protocol != IpProtocol::ah; ++count) {
    if (count == 0) ++context.counters.rx_extensions;
    const Bytes rest = walked.subspan(at.offset);
    const auto len = wire::extension_len(at.protocol, rest);
    const bool over = count == wire::kExtensionHeadersMax ||
                      (len ? at.offset + *len : walked.size()) > Ipv6View::kHeaderLen + wire::kExtensionBytesMax;
    if (over) return unexpected(refuse(Drop::ip6_extension_limit));
    if (!len) return unexpected(refuse(Drop::ip6_bad_extension));
    switch (at.protocol) {
      case IpProtocol::hop_by_hop:
        if (count != 0) return unexpected(problem(Drop::ip6_bad_extension, Icmpv6ParameterProblem::next_header, at.named_at));
        [[fallthrough]];
      case IpProtocol::destination_options:
        if (const auto good = judge_options(rest.first(*len), at.offset, to_group); !good) return good;
        break;
      case IpProtocol::routing:
        // No type is processed here (RFC 5095 ended type 0): with segments left the packet is for somebody else.
        if (load_u8(rest, 3) != 0) return unexpected(problem(Drop::ip6_routing_header, Icmpv6ParameterProblem::header_field, at.offset + 2));
        break;
      case IpProtocol::fragment: {
        if (wire::Ipv6FragmentHeader::parse(rest)->is_atomic()) {
          ++context.counters.rx_atomic_fragments;
          break;
        }
        const auto read = read_fragment(packet, walked, at);
        if (!read) return unexpected(read.error());
        fragment = *read;
        at.protocol = static_cast<IpProtocol>(load_u8(rest, 0));
        return {};
      }
      default: break;
    }
    at.protocol = static_cast<IpProtocol>(load_u8(rest, 0));
    at.named_at = at.offset;
    at.offset += *len;
  }
  return {};
}

}  // namespace

Expected<Ipv6In, Refused> input(const InputContext& context, packet::Packet& packet) {
  ++context.counters.rx_packets;
  context.counters.rx_bytes += packet.size();
  if (packet.size() < Ipv6View::kHeaderLen) return unexpected(refuse(Drop::ip_truncated));
  if (!packet.pull_up(Ipv6View::kHeaderLen)) return unexpected(refuse(Drop::no_buffer));
  std::optional<std::size_t> jumbo;
  {
    const auto ip = Ipv6View::parse_header(packet.head());
    if (!ip) return unexpected(refuse(Drop::ip_bad_version));
    if (ip->payload_len() == 0 && ip->next_header() == IpProtocol::hop_by_hop && packet.size() > Ipv6View::kHeaderLen) {
      if (!packet.pull_up(std::min<std::uint32_t>(packet.size(), wire::kIpv6WalkLen))) return unexpected(refuse(Drop::no_buffer));
      jumbo = find_jumbo(packet.head());
    }
    const std::size_t length = jumbo ? packet.size() : Ipv6View::kHeaderLen + Ipv6View::parse_header(packet.head())->payload_len();
    if (length > packet.size()) return unexpected(refuse(Drop::ip_truncated));
    packet.trim_back(packet.size() - static_cast<std::uint32_t>(length));
    const bool extended = wire::is_extension(Ipv6View::parse_header(packet.head())->next_header());
    if (extended && !packet.pull_up(std::min<std::uint32_t>(packet.size(), wire::kIpv6WalkLen)))
      return unexpected(refuse(Drop::no_buffer));
  }
  const auto ip = *Ipv6View::parse_header(packet.head());
  if (is_bad_source(context, packet, ip.src(), ip.dst())) return unexpected(refuse(Drop::ip_bad_source));
  if (is_bad_destination(packet, ip.dst())) return unexpected(refuse(Drop::ip_bad_destination));
  const auto destination = destination_of(context, packet, ip);
  if (!destination) return unexpected(destination.error());
  if (jumbo && ip.dst().is_multicast()) return unexpected(refuse(Drop::ip6_jumbogram));
  if (jumbo) return unexpected(problem(Drop::ip6_jumbogram, Icmpv6ParameterProblem::option, *jumbo));

  Ipv6In result{.header = {}, .way = destination->way, .cast = destination->cast};
  Chain chain{.protocol = ip.next_header(), .offset = Ipv6View::kHeaderLen, .named_at = Ipv6View::At::next_header};
  std::optional<wire::IpFragment> fragment;
  // A router looks at the hop-by-hop header alone, and RFC 8200 section 4 lets it pass that over too.
  if (result.way == Way::deliver) {
    if (const auto walked = walk(context, packet, result.cast == Cast::multicast, chain, fragment); !walked)
      return unexpected(walked.error());
    ++context.counters.rx_delivered;
    if (result.cast == Cast::multicast) ++context.counters.rx_multicasts;
  }
  result.header = {ip.header(), chain.protocol, packet.head().first(chain.offset), context.in.index};
  result.header_len = static_cast<std::uint16_t>(chain.offset);
  result.named_at = static_cast<std::uint16_t>(chain.named_at);
  if (fragment) {
    result.way = Way::fragment;
    result.fragment = *fragment;
    // The whole will not have the fragment header.
    store_u8(result.header.bytes.mutable_span(), chain.named_at, static_cast<std::uint8_t>(chain.protocol));
  }
  return result;
}

}  // namespace iopkt::ipv6
