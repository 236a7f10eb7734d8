// Datagrams in: RFC 768, RFC 1122 4.1.3; UDP-Lite: RFC 3828.
#pragma once

#include "base/expected.hpp"
#include "iface/interface.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"
#include "udp/counters.hpp"
#include "udp/tunables.hpp"
#include "wire/udp.hpp"

namespace iopkt::udp {

using packet::Drop;

struct UdpIn {
  wire::Endpoint src, dst;
  wire::UdpHeader header;
  std::uint32_t coverage = 0;  ///< UDP-Lite: bytes from the header on that the checksum covers
  bool partial = false;        ///< UDP-Lite: not all of the datagram
};

/// Judges a datagram (the packet begins with its UDP header), cuts what its length leaves over, checks the
/// checksum unless there is none (IPv4), the device did, or it never left this stack. The header stays in
/// front, so that an error can quote it: trim_front(wire::UdpView::kHeaderLen) before the payload is given to
/// a socket. src, dst: of the IP packet, one family. Errors: udp_truncated, udp_bad_checksum (IPv6 without
/// one, too: RFC 8200 8.1), no_buffer.
Expected<UdpIn, Drop> input(const wire::IpAddress& src, const wire::IpAddress& dst, packet::Packet& packet,
                            const UdpTunables& tunables, UdpCounters<Counter>& counters);

/// The same for UDP-Lite, whose datagram is as long as its packet: its length field is the coverage (0: all of it), and
/// its checksum is never left out. Errors: udp_truncated, udplite_bad_coverage (below 8 or beyond the datagram),
/// udp_bad_checksum, no_buffer.
Expected<UdpIn, Drop> lite_input(const wire::IpAddress& src, const wire::IpAddress& dst, packet::Packet& packet,
                                 const UdpTunables& tunables, UdpCounters<Counter>& counters);

}  // namespace iopkt::udp
