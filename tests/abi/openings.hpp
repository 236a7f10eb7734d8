// Frames of which some ask for a new connection, and which queue of a driver they come by.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string>
#include <vector>

#include "driver_host.hpp"

namespace iopkt::abi_test {

struct OpeningCase {
  std::string what;
  Bytes frame;
  bool opens;
};

/// A TCP segment to a station that is nobody's.
inline Bytes tcp_frame(bool v6, std::uint8_t flags, std::size_t options = 0, std::uint8_t next = 6, std::uint8_t fragment = 0) {
  const std::size_t ip = v6 ? 40 + options : 20 + options;
  Bytes f(14 + ip + 20);
  const std::uint8_t stations[12] = {2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8};
  std::memcpy(f.data(), stations, sizeof stations);
  f[12] = v6 ? 0x86 : 0x08;
  f[13] = v6 ? 0xdd : 0x00;
  if (v6) {
    f[14] = 0x60;
    f[19] = static_cast<std::uint8_t>(options + 20);
    f[20] = next;
    f[21] = 64;
    if (options != 0) f[54] = 6;
  } else {
    f[14] = static_cast<std::uint8_t>(0x40 + ip / 4);
    f[17] = static_cast<std::uint8_t>(ip + 20);
    f[21] = fragment;
    f[22] = 64;
    f[23] = next;
    std::fill_n(f.begin() + 34, options, std::uint8_t{1}); /* no operation */
  }
  f[14 + ip + 12] = 5 << 4;
  f[14 + ip + 13] = flags;
  return f;
}

inline std::vector<OpeningCase> opening_cases() {
  const auto cut = [](Bytes f, std::size_t len) {
    f.resize(len);
    return f;
  };
  Bytes foreign = tcp_frame(false, 0x02);
  foreign[12] = 0x88;
  foreign[13] = 0xb5;
  Bytes first_fragment = tcp_frame(false, 0x02), listener_report = tcp_frame(true, 0x02, 8, 0);
  first_fragment[20] = 0x20;    /* more follow */
  listener_report[54] = 58;     /* ICMPv6 */
  return {
      {"SYN over IPv4", tcp_frame(false, 0x02), true},
      {"SYN that speaks ECN", tcp_frame(false, 0xc2), true},
      {"SYN behind IPv4 options", tcp_frame(false, 0x02, 40), true},
      {"SYN,ACK over IPv4", tcp_frame(false, 0x12), false},
      {"ACK over IPv4", tcp_frame(false, 0x10), false},
      {"SYN,RST over IPv4", tcp_frame(false, 0x06), false},
      {"UDP over IPv4", tcp_frame(false, 0x02, 0, 17), false},
      {"first fragment of IPv4", first_fragment, false},
      {"later fragment of IPv4", tcp_frame(false, 0x02, 0, 6, 1), false},
      {"IPv4 that ends before the flags", cut(tcp_frame(false, 0x02), 14 + 20 + 13), false},
      {"IPv4 that ends in its header", cut(tcp_frame(false, 0x02), 14 + 12), false},
      {"SYN over IPv6", tcp_frame(true, 0x02), true},
      {"SYN,ACK over IPv6", tcp_frame(true, 0x12), false},
      {"ACK over IPv6", tcp_frame(true, 0x10), false},
      {"UDP over IPv6", tcp_frame(true, 0x02, 0, 17), false},
      {"IPv6 with hop-by-hop options", tcp_frame(true, 0x10, 8, 0), true},
      {"ICMPv6 behind hop-by-hop options", listener_report, false},
      {"IPv6 that ends in its hop-by-hop options", cut(tcp_frame(true, 0x02, 8, 0), 14 + 40), false},
      {"IPv6 with a routing header", tcp_frame(true, 0x02, 8, 43), true},
      {"IPv6 with destination options", tcp_frame(true, 0x02, 8, 60), true},
      {"IPv6 with a fragment header", tcp_frame(true, 0x02, 8, 44), false},
      {"IPv6 that ends before the flags", cut(tcp_frame(true, 0x02), 14 + 40 + 13), false},
      {"another protocol", foreign, false},
  };
}

/// The queue by which that frame comes, of the first two; -1: it does not within 10 s. What else comes is dropped.
inline int queue_of(DriverHost& driver, const Bytes& frame) {
  for (int waited = 0; waited < 10000; ++waited) {
    for (std::uint32_t q = 0; q < 2; ++q)
      for (const Frame& one : driver.receive(q, 64))
        if (one.bytes == frame) return static_cast<int>(q);
    (void)driver.wait_readable(1, 0);
  }
  return -1;
}

/// How many of `syns` come by each of the first two queues. What else comes is dropped.
template <class Send>
std::array<std::size_t, 2> shares(DriverHost& driver, Send send, const std::vector<Bytes>& syns) {
  std::array<std::size_t, 2> taken{};
  for (const Bytes& one : syns) EXPECT_TRUE(send(one));
  const Bytes last = tcp_frame(false, 0x10);
  EXPECT_TRUE(send(last));
  bool done = false;
  const auto take = [&] {
    std::size_t count = 0;
    for (std::uint32_t q = 0; q < 2; ++q) {
      for (const Frame& f : driver.receive(q, 64)) {
        ++count;
        done = done || f.bytes == last;
        taken[q] += std::find(syns.begin(), syns.end(), f.bytes) != syns.end() ? 1u : 0u;
      }
    }
    return count;
  };
  for (int waited = 0; waited < 10000 && !done; ++waited)
    if (take() == 0) (void)driver.wait_readable(1, 0);
  EXPECT_TRUE(done);
  while (take() != 0) {
  }
  return taken;
}

/// SYNs of stations that the stack knows do not come with those of strangers: as many as it said, and until it takes that back.
template <class Send>
void knows_stations(DriverHost& driver, Send send) {
  ASSERT_EQ(driver.info().openings_queues, 1u);
  ASSERT_NE(driver.ops().credit, nullptr);
  const auto with_source = [](bool v6, std::uint8_t network, std::uint8_t station) {
    Bytes f = tcp_frame(v6, 0x02);
    f[v6 ? 22 : 26] = 10;
    f[v6 ? 29 : 27] = network;
    f[v6 ? 37 : 29] = station;
    return f;
  };
  const auto queue = [&](const Bytes& f) {
    EXPECT_TRUE(send(f));
    return queue_of(driver, f);
  };
  const std::uint8_t v4[4] = {10, 1, 0, 1}, v6[16] = {10, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1};
  const auto tell = [&](const std::uint8_t* address, std::uint32_t length, std::uint32_t credit) {
    driver.ops().credit(driver.device(), address, length, credit);
  };
  EXPECT_EQ(queue(with_source(false, 1, 1)), 1);
  tell(v4, 4, 3);
  EXPECT_EQ(queue(with_source(false, 1, 1)), 0);
  EXPECT_EQ(queue(with_source(false, 1, 2)), 1) << "another station";
  EXPECT_EQ(queue(with_source(true, 1, 1)), 1);
  tell(v6, 16, 3);
  EXPECT_EQ(queue(with_source(true, 1, 1)), 0);
  EXPECT_EQ(queue(with_source(true, 1, 77)), 0) << "of the same network of 64 bits";
  EXPECT_EQ(queue(with_source(true, 2, 1)), 1);
  tell(v4, 4, 0);
  EXPECT_EQ(queue(with_source(false, 1, 1)), 1);
  EXPECT_EQ(queue(with_source(true, 1, 1)), 0);
  EXPECT_EQ(queue(with_source(true, 1, 1)), 1) << "that was the last one";
  // It need not be taken back: whoever forges that source gets no further. Each comes once, and what is none takes none.
  const std::vector<Bytes> forged(20, with_source(false, 1, 1));
  for (const std::uint32_t credit : {5u, 1u}) {
    tell(v4, 4, credit);
    EXPECT_EQ(queue([&] {
                Bytes f = with_source(false, 1, 1);
                f[14 + 20 + 13] = 0x10;
                return f;
              }()),
              0);
    const std::array<std::size_t, 2> taken = shares(driver, send, forged);
    EXPECT_EQ(taken[0], credit);
    EXPECT_EQ(taken[1], forged.size() - credit);
  }
  tell(v4, 4, 0xffffffff);
  EXPECT_EQ(queue(with_source(false, 1, 1)), 0);
  tell(v4, 4, 0);
  // More than there is room for: some lose their places, and nobody else gets one by that.
  for (std::uint32_t i = 0; i < 20000; ++i) {
    const std::uint8_t other[4] = {172, static_cast<std::uint8_t>(i >> 16), static_cast<std::uint8_t>(i >> 8), static_cast<std::uint8_t>(i)};
    tell(other, 4, 1);
  }
  for (std::uint8_t i = 0; i < 50; ++i) EXPECT_EQ(queue(with_source(false, 9, i)), 1);
}

}  // namespace iopkt::abi_test
