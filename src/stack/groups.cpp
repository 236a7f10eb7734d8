// Multicast groups: the table of who listens to what, of which every shard has a copy. RFC 1112, RFC 3376, RFC 3810.
#include <algorithm>

#include "link/ethernet.hpp"
#include "packet/segment.hpp"
#include "stack/ways.hpp"
#include "wire/igmp.hpp"

namespace iopkt::stack {

using packet::Drop;
using packet::PacketPtr;

namespace {

group::Listener listener_of(std::uint32_t shard, SocketId id) { return std::uint64_t{shard} << 32 | id.value; }

constexpr wire::Ipv6Address kAllRoutersOfSite{{0xff, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2}};  // RFC 4291 section 2.7.1

constexpr std::uint32_t kNoUser = UINT32_MAX;  // the stack's own memberships

void change(ShardState& s, const group::Key& key, group::Listener who, std::uint32_t user, const std::optional<group::Filter>& filter) {
  const auto change = filter ? s.groups.set(key, who, *filter, true) : s.groups.remove(key, who);
  if (!key.group.is_multicast()) {
    const std::pair one{key.group, key.interface_index};
    const auto place = std::ranges::lower_bound(s.anycasts, one);
    const bool there = place != s.anycasts.end() && *place == one;
    if (there && !change.after.is_member()) s.anycasts.erase(place);
    else if (!there && change.after.is_member()) s.anycasts.insert(place, one);
    return;
  }
  if (!s.memberships) return;
  std::vector<group::Message> out;
  s.memberships->changed(key, change.before, change.after, user, s.now, out);
  send_reports(s, out);
  if (change.before.is_member() != change.after.is_member()) note_filter_change(s, key.interface_index);
}

}  // namespace

/// The group as the table has it: IPv6 addresses of one link carry their zone.
group::Key group_key(std::uint32_t interface_index, const wire::IpAddress& group) {
  return {interface_index, group.has_zone() ? group.with_zone(interface_index) : group};
}

/// A device hears of it once a turn, however often it changes.
void note_filter_change(ShardState& s, std::uint32_t interface_index) {
  if (!std::ranges::count(s.filter_changes, interface_index)) s.filter_changes.push_back(interface_index);
}

void on_group_change(ShardState& s, const message::GroupChange& m) {
  change(s, m.key, listener_of(m.shard, m.id), m.user, m.filter);
  if (!m.key.group.is_multicast()) listen_for_ourselves(s);
}

namespace {

/// RFC 4291 section 2.6.1: every router of a subnet has its address with no interface identifier. RFC 6164 section 5.1 excepts the
/// links of two.
std::optional<wire::Ipv6Address> subnet_router_anycast(const iface::InterfaceAddress& a) {
  constexpr std::uint8_t kLongest = 126;
  if (!a.address.is_v6() || !a.is_usable() || a.prefix_length == 0 || a.prefix_length > kLongest) return std::nullopt;
  return wire::IpPrefix::of(a.address, a.prefix_length).address.v6();
}

}  // namespace

void listen_for_ourselves(ShardState& s) {
  if (s.inet6 == nullptr) return;
  std::vector<group::Key> wanted;
  for (const auto& one : s.network->interfaces.all()) {
    if (one->is_loopback()) continue;
    if (s.settings.ipv6.forwarding != 0)
      for (const wire::Ipv6Address& all : {wire::Ipv6Address::all_routers(), kAllRoutersOfSite})
        wanted.push_back(group_key(one->index, wire::IpAddress{all}));
    if (s.settings.ipv6.forwarding != 0 && one->is(iface::flag::multicast))
      for (const iface::InterfaceAddress& a : one->addresses)
        if (const auto anycast = subnet_router_anycast(a)) {
          wanted.push_back(group_key(one->index, wire::IpAddress{*anycast}));
          wanted.push_back(group_key(one->index, wire::IpAddress{anycast->solicited_node()}));
        }
    // Those of tentative addresses, too: this is how others are heard that have them (RFC 4862 section 5.4.2).
    for (const iface::InterfaceAddress& a : one->addresses)
      if (a.address.is_v6()) wanted.push_back(group_key(one->index, wire::IpAddress{a.address.v6().solicited_node()}));
  }
  for (const group::Table::Row& row : !s.anycasts.empty() ? s.groups.rows() : std::vector<group::Table::Row>{})
    if (!row.key.group.is_multicast() && row.listeners != 0)
      wanted.push_back(group_key(row.key.interface_index, wire::IpAddress{row.key.group.v6().solicited_node()}));
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  const std::vector<group::Key> before = std::exchange(s.own_groups, wanted);
  for (const group::Key& key : before)
    if (!std::ranges::binary_search(wanted, key)) change(s, key, group::kOwnListener, kNoUser, std::nullopt);
  for (const group::Key& key : wanted)
    if (!std::ranges::binary_search(before, key)) change(s, key, group::kOwnListener, kNoUser, group::Filter::everything());
}

bool is_anycast(const ShardState& s, std::uint32_t interface_index, const wire::Ipv6Address& address, bool on_link) {
  // A router that passes packets on asks this of each.
  if (s.anycasts.empty()) return false;
  const wire::IpAddress plain{address};
  if (on_link || plain.has_zone()) {
    const group::Key key = group_key(interface_index, plain);
    return std::ranges::binary_search(s.anycasts, std::pair{key.group, key.interface_index});
  }
  const auto first = std::ranges::lower_bound(s.anycasts, std::pair{plain, std::uint32_t{0}});
  return first != s.anycasts.end() && first->first == plain;
}

bool hears_group(const ShardState& s, std::uint32_t interface_index, const wire::IpAddress& group, const wire::IpAddress& source) {
  if (group::is_all_hosts(group)) return true;
  const group::Filter* filter = s.groups.merged(group_key(interface_index, group));
  return filter != nullptr && filter->passes(source);
}

bool socket_hears_group(const ShardState& s, std::uint32_t shard, SocketId id, bool any, std::uint32_t interface_index,
                        const wire::IpAddress& group, const wire::IpAddress& source) {
  const group::Filter* filter = s.groups.of(group_key(interface_index, group), listener_of(shard, id));
  return filter != nullptr ? filter->passes(source) : any;
}

std::vector<wire::MacAddress> multicast_filter(const ShardState& s, std::uint32_t interface_index) {
  std::vector<wire::MacAddress> out{link::multicast_mac(wire::kAllSystems)};
  // RFC 4291 section 2.8: what a host hears without asking.
  if (s.inet6 != nullptr) out.push_back(link::multicast_mac(wire::IpAddress{wire::Ipv6Address::all_nodes()}));
  for (const group::Table::Row& row : s.groups.rows())
    if (row.key.interface_index == interface_index && row.key.group.is_multicast() && row.filter.is_member())
      out.push_back(link::multicast_mac(row.key.group));
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.bytes < b.bytes; });
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

// ---- what is sent to a group or to all is heard here, too

void loop_back(ShardState& s, const iface::Interface& out, const packet::Packet& packet) {
  PacketPtr copy = packet.clone(s.cache);
  if (!copy) return s.drop(Drop::no_buffer);
  packet::Burst pieces;
  if ((copy->flags & packet::kGsoFlags) == 0) pieces.push_back(std::move(copy));
  else if (const auto cut = packet::segment(*copy, 0, pieces); !cut) return s.drop(cut.error());
  for (PacketPtr& one : pieces) {
    one->looped = one->link_multicast = true;  // rx_looped() takes the mark off again
    one->rx_interface = out.index;
    s.looped.push_back(std::move(one));
  }
}

}  // namespace iopkt::stack
