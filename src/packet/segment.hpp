// What a device would do, in software: completing checksums, cutting large packets, putting received segments together.
// RFC 9293 and RFC 768 (what each segment's header says), RFC 6864 (identification), RFC 3168 6.1.2 (CWR).
#pragma once

#include <cstdint>

#include "base/expected.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"

namespace iopkt::packet {

/// Any kind of segmentation is asked for.
inline constexpr std::uint32_t kGsoFlags = IOPKT_GSO_TCP4 | IOPKT_GSO_TCP6 | IOPKT_GSO_UDP;

/// Does what IOPKT_CSUM_NEEDED asks for and clears it (nothing without it). The field lies in memory of the packet's own.
/// A result of 0 is written as 0xffff, which every reader takes for the same and UDP needs.
void complete_checksum(Packet& packet);

/// Cuts a packet with GSO metadata into packets of gso_size payload bytes with whole headers and checksums, appended to
/// `out`; a packet without comes out as it is. Each carries a copy of its payload.
/// @param network_offset  Of the IP header: 14 behind an Ethernet header, 0 without one.
/// Errors (`out` as it was, the packet stays the caller's): no_buffer; driver_broken_frame (headers and metadata contradict).
Expected<void, Drop> segment(PacketPtr& packet, std::uint32_t network_offset, Burst& out);

/// Puts TCP/IPv4 segments of a received burst together where each simply continues the one before: same addresses,
/// ports, TOS, TTL and DF, no IP options or fragments, ACK (and at the end PSH) alone, same acknowledgment, options equal
/// but for timestamps that do not go back, equal sizes (the last may be shorter), good checksums, up to 65535 bytes.
/// The result has IOPKT_GSO_TCP4 and IOPKT_CSUM_NEEDED set, so that it may be delivered, forwarded or cut again.
/// The order of all others, and within each flow, stays. Answers how many packets were taken up by others.
/// @param network_offset  As above, for all packets of the burst. Packets that already have GSO metadata are left alone.
std::size_t coalesce(Burst& burst, std::uint32_t network_offset);

}  // namespace iopkt::packet
