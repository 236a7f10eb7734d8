// listen(2) and accept(2): the descriptor is a real AF_UNIX listener, to which the stack connects an end per
// connection.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/un.h>

#include <string_view>

#include "client/paths.hpp"
#include "shim/confine.hpp"
#include "shim/data.hpp"
#include "shim/native.hpp"
#include "shim/real.hpp"
#include "shim/sockets.hpp"

namespace iopkt::shim {

namespace {

/// The kernel caps it at its own somaxconn; the program's backlog is counted by the stack.
constexpr int kNativeBacklog = 65535;
/// The stack writes the hello right after it has connected.
constexpr int kHelloPatienceMs = 1000;

int fail(int error) {
  errno = error;
  return -1;
}

/// Binds the descriptor to a new name in the listeners' folder. 0 or an errno.
int bind_natively(int fd, char (&name)[33]) {
  sockaddr_un address;
  for (int tries = 0; tries < 8; ++tries) {
    std::uint64_t random[2];
    if (getrandom(random, sizeof random, 0) != sizeof random) return EIO;
    snprintf(name, sizeof name, "%016lx%016lx", random[0], random[1]);
    char node[64];
    snprintf(node, sizeof node, "%s/%s", ipc::kListenerFolder.data(), name);
    const socklen_t length = client::node_address(settings().prefix, node, address);
    if (length == 0) return ENAMETOOLONG;
    if (native::bind(fd, reinterpret_cast<const sockaddr*>(&address), length) == 0) return 0;
    if (errno != EADDRINUSE) return errno;
  }
  return EADDRINUSE;
}

/// A listener that the stack has refused cannot be turned back: an unconnected AF_UNIX socket takes its
/// place.
void undo_native_listen(int fd, const char* name) {
  sockaddr_un address;
  char node[64];
  snprintf(node, sizeof node, "%s/%s", ipc::kListenerFolder.data(), name);
  if (client::node_address(settings().prefix, node, address) != 0) unlink(address.sun_path);
  const int flags = native::fcntl(fd, F_GETFL);
  const int fd_flags = native::fcntl(fd, F_GETFD);
  const int fresh = native::socket(
      AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | ((flags & O_NONBLOCK) != 0 ? SOCK_NONBLOCK : 0), 0);
  if (fresh < 0) return;
  native::dup3(fresh, fd, (fd_flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0);
  native::close(fresh);
}

/// The descriptor's own hello, read before anybody else can use it. False: the connection is gone already.
bool read_hello(int fd, ipc::AcceptHello& hello) {
  for (;;) {
    const ssize_t n = native::recv(fd, &hello, sizeof hello, MSG_DONTWAIT);
    if (n == sizeof hello) return hello.magic == ipc::AcceptHello::kMagic;
    if (n >= 0) return false;
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return false;
    pollfd wait{.fd = fd, .events = POLLIN, .revents = 0};
    if (poll(&wait, 1, kHelloPatienceMs) == 0) return false;
  }
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

std::uint64_t cookie_of(int fd) {
  std::uint64_t cookie = 0;
  socklen_t length = sizeof cookie;
  native::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length);
  return cookie;
}

/// Makes a natively accepted descriptor a socket of the stack. 0 or an errno.
int adopt(int fd, const Socket& listener) {
  ipc::AcceptHello hello;
  if (!read_hello(fd, hello)) return ECONNABORTED;
  if (fd >= kTableSize) return EMFILE;
  Entry entry;
  if (const int error = entry_from_hello(listener, hello, entry); error != 0) return error;
  if (const int error = ipc::set_minimum_buffer(fd); error != 0) return error;
  const Socket s = socket_of(entry);
  ipc::ProgramEnd end = s.end(fd);
  // If the other end is gone, the slot says what happened: the descriptor is given out all the same, as the
  // kernel does.
  end.send_unit(ipc::Unit::hello(s.link->client_id, s.name, hello.nonce, cookie_of(fd)));
  add_holder(fd, entry);
  return 0;
}

}  // namespace

int listen_socket(int fd, Entry entry, int backlog) {
  const Socket s = socket_of(entry);
  if (s.datagram) return fail(EOPNOTSUPP);
  const std::uint32_t status = s.status();
  ipc::ListenRequest request{.slot = s.name, .backlog = backlog, .flags = 0};
  if ((status & ipc::Status::listening) != 0) {
    const int error = request_about<ipc::MessageId::listen>(s, request);
    return error != 0 ? fail(error) : 0;
  }
  if ((status & (ipc::Status::connected | ipc::Status::connecting | ipc::Status::reset)) != 0)
    return fail(EINVAL);
  char name[33];
  if (const int error = bind_natively(fd, name); error != 0) return fail(error == EINVAL ? EINVAL : error);
  // Listening before the stack knows: from its answer on it may connect at any moment.
  if (native::listen(fd, kNativeBacklog) != 0) return -1;
  const std::string_view text{name};
  const int error = request_about<ipc::MessageId::listen>(
      s, request, {reinterpret_cast<const std::byte*>(text.data()), text.size()});
  if (error == 0) return 0;
  undo_native_listen(fd, name);
  return fail(error);
}

int accept_socket(int fd, Entry entry, sockaddr* address, socklen_t* length, int flags) {
  const Socket s = socket_of(entry);
  if (s.datagram) return fail(EOPNOTSUPP);
  if ((flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC)) != 0) return fail(EINVAL);
  if (address != nullptr && (length == nullptr || static_cast<int>(*length) < 0))
    return fail(length == nullptr ? EFAULT : EINVAL);
  // A forked worker may need nothing but this; when it is killed, the listener must not seem to be served
  // still.
  be_known();
  for (;;) {
    const int accepted = real().accept4(fd, nullptr, nullptr, flags);
    // The native listener of a socket that shutdown() has ended says so only to who would wait.
    if (accepted < 0 && errno == EAGAIN && (s.status() & ipc::Status::listening) == 0) return fail(EINVAL);
    if (accepted < 0) return -1;
    const int error = adopt(accepted, s);
    if (error == 0) {
      if ((flags & SOCK_NONBLOCK) != 0) remember_blocking(socket_of(entry_of(accepted)), true);
      if (address != nullptr)
        give_address(ipc::read_names(*socket_of(entry_of(accepted)).slot).peer, address, length);
      return accepted;
    }
    native::close(accepted);
    // A connection that ended while it waited is passed over, as long as there may be another one.
    if (error != ECONNABORTED) return fail(error);
    if (!s.alive()) return fail(ENETDOWN);
  }
}

}  // namespace iopkt::shim
