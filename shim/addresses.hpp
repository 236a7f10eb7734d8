// Names between a program's sockaddr and what client and stack share. A socket of AF_INET6 shows IPv4 addresses as ::ffff:a.b.c.d
// (RFC 3493 section 3.7); what is shared is always the IPv4 address itself.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstdint>

#include "ipc/layout.hpp"
#include "shim/process.hpp"

namespace iopkt::shim {

/// RFC 2133's sockaddr_in6, without a scope: the least that the kernel takes.
inline constexpr socklen_t kIn6Least = 24;

inline int domain_of(const Socket& s) { return s.slot->domain.load(std::memory_order_relaxed); }

/// The wildcard, for an endpoint without a family.
sockaddr_in in_of(const ipc::SharedEndpoint& e);
sockaddr_in6 in6_of(const ipc::SharedEndpoint& e);
/// `address` holds a sockaddr_in, or a sockaddr_in6 of at least kIn6Least bytes.
ipc::SharedEndpoint endpoint_of(const sockaddr_in& in);
ipc::SharedEndpoint endpoint_of(const sockaddr* in6, socklen_t length);

/// Writes an address as the kernel does for a socket of `domain`: as much as fits, and its whole length. EFAULT if there is nowhere
/// to write.
int give_address(const ipc::SharedEndpoint& from, int domain, sockaddr* address, socklen_t* length);

/// The destination of a datagram as the kernel's sendto() reads it. `given` is false where it means the connected peer. 0 or an errno.
int read_destination(const Socket& s, const sockaddr* address, socklen_t length, ipc::SharedEndpoint& out, bool& given);

}  // namespace iopkt::shim
