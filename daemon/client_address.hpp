// Addresses between the program's sockaddr, the slot's names and the stack's endpoints.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/expected.hpp"
#include "ipc/layout.hpp"
#include "wire/address.hpp"

namespace iopkt::daemon {

/// What a program passed to bind, connect or sendto. An IPv4-mapped address (RFC 4291 section 2.5.5.2) is the IPv4 address: that is
/// what goes over the wire and what the socket is found by; the program sees it mapped again.
struct ProgramAddress {
  bool unspecified_family = false;  ///< AF_UNSPEC: dissolve
  bool was_inet = false;            ///< a sockaddr_in
  wire::Endpoint endpoint;
};
enum class AddressUse : std::uint8_t {
  bind,     ///< AF_UNSPEC with an all-zero IPv4 address is taken as AF_INET
  connect,  ///< AF_UNSPEC dissolves; datagram sockets of AF_INET6 take sockaddr_in, too
};
/// As the host reads it for a socket of `domain` and `type` (SOCK_DGRAM ...). Errors (errno): EINVAL too short, EAFNOSUPPORT another
/// family, ENODEV a scope that no interface can have.
/// sin6_flowinfo of a sockaddr_in6, in host order; 0 of a shorter one.
std::uint32_t flow_info_of(std::span<const std::byte> bytes);

Expected<ProgramAddress, int> read_address(std::span<const std::byte> bytes, AddressUse use, int domain, int type);

/// A sockaddr_in, or for a socket of AF_INET6 a sockaddr_in6; `out` has room for either. Answers its length.
std::size_t write_address(const wire::Endpoint& endpoint, int domain, std::span<std::byte> out);

/// As it is: an IPv4 address on a socket of AF_INET6 is mapped by the client's side alone.
ipc::SharedEndpoint to_shared(const wire::Endpoint& endpoint);
/// None: family 0 or an unknown one, or a scope that no interface can have.
std::optional<wire::Endpoint> from_shared(const ipc::SharedEndpoint& shared);

}  // namespace iopkt::daemon
