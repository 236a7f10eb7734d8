#include "icmp/error.hpp"

#include <algorithm>

#include "wire/checksum.hpp"

namespace iopkt::icmp {
namespace {

/// RFC 1812 4.3.2.3, RFC 4443 2.4 (c): as much of the original as does not make the error longer than this.
constexpr std::uint32_t kMaxErrorLen = 576;
constexpr std::uint32_t kMaxError6Len = wire::Ipv6View::kMinMtu;

bool names_one_host(const wire::IpAddress& address, bool looped) {
  if (address.is_unspecified() || address.is_multicast() || (address.is_loopback() && !looped)) return false;
  if (address.is_v6()) return true;
  const wire::Ipv4Address a = address.v4();
  return !a.is_zero_network() && !a.is_limited_broadcast() && !a.is_reserved();
}

bool is_later_fragment(const wire::IpHeader& header) {
  // RFC 4443 knows no such rule: whoever answers a piece of an IPv6 packet sees to it that it is none of ICMPv6.
  return header.dst.is_v4() && (load_be16(header.bytes.span(), wire::Ipv4View::At::fragment) & 0x1fff) != 0;
}

/// Questions may be answered with an error; types that nobody knows could be errors of a later standard.
bool is_question(wire::IpFamily family, std::uint8_t type) {
  if (family == wire::IpFamily::v6)
    return type >= 128 && static_cast<wire::Icmpv6Type>(type) != wire::Icmpv6Type::redirect;
  switch (static_cast<wire::IcmpType>(type)) {
    case wire::IcmpType::echo_request:
    case wire::IcmpType::echo_reply:
    case wire::IcmpType::router_advertisement:
    case wire::IcmpType::router_solicitation:
    case wire::IcmpType::timestamp:
    case wire::IcmpType::timestamp_reply:
    case wire::IcmpType::address_mask_request:
    case wire::IcmpType::address_mask_reply: return true;
    default: return false;
  }
}

bool goes_to_senders_of_multicasts(wire::IpFamily family, const Message& message) {
  if (family == wire::IpFamily::v4) return false;
  return message.v6().type == wire::Icmpv6Type::packet_too_big ||
         message == Message{wire::Icmpv6Header::parameter_problem(wire::Icmpv6ParameterProblem::option, message.rest)};
}

}  // namespace

bool may_send_error(const wire::IpHeader& header, const packet::Packet& payload, iface::Cast cast, const Message& message) {
  const bool many = cast == iface::Cast::multicast || cast == iface::Cast::broadcast || payload.link_broadcast || payload.link_multicast ||
                    header.dst.is_multicast() || (header.dst.is_v4() && header.dst.v4().is_limited_broadcast());
  if (many && !goes_to_senders_of_multicasts(header.family(), message)) return false;
  if (is_later_fragment(header) || !names_one_host(header.src, payload.looped)) return false;
  if (header.protocol != (header.dst.is_v4() ? wire::IpProtocol::icmp : wire::IpProtocol::icmpv6)) return true;
  if (payload.size() == 0) return false;
  std::byte type{};
  payload.copy_out(0, {&type, 1});
  return is_question(header.family(), std::to_integer<std::uint8_t>(type));
}

packet::PacketPtr build_error(packet::Cache& cache, const Message& message, const wire::IpHeader& header,
                              const packet::Packet& payload, IcmpCounters<Counter>& counters) {
  const bool is_v4 = header.dst.is_v4();
  const Bytes quoted = header.bytes.span();
  const std::uint32_t most = is_v4 ? kMaxErrorLen - static_cast<std::uint32_t>(wire::Ipv4View::kMinHeaderLen)
                                   : kMaxError6Len - static_cast<std::uint32_t>(wire::Ipv6View::kHeaderLen);
  const auto front = static_cast<std::uint32_t>(wire::IcmpView::kHeaderLen + quoted.size());
  packet::PacketPtr packet = payload.copy_range(cache, 0, std::min(payload.size(), most - front));
  if (!packet) return packet;
  packet->rx_interface = 0;
  const MutableBytes bytes = packet->prepend(front);
  if (bytes.empty()) return {};
  wire::encode(message.v4(), bytes);  // the shape is the same
  std::copy(quoted.begin(), quoted.end(), bytes.begin() + wire::IcmpView::kHeaderLen);
  if (!is_v4) return packet;
  store_be16(bytes, wire::IcmpView::kChecksumOffset, wire::finish(packet->sum(0, packet->size())));
  ++counters.tx_messages;
  count_sent(counters, message.v4().type);
  return packet;
}

bool TokenBucket::allow(Instant now, std::uint32_t rate, std::uint32_t burst) {
  constexpr std::uint64_t kToken =
      1'000'000'000;  // what one token costs; `rate` of these come in a nanosecond
  const std::uint64_t full = std::uint64_t{burst} * kToken;
  if (rate == 0) return false;
  if (!started_) {
    started_ = true;
    tokens_ = full;
  } else {
    constexpr std::int64_t kLongest =
        1'000'000'000'000;  // 1000 s fills any bucket, and the product stays in range
    const auto passed =
        static_cast<std::uint64_t>(std::clamp<std::int64_t>((now - last_).count(), 0, kLongest));
    tokens_ = std::min(full, tokens_ + passed * rate);
  }
  last_ = now;
  if (tokens_ < kToken) return false;
  tokens_ -= kToken;
  return true;
}

bool RedirectLimit::allow(const wire::IpAddress& source, const wire::IpAddress& destination, Instant now) {
  Recent& recent = recent_[(hash_(source) + 3 * hash_(destination)) % kRecent];
  if (recent.source == source && recent.destination == destination && now < recent.until) return false;
  if (!bucket_.allow(now, kRate, kBurst)) return false;
  recent = {source, destination, now + kQuiet};
  return true;
}

}  // namespace iopkt::icmp
