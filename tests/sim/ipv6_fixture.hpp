// What the IPv6 tests of this folder share: hosts with addresses, and one alone with a script.
#pragma once

#include <gtest/gtest.h>

#include "control/interfaces.hpp"
#include "link/ethernet.hpp"
#include "stack/state.hpp"
#include "tests/support/sim_net.hpp"
#include "wire/checksum.hpp"
#include "wire/icmpv6.hpp"
#include "wire/ipv6.hpp"
#include "wire/nd.hpp"
#include "wire/udp.hpp"

namespace iopkt::sim {

using packet::Drop;
using socket::Errno;
using wire::Endpoint;
using wire::IpAddress;
using wire::Ipv6Address;
using wire::Port;

inline IpAddress ip(const char* text) { return *IpAddress::parse(text); }
constexpr wire::MacAddress kRouterMac{{0x02, 0, 0, 0, 0, 0x77}};

/// A frame with an IPv6 packet; the checksum of an ICMPv6 message is filled in.
inline Frame packet6(const wire::MacAddress& to, wire::Ipv6Header header, std::vector<std::byte> payload) {
  if (header.next_header == wire::IpProtocol::icmpv6) wire::store_icmpv6_checksum(payload, header.src, header.dst);
  header.payload_len = static_cast<std::uint16_t>(payload.size());
  Frame frame(14 + wire::Ipv6View::kHeaderLen);
  wire::store_mac(frame, 0, to);
  wire::store_mac(frame, 6, kRouterMac);
  store_be16(frame, 12, 0x86dd);
  wire::encode(header, MutableBytes{frame}.subspan(14));
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

class SimIpv6 : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  Host::Options options(const char* prefix6 = "") { return {.shards = GetParam(), .ipv6 = true, .prefix6 = prefix6}; }
  bool wait_for_link_local(std::initializer_list<Host*> hosts) {
    return net.run_until([&] { return std::ranges::all_of(hosts, [](Host* h) { return !h->link_local().is_unspecified(); }); }, 10s);
  }
  void change(Host& host, const std::function<void(stack::Network&)>& how) {
    stack::Network next = *host.stack().network();
    how(next);
    host.stack().publish(std::move(next));
    net.run_for(1ms);
  }
  const iface::Interface& en0(const Host& host) {
    return *const_cast<Host&>(host).stack().network()->interfaces.by_index(host.interface_index());
  }
  wire::MacAddress mac(Host& host) { return en0(host).mac; }
  /// A stream of `size` bytes from `from` to a listener of `to`, whole and without a packet left behind.
  void transfer(Host& from, Host& to, const IpAddress& address, std::size_t size = 300'000) {
    Host::Stream* taken = nullptr;
    to.listen(Port{7}, [&](Host::Stream& s) { taken = &s; });
    net.run_for(10ms);
    Host::Stream& s = from.connect({address, Port{7}}, GetParam() - 1);
    ASSERT_FALSE(s.failed) << static_cast<int>(s.error);
    s.to_send = net.random_bytes(size);
    s.close_after_send = true;
    ASSERT_TRUE(net.run_until([&] { return taken != nullptr && taken->peer_fin; }, 600s)) << net.trace();
    EXPECT_EQ(taken->received, s.to_send);
    taken->close();
    net.run_for(200s);
    EXPECT_EQ(from.packets_held() + to.packets_held(), 0u);
  }
  SimNet net{66};
};

/// A host alone with us: what it sends is kept.
class SimIpv6Alone : public SimIpv6 {
 protected:
  void SetUp() override {
    net.tap = [&](const Host&, Frame& frame) {
      const auto view = wire::Ipv6View::parse(Bytes{frame}.subspan(14));
      if (!view) return true;
      const Sent one{view->header(), {view->payload().begin(), view->payload().end()}};
      (is_report(one) ? reports : sent).push_back(one);
      return true;
    };
    ASSERT_TRUE(wait_for_link_local({&a}));
    net.run_for(20s);  // routers were asked for
    sent.clear();
    at_start = std::exchange(reports, {});
    // Whoever answers us finds us at once.
    for (const char* who : {"2001:db8::99", "fe80::99"})
      ASSERT_EQ(a.shard(0).set_neighbour({a.interface_index(), ip(who).with_zone(a.interface_index())}, kRouterMac, {}), Errno::ok);
    net.run_for(1ms);
  }
  void tell(wire::Ipv6Header header, std::vector<std::byte> payload, std::optional<wire::MacAddress> to = {}) {
    if (header.dst.is_unspecified()) header.dst = ip("2001:db8::1").v6();
    if (header.src.is_unspecified() && !from_nobody) header.src = ip("2001:db8::99").v6();
    if (header.hop_limit == 0) header.hop_limit = 64;
    a.receive(packet6(to.value_or(mac(a)), header, std::move(payload)));
    net.run_for(1ms);
  }
  struct Sent {
    wire::Ipv6Header header;
    std::vector<std::byte> payload;
    wire::Icmpv6Header icmp() const { return wire::Icmpv6View::parse(payload)->header(); }
    bool checksum_ok() const {
      return wire::finish(wire::sum(payload, wire::pseudo_header_sum(header.src, header.dst, header.next_header,
                                                                     static_cast<std::uint32_t>(payload.size())))) == 0;
    }
  };
  /// What multicast routers are told: behind a hop-by-hop header of eight bytes.
  static bool is_report(const Sent& one) {
    if (one.header.next_header != wire::IpProtocol::hop_by_hop || one.payload.size() < 16 || load_u8(one.payload, 0) != 58) return false;
    const auto type = static_cast<wire::Icmpv6Type>(load_u8(one.payload, 8));
    return type == wire::Icmpv6Type::listener_report || type == wire::Icmpv6Type::listener_done || type == wire::Icmpv6Type::listener_report_v2;
  }
  Host& a = net.host("10.0.0.1/24", options("2001:db8::1/64"));
  std::vector<Sent> sent;
  std::vector<Sent> reports, at_start;  ///< of multicast listeners: since SetUp(), and before
  bool from_nobody = false;
};

inline std::vector<std::byte> echo(std::size_t size) {
  std::vector<std::byte> m(8 + size, std::byte{'e'});
  wire::encode(wire::Icmpv6Header::echo(wire::Icmpv6Type::echo_request, 7, 9), m);
  return m;
}

}  // namespace iopkt::sim
