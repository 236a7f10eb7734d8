// A packet's way in, from top to bottom: frame, link, owner's shard, IP, filter, protocol.
#include <algorithm>

#include "icmp/input.hpp"
#include "link/arp.hpp"
#include "link/ethernet.hpp"
#include "packet/segment.hpp"
#include "stack/ways.hpp"

namespace iopkt::stack {

using packet::Drop;
using packet::PacketPtr;

// ---- 1. a burst of frames of one interface

void Shard::receive(std::uint32_t interface_index, packet::Burst&& burst) {
  ShardState& s = *state_;
  const iface::Interface* in = s.interface(interface_index);
  if (in == nullptr) {
    for (std::size_t i = 0; i < burst.size(); ++i) s.drop(Drop::link_down);
    burst.clear();
    return;
  }
  auto& counters = s.counters.interfaces[interface_index];
  for (const PacketPtr& frame : burst) counters.rx_bytes += frame->size();
  counters.rx_packets += burst.size();
  if (burst.size() > 1) {
    // What goes on to somebody else leaves as it came: whose it is turns out only later.
    const bool forwards = s.settings.ipv4.forwarding != 0 || s.settings.ipv6.forwarding != 0;
    const packet::Coalesced merged = packet::coalesce(burst, in->link_header_len(), forwards);
    for (std::size_t i = 0; i < merged.lost; ++i) s.drop(Drop::no_buffer);
  }
  for (PacketPtr& frame : burst) rx_frame(s, *in, std::move(frame));
  burst.clear();
}

// ---- 2. one frame: the link header, and who goes on

namespace {

bool is_ipv6(const packet::Packet& packet) {
  std::byte first{};
  if (packet.size() > 0) packet.copy_out(0, {&first, 1});
  return std::to_integer<unsigned>(first) >> 4 == 6;
}

}  // namespace

void rx_frame(ShardState& s, const iface::Interface& in, PacketPtr frame) {
  const auto link = link::input(in, *frame);
  auto& counters = s.counters.interfaces[in.index];
  if (!link) {
    ++counters.rx_dropped;
    return s.drop(link.error());
  }
  if (link->cast == iface::Cast::broadcast) ++counters.rx_broadcasts;
  if (link->cast == iface::Cast::multicast) ++counters.rx_multicasts;
  if (link->type == wire::EtherType::arp) {
    if (s.number == 0) return rx_arp(s, in.index, std::move(frame));
    return send_to(s, 0, message::Arp{in.index, std::move(frame)});
  }
  const bool known = link->type == wire::EtherType::ipv4 || (link->type == wire::EtherType::ipv6 && s.inet6 != nullptr);
  if (!known) {
    ++counters.rx_dropped;
    return s.drop(Drop::link_unknown_type);
  }
  // From here on the version alone says what it is.
  if (is_ipv6(*frame) != (link->type == wire::EtherType::ipv6)) return s.drop(Drop::ip_bad_version);
  rx_owned(s, in.index, std::move(frame));
}

/// Hands a packet that begins with its IP header to the shard that it belongs to, perhaps this one.
void rx_owned(ShardState& s, std::uint32_t interface_index, PacketPtr packet, bool fragmented) {
  // Where its ports are can be seen only if what stands before them is one piece.
  const Bytes head = packet->head();
  const bool walks = s.stack.shard_count() > 1 && !head.empty() && load_u8(head, 0) >> 4 == 6 && head.size() < wire::kIpv6WalkLen &&
                     (head.size() < wire::Ipv6View::kHeaderLen + 4 || wire::is_extension(wire::Ipv6View::parse_header(head)->next_header()));
  if (walks && !packet->pull_up(std::min<std::uint32_t>(packet->size(), wire::kIpv6WalkLen))) return s.drop(Drop::no_buffer);
  const std::uint32_t owner = owner_of(s, *packet);
  if (owner == s.number) return rx_ip(s, interface_index, std::move(packet), fragmented);
  // A flood leaves room in the queue for what belongs to connections.
  const bool crowded = s.outbox[owner]->pushed() - s.outbox[owner]->popped() >= kShardQueue / 2;
  if (crowded && !packet->looped && is_opening(*packet)) return s.drop(Drop::tcp_syn_queue_full);
  send_to(s, owner, message::Input{interface_index, std::move(packet)});
}

std::optional<Transport> find_transport(Bytes head, std::uint32_t zone) {
  if (head.empty()) return std::nullopt;
  if (load_u8(head, 0) >> 4 == 6) {
    const auto upper = wire::find_upper_layer(head);
    if (!upper) return std::nullopt;
    const auto ip = *wire::Ipv6View::parse_header(head);
    const bool fragment = upper->fragment && !upper->fragment->is_atomic();
    return Transport{{ip.src(), zone}, {ip.dst(), zone}, upper->protocol, upper->offset, fragment};
  }
  const auto ip = wire::Ipv4View::parse_header(head);
  if (!ip) return std::nullopt;
  return Transport{ip->src(), ip->dst(), ip->protocol(), ip->header_len(), ip->is_fragment()};
}

std::uint32_t owner_of(const ShardState& s, const packet::Packet& packet) {
  if (s.stack.shard_count() == 1) return 0;
  const Bytes bytes = packet.head();
  const auto ip = find_transport(bytes, 0);  // zones do not count for the hash
  if (!ip) return s.number;
  if (ip->is_fragment) return 0;  // reassembly has one place
  const std::size_t at = ip->offset;
  const bool has_ports = bytes.size() >= at + 4;
  if (ip->protocol == wire::IpProtocol::tcp && has_ports) {
    const FlowKey flow{{ip->dst, wire::Port{load_be16(bytes, at + 2)}}, {ip->src, wire::Port{load_be16(bytes, at)}}};
    return s.stack.shard_of_flow(flow_hash(s.key(), flow.local, flow.remote));
  }
  if ((ip->protocol == wire::IpProtocol::udp || ip->protocol == wire::IpProtocol::udplite) && has_ports)
    return s.stack.shard_of_port(wire::Port{load_be16(bytes, at + 2)});
  return 0;
}

// ---- 3. ARP, on shard 0

void rx_arp(ShardState& s, std::uint32_t interface_index, PacketPtr packet) {
  const iface::Interface* in = s.interface(interface_index);
  if (in == nullptr) return s.drop(Drop::link_down);
  const link::ArpContext context{*in, s.network->interfaces, s.counters.arp, s.neighbours.get()};
  auto arp = link::arp_input(context, *packet);
  if (!arp) return s.drop(arp.error());
  if (arp->contested) {
    ipv4::AddressClaims::Outcome outcome;
    s.claims->contested(*in, *arp->contested, s.now, outcome);
    carry_out(s, outcome);
  }
  if (arp->learned) {
    neigh::Actions actions;
    s.neighbours->learned(arp->learned->key, arp->learned->mac, arp->learned->how, s.now, actions);
    apply_neighbour_actions(s, actions);
  }
  if (arp->answer) enqueue_frame(s, *in, std::move(arp->answer));
}

// ---- 4. IP, on the shard that owns the flow

void answer_error(ShardState& s, const icmp::Message& message, const wire::IpHeader& header,
                  const packet::Packet& payload, iface::Cast cast, std::uint8_t fib) {
  if (!icmp::may_send_error(header, payload, cast, message)) return;
  if (!s.icmp_limit.allow(s.now)) return s.drop(Drop::icmp_rate_limited);
  static_cast<void>(send_error(s, message, header, payload, fib));
}

Errno send_error(ShardState& s, const icmp::Message& message, const wire::IpHeader& header, const packet::Packet& payload, std::uint8_t fib) {
  PacketPtr error = icmp::build_error(s.cache, message, header, payload, s.counters.icmp);
  if (!error) return s.drop(Drop::no_buffer), Errno::nobufs;
  Outgoing how{.destination = header.src, .protocol = wire::IpProtocol::icmp, .tos = icmp::kErrorTos, .fib = fib};
  if (header.dst.is_v6()) how.protocol = wire::IpProtocol::icmpv6, how.tos = 0;
  // RFC 1812 4.3.2.4, RFC 4443 2.2 (a): from the address that was spoken to, if it is ours.
  if (s.network->interfaces.find_local(header.dst) != nullptr) how.source = header.dst;
  return tx_ip(s, std::move(error), how);
}

namespace {

void rx_redirect(ShardState& s, const Arrival& at, const icmp::Redirected& redirected) {
  // ICMP belongs to shard 0; another one got it from a sender that plays with fragments.
  if (!s.redirects || s.network->interfaces.find_local(redirected.local) == nullptr) return s.drop(Drop::icmp_ignored);
  if (const auto taken = s.redirects->heard(*at.in, s.network->fibs, redirected, s.now); !taken) s.drop(taken.error());
}

void rx_icmp(ShardState& s, const Arrival& at, PacketPtr packet, iface::Cast cast) {
  const auto ms_of_day = s.stack.config().ms_of_day;
  const icmp::InputContext context{*at.in, s.settings.icmp, s.counters.icmp, ms_of_day != nullptr ? std::optional{ms_of_day()} : std::nullopt,
                                   &s.counters.icmp6};
  auto in = icmp::input(context, at.ip, cast, packet);
  if (!in) return s.drop(in.error());
  if (auto* answer = std::get_if<icmp::Answer>(&*in)) {
    Outgoing how{.destination = answer->to, .protocol = at.ip.protocol, .tos = answer->tos, .fib = at.fib()};
    how.answers = true;
    if (answer->from) how.source = *answer->from;
    // RFC 1122 section 3.2.2.6: what is recorded goes on being recorded on the way back.
    wire::Ipv4OptionBytes options;
    if (const Bytes came = ipv4_options(at.ip); !came.empty()) options = ipv4::options_for_reply(came, at.ip.src.v4());
    if (!options.empty()) how.options = &options;
    if (how.options != nullptr && is_broadcast(s, how)) return s.drop(Drop::ip_broadcast_refused);
    static_cast<void>(tx_ip(s, std::move(answer->packet), how));
    return;
  }
  if (const auto* about = std::get_if<icmp::ErrorAbout>(&*in)) {
    packet->trim_front(wire::IcmpView::kHeaderLen);
    return on_icmp_error(s, *about, &at, std::move(packet));
  }
  if (const auto* redirected = std::get_if<icmp::Redirected>(&*in)) return rx_redirect(s, at, *redirected);
  if (std::holds_alternative<icmp::NeighbourDiscovery>(*in)) return rx_discovery(s, at, *packet);
  if (std::holds_alternative<icmp::ListenerDiscovery>(*in)) return rx_mld(s, at, *packet);
}

/// Nobody takes the protocol: what its sender is told.
icmp::Message unknown_protocol(const Arrival& at) {
  if (at.ip.dst.is_v6()) return wire::Icmpv6Header::parameter_problem(wire::Icmpv6ParameterProblem::next_header, at.named_at);
  return wire::IcmpHeader::unreachable(wire::IcmpUnreachable::protocol);
}

/// Offset 0 of `packet` is the transport header, its IP header is already off.
void deliver_protocol(ShardState& s, const Arrival& at, PacketPtr packet, iface::Cast cast, bool raw_took_it) {
  switch (at.ip.protocol) {
    case wire::IpProtocol::tcp:
      if (cast != iface::Cast::unicast || packet->link_broadcast || packet->link_multicast)
        return s.drop(Drop::ip_broadcast_refused);
      return rx_tcp(s, at, std::move(packet));
    case wire::IpProtocol::udp:
    case wire::IpProtocol::udplite: return rx_udp(s, at, std::move(packet));
    case wire::IpProtocol::icmp:
      if (at.ip.dst.is_v6()) break;
      return rx_icmp(s, at, std::move(packet), cast);
    case wire::IpProtocol::icmpv6:
      if (at.ip.dst.is_v4()) break;
      return rx_icmp(s, at, std::move(packet), cast);
    case wire::IpProtocol::igmp:
      if (at.ip.dst.is_v6()) break;
      return rx_igmp(s, at, std::move(packet));
    case wire::IpProtocol::no_next_header:
      if (at.ip.dst.is_v4()) break;
      return s.drop(Drop::ip6_no_next_header);
    default: break;
  }
  if (raw_took_it) return;
  s.drop(Drop::ip_unknown_protocol);
  answer_error(s, unknown_protocol(at), at.ip, *packet, cast, at.fib());
}

/// What IP makes of a packet.
struct Judged {
  Arrival at;
  iface::Cast cast;
  enum class Way : std::uint8_t { deliver, fragment, forward } way;
  std::uint16_t header_len;
  wire::IpFragment fragment;
};

Arrival arrival(const iface::Interface& in, wire::IpHeader&& header, iface::Cast cast, std::uint16_t named_at = 0) {
  return {&in, std::move(header), cast == iface::Cast::broadcast, cast == iface::Cast::multicast, named_at, false};
}

}  // namespace

void refuse(ShardState& s, const iface::Interface& in, packet::Packet& packet, Drop why, const std::optional<icmp::Message>& answer) {
  s.drop(why);
  if (answer) tell_sender(s, in, packet, *answer);
}

void tell_sender(ShardState& s, const iface::Interface& in, packet::Packet& packet, const icmp::Message& answer) {
  const Bytes head = packet.head();
  wire::IpHeader header;
  if (const auto v4 = wire::Ipv4View::parse_header(head)) {
    header = {v4->header(), v4->header_bytes()};
  } else if (const auto v6 = wire::Ipv6View::parse_header(head)) {
    const auto upper = wire::find_upper_layer(head);
    // RFC 4443 section 2.4 (e): never about what may be an error message. Of a later piece of ICMPv6 its type is not there, of a chain
    // that cannot be read not even the protocol; only what is wrong with the chain itself is said. Other later pieces are answered as
    // any packet: one may be too big.
    if (upper && upper->fragment && upper->fragment->offset != 0 && upper->protocol == wire::IpProtocol::icmpv6) return;
    if (!upper && answer.v6().type != wire::Icmpv6Type::parameter_problem) return;
    const std::size_t length = upper ? upper->offset : wire::Ipv6View::kHeaderLen;
    header = {v6->header(), upper ? upper->protocol : v6->next_header(), head.first(length), in.index};
  } else {
    return;
  }
  const auto header_len = static_cast<std::uint32_t>(header.bytes.size());
  packet.trim_front(header_len);
  const bool broadcast = header.dst.is_v4() && s.network->interfaces.is_any_broadcast(header.dst.v4());
  const iface::Cast cast = broadcast ? iface::Cast::broadcast : header.dst.is_multicast() ? iface::Cast::multicast : iface::Cast::unicast;
  answer_error(s, answer, header, packet, cast, static_cast<std::uint8_t>(in.fib));
}

namespace {

bool joined(const void* shard, std::uint32_t interface_index, wire::Ipv4Address group, wire::Ipv4Address source) {
  return hears_group(*static_cast<const ShardState*>(shard), interface_index, group, source);
}
bool joined6(const void* shard, std::uint32_t interface_index, const wire::Ipv6Address& group, const wire::Ipv6Address& source) {
  return hears_group(*static_cast<const ShardState*>(shard), interface_index, wire::IpAddress{group}, {source, interface_index});
}

bool anycast6(const void* shard, std::uint32_t interface_index, const wire::Ipv6Address& address, bool on_link) {
  return is_anycast(*static_cast<const ShardState*>(shard), interface_index, address, on_link);
}

std::optional<Judged> judge_ipv4(ShardState& s, const iface::Interface& in, packet::Packet& packet) {
  const ipv4::InputContext context{in, s.network->interfaces, s.settings.ipv4, s.counters.ipv4, {&joined, &s}, stamp_clock(s)};
  auto ip = ipv4::input(context, packet);
  if (!ip) {
    refuse(s, in, packet, ip.error().why, ip.error().answer ? std::optional<icmp::Message>{*ip.error().answer} : std::nullopt);
    return std::nullopt;
  }
  const wire::Ipv4Header& h = ip->header;
  const auto way = ip->way == ipv4::Way::deliver    ? Judged::Way::deliver
                   : ip->way == ipv4::Way::fragment ? Judged::Way::fragment
                                                    : Judged::Way::forward;
  return Judged{arrival(in, {h, packet.head().first(ip->header_len)}, ip->cast), ip->cast, way, ip->header_len,
                {.id = h.id, .offset = h.fragment_offset, .more = h.mf, .header_len = ip->header_len}};
}

}  // namespace

ipv6::Membership membership6(const ShardState& s) { return {.joined = &joined6, .context = &s, .anycast = &anycast6}; }

namespace {

std::optional<Judged> judge_ipv6(ShardState& s, const iface::Interface& in, packet::Packet& packet) {
  if (s.inet6 == nullptr) return s.drop(Drop::link_unknown_type), std::nullopt;
  auto ip = s.inet6->input({in, s.network->interfaces, s.settings.ipv6, s.counters.ipv6, membership6(s)}, packet);
  if (!ip) {
    refuse(s, in, packet, ip.error().why, ip.error().answer);
    return std::nullopt;
  }
  const auto way = ip->way == ipv6::Way::deliver    ? Judged::Way::deliver
                   : ip->way == ipv6::Way::fragment ? Judged::Way::fragment
                                                    : Judged::Way::forward;
  return Judged{arrival(in, std::move(ip->header), ip->cast, ip->named_at), ip->cast, way, ip->header_len, ip->fragment};
}

}  // namespace

void rx_ip(ShardState& s, std::uint32_t interface_index, PacketPtr packet, bool fragmented) {
  if (!fragmented && wait_as_opening(s, interface_index, packet)) return;
  rx_ip_at_once(s, interface_index, std::move(packet), fragmented);
}

void rx_ip_at_once(ShardState& s, std::uint32_t interface_index, PacketPtr packet, bool fragmented) {
  const iface::Interface* in = s.interface(interface_index);
  if (in == nullptr) return s.drop(Drop::link_down);
  auto ip = is_ipv6(*packet) ? judge_ipv6(s, *in, *packet) : judge_ipv4(s, *in, *packet);
  if (!ip) return;
  ip->at.fragmented = fragmented;
  if (const auto pass = s.filters.run(filter::Hook::in, *in, *packet); !pass) return s.drop(pass.error());
  if (ip->way == Judged::Way::forward) return forward(s, ip->at, std::move(packet));

  if (ip->way == Judged::Way::fragment) {
    std::vector<ipv4::Dead> dead;
    auto whole = s.reassembly.insert(ip->at.ip, ip->fragment, std::move(packet), s.now, dead);
    for (const ipv4::Dead& one : dead) s.drop(one.why);
    if (whole) rx_reassembled(s, interface_index, whole->header, std::move(whole->packet));
    return;
  }
  const bool raw_took_it = rx_raw(s, ip->at, *packet);
  packet->trim_front(ip->header_len);
  packet->network_len = ip->header_len;
  deliver_protocol(s, ip->at, std::move(packet), ip->cast, raw_took_it);
}

/// A datagram that was put together on shard 0 goes on to the shard of its flow with a header of its own.
void rx_reassembled(ShardState& s, std::uint32_t interface_index, const wire::IpHeader& header, PacketPtr payload) {
  const Bytes bytes = header.bytes.span();
  const MutableBytes room = payload->prepend(static_cast<std::uint32_t>(bytes.size()));
  if (room.empty()) return s.drop(Drop::no_buffer);
  std::copy(bytes.begin(), bytes.end(), room.begin());
  payload->network_len = 0;
  rx_owned(s, interface_index, std::move(payload), true);
}

void send_port_unreachable(ShardState& s, const Arrival& at, const packet::Packet& payload) {
  const iface::Cast cast = at.broadcast ? iface::Cast::broadcast : at.multicast ? iface::Cast::multicast : iface::Cast::unicast;
  answer_error(s, icmp::port_unreachable(at.ip.family()), at.ip, payload, cast, at.fib());
}

/// RFC 1122 section 3.3.2, RFC 8200 section 4.5: time exceeded, if the first fragment is there.
void on_reassembly_expired(ShardState& s, const std::optional<wire::IpHeader>& first, packet::Burst& packets) {
  for (std::size_t i = 0; i < packets.size(); ++i) s.drop(Drop::ip_fragment_timeout);
  if (!first || packets.empty()) return;
  const bool broadcast = first->dst.is_v4() && s.network->interfaces.is_any_broadcast(first->dst.v4());
  answer_error(s, icmp::reassembly_timed_out(first->family()), *first, *packets.front(),
               broadcast ? iface::Cast::broadcast : iface::Cast::unicast, 0);
}

// ---- 5. errors about what we sent, on the shard of the flow they are about

namespace {

tcp::Failure failure_of(icmp::Trouble trouble) {
  using icmp::Trouble;
  switch (trouble) {
    case Trouble::port: return tcp::Failure::refused;
    case Trouble::protocol:
    case Trouble::malformed: return tcp::Failure::protocol_unreachable;
    case Trouble::network: return tcp::Failure::network_unreachable;
    case Trouble::prohibited: return tcp::Failure::admin_prohibited;
    case Trouble::too_big:
    case Trouble::host:
    case Trouble::time_exceeded:
    case Trouble::none: break;
  }
  return tcp::Failure::host_unreachable;
}

}  // namespace

void on_icmp_error(ShardState& s, const icmp::ErrorAbout& about, const Arrival* at, PacketPtr quoted) {
  const icmp::Trouble trouble = icmp::trouble_of(about.local.address.family(), about.message);
  if (trouble == icmp::Trouble::none) return;
  const bool too_big = trouble == icmp::Trouble::too_big;
  // Whoever is not the sender learns nothing from it.
  if (too_big && s.network->interfaces.find_local(about.local.address) == nullptr) return s.drop(Drop::icmp_no_flow);
  report_datagram_error(s, about, at, std::move(quoted));
  if (about.protocol == wire::IpProtocol::tcp) {
    const FlowKey flow{about.local, about.remote};
    const std::uint32_t owner = s.stack.shard_of_flow(flow_hash(s.key(), flow.local, flow.remote));
    const std::uint32_t least = flow.local.address.is_v6() ? wire::Ipv6View::kMinMtu : 0;
    const message::FlowError error_message{
        flow, failure_of(trouble), wire::SeqNum{about.sequence},
        static_cast<std::uint16_t>(too_big ? std::clamp<std::uint32_t>(about.mtu, least, 65535) : 0)};
    if (owner == s.number) return on_flow_error(s, error_message);
    send_to(s, owner, Message{error_message});
  }
}

}  // namespace iopkt::stack
