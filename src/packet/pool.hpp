// Where packets come from: mbufs and clusters carved from page quanta, shared by the shards, cached per
// shard.
//
// An mbuf is one Packet object (kMbufSize bytes); a cluster is `mclbytes` of contiguous memory, aligned to
// its size. The shared Pools is locked only when a cache is refilled or spilled, a batch at a time. A Cache
// belongs to one shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.hpp"
#include "base/counters.hpp"
#include "base/spinlock.hpp"

namespace iopkt::packet {

class Packet;
class Cache;

inline constexpr std::size_t kMbufSize = 512;

/// Gives the pools their memory; the daemon maps it (or takes it from a named memory object), tests allocate
/// it.
class PageSource {
 public:
  virtual ~PageSource() = default;
  /// `bytes` (a power of two) aligned to `bytes`, or nullptr.
  virtual std::byte* take(std::size_t bytes) = 0;
  virtual void give_back(std::byte* memory, std::size_t bytes) = 0;
};

/// Takes its memory from operator new.
class HeapPages final : public PageSource {
 public:
  std::byte* take(std::size_t bytes) override;
  void give_back(std::byte* memory, std::size_t bytes) override;
};

/// Option rows of the page in plain values; see the daemon's option table for ranges and defaults.
struct PoolConfig {
  std::uint32_t pagesize = 128 * 1024;   ///< allocation quantum of mbuf and cluster pools, a power of two
  std::uint32_t mclbytes = 2048;         ///< cluster size, a power of two, at most pagesize
  std::uint32_t mbuf_cache = 256;        ///< mbufs kept per shard
  std::uint32_t pkt_cache = 256;         ///< mbuf+cluster pairs kept per shard
  std::uint32_t mtag_cache = 128;        ///< tags kept per shard
  std::uint32_t num_pool_cache = 1;      ///< shared sub-pools that shards are spread over, 1..20
  std::uint32_t max_bytes = 512u << 20;  ///< most memory of all pools together
  bool caching = true;                   ///< cache=0 switches every per-shard cache off
  bool bigpage_strict = false;           ///< pagesize for the tag pool too
};

/// One kind of object: counts are of objects, kept where they move.
struct PoolStatistics {
  std::uint32_t object_bytes{}, quantum_bytes{};
  std::uint64_t quanta{}, total{}, in_use{}, requests{}, failures{}, cache_hits{}, cache_refills{},
      cache_spills{};
};

enum class Kind : std::uint8_t { mbuf, cluster, tag };
inline constexpr std::size_t kKinds = 3;
inline constexpr std::size_t kTagBytes = 32;  ///< tag header and up to 16 bytes of value

/// Shared by all shards of a stack.
class Pools {
 public:
  Pools(const PoolConfig& config, PageSource& pages);
  ~Pools();
  Pools(const Pools&) = delete;
  Pools& operator=(const Pools&) = delete;

  const PoolConfig& config() const { return config_; }
  PoolStatistics statistics(Kind kind) const;
  /// Objects of this kind that somebody holds (caches excluded).
  std::uint64_t in_use(Kind kind) const { return statistics(kind).in_use; }

 private:
  friend class Cache;
  struct FreeObject {
    FreeObject* next;
  };
  struct Quantum {
    std::byte* memory;
    std::size_t bytes;
  };
  struct SubPool {
    mutable SpinLock lock;
    FreeObject* free = nullptr;
    std::uint64_t free_count = 0, total = 0, quanta = 0, failures = 0;
  };
  struct KindPool {
    std::uint32_t object_bytes{}, quantum_bytes{};
    std::vector<SubPool> subs;
  };

  std::size_t take(Kind kind, std::uint32_t sub, void** out, std::size_t count);
  void give(Kind kind, std::uint32_t sub, void** objects, std::size_t count);
  bool grow(KindPool& pool, SubPool& sub);

  PoolConfig config_;
  PageSource& pages_;
  KindPool kinds_[kKinds];
  mutable SpinLock lock_;  // quanta_, bytes_, caches_
  std::vector<Quantum> quanta_;
  std::uint64_t bytes_ = 0;
  std::vector<const Cache*> caches_;
  std::uint32_t next_sub_ = 0;
};

/// A shard's own stock. Everything of the data path allocates here.
class Cache {
 public:
  explicit Cache(Pools& pools);
  ~Cache();
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  /// Uninitialised memory of the kind's size, or nullptr when the pools are at their limit.
  void* take(Kind kind);
  void give(Kind kind, void* object);

  Pools& pools() { return pools_; }
  std::uint32_t cluster_bytes() const { return pools_.config_.mclbytes; }

 private:
  friend class Pools;
  struct Stock {
    std::vector<void*> objects;
    std::size_t limit = 0;  ///< 0: no caching
    Counter requests, hits, refills, spills, failures, taken, given;
  };
  Pools& pools_;
  std::uint32_t sub_;
  Stock stocks_[kKinds];
};

}  // namespace iopkt::packet
