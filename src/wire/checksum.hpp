// The Internet checksum: RFC 1071 (computing, composing), RFC 1624 (incremental update), pseudo-headers of
// RFC 9293 section 3.1 and RFC 8200 section 8.1.
//
// A partial sum is a ones' complement sum of big-endian 16-bit words, already folded to 16 bits: 0..0xffff.
// It stays 0 only as long as every byte was 0.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.hpp"
#include "wire/address.hpp"

namespace iopkt::wire {

/// Folds any 32-bit sum of partial sums into one.
constexpr std::uint32_t fold(std::uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  return (sum & 0xffff) + (sum >> 16);
}

/// Partial sum of `bytes`, which begin at an even offset of the message; an odd last byte counts as if a zero
/// followed. Adds to `initial`, a partial sum. For pieces that end at odd offsets use InternetChecksum.
/// @cost As reading the bytes: tens of gigabytes a second.
std::uint32_t sum(Bytes bytes, std::uint32_t initial = 0);

/// Copies `from` to the front of `to` (not overlapping, at least as long) and answers sum(from, initial): one
/// pass.
std::uint32_t copy_and_sum(MutableBytes to, Bytes from, std::uint32_t initial = 0);

/// The field's value for a finished partial sum (complemented). 0 is a possible value; UDP sends it as
/// 0xffff.
constexpr std::uint16_t finish(std::uint32_t partial) { return static_cast<std::uint16_t>(~fold(partial)); }

/// Partial sum of the pseudo-header of either family. Both addresses are of one family.
/// `length` is that of the transport header and its payload.
std::uint32_t pseudo_header_sum(const IpAddress& src, const IpAddress& dst, IpProtocol protocol,
                                std::uint32_t length);

/// Composes a checksum from pieces of any length, also odd ones.
class InternetChecksum {
 public:
  explicit constexpr InternetChecksum(std::uint32_t initial = 0) : sum_(fold(initial)) {}
  void add(Bytes piece) { add_sum(sum(piece), piece.size()); }
  /// Two bytes, whatever the parity of the offset.
  void add_be16(std::uint16_t word) { add_sum(word, 2); }
  /// Adds a piece by its partial sum and its length.
  constexpr void add_sum(std::uint32_t partial, std::size_t length) {
    if (odd_) partial = (partial & 0xff) << 8 | (partial >> 8 & 0xff);
    sum_ = fold(sum_ + partial);
    odd_ ^= (length & 1) != 0;
  }
  constexpr std::uint32_t partial() const { return sum_; }
  /// Of a message whose checksum field was 0: the field's value. Of a received one: 0 if it is right.
  constexpr std::uint16_t value() const { return finish(sum_); }

 private:
  std::uint32_t sum_;
  bool odd_ = false;
};

/// RFC 1624 equation 3: the checksum field after a 16-bit word of the message changed.
constexpr std::uint16_t updated_checksum16(std::uint16_t checksum, std::uint16_t from, std::uint16_t to) {
  return finish(std::uint32_t{static_cast<std::uint16_t>(~checksum)} + static_cast<std::uint16_t>(~from) +
                to);
}
/// The same for a 32-bit word (an address) at an even offset.
constexpr std::uint16_t updated_checksum32(std::uint16_t checksum, std::uint32_t from, std::uint32_t to) {
  checksum = updated_checksum16(checksum, static_cast<std::uint16_t>(from >> 16),
                                static_cast<std::uint16_t>(to >> 16));
  return updated_checksum16(checksum, static_cast<std::uint16_t>(from), static_cast<std::uint16_t>(to));
}

}  // namespace iopkt::wire
