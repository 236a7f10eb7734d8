// Whose an IPv4 address is: RFC 5227 (probes, announcements, conflicts, defence) and RFC 3927 (link-local addresses).
#include <gtest/gtest.h>

#include "control/interfaces.hpp"
#include "ipv4/claims.hpp"
#include "stack/state.hpp"
#include "tests/support/sim_net.hpp"
#include "wire/arp.hpp"
#include "wire/ipv4.hpp"

namespace iopkt::sim {
namespace {

namespace aflag = iface::address_flag;
using socket::Errno;
using wire::ArpOperation;
using wire::ArpPacket;
using wire::Endpoint;
using wire::Ipv4Address;
using wire::MacAddress;
using wire::Port;

constexpr Ipv4Address kNew{10, 0, 0, 5};
constexpr MacAddress kOther{{2, 0, 0, 0, 0, 0x77}};

class SimClaims : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  struct Heard {
    Instant at;
    MacAddress to;
    ArpPacket arp;
  };
  void SetUp() override {
    bare = host.add_interface("");
    net.wire({&host}, {});
    net.wire_interfaces({{&host, bare}}, {});
    net.tap = [&](const Host&, Frame& frame) {
      if (load_be16(frame, 12) == 0x0806) arps.push_back({net.now(), wire::load_mac(frame, 0), wire::ArpView::parse(Bytes{frame}.subspan(14))->packet()});
      else packets.push_back(frame);
      return true;
    };
  }
  void change(const std::function<void(stack::Network&)>& how) {
    stack::Network next = *host.stack().network();
    how(next);
    host.stack().publish(std::move(next));
    net.run_for(1ms);
  }
  void probes(std::uint32_t count) {
    change([&](stack::Network& n) { n.settings.ipv4.dad_count = count; });
  }
  void add(Ipv4Address address, std::uint32_t index = 0, std::uint32_t flags = 0) {
    change([&](stack::Network& n) {
      EXPECT_EQ(control::add_address(n, index == 0 ? host.interface_index() : index, {.address = address, .prefix_length = 24, .alias = true, .flags = flags}),
                Errno::ok);
    });
  }
  const iface::Interface& interface(std::uint32_t index) { return *host.stack().network()->interfaces.by_index(index); }
  const iface::InterfaceAddress* find(Ipv4Address address) { return interface(host.interface_index()).find(address); }
  /// What the other interface has given itself.
  const iface::InterfaceAddress* link_local() {
    for (const auto& a : interface(bare).addresses)
      if (a.is(aflag::autoconf)) return &a;
    return nullptr;
  }
  bool usable(Ipv4Address address) { return host.stack().network()->interfaces.find_local(address) != nullptr; }
  void autoip(bool on) {
    change([&](stack::Network& n) {
      iface::Interface changed = *n.interfaces.by_index(bare);
      changed.autoip = on;
      n.interfaces = n.interfaces.with(changed);
    });
  }
  bool settle() {
    return net.run_until([&] { return link_local() != nullptr && link_local()->is_usable(); }, 30s);
  }
  void tell(const ArpPacket& arp, std::uint32_t index = 0) {
    Frame frame(14 + wire::ArpView::kLen);
    wire::store_mac(frame, 0, MacAddress::broadcast());
    wire::store_mac(frame, 6, arp.sender_mac);
    store_be16(frame, 12, 0x0806);
    wire::encode(arp, MutableBytes{frame}.subspan(14));
    host.receive(frame, index);
    net.run_for(1ms);
  }
  void claim(Ipv4Address address, std::uint32_t index = 0) {
    tell({.operation = ArpOperation::request, .sender_mac = kOther, .sender_ip = address, .target_mac = {}, .target_ip = address}, index);
  }
  std::uint64_t count(Counter neigh::ArpCounters<Counter>::* which) { return (host.shard(0).counters().arp.*which).value(); }

  SimNet net{7};
  Host& host = net.host("10.0.0.1/24", {.shards = GetParam()});
  std::uint32_t bare = 0;
  std::vector<Heard> arps;
  std::vector<Frame> packets;
};
INSTANTIATE_TEST_SUITE_P(Shards, SimClaims, ::testing::Values(1, 2));

TEST_P(SimClaims, AnAddressWorksAtOnceAndIsAnnouncedTwice) {
  add(kNew);
  EXPECT_TRUE(usable(kNew));
  net.run_for(20s);
  ASSERT_EQ(arps.size(), 2u);
  for (const Heard& one : arps) {
    EXPECT_TRUE(one.arp.is_announcement() && one.arp.sender_ip == kNew && one.to.is_broadcast());
    EXPECT_EQ(one.arp.sender_mac, interface(host.interface_index()).mac);
  }
  EXPECT_EQ(arps[1].at - arps[0].at, ipv4::AddressClaims::kAnnounceInterval);
  EXPECT_EQ(count(&neigh::ArpCounters<Counter>::tx_announcements), 2u);
}

TEST_P(SimClaims, WhereItIsAskedForAnAddressIsProbedFirst) {
  probes(3);
  const Instant began = net.now();
  add(kNew);
  EXPECT_TRUE(find(kNew)->is(aflag::tentative));
  EXPECT_FALSE(usable(kNew));
  ASSERT_TRUE(net.run_until([&] { return arps.size() == 3; }, 10s));
  // It is nobody's yet: who asks for it hears nothing.
  tell({.operation = ArpOperation::request, .sender_mac = kOther, .sender_ip = Ipv4Address{10, 0, 0, 9}, .target_mac = {}, .target_ip = kNew});
  EXPECT_EQ(arps.size(), 3u);
  ASSERT_TRUE(net.run_until([&] { return usable(kNew); }, 10s));
  net.run_for(20s);
  ASSERT_EQ(arps.size(), 5u);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_TRUE(arps[i].arp.is_probe() && arps[i].arp.target_ip == kNew && arps[i].to.is_broadcast());
  EXPECT_LE(arps[0].at - began, ipv4::AddressClaims::kProbeWait + 2ms);
  for (std::size_t i = 1; i < 3; ++i) {
    EXPECT_GE(arps[i].at - arps[i - 1].at, ipv4::AddressClaims::kProbeMin);
    EXPECT_LE(arps[i].at - arps[i - 1].at, ipv4::AddressClaims::kProbeMax);
  }
  EXPECT_EQ(arps[3].at - arps[2].at, ipv4::AddressClaims::kAnnounceWait);
  EXPECT_TRUE(arps[3].arp.is_announcement() && arps[4].arp.is_announcement());
  // Who asks now is told.
  tell({.operation = ArpOperation::request, .sender_mac = kOther, .sender_ip = {}, .target_mac = {}, .target_ip = kNew});
  ASSERT_EQ(arps.size(), 6u);
  EXPECT_EQ(arps[5].arp.operation, ArpOperation::reply);
  EXPECT_EQ(arps[5].arp.sender_ip, kNew);
}

TEST_P(SimClaims, WhatAnotherStationHasIsNotOurs) {
  probes(1);
  for (const bool asks : {false, true}) {
    const Ipv4Address address{10, 0, 0, static_cast<std::uint8_t>(asks ? 6 : 5)};
    add(address);
    ASSERT_TRUE(net.run_until([&] { return !arps.empty(); }, 10s));
    // RFC 5227 section 2.1.1: it answers, or is about to use it as well.
    if (asks) tell({.operation = ArpOperation::request, .sender_mac = kOther, .sender_ip = {}, .target_mac = {}, .target_ip = address});
    else tell({.operation = ArpOperation::reply, .sender_mac = kOther, .sender_ip = address, .target_mac = {}, .target_ip = {}});
    EXPECT_TRUE(find(address)->is(aflag::duplicated));
    net.run_for(30s);
    EXPECT_FALSE(usable(address));
    EXPECT_EQ(arps.size(), 1u) << "not announced";
    arps.clear();
  }
  EXPECT_EQ(count(&neigh::ArpCounters<Counter>::dad_duplicates), 2u);
  // The operator has seen to it, and asks again.
  add(kNew, 0, aflag::tentative);
  EXPECT_TRUE(net.run_until([&] { return usable(kNew); }, 10s));
}

TEST_P(SimClaims, OneAddressMayBeProbedByItself) {
  add(kNew, 0, aflag::tentative);
  EXPECT_FALSE(usable(kNew));
  EXPECT_TRUE(net.run_until([&] { return usable(kNew); }, 10s));
  EXPECT_EQ(count(&neigh::ArpCounters<Counter>::tx_probes), 3u);
}

TEST_P(SimClaims, ALinkThatComesBackIsAskedAnew) {
  probes(2);
  add(kNew);
  ASSERT_TRUE(net.run_until([&] { return usable(kNew); }, 10s));
  const auto link = [&](bool up) {
    change([&](stack::Network& n) {
      iface::Interface changed = *n.interfaces.by_index(host.interface_index());
      changed.link_up = up;
      n.interfaces = n.interfaces.with(changed);
    });
  };
  link(false);
  link(true);
  EXPECT_FALSE(usable(kNew));
  EXPECT_TRUE(usable(host.address())) << "taken without asking";
  EXPECT_TRUE(net.run_until([&] { return usable(kNew); }, 10s));
}

TEST_P(SimClaims, AnAddressInUseIsDefendedOnceInAWhile) {
  add(kNew);
  net.run_for(5s);
  arps.clear();
  claim(kNew);
  ASSERT_EQ(arps.size(), 1u);
  EXPECT_TRUE(arps[0].arp.is_announcement() && arps[0].arp.sender_ip == kNew);
  for (int i = 0; i < 20; ++i) claim(kNew);
  EXPECT_EQ(arps.size(), 1u) << "two that defend themselves do not shout at each other";
  EXPECT_TRUE(usable(kNew));
  net.run_for(10s);
  claim(kNew);
  EXPECT_EQ(arps.size(), 2u);
  EXPECT_EQ(count(&neigh::ArpCounters<Counter>::dad_defended), 2u);
  EXPECT_EQ(count(&neigh::ArpCounters<Counter>::rx_conflicts), 22u);
}

TEST(LinkLocal, IsTheSameForAStationAndWithinItsRange) {
  const MacAddress mac{{2, 1, 2, 3, 4, 5}};
  EXPECT_EQ(ipv4::link_local_address(mac, 0), ipv4::link_local_address(mac, 0));
  EXPECT_NE(ipv4::link_local_address(mac, 0), ipv4::link_local_address(mac, 1));
  std::vector<int> thirds(256);
  for (std::uint32_t i = 0; i < 20'000; ++i) {
    const Ipv4Address a = ipv4::link_local_address(mac, i);
    ASSERT_TRUE(a.is_link_local());
    ++thirds[a.value >> 8 & 255];
  }
  EXPECT_EQ(thirds[0], 0);
  EXPECT_EQ(thirds[255], 0);
  for (int i = 1; i < 255; ++i) EXPECT_GT(thirds[static_cast<std::size_t>(i)], 30);
}

TEST_P(SimClaims, AnInterfaceGivesItselfAnAddress) {
  autoip(true);
  ASSERT_NE(link_local(), nullptr);
  EXPECT_TRUE(link_local()->is(aflag::tentative)) << "whatever net.inet.ip.dad_count says";
  ASSERT_TRUE(settle());
  const Ipv4Address own = link_local()->address.v4();
  EXPECT_EQ(own, ipv4::link_local_address(interface(bare).mac, 0));
  EXPECT_EQ(link_local()->broadcast, (Ipv4Address{169, 254, 255, 255}));
  net.run_for(10s);
  arps.clear();
  // RFC 3927 section 2.5: replies go to all.
  tell({.operation = ArpOperation::request, .sender_mac = kOther, .sender_ip = Ipv4Address{169, 254, 9, 9}, .target_mac = {}, .target_ip = own}, bare);
  ASSERT_EQ(arps.size(), 1u);
  EXPECT_TRUE(arps[0].arp.operation == ArpOperation::reply && arps[0].to.is_broadcast());
  // The network is there, and goes with it.
  auto& s = host.udp({Ipv4Address::any(), Port{5000}});
  EXPECT_EQ(host.send(s, {Ipv4Address{169, 254, 9, 9}, Port{7}}, std::vector<std::byte>(4)), Errno::ok);
  net.run_for(1ms);
  ASSERT_EQ(packets.size(), 1u);
  EXPECT_EQ(wire::Ipv4View::parse(Bytes{packets[0]}.subspan(14))->src(), own);
  autoip(false);
  EXPECT_EQ(link_local(), nullptr);
  EXPECT_EQ(host.send(s, {Ipv4Address{169, 254, 9, 9}, Port{7}}, std::vector<std::byte>(4)), Errno::netunreach);
}

TEST_P(SimClaims, AnAddressThatIsTakenMakesRoomForTheNext) {
  autoip(true);
  ASSERT_TRUE(net.run_until([&] { return !arps.empty(); }, 10s));
  claim(link_local()->address.v4(), bare);
  ASSERT_TRUE(settle());
  EXPECT_EQ(link_local()->address.v4(), ipv4::link_local_address(interface(bare).mac, 1));
  // In use it is defended once; whoever persists gets it.
  net.run_for(5s);
  const Ipv4Address own = link_local()->address.v4();
  claim(own, bare);
  EXPECT_TRUE(usable(own));
  claim(own, bare);
  EXPECT_FALSE(usable(own));
  ASSERT_TRUE(settle());
  EXPECT_EQ(link_local()->address.v4(), ipv4::link_local_address(interface(bare).mac, 2));
}

TEST_P(SimClaims, WhoeverTakesAllAddressesIsNotAskedMoreThanOnceAMinute) {
  autoip(true);
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(net.run_until([&] { return link_local() != nullptr; }, 1s)) << i;
    claim(link_local()->address.v4(), bare);
  }
  EXPECT_FALSE(net.run_until([&] { return link_local() != nullptr; }, 59s));
  EXPECT_TRUE(net.run_until([&] { return link_local() != nullptr; }, 2s));
}

TEST_P(SimClaims, BesideAnotherAddressItIsForWhatHasItAlready) {
  autoip(true);
  ASSERT_TRUE(settle());
  add(Ipv4Address{172, 16, 0, 9}, bare);
  EXPECT_TRUE(link_local()->is(aflag::deprecated));
  EXPECT_TRUE(usable(link_local()->address.v4()));
  change([&](stack::Network& n) { EXPECT_EQ(control::remove_address(n, bare, wire::IpAddress{Ipv4Address{172, 16, 0, 9}}), Errno::ok); });
  EXPECT_FALSE(link_local()->is(aflag::deprecated));
  // Who has an address from the beginning takes none.
  autoip(false);
  add(Ipv4Address{172, 16, 0, 9}, bare);
  autoip(true);
  net.run_for(10s);
  EXPECT_EQ(link_local(), nullptr);
}

TEST_P(SimClaims, TheNetworkStaysWhereAnOperatorHasAnAddressOfIt) {
  autoip(true);
  ASSERT_TRUE(settle());
  const Ipv4Address alias{169, 254, 7, 7};
  change([&](stack::Network& n) {
    EXPECT_EQ(control::add_address(n, bare, {.address = alias, .prefix_length = 16, .alias = true, .flags = 0}), Errno::ok);
  });
  autoip(false);
  net.run_for(1s);
  ASSERT_EQ(link_local(), nullptr);
  const route::Route* way = host.stack().network()->fibs[0].lookup(Ipv4Address{169, 254, 1, 1});
  ASSERT_NE(way, nullptr);
  EXPECT_EQ(way->interface_index, bare);
  EXPECT_EQ(way->source, wire::IpAddress{alias});
}

TEST_P(SimClaims, WithSuchAnAddressEverybodyIsOnTheLink) {
  // RFC 3927 section 2.6.2: no router passes on what is from or for one.
  autoip(true);
  ASSERT_TRUE(settle());
  change([&](stack::Network& n) {
    EXPECT_EQ(control::add_route(n, {.prefix = wire::IpPrefix::of(Ipv4Address{192, 0, 2, 0}, 24), .gateway = Ipv4Address{169, 254, 1, 1}}), Errno::ok);
    EXPECT_EQ(control::add_route(n, {.prefix = wire::IpPrefix::of(Ipv4Address{169, 254, 77, 0}, 24), .gateway = Ipv4Address{10, 0, 0, 9}}), Errno::ok);
  });
  arps.clear();
  auto& s = host.udp({Ipv4Address::any(), Port{5000}});
  for (const Ipv4Address to : {Ipv4Address{192, 0, 2, 7}, Ipv4Address{169, 254, 77, 7}}) {
    EXPECT_EQ(host.send(s, {to, Port{7}}, std::vector<std::byte>(4)), Errno::ok);
    net.run_for(1ms);
    ASSERT_EQ(arps.size(), 1u);
    EXPECT_EQ(arps[0].arp.target_ip, to);
    arps.clear();
  }
}

}  // namespace
}  // namespace iopkt::sim
