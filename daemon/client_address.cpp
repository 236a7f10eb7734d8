// sockaddr in and out.
#include "client_address.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/assert.hpp"

namespace iopkt::daemon {
namespace {

wire::IpAddress v6_address(const std::uint8_t bytes[16]) {
  wire::Ipv6Address address;
  for (std::size_t i = 0; i < 16; ++i) address.bytes[i] = bytes[i];
  return address;
}

}  // namespace

Expected<ProgramAddress, int> read_address(std::span<const std::byte> bytes, bool any_as_inet) {
  sa_family_t family = 0;
  if (bytes.size() < sizeof family) return unexpected(EINVAL);
  std::memcpy(&family, bytes.data(), sizeof family);
  ProgramAddress out;
  if (family == AF_UNSPEC && !any_as_inet) {
    out.unspecified_family = true;
    return out;
  }
  if (family == AF_INET || family == AF_UNSPEC) {
    sockaddr_in in{};
    if (bytes.size() < sizeof in) return unexpected(EINVAL);
    std::memcpy(&in, bytes.data(), sizeof in);
    if (family == AF_UNSPEC && in.sin_addr.s_addr != 0) return unexpected(EAFNOSUPPORT);
    out.endpoint = {wire::Ipv4Address{ntohl(in.sin_addr.s_addr)}, wire::Port{ntohs(in.sin_port)}};
    return out;
  }
  return unexpected(EAFNOSUPPORT);
}

std::size_t write_address(const wire::Endpoint& endpoint, std::span<std::byte> out) {
  if (endpoint.address.is_v4()) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(endpoint.port.value);
    in.sin_addr.s_addr = htonl(endpoint.address.v4().value);
    IOPKT_ASSERT(out.size() >= sizeof in);
    std::memcpy(out.data(), &in, sizeof in);
    return sizeof in;
  }
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(endpoint.port.value);
  const wire::Ipv6Address address = endpoint.address.v6();
  for (std::size_t i = 0; i < 16; ++i) in.sin6_addr.s6_addr[i] = address.bytes[i];
  IOPKT_ASSERT(out.size() >= sizeof in);
  std::memcpy(out.data(), &in, sizeof in);
  return sizeof in;
}

ipc::SharedEndpoint to_shared(const wire::Endpoint& endpoint) {
  ipc::SharedEndpoint out;
  out.port = endpoint.port.value;
  if (endpoint.address.is_v4()) {
    out.family = AF_INET;
    const std::uint32_t value = htonl(endpoint.address.v4().value);
    std::memcpy(out.addr, &value, sizeof value);
  } else {
    out.family = AF_INET6;
    const wire::Ipv6Address address = endpoint.address.v6();
    for (std::size_t i = 0; i < 16; ++i) out.addr[i] = address.bytes[i];
  }
  return out;
}

std::optional<wire::Endpoint> from_shared(const ipc::SharedEndpoint& shared) {
  if (shared.family == AF_INET) {
    std::uint32_t value = 0;
    std::memcpy(&value, shared.addr, sizeof value);
    return wire::Endpoint{wire::Ipv4Address{ntohl(value)}, wire::Port{shared.port}};
  }
  if (shared.family == AF_INET6) return wire::Endpoint{v6_address(shared.addr), wire::Port{shared.port}};
  return std::nullopt;
}

}  // namespace iopkt::daemon
