// Multicast groups: what sockets ask for, who hears what, and what routers are told. RFC 1112, RFC 3376, RFC 3678; ip(7).
#include <algorithm>
#include <cstring>

#include "link/ethernet.hpp"
#include "packet/segment.hpp"
#include "socket/numbers.hpp"
#include "stack/ways.hpp"
#include "wire/igmp.hpp"

namespace iopkt::stack {

using packet::Drop;
using packet::PacketPtr;
namespace num = socket::num;

// ---- the table, of which every shard has a copy

namespace {

group::Listener listener_of(std::uint32_t shard, SocketId id) { return std::uint64_t{shard} << 32 | id.value; }

/// The group as the table has it: IPv6 addresses of one link carry their zone.
group::Key key_of(std::uint32_t interface_index, const wire::IpAddress& group) {
  return {interface_index, group.has_zone() ? group.with_zone(interface_index) : group};
}

}  // namespace

namespace {

/// A device hears of it once a turn, however often it changes.
void note_filter_change(ShardState& s, std::uint32_t interface_index) {
  if (!std::ranges::count(s.filter_changes, interface_index)) s.filter_changes.push_back(interface_index);
}

}  // namespace

void on_group_change(ShardState& s, const message::GroupChange& m) {
  const group::Listener who = listener_of(m.shard, m.id);
  const auto change = m.filter ? s.groups.set(m.key, who, *m.filter, true) : s.groups.remove(m.key, who);
  if (!s.memberships) return;
  std::vector<group::Message> out;
  s.memberships->changed(m.key, change.before, change.after, s.now, out);
  send_reports(s, out);
  if (change.before.is_member() != change.after.is_member()) note_filter_change(s, m.key.interface_index);
}

namespace {

/// Tells every shard; nullopt: the socket is no member any more.
void tell(ShardState& s, const Socket& k, const group::Key& key, const std::optional<group::Filter>& filter) {
  const message::GroupChange change{key, s.number, k.id, filter};
  on_group_change(s, change);
  send_to_all_others(s, [&] { return change; });
}

void tell(ShardState& s, const Socket& k, const Membership& one) { tell(s, k, one.key, one.filter); }

}  // namespace

void leave_all_groups(ShardState& s, Socket& k) {
  for (const Membership& one : k.memberships) tell(s, k, one.key, std::nullopt);
  k.memberships.clear();
}

bool hears_group(const ShardState& s, std::uint32_t interface_index, const wire::IpAddress& group, const wire::IpAddress& source) {
  if (group::is_silent(group)) return true;
  const group::Filter* filter = s.groups.merged(key_of(interface_index, group));
  return filter != nullptr && filter->passes(source);
}

bool socket_hears_group(const ShardState& s, std::uint32_t shard, SocketId id, bool any, std::uint32_t interface_index,
                        const wire::IpAddress& group, const wire::IpAddress& source) {
  const group::Filter* filter = s.groups.of(key_of(interface_index, group), listener_of(shard, id));
  return filter != nullptr ? filter->passes(source) : any;
}

std::vector<wire::MacAddress> multicast_filter(const ShardState& s, std::uint32_t interface_index) {
  std::vector<wire::MacAddress> out{link::multicast_mac(wire::kAllSystems)};
  for (const group::Table::Row& row : s.groups.rows())
    if (row.key.interface_index == interface_index && row.filter.is_member() && row.key.group.is_v4())
      out.push_back(link::multicast_mac(row.key.group.v4()));
  if (const iface::Interface* one = s.interface(interface_index); one != nullptr && s.inet6 != nullptr) {
    // RFC 4291 section 2.8: what a host hears without asking; solicitations come to the group of each address.
    out.push_back(link::multicast_mac(wire::IpAddress{wire::Ipv6Address::all_nodes()}));
    for (const iface::InterfaceAddress& a : one->addresses)
      if (a.address.is_v6()) out.push_back(link::multicast_mac(wire::IpAddress{a.address.v6().solicited_node()}));
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.bytes < b.bytes; });
  out.erase(std::unique(out.begin(), out.end()), out.end());
  return out;
}

// ---- what a program asks for

namespace {

constexpr std::size_t kMembershipsMax = 20;  // of a socket, as on the host (igmp_max_memberships)
constexpr std::size_t kSourcesMax = 10;      // of a membership (igmp_max_msf)

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

/// A sockaddr_in or sockaddr_in6 of a sockaddr_storage; nullopt: another family.
std::optional<wire::IpAddress> address_at(Bytes value, std::size_t at) {
  std::uint16_t family = 0;
  std::memcpy(&family, value.data() + at, sizeof family);
  if (family == num::kAfInet) return v4_at(value, at + 4);
  if (family != num::kAfInet6) return std::nullopt;
  wire::Ipv6Address out;
  std::memcpy(out.bytes.data(), value.data() + at + 8, 16);
  return wire::IpAddress{out};
}

/// ip(7): the interface by index, by one of its addresses, or as the route says.
const iface::Interface* interface_for(const ShardState& s, const Socket& k, const Wish& wish) {
  const iface::InterfaceTable& all = s.network->interfaces;
  if (wish.interface_index != 0) return all.by_index(wish.interface_index);
  if (!wish.by_address.is_unspecified()) return all.find_local(wish.by_address);
  const auto path = find_path(s, wish.group, k.fib, 0, false);
  return path ? path->out : nullptr;
}

std::vector<Membership>::iterator find_membership(Socket& k, const group::Key& key) {
  return std::find_if(k.memberships.begin(), k.memberships.end(), [&](const Membership& one) { return one.key == key; });
}

Errno join(ShardState& s, Socket& k, const Wish& wish, bool exclude) {
  if (!wish.group.is_multicast()) return Errno::inval;
  const iface::Interface* in = interface_for(s, k, wish);
  if (in == nullptr) return Errno::nodev;
  const group::Key key = key_of(in->index, wish.group);
  if (find_membership(k, key) != k.memberships.end()) return Errno::addrinuse;
  if (k.memberships.size() >= kMembershipsMax) return Errno::nobufs;
  k.memberships.push_back({key, wish.by_address, {.exclude = exclude}});
  tell(s, k, k.memberships.back());
  return Errno::ok;
}

Errno leave(ShardState& s, Socket& k, const Wish& wish) {
  if (wish.interface_index == 0 && wish.by_address.is_unspecified() && interface_for(s, k, wish) == nullptr) return Errno::nodev;
  const auto at = std::find_if(k.memberships.begin(), k.memberships.end(), [&](const Membership& one) {
    if (one.key.group.with_zone(0) != wish.group.with_zone(0)) return false;
    if (wish.interface_index != 0) return one.key.interface_index == wish.interface_index;
    return wish.by_address.is_unspecified() || wish.by_address == one.by_address;
  });
  if (at == k.memberships.end()) return Errno::addrnotavail;
  tell(s, k, at->key, std::nullopt);
  k.memberships.erase(at);
  return Errno::ok;
}

/// RFC 3678 section 4.1: one source more or less. `exclude`: blocking and unblocking.
Errno change_source(ShardState& s, Socket& k, const Wish& wish, bool exclude, bool add) {
  if (!wish.group.is_multicast()) return Errno::inval;
  const iface::Interface* in = interface_for(s, k, wish);
  if (in == nullptr) return Errno::nodev;
  const auto at = find_membership(k, key_of(in->index, wish.group));
  if (at == k.memberships.end()) return Errno::inval;
  group::Filter& filter = at->filter;
  if (filter.exclude != exclude) {
    if (!filter.sources.empty()) return Errno::inval;
    filter.exclude = exclude;
  }
  if (!add) {
    if (!filter.remove(wish.source)) return Errno::addrnotavail;
    // INCLUDE of nothing is the end of the membership.
    if (!exclude && filter.sources.empty()) return leave(s, k, {.group = wish.group, .by_address = {}, .source = {}, .interface_index = in->index});
  } else {
    if (filter.names(wish.source)) return Errno::addrnotavail;
    if (filter.sources.size() >= kSourcesMax) return Errno::nobufs;
    filter.add(wish.source);
  }
  tell(s, k, *at);
  return Errno::ok;
}

/// IP_ADD_SOURCE_MEMBERSHIP and its like join when need be.
Errno join_source(ShardState& s, Socket& k, const Wish& wish) {
  const Errno joined = join(s, k, wish, false);
  if (joined != Errno::ok && joined != Errno::addrinuse) return joined;
  return change_source(s, k, wish, false, true);
}

/// IP_MSFILTER: the whole filter at once.
Errno set_filter(ShardState& s, Socket& k, Bytes value) {
  if (value.size() < 16) return Errno::inval;
  const std::uint32_t mode = number_at(value, 8), count = number_at(value, 12);
  if (count >= 0x1ffffffc || 16 + std::size_t{count} * 4 > value.size()) return Errno::inval;
  if (count > kSourcesMax) return Errno::nobufs;
  Wish wish{.group = v4_at(value, 0), .by_address = v4_at(value, 4), .source = {}};
  if (!wish.group.is_multicast() || mode > 1) return Errno::inval;
  const iface::Interface* in = interface_for(s, k, wish);
  if (in == nullptr) return Errno::nodev;
  wish.interface_index = in->index;
  if (mode == 1 && count == 0) return leave(s, k, wish);
  const auto at = find_membership(k, key_of(in->index, wish.group));
  if (at == k.memberships.end()) return Errno::inval;
  at->filter = {.exclude = mode == 0};
  for (std::uint32_t i = 0; i < count; ++i) at->filter.add(v4_at(value, 16 + std::size_t{i} * 4));
  tell(s, k, *at);
  return Errno::ok;
}

/// The interface by which multicast leaves; struct ip_mreqn, ip_mreq or in_addr.
Errno set_multicast_interface(ShardState& s, Socket& k, Bytes value) {
  if (value.size() < 4) return Errno::inval;
  const wire::IpAddress address = v4_at(value, value.size() >= 8 ? 4 : 0);
  std::uint32_t index = value.size() >= 12 ? number_at(value, 8) : 0;
  if (index == 0 && address.is_unspecified()) {
    k.options.multicast_interface = 0;
    k.options.multicast_source = {};
    return Errno::ok;
  }
  const iface::InterfaceTable& all = s.network->interfaces;
  const iface::Interface* out = index != 0 ? all.by_index(index) : all.find_local(address);
  if (out == nullptr) return Errno::addrnotavail;
  if (k.bound_interface != 0 && k.bound_interface != out->index) return Errno::inval;
  k.options.multicast_interface = out->index;
  k.options.multicast_source = address;
  return Errno::ok;
}

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

constexpr std::size_t kStorage = 128, kGroupAt = 8;  // sockaddr_storage, and where it lies in struct group_req

/// struct group_req, group_source_req. Errors: inval, addrnotavail (a family that is not the socket's).
socket::Result<Wish> read_group(Bytes value, bool with_source) {
  if (value.size() < kGroupAt + kStorage * (with_source ? 2 : 1)) return unexpected(Errno::inval);
  const auto group = address_at(value, kGroupAt);
  if (!group) return unexpected(with_source ? Errno::addrnotavail : Errno::inval);
  Wish wish{.group = *group, .by_address = {}, .source = {}, .interface_index = number_at(value, 0)};
  if (!with_source) return wish;
  const auto source = address_at(value, kGroupAt + kStorage);
  if (!source || source->family() != group->family()) return unexpected(Errno::addrnotavail);
  wish.source = *source;
  return wish;
}

Errno set_protocol_independent(ShardState& s, Socket& k, int name, Bytes value) {
  const bool with_source = name != num::mcast_join_group && name != num::mcast_leave_group;
  const auto wish = read_group(value, with_source);
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

}  // namespace

std::optional<Errno> set_group_option(ShardState& s, Socket& k, int level, int name, Bytes value) {
  if (level != num::kSolIp) return std::nullopt;
  if (name == num::ip_multicast_if) return k.kind == socket::SocketKind::tcp ? Errno::inval : set_multicast_interface(s, k, value);
  if (name == num::ip_multicast_ttl && k.kind == socket::SocketKind::tcp) return Errno::inval;
  if (name < num::ip_add_membership || name > num::mcast_leave_source_group) return std::nullopt;
  if (k.kind == socket::SocketKind::tcp) return Errno::proto;
  if (name == num::ip_msfilter) return set_filter(s, k, value);
  if (name >= num::mcast_join_group) return set_protocol_independent(s, k, name, value);
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

// ---- what is heard of queriers, and said to routers: shard 0

void rx_igmp(ShardState& s, const Arrival& at, PacketPtr packet) {
  if (!s.memberships) return s.drop(Drop::igmp_ignored);
  if (!packet->pull_up(packet->size())) return s.drop(Drop::no_buffer);
  const auto view = wire::IgmpView::parse(packet->head());
  if (!view) return s.drop(Drop::igmp_truncated);
  if (!view->checksum_ok()) return s.drop(Drop::igmp_bad_checksum);
  if (packet->looped) return;  // our own
  switch (view->type()) {
    case wire::IgmpType::report_v1:
    case wire::IgmpType::report_v2: return s.memberships->report_heard({at.in->index, view->group()}, s.now);
    case wire::IgmpType::report_v3:
    case wire::IgmpType::leave: return;  // for routers
    case wire::IgmpType::query: break;
    default: return s.drop(Drop::igmp_ignored);
  }
  const int version = view->query_version();
  if (version == 0) return s.drop(Drop::igmp_ignored);
  constexpr Duration kTenth = std::chrono::milliseconds{100};
  group::Query query{.age = version == 3 ? group::Age::current : version == 2 ? group::Age::older : group::Age::oldest,
                     .family = wire::IpFamily::v4,
                     .group = std::nullopt,
                     .sources = {}};
  if (!view->group().is_unspecified()) query.group = view->group();
  query.max_response = kTenth * (version == 3 ? wire::igmp_code_value(view->response_code()) : view->response_code());
  if (version == 3) {
    query.robustness = view->robustness();
    query.interval = std::chrono::seconds{wire::igmp_code_value(view->interval_code())};
    for (std::size_t i = 0; i < view->source_count(); ++i) query.sources.push_back(view->source(i));
    std::sort(query.sources.begin(), query.sources.end());
    query.sources.erase(std::unique(query.sources.begin(), query.sources.end()), query.sources.end());
  }
  s.memberships->query_heard(at.in->index, query, s.now);
}

namespace {

void send_igmp(ShardState& s, const iface::Interface& out, wire::Ipv4Address to, PacketPtr message) {
  // RFC 3376 section 4: TTL 1, router alert, internetwork control; a source of 0.0.0.0 before there is an address (4.2.13).
  wire::Ipv4Header header{.tos = 0xc0, .df = true, .ttl = 1, .protocol = wire::IpProtocol::igmp, .dst = to};
  constexpr std::array<std::byte, 4> kRouterAlert{std::byte{148}, std::byte{4}, std::byte{0}, std::byte{0}};
  std::copy(kRouterAlert.begin(), kRouterAlert.end(), header.options.bytes.begin());
  header.options.len = kRouterAlert.size();
  if (const auto* own = out.primary(wire::IpFamily::v4)) header.src = own->address.v4();
  if (const auto added = ipv4::add_header(*message, header, s.identifiers, s.counters.ipv4); !added) return s.drop(added.error());
  static_cast<void>(tx_packet(s, std::move(message), {.out = &out, .next_hop = to, .mtu = out.mtu}));
}

PacketPtr igmp_message(ShardState& s, std::size_t length, const std::function<void(MutableBytes)>& write) {
  std::vector<std::byte> bytes(length);
  write(bytes);
  PacketPtr packet = packet::allocate_header(s.cache);
  if (packet && packet->append(bytes)) return packet;
  s.drop(Drop::no_buffer);
  return {};
}

/// RFC 3376 section 4.2.16: as many records in one message as the link carries; long lists are cut up.
void send_records(ShardState& s, const iface::Interface& out, const std::vector<group::Record>& records) {
  constexpr std::size_t kHeaders = wire::Ipv4View::kMinHeaderLen + 4 + wire::IgmpView::kHeaderLen;
  const std::size_t room = std::max<std::size_t>(out.mtu, 576) - kHeaders;
  const std::size_t sources_max = (room - wire::IgmpView::kRecordLen) / 4;
  std::vector<std::vector<wire::Ipv4Address>> sources;
  std::vector<std::pair<wire::GroupRecordType, wire::Ipv4Address>> heads;
  for (const group::Record& record : records) {
    std::size_t done = 0;
    do {
      const std::size_t n = std::min(sources_max, record.sources.size() - done);
      std::vector<wire::Ipv4Address> part;
      for (std::size_t i = 0; i < n; ++i) part.push_back(record.sources[done + i].v4());
      heads.emplace_back(static_cast<wire::GroupRecordType>(record.type), record.group.v4());
      sources.push_back(std::move(part));
      done += n;
      // Of an exclude list only the first part can be told: the rest would be a change of its own.
      if (record.type == group::RecordType::is_exclude || record.type == group::RecordType::to_exclude) break;
    } while (done < record.sources.size());
  }
  for (std::size_t first = 0; first < heads.size();) {
    std::vector<wire::IgmpRecord> fitting;
    std::size_t length = 0, next = first;
    for (; next < heads.size(); ++next) {
      const wire::IgmpRecord one{heads[next].first, heads[next].second, sources[next]};
      if (length + one.encoded_len() > room) break;
      length += one.encoded_len();
      fitting.push_back(one);
    }
    first = next;
    PacketPtr message = igmp_message(s, wire::IgmpView::kHeaderLen + length, [&](MutableBytes to) { wire::encode_igmp(fitting, to); });
    if (message) send_igmp(s, out, wire::kIgmpRouters, std::move(message));
  }
}

}  // namespace

void send_reports(ShardState& s, const std::vector<group::Message>& messages) {
  for (const group::Message& m : messages) {
    const iface::Interface* out = s.interface(m.interface_index);
    if (out == nullptr || !out->is_up() || out->is_loopback() || m.family != wire::IpFamily::v4) continue;
    if (m.kind == group::Message::Kind::report) {
      send_records(s, *out, m.records);
      continue;
    }
    const bool left = m.kind == group::Message::Kind::left;
    const auto type = left ? wire::IgmpType::leave : m.age == group::Age::oldest ? wire::IgmpType::report_v1 : wire::IgmpType::report_v2;
    PacketPtr message = igmp_message(s, wire::IgmpView::kHeaderLen, [&](MutableBytes to) { wire::encode_igmp(type, 0, m.group.v4(), to); });
    if (message) send_igmp(s, *out, left ? wire::kAllRouters : m.group.v4(), std::move(message));
  }
}

void run_memberships(ShardState& s) {
  if (!s.memberships || s.memberships->next_deadline() > s.now) return;
  std::vector<group::Message> out;
  s.memberships->run(s.now, out);
  send_reports(s, out);
}

namespace {

bool same_addresses(const iface::Interface& a, const iface::Interface& b) {
  constexpr auto address = &iface::InterfaceAddress::address;
  return std::ranges::equal(a.addresses, b.addresses, {}, address, address);
}

}  // namespace

void update_memberships(ShardState& s, const Network& old) {
  std::vector<group::Message> out;
  for (const auto& one : s.network->interfaces.all()) {
    const iface::Interface* before = old.interfaces.by_index(one->index);
    const auto works = [](const iface::Interface* i) { return i != nullptr && i->is_up() && i->link_up; };
    if (works(one.get()) && !works(before)) s.memberships->link_up(one->index, s.now, out), note_filter_change(s, one->index);
    else if (!works(one.get()) && works(before)) s.memberships->link_down(one->index);
    else if (s.inet6 != nullptr && before != nullptr && !same_addresses(*one, *before)) note_filter_change(s, one->index);
  }
  send_reports(s, out);
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
