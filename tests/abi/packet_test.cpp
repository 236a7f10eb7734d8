// devnp-packet on one end of a veth pair, a packet socket of the test on the other, in a namespace of the
// test's own.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "driver_host.hpp"
#include "links.hpp"
#include "openings.hpp"

namespace iopkt::abi_test {
namespace {

constexpr std::uint16_t kEtherTest = 0x88b5; /* IEEE 802: for local experiments */

class PacketDriver : public testing::Test {
 protected:
  static void SetUpTestSuite() { permitted_ = private_netns(); }
  void SetUp() override {
    if (!permitted_) GTEST_SKIP() << "needs root";
    ASSERT_NE(packet_.driver(), nullptr) << packet_.log();
    ASSERT_TRUE(make_veth("ours", "peer"));
    ASSERT_TRUE(set_link_up("peer", true));
  }
  void TearDown() override {
    if (!permitted_) return;
    if (socket_ >= 0) ::close(socket_);
    packet_.detach();
    EXPECT_EQ(packet_.outstanding(), 0);
    (void)delete_link("ours");
  }

  /// Opens, starts, and opens the peer's end: with virtio-net headers.
  void start(const std::string& options, std::uint32_t queues = 1) {
    ASSERT_EQ(packet_.open(options, queues), 0) << packet_.log();
    ASSERT_EQ(packet_.ops().start(packet_.device()), 0);
    socket_ = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    const int one = 1;
    ASSERT_EQ(::setsockopt(socket_, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one), 0);
    ASSERT_EQ(::setsockopt(socket_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one), 0);
    sockaddr_ll ll{};
    ll.sll_family = AF_PACKET;
    ll.sll_protocol = htons(ETH_P_ALL);
    ll.sll_ifindex = static_cast<int>(::if_nametoindex("peer"));
    ASSERT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&ll), sizeof ll), 0);
    ASSERT_TRUE(is_through());
  }
  /// Up to a second after both ends are up the kernel silently drops what they send. Sends until the last one
  /// sent has arrived, each way.
  bool is_through() {
    Bytes probe = test_frame(46), got(2000);
    probe[13] = 0xb6;
    bool in = false, out = false;
    for (std::uint16_t n = 0; n < 10000 && !(in && out); ++n) {
      std::memcpy(probe.data() + 14, &n, sizeof n);
      const auto is_probe = [&](const std::uint8_t* f, std::size_t len) {
        return len >= 60 && std::equal(f + 12, f + 16, probe.data() + 12);
      };
      if (!in) {
        (void)send_from_peer(probe);
        ::poll(nullptr, 0, 1);
        for (std::uint32_t q = 0; q < packet_.info().rx_queues; ++q) {
          for (const Frame& f : packet_.receive(q, 1000)) in |= is_probe(f.bytes.data(), f.bytes.size());
        }
      }
      if (!out) {
        (void)packet_.transmit({plain(probe)});
        ::poll(nullptr, 0, 1);
        for (ssize_t len; (len = ::recv(socket_, got.data(), got.size(), MSG_DONTWAIT)) > 10;) {
          out |= is_probe(got.data() + 10, static_cast<std::size_t>(len) - 10);
        }
      }
    }
    return in && out;
  }
  bool send_from_peer(const Bytes& frame, Bytes vnet = Bytes(10)) {
    vnet.insert(vnet.end(), frame.begin(), frame.end());
    return ::send(socket_, vnet.data(), vnet.size(), 0) == static_cast<ssize_t>(vnet.size());
  }
  /// The next frame at the peer that is ours or IPv4, with its virtio-net header.
  Bytes peer_receives() {
    Bytes b(70000);
    pollfd p{socket_, POLLIN, 0};
    while (::poll(&p, 1, 10000) == 1) {
      const ssize_t n = ::recv(socket_, b.data(), b.size(), 0);
      if (n < 24 || !is_wanted(b.data() + 10)) continue;
      b.resize(static_cast<std::size_t>(n));
      return b;
    }
    return {};
  }
  static bool is_wanted(const std::uint8_t* f) {
    return (f[12] == 0x88 && f[13] == 0xb5) || (f[12] == 8 && f[13] == 0);
  }
  static bool is_ours(const Frame& f) { return f.bytes.size() >= 14 && is_wanted(f.bytes.data()); }

  static Bytes test_frame(std::size_t payload) {
    Bytes f(14 + payload, 0xff);
    std::fill_n(f.begin() + 6, 6, std::uint8_t{2});
    f[12] = kEtherTest >> 8;
    f[13] = kEtherTest & 0xff;
    for (std::size_t i = 0; i < payload; ++i) f[14 + i] = static_cast<std::uint8_t>(i + i / 256);
    return f;
  }

  inline static bool permitted_ = false;
  DriverHost packet_{"packet"};
  int socket_ = -1;
};

TEST_F(PacketDriver, CarriesFramesOfEverySizeBothWays) {
  ASSERT_TRUE(set_link_mtu("peer", 9000));
  start("if=ours,mtu=9000,ring=64");
  ASSERT_EQ(link_mtu("ours"), 9000);
  for (const std::size_t payload : {46u, 1500u, 2034u, 2035u, 8999u, 9000u}) {
    SCOPED_TRACE(payload);
    const Bytes sent = test_frame(payload);
    for (const std::uint32_t piece : {4096u, 61u}) {
      ASSERT_EQ(packet_.transmit({plain(sent)}, 0, piece), 1);
      const Bytes got = peer_receives();
      ASSERT_EQ(got.size(), sent.size() + 10);
      EXPECT_TRUE(std::equal(sent.begin(), sent.end(), got.begin() + 10));
    }
    ASSERT_TRUE(send_from_peer(sent));
    const Frame back = packet_.receive_until(is_ours);
    EXPECT_EQ(back.bytes, sent);
    EXPECT_EQ(back.meta.flags & ~IOPKT_TIME_VALID, 0u);
    EXPECT_GT(back.meta.time_ns, 1'700'000'000'000'000'000u);
  }
  EXPECT_EQ(packet_.statistics().tx_errors + packet_.statistics().rx_errors, 0u);
}

TEST_F(PacketDriver, LargeFramesPassInOnePieceAmongSmallOnes) {
  start("if=ours,ring=64");
  const std::uint8_t to[6] = {2, 0, 0, 0, 0, 9};
  Frame big = plain(ip_frame(to, to, 6, 65400));
  big.meta.flags = IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP4;
  big.meta.csum_start = 34;
  big.meta.csum_offset = 16;
  big.meta.gso_size = 1460;
  big.meta.header_len = 54;
  ASSERT_EQ(packet_.transmit({big, big}), 2);
  Bytes got;
  for (int i = 0; i < 2; ++i) {
    got = peer_receives();
    ASSERT_EQ(got.size(), big.bytes.size() + 10);
    EXPECT_EQ(got[1], 1);
    EXPECT_EQ(Bytes(got.begin() + 10, got.end()), big.bytes);
  }
  // More than the ring has slots, so that it wraps.
  const Bytes vnet(got.begin(), got.begin() + 10), small = test_frame(100);
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(send_from_peer(small));
    ASSERT_TRUE(send_from_peer(big.bytes, vnet));
    EXPECT_EQ(packet_.receive_until(is_ours).bytes, small);
    const Frame back = packet_.receive_until(is_ours);
    ASSERT_EQ(back.bytes, big.bytes);
    EXPECT_EQ(back.meta.flags, IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP4 | IOPKT_TIME_VALID);
    EXPECT_EQ(back.meta.gso_size, 1460);
    EXPECT_EQ(back.meta.header_len, 54);
  }
  // A pool without room for a large frame loses that one only.
  packet_.alloc_max = 4096;
  ASSERT_TRUE(send_from_peer(big.bytes, vnet));
  ASSERT_TRUE(send_from_peer(small));
  EXPECT_EQ(packet_.receive_until(is_ours).bytes, small);
  EXPECT_EQ(packet_.statistics().rx_no_buffer, 1u);
  packet_.alloc_max = 65600;
  ASSERT_TRUE(send_from_peer(big.bytes, vnet));
  EXPECT_EQ(packet_.receive_until(is_ours).bytes, big.bytes);
}

TEST_F(PacketDriver, AFullRingDropsByNameAndGoesOn) {
  start("if=ours,ring=64");
  for (int i = 0; i < 200; ++i) ASSERT_TRUE(send_from_peer(test_frame(60)));
  for (int i = 0; i < 10000 && packet_.statistics().rx_dropped < 136; ++i) ::poll(nullptr, 0, 1);
  EXPECT_EQ(packet_.statistics().rx_dropped, 136u);
  std::size_t taken = 0;
  for (std::size_t n = 1; n != 0; taken += n) n = packet_.receive().size();
  EXPECT_EQ(taken, 64u);
  const std::uint64_t dropped = packet_.statistics().rx_dropped;
  ASSERT_TRUE(send_from_peer(test_frame(99)));
  EXPECT_EQ(packet_.receive_until(is_ours).bytes, test_frame(99));
  EXPECT_EQ(packet_.statistics().rx_dropped, dropped); /* counted once */
}

TEST_F(PacketDriver, SeesTheTagThatTheKernelTookOff) {
  start("if=ours");
  Bytes tagged = test_frame(64);
  const std::uint8_t tag[] = {0x81, 0x00, 0x60, 0x2a};
  tagged.insert(tagged.begin() + 12, tag, tag + 4);
  ASSERT_TRUE(send_from_peer(tagged));
  const Frame got = packet_.receive_until(is_ours);
  EXPECT_EQ(got.bytes, test_frame(64));
  EXPECT_NE(got.meta.flags & IOPKT_VLAN_VALID, 0u);
  EXPECT_EQ(got.meta.vlan_tci, 0x602a);
}

TEST_F(PacketDriver, QueuesShareTheFramesByFlow) {
  start("if=ours", 3);
  EXPECT_EQ(packet_.info().rx_queues, 6u) << "with those for openings";
  EXPECT_EQ(packet_.info().tx_queues, 3u);
  const std::uint8_t to[6] = {2, 0, 0, 0, 0, 9};
  for (int flow = 0; flow < 60; ++flow) {
    Bytes f = ip_frame(to, to, 17, 100);
    f[35] = static_cast<std::uint8_t>(flow);
    ASSERT_TRUE(send_from_peer(f));
    ASSERT_TRUE(send_from_peer(f));
  }
  std::size_t taken[3] = {}, sum = 0;
  const auto all_taken = [&](std::uint32_t q) {
    for (const Frame& f : packet_.receive(q)) {
      taken[q] += is_ours(f);
      sum += is_ours(f);
    }
    return sum == 120;
  };
  for (int i = 0; i < 30000 && !all_taken(static_cast<std::uint32_t>(i % 3)); ++i) {
    (void)packet_.wait_readable(1, static_cast<std::uint32_t>(i % 3));
  }
  const auto used = std::count_if(taken, taken + 3, [](std::size_t n) { return n != 0; });
  for (const std::size_t n : taken) EXPECT_EQ(n % 2, 0u); /* both of a flow */
  EXPECT_EQ(sum, 120u);
  EXPECT_GE(used, 2);
}

TEST_F(PacketDriver, AFloodOfOpeningsLeavesTheOthersTheirRoom) {
  start("if=ours,ring=64");
  ASSERT_EQ(packet_.info().rx_queues, 2u);
  for (const OpeningCase& one : opening_cases()) {
    SCOPED_TRACE(one.what);
    ASSERT_TRUE(send_from_peer(one.frame));
    EXPECT_EQ(queue_of(packet_, one.frame), one.opens ? 1 : 0);
  }
  // A short slot is enough for them: four times as many.
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(send_from_peer(tcp_frame(i % 2 != 0, 0x02)));
  const Bytes ack = tcp_frame(false, 0x10);
  ASSERT_TRUE(send_from_peer(ack));
  const Frame got = packet_.receive_until([&](const Frame& f) { return f.bytes == ack; });
  EXPECT_EQ(got.bytes, ack);
  std::size_t taken = 0;
  for (std::size_t n = 1; n != 0; taken += n) n = packet_.receive(1).size();
  EXPECT_EQ(taken, 256u);
  EXPECT_EQ(packet_.statistics().rx_dropped, 1000u - 256u);
  EXPECT_EQ(packet_.statistics().rx_openings_dropped, 1000u - 256u);
}

TEST_F(PacketDriver, KnowsStationsThatHaveCompletedHandshakes) {
  start("if=ours");
  knows_stations(packet_, [&](const Bytes& f) { return send_from_peer(f); });
}

TEST_F(PacketDriver, OpeningsAreSharedByFlowToo) {
  start("if=ours", 2);
  ASSERT_EQ(packet_.info().rx_queues, 4u);
  std::size_t taken[4] = {}, sum = 0;
  for (int flow = 0; flow < 64; ++flow) {
    Bytes syn = tcp_frame(false, 0x02);
    syn[35] = static_cast<std::uint8_t>(flow);
    ASSERT_TRUE(send_from_peer(syn));
  }
  const auto is_tcp = [](const Frame& f) { return f.bytes.size() == 54 && f.bytes[12] == 8 && f.bytes[23] == 6; };
  for (int i = 0; i < 10000 && sum < 64; ++i) {
    for (std::uint32_t q = 0; q < 4; ++q)
      for (const Frame& f : packet_.receive(q)) taken[q] += is_tcp(f), sum += is_tcp(f);
    (void)packet_.wait_readable(1, 2);
  }
  EXPECT_EQ(taken[0] + taken[1], 0u);
  EXPECT_GT(taken[2], 0u);
  EXPECT_GT(taken[3], 0u);
  EXPECT_EQ(sum, 64u);
}

TEST_F(PacketDriver, FragmentsStayWhatTheyAre) {
  start("if=ours", 2);
  // A SYN in two pieces, as the kernel's own defragmentation would put it together: both come, each once.
  Bytes first = tcp_frame(false, 0x02), second = first;
  first[20] = 0x20;
  first[17] = 20 + 16;
  second[21] = 2;
  std::size_t taken = 0, others = 0;
  for (const Bytes& one : {first, second}) ASSERT_TRUE(send_from_peer(one));
  const Bytes last = tcp_frame(false, 0x10);
  ASSERT_TRUE(send_from_peer(last));
  for (int i = 0; i < 10000 && taken + others < 3; ++i) {
    for (std::uint32_t q = 0; q < 4; ++q)
      for (const Frame& f : packet_.receive(q)) taken += f.bytes == first || f.bytes == second, others += f.bytes == last;
    (void)packet_.wait_readable(1, static_cast<std::uint32_t>(i % 4));
  }
  EXPECT_EQ(taken, 2u);
  EXPECT_EQ(others, 1u);
}

TEST_F(PacketDriver, PutsTheInterfaceBack) {
  ASSERT_EQ(link_flags("ours") & IFF_UP, 0);
  start("if=ours,mtu=1400,mac=02aabbccddee");
  EXPECT_NE(link_flags("ours") & IFF_UP, 0);
  EXPECT_EQ(link_mtu("ours"), 1400);
  EXPECT_EQ(packet_.ops().set_mtu(packet_.device(), 1300), 0);
  EXPECT_EQ(packet_.ops().set_mtu(packet_.device(), 67), -EINVAL);
  EXPECT_EQ(link_mtu("ours"), 1300);
  packet_.detach();
  EXPECT_EQ(link_flags("ours") & (IFF_UP | IFF_PROMISC), 0);
  EXPECT_EQ(link_mtu("ours"), 1500);

  // What was up stays up.
  ASSERT_TRUE(set_link_up("ours", true));
  ASSERT_EQ(packet_.open("if=ours"), 0);
  packet_.detach();
  EXPECT_NE(link_flags("ours") & IFF_UP, 0);
}

TEST_F(PacketDriver, PutsTheInterfaceBackAfterSigkill) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const bool ok = packet_.open("if=ours,mtu=1400") == 0;
    (void)!::write(ready[1], ok ? "y" : "n", 1);
    for (;;) ::pause();
  }
  ::close(ready[1]);
  char said = 0;
  ASSERT_EQ(::read(ready[0], &said, 1), 1);
  EXPECT_EQ(said, 'y');
  EXPECT_NE(link_flags("ours") & IFF_UP, 0);
  ASSERT_EQ(::kill(child, SIGKILL), 0);
  ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  ::close(ready[0]);
  // The guardian works on; its last act is to take the interface down.
  for (int i = 0; i < 10000 && (link_flags("ours") & IFF_UP) != 0; ++i) ::poll(nullptr, 0, 1);
  EXPECT_EQ(link_flags("ours") & IFF_UP, 0);
  EXPECT_EQ(link_mtu("ours"), 1500);
}

TEST_F(PacketDriver, RefusesWhatItCannotUseAndUndoesTheRest) {
  const struct {
    const char *options, *says;
    int answer;
  } rows[] = {
      {"", "if= is needed", -EINVAL},
      {"if=nosuch", "if=nosuch: No such device", -ENODEV},
      {"if=lo", "if=lo: not an Ethernet interface", -EINVAL},
      {"if=peer", "the host's kernel has the address 10.9.0.1 there", -EADDRINUSE},
      {"if=ours,netns=nosuch", "netns=nosuch: No such file", -ENOENT},
      {"if=ours,mtu=65536", "mtu=65536: outside 68..65535", -EINVAL},
      {"if=ours,mac=030000000000", "not the address of a station", -EINVAL},
      {"if=ours,ring=63", "", -ERANGE},
  };
  ASSERT_TRUE(set_link_address("peer", "10.9.0.1"));
  for (const auto& row : rows) {
    SCOPED_TRACE(row.options);
    DriverHost packet{"packet"};
    EXPECT_EQ(packet.open(row.options), row.answer) << packet.log();
    EXPECT_NE(packet.log().find(row.says), std::string::npos) << packet.log();
  }
  DriverHost shared{"packet"};
  EXPECT_EQ(shared.open("if=peer,share"), 0) << shared.log();
  packet_.attach_answer = -ENOSPC;
  EXPECT_EQ(packet_.open("if=ours,mtu=1400"), -ENOSPC);
  EXPECT_EQ(link_flags("ours") & IFF_UP, 0);
  EXPECT_EQ(link_mtu("ours"), 1500);
}

TEST_F(PacketDriver, TellsTheLinkAndFailsForGoodWhenTheInterfaceGoes) {
  start("if=ours");
  const auto settle = [this](int wanted) {
    for (int i = 0; i < 1000 && packet_.link() != wanted && packet_.wait_readable(10000); ++i)
      (void)packet_.receive();
    return packet_.link() == wanted;
  };
  const bool up_at_start = packet_.info().link_up == 1;
  EXPECT_TRUE(up_at_start || settle(1));
  ASSERT_TRUE(set_link_up("peer", false));
  EXPECT_TRUE(settle(0));
  ASSERT_TRUE(set_link_up("peer", true));
  EXPECT_TRUE(settle(1));
  ASSERT_TRUE(delete_link("ours"));
  EXPECT_TRUE(settle(0));
  iopkt_frame* frame = nullptr;
  EXPECT_EQ(packet_.ops().receive(packet_.device(), 0, &frame, 1), -ENODEV);
  EXPECT_EQ(packet_.transmit({plain(test_frame(60))}), 1);
  EXPECT_EQ(packet_.statistics().tx_dropped, 1u);
}

TEST_F(PacketDriver, IsPromiscuousOnlyWhileItIsAsked) {
  start("if=ours");
  const auto& ops = packet_.ops();
  const std::uint8_t foreign[6] = {2, 0, 0, 0, 0, 1};
  const std::uint8_t groups[2][6] = {{1, 0, 0x5e, 0, 0, 1}, {1, 0, 0x5e, 0, 0, 5}};
  EXPECT_EQ(ops.set_promiscuous(packet_.device(), 1), 0);
  EXPECT_EQ(ops.set_mac(packet_.device(), foreign), 0);
  EXPECT_EQ(ops.set_promiscuous(packet_.device(), 0), 0);
  EXPECT_EQ(ops.set_mac(packet_.device(), packet_.info().mac), 0);
  EXPECT_EQ(ops.set_mac(packet_.device(), groups[0]), -EINVAL);
  EXPECT_EQ(ops.set_multicast(packet_.device(), groups, 2), 0);
  EXPECT_EQ(ops.set_multicast(packet_.device(), groups + 1, 1), 0);
  EXPECT_EQ(ops.set_multicast(packet_.device(), nullptr, 0), 0);
}

}  // namespace
}  // namespace iopkt::abi_test
