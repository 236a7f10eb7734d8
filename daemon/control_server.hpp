// The nodes that programs connect to, and the control connections. Everything here runs on shard 0's thread; requests for sockets
// of other shards are passed to their threads, which answer by themselves. ipc/messages.hpp.
#pragma once

#include <atomic>
#include <array>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/expected.hpp"
#include "base/random.hpp"
#include "client_shard.hpp"
#include "control_verbs.hpp"
#include "instance.hpp"
#include "start_fault.hpp"

namespace iopkt::daemon {

class ControlConnection;

class ControlServer {
 public:
  struct Settings {
    std::size_t receive_bytes = 65536;  ///< recv_ctxt: longest request message
    std::size_t reply_bytes = 65536;    ///< reply_ctxt times the size of a buffer: most of a reply in one operation
    std::uint32_t spin_ns = 0;          ///< what clients are told to spin
    Quota quota;
    std::string prefix;
    bool inet6 = false;                 ///< the stack has IPv6: its nodes are there
    bool dedicated = false;             ///< -D: all sockets belong to shard 0
    HashKey key;                        ///< of secrets
  };
  struct Statistics {
    std::uint64_t connections{}, refused_connections{}, requests{}, split_requests{}, bad_messages{}, attaches{}, bad_attaches{};
    std::atomic<std::uint64_t> replies{}, reply_operations{};  ///< any shard's thread answers
  };
  /// `status`: descriptor of the status file, which outlives the server.
  ControlServer(ClientsCommon& common, int status, std::vector<ShardThread*> threads, VerbRunner& verbs, Settings settings,
                LogSink& log);
  ~ControlServer();

  /// Before the threads start: makes the nodes; nobody is served before the first turn.
  Expected<void, StartFault> listen(Instance& instance);
  /// Ends every connection.
  void stop();

  /// Nothing holds the client any more, or it broke the protocol.
  void end_client(const std::shared_ptr<Client>& client);

  const Statistics& statistics() const { return statistics_; }
  struct Listed {
    std::uint32_t id;
    Credential credential;
    std::uint64_t sockets, arenas, ring_bytes;
  };
  std::vector<Listed> list_clients() const;
  std::size_t connection_count() const { return connections_.size(); }

 private:
  friend class ControlConnection;
  struct Node;
  struct Pending;

  Expected<void, StartFault> make_node(Instance& instance, std::string_view name, int type);
  void accept_all(Node& node);
  void accepted(Node& node, Fd fd);
  void greet(Pending& pending);
  void forget(Pending& pending);
  void remove(ControlConnection& connection);

  std::shared_ptr<Client> hello(const ipc::HelloRequest& request, const ControlConnection& connection,
                                const Credential& credential, int& error);
  void dispatch(RequestPtr request);
  void give_arena(Request& request);
  ShardThread& home() { return *threads_[0]; }

  ClientsCommon& common_;
  std::vector<ShardThread*> threads_;
  VerbRunner& verbs_;
  const Settings settings_;
  LogSink& log_;
  Statistics statistics_;
  std::vector<std::unique_ptr<Node>> nodes_;
  const int status_;
  Fd spare_;
  std::map<std::uint32_t, std::shared_ptr<Client>> clients_;
  std::vector<std::shared_ptr<ControlConnection>> connections_;
  std::vector<std::unique_ptr<Pending>> pending_;
  std::uint32_t next_client_ = 1, next_shard_ = 0;
  std::uint64_t secrets_ = 0;
  bool stopped_ = false;
};

}  // namespace iopkt::daemon
