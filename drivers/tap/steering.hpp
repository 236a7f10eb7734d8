// Which queue of a TAP interface the kernel puts a frame into: support/openings.hpp's frames into the second of two.
#pragma once

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <iterator>

#include "../support/unique_fd.hpp"

namespace devnp_tap {

/// Loads the program. 0 or -errno: without CAP_BPF most hosts refuse.
inline int load_steering(devnp::UniqueFd& program) {
  constexpr std::uint8_t kHalf = BPF_LD | BPF_H | BPF_ABS, kByte = BPF_LD | BPF_B | BPF_ABS, kByteAt = BPF_LD | BPF_B | BPF_IND;
  constexpr std::uint8_t kSet = BPF_ALU64 | BPF_MOV | BPF_K, kCopy = BPF_ALU64 | BPF_MOV | BPF_X, kAnd = BPF_ALU64 | BPF_AND | BPF_K;
  constexpr std::uint8_t kEqual = BPF_JMP | BPF_JEQ | BPF_K, kUnequal = BPF_JMP | BPF_JNE | BPF_K, kAnyBit = BPF_JMP | BPF_JSET | BPF_K;
  constexpr int kHopByHop = 11, kIpv4 = 14, kFlags = 23, kOther = 25, kOpening = 27;
  // A load beyond the frame ends the program with 0, the first queue. It takes its context in r6 and leaves its result in r0.
  constexpr auto op = [](std::uint8_t code, std::uint8_t to, std::uint8_t from, std::int32_t k) {
    return bpf_insn{code, static_cast<std::uint8_t>(to & 15), static_cast<std::uint8_t>(from & 15), 0, k};
  };
  constexpr auto load = [](std::uint8_t code, std::int32_t offset) { return bpf_insn{code, 0, 0, 0, offset}; };
  constexpr auto jump = [](int at, std::uint8_t code, std::int32_t k, int where) {
    return bpf_insn{code, 0, 0, static_cast<std::int16_t>(where - at - 1), k};
  };
  static constexpr bpf_insn kProgram[] = {
      /* 0 */ op(kCopy, 6, 1, 0),
      /* 1 */ load(kHalf, 12),
      jump(2, kEqual, 0x0800, kIpv4),
      jump(3, kUnequal, 0x86dd, kOther),
      /* 4 */ load(kByte, 14 + 6),
      jump(5, kEqual, 0, kHopByHop),
      jump(6, kEqual, 43, kOpening),
      jump(7, kEqual, 60, kOpening),
      jump(8, kUnequal, 6, kOther),
      /* 9 */ load(kByte, 14 + 40 + 13),
      jump(10, BPF_JMP | BPF_JA, 0, kFlags),
      /* 11 */ load(kByte, 14 + 40),
      jump(12, kEqual, 58, kOther), /* MLD and its like */
      jump(13, BPF_JMP | BPF_JA, 0, kOpening),
      /* 14 */ load(kByte, 14 + 9),
      jump(15, kUnequal, 6, kOther),
      /* 16 */ load(kHalf, 14 + 6),
      jump(17, kAnyBit, 0x3fff, kOther), /* a fragment */
      /* 18 */ load(kByte, 14),
      /* 19 */ op(kAnd, 0, 0, 0xf),
      /* 20 */ op(BPF_ALU64 | BPF_LSH | BPF_K, 0, 0, 2),
      /* 21 */ op(kCopy, 7, 0, 0),
      /* 22 */ op(kByteAt, 0, 7, 14 + 13),
      /* 23 */ op(kAnd, 0, 0, 0x16),
      jump(24, kEqual, 0x02, kOpening),
      /* 25 */ op(kSet, 0, 0, 0),
      /* 26 */ op(BPF_JMP | BPF_EXIT, 0, 0, 0),
      /* 27 */ op(kSet, 0, 0, 1),
      /* 28 */ op(BPF_JMP | BPF_EXIT, 0, 0, 0),
  };
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attributes.insns = reinterpret_cast<std::uintptr_t>(kProgram);
  attributes.insn_cnt = std::size(kProgram);
  attributes.license = reinterpret_cast<std::uintptr_t>("Apache-2.0");
  program.reset(static_cast<int>(::syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes)));
  return program ? 0 : -errno;
}

}  // namespace devnp_tap
