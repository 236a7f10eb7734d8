// sendmsg(2) and recvmsg(2) and what is built on them: names and control data around the data path.
#pragma once

#include <sys/socket.h>

#include "shim/table.hpp"

namespace iopkt::shim {

/// For sockets of the stack. -1 and errno.
ssize_t receive_message(int fd, Entry entry, msghdr* message, int flags);
/// MSG_ERRQUEUE of a datagram socket: the oldest entry of its error queue.
ssize_t receive_error(int fd, Entry entry, msghdr& message);
ssize_t send_message(int fd, Entry entry, const msghdr* message, int flags);
/// recv and send with an address, without a msghdr of the program's.
ssize_t receive_from(int fd, Entry entry, void* to, std::size_t size, int flags, sockaddr* address,
                     socklen_t* length);
ssize_t send_to(int fd, Entry entry, const void* from, std::size_t size, int flags, const sockaddr* address,
                socklen_t length);

}  // namespace iopkt::shim
