#include "wire/checksum.hpp"

namespace iopkt::wire {
namespace {

// RFC 1071 section 2: the sum may be taken in the machine's own byte order and in wider words, and be swapped at the end.

std::uint64_t load_word(const std::byte* at) {
  std::uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

/// Ones' complement addition: the carry comes back in at the bottom.
void add_word(std::uint64_t& acc, std::uint64_t word) { acc += __builtin_add_overflow(acc, word, &acc) ? 1 : 0; }

/// The last 0..7 bytes as a word whose further bytes are zero.
std::uint64_t load_tail(const std::byte* at, std::size_t size) {
  std::uint64_t word = 0;
  std::memcpy(&word, at, size);
  return word;
}

std::uint32_t to_partial(std::uint64_t acc) {
  acc = (acc & 0xffffffffu) + (acc >> 32);
  acc = (acc & 0xffffffffu) + (acc >> 32);
  const std::uint32_t native = fold(static_cast<std::uint32_t>(acc));
  if constexpr (std::endian::native == std::endian::big) return native;
  return __builtin_bswap16(static_cast<std::uint16_t>(native));
}

/// Adds up `size` bytes; each word also goes to `store(offset, word, bytes of it)`.
template <class Store>
std::uint64_t accumulate(const std::byte* from, std::size_t size, Store store) {
  // Four chains: the processor adds them side by side, one waits for its own carry only.
  std::uint64_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
  std::size_t at = 0;
  for (; size - at >= 32; at += 32) {
    const std::uint64_t w0 = load_word(from + at), w1 = load_word(from + at + 8);
    const std::uint64_t w2 = load_word(from + at + 16), w3 = load_word(from + at + 24);
    store(at, w0, 8), store(at + 8, w1, 8), store(at + 16, w2, 8), store(at + 24, w3, 8);
    add_word(a0, w0), add_word(a1, w1), add_word(a2, w2), add_word(a3, w3);
  }
  for (; size - at >= 8; at += 8) {
    const std::uint64_t word = load_word(from + at);
    store(at, word, 8);
    add_word(a0, word);
  }
  if (at != size) {
    const std::uint64_t word = load_tail(from + at, size - at);
    store(at, word, size - at);
    add_word(a1, word);
  }
  add_word(a0, a1), add_word(a2, a3), add_word(a0, a2);
  return a0;
}

}  // namespace

std::uint32_t sum(Bytes bytes, std::uint32_t initial) {
  const std::uint64_t acc = accumulate(bytes.data(), bytes.size(), [](std::size_t, std::uint64_t, std::size_t) {});
  return fold(fold(initial) + to_partial(acc));
}

std::uint32_t copy_and_sum(MutableBytes to, Bytes from, std::uint32_t initial) {
  IOPKT_ASSERT(to.size() >= from.size());
  std::byte* const out = to.data();
  const std::uint64_t acc =
      accumulate(from.data(), from.size(), [out](std::size_t at, std::uint64_t word, std::size_t size) {
        if (size == 8)
          std::memcpy(out + at, &word, 8);
        else
          std::memcpy(out + at, &word, size);
      });
  return fold(fold(initial) + to_partial(acc));
}

std::uint32_t pseudo_header_sum(const IpAddress& src, const IpAddress& dst, IpProtocol protocol, std::uint32_t length) {
  IOPKT_ASSERT(src.family() == dst.family());
  std::uint64_t acc = std::uint64_t{static_cast<std::uint8_t>(protocol)} + (length >> 16) + (length & 0xffff);
  for (const std::uint32_t word : src.words()) acc += (word >> 16) + (word & 0xffff);
  for (const std::uint32_t word : dst.words()) acc += (word >> 16) + (word & 0xffff);
  return fold(static_cast<std::uint32_t>(acc));
}

}  // namespace iopkt::wire
