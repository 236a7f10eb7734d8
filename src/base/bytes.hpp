// Big-endian loads and stores at an offset of a byte span; the caller has checked the bounds.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "base/assert.hpp"

namespace iopkt {

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

namespace detail {
template <class T>
inline T load_be(Bytes bytes, std::size_t offset) {
  IOPKT_ASSERT(offset + sizeof(T) <= bytes.size());
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  if constexpr (std::endian::native == std::endian::little) {
    if constexpr (sizeof(T) == 2) value = __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) value = __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) value = __builtin_bswap64(value);
  }
  return value;
}
template <class T>
inline void store_be(MutableBytes bytes, std::size_t offset, T value) {
  IOPKT_ASSERT(offset + sizeof(T) <= bytes.size());
  if constexpr (std::endian::native == std::endian::little) {
    if constexpr (sizeof(T) == 2) value = __builtin_bswap16(value);
    if constexpr (sizeof(T) == 4) value = __builtin_bswap32(value);
    if constexpr (sizeof(T) == 8) value = __builtin_bswap64(value);
  }
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}
}  // namespace detail

inline std::uint8_t load_u8(Bytes b, std::size_t at) {
  IOPKT_ASSERT(at < b.size());
  return std::to_integer<std::uint8_t>(b[at]);
}
inline std::uint16_t load_be16(Bytes b, std::size_t at) { return detail::load_be<std::uint16_t>(b, at); }
inline std::uint32_t load_be32(Bytes b, std::size_t at) { return detail::load_be<std::uint32_t>(b, at); }
inline std::uint64_t load_be64(Bytes b, std::size_t at) { return detail::load_be<std::uint64_t>(b, at); }
inline void store_u8(MutableBytes b, std::size_t at, std::uint8_t v) {
  IOPKT_ASSERT(at < b.size());
  b[at] = std::byte{v};
}
inline void store_be16(MutableBytes b, std::size_t at, std::uint16_t v) { detail::store_be(b, at, v); }
inline void store_be32(MutableBytes b, std::size_t at, std::uint32_t v) { detail::store_be(b, at, v); }
inline void store_be64(MutableBytes b, std::size_t at, std::uint64_t v) { detail::store_be(b, at, v); }

inline Bytes as_bytes(const void* data, std::size_t size) { return {static_cast<const std::byte*>(data), size}; }

}  // namespace iopkt
