/* Sockets as descriptors: copies, closing, fork, exec, passing, streams, files. */
#include "shim_case.h"

#include <linux/close_range.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

extern char **environ;

static void copies(void) {
  int p[2];
  char b[8];
  tcp_pair(p);
  int d = show_fd("dup", dup(p[0]));
  show("write to copy", write(d, "ab", 2));
  show("recv", recv(p[1], b, 8, 0));
  close(p[0]);
  show_mask("peer still connected", p[1], POLLOUT);
  show("write to copy", write(d, "cd", 2));
  show("recv", recv(p[1], b, 8, 0));
  int other = udp();
  say("dup2 over a socket: %d", dup2(d, other) == other);
  show("write", write(other, "e", 1));
  show("recv", recv(p[1], b, 8, 0));
  say("dup2 onto itself: %d", dup2(other, other) == other);
  show("dup3 onto itself", dup3(other, other, 0));
  show("dup2 of nothing", dup2(987, other));
  show("write after", write(other, "f", 1));
  int high = fcntl(other, F_DUPFD_CLOEXEC, 500);
  say("F_DUPFD: %d cloexec %d", high >= 500, fcntl(high, F_GETFD));
  nonblocking(high);
  say("flags are shared: %d", (fcntl(d, F_GETFL) & O_NONBLOCK) != 0);
  int on = 0;
  show("FIONBIO", ioctl(d, FIONBIO, &on));
  say("blocking again: %d", (fcntl(high, F_GETFL) & O_NONBLOCK) == 0);
  close(d);
  close(other);
  show_mask("peer still connected", p[1], POLLIN | POLLOUT);
  close(high);
  show("recv", recv(p[1], b, 8, 0));
  show("recv end", recv(p[1], b, 8, 0));
}

static void dup2_file_over_socket(void) {
  int p[2];
  char b[8];
  tcp_pair(p);
  int file = must("open", open("/dev/null", O_RDWR));
  say("dup2: %d", dup2(file, p[0]) == p[0]);
  show("recv end", recv(p[1], b, 8, 0));
  show("write to file", write(p[0], "x", 1));
  show("recv from file", recv(p[0], b, 1, 0));
}

static void ranges(void) {
  int p[2], q[2];
  char b[8];
  tcp_pair(p);
  tcp_pair(q);
  show("cloexec", close_range((unsigned)p[0], (unsigned)p[1], CLOSE_RANGE_CLOEXEC));
  say("cloexec %d %d", fcntl(p[0], F_GETFD), fcntl(p[1], F_GETFD));
  show("write", write(p[0], "a", 1));
  show("recv", recv(p[1], b, 8, 0));
  show("close_range", close_range((unsigned)p[0], (unsigned)p[0], 0));
  show("write", write(p[0], "a", 1));
  show("recv end", recv(p[1], b, 8, 0));
  closefrom(3);
  show("write", write(q[0], "a", 1));
  int fd = must("a new socket", socket(AF_INET, SOCK_STREAM, 0));
  show("close", close(fd));
  int l = listener(1);
  for (int i = 3; i < 1024; ++i)
    if (i != l) close(i);
  struct sockaddr_in a = name_of(l);
  fd = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  show("connect", connect(fd, (struct sockaddr *)&a, sizeof a));
}

static void forked(void) {
  int p[2];
  char b[64];
  tcp_pair(p);
  pid_t child = fork();
  if (child == 0) {
    close(p[1]);
    ssize_t n = recv(p[0], b, sizeof b, 0);
    b[n > 0 ? n : 0] = '!';
    send(p[0], b, (size_t)n + 1, 0);
    int s = socket(AF_INET, SOCK_STREAM, 0); /* its own connection to the stack */
    struct sockaddr_in a = loopback(0);
    _exit(bind(s, (struct sockaddr *)&a, sizeof a) == 0 && listen(s, 1) == 0 ? 0 : 1);
  }
  show("send", send(p[1], "hello", 5, 0));
  show("recv", recv(p[1], b, sizeof b, 0));
  say("%.6s", b);
  int status;
  waitpid(child, &status, 0);
  say("child %d", WEXITSTATUS(status));
  close(p[0]);
  show("recv end", recv(p[1], b, sizeof b, 0));
}

static void listener_over_fork(void) {
  int l = listener(8);
  struct sockaddr_in a = name_of(l);
  for (int i = 0; i < 3; ++i) {
    if (fork() != 0) continue;
    for (;;) {
      int s = accept(l, NULL, NULL);
      char b[8];
      ssize_t n = recv(s, b, sizeof b, 0);
      if (n == 4 && memcmp(b, "quit", 4) == 0) _exit(0);
      send(s, b, (size_t)n, 0);
      close(s);
    }
  }
  close(l);
  int right = 0;
  char b[8];
  for (int i = 0; i < 60; ++i) {
    int c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
    must("connect", connect(c, (struct sockaddr *)&a, sizeof a));
    send(c, "ping", 4, 0);
    right += recv(c, b, 8, MSG_WAITALL) == 4;
    close(c);
  }
  say("%d answers", right);
  for (int i = 0; i < 3; ++i) {
    int c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
    must("connect", connect(c, (struct sockaddr *)&a, sizeof a));
    send(c, "quit", 4, 0);
    wait(NULL);
    close(c);
  }
  int r = 0; /* a stack may learn of the last process's end a moment later */
  for (int i = 0; i < 3000 && (r == 0 || errno == ECONNRESET); ++i, poll(NULL, 0, 1)) {
    int c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
    r = connect(c, (struct sockaddr *)&a, sizeof a);
    int error = errno;
    close(c);
    errno = error;
    if (r < 0 && error == ECONNREFUSED) break;
  }
  show("connect when all are gone", r);
}

/* The last process that holds a listener is killed: its port is free, and nobody is served there, at once. */
static void listener_of_killed_workers(void) {
  int l = listener(4);
  struct sockaddr_in a = name_of(l);
  pid_t workers[2];
  for (int i = 0; i < 2; ++i)
    if ((workers[i] = fork()) == 0) _exit(accept(l, NULL, NULL) >= 0);
  close(l);
  int c = must("socket", socket(AF_INET, SOCK_STREAM, 0)), next = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  kill(workers[0], SIGKILL);
  waitpid(workers[0], NULL, 0);
  show("bind with one left", bind(next, (struct sockaddr *)&a, sizeof a));
  kill(workers[1], SIGKILL);
  waitpid(workers[1], NULL, 0);
  show("bind", bind(next, (struct sockaddr *)&a, sizeof a));
  show("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  show("listen", listen(next, 1));
}

static void pass_descriptor(int way, int fd) {
  char control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec v = {"x", 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct cmsghdr *c = CMSG_FIRSTHDR(&m);
  *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
  memcpy(CMSG_DATA(c), &fd, sizeof fd);
  show("pass", sendmsg(way, &m, 0));
}
static int received_descriptor(int way) {
  char data, control[CMSG_SPACE(sizeof(int))];
  struct iovec v = {&data, 1};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  if (recvmsg(way, &m, MSG_CMSG_CLOEXEC) != 1) return -1;
  int fd;
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
  return fd;
}

/* While it is on its way, the message alone holds the listener. */
static void listener_passed(void) {
  int way[2], l = listener(4);
  struct sockaddr_in a = name_of(l);
  must("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, way));
  pass_descriptor(way[0], l);
  close(l);
  int c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  show("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  pid_t child = fork();
  if (child == 0) {
    int fd = received_descriptor(way[1]), s = accept(fd, NULL, NULL);
    _exit(s >= 0 && write(s, "served", 6) == 6 ? 0 : 1);
  }
  close(way[1]);
  char b[8];
  show("recv", recv(c, b, 8, 0));
  int status;
  waitpid(child, &status, 0);
  say("child %d", WEXITSTATUS(status));
  show_mask("peer gone", c, POLLIN | POLLOUT | POLLRDHUP);
  close(c);
}

/* Without a free number accept() fails, and the connection stays where it is. */
static void accept_without_numbers(void) {
  int l = listener(4), c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  struct sockaddr_in a = name_of(l);
  must("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  show("send", send(c, "early", 5, 0));
  struct rlimit before, none;
  must("getrlimit", getrlimit(RLIMIT_NOFILE, &before));
  none = before;
  none.rlim_cur = 0;
  for (int i = 0; i < 3; ++i) {
    show_mask("listener", l, POLLIN);
    must("setrlimit", setrlimit(RLIMIT_NOFILE, &none));
    show("accept", accept(l, NULL, NULL));
    must("setrlimit", setrlimit(RLIMIT_NOFILE, &before));
  }
  show_mask("listener", l, POLLIN);
  int s = must("accept", accept(l, NULL, NULL));
  char b[8];
  show_mask("accepted", s, POLLIN | POLLOUT);
  show("recv", recv(s, b, 8, 0));
  show_mask("accepted", s, POLLOUT);
  show_mask("listener", l, 0);
}

static void executed(void) {
  int p[2], l = listener(4), u = udp();
  tcp_pair(p);
  fcntl(l, F_SETFD, 0);
  char n[3][12];
  snprintf(n[0], 12, "%d", p[0]);
  snprintf(n[1], 12, "%d", l);
  snprintf(n[2], 12, "%d", u);
  pid_t child = vfork();
  if (child == 0) {
    execl("/proc/self/exe", "shim_descriptors", "exec-child", n[0], n[1], n[2], (char *)NULL);
    _exit(9);
  }
  close(p[0]);
  char b[32];
  show("send", send(p[1], "to the new program", 18, 0));
  show("recv", recv(p[1], b, 32, MSG_WAITALL));
  struct sockaddr_in a = name_of(l), ua = name_of(u);
  close(l);
  int c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  show("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  show("recv", recv(c, b, 32, 0));
  int mine = udp();
  close(u);
  show("sendto", sendto(mine, "datagram", 8, 0, (struct sockaddr *)&ua, sizeof ua));
  show("recv", recv(mine, b, 32, 0));
  int status;
  waitpid(child, &status, 0);
  say("child %d", WEXITSTATUS(status));
}
static int executed_child(char **argv) {
  int s = atoi(argv[2]), l = atoi(argv[3]), u = atoi(argv[4]);
  char b[32] = "................................";
  if (recv(s, b, 18, MSG_WAITALL) != 18) return 2;
  if (send(s, b, 32, 0) != 32) return 3;
  close(s);
  int a = accept(l, NULL, NULL);
  if (a < 0) return 4;
  if (write(a, "accepted", 8) != 8) return 5;
  struct sockaddr_in from;
  socklen_t n = sizeof from;
  if (recvfrom(u, b, 32, 0, (struct sockaddr *)&from, &n) != 8) return 6;
  if (sendto(u, "back", 4, 0, (struct sockaddr *)&from, n) != 4) return 7;
  return 0;
}

static void spawn_on(int standard, int peer) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, standard, 0);
  posix_spawn_file_actions_adddup2(&actions, standard, 1);
  char *arguments[] = {"dd", "bs=5", "count=2", "iflag=fullblock", "status=none", NULL};
  pid_t child;
  show("spawn", posix_spawnp(&child, "dd", &actions, NULL, arguments, environ));
  close(standard);
  char b[32];
  show("send", send(peer, "through dd", 10, 0));
  show("recv", recv(peer, b, 10, MSG_WAITALL));
  show("recv end", recv(peer, b, 10, 0));
  int status;
  waitpid(child, &status, 0);
  say("dd %d", WEXITSTATUS(status));
}
static void spawned_on_standard_descriptors(void) {
  int p[2];
  tcp_pair(p);
  spawn_on(p[0], p[1]); /* the end that connected */
  tcp_pair(p);
  spawn_on(p[1], p[0]); /* the end that was accepted */
}

static void passed(void) {
  int p[2], way[2];
  char b[16];
  tcp_pair(p);
  must("socketpair", socketpair(AF_UNIX, SOCK_STREAM, 0, way));
  pid_t child = fork();
  if (child == 0) {
    close(p[0]);
    close(p[1]);
    int fd = received_descriptor(way[1]);
    if (fd < 0) _exit(2);
    if (recv(fd, b, 16, 0) != 5) _exit(3);
    _exit(send(fd, "got it", 6, 0) == 6 ? 0 : 4);
  }
  pass_descriptor(way[0], p[0]);
  close(p[0]);
  show("send", send(p[1], "hello", 5, 0));
  show("recv", recv(p[1], b, 16, 0));
  int status;
  waitpid(child, &status, 0);
  say("child %d", WEXITSTATUS(status));
  show("recv end", recv(p[1], b, 16, 0));
}

static void streams(void) {
  int p[2];
  char line[64];
  tcp_pair(p);
  FILE *in = fdopen(p[0], "r"), *out = fdopen(p[1], "w");
  say("streams %d %d", in != NULL, out != NULL);
  say("fileno %d %d", fileno(in) == p[0], fileno(out) == p[1]);
  fprintf(out, "line %d\nnext\n", 1);
  show("fflush", fflush(out));
  say("fgets %s", fgets(line, sizeof line, in) != NULL ? line : "?");
  say("fgets %s", fgets(line, sizeof line, in) != NULL ? line : "?");
  show("dprintf", dprintf(p[1], "%s %d\n", "dprintf", 7));
  say("fgets %s", fgets(line, sizeof line, in) != NULL ? line : "?");
  show("seek", fseek(in, 0, SEEK_SET));
  show("fclose", fclose(out));
  say("end %d", fgetc(in) == EOF && feof(in));
  show("fclose", fclose(in));
  show("closed", fcntl(p[0], F_GETFD));
}

static void files(void) {
  int p[2];
  tcp_pair(p);
  char name[] = "/tmp/shim-file-XXXXXX";
  int file = must("mkstemp", mkstemp(name));
  unlink(name);
  static unsigned char block[300000], back[300000];
  fill(block, 0, sizeof block);
  must("write", (int)write(file, block, sizeof block));
  pid_t child = fork();
  if (child == 0) {
    close(p[1]);
    off_t at = 1000;
    ssize_t n, total = 0;
    while ((n = sendfile(p[0], file, &at, sizeof block)) > 0) total += n;
    lseek(file, 100, SEEK_SET);
    n = sendfile(p[0], file, NULL, 500);
    _exit(total == 299000 && at == 300000 && n == 500 && lseek(file, 0, SEEK_CUR) == 600 ? 0 : 1);
  }
  close(p[0]);
  show("recv", recv(p[1], back, 299500, MSG_WAITALL));
  say("right %d", check(back, 1000, 299000) == 299000 && check(back + 299000, 100, 500) == 500);
  int status;
  waitpid(child, &status, 0);
  say("child %d", WEXITSTATUS(status));
  show("sendfile from a socket", sendfile(file, p[1], NULL, 10));
}

static void splices(void) {
  int p[2], way[2];
  char b[16];
  tcp_pair(p);
  must("pipe", pipe(way));
  must("write", (int)write(way[1], "piped data", 10));
  show("pipe to socket", splice(way[0], NULL, p[0], NULL, 10, 0));
  show("recv", recv(p[1], b, 10, MSG_WAITALL));
  must("send", (int)send(p[1], "and back", 8, 0));
  await(p[0], POLLIN);
  show("socket to pipe", splice(p[0], NULL, way[1], NULL, 16, 0));
  show("read", read(way[0], b, 16));
  say("%.8s", b);
  off64_t at = 0;
  show("with offset", splice(p[0], &at, way[1], NULL, 16, 0));
}

static void selects(void) {
  int p[2];
  tcp_pair(p);
  must("send", (int)send(p[1], "x", 1, 0));
  fd_set r, w;
  FD_ZERO(&r);
  FD_ZERO(&w);
  FD_SET(p[0], &r);
  FD_SET(p[0], &w);
  await(p[0], POLLIN);
  show("select", select(p[0] + 1, &r, &w, NULL, &(struct timeval){5, 0}));
  say("read %d write %d", FD_ISSET(p[0], &r) != 0, FD_ISSET(p[0], &w) != 0);
  struct stat s;
  show("fstat", fstat(p[0], &s));
  say("a socket: %d", S_ISSOCK(s.st_mode));
}

static const struct test_case cases[] = {
    {"copies", copies}, {"dup2_file_over_socket", dup2_file_over_socket}, {"ranges", ranges}, {"forked", forked},
    {"listener_over_fork", listener_over_fork}, {"listener_of_killed_workers", listener_of_killed_workers},
    {"listener_passed", listener_passed}, {"accept_without_numbers", accept_without_numbers}, {"executed", executed},
    {"spawned_on_standard_descriptors", spawned_on_standard_descriptors}, {"passed", passed}, {"streams", streams},
    {"files", files}, {"splices", splices}, {"selects", selects},
};
int main(int argc, char **argv) {
  if (argc == 5 && strcmp(argv[1], "exec-child") == 0) return executed_child(argv);
  return run_cases(cases, sizeof cases / sizeof cases[0], argc, argv);
}
