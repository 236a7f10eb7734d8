#include "ipv6/output.hpp"

#include <algorithm>
#include <array>

#include "packet/segment.hpp"
#include "wire/ipv6_extensions.hpp"

namespace iopkt::ipv6 {
namespace {

using wire::Ipv6View;

Expected<void, Drop> cut(packet::Packet& packet, std::uint32_t mtu, std::uint32_t id, packet::Burst& out) {
  const auto view = Ipv6View::parse_header(packet.head());
  IOPKT_ASSERT(view && Ipv6View::kHeaderLen + view->payload_len() == packet.size() && "add_header() made this header");
  packet::complete_checksum(packet);
  // What every fragment has: the header with the extension headers that routers read, of which the last names the fragment header.
  const auto kept = static_cast<std::uint32_t>(wire::unfragmentable_len(packet.head()));
  std::array<std::byte, Ipv6View::kHeaderLen + wire::kExtensionBytesMax> front{};
  const std::uint32_t headers = kept + wire::Ipv6FragmentHeader::kLen;
  if (kept > front.size() || headers + 8 > mtu) return unexpected(Drop::ip_too_big);
  packet.copy_out(0, MutableBytes{front}.first(kept));
  std::size_t named_at = Ipv6View::At::next_header;
  for (std::size_t at = Ipv6View::kHeaderLen; at < kept; at += (load_u8(front, at + 1) + std::size_t{1}) * 8) named_at = at;
  wire::Ipv6FragmentHeader fragment{.next_header = static_cast<wire::IpProtocol>(load_u8(front, named_at)), .offset = 0, .more = true, .id = id};
  store_u8(front, named_at, static_cast<std::uint8_t>(wire::IpProtocol::fragment));

  const std::uint32_t whole = packet.size() - kept, room = (mtu - headers) & ~7u;
  for (std::uint32_t done = 0; done < whole;) {
    const std::uint32_t n = std::min(room, whole - done);
    packet::PacketPtr piece = packet.copy_range(packet.cache(), kept + done, n);
    const MutableBytes head = piece ? piece->prepend(headers) : MutableBytes{};
    if (head.empty()) return unexpected(Drop::no_buffer);
    store_be16(front, Ipv6View::At::payload_len, static_cast<std::uint16_t>(headers - Ipv6View::kHeaderLen + n));
    fragment.offset = static_cast<std::uint16_t>(done);
    fragment.more = done + n < whole;
    std::copy_n(front.begin(), kept, head.begin());
    wire::encode(fragment, head.subspan(kept));
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
    if (kind == wire::IpProtocol::routing && extensions.last_segment) wire::store_ipv6(room, at + 8, *extensions.last_segment);
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
  if (wire::is_extension(Ipv6View::parse_header(packet->head())->next_header()) &&
      !packet->pull_up(std::min(packet->size(), static_cast<std::uint32_t>(wire::kIpv6WalkLen))))
    return unexpected(Drop::no_buffer);
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
