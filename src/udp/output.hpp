// Datagrams out: RFC 768; UDP-Lite: RFC 3828.
#pragma once

#include <cstdint>

#include "base/expected.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"
#include "udp/counters.hpp"
#include "wire/udp.hpp"

namespace iopkt::udp {

using packet::Drop;

enum class Checksum : std::uint8_t {
  none,   ///< Field 0. IPv4 only.
  later,  ///< IOPKT_CSUM_NEEDED: by the device, or by packet::complete_checksum() before a device that
          ///< cannot.
  now
};

inline constexpr std::uint32_t kMaxPayloadV4 = 65507;
inline constexpr std::uint32_t kMaxPayloadV6 = 65527;

/// Puts the UDP header in front of `packet`, the payload. src, dst: one family.
/// gso_size: 0, or the payload bytes of each datagram that the packet is to be cut into (IOPKT_GSO_UDP;
/// checksum later). Errors: ip_too_big (payload above 65527 bytes), no_buffer.
Expected<void, Drop> add_header(packet::Packet& packet, const wire::Endpoint& src, const wire::Endpoint& dst,
                                Checksum checksum, UdpCounters<Counter>& counters,
                                std::uint16_t gso_size = 0);

/// The same for UDP-Lite. coverage: bytes from the header on that the checksum covers; 0, or more than there are: all.
Expected<void, Drop> add_lite_header(packet::Packet& packet, const wire::Endpoint& src, const wire::Endpoint& dst,
                                     std::uint32_t coverage, UdpCounters<Counter>& counters);

}  // namespace iopkt::udp
