// A router's change to a packet that passes: RFC 1812 5.2.4 (options), 5.3.1 (time to live).
#pragma once

#include "base/expected.hpp"
#include "iface/interface.hpp"
#include "ipv4/input.hpp"

namespace iopkt::ipv4 {

/// Decrements the time to live and fills record-route and timestamp options with `outgoing` (the primary
/// address of the interface that it leaves by). `ms_of_day`: milliseconds since midnight UT, for timestamp
/// options; bit 31 set: some other clock (RFC 791 3.1). `header` is what input() answered; it is brought up
/// to date with the packet. Errors: ip_ttl_exceeded (answer: time exceeded), ip_bad_option (answer: parameter
/// problem).
Expected<void, Refused> forward(packet::Packet& packet, wire::Ipv4Header& header, wire::Ipv4Address outgoing,
                                std::uint32_t ms_of_day);

}  // namespace iopkt::ipv4
