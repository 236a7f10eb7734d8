// Initial sequence numbers and timestamp offsets that nobody off the path can guess. RFC 6528, RFC 7323 section 5.4.
#pragma once

#include <cstdint>

#include "base/random.hpp"
#include "base/time.hpp"
#include "wire/tcp.hpp"

namespace iopkt::tcp {

/// ISN = M + F(localip, localport, remoteip, remoteport, secret); M is a timer of 4 us (RFC 6528 section 3).
/// Two openings of the same pair of endpoints more than a few microseconds apart therefore have increasing numbers.
wire::SeqNum initial_sequence_number(HashKey secret, const wire::Endpoint& local, const wire::Endpoint& remote, Instant now);

/// Added to the millisecond clock in TSval. The same for every connection of a pair of addresses, so that timestamps of
/// a later connection are above those of an earlier one (RFC 6191 relies on it), and unrelated between pairs.
std::uint32_t timestamp_offset(HashKey secret, const wire::Endpoint& local, const wire::Endpoint& remote);

}  // namespace iopkt::tcp
