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

/* A header of `words` times 8 bytes more than the first 8, with one option that nobody knows and everybody skips. */
static size_t option_header(unsigned char *out, int words) {
  size_t size = 8 * (size_t)(words + 1);
  memset(out, 0, size);
  out[1] = (unsigned char)words;
  out[2] = 0x1e;
  out[3] = (unsigned char)(size - 4);
  return size;
}
/* Datagrams that come, with all that was asked for; nothing but what the sender put in is printed. */
static void receive_headers(int fd) {
  char b[16], control[1024];
  struct iovec v = {b, sizeof b};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  if (!await(fd, POLLIN)) {
    say("nothing");
    return;
  }
  show("recvmsg", recvmsg(fd, &m, 0));
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
    const unsigned char *d = CMSG_DATA(c);
    size_t n = c->cmsg_len - CMSG_LEN(0);
    printf("level %d type %d length %zu:", c->cmsg_level, c->cmsg_type, n);
    for (size_t i = 0; i < n && i < 24; ++i) printf(" %02x", d[i]);
    putchar('\n');
  }
}
static int extension_receiver(int old) {
  static const int now[] = {IPV6_RECVHOPOPTS, IPV6_RECVDSTOPTS, IPV6_RECVRTHDR}, before[] = {IPV6_2292HOPOPTS, IPV6_2292DSTOPTS, IPV6_2292RTHDR};
  int s = made(SOCK_DGRAM);
  must("bind", (int)bind6(s, "::1", 0));
  for (int i = 0; i < 3; ++i) {
    show("on", set_int(s, IPPROTO_IPV6, now[i], 7));
    say("is %d", get_int(s, IPPROTO_IPV6, now[i]));
    if (old) must("old", set_int(s, IPPROTO_IPV6, before[i], 1));
  }
  return s;
}

static void sticky_extensions(void) {
  unsigned char h[2048], back[64];
  int s = extension_receiver(1), c = made(SOCK_DGRAM), port = port_of(s);
  static const int kinds[] = {IPV6_HOPOPTS, IPV6_RTHDRDSTOPTS, IPV6_DSTOPTS};
  for (int i = 0; i < 3; ++i) {
    socklen_t n = sizeof back;
    show("none", getsockopt(c, IPPROTO_IPV6, kinds[i], back, &n));
    say("length %d", (int)n);
    show("set", setsockopt(c, IPPROTO_IPV6, kinds[i], h, (socklen_t)option_header(h, i)));
    n = sizeof back;
    show("get", getsockopt(c, IPPROTO_IPV6, kinds[i], back, &n));
    say("length %d, %d %d %d %d", (int)n, back[0], back[1], back[2], back[3]);
    n = 3;
    show("little room", getsockopt(c, IPPROTO_IPV6, kinds[i], back, &n));
    say("length %d", (int)n);
  }
  show("send", send6(c, "::1", port));
  receive_headers(s);
  option_header(h, 1);
  show("odd length", setsockopt(c, IPPROTO_IPV6, IPV6_HOPOPTS, h, 15));
  show("says more than there is", setsockopt(c, IPPROTO_IPV6, IPV6_HOPOPTS, h, 8));
  show("two bytes", setsockopt(c, IPPROTO_IPV6, IPV6_HOPOPTS, h, 2));
  show("too long", setsockopt(c, IPPROTO_IPV6, IPV6_HOPOPTS, h, 2048));
  show("more room than header", setsockopt(c, IPPROTO_IPV6, IPV6_HOPOPTS, h, 24));
  show("no more of it", setsockopt(c, IPPROTO_IPV6, IPV6_HOPOPTS, NULL, 0));
  show("send", send6(c, "::1", port));
  receive_headers(s);
  show("to IPv4", send6(c, "::ffff:127.0.0.1", port));
  show("no more of it", setsockopt(c, IPPROTO_IPV6, IPV6_DSTOPTS, h, 0));
  show("send", send6(c, "::1", port));
  receive_headers(s);
}

static void routing_headers(void) {
  int fds[] = {made(SOCK_DGRAM), made(SOCK_STREAM)};
  static const struct {
    const char *what;
    unsigned char words, type, left, last;
  } rows[] = {{"type 0", 2, 0, 1, 0},          {"type 2", 2, 2, 1, 0},          {"type 3", 4, 3, 1, 1},
              {"too many left", 4, 4, 2, 1},   {"more than there are", 4, 4, 0, 2}, {"type 4", 4, 4, 1, 1}};
  for (int i = 0; i < 2; ++i)
    for (size_t r = 0; r < sizeof rows / sizeof *rows; ++r) {
      unsigned char h[40] = {0, rows[r].words, rows[r].type, rows[r].left, rows[r].last};
      h[23] = h[39] = 1;
      show(rows[r].what, setsockopt(fds[i], IPPROTO_IPV6, IPV6_RTHDR, h, (socklen_t)(8 + 8 * rows[r].words)));
    }
  unsigned char h[24] = {0, 2, 0, 1};
  int s = extension_receiver(0);
  show("as control data", send_control(made(SOCK_DGRAM), "::1", port_of(s), IPPROTO_IPV6, IPV6_RTHDR, h, sizeof h));
  h[2] = 2;
  show("as control data", send_control(made(SOCK_DGRAM), "::1", port_of(s), IPPROTO_IPV6, IPV6_RTHDR, h, sizeof h));
}

static void extensions_of_one_datagram(void) {
  unsigned char h[64];
  int s = extension_receiver(0), c = made(SOCK_DGRAM), port = port_of(s);
  static const int kinds[] = {IPV6_HOPOPTS, IPV6_DSTOPTS, IPV6_RTHDRDSTOPTS, IPV6_2292HOPOPTS, IPV6_2292DSTOPTS};
  for (size_t i = 0; i < sizeof kinds / sizeof *kinds; ++i) {
    show("send", send_control(c, "::1", port, IPPROTO_IPV6, kinds[i], h, option_header(h, 1)));
    receive_headers(s);
    show("says more than there is", send_control(c, "::1", port, IPPROTO_IPV6, kinds[i], h, 8));
    show("one byte", send_control(c, "::1", port, IPPROTO_IPV6, kinds[i], h, 1));
  }
  /* One that is given with a datagram takes the place of all that the socket has. */
  must("sticky", setsockopt(c, IPPROTO_IPV6, IPV6_HOPOPTS, h, (socklen_t)option_header(h, 0)));
  show("send", send6(c, "::1", port));
  receive_headers(s);
  show("send", send_control(c, "::1", port, IPPROTO_IPV6, IPV6_DSTOPTS, h, option_header(h, 0)));
  receive_headers(s);
}

/* Only CAP_NET_RAW lets a program add options. */
static void extensions_of_nobody(void) {
  unsigned char h[64];
  int s = extension_receiver(0), port = port_of(s), c = made(SOCK_DGRAM);
  size_t n = option_header(h, 0);
  must("setuid", setuid(65534));
  show("hop-by-hop", setsockopt(c, IPPROTO_IPV6, IPV6_HOPOPTS, h, (socklen_t)n));
  show("destination", setsockopt(c, IPPROTO_IPV6, IPV6_DSTOPTS, h, (socklen_t)n));
  show("nothing", setsockopt(c, IPPROTO_IPV6, IPV6_DSTOPTS, h, 0));
  show("control data", send_control(c, "::1", port, IPPROTO_IPV6, IPV6_HOPOPTS, h, n));
  unsigned char segments[40] = {0, 4, 4, 1, 1};
  show("routing", setsockopt(c, IPPROTO_IPV6, IPV6_RTHDR, segments, sizeof segments));
}

static void streams_with_extensions(void) {
  unsigned char h[256];
  static char data[300000];
  int l = made(SOCK_STREAM), c = made(SOCK_STREAM);
  must("bind", (int)bind6(l, "::1", 0));
  must("listen", listen(l, 1));
  show("destination", setsockopt(c, IPPROTO_IPV6, IPV6_DSTOPTS, h, (socklen_t)option_header(h, 20)));
  show("hop-by-hop", setsockopt(l, IPPROTO_IPV6, IPV6_HOPOPTS, h, (socklen_t)option_header(h, 3)));
  show("connect", connect6(c, "::1", port_of(l)));
  int a = show_fd("accept", accept(l, NULL, NULL));
  pid_t child = fork();
  if (child == 0) {
    for (size_t done = 0; done < sizeof data;) done += (size_t)must("write", (int)write(c, data, sizeof data - done));
    _exit(0);
  }
  close(c);
  size_t got = 0;
  for (ssize_t n; (n = read(a, data, sizeof data)) > 0;) got += (size_t)n;
  say("read %zu", got);
  waitpid(child, NULL, 0);
}

struct flow_label_request {
  struct in6_addr destination;
  unsigned label;
  unsigned char action, share;
  unsigned short flags, expires, linger;
  unsigned padding;
};
static long flow_label(const char *what, int fd, unsigned label, int action, int share, int flags) {
  struct flow_label_request r = {.destination = IN6ADDR_LOOPBACK_INIT, .label = htonl(label), .action = (unsigned char)action,
                                 .share = (unsigned char)share, .flags = (unsigned short)flags};
  long result = show(what, setsockopt(fd, IPPROTO_IPV6, 32, &r, sizeof r));
  if (result == 0 && label == 0) {
    unsigned given = ntohl(r.label);
    say("a label was chosen: %d", given > 0 && given <= 0xfffff);
    return (long)given;
  }
  return label;
}
static long send_flow(int fd, int port, unsigned info) {
  struct sockaddr_in6 a = at("::1", port);
  a.sin6_flowinfo = htonl(info);
  return sendto(fd, "x", 1, 0, (struct sockaddr *)&a, sizeof a);
}

static void flow_labels(void) {
  enum { GET, PUT, RENEW, EXCLUSIVE = 1, PROCESS, USER, ANY = 255, CREATE = 1, NEW = 2, REFLECT = 4 };
  int s = made(SOCK_DGRAM), c = made(SOCK_DGRAM), other = made(SOCK_DGRAM), stream = made(SOCK_STREAM);
  must("bind", (int)bind6(s, "::1", 0));
  show("received", set_int(s, IPPROTO_IPV6, 11, 1));
  say("is %d", get_int(s, IPPROTO_IPV6, 11));
  int port = port_of(s);
  must("quiet", set_int(c, IPPROTO_IPV6, IPV6_AUTOFLOWLABEL, 0));
  show("without the option", send_flow(c, port, 0x12345));
  receive_headers(s);
  show("with it", set_int(c, IPPROTO_IPV6, 33, 1));
  show("send", send_flow(c, port, 0x12345));
  receive_headers(s);
  must("class", set_int(c, IPPROTO_IPV6, IPV6_TCLASS, 0x28));
  show("send", send_flow(c, port, 0));
  receive_headers(s);
  unsigned info = htonl(0x777);
  show("control data", send_control(c, "::1", port, IPPROTO_IPV6, 11, &info, sizeof info));
  receive_headers(s);
  show("short", send_control(c, "::1", port, IPPROTO_IPV6, 11, &info, 2));
  flow_label("none such", c, 0x54321, GET, ANY, 0);
  flow_label("bad share", c, 0x54321, GET, 7, CREATE);
  flow_label("bad label", c, 0x1000000, GET, ANY, CREATE);
  flow_label("bad action", c, 0x54321, 9, ANY, CREATE);
  flow_label("reflect", stream, 0, GET, ANY, REFLECT);
  flow_label("any", c, 0x54321, GET, ANY, CREATE);
  flow_label("any again", other, 0x54321, GET, ANY, CREATE);
  flow_label("must be new", other, 0x54321, GET, ANY, CREATE | NEW);
  flow_label("another share", other, 0x54321, GET, USER, CREATE);
  unsigned mine = (unsigned)flow_label("exclusive", c, 0, GET, EXCLUSIVE, CREATE);
  flow_label("another's", other, mine, GET, EXCLUSIVE, CREATE);
  show("send", send_flow(c, port, mine));
  must("option", set_int(other, IPPROTO_IPV6, 33, 1));
  show("another's", send_flow(other, port, mine));
  show("nobody's", send_flow(other, port, 0x11111));
  flow_label("renew", c, mine, RENEW, EXCLUSIVE, 0);
  flow_label("renew another's", other, mine, RENEW, EXCLUSIVE, 0);
  flow_label("put", c, mine, PUT, EXCLUSIVE, 0);
  flow_label("put again", c, mine, PUT, EXCLUSIVE, 0);
  struct flow_label_request r = {.action = GET};
  socklen_t n = sizeof r;
  show("not connected", getsockopt(c, IPPROTO_IPV6, 32, &r, &n));
  n = 31;
  show("short", getsockopt(c, IPPROTO_IPV6, 32, &r, &n));
  show("short", setsockopt(c, IPPROTO_IPV6, 32, &r, 31));
  struct sockaddr_in6 a = at("::1", port);
  a.sin6_flowinfo = htonl(0x54321);
  show("connect", connect(c, (struct sockaddr *)&a, sizeof a));
  n = sizeof r;
  show("connected", getsockopt(c, IPPROTO_IPV6, 32, &r, &n));
  say("label %x share %d", ntohl(r.label), r.share);
  show("IPv4", setsockopt(socket(AF_INET, SOCK_DGRAM, 0), IPPROTO_IPV6, 32, &r, sizeof r));
}

/* RFC 3542 section 11.3: what was too long is told in band. */
static void path_mtu_notices(void) {
  static char b[65536];
  int fd = made(SOCK_DGRAM), n = 3000;
  show("on", set_int(fd, IPPROTO_IPV6, IPV6_RECVPATHMTU, 1));
  say("is %d", get_int(fd, IPPROTO_IPV6, IPV6_RECVPATHMTU));
  must("limit", set_int(fd, IPPROTO_IPV6, IPV6_MTU, n));
  for (int dont = 0; dont < 2; ++dont) {
    must("don't fragment", set_int(fd, IPPROTO_IPV6, IPV6_DONTFRAG, dont));
    struct sockaddr_in6 a = at("::1", 9), from = {.sin6_family = AF_UNSPEC};
    show("send", sendto(fd, b, 4000, 0, (struct sockaddr *)&a, sizeof a));
    char control[256];
    struct iovec v = {b, sizeof b};
    struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = sizeof control};
    show("recvmsg", recvmsg(fd, &m, MSG_DONTWAIT));
    if (!dont) continue;
    say("flags %x from %s port %d", m.msg_flags, text_of(&from), ntohs(from.sin6_port));
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
      struct ip6_mtuinfo info;
      memcpy(&info, CMSG_DATA(c), sizeof info);
      say("level %d type %d length %zu mtu %u to %s", c->cmsg_level, c->cmsg_type, c->cmsg_len - CMSG_LEN(0), info.ip6m_mtu, text_of(&info.ip6m_addr));
    }
  }
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
  must("errors", set_int(fd, IPPROTO_IPV6, IPV6_RECVERR, 1));
  unsigned char header[16], back[64];
  must("header", setsockopt(fd, IPPROTO_IPV6, IPV6_DSTOPTS, header, (socklen_t)option_header(header, 1)));
  show("refused", connect6(fd, "::1", port));
  int l = made(SOCK_STREAM);
  must("bind", (int)bind6(l, "::1", port));
  must("listen", listen(l, 1));
  show("again", connect6(fd, "::1", port));
  say("only %d class %d", get_int(fd, IPPROTO_IPV6, IPV6_V6ONLY), get_int(fd, IPPROTO_IPV6, IPV6_TCLASS));
  socklen_t n = sizeof back;
  show("header", getsockopt(fd, IPPROTO_IPV6, IPV6_DSTOPTS, back, &n));
  say("length %d", (int)n);
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
    {"sticky_extensions", sticky_extensions},
    {"routing_headers", routing_headers},
    {"extensions_of_one_datagram", extensions_of_one_datagram},
    {"extensions_of_nobody", extensions_of_nobody},
    {"streams_with_extensions", streams_with_extensions},
    {"flow_labels", flow_labels},
    {"path_mtu_notices", path_mtu_notices},
    {"large", large},
    {"failed_connect_again", failed_connect_again},
};
MAIN(cases)
