// Interface ioctls from the Network. The structures and numbers are the host's (<net/if.h>), the contents are the stack's.
#include "client_ioctl.hpp"

#include <arpa/inet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <cstring>

namespace iopkt::daemon {
namespace {

using iface::Interface;
using iface::InterfaceAddress;

sockaddr inet_address(wire::Ipv4Address address) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(address.value);
  sockaddr out{};
  std::memcpy(&out, &in, sizeof out);
  return out;
}

wire::Ipv4Address mask_of(std::uint8_t length) {
  return wire::Ipv4Address{length == 0 ? 0 : ~std::uint32_t{0} << (32 - length)};
}

/// The host's IFF_ bits; the ones up to 0x200 have BSD's numbers.
short host_flags(const Interface& interface) {
  namespace flag = iface::flag;
  unsigned flags = interface.flags & (IFF_UP | IFF_BROADCAST | IFF_DEBUG | IFF_LOOPBACK | IFF_POINTOPOINT | IFF_NOARP |
                                      IFF_PROMISC | IFF_ALLMULTI);
  if (interface.is(flag::multicast)) flags |= IFF_MULTICAST;
  if (interface.is_up() && interface.link_up) flags |= IFF_RUNNING;
  return static_cast<short>(flags);
}

sockaddr hardware_address(const Interface& interface) {
  sockaddr out{};
  switch (interface.link_type) {
    case iface::LinkType::ethernet:
      out.sa_family = ARPHRD_ETHER;
      std::memcpy(out.sa_data, interface.mac.bytes.data(), interface.mac.bytes.size());
      break;
    case iface::LinkType::loopback: out.sa_family = ARPHRD_LOOPBACK; break;
    case iface::LinkType::raw_ip: out.sa_family = ARPHRD_NONE; break;
  }
  return out;
}

/// Fills what `code` asks for. An errno, 0: done.
int fill(std::uint64_t code, const Interface& interface, ifreq& out) {
  const InterfaceAddress* address = interface.primary(wire::IpFamily::v4);
  switch (code) {
    case SIOCGIFFLAGS: out.ifr_flags = host_flags(interface); return 0;
    case SIOCGIFMTU: out.ifr_mtu = static_cast<int>(interface.mtu); return 0;
    case SIOCGIFMETRIC: out.ifr_metric = static_cast<int>(interface.metric); return 0;
    case SIOCGIFINDEX: out.ifr_ifindex = static_cast<int>(interface.index); return 0;
    case SIOCGIFHWADDR: out.ifr_hwaddr = hardware_address(interface); return 0;
    case SIOCGIFTXQLEN: out.ifr_qlen = 1000; return 0;
    default: break;
  }
  if (address == nullptr) return EADDRNOTAVAIL;
  switch (code) {
    case SIOCGIFADDR: out.ifr_addr = inet_address(address->address.v4()); return 0;
    case SIOCGIFNETMASK: out.ifr_netmask = inet_address(mask_of(address->prefix_length)); return 0;
    case SIOCGIFBRDADDR: out.ifr_broadaddr = inet_address(address->broadcast.value_or(wire::Ipv4Address{})); return 0;
    case SIOCGIFDSTADDR:
      out.ifr_dstaddr = inet_address(address->peer && address->peer->is_v4() ? address->peer->v4() : address->address.v4());
      return 0;
    default: return EINVAL;
  }
}

/// SIOCGIFCONF: one record for each IPv4 address, whole ones, as many as there is room for.
void list_addresses(Request& request, const stack::Network& network, std::uint64_t room) {
  std::vector<ifreq> records;
  for (const auto& interface : network.interfaces.all()) {
    for (const InterfaceAddress& address : interface->addresses) {
      if (!address.address.is_v4()) continue;
      ifreq& record = records.emplace_back();
      std::memset(&record, 0, sizeof record);
      interface->name.copy(record.ifr_name, IFNAMSIZ - 1);
      record.ifr_addr = inet_address(address.address.v4());
    }
  }
  if (room != 0) records.resize(std::min<std::uint64_t>(records.size(), room / sizeof(ifreq)));
  request.answer<ipc::MessageId::ioctl>({.result = 0, .reserved = 0},
                                        as_bytes(records.data(), records.size() * sizeof(ifreq)));
}

}  // namespace

bool is_interface_ioctl(std::uint64_t code) {
  switch (code) {
    case SIOCGIFCONF:
    case SIOCGIFNAME:
    case SIOCGIFFLAGS:
    case SIOCGIFADDR:
    case SIOCGIFDSTADDR:
    case SIOCGIFBRDADDR:
    case SIOCGIFNETMASK:
    case SIOCGIFMETRIC:
    case SIOCGIFMTU:
    case SIOCGIFHWADDR:
    case SIOCGIFINDEX:
    case SIOCGIFTXQLEN: return true;
    default: return false;
  }
}

void interface_ioctl(Request& request, const stack::Network& network) {
  const auto wanted = request.fixed<ipc::IoctlRequest>();
  if (wanted.code == SIOCGIFCONF) return list_addresses(request, network, wanted.capacity);
  ifreq record{};
  if (request.blob.size() < sizeof record) return request.refuse(EINVAL);
  std::memcpy(&record, request.blob.data(), sizeof record);
  const Interface* interface = nullptr;
  if (wanted.code == SIOCGIFNAME) {
    interface = record.ifr_ifindex > 0 ? network.interfaces.by_index(static_cast<std::uint32_t>(record.ifr_ifindex)) : nullptr;
    if (interface != nullptr) {
      std::memset(record.ifr_name, 0, sizeof record.ifr_name);
      interface->name.copy(record.ifr_name, IFNAMSIZ - 1);
    }
  } else {
    // An alias "en0:1" is its interface, as on the host.
    const std::string_view name{record.ifr_name, ::strnlen(record.ifr_name, IFNAMSIZ)};
    interface = network.interfaces.by_name(name.substr(0, name.find(':')));
  }
  if (interface == nullptr) return request.refuse(wanted.code == SIOCGIFNAME ? ENXIO : ENODEV);
  if (wanted.code != SIOCGIFNAME)
    if (const int error = fill(wanted.code, *interface, record); error != 0) return request.refuse(error);
  request.answer<ipc::MessageId::ioctl>({.result = 0, .reserved = 0}, as_bytes(&record, sizeof record));
}

void refuse_ioctl(Request& request) {
  const auto wanted = request.fixed<ipc::IoctlRequest>();
  // What the host has and the stack has not.
  const bool interface = wanted.code >= SIOCGIFNAME && wanted.code <= SIOCSIFTXQLEN;
  request.refuse(interface ? EOPNOTSUPP : ENOTTY);
}

}  // namespace iopkt::daemon
