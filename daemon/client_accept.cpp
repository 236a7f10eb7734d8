// Listeners: the stack connects to the program's AF_UNIX listener for each connection that is established.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>

#include "client_address.hpp"
#include "client_shard.hpp"

namespace iopkt::daemon {
namespace {

constexpr std::size_t kNameMax = 64;
constexpr std::size_t kOffersPerTurn = 64;

bool is_plain_name(std::string_view name) {
  return !name.empty() && name.size() <= kNameMax && name.front() != '.' && name.find('/') == name.npos &&
         name.find('\0') == name.npos;
}

}  // namespace

// ---------------------------------------------------------------------------------------------- listen

int ClientShard::begin_listening(Request& request, ClientSocket& socket) {
  const std::string name{reinterpret_cast<const char*>(request.blob.data()), request.blob.size()};
  if (!is_plain_name(name)) return EINVAL;
  DescriptorCharge charge;
  if (!charge.take(request.client->share, 1)) return ENFILE;
  Fd place{::openat(common_.listener_folder, name.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
  if (!place) return errno;
  struct stat what{};
  if (::fstat(place.get(), &what) != 0) return errno;
  // Somebody else's socket in the folder is not this client's to listen with.
  if (!S_ISSOCK(what.st_mode) || (what.st_uid != request.caller.user && request.caller.user != 0)) return EACCES;
  ::unlinkat(common_.listener_folder, name.c_str(), 0);
  auto entry = std::make_shared<ListenerEntry>();
  entry->cookie = socket.cookie;
  entry->shard = number_;
  entry->client = request.client;
  entry->name = std::move(place);
  entry->charge = std::move(charge);
  // A program that listens holds its client: it may have closed everything else.
  request.client->holders.fetch_add(1);
  common_.listeners.add(entry);
  socket.listener = std::move(entry);
  return 0;
}

void ClientShard::request_listen(RequestPtr& request, ClientSocket& socket) {
  if (socket.datagram) return request->refuse(EOPNOTSUPP);
  const auto wanted = request->fixed<ipc::ListenRequest>();
  if (!socket.listener) {
    if (request->blob.empty()) return request->refuse(request->fds.empty() ? EINVAL : EOPNOTSUPP);
    if (const int error = begin_listening(*request, socket); error != 0) return request->refuse(error);
  }
  const auto backlog = static_cast<std::uint32_t>(std::max(wanted.backlog, 0));
  const int error = static_cast<int>(stack().listen(socket.id, backlog));
  if (error == EADDRINUSE && retry_after_sweep(request)) return;
  if (error != 0) {
    if ((socket.status & ipc::Status::listening) == 0) stop_listening(socket);
    return request->refuse(error);
  }
  socket.set_status(ipc::Status::listening | ipc::Status::bound);
  socket.slot.backlog.store(backlog, std::memory_order_release);
  update_names(socket);
  answer_when_published(request, 0);
}

void ClientShard::stop_listening(ClientSocket& socket) {
  const auto entry = std::move(socket.listener);
  socket.listener.reset();
  if (!entry) return;
  entry->closed = true;
  common_.listeners.remove(entry->cookie);
  drop_holder(entry->client);
}

/// The port may belong to a listener whose program died without a word: closes such ones, then the request is served again.
/// False: there is none.
bool ClientShard::retry_after_sweep(RequestPtr& request) {
  if (request->retried) return false;
  std::uint64_t shards = 0;
  for (const auto& entry : common_.listeners.all())
    if (!entry->alive()) shards |= std::uint64_t{1} << entry->shard;
  if (shards == 0) return false;
  request->retried = true;
  struct Wait {
    RequestPtr request;
    std::atomic<int> left;
  };
  auto wait = std::make_shared<Wait>();
  wait->request = std::move(request);
  wait->left = std::popcount(shards);
  for (; shards != 0; shards &= shards - 1) {
    ClientShard& other = *common_.shards[static_cast<std::size_t>(std::countr_zero(shards))];
    other.thread_->post([this, &other, wait] {
      other.sweep_listeners(nullptr);
      other.when_published([this, wait] {
        if (wait->left.fetch_sub(1) == 1) thread_->post([this, wait] { handle(std::move(wait->request)); });
      });
    });
  }
  return true;
}

void ClientShard::sweep_listeners(const Client* client) {
  std::vector<ClientSocket*> gone;
  for (const auto& [cookie, socket] : sockets_)
    if (socket->listener && (client == nullptr || socket->owner.client.get() == client) && !socket->listener->alive())
      gone.push_back(socket.get());
  for (ClientSocket* socket : gone) {
    socket->client_done = true;
    close_socket(*socket, false);
    maybe_free(*socket);
  }
}

// ---------------------------------------------------------------------------------------------- connections

bool ClientShard::provide(stack::Cookie listener, std::uint32_t send_bytes, std::uint32_t receive_bytes, stack::Rings& out) {
  const auto entry = common_.listeners.find(listener);
  if (!entry || entry->closed || entry->client->dead) return false;
  ShardClient* client = find_or_make(entry->client);
  if (client == nullptr || client->ended) return false;
  ClientSocket* socket = make_socket(*client, AF_INET, SOCK_STREAM, 0);
  if (socket == nullptr) return false;
  socket->parent = entry;
  if (!give_rings(*socket, send_bytes != 0 ? send_bytes : common_.send_space.load(),
                  receive_bytes != 0 ? receive_bytes : common_.receive_space.load())) {
    take_back(socket->cookie);
    return false;
  }
  const auto memory = [&](const ClientSocket::Block& block) {
    return socket::RingMemory{socket->arena->base() + block.offset, static_cast<std::uint32_t>(block.size)};
  };
  out = {memory(socket->send_block), memory(socket->receive_block), socket->cookie};
  return true;
}

void ClientShard::take_back(stack::Cookie cookie) {
  ClientSocket* socket = by_cookie(cookie);
  if (socket == nullptr) return;
  socket->released = socket->client_done = true;
  socket->parent.reset();
  maybe_free(*socket);
}

void ClientShard::on_accept(const stack::AcceptEvent& event) {
  ClientSocket* child = by_cookie(event.child_cookie);
  if (child == nullptr) return;
  child->id = event.child;
  update_names(*child);
  show_rings(*child);
  child->set_status(ipc::Status::connected | ipc::Status::bound);
  if (offer(*child) == Offered::later) offers_.push_back(child->cookie);
}

/// Connects a new end to the program's listener and names the slot on it.
ClientShard::Offered ClientShard::offer(ClientSocket& child) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d", child.parent->name.get());
  Fd fd{::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
  const bool connected =
      fd && !child.parent->closed &&
      ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  if (!connected && fd && !child.parent->closed && errno == EAGAIN) return Offered::later;
  if (!connected) {
    // Nobody listens any more (or no descriptor is left): the peer sees a reset, as from the host. Its process may have ended
    // without a word, or the sweep at its end came before the kernel had closed the listener: this is the time to notice.
    if (fd && !child.parent->closed && errno == ECONNREFUSED) {
      ClientShard& home = *common_.shards[child.parent->shard];
      home.thread_->post([&home, client = child.parent->client] { home.sweep_listeners(client.get()); });
    }
    if (!fd) common_.complain(std::string{"a connection is reset: "} + std::strerror(errno));
    child.client_done = true;
    close_socket(child, true);
    maybe_free(child);
    return Offered::refused;
  }
  const ipc::AcceptHello hello{.magic = ipc::AcceptHello::kMagic,
                               .client = child.owner.client->id,
                               .slot = child.name(),
                               .nonce = child.nonce};
  take_end(child, std::move(fd));
  if (!child.attached() || child.end.send_accept_hello(hello) != ipc::StackIo::Sent::done) {
    child.client_done = true;
    close_socket(child, true);
    maybe_free(child);
    return Offered::refused;
  }
  // From here on accept() and the close of the listener are the program's business, and their order shows on this end alone.
  stack().offered(child.id);
  // Data may be there already; its token stands behind the hello.
  on_readable(child);
  list_for_flush(child);
  return Offered::done;
}

bool ClientShard::offer_pending() {
  bool any = false;
  for (std::size_t n = std::min(offers_.size(), kOffersPerTurn); n > 0; --n) {
    const std::uint64_t cookie = offers_.front();
    offers_.pop_front();
    ClientSocket* child = by_cookie(cookie);
    if (child == nullptr || child->close_called) continue;
    // To the back: one program that does not accept must not stand in the way of others.
    if (offer(*child) == Offered::later) {
      offers_.push_back(cookie);
    } else {
      any = true;
    }
  }
  return any;
}

void ClientShard::on_accepted(ClientSocket& child) {
  child.parent.reset();
  stack().accepted(child.id);
  show_state(child);
}

}  // namespace iopkt::daemon
