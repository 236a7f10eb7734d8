#include "tcp/fast_open.hpp"

#include <algorithm>
#include <array>
#include <iterator>

namespace iopkt::tcp {

namespace {

std::uint64_t load_le64(Bytes bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 8; i > 0; --i) value = value << 8 | std::to_integer<std::uint64_t>(bytes[at + i - 1]);
  return value;
}

void store_le64(MutableBytes bytes, std::size_t at, std::uint64_t value) {
  for (std::size_t i = 0; i < 8; ++i, value >>= 8) bytes[at + i] = static_cast<std::byte>(value);
}

}  // namespace

HashKey fast_open_key(Bytes bytes) { return {load_le64(bytes, 0), load_le64(bytes, 8)}; }

HashKey default_fast_open_key(HashKey secret) { return {secret.k0 ^ 0x666173746f70656eu, secret.k1}; }

wire::FastOpenCookie fast_open_cookie(HashKey key, const wire::IpAddress& server, const wire::IpAddress& client) {
  std::array<std::byte, 32> bytes{};
  std::size_t size = 0;
  for (const wire::IpAddress* address : {&client, &server}) {
    if (address->is_v4()) {
      store_be32(bytes, size, address->v4().value);
      size += 4;
      continue;
    }
    for (const std::uint8_t byte : address->v6().bytes) bytes[size++] = std::byte{byte};
  }
  wire::FastOpenCookie cookie{.size = 8};
  store_le64(cookie.bytes, 0, siphash24(key, Bytes{bytes}.first(size)));
  return cookie;
}

FastOpenCache::Known FastOpenCache::find(const wire::IpAddress& local, const wire::IpAddress& server, Instant now) const {
  const auto at = entries_.find(server);
  if (at == entries_.end() || at->second->local != local) return {};
  const Entry& e = *at->second;
  return {.cookie = e.cookie, .mss = e.mss, .paused = now < e.paused_until};
}

FastOpenCache::Entry& FastOpenCache::entry(const wire::IpAddress& local, const wire::IpAddress& server) {
  const auto known = entries_.find(server);
  if (known != entries_.end()) {
    if (known->second->local != local) *known->second = {.server = server, .local = local};
    return *known->second;
  }
  while (order_.size() >= kMost) {
    entries_.erase(order_.front().server);
    order_.pop_front();
  }
  order_.push_back({.server = server, .local = local});
  entries_.emplace(server, std::prev(order_.end()));
  return order_.back();
}

void FastOpenCache::learn(const wire::IpAddress& local, const wire::IpAddress& server, const wire::FastOpenCookie& cookie,
                          std::uint16_t mss) {
  Entry& e = entry(local, server);
  e.cookie = cookie;
  e.mss = mss;
  e.losses = 0;
}

void FastOpenCache::lost(const wire::IpAddress& local, const wire::IpAddress& server, Duration pause, Instant now) {
  Entry& e = entry(local, server);
  e.cookie = {};
  for (std::uint8_t i = 0; i < e.losses && pause < kLongestPause; ++i) pause *= 2;
  e.paused_until = now + std::min(pause, kLongestPause);
  if (e.losses < 255) ++e.losses;
}

}  // namespace iopkt::tcp
