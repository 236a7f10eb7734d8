#include <algorithm>
#include <array>
#include <cstring>

#include "packet/segment.hpp"
#include "wire/checksum.hpp"
#include "wire/ethernet.hpp"
#include "wire/ipv4.hpp"
#include "wire/ipv6.hpp"
#include "wire/tcp.hpp"

namespace iopkt::packet {
namespace {

constexpr std::size_t kIpv4Len = wire::Ipv4View::kMinHeaderLen, kIpv6Len = wire::Ipv6View::kHeaderLen;
/// Flows of one burst that stay open at a time; a burst rarely holds more.
constexpr std::uint16_t kEcn = wire::ae | wire::cwr | wire::ece;
constexpr std::size_t kFlows = 8;

/// One TCP segment of a burst: where things lie in its frame, from `network_offset` on.
struct Segment {
  Packet* packet;
  Bytes ip;            // IP and TCP header
  std::size_t ip_len;  // 20 or 40
  std::uint32_t total_len, header_len, payload;
  std::uint16_t flags;
  std::uint32_t seq;
};

/// What later segments are compared with; its packet stands at `index` of the burst.
struct Flow {
  std::size_t index;
  Segment head;
  std::uint32_t next_seq, total_len;
  std::uint32_t timestamp, echo;  // of the last segment taken
  std::uint16_t window, count;
  std::uint16_t flags;
  bool open, merged;
};

bool is_v4(const Segment& s) { return s.ip_len == kIpv4Len; }

std::uint32_t tcp_pseudo(Bytes ip, std::size_t ip_len, std::uint32_t len) {
  if (ip_len == kIpv6Len) return wire::pseudo_header_sum(wire::load_ipv6(ip, 8), wire::load_ipv6(ip, 24), wire::IpProtocol::tcp, len);
  return wire::pseudo_header_sum(wire::load_ipv4(ip, 12), wire::load_ipv4(ip, 16), wire::IpProtocol::tcp,
                                 len);
}

/// The IP version that the link header names, if there is one, and the first byte says; 0: neither, or they disagree.
unsigned version_of(const Packet& packet, std::uint32_t offset) {
  const unsigned version = load_u8(packet.head(), offset) >> 4;
  if (offset == 0) return version;
  if (offset != wire::EthernetView::kHeaderLen) return 0;
  const auto type = static_cast<wire::EtherType>(load_be16(packet.head(), 12));
  return (type == wire::EtherType::ipv4 && version == 4) || (type == wire::EtherType::ipv6 && version == 6) ? version : 0;
}

/// False: not a TCP segment that could be judged here.
bool read(Packet& packet, std::uint32_t offset, Segment& s) {
  const auto want = std::min<std::uint32_t>(packet.size(), offset + kIpv6Len + wire::TcpView::kMaxHeaderLen);
  if (want < offset + kIpv4Len + wire::TcpView::kMinHeaderLen || !packet.pull_up(want)) return false;
  const unsigned version = version_of(packet, offset);
  const Bytes ip = packet.head().subspan(offset);
  if (version == 4) {
    if (load_u8(ip, 0) != 0x45 || (load_be16(ip, 6) & 0x3fff) != 0 || load_u8(ip, 9) != 6) return false;
    s.ip_len = kIpv4Len;
    s.total_len = load_be16(ip, 2);
  } else if (version == 6) {
    if (load_u8(ip, 6) != 6) return false;
    s.ip_len = kIpv6Len;
    s.total_len = static_cast<std::uint32_t>(kIpv6Len) + load_be16(ip, 4);
  } else {
    return false;
  }
  if (want < offset + s.ip_len + wire::TcpView::kMinHeaderLen) return false;
  s.packet = &packet;
  const std::uint32_t tcp_len = static_cast<std::uint32_t>(load_u8(ip, s.ip_len + 12) >> 4) * 4;
  s.header_len = static_cast<std::uint32_t>(s.ip_len) + tcp_len;
  if (tcp_len < wire::TcpView::kMinHeaderLen || s.header_len > s.total_len ||
      s.total_len > packet.size() - offset)
    return false;
  s.ip = ip.first(s.header_len);
  s.payload = s.total_len - s.header_len;
  s.flags = load_be16(ip, s.ip_len + 12) & wire::kTcpFlags;
  s.seq = load_be32(ip, s.ip_len + 4);
  return true;
}

bool same_flow(const Segment& a, const Segment& b) {
  if (a.ip_len != b.ip_len) return false;
  const std::size_t from = is_v4(a) ? 12 : 8;
  return std::memcmp(a.ip.data() + from, b.ip.data() + from, a.ip_len + 4 - from) == 0;  // addresses and ports
}

/// Headers and payload are as the sender made them. A good answer is kept: nobody has to add it up again.
bool is_intact(const Segment& s, std::uint32_t offset) {
  if (is_v4(s) && wire::finish(wire::sum(s.ip.first(kIpv4Len))) != 0) return false;
  if ((s.packet->flags & (IOPKT_CSUM_VALID | IOPKT_CSUM_NEEDED)) != 0) return true;
  const auto ip_len = static_cast<std::uint32_t>(s.ip_len);
  const std::uint32_t len = s.total_len - ip_len;
  const std::uint32_t sum = tcp_pseudo(s.ip, s.ip_len, len) + s.packet->sum(offset + ip_len, len);
  if (wire::finish(wire::fold(sum)) != 0) return false;
  s.packet->flags |= IOPKT_CSUM_VALID;
  return true;
}

/// The customary layout, which is also the only one in which timestamps may differ: NOP, NOP, timestamps.
bool has_only_timestamps(const Segment& s) {
  return s.header_len == s.ip_len + 32 && load_be32(s.ip, s.ip_len + 20) == 0x0101080a;
}

/// Everything in the network header that is neither a length, an identification nor an address.
bool same_network(const Segment& x, const Segment& y) {
  const Bytes a = x.ip, b = y.ip;
  if (!is_v4(x)) return load_be32(a, 0) == load_be32(b, 0) && load_u8(a, 7) == load_u8(b, 7);  // class, label; hop limit
  // TOS; flags and offset; TTL.
  return load_u8(a, 1) == load_u8(b, 1) && load_be16(a, 6) == load_be16(b, 6) && load_u8(a, 8) == load_u8(b, 8);
}

/// Whether segment() would make this very packet of what is not compared otherwise; see write_network() there.
bool is_cut_again(const Flow& flow, const Segment& s) {
  const Bytes a = flow.head.ip, b = s.ip;
  const std::size_t tcp = s.ip_len;
  if (is_v4(s)) {
    const std::uint16_t first = load_be16(a, wire::Ipv4View::At::id);
    const bool counts = first != 0 || (load_be16(a, wire::Ipv4View::At::fragment) & 0x4000) == 0;
    if (load_be16(b, wire::Ipv4View::At::id) != static_cast<std::uint16_t>(first + (counts ? flow.count : 0))) return false;
  }
  // Reserved bits; window; urgent pointer; options.
  return load_u8(a, tcp + 12) == load_u8(b, tcp + 12) && load_be16(a, tcp + 14) == load_be16(b, tcp + 14) &&
         load_be16(a, tcp + 18) == load_be16(b, tcp + 18) &&
         std::memcmp(a.data() + tcp + 20, b.data() + tcp + 20, s.header_len - tcp - 20) == 0;
}

bool continues(const Flow& flow, const Segment& s, std::uint32_t offset, bool exact) {
  const Segment& head = flow.head;
  if (((s.flags ^ head.flags) & kEcn) != 0) return false;
  if (s.seq != flow.next_seq || s.header_len != head.header_len || s.payload > head.payload) return false;
  if (flow.total_len + s.payload > wire::Ipv4View::kMaxPacketLen) return false;
  const Bytes a = head.ip, b = s.ip;
  const std::size_t tcp = head.ip_len;
  if (!same_network(head, s) || load_be32(a, tcp + 8) != load_be32(b, tcp + 8)) return false;  // acknowledgment
  if (std::memcmp(head.packet->head().data(), s.packet->head().data(), std::min(offset, 14u)) != 0)
    return false;
  if (exact) return is_cut_again(flow, s);
  if (has_only_timestamps(head) && has_only_timestamps(s)) {
    const auto later = [&](std::size_t at, std::uint32_t than) {
      return static_cast<std::int32_t>(load_be32(b, tcp + at) - than) >= 0;
    };
    return later(24, flow.timestamp) && later(28, flow.echo);
  }
  return std::memcmp(a.data() + tcp + 20, b.data() + tcp + 20, s.header_len - tcp - 20) == 0;
}

void remember(Flow& flow, const Segment& s) {
  flow.next_seq = s.seq + s.payload;
  flow.window = load_be16(s.ip, s.ip_len + 14);
  ++flow.count;
  flow.flags |= s.flags;
  if (has_only_timestamps(s))
    flow.timestamp = load_be32(s.ip, s.ip_len + 24), flow.echo = load_be32(s.ip, s.ip_len + 28);
}

Flow open_flow(std::size_t index, const Segment& s) {
  Flow flow{.index = index,
            .head = s,
            .next_seq = 0,
            .total_len = s.total_len,
            .timestamp = 0,
            .echo = 0,
            .window = 0,
            .count = 0,
            .flags = 0,
            .open = true,
            .merged = false};
  remember(flow, s);
  return flow;
}

/// Writes the headers of what a flow has become.
void finish(const Flow& flow, std::uint32_t offset) {
  if (!flow.merged) return;
  Packet& packet = *flow.head.packet;
  const MutableBytes ip = packet.mutable_head().subspan(offset);
  const std::size_t ip_len = flow.head.ip_len;
  const std::uint32_t tcp_len = flow.total_len - static_cast<std::uint32_t>(ip_len);
  if (is_v4(flow.head)) {
    store_be16(ip, 2, static_cast<std::uint16_t>(flow.total_len));
    wire::store_ipv4_checksum(ip.first(kIpv4Len));
  } else {
    store_be16(ip, 4, static_cast<std::uint16_t>(tcp_len));
  }
  store_u8(ip, ip_len + 13, static_cast<std::uint8_t>(flow.flags));
  store_be16(ip, ip_len + 14, flow.window);
  store_be16(ip, ip_len + wire::TcpView::kChecksumOffset, static_cast<std::uint16_t>(tcp_pseudo(ip, ip_len, tcp_len)));
  const std::uint32_t kind = is_v4(flow.head) ? IOPKT_GSO_TCP4 : IOPKT_GSO_TCP6;
  packet.flags = (packet.flags & ~std::uint32_t{IOPKT_CSUM_VALID}) | kind | IOPKT_CSUM_NEEDED;
  packet.csum_start = static_cast<std::uint16_t>(offset + ip_len);
  packet.csum_offset = wire::TcpView::kChecksumOffset;
  packet.gso_size = static_cast<std::uint16_t>(flow.head.payload);
  packet.header_len = static_cast<std::uint16_t>(offset + flow.head.header_len);
}

/// Hangs the payload of a segment behind its flow. False: it is lost.
bool take(Flow& flow, const Segment& s, PacketPtr packet, std::uint32_t offset) {
  Packet& head = *flow.head.packet;
  head.trim_back(head.size() - offset - flow.total_len);  // link padding
  packet->trim_back(packet->size() - offset - s.total_len);
  const Segment kept = s;
  remember(flow, kept);
  packet->trim_front(offset + s.header_len);
  if (!head.absorb(std::move(packet))) {
    flow.open = false;
    return false;
  }
  flow.total_len += kept.payload;
  flow.merged = true;
  // A shorter one ends the row of equal ones, and a push says that the sender has no more.
  flow.open = kept.payload == flow.head.payload && (kept.flags & wire::psh) == 0;
  return true;
}

}  // namespace

Coalesced coalesce(Burst& burst, std::uint32_t network_offset, bool exact) {
  Coalesced result{};
  if (burst.size() < 2) return result;
  std::array<Flow, kFlows> flows{};
  std::size_t used = 0, victim = 0;
  for (std::size_t i = 0; i < burst.size(); ++i) {
    Segment s{};
    if ((burst[i]->flags & kGsoFlags) != 0 || !read(*burst[i], network_offset, s)) continue;
    Flow* flow = std::find_if(flows.begin(), flows.begin() + used,
                              [&](const Flow& f) { return f.open && same_flow(f.head, s); });
    const bool known = flow != flows.begin() + used;
    // What congestion notification says stays the same in a row (RFC 3168, RFC 9768); but segment() clears CWR in all but the first.
    const bool plain = s.payload > 0 && (s.flags & ~(wire::psh | kEcn)) == wire::ack && (!exact || (s.flags & wire::cwr) == 0);
    if (known && plain && continues(*flow, s, network_offset, exact) && is_intact(s, network_offset) &&
        (flow->merged || is_intact(flow->head, network_offset))) {
      ++(take(*flow, s, std::move(burst[i]), network_offset) ? result.taken : result.lost);
      continue;
    }
    if (known) flow->open = false;
    if (!plain || (s.flags & wire::psh) != 0) continue;
    if (!known && used == kFlows) {
      flow = &flows[victim++ % kFlows];
    } else if (!known) {
      flow = &flows[used++];
    }
    finish(*flow, network_offset);
    *flow = open_flow(i, s);
  }
  for (std::size_t i = 0; i < used; ++i) finish(flows[i], network_offset);
  std::erase_if(burst, [](const PacketPtr& packet) { return !packet; });
  return result;
}

}  // namespace iopkt::packet
