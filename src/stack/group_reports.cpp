// What is heard of multicast queriers, and said to routers: IGMP and MLD, on shard 0. RFC 3376, RFC 3810.
#include <algorithm>
#include <functional>

#include "stack/ways.hpp"
#include "wire/igmp.hpp"

namespace iopkt::stack {

using packet::Drop;
using packet::PacketPtr;

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

void rx_mld(ShardState& s, const Arrival& at, const packet::Packet& message) {
  if (!s.memberships) return s.drop(Drop::mld_ignored);  // another shard got it: a sender that plays with extension headers
  if (message.looped) return;                            // our own
  std::vector<std::byte> bytes(message.size());
  message.copy_out(0, bytes);
  const auto heard = s.inet6->mld_input(at.ip, at.in->index, bytes);
  if (!heard) return s.drop(heard.error());
  if (heard->query) s.memberships->query_heard(at.in->index, *heard->query, s.now);
  if (heard->reported) s.memberships->report_heard({at.in->index, *heard->reported}, s.now);
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

void send_igmp_report(ShardState& s, const iface::Interface& out, const std::vector<group::Record>& all) {
  constexpr std::size_t kHeaders = wire::Ipv4View::kMinHeaderLen + 4 + wire::IgmpView::kHeaderLen;
  const std::size_t room = std::max<std::size_t>(out.mtu, 576) - kHeaders;
  for (const auto& records : group::split(all, room, wire::IgmpView::kRecordLen, sizeof(wire::Ipv4Address))) {
    std::vector<std::vector<wire::Ipv4Address>> sources;
    sources.reserve(records.size());  // encoded records refer to them
    std::vector<wire::IgmpRecord> written;
    std::size_t length = wire::IgmpView::kHeaderLen;
    for (const group::Record& record : records) {
      std::vector<wire::Ipv4Address>& own = sources.emplace_back();
      for (const wire::IpAddress& source : record.sources) own.push_back(source.v4());
      length += written.emplace_back(static_cast<wire::GroupRecordType>(record.type), record.group.v4(), own).encoded_len();
    }
    PacketPtr message = igmp_message(s, length, [&](MutableBytes to) { wire::encode_igmp(written, to); });
    if (message) send_igmp(s, out, wire::kIgmpRouters, std::move(message));
  }
}

void send_igmp(ShardState& s, const iface::Interface& out, const group::Message& m) {
  if (m.kind == group::Message::Kind::report) return send_igmp_report(s, out, m.records);
  const bool left = m.kind == group::Message::Kind::left;
  const auto type = left ? wire::IgmpType::leave : m.age == group::Age::oldest ? wire::IgmpType::report_v1 : wire::IgmpType::report_v2;
  PacketPtr message = igmp_message(s, wire::IgmpView::kHeaderLen, [&](MutableBytes to) { wire::encode_igmp(type, 0, m.group.v4(), to); });
  if (message) send_igmp(s, out, left ? wire::kAllRouters : m.group.v4(), std::move(message));
}

const iface::InterfaceAddress* valid_link_local(const iface::Interface& in) {
  const auto at = std::ranges::find_if(in.addresses, [](const iface::InterfaceAddress& a) {
    return a.address.is_v6() && a.address.is_link_local() && a.is_usable();
  });
  return at == in.addresses.end() ? nullptr : &*at;
}

void send_mld(ShardState& s, const iface::Interface& out, const group::Message& m) {
  for (const ipv6::MldMessage& message : s.inet6->mld_messages(m, out)) {
    PacketPtr packet = packet::allocate_header(s.cache);
    if (!packet || !packet->append(message.bytes)) return s.drop(Drop::no_buffer);
    wire::Ipv6Header header{.payload_len = 0, .next_header = wire::IpProtocol::icmpv6, .hop_limit = 1, .dst = message.dst.v6()};
    if (const auto* own = valid_link_local(out)) header.src = own->address.v6();
    const wire::Ipv6Extensions extensions{wire::IpProtocol::hop_by_hop, ipv6::kMldExtensions};
    if (const auto added = put_ipv6_header(s, *packet, header, &extensions); !added) return s.drop(added.error());
    static_cast<void>(tx_packet(s, std::move(packet), {.out = &out, .next_hop = message.dst, .mtu = out.mtu}));
  }
}

}  // namespace

void send_reports(ShardState& s, const std::vector<group::Message>& messages) {
  for (const group::Message& m : messages) {
    const iface::Interface* out = s.interface(m.interface_index);
    if (out == nullptr || !out->is_up() || out->is_loopback()) continue;
    if (m.family == wire::IpFamily::v4) send_igmp(s, *out, m);
    else send_mld(s, *out, m);
  }
}

void run_memberships(ShardState& s) {
  if (!s.memberships || s.memberships->next_deadline() > s.now) return;
  std::vector<group::Message> out;
  s.memberships->run(s.now, out);
  send_reports(s, out);
}

void update_memberships(ShardState& s, const Network& old) {
  std::vector<group::Message> out;
  for (const auto& one : s.network->interfaces.all()) {
    const iface::Interface* before = old.interfaces.by_index(one->index);
    const auto works = [](const iface::Interface* i) { return i != nullptr && i->is_up() && i->link_up; };
    if (works(one.get()) && !works(before)) s.memberships->link_up(one->index, s.now, out), note_filter_change(s, one->index);
    else if (!works(one.get()) && (before == nullptr || works(before))) s.memberships->link_down(one->index);
    // RFC 3590 section 4: routers do not believe what came from "::", or from an address that is no more.
    else if (works(before) && valid_link_local(*one) != nullptr && valid_link_local(*before) == nullptr)
      s.memberships->say_again(one->index, wire::IpFamily::v6, s.now, out);
  }
  send_reports(s, out);
}

}  // namespace iopkt::stack
