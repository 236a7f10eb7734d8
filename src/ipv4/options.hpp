// Judging and filling in IPv4 options: RFC 791 3.1, RFC 1122 3.2.1.8, RFC 7126 4.
#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.hpp"
#include "base/expected.hpp"
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

/// Enters `address` and the time into record-route and timestamp options that have room; a timestamp option
/// without room counts its overflow. `options` passed check_options(). Errors: that count is full (RFC 791:
/// then the packet is in error).
Expected<void, OptionError> stamp_options(MutableBytes options, wire::Ipv4Address address,
                                          std::uint32_t ms_of_day);

/// Of the options of an echo request, what its reply carries (RFC 1122 3.2.2.6): record route and timestamp.
wire::Ipv4OptionBytes options_for_reply(Bytes options);

/// What fragments other than the first carry: options with the copied flag.
wire::Ipv4OptionBytes copied_options(Bytes options);

}  // namespace iopkt::ipv4
