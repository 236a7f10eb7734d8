// A packet's way in, from top to bottom: frame, link, owner's shard, IP, filter, protocol.
#include "icmp/input.hpp"
#include "link/arp.hpp"
#include "link/ethernet.hpp"
#include "packet/segment.hpp"
#include "stack/ways.hpp"
#include "wire/ipv4.hpp"

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
    const packet::Coalesced merged = packet::coalesce(burst, in->link_header_len());
    for (std::size_t i = 0; i < merged.lost; ++i) s.drop(Drop::no_buffer);
  }
  for (PacketPtr& frame : burst) rx_frame(s, *in, std::move(frame));
  burst.clear();
}

// ---- 2. one frame: the link header, and who goes on

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
  if (link->type != wire::EtherType::ipv4) {
    ++counters.rx_dropped;
    return s.drop(Drop::link_unknown_type);
  }
  const std::uint32_t owner = owner_of(s, *frame);
  if (owner == s.number) return rx_ip(s, in.index, std::move(frame));
  send_to(s, owner, message::Input{in.index, std::move(frame)});
}

std::uint32_t owner_of(const ShardState& s, const packet::Packet& packet) {
  if (s.stack.shard_count() == 1) return 0;
  const Bytes bytes = packet.head();
  const auto ip = wire::Ipv4View::parse_header(bytes);
  if (!ip) return s.number;
  const wire::Ipv4Header header = ip->header();
  if (header.is_fragment()) return 0;  // reassembly has one place
  const std::size_t at = ip->header_len();
  const bool has_ports = bytes.size() >= at + 4;
  if (header.protocol == wire::IpProtocol::tcp && has_ports) {
    const FlowKey flow{{header.dst, wire::Port{load_be16(bytes, at + 2)}}, {header.src, wire::Port{load_be16(bytes, at)}}};
    return s.stack.shard_of_flow(flow_hash(s.key(), flow.local, flow.remote));
  }
  if ((header.protocol == wire::IpProtocol::udp || header.protocol == wire::IpProtocol::udplite) && has_ports)
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
  if (arp->conflict) s.stack.log().write(LogLevel::warning, in->name + ": another station uses our address");
  if (arp->learned) {
    neigh::Actions actions;
    s.neighbours->learned(arp->learned->key, arp->learned->mac, arp->learned->how, s.now, actions);
    apply_neighbour_actions(s, actions);
  }
  if (arp->answer) enqueue_frame(s, *in, std::move(arp->answer));
}

// ---- 4. IP, on the shard that owns the flow

namespace {

void answer_error(ShardState& s, const wire::IcmpHeader& message, const wire::Ipv4Header& header,
                  const packet::Packet& payload, iface::Cast cast, std::uint8_t fib) {
  if (!icmp::may_send_error(header, payload, cast)) return;
  if (!s.icmp_limit.allow(s.now)) return s.drop(Drop::icmp_rate_limited);
  PacketPtr error = icmp::build_error(s.cache, message, header, payload, s.counters.icmp);
  if (!error) return s.drop(Drop::no_buffer);
  Outgoing how{.destination = header.src, .protocol = wire::IpProtocol::icmp, .tos = icmp::kErrorTos, .fib = fib};
  // RFC 1812 4.3.2.4: from the address that was spoken to, if it is ours.
  if (s.network->interfaces.find_local(header.dst) != nullptr) how.source = header.dst;
  static_cast<void>(tx_ip(s, std::move(error), how));
}

void rx_icmp(ShardState& s, const Arrival& at, PacketPtr packet, iface::Cast cast) {
  const icmp::InputContext context{*at.in, s.settings.icmp, s.counters.icmp, std::nullopt};
  auto in = icmp::input(context, at.ip, cast, packet);
  if (!in) return s.drop(in.error());
  if (auto* answer = std::get_if<icmp::Answer>(&*in)) {
    Outgoing how{.destination = answer->to, .protocol = wire::IpProtocol::icmp, .tos = answer->tos, .fib = at.fib()};
    if (answer->from) how.source = *answer->from;
    static_cast<void>(tx_ip(s, std::move(answer->packet), how));
    return;
  }
  if (const auto* about = std::get_if<icmp::ErrorAbout>(&*in)) return on_icmp_error(s, *about);
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
    case wire::IpProtocol::icmp: return rx_icmp(s, at, std::move(packet), cast);
    default: break;
  }
  if (raw_took_it) return;
  s.drop(Drop::ip_unknown_protocol);
  answer_error(s, wire::IcmpHeader::unreachable(wire::IcmpUnreachable::protocol), at.ip, *packet, cast, at.fib());
}

}  // namespace

void rx_ip(ShardState& s, std::uint32_t interface_index, PacketPtr packet) {
  const iface::Interface* in = s.interface(interface_index);
  if (in == nullptr) return s.drop(Drop::link_down);
  const ipv4::InputContext context{*in, s.network->interfaces, s.settings.ipv4, s.counters.ipv4};
  auto ip = ipv4::input(context, *packet);
  if (!ip) {
    s.drop(ip.error().why);
    if (const auto& answer = ip.error().answer) {
      if (const auto view = wire::Ipv4View::parse_header(packet->head())) {
        const wire::Ipv4Header header = view->header();
        ipv4::strip_header(*packet, static_cast<std::uint8_t>(view->header_len()));
        answer_error(s, *answer, header, *packet, iface::Cast::unicast, static_cast<std::uint8_t>(in->fib));
      }
    }
    return;
  }
  if (const auto pass = s.filters.run(filter::Hook::in, *in, *packet); !pass) return s.drop(pass.error());
  // Forwarding belongs to a later release; `forward` is refused at start, so a packet for others ends here.
  if (ip->way == ipv4::Way::forward) return s.drop(Drop::ip_not_for_us);

  Arrival at{in, ip->header, ip->cast == iface::Cast::broadcast, ip->cast == iface::Cast::multicast};
  if (ip->way == ipv4::Way::fragment) {
    std::vector<ipv4::Dead> dead;
    auto whole = s.reassembly.insert(ip->header, std::move(packet), s.now, dead);
    for (const ipv4::Dead& one : dead) s.drop(one.why);
    if (whole) rx_reassembled(s, interface_index, whole->header, std::move(whole->packet));
    return;
  }
  const bool raw_took_it = rx_raw(s, at, *packet);
  ipv4::strip_header(*packet, ip->header_len);
  deliver_protocol(s, at, std::move(packet), ip->cast, raw_took_it);
}

/// A datagram that was put together on shard 0 goes on to the shard of its flow with a header of its own.
void rx_reassembled(ShardState& s, std::uint32_t interface_index, wire::Ipv4Header header, PacketPtr payload) {
  header.mf = false;
  header.fragment_offset = 0;
  const std::size_t length = wire::encoded_len(header);
  const MutableBytes room = payload->prepend(static_cast<std::uint32_t>(length));
  if (room.empty()) return s.drop(Drop::no_buffer);
  wire::encode(header, room);
  payload->network_len = 0;
  const std::uint32_t owner = owner_of(s, *payload);
  if (owner == s.number) return rx_ip(s, interface_index, std::move(payload));
  send_to(s, owner, message::Input{interface_index, std::move(payload)});
}

void send_port_unreachable(ShardState& s, const Arrival& at, const packet::Packet& payload) {
  const iface::Cast cast = at.broadcast ? iface::Cast::broadcast : at.multicast ? iface::Cast::multicast : iface::Cast::unicast;
  answer_error(s, wire::IcmpHeader::unreachable(wire::IcmpUnreachable::port), at.ip, payload, cast, at.fib());
}

/// RFC 1122 section 3.3.2: time exceeded, if the first fragment is there.
void on_reassembly_expired(ShardState& s, const std::optional<wire::Ipv4Header>& first, packet::Burst& packets) {
  for (std::size_t i = 0; i < packets.size(); ++i) s.drop(Drop::ip_fragment_timeout);
  if (first && !packets.empty())
    answer_error(s, wire::IcmpHeader::time_exceeded(wire::IcmpTimeExceeded::reassembly), *first, *packets.front(),
                 s.network->interfaces.is_any_broadcast(first->dst) ? iface::Cast::broadcast : iface::Cast::unicast, 0);
}

// ---- 5. errors about what we sent, on the shard of the flow they are about

void on_icmp_error(ShardState& s, const icmp::ErrorAbout& about) {
  const wire::IcmpHeader& m = about.message;
  const auto code = static_cast<wire::IcmpUnreachable>(m.code);
  auto failure = tcp::Failure::host_unreachable;
  Errno error = Errno::hostunreach;
  bool hard = false;
  if (m.type == wire::IcmpType::destination_unreachable) {
    switch (code) {
      case wire::IcmpUnreachable::port: failure = tcp::Failure::refused, error = Errno::connrefused, hard = true; break;
      case wire::IcmpUnreachable::protocol:
        failure = tcp::Failure::protocol_unreachable, error = Errno::noprotoopt, hard = true;
        break;
      case wire::IcmpUnreachable::network:
      case wire::IcmpUnreachable::network_unknown: failure = tcp::Failure::network_unreachable, error = Errno::netunreach; break;
      case wire::IcmpUnreachable::fragmentation_needed: error = Errno::msgsize; break;
      default: break;
    }
  } else if (m.type == wire::IcmpType::parameter_problem) {
    error = Errno::opnotsupp, failure = tcp::Failure::protocol_unreachable;
  } else if (m.type != wire::IcmpType::time_exceeded) {
    return;  // source quench: RFC 6633
  }
  if (about.protocol == wire::IpProtocol::tcp) {
    const bool too_big = m.type == wire::IcmpType::destination_unreachable && code == wire::IcmpUnreachable::fragmentation_needed;
    const FlowKey flow{about.local, about.remote};
    const std::uint32_t owner = s.stack.shard_of_flow(flow_hash(s.key(), flow.local, flow.remote));
    const message::FlowError error_message{flow, failure, wire::SeqNum{about.sequence},
                                           static_cast<std::uint16_t>(too_big ? about.mtu : 0)};
    if (owner == s.number) return on_flow_error(s, error_message);
    return send_to(s, owner, Message{error_message});
  }
  if (about.protocol == wire::IpProtocol::udp || about.protocol == wire::IpProtocol::udplite) {
    const auto kind = about.protocol == wire::IpProtocol::udp ? socket::SocketKind::udp : socket::SocketKind::udplite;
    const message::PortError port_error{kind, about.local, about.remote, error, hard};
    const std::uint32_t owner = s.stack.shard_of_port(about.local.port);
    if (owner == s.number) return on_port_error(s, port_error);
    send_to(s, owner, Message{port_error});
  }
}

}  // namespace iopkt::stack
