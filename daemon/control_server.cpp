// Nodes, clients, and where each request goes.
#include "control_server.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cstring>

#include "base/assert.hpp"
#include "client_ioctl.hpp"
#include "control_connection.hpp"
#include "ipc/nodes.hpp"

namespace iopkt::daemon {
namespace {

/// Bytes of answers that may wait for one program; counted only while they wait.
constexpr int kAnswerRoom = 32 << 20;

using ipc::MessageId;

constexpr unsigned kAcceptsPerTurn = 64;
constexpr std::size_t kConnectionsMax = 65536;
constexpr std::size_t kPendingMax = 1024;  ///< connected to an attach node, HELLO not yet sent
/// Connections that are taken although no descriptor is left for their user: utilities, and programs that are told ENFILE.
constexpr std::ptrdiff_t kUncountedMax = 16;

StartFault fault(std::string_view what, int error) {
  return {StartFault::kFailed, std::string{what} + ": " + std::strerror(error)};
}

}  // namespace

/// A listening node.
struct ControlServer::Node final : PollHandler {
  Node(ControlServer& owner, int its_type, bool is_control) : server(owner), type(its_type), control(is_control) {}
  void ready(std::uint32_t) override { server.accept_all(*this); }
  ControlServer& server;
  const int type;
  const bool control;
  Fd fd;
  WatchId watch = 0;
};

/// The end of a socket that has not said yet which one.
struct ControlServer::Pending final : PollHandler {
  Pending(ControlServer& owner, Fd end, bool is_stream) : server(owner), fd(std::move(end)), stream(is_stream) {}
  void ready(std::uint32_t) override { server.greet(*this); }
  ControlServer& server;
  Fd fd;
  const bool stream;
  WatchId watch = 0;
};

ControlServer::ControlServer(ClientsCommon& common, int status, std::vector<ShardThread*> threads, VerbRunner& verbs,
                             Settings settings, LogSink& log)
    : common_(common), threads_(std::move(threads)), verbs_(verbs), settings_(std::move(settings)), log_(log), status_(status) {}

ControlServer::~ControlServer() { stop(); }

// ---------------------------------------------------------------------------------------------- nodes

Expected<void, StartFault> ControlServer::make_node(Instance& instance, std::string_view name, int type) {
  const std::string path = instance.add_node(name);
  auto node = std::make_unique<Node>(*this, type, name == ipc::kControlNode || name == ipc::kAutoconnectNode);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) return unexpected(fault(path, ENAMETOOLONG));
  path.copy(address.sun_path, path.size());
  node->fd.reset(::socket(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!node->fd) return unexpected(fault(path, errno));
  // Never open to more people than meant, not even for a moment: bound under a closed mask, then opened.
  const mode_t old = ::umask(0777);
  const int bound = ::bind(node->fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  const int error = errno;
  ::umask(old);
  // Each message then says who sent it: connections inherit this.
  const int yes = 1;
  if (node->control && ::setsockopt(node->fd.get(), SOL_SOCKET, SO_PASSCRED, &yes, sizeof yes) != 0) return unexpected(fault(path, errno));
  if (bound != 0) return unexpected(fault(path, error));
  if (::listen(node->fd.get(), SOMAXCONN) != 0) return unexpected(fault(path, errno));
  if (const int refused = instance.give_access(path); refused != 0) return unexpected(fault(path, refused));
  node->watch = home().poller().add(node->fd.get(), EPOLLIN, *node);
  if (node->watch == 0) return unexpected(fault(path, errno));
  nodes_.push_back(std::move(node));
  return {};
}

Expected<void, StartFault> ControlServer::listen(Instance& instance) {
  common_.node_folder = instance.node_directory();
  struct stat ns{};
  if (::stat("/proc/self/ns/pid", &ns) == 0) common_.pid_namespace = ns.st_ino;
  spare_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const struct {
    std::string_view name;
    int type;
  } nodes[] = {{ipc::kStreamNode, SOCK_STREAM},
               {ipc::kPacketNode, SOCK_SEQPACKET},
               {ipc::kStreamNode6, SOCK_STREAM},
               {ipc::kPacketNode6, SOCK_SEQPACKET},
               {ipc::kAutoconnectNode, SOCK_SEQPACKET},
               {ipc::kControlNode, SOCK_SEQPACKET}};
  for (const auto& node : nodes) {
    if (!settings_.inet6 && (node.name == ipc::kStreamNode6 || node.name == ipc::kPacketNode6)) continue;
    if (auto made = make_node(instance, node.name, node.type); !made) return made;
  }
  return {};
}

void ControlServer::stop() {
  if (std::exchange(stopped_, true)) return;
  for (const auto& node : nodes_) home().poller().remove(node->watch);
  for (const auto& pending : pending_) home().poller().remove(pending->watch);
  for (const auto& connection : connections_) {
    home().poller().remove(connection->watch());
    connection->shut();
  }
  for (const auto& [id, client] : clients_) {
    client->dead = true;
    client->tell_dead();
  }
  nodes_.clear();
  pending_.clear();
  connections_.clear();
  clients_.clear();
}

void ControlServer::accept_all(Node& node) {
  for (unsigned n = 0; n < kAcceptsPerTurn; ++n) {
    Fd fd{::accept4(node.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)};
    if (fd) {
      accepted(node, std::move(fd));
      continue;
    }
    if (errno == EINTR || errno == ECONNABORTED) continue;
    if (errno != EMFILE && errno != ENFILE) return;
    // Out of descriptors: the one kept for this lets us refuse instead of spinning on what we cannot accept.
    ++statistics_.refused_connections;
    common_.complain("a program is refused: no file descriptor is left (RLIMIT_NOFILE)");
    spare_.reset();
    Fd{::accept4(node.fd.get(), nullptr, nullptr, SOCK_CLOEXEC)};
    spare_.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  }
}

void ControlServer::accepted(Node& node, Fd fd) {
  if (node.control) {
    // A long answer (netstat with thousands of sockets) goes out in one turn: it waits in the connection, not in shard 0.
    const int room = kAnswerRoom;
    if (::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof room) != 0)
      static_cast<void>(::setsockopt(fd.get(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room));
  }
  if (!node.control) {
    if (pending_.size() >= std::min(kPendingMax, common_.descriptors.pending_max())) forget(*pending_.front());
    auto pending = std::make_unique<Pending>(*this, std::move(fd), node.type == SOCK_STREAM);
    Pending& made = *pending;
    pending_.push_back(std::move(pending));
    return greet(made);
  }
  ++statistics_.connections;
  ucred peer{};
  socklen_t size = sizeof peer;
  if (connections_.size() >= kConnectionsMax || ::getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    ++statistics_.refused_connections;
    return;
  }
  const Credential credential{.pid = peer.pid,
                              .user = peer.uid,
                              .group = peer.gid,
                              .privileged = is_privileged(peer.uid)};
  auto share = common_.descriptors.share(credential.user, credential.privileged);
  DescriptorCharge charge;
  const auto uncounted = [&] { return std::ranges::count_if(connections_, [](const auto& one) { return !one->counted(); }); };
  if (!charge.take(share, 1) && uncounted() >= kUncountedMax) {
    ++statistics_.refused_connections;
    return;
  }
  auto connection =
      std::make_shared<ControlConnection>(*this, std::move(fd), credential, std::move(share), std::move(charge));
  const WatchId watch = home().poller().add(connection->fd(), EPOLLIN | EPOLLRDHUP | EPOLLET, *connection);
  if (watch == 0) return;
  connection->set_watch(watch);
  connections_.push_back(std::move(connection));
}

// ---------------------------------------------------------------------------------------------- attaching

void ControlServer::forget(Pending& pending) {
  home().poller().remove(pending.watch);
  std::erase_if(pending_, [&](const auto& known) { return known.get() == &pending; });
}

/// Reads, without taking it, which socket this is the end of. The unit stays: it is the ballast.
void ControlServer::greet(Pending& pending) {
  ipc::Unit unit;
  const ssize_t n = ::recv(pending.fd.get(), &unit, sizeof unit, MSG_PEEK | MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
    if (pending.watch == 0) pending.watch = home().poller().add(pending.fd.get(), EPOLLIN, pending);
    if (pending.watch == 0) forget(pending);
    return;
  }
  const bool is_hello = n == static_cast<ssize_t>(sizeof unit) && unit.type == static_cast<std::uint32_t>(ipc::UnitType::hello);
  const auto known = is_hello ? clients_.find(unit.client) : clients_.end();
  const auto arena = known == clients_.end() ? nullptr : known->second->arena(ipc::arena_of(unit.slot));
  if (!arena) {
    ++statistics_.bad_attaches;
    return forget(pending);
  }
  ++statistics_.attaches;
  home().poller().remove(std::exchange(pending.watch, 0));
  ClientShard* side = common_.shards[arena->shard];
  const std::shared_ptr<Client> client = known->second;
  Fd fd = std::move(pending.fd);
  const bool stream = pending.stream;
  forget(pending);
  if (arena->shard == 0) return side->attach(client, unit, std::move(fd), stream);
  threads_[arena->shard]->post(
      [side, client, unit, fd = std::move(fd), stream]() mutable { side->attach(client, unit, std::move(fd), stream); });
}

// ---------------------------------------------------------------------------------------------- clients

std::shared_ptr<Client> ControlServer::hello(const ipc::HelloRequest& request, const ControlConnection& connection,
                                             const Credential& credential, int& error) {
  const auto no_descriptors = [&] {
    common_.complain("a program of user " + std::to_string(credential.user) + " is refused: too few file descriptors (RLIMIT_NOFILE)");
    error = ENFILE;
    return nullptr;
  };
  if (!connection.counted()) return no_descriptors();
  if (request.parent_client != 0) {
    const auto parent = clients_.find(request.parent_client);
    // Another credential is another client, whatever it knows.
    const bool same = parent != clients_.end() && parent->second->secret == request.parent_secret &&
                      parent->second->credential.user == credential.user && !parent->second->dead;
    error = same ? 0 : EACCES;
    if (!same) return nullptr;
    parent->second->joined = true;
    return parent->second;
  }
  DescriptorCharge charge;
  if (!charge.take(connection.share(), 1 + threads_.size())) return no_descriptors();
  while (next_client_ == 0 || clients_.contains(next_client_)) ++next_client_;
  const std::uint64_t input[2] = {++secrets_, 0x7365637265747321};
  auto client = Client::make(next_client_, siphash24(settings_.key, as_bytes(input, sizeof input)), credential,
                             static_cast<std::uint32_t>(threads_.size()), settings_.spin_ns, settings_.quota);
  if (!client) {
    error = errno != 0 ? errno : ENOMEM;
    return nullptr;
  }
  client->share = connection.share();
  client->charge = std::move(charge);
  clients_[next_client_++] = client;
  return client;
}

void ControlServer::end_client(const std::shared_ptr<Client>& client) {
  if (client->holders.load() > 0 || client->dead.exchange(true)) return;
  client->tell_dead();
  clients_.erase(client->id);
  for (std::size_t i = 0; i < threads_.size(); ++i)
    threads_[i]->post([side = common_.shards[i], client] { side->end(client); });
}

void ControlServer::remove(ControlConnection& connection) {
  const auto self = connection.shared_from_this();
  home().poller().remove(connection.watch());
  connection.set_watch(0);
  connection.shut();
  if (std::erase(connections_, self) == 0 || !connection.client()) return;
  const std::shared_ptr<Client> client = connection.client();
  if (client->connections.fetch_sub(1) == 1)
    for (std::size_t i = 0; i < threads_.size(); ++i)
      threads_[i]->post([side = common_.shards[i], client] { side->end_hung_up(client); });
  if (client->holders.fetch_sub(1) == 1) end_client(client);
}

std::vector<ControlServer::Listed> ControlServer::list_clients() const {
  std::vector<Listed> out;
  for (const auto& [id, client] : clients_)
    out.push_back({id, client->credential, client->sockets.used(), client->arenas.used(), client->ring_bytes.used()});
  return out;
}

// ---------------------------------------------------------------------------------------------- requests

void ControlServer::dispatch(RequestPtr request) {
  switch (request->id) {
    case MessageId::manage:
    case MessageId::sysctl_get:
    case MessageId::sysctl_set:
    case MessageId::sysctl_list: return verbs_.serve(std::move(request));
    case MessageId::ioctl: {
      const auto wanted = request->fixed<ipc::IoctlRequest>();
      if (is_interface_ioctl(wanted.code)) return interface_ioctl(*request, *common_.network());
      if (wanted.code == SIOCGARP) return neighbour_ioctl(*request, *common_.network(), home().shard().list_neighbours());
      if (is_change_ioctl(wanted.code)) return verbs_.serve_ioctl(std::move(request));
      if (wanted.slot == ipc::kNoSlot) return request->refuse(EOPNOTSUPP);
      break;
    }
    default: break;
  }
  if (!request->client) return request->refuse(EPERM, "a management connection has no sockets");
  std::uint32_t shard = 0;
  switch (request->id) {
    case MessageId::arena: return give_arena(*request);
    case MessageId::slot_open:
      if (!settings_.dedicated) shard = next_shard_++ % static_cast<std::uint32_t>(threads_.size());
      break;
    case MessageId::lookup:
    case MessageId::attach_begin:
    case MessageId::attach_finish: break;  // every shard looks, from the first on
    default: {
      std::uint64_t slot = 0;
      const auto arena = request->first_word(slot) ? request->client->arena(ipc::arena_of(slot)) : nullptr;
      if (!arena) return request->refuse(EBADF);
      shard = arena->shard;
    }
  }
  ClientShard* side = common_.shards[shard];
  if (shard == 0) return side->handle(std::move(request));
  threads_[shard]->post([side, request = std::move(request)]() mutable { side->handle(std::move(request)); });
}

void ControlServer::give_arena(Request& request) {
  const auto arena = request.client->arena(request.fixed<ipc::ArenaRequest>().arena_id);
  if (!arena) return request.refuse(EBADF);
  request.sink().learned_arena(arena->id);
  const int fd = arena->fd();
  request.answer<MessageId::arena>({}, {}, std::span{&fd, 1});
}

}  // namespace iopkt::daemon
