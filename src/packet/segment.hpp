// What a device would do, in software: completing checksums, cutting large packets, putting received segments
// together. RFC 9293 and RFC 768 (what each segment's header says), RFC 6864 (identification), RFC 3168 6.1.2
// (CWR).
#pragma once

#include <cstdint>

#include "base/expected.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"

namespace iopkt::packet {

/// Any kind of segmentation is asked for.
inline constexpr std::uint32_t kGsoFlags = IOPKT_GSO_TCP4 | IOPKT_GSO_TCP6 | IOPKT_GSO_UDP;

/// Does what IOPKT_CSUM_NEEDED asks for and clears it (nothing without it). The field lies in memory of the
/// packet's own. A result of 0 is written as 0xffff, which every reader takes for the same and UDP needs.
void complete_checksum(Packet& packet);

/// Appends to `out` what a packet with GSO metadata stands for: packets of gso_size payload bytes each (the
/// last may be shorter) with whole headers and checksums, each with a copy of its payload. The packet itself
/// stays as it is.
/// @param network_offset  Of the IP header: 14 behind an Ethernet header, 0 without one.
/// Errors (`out` as it was): no_buffer; driver_broken_frame (headers and metadata contradict each other).
Expected<void, Drop> segment(const Packet& packet, std::uint32_t network_offset, Burst& out);

/// True when a packet that begins with its IP header goes out as it is: up to `mtu` bytes, or cut later by its GSO metadata into
/// such.
bool fits_mtu(const Packet& packet, std::uint32_t mtu);

struct Coalesced {
  std::size_t taken;  ///< Packets that are part of an earlier one now
  std::size_t lost;   ///< Died for want of memory: Drop::no_buffer
};

/// Puts TCP segments of a received burst together where each simply continues the one before: same
/// addresses, ports, TOS, TTL and DF (of IPv6: flow label), no IP options, extension headers or fragments, ACK (and at the end PSH) alone, same
/// acknowledgment, options equal but for timestamps that do not go back, equal sizes (the last may be
/// shorter), good checksums, up to 65535 bytes. The result has IOPKT_GSO_TCP4 (or _TCP6) and IOPKT_CSUM_NEEDED set, so
/// that it may be delivered, forwarded or cut again. The order of all others, and within each flow, stays.
/// @param network_offset  As above, for all packets of the burst. Packets that already have GSO metadata are
/// left alone.
/// @param exact  Only what segment() cuts again into the packets that came, as a router has to: also equal windows, timestamps and
/// reserved bits, and identifications that count on (with DF: or all 0).
Coalesced coalesce(Burst& burst, std::uint32_t network_offset, bool exact = false);

}  // namespace iopkt::packet
