// ICMP messages of both families in: RFC 792, RFC 1122 3.2.2, RFC 1191 (next-hop MTU), RFC 4443, RFC 5927 (what an error
// may claim). The family is that of the addresses of the header.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "base/expected.hpp"
#include "icmp/counters.hpp"
#include "icmp/counters6.hpp"
#include "icmp/message.hpp"
#include "icmp/tunables.hpp"
#include "iface/interface.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"
#include "wire/ip_header.hpp"

namespace iopkt::icmp {

using iface::Cast;
using packet::Drop;

struct InputContext {
  const iface::Interface& in;
  const IcmpTunables& tunables;
  IcmpCounters<Counter>& counters;
  /// Milliseconds since midnight UT, if the shell knows; otherwise timestamp requests stay unanswered.
  std::optional<std::uint32_t> ms_of_day;
  Icmp6Counters<Counter>* counters6 = nullptr;  ///< Set for IPv6
};

/// An answer to send: `packet` is the ICMP message, without IP header. The checksum of an ICMPv6 message is still to be
/// filled in: it needs the source.
struct Answer {
  packet::PacketPtr packet;
  wire::IpAddress to;
  std::optional<wire::IpAddress>
      from;  ///< nullopt: by the route (the question was not to a unicast address)
  std::uint8_t tos{};
};

/// An error about a packet that we are said to have sent. The flow is not verified: TCP checks `sequence`
/// (RFC 5927 4.1).
struct ErrorAbout {
  Message message;
  wire::IpProtocol protocol{};
  wire::Endpoint local,
      remote;  ///< As the embedded packet has them: its source is local. Ports 0 without ports
  wire::IpAddress reporter;
  std::uint32_t sequence{};  ///< TCP: the embedded sequence number
  /// Trouble::too_big: the next hop's MTU, or, from a router that does not say, the next lower plateau
  /// (RFC 1191 7); 0 with all else. At least 68; as it came in ICMPv6.
  std::uint32_t mtu{};
};

/// Nothing but raw sockets cares: echo replies, timestamp replies, ...
struct RawOnly {};

/// net.inet.icmp.drop_redirect is 0: route `destination` by `gateway`, if `from` is the present gateway.
struct Redirected {
  wire::Ipv4Address from, gateway, destination;
  wire::Ipv4Address local;  ///< Whose packet it is said to be about
};

/// Messages of neighbour discovery (RFC 4861), which src/ipv6 reads, and of listener discovery (RFC 3810).
struct NeighbourDiscovery {};
struct ListenerDiscovery {};

using IcmpIn = std::variant<Answer, ErrorAbout, Redirected, RawOnly, NeighbourDiscovery, ListenerDiscovery>;

/// Reads a message; the packet begins with the ICMP header. Raw sockets get their copy before. An echo reply
/// is the packet itself, turned round; otherwise the packet stays the caller's (to be freed).
/// @param header  Of the IP packet that carried it; cast: by its destination.
/// Errors: icmp_truncated, icmp_bad_checksum, icmp_ignored, icmp_broadcast_echo, icmp_no_flow (an error whose
/// embedded packet is none that a host of ours can have sent: not of the family, cut before its ports, a fragment
/// other than the first).
Expected<IcmpIn, Drop> input(const InputContext& context, const wire::IpHeader& header, Cast cast,
                             packet::PacketPtr& packet);

}  // namespace iopkt::icmp
