// ICMP errors out, of both families: when one may be sent (RFC 1122 3.2.2, RFC 1812 4.3.2.7, RFC 4443 2.4), what it quotes
// (RFC 1812 4.3.2.3, RFC 4443 2.4 (c)), how many (RFC 1812 4.3.2.8, RFC 4443 2.4 (f)).
#pragma once

#include <array>
#include <cstdint>

#include "base/hash_map.hpp"
#include "base/time.hpp"
#include "icmp/counters.hpp"
#include "icmp/message.hpp"
#include "icmp/tunables.hpp"
#include "iface/interface.hpp"
#include "packet/packet.hpp"
#include "wire/ip_header.hpp"

namespace iopkt::icmp {

/// Whether an error about this packet may be sent to its source. Never about: an ICMP error (or an ICMP
/// message too short to tell), a packet to a broadcast or multicast address, one that came as a link
/// broadcast or multicast, a fragment of IPv4 other than the first, a source that is no single host (zero, loopback
/// unless looped, broadcast, multicast, reserved). The exceptions of RFC 4443 2.4 (e.3): a packet too big and an unknown
/// option are told to the sender of a multicast as well.
/// @param payload  The packet, beginning behind its IP header.
/// @param cast     By the IP destination.
bool may_send_error(const wire::IpHeader& header, const packet::Packet& payload, iface::Cast cast, const Message& message = {});

/// The ICMP message (no IP header) that quotes `header` and as much of `payload` as fits into an IP packet of
/// 576 bytes (IPv6: 1280). Of ICMPv6 the checksum is still to be filled in. Null: no packet buffer.
/// @param payload  Without IP header; it stays as it is.
packet::PacketPtr build_error(packet::Cache& cache, const Message& message, const wire::IpHeader& header, const packet::Packet& payload,
                              IcmpCounters<Counter>& counters);

/// The IP TOS of an error: precedence 6 (RFC 1812 4.3.2.5).
inline constexpr std::uint8_t kErrorTos = 0xc0;

class TokenBucket {
 public:
  /// Takes one token; false: none is left. `rate`: per second, `burst`: after a silence. `now` never goes back.
  bool allow(Instant now, std::uint32_t rate, std::uint32_t burst);

 private:
  Instant last_{};
  bool started_ = false;
  std::uint64_t tokens_ = 0;  // in billionths
};

/// Over all errors of a shard.
class RateLimit {
 public:
  /// `tunables` outlives it and may change.
  explicit RateLimit(const IcmpTunables& tunables) : tunables_(tunables) {}
  /// Takes one token; false: none is left (Drop::icmp_rate_limited). `now` never goes back.
  bool allow(Instant now) { return bucket_.allow(now, tunables_.error_rate, tunables_.error_burst); }

 private:
  const IcmpTunables& tunables_;
  TokenBucket bucket_;
};

/// Redirects of a shard, of both families: RFC 1812 section 4.3.2.8, RFC 4861 section 8.2. They have a bucket of their own, since one
/// may be due for each packet that is forwarded, and a host that takes none goes on; whoever was told a moment ago is not told again.
class RedirectLimit {
 public:
  static constexpr std::uint32_t kRate = 10, kBurst = 10;
  static constexpr Duration kQuiet = 5s;  ///< Between two for the same source and destination
  static constexpr std::size_t kRecent = 64;

  explicit RedirectLimit(HashKey secret) : hash_{secret} {}
  /// Whether one may be sent about a packet between these; counts it as sent. `now` never goes back.
  bool allow(const wire::IpAddress& source, const wire::IpAddress& destination, Instant now);

 private:
  struct Recent {
    wire::IpAddress source, destination;
    Instant until{};
  };
  SipHash hash_;
  TokenBucket bucket_;
  std::array<Recent, kRecent> recent_{};  // by hash; who comes later takes the place
};

}  // namespace iopkt::icmp
