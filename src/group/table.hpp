// Who listens to which group on which interface: every socket's filter, and what they come to for the interface. Each shard has a
// copy of the whole table.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "group/filter.hpp"

namespace iopkt::group {

/// A socket: shard << 32 | id.
using Listener = std::uint64_t;
/// The stack itself: the groups in which its own addresses are asked for.
inline constexpr Listener kOwnListener = UINT64_MAX;

class Table {
 public:
  struct Change {
    Filter before, after;
  };
  /// Gives `who` this filter for the group; one that is_member() nothing, unless `keep`, ends its listening. Answers what the
  /// interface as a whole listened to before, and now.
  Change set(const Key& key, Listener who, const Filter& filter, bool keep = false);
  Change remove(const Key& key, Listener who);

  /// What the interface listens to; nullptr: nobody is a member.
  const Filter* merged(const Key& key) const;
  /// A socket's own filter; nullptr: it has not joined.
  const Filter* of(const Key& key, Listener who) const;
  /// In order: interface, group, what it listens to, and how many sockets do; 0: the stack itself alone.
  struct Row {
    Key key;
    Filter filter;
    std::size_t listeners;
  };
  std::vector<Row> rows() const;
  bool empty() const { return entries_.empty(); }

 private:
  struct Entry {
    std::vector<std::pair<Listener, Filter>> listeners;  // by listener: each datagram asks for each of its receivers
    Filter merged;
  };
  /// The first that is not before `who`.
  static auto place_of(auto& listeners, Listener who) {
    return std::ranges::lower_bound(listeners, who, {}, [](const auto& one) { return one.first; });
  }
  static Filter merge(const Entry& entry);
  std::map<Key, Entry> entries_;
};

}  // namespace iopkt::group
