// The names that scripts use for numbers: the host's own headers say the values.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "tests/script/syntax.hpp"

namespace iopkt::script {
namespace {

struct Name {
  std::string_view name;
  std::int64_t value;
};
#define IOPKT_NAME(n) Name{#n, static_cast<std::int64_t>(n)}

const std::vector<Name>& symbols() {
  static const std::vector<Name> names{
      IOPKT_NAME(AF_INET), IOPKT_NAME(AF_INET6), IOPKT_NAME(AF_UNSPEC), IOPKT_NAME(PF_INET), IOPKT_NAME(PF_INET6),
      IOPKT_NAME(SOCK_STREAM), IOPKT_NAME(SOCK_DGRAM), IOPKT_NAME(SOCK_RAW), IOPKT_NAME(SOCK_NONBLOCK), IOPKT_NAME(SOCK_CLOEXEC),
      IOPKT_NAME(IPPROTO_TCP), IOPKT_NAME(IPPROTO_UDP), IOPKT_NAME(IPPROTO_IP), IOPKT_NAME(IPPROTO_IPV6), IOPKT_NAME(IPPROTO_ICMP),
      IOPKT_NAME(IPPROTO_UDPLITE), IOPKT_NAME(INADDR_ANY),
      IOPKT_NAME(SOL_SOCKET), IOPKT_NAME(SOL_IP), IOPKT_NAME(SOL_TCP), Name{"SOL_UDP", 17}, Name{"SOL_IPV6", 41},
      IOPKT_NAME(SO_REUSEADDR), IOPKT_NAME(SO_REUSEPORT), IOPKT_NAME(SO_ERROR), IOPKT_NAME(SO_TYPE), IOPKT_NAME(SO_BROADCAST),
      IOPKT_NAME(SO_SNDBUF), IOPKT_NAME(SO_RCVBUF), IOPKT_NAME(SO_KEEPALIVE), IOPKT_NAME(SO_OOBINLINE), IOPKT_NAME(SO_LINGER),
      IOPKT_NAME(SO_RCVLOWAT), IOPKT_NAME(SO_ACCEPTCONN), IOPKT_NAME(SO_PROTOCOL), IOPKT_NAME(SO_DOMAIN), IOPKT_NAME(SO_NO_CHECK),
      IOPKT_NAME(SO_MAX_PACING_RATE), IOPKT_NAME(SO_DONTROUTE), IOPKT_NAME(SO_PRIORITY), IOPKT_NAME(SO_SNDLOWAT),
      IOPKT_NAME(IP_TOS), IOPKT_NAME(IP_TTL), IOPKT_NAME(IP_MTU_DISCOVER), IOPKT_NAME(IP_MTU), IOPKT_NAME(IP_RECVERR),
      IOPKT_NAME(IP_MINTTL), IOPKT_NAME(IP_RECVTTL), IOPKT_NAME(IP_RECVTOS), IOPKT_NAME(IP_PKTINFO), IOPKT_NAME(IP_FREEBIND),
      IOPKT_NAME(IP_PMTUDISC_DONT), IOPKT_NAME(IP_PMTUDISC_WANT), IOPKT_NAME(IP_PMTUDISC_DO), IOPKT_NAME(IP_PMTUDISC_PROBE),
      IOPKT_NAME(IPV6_RECVPKTINFO), IOPKT_NAME(IPV6_PKTINFO), IOPKT_NAME(IPV6_HOPLIMIT),
      IOPKT_NAME(SO_TIMESTAMP), IOPKT_NAME(SO_TIMESTAMPNS), IOPKT_NAME(SCM_TIMESTAMP), IOPKT_NAME(SCM_TIMESTAMPNS),
      IOPKT_NAME(IP_PMTUDISC_INTERFACE), IOPKT_NAME(IPV6_PMTUDISC_INTERFACE),
      IOPKT_NAME(IPV6_V6ONLY), IOPKT_NAME(IPV6_TCLASS), IOPKT_NAME(IPV6_MTU_DISCOVER), IOPKT_NAME(IPV6_MTU), IOPKT_NAME(IPV6_DONTFRAG),
      IOPKT_NAME(IPV6_RECVHOPLIMIT), IOPKT_NAME(IPV6_RECVTCLASS), Name{"IPV6_MINHOPCOUNT", 73}, Name{"IPPROTO_ICMPV6", 58},
      IOPKT_NAME(IPV6_PMTUDISC_DONT), IOPKT_NAME(IPV6_PMTUDISC_WANT), IOPKT_NAME(IPV6_PMTUDISC_DO), IOPKT_NAME(IPV6_PMTUDISC_PROBE), IOPKT_NAME(IPV6_UNICAST_HOPS), IOPKT_NAME(IPV6_RECVERR),
      IOPKT_NAME(TCP_NODELAY), IOPKT_NAME(TCP_MAXSEG), IOPKT_NAME(TCP_CORK), IOPKT_NAME(TCP_KEEPIDLE), IOPKT_NAME(TCP_KEEPINTVL),
      IOPKT_NAME(TCP_KEEPCNT), IOPKT_NAME(TCP_SYNCNT), IOPKT_NAME(TCP_LINGER2), IOPKT_NAME(TCP_DEFER_ACCEPT),
      IOPKT_NAME(TCP_WINDOW_CLAMP), IOPKT_NAME(TCP_INFO), IOPKT_NAME(TCP_QUICKACK), IOPKT_NAME(TCP_CONGESTION),
      IOPKT_NAME(TCP_USER_TIMEOUT), IOPKT_NAME(TCP_FASTOPEN), IOPKT_NAME(TCP_FASTOPEN_CONNECT), Name{"TCP_NOTSENT_LOWAT", 25},
      Name{"TCP_FASTOPEN_NO_COOKIE", 34}, IOPKT_NAME(TCP_FASTOPEN_KEY),
      IOPKT_NAME(UDP_SEGMENT), IOPKT_NAME(UDP_GRO), IOPKT_NAME(UDP_CORK),
      IOPKT_NAME(MSG_PEEK), IOPKT_NAME(MSG_DONTWAIT), IOPKT_NAME(MSG_OOB), IOPKT_NAME(MSG_MORE), IOPKT_NAME(MSG_WAITALL),
      IOPKT_NAME(MSG_TRUNC), IOPKT_NAME(MSG_NOSIGNAL), IOPKT_NAME(MSG_ERRQUEUE), IOPKT_NAME(MSG_FASTOPEN), IOPKT_NAME(MSG_EOR),
      IOPKT_NAME(MSG_ZEROCOPY), IOPKT_NAME(MSG_CTRUNC),
      IOPKT_NAME(SHUT_RD), IOPKT_NAME(SHUT_WR), IOPKT_NAME(SHUT_RDWR),
      IOPKT_NAME(F_GETFL), IOPKT_NAME(F_SETFL), IOPKT_NAME(O_NONBLOCK), IOPKT_NAME(O_RDWR), IOPKT_NAME(O_RDONLY),
      IOPKT_NAME(POLLIN), IOPKT_NAME(POLLOUT), IOPKT_NAME(POLLERR), IOPKT_NAME(POLLHUP), IOPKT_NAME(POLLPRI), Name{"POLLRDHUP", 0x2000},
      IOPKT_NAME(EPOLL_CTL_ADD), IOPKT_NAME(EPOLL_CTL_MOD), IOPKT_NAME(EPOLL_CTL_DEL),
      IOPKT_NAME(EPOLLIN), IOPKT_NAME(EPOLLOUT), IOPKT_NAME(EPOLLPRI), IOPKT_NAME(EPOLLERR), IOPKT_NAME(EPOLLHUP), IOPKT_NAME(EPOLLRDHUP),
      IOPKT_NAME(EPOLLET), IOPKT_NAME(EPOLLONESHOT), IOPKT_NAME(EPOLLEXCLUSIVE),
      IOPKT_NAME(SPLICE_F_MOVE), IOPKT_NAME(SPLICE_F_NONBLOCK), IOPKT_NAME(SPLICE_F_MORE),
      IOPKT_NAME(FIONREAD), IOPKT_NAME(SIOCINQ), IOPKT_NAME(SIOCOUTQ), IOPKT_NAME(SIOCATMARK), IOPKT_NAME(FIONBIO),
      IOPKT_NAME(TCP_ESTABLISHED), IOPKT_NAME(TCP_SYN_SENT), IOPKT_NAME(TCP_SYN_RECV), IOPKT_NAME(TCP_FIN_WAIT1),
      IOPKT_NAME(TCP_FIN_WAIT2), IOPKT_NAME(TCP_TIME_WAIT), IOPKT_NAME(TCP_CLOSE), IOPKT_NAME(TCP_CLOSE_WAIT),
      IOPKT_NAME(TCP_LAST_ACK), IOPKT_NAME(TCP_LISTEN), IOPKT_NAME(TCP_CLOSING),
      IOPKT_NAME(TCP_CA_Open), IOPKT_NAME(TCP_CA_Disorder), IOPKT_NAME(TCP_CA_CWR), IOPKT_NAME(TCP_CA_Recovery), IOPKT_NAME(TCP_CA_Loss),
      Name{"TCPI_OPT_TIMESTAMPS", 1}, Name{"TCPI_OPT_SACK", 2}, Name{"TCPI_OPT_WSCALE", 4}, Name{"TCPI_OPT_ECN", 8}, Name{"TCPI_OPT_SYN_DATA", 32},
      Name{"NULL", 0},
  };
  return names;
}

const std::vector<Name>& errors() {
  static const std::vector<Name> names{
      IOPKT_NAME(EPERM), IOPKT_NAME(ENOENT), IOPKT_NAME(EBADF), IOPKT_NAME(EAGAIN), IOPKT_NAME(ENOMEM), IOPKT_NAME(EACCES),
      IOPKT_NAME(EFAULT), IOPKT_NAME(EEXIST), IOPKT_NAME(ENODEV), IOPKT_NAME(EINVAL), IOPKT_NAME(ENFILE), IOPKT_NAME(EPIPE),
      IOPKT_NAME(EDOM), IOPKT_NAME(ENOTSOCK), IOPKT_NAME(EDESTADDRREQ), IOPKT_NAME(EMSGSIZE), IOPKT_NAME(EPROTOTYPE),
      IOPKT_NAME(ENOPROTOOPT), IOPKT_NAME(EPROTONOSUPPORT), IOPKT_NAME(ESOCKTNOSUPPORT), IOPKT_NAME(EOPNOTSUPP),
      IOPKT_NAME(EAFNOSUPPORT), IOPKT_NAME(EADDRINUSE), IOPKT_NAME(EADDRNOTAVAIL), IOPKT_NAME(ENETDOWN), IOPKT_NAME(ENETUNREACH),
      IOPKT_NAME(ECONNABORTED), IOPKT_NAME(ECONNRESET), IOPKT_NAME(ENOBUFS), IOPKT_NAME(EISCONN), IOPKT_NAME(ENOTCONN),
      IOPKT_NAME(ETIMEDOUT), IOPKT_NAME(ECONNREFUSED), IOPKT_NAME(EHOSTUNREACH), IOPKT_NAME(EALREADY), IOPKT_NAME(EINPROGRESS),
      IOPKT_NAME(ESRCH), IOPKT_NAME(ENXIO), IOPKT_NAME(EPROTO), IOPKT_NAME(ELOOP), IOPKT_NAME(ESPIPE), IOPKT_NAME(ENOSYS), Name{"EWOULDBLOCK", EWOULDBLOCK},
  };
  return names;
}
#undef IOPKT_NAME

}  // namespace

std::optional<std::int64_t> symbol(std::string_view name) {
  const auto found = std::ranges::find(symbols(), name, &Name::name);
  return found == symbols().end() ? std::nullopt : std::optional{found->value};
}

std::optional<int> errno_of(std::string_view name) {
  const auto found = std::ranges::find(errors(), name, &Name::name);
  return found == errors().end() ? std::nullopt : std::optional{static_cast<int>(found->value)};
}

std::string errno_name(int number) {
  const auto found = std::ranges::find(errors(), std::int64_t{number}, &Name::value);
  return found == errors().end() ? "errno " + std::to_string(number) : std::string(found->name);
}

const std::vector<IcmpName>& icmp_names() {
  static const std::vector<IcmpName> names{
      {"unreachable", "net", 3, 0},       {"unreachable", "host", 3, 1},        {"unreachable", "protocol", 3, 2},
      {"unreachable", "port", 3, 3},      {"unreachable", "frag_needed", 3, 4}, {"unreachable", "source_route_failed", 3, 5},
      {"unreachable", "net_unknown", 3, 6}, {"unreachable", "host_unknown", 3, 7}, {"unreachable", "net_prohibited", 3, 9},
      {"unreachable", "host_prohibited", 3, 10}, {"unreachable", "admin_prohibited", 3, 13},
      {"source_quench", "", 4, 0},        {"redirect", "host", 5, 1},           {"time_exceeded", "ttl", 11, 0},
      {"time_exceeded", "reassembly", 11, 1}, {"parameter_problem", "", 12, 0},
      {"echo_request", "", 8, 0},         {"echo_reply", "", 0, 0},             {"timestamp", "", 13, 0},
      {"timestamp_reply", "", 14, 0},
      {"unreachable", "no_route", 1, 0, true}, {"unreachable", "admin_prohibited", 1, 1, true},
      {"unreachable", "beyond_scope", 1, 2, true}, {"unreachable", "address", 1, 3, true}, {"unreachable", "port", 1, 4, true},
      {"unreachable", "failed_policy", 1, 5, true}, {"unreachable", "reject_route", 1, 6, true},
      {"packet_too_big", "", 2, 0, true},
      {"time_exceeded", "hop_limit", 3, 0, true}, {"time_exceeded", "reassembly", 3, 1, true},
      {"parameter_problem", "field", 4, 0, true}, {"parameter_problem", "next_header", 4, 1, true},
      {"parameter_problem", "option", 4, 2, true},
      {"echo_request", "", 128, 0, true}, {"echo_reply", "", 129, 0, true},
  };
  return names;
}

}  // namespace iopkt::script
