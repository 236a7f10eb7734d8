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
  if (out.exclude && out.sources.empty()) return out;
  std::vector<wire::IpAddress> included;
  for (const auto& [who, filter] : entry.listeners)
    if (!filter.exclude) included.insert(included.end(), filter.sources.begin(), filter.sources.end());
  std::sort(included.begin(), included.end());
  included.erase(std::unique(included.begin(), included.end()), included.end());
  if (!out.exclude) out.sources = std::move(included);
  else std::erase_if(out.sources, [&](const wire::IpAddress& source) { return std::ranges::binary_search(included, source); });
  return out;
}

Table::Change Table::set(const Key& key, Listener who, const Filter& filter, bool keep) {
  Entry& entry = entries_[key];
  const auto at = place_of(entry.listeners, who);
  const bool there = at != entry.listeners.end() && at->first == who;
  if (filter.is_member() || keep) {
    if (there) at->second = filter;
    else entry.listeners.emplace(at, who, filter);
  } else if (there) {
    entry.listeners.erase(at);
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
  const auto& listeners = at->second.listeners;
  const auto one = place_of(listeners, who);
  return one != listeners.end() && one->first == who ? &one->second : nullptr;
}

std::vector<Table::Row> Table::rows() const {
  std::vector<Row> out;
  for (const auto& [key, entry] : entries_) {
    const bool own = !entry.listeners.empty() && entry.listeners.back().first == kOwnListener;
    out.push_back({key, entry.merged, entry.listeners.size() - (own ? 1 : 0)});
  }
  return out;
}

}  // namespace iopkt::group
