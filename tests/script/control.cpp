#include "tests/script/control.hpp"

#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cstring>

#include "tests/script/sockets.hpp"

namespace iopkt::script {
namespace {

using socket::Errno;

/// As put_cmsg() of the host: what does not fit is cut off, and said.
class Writer {
 public:
  Writer(std::size_t room, PacketBytes& out) : room_(room), out_(out) { out_.clear(); }
  template <class Value>
  void put(int level, int type, const Value& value) {
    const std::size_t left = room_ - out_.size();
    if (left < sizeof(cmsghdr)) {
      cut_ = true;
      return;
    }
    cut_ |= left < CMSG_LEN(sizeof value);
    cmsghdr head{};
    head.cmsg_len = std::min(left, CMSG_LEN(sizeof value));
    head.cmsg_level = level;
    head.cmsg_type = type;
    const std::size_t at = out_.size();
    out_.resize(at + std::min(left, CMSG_SPACE(sizeof value)));
    std::memcpy(out_.data() + at, &head, sizeof head);
    std::memcpy(out_.data() + at + CMSG_LEN(0), &value, head.cmsg_len - CMSG_LEN(0));
  }
  bool cut() const { return cut_; }

 private:
  std::size_t room_;
  PacketBytes& out_;
  bool cut_ = false;
};

in_addr in_of(const wire::IpAddress& a) { return {.s_addr = htonl(a.v4().value)}; }
in6_addr in6_of(const wire::IpAddress& a) {
  in6_addr out;
  const wire::Ipv6Address address = a.v6();
  std::memcpy(&out, address.bytes.data(), sizeof out);
  return out;
}

template <class Value>
bool read(Bytes from, Value& out) {
  if (from.size() < sizeof out) return false;
  std::memcpy(&out, from.data(), sizeof out);
  return true;
}

/// A number `least`..255, of IPv6 -1 leaves it as it is; IPv4's may have one byte.
Errno octet(Bytes data, int least, std::optional<std::uint8_t>& out) {
  int number = 0;
  if (least >= 0 && data.size() == 1) number = load_u8(data, 0);
  else if (!read(data, number)) return Errno::inval;
  if (number < least || number > 255) return Errno::inval;
  if (number >= 0) out = static_cast<std::uint8_t>(number);
  return Errno::ok;
}

Errno take4(int type, Bytes data, stack::DatagramRequest& out) {
  switch (type) {
    case IP_TTL: return octet(data, 1, out.ttl);
    case IP_TOS: return octet(data, 0, out.tos);
    case IP_PKTINFO: {
      in_pktinfo info;
      if (!read(data, info)) return Errno::inval;
      out.interface_index = static_cast<std::uint32_t>(info.ipi_ifindex);
      if (info.ipi_spec_dst.s_addr != 0) out.source = wire::Ipv4Address{ntohl(info.ipi_spec_dst.s_addr)};
      return Errno::ok;
    }
    default: return Errno::inval;
  }
}

Errno take6(int type, Bytes data, stack::DatagramRequest& out) {
  switch (type) {
    case IPV6_HOPLIMIT: return octet(data, -1, out.ttl);
    case IPV6_TCLASS: return octet(data, -1, out.tos);
    case IPV6_PKTINFO: {
      in6_pktinfo info;
      if (!read(data, info)) return Errno::inval;
      out.interface_index = info.ipi6_ifindex;
      wire::Ipv6Address source;
      std::memcpy(source.bytes.data(), &info.ipi6_addr, sizeof info.ipi6_addr);
      if (!IN6_IS_ADDR_UNSPECIFIED(&info.ipi6_addr)) out.source = source;
      return Errno::ok;
    }
    case IPV6_DONTFRAG: {
      int on = 0;
      if (data.size() != sizeof on || !read(data, on) || on < 0 || on > 1) return Errno::inval;
      out.dont_fragment = on == 1;
      return Errno::ok;
    }
    default: return Errno::inval;
  }
}

/// Calls `each(level, type, data)` of every message until one is wrong.
template <class Each>
Errno walk(Bytes control, Each each) {
  for (std::size_t at = 0; at + sizeof(cmsghdr) <= control.size();) {
    cmsghdr head{};
    std::memcpy(&head, control.data() + at, sizeof head);
    if (head.cmsg_len < sizeof head || head.cmsg_len > control.size() - at) return Errno::inval;
    if (const Errno wrong = each(head.cmsg_level, head.cmsg_type, control.subspan(at + CMSG_LEN(0), head.cmsg_len - CMSG_LEN(0)));
        wrong != Errno::ok)
      return wrong;
    at += CMSG_ALIGN(head.cmsg_len);
  }
  return Errno::ok;
}

}  // namespace

bool put_control(const stack::Datagram& d, const OptionReader& options, Instant now, std::size_t room, PacketBytes& out) {
  Writer writer(room, out);
  const std::int64_t ns = d.time_ns != 0 ? static_cast<std::int64_t>(d.time_ns) : now.ns;
  if (options(SOL_SOCKET, SO_TIMESTAMPNS) != 0)
    writer.put(SOL_SOCKET, SCM_TIMESTAMPNS, timespec{.tv_sec = ns / 1'000'000'000, .tv_nsec = ns % 1'000'000'000});
  else if (options(SOL_SOCKET, SO_TIMESTAMP) != 0)
    writer.put(SOL_SOCKET, SCM_TIMESTAMP, timeval{.tv_sec = ns / 1'000'000'000, .tv_usec = ns / 1000 % 1'000'000});
  if (d.destination.is_v6()) {
    if (options(IPPROTO_IPV6, IPV6_RECVPKTINFO) != 0)
      writer.put(IPPROTO_IPV6, IPV6_PKTINFO, in6_pktinfo{.ipi6_addr = in6_of(d.destination), .ipi6_ifindex = d.interface_index});
    if (options(IPPROTO_IPV6, IPV6_RECVHOPLIMIT) != 0) writer.put(IPPROTO_IPV6, IPV6_HOPLIMIT, static_cast<int>(d.ttl));
    if (options(IPPROTO_IPV6, IPV6_RECVTCLASS) != 0) writer.put(IPPROTO_IPV6, IPV6_TCLASS, static_cast<int>(d.tos));
  } else {
    if (options(IPPROTO_IP, IP_PKTINFO) != 0) {
      const in_addr to = in_of(d.destination);
      writer.put(IPPROTO_IP, IP_PKTINFO, in_pktinfo{.ipi_ifindex = static_cast<int>(d.interface_index), .ipi_spec_dst = to, .ipi_addr = to});
    }
    if (options(IPPROTO_IP, IP_RECVTTL) != 0) writer.put(IPPROTO_IP, IP_TTL, static_cast<int>(d.ttl));
    if (options(IPPROTO_IP, IP_RECVTOS) != 0) writer.put(IPPROTO_IP, IP_TOS, d.tos);
  }
  if (d.segment_size != 0) writer.put(IPPROTO_UDP, UDP_GRO, static_cast<int>(d.segment_size));
  return writer.cut();
}

bool put_error(const stack::Datagram& report, std::size_t room, PacketBytes& out) {
  Writer writer(room, out);
  const stack::ErrorInfo& e = *report.error;
  const sock_extended_err what{.ee_errno = static_cast<std::uint32_t>(e.error), .ee_origin = e.origin, .ee_type = e.type, .ee_code = e.code,
                               .ee_pad = 0, .ee_info = e.info, .ee_data = e.extension_at};
  const bool local = e.origin == stack::ErrorInfo::kLocal;
  if (report.source.address.is_v6()) {
    struct {
      sock_extended_err what;
      sockaddr_in6 offender{};
    } shown{.what = what};
    if (!local) shown.offender.sin6_family = AF_INET6, shown.offender.sin6_addr = in6_of(e.offender);
    writer.put(IPPROTO_IPV6, IPV6_RECVERR, shown);
  } else {
    struct {
      sock_extended_err what;
      sockaddr_in offender{};
    } shown{.what = what};
    if (!local) shown.offender.sin_family = AF_INET, shown.offender.sin_addr = in_of(e.offender);
    writer.put(IPPROTO_IP, IP_RECVERR, shown);
  }
  return writer.cut();
}

Errno take_control(Bytes control, wire::IpFamily family, stack::DatagramRequest& out) {
  return walk(control, [&](int level, int type, Bytes data) {
    if (level == IPPROTO_IP && family == wire::IpFamily::v4) return take4(type, data, out);
    if (level == IPPROTO_IPV6 && family == wire::IpFamily::v6) return take6(type, data, out);
    if (level != IPPROTO_UDP || type != UDP_SEGMENT || data.size() != sizeof out.segment_size) return Errno::inval;
    return read(data, out.segment_size) ? Errno::ok : Errno::inval;
  });
}

Errno check_stream_control(Bytes control) {
  return walk(control, [](int level, int, Bytes) { return level == SOL_SOCKET ? Errno::inval : Errno::ok; });
}

}  // namespace iopkt::script
