#include "route/path_mtu.hpp"

#include <iterator>

namespace iopkt::route {

bool PathMtus::learn(const wire::IpAddress& destination, std::uint32_t mtu, Instant now) {
  if (const std::uint32_t known = find(destination, now); known != 0 && known <= mtu) return false;
  if (const auto old = entries_.find(destination); old != entries_.end()) {
    order_.erase(old->second);
    entries_.erase(old);
  }
  while (order_.size() >= kMost) {
    entries_.erase(order_.front().destination);
    order_.pop_front();
  }
  order_.push_back({destination, mtu, now + kLife});
  entries_.emplace(destination, std::prev(order_.end()));
  return true;
}

}  // namespace iopkt::route
