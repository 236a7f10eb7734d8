// Datagrams in: RFC 768, RFC 1122 4.1.3.
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
};

/// Judges a datagram (the packet begins with its UDP header), cuts what its length leaves over, checks the
/// checksum unless there is none (IPv4), the device did, or it never left this stack. The header stays in
/// front, so that an error can quote it: trim_front(wire::UdpView::kHeaderLen) before the payload is given to
/// a socket. src, dst: of the IP packet, one family. Errors: udp_truncated, udp_bad_checksum (IPv6 without
/// one, too: RFC 8200 8.1), no_buffer.
Expected<UdpIn, Drop> input(const wire::IpAddress& src, const wire::IpAddress& dst, packet::Packet& packet,
                            const UdpTunables& tunables, UdpCounters<Counter>& counters);

}  // namespace iopkt::udp
