// One IPv4 packet from the link to ICMP, UDP, forwarding, fragmentation and the error about it.
// Input: 2 bytes of switches, then the packet.
#include <algorithm>
#include <vector>

#include "icmp/error.hpp"
#include "icmp/input.hpp"
#include "ipv4/forward.hpp"
#include "ipv4/input.hpp"
#include "ipv4/options.hpp"
#include "ipv4/output.hpp"
#include "raw/match.hpp"
#include "udp/input.hpp"

using namespace iopkt;

namespace {

iface::InterfaceTable interfaces() {
  using namespace iface::flag;
  return iface::InterfaceTable{}.with({.index = 1,
                                       .name = "en0",
                                       .flags = up | broadcast,
                                       .addresses = {{.address = wire::Ipv4Address{10, 0, 0, 1},
                                                      .prefix_length = 24,
                                                      .broadcast = wire::Ipv4Address{10, 0, 0, 255}}}});
}

struct Env {
  packet::Cache& cache;
  unsigned switches;
  iface::InterfaceTable table = interfaces();
  ipv4::Ipv4Tunables ipv4_tunables = initial_values<ipv4::Ipv4Tunables>();
  ipv4::Ipv4Counters<Counter> ipv4_counters{};
  icmp::IcmpTunables icmp_tunables = initial_values<icmp::IcmpTunables>();
  icmp::IcmpCounters<Counter> icmp_counters{};
  udp::UdpCounters<Counter> udp_counters{};
  ipv4::IdSource ids{{1, 2}, 0};
};

void check_message(const packet::Packet& message) {
  std::vector<std::byte> bytes(message.size());
  message.copy_out(0, bytes);
  const auto view = wire::IcmpView::parse(bytes);
  IOPKT_ASSERT(view && view->checksum_ok());
}

void deliver(Env& env, ipv4::Ipv4In& in, packet::PacketPtr packet) {
  ipv4::strip_header(*packet, in.header_len);
  if (icmp::may_send_error(in.header, *packet, in.cast)) {
    const auto message = wire::IcmpHeader::unreachable(wire::IcmpUnreachable::port);
    const auto error = icmp::build_error(env.cache, message, in.header, *packet, env.icmp_counters);
    IOPKT_ASSERT(error && error->size() <= 556);
    check_message(*error);
  }
  if (in.header.protocol == wire::IpProtocol::icmp) {
    auto answer = icmp::input({*env.table.by_index(1), env.icmp_tunables, env.icmp_counters, 5u}, in.header,
                              in.cast, packet);
    if (answer && std::holds_alternative<icmp::Answer>(*answer))
      check_message(*std::get<icmp::Answer>(*answer).packet);
  } else if (in.header.protocol == wire::IpProtocol::udp) {
    static constexpr udp::UdpTunables kTunables = initial_values<udp::UdpTunables>();
    const auto datagram = udp::input(in.header.src, in.header.dst, *packet, kTunables, env.udp_counters);
    IOPKT_ASSERT(!datagram || packet->size() == datagram->header.payload_len + 8u);
  }
}

/// What an answer carries can be given, and what is given can be sent.
void answer_options(const wire::Ipv4Header& header) {
  const wire::Ipv4OptionBytes back = ipv4::options_for_reply(header.options.span(), header.src);
  IOPKT_ASSERT(back.len % 4 == 0 && ipv4::check_options(back.span()).has_value());
  if (const auto given = ipv4::given_options(back.span(), false)) {
    IOPKT_ASSERT(*given == back);
    IOPKT_ASSERT(ipv4::check_options(ipv4::on_the_wire(*given, header.src).span()).has_value());
  }
  const wire::Ipv4OptionBytes way = ipv4::way_back(header.options.span(), header.src);
  IOPKT_ASSERT(way.len % 4 == 0 && way.len <= back.len && (way.empty() || ipv4::given_options(way.span(), false)));
  if (const auto own = ipv4::given_options(header.options.span(), true))
    IOPKT_ASSERT(ipv4::check_options(ipv4::on_the_wire(*own, header.src).span()).has_value());
}

void pass_on(Env& env, ipv4::Ipv4In& in, packet::PacketPtr packet) {
  if (!ipv4::forward(*packet, in.header, {wire::Ipv4Address{10, 0, 0, 1}, env.table, {.ms_of_day = [] { return 77u; }}})) return;
  const auto view = wire::Ipv4View::parse(
      packet->head().first(std::min<std::size_t>(packet->head().size(), packet->size())));
  // Nobody looks at the checksum of what has not left this host.
  IOPKT_ASSERT(!view || ((view->checksum_ok() || packet->looped) && view->header() == in.header));
  packet::Burst out;
  const std::uint32_t mtu = 68 + env.switches / 8 % 32 * 8;
  const std::uint32_t total = packet->size();
  if (!ipv4::fragment(packet, mtu, out, env.ipv4_counters)) return;
  std::uint32_t payload = 0;
  for (const auto& one : out) {
    IOPKT_ASSERT(one->size() <= mtu || out.size() == 1);
    IOPKT_ASSERT(one->pull_up(20));
    payload += one->size() - (load_u8(one->head(), 0) & 0xfu) * 4;
  }
  IOPKT_ASSERT(payload == total - in.header_len);
}

void run(packet::Cache& cache, unsigned switches, std::vector<std::byte> bytes) {
  Env env{.cache = cache, .switches = switches};
  env.ipv4_tunables.forwarding = switches & 1;
  env.ipv4_tunables.accept_source_route = switches >> 1 & 1;
  env.icmp_tunables.drop_redirect = env.icmp_tunables.mask_reply = env.icmp_tunables.timestamp_reply =
      switches >> 2 & 1;
  // Most inputs should get behind the checksum.
  if ((switches & 0x100) != 0 && bytes.size() >= 20) {
    const std::size_t header_len =
        std::min<std::size_t>(bytes.size(), (std::to_integer<std::size_t>(bytes[0]) & 15) * 4);
    if (header_len >= 20) wire::store_ipv4_checksum(MutableBytes{bytes}.first(header_len));
  }
  packet::PacketPtr packet = packet::allocate_header(cache);
  const std::size_t cut = std::min<std::size_t>(bytes.size(), switches >> 12);
  IOPKT_ASSERT(packet->append_borrowed(Bytes{bytes}.first(cut)) &&
               packet->append_borrowed(Bytes{bytes}.subspan(cut)));
  packet->looped = (switches & 0x200) != 0;
  packet->link_broadcast = (switches & 0x400) != 0;
  if ((switches & 0x800) != 0) {
    const auto header =
        raw::complete_header(*packet, wire::Ipv4Address{10, 0, 0, 1}, env.ids, env.ipv4_counters);
    if (!header) return;
    packet->looped = true;
  }
  auto in = ipv4::input({*env.table.by_index(1), env.table, env.ipv4_tunables, env.ipv4_counters}, *packet);
  if (!in) return;
  IOPKT_ASSERT(packet->size() == in->header_len + std::uint32_t{in->header.payload_len});
  IOPKT_ASSERT(packet->own());
  answer_options(in->header);
  if (in->way == ipv4::Way::forward)
    pass_on(env, *in, std::move(packet));
  else
    deliver(env, *in, std::move(packet));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  packet::HeapPages pages;
  packet::Pools pools{{.pagesize = 16384}, pages};
  {
    packet::Cache cache{pools};
    const Bytes bytes = as_bytes(data + 2, size - 2);
    run(cache, static_cast<unsigned>(data[0] | data[1] << 8), {bytes.begin(), bytes.end()});
    IOPKT_ASSERT(pools.in_use(packet::Kind::mbuf) == 0 && pools.in_use(packet::Kind::cluster) == 0);
  }
  return 0;
}
