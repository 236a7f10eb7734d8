// The virtio-net header that TAP and AF_PACKET put in front of a frame, and the offload fields of
// iopkt_frame. Sources: Virtio 1.2 section 5.1.6 (packet transmission and receipt), RFC 9293 section 3.1
// (data offset).
#pragma once

#include <iopkt/driver.h>

#include <cstdint>

#include "frame_io.hpp"

namespace devnp {

/// The ten bytes of `struct virtio_net_hdr`, host byte order (that header does not compile as C++).
struct VnetHeader {
  std::uint8_t flags, gso_type;
  std::uint16_t hdr_len, gso_size, csum_start, csum_offset;
};
static_assert(sizeof(VnetHeader) == 10);

inline constexpr std::uint8_t kVnetNeedsCsum = 1, kVnetDataValid = 2;
inline constexpr std::uint8_t kVnetGsoNone = 0, kVnetGsoTcp4 = 1, kVnetGsoTcp6 = 4, kVnetGsoUdpL4 = 5,
                              kVnetGsoEcn = 0x80;

inline constexpr std::uint32_t kGsoFlags = IOPKT_GSO_TCP4 | IOPKT_GSO_TCP6 | IOPKT_GSO_UDP;
inline constexpr std::uint32_t kTcpHeaderMin = 20, kUdpHeaderLen = 8;

/// Where the transport header starts, found by reading the frame: Ethernet, at most two VLAN tags, IPv4 or
/// IPv6 without extension headers. 0: not such a frame.
inline std::uint32_t transport_offset(const iopkt_frame* frame) {
  std::uint8_t b[2];
  std::uint32_t at = 12;
  for (int tags = 0; tags <= 2; ++tags, at += 4) {
    if (copy_out(frame, at, b, 2) != 2) return 0;
    const unsigned type = static_cast<unsigned>(b[0] << 8 | b[1]);
    if (type == 0x8100 || type == 0x88a8) continue;
    at += 2;
    if (type == 0x86dd) return at + 40;
    if (type != 0x0800 || copy_out(frame, at, b, 1) != 1 || (b[0] & 15) < 5) return 0;
    return at + (b[0] & 15u) * 4;
  }
  return 0;
}

/// Length of all headers of a GSO frame whose transport header starts at `transport`. 0: they do not lie
/// inside of it.
inline std::uint32_t gso_header_len(const iopkt_frame* frame, std::uint32_t transport, bool tcp) {
  if (transport == 0) return 0;
  std::uint32_t len = transport + kUdpHeaderLen;
  if (tcp) {
    std::uint8_t offset = 0;
    if (copy_out(frame, transport + 12, &offset, 1) != 1) return 0;
    const std::uint32_t tcp_len = (offset >> 4) * 4u;
    if (tcp_len < kTcpHeaderMin) return 0;
    len = transport + tcp_len;
  }
  return len <= frame->len ? len : 0;
}

/// Takes over what the header says about a received frame whose bytes and length are set already.
///
/// header_len is counted from the frame's own bytes: the kernel's hdr_len is only how much of it was
/// contiguous.
/// @return false  the header contradicts the frame (a field that points outside, an unknown kind, GSO with
/// size 0):
///                the frame cannot be used.
inline bool vnet_to_frame(const VnetHeader& h, iopkt_frame* frame) {
  std::uint32_t flags = 0;
  if ((h.flags & kVnetNeedsCsum) != 0) {
    if (std::uint32_t{h.csum_start} + h.csum_offset + 2 > frame->len) return false;
    flags |= IOPKT_CSUM_NEEDED;
    frame->csum_start = h.csum_start;
    frame->csum_offset = h.csum_offset;
  } else if ((h.flags & kVnetDataValid) != 0) {
    flags |= IOPKT_CSUM_VALID;
  }
  switch (h.gso_type & ~kVnetGsoEcn) {
    case kVnetGsoNone:
      break;
    case kVnetGsoTcp4:
      flags |= IOPKT_GSO_TCP4;
      break;
    case kVnetGsoTcp6:
      flags |= IOPKT_GSO_TCP6;
      break;
    case kVnetGsoUdpL4:
      flags |= IOPKT_GSO_UDP;
      break;
    default:
      return false;
  }
  if ((flags & kGsoFlags) != 0) {
    const bool tcp = (flags & IOPKT_GSO_UDP) == 0;
    const std::uint32_t transport = (flags & IOPKT_CSUM_NEEDED) != 0 ? h.csum_start : transport_offset(frame);
    const std::uint32_t header_len = gso_header_len(frame, transport, tcp);
    if (h.gso_size == 0 || header_len == 0 || header_len > UINT16_MAX) return false;
    if (tcp && (h.gso_type & kVnetGsoEcn) != 0) flags |= IOPKT_GSO_ECN;
    frame->gso_size = h.gso_size;
    frame->header_len = static_cast<std::uint16_t>(header_len);
  }
  frame->flags |= flags;
  return true;
}

/// The header for a frame to send.
/// @return false  the frame's offload fields point outside of it, or ask for segmentation without a checksum,
/// without a
///                size, or of two kinds at once.
inline bool vnet_from_frame(const iopkt_frame* frame, VnetHeader* out) {
  *out = {};
  if ((frame->flags & IOPKT_CSUM_NEEDED) != 0) {
    if (std::uint32_t{frame->csum_start} + frame->csum_offset + 2 > frame->len) return false;
    out->flags = kVnetNeedsCsum;
    out->csum_start = frame->csum_start;
    out->csum_offset = frame->csum_offset;
  }
  switch (frame->flags & kGsoFlags) {
    case 0:
      return true;
    case IOPKT_GSO_TCP4:
      out->gso_type = kVnetGsoTcp4;
      break;
    case IOPKT_GSO_TCP6:
      out->gso_type = kVnetGsoTcp6;
      break;
    case IOPKT_GSO_UDP:
      out->gso_type = kVnetGsoUdpL4;
      break;
    default:
      return false;
  }
  if (out->flags == 0 || frame->gso_size == 0) return false;
  if (frame->header_len <= frame->csum_start || frame->header_len > frame->len) return false;
  if ((frame->flags & IOPKT_GSO_ECN) != 0 && out->gso_type != kVnetGsoUdpL4) out->gso_type |= kVnetGsoEcn;
  out->gso_size = frame->gso_size;
  out->hdr_len = frame->header_len;
  return true;
}

}  // namespace devnp
