// Where a stack's nodes are: $SOCK/dev/socket/..., and the names of the nodes in it. Daemon, client library and shim agree here.
#pragma once

#include <cstddef>
#include <string_view>

namespace iopkt::ipc {

inline constexpr std::string_view kSocketFolder = "/dev/socket";  ///< behind the prefix
inline constexpr std::string_view kControlNode = "config";        ///< SOCK_SEQPACKET: messages.hpp
inline constexpr std::string_view kStreamNode = "2";              ///< SOCK_STREAM: TCP sockets of AF_INET attach here
inline constexpr std::string_view kPacketNode = "2.packet";       ///< SOCK_SEQPACKET: all other sockets of AF_INET
inline constexpr std::string_view kAutoconnectNode = "autoconnect";  ///< SOCK_SEQPACKET: as the control node

}  // namespace iopkt::ipc
