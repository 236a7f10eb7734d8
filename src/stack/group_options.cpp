// Multicast groups as programs ask for them: RFC 3678, RFC 3493 section 5.2; ip(7), ipv6(7). One code for both families, with the
// host's answers for each.
#include <algorithm>
#include <cstring>

#include "socket/numbers.hpp"
#include "stack/ways.hpp"

namespace iopkt::stack {

namespace num = socket::num;

namespace {

/// What the host bounds a socket by: igmp_max_memberships; of IPv6 its memory for options, which kMembershipsOfUser stands for.
constexpr std::ptrdiff_t kMembershipsMax4 = 20;
/// Of a membership: igmp_max_msf, mld_max_msf.
constexpr std::size_t kSourcesMax4 = 10, kSourcesMax6 = 64;
/// Of all sockets of a user on one shard; and of what these name together: each membership, and each source of its filter. Every
/// change of a group puts the filters of all its members together.
constexpr std::uint32_t kMembershipsOfUser = 1024, kFilterPartsOfUser = 4096;

constexpr std::size_t sources_max(const wire::IpAddress& group) { return group.is_v4() ? kSourcesMax4 : kSourcesMax6; }

/// What one of the options says, whatever its structure.
struct Wish {
  wire::IpAddress group, by_address, source;
  std::uint32_t interface_index = 0;
};

wire::IpAddress v4_at(Bytes value, std::size_t at) { return wire::load_ipv4(value, at); }

std::uint32_t number_at(Bytes value, std::size_t at) {
  std::uint32_t number = 0;
  std::memcpy(&number, value.data() + at, sizeof number);
  return number;
}

constexpr std::size_t kStorage = 128;  // struct sockaddr_storage

/// The sockaddr_in or sockaddr_in6 of a sockaddr_storage; nullopt: another family than the level's.
std::optional<wire::IpAddress> address_at(Bytes value, std::size_t at, int level) {
  std::uint16_t family = 0;
  std::memcpy(&family, value.data() + at, sizeof family);
  if (family != (level == num::kSolIp ? num::kAfInet : num::kAfInet6)) return std::nullopt;
  if (level == num::kSolIp) return v4_at(value, at + 4);
  return wire::IpAddress{wire::load_ipv6(value, at + 8)};
}

/// ip(7), ipv6(7): the interface by index, by one of its addresses, or as the route says.
const iface::Interface* interface_for(const ShardState& s, const Socket& k, const Wish& wish) {
  const iface::InterfaceTable& all = s.network->interfaces;
  if (wish.interface_index != 0) return all.by_index(wish.interface_index);
  if (!wish.by_address.is_unspecified()) return all.find_local(wish.by_address);
  const auto path = find_path(s, wish.group, k.fib, 0, false);
  return path ? path->out : nullptr;
}

std::vector<Membership>::iterator find_membership(Socket& k, const group::Key& key) {
  return std::ranges::find(k.memberships(), key, &Membership::key);
}

bool same_group(const Membership& one, const Wish& wish) { return one.key.group.with_zone(0) == wish.group.with_zone(0); }

// ---- changes, told to every shard

void tell(ShardState& s, const Socket& k, const group::Key& key, const std::optional<group::Filter>& filter) {
  const message::GroupChange change{key, s.number, k.id, k.user, filter};
  on_group_change(s, change);
  send_to_all_others(s, [&] { return change; });
}

std::uint32_t parts_of(const group::Filter& filter) { return 1 + static_cast<std::uint32_t>(filter.sources.size()); }

/// Gives a membership that filter and tells all. Errors: nobufs: the user's share of sources is used up.
Errno refilter(ShardState& s, Socket& k, Membership& membership, group::Filter filter) {
  std::uint32_t& parts = s.groups_held[k.user].parts;
  const std::uint32_t others = parts - parts_of(membership.filter);
  if (others + parts_of(filter) > kFilterPartsOfUser && parts_of(filter) > parts_of(membership.filter)) return Errno::nobufs;
  parts = others + parts_of(filter);
  membership.filter = std::move(filter);
  tell(s, k, membership.key, membership.filter);
  return Errno::ok;
}

void end_membership(ShardState& s, Socket& k, std::vector<Membership>::iterator at) {
  tell(s, k, at->key, std::nullopt);
  const auto held = s.groups_held.find(k.user);
  held->second.parts -= parts_of(at->filter);
  if (--held->second.memberships == 0) s.groups_held.erase(held);
  k.memberships().erase(at);
}

Errno join(ShardState& s, Socket& k, const Wish& wish, bool exclude) {
  if (!wish.group.is_multicast()) return Errno::inval;
  const bool v4 = wish.group.is_v4();
  // As on the host: over IPv6 no interface means any of them.
  if (!v4 && wish.interface_index == 0 && std::ranges::any_of(k.memberships(), [&](const Membership& one) { return same_group(one, wish); }))
    return Errno::addrinuse;
  const iface::Interface* in = interface_for(s, k, wish);
  if (in == nullptr) return Errno::nodev;
  const group::Key key = group_key(in->index, wish.group);
  if (find_membership(k, key) != k.memberships().end()) return Errno::addrinuse;
  if (v4 && std::ranges::count_if(k.memberships(), [](const Membership& one) { return one.key.group.is_v4(); }) >= kMembershipsMax4)
    return Errno::nobufs;
  GroupsHeld& held = s.groups_held[k.user];
  if (held.memberships >= kMembershipsOfUser || held.parts >= kFilterPartsOfUser) return v4 ? Errno::nobufs : Errno::nomem;
  ++held.memberships, ++held.parts;
  k.memberships().push_back({key, wish.by_address, {.exclude = exclude}});
  tell(s, k, key, k.memberships().back().filter);
  return Errno::ok;
}

Errno leave(ShardState& s, Socket& k, const Wish& wish) {
  const bool v4 = wish.group.is_v4();
  if (!v4 && !wish.group.is_multicast()) return Errno::inval;
  if (v4 && wish.interface_index == 0 && wish.by_address.is_unspecified() && interface_for(s, k, wish) == nullptr) return Errno::nodev;
  const auto at = std::ranges::find_if(k.memberships(), [&](const Membership& one) {
    if (!same_group(one, wish)) return false;
    if (wish.interface_index != 0) return one.key.interface_index == wish.interface_index;
    return wish.by_address.is_unspecified() || wish.by_address == one.by_address;
  });
  if (at == k.memberships().end()) return Errno::addrnotavail;
  end_membership(s, k, at);
  return Errno::ok;
}

/// RFC 3678 section 4.1: one source more or less. `exclude`: blocking and unblocking.
Errno change_source(ShardState& s, Socket& k, const Wish& wish, bool exclude, bool add) {
  if (!wish.group.is_multicast()) return Errno::inval;
  const iface::Interface* in = interface_for(s, k, wish);
  if (in == nullptr) return Errno::nodev;
  const auto at = find_membership(k, group_key(in->index, wish.group));
  if (at == k.memberships().end()) return Errno::inval;
  group::Filter filter = at->filter;  // what fails changes nothing
  const wire::IpAddress source = wish.source.with_zone(in->index);
  if (filter.exclude != exclude) {
    if (!filter.sources.empty()) return Errno::inval;
    filter.exclude = exclude;
  }
  if (!add) {
    if (!filter.remove(source)) return Errno::addrnotavail;
    // INCLUDE of nothing is the end of the membership.
    if (!exclude && filter.sources.empty()) return end_membership(s, k, at), Errno::ok;
  } else {
    if (filter.names(source)) return Errno::addrnotavail;
    if (filter.sources.size() >= sources_max(wish.group)) return Errno::nobufs;
    filter.add(source);
  }
  return refilter(s, k, *at, std::move(filter));
}

/// IP_ADD_SOURCE_MEMBERSHIP and its like join when need be.
Errno join_source(ShardState& s, Socket& k, const Wish& wish) {
  const Errno joined = join(s, k, wish, false);
  if (joined != Errno::ok && joined != Errno::addrinuse) return joined;
  const Errno added = change_source(s, k, wish, false, true);
  if (joined == Errno::ok && added != Errno::ok) end_membership(s, k, std::prev(k.memberships().end()));
  return added;
}

/// MCAST_INCLUDE is 1 and MCAST_EXCLUDE 0.
Errno set_filter(ShardState& s, Socket& k, Wish wish, std::uint32_t mode, const std::vector<wire::IpAddress>& sources) {
  if (!wish.group.is_multicast() || mode > 1) return Errno::inval;
  const iface::Interface* in = interface_for(s, k, wish);
  if (in == nullptr) return Errno::nodev;
  if (mode == 1 && sources.empty()) {
    wish.interface_index = in->index;
    return leave(s, k, wish);
  }
  const auto at = find_membership(k, group_key(in->index, wish.group));
  if (at == k.memberships().end()) return Errno::inval;
  group::Filter filter{.exclude = mode == 0};
  for (const wire::IpAddress& source : sources) filter.add(source.with_zone(in->index));
  return refilter(s, k, *at, std::move(filter));
}

// ---- the structures

/// struct ip_mreqn, or ip_mreq.
std::optional<Wish> read_mreq(Bytes value) {
  if (value.size() < 8) return std::nullopt;
  return Wish{.group = v4_at(value, 0), .by_address = v4_at(value, 4), .source = {},
              .interface_index = value.size() >= 12 ? number_at(value, 8) : 0};
}

/// struct ip_mreq_source: group, interface, source.
std::optional<Wish> read_mreq_source(Bytes value) {
  if (value.size() < 12) return std::nullopt;
  return Wish{.group = v4_at(value, 0), .by_address = v4_at(value, 4), .source = v4_at(value, 8)};
}

/// struct ipv6_mreq.
std::optional<Wish> read_mreq6(Bytes value) {
  if (value.size() < 20) return std::nullopt;
  return Wish{.group = wire::load_ipv6(value, 0), .by_address = {}, .source = {}, .interface_index = number_at(value, 16)};
}

/// struct group_req, group_source_req. Errors: inval, addrnotavail (a family that is not the level's).
socket::Result<Wish> read_group(Bytes value, int level, bool with_source) {
  constexpr std::size_t kGroupAt = 8;
  if (value.size() < kGroupAt + kStorage * (with_source ? 2 : 1)) return unexpected(Errno::inval);
  const auto group = address_at(value, kGroupAt, level);
  if (!group) return unexpected(with_source || level == num::kSolIpv6 ? Errno::addrnotavail : Errno::inval);
  Wish wish{.group = *group, .by_address = {}, .source = {}, .interface_index = number_at(value, 0)};
  if (!with_source) return wish;
  const auto source = address_at(value, kGroupAt + kStorage, level);
  if (!source) return unexpected(Errno::addrnotavail);
  wish.source = *source;
  return wish;
}

/// struct ip_msfilter (an interface's address, addresses), or group_filter (an index, sockaddr_storages): where its parts lie.
struct FilterShape {
  std::size_t group, mode, count, sources, each;
};
constexpr FilterShape kIpFilter{0, 8, 12, 16, 4}, kGroupFilter{8, 136, 140, 144, kStorage};

struct FilterHead {
  Wish wish;
  std::uint32_t mode, count;
};
/// Errors: inval (too short), addrnotavail (another family than the level's).
socket::Result<FilterHead> read_filter_head(Bytes value, int level, int name) {
  const FilterShape& at = name == num::ip_msfilter ? kIpFilter : kGroupFilter;
  if (value.size() < at.sources) return unexpected(Errno::inval);
  FilterHead head{.wish = {}, .mode = number_at(value, at.mode), .count = number_at(value, at.count)};
  if (name == num::ip_msfilter) {
    head.wish.group = v4_at(value, 0), head.wish.by_address = v4_at(value, 4);
    return head;
  }
  const auto group = address_at(value, at.group, level);
  head.wish.interface_index = number_at(value, 0);
  if (!group) return unexpected(Errno::addrnotavail);
  head.wish.group = *group;
  return head;
}

/// IP_MSFILTER, MCAST_MSFILTER: the whole filter at once.
Errno set_filter(ShardState& s, Socket& k, int level, int name, Bytes value) {
  const FilterShape& at = name == num::ip_msfilter ? kIpFilter : kGroupFilter;
  if (value.size() < at.sources) return Errno::inval;
  const std::uint32_t count = number_at(value, at.count);
  if (count > (level == num::kSolIp ? kSourcesMax4 : kSourcesMax6)) return Errno::nobufs;
  if (at.sources + count * at.each > value.size()) return Errno::inval;
  const auto head = read_filter_head(value, level, name);
  // As on the host: an address of IPv4 is no group at the level of IPv6.
  if (!head) return level == num::kSolIpv6 ? Errno::inval : head.error();
  std::vector<wire::IpAddress> sources;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t where = at.sources + i * at.each;
    const auto source = name == num::ip_msfilter ? std::optional{v4_at(value, where)} : address_at(value, where, level);
    if (!source) return Errno::addrnotavail;
    sources.push_back(*source);
  }
  return set_filter(s, k, head->wish, head->mode, sources);
}

/// The interface by which multicast leaves; struct ip_mreqn, ip_mreq or in_addr.
Errno set_multicast_interface(ShardState& s, Socket& k, Bytes value) {
  if (value.size() < 4) return Errno::inval;
  const wire::IpAddress address = v4_at(value, value.size() >= 8 ? 4 : 0);
  std::uint32_t index = value.size() >= 12 ? number_at(value, 8) : 0;
  if (index == 0 && address.is_unspecified()) {
    k.options.change([](socket::SocketOptions& o) { o.multicast_interface = 0, o.multicast_source = {}; });
    return Errno::ok;
  }
  const iface::InterfaceTable& all = s.network->interfaces;
  const iface::Interface* out = index != 0 ? all.by_index(index) : all.find_local(address);
  if (out == nullptr) return Errno::addrnotavail;
  if (k.bound_interface != 0 && k.bound_interface != out->index) return Errno::inval;
  k.options.change([&](socket::SocketOptions& o) { o.multicast_interface = out->index, o.multicast_source = address; });
  return Errno::ok;
}

Errno set_protocol_independent(ShardState& s, Socket& k, int level, int name, Bytes value) {
  if (name == num::mcast_msfilter) return set_filter(s, k, level, name, value);
  const bool with_source = name != num::mcast_join_group && name != num::mcast_leave_group;
  const auto wish = read_group(value, level, with_source);
  if (!wish) return wish.error();
  switch (name) {
    case num::mcast_join_group: return join(s, k, *wish, true);
    case num::mcast_leave_group: return leave(s, k, *wish);
    case num::mcast_join_source_group: return join_source(s, k, *wish);
    case num::mcast_leave_source_group: return change_source(s, k, *wish, false, false);
    case num::mcast_block_source: return change_source(s, k, *wish, true, true);
    default: return change_source(s, k, *wish, true, false);
  }
}

Errno set_ip_group_option(ShardState& s, Socket& k, int name, Bytes value) {
  if (name == num::ip_msfilter) return set_filter(s, k, num::kSolIp, name, value);
  if (name == num::ip_add_membership || name == num::ip_drop_membership) {
    const auto wish = read_mreq(value);
    if (!wish) return Errno::inval;
    return name == num::ip_add_membership ? join(s, k, *wish, true) : leave(s, k, *wish);
  }
  const auto wish = read_mreq_source(value);
  if (!wish) return Errno::inval;
  if (name == num::ip_add_source_membership) return join_source(s, k, *wish);
  if (name == num::ip_drop_source_membership) return change_source(s, k, *wish, false, false);
  return change_source(s, k, *wish, true, name == num::ip_block_source);
}

/// The host's rules of IPV6_JOIN_ANYCAST: a host has one of a network that it is on, a router any.
Errno join_anycast(ShardState& s, Socket& k, const Wish& wish, bool privileged) {
  if (!privileged) return Errno::perm;
  const iface::InterfaceTable& all = s.network->interfaces;
  const wire::IpAddress here = wish.group.with_zone(wish.interface_index);
  if (wish.group.is_multicast() || wish.group.is_v4() || all.find_local(here) != nullptr) return Errno::inval;
  const bool routes = s.settings.ipv6.forwarding != 0;
  const iface::Interface* in = all.by_index(wish.interface_index);
  if (wish.interface_index == 0) {
    const route::Route* route = s.network->fibs[k.fib].lookup(wish.group);
    if (route == nullptr && !routes) return Errno::addrnotavail;
    if (route != nullptr) in = s.interface(route->interface_index);
    else in = multicast_interface(s, wish.group, k.fib);
  }
  if (in == nullptr) return Errno::nodev;
  const wire::IpAddress address = wish.group.with_zone(in->index);
  if (!routes && in->connected(address) == nullptr) return Errno::addrnotavail;
  const group::Key key = group_key(in->index, address);
  if (find_membership(k, key) != k.memberships().end()) return Errno::ok;
  GroupsHeld& held = s.groups_held[k.user];
  if (held.memberships >= kMembershipsOfUser || held.parts >= kFilterPartsOfUser) return Errno::nomem;
  ++held.memberships, ++held.parts;
  k.memberships().push_back({key, {}, {.exclude = true}});
  tell(s, k, key, k.memberships().back().filter);
  return Errno::ok;
}

Errno leave_anycast(ShardState& s, Socket& k, const Wish& wish) {
  const auto at = std::ranges::find_if(k.memberships(), [&](const Membership& one) {
    return !one.key.group.is_multicast() && same_group(one, wish) &&
           (wish.interface_index == 0 || wish.interface_index == one.key.interface_index);
  });
  if (at == k.memberships().end()) return Errno::noent;
  end_membership(s, k, at);
  return Errno::ok;
}

bool is_protocol_independent(int name) { return name >= num::mcast_join_group && name <= num::mcast_msfilter; }

}  // namespace

void leave_all_groups(ShardState& s, Socket& k) {
  if (!k.seldom) return;
  while (!k.memberships().empty()) end_membership(s, k, std::prev(k.memberships().end()));
}

std::optional<Errno> set_group_option(ShardState& s, Socket& k, int level, int name, Bytes value, bool privileged) {
  const bool stream = k.kind == socket::SocketKind::tcp;
  if (level == num::kSolIpv6 && k.family == wire::IpFamily::v6) {
    // The host lets a stream do so by these names, and not by the older ones.
    if (is_protocol_independent(name)) return set_protocol_independent(s, k, level, name, value);
    if (name == num::ipv6_join_anycast || name == num::ipv6_leave_anycast) {
      const auto wish = read_mreq6(value);
      if (!wish) return Errno::inval;
      return name == num::ipv6_join_anycast ? join_anycast(s, k, *wish, privileged) : leave_anycast(s, k, *wish);
    }
    if (name != num::ipv6_add_membership && name != num::ipv6_drop_membership) return std::nullopt;
    const auto wish = read_mreq6(value);
    if (!wish) return Errno::inval;
    if (stream) return Errno::proto;
    return name == num::ipv6_add_membership ? join(s, k, *wish, true) : leave(s, k, *wish);
  }
  if (level != num::kSolIp) return std::nullopt;
  if (name == num::ip_multicast_if) return stream ? Errno::inval : set_multicast_interface(s, k, value);
  if (name == num::ip_multicast_ttl && stream) return Errno::inval;
  if (name < num::ip_add_membership || name > num::mcast_msfilter) return std::nullopt;
  if (stream) return Errno::proto;
  return is_protocol_independent(name) ? set_protocol_independent(s, k, level, name, value) : set_ip_group_option(s, k, name, value);
}

std::optional<socket::Result<std::string>> get_group_option(const ShardState& s, const Socket& k, int level, int name, std::size_t room,
                                                            Bytes given) {
  const bool here = level == num::kSolIp || (level == num::kSolIpv6 && k.family == wire::IpFamily::v6);
  if (!here || (name != num::mcast_msfilter && (name != num::ip_msfilter || level != num::kSolIp))) return std::nullopt;
  const auto head = read_filter_head(given, level, name);
  if (!head) return unexpected(head.error());
  const Wish& wish = head->wish;
  if (!wish.group.is_multicast()) return unexpected(Errno::inval);
  std::uint32_t index = wish.interface_index;
  if (name == num::ip_msfilter) {
    const iface::Interface* in = interface_for(s, k, wish);
    if (in == nullptr) return unexpected(Errno::nodev);
    index = in->index;
  }
  const auto at = std::ranges::find_if(k.memberships(), [&](const Membership& one) { return one.key.interface_index == index && same_group(one, wish); });
  if (at == k.memberships().end()) return unexpected(Errno::addrnotavail);
  const FilterShape& shape = name == num::ip_msfilter ? kIpFilter : kGroupFilter;
  const auto count = static_cast<std::uint32_t>(at->filter.sources.size());
  // What there is room for, and how many there are.
  const std::size_t copied = std::min<std::size_t>({count, head->count, (std::max(room, shape.sources) - shape.sources) / shape.each});
  std::vector<std::byte> out(shape.sources + copied * shape.each);
  std::copy_n(given.begin(), shape.sources, out.begin());
  const std::uint32_t mode = at->filter.exclude ? 0 : 1;
  std::memcpy(out.data() + shape.mode, &mode, sizeof mode);
  std::memcpy(out.data() + shape.count, &count, sizeof count);
  for (std::size_t i = 0; i < copied; ++i) {
    const std::size_t where = shape.sources + i * shape.each;
    const wire::IpAddress& source = at->filter.sources[i];
    if (name == num::mcast_msfilter) {
      const auto family = static_cast<std::uint16_t>(source.is_v4() ? num::kAfInet : num::kAfInet6);
      std::memcpy(out.data() + where, &family, sizeof family);
    }
    if (source.is_v4()) wire::store_ipv4(out, where + (name == num::ip_msfilter ? 0 : 4), source.v4());
    else wire::store_ipv6(out, where + 8, source.v6());
  }
  return std::string(reinterpret_cast<const char*>(out.data()), out.size());
}

}  // namespace iopkt::stack
