// A host interface through the SIOC* calls: flags, MTU, hardware address, IPv4 address. Every call answers 0
// or -errno.
#pragma once

#include <arpa/inet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "unique_fd.hpp"

namespace devnp {

/// "a.b.c.d/len", host byte order.
struct HostAddress {
  std::uint32_t address = 0;
  unsigned length = 0; /* 0..32 */
};

/// @return true when `text` is a dotted quad with a prefix length, nothing around it.
inline bool parse_host_address(const char* text, HostAddress* out) {
  const char* slash = std::strchr(text, '/');
  if (slash == nullptr || slash - text >= INET_ADDRSTRLEN || slash[1] < '0' || slash[1] > '9') return false;
  char quad[INET_ADDRSTRLEN] = {};
  std::memcpy(quad, text, static_cast<std::size_t>(slash - text));
  in_addr address{};
  if (::inet_pton(AF_INET, quad, &address) != 1) return false;
  char* end = nullptr;
  const unsigned long length = std::strtoul(slash + 1, &end, 10);
  if (*end != '\0' || length > 32) return false;
  *out = {ntohl(address.s_addr), static_cast<unsigned>(length)};
  return true;
}

/// A name that is too long is cut: the kernel then knows no such interface.
inline void copy_name(char (&out)[IFNAMSIZ], const char* name) {
  const std::size_t len = ::strnlen(name, IFNAMSIZ - 1);
  std::memcpy(out, name, len);
  out[len] = '\0';
}

/// One interface of the namespace in which open() was called, for as long as this lives.
class HostIf {
 public:
  int open(const char* name) {
    control_.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!control_) return -errno;
    copy_name(name_, name);
    return 0;
  }
  const char* name() const { return name_; }
  int control() const { return control_.get(); }

  int index(int* out) const {
    ifreq r = request();
    if (::ioctl(control_.get(), SIOCGIFINDEX, &r) != 0) return -errno;
    *out = r.ifr_ifindex;
    return 0;
  }
  int flags(short* out) const {
    ifreq r = request();
    if (::ioctl(control_.get(), SIOCGIFFLAGS, &r) != 0) return -errno;
    *out = r.ifr_flags;
    return 0;
  }
  int set_up(bool up) const {
    ifreq r = request();
    if (::ioctl(control_.get(), SIOCGIFFLAGS, &r) != 0) return -errno;
    const auto wanted = static_cast<short>(up ? r.ifr_flags | IFF_UP : r.ifr_flags & ~IFF_UP);
    if (wanted == r.ifr_flags) return 0;
    r.ifr_flags = wanted;
    return ::ioctl(control_.get(), SIOCSIFFLAGS, &r) == 0 ? 0 : -errno;
  }
  int mtu(int* out) const {
    ifreq r = request();
    if (::ioctl(control_.get(), SIOCGIFMTU, &r) != 0) return -errno;
    *out = r.ifr_mtu;
    return 0;
  }
  int set_mtu(int mtu) const {
    ifreq r = request();
    r.ifr_mtu = mtu;
    return ::ioctl(control_.get(), SIOCSIFMTU, &r) == 0 ? 0 : -errno;
  }
  /// `type` is one of ARPHRD_*.
  int hardware(std::uint8_t mac[6], int* type) const {
    ifreq r = request();
    if (::ioctl(control_.get(), SIOCGIFHWADDR, &r) != 0) return -errno;
    std::memcpy(mac, r.ifr_hwaddr.sa_data, 6);
    *type = r.ifr_hwaddr.sa_family;
    return 0;
  }
  /// The first IPv4 address; -EADDRNOTAVAIL when there is none.
  int address(in_addr* out) const {
    ifreq r = request();
    if (::ioctl(control_.get(), SIOCGIFADDR, &r) != 0) return -errno;
    sockaddr_in in{};
    std::memcpy(&in, &r.ifr_addr, sizeof in);
    *out = in.sin_addr;
    return 0;
  }
  int set_address(const HostAddress& a) const {
    const std::uint32_t mask = a.length == 0 ? 0 : ~std::uint32_t{0} << (32 - a.length);
    if (const int rc = set_inet(SIOCSIFADDR, a.address); rc != 0) return rc;
    return set_inet(SIOCSIFNETMASK, mask);
  }

 private:
  ifreq request() const {
    ifreq r{};
    std::memcpy(r.ifr_name, name_, IFNAMSIZ);
    return r;
  }
  int set_inet(unsigned long call, std::uint32_t value) const {
    ifreq r = request();
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(value);
    std::memcpy(&r.ifr_addr, &in, sizeof in);
    return ::ioctl(control_.get(), call, &r) == 0 ? 0 : -errno;
  }

  UniqueFd control_;
  char name_[IFNAMSIZ] = {};
};

}  // namespace devnp
