// getifaddrs(3), if_nametoindex(3) and their kin: libc would ask the kernel about the kernel's interfaces;
// these ask the stack.
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "shim/process.hpp"
#include "shim/real.hpp"

namespace iopkt::shim {

namespace {

constexpr std::size_t kInterfacesMax = 256;
/// Indexes are given in order and not used again: after so many that do not exist the end is reached.
constexpr int kGapMax = 64;
constexpr int kIndexMax = 4096;

/// One interface ioctl without a socket. 0 or an errno.
int ask(Request& request, unsigned long code, ifreq& record) {
  ipc::IoctlAnswer answer{};
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span{&record, 1});
  return request.call<ipc::MessageId::ioctl>({.slot = ipc::kNoSlot, .code = code, .capacity = sizeof record},
                                             answer, bytes, bytes);
}
int ask(Request& request, unsigned long code, const char* name, ifreq& record) {
  record = {};
  strncpy(record.ifr_name, name, IFNAMSIZ - 1);
  return ask(request, code, record);
}

struct Listed {
  int index;
  char name[IFNAMSIZ];
};

/// Fills `out`; an errno when there is no stack.
int list(Request& request, Listed* out, std::size_t& count) {
  count = 0;
  if (request.error() != 0) return request.error();
  int gap = 0;
  for (int index = 1; index <= kIndexMax && gap < kGapMax && count < kInterfacesMax; ++index, ++gap) {
    ifreq record{};
    record.ifr_ifindex = index;
    const int error = ask(request, SIOCGIFNAME, record);
    if (error == ENETDOWN) return error;
    if (error != 0) continue;
    out[count].index = index;
    memcpy(out[count].name, record.ifr_name, IFNAMSIZ);
    ++count;
    gap = 0;
  }
  return 0;
}

struct Node {
  ifaddrs item;
  char name[IFNAMSIZ];
  union Address {
    sockaddr any;
    sockaddr_in in;
    sockaddr_ll link;
  } address, mask, other;
};

unsigned flags_of(Request& request, const Listed& interface) {
  ifreq record;
  return ask(request, SIOCGIFFLAGS, interface.name, record) == 0
             ? static_cast<unsigned short>(record.ifr_flags)
             : 0;
}

void fill_link(Request& request, const Listed& interface, Node& node) {
  node.address.link.sll_family = AF_PACKET;
  node.address.link.sll_ifindex = interface.index;
  ifreq record;
  if (ask(request, SIOCGIFHWADDR, interface.name, record) == 0) {
    node.address.link.sll_hatype = record.ifr_hwaddr.sa_family;
    node.address.link.sll_halen = 6;
    memcpy(node.address.link.sll_addr, record.ifr_hwaddr.sa_data, 6);
  }
  node.item.ifa_addr = &node.address.any;
}

bool fill_inet(Request& request, const Listed& interface, Node& node) {
  ifreq record;
  if (ask(request, SIOCGIFADDR, interface.name, record) != 0) return false;
  memcpy(&node.address.in, &record.ifr_addr, sizeof node.address.in);
  node.item.ifa_addr = &node.address.any;
  if (ask(request, SIOCGIFNETMASK, interface.name, record) == 0) {
    memcpy(&node.mask.in, &record.ifr_netmask, sizeof node.mask.in);
    node.mask.in.sin_family = AF_INET;
    node.item.ifa_netmask = &node.mask.any;
  }
  const bool point_to_point = (node.item.ifa_flags & IFF_POINTOPOINT) != 0;
  if (!point_to_point && (node.item.ifa_flags & IFF_BROADCAST) == 0) return true;
  if (ask(request, point_to_point ? SIOCGIFDSTADDR : SIOCGIFBRDADDR, interface.name, record) == 0) {
    memcpy(&node.other.in, &record.ifr_broadaddr, sizeof node.other.in);
    node.item.ifa_ifu.ifu_broadaddr = &node.other.any;
  }
  return true;
}

Node& next_node(Node* nodes, std::size_t& used, const Listed& interface, unsigned flags) {
  Node& node = nodes[used];
  if (used > 0) nodes[used - 1].item.ifa_next = &node.item;
  ++used;
  memcpy(node.name, interface.name, IFNAMSIZ);
  node.item.ifa_name = node.name;
  node.item.ifa_flags = flags;
  return node;
}

}  // namespace

}  // namespace iopkt::shim

using namespace iopkt::shim;

// One block for the whole list, which is what libc's freeifaddrs() frees.
IOPKT_EXPORT int getifaddrs(ifaddrs** out) noexcept {
  if (settings().kernel_inet) return real().getifaddrs(out);
  *out = nullptr;
  Request request;
  Listed found[kInterfacesMax];
  std::size_t count = 0;
  if (const int error = list(request, found, count); error != 0) {
    errno = error;
    return -1;
  }
  if (count == 0) return 0;
  Node* nodes = static_cast<Node*>(calloc(2 * count + 1, sizeof(Node)));
  if (nodes == nullptr) return -1;
  unsigned flags[kInterfacesMax];
  std::size_t used = 0;
  for (std::size_t i = 0; i < count; ++i) {
    flags[i] = flags_of(request, found[i]);
    fill_link(request, found[i], next_node(nodes, used, found[i], flags[i]));
  }
  for (std::size_t i = 0; i < count; ++i) {
    Node& node = next_node(nodes, used, found[i], flags[i]);
    if (fill_inet(request, found[i], node)) continue;
    --used;
    node = {};
    nodes[used - 1].item.ifa_next = nullptr;
  }
  *out = &nodes[0].item;
  return 0;
}

IOPKT_EXPORT unsigned if_nametoindex(const char* name) noexcept {
  if (settings().kernel_inet) return real().if_nametoindex(name);
  if (strnlen(name, IFNAMSIZ) >= IFNAMSIZ) {
    errno = ENODEV;
    return 0;
  }
  Request request;
  ifreq record;
  const int error = request.error() != 0 ? request.error() : ask(request, SIOCGIFINDEX, name, record);
  if (error == 0) return static_cast<unsigned>(record.ifr_ifindex);
  errno = error;
  return 0;
}

IOPKT_EXPORT char* if_indextoname(unsigned index, char* name) noexcept {
  if (settings().kernel_inet) return real().if_indextoname(index, name);
  Request request;
  ifreq record{};
  record.ifr_ifindex = static_cast<int>(index);
  const int error = request.error() != 0 ? request.error() : ask(request, SIOCGIFNAME, record);
  if (error != 0) {
    errno = error == ENODEV ? ENXIO : error;
    return nullptr;
  }
  return strncpy(name, record.ifr_name, IFNAMSIZ);
}

// The names one by one, then the list: as libc's if_freenameindex() frees them.
IOPKT_EXPORT struct if_nameindex* if_nameindex() noexcept {
  if (settings().kernel_inet) return real().if_nameindex();
  Listed found[kInterfacesMax];
  std::size_t count = 0;
  int error = 0;
  {
    Request request;
    error = list(request, found, count);
  }
  if (error != 0) {
    errno = error;
    return nullptr;
  }
  auto* out = static_cast<struct if_nameindex*>(calloc(count + 1, sizeof(struct if_nameindex)));
  if (out == nullptr) return nullptr;
  for (std::size_t i = 0; i < count; ++i) {
    out[i].if_index = static_cast<unsigned>(found[i].index);
    out[i].if_name = strdup(found[i].name);
    if (out[i].if_name != nullptr) continue;
    real().if_freenameindex(out);
    errno = ENOBUFS;
    return nullptr;
  }
  return out;
}
