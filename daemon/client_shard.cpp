// A turn of the clients' side: doorbells in, events out.
#include "client_shard.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "client_address.hpp"

namespace iopkt::daemon {
namespace {

constexpr std::size_t kLeftPerTurn = 16;  ///< a client may leave as many as its quota has
constexpr Duration kTokenRetry = std::chrono::milliseconds{1};
constexpr Duration kHeldRetry = std::chrono::microseconds{50};
constexpr std::size_t kTrimBytes = std::size_t{1} << 20;  ///< punched in one idle turn

}  // namespace

void ClientSocket::ready(std::uint32_t events) { owner.side.on_end(*this, events); }

void ClientSocket::drop_charge() {
  const auto& share = owner.client->share;
  if (std::exchange(charged, false) && share) share->give(1);
}

ClientShard::ClientShard(ClientsCommon& common, std::uint32_t number, HashKey seed)
    : common_(common), number_(number), seed_(seed) {}

ClientShard::~ClientShard() { forget_all(); }

void ClientShard::forget_all() {
  held_.clear();
  sockets_.for_each([this](std::uint64_t cookie, const std::unique_ptr<ClientSocket>& socket) {
    if (socket->listener) common_.listeners.remove(cookie);
    thread_->poller().remove(socket->watch);
    drop_witness_pipe(*socket);
  });
  for (const auto& client : clients_) thread_->poller().remove(client->watch);
  forget_waiting();
  sockets_.clear();
  clients_.clear();
}

// ---------------------------------------------------------------------------------------------- finding

ClientSocket* ClientShard::by_cookie(std::uint64_t cookie) const {
  const std::unique_ptr<ClientSocket>* found = sockets_.find(cookie);
  return found == nullptr ? nullptr : found->get();
}

ShardClient* ClientShard::find(const Client& client) const {
  for (const auto& known : clients_)
    if (known->client.get() == &client) return known.get();
  return nullptr;
}

std::vector<ClientSocket*> ClientShard::sockets_of(const Client& client) const {
  std::vector<ClientSocket*> out;
  const ShardClient* known = find(client);
  if (known == nullptr) return out;
  for (const auto& arena : known->arenas)
    for (ClientSocket* socket : arena->sockets)
      if (socket != nullptr) out.push_back(socket);
  return out;
}

ShardClient* ClientShard::find_or_make(const std::shared_ptr<Client>& client) {
  if (ShardClient* known = find(*client)) return known;
  if (client->dead) return nullptr;
  auto made = std::make_unique<ShardClient>(*this, client);
  made->bell = &client->bell(number_);
  // Edge-triggered and never read: what the client does to its counter harms only itself.
  made->watch = thread_->poller().add(client->event_fd(number_), EPOLLIN | EPOLLET, *made);
  if (made->watch == 0) return nullptr;
  return clients_.emplace_back(std::move(made)).get();
}

ClientSocket* ClientShard::by_number(ShardClient& client, std::uint32_t number) const {
  for (const auto& arena : client.arenas)
    if (number - arena->first_slot < arena->slot_count) return arena->sockets[number - arena->first_slot];
  return nullptr;
}

ClientSocket* ClientShard::by_name(const Client& client, std::uint64_t name) const {
  const auto arena = client.arena(ipc::arena_of(name));
  if (!arena || arena->shard != number_ || ipc::index_of(name) >= arena->slot_count) return nullptr;
  ClientSocket* socket = arena->sockets[ipc::index_of(name)];
  // A socket that its program has closed is no program's any more.
  return socket == nullptr || socket->client_done ? nullptr : socket;
}

std::vector<ClientShard::Listed> ClientShard::list() const {
  std::vector<Listed> out;
  for (const auto& client : clients_) out.push_back({client->client->id, static_cast<std::uint32_t>(client->socket_count)});
  return out;
}

// ---------------------------------------------------------------------------------------------- doorbells

bool ClientShard::collect() {
  bool any = false;
  closing_left_ = kClosingBudget;
  // By position: serving a socket may end its client, but clients leave the list only in deliver().
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    ShardClient& client = *clients_[i];
    if (!ipc::rung(*client.bell)) continue;
    any = true;
    if (client.armed) {
      client.armer.disarm(*client.bell);
      client.armed = false;
    }
    ipc::collect(*client.bell, [&](std::uint32_t number) {
      if (client.ended) return;
      if (ClientSocket* socket = by_number(client, number)) service(*socket);
    });
  }
  if (!busy_.empty()) {
    any = true;
    for (const std::uint64_t cookie : std::exchange(busy_, {}))
      if (ClientSocket* socket = by_cookie(cookie)) send_datagrams(*socket);
  }
  return any;
}

bool ClientShard::tell_progress(ClientSocket& socket) {
  if (socket.stream()) return true;  // pump() tells
  const std::uint64_t tail = socket.send.checked_tail();
  const std::uint64_t head = socket.receive.checked_head();
  if (socket.send.broken() || socket.receive.broken()) {
    broken(socket, "positions that cannot be");
    return false;
  }
  const std::uint64_t tail_moved = ipc::distance(socket.send_tail & ipc::kPositionMask, tail);
  const std::uint64_t head_moved = ipc::distance(socket.receive_head & ipc::kPositionMask, head);
  if (tail_moved == 0 && head_moved == 0) return true;
  socket.send_tail += tail_moved;
  socket.receive_head += head_moved;
  if (stack().progress(socket.id, socket.send_tail, socket.receive_head)) {
    if (std::uint64_t urgent = 0; socket.send.take_urgent(urgent))
      stack().mark_urgent(socket.id, socket.send_tail - ipc::distance(urgent, tail));
    if (tail_moved != 0 && socket.send.more_follows()) stack().more_follows(socket.id, socket.send_tail);
    return true;
  }
  broken(socket, "positions that the stack refuses");
  return false;
}

void ClientShard::service(ClientSocket& socket) {
  if (socket.client_done) return;
  const std::uint32_t kicks = socket.slot().kicks.exchange(0);
  // An end that is there shows the close by itself: others may hold the descriptor, too.
  if ((kicks & ipc::Kick::closed) != 0 && !socket.attached()) {
    socket.client_done = true;
    close_socket(socket, false);
    return maybe_free(socket);
  }
  if (socket.released || socket.close_called) return;
  if (kicks != 0) {
    if ((kicks & ipc::Kick::repair) != 0 && socket.receive.repair()) list_for_flush(socket);
    if ((kicks & ipc::Kick::recheck) != 0 && socket.receive.recheck()) list_for_flush(socket);
  }
  if (socket.datagram) return static_cast<void>(send_datagrams(socket));
  if (socket.receive.size() == 0 || !tell_progress(socket)) return;
  if (socket.send.limited()) socket.send.look_again(socket.end);
  // The client has read: ask again if the window is still small.
  on_readable(socket);
}

// ---------------------------------------------------------------------------------------------- events

bool ClientShard::deliver() {
  bool any = false;
  // Before any program hears of the message that it was learned from.
  if (stack().take_path_narrowed()) common_.judge_anew();
  for (const stack::AcceptEvent& accept : stack().take_accepts()) on_accept(accept), any = true;
  for (const stack::Datagram& datagram : stack().take_datagrams()) on_datagram(datagram), any = true;
  for (const stack::SocketEvent& event : stack().take_events()) on_event(event), any = true;
  flush_tokens();
  look_at_resting();
  if (!held_.empty()) any = run_held() || any;
  for (std::size_t n = std::min(left_to_writers_.size(), kLeftPerTurn); n > 0; --n) {
    const std::uint64_t cookie = left_to_writers_.front();
    left_to_writers_.pop_front();
    if (ClientSocket* socket = by_cookie(cookie)) maybe_free(*socket);
  }
  std::erase_if(clients_, [&](const std::unique_ptr<ShardClient>& client) {
    if (!client->ended || client->socket_count != 0) return false;
    thread_->poller().remove(client->watch);
    return true;
  });
  return any;
}

void ClientShard::on_event(const stack::SocketEvent& event) {
  ClientSocket* socket = by_cookie(event.cookie);
  if (socket == nullptr || socket->id != event.id) return;
  if ((event.what & stack::event::connected) != 0) {
    update_names(*socket);
    show_rings(*socket);
    socket->set_status(ipc::Status::connected, ipc::Status::connecting);
    if (socket->attached()) socket->send.release(socket->end);
  }
  if ((event.what & stack::event::urgent) != 0) show_urgent(*socket);
  if ((event.what & stack::event::readable) != 0) on_readable(*socket);
  if ((event.what & stack::event::space_wanted) != 0) {
    // It may have ended with what was read.
    socket = by_cookie(event.cookie);
    if (socket == nullptr) return;
    grow_rings(*socket);
  }
  if ((event.what & stack::event::writable) != 0 && socket->send.size() != 0 && !socket->failed && !socket->close_called) {
    // The head lies before the tail that the stack was told, which was checked.
    update_limit(*socket);
    if (socket->stream()) pump(*socket);
    else socket->send.consume_to(stack().send_head(event.id) & ipc::kPositionMask, socket->end);
  }
  if ((event.what & stack::event::soft_error) != 0) raise_error(*socket, static_cast<std::uint32_t>(event.error));
  if ((event.what & stack::event::peer_fin) != 0 && !socket->failed) {
    on_readable(*socket);
    socket->fin = true;
    socket->set_status(ipc::Status::fin_received);
    list_for_flush(*socket);  // the end of the stream is shown behind the last token
    if (socket->stream()) pump(*socket);  // or behind the last byte
  }
  if ((event.what & stack::event::failed) != 0) on_failed(*socket, static_cast<int>(event.error));
  if ((event.what & stack::event::released) != 0) {
    socket->released = true;
    maybe_free(*socket);
  }
}

/// Before anything behind the mark is published. In stream mode the byte is one of the stream alone.
void ClientShard::show_urgent(ClientSocket& socket) {
  const auto mark = stack().urgent_mark(socket.id);
  const std::size_t size = socket.receive.size();
  if (!mark || size == 0 || socket.failed || socket.receive.mode() != ipc::Mode::ring) return;
  const std::uint64_t position = mark->end - 1;
  std::optional<std::uint8_t> byte;
  if (mark->here) byte = static_cast<std::uint8_t>(socket.receive.base()[position & (size - 1)]);
  if (socket.receive.set_urgent(position, byte, mark->in_line)) list_for_flush(socket);
}

void ClientShard::on_readable(ClientSocket& socket) {
  if (socket.datagram || socket.receive.size() == 0 || socket.failed) return;
  if (socket.stream()) return pump(socket);
  if (socket.receive.mode() != ipc::Mode::ring) return;
  if (socket.receive_block.grown) list_for_rest(socket);
  const std::uint64_t tail = stack().receive_tail(socket.id) & ipc::kPositionMask;
  if (tail != socket.receive.tail()) {
    show_urgent(socket);
    if (socket.receive.publish(tail)) list_for_flush(socket);
  }
  // TCP's window follows what was read so far: without this a peer that fills the window of an old head waits for ever.
  if (!tell_progress(socket)) return;
  // While less than half is free, as far as the stack knows, the reader has to say when it has made room; else the next arrival
  // tells.
  const std::size_t size = socket.receive.size();
  const auto unread = [&] { return ipc::distance(socket.receive_head & ipc::kPositionMask, tail); };
  while (unread() > size / 2) {
    if (!tell_progress(socket) || unread() <= size / 2) return;
    if (socket.receive.ask_for_bell((socket.receive_head + size / 4) & ipc::kPositionMask)) return;
  }
}

void ClientShard::on_failed(ClientSocket& socket, int error) {
  if (socket.failed) return;
  on_readable(socket);
  socket.failed = true;
  socket.error = static_cast<std::uint32_t>(error);
  // A connection that nobody accepted keeps its end: the program learns of the error when it has accepted it.
  if (socket.parent) return socket.slot().error.store(socket.error, std::memory_order_release);
  // What has arrived before is read before.
  if (socket.stream() && socket.attached()) return pump(socket);
  show_state(socket);
}

void ClientShard::update_names(ClientSocket& socket) {
  ipc::Names names;
  const wire::Endpoint local = stack().local_endpoint(socket.id), remote = stack().remote_endpoint(socket.id);
  names.local = to_shared(local);
  if (remote.port.value != 0 || !remote.address.is_unspecified()) names.peer = to_shared(remote);
  ipc::write_names(socket.slot(), names);
}

// ---------------------------------------------------------------------------------------------- tokens

void ClientShard::list_for_flush(ClientSocket& socket) {
  if (std::exchange(socket.flush_listed, true)) return;
  flush_.push_back(socket.cookie);
}

/// True: a token found no room.
bool ClientShard::show_tokens(ClientSocket& socket) {
  if (socket.receive.wants_flush()) {
    // Before, for whoever it wakes; and after, for whoever looked too early.
    const std::uint32_t told = socket.receive.urgent_told();
    if (socket.receive.tells_urgent()) socket.owner.client->count_urgent();
    const bool again = socket.receive.flush(socket.end);
    if (socket.receive.urgent_told() != told) socket.owner.client->count_urgent();
    if (again) return true;
  }
  // Otherwise pump() shows it, behind the last byte.
  if (socket.receive.mode() != ipc::Mode::ring) return false;
  if (socket.fin && !std::exchange(socket.fin_shown, true)) {
    leave_witness_byte(socket);
    socket.end.show_fin();
  }
  return false;
}

void ClientShard::flush_tokens() {
  tokens_left_ = false;
  std::vector<std::uint64_t> again;
  for (const std::uint64_t cookie : std::exchange(flush_, {})) {
    ClientSocket* socket = by_cookie(cookie);
    if (socket == nullptr) continue;
    socket->flush_listed = false;
    if (!socket->attached()) continue;  // show_state() lists it again
    if (show_tokens(*socket)) again.push_back(cookie);
  }
  for (const std::uint64_t cookie : again) {
    tokens_left_ = true;
    list_for_flush(*by_cookie(cookie));
  }
}

// ---------------------------------------------------------------------------------------------- sleeping

bool ClientShard::arm() {
  bool quiet = true;
  for (const auto& client : clients_) {
    if (client->armed) {
      quiet = quiet && !ipc::rung(*client->bell);
    } else if (client->armer.arm(*client->bell)) {
      client->armed = true;
    } else {
      quiet = false;
    }
  }
  if (!quiet) return false;
  // Nothing to do: a good moment to give back ring memory that nobody uses. Not between two bursts of connections, which would have
  // to fault it in again.
  if (thread_->now() < trim_at_) return true;
  bool left = false;
  for (const auto& client : clients_)
    for (const auto& arena : client->arenas) left = arena->rings.trim(kTrimBytes) || left;
  return !left;
}

bool ClientShard::has_spare_memory() const {
  return std::ranges::any_of(clients_, [](const auto& client) {
    return std::ranges::any_of(client->arenas, [](const auto& arena) { return arena->rings.above_bound(); });
  });
}

Duration ClientShard::longest_sleep() const {
  if (!busy_.empty()) return Duration::zero();
  Duration limit = Duration::max();
  if (!held_.empty()) limit = std::min(limit, kHeldRetry);
  if (tokens_left_) limit = std::min(limit, kTokenRetry);
  if (!resting_.empty()) limit = std::min(limit, std::max(rest_at_ - thread_->now(), Duration::zero()));
  if (thread_->now() < trim_at_ && has_spare_memory()) limit = std::min(limit, trim_at_ - thread_->now());
  return limit;
}

}  // namespace iopkt::daemon
