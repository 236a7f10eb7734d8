// SYN cookies: a listener whose table of half-open connections is full answers without keeping anything. What it has to know
// comes back with the ACK, in the acknowledgment number and in the timestamp's echo. RFC 4987 section 3.6.
//
// ISS, from the top: 5 bits time (units of 64 s), 3 bits index of the peer's MSS, 24 bits keyed hash over both and the SYN.
// The 6 lowest bits of TSval: 4 bits the peer's window scale (15: none), 1 bit SACK-permitted, 1 bit ECN (RFC 3168).
#pragma once

#include <cstdint>
#include <optional>

#include "base/random.hpp"
#include "base/time.hpp"
#include "tcp/listen.hpp"
#include "wire/address.hpp"
#include "wire/tcp.hpp"

namespace iopkt::tcp {

/// The ISS that stands for a SYN with `irs` of a peer with `peer_mss`.
SeqNum syn_cookie(HashKey secret, const wire::Endpoint& local, const wire::Endpoint& remote, SeqNum irs, std::uint16_t peer_mss,
                  Instant now);

/// The MSS behind a cookie that was given in the last 64 to 128 s, never more than what the peer had named; nullopt: it is none.
/// Whoever guesses has one chance in 2^23.
std::optional<std::uint16_t> mss_of_cookie(HashKey secret, const wire::Endpoint& local, const wire::Endpoint& remote, SeqNum irs,
                                           SeqNum cookie, Instant now);

/// The SYN,ACK of a child whose iss is a cookie; its timestamp carries the options.
SegmentOut cookie_syn_ack(const HalfOpen& child, Instant now);

/// The child again from the ACK that answers it. Without timestamps there is no window scale, no SACK and no ECN. nullopt: the
/// ACK answers no cookie. `config` as for the SYN.
std::optional<HalfOpen> child_of_cookie(const Context& context, HashKey secret, const OpenConfig& config, const wire::Endpoint& local,
                                        const wire::Endpoint& remote, const SegmentIn& ack, Instant now);

}  // namespace iopkt::tcp
