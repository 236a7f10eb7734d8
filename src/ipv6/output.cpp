#include "ipv6/output.hpp"

#include <algorithm>

#include "packet/segment.hpp"

namespace iopkt::ipv6 {
namespace {

using wire::Ipv6View;

Expected<void, Drop> cut(packet::Packet& packet, std::uint32_t mtu, std::uint32_t id, packet::Burst& out) {
  const auto view = Ipv6View::parse_header(packet.head());
  IOPKT_ASSERT(view && Ipv6View::kHeaderLen + view->payload_len() == packet.size() && "add_header() made this header");
  wire::Ipv6Header header = view->header();
  packet::complete_checksum(packet);
  wire::Ipv6FragmentHeader fragment{.next_header = header.next_header, .offset = 0, .more = true, .id = id};
  header.next_header = wire::IpProtocol::fragment;

  constexpr std::uint32_t kHeaders = Ipv6View::kHeaderLen + wire::Ipv6FragmentHeader::kLen;
  const std::uint32_t whole = view->payload_len(), room = (mtu - kHeaders) & ~7u;
  for (std::uint32_t done = 0; done < whole;) {
    const std::uint32_t n = std::min(room, whole - done);
    packet::PacketPtr piece = packet.copy_range(packet.cache(), Ipv6View::kHeaderLen + done, n);
    const MutableBytes front = piece ? piece->prepend(kHeaders) : MutableBytes{};
    if (front.empty()) return unexpected(Drop::no_buffer);
    header.payload_len = static_cast<std::uint16_t>(wire::Ipv6FragmentHeader::kLen + n);
    fragment.offset = static_cast<std::uint16_t>(done);
    fragment.more = done + n < whole;
    wire::encode(header, front);
    wire::encode(fragment, front.subspan(Ipv6View::kHeaderLen));
    piece->txq = packet.txq;
    piece->flow_hash = packet.flow_hash;
    piece->looped = packet.looped;
    out.push_back(std::move(piece));
    done += n;
  }
  return {};
}

}  // namespace

Expected<void, Drop> add_header(packet::Packet& packet, wire::Ipv6Header& header, Ipv6Counters<Counter>& counters) {
  if (packet.size() > Ipv6View::kMaxPayloadLen) return unexpected(Drop::ip_too_big);
  header.payload_len = static_cast<std::uint16_t>(packet.size());
  const MutableBytes room = packet.prepend(Ipv6View::kHeaderLen);
  if (room.empty()) return unexpected(Drop::no_buffer);
  wire::encode(header, room);
  ++counters.tx_packets;
  return {};
}

Expected<void, Drop> add_extensions(packet::Packet& packet, wire::IpProtocol protocol, const wire::Ipv6Extensions& extensions) {
  const MutableBytes room = packet.prepend(static_cast<std::uint32_t>(extensions.bytes.size()));
  if (room.empty()) return unexpected(Drop::no_buffer);
  std::copy(extensions.bytes.begin(), extensions.bytes.end(), room.begin());
  // The last one says what follows.
  std::size_t at = 0;
  for (auto kind = extensions.first;;) {
    const auto len = wire::extension_len(kind, extensions.bytes.subspan(at));
    IOPKT_ASSERT(len && "who made them knows what they are");
    if (at + *len == extensions.bytes.size()) break;
    kind = static_cast<wire::IpProtocol>(load_u8(extensions.bytes, at));
    at += *len;
  }
  store_u8(room, at, static_cast<std::uint8_t>(protocol));
  return {};
}

Expected<void, Drop> fragment(packet::PacketPtr& packet, std::uint32_t mtu, std::uint32_t id, packet::Burst& out,
                              Ipv6Counters<Counter>& counters) {
  if (mtu < Ipv6View::kMinMtu) return unexpected(Drop::ip_too_big);
  if (!packet->pull_up(Ipv6View::kHeaderLen)) return unexpected(Drop::no_buffer);
  packet::Burst parts, fragments;
  const bool large = (packet->flags & packet::kGsoFlags) != 0;
  if (large) {
    if (const auto done = packet::segment(*packet, 0, parts); !done) return done;
  }
  const std::size_t count = large ? parts.size() : 1;
  for (std::size_t i = 0; i < count; ++i) {
    packet::PacketPtr& one = large ? parts[i] : packet;
    if (packet::fits_mtu(*one, mtu)) {
      fragments.push_back(std::move(one));
      continue;
    }
    const std::size_t before = fragments.size();
    // Segments of one packet follow each other: their fragments must not be mixed up.
    if (const auto done = cut(*one, mtu, id + static_cast<std::uint32_t>(i), fragments); !done) return done;
    ++counters.tx_fragmented;
    counters.tx_fragments += fragments.size() - before;
  }
  std::move(fragments.begin(), fragments.end(), std::back_inserter(out));
  packet.reset();
  return {};
}

}  // namespace iopkt::ipv6
