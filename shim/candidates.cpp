// Telling the stack's sockets from other AF_UNIX descriptors.
#include "shim/candidates.hpp"

#include <sys/un.h>

#include <string_view>

#include "ipc/descriptor.hpp"
#include "ipc/nodes.hpp"
#include "ipc/offer.hpp"

namespace iopkt::shim {

namespace {

int int_option(int fd, int name) {
  int value = -1;
  socklen_t length = sizeof value;
  return native::getsockopt(fd, SOL_SOCKET, name, &value, &length) == 0 ? value : -1;
}

bool under_prefix(const sockaddr_un& address, socklen_t length) {
  const std::string_view path = ipc::peer_path(address, length);
  const std::string_view prefix{settings().prefix};
  return path.starts_with(prefix) && path.substr(prefix.size()).starts_with(ipc::kSocketFolder);
}

}  // namespace

bool examine(int fd, Candidate& out) {
  if (int_option(fd, SO_DOMAIN) != AF_UNIX) return false;
  const int type = int_option(fd, SO_TYPE);
  if (type != SOCK_STREAM && type != SOCK_SEQPACKET) return false;
  sockaddr_un own{}, peer{};
  socklen_t own_length = sizeof own, peer_length = sizeof peer;
  if (native::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &own_length) != 0) return false;
  const bool has_peer = native::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &peer_length) == 0;
  const bool nameless = own_length <= sizeof(sa_family_t);
  // Attached and accepted ends and listeners have a name of the stack's as their peer; a TCP socket that has
  // not connected yet has neither name nor peer.
  const bool attached = has_peer && under_prefix(peer, peer_length);
  const bool fresh = nameless && !has_peer && type == SOCK_STREAM;
  if (!attached && !fresh) return false;
  out = {.fd = fd,
         .cookie = ipc::socket_cookie(fd),
         .slot = ipc::kNoSlot,
         .attached = has_peer,
         .datagram = type == SOCK_SEQPACKET};
  return out.cookie != 0;
}

bool look_up(std::span<Candidate> candidates) {
  ipc::LookupEntry asked[kCandidates], answered[kCandidates];
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

}  // namespace iopkt::shim
