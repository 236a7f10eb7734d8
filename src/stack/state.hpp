// What a shard holds. Only the files of this folder see it.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/hash_map.hpp"
#include "base/random.hpp"
#include "base/timer_wheel.hpp"
#include "filter/hooks.hpp"
#include "group/machine.hpp"
#include "group/table.hpp"
#include "icmp/error.hpp"
#include "ipv4/claims.hpp"
#include "ipv4/output.hpp"
#include "ipv4/reassembly.hpp"
#include "ipv4/redirects.hpp"
#include "ipv6/inet6.hpp"
#include "neigh/pending.hpp"
#include "route/path_mtu.hpp"
#include "socket/options.hpp"
#include "stack/counters.hpp"
#include "stack/message.hpp"
#include "stack/openings.hpp"
#include "stack/shard.hpp"
#include "stack/spsc.hpp"
#include "stack/stack.hpp"
#include "stack/time_wait_table.hpp"
#include "tcp/auth.hpp"
#include "tcp/connection.hpp"
#include "tcp/fast_open.hpp"
#include "tcp/listen.hpp"

namespace iopkt::stack {

struct Timed : TimerNode {
  enum class Kind : std::uint8_t { connection, half_open };
  explicit Timed(Kind k) : kind(k) {}
  Kind kind;
};

enum class SocketState : std::uint8_t { fresh, bound, listening, open, failed };

/// A group that a socket has joined.
struct Membership {
  group::Key key;
  wire::IpAddress by_address;  ///< how the program named the interface; unspecified: by its index, or not
  group::Filter filter;
};

/// What a user's sockets hold: memberships, and these and the sources of their filters together.
struct GroupsHeld {
  std::uint32_t memberships = 0, parts = 0;
};

/// Of a connection with keys: TCP_AO_INFO's counters, and the keys that were derived.
struct AuthState {
  std::uint64_t good = 0, bad = 0, key_not_found = 0, required = 0, dropped_icmp = 0;
  tcp::TrafficKeys derived;
};

/// A socket of any kind. Owned by the slab of its shard.
struct Socket : Timed {
  explicit Socket(SocketId number) : Timed(Kind::connection), id(number) {}

  std::uint8_t fib = 0;
  SocketId id;
  Cookie cookie = 0;
  socket::SocketKind kind = socket::SocketKind::tcp;
  SocketState state = SocketState::fresh;
  std::uint8_t protocol = 0;
  bool client_gone = false;     ///< close() was called: no more events but `released`
  bool dirty : 1 = false;           ///< in the list of connections that may have output
  bool waits_for_turn : 1 = false;  ///< in the list of those whose output has to wait for the next turn
  bool event_queued = false;
  bool shut_read = false, shut_write = false;
  bool accept_waiting = false;  ///< a child that its listener's program has not taken yet
  bool offered = false;         ///< ... but can take by itself: the end of its listener is not its end
  bool in_flows = false;        ///< flow() is an entry of the flow table
  std::uint8_t foreign_flow_shard = TimeWaitTable::kNoShard;  ///< where an exception for our flow was registered
  wire::IpFamily family = wire::IpFamily::v4;
  std::uint32_t user = 0;
  std::uint32_t pending_events = 0;
  Errno pending_error = Errno::ok;
  std::uint32_t bound_interface = 0;
  wire::Endpoint local, remote;
  socket::SharedOptions options;
  socket::BindingPtr binding;
  ListenerPtr listener;              ///< its own when listening; its parent's while accept_waiting
  ListenerPtr fast_open_parent;      ///< Fast Open: whose pending requests this one counts among
  socket::SendRing send;
  socket::ReceiveRing receive;
  std::unique_ptr<tcp::Connection> tcp;
  std::unique_ptr<AuthState> auth;   ///< null: all are 0
  Box<socket::FlowLabels::Held> flow_labels;  ///< IPV6_FLOWLABEL_MGR
  /// Of datagrams mostly.
  struct Seldom {
    std::optional<wire::IpAddress> bound_address;  ///< that bind() was given, if not any of the family's: what disconnect() leaves
    bool port_chosen = false;      ///< by the program itself
    std::vector<Membership> memberships;
  };
  Box<Seldom> seldom;
  /// What who has the rings was told of a busy connection.
  struct Told {
    RingSizes wanted;              ///< of the rings, in bytes; 0: as they are
    Instant space_asked{};         ///< when that was last announced
    std::uint64_t sent_shown = 0;  ///< TCP_NOTSENT_LOWAT: the sent position that the last event told of
  };
  Box<Told> told;

  FlowKey flow() const { return {local, remote}; }
  const socket::FlowLabels::Held& leased_labels() const {
    static const socket::FlowLabels::Held none;
    return flow_labels ? *flow_labels : none;
  }
  std::vector<Membership>& memberships() { return seldom.make().memberships; }
  const std::vector<Membership>& memberships() const {
    static const std::vector<Membership> none;
    return seldom ? seldom->memberships : none;
  }
};
static_assert(sizeof(Socket) <= 264);

struct HalfOpenEntry : Timed {
  HalfOpenEntry() : Timed(Kind::half_open) {}
  FlowKey flow;
  std::uint32_t interface_index = 0;
  std::int16_t ao_current = -1;  ///< TCP-AO: SendID of the key that the peer's SYN asked for
  tcp::HalfOpen half;
  ListenerPtr listener;
  socket::SharedOptions options;  ///< the listener's when the SYN came
  std::list<HalfOpenEntry*>::iterator age;               ///< its place in half_open_order
};

/// Who is in the flow table knows which flow it is.
inline FlowKey flow_of(const Timed* entry) {
  return entry->kind == Timed::Kind::half_open ? static_cast<const HalfOpenEntry*>(entry)->flow : static_cast<const Socket*>(entry)->flow();
}

struct ShardState {
  ShardState(Stack& owner, std::uint32_t shard_number, RingSource& rings);
  ~ShardState();

  Stack& stack;
  const std::uint32_t number;
  RingSource& ring_source;
  packet::Cache cache;
  NetworkPtr network;
  Instant now{};
  Random random;
  ShardCounters counters;
  TimerWheel wheel;
  filter::FilterChain filters;
  Settings settings;  ///< a copy of network->settings: the layers keep references to it
  tcp::Context tcp_context;

  // ---- sockets
  std::vector<std::unique_ptr<Socket>> slab;      // by place; null: free
  std::vector<std::uint32_t> generations;         // of the place's next use, 1..
  std::vector<std::uint32_t> free_places;
  FlatMap<FlowKey, Timed*, FlowKeyHash, KeyInside<FlowKey, Timed*, flow_of>> flows;  // connections and half-open ones
  TimeWaitTable time_waits;                        // no flow is in both
  FlatMap<FlowKey, std::uint32_t, FlowKeyHash> foreign_flows;
  std::list<HalfOpenEntry*> half_open_order;       // oldest first
  Openings openings;                               // SYNs that wait for their turn
  Instant cookies_until{};                         // an ACK to a listener may be a cookie until then
  std::unordered_map<std::uint16_t, std::vector<ListenerPtr>> listeners;
  std::unordered_map<std::uint32_t, std::vector<PortMember>> udp_members;  // by port_key(), of ports that hash to this shard
  std::vector<RawMember> raw_members;              // shard 0
  std::vector<SocketId> dirty;                     // may have output
  std::deque<SocketId> waiting_output;             // have some, for which there was no room in their turn
  std::vector<SocketId> without_output;            // ... in the last one, and had none: the next one's first
  std::size_t frames_left = 0;                     // of this turn
  std::vector<SocketId> event_order;
  std::vector<SocketEvent> events;
  std::vector<AcceptEvent> accepts;
  std::vector<Datagram> datagrams;
  std::array<socket::SharedOptions, 8> recent_options;  // that sockets came to have last: others that come to the same share them
  std::size_t next_recent = 0;
  std::uint64_t bind_order = 0;
  std::uint64_t raw_protocols[4] = {};             // shard 0 tells all which protocols have raw sockets

  // ---- groups
  group::Table groups;                             // of all shards' sockets, the same on each
  std::unique_ptr<group::Machine> memberships;     // shard 0 only
  std::vector<std::pair<wire::IpAddress, std::uint32_t>> anycasts;  // sorted: of that table, addresses that are no groups', and whose
  std::vector<group::Key> own_groups;              // sorted: of the table, what the stack listens to itself
  std::unordered_map<std::uint32_t, GroupsHeld> groups_held;  // by user: of this shard's sockets
  std::vector<std::uint32_t> filter_changes;       // shard 0: interfaces whose device is to hear other groups

  // ---- packets
  std::unique_ptr<neigh::Neighbours> neighbours;   // shard 0 only
  neigh::NeighbourReplica replica;
  neigh::PendingPackets pending;
  ipv4::Reassembly reassembly;
  ipv4::IdSource identifiers;
  const ipv6::Inet6* inet6;                        // null: IPv4 alone
  std::unique_ptr<ipv6::Discovery> discovery;      // shard 0 only, with inet6
  std::unique_ptr<ipv4::AddressClaims> claims;     // shard 0 only
  std::unique_ptr<ipv4::Redirects> redirects;      // shard 0 only
  route::PathMtus path_mtus;                       // the same on each shard
  bool path_narrowed = false;                      // since take_path_narrowed()
  route::PathMtus answer_mtus;                     // shard 0: of answers to echo requests, and for those alone; nobody can say whether it is true
  route::LongSent long_sent;                       // of this shard's sockets
  tcp::FastOpenCache fast_open;                    // the same on each shard
  std::uint64_t fragments_made = 0;                // of IPv6: what their identifications are hashed from
  icmp::RateLimit icmp_limit;
  icmp::RedirectLimit redirect_limit;
  std::deque<packet::PacketPtr> looped;            // to ourselves; each begins with its IP header
  struct TransmitQueue {
    packet::Burst burst;
    bool listed = false;
  };
  std::vector<TransmitQueue> transmit;             // by interface index
  std::vector<std::uint32_t> transmit_order;

  // ---- other shards: one queue to each, and what found no room
  std::vector<std::unique_ptr<SpscQueue<Message>>> outbox;
  std::vector<std::deque<Message>> overflow;
  std::vector<SpscQueue<Message>*> inbox;
  std::uint64_t wakeups = 0;
  std::uint64_t sent_to_others = 0;

  const iface::Interface* interface(std::uint32_t index) const { return network->interfaces.by_index(index); }
  Socket* find(SocketId id);
  const Socket* find(SocketId id) const { return const_cast<ShardState*>(this)->find(id); }
  HashKey key() const { return stack.config().key; }
  void drop(packet::Drop reason) { counters.drops.count(reason); }
};

inline constexpr std::uint32_t kLoopbackIndex = 1;        ///< lo0 exists from the start
inline constexpr std::size_t kShardQueue = 1024;          ///< messages between two shards; more packets are dropped
inline constexpr std::size_t kTransmitQueueMax = 2048;    ///< packets that wait for one device
/// ... when this one is a segment without text: resets, and last acknowledgments, of very many connections that end together are not
/// held back, for a port is free when close() returns, and are not sent again.
inline constexpr std::size_t kTransmitTextlessMax = 16384;
inline constexpr std::uint32_t kLoopBudget = 8192;        ///< loopback packets in one turn
/// Frames that connections give to devices in one turn, less what still waits for one of them: whoever has more is first in a later
/// turn, behind what arrives meanwhile. Else the segments of very many that begin or time out together would find kTransmitQueueMax
/// full, again and again.
inline constexpr std::size_t kFramesOfTurn = kTransmitQueueMax / 2;
inline constexpr std::size_t kFramesLeast = 64;           ///< where one device holds up a turn, and another could go on
inline constexpr std::size_t kTimersOfTurn = 256;         ///< the other ones that are due are the next turn's first

}  // namespace iopkt::stack
