// Which frames ask for new connections, in words that the host's kernel runs: whole TCP SYNs without ACK and RST, over IPv4 and IPv6, and
// what hides behind IPv6 extension headers, which are not followed but for ICMPv6 behind hop-by-hop options: hosts that tell routers
// their groups send that (RFC 3810 section 5). A flood is made of these. They wait in a queue of their own, so that
// it is not the frames of connections that find no room; what to do with them is the stack's business. support/steering.hpp has the same
// choice for hosts that take eBPF.
#pragma once

#include <linux/filter.h>

#include <array>
#include <cstdint>

namespace devnp {

/// A socket filter (packet(7)) that takes these frames, or all others. Nothing is lost between the two: a frame that is too short for a
/// look is among the others.
constexpr std::array<sock_filter, 31> openings_filter(bool take_openings) {
  constexpr std::uint16_t kByte = BPF_LD | BPF_B | BPF_ABS, kHalf = BPF_LD | BPF_H | BPF_ABS, kLen = BPF_LD | BPF_W | BPF_LEN;
  constexpr std::uint16_t kEqual = BPF_JMP | BPF_JEQ | BPF_K, kAtLeast = BPF_JMP | BPF_JGE | BPF_K;
  constexpr int kHopByHop = 14, kIpv4 = 18, kFlags = 27, kOpening = 29, kOther = 30;
  constexpr auto jump = [](int at, std::uint16_t code, std::uint32_t k, int yes, int no) {
    return sock_filter{code, static_cast<std::uint8_t>(yes - at - 1), static_cast<std::uint8_t>(no - at - 1), k};
  };
  const std::uint32_t all = 0xffffffff, opening = take_openings ? all : 0, other = take_openings ? 0 : all;
  return {{
      /* 0 */ {kLen, 0, 0, 0},
      jump(1, kAtLeast, 34, 2, kOther), /* Ethernet and the least of IPv4 */
      /* 2 */ {kHalf, 0, 0, 12},
      jump(3, kEqual, 0x0800, kIpv4, 4),
      jump(4, kEqual, 0x86dd, 5, kOther),
      /* 5 */ {kByte, 0, 0, 14 + 6},
      jump(6, kEqual, 0, kHopByHop, 7),
      jump(7, kEqual, 43, kOpening, 8), /* routing */
      jump(8, kEqual, 60, kOpening, 9), /* destination */
      jump(9, kEqual, 6, 10, kOther),
      /* 10 */ {kLen, 0, 0, 0},
      jump(11, kAtLeast, 14 + 40 + 14, 12, kOther),
      /* 12 */ {kByte, 0, 0, 14 + 40 + 13},
      /* 13 */ {BPF_JMP | BPF_JA, 0, 0, kFlags - 13 - 1},
      /* 14 */ {kLen, 0, 0, 0},
      jump(15, kAtLeast, 14 + 40 + 8, 16, kOther),
      /* 16 */ {kByte, 0, 0, 14 + 40},
      jump(17, kEqual, 58, kOther, kOpening), /* MLD and its like */
      /* 18 */ {kByte, 0, 0, 14 + 9},
      jump(19, kEqual, 6, 20, kOther),
      /* 20 */ {kHalf, 0, 0, 14 + 6},
      jump(21, BPF_JMP | BPF_JSET | BPF_K, 0x3fff, kOther, 22), /* a fragment: the stack puts them together */
      /* 22 */ {BPF_LDX | BPF_B | BPF_MSH, 0, 0, 14},
      /* 23 */ {kLen, 0, 0, 0},
      /* 24 */ {BPF_ALU | BPF_SUB | BPF_K, 0, 0, 14 + 14},
      jump(25, BPF_JMP | BPF_JGE | BPF_X, 0, 26, kOther),
      /* 26 */ {BPF_LD | BPF_B | BPF_IND, 0, 0, 14 + 13},
      /* 27 */ {BPF_ALU | BPF_AND | BPF_K, 0, 0, 0x16},
      jump(28, kEqual, 0x02, kOpening, kOther),
      /* 29 */ {BPF_RET | BPF_K, 0, 0, opening},
      /* 30 */ {BPF_RET | BPF_K, 0, 0, other},
  }};
}

}  // namespace devnp
