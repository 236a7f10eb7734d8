// The program of drivers/support/steering.hpp, run by the kernel without an interface: what stations have left stays right when
// processors take from it at the same time.
#include "../../drivers/support/steering.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "openings.hpp"

namespace iopkt::abi_test {
namespace {

constexpr std::uint32_t kOther = 7, kOpening = 8; /* answers */

class Steering : public testing::Test {
 protected:
  void SetUp() override {
    int rc = known_.open();
    if (rc == 0) rc = load_steering(spends_, kOpening, kOther, known_, devnp::Credit::spend);
    if (rc == 0) rc = load_steering(looks_, kOpening, kOther, known_, devnp::Credit::look);
    if (rc == -EPERM || rc == -EACCES) GTEST_SKIP() << "needs CAP_BPF";
    ASSERT_EQ(rc, 0) << std::strerror(-rc);
  }

  /// The answer to the last of `count` such frames.
  static std::uint32_t run(const devnp::UniqueFd& program, const Bytes& frame, std::uint32_t count = 1) {
    Bytes bytes(14); /* the kernel takes an Ethernet header off first */
    bytes.insert(bytes.end(), frame.begin(), frame.end());
    bpf_attr attributes{};
    attributes.test.prog_fd = static_cast<std::uint32_t>(program.get());
    attributes.test.data_in = reinterpret_cast<std::uintptr_t>(bytes.data());
    attributes.test.data_size_in = static_cast<std::uint32_t>(bytes.size());
    attributes.test.repeat = count;
    EXPECT_EQ(::syscall(SYS_bpf, BPF_PROG_TEST_RUN, &attributes, sizeof attributes), 0) << std::strerror(errno);
    return attributes.test.retval;
  }
  static Bytes syn_from_peer() {
    Bytes f = tcp_frame(false, 0x02);
    std::copy(std::begin(kPeer), std::end(kPeer), f.begin() + 26);
    return f;
  }
  void tell(std::uint32_t credit) { known_.set(kPeer, sizeof kPeer, credit); }

  static constexpr std::uint8_t kPeer[4] = {10, 1, 2, 3};
  devnp::KnownPeers known_;
  devnp::UniqueFd spends_, looks_;
};

TEST_F(Steering, EveryFrameIsOneQueues) {
  for (const OpeningCase& one : opening_cases()) {
    SCOPED_TRACE(one.what);
    EXPECT_EQ(run(spends_, one.frame), one.opens ? kOpening : kOther);
    EXPECT_EQ(run(looks_, one.frame), one.opens ? kOpening : kOther);
  }
}

TEST_F(Steering, StrangersMayBeCounted) {
  devnp::UniqueFd counts;
  ASSERT_EQ(load_steering(counts, kOpening, kOther, known_, devnp::Credit::spend, devnp::Strangers::count), 0);
  tell(3);
  EXPECT_EQ(run(counts, syn_from_peer(), 10), kOpening);
  EXPECT_EQ(run(counts, tcp_frame(false, 0x10), 10), kOther);
  EXPECT_EQ(run(spends_, syn_from_peer(), 10), kOpening);
  EXPECT_EQ(known_.openings(), 7u);
}

TEST_F(Steering, OneOfTwoProgramsCounts) {
  tell(3);
  EXPECT_EQ(run(looks_, syn_from_peer(), 100), kOther);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(run(looks_, syn_from_peer()), kOther);
    EXPECT_EQ(run(spends_, syn_from_peer()), kOther);
  }
  EXPECT_EQ(run(looks_, syn_from_peer()), kOpening);
  EXPECT_EQ(run(spends_, syn_from_peer()), kOpening);
}

TEST_F(Steering, WhoTookTheLastAtTheSameTimeLeavesNoneBehind) {
  tell(1);
  // As two processors leave it that both saw the last one.
  bpf_attr attributes{};
  std::uint32_t place = 0;
  std::uint64_t value = 0;
  attributes.map_fd = static_cast<std::uint32_t>(known_.map());
  attributes.key = reinterpret_cast<std::uintptr_t>(&place);
  attributes.value = reinterpret_cast<std::uintptr_t>(&value);
  for (; place < devnp::KnownPeers::kPlaces; ++place) {
    ASSERT_EQ(::syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attributes, sizeof attributes), 0);
    if (value != 0) break;
  }
  ASSERT_EQ(value >> 32, 1u);
  value -= std::uint64_t{2} << 32;
  ASSERT_EQ(::syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attributes, sizeof attributes), 0);
  EXPECT_EQ(run(looks_, syn_from_peer()), kOpening);
  EXPECT_EQ(run(spends_, syn_from_peer()), kOpening);
  // What was taken too much is forgotten with the next news.
  tell(1);
  EXPECT_EQ(run(spends_, syn_from_peer()), kOther);
  EXPECT_EQ(run(spends_, syn_from_peer()), kOpening);
}

}  // namespace
}  // namespace iopkt::abi_test
