// Looking into programs: ELF headers, "#!" lines, rights.
#include "shim/program.hpp"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>

#include <string_view>

#include "shim/native.hpp"
#include "shim/process.hpp"

extern "C" const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));  // this library's own

namespace iopkt::shim {

namespace {

constexpr int kScriptsMax = 5;  ///< a "#!" that names a script ..., as the kernel has it
constexpr std::size_t kHeadersMax = 64;
constexpr std::string_view kDefaultPath = "/bin:/usr/bin";

class File {
 public:
  explicit File(const char* path)
      : fd_(static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK))) {}
  ~File() {
    if (fd_ >= 0) native::close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

bool read_at(int fd, void* to, std::size_t size, off_t at) {
  return syscall(SYS_pread64, fd, to, size, at) == static_cast<long>(size);
}

const char* value_of(char* const* environment, std::string_view name) {
  for (; environment != nullptr && *environment != nullptr; ++environment)
    if (std::string_view{*environment}.starts_with(name)) return *environment + name.size();
  return nullptr;
}

bool keeps_settings(char* const* environment) {
  if (settings().preloaded && !names_library(value_of(environment, "LD_PRELOAD="))) return false;
  Prefix prefix;
  prefix_from(value_of(environment, "SOCK="), prefix);
  return strcmp(prefix, settings().prefix) == 0;
}

/// The loader ignores LD_PRELOAD for programs that run with other rights than who started them (AT_SECURE).
bool gains_rights(int fd) {
  struct stat what{};
  if (fstat(fd, &what) != 0) return true;
  const uid_t user = (what.st_mode & S_ISUID) != 0 ? what.st_uid : geteuid();
  const bool sets_group = (what.st_mode & S_ISGID) != 0 && (what.st_mode & S_IXGRP) != 0;
  const gid_t group = sets_group ? what.st_gid : getegid();
  if (user != getuid() || group != getgid()) return true;
  return getuid() != 0 && fgetxattr(fd, "security.capability", nullptr, 0) > 0;
}

/// A dynamic program of this library's machine whose loader is the C library's own.
bool is_dynamic(int fd) {
  ElfW(Ehdr) header;
  if (!read_at(fd, &header, sizeof header, 0)) return false;
  if (header.e_ident[EI_CLASS] != __ehdr_start.e_ident[EI_CLASS] ||
      header.e_machine != __ehdr_start.e_machine || header.e_phentsize != sizeof(ElfW(Phdr)))
    return false;
  for (std::size_t i = 0; i < header.e_phnum && i < kHeadersMax; ++i) {
    ElfW(Phdr) part;
    if (!read_at(fd, &part, sizeof part, static_cast<off_t>(header.e_phoff + i * sizeof part))) return false;
    if (part.p_type != PT_INTERP) continue;
    char loader[PATH_MAX];
    if (part.p_filesz == 0 || part.p_filesz > sizeof loader ||
        !read_at(fd, loader, part.p_filesz, static_cast<off_t>(part.p_offset)))
      return false;
    loader[part.p_filesz - 1] = 0;
    const std::string_view path{loader};
    return path.substr(path.rfind('/') + 1).starts_with("ld-linux");
  }
  return false;
}

/// The interpreter of a "#!" line, cut to a path.
const char* interpreter(char* line, std::size_t size) {
  line[size] = 0;
  char* at = line + 2;
  at += strspn(at, " \t");
  at[strcspn(at, " \t\n")] = 0;
  return at;
}

bool loads_library(int fd, int depth) {
  char head[256 + 1];
  const long n = syscall(SYS_pread64, fd, head, sizeof head - 1, 0);
  if (n >= static_cast<long>(SELFMAG) && memcmp(head, ELFMAG, SELFMAG) == 0)
    return is_dynamic(fd) && !gains_rights(fd);
  if (depth == kScriptsMax || n < 0) return false;
  const bool script = n > 2 && head[0] == '#' && head[1] == '!';
  // What is neither is a script for the shell, where execvp() is asked for.
  const File next{script ? interpreter(head, static_cast<std::size_t>(n)) : "/bin/sh"};
  return next.fd() >= 0 && loads_library(next.fd(), depth + 1);
}

/// As execvp() finds it: the first that may be executed.
bool find_along_path(std::string_view name, char (&out)[PATH_MAX]) {
  const char* variable = getenv("PATH");
  std::string_view rest{variable != nullptr ? std::string_view{variable} : kDefaultPath};
  for (;;) {
    const std::size_t end = rest.find(':');
    const std::string_view folder = rest.substr(0, end);
    if (folder.size() + name.size() + 2 <= sizeof out) {
      char* at = out;
      memcpy(at, folder.data(), folder.size());
      at += folder.size();
      if (!folder.empty()) *at++ = '/';
      memcpy(at, name.data(), name.size());
      at[name.size()] = 0;
      struct stat what{};
      if (syscall(SYS_faccessat, AT_FDCWD, out, X_OK) == 0 && stat(out, &what) == 0 && S_ISREG(what.st_mode))
        return true;
    }
    if (end == std::string_view::npos) return false;
    rest.remove_prefix(end + 1);
  }
}

}  // namespace

bool will_have_library(int fd, char* const* environment) {
  const KeepErrno keep;
  return keeps_settings(environment) && loads_library(fd, 0);
}

bool will_have_library(const char* program, bool search, char* const* environment) {
  if (program == nullptr) return true;  // the call will fail
  const KeepErrno keep;
  if (!keeps_settings(environment)) return false;
  char found[PATH_MAX];
  if (search && strchr(program, '/') == nullptr) {
    if (!find_along_path(program, found)) return true;  // the call will fail
    program = found;
  }
  const File file{program};
  if (file.fd() < 0) return errno == ENOENT || errno == ENOTDIR;
  return loads_library(file.fd(), 0);
}

}  // namespace iopkt::shim
