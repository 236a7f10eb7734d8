// Where a stack's nodes are: $SOCK/dev/socket/..., and the names of the nodes in it. Daemon, client library and shim agree here.
#pragma once

#include <cstddef>
#include <string_view>

namespace iopkt::ipc {

inline constexpr std::string_view kSocketFolder = "/dev/socket";  ///< behind the prefix
inline constexpr std::string_view kControlNode = "config";        ///< SOCK_SEQPACKET: messages.hpp
inline constexpr std::string_view kStreamNode = "2";              ///< SOCK_STREAM: TCP sockets of AF_INET attach here
inline constexpr std::string_view kPacketNode = "2.packet";       ///< SOCK_SEQPACKET: all other sockets of AF_INET
inline constexpr std::string_view kStreamNode6 = "10";            ///< as both above, of AF_INET6; there is none where the stack has no IPv6
inline constexpr std::string_view kPacketNode6 = "10.packet";
inline constexpr std::string_view kAutoconnectNode = "autoconnect";  ///< SOCK_SEQPACKET: as the control node

/// Where a socket of a family (2: AF_INET, 10: AF_INET6, this host's numbers) attaches.
constexpr std::string_view attach_node(int family, bool datagram) {
  if (family == 10) return datagram ? kPacketNode6 : kStreamNode6;
  return datagram ? kPacketNode : kStreamNode;
}

}  // namespace iopkt::ipc
