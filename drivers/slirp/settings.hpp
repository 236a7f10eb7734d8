// What the options of devnp-slirp say, checked: the virtual network and its port forwardings. No system call
// here.
#pragma once

#include <arpa/inet.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace devnp_slirp {

/// Port forwardings in one hostfwd=.
inline constexpr std::size_t kForwardMax = 32;

/// Connections to host_address:host_port on the host reach guest_address:guest_port on the stack. Host byte
/// order.
struct Forward {
  bool udp = false;
  std::uint32_t host_address = 0, guest_address = 0;
  std::uint16_t host_port = 0, guest_port = 0;
};

/// Host byte order.
struct Settings {
  std::uint32_t network = 0, mask = 0, host = 0, dns = 0, guest = 0;
  Forward forward[kForwardMax];
  std::size_t forward_count = 0;
};

inline bool parse_address(const char* text, std::size_t len, std::uint32_t* out) {
  char quad[INET_ADDRSTRLEN] = {};
  if (len >= sizeof quad) return false;
  std::memcpy(quad, text, len);
  in_addr address{};
  if (::inet_pton(AF_INET, quad, &address) != 1) return false;
  *out = ntohl(address.s_addr);
  return true;
}

/// The texts of net=, host=, dns=, guest=; each but the first may be NULL. The prefix may be 8..28 bits long.
/// @return NULL, or what is wrong.
inline const char* parse_network(const char* net, const char* host, const char* dns, const char* guest,
                                 Settings* out) {
  const char* slash = std::strchr(net, '/');
  if (slash == nullptr || !parse_address(net, static_cast<std::size_t>(slash - net), &out->network)) {
    return "net=: not an IPv4 network such as 10.0.2.0/24";
  }
  char* end = nullptr;
  const unsigned long length = std::strtoul(slash + 1, &end, 10);
  if (slash[1] < '0' || slash[1] > '9' || *end != '\0' || length < 8 || length > 28) {
    return "net=: the prefix length must be 8..28";
  }
  out->mask = ~std::uint32_t{0} << (32 - length);
  if ((out->network & ~out->mask) != 0) return "net=: bits are set behind the prefix";
  out->host = out->network + 2;
  out->dns = out->network + 3;
  out->guest = out->network + (~out->mask > 16 ? 15 : 14);
  const struct {
    const char* text;
    std::uint32_t* to;
    const char* bad;
  } rows[] = {
      {host, &out->host, "host=: not an address of a host in net="},
      {dns, &out->dns, "dns=: not an address of a host in net="},
      {guest, &out->guest, "guest=: not an address of a host in net="},
  };
  for (const auto& row : rows) {
    if (row.text != nullptr && !parse_address(row.text, std::strlen(row.text), row.to)) return row.bad;
    const std::uint32_t station = *row.to & ~out->mask;
    if ((*row.to & out->mask) != out->network || station == 0 || station == ~out->mask) return row.bad;
  }
  if (out->host == out->dns || out->host == out->guest || out->dns == out->guest) {
    return "host=, dns= and guest= must differ";
  }
  return nullptr;
}

/// "[ADDRESS]:PORT" of `len` bytes; an empty address leaves *address alone. Ports 1..65535.
inline bool parse_endpoint(const char* text, std::size_t len, std::uint32_t* address, std::uint16_t* port) {
  const auto* colon = static_cast<const char*>(std::memchr(text, ':', len));
  if (colon == nullptr) return false;
  const auto before = static_cast<std::size_t>(colon - text);
  if (before != 0 && !parse_address(text, before, address)) return false;
  unsigned long value = 0;
  for (const char* p = colon + 1; p != text + len; ++p) {
    if (*p < '0' || *p > '9' || (value = value * 10 + static_cast<unsigned>(*p - '0')) > 65535) return false;
  }
  *port = static_cast<std::uint16_t>(value);
  return value != 0;
}

/// hostfwd=: "tcp:[HOST]:PORT-[GUEST]:PORT", several with ';' between; HOST is 127.0.0.1 when left out, GUEST
/// the address of guest=, so parse_network comes first.
/// @return true, or false with the part that is wrong in *bad (not NUL-terminated at its end).
inline bool parse_forwards(const char* text, Settings* out, const char** bad) {
  for (const char* at = text;; ++at) {
    const std::size_t len = std::strcspn(at, ";");
    *bad = at;
    if (out->forward_count == kForwardMax || len < 4) return false;
    Forward f;
    f.udp = std::strncmp(at, "udp:", 4) == 0;
    if (!f.udp && std::strncmp(at, "tcp:", 4) != 0) return false;
    f.host_address = INADDR_LOOPBACK;
    f.guest_address = out->guest;
    const char *ends = at + 4, *stop = at + len;
    const auto* dash =
        static_cast<const char*>(std::memchr(ends, '-', static_cast<std::size_t>(stop - ends)));
    if (dash == nullptr) return false;
    if (!parse_endpoint(ends, static_cast<std::size_t>(dash - ends), &f.host_address, &f.host_port))
      return false;
    if (!parse_endpoint(dash + 1, static_cast<std::size_t>(stop - dash - 1), &f.guest_address, &f.guest_port))
      return false;
    if ((f.guest_address & out->mask) != out->network) return false;
    out->forward[out->forward_count++] = f;
    at = stop;
    if (*at == '\0') return true;
  }
}

}  // namespace devnp_slirp
