// The way out for an IPv6 packet: header and fragments. RFC 8200 sections 3, 4.5; RFC 7739 (identification).
#pragma once

#include <cstdint>

#include "base/expected.hpp"
#include "ipv6/counters.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"
#include "wire/ipv6.hpp"

namespace iopkt::ipv6 {

using packet::Drop;

/// Puts the header in front of `packet`, a transport header with its payload; `header.payload_len` is filled in. Afterwards
/// csum_start and header_len still count from the packet's first byte. Errors: ip_too_big (above 65535 bytes), no_buffer.
Expected<void, Drop> add_header(packet::Packet& packet, wire::Ipv6Header& header, Ipv6Counters<Counter>& counters);

/// Puts extension headers in front of `packet`, a transport header of that `protocol` with its payload, before add_header() is called
/// with what comes first now. Errors: no_buffer.
Expected<void, Drop> add_extensions(packet::Packet& packet, wire::IpProtocol protocol, const wire::Ipv6Extensions& extensions);

/// Appends to `out` the fragments of a packet of ours (copies; a checksum that was left to the device is completed first, a
/// packet for segmentation offload is cut into its segments first, and those are fragmented where they must). The packet begins
/// with its IPv6 header; of extension headers each fragment has those that RFC 8200 section 4.5 names.
/// `id`: unpredictable, not used before for these two hosts in a while.
/// Errors (the packet stays the caller's, `out` as it was): ip_too_big (`mtu` below 1280), no_buffer.
Expected<void, Drop> fragment(packet::PacketPtr& packet, std::uint32_t mtu, std::uint32_t id, packet::Burst& out,
                              Ipv6Counters<Counter>& counters);

}  // namespace iopkt::ipv6
