#include "ipv4/input.hpp"

#include <algorithm>
#include <array>

#include "ipv4/options.hpp"

namespace iopkt::ipv4 {
namespace {

using wire::IcmpHeader;
using wire::Ipv4Address;

constexpr Ipv4Address kAllHosts{224, 0, 0, 1};

Drop drop_of(wire::ParseError error) {
  switch (error) {
    case wire::ParseError::bad_version:
      return Drop::ip_bad_version;
    case wire::ParseError::bad_length:
      return Drop::ip_bad_length;
    default:
      return Drop::ip_truncated;
  }
}

/// RFC 1122 3.2.1.3: what can never be a source, and what can be none from outside.
bool is_bad_source(const InputContext& context, const packet::Packet& packet, Ipv4Address src) {
  if (src.is_multicast() || src.is_limited_broadcast() || src.is_reserved()) return true;
  // {0, <host>} and {0, 0}: only the latter is in use, by hosts that have no address yet.
  if (src.is_zero_network() && !src.is_unspecified()) return true;
  if (packet.looped) return false;
  return src.is_loopback() || context.interfaces.is_any_broadcast(src) ||
         context.interfaces.find_local(src) != nullptr;
}

bool is_bad_destination(const packet::Packet& packet, Ipv4Address dst) {
  return dst.is_zero_network() || dst.is_reserved() || (dst.is_loopback() && !packet.looped);
}

/// RFC 1542 section 3.1.1: the answer to a client that has no address yet, sent to the one that it will have. Only where there is none,
/// and to the client's port.
bool is_first_answer(const InputContext& context, const packet::Packet& packet, const wire::Ipv4View& ip) {
  constexpr std::uint16_t kClientPort = 68;
  if (packet.looped || ip.protocol() != wire::IpProtocol::udp || ip.is_fragment() || context.in.link_type != iface::LinkType::ethernet) return false;
  if (std::ranges::any_of(context.in.addresses, [](const iface::InterfaceAddress& a) {
        return a.address.is_v4() && a.is_usable() && !a.is(iface::address_flag::autoconf);
      }))
    return false;
  std::array<std::byte, 4> ports{};
  if (packet.size() < ip.header_len() + ports.size()) return false;
  packet.copy_out(static_cast<std::uint32_t>(ip.header_len()), ports);
  return load_be16(ports, 2) == kClientPort;
}

struct Destination {
  Way way;
  Cast cast;
};

/// RFC 1122 3.2.1.3 and 3.3.4.2 (whose is it), RFC 1812 4.2.2.11 and 5.3.5 (what is never forwarded).
Expected<Destination, Drop> destination_of(const InputContext& context, const packet::Packet& packet,
                                           const wire::Ipv4View& ip) {
  const Ipv4Address dst = ip.dst(), src = ip.src();
  if (dst.is_limited_broadcast() || context.in.is_broadcast_address(dst))
    return Destination{Way::deliver, Cast::broadcast};
  if (dst.is_multicast()) {
    if (context.groups.has(context.in, dst, src))
      return Destination{Way::deliver, Cast::multicast};
    return unexpected(Drop::ip_not_for_us);
  }
  // RFC 1122 3.3.6: a unicast packet in a link broadcast is an attack or a mistake.
  if (packet.link_broadcast || packet.link_multicast) return unexpected(Drop::ip_link_broadcast);

  if (const iface::Interface* owner = context.interfaces.find_local(dst)) {
    const bool elsewhere = owner->index != context.in.index && !packet.looped;
    if (elsewhere && context.tunables.check_interface != 0) return unexpected(Drop::ip_not_for_us);
    return Destination{Way::deliver, Cast::unicast};
  }
  if (is_first_answer(context, packet, ip)) return Destination{Way::deliver, Cast::unicast};
  if (packet.looped && context.interfaces.is_any_broadcast(dst))
    return Destination{Way::deliver, Cast::broadcast};
  if (context.tunables.forwarding == 0) return unexpected(Drop::ip_not_for_us);
  if (context.interfaces.is_any_broadcast(dst) && context.tunables.directed_broadcast == 0)
    return unexpected(Drop::ip_bad_destination);
  // RFC 3927 2.7: link-local addresses stay on their link.
  if (dst.is_link_local()) return unexpected(Drop::ip_bad_destination);
  if (src.is_unspecified() || src.is_link_local()) return unexpected(Drop::ip_bad_source);
  return Destination{Way::forward, Cast::unicast};
}

Refused bad_option(OptionError error) {
  return {Drop::ip_bad_option, IcmpHeader::parameter_problem(wire::IcmpParameterProblem::at_pointer, error.pointer)};
}

Expected<void, Refused> judge_options(const InputContext& context, const wire::Ipv4View& ip, Way way) {
  ++context.counters.rx_options;
  const auto report = check_options(ip.options());
  if (!report) return unexpected(bad_option(report.error()));
  if (!report->source_route) return {};
  if (context.tunables.accept_source_route == 0) return unexpected(Refused{Drop::ip_source_route, {}});
  // We are the end of a source route or nothing: we do not pass such packets on.
  if (way == Way::deliver && report->source_route_completed) return {};
  return unexpected(
      Refused{Drop::ip_source_route, IcmpHeader::unreachable(wire::IcmpUnreachable::source_route_failed)});
}

/// RFC 1122 3.2.2.6: what is recorded of the way has its end, too. Of a datagram in pieces the first has the options.
Expected<void, Refused> stamp_arrival(const InputContext& context, const wire::Ipv4View& ip, Cast cast, packet::Packet& packet) {
  const iface::InterfaceAddress* primary = context.in.primary(wire::IpFamily::v4);
  const Ipv4Address own = cast == Cast::unicast ? ip.dst() : primary != nullptr ? primary->address.v4() : Ipv4Address{};
  wire::Ipv4OptionBytes options;  // what is refused is quoted as it came
  options.len = static_cast<std::uint8_t>(ip.options().size());
  std::ranges::copy(ip.options(), options.bytes.begin());
  const MutableBytes stamped = MutableBytes{options.bytes}.first(options.len);
  if (const auto done = stamp_options(stamped, {own, context.interfaces, context.clock}); !done) return unexpected(bad_option(done.error()));
  const MutableBytes header = packet.mutable_head().first(ip.header_len());
  std::ranges::copy(stamped, header.begin() + wire::Ipv4View::kMinHeaderLen);
  wire::store_ipv4_checksum(header);
  return {};
}

}  // namespace

bool Membership::has(const iface::Interface& in, Ipv4Address group, Ipv4Address source) const {
  if (group == kAllHosts) return true;
  return joined != nullptr && joined(context, in.index, group, source);
}

Expected<Ipv4In, Refused> input(const InputContext& context, packet::Packet& packet) {
  const auto refuse = [](Drop why) { return unexpected(Refused{why, std::nullopt}); };
  ++context.counters.rx_packets;
  context.counters.rx_bytes += packet.size();

  if (packet.size() < wire::Ipv4View::kMinHeaderLen) return refuse(Drop::ip_truncated);
  if (!packet.pull_up(wire::Ipv4View::kMinHeaderLen)) return refuse(Drop::no_buffer);
  const std::uint32_t header_len = (load_u8(packet.head(), 0) & 0xfu) * 4;
  if (header_len > packet.size()) return refuse(Drop::ip_truncated);
  if (!packet.pull_up(header_len)) return refuse(Drop::no_buffer);
  const auto parsed = wire::Ipv4View::parse_header(packet.head());
  if (!parsed) return refuse(drop_of(parsed.error()));
  const wire::Ipv4View& ip = *parsed;
  if (ip.total_len() > packet.size()) return refuse(Drop::ip_truncated);
  if (!(packet.looped && context.tunables.do_loopback_cksum == 0) && !ip.checksum_ok())
    return refuse(Drop::ip_bad_checksum);

  if (is_bad_source(context, packet, ip.src())) return refuse(Drop::ip_bad_source);
  if (is_bad_destination(packet, ip.dst())) return refuse(Drop::ip_bad_destination);
  const auto destination = destination_of(context, packet, ip);
  if (!destination) return refuse(destination.error());
  if (header_len > wire::Ipv4View::kMinHeaderLen) {
    auto verdict = judge_options(context, ip, destination->way);
    if (verdict && destination->way == Way::deliver && ip.fragment_offset() == 0) verdict = stamp_arrival(context, ip, destination->cast, packet);
    if (!verdict) return unexpected(verdict.error());
  }

  Ipv4In result{.header = ip.header(),
                .way = destination->way,
                .cast = destination->cast,
                .header_len = static_cast<std::uint8_t>(header_len)};
  if (result.way == Way::deliver) {
    if (result.cast == Cast::broadcast) ++context.counters.rx_broadcasts;
    if (result.cast == Cast::multicast) ++context.counters.rx_multicasts;
    if (result.header.is_fragment())
      result.way = Way::fragment;
    else
      ++context.counters.rx_delivered;
  }
  // Last, since the view looks at the packet: link padding and whatever else stands behind it.
  packet.trim_back(packet.size() - static_cast<std::uint32_t>(ip.total_len()));
  return result;
}

void strip_header(packet::Packet& packet, std::uint8_t header_len) {
  packet.trim_front(header_len);
  packet.network_len = header_len;
}

}  // namespace iopkt::ipv4
