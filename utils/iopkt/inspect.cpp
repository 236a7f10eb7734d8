// What kind of program a file is, and whether the loader will let a preloaded library in.
#include <elf.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "utils/iopkt/iopkt.hpp"

namespace iopkt::utils {
namespace {

constexpr std::size_t kHeadBytes = 4096;

std::vector<std::byte> read_head(const std::string& path) {
  std::vector<std::byte> head(kHeadBytes);
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const ssize_t got = fd < 0 ? 0 : ::read(fd, head.data(), head.size());
  if (fd >= 0) ::close(fd);
  head.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
  return head;
}

}  // namespace

std::string interpreter_of(std::span<const std::byte> head) {
  const std::string_view text{reinterpret_cast<const char*>(head.data()), head.size()};
  if (!text.starts_with("#!")) return {};
  std::string_view line = text.substr(2, std::min(text.find('\n'), text.size()) - 2);
  while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
  return std::string(line.substr(0, std::min(line.find_first_of(" \t\r"), line.size())));
}

Unreachable why_unreachable_elf(std::span<const std::byte> head) {
  Elf64_Ehdr header;
  if (head.size() < sizeof header || std::memcmp(head.data(), ELFMAG, SELFMAG) != 0)
    return Unreachable::nothing;
  std::memcpy(&header, head.data(), sizeof header);
  if (header.e_ident[EI_CLASS] != (sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32))
    return Unreachable::other_format;
  for (std::size_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    const std::size_t at = header.e_phoff + i * sizeof segment;
    if (header.e_phoff > head.size() || at + sizeof segment > head.size())
      return Unreachable::nothing;  // cannot tell
    std::memcpy(&segment, head.data() + at, sizeof segment);
    if (segment.p_type == PT_INTERP) return Unreachable::nothing;
  }
  return Unreachable::static_program;
}

Unreachable why_unreachable(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return Unreachable::missing;
  if ((status.st_mode & S_ISUID) != 0 && status.st_uid != ::getuid()) return Unreachable::setuid;
  if ((status.st_mode & S_ISGID) != 0 && (status.st_mode & S_IXGRP) != 0 && status.st_gid != ::getgid())
    return Unreachable::setuid;
  // Root gains nothing from them, so the loader does not mind.
  if (::getuid() != 0 && ::getxattr(path.c_str(), "security.capability", nullptr, 0) > 0)
    return Unreachable::capabilities;
  const auto head = read_head(path);
  if (const std::string interpreter = interpreter_of(head); !interpreter.empty() && interpreter != path) {
    const auto inner = read_head(interpreter);
    return why_unreachable_elf(inner);
  }
  return why_unreachable_elf(head);
}

std::string explain(Unreachable why, const std::string& path) {
  const std::string name = path.substr(path.rfind('/') + 1);
  switch (why) {
    case Unreachable::setuid:
    case Unreachable::capabilities:
      return path + (why == Unreachable::setuid ? " is setuid or setgid" : " has file capabilities") +
             ": the loader ignores the socket library for it, so it would talk to the kernel. Use a copy, "
             "which has no such "
             "rights: cp " +
             path + " /tmp/" + name + " && iopkt run /tmp/" + name + " ... (or run it as root)";
    case Unreachable::static_program:
      return path +
             " is statically linked: the socket library does not reach it, and the launcher for such "
             "programs is not "
             "built yet. Use a dynamically linked one";
    case Unreachable::other_format:
      return path + " is a program of another word size: the socket library does not load into it";
    case Unreachable::missing:
      return path + ": no such program";
    case Unreachable::nothing:
      break;
  }
  return {};
}

std::string find_program(const std::string& name) {
  const auto runs = [](const std::string& path) {
    struct stat status{};
    return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) && ::access(path.c_str(), X_OK) == 0;
  };
  if (name.find('/') != name.npos) return runs(name) ? name : std::string{};
  const char* path = ::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "/bin:/usr/bin";
  while (true) {
    const std::size_t colon = std::min(rest.find(':'), rest.size());
    const std::string folder = colon == 0 ? "." : std::string(rest.substr(0, colon));
    if (runs(folder + "/" + name)) return folder + "/" + name;
    if (colon == rest.size()) return {};
    rest.remove_prefix(colon + 1);
  }
}

}  // namespace iopkt::utils
