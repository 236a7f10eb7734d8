#include "iface/interface.hpp"

#include <algorithm>

namespace iopkt::iface {

const InterfaceAddress* Interface::primary(wire::IpFamily family) const {
  for (const InterfaceAddress& a : addresses)
    if (a.address.family() == family) return &a;
  return nullptr;
}

const InterfaceAddress* Interface::find(const IpAddress& address) const {
  for (const InterfaceAddress& a : addresses)
    if (a.address == address) return &a;
  return nullptr;
}

bool Interface::is_broadcast_address(Ipv4Address address) const {
  if (!is(flag::broadcast)) return false;
  if (address.is_limited_broadcast()) return true;
  return std::any_of(addresses.begin(), addresses.end(),
                     [&](const InterfaceAddress& a) { return a.broadcast == address; });
}

const InterfaceAddress* Interface::connected(const IpAddress& address) const {
  const InterfaceAddress* best = nullptr;
  int best_length = -1;
  for (const InterfaceAddress& a : addresses) {
    // On a point-to-point link the network is the peer alone.
    const bool holds = a.peer ? *a.peer == address : a.network().contains(address);
    const int length = a.peer ? a.address.bit_length() : a.prefix_length;
    if (holds && length > best_length) best = &a, best_length = length;
  }
  return best;
}

InterfaceTable::InterfaceTable(std::vector<Pointer> interfaces) : interfaces_(std::move(interfaces)) {
  std::sort(interfaces_.begin(), interfaces_.end(),
            [](const Pointer& a, const Pointer& b) { return a->index < b->index; });
  for (const Pointer& p : interfaces_) {
    IOPKT_ASSERT(p->index > 0 && by_index(p->index) == nullptr);
    by_index_.resize(p->index + 1);
    by_index_[p->index] = p.get();
    highest_ = p->index;
    for (const InterfaceAddress& a : p->addresses) {
      if (a.is_usable()) local_.emplace_back(a.address, p.get());
      if (a.broadcast && p->is(flag::broadcast)) broadcast_.push_back(*a.broadcast);
      if (p->is_loopback() && a.address.is_v4()) loopback_.emplace_back(a.network(), p.get());
    }
  }
  // Of an address that two interfaces have, the one with the lower index counts.
  std::sort(local_.begin(), local_.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first < b.first : a.second->index < b.second->index;
  });
  std::sort(broadcast_.begin(), broadcast_.end());
}

const Interface* InterfaceTable::by_name(std::string_view name) const {
  for (const Pointer& p : interfaces_)
    if (p->name == name) return p.get();
  return nullptr;
}

const Interface* InterfaceTable::find_local(const IpAddress& address) const {
  const auto at = std::lower_bound(local_.begin(), local_.end(), address,
                                   [](const auto& entry, const IpAddress& a) { return entry.first < a; });
  if (at != local_.end() && at->first == address) return at->second;
  for (const auto& [network, interface] : loopback_)
    if (network.contains(address)) return interface;
  return nullptr;
}

bool InterfaceTable::is_any_broadcast(Ipv4Address address) const {
  return address.is_limited_broadcast() || std::binary_search(broadcast_.begin(), broadcast_.end(), address);
}

const Interface* InterfaceTable::find_connected(const IpAddress& address) const {
  const Interface* best = nullptr;
  int best_length = -1;
  for (const Pointer& p : interfaces_) {
    const InterfaceAddress* a = p->connected(address);
    if (a == nullptr) continue;
    const int length = a->peer ? a->address.bit_length() : a->prefix_length;
    if (length > best_length) best = p.get(), best_length = length;
  }
  return best;
}

InterfaceTable InterfaceTable::with(Interface changed) const {
  std::vector<Pointer> next;
  for (const Pointer& p : interfaces_)
    if (p->index != changed.index) next.push_back(p);
  next.push_back(std::make_shared<const Interface>(std::move(changed)));
  InterfaceTable table{std::move(next)};
  table.highest_ = std::max(table.highest_, highest_);
  return table;
}

InterfaceTable InterfaceTable::without(std::uint32_t index) const {
  std::vector<Pointer> next;
  for (const Pointer& p : interfaces_)
    if (p->index != index) next.push_back(p);
  InterfaceTable table{std::move(next)};
  table.highest_ = highest_;
  return table;
}

}  // namespace iopkt::iface
