// Neighbour discovery and autoconfiguration between messages of strangers and time that jumps: what is kept is bounded, what is
// ours comes and goes again, and there is an end to what is to do.
// Input: rows of a switch byte, a length byte and that much of a message.
#include <vector>

#include "fuzz/input.hpp"
#include "ipv6/host.hpp"
#include "ipv6/inet6.hpp"

using namespace iopkt;

namespace {

iface::Interface interface(std::uint32_t index) {
  using namespace iface::flag;
  return {.index = index,
          .name = "en" + std::to_string(index),
          .mac = {{2, 0, 0, 0, 0, static_cast<std::uint8_t>(index)}},
          .flags = up | multicast | broadcast,
          .addresses = {{.address = *wire::IpAddress::parse("2001:db8::1"), .prefix_length = 64}}};
}

wire::Ipv6Address address(fuzz::Input& in) {
  switch (in.u8() % 6) {
    case 0: return *wire::Ipv6Address::parse("fe80::77");
    case 1: return *wire::Ipv6Address::parse("2001:db8::1");
    case 2: return wire::Ipv6Address::all_nodes();
    case 3: return wire::Ipv6Address::any();
    case 4: return wire::Ipv6Address::parse("2001:db8::1")->solicited_node();
    default: {
      wire::Ipv6Address a = *wire::Ipv6Address::parse("fe80::");
      a.bytes[15] = in.u8();
      return a;
    }
  }
}

}  // namespace

/// Anycast addresses that we have.
static bool every_second(const void*, std::uint32_t, const wire::Ipv6Address& address, bool) { return address.bytes[15] % 2 == 0; }

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input in{data, size};
  ipv6::Ipv6Tunables tunables = initial_values<ipv6::Ipv6Tunables>();
  tunables.max_routers = tunables.max_prefixes = 4;
  tunables.max_routes = 4;
  tunables.max_redirects = 8;
  tunables.use_temporary = size % 2;
  tunables.optimistic_dad = size / 2 % 2;
  ipv6::Ipv6Counters<Counter> counters;
  const auto discovery = ipv6::inet6().make_discovery({tunables, counters, {1, 2}, 3});
  iface::InterfaceTable table;
  table = table.with(interface(2)).with(interface(3));
  std::vector<route::Fib> fibs(2);
  Instant now{1};
  discovery->tables_changed(now);
  for (int step = 0; step < 200 && !in.empty(); ++step) {
    const std::uint8_t op = in.u8();
    const std::uint32_t index = 2 + op / 2 % 2;
    if (op % 2 == 0) {
      now += std::chrono::milliseconds{in.u16()};
    } else if (op % 16 == 15) {
      iface::Interface changed = *table.by_index(index);
      changed.link_up = !changed.link_up;
      table = table.with(changed);
      discovery->tables_changed(now);
    } else {
      wire::Ipv6Header h{.next_header = wire::IpProtocol::icmpv6, .hop_limit = static_cast<std::uint8_t>(255 - op / 128)};
      h.src = address(in);
      h.dst = address(in);
      std::vector<std::byte> raw(40);
      wire::encode(h, raw);
      const wire::IpHeader header{h, wire::IpProtocol::icmpv6, raw, index};
      const auto message = in.bytes(in.u8());
      const auto outcome = discovery->input({*table.by_index(index), fibs[0], header, {.anycast = every_second}, nullptr, now}, message);
      IOPKT_ASSERT(!outcome || outcome->send.size() <= 1);
    }
    for (int turns = 0; discovery->next_deadline() <= now; ++turns) {
      IOPKT_ASSERT(turns < 16);
      ipv6::DiscoveryOutcome out;
      discovery->run(now, {table, fibs}, out);
      for (const auto& m : out.send) {
        IOPKT_ASSERT(m.bytes.size() >= 8 && !m.dst.is_unspecified());
        // To one alone goes what is due for an anycast address after a while: RFC 4861 section 7.2.7.
        IOPKT_ASSERT(m.dst.is_multicast() || m.bytes[0] == std::byte{136});
      }
    }
    const auto state = discovery->state();
    IOPKT_ASSERT(state.routers.size() <= 8 && state.prefixes.size() <= 8 && state.dns_servers.size() <= 2 * wire::kNdServersMax);
    IOPKT_ASSERT(fibs[0].size() == fibs[1].size() && fibs[0].size() <= 8 + 8 + 8 + 8);
    for (const auto& one : table.all()) IOPKT_ASSERT(one->addresses.size() <= 2 + 4 + static_cast<std::size_t>(ipv6::kTemporariesMax));
  }
  return 0;
}
