// The life of a socket: making, naming, connecting, listening, accepting, closing. All answer 0 or a
// descriptor, or -1 and errno.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <span>

#include "shim/process.hpp"
#include "shim/table.hpp"

namespace iopkt::shim {

int open_socket(int domain, int type, int protocol);
int bind_socket(Entry entry, const sockaddr* address, socklen_t length);
int connect_socket(int fd, Entry entry, const sockaddr* address, socklen_t length);
/// What a send with MSG_FASTOPEN does first (RFC 7413): with a known cookie the SYN waits for what is written next, if that is `data`,
/// else it goes out or asks for one and this waits for the connection, unless `dont_wait` or the descriptor says otherwise. 0 or an
/// errno: EINPROGRESS, EISCONN, EALREADY, what connect() says, EOPNOTSUPP (net.inet.tcp.fastopen.client_enable is 0).
int connect_fast(int fd, Entry entry, const sockaddr* address, socklen_t length, bool data, bool dont_wait);
int listen_socket(int fd, Entry entry, int backlog);
int accept_socket(int fd, Entry entry, sockaddr* address, socklen_t* length, int flags);
int shutdown_socket(int fd, Entry entry, int how);
int socket_name(Entry entry, sockaddr* address, socklen_t* length);
int peer_name(Entry entry, sockaddr* address, socklen_t* length);
/// Binds a datagram socket that has no port yet, as its first send does. 0 or an errno.
int bind_if_unbound(const Socket& s);

/// A copy of one of our descriptors has appeared at `fd`.
void add_holder(int fd, Entry entry);
/// One of our descriptors is about to go. To be asked before: afterwards the slot may be another socket's.
struct Leaving {
  Socket socket;
  std::uint32_t incarnation;
  bool last;  ///< no other descriptor is known, and the stack may be asked
  bool tell;  ///< it cannot see the end by itself, or has to know of it at once
};
Leaving leave(Entry entry);
/// It has been closed.
void left(const Leaving& leaving);

/// One request about a socket, on the connection that it belongs to. 0 or an errno.
template <ipc::MessageId Id>
int request_about(const Socket& s, const typename ipc::MessageTypes<Id>::Request& request,
                  std::span<const std::byte> blob = {}, std::span<std::byte> blob_out = {},
                  std::size_t* blob_len = nullptr, typename ipc::MessageTypes<Id>::Answer* answer = nullptr) {
  if (!s.alive()) return ENETDOWN;
  Request r;
  if (r.error() != 0) return r.error();
  if (r.link() != s.link) return ENETDOWN;  // the stack that made this socket is no more
  typename ipc::MessageTypes<Id>::Answer own{};
  return r.call<Id>(request, answer != nullptr ? *answer : own, blob, blob_out, blob_len);
}

/// Connects an AF_UNIX socket to the stack's node and sends HELLO (and STALL for TCP). 0 or an errno.
int attach(int fd, const Socket& s);
/// Puts a new, unconnected socket with the same settings in place of one whose connection attempt has failed.
/// 0 or an errno.
int revive(int fd, Entry& entry);

}  // namespace iopkt::shim
