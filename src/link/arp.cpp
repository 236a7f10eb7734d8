#include "link/arp.hpp"

#include "link/ethernet.hpp"
#include "wire/ethernet.hpp"

namespace iopkt::link {
namespace {

using packet::Drop;
using wire::ArpOperation;
using wire::ArpPacket;
using wire::Ipv4Address;
using wire::MacAddress;

packet::PacketPtr build(packet::Cache& cache, const iface::Interface& out, const ArpPacket& arp,
                        const MacAddress& dst) {
  packet::PacketPtr packet = packet::allocate_header(cache);
  if (!packet) return packet;
  const MutableBytes room = packet->prepend(wire::ArpView::kLen);
  if (room.empty()) return {};
  wire::encode(arp, room);
  if (!output(out, *packet, dst, wire::EtherType::arp)) return {};
  return packet;
}

bool is_usable_sender(const iface::Interface& in, Ipv4Address ip) {
  return !ip.is_multicast() && !ip.is_loopback() && !ip.is_zero_network() && !ip.is_reserved() &&
         !ip.is_limited_broadcast() && !in.is_broadcast_address(ip);
}

/// Ours on this interface, or published there.
std::optional<MacAddress> answer_for(const ArpContext& context, Ipv4Address target, Ipv4Address sender) {
  if (context.in.find(target) != nullptr) return context.in.mac;
  if (context.neighbours == nullptr) return std::nullopt;
  // Whoever asks for the published address with it as the sender is its owner.
  if (target == sender) return std::nullopt;
  return context.neighbours->published(context.in.index, target);
}

void count_operation(neigh::ArpCounters<Counter>& counters, const ArpPacket& arp) {
  ++(arp.operation == ArpOperation::request ? counters.rx_requests : counters.rx_replies);
  if (arp.is_probe()) ++counters.rx_probes;
  if (arp.is_announcement()) ++counters.rx_announcements;
}

}  // namespace

Expected<ArpIn, Drop> arp_input(const ArpContext& context, packet::Packet& packet) {
  const iface::Interface& in = context.in;
  ++context.counters.rx_packets;
  if (in.link_type != iface::LinkType::ethernet || in.is(iface::flag::no_arp) ||
      packet.size() < wire::ArpView::kLen)
    return unexpected(Drop::arp_malformed);
  if (!packet.pull_up(wire::ArpView::kLen)) return unexpected(Drop::no_buffer);
  const auto view = wire::ArpView::parse(packet.head());
  if (!view) return unexpected(Drop::arp_malformed);
  const ArpPacket arp = view->packet();
  if (arp.operation != ArpOperation::request && arp.operation != ArpOperation::reply)
    return unexpected(Drop::arp_malformed);
  count_operation(context.counters, arp);

  if (arp.sender_mac.is_multicast() || arp.sender_mac.is_zero() || arp.sender_mac == in.mac)
    return unexpected(Drop::arp_bad_sender);
  ArpIn result;
  if (!arp.is_probe()) {
    if (!is_usable_sender(in, arp.sender_ip)) return unexpected(Drop::arp_bad_sender);
    // RFC 5227 2.4: somebody else says that he has our address. Answering with an announcement is the owner's
    // choice.
    if (in.find(arp.sender_ip) != nullptr) {
      ++context.counters.rx_conflicts;
      result.conflict = true;
      return result;
    }
  } else if (arp.operation == ArpOperation::reply) {
    return unexpected(Drop::arp_bad_sender);
  }

  const bool for_us = in.find(arp.target_ip) != nullptr && !arp.is_announcement();
  if (!arp.is_probe()) {
    const bool is_reply = arp.operation == ArpOperation::reply;
    // A stranger to this link makes no new entry; but a gateway outside of our networks may have been asked.
    const neigh::Heard how = for_us && is_reply                                 ? neigh::Heard::reply
                             : for_us && in.connected(arp.sender_ip) != nullptr ? neigh::Heard::request
                                                                                : neigh::Heard::announcement;
    result.learned = ArpIn::Mapping{.key = {in.index, arp.sender_ip}, .mac = arp.sender_mac, .how = how};
  }
  if (arp.operation == ArpOperation::request && !arp.is_announcement()) {
    if (const auto mac = answer_for(context, arp.target_ip, arp.sender_ip)) {
      // RFC 826: the fields are swapped, ours filled in.
      const ArpPacket reply{.operation = ArpOperation::reply,
                            .sender_mac = *mac,
                            .sender_ip = arp.target_ip,
                            .target_mac = arp.sender_mac,
                            .target_ip = arp.sender_ip};
      result.answer = build(packet.cache(), in, reply, arp.sender_mac);
      if (!result.answer) return unexpected(Drop::no_buffer);
      ++context.counters.tx_replies;
    }
  }
  if (!result.learned && !result.answer) return unexpected(Drop::arp_not_for_us);
  return result;
}

packet::PacketPtr arp_request(packet::Cache& cache, const iface::Interface& out, Ipv4Address sender,
                              Ipv4Address target, const std::optional<MacAddress>& unicast) {
  const ArpPacket arp{
      .operation = ArpOperation::request, .sender_mac = out.mac, .sender_ip = sender, .target_ip = target};
  return build(cache, out, arp, unicast.value_or(MacAddress::broadcast()));
}

packet::PacketPtr arp_announcement(packet::Cache& cache, const iface::Interface& out, Ipv4Address address) {
  return arp_request(cache, out, address, address);
}

packet::PacketPtr arp_probe(packet::Cache& cache, const iface::Interface& out, Ipv4Address address) {
  return arp_request(cache, out, Ipv4Address::any(), address);
}

std::optional<Ipv4Address> arp_sender_for(const iface::Interface& out, Ipv4Address target) {
  const iface::InterfaceAddress* address = out.connected(target);
  if (address == nullptr) address = out.primary(wire::IpFamily::v4);
  if (address == nullptr) return std::nullopt;
  return address->address.v4();
}

}  // namespace iopkt::link
