// The steps of a packet's and a request's way inside one shard, in the order in which the files of this folder hold them.
#pragma once

#include <algorithm>

#include "icmp/input.hpp"
#include "ipv4/input.hpp"
#include "ipv4/options.hpp"
#include "stack/state.hpp"
#include "wire/ip_header.hpp"

namespace iopkt::stack {

// ---- rx.cpp: a frame's way in
void rx_frame(ShardState& s, const iface::Interface& in, packet::PacketPtr frame);
/// A packet that begins with its IP header, on the shard that owns its flow. `fragmented`: it was put together.
void rx_ip(ShardState& s, std::uint32_t interface_index, packet::PacketPtr packet, bool fragmented = false);
/// The same, also of a SYN.
void rx_ip_at_once(ShardState& s, std::uint32_t interface_index, packet::PacketPtr packet, bool fragmented = false);
/// Hands such a packet to the shard that owns its flow; only on this shard is it known there that it was `fragmented`. That is
/// enough: reassembly is where ICMP is.
void rx_owned(ShardState& s, std::uint32_t interface_index, packet::PacketPtr packet, bool fragmented = false);
/// Where a packet that begins with its IP header belongs; a malformed one stays here and dies here.
std::uint32_t owner_of(const ShardState& s, const packet::Packet& packet);
void rx_arp(ShardState& s, std::uint32_t interface_index, packet::PacketPtr packet);

/// The beginning of a packet's transport header, whatever the family.
struct Transport {
  wire::IpAddress src, dst;
  wire::IpProtocol protocol{};
  std::size_t offset{};
  bool is_fragment{};
};
/// `head`: the packet's first piece, IP header first. nullopt: no good header.
std::optional<Transport> find_transport(Bytes head, std::uint32_t zone);

void rx_reassembled(ShardState& s, std::uint32_t interface_index, const wire::IpHeader& header, packet::PacketPtr payload);
/// What is known of an ICMP error beside what it says: the message that brought it (null: made here, of a neighbour that does not
/// answer) and the packet that it is about, from its IP header on, as far as it came back.
struct Arrival;
void on_icmp_error(ShardState& s, const icmp::ErrorAbout& about, const Arrival* at, packet::PacketPtr quoted);
void on_reassembly_expired(ShardState& s, const std::optional<wire::IpHeader>& first, packet::Burst& packets);

/// What a transport needs to know about the IP packet that carried its segment.
struct Arrival {
  const iface::Interface* in;
  wire::IpHeader ip;
  bool broadcast = false, multicast = false;
  std::uint16_t named_at = 0;  ///< Of IPv6: offset of the Next Header field that says ip.protocol
  bool fragmented = false;     ///< It came in pieces

  /// The FIB by which an answer goes that is no socket's.
  std::uint8_t fib() const { return static_cast<std::uint8_t>(in->fib); }
};

/// An ICMP error to the sender of a packet, if one may be sent; `payload` is what stood behind `header`.
void answer_error(ShardState& s, const icmp::Message& message, const wire::IpHeader& header, const packet::Packet& payload,
                  iface::Cast cast, std::uint8_t fib);
/// The same one that may be sent and is within its limit.
Errno send_error(ShardState& s, const icmp::Message& message, const wire::IpHeader& header, const packet::Packet& payload, std::uint8_t fib);
/// Drops a packet that begins with its IP header; its sender may be told, quoting as much of the headers as can be read.
void refuse(ShardState& s, const iface::Interface& in, packet::Packet& packet, packet::Drop why, const std::optional<icmp::Message>& answer);
/// The same of one that goes on in another copy; this one loses its header.
void tell_sender(ShardState& s, const iface::Interface& in, packet::Packet& packet, const icmp::Message& answer);

/// What a packet of IPv6 may be addressed to here beside addresses of interfaces.
ipv6::Membership membership6(const ShardState& s);

// ---- forward.cpp: a router's work
/// Sends on what is not for us, one hop nearer to where it goes. The packet begins with its IP header.
void forward(ShardState& s, const Arrival& at, packet::PacketPtr packet);

/// ICMP port unreachable, if one may be sent; `payload` begins with the transport header.
void send_port_unreachable(ShardState& s, const Arrival& at, const packet::Packet& payload);

// ---- openings.cpp: SYNs, of which there may be more than can be answered
/// A SYN that asks for a connection, whole and of any family. The packet begins with its IP header.
bool is_opening(const packet::Packet& packet);
/// True: the packet, which begins with its IP header, is a SYN that waits for answer_openings(), or was dropped.
bool wait_as_opening(ShardState& s, std::uint32_t interface_index, packet::PacketPtr& packet);
/// Takes in those whose turn it is. Some may wait on.
void answer_openings(ShardState& s);
/// How many that would be now, if so many waited.
std::size_t openings_wanted(const ShardState& s);
/// When it is more than none; s.now: it is.
Instant openings_due(const ShardState& s);
/// The peer has answered what only it can have heard.
void handshake_completed(ShardState& s, const wire::IpAddress& peer);

// ---- tcp_input.cpp, tcp_output.cpp: connections, listeners, half-open and TIME-WAIT entries
void rx_tcp(ShardState& s, const Arrival& at, packet::PacketPtr segment);
/// Whether a device's queue, with so many in it, takes the frame.
inline bool has_room_for(std::size_t queued, const packet::Packet& frame) {
  return queued < (frame.textless ? kTransmitTextlessMax : kTransmitQueueMax);
}
/// Frames that connections may give to devices now.
std::size_t room_for_output(const ShardState& s);
/// What the turn's output may be; whoever had none in the last one is first.
void make_room_for_output(ShardState& s);
/// Makes the output of every connection that something happened to, and tells of it. True: there was some.
bool pump_dirty(ShardState& s);
void mark_dirty(ShardState& s, Socket& k);
/// Segments that the connection may send now. `k.tcp` exists; its events stay for pump_dirty().
void send_queued(ShardState& s, Socket& k);
void on_timer(ShardState& s, Timed& timed);
/// The connection's table entry, RST to the peer and events, when a request ends it.
void abort_tcp(ShardState& s, Socket& k, tcp::Failure why);
void on_flow_error(ShardState& s, const message::FlowError& error);
/// One segment of a connection, or without one (RST, SYN-ACK, TIME-WAIT's ACK). `signing`: with a signature, where `options` have a
/// key for the peer.
struct Signing;
void send_segment(ShardState& s, const FlowKey& flow, const tcp::SegmentOut& segment, const socket::SendRing* ring,
                  const socket::SocketOptions* options, std::uint8_t fib, std::uint32_t bound_interface = 0,
                  const Signing* signing = nullptr);

// ---- signatures.cpp: TCP-MD5 and TCP-AO
/// What a signature needs to know beside the segment and the keys.
struct Signing {
  const socket::SocketOptions& options;
  wire::SeqNum iss, irs;         ///< what of these is not known yet is of no matter
  std::uint32_t extension = 0;   ///< RFC 5925 section 6.2
  int current = -1;              ///< TCP-AO: SendID of the key; -1: the options'
  tcp::TrafficKeys* derived = nullptr;  ///< of a connection, with keys of these options; null: each key is derived anew
};
/// For Signing, of a connection.
tcp::TrafficKeys* derived_keys(Socket& k);
/// RFC 5925 section 7.8: what ICMP says of a connection with keys is no reason to do anything, unless its program wants so. True: it
/// is counted and forgotten.
bool ignores_icmp(Socket& k, const message::FlowError& error);
/// Bytes that a signature takes in each header to `remote`; 0: there is no key.
std::uint8_t signature_len(const socket::SocketOptions& options, const wire::IpAddress& remote);
/// Whether that signature is TCP-MD5, which leaves no room for timestamps and SACK.
bool uses_md5(const socket::SocketOptions& options, const wire::IpAddress& remote);
/// The option of a segment, the MAC still zero; kind none: there is no key.
wire::TcpSignature blank_signature(const Signing& signing, const wire::IpAddress& remote);
/// Puts the MAC into `packet`, which begins with the TCP header of `header_len` bytes that has that option. False: no memory.
[[nodiscard]] bool sign(const Signing& signing, const FlowKey& flow, const wire::TcpSignature& option, packet::Packet& packet, std::uint32_t header_len);
/// What is wrong with the signature of a segment, or with its having none. `packet` begins with the TCP header.
std::optional<packet::Drop> check_signature(ShardState& s, const Signing& signing, const FlowKey& flow, const tcp::SegmentIn& seg,
                                            const packet::Packet& packet, std::uint32_t header_len);
/// A good segment of a connection asks for another key: RFC 5925 section 7.5.
void follow_key(Socket& k, const tcp::SegmentIn& seg);
/// TCP_AO_INFO's counters.
void count_signature(Socket& k, const tcp::SegmentIn& seg, const std::optional<packet::Drop>& wrong);

// ---- keys.cpp: the options that set them
/// setsockopt() of the keys, in `options`, a copy of the socket's. nullopt: another option. Errors: inval, noent (no such key or
/// algorithm), exist, busy (in use), nobufs (too many, of the socket or its user), keyrejected (the peer has one of the other kind).
std::optional<Errno> set_key_option(ShardState& s, Socket& k, socket::SocketOptions& options, int level, int name, Bytes value);
socket::Result<std::string> get_key_option(const Socket& k, int name, Bytes given, std::size_t room);
tcp::OpenConfig open_config(ShardState& s, const FlowKey& flow, std::uint8_t fib, const socket::SocketOptions& options,
                            std::uint32_t receive_bytes);
/// What TCP may offer of a ring of `size`: TCP_WINDOW_CLAMP.
inline std::uint32_t offered_capacity(const socket::SocketOptions& options, std::uint32_t size) {
  return options.window_clamp == 0 ? size : std::min(size, static_cast<std::uint32_t>(options.window_clamp));
}
tcp::Options tcp_options(const socket::SocketOptions& options);
/// IP_OPTIONS of packets to `remote`; null: none.
inline const wire::Ipv4OptionBytes* ip_options_of(const socket::SocketOptions& options, const wire::IpAddress& remote) {
  return remote.is_v4() && !options.ip_options.empty() ? &options.ip_options : nullptr;
}
/// TCP_NOTSENT_LOWAT, or the variable, bytes; 0: more than any ring has.
inline std::uint32_t notsent_low_water(const ShardState& s, const Socket& k) {
  const std::uint32_t bytes = k.options->notsent_low_water != 0 ? k.options->notsent_low_water : s.settings.tcp.notsent_lowat;
  return bytes >= (1u << 30) ? 0 : bytes;
}
/// Connections that nobody accepted die with their listener (RFC 9293 section 3.10.4 for LISTEN).
void drop_waiting_children(ShardState& s, const ListenerPtr& listener);

// ---- fast_open.cpp: RFC 7413
/// What connect() makes of it: the cookie or the question for one, in `config`. `hold`: the SYN waits for data, if there is a cookie.
void prepare_fast_open(const ShardState& s, const FlowKey& flow, tcp::OpenConfig& config);
/// What a SYN with the option means to a listener.
struct FastOpenWish {
  bool open = false;                            ///< the cookie is good, and the queue has room: at once
  std::optional<wire::FastOpenCookie> give;     ///< for the SYN,ACK
};
FastOpenWish judge_fast_open(ShardState& s, Listener& listener, const socket::SocketOptions& options, const FlowKey& flow,
                             const tcp::SegmentIn& syn);
/// The cookie for that client, with the listener's first key.
wire::FastOpenCookie fast_open_cookie(const ShardState& s, const socket::SocketOptions& options, const FlowKey& flow);
/// The connection has left SYN-RECEIVED: one pending request less.
void leave_fast_open_queue(Socket& k);
/// A SYN,ACK has come for a connection that was SYN-SENT: remembers what it says, on all shards.
void learn_fast_open(ShardState& s, const Socket& k, const tcp::SegmentIn& syn_ack);
void take_fast_open_news(ShardState& s, const message::FastOpenNews& news);

/// Forgets the connection's place in the tables; a TIME-WAIT entry may take it.
void remove_flow(ShardState& s, Socket& k);
/// The exception of a flow whose TIME-WAIT is over, if another shard has one.
void forget_foreign_flow(ShardState& s, const FlowKey& flow, std::uint8_t shard);

/// Bytes of the least headers in front of a segment's payload.
constexpr std::uint32_t ip_and_tcp_len(wire::IpFamily family) { return family == wire::IpFamily::v6 ? 60 : 40; }

// ---- datagrams.cpp: UDP and raw sockets
void rx_udp(ShardState& s, const Arrival& at, packet::PacketPtr datagram);
/// Copies for raw sockets. True: at least one took it.
bool rx_raw(ShardState& s, const Arrival& at, const packet::Packet& with_ip_header);
Errno send_udp(ShardState& s, Socket& k, const DatagramRequest& request, Bytes first, Bytes second);
/// Whether a datagram of `length` bytes of this socket could go to `destination`. `quiet`: its error queue hears nothing of it.
/// `segment`: UDP_SEGMENT, 0: in one.
Errno check_path(ShardState& s, const Socket& k, const wire::Endpoint& destination, std::size_t length, bool quiet,
                 std::uint32_t segment);
Errno send_udplite(ShardState& s, Socket& k, const DatagramRequest& request, Bytes first, Bytes second);
Errno send_raw(ShardState& s, Socket& k, const DatagramRequest& request, Bytes first, Bytes second);
void deliver(ShardState& s, std::uint32_t shard, Datagram&& datagram);
void register_port(ShardState& s, Socket& k);
void unregister_port(ShardState& s, Socket& k);
void remove_member(ShardState& s, const message::PortRemove& who);
void register_raw(ShardState& s, Socket& k);
void add_raw(ShardState& s, const RawMember& member);
void remove_raw(ShardState& s, std::uint32_t shard, SocketId id);

// ---- groups.cpp: who listens to what
group::Key group_key(std::uint32_t interface_index, const wire::IpAddress& group);
void note_filter_change(ShardState& s, std::uint32_t interface_index);
void on_group_change(ShardState& s, const message::GroupChange& change);
/// Every shard, with a new Network: the solicited-node groups of our addresses, and all routers where we are one (RFC 4291
/// sections 2.7.1 and 2.8).
void listen_for_ourselves(ShardState& s);
/// Whether we have that anycast address (RFC 4291 section 2.6) beside those of the interfaces: a program joined it, or we are a router of
/// its subnet; on that interface or, of one that is no link's own and not `on_link`, on any.
bool is_anycast(const ShardState& s, std::uint32_t interface_index, const wire::Ipv6Address& address, bool on_link);
/// Whether anybody here listens to that source of the group on the interface.
bool hears_group(const ShardState& s, std::uint32_t interface_index, const wire::IpAddress& group, const wire::IpAddress& source);
/// The same for one socket; `any`: it takes what others have joined, too (IP_MULTICAST_ALL, IPV6_MULTICAST_ALL).
bool socket_hears_group(const ShardState& s, std::uint32_t shard, SocketId id, bool any, std::uint32_t interface_index,
                        const wire::IpAddress& group, const wire::IpAddress& source);
/// What the interface's device has to let through, sorted.
std::vector<wire::MacAddress> multicast_filter(const ShardState& s, std::uint32_t interface_index);
/// A copy of a packet (from its IP header on) for this stack itself, as if it had come by `out`.
void loop_back(ShardState& s, const iface::Interface& out, const packet::Packet& packet);

// ---- group_options.cpp: what programs ask for
void leave_all_groups(ShardState& s, Socket& k);
/// nullopt: the option is no group's, and no anycast address's. Errors: ip(7), ipv6(7).
std::optional<Errno> set_group_option(ShardState& s, Socket& k, int level, int name, Bytes value, bool privileged);
/// The same; `given`: what the caller's buffer held, which says the group that is asked for.
std::optional<socket::Result<std::string>> get_group_option(const ShardState& s, const Socket& k, int level, int name, std::size_t room,
                                                            Bytes given);

// ---- group_reports.cpp: what is heard of queriers, and said to routers; shard 0
void rx_igmp(ShardState& s, const Arrival& at, packet::PacketPtr packet);
/// An ICMPv6 message of listener discovery, its checksum right.
void rx_mld(ShardState& s, const Arrival& at, const packet::Packet& message);
void send_reports(ShardState& s, const std::vector<group::Message>& messages);
void run_memberships(ShardState& s);
/// With a new Network: what has come up is told of its groups again.
void update_memberships(ShardState& s, const Network& old);

// ---- datagram_errors.cpp: ICMP errors for the sockets of datagrams.cpp, and errors of our own
/// `quoted` as in on_icmp_error(); for UDP, UDP-Lite and every raw socket of that protocol.
void report_datagram_error(ShardState& s, const icmp::ErrorAbout& about, const Arrival* at, packet::PacketPtr quoted);
void on_port_error(ShardState& s, message::PortError&& error);
/// An entry of deliver() with `error`, on its socket's shard.
void deliver_error(ShardState& s, Datagram&& report);
/// A datagram that must not be cut is larger than `mtu`, less the `extra` bytes of its extension headers: says so to the error queue, if
/// there is one, and to who asked for it with IPV6_RECVPATHMTU. Answers msgsize.
Errno too_big_for(ShardState& s, const Socket& k, const DatagramRequest& request, const wire::Endpoint& destination, std::uint32_t mtu,
                  std::uint32_t extra);
/// The socket that hears of what happens to datagrams between these two; null: none.
const PortMember* find_member(const ShardState& s, socket::SocketKind kind, const wire::Endpoint& local, const wire::Endpoint& remote,
                              std::uint32_t interface_index);
/// Of all that may have sent from `local` to `remote`: a bit for each shard.
std::uint64_t shards_of_members(const ShardState& s, socket::SocketKind kind, const wire::Endpoint& local, const wire::Endpoint& remote,
                                std::uint32_t interface_index);

/// The options of a packet of IPv4; with IPv6 there are none.
inline Bytes ipv4_options(const wire::IpHeader& header) {
  const Bytes bytes = header.bytes.span();
  return header.dst.is_v6() || bytes.size() <= wire::Ipv4View::kMinHeaderLen ? Bytes{} : bytes.subspan(wire::Ipv4View::kMinHeaderLen);
}

/// RFC 791 section 3.1: for what is entered into options.
inline ipv4::StampClock stamp_clock(const ShardState& s) { return {s.now, s.stack.config().ms_of_day}; }

// ---- tx.cpp: a packet's way out
struct Outgoing {
  wire::IpAddress source, destination;
  wire::IpProtocol protocol{};
  std::uint8_t ttl = 0;  ///< 0: net.inet.ip.ttl, or the interface's hop limit
  std::uint8_t tos = 0;
  bool dont_fragment = false;
  bool answers = false;       ///< An answer of ours that no program asked for: what is said of those counts, too
  bool own_path_mtu = false;  ///< Whoever sends keeps the path's MTU himself: the link's alone counts here
  bool dont_route = false;
  bool multicast_loop = true;  ///< IP_MULTICAST_LOOP
  bool stay_here = false;      ///< a TTL of 0: a group that only this host hears
  std::uint8_t fib = 0;
  std::uint32_t interface_index = 0;  ///< 0: by route
  std::uint16_t txq = 0;
  std::uint32_t flow_label = 0;       ///< IPv6: 20 bits (RFC 6437)
  std::uint32_t largest = 0;          ///< IPV6_MTU: larger packets are cut; 0: as the path has it
  const wire::Ipv4OptionBytes* options = nullptr;  ///< of IPv4, as a program gives them; null: none

  /// Where the packet goes first.
  wire::IpAddress towards() const {
    return options != nullptr && destination.is_v4() ? wire::IpAddress{ipv4::first_hop(*options, destination.v4())} : destination;
  }
  wire::Ipv6Extensions extensions{};  ///< Whoever asks for them keeps the bytes. With a routing header `destination` is the first station

  /// Bytes of options in the IPv4 header, and of extension headers.
  std::uint32_t extra_len() const {
    const std::uint32_t options_len = options != nullptr && destination.is_v4() ? options->len : 0;
    return options_len + static_cast<std::uint32_t>(extensions.bytes.size());
  }
  /// Bytes before the transport's header.
  std::uint32_t network_len() const { return (destination.is_v4() ? 20 : 40) + extra_len(); }
  /// Whom it is for: what checksums cover (RFC 8200 section 8.1).
  wire::IpAddress final_destination() const {
    return extensions.last_segment ? wire::IpAddress{*extensions.last_segment, destination.zone()} : destination;
  }
  /// Puts the headers in, and the first station in the place of the destination.
  void extend(const wire::Ipv6Extensions& headers);
};
/// Whether all on a link would hear what goes out like that, at its end or at its first station.
bool is_broadcast(const ShardState& s, const Outgoing& how);
/// A TCP segment's way, with the IP options and extension headers that the program set; null: none. It borrows from `options`.
Outgoing way_of(const FlowKey& flow, const socket::SocketOptions* options);
struct Path {
  const iface::Interface* out = nullptr;
  wire::IpAddress next_hop;
  std::uint32_t mtu = 0;
  std::uint32_t link_mtu = 0;  ///< Without what routers said about the path
  bool local = false;  ///< the destination is one of our own addresses
  const route::Route* route = nullptr;  ///< that was chosen; null: none was needed. Lives as long as the network.
};
/// Where a packet to `destination` goes. Errors: netunreach, hostunreach, netdown.
socket::Result<Path> find_path(const ShardState& s, const wire::IpAddress& destination, std::uint8_t fib,
                               std::uint32_t interface_index, bool dont_route);
/// Where a group is spoken to without an interface said: by its route, or by one that has a link with others on it. nullptr: none.
const iface::Interface* multicast_interface(const ShardState& s, const wire::IpAddress& group, std::uint8_t fib);
/// The same as find_path() for a packet that goes out like that, with the MTU that counts for it.
socket::Result<Path> find_path(const ShardState& s, const Outgoing& how);

// ---- path_mtus.cpp: what routers say of the MTU of paths
/// 0: nothing, or nobody wants to know.
std::uint32_t known_path_mtu(const ShardState& s, const wire::IpAddress& destination, std::uint8_t fib);
/// What another shard learned. False: it was known.
bool take_path_mtu(ShardState& s, const message::PathMtu& news);
/// For all shards. Whoever calls knows that the packet that the router quoted is ours.
void learn_path_mtu(ShardState& s, const wire::IpAddress& destination, std::uint8_t fib, std::uint32_t mtu);
/// A datagram of `length` bytes with all headers leaves like that: routers may say that it was too long.
void note_long_datagram(ShardState& s, const Socket& k, const Outgoing& how, const Path& path, std::size_t length);
/// Learns it, if this shard or one of those that it names has sent such a datagram. `claim.shards` names no more than there are.
void claim_path_mtu(ShardState& s, message::PathMtuClaim claim);

/// `prefer_temporary`: what the program wants of RFC 8981's addresses; nullopt: as net.inet6.ip6.prefer_tempaddr says.
socket::Result<wire::IpAddress> choose_source(const ShardState& s, const wire::IpAddress& destination, std::uint8_t fib,
                                              std::uint32_t interface_index, std::optional<bool> prefer_temporary = std::nullopt);
/// RFC 1122 section 3.2.1.3 (g), RFC 4291 section 2.5.3: what comes from a loopback address goes to no other host.
bool may_leave(const wire::IpAddress& source, const Path& path);
/// Puts the IP header in front of a transport's. Errors: ip_too_big, no_buffer.
Expected<void, packet::Drop> put_ip_header(ShardState& s, packet::Packet& payload, const Outgoing& how, const wire::IpAddress& source,
                                           const Path& path);
/// Puts the IP header in front and sends; a packet larger than the MTU is fragmented, or answers msgsize.
Errno tx_ip(ShardState& s, packet::PacketPtr payload, const Outgoing& how);
/// Datagrams of one UDP_SEGMENT call that stay inside this stack.
Errno tx_local_segments(ShardState& s, packet::PacketPtr packet, const Outgoing& how);
/// What goes to a group that is joined here, or to all on a link, this stack hears as well.
void loop_if_many(ShardState& s, const packet::Packet& packet, const Outgoing& how, const Path& path);
/// A packet that begins with its IP header.
Errno tx_packet(ShardState& s, packet::PacketPtr packet, const Path& path);
void tx_link(ShardState& s, const iface::Interface& out, packet::PacketPtr packet, const wire::MacAddress& to,
             wire::EtherType type);
void enqueue_frame(ShardState& s, const iface::Interface& out, packet::PacketPtr frame);
void apply_neighbour_actions(ShardState& s, const neigh::Actions& actions);
void apply_neighbour_action(ShardState& s, const neigh::Action& action);
/// Shard 0, with a new Network: the times of neighbours are the interfaces'; nobody is behind one that is gone; one that went down has
/// to be asked anew.
void follow_interfaces(ShardState& s, const Network& old);
/// The next hop of a packet that is dropped does not answer: tells its sender, a program of ours or (of one that came in and was to go
/// on) a station. It begins with its IP header, and may lose it.
void on_unresolved(ShardState& s, packet::Packet& packet, std::uint32_t interface_index);

// ---- discovery.cpp: IPv6 neighbour discovery, on shard 0
void rx_discovery(ShardState& s, const Arrival& at, const packet::Packet& message);
void run_discovery(ShardState& s);
/// `to`: the MAC address to use; zero: the group's, or the neighbour's as the cache says.
void send_discovery(ShardState& s, const ipv6::DiscoveryMessage& message, const wire::MacAddress& to = {});
/// The IPv6 header of an ICMPv6 message or any other transport, its ICMPv6 checksum filled in; with the extension headers between
/// them. The error: as add_header()'s.
Expected<void, packet::Drop> put_ipv6_header(ShardState& s, packet::Packet& payload, wire::Ipv6Header header,
                                             const wire::Ipv6Extensions* extensions = nullptr);

// ---- claims.cpp: whose an IPv4 address is, on shard 0
void run_claims(ShardState& s);
void carry_out(ShardState& s, const ipv4::AddressClaims::Outcome& outcome);

// ---- inbox.cpp: other shards
void send_to(ShardState& s, std::uint32_t shard, Message&& message);
void send_to_all_others(ShardState& s, const std::function<Message()>& make);
bool poll_inbox(ShardState& s);

// ---- requests.cpp
/// Where a connection or datagram of the socket really goes: the unspecified address means this host, and an address of a link
/// (RFC 4007) is the one on the interface that it names, or the socket is bound to. Errors: netunreach (the socket does not speak
/// that family), afnosupport (IPv6 from a socket bound to IPv4), inval (no interface, or another than the socket's).
socket::Result<wire::Endpoint> destination_of(const Socket& k, wire::Endpoint to);
void stop_listening(ShardState& s, Socket& k);
/// The ports of the socket's protocol.
socket::PortTable& ports_of(ShardState& s, const Socket& k);

// ---- shard.cpp
void adopt_network(ShardState& s, NetworkPtr network);
void rx_looped(ShardState& s, packet::PacketPtr packet);
Socket* make_socket(ShardState& s);
void destroy_socket(ShardState& s, Socket& k);
void raise(ShardState& s, Socket& k, std::uint32_t what, Errno error = Errno::ok);
Errno errno_of(tcp::Failure failure);

}  // namespace iopkt::stack
