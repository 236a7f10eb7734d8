// For the tests of wire/: bytes from hexadecimal text, random values, and every way to damage a good frame a
// little.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/bytes.hpp"
#include "base/random.hpp"
#include "wire/address.hpp"

namespace iopkt::wire::test {

/// "45 00 …": pairs of digits, white space between them ignored.
inline std::vector<std::byte> from_hex(std::string_view text) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  std::vector<std::byte> bytes;
  int high = -1;
  for (const char c : text) {
    if (c == ' ' || c == '\n') continue;
    if (high < 0) {
      high = digit(c);
    } else {
      bytes.push_back(static_cast<std::byte>(high << 4 | digit(c)));
      high = -1;
    }
  }
  return bytes;
}

/// Calls `parse` with every prefix of `good` and with `good` after every change of one byte, each in memory
/// of exactly its own length, so that a sanitizer sees a step outside.
template <class F>
void for_each_damage(Bytes good, F parse) {
  for (std::size_t length = 0; length <= good.size(); ++length) {
    const std::vector<std::byte> prefix(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length));
    parse(Bytes{prefix});
  }
  std::vector<std::byte> changed(good.begin(), good.end());
  for (std::size_t at = 0; at < good.size(); ++at) {
    for (int value = 0; value < 256; ++value) {
      changed[at] = static_cast<std::byte>(value);
      parse(Bytes{changed});
    }
    changed[at] = good[at];
  }
}

inline std::uint8_t random_u8(Random& random) { return static_cast<std::uint8_t>(random.next()); }
inline std::uint16_t random_u16(Random& random) { return static_cast<std::uint16_t>(random.next()); }
inline std::uint32_t random_u32(Random& random) { return static_cast<std::uint32_t>(random.next()); }
inline MacAddress random_mac(Random& random) {
  MacAddress mac;
  for (auto& byte : mac.bytes) byte = random_u8(random);
  return mac;
}
inline Ipv4Address random_ipv4(Random& random) { return Ipv4Address{random_u32(random)}; }
inline std::vector<std::byte> random_bytes(Random& random, std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (auto& byte : bytes) byte = static_cast<std::byte>(random.next());
  return bytes;
}

}  // namespace iopkt::wire::test
