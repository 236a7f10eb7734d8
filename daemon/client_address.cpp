// sockaddr in and out.
#include "client_address.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/assert.hpp"
#include "base/bytes.hpp"

namespace iopkt::daemon {
namespace {

constexpr std::size_t kIn6Least = 24;  ///< RFC 2133's sockaddr_in6, without a scope: the host still takes it

wire::Ipv6Address v6_address(const std::uint8_t bytes[16]) {
  wire::Ipv6Address address;
  std::memcpy(address.bytes.data(), bytes, sizeof address.bytes);
  return address;
}

/// Of ::ffff:a.b.c.d.
wire::Ipv4Address mapped_v4(const wire::Ipv6Address& address) {
  return wire::Ipv4Address{load_be32(as_bytes(address.bytes.data(), 16), 12)};
}

Expected<ProgramAddress, int> read_inet(std::span<const std::byte> bytes, bool unspecified_family) {
  sockaddr_in in{};
  if (bytes.size() < sizeof in) return unexpected(EINVAL);
  std::memcpy(&in, bytes.data(), sizeof in);
  if (unspecified_family && in.sin_addr.s_addr != 0) return unexpected(EAFNOSUPPORT);
  return ProgramAddress{.was_inet = true, .endpoint = {wire::Ipv4Address{ntohl(in.sin_addr.s_addr)}, wire::Port{ntohs(in.sin_port)}}};
}

Expected<ProgramAddress, int> read_inet6(std::span<const std::byte> bytes) {
  sockaddr_in6 in{};
  std::memcpy(&in, bytes.data(), std::min(bytes.size(), sizeof in));
  const wire::Ipv6Address address = v6_address(in.sin6_addr.s6_addr);
  const wire::Port port{ntohs(in.sin6_port)};
  if (address.is_v4_mapped()) return ProgramAddress{.endpoint = {mapped_v4(address), port}};
  if (!address.has_zone()) return ProgramAddress{.endpoint = {address, port}};
  if (in.sin6_scope_id > wire::IpAddress::kZoneMax) return unexpected(ENODEV);
  return ProgramAddress{.endpoint = {wire::IpAddress{address, in.sin6_scope_id}, port}};
}

}  // namespace

std::uint32_t flow_info_of(std::span<const std::byte> bytes) {
  constexpr std::size_t kAt = offsetof(sockaddr_in6, sin6_flowinfo);
  return bytes.size() < kIn6Least ? 0 : load_be32(bytes, kAt);
}

Expected<ProgramAddress, int> read_address(std::span<const std::byte> bytes, AddressUse use, int domain, int type) {
  sa_family_t family = 0;
  if (bytes.size() < sizeof family) return unexpected(EINVAL);
  std::memcpy(&family, bytes.data(), sizeof family);
  if (use == AddressUse::connect && family == AF_UNSPEC) return ProgramAddress{.unspecified_family = true, .endpoint = {}};
  if (domain == AF_INET) {
    if (bytes.size() < sizeof(sockaddr_in)) return unexpected(EINVAL);
    if (family != AF_INET && family != AF_UNSPEC) return unexpected(EAFNOSUPPORT);
    return read_inet(bytes, family == AF_UNSPEC);
  }
  if (use == AddressUse::connect && family == AF_INET && type == SOCK_DGRAM) return read_inet(bytes, false);
  if (bytes.size() < kIn6Least) return unexpected(EINVAL);
  if (family != AF_INET6) return unexpected(EAFNOSUPPORT);
  return read_inet6(bytes);
}

std::size_t write_address(const wire::Endpoint& endpoint, int domain, std::span<std::byte> out) {
  if (domain == AF_INET) {
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
  if (endpoint.address.is_v4()) {
    in.sin6_addr.s6_addr[10] = in.sin6_addr.s6_addr[11] = 0xff;
    const std::uint32_t value = htonl(endpoint.address.v4().value);
    std::memcpy(in.sin6_addr.s6_addr + 12, &value, sizeof value);
  } else {
    const wire::Ipv6Address address = endpoint.address.v6();
    std::memcpy(in.sin6_addr.s6_addr, address.bytes.data(), sizeof in.sin6_addr.s6_addr);
    in.sin6_scope_id = endpoint.address.zone();
  }
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
    out.scope = endpoint.address.zone();
    const wire::Ipv6Address address = endpoint.address.v6();
    std::memcpy(out.addr, address.bytes.data(), sizeof out.addr);
  }
  return out;
}

std::optional<wire::Endpoint> from_shared(const ipc::SharedEndpoint& shared) {
  const wire::Port port{shared.port};
  if (shared.family == AF_INET) {
    std::uint32_t value = 0;
    std::memcpy(&value, shared.addr, sizeof value);
    return wire::Endpoint{wire::Ipv4Address{ntohl(value)}, port};
  }
  if (shared.family != AF_INET6) return std::nullopt;
  const wire::Ipv6Address address = v6_address(shared.addr);
  // A library says IPv4 as such; whatever else writes here must not get a mapped address onto the wire.
  if (address.is_v4_mapped()) return wire::Endpoint{mapped_v4(address), port};
  if (!address.has_zone()) return wire::Endpoint{address, port};
  if (shared.scope > wire::IpAddress::kZoneMax) return std::nullopt;
  return wire::Endpoint{wire::IpAddress{address, shared.scope}, port};
}

}  // namespace iopkt::daemon
