// The clients' side of one shard: its sockets, what they ring for, and what the stack has to tell them. Everything here runs on
// the shard's thread; nothing that a client can write is believed.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/hash_map.hpp"
#include "base/random.hpp"
#include "client_request.hpp"
#include "client_socket.hpp"
#include "descriptors.hpp"
#include "ipc/doorbell.hpp"
#include "shard_thread.hpp"

namespace iopkt::daemon {

/// What the clients' sides of all shards share.
struct ClientsCommon {
  DescriptorBudget descriptors;  ///< first, for all others count with it
  ListenerRegistry listeners;
  std::vector<class ClientShard*> shards;
  std::string node_folder;  ///< PREFIX/dev/socket
  std::uint64_t pid_namespace = 0;
  std::atomic<std::uint32_t> send_space{262144}, receive_space{262144};  ///< ring sizes of sockets that did not ask
  /// The Network that control published last; shard 0's thread.
  std::function<stack::NetworkPtr()> network;
  /// What was judged of destinations may no longer hold: clients ask again. Any thread.
  std::function<void()> judge_anew = [] {};
  /// A client broke the protocol, or nothing holds it any more. Any thread.
  std::function<void(const std::shared_ptr<Client>&)> end_client;
  /// One line, not more often than a hostile client deserves. Any thread.
  std::function<void(std::string)> complain;
};

class ClientShard final : public ClientTurns, public stack::RingSource {
 public:
  ClientShard(ClientsCommon& common, std::uint32_t number, HashKey seed);
  ~ClientShard() override;
  /// Before the thread starts.
  void bind(ShardThread& thread) { thread_ = &thread; }

  // ---- ClientTurns
  bool collect() override;
  bool deliver() override;
  bool arm() override;
  Duration longest_sleep() const override;

  // ---- stack::RingSource
  bool provide(stack::Cookie listener, std::uint32_t send_bytes, std::uint32_t receive_bytes, stack::Rings& out) override;
  void take_back(stack::Cookie cookie) override;

  // ---- from the control connections' thread, by ShardThread::post
  void handle(RequestPtr request);
  void attach(const std::shared_ptr<Client>& client, const ipc::Unit& hello, Fd fd, bool stream);
  /// No process is left that speaks for the client: what had hung up, and waited for a word, is closed.
  void end_hung_up(const std::shared_ptr<Client>& client);
  /// Closes everything of the client, as the kernel does when a process dies.
  void end(const std::shared_ptr<Client>& client);
  /// Resets everything, a part at each call: the stack ends. False: nothing is left.
  bool end_some();
  /// Lets go of what is left, when the thread has ended.
  void forget_all();

  // ---- from the descriptors
  void on_end(ClientSocket& socket, std::uint32_t events);

  std::size_t socket_count() const { return sockets_.size(); }
  struct Listed {
    std::uint32_t client, sockets;
  };
  std::vector<Listed> list() const;
  std::uint64_t user_of(std::uint64_t cookie) const;

 private:
  static constexpr unsigned kSendBudget = 256;  ///< datagrams of one socket in one turn
  static constexpr unsigned kWholeRing = ipc::kDatagramRingSize / sizeof(ipc::RecordHeader) + 1;  ///< more than it holds
  static constexpr unsigned kClosingBudget = 16384;  ///< of all sockets that close in one turn: the others do not wait for more
  static constexpr unsigned kClosingLeast = 16;       ///< that each of them sends all the same
  static constexpr unsigned kRingTurns = kWholeRing / kSendBudget + 1;
  // client_shard.cpp
  ClientSocket* by_cookie(std::uint64_t cookie) const;
  ClientSocket* by_number(ShardClient& client, std::uint32_t number) const;
  ClientSocket* by_name(const Client& client, std::uint64_t name) const;
  ShardClient* find(const Client& client) const;
  /// Also those that its programs have closed.
  std::vector<ClientSocket*> sockets_of(const Client& client) const;
  ShardClient* find_or_make(const std::shared_ptr<Client>& client);
  void service(ClientSocket& socket);
  void on_event(const stack::SocketEvent& event);
  void list_for_flush(ClientSocket& socket);
  bool show_tokens(ClientSocket& socket);
  void flush_tokens();
  void on_failed(ClientSocket& socket, int error);
  void on_readable(ClientSocket& socket);
  void show_urgent(ClientSocket& socket);
  void update_names(ClientSocket& socket);
  /// False: the client wrote what cannot be; its socket is gone.
  bool tell_progress(ClientSocket& socket);

  // client_slots.cpp
  std::uint64_t next_number();
  ClientSocket* make_socket(ShardClient& client, std::uint16_t domain, std::uint16_t type, std::uint32_t protocol);
  void show_rings(ClientSocket& socket);
  /// TCP_NOTSENT_LOWAT: how far writers may fill the ring now.
  void update_limit(ClientSocket& socket);
  void take_end(ClientSocket& socket, Fd fd);
  void watch_end(ClientSocket& socket, bool for_room);
  void show_state(ClientSocket& socket);
  void close_end(ClientSocket& socket);
  static void empty_end(ClientSocket& socket);
  bool has_spare_memory() const;
  void leave_witness_byte(ClientSocket& socket);
  bool is_held(ClientSocket& socket, std::uint32_t events);
  static bool outlives_processes(const ClientSocket& socket);
  void leave_witness_pipe(ClientSocket& socket);
  void drop_witness_pipe(ClientSocket& socket);
  /// `datagrams`: how many of those that are queued still go.
  void close_socket(ClientSocket& socket, bool abort, unsigned datagrams = kWholeRing);
  void maybe_free(ClientSocket& socket);
  void drop_holder(const std::shared_ptr<Client>& client);
  void broken(ClientSocket& socket, const char* how);
  void open_slot(Request& request);
  void answer_slot(Request& request, const ClientSocket& socket);

  // client_space.cpp
  bool give_rings(ClientSocket& socket, std::size_t send_bytes, std::size_t receive_bytes);
  /// size 0: the client has as much as it may, or the arena is full.
  ClientSocket::Block take_block(ClientSocket& socket, std::size_t size);
  ClientSocket::Block take_grown_block(ClientSocket& socket, std::size_t wanted, std::size_t than);
  void give_block(ClientSocket& socket, ClientSocket::Block& block);
  bool may_move_rings(ClientSocket& socket);
  bool move_send_ring(ClientSocket& socket, ClientSocket::Block fresh);
  void resize_send_ring(ClientSocket& socket);
  void grow_receive_ring(ClientSocket& socket, std::size_t wanted);
  void grow_rings(ClientSocket& socket);
  void list_for_rest(ClientSocket& socket);
  void rest(ClientSocket& socket);
  void look_at_resting();

  // client_requests.cpp
  void handle_slot(RequestPtr& request, ClientSocket& socket);
  void request_bind(RequestPtr& request, ClientSocket& socket);
  void request_connect(RequestPtr& request, ClientSocket& socket);
  void request_shutdown(Request& request, ClientSocket& socket);
  void request_close(RequestPtr& request, ClientSocket& socket);
  void request_check_destination(RequestPtr& request, ClientSocket& socket);
  void request_send_datagram(Request& request, ClientSocket& socket);
  void request_name(Request& request, ClientSocket& socket);
  void request_flow_label(Request& request, ClientSocket& socket);
  void request_set_option(RequestPtr& request, ClientSocket& socket);
  void request_get_option(Request& request, ClientSocket& socket);
  void request_adopt(Request& request, ClientSocket& socket);
  void request_lookup(RequestPtr& request);
  void request_attach(RequestPtr& request);
  void pass_on(RequestPtr& request);
  /// Answers `error`, but a success only when every shard knows of it.
  void answer_when_published(RequestPtr& request, int error);
  /// Runs `then` when every shard knows what this one has told them, at once or at a later turn.
  void when_published(Task then);
  bool run_held();
  std::size_t ring_size(const ClientSocket& socket, bool send) const;
  bool is_v6_only(const ClientSocket& socket) const;

  // client_accept.cpp
  /// Connections that the descriptor of their listener has no room for, or that is not attached yet.
  struct Waiting final : PollHandler {
    Waiting(ClientShard& its_side, CountedPtr<ListenerEntry> its_listener)
        : side(its_side), listener(std::move(its_listener)) {}
    void ready(std::uint32_t) override { side.offer_waiting(listener->cookie); }
    ClientShard& side;
    const CountedPtr<ListenerEntry> listener;
    std::deque<std::uint64_t> children;  // cookies
    WatchId watch = 0;                   // of the pipe, once it was found full
  };
  void request_listen(RequestPtr& request, ClientSocket& socket);
  bool retry_after_sweep(RequestPtr& request, wire::Port port);
  void sweep_ended(wire::Port port);
  int begin_listening(const Request& request, ClientSocket& socket);
  void stop_listening(ClientSocket& socket);
  void on_accept(const stack::AcceptEvent& event);
  enum class Offered { done, later, refused };
  Offered offer(ClientSocket& child);
  Offered refuse(ClientSocket& child, int error = 0);
  void withdraw(ClientSocket& child);
  void offer_or_wait(ClientSocket& child);
  void offer_waiting(stack::Cookie listener);
  bool watch_pipe(Waiting& waiting);
  void forget_waiting();
  void tell_waiting(stack::Cookie listener);
  void on_accepted(ClientSocket& child);

  // client_stream.cpp
  void request_mode(Request& request);
  void change_mode(Request& request, ClientSocket& socket);
  bool begin_switch(ClientSocket& socket);
  int begin_stream(ClientSocket& socket);
  void replace_end(ClientSocket& socket, Fd fd, std::uint64_t program_cookie);
  void request_unsent(Request& request, ClientSocket& socket);
  bool end_if_it_keeps_itself(ClientSocket& socket);
  std::optional<bool> take_from_program(ClientSocket& socket);
  bool give_to_program(ClientSocket& socket);
  /// Moves what can be moved in both directions. May end the socket.
  void pump(ClientSocket& socket);
  void on_stream_end(ClientSocket& socket, std::uint32_t events);

  // client_datagrams.cpp
  /// Answers how many it took. The socket may be gone then.
  unsigned send_datagrams(ClientSocket& socket, unsigned budget = kSendBudget);
  void send_last_datagrams(ClientSocket& socket, unsigned most);
  static void drop_parts(ClientSocket& socket);
  /// The datagram whose parts were held back; 0 if there is none.
  int send_parts(ClientSocket& socket);
  int send_record(ClientSocket& socket, const ipc::DatagramConsumer::Datagram& record, bool privileged);
  void now_bound(ClientSocket& socket);
  void on_datagram(const stack::Datagram& datagram);

  // client_errors.cpp
  /// An error for SO_ERROR, and for who sleeps or polls.
  void raise_error(ClientSocket& socket, std::uint32_t error);
  void queue_error(ClientSocket& socket, const stack::Datagram& report);
  void request_take_error(Request& request, ClientSocket& socket);
  static void drop_errors(ClientSocket& socket);

  stack::Shard& stack() { return thread_->shard(); }
  const stack::Shard& stack() const { return thread_->shard(); }

  ClientsCommon& common_;
  const std::uint32_t number_;
  HashKey seed_;
  std::uint64_t numbers_ = 0;
  ShardThread* thread_ = nullptr;
  std::vector<std::unique_ptr<ShardClient>> clients_;
  static std::uint64_t cookie_of(const std::unique_ptr<ClientSocket>& socket) { return socket->cookie; }
  // Keyed: which cookies stay is up to the clients, who close the others.
  FlatMap<std::uint64_t, std::unique_ptr<ClientSocket>, SipHash, KeyInside<std::uint64_t, std::unique_ptr<ClientSocket>, cookie_of>> sockets_{
      SipHash{seed_}};
  std::uint64_t next_cookie_ = 1;
  std::vector<std::uint64_t> flush_;       // cookies: a socket may go before the end of the turn
  unsigned closing_left_ = kClosingBudget;
  std::vector<std::uint64_t> busy_;        // datagram sockets with more to send than one turn's budget
  std::deque<std::uint64_t> left_to_writers_;  // cookies: closed, but a thread of the program still writes. In turn, a few each time
  std::unordered_map<stack::Cookie, std::unique_ptr<Waiting>> waiting_;  // by listener
  struct Held {
    stack::Shard::Publication publication;
    Task then;
  };
  std::vector<Held> held_;
  std::optional<std::vector<std::uint64_t>> ending_;  // cookies that end_some() has still to look at
  bool tokens_left_ = false;               // some token found no room: again within a millisecond
  std::size_t trim_next_ = 0;
  std::vector<std::uint64_t> resting_;     // cookies: rings that have grown, which go back when nothing moves
  Instant rest_at_{};
  Instant trim_at_{};  // ring memory beyond the bound goes back to the system once none was given back for a while
};

}  // namespace iopkt::daemon
