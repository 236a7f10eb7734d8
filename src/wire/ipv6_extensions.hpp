// Extension headers that a program asks for in front of what it sends: RFC 3542 sections 7 to 9 (which there are), RFC 8200 section 4.1
// (their order), RFC 8754 (the one routing header that is sent: RFC 5095 ended type 0).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "wire/ipv6.hpp"

namespace iopkt::wire {

/// One of each kind as the program gave it, cut to the length that it says; empty: none. The first byte has no meaning.
struct ExtensionSet {
  std::string hop_by_hop, before_routing, routing, destination;
};

/// Headers in the order in which they are sent, each saying what follows but for the last.
struct ExtensionChain {
  IpProtocol first{};
  std::vector<std::byte> bytes;  ///< at most kExtensionBytesMax; empty: none
};

/// Destination options for the stations of a routing header are left out where there is none (RFC 3542 section 9). nullopt: more than
/// kExtensionBytesMax.
std::optional<ExtensionChain> chain_of(const ExtensionSet& set);

/// The extension header at the front of `value`. Errors: truncated, bad_length (not a multiple of 8, or more than a header can be).
Expected<Bytes, ParseError> sole_extension(Bytes value);

/// Whether a routing header, as sole_extension() has it, is one of type 4 whose lengths agree (RFC 8754 section 2) and that goes by no
/// group.
bool is_segment_routing(Bytes header);

/// Whether these are headers as chain_of() makes them. For what came from a client.
bool is_sendable(IpProtocol first, Bytes bytes);

/// Whether such headers have a routing header among them.
bool has_routing(IpProtocol first, Bytes bytes);

/// Where a packet with these headers goes first: the active segment of their routing header; nullopt: to its destination.
std::optional<Ipv6Address> first_segment(IpProtocol first, Bytes bytes);

/// Bytes of a packet, which begins with its IPv6 header, up to where a fragment header belongs: RFC 8200 section 4.5. Its headers are
/// one piece.
std::size_t unfragmentable_len(Bytes packet);

}  // namespace iopkt::wire
