// Where a stack's nodes are: $SOCK/dev/socket/..., and the names of the nodes in it. Daemon, client library and shim agree here.
#pragma once

#include <cstddef>
#include <string_view>

namespace iopkt::ipc {

inline constexpr std::string_view kSocketFolder = "/dev/socket";  ///< behind the prefix
inline constexpr std::string_view kControlNode = "config";        ///< SOCK_SEQPACKET: messages.hpp
inline constexpr std::string_view kStreamNode = "2";              ///< SOCK_STREAM: TCP sockets of AF_INET attach here
inline constexpr std::string_view kPacketNode = "2.packet";       ///< SOCK_SEQPACKET: all other sockets of AF_INET
/// Folder, mode 01777 as far as the nodes' mode allows: a program binds its AF_UNIX listener here under a random name, names it in
/// the request `listen`, and the stack opens (O_PATH) and unlinks it.
inline constexpr std::string_view kListenerFolder = "listen";
inline constexpr std::size_t kListenerNameMax = 32;  ///< bytes of such a name; bounds the prefix

}  // namespace iopkt::ipc
