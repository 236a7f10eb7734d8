// Which of our addresses a packet to some destination carries as its source.
// RFC 1122 3.3.4.3 (multihoming); RFC 6724 section 5 rules 1, 2 and 8 for what applies to both families.
#pragma once

#include <optional>

#include "iface/interface.hpp"
#include "route/fib.hpp"

namespace iopkt::route {

/// The destination itself if it is ours; the route's own source if it has one and still is ours; otherwise,
/// of the outgoing interface's addresses of the family, the one that shares the longest prefix with the next
/// hop (the first of equals); otherwise the primary address of another interface that is up (loopback only
/// when the destination is loopback). nullopt: the stack has no address of this family that could be used.
std::optional<wire::IpAddress> choose_source(const iface::InterfaceTable& interfaces, const Route& route,
                                             const wire::IpAddress& destination);

}  // namespace iopkt::route
