// The way in for an IPv6 packet: is it well formed, may it come from there, whose is it, and what stands before its transport?
// RFC 8200 (format, extension headers), RFC 4291 (addresses), RFC 4007 (zones), RFC 5095, RFC 6946, RFC 7112, RFC 8504.
#pragma once

#include <optional>

#include "base/expected.hpp"
#include "icmp/message.hpp"
#include "iface/interface.hpp"
#include "ipv6/counters.hpp"
#include "ipv6/tunables.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"
#include "wire/ip_header.hpp"

namespace iopkt::ipv6 {

using iface::Cast;
using packet::Drop;

/// Which multicast groups an interface has joined, and from whom it hears them. All nodes, and all routers where we forward, are
/// not asked for; the solicited-node groups of our addresses are. And which anycast addresses we answer for that are no interface's: of
/// packets, wherever they come in; `on_link`: of solicitations, there.
struct Membership {
  bool (*joined)(const void* context, std::uint32_t interface_index, const wire::Ipv6Address& group, const wire::Ipv6Address& source) = nullptr;
  const void* context = nullptr;
  bool (*anycast)(const void* context, std::uint32_t interface_index, const wire::Ipv6Address& address, bool on_link) = nullptr;
};

struct InputContext {
  const iface::Interface& in;
  const iface::InterfaceTable& interfaces;
  const Ipv6Tunables& tunables;
  Ipv6Counters<Counter>& counters;
  Membership groups{};
};

enum class Way : std::uint8_t {
  deliver,   ///< To the protocol `header.protocol`.
  fragment,  ///< To Reassembly, then to input() again as a whole.
  forward    ///< Not for us: route it by header.dst.
};

struct Ipv6In {
  wire::IpHeader header;         ///< With all extension headers; of a fragment those before the fragment header
  Way way{};
  Cast cast{Cast::unicast};
  std::uint16_t header_len{};    ///< Bytes up to the transport header; still in front of the packet
  std::uint16_t named_at{};      ///< Offset of the Next Header field that says header.protocol: ICMPv6's pointer
  wire::IpFragment fragment{};
};

/// A packet's end, and what its sender may be told (subject to icmp::may_send_error()).
struct Refused {
  Drop why{};
  std::optional<icmp::Message> answer;
};

/// Judges the packet, which begins with its IPv6 header; cuts link padding off the end; all headers up to the transport's are
/// one piece afterwards. Nothing is taken off the front. `packet.looped`: what no packet from outside may have passes.
Expected<Ipv6In, Refused> input(const InputContext& context, packet::Packet& packet);

}  // namespace iopkt::ipv6
