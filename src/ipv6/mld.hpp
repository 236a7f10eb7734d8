// Listener discovery between ICMPv6 messages and the machine that IPv4 has, too (group::Machine): RFC 3810 and RFC 9777 (MLDv2) with
// RFC 2710 (MLDv1), a host's side.
#pragma once

#include <optional>
#include <vector>

#include "base/expected.hpp"
#include "group/machine.hpp"
#include "iface/interface.hpp"
#include "packet/drops.hpp"
#include "wire/ip_header.hpp"

namespace iopkt::ipv6 {

/// What a message tells a host; neither: it is for routers.
struct MldHeard {
  std::optional<group::Query> query;
  std::optional<wire::IpAddress> reported;  ///< a group that another host of the link listens to (version 1), with its zone
};

/// Reads a message whose checksum is right. `zone`: the interface by which it came.
/// Errors: mld_not_local (RFC 3810 section 6.2: only a router of the link may ask, and what is forwarded is none; hosts of version 1
/// likewise), mld_malformed, mld_ignored (about an address that is no group).
Expected<MldHeard, packet::Drop> mld_input(const wire::IpHeader& header, std::uint32_t zone, Bytes message);

/// ICMPv6 messages with a zero checksum and where they go. They are to be sent with hop limit 1 and kMldExtensions, from the
/// interface's link-local address, or from "::" as long as there is no valid one (RFC 3590).
struct MldMessage {
  wire::IpAddress dst;
  std::vector<std::byte> bytes;
};
std::vector<MldMessage> mld_messages(const group::Message& message, const iface::Interface& out);

/// A hop-by-hop header with a router alert for MLD (RFC 2711) and padding; who sends puts in what follows.
inline constexpr std::array<std::byte, 8> kMldExtensions{std::byte{0}, std::byte{0}, std::byte{5}, std::byte{2},
                                                         std::byte{0}, std::byte{0}, std::byte{1}, std::byte{0}};

}  // namespace iopkt::ipv6
