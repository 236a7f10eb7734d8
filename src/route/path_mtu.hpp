// What routers said about the MTU of paths: RFC 8201 section 5.2 (what is kept and for how long).
#pragma once

#include <cstdint>
#include <list>
#include <unordered_map>

#include "base/hash_map.hpp"
#include "base/time.hpp"
#include "wire/address.hpp"

namespace iopkt::route {

/// By destination; bounded, the entry that was learned first makes room.
class PathMtus {
 public:
  static constexpr std::size_t kMost = 1024;
  static constexpr Duration kLife = 600s;  ///< RFC 8201 section 4: ten minutes before a larger one is tried

  explicit PathMtus(HashKey secret) : entries_(16, SipHash{secret}) {}

  /// 0: nothing is known. Forgets nothing: that is learn()'s matter.
  std::uint32_t find(const wire::IpAddress& destination, Instant now) const {
    const auto at = entries_.find(destination);
    return at == entries_.end() || at->second->until <= now ? 0 : at->second->mtu;
  }
  /// Only ever lowers what is known (RFC 8201 section 4). False: it was as low already.
  bool learn(const wire::IpAddress& destination, std::uint32_t mtu, Instant now);

  std::size_t size() const { return order_.size(); }

 private:
  struct Entry {
    wire::IpAddress destination;
    std::uint32_t mtu;
    Instant until;
  };
  std::list<Entry> order_;  // oldest first
  std::unordered_map<wire::IpAddress, std::list<Entry>::iterator, SipHash> entries_;
};

}  // namespace iopkt::route
