// Listeners: each connection that is established is sent to the program through the listener's own
// descriptor.
#include <fcntl.h>
#include <sys/socket.h>

#include <cstring>

#include "client_address.hpp"
#include "client_shard.hpp"
#include "ipc/offer.hpp"

namespace iopkt::daemon {

// ---------------------------------------------------------------------------------------------- listen

int ClientShard::begin_listening(const Request& request, ClientSocket& socket) {
  DescriptorCharge charge;
  if (!charge.take(request.client->share, 1)) return ENFILE;
  auto entry = make_counted<ListenerEntry>(socket.cookie, number_, request.client);
  entry->domain = socket.domain;
  entry->charge = std::move(charge);
  if (socket.attached())
    if (const int error = entry->open_pipe(socket.fd.get()); error != 0) return error;
  common_.listeners.add(entry);
  socket.listener = std::move(entry);
  return 0;
}

void ClientShard::request_listen(RequestPtr& request, ClientSocket& socket) {
  if (socket.datagram) return request->refuse(EOPNOTSUPP);
  const auto wanted = request->fixed<ipc::ListenRequest>();
  if (!socket.listener)
    if (const int error = begin_listening(*request, socket); error != 0) return request->refuse(error);
  const auto backlog = static_cast<std::uint32_t>(std::max(wanted.backlog, 0));
  const int error = static_cast<int>(stack().listen(socket.id, backlog));
  if (error == EADDRINUSE && retry_after_sweep(request, stack().local_endpoint(socket.id).port)) return;
  if (error != 0) {
    if ((socket.status & ipc::Status::listening) == 0) stop_listening(socket);
    return request->refuse(error);
  }
  socket.set_status(ipc::Status::listening | ipc::Status::bound);
  socket.slot().backlog.store(backlog, std::memory_order_release);
  update_names(socket);
  answer_when_published(request, 0);
}

void ClientShard::stop_listening(ClientSocket& socket) {
  const auto entry = std::move(socket.listener);
  socket.listener.reset();
  if (!entry) return;
  entry->closed = true;
  common_.listeners.remove(entry->cookie);
  tell_waiting(entry->cookie);
}

/// The port may belong to a socket whose last process has just died: its end shows that, although its shard
/// has not come to see it yet. Closes such ones, then the request is served again. False: it was already.
bool ClientShard::retry_after_sweep(RequestPtr& request, wire::Port port) {
  if (std::exchange(request->retried, true)) return false;
  struct Wait {
    RequestPtr request;
    std::atomic<std::size_t> left;
  };
  auto wait = std::make_shared<Wait>();
  wait->request = std::move(request);
  wait->left = common_.shards.size();
  for (ClientShard* other : common_.shards) {
    other->thread_->post([this, other, wait, port] {
      other->sweep_ended(port);
      other->when_published([this, wait] {
        if (wait->left.fetch_sub(1) == 1) thread_->post([this, wait] { handle(std::move(wait->request)); });
      });
    });
  }
  return true;
}

void ClientShard::sweep_ended(wire::Port port) {
  std::vector<ClientSocket*> ended;
  sockets_.for_each([&](std::uint64_t, const std::unique_ptr<ClientSocket>& socket) {
    if (!socket->attached() || !(socket->datagram || socket->listener)) return;
    if (stack().local_endpoint(socket->id).port == port && !is_held(*socket, shown_by(socket->fd.get())))
      ended.push_back(socket.get());
  });
  for (ClientSocket* socket : ended) on_end(*socket, shown_by(socket->fd.get()));
}

// ---------------------------------------------------------------------------------------------- connections

bool ClientShard::provide(stack::Cookie listener, std::uint32_t send_bytes, std::uint32_t receive_bytes,
                          stack::Rings& out) {
  const auto entry = common_.listeners.find(listener);
  if (!entry || entry->closed || entry->client->dead) return false;
  ShardClient* client = find_or_make(entry->client);
  if (client == nullptr || client->ended) return false;
  ClientSocket* socket = make_socket(*client, entry->domain, SOCK_STREAM, 0);
  if (socket == nullptr) return false;
  socket->parent = entry;
  if (!give_rings(*socket, send_bytes != 0 ? send_bytes : common_.send_space.load(),
                  receive_bytes != 0 ? receive_bytes : common_.receive_space.load())) {
    take_back(socket->cookie);
    return false;
  }
  const auto memory = [&](const ClientSocket::Block& block) {
    return socket::RingMemory{socket->arena.base() + block.offset(), static_cast<std::uint32_t>(block.size())};
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
  if (child->close_called) {  // by its client's word, before it could know of it
    stack().disconnect(child->id);
    return stack().close(child->id);
  }
  update_names(*child);
  show_rings(*child);
  child->set_status(ipc::Status::connected | ipc::Status::bound);
  offer_or_wait(*child);
}

/// Sends the program an end that it accepts, with the slot's name.
ClientShard::Offered ClientShard::offer(ClientSocket& child) {
  if (child.parent->closed) return refuse(child);
  if (child.parent->pipe() < 0) return Offered::later;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return refuse(child, errno);
  Fd ours{ends[0]};
  const Fd theirs{ends[1]};
  if (::fcntl(ours.get(), F_SETFL, O_NONBLOCK) != 0 || ipc::set_minimum_buffer(theirs.get()) != 0)
    return refuse(child, errno);
  if (const int error = ipc::name_accepted_end(ours.get(), common_.node_folder, next_number()); error != 0)
    return refuse(child, error);
  take_end(child, std::move(ours));
  if (!child.attached()) return refuse(child, errno);
  // Known before HELLO is seen: a program that the accepting one starts at once asks for it.
  child.program_cookie = ipc::socket_cookie(theirs.get());
  // What has arrived so far shows as soon as accept() returns. (Positions that cannot be end the socket.)
  const std::uint64_t cookie = child.cookie;
  on_readable(child);
  if (by_cookie(cookie) == nullptr || !child.attached()) return Offered::refused;
  if (show_tokens(child)) list_for_flush(child);
  // From here on accept() and the close of the listener are the program's business, and their order shows on
  // our end alone.
  stack().offered(child.id);
  const ipc::AcceptHello hello{.magic = ipc::AcceptHello::kMagic,
                               .client = child.owner.client->id,
                               .slot = child.name(),
                               .nonce = child.nonce};
  switch (ipc::send_offer(child.parent->pipe(), hello, theirs.get())) {
    case ipc::StackIo::Sent::done:
      return Offered::done;
    case ipc::StackIo::Sent::again:
      withdraw(child);
      return Offered::later;
    case ipc::StackIo::Sent::gone:
      break;
  }
  // EPIPE, ECONNRESET: nobody listens any more. The peer sees a reset, as from the host.
  return refuse(child, errno == EPIPE || errno == ECONNRESET ? 0 : errno);
}

ClientShard::Offered ClientShard::refuse(ClientSocket& child, int error) {
  if (error != 0) common_.complain(std::string{"a connection is reset: "} + std::strerror(error));
  child.client_done = true;
  close_socket(child, true);
  maybe_free(child);
  return Offered::refused;
}

/// The end that was made for accept() is gone, or goes, and no program has used it.
void ClientShard::withdraw(ClientSocket& child) {
  close_end(child);
  child.receive.restart_tokens();
  child.fin_shown = false;
  child.set_status(0, ipc::Status::attached);
}

// ---------------------------------------------------------------------------------------------- waiting

void ClientShard::offer_or_wait(ClientSocket& child) {
  const stack::Cookie listener = child.parent->cookie;
  if (const auto at = waiting_.find(listener); at != waiting_.end())
    return at->second->children.push_back(child.cookie);
  if (offer(child) != Offered::later) return;
  auto waiting = std::make_unique<Waiting>(*this, child.parent);
  if (!watch_pipe(*waiting)) return static_cast<void>(refuse(child, errno));
  waiting->children.push_back(child.cookie);
  waiting_.emplace(listener, std::move(waiting));
}

/// Edge-triggered, and told at once if there is room by now. False: nothing would ever tell.
bool ClientShard::watch_pipe(Waiting& waiting) {
  if (waiting.watch != 0 || waiting.listener->pipe() < 0) return true;
  waiting.watch = thread_->poller().add(waiting.listener->pipe(), EPOLLOUT | EPOLLET, waiting);
  return waiting.watch != 0;
}

/// The listener's descriptor has room again, was attached, or is closed.
void ClientShard::offer_waiting(stack::Cookie listener) {
  const auto at = waiting_.find(listener);
  if (at == waiting_.end()) return;
  Waiting& waiting = *at->second;
  for (; !waiting.children.empty(); waiting.children.pop_front()) {
    ClientSocket* child = by_cookie(waiting.children.front());
    if (child == nullptr || child->close_called || offer(*child) != Offered::later) continue;
    if (watch_pipe(waiting)) return;
    refuse(*child, errno);
  }
  thread_->poller().remove(waiting.watch);
  waiting_.erase(at);
}

void ClientShard::forget_waiting() {
  for (const auto& [listener, waiting] : waiting_) thread_->poller().remove(waiting->watch);
  waiting_.clear();
}

/// Every shard may have connections that wait for this listener.
void ClientShard::tell_waiting(stack::Cookie listener) {
  for (ClientShard* side : common_.shards)
    side->thread_->post([side, listener] { side->offer_waiting(listener); });
}

void ClientShard::on_accepted(ClientSocket& child) {
  child.parent.reset();
  stack().accepted(child.id);
  show_state(child);
}

}  // namespace iopkt::daemon
