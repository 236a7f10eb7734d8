// What a process may do, when it asks.
#include <linux/capability.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cinttypes>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "client.hpp"

namespace iopkt::daemon {
namespace {

struct Close {
  void operator()(FILE* file) const { std::fclose(file); }
};

struct Rights {
  std::uint32_t real_user = 0, effective_user = 0;
  std::uint64_t effective = 0, ambient = 0;  ///< capabilities, as bits
};
/// Nothing: the process cannot be looked at.
std::optional<Rights> rights_of(const std::string& process) {
  const std::unique_ptr<FILE, Close> status{std::fopen((process + "/status").c_str(), "re")};
  if (!status) return std::nullopt;
  Rights r;
  int found = 0;
  char line[256];
  while (found < 3 && std::fgets(line, sizeof line, status.get()) != nullptr) {
    found += std::sscanf(line, "Uid: %" SCNu32 " %" SCNu32, &r.real_user, &r.effective_user) == 2;
    found += std::sscanf(line, "CapEff: %" SCNx64, &r.effective) == 1;
    found += std::sscanf(line, "CapAmb: %" SCNx64, &r.ambient) == 1;
  }
  return found == 3 ? std::optional{r} : std::nullopt;
}

bool is_same_file(const std::string& a, const std::string& b) {
  struct stat one{}, other{};
  return ::stat(a.c_str(), &one) == 0 && ::stat(b.c_str(), &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/// Whether /proc numbers processes as the kernel does for us.
bool is_our_proc() {
  char link[32];
  const ssize_t n = ::readlink("/proc/self", link, sizeof link);
  return n > 0 && std::string_view{link, static_cast<std::size_t>(n)} == std::to_string(::getpid());
}

}  // namespace

// A process can execute another program, set-user-ID perhaps, before this looks at it. So what /proc says can only take away what the
// kernel said of the sender when it sent, but for ambient capabilities: such a program has none.
bool may(const Credential& who, int capability) {
  if (who.privileged && who.user != 0) return true;
  const std::string process = "/proc/" + std::to_string(who.pid);
  const auto rights = who.pid > 0 && is_our_proc() ? rights_of(process) : std::nullopt;
  if (!rights) return who.privileged;
  const auto has = [&](std::uint64_t bits) { return (bits >> capability & 1) != 0; };
  if (who.privileged) return is_privileged(rights->effective_user) || has(rights->effective);
  // Full of capabilities in a user namespace of its own is no more than any user can be.
  return has(rights->ambient) && rights->real_user == who.user && is_same_file(process + "/ns/user", "/proc/self/ns/user");
}

}  // namespace iopkt::daemon
