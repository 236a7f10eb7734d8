// The choice of support/openings.hpp as an eBPF program, which also knows stations (support/known_peers.hpp): theirs are no strangers'
// openings. Linux Documentation/bpf/standardization/instruction-set.rst.
#pragma once

#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>

#include "known_peers.hpp"
#include "unique_fd.hpp"

namespace devnp {

/// Instructions with jumps to places that have names; jumps go forward.
class BpfAssembler {
 public:
  enum Place : std::uint8_t { ipv4, hop_by_hop, flags, opening, stranger, counted, other, kPlaces };

  void put(std::uint8_t code, int to, int from, std::int16_t offset, std::int32_t k) {
    if (count_ < code_.size())
      code_[count_++] = {code, static_cast<std::uint8_t>(to & 15), static_cast<std::uint8_t>(from & 15), offset, k};
    else
      fits_ = false;
  }
  void jump(std::uint8_t code, int reg, std::int32_t k, Place where) {
    jumps_[count_ % jumps_.size()] = static_cast<std::uint8_t>(where + 1);
    put(BPF_JMP | code, reg, 0, 0, k);
  }
  void jump_by_register(std::uint8_t code, int reg, int other_reg, Place where) {
    jumps_[count_ % jumps_.size()] = static_cast<std::uint8_t>(where + 1);
    put(BPF_JMP | code | BPF_X, reg, other_reg, 0, 0);
  }
  void here(Place where) { places_[where] = count_; }
  void set(int reg, std::int32_t k) { put(BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, 0, k); }
  void copy(int to, int from) { put(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0); }
  void calculate(std::uint8_t code, int reg, std::int32_t k) { put(BPF_ALU64 | code | BPF_K, reg, 0, 0, k); }
  /// r0 from the frame; r1 to r5 are lost.
  void load(std::uint8_t size, std::int32_t offset) { put(BPF_LD | size | BPF_ABS, 0, 0, 0, offset); }
  void wide(int reg, int kind, std::uint64_t k) {
    put(BPF_LD | BPF_DW | BPF_IMM, reg, kind, 0, static_cast<std::int32_t>(k));
    put(0, 0, 0, 0, static_cast<std::int32_t>(k >> 32));
  }
  void leave(std::int32_t result) {
    set(0, result);
    put(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
  }

  /// Loads it. 0 or -errno: without CAP_BPF most hosts refuse.
  int finish(UniqueFd& program) {
    if (!fits_) return -E2BIG;
    for (std::size_t i = 0; i < count_; ++i)
      if (jumps_[i] != 0) code_[i].off = static_cast<std::int16_t>(places_[jumps_[i] - 1u] - i - 1);
    bpf_attr attributes{};
    attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
    attributes.insns = reinterpret_cast<std::uintptr_t>(code_.data());
    attributes.insn_cnt = static_cast<std::uint32_t>(count_);
    attributes.license = reinterpret_cast<std::uintptr_t>("Apache-2.0");
    program.reset(static_cast<int>(::syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes)));
    return program ? 0 : -errno;
  }

 private:
  std::array<bpf_insn, 112> code_{};
  std::array<std::uint8_t, 112> jumps_{};
  std::array<std::size_t, kPlaces> places_{};
  std::size_t count_ = 0;
  bool fits_ = true;
};

/// Whether a program counts what known stations open. Of two that share the frames of an interface one does.
enum class Credit : std::uint8_t { look, spend };
/// Whether it counts strangers' openings (KnownPeers::openings()).
enum class Strangers : std::uint8_t { pass, count };

/// A program that answers `opening` or `other`. `known` is open. 0 or -errno.
inline int load_steering(UniqueFd& program, std::int32_t opening, std::int32_t other, const KnownPeers& known, Credit credit,
                         Strangers strangers = Strangers::pass) {
  using A = BpfAssembler;
  constexpr int kFrame = 6, kAt = 7, kLen = 8, kStation = 9; /* registers; LD_ABS takes the frame in r6 */
  A a;
  a.copy(kFrame, 1);
  a.put(BPF_LDX | BPF_W | BPF_MEM, kLen, kFrame, offsetof(__sk_buff, len), 0);
  a.jump(BPF_JLT, kLen, 34, A::other); /* Ethernet and the least of IPv4 */
  a.load(BPF_H, 12);
  a.jump(BPF_JEQ, 0, 0x0800, A::ipv4);
  a.jump(BPF_JNE, 0, 0x86dd, A::other);
  a.load(BPF_W, 14 + 8);
  a.copy(kStation, 0);
  a.calculate(BPF_LSH, kStation, 32);
  a.load(BPF_W, 14 + 12);
  a.put(BPF_ALU64 | BPF_OR | BPF_X, kStation, 0, 0, 0);
  a.load(BPF_B, 14 + 6);
  a.jump(BPF_JEQ, 0, 0, A::hop_by_hop);
  a.jump(BPF_JEQ, 0, 43, A::opening); /* routing */
  a.jump(BPF_JEQ, 0, 60, A::opening); /* destination */
  a.jump(BPF_JNE, 0, 6, A::other);
  a.jump(BPF_JLT, kLen, 14 + 40 + 14, A::other);
  a.load(BPF_B, 14 + 40 + 13);
  a.jump(BPF_JA, 0, 0, A::flags);

  a.here(A::hop_by_hop);
  a.jump(BPF_JLT, kLen, 14 + 40 + 8, A::other);
  a.load(BPF_B, 14 + 40);
  a.jump(BPF_JEQ, 0, 58, A::other); /* MLD and its like */
  a.jump(BPF_JA, 0, 0, A::opening);

  a.here(A::ipv4);
  a.load(BPF_W, 14 + 12);
  a.copy(kStation, 0);
  a.load(BPF_B, 14 + 9);
  a.jump(BPF_JNE, 0, 6, A::other);
  a.load(BPF_H, 14 + 6);
  a.jump(BPF_JSET, 0, 0x3fff, A::other); /* a fragment: the stack puts them together */
  a.load(BPF_B, 14);
  a.calculate(BPF_AND, 0, 0xf);
  a.calculate(BPF_LSH, 0, 2);
  a.copy(kAt, 0);
  a.calculate(BPF_SUB, kLen, 14 + 14);
  a.jump_by_register(BPF_JLT, kLen, kAt, A::other);
  a.put(BPF_LD | BPF_B | BPF_IND, 0, kAt, 0, 14 + 13);

  a.here(A::flags);
  a.calculate(BPF_AND, 0, 0x16);
  a.jump(BPF_JNE, 0, 0x02, A::other);

  a.here(A::opening);
  a.wide(1, 0, known.multiplier());
  a.put(BPF_ALU64 | BPF_MUL | BPF_X, kStation, 1, 0, 0);
  a.copy(1, kStation);
  a.calculate(BPF_RSH, 1, 64 - KnownPeers::kPlaceBits);
  a.put(BPF_STX | BPF_W | BPF_MEM, 10, 1, -4, 0);
  a.calculate(BPF_RSH, kStation, KnownPeers::kTagShift);
  a.put(BPF_ALU | BPF_MOV | BPF_X, kStation, kStation, 0, 0); /* 32 bits of it */
  a.wide(1, BPF_PSEUDO_MAP_FD, static_cast<std::uint32_t>(known.map()));
  a.copy(2, 10);
  a.calculate(BPF_ADD, 2, -4);
  a.put(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
  a.jump(BPF_JEQ, 0, 0, A::stranger);
  a.put(BPF_LDX | BPF_DW | BPF_MEM, 1, 0, 0, 0);
  a.put(BPF_ALU | BPF_MOV | BPF_X, 2, 1, 0, 0);
  a.jump_by_register(BPF_JNE, 2, kStation, A::stranger);
  a.calculate(BPF_ARSH, 1, 32); /* with its sign: processors that took the last one together went below 0 */
  a.jump(BPF_JSLE, 1, 0, A::stranger);
  if (credit == Credit::spend) {
    a.wide(1, 0, std::uint64_t{0xffffffff} << 32); /* -1 for the credit, 0 for the tag */
    a.put(BPF_STX | BPF_DW | BPF_XADD, 0, 1, 0, 0); /* on 5.12 and later BPF_ATOMIC with BPF_ADD: the same */
  }
  a.jump(BPF_JA, 0, 0, A::other);
  a.here(A::stranger);
  if (strangers == Strangers::count) {
    a.put(BPF_ST | BPF_W | BPF_MEM, 10, 0, -4, KnownPeers::kPlaces);
    a.wide(1, BPF_PSEUDO_MAP_FD, static_cast<std::uint32_t>(known.map()));
    a.copy(2, 10);
    a.calculate(BPF_ADD, 2, -4);
    a.put(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_map_lookup_elem);
    a.jump(BPF_JEQ, 0, 0, A::counted);
    a.set(1, 1);
    a.put(BPF_STX | BPF_DW | BPF_XADD, 0, 1, 0, 0);
  }
  a.here(A::counted);
  a.leave(opening);
  a.here(A::other);
  a.leave(other);
  return a.finish(program);
}

}  // namespace devnp
