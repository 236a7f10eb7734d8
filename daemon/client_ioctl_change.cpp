// ioctls that change interfaces, routes and neighbours, as verbs. What is checked here are the rules of the host's interface; whether
// the change can be made the verb says.
#include <arpa/inet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <net/route.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <cstring>

#include "client_ioctl.hpp"
#include "wire/ip_prefix.hpp"

namespace iopkt::daemon {
namespace {

using control::Record;
using iface::Interface;
using iface::InterfaceAddress;
using Change = Expected<IoctlChange, int>;

wire::Ipv4Address address_in(const sockaddr& address) {
  sockaddr_in in{};
  std::memcpy(&in, &address, sizeof in);
  return wire::Ipv4Address{ntohl(in.sin_addr.s_addr)};
}

std::string_view name_in(const char (&name)[IFNAMSIZ]) { return {name, ::strnlen(name, IFNAMSIZ)}; }

template <class T>
bool read(std::span<const std::byte> argument, T& out) {
  if (argument.size() < sizeof out) return false;
  std::memcpy(&out, argument.data(), sizeof out);
  return true;
}

// ---------------------------------------------------------------------------------------------- interfaces

/// The primary address again, with one thing changed; that does not bring the interface up.
Record address_again(const Interface& interface, InterfaceAddress address) {
  Record out;
  out.text("name", interface.name).boolean("keep_flags", true).text("address", address.address.to_string()).number("prefix_length", address.prefix_length);
  if (address.broadcast) out.text("broadcast", address.broadcast->to_string());
  if (address.peer) out.text("peer", address.peer->to_string());
  return out;
}

/// SIOCSIFADDR: the primary address with the mask of its class; 0.0.0.0 takes it away.
Change set_address(const Interface& interface, wire::Ipv4Address address) {
  Record out;
  out.text("name", interface.name);
  if (address.is_unspecified()) {
    if (interface.primary(wire::IpFamily::v4) == nullptr) return IoctlChange{"interface.set", std::move(out)};
    return IoctlChange{"address.delete", std::move(out)};
  }
  // The address that it has stays as it is, with all that belongs to it.
  const InterfaceAddress* primary = interface.primary(wire::IpFamily::v4);
  if (primary != nullptr && primary->address == wire::IpAddress{address}) return IoctlChange{"interface.set", std::move(out)};
  out.boolean("keep_flags", true).text("address", address.to_string());
  if (interface.is(iface::flag::point_to_point)) out.number("prefix_length", 32);
  return IoctlChange{"address.add", std::move(out)};
}

Change set_netmask(const Interface& interface, InterfaceAddress address, wire::Ipv4Address mask) {
  const auto length = wire::Ipv4Prefix::length_of(mask);
  if (!length) return unexpected(EINVAL);
  // A broadcast address that follows from the mask follows it.
  if (address.broadcast == wire::Ipv4Prefix{address.address.v4(), address.prefix_length}.broadcast()) address.broadcast.reset();
  address.prefix_length = *length;
  return IoctlChange{"address.add", address_again(interface, address)};
}

Change set_flags(const Interface& interface, unsigned flags) {
  // Nothing in the stack takes frames for others yet.
  const unsigned changed = flags ^ interface.flags;
  if ((changed & (IFF_PROMISC | IFF_ALLMULTI)) != 0) return unexpected(EOPNOTSUPP);
  Record out;
  out.text("name", interface.name).boolean("up", (flags & IFF_UP) != 0).boolean("arp", (flags & IFF_NOARP) == 0);
  out.boolean("debug", (flags & IFF_DEBUG) != 0);
  return IoctlChange{"interface.set", std::move(out)};
}

Change set_hardware_address(const Interface& interface, const sockaddr& address) {
  if (interface.link_type != iface::LinkType::ethernet) return unexpected(EOPNOTSUPP);
  if (address.sa_family != ARPHRD_ETHER) return unexpected(EINVAL);
  wire::MacAddress mac;
  std::memcpy(mac.bytes.data(), address.sa_data, mac.bytes.size());
  if (mac.is_multicast() || mac.is_zero()) return unexpected(EADDRNOTAVAIL);
  return IoctlChange{"interface.set", Record{}.text("name", interface.name).text("mac", mac.to_string())};
}

Change set_number(const Interface& interface, const char* what, int value) {
  if (value < 0) return unexpected(EINVAL);
  return IoctlChange{"interface.set", Record{}.text("name", interface.name).number(what, static_cast<std::uint64_t>(value))};
}

Change interface_change(std::uint64_t code, std::span<const std::byte> argument, const stack::Network& network) {
  ifreq wanted{};
  if (!read(argument, wanted)) return unexpected(EINVAL);
  const std::string_view name = name_in(wanted.ifr_name);
  // "en0:1" would be a second address with a label of its own.
  if (name.contains(':')) return unexpected(EOPNOTSUPP);
  const Interface* interface = network.interfaces.by_name(name);
  if (interface == nullptr) return unexpected(ENODEV);
  switch (code) {
    case SIOCSIFFLAGS: return set_flags(*interface, static_cast<unsigned short>(wanted.ifr_flags));
    case SIOCSIFMTU: return set_number(*interface, "mtu", wanted.ifr_mtu);
    case SIOCSIFMETRIC: return set_number(*interface, "metric", wanted.ifr_metric);
    case SIOCSIFHWADDR: return set_hardware_address(*interface, wanted.ifr_hwaddr);
    default: break;
  }
  if (wanted.ifr_addr.sa_family != AF_INET) return unexpected(EINVAL);
  const wire::Ipv4Address given = address_in(wanted.ifr_addr);
  if (code == SIOCSIFADDR) return set_address(*interface, given);
  const InterfaceAddress* primary = interface->primary(wire::IpFamily::v4);
  if (primary == nullptr) return unexpected(EADDRNOTAVAIL);
  InterfaceAddress address = *primary;
  switch (code) {
    case SIOCSIFNETMASK: return set_netmask(*interface, address, given);
    case SIOCSIFBRDADDR: address.broadcast = given; break;
    case SIOCSIFDSTADDR: address.peer = given; break;
    default: return unexpected(EOPNOTSUPP);
  }
  return IoctlChange{"address.add", address_again(*interface, address)};
}

// ---------------------------------------------------------------------------------------------- routes

Change route_change(std::uint64_t code, std::span<const std::byte> argument, const stack::Network& network) {
  rtentry wanted{};
  if (argument.size() < sizeof wanted + IFNAMSIZ || !read(argument, wanted)) return unexpected(EINVAL);
  char device[IFNAMSIZ];
  std::memcpy(device, argument.data() + sizeof wanted, sizeof device);
  if (wanted.rt_dst.sa_family != AF_INET) return unexpected(EAFNOSUPPORT);
  const wire::Ipv4Address destination = address_in(wanted.rt_dst);
  std::uint8_t length = 32;
  if ((wanted.rt_flags & RTF_HOST) == 0) {
    const wire::Ipv4Address mask = address_in(wanted.rt_genmask);
    if (wanted.rt_genmask.sa_family != AF_INET && (wanted.rt_genmask.sa_family != 0 || !mask.is_unspecified())) return unexpected(EAFNOSUPPORT);
    const auto told = wire::Ipv4Prefix::length_of(mask);
    if (!told || (destination.value & ~mask.value) != 0) return unexpected(EINVAL);
    length = *told;
  }
  // A table holds one route to a network; the utilities' "no metric" arrives as 1.
  if (wanted.rt_metric > 1 || (wanted.rt_flags & (RTF_WINDOW | RTF_IRTT)) != 0) return unexpected(EOPNOTSUPP);
  Record out;
  out.text("destination", destination.to_string()).number("prefix_length", length);
  const std::string_view name = name_in(device);
  const Interface* over = nullptr;
  if (!name.empty()) {
    over = network.interfaces.by_name(name.substr(0, name.find(':')));
    if (over == nullptr) return unexpected(ENODEV);
    out.text("interface", over->name);
  }
  const bool reject = (wanted.rt_flags & RTF_REJECT) != 0;
  if (reject && code == SIOCADDRT) return IoctlChange{"route.add", std::move(out.boolean("reject", true))};
  const bool gateway = wanted.rt_gateway.sa_family == AF_INET && !address_in(wanted.rt_gateway).is_unspecified();
  if (gateway) out.text("gateway", address_in(wanted.rt_gateway).to_string());
  if (code == SIOCDELRT) return IoctlChange{"route.delete", std::move(out)};
  if ((wanted.rt_flags & RTF_GATEWAY) != 0 && !gateway) return unexpected(EINVAL);
  if (!gateway && over == nullptr) return unexpected(ENODEV);
  if (gateway) {
    const wire::IpAddress to{address_in(wanted.rt_gateway)};
    const bool connected = over != nullptr ? over->connected(to) != nullptr : network.interfaces.find_connected(to) != nullptr;
    if (!connected) return unexpected(ENETUNREACH);
  }
  if ((wanted.rt_flags & RTF_MTU) != 0 && wanted.rt_mtu != 0) out.number("mtu", wanted.rt_mtu);
  return IoctlChange{"route.add", std::move(out)};
}

// ---------------------------------------------------------------------------------------------- neighbours

/// The interface that an arpreq names. An errno: it is not one for this. Null: it names none.
Expected<const Interface*, int> device_of(const arpreq& wanted, const stack::Network& network) {
  if (wanted.arp_pa.sa_family != AF_INET) return unexpected(EPFNOSUPPORT);
  const std::string_view name = name_in(wanted.arp_dev);
  if (name.empty()) return nullptr;
  const Interface* over = network.interfaces.by_name(name);
  if (over == nullptr) return unexpected(ENODEV);
  if (over->link_type != iface::LinkType::ethernet) return unexpected(EINVAL);
  if (wanted.arp_ha.sa_family != 0 && wanted.arp_ha.sa_family != ARPHRD_ETHER) return unexpected(EINVAL);
  return over;
}

const neigh::Entry* entry_of(const arpreq& wanted, const Interface* over, const std::vector<neigh::Entry>& neighbours) {
  const auto found = std::ranges::find_if(neighbours, [&](const neigh::Entry& e) {
    return e.key.address == address_in(wanted.arp_pa) && (over == nullptr || e.key.interface_index == over->index);
  });
  return found == neighbours.end() ? nullptr : &*found;
}

Change neighbour_change(std::uint64_t code, std::span<const std::byte> argument, const stack::Network& network,
                        const std::vector<neigh::Entry>& neighbours) {
  arpreq wanted{};
  if (!read(argument, wanted)) return unexpected(EINVAL);
  const auto over = device_of(wanted, network);
  if (!over) return unexpected(over.error());
  const bool published = (wanted.arp_flags & ATF_PUBL) != 0;
  if (!published && (wanted.arp_flags & (ATF_NETMASK | ATF_DONTPUB)) != 0) return unexpected(EINVAL);
  // An entry that answers for a whole network is not built.
  if ((wanted.arp_flags & ATF_NETMASK) != 0 && address_in(wanted.arp_netmask).value != ~std::uint32_t{0}) return unexpected(EOPNOTSUPP);
  Record out;
  out.text("address", address_in(wanted.arp_pa).to_string());
  if (*over != nullptr) out.text("interface", (*over)->name);
  if (published) out.boolean("proxy", true);
  if (code == SIOCDARP) {
    if (entry_of(wanted, *over, neighbours) == nullptr) return unexpected(ENXIO);
    return IoctlChange{"arp.delete", std::move(out)};
  }
  if (wanted.arp_ha.sa_family != ARPHRD_ETHER) return unexpected(EINVAL);
  wire::MacAddress mac;
  std::memcpy(mac.bytes.data(), wanted.arp_ha.sa_data, mac.bytes.size());
  out.text("mac", mac.to_string());
  if ((wanted.arp_flags & ATF_PERM) == 0) out.boolean("temporary", true);
  return IoctlChange{"arp.set", std::move(out)};
}

}  // namespace

bool is_change_ioctl(std::uint64_t code) {
  switch (code) {
    case SIOCSIFFLAGS:
    case SIOCSIFADDR:
    case SIOCSIFDSTADDR:
    case SIOCSIFBRDADDR:
    case SIOCSIFNETMASK:
    case SIOCSIFMETRIC:
    case SIOCSIFMTU:
    case SIOCSIFHWADDR:
    case SIOCADDRT:
    case SIOCDELRT:
    case SIOCSARP:
    case SIOCDARP: return true;
    default: return false;
  }
}

Change read_change(std::uint64_t code, std::span<const std::byte> argument, const stack::Network& network,
                   const std::vector<neigh::Entry>& neighbours) {
  switch (code) {
    case SIOCADDRT:
    case SIOCDELRT: return route_change(code, argument, network);
    case SIOCSARP:
    case SIOCDARP: return neighbour_change(code, argument, network, neighbours);
    default: return interface_change(code, argument, network);
  }
}

void neighbour_ioctl(Request& request, const stack::Network& network, const std::vector<neigh::Entry>& neighbours) {
  arpreq wanted{};
  if (!read(request.blob, wanted)) return request.refuse(EINVAL);
  const auto over = device_of(wanted, network);
  if (!over) return request.refuse(over.error());
  if (*over == nullptr) return request.refuse(ENODEV);
  const neigh::Entry* entry = entry_of(wanted, *over, neighbours);
  if (entry == nullptr) return request.refuse(ENXIO);
  std::memset(&wanted.arp_ha, 0, sizeof wanted.arp_ha);
  wanted.arp_ha.sa_family = ARPHRD_ETHER;
  std::memcpy(wanted.arp_ha.sa_data, entry->mac.bytes.data(), entry->mac.bytes.size());
  const bool known = !entry->mac.is_zero();
  const bool permanent = entry->state == neigh::State::permanent && !entry->temporary;
  wanted.arp_flags = (known ? ATF_COM : 0) | (permanent ? ATF_PERM : 0) | (entry->published ? ATF_PUBL : 0);
  request.answer<ipc::MessageId::ioctl>({.result = 0, .reserved = 0}, as_bytes(&wanted, sizeof wanted));
}

}  // namespace iopkt::daemon
