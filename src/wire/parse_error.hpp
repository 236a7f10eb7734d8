// Why a parser refused bytes: the one error type of every view in wire/.
#pragma once

#include <cstdint>
#include <string_view>

namespace iopkt::wire {

enum class ParseError : std::uint8_t {
  truncated,     ///< The bytes end before the header does, or before a length field says.
  bad_length,    ///< A length field contradicts the format (shorter than the header that holds it).
  bad_version,   ///< The version field is not this protocol's.
  bad_hardware,  ///< ARP: not Ethernet, or another address length.
  bad_protocol,  ///< ARP: not IPv4, or another address length.
  bad_type,      ///< Not the kind of thing that was asked for.
  bad_pointer,   ///< IPv4 option: the pointer lies before the list.
};

constexpr std::string_view name(ParseError error) {
  switch (error) {
    case ParseError::truncated:
      return "truncated";
    case ParseError::bad_length:
      return "bad_length";
    case ParseError::bad_version:
      return "bad_version";
    case ParseError::bad_hardware:
      return "bad_hardware";
    case ParseError::bad_protocol:
      return "bad_protocol";
    case ParseError::bad_type:
      return "bad_type";
    case ParseError::bad_pointer:
      return "bad_pointer";
  }
  return "unknown";
}

}  // namespace iopkt::wire
