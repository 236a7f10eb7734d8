// The MTU of paths: what routers said of them, and whether they can have meant a packet of ours. RFC 1191 sections 3 and 6.3, RFC 8201
// sections 4 and 5.2; RFC 5927 section 7: anybody can send such messages.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/hash_map.hpp"
#include "base/time.hpp"
#include "wire/address.hpp"

namespace iopkt::route {

/// The least that is believed: RFC 8201 section 4; of IPv4 what the host believes (net.ipv4.route.min_pmtu).
constexpr std::uint32_t least_path_mtu(wire::IpFamily family) { return family == wire::IpFamily::v6 ? 1280 : 552; }

/// Without padding. Routes of another FIB may lead elsewhere.
struct PathKey {
  wire::IpAddress destination;
  std::uint32_t fib = 0;
  friend bool operator==(const PathKey&, const PathKey&) = default;
};

/// By destination; bounded, the entry that was learned first makes room.
class PathMtus {
 public:
  static constexpr std::size_t kMost = 1024;
  static constexpr Duration kLife = 600s;  ///< RFC 1191 section 6.3, RFC 8201 section 4: ten minutes before a larger one is tried

  explicit PathMtus(HashKey secret) : entries_(16, SipHash{secret}) {}

  /// 0: nothing is known. Forgets nothing: that is learn()'s matter.
  std::uint32_t find(const PathKey& path, Instant now) const {
    const auto at = entries_.find(path);
    return at == entries_.end() || at->second->until <= now ? 0 : at->second->mtu;
  }
  /// Only ever lowers what is known (RFC 8201 section 4), and not below least_path_mtu(). False: it was as low already.
  bool learn(const PathKey& path, std::uint32_t mtu, Instant now);

  std::size_t size() const { return order_.size(); }

 private:
  struct Entry {
    PathKey path;
    std::uint32_t mtu;
    Instant until;
  };
  std::list<Entry> order_;  // oldest first
  std::unordered_map<PathKey, std::list<Entry>::iterator, SipHash> entries_;
};

/// Where long datagrams went lately, by destination and sender. Connections have their sequence numbers to tell a true message from a
/// forged one, datagrams nothing but that. Bounded: each has one place, which the next one may take; then a router has to say it again.
class LongSent {
 public:
  static constexpr std::size_t kPlaces = 1024;
  static constexpr Duration kLife = 120s;  ///< RFC 9293 section 3.4.1: so long may a packet be on its way

  /// Without padding.
  struct Key {
    wire::IpAddress destination;
    std::uint16_t port = 0;  ///< the sender's; 0: it has none
    std::uint16_t protocol = 0;
  };

  explicit LongSent(HashKey secret) : hash_{secret} {}

  void note(const Key& key, std::uint8_t fib, Instant now);
  /// By which FIB. nullopt: none went there, or too long ago.
  std::optional<std::uint8_t> find(const Key& key, Instant now) const;

 private:
  struct Place {
    std::uint64_t hash = 0;
    Instant until{};
    std::uint8_t fib = 0;
  };
  SipHash hash_;
  std::vector<Place> places_;  // empty before the first
};

}  // namespace iopkt::route
