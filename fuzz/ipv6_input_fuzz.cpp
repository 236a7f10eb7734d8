// One IPv6 packet from the link to ICMPv6, reassembly, the error about it, and cut into fragments again.
// Input: 1 byte of switches, then the packet, in two pieces.
#include <algorithm>
#include <vector>

#include "icmp/error.hpp"
#include "icmp/input.hpp"
#include "ipv4/reassembly.hpp"
#include "ipv6/inet6.hpp"
#include "packet/segment.hpp"

using namespace iopkt;

namespace {

iface::InterfaceTable interfaces() {
  using namespace iface::flag;
  return iface::InterfaceTable{}.with(
      {.index = 1,
       .name = "en0",
       .flags = up | multicast,
       .addresses = {{.address = *wire::IpAddress::parse("2001:db8::1"), .prefix_length = 64},
                     {.address = *wire::IpAddress::parse("fe80::1%1"), .prefix_length = 64},
                     {.address = *wire::IpAddress::parse("fe80::2%1"), .prefix_length = 64, .flags = iface::address_flag::tentative}}});
}

struct Env {
  packet::Cache& cache;
  iface::InterfaceTable table = interfaces();
  ipv6::Ipv6Tunables tunables = initial_values<ipv6::Ipv6Tunables>();
  ipv6::Ipv6Counters<Counter> counters{};
  ipv4::Ipv4Tunables fragment_tunables = initial_values<ipv4::Ipv4Tunables>();
  ipv4::Ipv4Counters<Counter> fragment_counters{};
  icmp::IcmpTunables icmp_tunables = initial_values<icmp::IcmpTunables>();
  icmp::IcmpCounters<Counter> icmp_counters{};
  icmp::Icmp6Counters<Counter> icmp6_counters{};
};

void deliver(Env& env, ipv6::Ipv6In& in, packet::PacketPtr packet) {
  packet->trim_front(in.header_len);
  const icmp::Message message = wire::Icmpv6Header::unreachable(wire::Icmpv6Unreachable::port);
  if (icmp::may_send_error(in.header, *packet, in.cast, message)) {
    const auto error = icmp::build_error(env.cache, message, in.header, *packet, env.icmp_counters);
    IOPKT_ASSERT(error && error->size() <= 1240);
  }
  if (in.header.protocol == wire::IpProtocol::icmpv6)
    static_cast<void>(icmp::input({*env.table.by_index(1), env.icmp_tunables, env.icmp_counters, {}, &env.icmp6_counters}, in.header, in.cast, packet));
}

void put_together(Env& env, ipv6::Ipv6In& in, packet::PacketPtr packet) {
  ipv4::Reassembly reassembly{env.fragment_tunables, env.fragment_counters, {1, 2}};
  std::vector<ipv4::Dead> dead;
  const std::size_t size = packet->size() - in.fragment.header_len;
  packet::PacketPtr copy = packet->clone(env.cache);
  auto done = reassembly.insert(in.header, in.fragment, std::move(packet), {}, dead);
  IOPKT_ASSERT(!done);  // atomic ones never come here
  if (in.fragment.more || in.fragment.offset != size) return;
  // The other half, made up: the same bytes as a first fragment.
  wire::IpFragment first = in.fragment;
  first.offset = 0;
  first.more = true;
  done = reassembly.insert(in.header, first, std::move(copy), {}, dead);
  if (!done) return;
  const auto whole = wire::Ipv6View::parse_header(done->header.bytes.span());
  IOPKT_ASSERT(whole && whole->payload_len() == done->header.bytes.size() - 40 + done->packet->size());
}

/// Bytes in front of the fragment header, which is there.
std::uint32_t before_fragment_header(Bytes packet) {
  constexpr std::uint8_t kFragment = 44;
  std::uint32_t at = wire::Ipv6View::kHeaderLen;
  for (std::uint8_t kind = load_u8(packet, wire::Ipv6View::At::next_header); kind != kFragment;) {
    IOPKT_ASSERT(at + 8 <= packet.size());
    kind = load_u8(packet, at);
    at += (load_u8(packet, at + 1) + 1u) * 8;
  }
  return at;
}

void cut(Env& env, packet::PacketPtr packet, std::uint32_t mtu) {
  const std::uint32_t total = packet->size();
  packet::Burst out;
  if (!ipv6::inet6().fragment(packet, mtu, 7, out, env.counters)) return;
  if (out.size() == 1) {
    IOPKT_ASSERT(out.front()->size() == total);
    return;
  }
  std::uint32_t payload = 0, before = 0;
  for (const auto& one : out) {
    IOPKT_ASSERT(one->size() <= mtu && one->pull_up(std::min(one->size(), static_cast<std::uint32_t>(wire::kIpv6WalkLen))));
    // Each has what stands before the fragment header (RFC 8200 section 4.5), and that header.
    before = before_fragment_header(one->head());
    payload += one->size() - before - 8;
  }
  IOPKT_ASSERT(payload == total - before);
}

void run(packet::Cache& cache, unsigned switches, const std::vector<std::byte>& bytes) {
  Env env{.cache = cache};
  env.tunables.forwarding = switches & 1;
  packet::PacketPtr packet = packet::allocate_header(cache);
  const std::size_t at = std::min<std::size_t>(bytes.size(), (switches >> 4) * 8);
  IOPKT_ASSERT(packet->append_borrowed(Bytes{bytes}.first(at)) && packet->append_borrowed(Bytes{bytes}.subspan(at)));
  packet->looped = (switches & 2) != 0;
  packet->link_multicast = (switches & 4) != 0;
  auto in = ipv6::inet6().input({*env.table.by_index(1), env.table, env.tunables, env.counters}, *packet);
  if (!in) return;
  IOPKT_ASSERT(packet->own());
  IOPKT_ASSERT(in->header_len <= packet->size() && in->header.bytes.size() == in->header_len);
  if (in->way == ipv6::Way::fragment) return put_together(env, *in, std::move(packet));
  if ((switches & 8) != 0) return cut(env, std::move(packet), 1280);
  if (in->way == ipv6::Way::deliver) deliver(env, *in, std::move(packet));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  packet::HeapPages pages;
  packet::Pools pools{{.pagesize = 16384}, pages};
  {
    packet::Cache cache{pools};
    const Bytes bytes = as_bytes(data + 1, size - 1);
    run(cache, data[0], {bytes.begin(), bytes.end()});
    IOPKT_ASSERT(pools.in_use(packet::Kind::mbuf) == 0 && pools.in_use(packet::Kind::cluster) == 0);
  }
  return 0;
}
