// Random numbers for the stack: a seeded generator, and SipHash-2-4 as the keyed hash of RFC 6528 and hash tables.
#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.hpp"

namespace iopkt {

/// xoshiro256** (Blackman, Vigna 2018), seeded through SplitMix64. Same seed, same numbers. Not for secrets that an
/// attacker may learn from its output: those come from siphash24 with a key of the kernel's randomness.
class Random {
 public:
  explicit Random(std::uint64_t seed);
  std::uint64_t next();
  /// 0 .. bound-1; bound > 0.
  std::uint64_t below(std::uint64_t bound);
  /// True with a probability of p, 0..1.
  bool chance(double p);

 private:
  std::array<std::uint64_t, 4> state_;
};

struct HashKey {
  std::uint64_t k0{}, k1{};
};

/// SipHash-2-4 (Aumasson, Bernstein 2012): a keyed 64-bit hash that nobody without the key can steer.
std::uint64_t siphash24(HashKey key, Bytes bytes);

}  // namespace iopkt
