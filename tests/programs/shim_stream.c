/* TCP sockets call by call: connecting, moving data, ends and resets, and the poll mask in each state. */
#include "shim_case.h"

static void fresh(void) {
  int fd = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  char b[4];
  show_mask("fresh", fd, POLLOUT | POLLHUP);
  show("recv", recv(fd, b, 4, 0));
  show("send", send(fd, b, 4, MSG_NOSIGNAL));
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  show("getpeername", getpeername(fd, (struct sockaddr *)&a, &n));
  show("getsockname", getsockname(fd, (struct sockaddr *)&a, &n));
  say("family %d port %d address %x length %d", a.sin_family, ntohs(a.sin_port), a.sin_addr.s_addr, (int)n);
  show("shutdown", shutdown(fd, SHUT_WR));
  show("accept", accept(fd, NULL, NULL));
  show("close", close(fd));
  show("close again", close(fd));
}

static void bad_arguments(void) {
  show("socket type", socket(AF_INET, 77, 0));
  show("socket seqpacket", socket(AF_INET, SOCK_SEQPACKET, 0));
  show("socket protocol", socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
  int fd = must("socket", socket(AF_INET, SOCK_STREAM, IPPROTO_TCP));
  struct sockaddr_in a = loopback(0);
  show("bind short", bind(fd, (struct sockaddr *)&a, 8));
  a.sin_family = AF_INET6;
  show("bind family", bind(fd, (struct sockaddr *)&a, sizeof a));
  show("connect family", connect(fd, (struct sockaddr *)&a, sizeof a));
  a.sin_family = AF_INET;
  show("connect short", connect(fd, (struct sockaddr *)&a, 4));
  a.sin_addr.s_addr = htonl(0x0a63636f);
  show("bind foreign address", bind(fd, (struct sockaddr *)&a, sizeof a));
  show("listen unbound", listen(fd, 5));
  show("connect listener", connect(fd, (struct sockaddr *)&a, sizeof a));
  show("recv listener", recv(fd, &a, 1, 0));
  show("getsockopt level", getsockopt(fd, 12345, 1, &a, &(socklen_t){4}));
  show("setsockopt name", setsockopt(fd, SOL_SOCKET, 9999, &a, 4));
  show("setsockopt short", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &a, 1));
  show("lseek", lseek(fd, 0, SEEK_SET));
  show("pread", pread(fd, &a, 1, 0));
  show("ioctl tty", isatty(fd));
}

static void names(void) {
  int l = listener(4);
  struct sockaddr_in la = name_of(l), peer, mine;
  int c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  must("connect", connect(c, (struct sockaddr *)&la, sizeof la));
  socklen_t n = sizeof peer;
  int s = must("accept", accept4(l, (struct sockaddr *)&peer, &n, SOCK_NONBLOCK | SOCK_CLOEXEC));
  mine = name_of(c);
  say("accept tells the peer: %d, length %d", peer.sin_port == mine.sin_port && peer.sin_addr.s_addr == mine.sin_addr.s_addr,
      (int)n);
  say("flags: nonblock %d cloexec %d", (fcntl(s, F_GETFL) & O_NONBLOCK) != 0, fcntl(s, F_GETFD) & FD_CLOEXEC);
  must("getpeername", getpeername(c, (struct sockaddr *)&peer, &n));
  say("peer is the listener: %d", peer.sin_port == la.sin_port);
  mine = name_of(s);
  say("accepted is bound to the listener's: %d %d", mine.sin_port == la.sin_port, mine.sin_addr.s_addr == la.sin_addr.s_addr);
  n = 6;
  memset(&peer, 0, sizeof peer);
  must("getpeername", getpeername(c, (struct sockaddr *)&peer, &n));
  say("short buffer: length %d, port there %d, address there %d", (int)n, peer.sin_port == la.sin_port, peer.sin_addr.s_addr != 0);
  show("bind twice", bind(c, (struct sockaddr *)&la, sizeof la));
  show("connect twice", connect(c, (struct sockaddr *)&la, sizeof la));
  show("listen connected", listen(c, 1));
}

static void masks(void) {
  int l = listener(4), p[2];
  struct sockaddr_in a = name_of(l);
  show_mask("listener", l, 0);
  p[0] = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  must("connect", connect(p[0], (struct sockaddr *)&a, sizeof a));
  show_mask("listener with one", l, POLLIN);
  p[1] = must("accept", accept(l, NULL, NULL));
  show_mask("listener without", l, 0);
  show_mask("connected", p[0], POLLOUT);
  show_mask("accepted", p[1], POLLOUT);
  must("send", (int)send(p[0], "hello", 5, 0));
  show_mask("with data", p[1], POLLIN | POLLOUT);
  char b[16];
  show("recv part", recv(p[1], b, 2, 0));
  show_mask("with rest", p[1], POLLIN | POLLOUT);
  show("recv rest", recv(p[1], b, 16, 0));
  show_mask("empty", p[1], POLLOUT);
  must("shutdown", shutdown(p[0], SHUT_WR));
  show_mask("half closed here", p[0], POLLOUT);
  show_mask("half closed there", p[1], POLLIN | POLLOUT | POLLRDHUP);
  show("recv end", recv(p[1], b, 16, 0));
  must("send back", (int)send(p[1], "back", 4, 0));
  show_mask("answer", p[0], POLLIN | POLLOUT);
  show("recv answer", recv(p[0], b, 16, 0));
  close(p[1]);
  show_mask("both closed", p[0], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
  show("recv end", recv(p[0], b, 16, 0));
  show("send after shutdown", send(p[0], "x", 1, MSG_NOSIGNAL));
}

static void reset_seen(void) {
  int p[2];
  char b[8];
  tcp_pair(p);
  must("send", (int)send(p[1], "last", 4, 0));
  await(p[0], POLLIN);
  send_reset(p[1]);
  show_mask("reset", p[0], POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
  say("SO_ERROR %s", strerrorname_np(get_int(p[0], SOL_SOCKET, SO_ERROR)));
  say("SO_ERROR again %d", get_int(p[0], SOL_SOCKET, SO_ERROR));
  show_mask("error taken", p[0], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
  show("send", send(p[0], "x", 1, MSG_NOSIGNAL));
  close(p[0]);

  tcp_pair(p);
  send_reset(p[1]);
  await(p[0], POLLHUP);
  show("recv", recv(p[0], b, 8, 0));
  show("recv again", recv(p[0], b, 8, 0));
  show("send", send(p[0], "x", 1, MSG_NOSIGNAL));
  show("getpeername", getpeername(p[0], (struct sockaddr *)&(struct sockaddr_in){0}, &(socklen_t){16}));
}

static void reset_by_unread(void) {
  int p[2];
  tcp_pair(p);
  must("send", (int)send(p[0], "unread", 6, 0));
  await(p[1], POLLIN);
  close(p[1]);
  await(p[0], POLLHUP);
  show("recv", recv(p[0], &(char[4]){0}, 4, 0));
}

static void refused(void) {
  struct sockaddr_in a = closed_port();
  int fd = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  show("connect", connect(fd, (struct sockaddr *)&a, sizeof a));
  show_mask("after", fd, POLLOUT | POLLHUP);
  int l = listener(1);
  struct sockaddr_in la = name_of(l);
  show("connect elsewhere", connect(fd, (struct sockaddr *)&la, sizeof la));
  show("send", send(fd, "x", 1, 0));
}

static void nonblocking_connect(void) {
  int l = listener(4);
  struct sockaddr_in a = name_of(l);
  int fd = must("socket", socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  int r = connect(fd, (struct sockaddr *)&a, sizeof a);
  say("connect: %s", r == 0 || errno == EINPROGRESS ? "started" : strerrorname_np(errno));
  say("event%s", mask_text(await(fd, POLLOUT)));
  say("SO_ERROR %d", get_int(fd, SOL_SOCKET, SO_ERROR));
  show("connect again", connect(fd, (struct sockaddr *)&a, sizeof a));
  show("connect again", connect(fd, (struct sockaddr *)&a, sizeof a));
  close(fd);

  a = closed_port();
  fd = must("socket", socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  r = connect(fd, (struct sockaddr *)&a, sizeof a);
  say("connect to nobody: %s", r == 0 || errno == EINPROGRESS || errno == ECONNREFUSED ? "started or refused" : "?");
  show_mask("refused", fd, POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
  say("SO_ERROR %s", strerrorname_np(get_int(fd, SOL_SOCKET, SO_ERROR)));
  a = name_of(l);
  show("connect after", connect(fd, (struct sockaddr *)&a, sizeof a));
  r = connect(fd, (struct sockaddr *)&a, sizeof a);
  say("and anew: %s", r == 0 || errno == EINPROGRESS ? "started" : strerrorname_np(errno));
  say("event%s", mask_text(await(fd, POLLOUT)));
}

static void shutdowns(void) {
  int p[2];
  char b[4];
  tcp_pair(p);
  show("shutdown rd", shutdown(p[0], SHUT_RD));
  show_mask("after rd", p[0], POLLIN | POLLOUT | POLLRDHUP);
  show("recv", recv(p[0], b, 4, 0));
  show("send", send(p[0], "x", 1, 0));
  show("shutdown wr", shutdown(p[0], SHUT_WR));
  show_mask("after both", p[0], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
  show("shutdown how", shutdown(p[1], 5));
  close(p[0]);
  show("recv there", recv(p[1], b, 4, 0));
}

static void flags(void) {
  int p[2];
  char b[64];
  tcp_pair(p);
  show("empty dontwait", recv(p[0], b, 4, MSG_DONTWAIT));
  must("send", (int)send(p[1], "0123456789", 10, MSG_MORE));
  await(p[0], POLLIN);
  show("peek", recv(p[0], b, 4, MSG_PEEK));
  say("peeked %.4s", b);
  int n = -1;
  show("FIONREAD", ioctl(p[0], FIONREAD, &n));
  say("unread %d", n);
  show("trunc", recv(p[0], b, 3, MSG_TRUNC));
  show("read 0", read(p[0], b, 0));
  show("recv rest", recv(p[0], b, sizeof b, 0));
  say("rest %.7s", b);
  show("oob", recv(p[0], b, 1, MSG_OOB | MSG_DONTWAIT));
  show("errqueue", recv(p[0], b, 1, MSG_ERRQUEUE));
  struct iovec out[3] = {{"ab", 2}, {"", 0}, {"cdef", 4}};
  show("writev", writev(p[1], out, 3));
  char x[3], y[8];
  struct iovec in[2] = {{x, 3}, {y, 3}};
  await(p[0], POLLIN);
  show("readv waitall", recvmsg(p[0], &(struct msghdr){.msg_iov = in, .msg_iovlen = 2}, MSG_WAITALL));
  say("%.3s %.3s", x, y);
  volatile int too_many = 100000;
  show("writev too many", writev(p[1], out, too_many));
  must("send", (int)write(p[1], "from", 4));
  struct sockaddr_in a;
  socklen_t al = sizeof a;
  show("recvfrom", recvfrom(p[0], b, sizeof b, 0, (struct sockaddr *)&a, &al));
  say("address length %d", (int)al);
}

static void small_buffers_full(void) {
  int p[2];
  tcp_pair(p);
  nonblocking(p[0]);
  static unsigned char block[65536], back[65536];
  size_t sent = 0, got = 0;
  ssize_t n;
  fill(block, 0, sizeof block);
  /* Full is what stays full: what was sent may move on to the receiver's buffer a moment later, and leave room. */
  struct pollfd room = {.fd = p[0], .events = POLLOUT};
  do {
    while ((n = send(p[0], block + sent % 4096, 4096, 0)) > 0) fill(block, sent += (size_t)n, sizeof block);
  } while (errno == EAGAIN && poll(&room, 1, 50) == 1);
  say("then %s", strerrorname_np(errno));
  say("more than nothing: %d", sent > 4096);
  show_mask("full", p[0], 0);
  while (got < sent && (n = recv(p[1], back, sizeof back, 0)) > 0) got += (size_t)n;
  say("all came: %d", got == sent);
  show_mask("room again", p[0], POLLOUT);
}

static void *pump(void *argument) {
  int fd = *(int *)argument;
  static unsigned char block[100000];
  size_t at = 0, total = 20 * 1000 * 1000;
  while (at < total) {
    size_t n = total - at < sizeof block ? total - at : 1 + (at * 7919) % sizeof block;
    if (n > total - at) n = total - at;
    fill(block, at, n);
    if (write(fd, block, n) != (ssize_t)n) {
      say("short write: %s", strerrorname_np(errno));
      break;
    }
    at += n;
  }
  shutdown(fd, SHUT_WR);
  return NULL;
}
static void bulk(void) {
  int p[2];
  tcp_pair(p);
  pthread_t t;
  pthread_create(&t, NULL, pump, &p[0]);
  static unsigned char block[70000];
  size_t at = 0;
  ssize_t n;
  while ((n = read(p[1], block, 1 + (at * 104729) % sizeof block)) > 0) {
    if (check(block, at, (size_t)n) != (size_t)n) {
      say("wrong byte after %zu", at);
      return;
    }
    at += (size_t)n;
  }
  pthread_join(t, NULL);
  say("%zu bytes, end %zd", at, n);
}

/* Sends a counting pattern until the socket is full. */
static long fill_counting(int fd, long from) {
  unsigned char b[4096];
  for (long at = from;;) {
    for (size_t i = 0; i < sizeof b; ++i) b[i] = (unsigned char)((at + (long)i) % 251);
    ssize_t n = send(fd, b, sizeof b, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n <= 0) return at - from;
    at += n;
  }
}

static void send_buffer_after_connect(void) {
  int l = must("socket", socket(AF_INET, SOCK_STREAM, 0)), size = 4096;
  setsockopt(l, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
  struct sockaddr_in a = loopback(0);
  must("bind", bind(l, (struct sockaddr *)&a, sizeof a));
  must("listen", listen(l, 1));
  a = name_of(l);
  int c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  must("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  int s = must("accept", accept(l, NULL, NULL));
  show("smaller", setsockopt(c, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
  long first = fill_counting(c, 0);
  say("holds little: %d; more: %d; mask%s", first < 65536, first > 0, mask_text(mask_now(c)));
  size = 200000;
  show("larger", setsockopt(c, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
  long second = fill_counting(c, first);
  say("holds more: %d; mask%s", second > 100000, mask_text(mask_now(c)));
  close(c);
  unsigned char b[5000];
  long at = 0, wrong = 0;
  for (ssize_t n; (n = recv(s, b, sizeof b, 0)) > 0; at += n)
    for (ssize_t i = 0; i < n; ++i) wrong += b[i] != (at + i) % 251;
  say("all came: %d; wrong bytes: %ld", at == first + second, wrong);
}

static void two_connections_one_port(void) {
  int l = listener(4);
  struct sockaddr_in a = name_of(l);
  int other = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  show("bind in use", bind(other, (struct sockaddr *)&a, sizeof a));
  close(l);
  show("bind when free", bind(other, (struct sockaddr *)&a, sizeof a));
  show("listen", listen(other, 1));
  int c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  show("connect", connect(c, (struct sockaddr *)&a, sizeof a));
}

static void listener_closed_on_pending(void) {
  int l = listener(4);
  struct sockaddr_in a = name_of(l);
  int c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  show("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  close(l);
  await(c, POLLHUP);
  show("recv", recv(c, &(char[1]){0}, 1, 0));
}

/* A peer that has closed answers what is written still with a reset: a broken pipe, with its signal. */
static volatile sig_atomic_t pipes;
static void on_pipe(int number) {
  (void)number;
  ++pipes;
}
static void reset_after_fin(void) {
  int p[2];
  char b[4];
  signal(SIGPIPE, on_pipe);
  tcp_pair(p);
  close(p[1]);
  show_mask("closed there", p[0], POLLIN | POLLOUT | POLLRDHUP);
  show("first send", send(p[0], "x", 1, 0));
  show_mask("reset", p[0], POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
  show("recv", recv(p[0], b, 4, 0));
  show("second send", send(p[0], "x", 1, 0));
  say("signals %d", (int)pipes);
  show("third send", send(p[0], "x", 1, MSG_NOSIGNAL));
  say("signals %d", (int)pipes);
}

static void disconnect_is_a_reset(void) {
  int p[2];
  char b[4];
  struct sockaddr nobody = {.sa_family = AF_UNSPEC};
  tcp_pair(p);
  show("disconnect", connect(p[0], &nobody, sizeof nobody));
  show("recv there", recv(p[1], b, 4, 0));
  show("getpeername", getpeername(p[0], &nobody, &(socklen_t){sizeof nobody}));
}

static void accept_after_shutdown(void) {
  int l = listener(4);
  nonblocking(l);
  show("nobody", accept(l, NULL, NULL));
  show("shutdown", shutdown(l, SHUT_RD));
  show("ended", accept(l, NULL, NULL));
}

static void more_to_come(void) {
  int p[2];
  char b[8] = "";
  tcp_pair(p);
  must("nodelay", set_int(p[0], IPPROTO_TCP, TCP_NODELAY, 1));
  show("part", send(p[0], "ab", 2, MSG_MORE));
  show("rest", send(p[0], "cd", 2, 0));
  show("in one piece", recv(p[1], b, 8, 0));
  show("part", send(p[0], "ef", 2, MSG_MORE));
  must("shutdown", shutdown(p[0], SHUT_WR));
  show("flushed", recv(p[1], b, 8, 0));
  show("end", recv(p[1], b, 8, 0));
}

static void congestion_by_name(void) {
  int fd = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  show("reno", setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4));
  char name[16] = "";
  socklen_t n = sizeof name;
  show("get", getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &n));
  say("%s", name);
  show("unknown", setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "nosuch", 6));
  show("syn count", set_int(fd, IPPROTO_TCP, TCP_SYNCNT, 3));
  say("%d", get_int(fd, IPPROTO_TCP, TCP_SYNCNT));
  show("linger2", set_int(fd, IPPROTO_TCP, TCP_LINGER2, 7));
  say("%d", get_int(fd, IPPROTO_TCP, TCP_LINGER2));
}

static void epoll_edges(void) {
  int p[2], ep = must("epoll", epoll_create1(0));
  char b[8];
  struct epoll_event e = {.events = EPOLLIN | EPOLLET}, out;
  tcp_pair(p);
  must("ctl", epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
  show("nothing", epoll_wait(ep, &out, 1, 0));
  must("send", (int)send(p[1], "abcd", 4, 0));
  show("first", epoll_wait(ep, &out, 1, 5000));
  show("no new edge", epoll_wait(ep, &out, 1, 0));
  show("part", recv(p[0], b, 1, 0));
  must("send", (int)send(p[1], "efgh", 4, 0));
  show("edge while unread", epoll_wait(ep, &out, 1, 5000));
  show("rest", recv(p[0], b, 8, MSG_WAITALL | MSG_DONTWAIT));
  show("dry", recv(p[0], b, 8, MSG_DONTWAIT));
  must("send", (int)send(p[1], "i", 1, 0));
  show("edge after dry", epoll_wait(ep, &out, 1, 5000));
  e.events = EPOLLIN | EPOLLONESHOT;
  must("mod", epoll_ctl(ep, EPOLL_CTL_MOD, p[0], &e));
  show("oneshot", epoll_wait(ep, &out, 1, 5000));
  show("shot", epoll_wait(ep, &out, 1, 0));
  show("add again", epoll_ctl(ep, EPOLL_CTL_ADD, p[0], &e));
  show("delete", epoll_ctl(ep, EPOLL_CTL_DEL, p[0], NULL));
}

/* IP_BIND_ADDRESS_NO_PORT: connect() chooses the port. */
static void unsent_bytes(void) {
  int p[2], value = 77;
  socklen_t n = sizeof value;
  tcp_pair(p);
  show("getsockopt", getsockopt(p[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, &n));
  say("by default %d, length %d", value, (int)n);
  show("set short", setsockopt(p[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, 2));
  show("set", set_int(p[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT, 16384));
  must("getsockopt", getsockopt(p[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, &n));
  say("value %d", value);
  show_mask("writable", p[0], POLLOUT);
  long sent = 0, got = 0, n_more;
  /* Until nothing more leaves: a stack that runs beside the program may only be about to send. */
  do sent += n_more = fill_counting(p[0], sent);
  while (n_more > 0 && poll(&(struct pollfd){.fd = p[0], .events = POLLOUT}, 1, 1000) == 1);
  say("full: %d; mask%s", sent > 16384, mask_text(mask_now(p[0])));
  static unsigned char block[65536];
  ssize_t r;
  while (got < sent && (r = recv(p[1], block, sizeof block, 0)) > 0) {
    for (ssize_t i = 0; i < r; ++i)
      if (block[i] != (got + i) % 251) {
        say("wrong byte at %ld", got + i);
        return;
      }
    got += r;
  }
  say("all came: %d", got == sent);
  show_mask("writable again", p[0], POLLOUT);
  show("any number", set_int(p[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT, -1));
  must("getsockopt", getsockopt(p[0], IPPROTO_TCP, TCP_NOTSENT_LOWAT, &value, &n));
  say("value %d", value);
  close(p[0]);
  close(p[1]);
}

static void fast_open_options(void) {
  int fd = must("socket", socket(AF_INET, SOCK_STREAM, 0)), value = 77;
  socklen_t n = sizeof value;
  must("getsockopt", getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &value, &n));
  say("pending %d", value);
  show("negative", set_int(fd, IPPROTO_TCP, TCP_FASTOPEN, -1));
  show("many", set_int(fd, IPPROTO_TCP, TCP_FASTOPEN, 100000));
  must("getsockopt", getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &value, &n));
  say("pending %d", value);
  show("connect 2", set_int(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 2));
  show("connect 1", set_int(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1));
  must("getsockopt", getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &value, &n));
  say("connect %d", value);
  char key[32];
  memset(key, 7, sizeof key);
  show("short key", setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, 15));
  show("key", setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, 16));
  show("two keys", setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, 32));
  n = sizeof key;
  show("getsockopt key", getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, key, &n));
  say("length %d", (int)n);
  int p[2];
  tcp_pair(p);
  show("connected", set_int(p[0], IPPROTO_TCP, TCP_FASTOPEN, 1));
  show("connected connect", set_int(p[0], IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1));
  show("connected send", send(p[0], "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL));
}

/* Nobody has a cookie here, so that the first call asks for one and does what connect() does. */
static void fast_open_calls(void) {
  int l = listener(4);
  struct sockaddr_in a = name_of(l), none = {.sin_family = AF_UNSPEC};
  int c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  show("unspecified", sendto(c, "hello", 5, MSG_FASTOPEN, (struct sockaddr *)&none, sizeof none));
  show("short", sendto(c, "hello", 5, MSG_FASTOPEN, (struct sockaddr *)&a, 8));
  show("sendto", sendto(c, "hello", 5, MSG_FASTOPEN, (struct sockaddr *)&a, sizeof a));
  int s = must("accept", accept(l, NULL, NULL));
  char b[8] = "";
  show("recv", recv(s, b, 5, MSG_WAITALL));
  say("%.5s", b);
  show("again", sendto(c, "hello", 5, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&a, sizeof a));
  close(c), close(s);
  c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  show("option", set_int(c, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1));
  show("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  s = must("accept", accept(l, NULL, NULL));
  show("send", send(c, "world", 5, 0));
  show("recv", recv(s, b, 5, MSG_WAITALL));
  say("%.5s", b);
  close(c), close(s), close(l);
  c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  show("refused", sendto(c, "hello", 5, MSG_FASTOPEN | MSG_NOSIGNAL, (struct sockaddr *)&a, sizeof a));
}

static void address_without_port(void) {
  int l = listener(4), c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  struct sockaddr_in a = name_of(l), only = a;
  only.sin_port = 0;
  show("set", set_int(c, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1));
  show("bind", bind(c, (struct sockaddr *)&only, sizeof only));
  struct sockaddr_in mine = name_of(c);
  say("address %d, port %d", mine.sin_addr.s_addr == a.sin_addr.s_addr, mine.sin_port);
  show("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  mine = name_of(c);
  say("address %d, port chosen %d", mine.sin_addr.s_addr == a.sin_addr.s_addr, mine.sin_port != 0);
}

static const struct test_case cases[] = {
    {"fresh", fresh}, {"bad_arguments", bad_arguments}, {"names", names}, {"masks", masks}, {"reset_seen", reset_seen},
    {"reset_by_unread", reset_by_unread}, {"refused", refused}, {"nonblocking_connect", nonblocking_connect},
    {"shutdowns", shutdowns}, {"flags", flags}, {"small_buffers_full", small_buffers_full}, {"bulk", bulk},
    {"two_connections_one_port", two_connections_one_port}, {"listener_closed_on_pending", listener_closed_on_pending},
    {"epoll_edges", epoll_edges}, {"send_buffer_after_connect", send_buffer_after_connect},
    {"reset_after_fin", reset_after_fin}, {"disconnect_is_a_reset", disconnect_is_a_reset},
    {"accept_after_shutdown", accept_after_shutdown}, {"more_to_come", more_to_come}, {"congestion_by_name", congestion_by_name},
    {"address_without_port", address_without_port}, {"unsent_bytes", unsent_bytes}, {"fast_open_options", fast_open_options},
    {"fast_open_calls", fast_open_calls},
};
MAIN(cases)
