// What one shard tells another. Packets may be lost when a queue is full (counted); everything else is kept until there
// is room, in order.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <variant>

#include "base/spinlock.hpp"
#include "group/filter.hpp"
#include "neigh/neighbours.hpp"
#include "packet/packet.hpp"
#include "socket/options.hpp"
#include "socket/port_table.hpp"
#include "stack/events.hpp"
#include "stack/flow.hpp"
#include "stack/network.hpp"
#include "tcp/connection.hpp"

namespace iopkt::stack {

/// A listening socket as all shards see it. What changes after listen() is atomic.
struct Listener : Counted<Listener> {
  Cookie cookie = 0;
  std::uint32_t shard = 0;  ///< where the socket itself lives
  SocketId id;
  wire::IpFamily family = wire::IpFamily::v4;
  bool v6_only = false;
  wire::Endpoint local;
  std::uint8_t fib = 0;
  std::uint32_t bound_interface = 0;  ///< SO_BINDTODEVICE
  std::uint32_t user = 0;
  socket::BindingPtr binding;
  std::atomic<std::uint32_t> backlog{0};
  std::atomic<std::uint32_t> waiting{0};  ///< established, not accepted yet
  std::atomic<std::uint32_t> fast_open_pending{0};  ///< opened by a SYN with a cookie, and not acknowledged yet (RFC 7413 section 5.1)
  std::atomic<bool> closed{false};

  /// What children inherit: as it is when their SYN comes.
  socket::SharedOptions options() const {
    const SpinGuard guard{lock_};
    return options_;
  }
  void set_options(socket::SharedOptions options) {
    const SpinGuard guard{lock_};
    std::swap(options_, options);
  }

 private:
  mutable SpinLock lock_;
  socket::SharedOptions options_;
};
using ListenerPtr = CountedPtr<Listener>;

/// A datagram socket as the shard of its port sees it.
struct PortMember {
  socket::SocketKind kind = socket::SocketKind::udp;
  std::uint32_t shard = 0;
  SocketId id;
  wire::Endpoint local;
  wire::Endpoint remote;  ///< connected when its port is not 0
  std::uint32_t interface_index = 0;  ///< SO_BINDTODEVICE
  std::uint8_t fib = 0;
  bool reuse_port = false;
  bool v6_only = false;
  bool multicast_all = true, multicast_all6 = true;  ///< IP_MULTICAST_ALL, IPV6_MULTICAST_ALL
  std::int32_t least_coverage = -1;  ///< UDP-Lite: SocketOptions::receive_coverage
  std::uint64_t order = 0;  ///< of binding: later ones win among equals, as on the host
};
/// UDP and UDP-Lite have ports of their own (RFC 3828 section 3).
constexpr std::uint32_t port_key(socket::SocketKind kind, wire::Port port) {
  return (kind == socket::SocketKind::udplite ? 1u << 16 : 0u) | port.value;
}

struct RawMember {
  std::uint32_t shard = 0;
  SocketId id;
  std::uint8_t protocol = 0;
  wire::IpAddress local, remote;  ///< unspecified: any of that family
  std::uint32_t interface_index = 0;
  wire::IpFamily family = wire::IpFamily::v4;
  std::int32_t checksum_offset = -1;  ///< IPV6_CHECKSUM: packets with a wrong one are none of this socket's; -1: not looked at
  std::array<std::uint32_t, 8> icmp_filter{};  ///< ICMP_FILTER, ICMP6_FILTER: bit t set: no messages of type t
  bool multicast_all = true;                   ///< IP_MULTICAST_ALL or IPV6_MULTICAST_ALL, by the family
};

namespace message {
/// A packet that begins with its IP header, for the owner of its flow.
struct Input {
  std::uint32_t interface_index;
  packet::PacketPtr packet;
};
/// ARP belongs to shard 0.
struct Arp {
  std::uint32_t interface_index;
  packet::PacketPtr packet;
};
/// A datagram for a socket of the receiving shard, looked up by the shard of its port.
struct Deliver {
  Datagram datagram;
};
struct NewNetwork {
  NetworkPtr network;
};
/// Something about the neighbour cache: to the master what a replica wants, to replicas what the master did.
struct ResolveNeighbour {
  std::uint32_t from;
  neigh::Key key;
  bool used_only;  ///< a stale entry was used; it need not be resolved
};
struct NeighbourAction {
  neigh::Action action;
};
struct ListenAdd {
  ListenerPtr listener;
};
struct ListenRemove {
  ListenerPtr listener;
};
struct PortAdd {
  PortMember member;
};
struct PortRemove {
  socket::SocketKind kind;
  std::uint32_t shard;
  SocketId id;
  wire::Port port;
};
struct RawAdd {
  RawMember member;
};
struct RawRemove {
  std::uint32_t shard;
  SocketId id;
};
/// A connection that does not live where its hash says (its program chose both ports).
struct FlowAdd {
  FlowKey key;
  std::uint32_t owner;
};
struct FlowRemove {
  FlowKey key;
};
/// An ICMP error about a TCP segment, for the shard of its flow. mtu: 0, or the path's.
struct FlowError {
  FlowKey flow;
  tcp::Failure failure;
  wire::SeqNum sequence;
  std::uint16_t mtu;
};
/// A router told the MTU of the way to a host, about a packet that went there.
struct PathMtu {
  wire::IpAddress destination;
  std::uint8_t fib;
  std::uint32_t mtu;
};
/// The same about a datagram that one of these shards may have sent: a bit for each.
struct PathMtuClaim {
  wire::IpAddress destination;
  wire::Port port;  ///< the sender's; 0: the protocol has none
  wire::IpProtocol protocol;
  std::uint32_t mtu;
  std::uint64_t shards;
};
/// What a connection learned about Fast Open to a server.
struct FastOpenNews {
  wire::IpAddress local, server;
  wire::FastOpenCookie cookie;
  std::uint16_t mss;
  bool lost;  ///< nothing but that SYNs with the option do not get through
};
/// The same about a datagram, for the shard of its local port.
struct PortError {
  socket::SocketKind kind;
  wire::Endpoint local, remote;
  Datagram report;  ///< with `error`; the payload begins with the IP header of the datagram that it is about
  std::uint32_t mtu = 0;  ///< what a router says of the path; 0: nothing
};
/// A socket of another shard has joined, left (nullopt) or changed its filter.
struct GroupChange {
  group::Key key;
  std::uint32_t shard;
  SocketId id;
  std::uint32_t user;
  std::optional<group::Filter> filter;
};
}  // namespace message

using Message = std::variant<std::monostate, message::Input, message::Arp, message::Deliver, message::NewNetwork,
                             message::ResolveNeighbour, message::NeighbourAction, message::ListenAdd,
                             message::ListenRemove, message::PortAdd, message::PortRemove, message::RawAdd,
                             message::RawRemove, message::FlowAdd, message::FlowRemove, message::FlowError,
                             message::PathMtu, message::PathMtuClaim, message::FastOpenNews, message::PortError, message::GroupChange>;

}  // namespace iopkt::stack
