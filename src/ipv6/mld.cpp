#include "ipv6/mld.hpp"

#include <algorithm>

#include "wire/mld.hpp"

namespace iopkt::ipv6 {
namespace {

using packet::Drop;
using wire::Icmpv6Type;
using wire::IpAddress;
using wire::Ipv6Address;

/// RFC 2711: an option of the hop-by-hop header whose value 0 says that the packet is of listener discovery.
bool has_router_alert(Bytes headers) {
  const auto ip = wire::Ipv6View::parse_header(headers);
  if (!ip || ip->next_header() != wire::IpProtocol::hop_by_hop) return false;
  const Bytes rest = headers.subspan(wire::Ipv6View::kHeaderLen);
  const auto len = wire::extension_len(wire::IpProtocol::hop_by_hop, rest);
  if (!len) return false;
  wire::Ipv6OptionReader reader{rest.first(*len)};
  for (auto option = reader.next(); option && *option; option = reader.next())
    if ((*option)->type == static_cast<std::uint8_t>(wire::Ipv6OptionType::router_alert) && (*option)->data.size() == 2)
      return load_be16((*option)->data, 0) == 0;
  return false;
}

group::Query read_query(const wire::MldView& view, std::uint32_t zone) {
  const bool current = view.query_version() == 2;
  group::Query query{.age = current ? group::Age::current : group::Age::older, .family = wire::IpFamily::v6, .group = std::nullopt, .sources = {}};
  if (!view.group().is_unspecified()) query.group = IpAddress{view.group(), zone};
  query.max_response = std::chrono::milliseconds{current ? wire::mld_code_value(view.response_code()) : view.response_code()};
  if (!current) return query;
  query.robustness = view.robustness();
  query.interval = std::chrono::seconds{wire::igmp_code_value(view.interval_code())};
  for (std::size_t i = 0; i < view.source_count(); ++i) query.sources.emplace_back(view.source(i), zone);
  std::sort(query.sources.begin(), query.sources.end());
  query.sources.erase(std::unique(query.sources.begin(), query.sources.end()), query.sources.end());
  return query;
}

std::vector<std::byte> report(const std::vector<group::Record>& records) {
  std::vector<std::vector<Ipv6Address>> sources;
  sources.reserve(records.size());  // encoded records refer to them
  std::vector<wire::MldRecord> written;
  std::size_t length = wire::MldView::kHeaderLen;
  for (const group::Record& record : records) {
    std::vector<Ipv6Address>& own = sources.emplace_back();
    for (const IpAddress& source : record.sources) own.push_back(source.v6());
    length += written.emplace_back(static_cast<wire::GroupRecordType>(record.type), record.group.v6(), own).encoded_len();
  }
  std::vector<std::byte> bytes(length);
  wire::encode_mld(written, bytes);
  return bytes;
}

}  // namespace

Expected<MldHeard, Drop> mld_input(const wire::IpHeader& header, std::uint32_t zone, Bytes message) {
  // RFC 3810 section 6.2. Of another host's report no more is wanted than that it is of the link.
  if (header.ttl != 1 || !header.src.is_link_local() || !has_router_alert(header.bytes.span())) return unexpected(Drop::mld_not_local);
  const auto view = wire::MldView::parse(message);
  if (!view) return unexpected(Drop::mld_malformed);
  MldHeard heard;
  if (view->type() == Icmpv6Type::listener_done || view->type() == Icmpv6Type::listener_report_v2) return heard;
  const bool general = view->type() == Icmpv6Type::listener_query && view->group().is_unspecified();
  if (!general && !view->group().is_multicast()) return unexpected(Drop::mld_ignored);
  if (view->type() == Icmpv6Type::listener_query) heard.query = read_query(*view, zone);
  else heard.reported = IpAddress{view->group(), zone};
  return heard;
}

std::vector<MldMessage> mld_messages(const group::Message& m, const iface::Interface& out) {
  std::vector<MldMessage> all;
  if (m.kind != group::Message::Kind::report) {
    const bool left = m.kind == group::Message::Kind::left;
    MldMessage one{.dst = out.here(left ? Ipv6Address::all_routers() : m.group.v6()), .bytes = std::vector<std::byte>(wire::MldView::kQueryV1Len)};
    wire::encode_mld(left ? Icmpv6Type::listener_done : Icmpv6Type::listener_report, 0, m.group.v6(), one.bytes);
    all.push_back(std::move(one));
    return all;
  }
  const std::size_t mtu = std::max(out.mtu_of(wire::IpFamily::v6), wire::Ipv6View::kMinMtu);
  const std::size_t room = mtu - wire::Ipv6View::kHeaderLen - kMldExtensions.size() - wire::MldView::kHeaderLen;
  for (const auto& records : group::split(m.records, room, wire::MldView::kRecordLen, sizeof(Ipv6Address)))
    all.push_back({out.here(wire::kMldRouters), report(records)});
  return all;
}

}  // namespace iopkt::ipv6
