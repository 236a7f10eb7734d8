// getifaddrs(3), if_nametoindex(3) and their kin: libc would ask the kernel about the kernel's interfaces;
// these ask the stack.
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <string_view>
#include <vector>

#include "ipc/records.hpp"
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
    sockaddr_in6 in6;
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

/// All interfaces with their addresses, as the verb interface.list answers.
class AddressList {
 public:
  ~AddressList() { free(answer_); }
  AddressList() = default;
  AddressList(const AddressList&) = delete;
  AddressList& operator=(const AddressList&) = delete;

  /// 0 or an errno.
  int ask(Request& request) {
    constexpr std::size_t kRoom = std::size_t{1} << 20;
    answer_ = static_cast<std::byte*>(malloc(kRoom));
    if (answer_ == nullptr) return ENOMEM;
    std::vector<std::byte> verb;
    ipc::RecordWriter(verb).text("verb", "interface.list");
    ipc::Empty none;
    const int error = request.call<ipc::MessageId::manage>({}, none, verb, {answer_, kRoom}, &length_);
    length_ = std::min(length_, kRoom);
    return error;
  }

  struct Address {
    std::string_view interface, family, address, peer, broadcast;
    unsigned prefix_length;
  };
  /// Calls `each` with every address, interface by interface.
  template <class Each>
  void for_each(Each each) const {
    ipc::RecordReader reader({answer_, length_});
    ipc::Record record;
    Address now{};
    bool in_addresses = false;
    while (reader.next(record)) {
      using Type = ipc::RecordType;
      if (record.type == Type::list) {
        if (record.key == "addresses") in_addresses = true;
        continue;
      }
      if (record.type == Type::group) {
        if (in_addresses) now = {.interface = now.interface, .family = {}, .address = {}, .peer = {}, .broadcast = {}, .prefix_length = 0};
        continue;
      }
      if (record.type == Type::end) {
        if (in_addresses && now.family.empty()) in_addresses = false;
        if (!now.family.empty()) each(now), now.family = {};
        continue;
      }
      if (!in_addresses && record.key == "name" && reader.depth() == 2) now.interface = record.text();
      if (!in_addresses) continue;
      if (record.key == "family") now.family = record.text();
      if (record.key == "address") now.address = record.text();
      if (record.key == "peer") now.peer = record.text();
      if (record.key == "broadcast") now.broadcast = record.text();
      if (record.key == "prefix_length") now.prefix_length = static_cast<unsigned>(record.number());
    }
  }

 private:
  std::byte* answer_ = nullptr;
  std::size_t length_ = 0;
};

/// "10.0.0.1", "fe80::1%en0" on the interface of that index. False: neither.
bool read_address(std::string_view text, int index, Node::Address& out) {
  char plain[INET6_ADDRSTRLEN];
  text = text.substr(0, text.find('%'));
  if (text.size() >= sizeof plain) return false;
  memcpy(plain, text.data(), text.size());
  plain[text.size()] = 0;
  if (inet_pton(AF_INET, plain, &out.in.sin_addr) == 1) {
    out.in.sin_family = AF_INET;
    return true;
  }
  if (inet_pton(AF_INET6, plain, &out.in6.sin6_addr) != 1) return false;
  out.in6.sin6_family = AF_INET6;
  const in6_addr& a = out.in6.sin6_addr;
  if (IN6_IS_ADDR_LINKLOCAL(&a) || IN6_IS_ADDR_MC_LINKLOCAL(&a)) out.in6.sin6_scope_id = static_cast<unsigned>(index);
  return true;
}

void fill_mask(unsigned length, int family, Node::Address& out) {
  unsigned char* at = nullptr;
  if (family == AF_INET) {
    out.in.sin_family = AF_INET;
    at = reinterpret_cast<unsigned char*>(&out.in.sin_addr);
  } else {
    out.in6.sin6_family = AF_INET6;
    at = out.in6.sin6_addr.s6_addr;
  }
  for (const unsigned most = family == AF_INET ? 32u : 128u; length > 0 && length <= most; ++at) {
    const unsigned bits = std::min(length, 8u);
    *at = static_cast<unsigned char>(0xff00u >> bits);
    length -= bits;
  }
}

bool fill_address(const AddressList::Address& a, int index, Node& node) {
  if (!read_address(a.address, index, node.address)) return false;
  node.item.ifa_addr = &node.address.any;
  fill_mask(a.prefix_length, node.address.any.sa_family, node.mask);
  node.item.ifa_netmask = &node.mask.any;
  const std::string_view other = !a.peer.empty() ? a.peer : a.broadcast;
  if (!other.empty() && read_address(other, index, node.other)) node.item.ifa_ifu.ifu_broadaddr = &node.other.any;
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
  AddressList addresses;
  if (const int error = addresses.ask(request); error != 0) {
    errno = error;
    return -1;
  }
  std::size_t most = count;
  addresses.for_each([&](const AddressList::Address&) { ++most; });
  Node* nodes = static_cast<Node*>(calloc(most, sizeof(Node)));
  if (nodes == nullptr) return -1;
  unsigned flags[kInterfacesMax];
  std::size_t used = 0;
  for (std::size_t i = 0; i < count; ++i) {
    flags[i] = flags_of(request, found[i]);
    fill_link(request, found[i], next_node(nodes, used, found[i], flags[i]));
  }
  // As the kernel lists them: family by family.
  for (const std::string_view family : {"inet", "inet6"})
    addresses.for_each([&](const AddressList::Address& a) {
      for (std::size_t i = 0; i < count && a.family == family; ++i) {
        if (a.interface != found[i].name) continue;
        Node& node = next_node(nodes, used, found[i], flags[i]);
        if (fill_address(a, found[i].index, node)) break;
        --used;
        node = {};
        nodes[used - 1].item.ifa_next = nullptr;
      }
    });
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
