// A router's work: RFC 1812 sections 4.3.3 and 5, RFC 8200, RFC 4443, RFC 4861 section 8.2. What may never be passed on is refused
// where a packet is judged (ipv4/input, ipv6/input).
#include <algorithm>

#include "icmp/error.hpp"
#include "ipv4/forward.hpp"
#include "packet/segment.hpp"
#include "stack/ways.hpp"

namespace iopkt::stack {

using packet::Drop;
using packet::PacketPtr;
using wire::Icmpv6Header;
using wire::IcmpHeader;

namespace {

constexpr std::uint32_t kQuoteMost = 576;          // of a packet that a redirect is about: an ICMP error is no longer

/// What the sender hears of find_path()'s error. nullopt: nothing, of a route that swallows.
std::optional<icmp::Message> unreachable(wire::IpFamily family, Errno error) {
  if (error == Errno::inval) return std::nullopt;
  const bool refused = error == Errno::hostunreach;  // a route with `reject`
  if (family == wire::IpFamily::v4) return IcmpHeader::unreachable(refused ? wire::IcmpUnreachable::host : wire::IcmpUnreachable::network);
  return Icmpv6Header::unreachable(refused ? wire::Icmpv6Unreachable::reject_route : wire::Icmpv6Unreachable::no_route);
}

icmp::Message too_big(wire::IpFamily family, std::uint32_t mtu) {
  if (family == wire::IpFamily::v4) return IcmpHeader::unreachable(wire::IcmpUnreachable::fragmentation_needed, static_cast<std::uint16_t>(mtu));
  return Icmpv6Header::too_big(mtu);
}

bool may_fragment(Bytes head) {
  const auto v4 = wire::Ipv4View::parse_header(head);
  return v4 && !v4->df();
}

/// One hop less, and options filled in.
Expected<void, ipv4::Refused> take_hop(ShardState& s, packet::Packet& packet, const iface::Interface& out) {
  const auto v4 = wire::Ipv4View::parse_header(packet.head());
  if (!v4) {
    const MutableBytes head = packet.mutable_head();
    store_u8(head, wire::Ipv6View::At::hop_limit, static_cast<std::uint8_t>(load_u8(head, wire::Ipv6View::At::hop_limit) - 1));
    ++s.counters.ipv6.forwarded;
    return {};
  }
  wire::Ipv4Header header = v4->header();
  const auto* own = out.primary(wire::IpFamily::v4);
  const auto done = ipv4::forward(packet, header, {own != nullptr ? own->address.v4() : wire::Ipv4Address{}, s.network->interfaces, stamp_clock(s)});
  if (done) ++s.counters.ipv4.forwarded;
  return done;
}

/// RFC 4861 section 8.2: by a message of neighbour discovery, from our address on that link.
void redirect6(ShardState& s, const Arrival& at, const iface::Interface& out, const packet::Packet& packet, const wire::IpAddress& next_hop) {
  const wire::Ipv6Address destination = at.ip.dst.v6();
  const auto own = std::ranges::find_if(out.addresses, [](const iface::InterfaceAddress& a) {
    return a.address.is_v6() && a.address.is_link_local() && a.is_usable();
  });
  const bool to_router = next_hop.v6() != destination;
  if (own == out.addresses.end() || (to_router && !next_hop.is_link_local())) return;
  if (!s.redirect_limit.allow(at.ip.src, at.ip.dst, s.now)) return;
  // As much of the packet as keeps the message below the least MTU, with the hop limit that it came with.
  std::vector<std::byte> quote(std::min<std::uint32_t>(packet.size(), wire::kRedirectedMost));
  packet.copy_out(0, quote);
  store_u8(quote, wire::Ipv6View::At::hop_limit, at.ip.ttl);
  std::optional<wire::MacAddress> mac;
  if (const neigh::Entry* known = s.neighbours ? s.neighbours->find({out.index, next_hop}) : nullptr; known != nullptr && !known->mac.is_zero())
    mac = known->mac;
  ipv6::DiscoveryMessage message{.interface_index = out.index, .src = own->address, .dst = out.here(at.ip.src.v6()), .bytes = {}};
  wire::append_redirect(message.bytes, {.target = next_hop.v6(), .destination = destination}, mac, quote);
  ++s.counters.ipv6.redirects_sent;
  send_discovery(s, message);
}

void redirect4(ShardState& s, const Arrival& at, const packet::Packet& packet, const wire::IpAddress& next_hop) {
  if (!s.redirect_limit.allow(at.ip.src, at.ip.dst, s.now)) return;
  const auto header_len = static_cast<std::uint32_t>(at.ip.bytes.size());
  const PacketPtr payload = packet.copy_range(s.cache, header_len, std::min(packet.size() - header_len, kQuoteMost));
  if (!payload) return s.drop(Drop::no_buffer);
  const icmp::Message message = IcmpHeader::redirect(wire::IcmpRedirect::host, next_hop.v4());
  if (!icmp::may_send_error(at.ip, *payload, iface::Cast::unicast, message)) return;
  if (send_error(s, message, at.ip, *payload, at.fib()) == Errno::ok) ++s.counters.ipv4.redirects_sent;
}

/// The sender is on the link that its packet leaves by: he could have sent it there himself.
void redirect(ShardState& s, const Arrival& at, const packet::Packet& packet, const Path& path) {
  const bool is_v4 = at.ip.dst.is_v4();
  if ((is_v4 ? s.settings.ipv4.redirect : s.settings.ipv6.redirect) == 0 || path.out->index != at.in->index) return;
  // RFC 1812 section 5.2.7.2: of one network; RFC 4861 section 8.2: a neighbour of ours.
  const iface::InterfaceAddress *theirs = at.in->connected(at.ip.src), *next = at.in->connected(path.next_hop);
  if (theirs == nullptr || next == nullptr || (is_v4 && theirs != next)) return;
  return is_v4 ? redirect4(s, at, packet, path.next_hop) : redirect6(s, at, *path.out, packet, path.next_hop);
}

}  // namespace

void forward(ShardState& s, const Arrival& at, PacketPtr packet) {
  const wire::IpFamily family = at.ip.family();
  const auto end = [&](Drop why, const std::optional<icmp::Message>& answer) { refuse(s, *at.in, *packet, why, answer); };
  auto path = find_path(s, at.ip.dst, at.fib(), 0, false);
  if (!path) return end(Drop::ip_no_route, unreachable(family, path.error()));
  // Nobody is there but us, and it is not for us: it would only go round.
  if (path->local || path->out->is_loopback()) return end(Drop::ip_no_route, unreachable(family, Errno::netunreach));
  if (at.ip.ttl <= 1) {
    if (family == wire::IpFamily::v4) return end(Drop::ip_ttl_exceeded, IcmpHeader::time_exceeded(wire::IcmpTimeExceeded::in_transit));
    return end(Drop::ip_ttl_exceeded, Icmpv6Header::time_exceeded(wire::Icmpv6TimeExceeded::in_transit));
  }
  // What routers said of a path is of packets of ours.
  path->mtu = path->link_mtu;
  if (!packet::fits_mtu(*packet, path->mtu) && !may_fragment(packet->head())) return end(Drop::ip_too_big, too_big(family, path->mtu));
  if (const auto pass = s.filters.run(filter::Hook::forward, *path->out, *packet); !pass) return s.drop(pass.error());
  // First what may still end it.
  if (const auto done = take_hop(s, *packet, *path->out); !done)
    return end(done.error().why, done.error().answer ? std::optional<icmp::Message>{*done.error().answer} : std::nullopt);
  redirect(s, at, *packet, *path);
  packet->flags &= ~std::uint32_t{IOPKT_CSUM_VALID | IOPKT_HASH_VALID | IOPKT_VLAN_VALID | IOPKT_TIME_VALID};
  packet->txq = 0;
  static_cast<void>(tx_packet(s, std::move(packet), *path));
}

}  // namespace iopkt::stack
