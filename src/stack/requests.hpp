// What a client can ask of a socket. An IPv4 address on a socket of AF_INET6 is what its program writes as ::ffff:a.b.c.d. Plain values in, an Errno or a value out; never blocks, never sees shared memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "stack/events.hpp"
#include "wire/address.hpp"
#include "wire/ipv4.hpp"
#include "wire/ipv6.hpp"

namespace iopkt::stack {

struct OpenRequest {
  wire::IpFamily family = wire::IpFamily::v4;
  int type = 0;              ///< SOCK_STREAM, SOCK_DGRAM, SOCK_RAW without flags
  int protocol = 0;
  std::uint32_t user = 0;    ///< for SO_REUSEPORT
  std::uint8_t fib = 0;
  bool privileged = false;   ///< may open raw sockets
  Cookie cookie = 0;
  socket::RingMemory send, receive;  ///< stream sockets; size 0: given later by set_rings()
};

/// A datagram to send, as a client's record says.
struct DatagramRequest {
  std::optional<wire::Endpoint> destination;     ///< none: the connected peer
  std::optional<wire::IpAddress> source;         ///< IP_PKTINFO, IPV6_PKTINFO
  std::uint32_t interface_index = 0;             ///< the same; 0: by route
  std::optional<std::uint8_t> ttl, tos;          ///< IP_TTL, IP_TOS, IPV6_HOPLIMIT, IPV6_TCLASS as control data
  bool dont_route = false;
  std::optional<bool> dont_fragment;             ///< IPV6_DONTFRAG as control data
  std::optional<wire::Ipv4OptionBytes> options;  ///< IP_RETOPTS as control data, in the place of the socket's
  std::uint16_t segment_size = 0;                ///< UDP_SEGMENT; 0: one datagram
  std::uint32_t flow_label = 0;                  ///< IPV6_FLOWINFO as control data, or of the destination; 0: the socket's
  /// IPV6_HOPOPTS and IPV6_DSTOPTS as control data, in the place of the socket's; `bytes` is empty: those. Nobody has looked at them.
  wire::Ipv6Extensions extensions{};
};

/// One line of netstat; plain values.
struct SocketSummary {
  std::string protocol;      ///< "tcp", "udp", "ip"
  wire::IpFamily family = wire::IpFamily::v4;  ///< of the socket
  wire::Endpoint local, remote;
  std::string state;         ///< TCP's, else empty
  std::uint64_t receive_queue = 0, send_queue = 0;
  std::uint32_t shard = 0, id = 0, user = 0;
  Cookie cookie = 0;
};

}  // namespace iopkt::stack
