// The way out for an IPv4 packet: header, identification, fragments.
// RFC 791 (format, fragmentation), RFC 1122 3.2.1 (defaults), RFC 6864 (identification), RFC 7739
// (unpredictable ones).
#pragma once

#include <array>
#include <cstdint>

#include "base/expected.hpp"
#include "base/random.hpp"
#include "ipv4/counters.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"
#include "wire/ipv4.hpp"

namespace iopkt::ipv4 {

using packet::Drop;

/// Identifications: counters by a keyed hash of (source, destination, protocol), so that they neither repeat
/// soon for one pair of hosts nor tell one host about another. One per shard: shard i of n uses numbers of
/// its own.
class IdSource {
 public:
  /// reserved: the option ipid_reserved, 0 or a power of two up to 32768: identifiers 0..reserved are never
  /// used (with 0: any may be, and atomic datagrams carry 0). shards: 1..256.
  IdSource(HashKey secret, std::uint32_t reserved, std::uint32_t shard = 0, std::uint32_t shards = 1);

  /// For a datagram that may be fragmented.
  std::uint16_t next(wire::Ipv4Address src, wire::Ipv4Address dst, wire::IpProtocol protocol) {
    return next_run(src, dst, protocol, 1);
  }
  /// For one that will be cut into `count` packets with rising identifications: the first of a run without
  /// reserved ones.
  std::uint16_t next_run(wire::Ipv4Address src, wire::Ipv4Address dst, wire::IpProtocol protocol,
                         std::uint32_t count);
  /// For an atomic datagram (DF, no fragment): RFC 6864 section 4.1.
  std::uint16_t atomic(wire::Ipv4Address src, wire::Ipv4Address dst, wire::IpProtocol protocol,
                       std::uint32_t count = 1) {
    return reserved_ == 0 ? std::uint16_t{0} : next_run(src, dst, protocol, count);
  }

 private:
  static constexpr std::size_t kCounters = 1024;
  HashKey secret_;
  std::uint32_t reserved_, first_, span_;  // identifiers first_ .. first_ + span_ - 1
  std::array<std::uint32_t, kCounters> counters_{};
};

/// Puts the header in front of `packet`, a transport header with its payload. `header.payload_len`, `.id`
/// (unless it is not 0) and the checksum are filled in; everything else is as given. After it, csum_start and
/// header_len still count from the packet's first byte. Errors: ip_too_big (header and payload above 65535
/// bytes), no_buffer.
Expected<void, Drop> add_header(packet::Packet& packet, wire::Ipv4Header& header, IdSource& ids,
                                Ipv4Counters<Counter>& counters);

/// Appends to `out` what fits into `mtu`: the packet itself, or its fragments (copies; a transport checksum
/// that was left to the device is completed first, a GSO packet is segmented first). The packet begins with
/// its IP header. Errors (the packet stays the caller's, `out` as it was): ip_too_big (Don't Fragment is set:
/// the answer is fragmentation needed with `mtu`; or `mtu` is below 68), no_buffer.
Expected<void, Drop> fragment(packet::PacketPtr& packet, std::uint32_t mtu, packet::Burst& out,
                              Ipv4Counters<Counter>& counters);

}  // namespace iopkt::ipv4
