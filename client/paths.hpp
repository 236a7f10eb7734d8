// Where a stack's nodes are: $SOCK/dev/socket/..., and the names of the nodes in it.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <string_view>

#include "ipc/nodes.hpp"

namespace iopkt::client {

/// The prefix as the environment gives it: SOCK without slashes at its end; empty when SOCK is unset. A
/// relative SOCK is the user's own affair: it is looked up from the working directory of each call.
std::string_view prefix_from_environment();

/// Fills `out` with the address of `prefix`/dev/socket/`node`. Answers its length, or 0 if it is too long for
/// a socket address. Allocates nothing.
socklen_t node_address(std::string_view prefix, std::string_view node, sockaddr_un& out);
/// An address of exactly this path.
socklen_t path_address(std::string_view path, sockaddr_un& out);

}  // namespace iopkt::client
