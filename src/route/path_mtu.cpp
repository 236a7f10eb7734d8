#include "route/path_mtu.hpp"

#include <algorithm>
#include <iterator>

namespace iopkt::route {

bool PathMtus::learn(const PathKey& path, std::uint32_t mtu, Instant now) {
  mtu = std::max(mtu, least_path_mtu(path.destination.family()));
  if (const std::uint32_t known = find(path, now); known != 0 && known <= mtu) return false;
  if (const auto old = entries_.find(path); old != entries_.end()) {
    order_.erase(old->second);
    entries_.erase(old);
  }
  while (order_.size() >= kMost) {
    entries_.erase(order_.front().path);
    order_.pop_front();
  }
  order_.push_back({path, mtu, now + kLife});
  entries_.emplace(path, std::prev(order_.end()));
  return true;
}

void LongSent::note(const Key& key, std::uint8_t fib, Instant now) {
  if (places_.empty()) places_.resize(kPlaces);
  const std::uint64_t hash = hash_(key);
  places_[hash % kPlaces] = {hash, now + kLife, fib};
}

std::optional<std::uint8_t> LongSent::find(const Key& key, Instant now) const {
  if (places_.empty()) return std::nullopt;
  const std::uint64_t hash = hash_(key);
  const Place& place = places_[hash % kPlaces];
  if (place.hash != hash || place.until <= now) return std::nullopt;
  return place.fib;
}

}  // namespace iopkt::route
