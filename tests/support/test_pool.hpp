// A packet pool for a test, which says at its end when something is still held; and packets from and to plain
// bytes.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

#include "packet/packet.hpp"
#include "wire/icmp.hpp"
#include "wire/ipv4.hpp"

namespace iopkt::test {

using Data = std::vector<std::byte>;

inline Data bytes(std::initializer_list<int> values) {
  Data out;
  for (const int v : values) out.push_back(static_cast<std::byte>(v));
  return out;
}
/// 0, 1, 2 … from `first` on.
inline Data counted(std::size_t size, unsigned first = 0) {
  Data out(size);
  for (std::size_t i = 0; i < size; ++i) out[i] = static_cast<std::byte>(first + i);
  return out;
}

class TestPool {
 public:
  explicit TestPool(const packet::PoolConfig& config = {}) : pools_(config, pages_), cache_(pools_) {}
  ~TestPool() {
    for (const auto kind : {packet::Kind::mbuf, packet::Kind::cluster, packet::Kind::tag})
      EXPECT_EQ(pools_.in_use(kind), 0u) << "leaked";
  }
  packet::Cache& cache() { return cache_; }
  packet::Pools& pools() { return pools_; }

  packet::PacketPtr packet(Bytes bytes) {
    packet::PacketPtr p = packet::allocate_header(cache_);
    EXPECT_TRUE(p->append(bytes));
    return p;
  }
  /// An IPv4 packet with a correct header.
  packet::PacketPtr ipv4(wire::Ipv4Header header, Bytes payload) {
    packet::PacketPtr p = packet(payload);
    header.payload_len = static_cast<std::uint16_t>(payload.size());
    wire::encode(header, p->prepend(static_cast<std::uint32_t>(wire::encoded_len(header))));
    return p;
  }

 private:
  packet::HeapPages pages_;
  packet::Pools pools_;
  packet::Cache cache_;
};

inline Data data_of(const packet::Packet& packet) {
  Data out(packet.size());
  packet.copy_out(0, out);
  return out;
}

}  // namespace iopkt::test
