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

/// What a program passed to bind, connect or sendto.
struct ProgramAddress {
  bool unspecified_family = false;  ///< AF_UNSPEC: dissolve
  wire::Endpoint endpoint;
};
/// Errors (errno): EINVAL too short, EAFNOSUPPORT another family. `any_as_inet`: AF_UNSPEC with an all-zero IPv4 address is
/// taken as AF_INET, as the host's bind() does.
Expected<ProgramAddress, int> read_address(std::span<const std::byte> bytes, bool any_as_inet);

/// A sockaddr_in or sockaddr_in6; `out` has room for either. Answers its length.
std::size_t write_address(const wire::Endpoint& endpoint, std::span<std::byte> out);

ipc::SharedEndpoint to_shared(const wire::Endpoint& endpoint);
/// None: family 0 or an unknown one.
std::optional<wire::Endpoint> from_shared(const ipc::SharedEndpoint& shared);

}  // namespace iopkt::daemon
