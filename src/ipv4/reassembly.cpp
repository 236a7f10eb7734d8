#include "ipv4/reassembly.hpp"

#include <algorithm>
#include <utility>

namespace iopkt::ipv4 {
namespace {

using packet::Drop;

/// Memory that a packet occupies, whatever of it is used.
std::size_t footprint(const packet::Packet& packet) {
  return packet::kMbufSize + std::size_t{packet.piece_count} * packet.cache().cluster_bytes();
}

constexpr std::uint8_t kNotEct = 0, kCe = 3;

/// What length fields of 16 bits leave for the payload of the whole. IPv6 does not count its first header.
std::uint32_t most_payload(const wire::IpHeader& header) {
  const std::size_t counted = header.bytes.size() - (header.dst.is_v4() ? 0 : wire::Ipv6View::kHeaderLen);
  return 65535 - static_cast<std::uint32_t>(counted);
}

}  // namespace

std::optional<Reassembly::Done> Reassembly::insert(const wire::IpHeader& header, const wire::IpFragment& fragment,
                                                   packet::PacketPtr packet, Instant now, std::vector<Dead>& dead) {
  const auto refuse = [&](Drop why) {
    dead.push_back({std::move(packet), why});
    return std::optional<Done>{};
  };
  ++counters_.reassembly_fragments;
  if (tunables_.max_frag_packets == 0) return refuse(Drop::ip_fragment_limit);
  const std::uint32_t length = packet->size() - fragment.header_len;
  const std::uint32_t begin = fragment.offset, end = begin + length;
  if (length == 0 || (fragment.more && length % 8 != 0) || end > most_payload(header))
    return refuse(Drop::ip_bad_fragment);
  if (!packet->own()) return refuse(Drop::no_buffer);

  const Key key{header.src, header.dst, fragment.id,
                header.dst.is_v4() ? static_cast<std::uint32_t>(header.protocol) : 0};
  const List::iterator at = find_or_create(key, now, dead);
  Datagram& datagram = *at;
  if (datagram.given_up) return refuse(Drop::ip_fragment_overlap);

  // RFC 815's holes, seen from the other side: what is here, sorted.
  auto& fragments = datagram.fragments;
  const auto next = std::lower_bound(fragments.begin(), fragments.end(), begin,
                                     [](const Fragment& f, std::uint32_t b) { return f.begin < b; });
  if (next != fragments.end() && next->begin == begin && next->end == end &&
      fragment.more == (end != datagram.total)) {
    ++counters_.reassembly_duplicates;
    return refuse(Drop::ip_fragment_duplicate);
  }
  const bool overlaps = (next != fragments.end() && next->begin < end) ||
                        (next != fragments.begin() && std::prev(next)->end > begin);
  if (overlaps || !fits(datagram, begin, end, fragment.more)) {
    give_up(datagram, Drop::ip_fragment_overlap, dead);
    return refuse(Drop::ip_fragment_overlap);
  }
  if (fragments.size() >= tunables_.max_frags_per_packet) {
    give_up(datagram, Drop::ip_fragment_limit, dead);
    return refuse(Drop::ip_fragment_limit);
  }

  if (begin == 0) {
    std::vector<std::byte> sent(fragment.header_len);
    packet->copy_out(0, sent);
    datagram.first_sent = wire::HeaderBytes{sent};
  }
  packet->trim_front(fragment.header_len);
  packet->network_len = fragment.header_len;
  packet->flags &= ~std::uint32_t{IOPKT_CSUM_NEEDED | IOPKT_CSUM_VALID};
  const std::size_t bytes = footprint(*packet);
  datagram.bytes += bytes;
  bytes_ += bytes;
  datagram.have += end - begin;
  if (begin == 0) datagram.first = header;
  if (!fragment.more) datagram.total = end;
  datagram.any_ce |= header.ecn() == kCe;
  datagram.any_not_ect |= header.ecn() == kNotEct;
  fragments.insert(next, Fragment{begin, end, std::move(packet)});
  if (datagram.total == datagram.have) return complete(at, dead);

  // Over the limit: the oldest goes, be it this one.
  while (bytes_ > tunables_.max_frag_bytes) {
    const auto oldest =
        std::find_if(order_.begin(), order_.end(), [](const Datagram& d) { return !d.given_up; });
    give_up(*oldest, Drop::ip_fragment_limit, dead);
    erase(oldest);
  }
  return std::nullopt;
}

Reassembly::List::iterator Reassembly::find_or_create(const Key& key, Instant now, std::vector<Dead>& dead) {
  if (const auto found = datagrams_.find(key); found != datagrams_.end()) return found->second;
  while (order_.size() >= tunables_.max_frag_packets) {
    give_up(order_.front(), Drop::ip_fragment_limit, dead);
    erase(order_.begin());
  }
  order_.emplace_back();
  order_.back().key = key;
  order_.back().since = now;
  const auto at = std::prev(order_.end());
  datagrams_.emplace(key, at);
  return at;
}

/// Whether all fragments can still belong to one datagram: there is one end, and nothing behind it.
bool Reassembly::fits(const Datagram& datagram, std::uint32_t begin, std::uint32_t end, bool more) const {
  const std::uint32_t last = datagram.fragments.empty() ? 0 : datagram.fragments.back().end;
  if (!more) return datagram.total == 0 && last <= begin;
  return datagram.total == 0 || end < datagram.total;
}

void Reassembly::give_up(Datagram& datagram, Drop why, std::vector<Dead>& dead) {
  for (Fragment& fragment : datagram.fragments) dead.push_back({std::move(fragment.packet), why});
  datagram.fragments.clear();
  bytes_ -= std::exchange(datagram.bytes, 0);
  datagram.first.reset();
  datagram.given_up = true;
}

void Reassembly::erase(List::iterator at) {
  datagrams_.erase(at->key);
  order_.erase(at);
}

std::optional<Reassembly::Done> Reassembly::complete(List::iterator at, std::vector<Dead>& dead) {
  Datagram& datagram = *at;
  // RFC 3168 5.3: congestion seen by one fragment counts for all; marks that a sender cannot have made end
  // them.
  // So does a whole that is too long for the first one's header: each piece was judged with its own.
  if ((datagram.any_ce && datagram.any_not_ect) || datagram.total > most_payload(*datagram.first)) {
    give_up(datagram, Drop::ip_bad_fragment, dead);
    erase(at);
    return std::nullopt;
  }
  Done done{.header = std::move(*datagram.first), .packet = std::move(datagram.fragments.front().packet)};
  done.header.make_whole(datagram.total, datagram.any_ce ? kCe : 0);
  for (std::size_t i = 1; i < datagram.fragments.size(); ++i) {
    if (done.packet->absorb(std::move(datagram.fragments[i].packet))) continue;
    dead.push_back({std::move(done.packet), Drop::no_buffer});
    for (std::size_t j = i + 1; j < datagram.fragments.size(); ++j)
      dead.push_back({std::move(datagram.fragments[j].packet), Drop::no_buffer});
    break;
  }
  bytes_ -= datagram.bytes;
  erase(at);
  if (!done.packet) return std::nullopt;
  ++counters_.reassembly_done;
  return done;
}

void Reassembly::run(Instant now, std::vector<Expired>& out) {
  while (next_deadline() <= now) {
    Datagram& datagram = order_.front();
    if (!datagram.given_up) {
      Expired expired{.first = datagram.first, .packets = {}};
      if (expired.first) expired.first->bytes = datagram.first_sent;
      for (Fragment& fragment : datagram.fragments) expired.packets.push_back(std::move(fragment.packet));
      bytes_ -= datagram.bytes;
      if (!expired.packets.empty()) out.push_back(std::move(expired));
    }
    erase(order_.begin());
  }
}

}  // namespace iopkt::ipv4
