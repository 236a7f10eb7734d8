// ICMP messages in: RFC 792, RFC 1122 3.2.2, RFC 1191 (next-hop MTU), RFC 5927 (what an error may claim).
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "base/expected.hpp"
#include "icmp/counters.hpp"
#include "icmp/tunables.hpp"
#include "iface/interface.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"
#include "wire/icmp.hpp"
#include "wire/ipv4.hpp"

namespace iopkt::icmp {

using iface::Cast;
using packet::Drop;

struct InputContext {
  const iface::Interface& in;
  const IcmpTunables& tunables;
  IcmpCounters<Counter>& counters;
  /// Milliseconds since midnight UT, if the shell knows; otherwise timestamp requests stay unanswered.
  std::optional<std::uint32_t> ms_of_day;
};

/// An answer to send: `packet` is the ICMP message, without IP header.
struct Answer {
  packet::PacketPtr packet;
  wire::Ipv4Address to;
  std::optional<wire::Ipv4Address>
      from;  ///< nullopt: by the route (the question was not to a unicast address)
  std::uint8_t tos{};
};

/// An error about a packet that we are said to have sent. The flow is not verified: TCP checks `sequence`
/// (RFC 5927 4.1).
struct ErrorAbout {
  wire::IcmpHeader message;
  wire::IpProtocol protocol{};
  wire::Endpoint local,
      remote;  ///< As the embedded packet has them: its source is local. Ports 0 without ports
  wire::Ipv4Address reporter;
  std::uint32_t sequence{};  ///< TCP: the embedded sequence number
  /// fragmentation_needed: the next hop's MTU, or, from a router that does not say, the next lower plateau
  /// (RFC 1191 7); 0 with all else. At least 68.
  std::uint32_t mtu{};
};

/// Nothing but raw sockets cares: echo replies, timestamp replies, ...
struct RawOnly {};

/// net.inet.icmp.drop_redirect is 0: route `destination` by `gateway`, if `from` is the present gateway.
struct Redirected {
  wire::Ipv4Address from, gateway, destination;
};

using IcmpIn = std::variant<Answer, ErrorAbout, Redirected, RawOnly>;

/// Reads a message; the packet begins with the ICMP header. Raw sockets get their copy before. An echo reply
/// is the packet itself, turned round; otherwise the packet stays the caller's (to be freed).
/// @param header  Of the IP packet that carried it; cast: by its destination.
/// Errors: icmp_truncated, icmp_bad_checksum, icmp_ignored, icmp_broadcast_echo, icmp_no_flow (an error whose
/// embedded packet is none that a host of ours can have sent: not IPv4, cut before its ports, a fragment
/// other than the first).
Expected<IcmpIn, Drop> input(const InputContext& context, const wire::Ipv4Header& header, Cast cast,
                             packet::PacketPtr& packet);

}  // namespace iopkt::icmp
