// Making, naming, closing.
#include "shim/sockets.hpp"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>

#include <algorithm>

#include "client/paths.hpp"
#include "shim/addresses.hpp"
#include "shim/confine.hpp"
#include "shim/data.hpp"
#include "shim/destinations.hpp"
#include "shim/fork.hpp"
#include "shim/native.hpp"
#include "shim/wait.hpp"

namespace iopkt::shim {

namespace {

int fail(int error) {
  errno = error;
  return -1;
}

constexpr int kTypeFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;
constexpr int kTypesEnd = 11;  // SOCK_MAX of the kernel
/// An AF_UNIX connect finds the stack's backlog full when a thousand programs start at once; longer than that
/// it is stuck.
constexpr std::uint64_t kAttachPatienceNs = 5'000'000'000;

int open_slot(const ipc::SlotOpenRequest& wanted, bool datagram, Entry& entry) {
  int error = 0;
  // A connection that turns out to be dead is replaced once: the stack may have been restarted.
  for (int tries = 0; tries < 2; ++tries) {
    Request request;
    if ((error = request.error()) != 0) return error;
    ipc::SlotAnswer answer{};
    error = request.call<ipc::MessageId::slot_open>(wanted, answer);
    if (error == 0) return request.entry_from(answer, datagram, entry);
    if (error != ENETDOWN) return error;
  }
  return error;
}

}  // namespace

int attach(int fd, const Socket& s) {
  sockaddr_un node;
  const socklen_t length =
      client::node_address(settings().prefix, ipc::attach_node(domain_of(s), s.datagram), node);
  if (length == 0) return ENAMETOOLONG;
  const std::uint64_t give_up = now_ns() + kAttachPatienceNs;
  while (native::connect(fd, reinterpret_cast<const sockaddr*>(&node), length) != 0) {
    if (errno == EISCONN) return 0;
    if (errno == EINTR) continue;
    if (errno != EAGAIN || now_ns() > give_up) return errno == EACCES || errno == EPERM ? errno : ENETDOWN;
    poll(nullptr, 0, 1);
  }
  if (const int error = ipc::set_minimum_buffer(fd); error != 0) return error;
  ipc::ProgramEnd end = s.end(fd);
  const std::uint64_t nonce = s.slot->nonce.load(std::memory_order_acquire);
  if (!end.send_unit(ipc::Unit::hello(s.link->client_id, s.name, nonce, ipc::socket_cookie(fd)))) return ENETDOWN;
  if (!s.datagram && end.send_stall() == ipc::ProgramIo::Stalled::gone) return ENETDOWN;
  return 0;
}

int open_socket(int domain, int type, int protocol) {
  const int kind = type & ~kTypeFlags;
  if (kind < 0 || kind >= kTypesEnd) return fail(EINVAL);
  const bool datagram = kind != SOCK_STREAM;
  const int fd = native::socket(AF_UNIX, (datagram ? SOCK_SEQPACKET : SOCK_STREAM) | (type & kTypeFlags), 0);
  if (fd < 0) return -1;
  Entry entry;
  int error = fd < kTableSize ? 0 : EMFILE;
  if (error == 0) {
    error = open_slot({.domain = static_cast<std::uint16_t>(domain),
                       .type = static_cast<std::uint16_t>(kind),
                       .protocol = static_cast<std::uint32_t>(protocol),
                       .cookie = ipc::socket_cookie(fd)},
                      datagram, entry);
  }
  if (error == 0) {
    add_holder(fd, entry);
    if ((type & SOCK_NONBLOCK) != 0) remember_blocking(socket_of(entry), true);
    // Its fresh poll mask is that of a fresh UDP socket only once it is attached; a TCP socket stays apart
    // until connect().
    if (datagram) error = attach(fd, socket_of(entry));
    if (error != 0) {
      const Leaving leaving = leave(entry);
      clear_entry(fd, entry_of(fd));
      native::close(fd);
      left(leaving);
      return fail(error);
    }
  }
  if (error == 0) return fd;
  native::close(fd);
  return fail(error);
}

// ---------------------------------------------------------------------------------------------- holders

void add_holder(int fd, Entry entry) {
  client_word(socket_of(entry), ClientWord::holders).fetch_add(1, std::memory_order_relaxed);
  set_entry(fd, entry);
}

namespace {
/// It was shut: its end may have hung up before, and a byte that an accept() took is no witness.
bool was_listener(std::uint32_t status) {
  return (status & ipc::Status::shut_rd) != 0 &&
         (status & (ipc::Status::connected | ipc::Status::connecting)) == 0;
}
}  // namespace

Leaving leave(Entry entry) {
  const Socket s = socket_of(entry);
  const std::uint32_t incarnation = s.slot->incarnation.load(std::memory_order_acquire);
  std::atomic<std::uint64_t>& holders = client_word(s, ClientWord::holders);
  std::uint64_t before = holders.load(std::memory_order_relaxed);
  while (before > 0 && !holders.compare_exchange_weak(before, before - 1, std::memory_order_acq_rel)) {
  }
  // The stack sees the end of an attached socket by itself. It sees nothing where no end is left or none was
  // made yet; and a port of a datagram socket or listener has to be free when close() returns.
  const std::uint32_t status = s.status();
  const bool unseen = (status & ipc::Status::attached) == 0 || (status & ipc::Status::reset) != 0;
  const bool holds_port = s.datagram || (status & ipc::Status::listening) != 0 || was_listener(status);
  // SO_LINGER of 0: the reset has happened when close() returns.
  const std::uint64_t hints = client_word(s, ClientWord::hints).load(std::memory_order_relaxed);
  const bool resets = (hints & Hint::linger) != 0 && hints >> 32 == 0;
  // In stream mode programs without this library may have it, too: the stack waits for the last descriptor.
  const bool streaming =
      (status & ipc::Status::attached) != 0 &&
      ipc::ReceiveWord{s.slot->rx_word.load(std::memory_order_acquire)}.mode() != ipc::Mode::ring;
  // A confined process may not open a connection to say it on: what the stack sees by itself is not said
  // then.
  const bool by_request = unseen || holds_port || (resets && !streaming);
  const bool mute = confined() && !has_connection();
  // Beforehand, while the slot is this socket's for certain.
  if (before <= 1 && unseen && mute) {
    s.slot->kicks.fetch_or(ipc::Kick::closed);
    s.end(-1).ring();
  }
  return {.socket = s, .incarnation = incarnation, .last = before <= 1 && !mute, .tell = by_request};
}

void left(const Leaving& leaving) {
  // A reset that came between the look and the close: the stack's end had gone, and did not see it. (Its own look comes after it has
  // shown the reset.)
  std::atomic_thread_fence(std::memory_order_seq_cst);
  const bool reset = (leaving.socket.status() & ipc::Status::reset) != 0;
  if (!leaving.last || !(leaving.tell || reset) || !leaving.socket.alive()) return;
  const KeepErrno keep;
  request_about<ipc::MessageId::close>(
      leaving.socket, {.slot = leaving.socket.name, .incarnation = leaving.incarnation, .reserved = 0});
}

// ---------------------------------------------------------------------------------------------- names

int socket_name(Entry entry, sockaddr* address, socklen_t* length) {
  const Socket s = socket_of(entry);
  const int error = give_address(ipc::read_names(*s.slot).local, domain_of(s), address, length);
  return error != 0 ? fail(error) : 0;
}

int peer_name(Entry entry, sockaddr* address, socklen_t* length) {
  const Socket s = socket_of(entry);
  const ipc::Names names = ipc::read_names(*s.slot);
  const std::uint32_t status = s.status();
  const bool connected = (status & ipc::Status::connected) != 0 && (status & ipc::Status::reset) == 0;
  if (!connected || names.peer.family == 0) return fail(ENOTCONN);
  const int error = give_address(names.peer, domain_of(s), address, length);
  return error != 0 ? fail(error) : 0;
}

int bind_socket(Entry entry, const sockaddr* address, socklen_t length) {
  if (address == nullptr) return fail(EFAULT);
  if (static_cast<int>(length) < 0 || length > sizeof(sockaddr_storage)) return fail(EINVAL);
  const Socket s = socket_of(entry);
  const int error = request_about<ipc::MessageId::bind>(
      s, {.slot = s.name, .flags = 0, .reserved = 0}, {reinterpret_cast<const std::byte*>(address), length});
  change_rules(s);
  return error != 0 ? fail(error) : 0;
}

int bind_if_unbound(const Socket& s) {
  if ((s.status() & ipc::Status::bound) != 0) return 0;
  if (s.slot->type.load(std::memory_order_relaxed) != SOCK_DGRAM) return 0;
  const int error = request_about<ipc::MessageId::bind>(
      s, {.slot = s.name, .flags = ipc::AddressRequest::only_port, .reserved = 0});
  return error == EADDRINUSE ? EAGAIN : error;  // as the host says it of a first datagram
}

// ---------------------------------------------------------------------------------------------- shutdown

int shutdown_socket(int fd, Entry entry, int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return fail(EINVAL);
  const Socket s = socket_of(entry);
  const std::uint32_t status = s.status();
  const bool listening = (status & ipc::Status::listening) != 0;
  const bool usable = (status & (ipc::Status::connected | ipc::Status::connecting)) != 0 &&
                      (status & ipc::Status::reset) == 0;
  if (!usable && !listening) return fail(ENOTCONN);
  const int error = request_about<ipc::MessageId::shutdown>(
      s, {.slot = s.name, .how = static_cast<std::uint32_t>(how), .reserved = 0});
  if (error != 0) return fail(error);
  // The kernel's own end shows it to pollers and wakes those that sleep in recv or accept. A listener has no
  // writing side to shut.
  if (!listening || how != SHUT_WR) native::shutdown(fd, how);
  return 0;
}

}  // namespace iopkt::shim
