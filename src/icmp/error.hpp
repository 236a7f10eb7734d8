// ICMP errors out: when one may be sent (RFC 1122 3.2.2, RFC 1812 4.3.2.7), what it quotes (RFC
// 1812 4.3.2.3), how many (RFC 1812 4.3.2.8).
#pragma once

#include <cstdint>

#include "base/time.hpp"
#include "icmp/counters.hpp"
#include "icmp/tunables.hpp"
#include "iface/interface.hpp"
#include "packet/packet.hpp"
#include "wire/icmp.hpp"
#include "wire/ipv4.hpp"

namespace iopkt::icmp {

/// Whether an error about this packet may be sent to its source. Never about: an ICMP error (or an ICMP
/// message too short to tell), a packet to a broadcast or multicast address, one that came as a link
/// broadcast or multicast, a fragment other than the first, a source that is no single host (zero, loopback
/// unless looped, broadcast, multicast, reserved).
/// @param payload  The packet, beginning behind its IP header.
/// @param cast     By the IP destination.
bool may_send_error(const wire::Ipv4Header& header, const packet::Packet& payload, iface::Cast cast);

/// The ICMP message (no IP header) that quotes `header` and as much of `payload` as fits into an IP packet of
/// 576 bytes. Null: no packet buffer.
/// @param payload  Without IP header; it stays as it is.
packet::PacketPtr build_error(packet::Cache& cache, const wire::IcmpHeader& message,
                              const wire::Ipv4Header& header, const packet::Packet& payload,
                              IcmpCounters<Counter>& counters);

/// The IP TOS of an error: precedence 6 (RFC 1812 4.3.2.5).
inline constexpr std::uint8_t kErrorTos = 0xc0;

/// A token bucket over all errors of a shard.
class RateLimit {
 public:
  /// `tunables` outlives it and may change.
  explicit RateLimit(const IcmpTunables& tunables) : tunables_(tunables) {}
  /// Takes one token; false: none is left (Drop::icmp_rate_limited). `now` never goes back.
  bool allow(Instant now);

 private:
  const IcmpTunables& tunables_;
  Instant last_{};
  bool started_ = false;
  std::uint64_t tokens_ = 0;  // in billionths
};

}  // namespace iopkt::icmp
