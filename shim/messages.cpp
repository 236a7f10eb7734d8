// Names and control data.
#include "shim/messages.hpp"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include <linux/errqueue.h>

#include <algorithm>
#include <bit>
#include <span>
#include <utility>

#include "shim/addresses.hpp"
#include "shim/data.hpp"
#include "shim/destinations.hpp"
#include "shim/options.hpp"
#include "shim/sockets.hpp"

namespace iopkt::shim {

namespace {

using Header = ipc::RecordHeader;

/// RFC 768 with 791 and 8200: 65535 bytes less the headers that count (not that of IPv6).
constexpr ssize_t kUdpPayloadMax = 65507, kUdpPayloadMax6 = 65527;

constexpr ssize_t kIpv6HeaderLen = 40;

ssize_t fail(int error) {
  errno = error;
  return -1;
}

/// Appends control messages to a program's buffer, as put_cmsg() does: what does not fit sets MSG_CTRUNC.
class ControlWriter {
 public:
  explicit ControlWriter(msghdr& message)
      : message_(message),
        at_(static_cast<char*>(message.msg_control)),
        left_(at_ != nullptr ? message.msg_controllen : 0) {}
  ~ControlWriter() { message_.msg_controllen = used_; }
  ControlWriter(const ControlWriter&) = delete;
  ControlWriter& operator=(const ControlWriter&) = delete;

  template <class Value>
  void put(int level, int type, const Value& value) {
    put(level, type, &value, sizeof value);
  }
  void put(int level, int type, const void* value, std::size_t size) {
    if (left_ < sizeof(cmsghdr)) {
      message_.msg_flags |= MSG_CTRUNC;
      return;
    }
    std::size_t length = CMSG_LEN(size);
    if (left_ < length) {
      message_.msg_flags |= MSG_CTRUNC;
      length = left_;
    }
    cmsghdr head{};
    head.cmsg_len = length;
    head.cmsg_level = level;
    head.cmsg_type = type;
    memcpy(at_, &head, sizeof head);
    memcpy(at_ + CMSG_LEN(0), value, length - CMSG_LEN(0));
    const std::size_t space = std::min<std::size_t>(left_, CMSG_SPACE(size));
    at_ += space;
    left_ -= space;
    used_ += space;
  }

 private:
  msghdr& message_;
  char* at_;
  std::size_t left_;
  std::size_t used_ = 0;
};

/// Extension headers, each by itself and in their order (RFC 3542 sections 7 to 9).
void put_extensions(ControlWriter& out, std::uint8_t first, std::span<const std::byte> headers, std::uint64_t wishes) {
  struct Row {
    std::uint8_t kind;
    std::uint64_t wish, old_wish;
    int type, old_type;
  };
  static constexpr Row kRows[] = {
      {IPPROTO_HOPOPTS, Wish::hop_options, Wish::old_hop_options, IPV6_HOPOPTS, IPV6_2292HOPOPTS},
      {IPPROTO_DSTOPTS, Wish::destination_options, Wish::old_destination_options, IPV6_DSTOPTS, IPV6_2292DSTOPTS},
      {IPPROTO_ROUTING, Wish::routing, Wish::old_routing, IPV6_RTHDR, IPV6_2292RTHDR}};
  for (const bool old : {false, true}) {
    std::uint8_t kind = first;
    for (std::size_t at = 0; at + 8 <= headers.size();) {
      const std::uint8_t words = static_cast<std::uint8_t>(headers[at + 1]);
      const std::size_t size = kind == IPPROTO_FRAGMENT ? 8 : (words + std::size_t{1}) * 8;
      if (size > headers.size() - at) return;
      for (const Row& row : kRows)
        if (row.kind == kind && (wishes & (old ? row.old_wish : row.wish)) != 0)
          out.put(IPPROTO_IPV6, old ? row.old_type : row.type, &headers[at], size);
      kind = static_cast<std::uint8_t>(headers[at]);
      at += size;
    }
  }
}

/// What a datagram of IPv6 alone has (RFC 3542 sections 6 and 7).
void put_control6(ControlWriter& out, const Socket& s, const Header& h, std::uint64_t hints, std::span<const std::byte> control) {
  const std::uint64_t wishes = client_word(s, ClientWord::wishes).load(std::memory_order_relaxed);
  if ((h.flags & Header::has_ttl) != 0 && (hints & Hint::want_hop_limit) != 0)
    out.put(IPPROTO_IPV6, IPV6_HOPLIMIT, static_cast<int>(h.ttl));
  if ((h.flags & Header::has_tos) != 0 && (hints & Hint::want_class) != 0)
    out.put(IPPROTO_IPV6, IPV6_TCLASS, static_cast<int>(h.tos));
  if ((h.flags & Header::has_flow_info) != 0 && (wishes & Wish::flow_info) != 0) out.put(IPPROTO_IPV6, kFlowInfo, htonl(h.info));
  if ((h.flags & Header::has_pktinfo) != 0 && (wishes & Wish::old_packet_info) != 0)
    out.put(IPPROTO_IPV6, IPV6_2292PKTINFO, in6_pktinfo{.ipi6_addr = in6_of(h.local).sin6_addr, .ipi6_ifindex = h.ifindex});
  if ((h.flags & Header::has_ttl) != 0 && (wishes & Wish::old_hop_limit) != 0)
    out.put(IPPROTO_IPV6, IPV6_2292HOPLIMIT, static_cast<int>(h.ttl));
  int type = 0;
  std::span<const std::byte> value;
  while (wishes != 0 && ipc::next_control(control, type, value))
    put_extensions(out, static_cast<std::uint8_t>(type - ipc::ControlItem::extension_headers), value, wishes);
  if ((h.flags & Header::has_pktinfo) != 0 && (hints & Hint::want_origdst6) != 0) {
    sockaddr_in6 to = in6_of(h.local);
    to.sin6_port = htons(ipc::read_names(*s.slot).local.port);
    out.put(IPPROTO_IPV6, IPV6_ORIGDSTADDR, to);
  }
  if (h.gso_size != 0 && (hints & Hint::want_gro) != 0)
    out.put(IPPROTO_UDP, UDP_GRO, static_cast<int>(h.gso_size));
}

void put_options(ControlWriter& out, std::span<const std::byte> control, std::uint64_t hints) {
  int type = 0;
  std::span<const std::byte> value;
  while (ipc::next_control(control, type, value)) {
    const std::uint64_t wanted = type == IP_RECVOPTS ? Hint::want_options : type == IP_RETOPTS ? Hint::want_return_options : 0;
    if ((hints & wanted) != 0) out.put(IPPROTO_IP, type, value.data(), value.size());
  }
}

/// `control`: its ControlItems.
void put_control(ControlWriter& out, const Socket& s, const Header& h, std::span<const std::byte> control) {
  const std::uint64_t hints = client_word(s, ClientWord::hints).load(std::memory_order_relaxed);
  if ((hints & (Hint::timestamp | Hint::timestampns)) != 0) {
    timespec ts{.tv_sec = h.timestamp_ns / 1'000'000'000, .tv_nsec = h.timestamp_ns % 1'000'000'000};
    // What no device has stamped gets the time of its reading, as on the host.
    if ((h.flags & Header::has_timestamp) == 0) clock_gettime(CLOCK_REALTIME, &ts);
    if ((hints & Hint::timestampns) != 0) {
      out.put(SOL_SOCKET, SCM_TIMESTAMPNS, ts);
    } else if ((hints & Hint::timestamp) != 0) {
      out.put(SOL_SOCKET, SCM_TIMESTAMP, timeval{.tv_sec = ts.tv_sec, .tv_usec = ts.tv_nsec / 1000});
    }
  }
  if (h.lost != 0 && (hints & Hint::want_ovfl) != 0) out.put(SOL_SOCKET, SO_RXQ_OVFL, h.lost);
  // The stack writes down all that it knows: what the program wants is a matter of the moment in which it
  // reads.
  if ((h.flags & Header::has_pktinfo) != 0 && (hints & Hint::want_pktinfo6) != 0)
    out.put(IPPROTO_IPV6, IPV6_PKTINFO, in6_pktinfo{.ipi6_addr = in6_of(h.local).sin6_addr, .ipi6_ifindex = h.ifindex});
  if (h.local.family == AF_INET6) return put_control6(out, s, h, hints, control);
  if ((h.flags & Header::has_pktinfo) != 0 && (hints & Hint::want_pktinfo) != 0) {
    in_pktinfo info{};
    info.ipi_ifindex = static_cast<int>(h.ifindex);
    info.ipi_addr = in_of(h.local).sin_addr;
    info.ipi_spec_dst = info.ipi_addr;
    out.put(IPPROTO_IP, IP_PKTINFO, info);
  }
  if ((h.flags & Header::has_ttl) != 0 && (hints & Hint::want_ttl) != 0)
    out.put(IPPROTO_IP, IP_TTL, static_cast<int>(h.ttl));
  if ((h.flags & Header::has_tos) != 0 && (hints & Hint::want_tos) != 0) out.put(IPPROTO_IP, IP_TOS, h.tos);
  put_options(out, control, hints);
  if ((h.flags & Header::has_pktinfo) != 0 && (hints & Hint::want_origdst) != 0) {
    sockaddr_in to = in_of(h.local);
    to.sin_port = htons(ipc::read_names(*s.slot).local.port);  // the socket's own: nothing else came to it
    out.put(IPPROTO_IP, IP_ORIGDSTADDR, to);
  }
  if (h.gso_size != 0 && (hints & Hint::want_gro) != 0)
    out.put(IPPROTO_UDP, UDP_GRO, static_cast<int>(h.gso_size));
}

/// 0 or an errno.
int take_pktinfo(const unsigned char* data, std::size_t size, Header& h) {
  in_pktinfo info;
  if (size < sizeof info) return EINVAL;
  memcpy(&info, data, sizeof info);
  h.flags |= Header::has_pktinfo;
  h.ifindex = static_cast<std::uint32_t>(info.ipi_ifindex);
  h.local.family = info.ipi_spec_dst.s_addr != 0 ? AF_INET : 0;
  memcpy(h.local.addr, &info.ipi_spec_dst, sizeof info.ipi_spec_dst);
  return 0;
}

int take_pktinfo6(const unsigned char* data, std::size_t size, Header& h) {
  in6_pktinfo info;
  if (size < sizeof info) return EINVAL;
  memcpy(&info, data, sizeof info);
  sockaddr_in6 source{};
  source.sin6_addr = info.ipi6_addr;
  source.sin6_scope_id = info.ipi6_ifindex;
  h.flags |= Header::has_pktinfo;
  h.ifindex = info.ipi6_ifindex;
  h.local = endpoint_of(reinterpret_cast<const sockaddr*>(&source), sizeof source);
  if (IN6_IS_ADDR_UNSPECIFIED(&info.ipi6_addr)) h.local.family = 0;
  return 0;
}

/// A number least..255; IPV6_*: -1 leaves it as it is. 0 or an errno.
int take_octet(const unsigned char* data, std::size_t size, int least, std::uint32_t flag, std::uint8_t& octet, Header& h) {
  int number = 0;
  if ((size != 1 || least < 0) && size < sizeof number) return EINVAL;
  memcpy(&number, data, std::min(size, sizeof number));
  if (number < least || number > 255) return EINVAL;
  if (number < 0) return 0;
  h.flags |= flag;
  octet = static_cast<std::uint8_t>(number);
  return 0;
}

/// What a program sends with one datagram and has a length of its own, as its control data say it.
struct SentControl {
  std::span<const unsigned char> hop_by_hop, destination;
  bool extended = false;  ///< only CAP_NET_RAW may send that: extension headers, even those that are left out, or a source route
  std::size_t used = 0;
  ipc::ControlBytes bytes;  ///< ControlItems, the first `used` bytes
};

/// In IPv4 options (RFC 791 section 3.1), as far as they can be read.
bool has_source_route(std::span<const unsigned char> options) {
  constexpr unsigned char kEnd = 0, kNoOperation = 1, kLoose = 131, kStrict = 137;
  for (std::size_t at = 0; at < options.size() && options[at] != kEnd;) {
    if (options[at] == kLoose || options[at] == kStrict) return true;
    if (options[at] != kNoOperation && (at + 1 == options.size() || options[at + 1] < 2)) return false;
    at += options[at] == kNoOperation ? 1 : options[at + 1];
  }
  return false;
}

/// As on the host, 40 bytes of what is longer. The stack judges them with the datagram.
int take_options(const unsigned char* data, std::size_t size, SentControl& out) {
  out.used = 0;  // the last of several counts
  out.extended |= has_source_route({data, std::min<std::size_t>(size, 40)});
  const std::span<const std::byte> value{reinterpret_cast<const std::byte*>(data), std::min<std::size_t>(size, 40)};
  return ipc::put_control(out.bytes, out.used, IP_RETOPTS, value) ? 0 : EINVAL;
}

int take_control4(int type, const unsigned char* data, std::size_t size, Header& h, SentControl& control) {
  switch (type) {
    case IP_RETOPTS: return take_options(data, size, control);
    case IP_PKTINFO: return take_pktinfo(data, size, h);
    case IP_TTL: return take_octet(data, size, 1, Header::has_ttl, h.ttl, h);
    case IP_TOS: return take_octet(data, size, 0, Header::has_tos, h.tos, h);
    default: return EINVAL;
  }
}

constexpr std::uint32_t kFlowInfoMask = 0x0fffffff, kFlowLabelMask = 0xfffff;

/// 0 or an errno. As on the host RFC 2292's name may not come twice, RFC 3542's may, and the last counts.
int take_extension(const unsigned char* data, std::size_t size, bool once, std::span<const unsigned char>& header, SentControl& out) {
  if ((once && !header.empty()) || size < 2) return EINVAL;
  const std::size_t length = (data[1] + std::size_t{1}) * 8;
  if (size < length || length > ipc::kExtensionsMax) return EINVAL;
  header = {data, length};
  out.extended = true;
  return 0;
}

/// The headers behind each other, each naming the next. 0 or an errno.
int join_extensions(const Socket& s, SentControl& out) {
  if (!out.extended) return 0;
  if (const int error = check_extensions(s); error != 0) return error;
  std::byte joined[ipc::kExtensionsMax];
  std::size_t length = 0;
  int first = 0;
  for (const auto& [kind, header] : {std::pair{IPPROTO_HOPOPTS, out.hop_by_hop}, std::pair{IPPROTO_DSTOPTS, out.destination}}) {
    if (header.empty()) continue;
    if (length + header.size() > sizeof joined) return EINVAL;
    if (length == 0) first = kind;
    else joined[0] = static_cast<std::byte>(kind);
    memcpy(joined + length, header.data(), header.size());
    length += header.size();
  }
  if (length == 0) return 0;
  return ipc::put_control(out.bytes, out.used, ipc::ControlItem::extension_headers | first, std::span{joined}.first(length)) ? 0 : EINVAL;
}

int take_control6(int type, const unsigned char* data, std::size_t size, Header& h, SentControl& extensions) {
  switch (type) {
    case IPV6_2292HOPOPTS:
    case IPV6_HOPOPTS: return take_extension(data, size, true, extensions.hop_by_hop, extensions);
    case IPV6_2292DSTOPTS:
    case IPV6_DSTOPTS: return take_extension(data, size, type == IPV6_2292DSTOPTS, extensions.destination, extensions);
    case IPV6_RTHDRDSTOPTS: {
      // RFC 3542 section 9: nothing without a routing header, and none is taken as control data.
      std::span<const unsigned char> left_out;
      return take_extension(data, size, false, left_out, extensions);
    }
    case IPV6_2292PKTINFO:
    case IPV6_PKTINFO: return take_pktinfo6(data, size, h);
    case IPV6_2292HOPLIMIT:
    case IPV6_HOPLIMIT: return take_octet(data, size, -1, Header::has_ttl, h.ttl, h);
    case IPV6_TCLASS: return take_octet(data, size, -1, Header::has_tos, h.tos, h);
    case kFlowInfo: {
      std::uint32_t info = 0;
      if (size < sizeof info) return EINVAL;
      memcpy(&info, data, sizeof info);
      info = ntohl(info) & kFlowInfoMask;
      // Of two that differ neither is meant.
      if ((h.flags & Header::has_flow_info) != 0 && h.info != info) return EINVAL;
      h.flags |= Header::has_flow_info;
      h.info = info;
      return 0;
    }
    case IPV6_DONTFRAG: {
      int on = 0;
      if (size != sizeof on) return EINVAL;
      memcpy(&on, data, sizeof on);
      if (on < 0 || on > 1) return EINVAL;
      h.flags |= Header::has_dont_fragment;
      h.dont_fragment = static_cast<std::uint8_t>(on);
      return 0;
    }
    default: return EINVAL;
  }
}

/// Which protocol the datagram will go by.
int family_towards(const Socket& s, const Header& h) {
  if (domain_of(s) == AF_INET) return AF_INET;
  return (h.flags & Header::has_destination) != 0 ? h.remote.family : ipc::read_names(*s.slot).peer.family;
}

/// Copies what fits; answers how much.
std::size_t scatter_to(const msghdr& message, const std::byte* from, std::size_t length) {
  std::size_t done = 0;
  for (std::size_t i = 0; i < message.msg_iovlen && done < length; ++i) {
    const std::size_t n = std::min(message.msg_iov[i].iov_len, length - done);
    if (n > 0) memcpy(message.msg_iov[i].iov_base, from + done, n);
    done += n;
  }
  return done;
}

/// Reads what a program asks for one datagram. Each family knows its own words; of IPv6's IPv4 takes IPV6_PKTINFO. 0 or an errno.
int take_control(const Socket& s, const msghdr& message, Header& h, SentControl& control) {
  const bool v6 = family_towards(s, h) == AF_INET6, dual = !v6 && domain_of(s) == AF_INET6;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr;
       c = CMSG_NXTHDR(const_cast<msghdr*>(&message), c)) {
    if (c->cmsg_len < sizeof(cmsghdr)) return EINVAL;
    const std::size_t size = c->cmsg_len - CMSG_LEN(0);
    const unsigned char* data = CMSG_DATA(c);
    int error = 0;
    if (c->cmsg_level == SOL_SOCKET) {
      error = EINVAL;
    } else if (c->cmsg_level == IPPROTO_IP && !v6) {
      error = take_control4(c->cmsg_type, data, size, h, control);
    } else if (c->cmsg_level == IPPROTO_IPV6 && (v6 || (dual && c->cmsg_type == IPV6_PKTINFO))) {
      error = take_control6(c->cmsg_type, data, size, h, control);
    } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT) {
      std::uint16_t size_each = 0;
      if (size != sizeof size_each) return EINVAL;
      memcpy(&size_each, data, sizeof size_each);
      h.gso_size = size_each;
    }
    if (error != 0) return error;
  }
  return join_extensions(s, control);
}

/// The destination of a datagram. 0 or an errno.
int take_destination(const Socket& s, const sockaddr* address, socklen_t length, Header& h) {
  bool given = false;
  if (const int error = read_destination(s, address, length, h.remote, given); error != 0) return error;
  if (given) h.flags |= Header::has_destination;
  const bool labels = given && h.remote.family == AF_INET6 &&
                      (client_word(s, ClientWord::wishes).load(std::memory_order_relaxed) & Wish::send_flow_info) != 0;
  if (labels && length >= offsetof(sockaddr_in6, sin6_flowinfo) + sizeof(std::uint32_t)) {
    sockaddr_in6 to{};
    memcpy(&to, address, std::min<std::size_t>(length, sizeof to));
    h.info = ntohl(to.sin6_flowinfo) & kFlowInfoMask;
    if (h.info != 0) h.flags |= Header::has_flow_info;
  }
  const bool connected = given || (s.status() & ipc::Status::connected) != 0 || ipc::read_names(*s.slot).peer.family != 0;
  return connected ? 0 : EDESTADDRREQ;
}

ssize_t payload_max(const Socket& s, bool udp, const Header& h) {
  return !udp ? 65535 : family_towards(s, h) == AF_INET6 ? kUdpPayloadMax6 : kUdpPayloadMax;
}

int check_message(const msghdr* message) {
  if (message == nullptr) return EFAULT;
  if (message->msg_iovlen > IOV_MAX) return EMSGSIZE;
  if (message->msg_iovlen > 0 && message->msg_iov == nullptr) return EFAULT;
  if (total_of(message->msg_iov, message->msg_iovlen) < 0) return EINVAL;
  return 0;
}

/// The control message of IP_RECVERR and IPV6_RECVERR.
template <class Sockaddr>
struct ShownError {
  sock_extended_err what{};
  Sockaddr offender{};
};

/// A socket of AF_INET6 has it of errors of both families in its own shape.
void put_error(ControlWriter& control, int domain, const ipc::ErrorAnswer& e) {
  // struct sock_ee_data_rfc4884.
  struct Extension {
    std::uint16_t length;
    std::uint8_t flags, reserved;
  };
  const auto data = std::bit_cast<std::uint32_t>(Extension{.length = e.extension_at, .flags = e.extension_bad, .reserved = 0});
  const sock_extended_err what{.ee_errno = e.error, .ee_origin = e.origin, .ee_type = e.type, .ee_code = e.code, .ee_pad = 0,
                               .ee_info = e.info, .ee_data = data};
  const bool local = e.origin == SO_EE_ORIGIN_LOCAL;
  if (domain == AF_INET6) {
    ShownError<sockaddr_in6> shown{.what = what};
    if (!local) shown.offender = in6_of(e.offender), shown.offender.sin6_port = 0;
    return control.put(IPPROTO_IPV6, IPV6_RECVERR, shown);
  }
  ShownError<sockaddr_in> shown{.what = what};
  if (!local) shown.offender.sin_family = AF_INET, shown.offender.sin_addr = in_of(e.offender).sin_addr;
  control.put(IPPROTO_IP, IP_RECVERR, shown);
}

}  // namespace

ssize_t receive_error(int fd, Entry entry, msghdr& message) {
  const Socket s = socket_of(entry);
  if (s.slot->errors.load(std::memory_order_acquire) == 0) return fail(EAGAIN);
  std::byte payload[ipc::kErrorPayloadMax];
  std::size_t length = 0;
  ipc::ErrorAnswer e{};
  if (const int error = request_about<ipc::MessageId::take_error>(s, {.slot = s.name}, {}, payload, &length, &e); error != 0)
    return fail(error);
  take_error_record(fd, s);
  const std::size_t copied = scatter_to(message, payload, std::min(length, sizeof payload));
  message.msg_flags = MSG_ERRQUEUE | (copied < length ? MSG_TRUNC : 0);
  if (message.msg_name != nullptr) give_address(e.to, domain_of(s), static_cast<sockaddr*>(message.msg_name), &message.msg_namelen);
  const bool local = e.origin == SO_EE_ORIGIN_LOCAL;
  Header h{};
  if (!local) h.flags = Header::has_ttl | Header::has_tos | Header::has_pktinfo;
  if (e.timestamp_ns != 0) h.flags |= Header::has_timestamp;
  h.timestamp_ns = e.timestamp_ns;
  h.local = e.local;
  h.ifindex = e.ifindex;
  h.ttl = e.ttl, h.tos = e.tos;
  ControlWriter control(message);
  put_control(control, s, h, {});
  put_error(control, domain_of(s), e);
  return static_cast<ssize_t>(copied);
}

ssize_t receive_message(int fd, Entry entry, msghdr* message, int flags) {
  if (const int error = check_message(message); error != 0) return fail(error);
  message->msg_flags = 0;
  if (!entry.datagram()) {
    const ssize_t n = receive_stream(fd, entry, message->msg_iov, message->msg_iovlen, flags);
    if (n < 0) return n;
    message->msg_namelen = 0;
    message->msg_controllen = 0;
    if ((flags & MSG_OOB) != 0 && (flags & MSG_ERRQUEUE) == 0) {
      // 0 with room: announced, and will not come.
      const bool room = total_of(message->msg_iov, message->msg_iovlen) != 0;
      message->msg_flags |= n > 0 ? MSG_OOB : room ? 0 : MSG_OOB | MSG_TRUNC;
    }
    return n;
  }
  if ((flags & MSG_ERRQUEUE) != 0) return receive_error(fd, entry, *message);
  Arrival arrival;
  const ssize_t n = receive_datagram(fd, entry, message->msg_iov, message->msg_iovlen, flags, arrival);
  if (n < 0) return n;
  heard_from(socket_of(entry), arrival.header.remote);
  if (arrival.truncated) message->msg_flags |= MSG_TRUNC;
  if (message->msg_name != nullptr) {
    give_address(arrival.header.remote, domain_of(socket_of(entry)), static_cast<sockaddr*>(message->msg_name),
                 &message->msg_namelen);
  } else {
    message->msg_namelen = 0;
  }
  ControlWriter control(*message);
  if ((arrival.header.flags & Header::path_mtu) != 0) {
    control.put(IPPROTO_IPV6, IPV6_PATHMTU, ip6_mtuinfo{.ip6m_addr = in6_of(arrival.header.remote), .ip6m_mtu = arrival.header.info});
    return n;
  }
  put_control(control, socket_of(entry), arrival.header, std::span{arrival.control}.first(arrival.header.control_len));
  return n;
}

ssize_t send_message(int fd, Entry entry, const msghdr* message, int flags) {
  if (const int error = check_message(message); error != 0) return fail(error);
  if ((flags & MSG_OOB) != 0 && entry.datagram()) return fail(EOPNOTSUPP);
  if (!entry.datagram()) {
    if ((flags & MSG_FASTOPEN) != 0) {
      const bool data = std::any_of(message->msg_iov, message->msg_iov + message->msg_iovlen, [](const iovec& piece) { return piece.iov_len != 0; });
      const auto* to = static_cast<const sockaddr*>(message->msg_name);
      const int error = connect_fast(fd, entry, to, message->msg_namelen, data, (flags & MSG_DONTWAIT) != 0);
      if (error != 0) return fail(error);
      entry = entry_of(fd);
    }
    return send_stream(fd, entry, message->msg_iov, message->msg_iovlen, flags);
  }
  const Socket s = socket_of(entry);
  Header header{};
  SentControl control;
  // A socket has its port from its first try on, whatever comes of it.
  int error = bind_if_unbound(s);
  if (error == 0) error = take_destination(s, static_cast<const sockaddr*>(message->msg_name), message->msg_namelen, header);
  header.gso_size = static_cast<std::uint32_t>(client_word(s, ClientWord::segment).load(std::memory_order_relaxed));
  if (error == 0 && message->msg_controllen > 0) error = take_control(s, *message, header, control);
  if (error == 0 && (header.info & kFlowLabelMask) != 0) error = check_flow_label(s, header.info & kFlowLabelMask);
  if (error == 0 && (flags & MSG_DONTROUTE) != 0) header.flags |= Header::dont_route;
  const bool udp = s.slot->type.load(std::memory_order_relaxed) == SOCK_DGRAM;
  const bool corked = (client_word(s, ClientWord::hints).load(std::memory_order_relaxed) & Hint::cork) != 0;
  if (udp && ((flags & MSG_MORE) != 0 || corked)) header.flags |= Header::more_follows;
  if (error == 0 && total_of(message->msg_iov, message->msg_iovlen) > payload_max(s, udp, header))
    error = EMSGSIZE;
  // IPV6_HDRINCL: a packet has a header at least.
  const bool whole = !udp && domain_of(s) == AF_INET6 &&
                     (client_word(s, ClientWord::hints).load(std::memory_order_relaxed) & Hint::header_included) != 0;
  if (error == 0 && whole && total_of(message->msg_iov, message->msg_iovlen) < kIpv6HeaderLen) error = EINVAL;
  if (error == 0) error = check_destination(s, header, static_cast<std::size_t>(total_of(message->msg_iov, message->msg_iovlen)));
  if (error != 0) return fail(error);
  const auto said = std::span{control.bytes}.first(control.used);
  if (control.extended) return send_extended(fd, entry, message->msg_iov, message->msg_iovlen, flags, header, said);
  return send_datagram(fd, entry, message->msg_iov, message->msg_iovlen, flags, header, said);
}

ssize_t receive_from(int fd, Entry entry, void* to, std::size_t size, int flags, sockaddr* address,
                     socklen_t* length) {
  if (address != nullptr && length == nullptr) return fail(EFAULT);
  if (address != nullptr && static_cast<int>(*length) < 0) return fail(EINVAL);
  iovec piece{to, std::min(size, kTransferMax)};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_name = address;
  message.msg_namelen = address != nullptr ? *length : 0;
  const ssize_t n = receive_message(fd, entry, &message, flags);
  if (n >= 0 && address != nullptr) *length = message.msg_namelen;
  return n;
}

ssize_t send_to(int fd, Entry entry, const void* from, std::size_t size, int flags, const sockaddr* address,
                socklen_t length) {
  iovec piece{const_cast<void*>(from), std::min(size, kTransferMax)};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_name = const_cast<sockaddr*>(address);
  message.msg_namelen = address != nullptr ? length : 0;
  return send_message(fd, entry, &message, flags);
}

}  // namespace iopkt::shim
