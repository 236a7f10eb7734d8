#include "icmp/error.hpp"

#include <algorithm>

#include "wire/checksum.hpp"

namespace iopkt::icmp {
namespace {

/// RFC 1812 4.3.2.3: as much of the original as does not make the error longer than this.
constexpr std::uint32_t kMaxErrorLen = 576;

bool names_one_host(wire::Ipv4Address address, bool looped) {
  return !address.is_zero_network() && !address.is_multicast() && !address.is_limited_broadcast() &&
         !address.is_reserved() && (looped || !address.is_loopback());
}

}  // namespace

bool may_send_error(const wire::Ipv4Header& header, const packet::Packet& payload, iface::Cast cast) {
  if (cast != iface::Cast::unicast || payload.link_broadcast || payload.link_multicast) return false;
  if (header.dst.is_multicast() || header.dst.is_limited_broadcast()) return false;
  if (header.fragment_offset != 0 || !names_one_host(header.src, payload.looped)) return false;
  if (header.protocol != wire::IpProtocol::icmp) return true;
  if (payload.size() == 0) return false;
  std::byte type{};
  payload.copy_out(0, {&type, 1});
  const wire::IcmpHeader message{.type = static_cast<wire::IcmpType>(type)};
  // Questions may be answered with an error; types that nobody knows could be errors of a later standard.
  switch (message.type) {
    case wire::IcmpType::echo_request:
    case wire::IcmpType::echo_reply:
    case wire::IcmpType::router_advertisement:
    case wire::IcmpType::router_solicitation:
    case wire::IcmpType::timestamp:
    case wire::IcmpType::timestamp_reply:
    case wire::IcmpType::address_mask_request:
    case wire::IcmpType::address_mask_reply:
      return true;
    default:
      return false;
  }
}

packet::PacketPtr build_error(packet::Cache& cache, const wire::IcmpHeader& message,
                              const wire::Ipv4Header& header, const packet::Packet& payload,
                              IcmpCounters<Counter>& counters) {
  const auto quoted_header = static_cast<std::uint32_t>(wire::encoded_len(header));
  const std::uint32_t front = static_cast<std::uint32_t>(wire::IcmpView::kHeaderLen) + quoted_header;
  const std::uint32_t room = kMaxErrorLen - static_cast<std::uint32_t>(wire::Ipv4View::kMinHeaderLen) - front;
  packet::PacketPtr packet = payload.copy_range(cache, 0, std::min(payload.size(), room));
  if (!packet) return packet;
  packet->rx_interface = 0;
  const MutableBytes bytes = packet->prepend(front);
  if (bytes.empty()) return {};
  wire::encode(message, bytes);
  wire::encode(header, bytes.subspan(wire::IcmpView::kHeaderLen));
  store_be16(bytes, wire::IcmpView::kChecksumOffset, wire::finish(packet->sum(0, packet->size())));
  ++counters.tx_messages;
  count_sent(counters, message.type);
  return packet;
}

bool RateLimit::allow(Instant now) {
  constexpr std::uint64_t kToken =
      1'000'000'000;  // what one token costs; `rate` of these come in a nanosecond
  const std::uint64_t full = std::uint64_t{tunables_.error_burst} * kToken;
  if (tunables_.error_rate == 0) return false;
  if (!started_) {
    started_ = true;
    tokens_ = full;
  } else {
    constexpr std::int64_t kLongest =
        1'000'000'000'000;  // 1000 s fills any bucket, and the product stays in range
    const auto passed =
        static_cast<std::uint64_t>(std::clamp<std::int64_t>((now - last_).count(), 0, kLongest));
    tokens_ = std::min(full, tokens_ + passed * tunables_.error_rate);
  }
  last_ = now;
  if (tokens_ < kToken) return false;
  tokens_ -= kToken;
  return true;
}

}  // namespace iopkt::icmp
