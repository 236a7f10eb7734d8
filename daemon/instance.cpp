// The claim of one process on its instance number and on its prefix.
#include "instance.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/assert.hpp"
#include "ipc/instances.hpp"
#include "ipc/nodes.hpp"
#include "ipc/offer.hpp"

namespace iopkt::daemon {
namespace {

constexpr mode_t kNodeMode = 0666;  // anyone may open a socket; what it may do is asked at each operation
constexpr std::string_view kLockName = "/.lock";
constexpr int kTriesMax = 8;  // against a process that ends while we begin

StartFault failed(std::string line) { return {StartFault::kFailed, std::move(line)}; }

std::string because(int error) { return std::string{": "} + std::strerror(error); }

struct Locked {
  int fd{-1};      ///< -1: see the rest
  int error{};     ///< errno; 0 and fd -1: somebody else has it
  pid_t holder{};  ///< 0: cannot be told (another pid namespace)
};

/// Opens (or makes) a lock file and locks it for this process.
Locked lock_file(const std::string& path) {
  for (int attempt = 0; attempt < kTriesMax; ++attempt) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return {.error = errno};
    struct flock lock{};
    lock.l_type = F_WRLCK;
    lock.l_whence = SEEK_SET;
    if (::fcntl(fd, F_SETLK, &lock) != 0) {
      const int error = errno;
      if (error != EAGAIN && error != EACCES) {
        ::close(fd);
        return {.error = error};
      }
      ::fcntl(fd, F_GETLK, &lock);
      ::close(fd);
      if (lock.l_type == F_UNLCK) continue;  // it ended just now
      return {.holder = lock.l_pid > 0 ? lock.l_pid : 0};
    }
    // The holder before us may have removed the file between our open and our lock: then the name means
    // another file.
    struct stat ours{}, named{};
    if (::fstat(fd, &ours) == 0 && ::stat(path.c_str(), &named) == 0 && ours.st_ino == named.st_ino &&
        ours.st_dev == named.st_dev)
      return {.fd = fd};
    ::close(fd);
  }
  return {.error = EAGAIN};
}

std::string holder_text(pid_t holder) {
  return holder ? "process " + std::to_string(holder) : std::string{"another process"};
}

bool write_file(const std::string& path, std::string_view text, mode_t mode) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
  if (fd < 0) return false;
  const bool written = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int error = errno;
  ::close(fd);
  errno = error;
  return written;
}

/// mkdir -p. `made` gets what did not exist before. 0 or an errno.
int make_directories(const std::string& path, mode_t mode, std::vector<std::string>* made) {
  for (std::size_t end = 0; end != path.npos;) {
    end = path.find('/', end + 1);
    const std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), mode) == 0) {
      if (made) made->push_back(part);
    } else if (const int error = errno; error != EEXIST) {
      // EROFS and EACCES are also the answer for what is there already.
      struct stat status{};
      if (::stat(part.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) return error;
    }
  }
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) return errno;
  return S_ISDIR(status.st_mode) ? 0 : ENOTDIR;
}

/// The first run directory that can be used.
Expected<std::string, StartFault> make_run_directory() {
  std::string reasons;
  for (const std::string& directory : ipc::run_directories()) {
    const bool shared = directory.starts_with("/run/");
    if (shared && ::geteuid() != 0) continue;
    const int error = make_directories(directory, shared ? 0755 : 0700, nullptr);
    if (error == 0 && ipc::is_trusted_directory(directory) && ::access(directory.c_str(), W_OK) == 0)
      return directory;
    reasons +=
        (reasons.empty() ? "" : "; ") + directory + (error ? because(error) : ": not ours alone to write");
  }
  return unexpected(failed("no run directory: " + reasons));
}

}  // namespace

std::size_t prefix_size_max() {
  // The longest is that of an accepted connection's end.
  static_assert(ipc::kAutoconnectNode.size() <= ipc::kAcceptedNameSize);
  return sizeof(sockaddr_un::sun_path) - 1 - ipc::kSocketFolder.size() - 1 - ipc::kAcceptedNameSize;
}

Instance::Instance(const Options& options)
    : variant_(options.variant),
      number_(options.instance),
      prefix_(options.tcpip.prefix),
      node_directory_(prefix_ + std::string{ipc::kSocketFolder}) {}

Expected<std::unique_ptr<Instance>, StartFault> Instance::claim(const Options& options) {
  std::unique_ptr<Instance> instance{new Instance{options}};
  auto access = node_access(options.node_access, "socket", kNodeMode);
  if (!access) return unexpected(StartFault{StartFault::kBadCommand, std::move(access.error())});
  instance->access_ = *access;
  if (auto done = instance->claim_number(); !done) return unexpected(std::move(done.error()));
  if (auto done = instance->claim_prefix(); !done) return unexpected(std::move(done.error()));
  instance->remove_sockets();
  return instance;
}

Expected<void, StartFault> Instance::claim_number() {
  auto directory = make_run_directory();
  if (!directory) return unexpected(std::move(directory.error()));
  run_directory_ = std::move(*directory);
  const std::string path = ipc::instance_path(run_directory_, number_, ".pid");
  const Locked locked = lock_file(path);
  if (locked.fd < 0 && locked.error) return unexpected(failed(path + because(locked.error)));
  if (locked.fd < 0)
    return unexpected(failed("instance " + std::to_string(number_) + " is running already: " +
                             holder_text(locked.holder) + "; -i takes another number"));
  number_lock_ = locked.fd;
  files_.push_back(path);
  const std::string text = std::to_string(::getpid()) + "\n";
  if (::ftruncate(number_lock_, 0) != 0 ||
      ::pwrite(number_lock_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size()))
    return unexpected(failed(path + because(errno)));
  // What a dead process published must not be found while we start.
  ::unlink(ipc::instance_path(run_directory_, number_, "").c_str());
  ::unlink(ipc::instance_path(run_directory_, number_, ".control").c_str());
  return {};
}

Expected<void, StartFault> Instance::make_node_directory() {
  const int error = make_directories(node_directory_, 0755, &made_);
  if (error == 0) return {};
  return unexpected(failed("cannot make " + node_directory_ + because(error) +
                           "; -p tcpip prefix=/path takes a directory that is writable"));
}

Expected<void, StartFault> Instance::claim_prefix() {
  const std::string path = node_directory_ + std::string{kLockName};
  Locked locked;
  for (int attempt = 0; attempt < kTriesMax; ++attempt) {
    if (auto done = make_node_directory(); !done) return done;
    locked = lock_file(path);
    // A process that ends removes the directories that it made.
    if (locked.error != ENOENT) break;
  }
  if (locked.fd < 0 && locked.error)
    return unexpected(failed("cannot write in " + node_directory_ + because(locked.error) +
                             "; -p tcpip prefix=/path takes a directory that is writable"));
  if (locked.fd < 0)
    return unexpected(failed("prefix " + (prefix_.empty() ? "/" : prefix_) + " is in use: " +
                             holder_text(locked.holder) + "; -p tcpip prefix=/path takes another one"));
  prefix_lock_ = locked.fd;
  files_.push_back(path);
  return {};
}

/// Sockets in the node directory: with the lock in hand, all of them are ours to remove.
void Instance::remove_sockets() const {
  DIR* open = ::opendir(node_directory_.c_str());
  if (!open) return;
  const int at = ::dirfd(open);
  while (const dirent* entry = ::readdir(open)) {
    struct stat status{};
    if (::fstatat(at, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(status.st_mode))
      ::unlinkat(at, entry->d_name, 0);
  }
  ::closedir(open);
}

std::string Instance::add_node(std::string_view name) {
  IOPKT_ASSERT(!name.empty() && name.find('/') == name.npos);
  std::string path = node_directory_ + "/" + std::string{name};
  ::unlink(path.c_str());
  files_.push_back(path);
  return path;
}

Expected<void, StartFault> Instance::publish() {
  const std::string record_path = ipc::instance_path(run_directory_, number_, "");
  const std::string control_path = ipc::instance_path(run_directory_, number_, ".control");
  const std::string temporary = record_path + ".new";
  const ipc::InstanceRecord record{.instance = number_,
                                   .pid = ::getpid(),
                                   .start_ticks = ipc::process_start_ticks(::getpid()),
                                   .started = ::time(nullptr),
                                   .variant = std::string{program_name(variant_)},
                                   .prefix = prefix_};
  ::unlink(control_path.c_str());
  if (::symlink((node_directory_ + "/" + std::string{ipc::kControlNode}).c_str(), control_path.c_str()) != 0)
    return unexpected(failed(control_path + because(errno)));
  files_.push_back(control_path);
  ::unlink(temporary.c_str());
  if (!write_file(temporary, ipc::encode(record), 0644) ||
      ::rename(temporary.c_str(), record_path.c_str()) != 0) {
    const int error = errno;
    ::unlink(temporary.c_str());
    return unexpected(failed(record_path + because(error)));
  }
  files_.push_back(record_path);
  return {};
}

Instance::~Instance() {
  if (prefix_lock_ >= 0) remove_sockets();
  // Last made, first gone: who finds the record also finds what it speaks of. The lock files go last.
  while (!files_.empty()) {
    ::unlink(files_.back().c_str());
    files_.pop_back();
  }
  // Fails, as it should, for a directory that somebody else has put something in.
  while (!made_.empty() && ::rmdir(made_.back().c_str()) == 0) made_.pop_back();
  if (prefix_lock_ >= 0) ::close(prefix_lock_);
  if (number_lock_ >= 0) ::close(number_lock_);
}

}  // namespace iopkt::daemon
