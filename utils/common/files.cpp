#include "utils/common/files.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace iopkt::utils {
namespace {

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

/// `done` and what close() says; errno of the first that failed.
bool closed(int fd, bool done) {
  const int error = errno;
  if (::close(fd) != 0 && done) return false;
  errno = error;
  return done;
}

enum class Result { done, failed, impossible };

/// No file can be put at that place, or not with the owner that it has.
Result refused() {
  const bool impossible = errno == EBUSY || errno == EXDEV || errno == EROFS || errno == EACCES || errno == EPERM;
  return impossible ? Result::impossible : Result::failed;
}

Result put_beside(const std::string& path, std::string_view text, const std::string& fresh, const struct stat* before) {
  const int fd = ::open(fresh.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (fd < 0) return refused();
  Result result = Result::done;
  if (before != nullptr && (::fchown(fd, before->st_uid, before->st_gid) != 0 || ::fchmod(fd, before->st_mode & 07777) != 0)) result = refused();
  bool done = result == Result::done && write_all(fd, text);
  done = closed(fd, done);
  if (result == Result::done && !done) result = Result::failed;
  if (result == Result::done && ::rename(fresh.c_str(), path.c_str()) != 0) result = refused();
  const int error = errno;
  if (result != Result::done) ::unlink(fresh.c_str());
  errno = error;
  return result;
}

bool put_in_place(const std::string& path, std::string_view text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return false;
  // The room is taken before anything is overwritten; a file system that cannot say so is written at once.
  const bool full = ::fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(text.size())) != 0 &&
                    (errno == ENOSPC || errno == EDQUOT || errno == EFBIG);
  return closed(fd, !full && write_all(fd, text) && ::ftruncate(fd, static_cast<off_t>(text.size())) == 0);
}

}  // namespace

bool replace_file(const std::string& path, std::string_view text, std::string_view suffix) {
  const std::string fresh = path + std::string{suffix};
  struct stat before;
  const bool there = ::lstat(path.c_str(), &before) == 0;
  if (there && !S_ISREG(before.st_mode)) return put_in_place(path, text);
  ::unlink(fresh.c_str());  // of one that was killed
  const Result result = put_beside(path, text, fresh, there ? &before : nullptr);
  return result == Result::impossible ? put_in_place(path, text) : result == Result::done;
}

}  // namespace iopkt::utils
