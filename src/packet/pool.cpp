#include "packet/pool.hpp"

#include <algorithm>
#include <new>

namespace iopkt::packet {

std::byte* HeapPages::take(std::size_t bytes) {
  return static_cast<std::byte*>(::operator new(bytes, std::align_val_t{bytes}, std::nothrow));
}

void HeapPages::give_back(std::byte* memory, std::size_t bytes) {
  ::operator delete(memory, std::align_val_t{bytes});
}

namespace {
constexpr std::size_t index_of(Kind kind) { return static_cast<std::size_t>(kind); }
constexpr std::uint32_t kSmallQuantum = 4096;  // one page: what pools other than mbuf and cluster grow by
constexpr std::size_t kBatchMax = 64;          // objects moved under one lock
}  // namespace

Pools::Pools(const PoolConfig& config, PageSource& pages) : config_(config), pages_(pages) {
  IOPKT_ASSERT(std::has_single_bit(config.pagesize) && std::has_single_bit(config.mclbytes));
  IOPKT_ASSERT(config.mclbytes >= 2048 && config.mclbytes <= config.pagesize);
  IOPKT_ASSERT(config.num_pool_cache >= 1);
  const auto init = [&](Kind kind, std::uint32_t object, std::uint32_t quantum) {
    KindPool& pool = kinds_[index_of(kind)];
    pool.object_bytes = object;
    pool.quantum_bytes = std::max(quantum, object);
    pool.subs = std::vector<SubPool>(config.num_pool_cache);
  };
  init(Kind::mbuf, kMbufSize, config.pagesize);
  init(Kind::cluster, config.mclbytes, config.pagesize);
  init(Kind::tag, kTagBytes, config.bigpage_strict ? config.pagesize : kSmallQuantum);
}

Pools::~Pools() {
  IOPKT_ASSERT(caches_.empty());
  for (const Quantum& quantum : quanta_) pages_.give_back(quantum.memory, quantum.bytes);
}

bool Pools::grow(KindPool& pool, SubPool& sub) {
  SpinGuard guard(lock_);
  if (bytes_ + pool.quantum_bytes > config_.max_bytes) return false;
  std::byte* memory = pages_.take(pool.quantum_bytes);
  if (memory == nullptr) return false;
  quanta_.push_back({memory, pool.quantum_bytes});
  bytes_ += pool.quantum_bytes;
  const std::size_t count = pool.quantum_bytes / pool.object_bytes;
  for (std::size_t i = count; i-- > 0;) {
    auto* object = reinterpret_cast<FreeObject*>(memory + i * pool.object_bytes);
    object->next = sub.free;
    sub.free = object;
  }
  sub.free_count += count;
  sub.total += count;
  ++sub.quanta;
  return true;
}

std::size_t Pools::take(Kind kind, std::uint32_t which, void** out, std::size_t count) {
  KindPool& pool = kinds_[index_of(kind)];
  SubPool& sub = pool.subs[which];
  SpinGuard guard(sub.lock);
  std::size_t taken = 0;
  while (taken < count) {
    if (sub.free == nullptr && !grow(pool, sub)) break;
    out[taken++] = sub.free;
    sub.free = sub.free->next;
    --sub.free_count;
  }
  if (taken == 0) ++sub.failures;
  return taken;
}

void Pools::give(Kind kind, std::uint32_t which, void** objects, std::size_t count) {
  SubPool& sub = kinds_[index_of(kind)].subs[which];
  SpinGuard guard(sub.lock);
  for (std::size_t i = 0; i < count; ++i) {
    auto* object = static_cast<FreeObject*>(objects[i]);
    object->next = sub.free;
    sub.free = object;
  }
  sub.free_count += count;
}

PoolStatistics Pools::statistics(Kind kind) const {
  const KindPool& pool = kinds_[index_of(kind)];
  PoolStatistics s{.object_bytes = pool.object_bytes, .quantum_bytes = pool.quantum_bytes};
  for (const SubPool& sub : pool.subs) {
    SpinGuard guard(sub.lock);
    s.total += sub.total;
    s.quanta += sub.quanta;
    s.failures += sub.failures;
  }
  SpinGuard guard(lock_);
  for (const Cache* cache : caches_) {
    const Cache::Stock& stock = cache->stocks_[index_of(kind)];
    s.requests += stock.requests.value();
    s.cache_hits += stock.hits.value();
    s.cache_refills += stock.refills.value();
    s.cache_spills += stock.spills.value();
    // A packet may be freed by another shard than the one that took it: only the sum is meaningful.
    s.in_use += stock.taken.value() - stock.given.value();
  }
  return s;
}

Cache::Cache(Pools& pools) : pools_(pools) {
  const PoolConfig& config = pools.config();
  SpinGuard guard(pools_.lock_);
  sub_ = pools_.next_sub_++ % config.num_pool_cache;
  stocks_[index_of(Kind::mbuf)].limit = config.caching ? config.mbuf_cache + config.pkt_cache : 0;
  stocks_[index_of(Kind::cluster)].limit = config.caching ? config.pkt_cache : 0;
  stocks_[index_of(Kind::tag)].limit = config.caching ? config.mtag_cache : 0;
  for (Stock& stock : stocks_) stock.objects.reserve(stock.limit);
  pools_.caches_.push_back(this);
}

Cache::~Cache() {
  for (std::size_t k = 0; k < kKinds; ++k) {
    auto& objects = stocks_[k].objects;
    if (!objects.empty()) pools_.give(static_cast<Kind>(k), sub_, objects.data(), objects.size());
  }
  SpinGuard guard(pools_.lock_);
  std::erase(pools_.caches_, this);
}

void* Cache::take(Kind kind) {
  Stock& stock = stocks_[index_of(kind)];
  ++stock.requests;
  if (stock.objects.empty()) {
    void* batch[kBatchMax];
    const std::size_t want = std::clamp<std::size_t>(stock.limit / 2, 1, kBatchMax);
    const std::size_t got = pools_.take(kind, sub_, batch, want);
    if (got == 0) return ++stock.failures, nullptr;
    if (stock.limit != 0) ++stock.refills;
    ++stock.taken;
    stock.objects.insert(stock.objects.end(), batch, batch + got - 1);
    return batch[got - 1];
  }
  ++stock.hits;
  ++stock.taken;
  void* object = stock.objects.back();
  stock.objects.pop_back();
  return object;
}

void Cache::give(Kind kind, void* object) {
  Stock& stock = stocks_[index_of(kind)];
  ++stock.given;
  if (stock.objects.size() < stock.limit) {
    stock.objects.push_back(object);
    return;
  }
  if (stock.limit == 0) return pools_.give(kind, sub_, &object, 1);
  ++stock.spills;
  const std::size_t spill =
      std::min(stock.objects.size(), std::min<std::size_t>(stock.limit / 2 + 1, kBatchMax));
  pools_.give(kind, sub_, stock.objects.data() + stock.objects.size() - spill, spill);
  stock.objects.resize(stock.objects.size() - spill);
  stock.objects.push_back(object);
}

}  // namespace iopkt::packet
