// Pools and caches: how many objects there are, who has them, and what happens at the limits.
#include "packet/pool.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <vector>

#include "packet/packet.hpp"

namespace iopkt::packet {
namespace {

/// Counts what is taken, and can be empty.
class CountedPages final : public PageSource {
 public:
  std::byte* take(std::size_t bytes) override {
    if (taken + bytes > limit) return nullptr;
    taken += bytes;
    return heap_.take(bytes);
  }
  void give_back(std::byte* memory, std::size_t bytes) override {
    taken -= bytes;
    heap_.give_back(memory, bytes);
  }
  std::size_t taken = 0, limit = SIZE_MAX;

 private:
  HeapPages heap_;
};

TEST(Pools, GiveEveryPageBack) {
  CountedPages pages;
  {
    Pools pools{{}, pages};
    Cache cache{pools};
    std::vector<PacketPtr> packets;
    for (int i = 0; i < 1000; ++i) packets.push_back(allocate(cache, 1500));
    EXPECT_EQ(pools.in_use(Kind::mbuf), 1000u);
    EXPECT_EQ(pools.in_use(Kind::cluster), 1000u);
    EXPECT_GE(pages.taken, 1000u * (512 + 2048));
  }
  EXPECT_EQ(pages.taken, 0u);
}

TEST(Pools, ObjectsAreDistinctAndClustersAligned) {
  HeapPages pages;
  Pools pools{{.mclbytes = 4096}, pages};
  Cache cache{pools};
  std::set<void*> seen;
  for (int i = 0; i < 500; ++i) {
    void* cluster = cache.take(Kind::cluster);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(cluster) % 4096, 0u);
    EXPECT_TRUE(seen.insert(cluster).second);
  }
  for (void* cluster : seen) cache.give(Kind::cluster, cluster);
  EXPECT_EQ(pools.in_use(Kind::cluster), 0u);
}

TEST(Pools, GrowByWholeQuantaUpToTheirLimit) {
  CountedPages pages;
  const PoolConfig config{.pagesize = 8192, .mclbytes = 2048, .max_bytes = 4 * 8192};
  Pools pools{config, pages};
  Cache cache{pools};
  std::vector<void*> taken;
  while (void* cluster = cache.take(Kind::cluster)) taken.push_back(cluster);
  EXPECT_EQ(taken.size(), 16u);
  EXPECT_EQ(pages.taken, 4u * 8192);
  const PoolStatistics full = pools.statistics(Kind::cluster);
  EXPECT_EQ(full.quanta, 4u);
  EXPECT_EQ(full.total, 16u);
  EXPECT_EQ(full.in_use, 16u);
  EXPECT_EQ(full.failures, 1u);
  EXPECT_FALSE(allocate(cache, 100)) << "no mbuf left either";
  cache.give(Kind::cluster, taken.back());
  taken.pop_back();
  EXPECT_EQ(cache.take(Kind::cluster) != nullptr, true);
  for (void* cluster : taken) cache.give(Kind::cluster, cluster);
}

TEST(Pools, SurviveAnEmptyPageSource) {
  CountedPages pages;
  pages.limit = 0;
  Pools pools{{}, pages};
  Cache cache{pools};
  EXPECT_FALSE(allocate(cache, 100));
  EXPECT_FALSE(allocate_header(cache));
  pages.limit = SIZE_MAX;
  EXPECT_TRUE(allocate(cache, 100));
}

TEST(Pools, CountHitsRefillsAndSpills) {
  HeapPages pages;
  Pools pools{{.pkt_cache = 8}, pages};
  Cache cache{pools};
  std::vector<void*> taken;
  for (int i = 0; i < 20; ++i) taken.push_back(cache.take(Kind::cluster));
  PoolStatistics s = pools.statistics(Kind::cluster);
  EXPECT_EQ(s.requests, 20u);
  EXPECT_EQ(s.cache_refills, 5u) << "half a cache at a time";
  EXPECT_EQ(s.cache_hits, 15u);
  for (void* cluster : taken) cache.give(Kind::cluster, cluster);
  s = pools.statistics(Kind::cluster);
  EXPECT_EQ(s.in_use, 0u);
  EXPECT_GT(s.cache_spills, 0u);
}

TEST(Pools, CachingCanBeSwitchedOff) {
  HeapPages pages;
  Pools pools{{.caching = false}, pages};
  Cache cache{pools};
  for (int i = 0; i < 10; ++i) PacketPtr packet = allocate(cache, 100);
  const PoolStatistics s = pools.statistics(Kind::mbuf);
  EXPECT_EQ(s.requests, 10u);
  EXPECT_EQ(s.cache_hits + s.cache_refills + s.cache_spills, 0u);
  EXPECT_EQ(s.in_use, 0u);
}

TEST(Pools, EachKindHasItsQuantum) {
  HeapPages pages;
  for (const bool strict : {false, true}) {
    Pools pools{{.pagesize = 65536, .bigpage_strict = strict}, pages};
    EXPECT_EQ(pools.statistics(Kind::mbuf).quantum_bytes, 65536u);
    EXPECT_EQ(pools.statistics(Kind::cluster).quantum_bytes, 65536u);
    EXPECT_EQ(pools.statistics(Kind::tag).quantum_bytes, strict ? 65536u : 4096u);
  }
}

TEST(Pools, APacketMayBeFreedByAnotherShard) {
  HeapPages pages;
  for (const std::uint32_t subs : {1u, 2u}) {
    Pools pools{{.num_pool_cache = subs}, pages};
    Cache first{pools}, second{pools};
    for (int i = 0; i < 2000; ++i) {
      PacketPtr packet = allocate(first, 3000);
      ASSERT_TRUE(packet);
      packet->move_to(second);
    }
    EXPECT_EQ(pools.in_use(Kind::mbuf), 0u);
    EXPECT_EQ(pools.in_use(Kind::cluster), 0u);
  }
}

}  // namespace
}  // namespace iopkt::packet
