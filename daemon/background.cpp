// Going to the background.
#include "background.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

namespace iopkt::daemon {
namespace {

/// The first process: never returns.
[[noreturn]] void wait_for(pid_t child, int pipe) {
  char byte = 0;
  ssize_t size;
  do size = ::read(pipe, &byte, 1);
  while (size < 0 && errno == EINTR);
  if (size == 1) ::_exit(0);
  // The pipe closed without the byte: the child is ending. Its own message is on standard error already.
  int status = 0;
  pid_t ended;
  do ended = ::waitpid(child, &status, 0);
  while (ended < 0 && errno == EINTR);
  if (ended == child && WIFEXITED(status)) ::_exit(WEXITSTATUS(status) ? WEXITSTATUS(status) : 1);
  if (ended == child && WIFSIGNALED(status)) {
    std::fprintf(stderr, "the process ended with signal %d while it started\n", WTERMSIG(status));
    ::_exit(128 + WTERMSIG(status));
  }
  ::_exit(1);
}

}  // namespace

bool Background::enter() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) return false;
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) {
    const int error = errno;
    ::close(ends[0]);
    ::close(ends[1]);
    errno = error;
    return false;
  }
  if (child > 0) {
    ::close(ends[1]);
    wait_for(child, ends[0]);
  }
  ::close(ends[0]);
  pipe_ = ends[1];
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(1);  // it went before prctl
  return true;
}

void Background::ready() {
  if (pipe_ < 0) return;
  ::prctl(PR_SET_PDEATHSIG, 0);
  ::setsid();
  if (::chdir("/") != 0) std::perror("/");
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null >= 0) {
    for (int fd = 0; fd <= 2; ++fd) ::dup2(null, fd);
    if (null > 2) ::close(null);
  }
  const char byte = 1;
  while (::write(pipe_, &byte, 1) < 0 && errno == EINTR) {
  }
  ::close(pipe_);
  pipe_ = -1;
}

}  // namespace iopkt::daemon
