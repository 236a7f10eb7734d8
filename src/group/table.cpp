#include "group/table.hpp"

namespace iopkt::group {

bool Filter::add(const wire::IpAddress& source) {
  const auto at = std::lower_bound(sources.begin(), sources.end(), source);
  if (at != sources.end() && *at == source) return false;
  sources.insert(at, source);
  return true;
}

bool Filter::remove(const wire::IpAddress& source) {
  const auto at = std::lower_bound(sources.begin(), sources.end(), source);
  if (at == sources.end() || *at != source) return false;
  sources.erase(at);
  return true;
}

/// RFC 3376 section 3.2: with an EXCLUDE among them, what all of these exclude and nobody includes; else what anybody includes.
Filter Table::merge(const Entry& entry) {
  Filter out;
  for (const auto& [who, filter] : entry.listeners) {
    if (!filter.exclude) continue;
    if (!std::exchange(out.exclude, true)) out.sources = filter.sources;
    else std::erase_if(out.sources, [&](const wire::IpAddress& source) { return !filter.names(source); });
  }
  for (const auto& [who, filter] : entry.listeners) {
    if (filter.exclude) continue;
    for (const wire::IpAddress& source : filter.sources) out.exclude ? out.remove(source) : out.add(source);
  }
  return out;
}

Table::Change Table::set(const Key& key, Listener who, const Filter& filter, bool keep) {
  Entry& entry = entries_[key];
  const auto at = std::find_if(entry.listeners.begin(), entry.listeners.end(), [&](const auto& one) { return one.first == who; });
  if (!filter.is_member() && !keep) {
    if (at != entry.listeners.end()) entry.listeners.erase(at);
  } else if (at != entry.listeners.end()) {
    at->second = filter;
  } else {
    entry.listeners.emplace_back(who, filter);
  }
  Change change{std::exchange(entry.merged, merge(entry)), {}};
  change.after = entry.merged;
  if (entry.listeners.empty()) entries_.erase(key);
  return change;
}

Table::Change Table::remove(const Key& key, Listener who) { return set(key, who, {}); }

const Filter* Table::merged(const Key& key) const {
  const auto at = entries_.find(key);
  return at == entries_.end() || !at->second.merged.is_member() ? nullptr : &at->second.merged;
}

const Filter* Table::of(const Key& key, Listener who) const {
  const auto at = entries_.find(key);
  if (at == entries_.end()) return nullptr;
  for (const auto& [one, filter] : at->second.listeners)
    if (one == who) return &filter;
  return nullptr;
}

std::vector<Table::Row> Table::rows() const {
  std::vector<Row> out;
  for (const auto& [key, entry] : entries_) out.push_back({key, entry.merged, entry.listeners.size()});
  return out;
}

}  // namespace iopkt::group
