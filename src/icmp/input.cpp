#include "icmp/input.hpp"

#include <algorithm>
#include <array>

#include "wire/checksum.hpp"

namespace iopkt::icmp {
namespace {

using wire::IcmpHeader;
using wire::IcmpType;
using wire::IcmpView;
using wire::Ipv4Address;

/// RFC 1191 section 7: MTUs that links have.
constexpr std::array<std::uint32_t, 11> kPlateaus{65535, 32000, 17914, 8166, 4352, 2002,
                                                  1492,  1006,  508,   296,  68};
constexpr std::uint32_t kMinMtu = 68;

std::uint32_t mtu_of(const IcmpHeader& message, std::uint32_t inner_total_len) {
  const auto told = message.next_hop_mtu();
  if (told != 0) return std::max<std::uint32_t>(told, kMinMtu);
  for (const std::uint32_t plateau : kPlateaus)
    if (plateau < inner_total_len) return plateau;
  return kMinMtu;
}

/// What was learned about the packet on its way in does not hold for the answer that it becomes.
void forget_arrival(packet::Packet& packet) {
  packet.flags = 0;
  packet.rx_interface = 0;
  packet.network_len = packet.link_len = 0;
  packet.link_broadcast = packet.link_multicast = packet.looped = false;
  packet.flow_hash = 0;
}

Answer answer_with(packet::PacketPtr packet, const wire::IpHeader& header, Cast cast) {
  forget_arrival(*packet);
  // RFC 1122 3.2.2.6: from the address that was asked, if that is one.
  return {.packet = std::move(packet),
          .to = header.src,
          .from = cast == Cast::unicast ? std::optional{header.dst} : std::nullopt,
          .tos = header.tos};
}

Expected<IcmpIn, Drop> echo(const InputContext& context, const wire::IpHeader& header, Cast cast,
                            packet::PacketPtr& packet) {
  if (cast != Cast::unicast && cast != Cast::anycast && context.tunables.bmcastecho == 0) return unexpected(Drop::icmp_broadcast_echo);
  if (header.src.is_unspecified()) return unexpected(Drop::icmp_ignored);
  const auto view = *IcmpView::parse(packet->head());
  if (header.dst.is_v6()) {
    packet->trim_front(IcmpView::kHeaderLen);
    const MutableBytes room = packet->prepend(IcmpView::kHeaderLen);
    if (room.empty()) return unexpected(Drop::no_buffer);
    wire::encode(wire::Icmpv6Header{.type = wire::Icmpv6Type::echo_reply, .code = 0, .rest = view.rest()}, room);
    return answer_with(std::move(packet), header, cast);
  }
  const IcmpHeader reply{.type = IcmpType::echo_reply, .code = view.code(), .rest = view.rest()};
  const auto first_word = [](IcmpType type, std::uint8_t code) {
    return static_cast<std::uint16_t>(static_cast<unsigned>(type) << 8 | code);
  };
  const std::uint16_t checksum = wire::updated_checksum16(
      view.checksum(), first_word(view.type(), view.code()), first_word(reply.type, reply.code));
  // The header may lie in memory of somebody else: it is not changed but replaced.
  packet->trim_front(IcmpView::kHeaderLen);
  const MutableBytes room = packet->prepend(IcmpView::kHeaderLen);
  if (room.empty()) return unexpected(Drop::no_buffer);
  wire::encode(reply, room);
  // 0 and 0xffff are one number, but only the latter is right for a message of zeroes.
  store_be16(room, IcmpView::kChecksumOffset, checksum == 0 ? 0xffff : checksum);
  ++context.counters.tx_messages;
  count_sent(context.counters, reply.type);
  return answer_with(std::move(packet), header, cast);
}

/// An answer of fixed size to a question that asks for `body`.
Expected<IcmpIn, Drop> answer_body(const InputContext& context, const wire::IpHeader& header,
                                   packet::PacketPtr& packet, const IcmpHeader& reply, Bytes body) {
  packet::PacketPtr out = packet::allocate_header(packet->cache());
  if (!out) return unexpected(Drop::no_buffer);
  const MutableBytes room = out->prepend(static_cast<std::uint32_t>(IcmpView::kHeaderLen + body.size()));
  if (room.empty()) return unexpected(Drop::no_buffer);
  wire::encode(reply, room);
  std::copy(body.begin(), body.end(), room.begin() + IcmpView::kHeaderLen);
  wire::store_icmp_checksum(room);
  ++context.counters.tx_messages;
  count_sent(context.counters, reply.type);
  return answer_with(std::move(out), header, Cast::unicast);
}

Expected<IcmpIn, Drop> timestamp(const InputContext& context, const wire::IpHeader& header, Cast cast,
                                 packet::PacketPtr& packet) {
  const auto view = *IcmpView::parse(packet->head());
  const auto asked = view.timestamps();
  // RFC 1122 3.2.2.8: an answer may be left out, to broadcasts in particular.
  if (!asked || cast != Cast::unicast || context.tunables.timestamp_reply == 0 || !context.ms_of_day ||
      header.src.is_unspecified())
    return unexpected(Drop::icmp_ignored);
  std::array<std::byte, IcmpView::kTimestampsLen> body{};
  wire::encode(wire::IcmpTimestamps{asked->originate, *context.ms_of_day, *context.ms_of_day}, body);
  IcmpHeader reply = view.header();
  reply.type = IcmpType::timestamp_reply;
  return answer_body(context, header, packet, reply, body);
}

Expected<IcmpIn, Drop> address_mask(const InputContext& context, const wire::IpHeader& header, Cast cast,
                                    packet::PacketPtr& packet) {
  const auto view = *IcmpView::parse(packet->head());
  const iface::InterfaceAddress* own = context.in.find(header.dst);
  if (!view.address_mask() || cast != Cast::unicast || context.tunables.mask_reply == 0 || own == nullptr ||
      header.src.is_unspecified())
    return unexpected(Drop::icmp_ignored);
  std::array<std::byte, IcmpView::kAddressMaskLen> body{};
  wire::store_ipv4(body, 0, wire::Ipv4Prefix::mask_of(own->prefix_length));
  IcmpHeader reply = view.header();
  reply.type = IcmpType::address_mask_reply;
  return answer_body(context, header, packet, reply, body);
}

struct Inner {
  wire::IpAddress src, dst;
  wire::IpProtocol protocol;
  std::uint32_t total_len;
  Bytes transport;
};

std::optional<Inner> read_inner(wire::IpFamily family, Bytes bytes, std::uint32_t zone) {
  if (family == wire::IpFamily::v4) {
    const auto ip = wire::Ipv4View::parse_header(bytes);
    if (!ip || ip->fragment_offset() != 0) return std::nullopt;
    return Inner{ip->src(), ip->dst(), ip->protocol(), static_cast<std::uint32_t>(ip->total_len()), ip->payload()};
  }
  const auto upper = wire::find_upper_layer(bytes);
  if (!upper || (upper->fragment && upper->fragment->offset != 0)) return std::nullopt;
  const auto ip = *wire::Ipv6View::parse_header(bytes);
  return Inner{{ip.src(), zone}, {upper->last_segment.value_or(ip.dst()), zone}, upper->protocol, 0, ip.packet().subspan(upper->offset)};
}

struct Quoted {
  std::uint32_t total_len;
  ErrorAbout about;
};

/// The embedded packet: RFC 792 promises its header and 8 bytes more, RFC 4443 as much as fits.
Expected<Quoted, Drop> quoted(const Message& message, const wire::IpHeader& header, Bytes bytes, std::uint32_t zone) {
  const auto inner = read_inner(header.family(), bytes, zone);
  if (!inner) return unexpected(Drop::icmp_no_flow);
  Quoted q{.total_len = inner->total_len, .about = {}};
  q.about.message = message;
  q.about.protocol = inner->protocol;
  q.about.reporter = header.src;
  q.about.local.address = inner->src;
  q.about.remote.address = inner->dst;
  const bool has_ports = inner->protocol == wire::IpProtocol::tcp || inner->protocol == wire::IpProtocol::udp ||
                         inner->protocol == wire::IpProtocol::udplite;
  if (!has_ports) return q;
  if (inner->transport.size() < 8) return unexpected(Drop::icmp_no_flow);
  q.about.local.port = {load_be16(inner->transport, 0)};
  q.about.remote.port = {load_be16(inner->transport, 2)};
  if (inner->protocol == wire::IpProtocol::tcp) q.about.sequence = load_be32(inner->transport, 4);
  return q;
}

Expected<IcmpIn, Drop> error(const InputContext& context, const Message& message, const wire::IpHeader& header,
                             packet::Packet& packet) {
  const bool is_v4 = header.dst.is_v4();
  const bool redirects = is_v4 && message.v4().type == IcmpType::redirect;
  if (redirects && context.tunables.drop_redirect != 0) return unexpected(Drop::icmp_ignored);
  const Trouble trouble = trouble_of(header.family(), message);
  if (!redirects && trouble == Trouble::none) return unexpected(Drop::icmp_ignored);
  const std::uint32_t quote_len = is_v4 ? wire::Ipv4View::kMaxHeaderLen + 8 : wire::kIpv6WalkLen;
  const auto want =
      std::min<std::uint32_t>(packet.size(), static_cast<std::uint32_t>(IcmpView::kHeaderLen) + quote_len);
  if (!packet.pull_up(want)) return unexpected(Drop::no_buffer);
  auto inner = quoted(message, header, packet.head().subspan(IcmpView::kHeaderLen), context.in.index);
  if (!inner) return unexpected(inner.error());
  if (redirects) {
    const Ipv4Address gateway = message.v4().gateway();
    // RFC 1122 3.2.2.2: on the link that it came from, and not ourselves.
    if (context.in.connected(gateway) == nullptr || context.in.find(gateway) != nullptr)
      return unexpected(Drop::icmp_ignored);
    return Redirected{
        .from = header.src.v4(), .gateway = gateway, .destination = inner->about.remote.address.v4(),
        .local = inner->about.local.address.v4()};
  }
  if (trouble == Trouble::too_big) inner->about.mtu = is_v4 ? mtu_of(message.v4(), inner->total_len) : message.v6().mtu();
  return inner->about;
}

Expected<IcmpIn, Drop> input6(const InputContext& context, const wire::IpHeader& header, Cast cast,
                              packet::PacketPtr& packet) {
  using Type = wire::Icmpv6Type;
  const wire::Icmpv6Header message = wire::Icmpv6View::parse(packet->head())->header();
  count_received(*context.counters6, message.type);
  if (message.is_error()) return error(context, message, header, *packet);
  switch (message.type) {
    case Type::echo_request: return echo(context, header, cast, packet);
    case Type::echo_reply: return RawOnly{};
    case Type::router_solicitation:
    case Type::router_advertisement:
    case Type::neighbour_solicitation:
    case Type::neighbour_advertisement:
    case Type::redirect: return NeighbourDiscovery{};
    case Type::listener_query:
    case Type::listener_report:
    case Type::listener_done:
    case Type::listener_report_v2: return ListenerDiscovery{};
    default: return unexpected(Drop::icmp_ignored);
  }
}

}  // namespace

Expected<IcmpIn, Drop> input(const InputContext& context, const wire::IpHeader& header, Cast cast,
                             packet::PacketPtr& packet) {
  if (packet->size() < IcmpView::kHeaderLen) return unexpected(Drop::icmp_truncated);
  const std::uint32_t pseudo =
      header.dst.is_v4() ? 0 : wire::pseudo_header_sum(header.src, header.dst, wire::IpProtocol::icmpv6, packet->size());
  if (wire::finish(pseudo + packet->sum(0, packet->size())) != 0) return unexpected(Drop::icmp_bad_checksum);
  // Longer than the header: the bodies that have a fixed size.
  if (!packet->pull_up(std::min<std::uint32_t>(packet->size(), 20))) return unexpected(Drop::no_buffer);
  if (header.dst.is_v6()) return input6(context, header, cast, packet);
  const IcmpHeader message = IcmpView::parse(packet->head())->header();
  ++context.counters.rx_messages;
  count_received(context.counters, message.type);

  if (message.is_error()) return error(context, message, header, *packet);
  switch (message.type) {
    case IcmpType::echo_request:
      return echo(context, header, cast, packet);
    case IcmpType::timestamp:
      return timestamp(context, header, cast, packet);
    case IcmpType::address_mask_request:
      return address_mask(context, header, cast, packet);
    case IcmpType::echo_reply:
    case IcmpType::timestamp_reply:
    case IcmpType::address_mask_reply:
    case IcmpType::router_advertisement:
    case IcmpType::router_solicitation:
      return RawOnly{};
    default:
      return unexpected(Drop::icmp_ignored);
  }
}

}  // namespace iopkt::icmp
