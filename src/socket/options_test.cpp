#include "socket/options.hpp"

#include <gtest/gtest.h>

#include "socket/numbers.hpp"

namespace iopkt::socket {
namespace {

using namespace num;
constexpr auto kTcp = SocketKind::tcp;
constexpr auto kUdp = SocketKind::udp;

Errno set(SocketOptions& o, SocketKind kind, int level, int name, std::int32_t value, bool privileged = false, bool txprio = false) {
  return set_option(o, kind, level, name, as_bytes(&value, sizeof value), privileged, txprio);
}

std::int32_t get(const SocketOptions& o, SocketKind kind, int level, int name) {
  const auto value = get_option(o, {.kind = kind}, level, name, 4);
  std::int32_t number = -12345;
  if (value && value->size() == 4) std::memcpy(&number, value->data(), 4);
  return number;
}

TEST(SocketOptions, OptionsOfIpv6AreForSocketsOfIpv6) {
  constexpr auto v4 = wire::IpFamily::v4, v6 = wire::IpFamily::v6;
  constexpr auto kRaw = SocketKind::raw;
  constexpr std::int32_t kNone = -12345;
  const struct {
    const char* says;
    wire::IpFamily family;
    SocketKind kind;
    int level, name;
    std::int32_t value;
    Errno answer;
    std::int32_t shown;
  } rows[] = {
      {"only IPv6", v6, kTcp, kSolIpv6, ipv6_v6only, 3, Errno::ok, 1},
      {"not on a socket of IPv4", v4, kTcp, kSolIpv6, ipv6_v6only, 1, Errno::noprotoopt, kNone},
      {"a dual socket has IPv4's as well", v6, kTcp, kSolIp, ip_tos, 8, Errno::ok, 8},
      {"a raw one has not", v6, kRaw, kSolIp, ip_tos, 8, Errno::noprotoopt, kNone},
      {"hops", v6, kUdp, kSolIpv6, ipv6_unicast_hops, 7, Errno::ok, 7},
      {"hops of the stack", v6, kUdp, kSolIpv6, ipv6_unicast_hops, -1, Errno::ok, -1},
      {"too many hops", v6, kUdp, kSolIpv6, ipv6_unicast_hops, 256, Errno::inval, -1},
      {"hops of groups", v6, kUdp, kSolIpv6, ipv6_multicast_hops, 0, Errno::ok, 0},
      {"hops of groups by default", v6, kUdp, kSolIpv6, ipv6_multicast_hops, -1, Errno::ok, 1},
      {"a stream has no groups", v6, kTcp, kSolIpv6, ipv6_multicast_hops, 5, Errno::noprotoopt, 1},
      {"a loop is 0 or 1 to the letter", v6, kUdp, kSolIpv6, ipv6_multicast_loop, 2, Errno::inval, 1},
      {"class", v6, kTcp, kSolIpv6, ipv6_tclass, 0x28, Errno::ok, 0x28},
      {"class by default", v6, kTcp, kSolIpv6, ipv6_tclass, -1, Errno::ok, 0},
      {"class out of range", v6, kTcp, kSolIpv6, ipv6_tclass, 256, Errno::inval, 0},
      {"packet info", v6, kUdp, kSolIpv6, ipv6_recvpktinfo, 1, Errno::ok, 1},
      {"path MTU discovery", v6, kUdp, kSolIpv6, ipv6_mtu_discover, 6, Errno::inval, 1},
      {"a checksum's place is even", v6, kRaw, kSolIpv6, ipv6_checksum, 3, Errno::inval, -1},
      {"a checksum's place", v6, kRaw, kSolRaw, ipv6_checksum, 6, Errno::ok, 6},
      {"no checksum", v6, kRaw, kSolIpv6, ipv6_checksum, -7, Errno::ok, -1},
      {"a checksum is a raw socket's", v6, kUdp, kSolIpv6, ipv6_checksum, 6, Errno::noprotoopt, kNone},
      {"ICMP's filter is IPv4's", v6, kRaw, kSolRaw, icmp_filter, 1, Errno::noprotoopt, kNone},
      {"flow labels of the stack's choosing", v6, kTcp, kSolIpv6, ipv6_autoflowlabel, 0, Errno::ok, 0},
      {"flow labels of destinations", v6, kTcp, kSolIpv6, ipv6_flowinfo_send, 1, Errno::ok, 1},
      {"headers received", v6, kUdp, kSolIpv6, ipv6_recvdstopts, 7, Errno::ok, 1},
      {"headers of streams of IPv4", v4, kTcp, kSolIpv6, ipv6_recvhopopts, 1, Errno::noprotoopt, kNone},
      {"extensions of errors are on or off", v6, kUdp, kSolIpv6, ipv6_recverr_rfc4884, 2, Errno::inval, 0},
      {"a header included is a raw socket's", v6, kUdp, kSolIpv6, ipv6_hdrincl, 1, Errno::noprotoopt, kNone},
      {"a header included", v6, kRaw, kSolIpv6, ipv6_hdrincl, 3, Errno::ok, 1},
      {"groups of others", v6, kUdp, kSolIpv6, ipv6_multicast_all, 0, Errno::ok, 0},
      {"public addresses", v6, kUdp, kSolIpv6, ipv6_addr_preferences, kPreferPublic, Errno::ok, kPreferPublic | kPreferHome},
      {"the care-of address", v6, kUdp, kSolIpv6, ipv6_addr_preferences, kPreferCareOf, Errno::ok, kPreferEither | kPreferCareOf},
      {"temporary and public", v6, kUdp, kSolIpv6, ipv6_addr_preferences, 3, Errno::inval, kPreferDefault},
      {"an MTU below the least", v6, kUdp, kSolIpv6, ipv6_mtu, 1279, Errno::inval, kNone},
      {"an interface is no number", v6, kUdp, kSolIpv6, ipv6_pktinfo, 1, Errno::inval, kNone},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    SocketOptions o;
    EXPECT_EQ(set_option(o, row.kind, row.level, row.name, as_bytes(&row.value, sizeof row.value), false, false, row.family), row.answer);
    const auto value = get_option(o, {.kind = row.kind, .family = row.family}, row.level, row.name, 4);
    std::int32_t number = kNone;
    if (value && value->size() == 4) std::memcpy(&number, value->data(), 4);
    EXPECT_EQ(number, row.shown);
  }
  SocketOptions o;
  const std::byte one{1};
  EXPECT_EQ(set_option(o, kTcp, kSolIpv6, ipv6_v6only, {&one, 1}, false, false, v6), Errno::inval) << "a byte is no int here";
}

TEST(SocketOptions, AFilterOfIcmpv6HasABitForEachType) {
  SocketOptions o;
  std::array<std::uint32_t, 8> filter{};
  filter[4] = 1u << 7;  // type 135
  const Bytes bytes = as_bytes(filter.data(), sizeof filter);
  constexpr auto v4 = wire::IpFamily::v4, v6 = wire::IpFamily::v6;
  EXPECT_EQ(set_option(o, kUdp, kSolIcmpv6, icmp6_filter, bytes, false, false, v6), Errno::noprotoopt);
  EXPECT_EQ(set_option(o, SocketKind::raw, kSolIcmpv6, icmp6_filter, bytes, false, false, v4), Errno::noprotoopt);
  EXPECT_EQ(set_option(o, SocketKind::raw, kSolIcmpv6, icmp6_filter, bytes, false, false, v6), Errno::ok);
  EXPECT_EQ(o.icmp6_filter, filter);
  EXPECT_EQ(get_option(o, {.kind = SocketKind::raw, .family = v6}, kSolIcmpv6, icmp6_filter, 64)->size(), sizeof filter);
}

TEST(SocketOptions, EachFamilyHasItsOwnHeaderFields) {
  SocketOptions o;
  const wire::IpAddress four = wire::Ipv4Address{10, 0, 0, 1}, six = *wire::IpAddress::parse("2001:db8::1");
  const wire::IpAddress group4 = wire::Ipv4Address{239, 0, 0, 1}, group6 = *wire::IpAddress::parse("ff0e::1");
  EXPECT_EQ(hops_of(o, four), 0);
  EXPECT_EQ(hops_of(o, six), 0);
  o.ttl = 3, o.unicast_hops = 4, o.multicast_ttl = 5, o.multicast_hops6 = 6, o.tos = 8, o.tclass = 16;
  EXPECT_EQ(hops_of(o, four), 3);
  EXPECT_EQ(hops_of(o, six), 4);
  EXPECT_EQ(hops_of(o, group4), 5);
  EXPECT_EQ(hops_of(o, group6), 6);
  EXPECT_EQ(traffic_class_of(o, four), 8);
  EXPECT_EQ(traffic_class_of(o, six), 16);
  EXPECT_FALSE(dont_fragment(o, four) || dont_fragment(o, six));
  o.dont_fragment6 = 1;
  EXPECT_FALSE(dont_fragment(o, four));
  EXPECT_TRUE(dont_fragment(o, six));
  o.mtu_discover = 2;
  EXPECT_TRUE(dont_fragment(o, four));
}

TEST(SocketOptions, WhatIsSetIsReadBackAsOnTheHost) {
  const struct {
    const char* says;
    SocketKind kind;
    int level, name;
    std::int32_t value;
    Errno answer;
    std::int32_t shown;
  } rows[] = {
      {"a flag is 0 or 1", kTcp, kSolSocket, so_keepalive, 7, Errno::ok, 1},
      {"a flag is cleared", kTcp, kSolTcp, tcp_nodelay, 0, Errno::ok, 0},
      {"a buffer is doubled", kTcp, kSolSocket, so_rcvbuf, 10000, Errno::ok, 20000},
      {"a buffer has a floor", kTcp, kSolSocket, so_sndbuf, 1, Errno::ok, kRingMin},
      {"a buffer has a ceiling", kTcp, kSolSocket, so_sndbuf, INT32_MAX, Errno::ok, kRingMax},
      {"low water 0 is 1", kTcp, kSolSocket, so_rcvlowat, 0, Errno::ok, 1},
      {"low water of sending is fixed", kTcp, kSolSocket, so_sndlowat, 5, Errno::noprotoopt, 1},
      {"time to live above its range", kUdp, kSolIp, ip_ttl, 256, Errno::inval, 0},
      {"time to live of the stack", kUdp, kSolIp, ip_ttl, -1, Errno::ok, 0},
      {"keepalive count out of range", kTcp, kSolTcp, tcp_keepcnt, 128, Errno::inval, 0},
      {"keepalive idle", kTcp, kSolTcp, tcp_keepidle, 60, Errno::ok, 60},
      {"a closed socket's patience has a ceiling", kTcp, kSolTcp, tcp_linger2, 500, Errno::ok, 120},
      {"no patience at all", kTcp, kSolTcp, tcp_linger2, -7, Errno::ok, -1},
      {"deferred accepting counts in retransmissions", kTcp, kSolTcp, tcp_defer_accept, 5, Errno::ok, 7},
      {"one second is one", kTcp, kSolTcp, tcp_defer_accept, 1, Errno::ok, 1},
      {"no deferring", kTcp, kSolTcp, tcp_defer_accept, -3, Errno::ok, 0},
      {"a clamp has a floor", kTcp, kSolTcp, tcp_window_clamp, 5, Errno::ok, 1152},
      {"a clamp is taken off", kTcp, kSolTcp, tcp_window_clamp, 0, Errno::ok, 0},
      {"no completions are ever queued, so none are promised", kTcp, kSolSocket, so_zerocopy, 1, Errno::noprotoopt, -12345},
      {"an ICMP filter is a raw socket's", kUdp, kSolRaw, icmp_filter, 1, Errno::noprotoopt, -12345},
      {"an ICMP filter has a bit for each type", SocketKind::raw, kSolRaw, icmp_filter, -2, Errno::ok, -2},
      {"TCP's options are not UDP's", kUdp, kSolTcp, tcp_nodelay, 1, Errno::noprotoopt, -12345},
      {"header included only on raw sockets", kUdp, kSolIp, ip_hdrincl, 1, Errno::noprotoopt, -12345},
      {"an unknown level", kTcp, 4711, 1, 1, Errno::noprotoopt, -12345},
      {"FIB in range", kTcp, kSolSocket, so_setfib, 15, Errno::ok, 15},
      {"FIB out of range", kTcp, kSolSocket, so_setfib, 16, Errno::inval, 0},
      {"transmit priority is off unless the stack allows it", kUdp, kSolSocket, so_txprio, 1, Errno::opnotsupp, 0},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    SocketOptions o;
    EXPECT_EQ(set(o, row.kind, row.level, row.name, row.value), row.answer);
    EXPECT_EQ(get(o, row.kind, row.level, row.name), row.shown);
  }
}

TEST(SocketOptions, WhatHasNoEffectYetIsNotTaken) {
  const struct {
    SocketKind kind;
    int level, name;
  } rows[] = {
      {kUdp, kSolSocket, so_mark},       {kUdp, kSolSocket, so_vlanprio},
  };
  for (const auto& row : rows) {
    SocketOptions o;
    SCOPED_TRACE(std::to_string(row.level) + ":" + std::to_string(row.name));
    EXPECT_EQ(set(o, row.kind, row.level, row.name, 1, true), Errno::noprotoopt);
    EXPECT_EQ(get(o, row.kind, row.level, row.name), -12345);
  }
}

TEST(SocketOptions, HintsAreKept) {
  SocketOptions o;
  EXPECT_EQ(set(o, kTcp, kSolSocket, so_priority, 6), Errno::ok);
  EXPECT_EQ(set(o, kTcp, kSolSocket, so_priority, 7), Errno::perm);
  EXPECT_EQ(get(o, kTcp, kSolSocket, so_priority), 6);
  EXPECT_EQ(set(o, kTcp, kSolSocket, so_busy_poll, 50), Errno::ok);
  EXPECT_EQ(get(o, kTcp, kSolSocket, so_busy_poll), 50);
}

TEST(SocketOptions, TransmitPriorityWhenAllowed) {
  SocketOptions o;
  EXPECT_EQ(set(o, kUdp, kSolSocket, so_txprio, 5, false, true), Errno::ok);
  EXPECT_EQ(get(o, kUdp, kSolSocket, so_txprio), 5);
}

TEST(SocketOptions, ValuesOfEveryLengthAreSafe) {
  const std::byte bytes[64]{std::byte{1}};
  for (int level : {kSolSocket, kSolIp, kSolTcp, kSolUdp, kSolRaw, kSolIpv6, -1})
    for (int name = -2; name < 300; ++name)
      for (std::size_t length = 0; length <= sizeof bytes; ++length) {
        SocketOptions o;
        static_cast<void>(set_option(o, kTcp, level, name, {bytes, length}, true, true));
        const auto shown = get_option(o, {.kind = kTcp}, level, name, length);
        if (shown) {
          ASSERT_LE(shown->size(), length);
        }
      }
}

TEST(SocketOptions, WhatIsPutIntoHeadersIsForRawPrivilege) {
  EXPECT_TRUE(needs_raw_privilege(kSolIp, ip_options));
  EXPECT_TRUE(needs_raw_privilege(kSolIpv6, ipv6_hopopts));
  EXPECT_FALSE(needs_raw_privilege(kSolIp, ip_tos));
}

TEST(SocketOptions, ADeviceNameEndsAtItsZero) {
  SocketOptions o;
  const char name[16] = "en0\0rubbish";
  EXPECT_EQ(set_option(o, kTcp, kSolSocket, so_bindtodevice, as_bytes(name, sizeof name), true, false), Errno::ok);
  EXPECT_EQ(o.bind_device, "en0");
  EXPECT_EQ(set_option(o, kTcp, kSolSocket, so_bindtodevice, as_bytes(name, sizeof name), false, false), Errno::perm);
  EXPECT_EQ(set_option(o, kTcp, kSolSocket, so_bindtodevice, {}, true, false), Errno::ok);
  EXPECT_EQ(o.bind_device, "");
}

TEST(SocketOptions, CongestionControlIsChosenByName) {
  const auto choose = [](SocketKind kind, std::string_view name) {
    SocketOptions o;
    return set_option(o, kind, kSolTcp, tcp_congestion, as_bytes(name.data(), name.size()), false, false);
  };
  EXPECT_EQ(choose(kTcp, "reno"), Errno::ok);
  EXPECT_EQ(choose(kTcp, "cubic"), Errno::ok);
  EXPECT_EQ(choose(kTcp, "newreno"), Errno::ok);
  EXPECT_EQ(choose(kTcp, {"reno\0rubbish", 12}), Errno::ok);
  EXPECT_EQ(choose(kTcp, "reno2"), Errno::noent);
  EXPECT_EQ(choose(kTcp, ""), Errno::inval);
  EXPECT_EQ(choose(kUdp, "reno"), Errno::noprotoopt);
}

TEST(SocketOptions, OneByteIsEnoughForIpOptions) {
  SocketOptions o;
  const std::byte tos{0x10};
  EXPECT_EQ(set_option(o, kUdp, kSolIp, ip_tos, {&tos, 1}, false, false), Errno::ok);
  EXPECT_EQ(get(o, kUdp, kSolIp, ip_tos), 0x10);
  EXPECT_EQ(get_option(o, {.kind = kUdp}, kSolIp, ip_tos, 1)->size(), 1u);
  EXPECT_EQ(set_option(o, kUdp, kSolIp, ip_tos, {}, false, false), Errno::ok);
  EXPECT_EQ(get(o, kUdp, kSolIp, ip_tos), 0);
  EXPECT_EQ(set_option(o, kUdp, kSolSocket, so_broadcast, {&tos, 1}, false, false), Errno::inval);
}

}  // namespace
TEST(SharedOptions, WhoChangesSomethingHasItsOwn) {
  SharedOptions listener, untouched;
  listener.change([](SocketOptions& o) { o.no_delay = true, o.multicast_ttl = 7; });
  SharedOptions child = listener;
  EXPECT_EQ(&*child, &*listener) << "shared until one changes them";
  child.change([](SocketOptions& o) { o.no_delay = true; });
  EXPECT_EQ(&*child, &*listener) << "which this does not";
  child.change([](SocketOptions& o) { o.no_delay = false; });
  EXPECT_TRUE(listener->no_delay);
  EXPECT_FALSE(child->no_delay);
  EXPECT_EQ(child->multicast_ttl, 7);
  child.change([](SocketOptions& o) { o.multicast_ttl = 1; });
  EXPECT_EQ(&*child, &*untouched) << "all are as they were at first";
}

TEST(SocketOptions, ABufferThatWasNotChosenIsTheRing) {
  SocketOptions o;
  const SocketFacts facts{.kind = SocketKind::tcp, .send_ring = 65536, .receive_ring = 131072};
  const auto shown = [&](int name) {
    std::int32_t value = 0;
    const auto answer = get_option(o, facts, num::kSolSocket, name, sizeof value);
    std::memcpy(&value, answer->data(), sizeof value);
    return value;
  };
  EXPECT_EQ(shown(num::so_sndbuf), 65536);
  EXPECT_EQ(shown(num::so_rcvbuf), 131072);
  const std::int32_t asked = 10000;
  ASSERT_EQ(set_option(o, SocketKind::tcp, num::kSolSocket, num::so_rcvbuf, as_bytes(&asked, sizeof asked), false, false), Errno::ok);
  EXPECT_EQ(shown(num::so_rcvbuf), 20000);
}

}  // namespace iopkt::socket
