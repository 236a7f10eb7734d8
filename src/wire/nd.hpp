// Neighbour discovery messages and their options: RFC 4861 section 4, RFC 4191 (preferences, route information), RFC 8106
// (DNS), RFC 3971 (nonce). Shapes and their own rules alone; what needs the carrying packet (hop limit, addresses) is ipv6/nd.hpp's matter.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/bytes.hpp"
#include "base/expected.hpp"
#include "wire/address.hpp"
#include "wire/icmpv6.hpp"
#include "wire/parse_error.hpp"

namespace iopkt::wire {

inline constexpr std::uint32_t kLifetimeForever = 0xffffffff;
/// Prefixes, routes, servers and domains of one message that are taken up; the rest is left out and counted by nd_limit's owner.
inline constexpr std::size_t kNdPrefixesMax = 16, kNdRoutesMax = 16, kNdServersMax = 8, kNdDomainsMax = 8, kNdOptionsMax = 64;

/// What keeps a redirect, with its IPv6 header and other options, within 1280 bytes.
inline constexpr std::size_t kRedirectedMost = 1280 - 40 - 40 - 8 - 8;

/// RFC 4191 section 2.1: 2 bits; the reserved value counts as medium.
enum class RouterPreference : std::int8_t { low = -1, medium = 0, high = 1 };

struct NdPrefix {
  Ipv6Address prefix;
  std::uint8_t length{};  ///< 0..128
  bool on_link{}, autonomous{};
  std::uint32_t valid_s{}, preferred_s{};  ///< kLifetimeForever: no end
  friend bool operator==(const NdPrefix&, const NdPrefix&) = default;
};

/// RFC 4191 section 2.3: a route over the router that advertises it.
struct NdRoute {
  Ipv6Address prefix;
  std::uint8_t length{};  ///< 0..128
  RouterPreference preference{};
  std::uint32_t lifetime_s{};  ///< 0: it is none any more
  friend bool operator==(const NdRoute&, const NdRoute&) = default;
};

/// RFC 8106 section 5: name servers and search domains; lifetime 0: not to be used any more.
struct NdServer {
  Ipv6Address address;
  std::uint32_t lifetime_s{};
  friend bool operator==(const NdServer&, const NdServer&) = default;
};
struct NdDomain {
  std::string name;  ///< Letters, digits, '-', '_' and dots between labels; 1..253 bytes
  std::uint32_t lifetime_s{};
  friend bool operator==(const NdDomain&, const NdDomain&) = default;
};

/// What the options of any message say, each kind as far as it was there.
struct NdOptions {
  std::optional<MacAddress> source_link, target_link;
  std::optional<std::uint32_t> mtu;
  std::vector<NdPrefix> prefixes;
  std::vector<NdRoute> routes;
  std::vector<NdServer> dns_servers;
  std::vector<NdDomain> dns_domains;
  std::optional<std::uint64_t> nonce;  ///< RFC 3971 section 5.3.2, of 48 bits; others are not read
  bool left_out{};  ///< There was more than the bounds above take
};

struct RouterSolicitation {
  static constexpr std::size_t kLen = 8;
};
struct RouterAdvertisement {
  static constexpr std::size_t kLen = 16;
  std::uint8_t hop_limit{};  ///< 0: not said
  bool managed{}, other{};
  RouterPreference preference{};
  std::uint16_t lifetime_s{};  ///< 0: no default router
  std::uint32_t reachable_ms{}, retransmit_ms{};  ///< 0: not said
  friend bool operator==(const RouterAdvertisement&, const RouterAdvertisement&) = default;
};
struct NeighbourSolicitation {
  static constexpr std::size_t kLen = 24;
  Ipv6Address target;
};
struct NeighbourAdvertisement {
  static constexpr std::size_t kLen = 24;
  Ipv6Address target;
  bool router{}, solicited{}, override_{};
};
struct NdRedirect {
  static constexpr std::size_t kLen = 40;
  Ipv6Address target, destination;
};

using NdBody = std::variant<RouterSolicitation, RouterAdvertisement, NeighbourSolicitation, NeighbourAdvertisement, NdRedirect>;
struct NdMessage {
  NdBody body;
  NdOptions options;
};

/// Reads a message with all its options; `message` is the whole ICMPv6 message.
/// Errors: bad_type (no such message, or a code other than 0); truncated (below its fixed part, or an option that reaches
/// over the end); bad_length (an option of length 0, or of another length than its kind has; more options than
/// kNdOptionsMax). Unknown options are passed over (RFC 4861 section 4.6), as are route information of the reserved preference (RFC 4191
/// section 2.3) and domain names that are none (RFC 8106 section 5.2).
Expected<NdMessage, ParseError> parse_nd(Bytes message);

/// A message as a line of a trace.
std::string describe(const NdMessage& message);

/// Messages that we send, whole, with a link-layer option where `link` is given and a zero checksum; the bytes appended to
/// `out`. Source link-layer in solicitations, target link-layer in advertisements and redirects.
void append_router_solicitation(std::vector<std::byte>& out, const std::optional<MacAddress>& link);
void append_neighbour_solicitation(std::vector<std::byte>& out, const NeighbourSolicitation& m, const std::optional<MacAddress>& link,
                                   std::optional<std::uint64_t> nonce = {});
void append_neighbour_advertisement(std::vector<std::byte>& out, const NeighbourAdvertisement& m, const std::optional<MacAddress>& link);
/// `redirected`: the packet that it is about, at most kRedirectedMost bytes of it (RFC 4861 section 4.6.3); empty: not said.
void append_redirect(std::vector<std::byte>& out, const NdRedirect& m, const std::optional<MacAddress>& link, Bytes redirected = {});
/// For tests and routers: everything that `options` says.
void append_router_advertisement(std::vector<std::byte>& out, const RouterAdvertisement& m, const NdOptions& options);

}  // namespace iopkt::wire
