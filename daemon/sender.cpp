// What a process may do, when it asks.
#include <linux/capability.h>
#include <sys/stat.h>

#include <cinttypes>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>

#include "client.hpp"

namespace iopkt::daemon {
namespace {

struct Close {
  void operator()(FILE* file) const { std::fclose(file); }
};

struct Rights {
  std::uint32_t user = 0;  ///< effective
  std::uint64_t capabilities = 0;  ///< in effect, as bits
};
/// Nothing: the process cannot be looked at.
std::optional<Rights> rights_of(const std::string& process) {
  const std::unique_ptr<FILE, Close> status{std::fopen((process + "/status").c_str(), "re")};
  if (!status) return std::nullopt;
  Rights rights;
  int found = 0;
  char line[256];
  while (found < 2 && std::fgets(line, sizeof line, status.get()) != nullptr) {
    found += std::sscanf(line, "Uid: %*u %" SCNu32, &rights.user) == 1;
    found += std::sscanf(line, "CapEff: %" SCNx64, &rights.capabilities) == 1;
  }
  return found == 2 ? std::optional{rights} : std::nullopt;
}

bool is_same_file(const std::string& a, const std::string& b, bool& known) {
  struct stat one{}, other{};
  known = ::stat(a.c_str(), &one) == 0 && ::stat(b.c_str(), &other) == 0;
  return known && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

}  // namespace

// The process waits for its answer, so that its number is still its own; only one that had been let in could die at once and hope
// that a process with more rights takes the number before this has looked.
bool may(const Credential& who, int capability) {
  if (who.user != 0 && who.user == ::geteuid()) return true;
  if (who.pid <= 0) return who.privileged;
  const std::string process = "/proc/" + std::to_string(who.pid);
  const auto rights = rights_of(process);
  if (!rights) return who.privileged;
  bool known = false;
  // Full of capabilities in a user namespace of its own is no more than any user can be.
  const bool ours = is_same_file(process + "/ns/user", "/proc/self/ns/user", known);
  if (!known) return who.privileged;
  return ours && (is_privileged(rights->user) || (rights->capabilities >> capability & 1) != 0);
}

}  // namespace iopkt::daemon
