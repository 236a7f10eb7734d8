// Stream mode: sockets that programs without this library are going to use. The switch stands in
// ipc/stream_end.hpp.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>

#include "shim/process.hpp"
#include "shim/table.hpp"

namespace iopkt::shim {

/// True if the data goes through the descriptor itself. Finishes a switch that is in progress.
/// Async-signal-safe.
bool is_streaming(int fd, const Socket& s);

/// Moves a connected TCP socket into stream mode. False: it cannot be (another kind, not connected, the stack
/// is gone).
bool make_streaming(int fd, const Socket& s);

/// The calls on a socket in stream mode; answers, errors and signals are those of a TCP socket.
ssize_t receive_through(int fd, const Socket& s, const iovec* to, std::size_t count, int flags);
ssize_t send_through(int fd, const Socket& s, const iovec* from, std::size_t count, int flags);

/// Before SCM_RIGHTS: nobody knows who receives, so connections are moved into stream mode.
void hand_over(const msghdr& message);

}  // namespace iopkt::shim
