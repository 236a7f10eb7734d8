// Source filters of multicast groups, of either family: RFC 3376 sections 2 and 3, RFC 3810 sections 3 and 4 (the same).
#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <vector>

#include "wire/address.hpp"

namespace iopkt::group {

/// From whom a listener wants to hear. The initial value, INCLUDE of nothing, is "not a member".
struct Filter {
  bool exclude = false;                    ///< EXCLUDE: all but `sources`
  std::vector<wire::IpAddress> sources{};  ///< sorted, each once

  static Filter everything() { return {.exclude = true}; }
  bool is_member() const { return exclude || !sources.empty(); }
  bool names(const wire::IpAddress& source) const { return std::binary_search(sources.begin(), sources.end(), source); }
  bool passes(const wire::IpAddress& source) const { return names(source) != exclude; }
  /// False: it is there already, or is not.
  bool add(const wire::IpAddress& source);
  bool remove(const wire::IpAddress& source);
  friend bool operator==(const Filter&, const Filter&) = default;
};

/// A group on one interface. With IPv6 `group` carries the zone where it has one.
struct Key {
  std::uint32_t interface_index{};
  wire::IpAddress group;
  friend auto operator<=>(const Key&, const Key&) = default;
};

}  // namespace iopkt::group
