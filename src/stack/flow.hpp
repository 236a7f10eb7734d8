// Which connection a segment belongs to, and which shard a connection belongs to.
#pragma once

#include <cstdint>

#include "base/random.hpp"
#include "wire/address.hpp"

namespace iopkt::stack {

/// The pair of endpoints as one of them sees it.
struct FlowKey {
  wire::Endpoint local, remote;
  friend bool operator==(const FlowKey&, const FlowKey&) = default;
};

/// Keyed mixing of two words (the multiply-fold of wyhash's family): cheap enough for each packet, not steerable without
/// the key.
inline std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

inline std::uint64_t hash_endpoint(HashKey key, const wire::Endpoint& e) {
  const auto& w = e.address.words();
  const std::uint64_t high = (static_cast<std::uint64_t>(w[0]) << 32 | w[1]) ^ key.k0;
  const std::uint64_t low = (static_cast<std::uint64_t>(w[2]) << 32 | w[3]) ^ key.k1;
  return mix(high, low ^ 0x9e3779b97f4a7c15u) ^ mix(key.k0 ^ e.port.value, key.k1 | 1);
}

/// The same for both directions of a flow, never 0: both ends of a loopback connection live on one shard.
inline std::uint32_t flow_hash(HashKey key, const wire::Endpoint& a, const wire::Endpoint& b) {
  const std::uint64_t sum = hash_endpoint(key, a) + hash_endpoint(key, b);
  const std::uint64_t h = mix(sum ^ key.k1, key.k0 | 1);
  return static_cast<std::uint32_t>(h ^ (h >> 32)) | 1u;
}

struct FlowKeyHash {
  HashKey key;
  std::uint64_t operator()(const FlowKey& flow) const {
    return mix(hash_endpoint(key, flow.local) ^ key.k0, hash_endpoint(key, flow.remote) | 1);
  }
};

/// UDP belongs to the shard of its local port, so that sockets without a peer find all their datagrams.
inline std::uint32_t port_hash(HashKey key, wire::Port port) {
  return static_cast<std::uint32_t>(mix(port.value ^ key.k0, key.k1 | 1) >> 16);
}

}  // namespace iopkt::stack
