#include "wire/checksum.hpp"

namespace iopkt::wire {
namespace {

// RFC 1071 section 2: the sum may be taken in the machine's own byte order and in wider words, and be swapped
// at the end. Here 32-bit halves are added into 64-bit lanes, which no message can make overflow: no carry
// ever has to be kept.

constexpr std::uint64_t kLow = 0xffffffffu;

using Vector16 = std::uint64_t __attribute__((vector_size(16)));
using Vector32 = std::uint64_t __attribute__((vector_size(32)));

/// Below this, starting the vectors costs more than they save.
constexpr std::size_t kVectorsFrom = 96;

/// Adds (and with `kCopy` copies) whole blocks of two vectors from the front; moves `from`, `to` and `size`
/// behind them.
template <class Vector, bool kCopy>
[[gnu::always_inline]] inline std::uint64_t add_blocks(const std::byte*& from, std::byte*& to,
                                                       std::size_t& size) {
  Vector low0{}, low1{}, high0{}, high1{};
  for (; size >= 2 * sizeof(Vector); size -= 2 * sizeof(Vector), from += 2 * sizeof(Vector)) {
    Vector v0, v1;
    std::memcpy(&v0, from, sizeof v0);
    std::memcpy(&v1, from + sizeof v0, sizeof v1);
    if constexpr (kCopy) {
      std::memcpy(to, &v0, sizeof v0);
      std::memcpy(to + sizeof v0, &v1, sizeof v1);
      to += 2 * sizeof(Vector);
    }
    low0 += v0 & kLow;
    low1 += v1 & kLow;
    high0 += v0 >> 32;
    high1 += v1 >> 32;
  }
  low0 += low1 + high0 + high1;
  std::uint64_t sum = 0;
  for (std::size_t lane = 0; lane < sizeof(Vector) / 8; ++lane) sum += low0[lane];
  return sum;
}

#ifdef __x86_64__
template <bool kCopy>
[[gnu::target("avx2")]] std::uint64_t add_blocks_avx2(const std::byte*& from, std::byte*& to,
                                                      std::size_t& size) {
  return add_blocks<Vector32, kCopy>(from, to, size);
}
#endif

template <bool kCopy>
std::uint64_t add_long(const std::byte*& from, std::byte*& to, std::size_t& size) {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx2")) return add_blocks_avx2<kCopy>(from, to, size);
#endif
  return add_blocks<Vector16, kCopy>(from, to, size);
}

/// One native word of the message; with `kCopy` also to `to`.
template <class Word, bool kCopy>
[[gnu::always_inline]] inline std::uint64_t take(const std::byte*& from, std::byte*& to) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  from += sizeof word;
  if constexpr (kCopy) {
    std::memcpy(to, &word, sizeof word);
    to += sizeof word;
  }
  return word;
}

template <bool kCopy>
std::uint32_t accumulate(const std::byte* from, std::byte* to, std::size_t size) {
  std::uint64_t sum = size >= kVectorsFrom ? add_long<kCopy>(from, to, size) : 0;
  for (; size >= 8; size -= 8) {
    const std::uint64_t word = take<std::uint64_t, kCopy>(from, to);
    sum += (word & kLow) + (word >> 32);
  }
  if ((size & 4) != 0) sum += take<std::uint32_t, kCopy>(from, to);
  if ((size & 2) != 0) sum += take<std::uint16_t, kCopy>(from, to);
  if ((size & 1) != 0) {
    const std::uint64_t last = take<std::uint8_t, kCopy>(from, to);
    sum += std::endian::native == std::endian::little ? last : last << 8;
  }
  sum = (sum & kLow) + (sum >> 32);
  sum = (sum & kLow) + (sum >> 32);
  const std::uint32_t native = fold(static_cast<std::uint32_t>(sum));
  if constexpr (std::endian::native == std::endian::big) return native;
  return __builtin_bswap16(static_cast<std::uint16_t>(native));
}

}  // namespace

std::uint32_t sum(Bytes bytes, std::uint32_t initial) {
  return fold(fold(initial) + accumulate<false>(bytes.data(), nullptr, bytes.size()));
}

std::uint32_t copy_and_sum(MutableBytes to, Bytes from, std::uint32_t initial) {
  IOPKT_ASSERT(to.size() >= from.size());
  return fold(fold(initial) + accumulate<true>(from.data(), to.data(), from.size()));
}

std::uint32_t pseudo_header_sum(const IpAddress& src, const IpAddress& dst, IpProtocol protocol,
                                std::uint32_t length) {
  IOPKT_ASSERT(src.family() == dst.family());
  std::uint64_t acc = std::uint64_t{static_cast<std::uint8_t>(protocol)} + (length >> 16) + (length & 0xffff);
  for (const std::uint32_t word : src.words()) acc += (word >> 16) + (word & 0xffff);
  for (const std::uint32_t word : dst.words()) acc += (word >> 16) + (word & 0xffff);
  return fold(static_cast<std::uint32_t>(acc));
}

}  // namespace iopkt::wire
