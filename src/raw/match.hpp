// Raw IP sockets: which packets one gets, and judging the headers that a program wrote itself (IP_HDRINCL).
// RFC 791; ip(4), raw(7).
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/expected.hpp"
#include "ipv4/output.hpp"
#include "packet/packet.hpp"
#include "wire/ipv4.hpp"

namespace iopkt::raw {

/// What a raw socket is bound and connected to.
struct Bound {
  std::uint8_t protocol{};                ///< 0: all; 255 (IPPROTO_RAW): sends only
  std::optional<wire::IpAddress> local;   ///< bind()
  std::optional<wire::IpAddress> remote;  ///< connect()
  std::uint32_t interface_index{};        ///< SO_BINDTODEVICE; 0: any
  std::array<std::uint32_t, 8> icmp_filter{};  ///< ICMP_FILTER, ICMP6_FILTER: bit t set: no messages of type t
};

/// Whether the socket gets a copy of a packet that arrived for us.
/// icmp_type: of an ICMP message; nullopt for other protocols.
bool matches(const Bound& bound, wire::IpProtocol protocol, const wire::IpAddress& src,
             const wire::IpAddress& dst, std::uint32_t interface_index,
             std::optional<std::uint8_t> icmp_type = {});

enum class HeaderError : std::uint8_t {
  truncated,   ///< Shorter than its header: EINVAL
  bad_header,  ///< Not version 4, or header length below 20 bytes: EINVAL
  bad_option,  ///< Options that no host would accept: EINVAL
  too_big,     ///< Above 65535 bytes: EMSGSIZE
  no_buffer    ///< ENOBUFS
};

/// Judges and completes a packet that a program wrote with its own IP header. As raw(7): total length and
/// checksum are always filled in, the source when it is 0.0.0.0 (with `default_source`), the identification
/// when it is 0. Offset and flags are in network order and left as they are.
Expected<wire::Ipv4Header, HeaderError> complete_header(packet::Packet& packet,
                                                        wire::Ipv4Address default_source, ipv4::IdSource& ids,
                                                        ipv4::Ipv4Counters<Counter>& counters);

}  // namespace iopkt::raw
