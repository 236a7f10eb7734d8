// One shard: a whole TCP/IP stack for the flows that hash to it, driven from outside by one thread.
//
// Nothing in here blocks, sleeps or reads a clock. A turn of whoever drives it:
//   begin(now) -> poll_inbox() -> progress()/requests for clients -> receive() per interface -> run_timers()
//   -> finish(): loopback is delivered, output is made -> take_transmit() per interface -> take_events(), take_accepts(),
//   take_datagrams() -> sleep until next_deadline() or until something arrives.
// Memory of a socket's rings may be taken back only after its `released` event was taken.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/time.hpp"
#include "group/table.hpp"
#include "ipv6/discovery.hpp"
#include "neigh/neighbours.hpp"
#include "packet/drops.hpp"
#include "packet/packet.hpp"
#include "stack/config.hpp"
#include "stack/events.hpp"
#include "stack/network.hpp"
#include "stack/requests.hpp"

namespace iopkt::stack {

class Stack;
struct ShardState;  // the tables; src/stack/state.hpp

/// Counters of one shard, all layers; live cells, readable from any thread.
struct ShardCounters;

class Shard {
 public:
  Shard(Stack& stack, std::uint32_t number, RingSource& rings);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  std::uint32_t number() const;
  packet::Cache& cache();

  // ---- a turn
  void begin(Instant now);
  /// That of the last begin().
  Instant time() const;
  /// Takes what other shards sent. True: there was something.
  bool poll_inbox();
  /// Frames of one interface, link header first.
  void receive(std::uint32_t interface_index, packet::Burst&& burst);
  void run_timers();
  /// Delivers loopback and makes output, as much as one turn may (has_work(): there is more). Always the last before events are taken.
  void finish();

  /// Interfaces that have something to send since the last finish().
  std::span<const std::uint32_t> transmit_pending() const;
  /// What is to be sent on the interface; what the device does not take is given back to untransmitted().
  packet::Burst take_transmit(std::uint32_t interface_index);
  /// The device had no room: packets stay in order in front of the queue, bounded; the excess is dropped and counted.
  void untransmitted(std::uint32_t interface_index, packet::Burst&& rest);

  std::vector<SocketEvent> take_events();
  std::vector<AcceptEvent> take_accepts();
  std::vector<Datagram> take_datagrams();
  /// Shard 0: interfaces whose multicast_filter() has changed since the last call; one may be named twice.
  std::vector<std::uint32_t> take_filter_changes();
  /// The group addresses that the interface's device has to let through: sorted, each once.
  std::vector<wire::MacAddress> multicast_filter(std::uint32_t interface_index) const;
  /// Peers whose credit for SYNs has changed in this turn: who has some should not wait behind those who have not.
  std::vector<CreditNews> take_credit_news();
  /// Since the last call this shard has learned that a path takes less: what check_destination() said of lengths may no longer hold.
  bool take_path_narrowed();
  /// Other shards that were sent something and may sleep: bit n is shard n. Cleared by the call.
  std::uint64_t take_wakeups();

  /// Never earlier than the last begin(); Instant::never() when only input can change anything.
  Instant next_deadline() const;
  /// Something is to be done at once: another turn before sleeping.
  bool has_work() const;
  /// Devices have still to take something, or to have room for more of it.
  bool output_waits() const;

  /// How many SYNs of strangers would be answered in this turn beside those that wait: more may be left where they are. RFC 4987.
  std::size_t openings_wanted() const;
  /// When it is worth asking again; not later than that of the last begin(): now.
  Instant openings_due() const;

  // ---- requests; the id is this shard's
  socket::Result<SocketId> open(const OpenRequest& request);
  /// Gives (or, on an unconnected stream socket, replaces) the rings.
  Errno set_rings(SocketId id, socket::RingMemory send, socket::RingMemory receive);
  /// The queued bytes now lie in other memory, at their positions. Not while packets borrow the old one (between receive() and
  /// finish()). Errors: badf, inval (more is queued than fits).
  Errno move_send_ring(SocketId id, socket::RingMemory memory);
  /// The same for the receive ring. What the program has not read is the caller's to copy; what came out of order is copied here.
  /// The window grows with it. Errors: badf, inval (smaller than before).
  Errno move_receive_ring(SocketId id, socket::RingMemory memory);
  /// What event::space_wanted is about: TCP buffers that the program did not choose grow with the path and with the program's
  /// pace, up to net.inet.tcp.sendspace_max and recvspace_max.
  RingSizes wanted_rings(SocketId id) const;
  /// `privileged`: the caller may bind low ports.
  Errno bind(SocketId id, const wire::Endpoint& local, bool privileged = false);
  /// Gives a datagram socket without a port the one that its first datagram would take. Errors: badf, addrinuse (none is free).
  Errno choose_port(SocketId id);
  /// TCP: Errno::inprogress, and later `connected` or `failed`; with `fast_open` (MSG_FASTOPEN, as TCP_FASTOPEN_CONNECT) and a known
  /// cookie Errno::ok: the SYN waits for the first progress(), and what the ring has then goes with it, unless no `data_follows`.
  /// Datagrams: done at once. A remote address of family "unspecified" is disconnect().
  Errno connect(SocketId id, const wire::Endpoint& remote, bool fast_open = false, bool data_follows = true);
  /// Such a SYN waits no longer. False: there was none.
  bool release_syn(SocketId id);
  Errno disconnect(SocketId id);
  Errno listen(SocketId id, std::uint32_t backlog);
  Errno shutdown(SocketId id, int how);
  /// The program's last descriptor is gone. The id lives until `released`: TCP sends what is in the ring first.
  void close(SocketId id);
  /// accept(2) took (or gave up) one connection of the listener with this cookie.
  void accepted(SocketId child);
  /// The program can accept `child` without asking again, and may have done so already: if its listener ends, whoever offered it
  /// finds out, and says accepted() or closes it.
  void offered(SocketId child);

  /// The client moved: `send_tail` of its send ring, `receive_head` of its receive ring. False: impossible positions, the
  /// socket is broken and has been reset.
  bool progress(SocketId id, std::uint64_t send_tail, std::uint64_t receive_head);
  /// One datagram, its payload in two spans, borrowed for the call.
  Errno send(SocketId id, const DatagramRequest& request, Bytes first, Bytes second);
  /// What send() of a datagram of `length` bytes to `destination` would answer for want of a way, of a right to it, or of room in one
  /// packet where it must not be cut; `quiet`: without an entry in the error queue for the last. `segment`: UDP_SEGMENT.
  Errno check_destination(SocketId id, const wire::Endpoint& destination, std::size_t length = 0, bool quiet = false,
                          std::uint32_t segment = 0);

  Errno set_option(SocketId id, int level, int name, Bytes value, bool privileged);
  /// IPV6_FLOWLABEL_MGR, for that process. Answers the label that was got, 0: none. Errors: noprotoopt (no socket of IPv6), and
  /// FlowLabels::change()'s.
  socket::Result<std::uint32_t> manage_flow_label(SocketId id, Bytes request, std::uint32_t process, bool privileged);
  /// What sin6_flowinfo of connect() says counts from now on, where IPV6_FLOWINFO_SEND is set; it is in host order. Errors: inval (the
  /// label is not this socket's).
  Errno use_flow_info(SocketId id, std::uint32_t flow_info);
  /// Whether the socket may send with that label. Errors: inval.
  Errno check_flow_label(SocketId id, std::uint32_t label) const;
  /// TCP_INFO and the like are answered here too. `room`: the caller's buffer, bytes; `given`: what it holds, for the options that
  /// read it first (IP_MSFILTER, MCAST_MSFILTER, TCP_AO_GET_KEYS).
  socket::Result<std::string> get_option(SocketId id, int level, int name, std::size_t room, Bytes given = {}) const;
  wire::Endpoint local_endpoint(SocketId id) const;
  wire::Endpoint remote_endpoint(SocketId id) const;  ///< unspecified port 0: not connected
  std::uint64_t receive_tail(SocketId id) const;      ///< how far the receive ring may be read
  std::uint32_t receive_beyond(SocketId id) const;    ///< bytes that lie in the ring behind it, out of order
  std::uint64_t send_head(SocketId id) const;         ///< how far the send ring may be reused
  /// TCP_NOTSENT_LOWAT: how far the send ring should be filled, and the option's bytes. It moves with `writable` events.
  struct SendLimit {
    std::uint64_t position = 0;
    std::uint32_t low_water = 0;  ///< 0: there is no limit
  };
  SendLimit send_limit(SocketId id) const;
  /// MSG_OOB: the byte before `position` is urgent; at most the send tail of the last progress(). To be called before the turn
  /// ends, so that none of the bytes is sent without it.
  void mark_urgent(SocketId id, std::uint64_t position);
  /// MSG_MORE: more bytes follow `position` at once; at most the send tail of the last progress(). Before the turn ends, too.
  void more_follows(SocketId id, std::uint64_t position);
  /// The newest urgent byte that the client, as far as it has told, has not read past; nullopt: none.
  std::optional<UrgentMark> urgent_mark(SocketId id) const;

  // ---- what operators see; any turn of this shard's thread
  /// The neighbour cache; shard 0 only, which tells the others. Sorted by key.
  std::vector<neigh::Entry> list_neighbours() const;
  /// Who listens to which group where.
  std::vector<group::Table::Row> list_groups() const;
  /// arp -s. Errors: nobufs (the table is full of permanent entries).
  Errno set_neighbour(const neigh::Key& key, const wire::MacAddress& mac, neigh::Neighbours::StaticOptions options);
  /// arp -d. Errors: nxio (no such entry).
  Errno erase_neighbour(const neigh::Key& key);
  /// Routers, prefixes and name servers that were advertised; shard 0 only. Empty without IPv6.
  ipv6::DiscoveryState discovery_state() const;
  /// rtsol: asks for routers anew. Errors: nxio (no such interface, or it is down), opnotsupp (no IPv6, or advertisements are not
  /// taken: net.inet6.ip6.accept_rtadv, net.inet6.ip6.forwarding).
  Errno solicit_routers(std::uint32_t interface_index);
  /// ndp -P, -R: forgets what was advertised. Answers how many prefixes or routers there were.
  std::size_t forget_advertised(ipv6::Discovery::What what);
  void list_sockets(std::vector<SocketSummary>& out) const;
  std::size_t socket_count() const;
  void count_drop(packet::Drop reason);
  const ShardCounters& counters() const;

  /// How much this shard has sent to each other one so far.
  using Publication = std::vector<std::uint64_t>;
  Publication publication() const;
  /// True once all of it was taken: an answer that promises a change on all shards (bind, listen, a group) is held back until then.
  bool published(const Publication& told) const;

  ShardState& state() { return *state_; }

 private:
  std::unique_ptr<ShardState> state_;
};

}  // namespace iopkt::stack
