// ioctl(2) on sockets as the host's programs know it: SIOCGIF... of netdevice(7), SIOCATMARK of tcp(7).
#pragma once

#include <cstdint>

#include "client_request.hpp"
#include "stack/network.hpp"
#include "stack/shard.hpp"

namespace iopkt::daemon {

/// Whether the code asks about interfaces: those are answered from the Network, whatever the socket.
bool is_interface_ioctl(std::uint64_t code);
/// Shard 0's thread.
void interface_ioctl(Request& request, const stack::Network& network);
/// Codes about the socket itself; its shard's thread.
void socket_ioctl(Request& request, const stack::Shard& shard, stack::SocketId id, std::uint64_t receive_head);

}  // namespace iopkt::daemon
