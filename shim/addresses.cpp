// Names.
#include "shim/addresses.hpp"

#include <errno.h>
#include <string.h>

#include <algorithm>

namespace iopkt::shim {

sockaddr_in in_of(const ipc::SharedEndpoint& e) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(e.port);
  memcpy(&in.sin_addr, e.addr, sizeof in.sin_addr);
  return in;
}

sockaddr_in6 in6_of(const ipc::SharedEndpoint& e) {
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(e.port);
  if (e.family == AF_INET) {
    in.sin6_addr.s6_addr[10] = in.sin6_addr.s6_addr[11] = 0xff;
    memcpy(in.sin6_addr.s6_addr + 12, e.addr, 4);
  } else {
    memcpy(&in.sin6_addr, e.addr, sizeof in.sin6_addr);
    in.sin6_scope_id = e.scope;
  }
  return in;
}

ipc::SharedEndpoint endpoint_of(const sockaddr_in& in) {
  ipc::SharedEndpoint e;
  e.family = AF_INET;
  e.port = ntohs(in.sin_port);
  memcpy(e.addr, &in.sin_addr, sizeof in.sin_addr);
  return e;
}

ipc::SharedEndpoint endpoint_of(const sockaddr* in6, socklen_t length) {
  sockaddr_in6 in{};
  memcpy(&in, in6, std::min<std::size_t>(length, sizeof in));
  ipc::SharedEndpoint e;
  e.port = ntohs(in.sin6_port);
  if (IN6_IS_ADDR_V4MAPPED(&in.sin6_addr)) {
    e.family = AF_INET;
    memcpy(e.addr, in.sin6_addr.s6_addr + 12, 4);
  } else {
    e.family = AF_INET6;
    memcpy(e.addr, &in.sin6_addr, sizeof e.addr);
    e.scope = in.sin6_scope_id;
  }
  return e;
}

int give_address(const ipc::SharedEndpoint& from, int domain, sockaddr* address, socklen_t* length) {
  if (length == nullptr) return EFAULT;
  if (static_cast<int>(*length) < 0) return EINVAL;
  if (address == nullptr && *length > 0) return EFAULT;
  const sockaddr_in in = in_of(from);
  const sockaddr_in6 in6 = in6_of(from);
  const bool v6 = domain == AF_INET6;
  const void* const whole = v6 ? static_cast<const void*>(&in6) : &in;
  const std::size_t size = v6 ? sizeof in6 : sizeof in;
  if (*length > 0) memcpy(address, whole, std::min<std::size_t>(*length, size));
  *length = static_cast<socklen_t>(size);
  return 0;
}

namespace {

int read_inet(const sockaddr* address, socklen_t length, ipc::SharedEndpoint& out) {
  if (length < sizeof(sockaddr_in)) return EINVAL;
  sockaddr_in in;
  memcpy(&in, address, sizeof in);
  if (in.sin_family != AF_INET && in.sin_family != AF_UNSPEC) return EAFNOSUPPORT;
  out = endpoint_of(in);
  return 0;
}

int read_inet6_raw(const sockaddr* address, socklen_t length, std::uint32_t protocol, ipc::SharedEndpoint& out) {
  if (length < kIn6Least) return EINVAL;
  if (address->sa_family != AF_UNSPEC && address->sa_family != AF_INET6) return EAFNOSUPPORT;
  out = endpoint_of(address, length);
  // raw(7) of IPv6: the port is the protocol again, or 0.
  if (out.port != 0 && out.port != protocol && protocol != IPPROTO_RAW) return EINVAL;
  out.port = 0;
  return 0;
}

}  // namespace

int read_destination(const Socket& s, const sockaddr* address, socklen_t length, ipc::SharedEndpoint& out, bool& given) {
  given = address != nullptr && length != 0;
  if (!given) return 0;
  const bool v6 = domain_of(s) == AF_INET6;
  const std::uint32_t protocol = s.slot->protocol.load(std::memory_order_relaxed);
  if (s.slot->type.load(std::memory_order_relaxed) == SOCK_RAW)
    return v6 ? read_inet6_raw(address, length, protocol, out) : read_inet(address, length, out);
  int error = 0;
  if (!v6) {
    error = read_inet(address, length, out);
  } else if (length < sizeof(sa_family_t)) {
    error = EINVAL;
  } else if (address->sa_family == AF_INET) {
    error = read_inet(address, length, out);
  } else if (address->sa_family == AF_UNSPEC) {
    given = false;
    return 0;
  } else if (address->sa_family != AF_INET6 || length < kIn6Least) {
    error = EINVAL;
  } else {
    out = endpoint_of(address, length);
  }
  return error == 0 && out.port == 0 ? EINVAL : error;
}

}  // namespace iopkt::shim
