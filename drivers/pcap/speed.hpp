// The text of speed=: how fast a capture file is played.
#pragma once

#include <cstdint>
#include <cstring>

namespace devnp_pcap {

inline constexpr std::uint32_t kSpeedMax = 1'000'000; /* times */

/// "burst", or a number 0.001..1000000 with at most three decimals.
/// @param milli  thousandths of the recorded speed; 0 for burst.
inline bool parse_speed(const char* text, std::uint32_t* milli) {
  *milli = 0;
  if (std::strcmp(text, "burst") == 0) return true;
  std::uint64_t whole = 0, thousandths = 0;
  const char* p = text;
  if (*p < '0' || *p > '9') return false;
  for (; *p >= '0' && *p <= '9'; ++p) {
    whole = whole * 10 + static_cast<unsigned>(*p - '0');
    if (whole > kSpeedMax) return false;
  }
  if (*p == '.') {
    std::uint64_t unit = 100;
    for (++p; *p >= '0' && *p <= '9' && unit != 0; ++p, unit /= 10)
      thousandths += unit * static_cast<unsigned>(*p - '0');
    if (unit == 100) return false; /* a dot without a digit */
  }
  const std::uint64_t all = whole * 1000 + thousandths;
  if (*p != '\0' || all == 0 || all > std::uint64_t{kSpeedMax} * 1000) return false;
  *milli = static_cast<std::uint32_t>(all);
  return true;
}

}  // namespace devnp_pcap
