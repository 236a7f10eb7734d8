#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "ipc/instances.hpp"
#include "utils/mount/mount.hpp"

namespace iopkt::utils {
namespace {

constexpr char kUsage[] =
    "usage: mount -T io-pkt[N] [-o option[,option...]] [--json] driver\n"
    "Without -T io-pkt this is the host's own mount, whose help is that of /bin/mount --help.\n";

/// The first mount on PATH that is not this program; empty: none.
std::string host_mount() {
  struct stat own{};
  if (::stat("/proc/self/exe", &own) != 0) return {};
  const char* path = ::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/bin:/usr/bin";
  while (true) {
    const std::size_t colon = std::min(rest.find(':'), rest.size());
    const std::string candidate = std::string(rest.substr(0, colon)) + "/mount";
    struct stat status{};
    const bool is_own =
        ::stat(candidate.c_str(), &status) == 0 && status.st_dev == own.st_dev && status.st_ino == own.st_ino;
    if (candidate[0] == '/' && !is_own && ::access(candidate.c_str(), X_OK) == 0) return candidate;
    if (colon == rest.size()) break;
    rest.remove_prefix(colon + 1);
  }
  return ::access("/bin/mount", X_OK) == 0 ? "/bin/mount" : "";
}

int mount(Io& io, const MountRequest& request) {
  if (request.help) return io.print(kUsage), 0;
  if (!request.fault.empty()) {
    io.error(request.fault);
    io.complain(kUsage);
    return 1;
  }
  const auto node = ipc::find_control(request.instance);
  if (!node)
    return io.error("io-pkt" + (request.instance == 0 ? "" : std::to_string(request.instance)) +
                    " is not running");
  std::string driver = request.driver;
  char absolute[PATH_MAX];
  if (driver.find('/') != driver.npos && ::realpath(driver.c_str(), absolute) != nullptr) driver = absolute;
  RemoteStack stack{*node};
  Node arguments, answer;
  arguments.add_text("driver", driver).add_text("options", request.options);
  if (!asked(io, stack, "mount", arguments, answer)) return 1;
  if (io.json) io.print(to_json(answer));
  return 0;
}

}  // namespace
}  // namespace iopkt::utils

int main(int argc, char** argv) {
  using namespace iopkt::utils;
  Words words(argv + 1, argv + argc);
  const MountRequest request = read_mount(words);
  Io io{"mount"};
  if (helped(io, kUsage, words)) return 0;
  if (!request.ours) {
    const std::string host = host_mount();
    if (host.empty()) {
      std::fputs("mount: without -T io-pkt this is the host's own mount, and none is on PATH\n", stderr);
      return 1;
    }
    argv[0] = const_cast<char*>(host.c_str());  // NOLINT: execv's signature
    ::execv(host.c_str(), argv);
    std::fprintf(stderr, "mount: %s: %s\n", host.c_str(), std::strerror(errno));
    return 126;
  }
  std::erase_if(words, [&](const std::string& word) { return word == "--json" && (io.json = true); });
  const int status = mount(io, read_mount(words));
  io.flush();
  return status;
}
