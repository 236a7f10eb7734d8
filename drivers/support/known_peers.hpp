// Stations that have shown that they are there, in memory that the host's kernel reads too: what they send to open a connection is not
// put with what strangers send (support/openings.hpp). A hint, not a promise: a station may lose its place to another that its hash
// falls on. The kernel's program takes off what it lets pass (support/steering.hpp), so that nobody is known for ever, told of or not.
#pragma once

#include <linux/bpf.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "unique_fd.hpp"

namespace devnp {

/// IPv6 stations by their networks of 64 bits. Any thread may call set().
class KnownPeers {
 public:
  static constexpr unsigned kPlaceBits = 12, kTagShift = 20; /* of the product: which bits are the place, and where the tag's 32 begin */
  static constexpr std::size_t kPlaces = std::size_t{1} << kPlaceBits;

  static constexpr std::size_t kBytes = (kPlaces + 1) * sizeof(std::uint64_t);
  static constexpr std::uint32_t kCreditMost = 0x7fffffff; /* the program counts with a sign */

  KnownPeers() = default;
  KnownPeers(const KnownPeers&) = delete;
  KnownPeers& operator=(const KnownPeers&) = delete;
  ~KnownPeers() {
    if (places_ != nullptr) ::munmap(places_, kBytes);
  }

  /// 0 or -errno: without CAP_BPF most hosts refuse, and kernels before 5.5 have no such memory.
  int open() {
    if (::getrandom(&multiplier_, sizeof multiplier_, 0) != sizeof multiplier_) return -errno;
    multiplier_ |= 1;
    bpf_attr attributes{};
    attributes.map_type = BPF_MAP_TYPE_ARRAY;
    attributes.key_size = sizeof(std::uint32_t);
    attributes.value_size = sizeof(std::uint64_t);
    attributes.max_entries = kPlaces + 1;
    attributes.map_flags = BPF_F_MMAPABLE;
    map_.reset(static_cast<int>(::syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes)));
    if (!map_) return -errno;
    void* at = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, map_.get(), 0);
    if (at == MAP_FAILED) return -errno;
    (void)::madvise(at, kBytes, MADV_DONTFORK);
    places_ = static_cast<std::atomic<std::uint64_t>*>(at);
    return 0;
  }

  /// iopkt_device_ops::credit.
  void set(const std::uint8_t* address, std::uint32_t length, std::uint32_t credit) {
    if (places_ == nullptr) return;
    std::uint64_t station = 0;
    for (std::uint32_t i = 0; i < (length == 4 ? 4u : 8u); ++i) station = station << 8 | address[i];
    const std::uint64_t product = station * multiplier_;
    const auto tag = static_cast<std::uint32_t>(product >> kTagShift);
    std::atomic<std::uint64_t>& place = places_[product >> (64 - kPlaceBits)];
    const std::uint64_t was = place.load(std::memory_order_relaxed), is = std::uint64_t{std::min(credit, kCreditMost)} << 32 | tag;
    if (was != is && (credit != 0 || static_cast<std::uint32_t>(was) == tag)) place.store(is, std::memory_order_relaxed);
  }

  /// Strangers' openings that a program with Strangers::count has seen.
  std::uint64_t openings() const { return places_ == nullptr ? 0 : places_[kPlaces].load(std::memory_order_relaxed); }

  int map() const { return map_.get(); }
  std::uint64_t multiplier() const { return multiplier_; }

 private:
  static_assert(std::atomic<std::uint64_t>::is_always_lock_free);
  UniqueFd map_;
  std::uint64_t multiplier_ = 1;
  std::atomic<std::uint64_t>* places_ = nullptr; /* credit << 32 | tag; behind them a count */
};

}  // namespace devnp
