// Whole stacks in one thread and in virtual time: hosts on a bad wire. Time moves only when nothing is left to do, every
// fault comes from the seed, and the same seed gives the same trace.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/log.hpp"
#include "base/random.hpp"
#include "base/time.hpp"
#include "stack/counters.hpp"
#include "stack/stack.hpp"
#include "tests/support/link.hpp"

namespace iopkt::sim {

/// What a wire does to the frames of each of its hosts.
using Impairment = LinkConfig;

class SimNet;

/// One stack with N shards and one interface "en0" per wire.
class Host final : public LogSink {
 public:
  struct Stream;  // a TCP socket's program side
  struct Options {
    std::uint32_t shards = 1;
    std::uint32_t mtu = 1500;
    std::uint32_t capabilities = 0;  ///< IOPKT_CAP_*: offloads of the interface; the wire then carries large frames
    std::uint32_t ring = 65536;
    bool ipv6 = false;       ///< With src/ipv6; the interface finds its link-local address by itself
    std::string prefix6;     ///< An address to begin with, taken without asking: "2001:db8::1/64"
    bool grow = false;  ///< rings become larger when the stack asks for it, as the daemon's do
    std::function<void(stack::StackConfig&)> adjust;
  };

  Host(SimNet& net, std::string name, const std::string& prefix, const Options& options);
  ~Host() override;

  // ---- a program, in short
  /// Connects from a socket of `shard`; the result is owned by the host.
  Stream& connect(const wire::Endpoint& to, std::uint32_t shard = 0);
  /// The same in two steps, so that the socket can be bound first.
  Stream& stream(std::uint32_t shard = 0, wire::IpFamily family = wire::IpFamily::v4);
  void connect(Stream& stream, const wire::Endpoint& to);
  /// Ends those that were released; the others' turns get no longer with each that was.
  void forget_released();
  /// False: connections wait in their listener's queue until accept_waiting().
  bool accept_at_once = true;
  void accept_waiting();
  /// Frames that the devices take in one turn of the host; what they leave waits in the stack.
  std::size_t device_room = SIZE_MAX;
  std::vector<stack::CreditNews> credit_news;  ///< all that was told
  /// Listens; `on_accept` is called for each connection.
  stack::SocketId listen(wire::Port port, std::function<void(Stream&)> on_accept, std::uint32_t backlog = 16,
                         std::uint32_t shard = 0);
  struct UdpSocket {
    stack::SocketId id;
    std::uint32_t shard;
    std::vector<std::pair<wire::Endpoint, std::vector<std::byte>>> received;
    std::vector<socket::Errno> errors;
    std::vector<std::pair<stack::ErrorInfo, std::vector<std::byte>>> reported;  ///< of its error queue
    std::vector<std::vector<std::byte>> extensions;  ///< the same: what stood before it
    std::vector<std::uint32_t> flow_infos;
    std::vector<std::uint16_t> segments;  ///< of each of `received`: UDP_GRO's size
  };
  UdpSocket& udp(const wire::Endpoint& local, std::uint32_t shard = 0);
  socket::Errno send(UdpSocket& from, const wire::Endpoint& to, Bytes payload, std::uint16_t segment = 0);

  wire::Ipv4Address address() const { return address_; }
  /// The link-local address, with its zone; unspecified as long as there is none.
  wire::IpAddress link_local() const;
  std::uint32_t interface_index() const { return interface_index_; }
  stack::Stack& stack() { return *stack_; }
  stack::Shard& shard(std::uint32_t n) { return stack_->shard(n); }
  const std::string& name() const { return name_; }
  std::uint64_t drops(packet::Drop reason) const;
  std::uint64_t drops() const;
  tcp::Counters<std::uint64_t> tcp_counters() const;
  /// Packets that somebody holds; 0 at rest.
  std::uint64_t packets_held() const;
  std::size_t sockets() const;
  /// With !accept_at_once: connections that nobody took yet, each with its shard.
  const std::vector<std::pair<std::uint32_t, stack::AcceptEvent>>& waiting() const { return waiting_; }
  /// Another interface, "en1" …, on a wire of its own (SimNet::wire_interfaces); with an address of each family, "" for none, that is
  /// taken without asking. Its index.
  std::uint32_t add_interface(const std::string& prefix, const std::string& prefix6 = "");
  /// Gives a frame to the interface, as the wire does. 0: en0.
  void receive(const Frame& frame, std::uint32_t interface_index = 0);

 private:
  friend class SimNet;
  class Memory;
  void write(LogLevel level, std::string_view line) override;
  bool turn(Instant now);
  void accept(std::uint32_t shard, const stack::AcceptEvent& event);
  void handle(std::uint32_t shard, const stack::SocketEvent& event);
  void transmit(std::uint32_t shard);
  Instant next_deadline() const;

  SimNet& net_;
  std::string name_;
  wire::Ipv4Address address_;
  std::uint32_t interface_index_ = 0;
  Options options_;
  packet::HeapPages pages_;
  std::vector<std::unique_ptr<Memory>> memory_;  // a RingSource per shard
  std::unique_ptr<stack::Stack> stack_;
  std::map<stack::Cookie, std::unique_ptr<Stream>> streams_;
  std::map<stack::Cookie, std::function<void(Stream&)>> listeners_;
  std::map<std::uint64_t, std::unique_ptr<UdpSocket>> udp_;  // by shard << 32 | id
  stack::Cookie next_cookie_ = 1;
  struct Arrived {
    std::uint32_t shard, interface_index;
    Frame frame;
  };
  std::vector<Arrived> arrived_;
  std::vector<std::pair<std::uint32_t, stack::AcceptEvent>> waiting_;
  std::uint32_t next_queue_ = 0;
};

/// The program's side of a stream socket: two rings and what was heard.
struct Host::Stream {
  Host* host = nullptr;
  std::uint32_t shard = 0;
  stack::SocketId id;
  stack::Cookie cookie = 0;
  std::vector<std::byte> send_memory, receive_memory;
  std::uint64_t send_tail = 0, send_head = 0, receive_head = 0, receive_tail = 0;
  bool connected = false, peer_fin = false, failed = false, released = false, closed = false;
  socket::Errno error = socket::Errno::ok;

  std::vector<std::byte> received;       ///< everything read so far
  std::vector<std::byte> to_send;        ///< written as room comes
  std::size_t written = 0;
  bool close_after_send = false;         ///< close() once all is written
  bool shutdown_after_send = false;      ///< shutdown(SHUT_WR) then
  bool read_on = true;                   ///< false: leave received bytes in the ring
  std::size_t read_most = SIZE_MAX;      ///< bytes taken in one go

  /// Gives the stack the rings that it wants.
  void grow();
  /// Moves bytes between the vectors and the rings. True: something moved.
  bool pump();
  void close();
  void shutdown(int how);
};

class SimNet {
 public:
  explicit SimNet(std::uint64_t seed) : seed_(seed), random_(seed) {}
  Host& host(const std::string& prefix, const Host::Options& options);
  Host& host(const std::string& prefix) { return host(prefix, Host::Options{}); }
  /// All hosts hear all frames of the hosts on this wire; each sends over a link of its own.
  void wire(const std::vector<Host*>& hosts, const Impairment& impairment);
  /// The same of interfaces: pairs of a host and an index.
  void wire_interfaces(const std::vector<std::pair<Host*, std::uint32_t>>& interfaces, const Impairment& impairment);
  /// Frames of all hosts of `from` share one link to all of `to`: a bottleneck, or one direction of an asymmetric path.
  Link& link(std::vector<Host*> from, std::vector<Host*> to, const LinkConfig& config);

  Instant now() const { return now_; }
  std::uint64_t seed() const { return seed_; }
  Random& random() { return random_; }
  std::vector<std::byte> random_bytes(std::size_t count);
  /// Runs until `done` or `limit` has passed; answers done().
  bool run_until(const std::function<bool()>& done, Duration limit);
  void run_for(Duration time);
  /// A hash over every frame and its time: equal seeds, equal traces.
  std::uint64_t trace_hash() const { return trace_hash_; }
  /// The last frames in words.
  std::string trace() const;
  /// False: no trace and no hash, for long transfers.
  bool tracing = true;
  /// Sees each frame as it enters the wire; false: it is lost.
  std::function<bool(const Host& from, Frame&)> tap;

 private:
  friend class Host;
  struct Wire {
    std::vector<std::pair<Host*, std::uint32_t>> from, to;  // interfaces
    Link link;
  };
  void send(Host& from, std::uint32_t interface_index, Frame frame);
  Link& add_wire(std::vector<std::pair<Host*, std::uint32_t>> from, std::vector<std::pair<Host*, std::uint32_t>> to, const LinkConfig& config);
  bool settle();

  std::uint64_t seed_;
  Random random_;
  Instant now_{};
  std::vector<std::unique_ptr<Host>> hosts_;
  std::vector<std::unique_ptr<Wire>> wires_;
  std::vector<std::string> trace_;
  std::uint64_t trace_hash_ = 0;
};

}  // namespace iopkt::sim
