// listen(2) and accept(2): the descriptor is attached as every other, and the stack sends each connection
// through it.
#include <errno.h>
#include <unistd.h>

#include "ipc/offer.hpp"
#include "shim/addresses.hpp"
#include "shim/confine.hpp"
#include "shim/data.hpp"
#include "shim/native.hpp"
#include "shim/real.hpp"
#include "shim/sockets.hpp"

namespace iopkt::shim {

namespace {

int fail(int error) {
  errno = error;
  return -1;
}

/// The entry of the connection that `hello` names. 0 or an errno.
int entry_from_hello(const Socket& listener, const ipc::AcceptHello& hello, Entry& entry) {
  if (hello.client == listener.link->client_id) {
    const int arena = find_arena(listener.link, ipc::arena_of(hello.slot));
    if (arena >= 0) {
      entry = Entry::make(static_cast<std::uint32_t>(arena), ipc::index_of(hello.slot), Entry::kOurs);
      return 0;
    }
  }
  Request request;
  if (request.error() != 0) return request.error();
  ipc::SlotAnswer answer{};
  const int error =
      request.call<ipc::MessageId::accept_adopt>({.slot = hello.slot, .nonce = hello.nonce}, answer);
  return error != 0 ? error : request.entry_from(answer, false, entry);
}

/// Makes the descriptor of an accepted connection a socket of the stack. 0 or an errno.
int adopt(int fd, const Socket& listener, const ipc::AcceptHello& hello) {
  if (fd >= kTableSize) return EMFILE;
  Entry entry;
  if (const int error = entry_from_hello(listener, hello, entry); error != 0) return error;
  const Socket s = socket_of(entry);
  ipc::ProgramEnd end = s.end(fd);
  // If the other end is gone, the slot says what happened: the descriptor is given out all the same, as the
  // kernel does.
  end.send_unit(ipc::Unit::hello(s.link->client_id, s.name, hello.nonce, 0));
  if (client_word(listener, ClientWord::shared).load(std::memory_order_relaxed) != 0)
    client_word(s, ClientWord::shared).store(1, std::memory_order_relaxed);
  add_holder(fd, entry);
  return 0;
}

/// The next connection, as the kernel would wait for it: SO_RCVTIMEO, EINTR and SA_RESTART, O_NONBLOCK and
/// the death of the stack are those of a recvmsg(). A descriptor or -1.
int take_offer(int fd, const Socket& listener, ipc::Offer& offer, int flags) {
  const ssize_t n = real().recvmsg(fd, offer.message(), (flags & SOCK_CLOEXEC) != 0 ? MSG_CMSG_CLOEXEC : 0);
  if (n > 0) {
    const int accepted = offer.descriptor(static_cast<std::size_t>(n));
    if (accepted >= 0 || (listener.status() & ipc::Status::listening) != 0) return accepted;
    return fail(EINVAL);  // it was shut while this call slept: the byte is the stack's
  }
  if (n < 0 && errno != ECONNRESET) return -1;
  // Shut by the program (EINVAL, as the kernel says), or the stack has ended.
  const bool ended = !listener.alive() || (listener.status() & ipc::Status::listening) != 0;
  return fail(ended ? ENETDOWN : EINVAL);
}

}  // namespace

int listen_socket(int fd, Entry entry, int backlog) {
  const Socket s = socket_of(entry);
  if (s.datagram) return fail(EOPNOTSUPP);
  const std::uint32_t status = s.status();
  if ((status & (ipc::Status::connected | ipc::Status::connecting | ipc::Status::reset)) != 0)
    return fail(EINVAL);
  // Nothing can be sent through a descriptor that was shut: the kernel's own would listen again.
  if ((status & ipc::Status::shut_rd) != 0) return fail(EOPNOTSUPP);
  // Attached before the stack listens: from its answer on a connection may come at any moment.
  if (const int error = attach(fd, s); error != 0) return fail(error);
  const int error =
      request_about<ipc::MessageId::listen>(s, {.slot = s.name, .backlog = backlog, .flags = 0});
  return error != 0 ? fail(error) : 0;
}

int accept_socket(int fd, Entry entry, sockaddr* address, socklen_t* length, int flags) {
  const Socket s = socket_of(entry);
  if (s.datagram) return fail(EOPNOTSUPP);
  if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0) return fail(EINVAL);
  if (address != nullptr && (length == nullptr || static_cast<int>(*length) < 0))
    return fail(length == nullptr ? EFAULT : EINVAL);
  if (!s.alive()) return fail(ENETDOWN);
  if ((s.status() & ipc::Status::listening) == 0) return fail(EINVAL);
  ipc::Offer offer;
  const int accepted = take_offer(fd, s, offer, flags);
  if (accepted < 0) return -1;
  if ((flags & SOCK_NONBLOCK) != 0) native::fcntl(accepted, F_SETFL, O_NONBLOCK);
  if (const int error = adopt(accepted, s, offer.hello()); error != 0) {
    // Closed without a HELLO: the stack offers the connection again.
    native::close(accepted);
    return fail(error);
  }
  if ((flags & SOCK_NONBLOCK) != 0) remember_blocking(socket_of(entry_of(accepted)), true);
  if (address != nullptr)
    give_address(ipc::read_names(*socket_of(entry_of(accepted)).slot).peer, domain_of(s), address, length);
  return accepted;
}

}  // namespace iopkt::shim
