// A router's change to a packet that passes: RFC 1812 5.2.4 (options), 5.3.1 (time to live).
#pragma once

#include "base/expected.hpp"
#include "iface/interface.hpp"
#include "ipv4/input.hpp"
#include "ipv4/options.hpp"

namespace iopkt::ipv4 {

/// Decrements the time to live and fills in record-route and timestamp options (`stamp.address`: the primary
/// address of the interface that it leaves by). `header` is what input() answered; it is brought up
/// to date with the packet. Errors: ip_ttl_exceeded (answer: time exceeded), ip_bad_option (answer: parameter
/// problem).
Expected<void, Refused> forward(packet::Packet& packet, wire::Ipv4Header& header, const Stamp& stamp);

}  // namespace iopkt::ipv4
