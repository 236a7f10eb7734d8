#include "ipv4/forward.hpp"

#include <algorithm>

#include "ipv4/options.hpp"

namespace iopkt::ipv4 {

Expected<void, Refused> forward(packet::Packet& packet, wire::Ipv4Header& header, const Stamp& stamp) {
  // RFC 1812 5.3.1: a packet whose time to live would become 0 is not passed on.
  if (header.ttl <= 1)
    return unexpected(
        Refused{Drop::ip_ttl_exceeded, wire::IcmpHeader::time_exceeded(wire::IcmpTimeExceeded::in_transit)});
  const std::size_t header_len = wire::encoded_len(header);
  // A packet that is refused is quoted as it came.
  wire::Ipv4OptionBytes options = header.options;
  if (!options.empty()) {
    if (const auto done = stamp_options(MutableBytes{options.bytes}.first(options.len), stamp); !done)
      return unexpected(Refused{
          Drop::ip_bad_option,
          wire::IcmpHeader::parameter_problem(wire::IcmpParameterProblem::at_pointer, done.error().pointer)});
  }
  const MutableBytes bytes = packet.mutable_head().first(header_len);
  wire::decrement_ttl(bytes);
  --header.ttl;
  if (options.empty()) return {};
  header.options = options;
  std::copy_n(options.bytes.begin(), options.len, bytes.begin() + wire::Ipv4View::kMinHeaderLen);
  wire::store_ipv4_checksum(bytes);
  return {};
}

}  // namespace iopkt::ipv4
