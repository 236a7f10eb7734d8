// Node paths.
#include "client/paths.hpp"

#include <stdlib.h>

#include <cstring>

namespace iopkt::client {

std::string_view prefix_from_environment() {
  const char* value = getenv("SOCK");
  if (value == nullptr) return {};
  std::string_view prefix{value};
  while (!prefix.empty() && prefix.back() == '/') prefix.remove_suffix(1);
  return prefix;
}

socklen_t path_address(std::string_view path, sockaddr_un& out) { return node_address(path, {}, out); }

socklen_t node_address(std::string_view prefix, std::string_view node, sockaddr_un& out) {
  const std::size_t extra = node.empty() ? 0 : ipc::kSocketFolder.size() + 1 + node.size();
  if (prefix.size() + extra >= sizeof out.sun_path) return 0;
  std::memset(&out, 0, sizeof out);
  out.sun_family = AF_UNIX;
  char* at = out.sun_path;
  const auto put = [&](std::string_view part) {
    if (!part.empty()) std::memcpy(at, part.data(), part.size());
    at += part.size();
  };
  put(prefix);
  if (!node.empty()) {
    put(ipc::kSocketFolder);
    put("/");
    put(node);
  }
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) +
                                static_cast<std::size_t>(at - out.sun_path) + 1);
}

}  // namespace iopkt::client
