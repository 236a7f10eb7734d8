/* Urgent data (RFC 6093) as tcp(7) has it: one byte out of band, a mark in the stream where it was. */
#include "shim_case.h"

static char b[64];

static void mark(const char *what, int fd) {
  int unread = -1;
  int at = sockatmark(fd);
  ioctl(fd, FIONREAD, &unread);
  say("%s: mark %d, unread %d", what, at, unread);
}
/* What recv() gives, with its text. */
static void take(const char *what, int fd, size_t most, int flags) {
  ssize_t n = show(what, recv(fd, b, most, flags));
  if (n > 0) say("  %.*s", (int)n, b);
}
static void urgent(int fd, const char *text) { must("send", (int)send(fd, text, strlen(text), MSG_OOB)); }
static void plain(int fd, const char *text) { must("send", (int)send(fd, text, strlen(text), 0)); }
/* Waits until `byte` is the urgent one. */
static void until_urgent(int fd, char byte) {
  for (int tries = 0; tries < 3000 && !(recv(fd, b, 1, MSG_OOB | MSG_PEEK) == 1 && *b == byte); ++tries) poll(NULL, 0, 1);
}
/* Waits until the socket has so many bytes that are read in one call; what lies behind a mark does not count. */
static void until_unread(int fd, int wanted) {
  int unread = -1;
  for (int tries = 0; tries < 3000 && unread != wanted; ++tries) {
    if (tries > 0) poll(NULL, 0, 1);
    ioctl(fd, FIONREAD, &unread);
  }
}

static void taken(void) {
  int p[2];
  tcp_pair(p);
  take("none", p[0], 1, MSG_OOB);
  mark("none", p[0]);
  urgent(p[1], "abc!");
  say("event%s", mask_text(await(p[0], POLLPRI)));
  show_mask("came", p[0], POLLIN | POLLOUT | POLLPRI);
  mark("came", p[0]);
  take("peek", p[0], 16, MSG_PEEK);
  take("recv", p[0], 2, 0);
  mark("in between", p[0]);
  take("recv", p[0], 16, 0);
  mark("there", p[0]);
  show_mask("there", p[0], POLLOUT | POLLPRI);
  take("peek oob", p[0], 16, MSG_OOB | MSG_PEEK);
  take("oob", p[0], 16, MSG_OOB);
  take("oob again", p[0], 16, MSG_OOB);
  show_mask("taken", p[0], POLLOUT);
  mark("taken", p[0]);
  plain(p[1], "de");
  show_mask("more", p[0], POLLIN | POLLOUT);
  mark("more", p[0]);
  take("peek", p[0], 16, MSG_PEEK);
  take("recv", p[0], 16, 0);
  mark("behind", p[0]);
  take("empty", p[0], 16, MSG_DONTWAIT);
  show_mask("behind", p[0], POLLOUT);
}

static void taken_first(void) {
  int p[2];
  tcp_pair(p);
  urgent(p[1], "abc!");
  until_urgent(p[0], '!');
  take("oob", p[0], 1, MSG_OOB);
  show_mask("taken", p[0], POLLIN | POLLOUT);
  plain(p[1], "def");
  take("recv", p[0], 16, 0);
  mark("there", p[0]);
  show_mask("there", p[0], POLLIN | POLLOUT);
  take("recv", p[0], 16, 0);
  show_mask("empty", p[0], POLLOUT);
}

static void not_taken(void) {
  int p[2];
  tcp_pair(p);
  urgent(p[1], "abc!");
  until_urgent(p[0], '!');
  plain(p[1], "def");
  take("recv", p[0], 16, 0);
  mark("there", p[0]);
  show_mask("there", p[0], POLLIN | POLLOUT | POLLPRI);
  take("over it", p[0], 16, 0);
  take("too late", p[0], 1, MSG_OOB);
  show_mask("empty", p[0], POLLOUT);
}

static void thrown_away_by_reading(void) {
  int p[2];
  tcp_pair(p);
  urgent(p[1], "!");
  until_urgent(p[0], '!');
  show_mask("alone", p[0], POLLOUT | POLLPRI);
  mark("alone", p[0]);
  take("peek", p[0], 4, MSG_PEEK | MSG_DONTWAIT);
  mark("peeked", p[0]);
  take("recv", p[0], 4, MSG_DONTWAIT);
  mark("read", p[0]);
  show_mask("read", p[0], POLLOUT);
  take("oob", p[0], 1, MSG_OOB);
  plain(p[1], "a");
  show_mask("next", p[0], POLLIN | POLLOUT);
  take("recv", p[0], 4, 0);
}

static void in_line(void) {
  int p[2];
  tcp_pair(p);
  must("SO_OOBINLINE", set_int(p[0], SOL_SOCKET, SO_OOBINLINE, 1));
  urgent(p[1], "abc!");
  await(p[0], POLLPRI);
  mark("came", p[0]);
  take("oob", p[0], 1, MSG_OOB);
  take("recv", p[0], 16, 0);
  mark("there", p[0]);
  show_mask("there", p[0], POLLIN | POLLOUT | POLLPRI);
  plain(p[1], "def");
  until_unread(p[0], 4);
  mark("more", p[0]);
  take("over it", p[0], 16, 0);
  mark("behind", p[0]);
  show_mask("behind", p[0], POLLOUT);
  urgent(p[1], "?");
  await(p[0], POLLPRI);
  show_mask("alone", p[0], POLLIN | POLLOUT | POLLPRI);
  must("SO_OOBINLINE", set_int(p[0], SOL_SOCKET, SO_OOBINLINE, 0));
  show_mask("out of line", p[0], POLLOUT | POLLPRI);
  mark("out of line", p[0]);
  must("SO_OOBINLINE", set_int(p[0], SOL_SOCKET, SO_OOBINLINE, 1));
  show_mask("in line", p[0], POLLIN | POLLOUT | POLLPRI);
  take("recv", p[0], 4, MSG_DONTWAIT);
  show_mask("read", p[0], POLLOUT);
}

static void inherited_in_line(void) {
  int l = listener(4), c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  struct sockaddr_in a = name_of(l);
  must("SO_OOBINLINE", set_int(l, SOL_SOCKET, SO_OOBINLINE, 1));
  must("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  urgent(c, "ab!");
  int s = must("accept", accept(l, NULL, NULL));
  say("option %d", get_int(s, SOL_SOCKET, SO_OOBINLINE));
  await(s, POLLPRI);
  take("recv", s, 16, 0);
  take("recv", s, 16, 0);
}

static void before_accept(void) {
  int l = listener(4), c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  struct sockaddr_in a = name_of(l);
  must("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  urgent(c, "ab!");
  int s = must("accept", accept(l, NULL, NULL));
  await(s, POLLPRI);
  show_mask("accepted", s, POLLIN | POLLOUT | POLLPRI);
  take("recv", s, 16, 0);
  take("oob", s, 1, MSG_OOB);
  show_mask("taken", s, POLLOUT);
}

static void many_calls(void) {
  int p[2];
  char x[2], y[8];
  struct iovec in[2] = {{x, 2}, {y, 8}};
  tcp_pair(p);
  urgent(p[1], "abc!");
  until_urgent(p[0], '!');
  plain(p[1], "def");
  struct msghdr m = {.msg_iov = in, .msg_iovlen = 2};
  show("recvmsg oob peek", recvmsg(p[0], &m, MSG_OOB | MSG_PEEK));
  say("  %c flags %x", x[0], (unsigned)m.msg_flags);
  m.msg_iovlen = 0;
  show("recvmsg oob without room", recvmsg(p[0], &m, MSG_OOB | MSG_PEEK));
  say("  flags %x", (unsigned)m.msg_flags);
  m.msg_iovlen = 2;
  show("recvmsg waitall", recvmsg(p[0], &m, MSG_WAITALL));
  say("  %.2s %.1s flags %x", x, y, (unsigned)m.msg_flags);
  mark("there", p[0]);
  show("readv", readv(p[0], in, 2));
  say("  %.2s %.1s", x, y);
  urgent(p[1], "gh?");
  until_urgent(p[0], '?');
  plain(p[1], "ij");
  take("peek waitall", p[0], 8, MSG_PEEK | MSG_WAITALL);
  take("trunc", p[0], 8, 0);
  take("peek", p[0], 8, MSG_PEEK);
  show("trunc", recv(p[0], NULL, 8, MSG_TRUNC));
  mark("behind", p[0]);
  urgent(p[1], "kl+");
  until_urgent(p[0], '+');
  show("read", read(p[0], b, 8));
  show("oob trunc", recv(p[0], NULL, 1, MSG_OOB | MSG_TRUNC));
  take("oob", p[0], 1, MSG_OOB);
}

static void *send_later(void *argument) {
  int fd = *(int *)argument;
  plain(fd, "ab");
  poll(NULL, 0, 20);
  urgent(fd, "!");
  return NULL;
}
static void ends_waitall(void) {
  int p[2];
  tcp_pair(p);
  pthread_t t;
  pthread_create(&t, NULL, send_later, &p[1]);
  take("waitall", p[0], 10, MSG_WAITALL);
  pthread_join(t, NULL);
  until_urgent(p[0], '!');
  take("oob", p[0], 1, MSG_OOB);
  show_mask("taken", p[0], POLLOUT);
}

static void newer(void) {
  int p[2];
  tcp_pair(p);
  urgent(p[1], "x");
  until_urgent(p[0], 'x');
  urgent(p[1], "y");  /* the reader stands at the first */
  until_urgent(p[0], 'y');
  mark("second", p[0]);
  show_mask("second", p[0], POLLOUT | POLLPRI);
  plain(p[1], "z");
  show_mask("more", p[0], POLLIN | POLLOUT | POLLPRI);
  take("recv", p[0], 8, 0);
  show_mask("read", p[0], POLLOUT);
  urgent(p[1], "ax");
  until_urgent(p[0], 'x');
  urgent(p[1], "by");  /* the reader stands before it */
  until_urgent(p[0], 'y');
  mark("fourth", p[0]);
  take("recv", p[0], 8, 0);
  mark("there", p[0]);
  take("oob", p[0], 1, MSG_OOB);
  show_mask("taken", p[0], POLLOUT);
  urgent(p[1], "cx");
  until_urgent(p[0], 'x');
  take("oob", p[0], 1, MSG_OOB);
  urgent(p[1], "dy");  /* and has taken it */
  until_urgent(p[0], 'y');
  take("recv", p[0], 8, 0);
  take("oob", p[0], 1, MSG_OOB);
  urgent(p[1], "e");
  until_urgent(p[0], 'e');
  take("oob", p[0], 1, MSG_OOB);
  show_mask("all taken", p[0], POLLOUT);
  plain(p[1], "f");
  take("recv", p[0], 8, 0);
  show_mask("end", p[0], POLLOUT);
}

static void epolls(void) {
  int p[2], all = must("epoll", epoll_create1(0)), data = must("epoll", epoll_create1(0));
  struct epoll_event e = {.events = EPOLLIN | EPOLLPRI, .data.u64 = 1000001};
  tcp_pair(p);
  must("add", epoll_ctl(all, EPOLL_CTL_ADD, p[0], &e));
  e.events = EPOLLIN;
  e.data.u64 = 1000002;
  must("add", epoll_ctl(data, EPOLL_CTL_ADD, p[0], &e));
  urgent(p[1], "!");
  show("all", epoll_wait(all, &e, 1, 5000));
  say("  %d%s", (int)e.data.u64, mask_text((int)e.events));
  show("again", epoll_wait(all, &e, 1, 5000));
  say("  %d%s", (int)e.data.u64, mask_text((int)e.events));
  show("data", epoll_wait(data, &e, 1, 30));
  take("oob", p[0], 1, MSG_OOB);
  show("all", epoll_wait(all, &e, 1, 30));
  plain(p[1], "a");
  show("all", epoll_wait(all, &e, 1, 5000));
  say("  %d%s", (int)e.data.u64, mask_text((int)e.events));
  show("data", epoll_wait(data, &e, 1, 5000));
  say("  %d%s", (int)e.data.u64, mask_text((int)e.events));
  take("recv", p[0], 4, 0);
  show("data", epoll_wait(data, &e, 1, 0));
  show("all", epoll_wait(all, &e, 1, 0));
}

static void only_data(void) {
  int p[2], data = must("epoll", epoll_create1(0));
  struct epoll_event e = {.events = EPOLLIN, .data.u64 = 1000002};
  tcp_pair(p);
  must("add", epoll_ctl(data, EPOLL_CTL_ADD, p[0], &e));
  urgent(p[1], "!");
  until_urgent(p[0], '!');
  show("data", epoll_wait(data, &e, 1, 30));
  struct pollfd one = {.fd = p[0], .events = POLLIN};
  show("poll", poll(&one, 1, 30));
  plain(p[1], "a");
  show("poll", poll(&one, 1, 5000));
  show("data", epoll_wait(data, &e, 1, 5000));
  say("  %d%s", (int)e.data.u64, mask_text((int)e.events));
  take("recv", p[0], 4, 0);
  take("oob", p[0], 1, MSG_OOB);
}

static void selects(void) {
  int p[2];
  tcp_pair(p);
  fd_set r, x;
  struct timeval t = {.tv_sec = 5};
  memset(&r, 0, sizeof r), memset(&x, 0, sizeof x), FD_SET(p[0], &r), FD_SET(p[0], &x);
  urgent(p[1], "!");
  show("select", select(p[0] + 1, &r, NULL, &x, &t));
  say("  read %d except %d", FD_ISSET(p[0], &r) != 0, FD_ISSET(p[0], &x) != 0);
  memset(&r, 0, sizeof r), FD_SET(p[0], &r);
  t = (struct timeval){.tv_usec = 30000};
  show("select read", select(p[0] + 1, &r, NULL, NULL, &t));
  say("  read %d left %d", FD_ISSET(p[0], &r) != 0, (int)(t.tv_sec + t.tv_usec));
  take("oob", p[0], 1, MSG_OOB);
  memset(&r, 0, sizeof r), memset(&x, 0, sizeof x), FD_SET(p[0], &r), FD_SET(p[0], &x);
  plain(p[1], "a");
  struct timespec s = {.tv_sec = 5};
  show("pselect", pselect(p[0] + 1, &r, NULL, &x, &s, NULL));
  say("  read %d except %d", FD_ISSET(p[0], &r) != 0, FD_ISSET(p[0], &x) != 0);
}

static volatile sig_atomic_t signals, caught;
static int caught_from;
static void on_urgent(int number) {
  char c = '-';
  (void)number;
  ++signals;
  if (recv(caught_from, &c, 1, MSG_OOB) == 1) caught = c;
}
static void *send_urgent_later(void *argument) {
  poll(NULL, 0, 20);
  urgent(*(int *)argument, "!");
  return NULL;
}
static void signalled(void) {
  int p[2];
  tcp_pair(p);
  caught_from = p[0];
  struct sigaction a = {.sa_handler = on_urgent};
  sigaction(SIGURG, &a, NULL);
  must("F_SETOWN", fcntl(p[0], F_SETOWN, getpid()));
  sigset_t set, old;
  sigemptyset(&set), sigaddset(&set, SIGURG);
  pthread_sigmask(SIG_BLOCK, &set, &old); /* not in the other thread */
  pthread_t t;
  pthread_create(&t, NULL, send_urgent_later, &p[1]);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  take("interrupted", p[0], 4, 0);
  pthread_join(t, NULL);
  for (int tries = 0; tries < 3000 && caught == 0; ++tries) {
    poll(NULL, 0, 1);
    if (recv(p[0], b, 1, MSG_OOB) == 1) caught = *b; /* the signal came before the byte */
  }
  say("signals %d byte %c", (int)signals, (char)caught);
  show_mask("taken", p[0], POLLOUT);
}

static void signal_ends_select(void) {
  int p[2];
  tcp_pair(p);
  caught_from = p[0];
  struct sigaction a = {.sa_handler = on_urgent, .sa_flags = SA_RESTART};
  sigaction(SIGURG, &a, NULL);
  must("F_SETOWN", fcntl(p[0], F_SETOWN, getpid()));
  sigset_t set, old;
  sigemptyset(&set), sigaddset(&set, SIGURG);
  pthread_sigmask(SIG_BLOCK, &set, &old); /* not in the other thread */
  for (int i = 0; i < 2; ++i) {
    pthread_t t;
    pthread_create(&t, NULL, send_urgent_later, &p[1]);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    fd_set r;
    memset(&r, 0, sizeof r), FD_SET(p[0], &r);
    show("select", select(p[0] + 1, &r, NULL, NULL, NULL));
    pthread_sigmask(SIG_BLOCK, &set, &old);
    pthread_join(t, NULL);
  }
}

static void shared(void) {
  int p[2], status = 0;
  tcp_pair(p);
  urgent(p[1], "abc!");
  until_urgent(p[0], '!');
  pid_t child = fork();
  if (child == 0) {
    take("child oob", p[0], 1, MSG_OOB);
    take("child recv", p[0], 2, 0);
    _exit(0);
  }
  waitpid(child, &status, 0);
  take("oob", p[0], 1, MSG_OOB);
  mark("before", p[0]);
  take("recv", p[0], 8, 0);
  mark("there", p[0]);
  show_mask("there", p[0], POLLOUT);
}

static void spliced(void) {
  int p[2], pipes[2];
  tcp_pair(p);
  must("pipe", pipe(pipes));
  urgent(p[1], "abc!");
  until_urgent(p[0], '!');
  plain(p[1], "def");
  show("splice", splice(p[0], NULL, pipes[1], NULL, 100, 0));
  show("read", read(pipes[0], b, sizeof b));
  show_mask("there", p[0], POLLIN | POLLOUT | POLLPRI);
  show("splice", splice(p[0], NULL, pipes[1], NULL, 100, 0));
  nonblocking(p[0]);
  show("splice", splice(p[0], NULL, pipes[1], NULL, 100, 0));
  take("over it", p[0], 1, 0);
  show("splice", splice(p[0], NULL, pipes[1], NULL, 100, 0));
}

static void low_water(void) {
  int p[2];
  tcp_pair(p);
  must("SO_RCVLOWAT", set_int(p[0], SOL_SOCKET, SO_RCVLOWAT, 2));
  urgent(p[1], "!");
  until_urgent(p[0], '!');
  plain(p[1], "a");
  for (int tries = 0; tries < 3000 && recv(p[0], b, 4, MSG_PEEK | MSG_DONTWAIT) != 1; ++tries) poll(NULL, 0, 1);
  show_mask("one behind it", p[0], POLLOUT | POLLPRI);
  plain(p[1], "b");
  show_mask("two behind it", p[0], POLLIN | POLLOUT | POLLPRI);
  take("recv", p[0], 4, 0);
}

static void ended(void) {
  int p[2];
  tcp_pair(p);
  urgent(p[1], "ab!");
  must("shutdown", shutdown(p[1], SHUT_WR));
  show_mask("ended", p[0], POLLIN | POLLOUT | POLLRDHUP | POLLPRI);
  take("recv", p[0], 8, 0);
  mark("there", p[0]);
  take("oob", p[0], 1, MSG_OOB);
  take("oob", p[0], 1, MSG_OOB);
  take("recv", p[0], 8, 0);
  take("oob", p[0], 1, MSG_OOB);
  show_mask("read", p[0], POLLIN | POLLOUT | POLLRDHUP);
}

static void not_connected(void) {
  int l = listener(1), fd = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  take("fresh", fd, 1, MSG_OOB);
  take("listener", l, 1, MSG_OOB);
  show("fresh mark", sockatmark(fd));
  show("listener mark", sockatmark(l));
}

static const struct test_case cases[] = {
    {"taken", taken}, {"taken_first", taken_first}, {"not_taken", not_taken}, {"thrown_away_by_reading", thrown_away_by_reading},
    {"in_line", in_line}, {"inherited_in_line", inherited_in_line}, {"before_accept", before_accept}, {"many_calls", many_calls},
    {"ends_waitall", ends_waitall}, {"newer", newer}, {"epolls", epolls}, {"only_data", only_data}, {"selects", selects},
    {"signalled", signalled}, {"signal_ends_select", signal_ends_select},
    {"shared", shared}, {"spliced", spliced}, {"low_water", low_water}, {"ended", ended},
    {"not_connected", not_connected},
};
MAIN(cases)
