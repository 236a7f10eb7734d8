// Recognising and attaching foreign descriptors.
//
// Only AF_UNIX sockets whose peer or own name lies among the stack's nodes, or that have neither name, come
// into question; and only those whose SO_COOKIE the stack knows are ever sent anything.
#include "shim/inherit.hpp"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <string_view>

#include "client/paths.hpp"
#include "ipc/nodes.hpp"
#include "shim/native.hpp"
#include "shim/sockets.hpp"
#include "shim/stdio.hpp"

namespace iopkt::shim {

namespace {

struct Candidate {
  int fd;
  std::uint64_t cookie;
  std::uint64_t slot;  ///< kNoSlot: not a socket of this client
  bool attached;       ///< the stack holds the other end
  bool datagram;
};
constexpr std::size_t kBatch = 64;

int int_option(int fd, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  return native::getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0 ? value : -1;
}

bool under_prefix(const sockaddr_un& address, socklen_t length) {
  if (length <= offsetof(sockaddr_un, sun_path)) return false;
  const std::string_view path{address.sun_path,
                              strnlen(address.sun_path, length - offsetof(sockaddr_un, sun_path))};
  const std::string_view prefix{settings().prefix};
  return path.starts_with(prefix) && path.substr(prefix.size()).starts_with(ipc::kSocketFolder);
}

bool examine(int fd, Candidate& out) {
  if (entry_of(fd).flags() != 0) return false;
  if (int_option(fd, SO_DOMAIN) != AF_UNIX) return false;
  const int type = int_option(fd, SO_TYPE);
  if (type != SOCK_STREAM && type != SOCK_SEQPACKET) return false;
  sockaddr_un own{}, peer{};
  socklen_t own_length = sizeof own, peer_length = sizeof peer;
  if (native::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_length) != 0) return false;
  const bool has_peer = native::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_length) == 0;
  const bool nameless = own_length <= sizeof(sa_family_t);
  // Attached ends have the node as their peer; listeners and what they accept carry the listener's name; a
  // TCP socket that has not connected yet has neither name nor peer.
  const bool attached = has_peer && under_prefix(peer, peer_length);
  const bool listener_or_accepted = !nameless && under_prefix(own, own_length);
  const bool fresh = nameless && !has_peer && type == SOCK_STREAM;
  if (!attached && !listener_or_accepted && !fresh) return false;
  socklen_t length = sizeof out.cookie;
  if (native::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &out.cookie, &length) != 0) return false;
  out.fd = fd;
  out.attached = has_peer;
  out.datagram = type == SOCK_SEQPACKET;
  return true;
}

/// Asks the stack which of the candidates are sockets of this process's client.
bool look_up(std::span<Candidate> candidates) {
  ipc::LookupEntry asked[kBatch], answered[kBatch];
  for (std::size_t i = 0; i < candidates.size(); ++i) asked[i] = {candidates[i].cookie, 0};
  const std::size_t bytes = candidates.size() * sizeof(ipc::LookupEntry);
  Request request;
  if (request.error() != 0) return false;
  ipc::Empty empty;
  std::size_t got = 0;
  const int error =
      request.call<ipc::MessageId::lookup>({}, empty, std::as_bytes(std::span{asked, candidates.size()}),
                                           std::as_writable_bytes(std::span{answered}), &got);
  if (error != 0 || got != bytes) return false;
  for (std::size_t i = 0; i < candidates.size(); ++i) candidates[i].slot = answered[i].slot;
  return true;
}

/// Takes the socket in. One of another client is only given to who proves possession, by a unit that arrives
/// at the stack's end. A failure leaves the descriptor as it is: of no use, but unharmed.
void adopt(const Candidate& c) {
  Entry entry;
  Request request;
  if (request.error() != 0 || c.fd >= kTableSize) return;
  if (c.slot != ipc::kNoSlot) {
    if (request.entry_from({.slot = c.slot, .nonce = 0, .incarnation = 0, .reserved = 0}, c.datagram,
                           entry) != 0)
      return;
  } else {
    if (!c.attached) return;
    ipc::AttachBeginAnswer begun{};
    if (request.call<ipc::MessageId::attach_begin>({.cookie = c.cookie}, begun) != 0) return;
    const ipc::Unit unit = ipc::Unit::attach(begun.nonce);
    if (native::send(c.fd, &unit, sizeof unit, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof unit) return;
    ipc::SlotAnswer answer{};
    if (request.call<ipc::MessageId::attach_finish>({.nonce = begun.nonce}, answer) != 0) return;
    if (request.entry_from(answer, c.datagram, entry) != 0) return;
  }
  add_holder(c.fd, entry);
}

class Batch {
 public:
  void add(int fd) {
    if (!examine(fd, list_[count_])) return;
    if (++count_ == kBatch) flush();
  }
  void flush() {
    if (count_ > 0 && look_up({list_, count_})) {
      for (std::size_t i = 0; i < count_; ++i) adopt(list_[i]);
    }
    count_ = 0;
  }

 private:
  Candidate list_[kBatch];
  std::size_t count_ = 0;
};

/// Calls `use` for each number in /proc/self/fd. False: there is no /proc.
template <class Use>
bool for_each_fd(Use&& use) {
  const int folder =
      static_cast<int>(syscall(SYS_openat, AT_FDCWD, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder < 0) return false;
  alignas(dirent64) char room[4096];
  for (;;) {
    const long n = syscall(SYS_getdents64, folder, room, sizeof room);
    if (n <= 0) break;
    for (long at = 0; at < n;) {
      const dirent64* item = reinterpret_cast<const dirent64*>(room + at);
      at += item->d_reclen;
      const int fd = item->d_name[0] == '.' ? -1 : atoi(item->d_name);
      if (fd >= 0 && fd != folder) use(fd);
    }
  }
  native::close(folder);
  return true;
}

}  // namespace

void adopt_inherited() {
  const KeepErrno keep;
  Batch batch;
  const auto add = [&](int fd) { batch.add(fd); };
  if (!for_each_fd(add)) {
    for (int fd = 0; fd < 64; ++fd) batch.add(fd);
  }
  batch.flush();
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd)
    if (entry_of(fd).ours()) serve_standard_stream(fd);
}

void adopt_received(const msghdr& message) {
  const KeepErrno keep;
  Batch batch;
  msghdr& m = const_cast<msghdr&>(message);  // CMSG_NXTHDR only reads
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      batch.add(fd);
    }
  }
  batch.flush();
}

}  // namespace iopkt::shim
