#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <string>

#include "utils/dhcp.client/dhcp_client.hpp"

namespace {

/// The socket library of this installation: PREFIX/lib/io-pkt/bin/dhcp.client lies beside it.
std::string library() {
  char path[PATH_MAX];
  const ssize_t length = readlink("/proc/self/exe", path, sizeof path);
  std::string own(path, length > 0 ? static_cast<std::size_t>(length) : 0);
  for (int level = 0; level < 2; ++level) own.resize(std::min(own.rfind('/'), own.size()));
  return own + "/libiopkt-socket.so";
}

}  // namespace

int main(int argc, char** argv) {
  // Its socket is to be one of the stack's: it starts itself anew with the library, once.
  const std::string wanted = library();
  const char* loaded = getenv("LD_PRELOAD");
  if (loaded == nullptr || strstr(loaded, wanted.c_str()) == nullptr) {
    const std::string preload = wanted + (loaded != nullptr && *loaded != '\0' ? ":" + std::string{loaded} : "");
    setenv("LD_PRELOAD", preload.c_str(), 1);
    execv("/proc/self/exe", argv);
  }
  return iopkt::utils::run_command("dhcp.client", iopkt::utils::dhcp_client, argc, argv);
}
