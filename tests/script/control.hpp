// Control data of datagrams (struct cmsghdr, RFC 3542 section 4.2, ip(7), ipv6(7)) as the host has it. The socket options that ask for
// what is not made here (options and extension headers, IP_RECVORIGDSTADDR, IPV6_RECVPATHMTU, SO_RXQ_OVFL) bring nothing.
#pragma once

#include <functional>

#include "tests/script/machine.hpp"

namespace iopkt::script {

/// An option of the socket, by level and name.
using OptionReader = std::function<int(int level, int name)>;

/// What the socket wants to hear of the datagram: addresses, hop limit, class, the size of segments, the time. True: MSG_CTRUNC.
bool put_control(const stack::Datagram& datagram, const OptionReader& options, Instant now, std::size_t room, PacketBytes& out);
/// IP_RECVERR or IPV6_RECVERR of an entry of the error queue. True: MSG_CTRUNC.
bool put_error(const stack::Datagram& report, std::size_t room, PacketBytes& out);
/// What a program says of one datagram: IP_PKTINFO, IP_TTL, IP_TOS, their like of IPv6, IPV6_DONTFRAG, UDP_SEGMENT. Everything else
/// is Errno::inval.
socket::Errno take_control(Bytes control, wire::IpFamily family, stack::DatagramRequest& out);
/// Of a stream: of the levels of IP the host takes no notice, of SOL_SOCKET there is nothing that is built.
socket::Errno check_stream_control(Bytes control);

}  // namespace iopkt::script
