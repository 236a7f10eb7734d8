/* UDP sockets call by call. */
#include <stddef.h>

#include "shim_case.h"

static void fresh(void) {
  int fd = must("socket", socket(AF_INET, SOCK_DGRAM, 0));
  char b[4];
  show_mask("fresh", fd, POLLOUT);
  show("recv", recv(fd, b, 4, MSG_DONTWAIT));
  show("send", send(fd, b, 4, 0));
  show("listen", listen(fd, 1));
  show("accept", accept(fd, NULL, NULL));
  show("shutdown", shutdown(fd, SHUT_RDWR));
  show("getpeername", getpeername(fd, (struct sockaddr *)&(struct sockaddr_in){0}, &(socklen_t){16}));
  struct sockaddr_in a = loopback(0);
  show("sendto port 0", sendto(fd, b, 1, 0, (struct sockaddr *)&a, sizeof a));
  show("sendto short", sendto(fd, b, 1, 0, (struct sockaddr *)&a, 8));
  a.sin_family = AF_INET6;
  show("sendto family", sendto(fd, b, 1, 0, (struct sockaddr *)&a, sizeof a));
  show("bind family", bind(fd, (struct sockaddr *)&a, sizeof a));
  say("type %d domain %d protocol %d", get_int(fd, SOL_SOCKET, SO_TYPE), get_int(fd, SOL_SOCKET, SO_DOMAIN),
      get_int(fd, SOL_SOCKET, SO_PROTOCOL));
}

static void exchange(void) {
  int s = udp(), c = must("socket", socket(AF_INET, SOCK_DGRAM, 0));
  struct sockaddr_in a = name_of(s), from;
  socklen_t n = sizeof from;
  char b[32];
  show("sendto", sendto(c, "question", 8, 0, (struct sockaddr *)&a, sizeof a));
  say("bound by sending: %d", name_of(c).sin_port != 0);
  show_mask("readable", s, POLLIN | POLLOUT);
  int unread = 0;
  show("FIONREAD", ioctl(s, FIONREAD, &unread));
  say("next %d", unread);
  show("recvfrom", recvfrom(s, b, sizeof b, 0, (struct sockaddr *)&from, &n));
  say("from the right port %d, address %x, length %d", from.sin_port == name_of(c).sin_port, ntohl(from.sin_addr.s_addr), (int)n);
  show_mask("empty", s, POLLOUT);
  show("answer", sendto(s, "yes", 3, 0, (struct sockaddr *)&from, n));
  show("recv", recv(c, b, sizeof b, 0));
  show("empty datagram", sendto(c, "", 0, 0, (struct sockaddr *)&a, sizeof a));
  show_mask("readable", s, POLLIN | POLLOUT);
  show("recv empty", recv(s, b, sizeof b, 0));
}

static ssize_t to(int fd, const char *address) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(9)};
  inet_pton(AF_INET, address, &a.sin_addr);
  return sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof a);
}
/* What sendto() knows it says itself, not the next call. */
static void refused_at_once(void) {
  int fd = must("socket", socket(AF_INET, SOCK_DGRAM, 0)), here = udp();
  struct sockaddr_in a = name_of(here);
  show("no route", to(fd, "10.99.99.111"));
  say("SO_ERROR %d", get_int(fd, SOL_SOCKET, SO_ERROR));
  say("bound all the same %d", name_of(fd).sin_port != 0);
  show("here", sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof a));
  show("here again", sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof a));
  show("no route", to(fd, "10.99.99.111"));
  show("another", to(fd, "10.99.99.112"));
  show("multicast", to(fd, "224.0.0.77"));
  show("everywhere", to(fd, "255.255.255.255"));
  must("allowed", set_int(fd, SOL_SOCKET, SO_BROADCAST, 1));
  show("everywhere", to(fd, "255.255.255.255"));
  struct mmsghdr two[2] = {0};
  struct iovec v = {"x", 1};
  struct sockaddr_in far = a;
  inet_pton(AF_INET, "10.99.99.111", &far.sin_addr);
  two[0].msg_hdr = (struct msghdr){.msg_name = &a, .msg_namelen = sizeof a, .msg_iov = &v, .msg_iovlen = 1};
  two[1].msg_hdr = (struct msghdr){.msg_name = &far, .msg_namelen = sizeof far, .msg_iov = &v, .msg_iovlen = 1};
  show("first of two", sendmmsg(fd, two, 2, 0));
  show("none of one", sendmmsg(fd, two + 1, 1, 0));
}

/* An option set between two calls is for the second one. */
static void options_in_order(void) {
  int s = udp(), c = udp(), wrong = 0;
  struct sockaddr_in a = name_of(s);
  must("recvttl", set_int(s, IPPROTO_IP, IP_RECVTTL, 1));
  must("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 60; ++i) {
      if (i % 20 == 0) must("ttl", set_int(c, IPPROTO_IP, IP_TTL, 10 + i / 20));
      must("send", (int)send(c, &i, sizeof i, 0));
    }
    if (round == 19) close(c);
    for (int i = 0; i < 60; ++i) {
      int number = -1, ttl = -1;
      char control[64];
      struct iovec v = {&number, sizeof number};
      struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
      must("recvmsg", (int)recvmsg(s, &m, 0));
      struct cmsghdr *h = CMSG_FIRSTHDR(&m);
      if (h != NULL) memcpy(&ttl, CMSG_DATA(h), sizeof ttl);
      wrong += number != i || ttl != 10 + i / 20;
    }
  }
  say("wrong %d", wrong);
}

/* What was sent before close() goes out. */
static void closed_behind_many(void) {
  int s = udp(), c = udp(), n = 0;
  struct sockaddr_in a = name_of(s);
  must("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  for (int i = 0; i < 200; ++i) must("send", (int)send(c, &i, sizeof i, 0));
  close(c);
  for (int number; n < 200 && recv(s, &number, sizeof number, 0) == sizeof number && number == n; ++n) {
  }
  say("came %d", n);
}

static void truncation(void) {
  int s = udp(), c = udp();
  struct sockaddr_in a = name_of(s);
  char b[4], big[100];
  memset(big, 'x', sizeof big);
  for (int i = 0; i < 4; ++i) must("sendto", (int)sendto(c, big, 100, 0, (struct sockaddr *)&a, sizeof a));
  await(s, POLLIN);
  struct iovec v = {b, 4};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  show("recvmsg", recvmsg(s, &m, 0));
  say("truncated %d", (m.msg_flags & MSG_TRUNC) != 0);
  show("recv", recv(s, b, 4, 0));
  show("recv trunc", recv(s, b, 4, MSG_TRUNC));
  show("peek trunc", recv(s, b, 4, MSG_TRUNC | MSG_PEEK));
  show("read whole", read(s, big, sizeof big));
  show("none", recv(s, b, 4, MSG_DONTWAIT));
}

static void connected(void) {
  int s = udp(), c = must("socket", socket(AF_INET, SOCK_DGRAM, 0)), stranger = udp();
  struct sockaddr_in a = name_of(s), ca, none = {.sin_family = AF_UNSPEC};
  char b[16];
  show("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  ca = name_of(c);
  say("bound %d to %x", ca.sin_port != 0, ntohl(ca.sin_addr.s_addr));
  socklen_t n = sizeof a;
  show("getpeername", getpeername(c, (struct sockaddr *)&a, &n));
  show("send", send(c, "one", 3, 0));
  show("recv", recv(s, b, sizeof b, 0));
  show("stranger", sendto(stranger, "no", 2, 0, (struct sockaddr *)&ca, sizeof ca));
  show("friend", sendto(s, "yes!", 4, 0, (struct sockaddr *)&ca, sizeof ca));
  show("only the friend's", recv(c, b, sizeof b, 0));
  show("none", recv(c, b, sizeof b, MSG_DONTWAIT));
  show("send to another", sendto(c, "x", 1, 0, (struct sockaddr *)&(struct sockaddr_in){.sin_family = AF_INET, .sin_port = name_of(stranger).sin_port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}, sizeof a));
  show("got it", recv(stranger, b, sizeof b, 0));
  show("disconnect", connect(c, (struct sockaddr *)&none, sizeof none));
  show("send", send(c, "x", 1, 0));
  show("getpeername", getpeername(c, (struct sockaddr *)&a, &n));
  /* The address that bind() was given stays, the port that was chosen for it does not. */
  int d = must("socket", socket(AF_INET, SOCK_DGRAM, 0));
  struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000005)};
  show("bind", bind(d, (struct sockaddr *)&own, sizeof own));
  a = name_of(s);
  show("connect", connect(d, (struct sockaddr *)&a, sizeof a));
  show("disconnect", connect(d, (struct sockaddr *)&none, sizeof none));
  own = name_of(d);
  say("%x, port %d", ntohl(own.sin_addr.s_addr), own.sin_port != 0);
  show("sendto", sendto(d, "from", 4, 0, (struct sockaddr *)&a, sizeof a));
  n = sizeof ca;
  show("recvfrom", recvfrom(s, b, sizeof b, 0, (struct sockaddr *)&ca, &n));
  own = name_of(d);
  say("from %x, the same port %d", ntohl(ca.sin_addr.s_addr), ca.sin_port == own.sin_port && own.sin_port != 0);
}

static void refused(void) {
  int s = udp(), c = must("socket", socket(AF_INET, SOCK_DGRAM, 0));
  struct sockaddr_in a = name_of(s);
  close(s);
  char b[4];
  must("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  show("send", send(c, "x", 1, 0));
  show("recv", recv(c, b, 4, 0));
  show("send", send(c, "x", 1, 0));
  await(c, POLLIN);
  say("SO_ERROR %s", strerrorname_np(get_int(c, SOL_SOCKET, SO_ERROR)));
  say("SO_ERROR %d", get_int(c, SOL_SOCKET, SO_ERROR));
}

static void sizes(void) {
  int s = udp(), c = udp();
  struct sockaddr_in a = name_of(s);
  static unsigned char out[70000], in[70000];
  fill(out, 0, sizeof out);
  int sizes[] = {1, 1471, 1472, 1473, 8192, 30000, 65507};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i) {
    must("sendto", (int)sendto(c, out, (size_t)sizes[i], 0, (struct sockaddr *)&a, sizeof a));
    ssize_t n = recv(s, in, sizeof in, 0);
    say("%d: %zd right %d", sizes[i], n, n > 0 && check(in, 0, (size_t)n) == (size_t)n);
  }
  show("too long", sendto(c, out, 65508, 0, (struct sockaddr *)&a, sizeof a));
  show("much too long", sendto(c, out, 70000, 0, (struct sockaddr *)&a, sizeof a));
}

static void many_messages(void) {
  int s = udp(), c = udp();
  struct sockaddr_in a = name_of(s);
  must("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  struct mmsghdr m[8];
  struct iovec v[8];
  char text[8][16];
  memset(m, 0, sizeof m);
  for (int i = 0; i < 8; ++i) {
    snprintf(text[i], sizeof text[i], "msg %d", i);
    v[i] = (struct iovec){text[i], 5 + (size_t)(i % 2)};
    m[i].msg_hdr.msg_iov = &v[i];
    m[i].msg_hdr.msg_iovlen = 1;
  }
  show("sendmmsg", sendmmsg(c, m, 8, 0));
  say("lengths %u %u", m[0].msg_len, m[7].msg_len);
  struct sockaddr_in from[8];
  for (int i = 0; i < 8; ++i) {
    v[i].iov_len = 8;
    m[i].msg_hdr.msg_name = &from[i];
    m[i].msg_hdr.msg_namelen = sizeof from[i];
  }
  int got = 0;
  while (got < 8 && await(s, POLLIN) != 0) {
    int n = recvmmsg(s, m + got, (unsigned)(8 - got), MSG_WAITFORONE, NULL);
    if (n <= 0) break;
    got += n;
  }
  say("%d messages, lengths %u %u, last %.5s, name %u", got, m[0].msg_len, m[7].msg_len, text[7], m[7].msg_hdr.msg_namelen);
  show("recvmmsg none", recvmmsg(s, m, 8, MSG_DONTWAIT, NULL));
}

static void control_data(void) {
  int s = udp(), c = udp();
  struct sockaddr_in a = name_of(s);
  show("IP_PKTINFO", set_int(s, IPPROTO_IP, IP_PKTINFO, 1));
  show("IP_RECVTTL", set_int(s, IPPROTO_IP, IP_RECVTTL, 1));
  show("IP_RECVTOS", set_int(s, IPPROTO_IP, IP_RECVTOS, 1));
  show("IP_TTL", set_int(c, IPPROTO_IP, IP_TTL, 33));
  show("IP_TOS", set_int(c, IPPROTO_IP, IP_TOS, 0x10));
  must("sendto", (int)sendto(c, "x", 1, 0, (struct sockaddr *)&a, sizeof a));
  char b[4], control[256];
  struct iovec v = {b, 4};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  show("recvmsg", recvmsg(s, &m, 0));
  for (struct cmsghdr *k = CMSG_FIRSTHDR(&m); k != NULL; k = CMSG_NXTHDR(&m, k)) {
    if (k->cmsg_level != IPPROTO_IP) continue;
    if (k->cmsg_type == IP_PKTINFO) {
      struct in_pktinfo *i = (struct in_pktinfo *)CMSG_DATA(k);
      unsigned char to[4];  /* ipi_addr's name is another one where the words are those of IPv6 */
      memcpy(to, (const char *)i + offsetof(struct in_pktinfo, ipi_addr), sizeof to);
      say("pktinfo: interface known %d, to %d.%d.%d.%d", i->ipi_ifindex > 0, to[0], to[1], to[2], to[3]);
    }
    if (k->cmsg_type == IP_TTL) say("ttl %d", *(int *)CMSG_DATA(k));
    if (k->cmsg_type == IP_TOS) say("tos %d", *(unsigned char *)CMSG_DATA(k));
  }
  must("sendto", (int)sendto(c, "x", 1, 0, (struct sockaddr *)&a, sizeof a));
  m.msg_controllen = 8;
  show("recvmsg small control", recvmsg(s, &m, 0));
  say("control cut %d", (m.msg_flags & MSG_CTRUNC) != 0);
}

/* Where a datagram was sent to, and how many found no room before it. */
static void original_destination(void) {
  int s = udp(), c = udp();
  struct sockaddr_in a = name_of(s), to = {0};
  show("IP_RECVORIGDSTADDR", set_int(s, IPPROTO_IP, IP_RECVORIGDSTADDR, 1));
  must("sendto", (int)sendto(c, "x", 1, 0, (struct sockaddr *)&a, sizeof a));
  char b[4], control[64];
  struct iovec v = {b, 4};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  show("recvmsg", recvmsg(s, &m, 0));
  struct cmsghdr *k = CMSG_FIRSTHDR(&m);
  if (k != NULL && k->cmsg_level == IPPROTO_IP && k->cmsg_type == IP_ORIGDSTADDR) memcpy(&to, CMSG_DATA(k), sizeof to);
  say("as sent: %d", to.sin_family == AF_INET && to.sin_port == a.sin_port && to.sin_addr.s_addr == a.sin_addr.s_addr);
}

static void lost_before(void) {
  int s = udp(), c = udp(), sent = 0;
  unsigned lost = 0;
  struct sockaddr_in a = name_of(s);
  static char block[8000];
  show("SO_RXQ_OVFL", set_int(s, SOL_SOCKET, SO_RXQ_OVFL, 1));
  for (; sent < 200; ++sent) must("sendto", (int)sendto(c, block, sizeof block, 0, (struct sockaddr *)&a, sizeof a));
  for (int last = 0; last == 0;) { /* until one has come that was sent when there was room again */
    while (recv(s, block, sizeof block, MSG_DONTWAIT) == sizeof block) continue;
    must("sendto", (int)sendto(c, "x", 1, 0, (struct sockaddr *)&a, sizeof a));
    char control[64];
    struct iovec v = {block, sizeof block};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    if (await(s, POLLIN) == 0 || recvmsg(s, &m, 0) != 1) continue;
    struct cmsghdr *k = CMSG_FIRSTHDR(&m);
    if (k != NULL && k->cmsg_level == SOL_SOCKET && k->cmsg_type == SO_RXQ_OVFL) memcpy(&lost, CMSG_DATA(k), sizeof lost);
    last = 1;
  }
  say("some were lost: %d", lost > 0);
}

/* An address without a port: whatever comes next chooses it. */
static void address_without_port(void) {
  int c = must("socket", socket(AF_INET, SOCK_DGRAM, 0)), s = udp();
  struct sockaddr_in a = name_of(s), only = a;
  only.sin_port = 0;
  show("IP_BIND_ADDRESS_NO_PORT", set_int(c, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1));
  show("bind", bind(c, (struct sockaddr *)&only, sizeof only));
  struct sockaddr_in mine = name_of(c);
  say("address %d, port %d", mine.sin_addr.s_addr == a.sin_addr.s_addr, mine.sin_port);
  show("sendto", sendto(c, "x", 1, 0, (struct sockaddr *)&a, sizeof a));
  struct sockaddr_in from;
  socklen_t length = sizeof from;
  char b[4];
  show("recvfrom", recvfrom(s, b, sizeof b, 0, (struct sockaddr *)&from, &length));
  mine = name_of(c);
  say("the port it was sent from: %d", mine.sin_port != 0 && mine.sin_port == from.sin_port);
}

static void timeouts(void) {
  int s = udp();
  struct timeval t = {.tv_usec = 50000};
  show("SO_RCVTIMEO", setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof t));
  struct timespec before, after;
  clock_gettime(CLOCK_MONOTONIC, &before);
  show("recv", recv(s, &t, 1, 0));
  clock_gettime(CLOCK_MONOTONIC, &after);
  double ms = (double)(after.tv_sec - before.tv_sec) * 1e3 + (double)(after.tv_nsec - before.tv_nsec) / 1e6;
  say("waited long enough: %d", ms >= 49);
}

static void port_free_at_once(void) {
  for (int i = 0; i < 20; ++i) {
    int s = udp();
    struct sockaddr_in a = name_of(s);
    close(s);
    int again = must("socket", socket(AF_INET, SOCK_DGRAM, 0));
    if (bind(again, (struct sockaddr *)&a, sizeof a) < 0) {
      show("bind", -1);
      return;
    }
    int third = must("socket", socket(AF_INET, SOCK_DGRAM, 0));
    if (bind(third, (struct sockaddr *)&a, sizeof a) == 0) {
      say("bound twice");
      return;
    }
    close(again);
    close(third);
  }
  say("always free");
}

static void overflow(void) {
  int s = udp(), c = udp();
  struct sockaddr_in a = name_of(s);
  static char block[8000];
  for (int i = 0; i < 2000; ++i)
    if (sendto(c, block, sizeof block, MSG_DONTWAIT, (struct sockaddr *)&a, sizeof a) < 0) break;
  int got = 0;
  await(s, POLLIN);
  while (recv(s, block, sizeof block, MSG_DONTWAIT) == sizeof block) ++got;
  say("some came: %d", got > 0); /* the kernel has lost the others; a stack may also have said EAGAIN */
  ssize_t n = 0; /* what was on its way meanwhile comes first */
  while (n != 1) {
    must("sendto", (int)sendto(c, "x", 1, 0, (struct sockaddr *)&a, sizeof a));
    if (await(s, POLLIN) == 0) break;
    n = recv(s, block, sizeof block, 0);
  }
  say("and on: %zd", n);
}

static void parts_of_one(void) {
  int s = udp(), c = udp();
  struct sockaddr_in a = name_of(s);
  static char big[60000], got[65536];
  must("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  show("part", send(c, "ab", 2, MSG_MORE));
  show("empty part", send(c, "", 0, MSG_MORE));
  show_mask("nothing yet", s, POLLOUT);
  show("rest", send(c, "cd", 2, 0));
  show("in one", recv(s, got, sizeof got, 0));
  say("%.4s", got);
  show("alone", send(c, "e", 1, 0));
  show("recv", recv(s, got, sizeof got, 0));
  show("large part", send(c, big, 30000, MSG_MORE));
  show("large rest", send(c, big, 30000, 0));
  show("recv", recv(s, got, sizeof got, 0));
}

static const struct test_case cases[] = {
    {"fresh", fresh}, {"exchange", exchange}, {"refused_at_once", refused_at_once}, {"options_in_order", options_in_order},
    {"closed_behind_many", closed_behind_many}, {"truncation", truncation}, {"connected", connected},
    {"refused", refused},
    {"sizes", sizes}, {"many_messages", many_messages}, {"control_data", control_data},
    {"original_destination", original_destination}, {"lost_before", lost_before}, {"address_without_port", address_without_port}, {"timeouts", timeouts},
    {"port_free_at_once", port_free_at_once}, {"overflow", overflow}, {"parts_of_one", parts_of_one},
};
MAIN(cases)
