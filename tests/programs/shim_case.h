/* Little cases of socket calls that print what happened, the same on the kernel's stack and on ours. Each case is one run of the
 * program: PROGRAM NAME; PROGRAM --list names them all. Ports, descriptor numbers and times are never printed. */
#ifndef SHIM_CASE_H
#define SHIM_CASE_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* The same cases with sockets of AF_INET6: built a second time, in the words of the other family. */
#ifdef SHIM_INET6
#undef AF_INET
#undef INADDR_LOOPBACK
#undef s_addr
#define AF_INET AF_INET6
#define INADDR_LOOPBACK 1
#define sockaddr_in sockaddr_in6
#define sin_family sin6_family
#define sin_port sin6_port
#define sin_addr sin6_addr
#define s_addr s6_addr32[3]
#endif

typedef void (*case_function)(void);
struct test_case {
  const char *name;
  case_function run;
};
#define UNUSED __attribute__((unused))

static UNUSED void say(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vprintf(format, arguments);
  va_end(arguments);
  putchar('\n');
  fflush(stdout);
}

/* Prints "what: 0" or "what: -1 ECONNREFUSED". Answers `result`. */
static UNUSED long show(const char *what, long result) {
  int error = errno;
  if (result < 0)
    say("%s: %ld %s", what, result, strerrorname_np(error));
  else
    say("%s: %ld", what, result);
  errno = error;
  return result;
}
/* For results that are numbers of descriptors. */
static UNUSED int show_fd(const char *what, int fd) {
  if (fd < 0)
    show(what, fd);
  else
    say("%s: ok", what);
  return fd;
}
static UNUSED int must(const char *what, int result) {
  if (result < 0) {
    say("%s failed: %s", what, strerrorname_np(errno));
    exit(3);
  }
  return result;
}

static UNUSED const char *mask_text(int mask) {
  static char text[96];
  snprintf(text, sizeof text, "%s%s%s%s%s%s", mask & POLLIN ? " IN" : "", mask & POLLOUT ? " OUT" : "",
           mask & POLLERR ? " ERR" : "", mask & POLLHUP ? " HUP" : "", mask & POLLRDHUP ? " RDHUP" : "",
           mask & POLLPRI ? " PRI" : "");
  return text;
}
static UNUSED int mask_now(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN | POLLOUT | POLLRDHUP | POLLPRI};
  return poll(&p, 1, 0) < 0 ? -1 : p.revents;
}
/* Waits until the poll mask is `wanted` (it may need a moment to get there), and prints what it is then. */
static UNUSED void show_mask(const char *what, int fd, int wanted) {
  int mask = mask_now(fd);
  for (int tries = 0; tries < 3000 && mask != wanted; ++tries) {
    poll(NULL, 0, 1);
    mask = mask_now(fd);
  }
  say("%s: mask%s", what, mask_text(mask));
}
/* Waits for one event, at most 5 s. */
static UNUSED int await(int fd, int events) {
  struct pollfd p = {.fd = fd, .events = (short)events};
  return poll(&p, 1, 5000) == 1 ? p.revents : 0;
}

static UNUSED struct sockaddr_in loopback(int port) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}
static UNUSED struct sockaddr_in name_of(int fd) {
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  must("getsockname", getsockname(fd, (struct sockaddr *)&a, &n));
  return a;
}
static UNUSED int listener(int backlog) {
  struct sockaddr_in a = loopback(0);
  int fd = must("socket", socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  must("bind", bind(fd, (struct sockaddr *)&a, sizeof a));
  must("listen", listen(fd, backlog));
  return fd;
}
/* A port that nobody listens on: bound and closed again. */
static UNUSED struct sockaddr_in closed_port(void) {
  struct sockaddr_in a = loopback(0);
  int fd = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  must("bind", bind(fd, (struct sockaddr *)&a, sizeof a));
  a = name_of(fd);
  close(fd);
  return a;
}
static UNUSED int udp(void) {
  struct sockaddr_in a = loopback(0);
  int fd = must("socket", socket(AF_INET, SOCK_DGRAM, 0));
  must("bind", bind(fd, (struct sockaddr *)&a, sizeof a));
  return fd;
}
/* pair[0] connected, pair[1] accepted. */
static UNUSED void tcp_pair(int pair[2]) {
  int l = listener(8);
  struct sockaddr_in a = name_of(l);
  pair[0] = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  must("connect", connect(pair[0], (struct sockaddr *)&a, sizeof a));
  pair[1] = must("accept", accept(l, NULL, NULL));
  close(l);
}
static UNUSED void nonblocking(int fd) { must("fcntl", fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)); }
static UNUSED void send_reset(int fd) {
  struct linger l = {.l_onoff = 1, .l_linger = 0};
  must("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l));
  close(fd);
}
static UNUSED int get_int(int fd, int level, int name) {
  int value = -1;
  socklen_t n = sizeof value;
  return getsockopt(fd, level, name, &value, &n) < 0 ? -errno : value;
}
static UNUSED int set_int(int fd, int level, int name, int value) { return setsockopt(fd, level, name, &value, sizeof value); }

/* A byte stream that tells its place, and its check. */
static UNUSED unsigned char byte_at(size_t i) { return (unsigned char)(i * 2654435761u >> 13); }
static UNUSED void fill(unsigned char *to, size_t at, size_t n) {
  for (size_t i = 0; i < n; ++i) to[i] = byte_at(at + i);
}
static UNUSED size_t check(const unsigned char *from, size_t at, size_t n) {
  for (size_t i = 0; i < n; ++i)
    if (from[i] != byte_at(at + i)) return i;
  return n;
}

static UNUSED int run_cases(const struct test_case *cases, size_t count, int argc, char **argv) {
  for (size_t i = 0; argc == 2 && i < count; ++i) {
    if (strcmp(argv[1], "--list") == 0) {
      say("%s", cases[i].name);
    } else if (strcmp(argv[1], cases[i].name) == 0) {
      cases[i].run();
      say("end");
      return 0;
    }
  }
  return argc == 2 && strcmp(argv[1], "--list") == 0 ? 0 : 2;
}
#define MAIN(cases)                                                            \
  int main(int argc, char **argv) {                                            \
    return run_cases(cases, sizeof cases / sizeof cases[0], argc, argv);       \
  }
#endif
