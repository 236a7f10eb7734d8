// Connecting to a control node and greeting the stack.
#include "client/channel.hpp"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/paths.hpp"

namespace iopkt::client {

int Channel::open(std::string_view prefix, const Identity& identity, Greeting& out) {
  sockaddr_un address;
  const socklen_t length = node_address(prefix, ipc::kControlNode, address);
  if (length == 0) return ENAMETOOLONG;
  return open_node({address.sun_path, length - offsetof(sockaddr_un, sun_path) - 1}, identity, out);
}

int Channel::open_node(std::string_view path, const Identity& identity, Greeting& out) {
  close();
  sockaddr_un address;
  const socklen_t length = path_address(path, address);
  if (length == 0) return ENAMETOOLONG;
  fd_ = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (fd_ < 0) return errno;
  // EINTR: a local connect is either done at once or waits for room in the backlog; then nothing has happened
  // yet.
  while (connect(fd_, reinterpret_cast<const sockaddr*>(&address), length) != 0) {
    if (errno == EINTR) continue;
    const int error = errno;
    close();
    return error;
  }
  const int error = greet(identity, out);
  if (error != 0) close();
  return error;
}

int Channel::greet(const Identity& identity, Greeting& out) {
  alignas(8) std::array<std::byte, ipc::kMessageMin> scratch;
  const ipc::HelloRequest request{.version = ipc::kProtocolVersion,
                                  .flags = identity.utility ? ipc::HelloFlag::utility : 0,
                                  .parent_client = identity.parent_client,
                                  .reserved = 0,
                                  .parent_secret = identity.parent_secret};
  message_max_ = scratch.size();
  const ipc::CallResult result = call<ipc::MessageId::hello>(scratch, request, out.answer, {}, {}, out.fds);
  out.fd_count = result.fds;
  int error = result.transport != 0 ? result.transport : result.error;
  const std::size_t fds_wanted = identity.utility ? 0 : 2 + std::size_t{out.answer.shard_count};
  if (error == 0 && (out.answer.shard_count > ipc::kShardsMax || out.fd_count != fds_wanted)) error = EPROTO;
  if (error == 0 && out.answer.message_max < ipc::kMessageMin) error = EPROTO;
  if (error != 0) {
    for (std::size_t i = 0; i < out.fd_count; ++i) ::close(out.fds[i]);
    out.fd_count = 0;
    return error;
  }
  message_max_ = out.answer.message_max < ipc::kMessageMax ? out.answer.message_max : ipc::kMessageMax;
  return 0;
}

void Channel::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

}  // namespace iopkt::client
