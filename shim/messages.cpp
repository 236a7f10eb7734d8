// Names and control data.
#include "shim/messages.hpp"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include <algorithm>

#include "shim/data.hpp"
#include "shim/destinations.hpp"
#include "shim/sockets.hpp"

namespace iopkt::shim {

namespace {

using Header = ipc::RecordHeader;

/// RFC 768 and 791: 65535 bytes less both headers.
constexpr ssize_t kUdpPayloadMax = 65507;

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
    if (left_ < sizeof(cmsghdr)) {
      message_.msg_flags |= MSG_CTRUNC;
      return;
    }
    std::size_t length = CMSG_LEN(sizeof value);
    if (left_ < length) {
      message_.msg_flags |= MSG_CTRUNC;
      length = left_;
    }
    cmsghdr head{};
    head.cmsg_len = length;
    head.cmsg_level = level;
    head.cmsg_type = type;
    memcpy(at_, &head, sizeof head);
    memcpy(at_ + CMSG_LEN(0), &value, length - CMSG_LEN(0));
    const std::size_t space = std::min<std::size_t>(left_, CMSG_SPACE(sizeof value));
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

in_addr address_of(const ipc::SharedEndpoint& e) {
  in_addr a{};
  memcpy(&a, e.addr, sizeof a);
  return a;
}

void put_control(msghdr& message, const Socket& s, const Header& h) {
  ControlWriter out(message);
  const std::uint64_t hints = client_word(s, ClientWord::hints).load(std::memory_order_relaxed);
  if ((h.flags & Header::has_timestamp) != 0) {
    const timespec ts{.tv_sec = h.timestamp_ns / 1'000'000'000, .tv_nsec = h.timestamp_ns % 1'000'000'000};
    if ((hints & Hint::timestampns) != 0) {
      out.put(SOL_SOCKET, SCM_TIMESTAMPNS, ts);
    } else if ((hints & Hint::timestamp) != 0) {
      out.put(SOL_SOCKET, SCM_TIMESTAMP, timeval{.tv_sec = ts.tv_sec, .tv_usec = ts.tv_nsec / 1000});
    }
  }
  if (h.lost != 0 && (hints & Hint::want_ovfl) != 0) out.put(SOL_SOCKET, SO_RXQ_OVFL, h.lost);
  // The stack writes down all that it knows: what the program wants is a matter of the moment in which it
  // reads.
  if ((h.flags & Header::has_pktinfo) != 0 && (hints & Hint::want_pktinfo) != 0) {
    in_pktinfo info{};
    info.ipi_ifindex = static_cast<int>(h.ifindex);
    info.ipi_addr = address_of(h.local);
    info.ipi_spec_dst = info.ipi_addr;
    out.put(IPPROTO_IP, IP_PKTINFO, info);
  }
  if ((h.flags & Header::has_ttl) != 0 && (hints & Hint::want_ttl) != 0)
    out.put(IPPROTO_IP, IP_TTL, static_cast<int>(h.ttl));
  if ((h.flags & Header::has_tos) != 0 && (hints & Hint::want_tos) != 0) out.put(IPPROTO_IP, IP_TOS, h.tos);
  if ((h.flags & Header::has_pktinfo) != 0 && (hints & Hint::want_origdst) != 0) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(ipc::read_names(*s.slot).local.port);  // the socket's own: nothing else came to it
    to.sin_addr = address_of(h.local);
    out.put(IPPROTO_IP, IP_ORIGDSTADDR, to);
  }
  if (h.gso_size != 0 && (hints & Hint::want_gro) != 0)
    out.put(IPPROTO_UDP, UDP_GRO, static_cast<int>(h.gso_size));
}

/// Reads what a program asks for one datagram. 0 or an errno.
int take_control(const msghdr& message, Header& h) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr;
       c = CMSG_NXTHDR(const_cast<msghdr*>(&message), c)) {
    if (c->cmsg_len < sizeof(cmsghdr)) return EINVAL;
    const std::size_t size = c->cmsg_len - CMSG_LEN(0);
    const unsigned char* data = CMSG_DATA(c);
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) return EINVAL;
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
      if (size < sizeof(in_pktinfo)) return EINVAL;
      in_pktinfo info;
      memcpy(&info, data, sizeof info);
      h.flags |= Header::has_pktinfo;
      h.ifindex = static_cast<std::uint32_t>(info.ipi_ifindex);
      h.local.family = info.ipi_spec_dst.s_addr != 0 ? AF_INET : 0;
      memcpy(h.local.addr, &info.ipi_spec_dst, sizeof info.ipi_spec_dst);
    } else if (c->cmsg_level == IPPROTO_IP && (c->cmsg_type == IP_TTL || c->cmsg_type == IP_TOS)) {
      int number = 0;
      if (size != 1 && size < sizeof number) return EINVAL;
      memcpy(&number, data, std::min(size, sizeof number));
      if (c->cmsg_type == IP_TTL) {
        if (number < 1 || number > 255) return EINVAL;
        h.flags |= Header::has_ttl;
        h.ttl = static_cast<std::uint8_t>(number);
      } else {
        if (number < 0 || number > 255) return EINVAL;
        h.flags |= Header::has_tos;
        h.tos = static_cast<std::uint8_t>(number);
      }
    } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_SEGMENT) {
      std::uint16_t size_each = 0;
      if (size != sizeof size_each) return EINVAL;
      memcpy(&size_each, data, sizeof size_each);
      h.gso_size = size_each;
    } else if (c->cmsg_level == SOL_SOCKET || c->cmsg_level == IPPROTO_IP) {
      return EINVAL;
    }
  }
  return 0;
}

/// The destination of a datagram. 0 or an errno.
int take_destination(const Socket& s, const sockaddr* address, socklen_t length, Header& h) {
  if (address == nullptr || length == 0) {
    const bool connected =
        (s.status() & ipc::Status::connected) != 0 || ipc::read_names(*s.slot).peer.family != 0;
    return connected ? 0 : EDESTADDRREQ;
  }
  if (length < sizeof(sockaddr_in)) return EINVAL;
  sockaddr_in in;
  memcpy(&in, address, sizeof in);
  if (in.sin_family != AF_INET && in.sin_family != AF_UNSPEC) return EAFNOSUPPORT;
  const bool raw = s.slot->type.load(std::memory_order_relaxed) == SOCK_RAW;
  if (in.sin_port == 0 && !raw && s.slot->protocol.load(std::memory_order_relaxed) != IPPROTO_ICMP)
    return EINVAL;
  h.flags |= Header::has_destination;
  h.remote.family = AF_INET;
  h.remote.port = ntohs(in.sin_port);
  memcpy(h.remote.addr, &in.sin_addr, sizeof in.sin_addr);
  return 0;
}

int check_message(const msghdr* message) {
  if (message == nullptr) return EFAULT;
  if (message->msg_iovlen > IOV_MAX) return EMSGSIZE;
  if (message->msg_iovlen > 0 && message->msg_iov == nullptr) return EFAULT;
  if (total_of(message->msg_iov, message->msg_iovlen) < 0) return EINVAL;
  return 0;
}

}  // namespace

ssize_t receive_message(int fd, Entry entry, msghdr* message, int flags) {
  if (const int error = check_message(message); error != 0) return fail(error);
  message->msg_flags = 0;
  if (!entry.datagram()) {
    const ssize_t n = receive_stream(fd, entry, message->msg_iov, message->msg_iovlen, flags);
    if (n < 0) return n;
    message->msg_namelen = 0;
    message->msg_controllen = 0;
    if ((flags & MSG_OOB) != 0) message->msg_flags |= MSG_OOB;
    return n;
  }
  Arrival arrival{};
  const ssize_t n = receive_datagram(fd, entry, message->msg_iov, message->msg_iovlen, flags, arrival);
  if (n < 0) return n;
  heard_from(socket_of(entry), arrival.header.remote);
  if (arrival.truncated) message->msg_flags |= MSG_TRUNC;
  if (message->msg_name != nullptr) {
    give_address(arrival.header.remote, static_cast<sockaddr*>(message->msg_name), &message->msg_namelen);
  } else {
    message->msg_namelen = 0;
  }
  put_control(*message, socket_of(entry), arrival.header);
  return n;
}

ssize_t send_message(int fd, Entry entry, const msghdr* message, int flags) {
  if (const int error = check_message(message); error != 0) return fail(error);
  if ((flags & MSG_OOB) != 0 && entry.datagram()) return fail(EOPNOTSUPP);
  if (!entry.datagram()) {
    if ((flags & 0x20000000) != 0) return fail(EOPNOTSUPP);  // MSG_FASTOPEN
    return send_stream(fd, entry, message->msg_iov, message->msg_iovlen, flags);
  }
  const Socket s = socket_of(entry);
  Header header{};
  int error =
      take_destination(s, static_cast<const sockaddr*>(message->msg_name), message->msg_namelen, header);
  if (error == 0 && message->msg_controllen > 0) error = take_control(*message, header);
  if (error == 0 && (flags & MSG_DONTROUTE) != 0) header.flags |= Header::dont_route;
  const bool udp = s.slot->type.load(std::memory_order_relaxed) == SOCK_DGRAM;
  if (udp && (flags & MSG_MORE) != 0) header.flags |= Header::more_follows;
  if (error == 0 && total_of(message->msg_iov, message->msg_iovlen) > (udp ? kUdpPayloadMax : 65535))
    error = EMSGSIZE;
  if (error == 0) error = bind_if_unbound(s);
  if (error == 0 && (header.flags & Header::has_destination) != 0) error = check_destination(s, header);
  if (error != 0) return fail(error);
  return send_datagram(fd, entry, message->msg_iov, message->msg_iovlen, flags, header);
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
