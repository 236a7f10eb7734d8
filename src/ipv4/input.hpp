// The way in for an IPv4 packet: is it well formed, may it come from there, whose is it?
// RFC 791 (format), RFC 1122 3.2 (a host's checks), RFC 1812 5 (a router's), RFC 7126 (options).
#pragma once

#include <optional>

#include "base/expected.hpp"
#include "iface/interface.hpp"
#include "ipv4/counters.hpp"
#include "ipv4/options.hpp"
#include "ipv4/tunables.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"
#include "wire/icmp.hpp"
#include "wire/ipv4.hpp"

namespace iopkt::ipv4 {

using iface::Cast;
using packet::Drop;

/// Which multicast groups an interface has joined, and from whom it hears them. 224.0.0.1 is always joined and not asked for.
struct Membership {
  bool (*joined)(const void* context, std::uint32_t interface_index, wire::Ipv4Address group, wire::Ipv4Address source) = nullptr;
  const void* context = nullptr;
  bool has(const iface::Interface& in, wire::Ipv4Address group, wire::Ipv4Address source) const;
};

struct InputContext {
  const iface::Interface& in;
  const iface::InterfaceTable& interfaces;
  const Ipv4Tunables& tunables;
  Ipv4Counters<Counter>& counters;
  Membership groups{};
  StampClock clock{};
};

/// Where an accepted packet goes.
enum class Way : std::uint8_t {
  deliver,   ///< To the protocol `header.protocol`.
  fragment,  ///< To Reassembly, then deliver.
  forward    ///< Not for us: route it by header.dst.
};

struct Ipv4In {
  wire::Ipv4Header header;
  Way way{};
  Cast cast{Cast::unicast};   ///< By the IP destination
  std::uint8_t header_len{};  ///< Bytes; still in front of the packet
};

/// A packet's end, and what its sender may be told (subject to icmp::may_send_error()).
struct Refused {
  Drop why{};
  std::optional<wire::IcmpHeader> answer;
};

/// Judges the packet, which begins with its IP header; cuts link padding off the end; the header is one piece
/// afterwards. Nothing is taken off the front, so that taps, filters and raw sockets see the whole packet:
/// deliver with strip_header(). In record-route and timestamp options of what is for us we are entered (RFC 1122 3.2.2.6). Without a fragment in hand, packets with GSO metadata pass as they are.
/// `packet.looped`: martian rules and (unless do_loopback_cksum) the header checksum do not apply.
Expected<Ipv4In, Refused> input(const InputContext& context, packet::Packet& packet);

/// Takes the IP header off the front and remembers its length in packet.network_len.
void strip_header(packet::Packet& packet, std::uint8_t header_len);

}  // namespace iopkt::ipv4
