// One stack per interface and station address: two that answer for the same one would reset each other's connections.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>

#include "../support/mac.hpp"
#include "../support/unique_fd.hpp"

namespace devnp_packet {

/// Takes the claim in the calling thread's network namespace: an abstract name, which is that namespace's own and goes with its
/// descriptor, however the process ends.
/// @return 0, or a negative errno; -EADDRINUSE: somebody else has it.
inline int claim_station(int interface_index, const std::uint8_t mac[6], devnp::UniqueFd& out) {
  devnp::UniqueFd fd{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  if (!fd) return -errno;
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  const int length = std::snprintf(name.sun_path + 1, sizeof name.sun_path - 1, "io-pkt/packet/%d/%s", interface_index,
                                   devnp::MacText{mac}.text);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + static_cast<std::size_t>(length));
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), size) != 0) return -errno;
  out = std::move(fd);
  return 0;
}

}  // namespace devnp_packet
