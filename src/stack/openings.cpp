// Which SYNs are answered at once, which wait, and which are dropped.
#include "stack/openings.hpp"

#include <algorithm>
#include <array>

#include "stack/ways.hpp"

namespace iopkt::stack {

using packet::Drop;
using packet::PacketPtr;

PeerCredit::Entry& PeerCredit::place_of(const Name& name) {
  std::array<std::byte, 8> bytes{};
  store_be32(bytes, 0, name.words[0]);
  store_be32(bytes, 4, name.words[1]);
  return entries_[siphash24(key_, bytes) % kEntries];
}

wire::IpAddress PeerCredit::address_of(const Name& name) {
  if (name.v4) return wire::Ipv4Address{name.words[0]};
  std::array<std::byte, 16> bytes{};
  store_be32(bytes, 0, name.words[0]);
  store_be32(bytes, 4, name.words[1]);
  return wire::load_ipv6(bytes, 0);
}

namespace {
Duration time_of_one(std::uint32_t rate) { return Duration{std::chrono::seconds{1}} / rate; }
}  // namespace

std::size_t Pace::available(std::uint32_t rate) const {
  if (rate == 0) return kOpeningsPerTurn;
  return static_cast<std::size_t>(std::clamp<std::int64_t>((worked_ - spent_) / time_of_one(rate), 0, kOpeningsPerTurn));
}

void Pace::spend(std::uint32_t rate, std::size_t count) {
  if (rate == 0) return;
  const Duration each = time_of_one(rate);
  spent_ = std::max(spent_, worked_ - each * std::int64_t{kOpeningsPerTurn}) + each * static_cast<std::int64_t>(count);
}

Duration Pace::until(std::uint32_t rate, std::size_t count) const {
  if (rate == 0) return {};
  return std::clamp(spent_ + time_of_one(rate) * static_cast<std::int64_t>(count) - worked_, Duration::zero(), kTurnMost);
}

PeerCredit::Earned PeerCredit::earn(const wire::IpAddress& peer) {
  const Name name = name_of(peer);
  Entry& entry = place_of(name);
  Earned out;
  if (entry.name != name) {
    if (entry.credit != 0) out.displaced = address_of(entry.name);
    entry = {.name = name};
  }
  out.credit = entry.credit = static_cast<std::uint16_t>(std::min<unsigned>(entry.credit + kPerHandshake, kMost));
  return out;
}

std::uint16_t PeerCredit::spend(const wire::IpAddress& peer) {
  const Name name = name_of(peer);
  Entry& entry = place_of(name);
  if (entry.name != name || entry.credit == 0) return 0;
  return entry.credit--;
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
  if (first == wire::IpProtocol::tcp) {
    constexpr std::size_t at = wire::Ipv6View::kHeaderLen;
    if (head.size() < at || !opens(head.subspan(at))) return std::nullopt;
    return Ends{wire::load_ipv6(head, 8), wire::load_ipv6(head, 24)};
  }
  if (!wire::is_extension(first)) return std::nullopt;
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
  if (waiting.size() >= openings_wanted(s)) {
    const std::uint16_t credit = s.openings.credit.spend(ends->src);
    if (credit == 1) s.openings.news.push_back({ends->src, 0});
    if (credit != 0) return false;
  }
  if (waiting.size() >= kOpeningsWaiting) return s.drop(Drop::tcp_syn_queue_full), true;
  waiting.push_back({interface_index, std::move(packet)});
  return true;
}

void handshake_completed(ShardState& s, const wire::IpAddress& peer) {
  const PeerCredit::Earned earned = s.openings.credit.earn(peer);
  // The host's table is to know no more than ours.
  if (earned.displaced) s.openings.news.push_back({*earned.displaced, 0});
  s.openings.news.push_back({peer, earned.credit});
}

std::size_t openings_wanted(const ShardState& s) {
  const Openings& o = s.openings;
  std::size_t most = kOpeningsPerTurn;
  if (s.now < o.busy_until) {
    most = o.pace.available(s.settings.tcp.syn_rate);
    if (most < kOpeningsAtOnce) return 0;
  }
  return most;
}

Instant openings_due(const ShardState& s) {
  if (s.now >= s.openings.busy_until) return s.now;
  return std::min(s.now + s.openings.pace.until(s.settings.tcp.syn_rate, kOpeningsAtOnce), s.openings.busy_until);
}

void answer_openings(ShardState& s) {
  auto& waiting = s.openings.waiting;
  if (waiting.empty()) return;
  const std::size_t count = std::min(waiting.size(), openings_wanted(s));
  if (count == 0) return;
  s.openings.pace.spend(s.settings.tcp.syn_rate, count);
  for (std::size_t n = 0; n < count; ++n) {
    Openings::Waiting one = std::move(waiting.front());
    waiting.pop_front();
    rx_ip_at_once(s, one.interface_index, std::move(one.packet));
  }
}

}  // namespace iopkt::stack
