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
      {kTcp, kSolTcp, tcp_defer_accept}, {kTcp, kSolTcp, tcp_window_clamp}, {kTcp, kSolTcp, tcp_notsent_lowat},
      {kUdp, kSolSocket, so_mark},       {kUdp, kSolSocket, so_vlanprio},   {kUdp, kSolIp, ip_recvopts},
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
}  // namespace iopkt::socket
