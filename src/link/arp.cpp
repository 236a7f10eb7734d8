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
  // RFC 3927 section 2.5: everybody is to hear who uses such an address.
  const MacAddress to = arp.sender_ip.is_link_local() ? MacAddress::broadcast() : dst;
  if (!output(out, *packet, to, wire::EtherType::arp)) return {};
  return packet;
}

bool is_usable_sender(const iface::Interface& in, Ipv4Address ip) {
  return !ip.is_multicast() && !ip.is_loopback() && !ip.is_zero_network() && !ip.is_reserved() &&
         !ip.is_limited_broadcast() && !in.is_broadcast_address(ip);
}

bool is_ours(const iface::Interface& in, Ipv4Address address) {
  const iface::InterfaceAddress* own = in.find(address);
  return own != nullptr && own->is_usable();
}

/// RFC 5227 sections 2.1.1 and 2.4: somebody else uses an address that is or may become ours, or is about to.
std::optional<Ipv4Address> contested(const iface::Interface& in, const ArpPacket& arp) {
  const iface::InterfaceAddress* own = in.find(arp.is_probe() ? arp.target_ip : arp.sender_ip);
  if (own == nullptr || own->is(iface::address_flag::duplicated)) return std::nullopt;
  if (arp.is_probe() && !own->is(iface::address_flag::tentative)) return std::nullopt;
  return own->address.v4();
}

/// Ours on this interface, or published there.
std::optional<MacAddress> answer_for(const ArpContext& context, Ipv4Address target, Ipv4Address sender) {
  if (is_ours(context.in, target)) return context.in.mac;
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
  if (!arp.is_probe() && !is_usable_sender(in, arp.sender_ip)) return unexpected(Drop::arp_bad_sender);
  result.contested = contested(in, arp);
  if (result.contested) {
    ++context.counters.rx_conflicts;
    return result;
  }

  const bool for_us = is_ours(in, arp.target_ip) && !arp.is_announcement();
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
  const iface::InterfaceAddress* connected = out.connected(target);
  if (connected != nullptr && connected->is_usable()) return connected->address.v4();
  for (const iface::InterfaceAddress& a : out.addresses)
    if (a.address.is_v4() && a.is_usable()) return a.address.v4();
  return std::nullopt;
}

}  // namespace iopkt::link
