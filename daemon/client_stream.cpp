// Stream mode: what was a ring becomes the stack's own buffer between the descriptor and TCP. The switch stands in
// ipc/stream_end.hpp.
#include <sys/socket.h>

#include <array>

#include "client_shard.hpp"
#include "socket/numbers.hpp"

namespace iopkt::daemon {
namespace {

namespace num = socket::num;

/// `n` bytes of a ring from `position`, in two spans.
std::array<iovec, 2> spans_of(std::byte* base, std::size_t size, std::uint64_t position, std::size_t n) {
  const std::size_t start = position & (size - 1);
  const std::size_t first = std::min(n, size - start);
  return {iovec{base + start, first}, iovec{base, n - first}};
}

}  // namespace

// ---------------------------------------------------------------------------------------------- the switch

void ClientShard::request_mode(Request& request) {
  const auto name = request.fixed<ipc::ModeRequest>().slot;
  ClientSocket* socket = by_name(*request.client, name);
  // accept() has said HELLO before, on another way; it may end the socket.
  if (socket != nullptr && socket->parent && socket->attached()) on_end(*socket, 0);
  socket = by_name(*request.client, name);
  if (socket == nullptr) return request.refuse(EBADF);
  change_mode(request, *socket);
}

void ClientShard::change_mode(Request& request, ClientSocket& socket) {
  const auto wanted = static_cast<ipc::Mode>(request.fixed<ipc::ModeRequest>().mode);
  if (wanted != ipc::Mode::switching && wanted != ipc::Mode::stream) return request.refuse(EINVAL);
  if (socket.datagram) return request.refuse(EOPNOTSUPP, "only connected TCP sockets have a stream mode");
  if (socket.stream()) return request.answer_blob();
  const bool usable = socket.attached() && !socket.failed && !socket.parent && socket.receive.size() != 0 &&
                      (socket.status & ipc::Status::connected) != 0;
  if (!usable) return request.refuse(ENOTCONN, "only connected TCP sockets have a stream mode");
  if (wanted == ipc::Mode::switching) {
    const bool begun = begin_switch(socket);
    // TCP learns how far the client came with the rings.
    if (!tell_progress(socket)) return request.refuse(ECONNRESET);
    return request.answer_errno(begun ? 0 : EAGAIN);
  }
  const int error = begin_stream(socket);
  request.answer_errno(error);
  if (error == 0) pump(socket);  // last: it may end the socket
}

/// False: calls are in progress on the rings, or broken.
bool ClientShard::begin_switch(ClientSocket& socket) {
  socket.receive.set_mode(ipc::Mode::switching);
  if (!socket.receive.close_ring() || !socket.send.close_ring()) return false;
  socket.send.release(socket.end);  // who sleeps for room goes on with the descriptor
  return true;
}

/// 0 or an errno. EAGAIN: the client has not emptied the descriptor, or a writer still copies. ESHUTDOWN: the end of the stream
/// was shown already while data is unread; nothing can be written to this end any more, so the client has to bring another.
int ClientShard::begin_stream(ClientSocket& socket) {
  if (socket.receive.mode() != ipc::Mode::switching) return EINVAL;
  const std::uint64_t tail = stack().receive_tail(socket.id);
  if (socket.fin_shown && tail != socket.receive_head) return ESHUTDOWN;
  if (socket.end.token_queued() || !socket.send.close_ring() || socket.send.old_place_in_use()) return EAGAIN;
  socket.end.drain_to_ballast();
  if (socket.end.queued() == 0) return EAGAIN;
  socket.receive.set_mode(ipc::Mode::stream);
  socket.seldom.make().stream = std::make_unique<ClientSocket::Stream>(
      ClientSocket::Stream{.end = {socket.fd.get(), socket.end.queued() * ipc::kUnitSize}, .tail = tail});
  return 0;
}

/// SIOCOUTQ, where the client has no ring to look at.
void ClientShard::request_unsent(Request& request, ClientSocket& socket) {
  if (!socket.stream() || socket.failed || socket.released || socket.close_called) return request.refuse(ENOTTY);
  if (!socket.stream()->closed) pump(socket);  // what was written before the question counts
  const auto unsent = static_cast<int>(socket.send_tail - stack().send_head(socket.id));
  request.answer<ipc::MessageId::ioctl>({.result = 0, .reserved = 0}, as_bytes(&unsent, sizeof unsent));
}

void ClientShard::replace_end(ClientSocket& socket, Fd fd, std::uint64_t program_cookie) {
  const Fd old = std::move(socket.fd);
  thread_->poller().remove(std::exchange(socket.watch, 0));
  std::array<std::byte, 4096> units;  // other copies of the old descriptor see the end of the stream, not a reset
  while (::recv(old.get(), units.data(), units.size(), MSG_DONTWAIT) > 0) {
  }
  drop_witness_pipe(socket);
  socket.program_cookie = program_cookie;
  socket.fin_shown = socket.hung_up = false;
  const auto client = socket.owner.client;
  take_end(socket, std::move(fd));
  drop_holder(client);
}

// ---------------------------------------------------------------------------------------------- bytes

/// Descriptors in what is not taken may be those that keep the socket open. While a process of the client can speak that is no matter:
/// its end is looked at (end_hung_up()).
bool ClientShard::end_if_it_keeps_itself(ClientSocket& socket) {
  if (socket.owner.client->connections > 0 || !socket.stream()->end.carries_descriptors()) return false;
  broken(socket, "descriptors in a stream");
  return true;
}

/// Program -> send ring. True: all that the program has written was taken. Nothing: the socket has ended.
std::optional<bool> ClientShard::take_from_program(ClientSocket& socket) {
  if (socket.failed || socket.released || socket.close_called || socket.program_shut_write)
    return end_if_it_keeps_itself(socket) ? std::nullopt : std::optional{true};
  const std::size_t used = static_cast<std::size_t>(socket.send_tail - stack().send_head(socket.id));
  const auto room = spans_of(socket.send.base(), socket.send.size(), socket.send_tail, socket.send.size() - used);
  const auto taken = socket.stream()->end.take(room);
  socket.send_tail += taken.bytes;
  if (!taken.dry && end_if_it_keeps_itself(socket)) return std::nullopt;
  return taken.dry;
}

/// Receive ring -> program. True: everything that has arrived so far was given, or nobody will ever read it.
bool ClientShard::give_to_program(ClientSocket& socket) {
  ClientSocket::Stream& stream = *socket.stream();
  if (!socket.failed && !socket.released) stream.tail = stack().receive_tail(socket.id);
  const std::size_t unread = static_cast<std::size_t>(stream.tail - socket.receive_head);
  if (unread == 0) return true;
  std::size_t given = 0;
  const auto bytes = spans_of(socket.receive.base(), socket.receive.size(), socket.receive_head, unread);
  const auto how = stream.end.give(bytes, given);
  if (how == ipc::StreamEnd::Given::gone) given = unread;
  socket.receive_head += given;
  const bool wait = how == ipc::StreamEnd::Given::some;
  if (wait != std::exchange(stream.waits, wait)) watch_end(socket, wait);
  return !wait;
}

void ClientShard::pump(ClientSocket& socket) {
  if (!socket.attached()) return;
  const std::uint64_t sent = socket.send_tail, received = socket.receive_head;
  const std::optional<bool> result = take_from_program(socket);
  if (!result) return;
  const bool taken = *result;
  const bool given = give_to_program(socket);
  const bool known = !socket.failed && !socket.released && !socket.close_called;
  if (known && (sent != socket.send_tail || received != socket.receive_head) &&
      !stack().progress(socket.id, socket.send_tail, socket.receive_head))
    return broken(socket, "positions that the stack refuses");
  ClientSocket::Stream& stream = *socket.stream();
  // Not before a reset: a FIN in front of it would be the end that the peer sees.
  if (taken && stream.shut && !stream.aborted && known && !std::exchange(socket.program_shut_write, true)) {
    stack().shutdown(socket.id, SHUT_WR);
    socket.set_status(ipc::Status::shut_wr);
  }
  if (taken && stream.closed) {
    stream.end.drop_ballast();
    socket.client_done = true;
    // A close that leaves data unread is a reset, behind what the window lets through.
    if (const ::linger reset{.l_onoff = 1, .l_linger = 0}; stream.aborted && known)
      stack().set_option(socket.id, num::kSolSocket, num::so_linger, as_bytes(&reset, sizeof reset), false);
    close_socket(socket, false);
    return maybe_free(socket);
  }
  if (!given) return;
  if (socket.failed) return show_state(socket);
  if (socket.fin && !std::exchange(socket.fin_shown, true)) stream.end.show_fin();
}

/// The end of a socket in stream mode is readable, writable or shut.
void ClientShard::on_stream_end(ClientSocket& socket, std::uint32_t events) {
  ClientSocket::Stream& stream = *socket.stream();
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) stream.shut = true;
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    // Once the peer's end of the stream is shown, the program's own shutdown looks like its close. Only a process with the library
    // can find the slot again: while one says that it has the socket, the next edge is the close. An error: it was closed with
    // data unread.
    const bool held = ipc::client_word(socket.slot(), ipc::kHoldersWord).load(std::memory_order_acquire) != 0;
    const bool may_speak = socket.owner.client->connections > 0;
    const bool shutdown = socket.fin_shown && (events & EPOLLERR) == 0 && held && may_speak && !socket.hung_up;
    socket.hung_up = true;
    stream.closed = stream.closed || !shutdown;
    stream.aborted = stream.aborted || (events & EPOLLERR) != 0;
  }
  pump(socket);
}

}  // namespace iopkt::daemon
