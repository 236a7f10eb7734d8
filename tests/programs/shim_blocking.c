/* Blocking calls: signals, time limits, threads, several readers; and options. */
#include "shim_case.h"

#include <stdatomic.h>

static atomic_int signals;
static void count_signal(int number) {
  (void)number;
  ++signals;
}
static void on_signal(int number, int flags) {
  struct sigaction a = {.sa_handler = count_signal, .sa_flags = flags};
  sigaction(number, &a, NULL);
}
/* Signals a thread every 20 ms: `times` times, then sends to `fd`; or, when there is no fd, until stop_poking(): a signal that comes
 * before the victim sleeps does not count. */
struct poker {
  pthread_t victim;
  int times;
  int fd;
  pthread_t self;
  atomic_int stop;
};
static void *poke(void *argument) {
  struct poker *p = argument;
  for (int i = 0; (p->fd < 0 || i < p->times) && p->stop == 0; ++i) {
    poll(NULL, 0, 20);
    if (p->stop == 0) pthread_kill(p->victim, SIGUSR1);
  }
  if (p->fd >= 0) {
    poll(NULL, 0, 20);
    send(p->fd, "late", 4, MSG_NOSIGNAL);
  }
  return NULL;
}
static struct poker poker;
static void start_poking(int times, int fd) {
  poker.victim = pthread_self();
  poker.times = times;
  poker.fd = fd;
  poker.stop = 0;
  pthread_create(&poker.self, NULL, poke, &poker);
}
static void stop_poking(void) {
  if (poker.fd < 0) poker.stop = 1;
  pthread_join(poker.self, NULL);
}

static void interrupted_read(void) {
  int p[2];
  char b[8];
  tcp_pair(p);
  on_signal(SIGUSR1, 0);
  start_poking(0, -1);
  show("recv without SA_RESTART", recv(p[0], b, 8, 0));
  stop_poking();
  on_signal(SIGUSR1, SA_RESTART);
  start_poking(3, p[1]);
  show("recv with SA_RESTART", recv(p[0], b, 8, 0));
  stop_poking();
  struct timeval limit = {.tv_sec = 5};
  setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  start_poking(0, -1);
  show("recv with SO_RCVTIMEO", recv(p[0], b, 8, 0));
  stop_poking();
  int l = listener(1);
  on_signal(SIGUSR1, 0);
  start_poking(0, -1);
  show("accept", accept(l, NULL, NULL));
  stop_poking();
  say("signals %d", signals > 5);
}

static void *drain(void *argument) {
  static char block[65536];
  int fd = *(int *)argument;
  poll(NULL, 0, 150);
  while (recv(fd, block, sizeof block, 0) > 0) {
  }
  return NULL;
}
/* Until nothing goes in any more, also a moment later (the receiver's window may grow). */
/* Quiet for longer than a persist timer: its probe may still find a little room at the receiver. */
static void fill_up(int fd, const char *block, size_t size) {
  for (int quiet = 0; quiet < 400; ++quiet, poll(NULL, 0, 1))
    while (send(fd, block, size, MSG_DONTWAIT) > 0) quiet = 0;
}
static void interrupted_write(void) {
  int p[2];
  static char block[1 << 24];
  tcp_pair(p);
  pthread_t d;
  on_signal(SIGUSR1, 0);
  start_poking(0, -1);
  ssize_t n = send(p[0], block, sizeof block, 0);
  stop_poking();
  say("partial %d", n > 0 && n < (ssize_t)sizeof block);
  fill_up(p[0], block, 65536);
  fill_up(p[0], block, 1);
  start_poking(0, -1);
  show("send into a full one", send(p[0], block, 1, 0));
  stop_poking();
  struct timeval limit = {.tv_usec = 60000};
  fill_up(p[0], block, 1);
  setsockopt(p[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  show("send with SO_SNDTIMEO", send(p[0], block, 1, 0));
  limit.tv_usec = 0;
  setsockopt(p[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  on_signal(SIGUSR1, SA_RESTART);
  start_poking(0, -1);
  pthread_create(&d, NULL, drain, &p[1]);
  show("send with SA_RESTART", send(p[0], block, 4096, 0));
  stop_poking();
  shutdown(p[0], SHUT_WR);
  pthread_join(d, NULL);
}

static void limits(void) {
  int p[2];
  char b[8];
  tcp_pair(p);
  struct timeval limit = {.tv_usec = 50000}, got;
  show("set", setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
  socklen_t n = sizeof got;
  show("get", getsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &got, &n));
  say("at least what was set: %d", got.tv_usec >= 50000 && got.tv_sec == 0);
  show("recv", recv(p[0], b, 8, 0));
  must("send", (int)send(p[1], "abc", 3, 0));
  show("recv all", recv(p[0], b, 8, MSG_WAITALL));
  int l = listener(1);
  setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  show("accept", accept(l, NULL, NULL));
  limit.tv_usec = 2000000;
  show("bad", setsockopt(p[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
}

static void broken_pipe(void) {
  int p[2];
  tcp_pair(p);
  on_signal(SIGPIPE, 0);
  shutdown(p[0], SHUT_WR);
  show("send nosignal", send(p[0], "x", 1, MSG_NOSIGNAL));
  say("signals %d", signals);
  show("write", write(p[0], "x", 1));
  say("signals %d", signals);
  int f = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  show("write fresh", write(f, "x", 1));
  say("signals %d", signals);
}

static void *read_until_end(void *argument) {
  int fd = *(int *)argument;
  char b[333];
  long sum = 0;
  ssize_t n;
  while ((n = recv(fd, b, sizeof b, 0)) > 0)
    for (ssize_t i = 0; i < n; ++i) sum += (unsigned char)b[i];
  return (void *)sum;
}
static void *write_much(void *argument) {
  int fd = *(int *)argument;
  unsigned char b[1000];
  for (int i = 0; i < 2000; ++i) {
    memset(b, i & 255, sizeof b);
    if (send(fd, b, sizeof b, 0) != sizeof b) say("short");
  }
  return NULL;
}
static void many_threads(void) {
  int p[2];
  tcp_pair(p);
  pthread_t readers[4], writers[3];
  for (int i = 0; i < 4; ++i) pthread_create(&readers[i], NULL, read_until_end, &p[1]);
  for (int i = 0; i < 3; ++i) pthread_create(&writers[i], NULL, write_much, &p[0]);
  for (int i = 0; i < 3; ++i) pthread_join(writers[i], NULL);
  shutdown(p[0], SHUT_WR);
  long sum = 0;
  for (int i = 0; i < 4; ++i) {
    void *part;
    pthread_join(readers[i], &part);
    sum += (long)part;
  }
  long wanted = 0;
  for (int i = 0; i < 2000; ++i) wanted += 3L * 1000 * (i & 255);
  say("sum right: %d", sum == wanted);
}

static void *shut_later(void *argument) {
  poll(NULL, 0, 50);
  shutdown(*(int *)argument, SHUT_RDWR);
  return NULL;
}
static void shutdown_wakes(void) {
  int p[2];
  char b[4];
  tcp_pair(p);
  pthread_t t;
  pthread_create(&t, NULL, shut_later, &p[0]);
  show("recv", recv(p[0], b, 4, 0));
  pthread_join(t, NULL);
  int l = listener(1);
  pthread_create(&t, NULL, shut_later, &l);
  show("accept", accept(l, NULL, NULL));
  pthread_join(t, NULL);
}

static void *cancelled_reader(void *argument) {
  char b[4];
  recv(*(int *)argument, b, 4, 0);
  return NULL;
}
static void cancellation(void) {
  int p[2];
  void *result;
  pthread_t t;
  tcp_pair(p);
  pthread_create(&t, NULL, cancelled_reader, &p[0]);
  poll(NULL, 0, 30);
  pthread_cancel(t);
  pthread_join(t, &result);
  say("cancelled %d", result == PTHREAD_CANCELED);
  must("send", (int)send(p[1], "x", 1, 0));
  show("recv", recv(p[0], &(char[2]){0}, 2, 0));
}

static void low_water(void) {
  int p[2];
  char b[16];
  tcp_pair(p);
  show("SO_RCVLOWAT", set_int(p[0], SOL_SOCKET, SO_RCVLOWAT, 5));
  must("send", (int)send(p[1], "abc", 3, 0));
  int n = 0;
  for (int i = 0; i < 2000 && n < 3; ++i, poll(NULL, 0, 1)) ioctl(p[0], FIONREAD, &n);
  say("unread %d", n);
  show_mask("below", p[0], POLLOUT);
  must("send", (int)send(p[1], "def", 3, 0));
  show_mask("above", p[0], POLLIN | POLLOUT);
  show("recv", recv(p[0], b, 16, 0));
  say("SO_RCVLOWAT %d", get_int(p[0], SOL_SOCKET, SO_RCVLOWAT));
}

/* Programs poll and then write some KB to a blocking socket: where poll says writable, these fit. */
static void writable_means_room(void) {
  int fds[2];
  tcp_pair(fds);
  char block[5000];
  memset(block, 'w', sizeof block);
  int sent = 0, cut = 0;
  for (; mask_now(fds[0]) & POLLOUT; ++sent)
    if (send(fds[0], block, sizeof block, MSG_DONTWAIT) != (ssize_t)sizeof block) ++cut;
  say("some sent %d, cut short %d", sent > 1, cut);
}

/* What connect() has made can be written to at once. */
static void connected_is_writable(void) {
  int l = listener(8), not_shown = 0, not_taken = 0;
  struct sockaddr_in a = name_of(l);
  for (int i = 0; i < 300; ++i) {
    int c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
    must("connect", connect(c, (struct sockaddr *)&a, sizeof a));
    if (i % 2 == 0)
      not_shown += (mask_now(c) & POLLOUT) == 0;
    else
      not_taken += send(c, "x", 1, MSG_DONTWAIT) != 1;
    close(c);
    close(must("accept", accept(l, NULL, NULL)));
  }
  say("not shown %d, not taken %d", not_shown, not_taken);
}

static void options(void) {
  int fd = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  say("type %d domain %d protocol %d", get_int(fd, SOL_SOCKET, SO_TYPE), get_int(fd, SOL_SOCKET, SO_DOMAIN),
      get_int(fd, SOL_SOCKET, SO_PROTOCOL));
  say("accepting %d error %d", get_int(fd, SOL_SOCKET, SO_ACCEPTCONN), get_int(fd, SOL_SOCKET, SO_ERROR));
  static const struct {
    const char *name;
    int level, option, value;
  } rows[] = {
      {"SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, 1}, {"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, 1},
      {"SO_BROADCAST", SOL_SOCKET, SO_BROADCAST, 1}, {"SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, 1},
      {"SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT, 1}, {"TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, 1},
      {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, 77}, {"TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, 7},
      {"TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, 3}, {"IP_TOS", IPPROTO_IP, IP_TOS, 16}, {"IP_TTL", IPPROTO_IP, IP_TTL, 44},
  };
  for (size_t i = 0; i < sizeof rows / sizeof *rows; ++i) {
    int before = get_int(fd, rows[i].level, rows[i].option);
    int set = set_int(fd, rows[i].level, rows[i].option, rows[i].value);
    say("%s: %d, set %d, then %d", rows[i].name, before, set, get_int(fd, rows[i].level, rows[i].option));
  }
  show("SO_TYPE is for reading", set_int(fd, SOL_SOCKET, SO_TYPE, 1));
  struct linger l = {1, 3};
  show("SO_LINGER", setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l));
  memset(&l, 0, sizeof l);
  show("SO_LINGER", getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &(socklen_t){sizeof l}));
  say("linger %d %d", l.l_onoff, l.l_linger);
  say("buffers %d %d", get_int(fd, SOL_SOCKET, SO_SNDBUF) > 4608, get_int(fd, SOL_SOCKET, SO_RCVBUF) > 2000);
  char c = 9;
  socklen_t n = 1;
  show("one byte", getsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &c, &n));
  say("byte %d length %d", c, (int)n);
}

static void inherited_options(void) {
  struct sockaddr_in a = loopback(0);
  int l = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  set_int(l, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_int(l, IPPROTO_TCP, TCP_NODELAY, 1);
  must("bind", bind(l, (struct sockaddr *)&a, sizeof a));
  must("listen", listen(l, 2));
  a = name_of(l);
  int c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  must("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  int s = must("accept", accept(l, NULL, NULL));
  say("keepalive %d nodelay %d", get_int(s, SOL_SOCKET, SO_KEEPALIVE), get_int(s, IPPROTO_TCP, TCP_NODELAY));
  struct tcp_info info;
  memset(&info, 0, sizeof info);
  socklen_t n = sizeof info;
  show("TCP_INFO", getsockopt(s, IPPROTO_TCP, TCP_INFO, &info, &n));
  say("state %d", info.tcpi_state);
}

static void options_of_a_listener(void) {
  int l = listener(2);
  struct sockaddr_in a = name_of(l);
  set_int(l, SOL_SOCKET, SO_KEEPALIVE, 1);
  int c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  must("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  int s = must("accept", accept(l, NULL, NULL));
  say("keepalive %d", get_int(s, SOL_SOCKET, SO_KEEPALIVE));
}

static const struct test_case cases[] = {
    {"interrupted_read", interrupted_read}, {"interrupted_write", interrupted_write}, {"limits", limits},
    {"broken_pipe", broken_pipe}, {"many_threads", many_threads}, {"shutdown_wakes", shutdown_wakes},
    {"cancellation", cancellation}, {"low_water", low_water},
    {"writable_means_room", writable_means_room}, {"connected_is_writable", connected_is_writable},
    {"options", options}, {"inherited_options", inherited_options},
    {"options_of_a_listener", options_of_a_listener},
};
MAIN(cases)
