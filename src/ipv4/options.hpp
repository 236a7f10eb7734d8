// Judging, filling in and making IPv4 options: RFC 791 3.1, RFC 1122 3.2.1.8, RFC 1812 5.2.4, RFC 7126 4.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.hpp"
#include "base/expected.hpp"
#include "base/time.hpp"
#include "iface/interface.hpp"
#include "wire/ipv4.hpp"

namespace iopkt::ipv4 {

struct OptionReport {
  bool source_route{};            ///< Has a loose or strict source route …
  bool source_route_completed{};  ///< … whose end is reached.
  bool router_alert{};
};
/// Offset of the offending byte from the start of the IP header: ICMP's pointer.
struct OptionError {
  std::uint8_t pointer{};
};

/// Judges every option of a header. Errors: a length or pointer that is impossible, an option that may occur
/// once only and occurs twice.
Expected<OptionReport, OptionError> check_options(Bytes options);

/// Times for stamps (RFC 791 3.1). They are asked for rarely: reading a clock is left until then.
struct StampClock {
  Instant now{};
  std::uint32_t (*ms_of_day)() = nullptr;  ///< Milliseconds since midnight UT; null: nobody knows
  /// With bit 31 set where it is some other clock.
  std::uint32_t time() const;
};

/// What a host or router enters into the options of a packet that it makes, passes on or takes.
struct Stamp {
  wire::Ipv4Address address;         ///< Who it is
  const iface::InterfaceTable& own;  ///< RFC 1812 5.2.4.3: a timestamp that is asked of any of these addresses is given
  StampClock clock{};
  bool counts_overflow = true;       ///< Not who makes the packet: he gave it no room for himself
};

/// Enters address and time into record-route and timestamp options that have room; a timestamp option
/// without room counts its overflow. `options` passed check_options(). Errors: that count is full, or there is room for a part of an
/// entry (RFC 791: then the packet is in error).
Expected<void, OptionError> stamp_options(MutableBytes options, const Stamp& stamp);

/// Of the options of a packet from `source`, what its answer carries (RFC 1122 3.2.2.6, 4.2.3.8): record route and timestamp, and
/// the way back of a source route, in the form in which a program gives one. `options` passed check_options().
wire::Ipv4OptionBytes options_for_reply(Bytes options, wire::Ipv4Address source);
/// Of these the way back alone (RFC 1122 4.2.3.8): what every packet of a connection carries.
wire::Ipv4OptionBytes way_back(Bytes options, wire::Ipv4Address source);

/// Options as a program gives them (IP_OPTIONS, IP_RETOPTS), filled up to a multiple of four: a source route names the way without its
/// end, the first hop first. `any`: also those that nobody here knows. Errors: malformed, longer than a header holds, a source route
/// that has begun already or goes by a group.
std::optional<wire::Ipv4OptionBytes> given_options(Bytes value, bool any);

bool has_source_route(const wire::Ipv4OptionBytes& given);

/// Where a packet with these given options goes first: the first hop of its source route, or `destination`.
wire::Ipv4Address first_hop(const wire::Ipv4OptionBytes& given, wire::Ipv4Address destination);

/// Given options as they leave: of a source route the first hop is the packet's destination, and its end the last of the list.
wire::Ipv4OptionBytes on_the_wire(const wire::Ipv4OptionBytes& given, wire::Ipv4Address destination);

/// What fragments other than the first carry: options with the copied flag.
wire::Ipv4OptionBytes copied_options(Bytes options);

}  // namespace iopkt::ipv4
