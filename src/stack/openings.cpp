// Which SYNs are answered at once, which wait, and which are dropped.
#include "stack/openings.hpp"

#include <algorithm>
#include <array>

#include "stack/ways.hpp"

namespace iopkt::stack {

using packet::Drop;
using packet::PacketPtr;

std::uint64_t PeerCredit::hash(const wire::IpAddress& peer) const {
  std::array<std::byte, 8> bytes{};
  store_be32(bytes, 0, peer.words()[0]);
  store_be32(bytes, 4, peer.words()[1]);
  return siphash24(key_, bytes);
}

void PeerCredit::earn(const wire::IpAddress& peer) {
  const std::uint64_t h = hash(peer);
  const auto tag = static_cast<std::uint32_t>(h >> 32);
  Entry& entry = entries_[h % kEntries];
  if (entry.tag != tag) entry = {.tag = tag};
  entry.credit = static_cast<std::uint16_t>(std::min<unsigned>(entry.credit + kPerHandshake, kMost));
}

bool PeerCredit::spend(const wire::IpAddress& peer) {
  const std::uint64_t h = hash(peer);
  Entry& entry = entries_[h % kEntries];
  if (entry.tag != static_cast<std::uint32_t>(h >> 32) || entry.credit == 0) return false;
  --entry.credit;
  return true;
}

namespace {

bool opens(Bytes segment) {
  if (segment.size() < wire::TcpView::kMinHeaderLen) return false;
  return (load_u8(segment, 13) & (wire::syn | wire::ack | wire::rst)) == wire::syn;
}

struct Ends {
  wire::IpAddress src, dst;
};

/// Of a whole SYN that asks for a connection; nullopt: it is something else. `head` begins with the IP header.
std::optional<Ends> ends_of_opening(Bytes head) {
  if (head.size() < wire::Ipv4View::kMinHeaderLen) return std::nullopt;
  if (load_u8(head, 0) >> 4 == 4) {
    // The common case in few steps: every packet comes this way.
    const std::size_t at = (load_u8(head, 0) & 0xfu) * 4u;
    const bool tcp = load_u8(head, 9) == static_cast<std::uint8_t>(wire::IpProtocol::tcp) && (load_be16(head, 6) & 0x3fff) == 0;
    if (!tcp || head.size() < at || !opens(head.subspan(at))) return std::nullopt;
    return Ends{wire::load_ipv4(head, 12), wire::load_ipv4(head, 16)};
  }
  const auto first = static_cast<wire::IpProtocol>(load_u8(head, 6));
  if (first != wire::IpProtocol::tcp && !wire::is_extension(first)) return std::nullopt;
  const auto found = find_transport(head, 0);
  if (!found || found->protocol != wire::IpProtocol::tcp || found->is_fragment || head.size() < found->offset) return std::nullopt;
  if (!opens(head.subspan(found->offset))) return std::nullopt;
  return Ends{found->src, found->dst};
}

}  // namespace

bool is_opening(const packet::Packet& packet) { return ends_of_opening(packet.head()).has_value(); }

bool wait_as_opening(ShardState& s, std::uint32_t interface_index, PacketPtr& packet) {
  if (packet->looped) return false;  // nobody floods us from here
  const auto ends = ends_of_opening(packet->head());
  if (!ends) return false;
  // What a router sends on is no opening of ours.
  const bool forwards = s.settings.ipv4.forwarding != 0 || s.settings.ipv6.forwarding != 0;
  if (forwards && s.network->interfaces.find_local(ends->dst.with_zone(interface_index)) == nullptr) return false;
  auto& waiting = s.openings.waiting;
  // Who waits no longer than this turn needs no credit.
  if (waiting.size() >= kOpeningsPerTurn && s.openings.credit.spend(ends->src)) return false;
  if (waiting.size() >= kOpeningsWaiting) return s.drop(Drop::tcp_syn_queue_full), true;
  waiting.push_back({interface_index, std::move(packet)});
  return true;
}

void answer_openings(ShardState& s) {
  auto& waiting = s.openings.waiting;
  for (std::size_t n = 0; n < kOpeningsPerTurn && !waiting.empty(); ++n) {
    Openings::Waiting one = std::move(waiting.front());
    waiting.pop_front();
    rx_ip_at_once(s, one.interface_index, std::move(one.packet));
  }
}

}  // namespace iopkt::stack
