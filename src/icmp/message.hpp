// An ICMP message of either family: their first eight bytes have one shape, and the errors of both say the same things.
#pragma once

#include <cstdint>

#include "wire/address.hpp"
#include "wire/icmp.hpp"
#include "wire/icmpv6.hpp"

namespace iopkt::icmp {

/// The numbers are those of the family that the message belongs to.
struct Message {
  std::uint8_t type{}, code{};
  std::uint32_t rest{};

  constexpr Message() = default;
  // NOLINTBEGIN(google-explicit-constructor): the same thing, the family left out.
  constexpr Message(const wire::IcmpHeader& h) : type(static_cast<std::uint8_t>(h.type)), code(h.code), rest(h.rest) {}
  constexpr Message(const wire::Icmpv6Header& h) : type(static_cast<std::uint8_t>(h.type)), code(h.code), rest(h.rest) {}
  // NOLINTEND(google-explicit-constructor)
  constexpr wire::IcmpHeader v4() const { return {.type = static_cast<wire::IcmpType>(type), .code = code, .rest = rest}; }
  constexpr wire::Icmpv6Header v6() const { return {.type = static_cast<wire::Icmpv6Type>(type), .code = code, .rest = rest}; }
  friend constexpr bool operator==(const Message&, const Message&) = default;
};

/// What an error says about a packet of ours.
enum class Trouble : std::uint8_t { network, host, protocol, port, too_big, prohibited, time_exceeded, malformed, none };

/// none: no error, or one that nobody obeys (source quench: RFC 6633; redirect).
constexpr Trouble trouble_of(wire::IpFamily family, const Message& m) {
  if (family == wire::IpFamily::v6) {
    switch (m.v6().type) {
      case wire::Icmpv6Type::destination_unreachable:
        switch (static_cast<wire::Icmpv6Unreachable>(m.code)) {
          case wire::Icmpv6Unreachable::no_route: return Trouble::network;
          case wire::Icmpv6Unreachable::port: return Trouble::port;
          case wire::Icmpv6Unreachable::administratively_prohibited:
          case wire::Icmpv6Unreachable::failed_policy:
          case wire::Icmpv6Unreachable::reject_route: return Trouble::prohibited;
          default: return Trouble::host;
        }
      case wire::Icmpv6Type::packet_too_big: return Trouble::too_big;
      case wire::Icmpv6Type::time_exceeded: return Trouble::time_exceeded;
      case wire::Icmpv6Type::parameter_problem:
        return m.code == static_cast<std::uint8_t>(wire::Icmpv6ParameterProblem::next_header) ? Trouble::protocol : Trouble::malformed;
      default: return Trouble::none;
    }
  }
  switch (m.v4().type) {
    case wire::IcmpType::destination_unreachable:
      switch (static_cast<wire::IcmpUnreachable>(m.code)) {
        case wire::IcmpUnreachable::network:
        case wire::IcmpUnreachable::network_unknown:
        case wire::IcmpUnreachable::network_prohibited:
        case wire::IcmpUnreachable::network_for_tos: return Trouble::network;
        case wire::IcmpUnreachable::protocol: return Trouble::protocol;
        case wire::IcmpUnreachable::port: return Trouble::port;
        case wire::IcmpUnreachable::fragmentation_needed: return Trouble::too_big;
        default: return Trouble::host;
      }
    case wire::IcmpType::time_exceeded: return Trouble::time_exceeded;
    case wire::IcmpType::parameter_problem: return Trouble::malformed;
    default: return Trouble::none;
  }
}

constexpr Message port_unreachable(wire::IpFamily family) {
  if (family == wire::IpFamily::v6) return wire::Icmpv6Header::unreachable(wire::Icmpv6Unreachable::port);
  return wire::IcmpHeader::unreachable(wire::IcmpUnreachable::port);
}
constexpr Message host_unreachable(wire::IpFamily family) {
  if (family == wire::IpFamily::v6) return wire::Icmpv6Header::unreachable(wire::Icmpv6Unreachable::address);
  return wire::IcmpHeader::unreachable(wire::IcmpUnreachable::host);
}
constexpr Message reassembly_timed_out(wire::IpFamily family) {
  if (family == wire::IpFamily::v6) return wire::Icmpv6Header::time_exceeded(wire::Icmpv6TimeExceeded::reassembly);
  return wire::IcmpHeader::time_exceeded(wire::IcmpTimeExceeded::reassembly);
}

}  // namespace iopkt::icmp
