// Which of our addresses a packet to some destination carries as its source.
// RFC 1122 3.3.4.3 (multihoming); RFC 6724 section 5.
#pragma once

#include <optional>

#include "iface/interface.hpp"
#include "route/fib.hpp"

namespace iopkt::route {

struct SourcePolicy {
  bool use_deprecated = true;     ///< net.inet6.ip6.use_deprecated
  bool prefer_temporary = false;  ///< net.inet6.ip6.prefer_tempaddr
};

/// The destination itself if it is ours; the route's own source if it has one and still is ours. IPv6: otherwise by RFC 6724
/// section 5, rules 2 (scope), 3 (not deprecated; or still being detected; without `use_deprecated` never one that is), 5 (the outgoing interface; to
/// a group or an address of link scope that alone, section 4), 6 (label), 7 (temporary ones last, or with `prefer_temporary` first), 8 (longest prefix),
/// the first of equals. IPv4: otherwise, of the outgoing interface's addresses of the family, the one that shares the longest prefix with the next
/// hop (the first of equals); otherwise the primary address of another interface that is up (loopback only
/// when the destination is loopback). nullopt: the stack has no address of this family that could be used.
std::optional<wire::IpAddress> choose_source(const iface::InterfaceTable& interfaces, const Route& route,
                                             const wire::IpAddress& destination, const SourcePolicy& policy = {});

/// Scope as a number to compare (RFC 6724 section 3.1): 2 link, 5 site, 14 global, of groups theirs.
std::uint8_t scope_of(const wire::Ipv6Address& address);
/// Label of the default policy table (RFC 6724 section 2.1).
std::uint8_t label_of(const wire::Ipv6Address& address);

}  // namespace iopkt::route
