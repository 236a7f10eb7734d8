// Copies between a ring and pieces of ordinary memory. What is read may be overwritten meanwhile; the caller's CAS of the head
// decides afterwards whether the copy counts.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace iopkt::ipc {

/// Reads bytes that another thread may be writing. The thread sanitizer is told that this is meant, byte by byte.
inline void racy_load(void* to, const std::byte* from, std::size_t n) {
#if defined(__SANITIZE_THREAD__)
  auto* out = static_cast<std::byte*>(to);
  for (std::size_t i = 0; i < n; ++i) out[i] = __atomic_load_n(from + i, __ATOMIC_RELAXED);
#else
  std::memcpy(to, from, n);
#endif
}
inline void racy_store(std::byte* to, const void* from, std::size_t n) {
#if defined(__SANITIZE_THREAD__)
  const auto* in = static_cast<const std::byte*>(from);
  for (std::size_t i = 0; i < n; ++i) __atomic_store_n(to + i, in[i], __ATOMIC_RELAXED);
#else
  std::memcpy(to, from, n);
#endif
}

/// `n` bytes from position `at` of the ring {base, size}; size a power of two, n <= size.
inline void copy_from_ring(void* to, const std::byte* base, std::size_t size, std::uint64_t at, std::size_t n) {
  const std::size_t start = at & (size - 1);
  const std::size_t first = std::min(n, size - start);
  racy_load(to, base + start, first);
  if (first < n) racy_load(static_cast<std::byte*>(to) + first, base, n - first);
}
inline void copy_to_ring(std::byte* base, std::size_t size, std::uint64_t at, const void* from, std::size_t n) {
  if (n == 0) return;  // then `from` may be null
  const std::size_t start = at & (size - 1);
  const std::size_t first = std::min(n, size - start);
  racy_store(base + start, from, first);
  if (first < n) racy_store(base, static_cast<const std::byte*>(from) + first, n - first);
}

/// The sum of all pieces, at most `limit`.
inline std::size_t total_length(std::span<const iovec> pieces, std::size_t limit = SIZE_MAX) {
  std::size_t sum = 0;
  for (const iovec& piece : pieces) {
    if (piece.iov_len >= limit - sum) return limit;
    sum += piece.iov_len;
  }
  return sum;
}

/// Scatters `n` bytes from position `at` over `to`; returns how many fitted.
inline std::size_t scatter(std::span<const iovec> to, const std::byte* base, std::size_t size, std::uint64_t at,
                           std::size_t n) {
  std::size_t done = 0;
  for (const iovec& piece : to) {
    const std::size_t k = std::min(piece.iov_len, n - done);
    if (k > 0) copy_from_ring(piece.iov_base, base, size, at + done, k);
    done += k;
    if (done == n) break;
  }
  return done;
}

/// Copies old ring -> new ring, position by position; n <= both sizes.
inline void move_between_rings(std::byte* to, std::size_t to_size, const std::byte* from, std::size_t from_size,
                               std::uint64_t at, std::size_t n) {
  while (n > 0) {
    const std::size_t a = at & (from_size - 1), b = at & (to_size - 1);
    const std::size_t k = std::min({n, from_size - a, to_size - b});
    std::memcpy(to + b, from + a, k);
    at += k;
    n -= k;
  }
}

}  // namespace iopkt::ipc
