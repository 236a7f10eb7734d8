// The life of a slot: opened, attached, shown what happens, closed, given to the next.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>

#include "base/assert.hpp"
#include "client_shard.hpp"
#include "socket/numbers.hpp"

namespace iopkt::daemon {
namespace {

namespace num = socket::num;

constexpr std::uint32_t kEndEvents = EPOLLIN | EPOLLRDHUP | EPOLLET;

const char* text_of(ipc::StackEnd::Fault fault) {
  using Fault = ipc::StackEnd::Fault;
  switch (fault) {
    case Fault::none: return "";
    case Fault::short_unit: return "a unit that is none: too short or too long";
    case Fault::unknown_unit: return "a unit of an unknown type";
    case Fault::too_many_units: return "more units than the protocol has";
    case Fault::descriptor: return "a descriptor with a unit";
  }
  return "";
}

}  // namespace

// ---------------------------------------------------------------------------------------------- making

/// One that nobody can guess.
std::uint64_t ClientShard::next_number() {
  const std::uint64_t input[2] = {++numbers_, number_};
  return siphash24(seed_, as_bytes(input, sizeof input));
}

ClientSocket* ClientShard::make_socket(ShardClient& client, std::uint16_t domain, std::uint16_t type, std::uint32_t protocol) {
  Client& owner = *client.client;
  DescriptorCharge charge;  // until there is a socket that holds it
  if (!charge.take(owner.share, 1)) {
    common_.complain("a socket of user " + std::to_string(owner.credential.user) + " is refused: too few file descriptors (RLIMIT_NOFILE)");
    return nullptr;
  }
  if (!owner.sockets.take(1, owner.quota.sockets)) return nullptr;
  std::shared_ptr<Arena> arena;
  for (const auto& candidate : client.arenas)
    if (!candidate->free_slots.empty()) arena = candidate;
  if (!arena) {
    arena = owner.add_arena(number_);
    if (!arena) {
      owner.sockets.give(1);
      return nullptr;
    }
    client.arenas.push_back(arena);
  }
  const std::uint32_t index = arena->free_slots.back();
  arena->free_slots.pop_back();
  auto made = std::make_unique<ClientSocket>(client, *arena, index);
  ClientSocket& socket = *made;
  charge.hand_over();
  socket.charged = true;
  socket.cookie = std::uint64_t{number_} << 56 | next_cookie_++;
  socket.nonce = next_number();
  socket.domain = domain;
  socket.type = type;
  socket.protocol = protocol;
  socket.datagram = type != num::kStream;
  ipc::reset_slot(socket.slot(), domain, type, protocol, socket.nonce, number_);
  socket.receive = ipc::ReceiveRingProducer{socket.slot()};
  socket.send = ipc::SendRingConsumer{socket.slot(), socket.datagram};
  arena->sockets[index] = &socket;
  ++client.socket_count;
  sockets_.try_emplace(socket.cookie, std::move(made));
  return &socket;
}

/// From here on the client can use the rings.
void ClientShard::show_rings(ClientSocket& socket) {
  if (socket.receive.size() != 0 || socket.receive_block.size() == 0) return;
  // Far from those of the socket before: a thread that still believes in that one must not move a position of this one.
  const auto epoch = static_cast<std::uint16_t>(socket.slot().incarnation.load(std::memory_order_relaxed) * 64);
  const auto show = [&](auto& ring, const ClientSocket::Block& block) {
    ring.set_ring(socket.arena.base() + block.offset(), ipc::RingRef::make(block.offset(), block.size(), epoch));
  };
  show(socket.receive, socket.receive_block);
  show(socket.send, socket.send_block);
  update_limit(socket);
}

void ClientShard::update_limit(ClientSocket& socket) {
  if (socket.datagram || socket.stream()) return;
  const stack::Shard::SendLimit limit = stack().send_limit(socket.id);
  if (limit.low_water != 0 || socket.send.limited()) socket.send.limit_to(limit.position, limit.low_water);
}

void ClientShard::answer_slot(Request& request, const ClientSocket& socket) {
  const ipc::SlotAnswer answer{.slot = socket.name(),
                               .nonce = socket.nonce,
                               .incarnation = socket.slot().incarnation.load(std::memory_order_relaxed),
                               .reserved = 0};
  const int fd = socket.arena.fd();
  const bool first = !request.sink().knows_arena(socket.arena.id);
  if (first) request.sink().learned_arena(socket.arena.id);
  const std::span<const int> fds{&fd, first ? 1u : 0u};
  request.answer<ipc::MessageId::slot_open>(answer, {}, fds);
}

void ClientShard::open_slot(Request& request) {
  const auto wanted = request.fixed<ipc::SlotOpenRequest>();
  if (wanted.domain != num::kAfInet && wanted.domain != num::kAfInet6) return request.refuse(EAFNOSUPPORT);
  ShardClient* client = find_or_make(request.client);
  if (client == nullptr || client->ended) return request.refuse(ENOBUFS);
  ClientSocket* socket = make_socket(*client, wanted.domain, wanted.type, wanted.protocol);
  if (socket == nullptr) return request.refuse(ENFILE, "no more sockets");
  socket->program_cookie = wanted.cookie;
  const auto opened = stack().open({.family = wanted.domain == num::kAfInet6 ? wire::IpFamily::v6 : wire::IpFamily::v4,
                                    .type = wanted.type,
                                    .protocol = static_cast<int>(wanted.protocol),
                                    .user = request.caller.user,
                                    .privileged = wanted.type == SOCK_RAW && request.may(CAP_NET_RAW),
                                    .cookie = socket->cookie});
  int error = opened ? 0 : static_cast<int>(opened.error());
  if (opened) socket->id = *opened;
  if (error == 0 && socket->datagram) {
    error = give_rings(*socket, ipc::kDatagramRingSize, ipc::kDatagramRingSize) ? 0 : ENOBUFS;
    if (error == 0) show_rings(*socket);
  } else if (error == 0) {
    socket->send.begin_stalled();
  }
  if (error != 0) {
    if (opened) {
      close_socket(*socket, false);
    } else {
      socket->released = true;
    }
    socket->client_done = true;
    maybe_free(*socket);
    return request.refuse(error);
  }
  answer_slot(request, *socket);
}

// ---------------------------------------------------------------------------------------------- the descriptor's other end

void ClientShard::attach(const std::shared_ptr<Client>& client, const ipc::Unit& hello, Fd fd, bool stream) {
  ClientSocket* socket = client->dead ? nullptr : by_name(*client, hello.slot);
  // A wrong number is no proof of hostility (the slot may be gone by now), but this descriptor is nobody's.
  if (socket == nullptr || hello.nonce != socket->nonce || socket->client_done || socket->parent || stream == socket->datagram)
    return;
  if (socket->attached()) {
    if (socket->receive.mode() == ipc::Mode::switching && socket->fin_shown)
      replace_end(*socket, std::move(fd), hello.cookie);
    return;
  }
  if (socket->program_cookie != 0 && hello.cookie != 0 && socket->program_cookie != hello.cookie) return;
  take_end(*socket, std::move(fd));
}

void ClientShard::take_end(ClientSocket& socket, Fd fd) {
  socket.fd = std::move(fd);
  socket.witness_byte = false;
  socket.end = ipc::StackEnd{socket.fd.get()};
  socket.watch = thread_->poller().add(socket.fd.get(), kEndEvents, socket);
  if (socket.watch == 0) {
    socket.fd.reset();
    socket.end = ipc::StackEnd{};
    return;
  }
  socket.owner.client->holders.fetch_add(1);
  socket.set_status(ipc::Status::attached);
  if (socket.listener) {
    if (socket.listener->open_pipe(socket.fd.get()) != 0) return close_end(socket);
    tell_waiting(socket.cookie);
  }
  // What happened before there was an end to show it on.
  if (!socket.parent) show_state(socket);
}

/// `for_room`: also for when the program has made room.
void ClientShard::watch_end(ClientSocket& socket, bool for_room) {
  thread_->poller().change(socket.watch, kEndEvents | (for_room ? EPOLLOUT : 0u));
}

/// Makes the end show what the slot says: established, tokens, end of stream, failure.
void ClientShard::show_state(ClientSocket& socket) {
  if (socket.failed) {
    socket.slot().error.store(socket.error, std::memory_order_release);
    socket.set_status(ipc::Status::reset, ipc::Status::connecting);
    if (!socket.attached()) return;
    // A program that closes from here on sees the reset, and says so (left() in shim/sockets.cpp); what it closed before shows here.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    const bool gone = !socket.stream() && !is_held(socket, shown_by(socket.fd.get()));
    // Closing over the unread ballast is a reset; a stalled writer has to be let go before.
    socket.send.release(socket.end);
    if (!gone && outlives_processes(socket)) leave_witness_pipe(socket);
    close_end(socket);
    // In stream mode there is no witness, and where no process with the library has the socket, nobody to say that it is closed; nor
    // can anybody find the slot again.
    const bool lost = socket.stream() && ipc::client_word(socket.slot(), ipc::kHoldersWord).load(std::memory_order_acquire) == 0;
    if (!gone && !lost) return;
    socket.client_done = true;
    close_socket(socket, false);
    return maybe_free(socket);
  }
  if (!socket.attached()) return;
  if ((socket.status & ipc::Status::connected) != 0 && !socket.datagram) socket.send.release(socket.end);
  if (socket.receive.wants_flush() || socket.fin) list_for_flush(socket);
}

void ClientShard::close_end(ClientSocket& socket) {
  if (!socket.fd) return;
  thread_->poller().remove(std::exchange(socket.watch, 0));
  socket.end = ipc::StackEnd{};
  socket.fd.reset();
  socket.receive.stop_tokens();
  drop_holder(socket.owner.client);
}

/// Where other processes keep the client alive, one that ends with the socket open (by SIGPIPE, say) ends nothing else by that.
bool ClientShard::outlives_processes(const ClientSocket& socket) {
  return socket.owner.client->joined || ipc::client_word(socket.slot(), ipc::kSharedWord).load(std::memory_order_relaxed) != 0;
}

/// Once both directions are shut the end looks as if the program had closed it. One byte that no reader takes tells: the end shows
/// an error if the program's last descriptor is closed over it. Before either side is shut that needs it, and behind the tokens.
void ClientShard::leave_witness_byte(ClientSocket& socket) {
  socket.receive.stop_tokens();
  if (socket.witness_byte || !socket.attached()) return;
  // A reset may still come, and behind a FIN no pipe can be sent any more.
  if (!socket.listened && outlives_processes(socket) && socket.seldom.make().witness_charge.take(socket.owner.client->share, 1))
    leave_witness_pipe(socket);
  // A listener's queue may be full of connections; they do as well.
  socket.witness_byte = socket.has_witness_pipe() || socket.end.send_token() == ipc::StackIo::Sent::done ||
                        (socket.listened && socket.end.token_queued());
}

/// `events`: what the end shows. False: the program has closed its last descriptor.
bool ClientShard::is_held(ClientSocket& socket, std::uint32_t events) {
  if ((events & EPOLLERR) != 0) return false;
  if ((events & EPOLLHUP) == 0) return true;
  const bool may_speak = socket.owner.client->connections > 0;  // else the shutdown of its own would be news of nobody
  const bool queued = socket.witness_byte && socket.end.token_queued();
  // The byte may be gone, by a reader or by an accept() that slept: then the first look at the hang-up is the shutdown, the next the
  // close.
  if (socket.listened && socket.program_shut_write) {
    const bool known = ipc::client_word(socket.slot(), ipc::kHoldersWord).load() != 0;  // a library that closes lowers it first
    return (known && may_speak && !std::exchange(socket.hung_up, true)) || queued;
  }
  if (socket.witness_byte && ipc::client_word(socket.slot(), ipc::kWitnessWord).load() != 0)
    return may_speak && !std::exchange(socket.hung_up, true);
  return queued;
}

/// Once the end is closed nothing of it tells whether the program still has its own: a process that is killed, or ends with the socket
/// open, says nothing either.
void ClientShard::leave_witness_pipe(ClientSocket& socket) {
  if (socket.has_witness_pipe() || socket.datagram || socket.receive.mode() != ipc::Mode::ring) return;
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return;
  ClientSocket::Seldom& seldom = socket.seldom.make();
  seldom.witness_pipe.reset(ends[0]);
  const Fd other{ends[1]};
  const bool left = socket.end.send_witness(other.get());
  // Without EPOLLIN: only that the other end is gone.
  if (left) seldom.witness_pipe_watch = thread_->poller().add(ends[0], EPOLLET, socket);
  if (seldom.witness_pipe_watch == 0) seldom.witness_pipe.reset();
}

void ClientShard::drop_witness_pipe(ClientSocket& socket) {
  if (!socket.seldom) return;
  thread_->poller().remove(std::exchange(socket.seldom->witness_pipe_watch, 0));
  socket.seldom->witness_pipe.reset();
  socket.seldom->witness_charge.drop();
}

void ClientShard::drop_holder(const std::shared_ptr<Client>& client) {
  if (client->holders.fetch_sub(1) == 1) common_.end_client(client);
}

void ClientShard::on_end(ClientSocket& socket, std::uint32_t events) {
  if (socket.attached() && socket.has_witness_pipe()) {
    events = (events & ~(EPOLLHUP | EPOLLERR)) | shown_by(socket.fd.get());  // the pipe's event, perhaps
  } else if (socket.has_witness_pipe()) {
    drop_witness_pipe(socket);
    if (ipc::client_word(socket.slot(), ipc::kWitnessWord).load() != 0) return;  // its own word is needed
    socket.client_done = true;
    close_socket(socket, false);
    return maybe_free(socket);
  }
  if (socket.stream()) return on_stream_end(socket, events);
  for (;;) {
    const ipc::StackEnd::Arrivals arrived = socket.end.inspect();
    if (arrived.fault != ipc::StackEnd::Fault::none) return broken(socket, text_of(arrived.fault));
    if (arrived.hello && socket.parent) {
      if (arrived.unit.nonce != socket.nonce || arrived.unit.slot != socket.name() ||
          arrived.unit.client != socket.owner.client->id)
        return broken(socket, "a wrong HELLO");
      const std::uint64_t cookie = socket.cookie;
      on_accepted(socket);
      if (by_cookie(cookie) == nullptr || !socket.attached()) return;
    }
    if (!arrived.more) break;
  }
  if (!socket.datagram || socket.send.size() != 0) socket.send.on_units(socket.end);
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    if (socket.parent) {
      // No program has come to use this end: it is closed with its listener, or whoever took it has died or
      // had no number for it. Then the next accept() gets the connection.
      withdraw(socket);
      return offer_or_wait(socket);
    }
    if (!is_held(socket, events)) {
      socket.client_done = true;
      close_socket(socket, false);
      return maybe_free(socket);
    }
  }
  if ((events & EPOLLRDHUP) != 0 && !socket.failed) {
    // A holder without the shim shuts its side without asking.
    if (!std::exchange(socket.program_shut_write, true)) {
      if (!socket.datagram && socket.receive.size() != 0 && !tell_progress(socket)) return;
      stack().shutdown(socket.id, SHUT_WR);
      socket.set_status(ipc::Status::shut_wr);
    }
    socket.end.drain_to_ballast();
  }
}

// ---------------------------------------------------------------------------------------------- the end of a socket

void ClientShard::close_socket(ClientSocket& socket, bool abort, unsigned datagrams) {
  if (socket.listener) stop_listening(socket);
  if (!std::exchange(socket.close_called, true) && !socket.released) {
    // What the program wrote last counts, and what it did not read makes the difference between FIN and reset.
    if (!socket.datagram && socket.receive.size() != 0 && !socket.failed && !socket.stream()) {
      const std::uint64_t tail = socket.send.checked_tail(), head = socket.receive.checked_head();
      socket.send_tail += ipc::distance(socket.send_tail & ipc::kPositionMask, tail);
      socket.receive_head += ipc::distance(socket.receive_head & ipc::kPositionMask, head);
      abort = !stack().progress(socket.id, socket.send_tail, socket.receive_head) || abort;
    }
    if (socket.datagram && socket.send.size() != 0 && !socket.send.broken()) send_last_datagrams(socket, datagrams);
    if (abort && !socket.datagram) stack().disconnect(socket.id);
    stack().close(socket.id);
  }
  close_end(socket);
  // What the stack still sends for it needs no descriptor.
  socket.drop_charge();
}

void ClientShard::broken(ClientSocket& socket, const char* how) {
  stack().count_drop(packet::Drop::socket_broken);
  common_.complain("client " + std::to_string(socket.owner.client->id) + " (user " +
                   std::to_string(socket.owner.client->credential.user) + ") broke a socket: " + how);
  socket.slot().error.store(ECONNRESET, std::memory_order_release);
  socket.set_status(ipc::Status::reset);
  socket.client_done = true;
  if (socket.attached() && (socket.listener || socket.listened)) empty_end(socket);
  close_socket(socket, true);
  maybe_free(socket);
}

/// The connections that a listener has offered keep a copy of its end open. What the program has sent there may be a descriptor that
/// keeps those connections: the listener's own.
void ClientShard::empty_end(ClientSocket& socket) {
  ::shutdown(socket.fd.get(), SHUT_RDWR);
  std::array<std::byte, 4096> units;
  while (::recv(socket.fd.get(), units.data(), units.size(), MSG_DONTWAIT) > 0) {
  }
}

void ClientShard::maybe_free(ClientSocket& socket) {
  if (!socket.released || !socket.client_done) return;
  IOPKT_ASSERT(!socket.fd && !socket.listener);
  drop_witness_pipe(socket);
  drop_parts(socket);
  drop_errors(socket);
  ShardClient& client = socket.owner;
  socket.set_status(ipc::Status::closed);
  if (!client.ended && socket.send.writer_inside()) return left_to_writers_.push_back(socket.cookie);
  socket.slot().rx_ring.store(0, std::memory_order_release);
  socket.slot().tx_ring.store(0, std::memory_order_release);
  for (ClientSocket::Block* block : {&socket.send_block, &socket.receive_block}) give_block(socket, *block);
  if (socket.seldom) give_block(socket, socket.seldom->left_block);
  socket.arena.sockets[socket.index] = nullptr;
  socket.arena.free_slots.push_back(socket.index);
  client.client->sockets.give(1);
  --client.socket_count;
  sockets_.erase(socket.cookie);
}

void ClientShard::end_hung_up(const std::shared_ptr<Client>& client) {
  const ShardClient* known = find(*client);
  if (known == nullptr || client->connections > 0) return;
  std::vector<std::uint64_t> suspects;  // cookies: one may end another
  for (const auto& arena : known->arenas)
    for (const ClientSocket* socket : arena->sockets)
      if (socket != nullptr && socket->attached() && (socket->hung_up || socket->stream())) suspects.push_back(socket->cookie);
  for (const std::uint64_t cookie : suspects) {
    ClientSocket* socket = by_cookie(cookie);
    if (socket == nullptr || !socket->attached()) continue;
    if (socket->hung_up) {
      on_end(*socket, shown_by(socket->fd.get()));
    } else if (socket->stream()) {
      pump(*socket);
    }
  }
}

void ClientShard::end(const std::shared_ptr<Client>& client) {
  ShardClient* known = find(*client);
  if (known == nullptr || std::exchange(known->ended, true)) return;
  for (ClientSocket* socket : sockets_of(*client)) {
    socket->client_done = true;
    close_socket(*socket, socket->parent != nullptr, kSendBudget);
    maybe_free(*socket);
  }
}

bool ClientShard::end_some() {
  constexpr int kAtOnce = 512;  // others of the turn are not held up for long
  if (!ending_) {
    ending_.emplace();
    sockets_.for_each([&](std::uint64_t cookie, const std::unique_ptr<ClientSocket>&) { ending_->push_back(cookie); });
  }
  for (int left = kAtOnce; left > 0 && !ending_->empty(); --left) {
    ClientSocket* socket = by_cookie(ending_->back());
    ending_->pop_back();
    if (socket == nullptr) continue;
    socket->slot().error.store(ECONNRESET, std::memory_order_release);
    socket->set_status(ipc::Status::reset);
    socket->client_done = true;
    close_socket(*socket, true);
    maybe_free(*socket);
  }
  return !ending_->empty();
}

}  // namespace iopkt::daemon
