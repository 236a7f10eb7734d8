// Station addresses: a random one of our own, and the text form.
#pragma once

#include <sys/random.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>

namespace devnp {

/// A new random unicast, locally administered address (IEEE 802 section 8.2). 0 or -errno.
inline int random_mac(std::uint8_t mac[6]) {
  if (::getrandom(mac, 6, 0) != 6) return -errno;
  mac[0] = static_cast<std::uint8_t>((mac[0] & 0xfc) | 0x02);
  return 0;
}

/// An address that a station can have: not a group address, not all zeroes.
inline bool is_station_address(const std::uint8_t mac[6]) {
  return (mac[0] & 1) == 0 && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]) != 0;
}

struct MacText {
  explicit MacText(const std::uint8_t m[6]) {
    std::snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
  }
  char text[18];
};

}  // namespace devnp
