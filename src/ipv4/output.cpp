#include "ipv4/output.hpp"

#include <algorithm>

#include "ipv4/options.hpp"
#include "packet/segment.hpp"

namespace iopkt::ipv4 {
namespace {

constexpr std::uint32_t kMinMtu = 68;  // RFC 791 3.2: what every link carries

std::uint32_t segments_of(const packet::Packet& payload) {
  if ((payload.flags & packet::kGsoFlags) == 0 || payload.gso_size == 0) return 1;
  return payload.size() / payload.gso_size + 1;
}

}  // namespace

IdSource::IdSource(HashKey secret, std::uint32_t reserved, std::uint32_t shard, std::uint32_t shards)
    : secret_(secret), reserved_(reserved) {
  IOPKT_ASSERT(reserved <= 32768 && shards >= 1 && shards <= 256 && shard < shards);
  // Each shard has a block: no two of them give one identifier to two packets of one pair of hosts.
  const std::uint32_t lowest = reserved + 1;
  span_ = (65536 - lowest) / shards;
  first_ = lowest + shard * span_;
}

std::uint16_t IdSource::next_run(wire::Ipv4Address src, wire::Ipv4Address dst, wire::IpProtocol protocol,
                                 std::uint32_t count) {
  const std::array<std::uint32_t, 3> input{src.value, dst.value, static_cast<std::uint32_t>(protocol)};
  const std::uint64_t hash = siphash24(secret_, as_bytes(input.data(), sizeof input));
  std::uint32_t& counter = counters_[hash % kCounters];
  std::uint32_t at = (static_cast<std::uint32_t>(hash >> 32) % span_ + counter) % span_;
  if (at + count > span_) {
    counter = (counter + span_ - at) % span_;
    at = 0;
  }
  counter = (counter + count) % span_;
  return static_cast<std::uint16_t>(first_ + at);
}

Expected<void, Drop> add_header(packet::Packet& packet, wire::Ipv4Header& header, IdSource& ids,
                                Ipv4Counters<Counter>& counters) {
  const std::size_t header_len = wire::encoded_len(header);
  if (packet.size() + header_len > wire::Ipv4View::kMaxPacketLen) return unexpected(Drop::ip_too_big);
  const std::uint32_t count = segments_of(packet);
  header.payload_len = static_cast<std::uint16_t>(packet.size());
  if (header.id == 0)
    header.id = header.df && !header.is_fragment()
                    ? ids.atomic(header.src, header.dst, header.protocol, count)
                    : ids.next_run(header.src, header.dst, header.protocol, count);
  const MutableBytes room = packet.prepend(static_cast<std::uint32_t>(header_len));
  if (room.empty()) return unexpected(Drop::no_buffer);
  wire::encode(header, room);
  ++counters.tx_packets;
  return {};
}

namespace {

Expected<void, Drop> cut(packet::Packet& packet, std::uint32_t mtu, packet::Burst& out) {
  const auto view = wire::Ipv4View::parse_header(packet.head());
  IOPKT_ASSERT(view && view->total_len() == packet.size() && "input() or add_header() made this header");
  const wire::Ipv4Header whole = view->header();
  if (whole.df || mtu < kMinMtu) return unexpected(Drop::ip_too_big);
  packet::complete_checksum(packet);

  wire::Ipv4Header header = whole;
  std::uint32_t done = 0;
  const std::uint32_t payload_at = packet.size() - whole.payload_len;
  while (done < whole.payload_len) {
    const auto header_len = static_cast<std::uint32_t>(wire::encoded_len(header));
    const std::uint32_t room = (mtu - header_len) & ~7u;
    const std::uint32_t left = whole.payload_len - done;
    // The last one needs no multiple of 8.
    const std::uint32_t n = left <= mtu - header_len ? left : room;
    header.payload_len = static_cast<std::uint16_t>(n);
    header.fragment_offset = static_cast<std::uint16_t>(whole.fragment_offset + done);
    header.mf = whole.mf || n < left;
    packet::PacketPtr piece = packet.copy_range(packet.cache(), payload_at + done, n);
    if (!piece) return unexpected(Drop::no_buffer);
    const MutableBytes front = piece->prepend(header_len);
    if (front.empty()) return unexpected(Drop::no_buffer);
    wire::encode(header, front);
    piece->txq = packet.txq;
    piece->flow_hash = packet.flow_hash;
    piece->looped = packet.looped;
    out.push_back(std::move(piece));
    if (done == 0) header.options = copied_options(whole.options.span());
    done += n;
  }
  return {};
}

}  // namespace

Expected<void, Drop> fragment(packet::PacketPtr& packet, std::uint32_t mtu, packet::Burst& out,
                              Ipv4Counters<Counter>& counters) {
  if (packet::fits_mtu(*packet, mtu)) {
    out.push_back(std::move(packet));
    return {};
  }
  if (!packet->pull_up(std::min<std::uint32_t>(packet->size(), wire::Ipv4View::kMaxHeaderLen)))
    return unexpected(Drop::no_buffer);
  const std::size_t before = out.size();
  Expected<void, Drop> done;
  if ((packet->flags & packet::kGsoFlags) != 0) {
    // The path became narrower than the segments.
    if (wire::Ipv4View::parse_header(packet->head())->df()) return unexpected(Drop::ip_too_big);
    packet::Burst segments;
    if (done = packet::segment(*packet, 0, segments); !done) return done;
    for (packet::PacketPtr& one : segments)
      if (done = fragment(one, mtu, out, counters); !done) break;
  } else {
    done = cut(*packet, mtu, out);
    if (done) {
      ++counters.tx_fragmented;
      counters.tx_fragments += out.size() - before;
    }
  }
  if (!done) {
    out.resize(before);
    return done;
  }
  packet.reset();
  return done;
}

}  // namespace iopkt::ipv4
