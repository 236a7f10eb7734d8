// Tunables of IPv4: sysctl net.inet.ip.*.
#pragma once

#include <array>
#include <cstdint>

#include "base/tunable.hpp"

namespace iopkt::ipv4 {

struct Ipv4Tunables {
  std::uint32_t accept_source_route, anonportmax, anonportmin, check_interface, dad_count, directed_broadcast,
      do_loopback_cksum, forwarding, frag_ttl_s;
  std::uint32_t max_frag_bytes, max_frag_packets, max_frags_per_packet, mtu_discovery, redirect, ttl;

  static constexpr auto table() {
    using T = Ipv4Tunables;
    using R = Tunable<T>;
    return std::array{
        R{"net.inet.ip.allowsrcrt", "flag",
          "Deliver packets that came by a source route (RFC 7126 4.3 advises not to).",
          &T::accept_source_route, 0, 0, 1},
        // RFC 6335 section 6: the dynamic ports.
        R{"net.inet.ip.anonportmax", "port", "Last port given to sockets that name none.", &T::anonportmax,
          65535, 1024, 65535},
        R{"net.inet.ip.anonportmin", "port", "First port given to sockets that name none.", &T::anonportmin,
          49152, 1024, 65535},
        R{"net.inet.ip.checkinterface", "flag",
          "Accept a packet only on the interface that has its destination address.", &T::check_interface, 0,
          0, 1},
        // NetBSD asks three times since its version 8; QNX's addresses work at once.
        R{"net.inet.ip.dad_count", "messages",
          "Probes for a new address before it is used (RFC 5227); 0: it is used at once, and announced.", &T::dad_count, 0, 0, 16},
        R{"net.inet.ip.directed-broadcast", "flag",
          "Forward broadcasts to a connected network (RFC 2644 advises not to).", &T::directed_broadcast, 0,
          0, 1},
        R{"net.inet.ip.do_loopback_cksum", "flag", "Compute and check header checksums on loopback.",
          &T::do_loopback_cksum, 0, 0, 1},
        R{"net.inet.ip.forwarding", "flag", "Forward packets that are not for us.", &T::forwarding, 0, 0, 1},
        // RFC 1122 3.3.2 wants 60 to 120 s; at today's rates identifiers come round in less (RFC 4963).
        R{"net.inet.ip.fragttl", "seconds", "Time for all fragments of a datagram to come.", &T::frag_ttl_s,
          30, 1, 120},
        R{"net.inet.ip.maxfragbytes", "bytes", "Most packet memory that fragments occupy, per shard.",
          &T::max_frag_bytes, 4u << 20, 0, 1u << 30},
        R{"net.inet.ip.maxfragpackets", "datagrams",
          "Most datagrams that are put together at a time, per shard.", &T::max_frag_packets, 200, 0, 65536},
        // 65535 bytes over a link of 576.
        R{"net.inet.ip.maxfragsperpacket", "fragments", "Most fragments of one datagram.",
          &T::max_frags_per_packet, 128, 1, 8192},
        R{"net.inet.ip.mtudisc", "flag",
          "Path MTU discovery (RFC 1191): TCP sends with Don't Fragment, and what routers say of paths is kept.", &T::mtu_discovery, 1, 0, 1},
        R{"net.inet.ip.redirect", "flag", "Send redirects when forwarding back to the same link.",
          &T::redirect, 1, 0, 1},
        R{"net.inet.ip.ttl", "hops", "Time to live of packets that we send.", &T::ttl, 64, 1, 255},
    };
  }
};
static_assert(tunables_are_sound<Ipv4Tunables>());

}  // namespace iopkt::ipv4
