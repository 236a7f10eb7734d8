/* Programs that confine themselves (seccomp) and go on with their sockets: no call is made but those that the program would make on
 * the kernel's own. The filter is as strict as those of servers' unprivileged halves; anything else ends the process. */
#include "shim_case.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#if defined(__x86_64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define OWN_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

static const int allowed[] = {
    SYS_read,   SYS_write,  SYS_readv,        SYS_writev, SYS_close,        SYS_shutdown,     SYS_ppoll,      SYS_futex,
#ifdef SYS_poll
    SYS_poll,
#endif
    SYS_getpid, SYS_gettid, SYS_gettimeofday, SYS_brk,    SYS_rt_sigreturn, SYS_clock_gettime, SYS_exit_group,
    SYS_exit,   SYS_munmap, SYS_mremap,       SYS_madvise, SYS_rt_sigprocmask, SYS_getrandom,
};
enum { ALLOWED = sizeof allowed / sizeof allowed[0] };

/* `by_call`: with seccomp(2), as libseccomp does it; else with prctl(2), as OpenSSH does. */
static void confine(int by_call) {
  static struct sock_filter filter[2 * ALLOWED + 8];
  unsigned short n = 0;
  filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
  filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, OWN_ARCHITECTURE, 1, 0);
  filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  filter[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (int i = 0; i < ALLOWED; ++i) {
    filter[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)allowed[i], 0, 1);
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }
  filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  const struct sock_fprog program = {.len = n, .filter = filter};
  must("no new privileges", prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
  if (by_call)
    must("seccomp", (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
  else
    must("filter", prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

/* A confined child has pair[0], its parent pair[1]. The child says what it is about to do by a byte in `turn`, so that its parent acts
 * neither too early nor too late. */
static int pair[2];
static int turn[2];
static pid_t child_pid;
static char remarks[256];
/* What the parent has to say comes behind the child's lines. */
static void remark(const char *what, long result) {
  const size_t n = strlen(remarks);
  snprintf(remarks + n, sizeof remarks - n, "parent's %s: %ld\n", what, result);
}
static void next(void) { must("turn", (int)write(turn[1], "", 1)); }
static void await_turn(void) {
  char byte;
  must("turn", (int)read(turn[0], &byte, 1));
}
static void with_pair(void (*child)(void), void (*parent)(void), int by_call) {
  if (pair[0] == 0) tcp_pair(pair);
  must("pipe", pipe(turn));
  say("a child confines itself"); /* the first line also makes stdio look at what it writes to */
  child_pid = must("fork", fork());
  if (child_pid == 0) {
    close(pair[1]);
    close(turn[0]);
    confine(by_call);
    child();
    _exit(0);
  }
  close(pair[0]);
  close(turn[1]);
  if (parent != NULL) parent();
  int status = 0;
  waitpid(child_pid, &status, 0);
  fputs(remarks, stdout);
  remarks[0] = 0;
  if (WIFSIGNALED(status))
    say("ended by %s", sigabbrev_np(WTERMSIG(status)));
  else
    say("ended with %d", WEXITSTATUS(status));
}

/* ---- reading, writing, polling */

static void talk(void) {
  char b[64];
  struct iovec v[2] = {{b, 2}, {b + 2, 2}};
  next();
  show("read that may have to wait", read(pair[0], b, sizeof b));
  show("write", write(pair[0], "answer", 6));
  next();
  show_mask("something there", pair[0], POLLIN | POLLOUT);
  show("read a part", read(pair[0], b, 3));
  show_mask("the rest", pair[0], POLLIN | POLLOUT);
  show("readv", readv(pair[0], v, 2));
  show("writev", writev(pair[0], v, 2));
  show("read all of it", read(pair[0], b, sizeof b));
  show_mask("nothing", pair[0], POLLOUT);
  next();
  show("await", await(pair[0], POLLIN) == POLLIN);
  show("read", read(pair[0], b, sizeof b));
  show("close", close(pair[0]));
}
static void answer(void) {
  char b[64];
  await_turn();
  must("write", (int)write(pair[1], "question", 8));
  must("read", (int)read(pair[1], b, 6));
  await_turn();
  must("write", (int)write(pair[1], "0123456789", 10));
  must("read", (int)recv(pair[1], b, 4, MSG_WAITALL));
  await_turn();
  must("write", (int)write(pair[1], "late", 4));
  remark("read", read(pair[1], b, sizeof b));
}
static void exchange(void) { with_pair(talk, answer, 0); }
static void exchange_by_call(void) { with_pair(talk, answer, 1); }

/* Hundreds of short turns: a reader that comes while the stack is about to show what it has read already. */
static void echo_all(void) {
  char b[512];
  ssize_t n, all = 0;
  while ((n = read(pair[0], b, sizeof b)) > 0) {
    all += n;
    if (write(pair[0], b, (size_t)n) != n) show("write", -1);
  }
  show("echoed", all);
}
static void ask_all(void) {
  unsigned char b[512], got[512];
  size_t at = 0, good = 0;
  for (int round = 0; round < 2000; ++round) {
    const size_t n = 1 + (size_t)round * 37 % sizeof b;
    fill(b, at, n);
    must("write", (int)write(pair[1], b, n));
    must("read", (int)recv(pair[1], got, n, MSG_WAITALL));
    good += check(got, at, n);
    at += n;
  }
  remark("bytes", (long)at);
  remark("right ones", (long)good);
  shutdown(pair[1], SHUT_WR);
}
static void many_turns(void) { with_pair(echo_all, ask_all, 0); }

/* ---- urgent data */

static void see_urgent(void) {
  char b[8];
  next();
  say("event%s", mask_text(await(pair[0], POLLPRI)));
  show("read", read(pair[0], b, sizeof b));
  show_mask("read", pair[0], POLLOUT);
  next();
  show("await", await(pair[0], POLLIN) == POLLIN);
  show("read", read(pair[0], b, sizeof b));
  show_mask("read", pair[0], POLLOUT);
}
static void send_urgent(void) {
  await_turn();
  must("send", (int)send(pair[1], "!", 1, MSG_OOB));
  await_turn();
  must("write", (int)write(pair[1], "late", 4));
}
static void urgent_without_blocking(void) {
  tcp_pair(pair);
  nonblocking(pair[0]);
  with_pair(see_urgent, send_urgent, 0);
}
static void sleep_at_the_mark(void) {
  char b[8];
  next();
  say("event%s", mask_text(await(pair[0], POLLPRI)));
  next();
  show("read", read(pair[0], b, sizeof b));
  next();
  show("read", read(pair[0], b, sizeof b));
}
static void send_urgent_and_more(void) {
  send_urgent();
  await_turn();
  must("write", (int)write(pair[1], "last", 4));
}
static void urgent_while_blocking(void) { with_pair(sleep_at_the_mark, send_urgent_and_more, 1); }

/* ---- more than fits */

enum { MUCH = 8 << 20 };
static void write_much(void) {
  static unsigned char block[1 << 20];
  size_t at = 0;
  for (; at < MUCH; at += sizeof block) {
    fill(block, at, sizeof block);
    if (write(pair[0], block, sizeof block) != (ssize_t)sizeof block) break;
  }
  say("wrote %zu", at);
}
static void read_much(void) {
  static unsigned char block[65536];
  size_t at = 0, good = 0;
  ssize_t n;
  while ((n = recv(pair[1], block, sizeof block, 0)) > 0) {
    good += check(block, at, (size_t)n);
    at += (size_t)n;
  }
  remark("bytes", (long)at);
  remark("right ones", (long)good);
}
static void blocking_writes(void) { with_pair(write_much, read_much, 0); }

static void fill_to_the_brim(void) {
  static char block[65536];
  long all = 0;
  ssize_t n = 0;
  /* Until nothing goes in a moment later either: the receiver's window may grow. */
  for (int quiet = 0; quiet < 50; ++quiet, poll(NULL, 0, 1))
    for (; (n = write(pair[0], block, sizeof block)) > 0; quiet = 0) all += n;
  show("write into a full one", n);
  show_mask("full", pair[0], 0);
  next();
  show("room again", await(pair[0], POLLOUT) == POLLOUT);
  n = write(pair[0], block, 1);
  show("write", n);
  say("took a lot: %d", all > 100000);
}
static void drain(void) {
  static char block[65536];
  await_turn();
  while (recv(pair[1], block, sizeof block, 0) > 0) continue;
}
static void full_without_blocking(void) {
  tcp_pair(pair);
  nonblocking(pair[0]);
  with_pair(fill_to_the_brim, drain, 0);
}

static void empty_and_full(void) {
  static char block[65536];
  char b[8];
  show("read", read(pair[0], b, sizeof b));
  ssize_t n;
  while ((n = write(pair[0], block, sizeof block)) > 0) continue;
  show("write", n);
}
static void time_limits(void) {
  const struct timeval limit = {.tv_usec = 60000};
  tcp_pair(pair);
  must("limit", setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
  must("limit", setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
  with_pair(empty_and_full, NULL, 0);
}
static void read_without_blocking(void) {
  tcp_pair(pair);
  int yes = 1;
  must("FIONBIO", ioctl(pair[0], FIONBIO, &yes));
  with_pair(empty_and_full, NULL, 0);
}

static void nothing_to_do(int number) { (void)number; }
static void be_interrupted(void) {
  char b[8];
  next();
  show("read", read(pair[0], b, sizeof b));
  next();
}
static void interrupt(void) {
  await_turn();
  /* A signal that comes before it sleeps does not count. */
  struct pollfd done = {.fd = turn[0], .events = POLLIN};
  while (poll(&done, 1, 20) == 0) kill(child_pid, SIGUSR1);
}
static void interrupted_read(void) {
  const struct sigaction a = {.sa_handler = nothing_to_do};
  sigaction(SIGUSR1, &a, NULL);
  with_pair(be_interrupted, interrupt, 0);
}

/* ---- ends */

static void end_one_half(void) {
  char b[8];
  show("write", write(pair[0], "bye", 3));
  show("shutdown", shutdown(pair[0], SHUT_WR));
  show_mask("half closed", pair[0], POLLOUT);
  next();
  show("read", read(pair[0], b, sizeof b));
  show("end", read(pair[0], b, sizeof b));
  show_mask("closed", pair[0], POLLIN | POLLOUT | POLLHUP | POLLRDHUP);
  show("close", close(pair[0]));
}
static void see_the_half(void) {
  char b[8];
  remark("read", recv(pair[1], b, 3, MSG_WAITALL));
  remark("read of the end", read(pair[1], b, sizeof b));
  await_turn();
  must("write", (int)write(pair[1], "fine", 4));
  close(pair[1]);
}
static void half_close(void) { with_pair(end_one_half, see_the_half, 0); }

static void end_both_halves(void) {
  char b[8];
  show("shutdown", shutdown(pair[0], SHUT_RDWR));
  show("read", read(pair[0], b, sizeof b));
  show("again", shutdown(pair[0], SHUT_RD));
}
static void see_both_halves(void) {
  char b[8];
  remark("read of the end", read(pair[1], b, sizeof b));
}
static void full_close(void) { with_pair(end_both_halves, see_both_halves, 0); }

static void write_after_the_end(void) {
  show("shutdown", shutdown(pair[0], SHUT_WR));
  show("write", write(pair[0], "x", 1));
}
static void broken_pipe(void) {
  signal(SIGPIPE, SIG_IGN);
  with_pair(write_after_the_end, NULL, 0);
  signal(SIGPIPE, SIG_DFL);
  tcp_pair(pair);
  with_pair(write_after_the_end, NULL, 0);
}

static void see_a_reset(void) {
  char b[8];
  next();
  show_mask("reset", pair[0], POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
  show("read", read(pair[0], b, sizeof b));
  show("read again", read(pair[0], b, sizeof b));
  /* Whether ERR is still among it depends on calls that are not allowed here. */
  say("after it: mask%s", mask_text(mask_now(pair[0]) & ~POLLERR));
  show("write", write(pair[0], "x", 1));
  show("close", close(pair[0]));
}
static void do_reset(void) {
  await_turn();
  send_reset(pair[1]);
}
static void reset(void) {
  signal(SIGPIPE, SIG_IGN);
  with_pair(see_a_reset, do_reset, 0);
}

/* ---- datagrams, threads */

static void talk_in_datagrams(void) {
  char b[64];
  next();
  show("read", read(pair[0], b, sizeof b));
  show("read a part", read(pair[0], b, 2));
  show("write", write(pair[0], "answer", 6));
  show_mask("nothing", pair[0], POLLOUT);
  show("close", close(pair[0]));
}
static void answer_in_datagrams(void) {
  char b[64];
  await_turn();
  must("send", (int)send(pair[1], "question", 8, 0));
  must("send", (int)send(pair[1], "more", 4, 0));
  remark("read", read(pair[1], b, sizeof b));
}
static void datagrams(void) {
  for (int i = 0; i < 2; ++i) pair[i] = udp();
  struct sockaddr_in names[2] = {name_of(pair[0]), name_of(pair[1])};
  for (int i = 0; i < 2; ++i) must("connect", connect(pair[i], (struct sockaddr *)&names[1 - i], sizeof names[0]));
  with_pair(talk_in_datagrams, answer_in_datagrams, 0);
  /* The child's close() was the last one: the port is free. */
  const int other = must("socket", socket(AF_INET, SOCK_DGRAM, 0));
  show("bind to its port", bind(other, (struct sockaddr *)&names[0], sizeof names[0]));
}

static struct test_case cases[] = {
    {"exchange", exchange},
    {"exchange_by_call", exchange_by_call},
    {"many_turns", many_turns},
    {"urgent_without_blocking", urgent_without_blocking},
    {"urgent_while_blocking", urgent_while_blocking},
    {"blocking_writes", blocking_writes},
    {"full_without_blocking", full_without_blocking},
    {"time_limits", time_limits},
    {"read_without_blocking", read_without_blocking},
    {"interrupted_read", interrupted_read},
    {"half_close", half_close},
    {"full_close", full_close},
    {"broken_pipe", broken_pipe},
    {"reset", reset},
    {"datagrams", datagrams},
};
MAIN(cases)
