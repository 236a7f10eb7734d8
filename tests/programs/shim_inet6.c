/* Sockets of AF_INET6: what they have of their own, and what they do with IPv4. */
#include "shim_case.h"

static const char *text_of(const struct sockaddr_in6 *a) {
  static char text[INET6_ADDRSTRLEN];
  return inet_ntop(AF_INET6, &a->sin6_addr, text, sizeof text);
}
static struct sockaddr_in6 at(const char *address, int port) {
  struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_port = htons((unsigned short)port)};
  must("inet_pton", inet_pton(AF_INET6, address, &a.sin6_addr));
  return a;
}
static struct sockaddr_in6 name6(int fd) {
  struct sockaddr_in6 a;
  socklen_t n = sizeof a;
  must("getsockname", getsockname(fd, (struct sockaddr *)&a, &n));
  return a;
}
static int made(int type) { return must("socket", socket(AF_INET6, type, 0)); }
static long bind6(int fd, const char *address, int port) {
  struct sockaddr_in6 a = at(address, port);
  return bind(fd, (struct sockaddr *)&a, sizeof a);
}
static long connect6(int fd, const char *address, int port) {
  struct sockaddr_in6 a = at(address, port);
  return connect(fd, (struct sockaddr *)&a, sizeof a);
}
static long send6(int fd, const char *address, int port) {
  struct sockaddr_in6 a = at(address, port);
  return sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof a);
}
static int port_of(int fd) { return ntohs(name6(fd).sin6_port); }

static void names(void) {
  int fd = made(SOCK_STREAM);
  struct sockaddr_in6 a = name6(fd);
  say("fresh %s", text_of(&a));
  struct sockaddr_storage s;
  socklen_t n = sizeof s;
  show("name", getsockname(fd, (struct sockaddr *)&s, &n));
  say("length %d family %d", (int)n, s.ss_family);
  n = 20;
  memset(&s, 7, sizeof s);
  show("short room", getsockname(fd, (struct sockaddr *)&s, &n));
  say("length %d", (int)n);
  show("bind ::1", bind6(fd, "::1", 0));
  a = name6(fd);
  say("bound %s flow %u scope %u", text_of(&a), a.sin6_flowinfo, a.sin6_scope_id);
  int mapped = made(SOCK_STREAM);
  show("bind mapped", bind6(mapped, "::ffff:127.0.0.1", 0));
  a = name6(mapped);
  say("mapped %s", text_of(&a));
  say("domain %d type %d", get_int(fd, SOL_SOCKET, SO_DOMAIN), get_int(fd, SOL_SOCKET, SO_TYPE));
}

static void bad_addresses(void) {
  struct sockaddr_in six_less = loopback(0);
  for (int type = SOCK_STREAM; type <= SOCK_DGRAM; ++type) {
    struct sockaddr_in6 a = at("::1", 9);
    show("bind inet", bind(made(type), (struct sockaddr *)&six_less, sizeof six_less));
    show("bind short", bind(made(type), (struct sockaddr *)&a, 23));
    a.sin6_port = 0;
    show("bind RFC 2133", bind(made(type), (struct sockaddr *)&a, 24));
    a.sin6_family = AF_UNSPEC;
    show("bind unspecified", bind(made(type), (struct sockaddr *)&a, sizeof a));
    show("bind another's", bind6(made(type), "2001:db8::77", 0));
    show("bind a group", bind6(made(type), "ff02::77", 0));
    show("bind of a link without one", bind6(made(type), "fe80::77", 0));
    show("connect of a link without one", connect6(made(type), "fe80::77", 9));
    show("connect nowhere", connect6(made(type), "2001:db8::77", 9));
    a = at("::1", 9);
    show("connect short", connect(made(type), (struct sockaddr *)&a, 23));
    a.sin6_family = 77;
    show("connect family", connect(made(type), (struct sockaddr *)&a, sizeof a));
    int four = must("socket", socket(AF_INET, type, 0));
    a = at("::1", 9);
    show("inet: bind inet6", bind(four, (struct sockaddr *)&a, sizeof a));
    show("inet: connect inet6", connect(four, (struct sockaddr *)&a, sizeof a));
  }
  int fd = made(SOCK_DGRAM);
  struct sockaddr_in6 a = at("::1", 9);
  show("sendto short", sendto(fd, "x", 1, 0, (struct sockaddr *)&a, 23));
  show("sendto RFC 2133", sendto(fd, "x", 1, 0, (struct sockaddr *)&a, 24));
  a.sin6_family = 77;
  show("sendto family", sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof a));
  a.sin6_family = AF_UNSPEC;
  show("sendto unspecified", sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof a));
  show("sendto port 0", send6(fd, "::1", 0));
  show("sendto nowhere", send6(fd, "2001:db8::77", 9));
  struct sockaddr_in four = loopback(9);
  show("sendto inet", sendto(fd, "x", 1, 0, (struct sockaddr *)&four, sizeof four));
  show("inet6 from inet", send6(udp(), "::1", 9));
}

static void types_and_protocols(void) {
  show_fd("stream", socket(AF_INET6, SOCK_STREAM, IPPROTO_TCP));
  show_fd("datagram", socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP));
  show_fd("stream of UDP", socket(AF_INET6, SOCK_STREAM, IPPROTO_UDP));
  show_fd("seqpacket", socket(AF_INET6, SOCK_SEQPACKET, 0));
  show_fd("ICMP of the other family", socket(AF_INET6, SOCK_DGRAM, IPPROTO_ICMP));
}

/* A server of both families: each client's address as it shows. */
static void dual_stack(void) {
  int l = made(SOCK_STREAM);
  say("only IPv6 %d", get_int(l, IPPROTO_IPV6, IPV6_V6ONLY));
  show("bind", bind6(l, "::", 0));
  show("listen", listen(l, 4));
  int port = port_of(l);
  int c = must("socket", socket(AF_INET, SOCK_STREAM, 0));
  struct sockaddr_in four = loopback(port);
  show("inet", connect(c, (struct sockaddr *)&four, sizeof four));
  struct sockaddr_in6 peer, mine;
  socklen_t n = sizeof peer;
  int s = must("accept", accept(l, (struct sockaddr *)&peer, &n));
  mine = name6(s);
  say("from %s length %d", text_of(&peer), (int)n);
  say("at %s, its port %d", text_of(&mine), ntohs(mine.sin6_port) == port);
  say("domain %d", get_int(s, SOL_SOCKET, SO_DOMAIN));
  show("send", send(s, "four", 4, 0));
  char b[8];
  show("recv", recv(c, b, sizeof b, 0));
  int c6 = made(SOCK_STREAM);
  show("inet6", connect6(c6, "::1", port));
  n = sizeof peer;
  int s6 = must("accept", accept(l, (struct sockaddr *)&peer, &n));
  say("from %s scope %u", text_of(&peer), peer.sin6_scope_id);
  int m = made(SOCK_STREAM);
  show("mapped", connect6(m, "::ffff:127.0.0.1", port));
  n = sizeof peer;
  show("its peer", getpeername(m, (struct sockaddr *)&peer, &n));
  say("%s", text_of(&peer));
  mine = name6(m);
  say("mine %s", text_of(&mine));
  must("accept", accept(l, (struct sockaddr *)&peer, &n));
  say("from %s", text_of(&peer));
  (void)s6;
}

static void only_inet6(void) {
  int l = made(SOCK_STREAM);
  show("V6ONLY", set_int(l, IPPROTO_IPV6, IPV6_V6ONLY, 1));
  show("bind", bind6(l, "::", 0));
  show("too late", set_int(l, IPPROTO_IPV6, IPV6_V6ONLY, 0));
  show("listen", listen(l, 4));
  int port = port_of(l);
  struct sockaddr_in four = loopback(port);
  show("inet", connect(must("socket", socket(AF_INET, SOCK_STREAM, 0)), (struct sockaddr *)&four, sizeof four));
  show("inet6", connect6(made(SOCK_STREAM), "::1", port));
  for (int type = SOCK_STREAM; type <= SOCK_DGRAM; ++type) {
    int fd = made(type);
    must("V6ONLY", set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1));
    show("bind mapped", bind6(fd, "::ffff:127.0.0.1", 0));
    show("connect mapped", connect6(fd, "::ffff:127.0.0.1", port));
    if (type == SOCK_DGRAM) {
      show("send mapped", send6(fd, "::ffff:127.0.0.1", port));
      show("send inet", sendto(fd, "x", 1, 0, (struct sockaddr *)&four, sizeof four));
      show("connect inet", connect(fd, (struct sockaddr *)&four, sizeof four));
    }
  }
}

/* Who may have a port together with whom. */
static void ports_of_two_families(void) {
  static const char *const addresses[] = {"::", "::1", "::ffff:0.0.0.0", "::ffff:127.0.0.1"};
  for (int type = SOCK_STREAM; type <= SOCK_DGRAM; ++type)
    for (int only = 0; only < 2; ++only)
      for (unsigned i = 0; i < 4; ++i)
        for (unsigned k = 0; k < 6; ++k) {
          int first = made(type);
          must("V6ONLY", set_int(first, IPPROTO_IPV6, IPV6_V6ONLY, only));
          if (bind6(first, addresses[i], 0) < 0) {
            close(first);
            continue;
          }
          int port = port_of(first), second;
          long result;
          if (k < 4) {
            second = made(type);
            result = bind6(second, addresses[k], port);
          } else {
            struct sockaddr_in four = loopback(port);
            if (k == 5) four.sin_addr.s_addr = 0;
            second = must("socket", socket(AF_INET, type, 0));
            result = bind(second, (struct sockaddr *)&four, sizeof four);
          }
          char what[128];
          snprintf(what, sizeof what, "type %d only %d %s and %s", type, only, addresses[i],
                   k < 4 ? addresses[k] : k == 4 ? "127.0.0.1" : "0.0.0.0");
          show(what, result);
          close(first);
          close(second);
        }
}

/* Of a socket for both families and one for IPv4 the latter has what comes over IPv4. */
static void closest_takes_it(void) {
  int both = made(SOCK_DGRAM), reuse = 1;
  must("reuse", setsockopt(both, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse));
  must("bind", (int)bind6(both, "::", 0));
  struct sockaddr_in four = loopback(port_of(both));
  four.sin_addr.s_addr = 0;
  int one = must("socket", socket(AF_INET, SOCK_DGRAM, 0));
  must("reuse", setsockopt(one, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse));
  must("bind", bind(one, (struct sockaddr *)&four, sizeof four));
  four = loopback(port_of(both));
  must("send", (int)sendto(udp(), "x", 1, 0, (struct sockaddr *)&four, sizeof four));
  show_mask("of IPv4", one, POLLIN | POLLOUT);
  show_mask("of both", both, POLLOUT);
  must("send", (int)send6(made(SOCK_DGRAM), "::1", port_of(both)));
  show_mask("of both", both, POLLIN | POLLOUT);
}

static void datagrams(void) {
  int s = made(SOCK_DGRAM), c = made(SOCK_DGRAM);
  must("bind", (int)bind6(s, "::", 0));
  int port = port_of(s);
  struct sockaddr_in6 from;
  socklen_t n = sizeof from;
  char b[16];
  show("sendto", send6(c, "::1", port));
  show("recvfrom", recvfrom(s, b, sizeof b, 0, (struct sockaddr *)&from, &n));
  say("from %s its port %d length %d", text_of(&from), from.sin6_port == name6(c).sin6_port, (int)n);
  show("answer", sendto(s, "yes", 3, 0, (struct sockaddr *)&from, n));
  show("recv", recv(c, b, sizeof b, 0));
  show("mapped", send6(c, "::ffff:127.0.0.1", port));
  n = sizeof from;
  show("recvfrom", recvfrom(s, b, sizeof b, 0, (struct sockaddr *)&from, &n));
  say("from %s", text_of(&from));
  show("answer", sendto(s, "yes", 3, 0, (struct sockaddr *)&from, n));
  show("recv", recv(c, b, sizeof b, 0));
  struct sockaddr_in four = loopback(port);
  show("inet's address", sendto(c, "x", 1, 0, (struct sockaddr *)&four, sizeof four));
  n = sizeof from;
  show("recvfrom", recvfrom(s, b, sizeof b, 0, (struct sockaddr *)&from, &n));
  say("from %s", text_of(&from));
  show("connect", connect6(c, "::1", port));
  from = name6(c);
  say("bound to %s", text_of(&from));
  show("send", send(c, "connected", 9, 0));
  show("recv", recv(s, b, sizeof b, 0));
  show("connect inet", connect(c, (struct sockaddr *)&(struct sockaddr){.sa_family = AF_UNSPEC}, sizeof(struct sockaddr)));
  from = name6(c);
  say("dissolved %s", text_of(&from));
  show("connect inet", connect(c, (struct sockaddr *)&four, sizeof four));
  from = name6(c);
  say("bound to %s", text_of(&from));
  n = sizeof from;
  show("peer", getpeername(c, (struct sockaddr *)&from, &n));
  say("%s length %d", text_of(&from), (int)n);
  show("to any", send6(made(SOCK_DGRAM), "::", port));
  n = sizeof from;
  show("recvfrom", recvfrom(s, b, sizeof b, 0, (struct sockaddr *)&from, &n));
  say("from %s", text_of(&from));
}

static void refused(void) {
  int gone = made(SOCK_DGRAM), c = made(SOCK_DGRAM);
  must("bind", (int)bind6(gone, "::1", 0));
  int port = port_of(gone);
  close(gone);
  show("connect", connect6(c, "::1", port));
  show("send", send(c, "x", 1, 0));
  await(c, POLLIN | POLLERR);
  char b[4];
  show("recv", recv(c, b, sizeof b, 0));
  show("connect", connect6(made(SOCK_STREAM), "::1", port));
}

static void options(void) {
  static const struct {
    const char *name;
    int level, option, values[4];
  } rows[] = {
      {"V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY, {1, 0, 5, -1}},
      {"UNICAST_HOPS", IPPROTO_IPV6, IPV6_UNICAST_HOPS, {7, 256, -2, -1}},
      {"MULTICAST_HOPS", IPPROTO_IPV6, IPV6_MULTICAST_HOPS, {7, 256, 0, -1}},
      {"MULTICAST_LOOP", IPPROTO_IPV6, IPV6_MULTICAST_LOOP, {0, 1, 2, -1}},
      {"MULTICAST_IF", IPPROTO_IPV6, IPV6_MULTICAST_IF, {1, 0, 4711, -1}},
      {"TCLASS", IPPROTO_IPV6, IPV6_TCLASS, {0x28, 256, -2, -1}},
      {"MTU_DISCOVER", IPPROTO_IPV6, IPV6_MTU_DISCOVER, {2, 6, -1, 1}},
      {"DONTFRAG", IPPROTO_IPV6, IPV6_DONTFRAG, {1, 0, 7, -1}},
      {"RECVPKTINFO", IPPROTO_IPV6, IPV6_RECVPKTINFO, {1, 0, 7, 0}},
      {"RECVHOPLIMIT", IPPROTO_IPV6, IPV6_RECVHOPLIMIT, {1, 0, 7, 0}},
      {"RECVTCLASS", IPPROTO_IPV6, IPV6_RECVTCLASS, {1, 0, 7, 0}},
      {"RECVERR", IPPROTO_IPV6, IPV6_RECVERR, {1, 0, 7, 0}},
      {"FREEBIND", IPPROTO_IPV6, IPV6_FREEBIND, {1, 0, 7, 0}},
      {"MULTICAST_ALL", IPPROTO_IPV6, IPV6_MULTICAST_ALL, {0, 1, 0, 7}},
      {"AUTOFLOWLABEL", IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, {0, 1, 0, 7}},
      // Temporary, public; both; as the stack likes; the care-of address, the home's, and both; cryptographic or not.
      {"ADDR_PREFERENCES", IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, {1, 2, 3, 0x100}},
      {"ADDR_PREFERENCES", IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, {4, 0, 0x405, 0x402}},
      {"ADDR_PREFERENCES", IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, {8, 0x808, 0x800, 0x1000}},
      {"MTU", IPPROTO_IPV6, IPV6_MTU, {1280, 1279, 0, -1}},
      {"PKTINFO", IPPROTO_IPV6, IPV6_PKTINFO, {1, 0, 0, 0}},
      {"JOIN_GROUP", IPPROTO_IPV6, IPV6_JOIN_GROUP, {1, 0, 0, 0}},
      {"MCAST_JOIN_GROUP", IPPROTO_IPV6, MCAST_JOIN_GROUP, {1, 0, 0, 0}},
      {"MCAST_MSFILTER", IPPROTO_IPV6, MCAST_MSFILTER, {1, 0, 0, 0}},
      {"IP_TTL", IPPROTO_IP, IP_TTL, {9, 0, 256, -1}},
      {"IP_TOS", IPPROTO_IP, IP_TOS, {0x10, 0, 8, 4}},
      {"no such", IPPROTO_IPV6, 4711, {1, 0, 0, 0}},
  };
  for (int type = SOCK_STREAM; type <= SOCK_DGRAM; ++type)
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; ++i) {
      int fd = made(type);
      say("%s of type %d: %d", rows[i].name, type, get_int(fd, rows[i].level, rows[i].option));
      for (unsigned k = 0; k < 4; ++k) {
        show("set", set_int(fd, rows[i].level, rows[i].option, rows[i].values[k]));
        say("%d", get_int(fd, rows[i].level, rows[i].option));
      }
      char one = 1;
      show("a byte", setsockopt(fd, rows[i].level, rows[i].option, &one, 1));
      close(fd);
    }
  int four = must("socket", socket(AF_INET, SOCK_DGRAM, 0));
  show("of inet", set_int(four, IPPROTO_IPV6, IPV6_V6ONLY, 1));
  say("%d", get_int(four, IPPROTO_IPV6, IPV6_V6ONLY));
  int fd = made(SOCK_STREAM);
  say("MTU of nothing %d", get_int(fd, IPPROTO_IPV6, IPV6_MTU));
}

// What RFC 3542 has of paths and interfaces as options of the socket itself.
static void path_options(void) {
  int s = made(SOCK_DGRAM), c = made(SOCK_DGRAM);
  show("bind", bind6(s, "::1", 0));
  int port = port_of(s);
  struct ip6_mtuinfo path;
  socklen_t length = sizeof path;
  show("no path", getsockopt(c, IPPROTO_IPV6, IPV6_PATHMTU, &path, &length));
  show("connect", connect6(c, "::1", port));
  length = sizeof path;
  show("path", getsockopt(c, IPPROTO_IPV6, IPV6_PATHMTU, &path, &length));
  say("length %d, the MTU that IPV6_MTU shows %d", (int)length, (int)path.ip6m_mtu == get_int(c, IPPROTO_IPV6, IPV6_MTU));
  length = sizeof path - 1;
  show("short", getsockopt(c, IPPROTO_IPV6, IPV6_PATHMTU, &path, &length));
  must("mtu", set_int(c, IPPROTO_IPV6, IPV6_MTU, 1300));
  say("the path's is shown still %d", (int)path.ip6m_mtu == get_int(c, IPPROTO_IPV6, IPV6_MTU));
  static char large[2000];
  show("in pieces", send(c, large, sizeof large, 0));
  char b[4000];
  show("whole", recv(s, b, sizeof b, 0));
  must("don't fragment", set_int(c, IPPROTO_IPV6, IPV6_DONTFRAG, 1));
  show("too large", send(c, large, sizeof large, 0));
  show("fits", send(c, large, 1300 - 48, 0));
  show("does not", send(c, large, 1301 - 48, 0));
  int other = made(SOCK_DGRAM);
  struct in6_pktinfo info = {.ipi6_addr = IN6ADDR_LOOPBACK_INIT, .ipi6_ifindex = 1};
  show("by lo", setsockopt(other, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info));
  show("short", setsockopt(other, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info - 1));
  show("to ::1", send6(other, "::1", port));
  info.ipi6_ifindex = 4711;
  show("by nothing", setsockopt(other, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info));
}

static void print_control(struct msghdr *m) {
  for (struct cmsghdr *k = CMSG_FIRSTHDR(m); k != NULL; k = CMSG_NXTHDR(m, k)) {
    say("level %d type %d length %d", k->cmsg_level, k->cmsg_type, (int)k->cmsg_len);
    if (k->cmsg_level == IPPROTO_IPV6 && k->cmsg_type == IPV6_PKTINFO) {
      struct in6_pktinfo info;
      memcpy(&info, CMSG_DATA(k), sizeof info);
      struct sockaddr_in6 a = {.sin6_addr = info.ipi6_addr};
      say("to %s, interface known %d", text_of(&a), info.ipi6_ifindex > 0);
    } else {
      int number;
      memcpy(&number, CMSG_DATA(k), sizeof number);
      say("number %d", number);
    }
  }
}
static void receive_control(int s) {
  char b[16], control[256];
  struct iovec v = {b, sizeof b};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  show("recvmsg", recvmsg(s, &m, 0));
  print_control(&m);
}
static long send_control(int fd, const char *address, int port, int level, int type, const void *data, size_t size) {
  struct sockaddr_in6 a = at(address, port);
  char control[CMSG_SPACE(64)] = {0};
  struct iovec v = {"x", 1};
  struct msghdr m = {.msg_name = &a, .msg_namelen = sizeof a, .msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
                     .msg_controllen = CMSG_SPACE(size)};
  struct cmsghdr *k = CMSG_FIRSTHDR(&m);
  *k = (struct cmsghdr){.cmsg_len = CMSG_LEN(size), .cmsg_level = level, .cmsg_type = type};
  memcpy(CMSG_DATA(k), data, size);
  return sendmsg(fd, &m, 0);
}

static void control_data(void) {
  int s = made(SOCK_DGRAM), c = made(SOCK_DGRAM);
  must("bind", (int)bind6(s, "::", 0));
  must("bind", (int)bind6(c, "::", 0));
  int port = port_of(s), number;
  must("pktinfo", set_int(s, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1));
  must("hop limit", set_int(s, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, 1));
  must("class", set_int(s, IPPROTO_IPV6, IPV6_RECVTCLASS, 1));
  must("hops", set_int(c, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 33));
  must("class", set_int(c, IPPROTO_IPV6, IPV6_TCLASS, 0x28));
  show("send", send6(c, "::1", port));
  receive_control(s);
  show("mapped", send6(c, "::ffff:127.0.0.1", port));
  receive_control(s);
  must("IPv4's", set_int(s, IPPROTO_IP, IP_RECVTTL, 1));
  must("IPv4's", set_int(c, IPPROTO_IP, IP_TTL, 44));
  show("mapped", send6(c, "::ffff:127.0.0.1", port));
  receive_control(s);
  number = 12;
  show("hop limit", send_control(c, "::1", port, IPPROTO_IPV6, IPV6_HOPLIMIT, &number, sizeof number));
  receive_control(s);
  number = 0x10;
  show("class", send_control(c, "::1", port, IPPROTO_IPV6, IPV6_TCLASS, &number, sizeof number));
  receive_control(s);
  number = -1;
  show("hop limit of the socket", send_control(c, "::1", port, IPPROTO_IPV6, IPV6_HOPLIMIT, &number, sizeof number));
  receive_control(s);
  number = 256;
  show("hop limit too large", send_control(c, "::1", port, IPPROTO_IPV6, IPV6_HOPLIMIT, &number, sizeof number));
  show("class too large", send_control(c, "::1", port, IPPROTO_IPV6, IPV6_TCLASS, &number, sizeof number));
  number = 2;
  show("don't fragment", send_control(c, "::1", port, IPPROTO_IPV6, IPV6_DONTFRAG, &number, sizeof number));
  show("unknown", send_control(c, "::1", port, IPPROTO_IPV6, 4711, &number, sizeof number));
  show("IPv4's to IPv6", send_control(c, "::1", port, IPPROTO_IP, IP_TTL, &number, sizeof number));
  receive_control(s);
  struct in6_pktinfo info = {.ipi6_addr = IN6ADDR_LOOPBACK_INIT, .ipi6_ifindex = 0};
  show("source", send_control(c, "::1", port, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info));
  receive_control(s);
  show("short", send_control(c, "::1", port, IPPROTO_IPV6, IPV6_PKTINFO, &info, 8));
}

static void large(void) {
  static char b[65536];
  int s = made(SOCK_DGRAM), c = made(SOCK_DGRAM), size = 1 << 20;
  must("bind", (int)bind6(s, "::", 0));
  must("room", set_int(s, SOL_SOCKET, SO_RCVBUF, size));
  must("room", set_int(c, SOL_SOCKET, SO_SNDBUF, size));
  struct sockaddr_in6 six = at("::1", port_of(s)), four = at("::ffff:127.0.0.1", port_of(s));
  show("largest of IPv6", sendto(c, b, 65527, 0, (struct sockaddr *)&six, sizeof six));
  show("recv", recv(s, b, sizeof b, 0));
  show("too large", sendto(c, b, 65528, 0, (struct sockaddr *)&six, sizeof six));
  show("largest of IPv4", sendto(c, b, 65507, 0, (struct sockaddr *)&four, sizeof four));
  show("recv", recv(s, b, sizeof b, 0));
  show("too large", sendto(c, b, 65508, 0, (struct sockaddr *)&four, sizeof four));
}

/* Both ends by their names, in the order of nothing but the calls. */
static void failed_connect_again(void) {
  int gone = made(SOCK_STREAM), fd = made(SOCK_STREAM);
  must("bind", (int)bind6(gone, "::1", 0));
  int port = port_of(gone);
  close(gone);
  must("only", set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1));
  must("class", set_int(fd, IPPROTO_IPV6, IPV6_TCLASS, 0x20));
  show("refused", connect6(fd, "::1", port));
  int l = made(SOCK_STREAM);
  must("bind", (int)bind6(l, "::1", port));
  must("listen", listen(l, 1));
  show("again", connect6(fd, "::1", port));
  say("only %d class %d", get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY), get_int(fd, IPPROTO_IPV6, IPV6_TCLASS));
}

static const struct test_case cases[] = {
    {"names", names},
    {"bad_addresses", bad_addresses},
    {"types_and_protocols", types_and_protocols},
    {"dual_stack", dual_stack},
    {"only_inet6", only_inet6},
    {"ports_of_two_families", ports_of_two_families},
    {"closest_takes_it", closest_takes_it},
    {"datagrams", datagrams},
    {"refused", refused},
    {"options", options},
    {"path_options", path_options},
    {"control_data", control_data},
    {"large", large},
    {"failed_connect_again", failed_connect_again},
};
MAIN(cases)
