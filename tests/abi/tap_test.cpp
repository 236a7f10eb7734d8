// devnp-tap against the kernel at the other end, in a network namespace of the test's own.
#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
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

class TapDriver : public testing::Test {
 protected:
  static void SetUpTestSuite() { permitted_ = ::access("/dev/net/tun", R_OK | W_OK) == 0 && private_netns(); }
  void SetUp() override {
    if (!permitted_) GTEST_SKIP() << "needs root and /dev/net/tun";
    ASSERT_NE(tap_.driver(), nullptr) << tap_.log();
  }
  void TearDown() override {
    if (socket_ >= 0) ::close(socket_);
    EXPECT_EQ(tap_.outstanding(), 0);
  }

  /// A packet socket on the host's end; `vnet`: with virtio-net headers.
  void open_host_end(const char* name, bool vnet) {
    socket_ = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));
    ASSERT_GE(socket_, 0);
    const int one = 1;
    const int headers = vnet ? 1 : 0;
    ASSERT_EQ(::setsockopt(socket_, SOL_PACKET, PACKET_VNET_HDR, &headers, sizeof headers), 0);
    ASSERT_EQ(::setsockopt(socket_, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one), 0);
    sockaddr_ll ll{};
    ll.sll_family = AF_PACKET;
    ll.sll_protocol = htons(ETH_P_ALL);
    ll.sll_ifindex = static_cast<int>(::if_nametoindex(name));
    ASSERT_NE(ll.sll_ifindex, 0);
    ASSERT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&ll), sizeof ll), 0);
  }
  /// The next frame that the host's end received and that has our ethertype or IPv4 in it.
  Bytes host_receives(std::size_t skip) {
    Bytes b(70000);
    pollfd p{socket_, POLLIN, 0};
    while (::poll(&p, 1, 10000) == 1) {
      const ssize_t n = ::recv(socket_, b.data(), b.size(), 0);
      if (n < static_cast<ssize_t>(skip + 14)) continue;
      const unsigned type = static_cast<unsigned>(b[skip + 12] << 8 | b[skip + 13]);
      if (type != kEtherTest && type != 0x0800) continue;
      b.resize(static_cast<std::size_t>(n));
      return b;
    }
    return {};
  }
  Bytes test_frame(std::size_t payload) {
    Bytes f(14 + payload, 0xff);
    for (std::size_t i = 0; i < 6; ++i) f[6 + i] = tap_.info().mac[i];
    f[12] = kEtherTest >> 8;
    f[13] = kEtherTest & 0xff;
    for (std::size_t i = 0; i < payload; ++i) f[14 + i] = static_cast<std::uint8_t>(i + i / 256);
    return f;
  }
  static bool is_ours(const Frame& f) {
    return f.bytes.size() >= 14 &&
           ((f.bytes[12] == 0x88 && f.bytes[13] == 0xb5) || (f.bytes[12] == 8 && f.bytes[13] == 0));
  }

  inline static bool permitted_ = false;
  DriverHost tap_{"tap"};
  int socket_ = -1;
};

TEST_F(TapDriver, AttachesAndLeavesNothingBehind) {
  ASSERT_EQ(tap_.open("ifname=iopt%d,hostip=10.9.0.1/24,mac=02aabbccddee"), 0) << tap_.log();
  EXPECT_EQ(tap_.prefix(), "en");
  EXPECT_EQ(tap_.info().mtu, 1500u);
  EXPECT_EQ(tap_.info().mac[5], 0xee);
  EXPECT_NE(::if_nametoindex("iopt0"), 0u);
  const int s = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq r{};
  std::memcpy(r.ifr_name, "iopt0", 6);
  ASSERT_EQ(::ioctl(s, SIOCGIFADDR, &r), 0);
  sockaddr_in in{};
  std::memcpy(&in, &r.ifr_addr, sizeof in);
  EXPECT_EQ(ntohl(in.sin_addr.s_addr), 0x0a090001u);
  ASSERT_EQ(::ioctl(s, SIOCGIFNETMASK, &r), 0);
  std::memcpy(&in, &r.ifr_addr, sizeof in);
  EXPECT_EQ(ntohl(in.sin_addr.s_addr), 0xffffff00u);
  ASSERT_EQ(::ioctl(s, SIOCGIFFLAGS, &r), 0);
  EXPECT_NE(r.ifr_flags & IFF_UP, 0);
  EXPECT_EQ(tap_.ops().set_mtu(tap_.device(), 9000), 0);
  ASSERT_EQ(::ioctl(s, SIOCGIFMTU, &r), 0);
  EXPECT_EQ(r.ifr_mtu, 9000);
  EXPECT_EQ(tap_.ops().set_mtu(tap_.device(), 67), -EINVAL);
  EXPECT_EQ(tap_.ops().set_mtu(tap_.device(), 65522), -EINVAL);
  ::close(s);
  tap_.detach();
  EXPECT_EQ(::if_nametoindex("iopt0"), 0u);
}

TEST_F(TapDriver, RefusesWhatItCannotUseAndUndoesTheRest) {
  const struct {
    const char *options, *says;
    int answer;
  } rows[] = {
      {"hostip=10.9.0.1", "hostip=10.9.0.1: not an IPv4 address", -EINVAL},
      {"hostip=10.9.0.1/33", "not an IPv4 address", -EINVAL},
      {"hostip=10.9.0.256/8", "not an IPv4 address", -EINVAL},
      {"mtu=67", "mtu=67: outside 68..65521", -EINVAL},
      {"mac=010000000000", "mac=01:00:00:00:00:00: not the address of a station", -EINVAL},
      {"netns=no-such-namespace", "netns=no-such-namespace: No such file", -ENOENT},
      {"netns=/dev/null", "netns=/dev/null: Invalid argument", -EINVAL},
      {"ifname=lo", "ifname=lo: queue 0: ", -EINVAL},
      {"queues=65", "", -ERANGE},
      {"ifname=abcdefghijklmnop", "", -ERANGE},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.options);
    DriverHost tap{"tap"};
    EXPECT_EQ(tap.open(row.options), row.answer) << tap.log();
    EXPECT_NE(tap.log().find(row.says), std::string::npos) << tap.log();
  }
  tap_.attach_answer = -ENOSPC;
  EXPECT_EQ(tap_.open("ifname=iopgone"), -ENOSPC);
  EXPECT_EQ(::if_nametoindex("iopgone"), 0u);
}

TEST_F(TapDriver, CarriesFramesOfEverySizeBothWays) {
  ASSERT_EQ(tap_.open("ifname=iopt0,hostip=10.9.0.1/24,mtu=9000"), 0) << tap_.log();
  tap_.ops().start(tap_.device());
  open_host_end("iopt0", false);
  for (const std::size_t payload : {46u, 47u, 1500u, 2034u, 2035u, 4082u, 8999u, 9000u}) {
    SCOPED_TRACE(payload);
    const Bytes sent = test_frame(payload);
    for (const std::uint32_t piece : {4096u, 61u}) { /* 61: more pieces than one iovec list holds */
      ASSERT_EQ(tap_.transmit({plain(sent)}, 0, piece), 1);
      EXPECT_EQ(host_receives(0), sent);
    }
    ASSERT_EQ(::send(socket_, sent.data(), sent.size(), 0), static_cast<ssize_t>(sent.size()));
    const Frame got = tap_.receive_until(is_ours);
    EXPECT_EQ(got.bytes, sent);
    EXPECT_EQ(got.meta.flags, 0u);
  }
  EXPECT_EQ(tap_.statistics().rx_errors + tap_.statistics().tx_errors + tap_.statistics().tx_dropped, 0u);
}

TEST_F(TapDriver, HandsSegmentationToTheKernel) {
  ASSERT_EQ(tap_.open("ifname=iopt0,hostip=10.9.0.1/24"), 0) << tap_.log();
  tap_.ops().start(tap_.device());
  EXPECT_EQ(tap_.info().capabilities & (IOPKT_CAP_TSO4 | IOPKT_CAP_LARGE_RX | IOPKT_CAP_CSUM_TX),
            IOPKT_CAP_TSO4 | IOPKT_CAP_LARGE_RX | IOPKT_CAP_CSUM_TX);
  open_host_end("iopt0", true);
  const std::uint8_t to[6] = {2, 0, 0, 0, 0, 9};
  Frame big = plain(
      ip_frame(to, tap_.info().mac, 6, 65400)); /* the kernel cuts what is 64 KB with its Ethernet header */
  big.meta.flags = IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP4;
  big.meta.csum_start = 34;
  big.meta.csum_offset = 16;
  big.meta.gso_size = 1460;
  big.meta.header_len = 54;
  ASSERT_EQ(tap_.transmit({big}), 1);
  const Bytes got = host_receives(10);
  ASSERT_EQ(got.size(), big.bytes.size() + 10);
  EXPECT_EQ(got[1], 1); /* TCPv4: the kernel has it in one piece */
  EXPECT_EQ(Bytes(got.begin() + 10, got.end()), big.bytes);
  EXPECT_EQ(tap_.statistics().tx_errors, 0u);

  // And back: first a usual frame, then large ones, when the driver does not expect and when it expects them.
  Bytes down = got;
  for (int i = 0; i < 3; ++i) {
    ASSERT_EQ(::send(socket_, down.data(), down.size(), 0), static_cast<ssize_t>(down.size()))
        << std::strerror(errno);
    const Frame back = tap_.receive_until(is_ours);
    ASSERT_EQ(back.bytes.size(), big.bytes.size());
    EXPECT_EQ(back.bytes, big.bytes);
    EXPECT_EQ(back.meta.flags, IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP4);
    EXPECT_EQ(back.meta.gso_size, 1460);
    EXPECT_EQ(back.meta.header_len, 54);
    EXPECT_EQ(back.meta.csum_start, 34);
    EXPECT_EQ(back.meta.csum_offset, 16);
  }
}

TEST_F(TapDriver, WithoutOffloadsTheKernelCutsAndSums) {
  ASSERT_EQ(tap_.open("ifname=iopt0,hostip=10.9.0.1/24,offload=0"), 0) << tap_.log();
  tap_.ops().start(tap_.device());
  EXPECT_EQ(tap_.info().capabilities, 0u);
  open_host_end("iopt0", true);
  const std::uint8_t to[6] = {2, 0, 0, 0, 0, 9};
  const Bytes ip = ip_frame(to, to, 6, 2920);
  Bytes vnet{1, 1, 54, 0, 0xb4, 5, 34, 0, 16, 0}; /* gso_size 1460 */
  vnet.insert(vnet.end(), ip.begin(), ip.end());
  ASSERT_EQ(::send(socket_, vnet.data(), vnet.size(), 0), static_cast<ssize_t>(vnet.size()));
  for (int i = 0; i < 2; ++i) {
    const Frame part = tap_.receive_until(is_ours);
    ASSERT_EQ(part.bytes.size(), 1514u);
    EXPECT_EQ(part.meta.flags, 0u);
    EXPECT_EQ(transport_sum(part.bytes), 0xffff);
  }
}

TEST_F(TapDriver, SendsChecksumsToBeFilledAndCountsNonsense) {
  ASSERT_EQ(tap_.open("ifname=iopt0,hostip=10.9.0.1/24"), 0) << tap_.log();
  tap_.ops().start(tap_.device());
  const int s = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(4001);
  ASSERT_EQ(::bind(s, reinterpret_cast<sockaddr*>(&in), sizeof in), 0);
  std::uint8_t host_mac[6];
  ifreq r{};
  std::memcpy(r.ifr_name, "iopt0", 6);
  ASSERT_EQ(::ioctl(s, SIOCGIFHWADDR, &r), 0);
  std::memcpy(host_mac, r.ifr_hwaddr.sa_data, 6);

  Frame udp = plain(ip_frame(host_mac, tap_.info().mac, 17, 100));
  udp.meta.flags = IOPKT_CSUM_NEEDED;
  udp.meta.csum_start = 34;
  udp.meta.csum_offset = 6;
  Frame outside = udp;
  outside.meta.csum_start = 200;
  Frame sizeless = udp;
  sizeless.meta.flags |= IOPKT_GSO_TCP4;
  Frame empty = plain({});
  Frame huge = plain(Bytes(70000));
  EXPECT_EQ(tap_.transmit({outside, sizeless, empty, huge, udp}), 5);
  EXPECT_EQ(tap_.statistics().tx_errors, 4u);
  pollfd p{s, POLLIN, 0};
  EXPECT_EQ(::poll(&p, 1, 10000), 1);
  std::uint8_t data[200];
  EXPECT_EQ(::recv(s, data, sizeof data, 0), 100);
  ::close(s);
}

TEST_F(TapDriver, AnEmptyPoolLosesFramesByNameAndDoesNotSpin) {
  ASSERT_EQ(tap_.open("ifname=iopt0,hostip=10.9.0.1/24"), 0) << tap_.log();
  tap_.ops().start(tap_.device());
  open_host_end("iopt0", false);
  while (!tap_.receive().empty()) {
  }
  const Bytes sent = test_frame(100);
  tap_.pool_empty = true;
  ASSERT_EQ(::send(socket_, sent.data(), sent.size(), 0), static_cast<ssize_t>(sent.size()));
  ASSERT_TRUE(tap_.wait_readable(10000));
  EXPECT_TRUE(tap_.receive().empty());
  EXPECT_GE(tap_.statistics().rx_no_buffer, 1u);
  EXPECT_FALSE(tap_.wait_readable(0));
  tap_.pool_empty = false;
  ASSERT_EQ(::send(socket_, sent.data(), sent.size(), 0), static_cast<ssize_t>(sent.size()));
  EXPECT_EQ(tap_.receive_until(is_ours).bytes, sent);
}

TEST_F(TapDriver, FailsForGoodWhenTheHostRemovesItsEnd) {
  ASSERT_EQ(tap_.open("ifname=iopt0"), 0) << tap_.log();
  tap_.ops().start(tap_.device());
  while (!tap_.receive().empty()) {
  }
  ASSERT_TRUE(delete_link("iopt0"));
  ASSERT_TRUE(tap_.wait_readable(10000));
  iopkt_frame* frame = nullptr;
  EXPECT_LT(tap_.ops().receive(tap_.device(), 0, &frame, 1), 0);
  EXPECT_EQ(tap_.transmit({plain(test_frame(60))}), 1);
  EXPECT_EQ(tap_.statistics().tx_errors + tap_.statistics().tx_dropped, 1u);
}

TEST_F(TapDriver, AnInterfaceThatIsDownDropsByNameAndComesBack) {
  ASSERT_EQ(tap_.open("ifname=iopt0,up=0"), 0) << tap_.log();
  tap_.ops().start(tap_.device());
  EXPECT_EQ(link_flags("iopt0") & IFF_UP, 0);
  EXPECT_EQ(tap_.transmit({plain(test_frame(60))}), 1);
  EXPECT_EQ(tap_.statistics().tx_dropped, 1u);
  ASSERT_TRUE(set_link_up("iopt0", true));
  open_host_end("iopt0", false);
  EXPECT_EQ(tap_.transmit({plain(test_frame(60))}), 1);
  EXPECT_EQ(host_receives(0), test_frame(60));
}

TEST_F(TapDriver, LeavesAnInterfaceThatWasThereAsItWas) {
  for (const int kind : {0, IFF_MULTI_QUEUE}) {
    SCOPED_TRACE(kind);
    const int fd = ::open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    ifreq r{};
    std::memcpy(r.ifr_name, "ioptheirs", 10);
    r.ifr_flags = static_cast<short>(IFF_TAP | IFF_NO_PI | kind);
    ASSERT_EQ(::ioctl(fd, TUNSETIFF, &r), 0);
    ASSERT_EQ(::ioctl(fd, TUNSETPERSIST, 1), 0);
    ::close(fd);
    ASSERT_TRUE(set_link_mtu("ioptheirs", 1400));
    EXPECT_EQ(tap_.open("ifname=ioptheirs,hostip=10.9.0.1/24"), -EEXIST);
    EXPECT_EQ(tap_.open("ifname=ioptheirs,mtu=1300"), -EINVAL);
    ASSERT_EQ(tap_.open("ifname=ioptheirs", 3), 0) << tap_.log();
    EXPECT_EQ(tap_.info().mtu, 1400u);
    EXPECT_EQ(tap_.info().rx_queues, kind == 0 ? 1u : 3u);
    EXPECT_EQ(tap_.ops().set_mtu(tap_.device(), 1300), -EOPNOTSUPP);
    tap_.ops().start(tap_.device());
    tap_.detach();
    ASSERT_EQ(tap_.open("ifname=ioptheirs"), 0) << tap_.log();
    tap_.detach();
    EXPECT_EQ(link_mtu("ioptheirs"), 1400);
    EXPECT_EQ(link_flags("ioptheirs") & IFF_UP, 0);
    EXPECT_TRUE(delete_link("ioptheirs"));
  }
}

TEST_F(TapDriver, PutsTheHostsEndIntoAnotherNamespace) {
  int ends[2];
  ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    (void)!::write(ends[1], private_netns() ? "y" : "n", 1);
    for (;;) ::pause();
  }
  char said = 0;
  ASSERT_EQ(::read(ends[0], &said, 1), 1);
  ASSERT_EQ(said, 'y');
  ::close(ends[0]);
  ::close(ends[1]);
  const std::string there = "/proc/" + std::to_string(child) + "/ns/net";
  EXPECT_EQ(tap_.open("ifname=iopfar,hostip=10.9.0.1/24,netns=" + there), 0) << tap_.log();
  EXPECT_EQ(tap_.ops().set_mtu(tap_.device(), 1400), 0); /* still reaches it */
  EXPECT_EQ(::if_nametoindex("iopfar"), 0u);
  const int home = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC),
            far = ::open(there.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(::setns(far, CLONE_NEWNET), 0);
  EXPECT_NE(link_flags("iopfar") & IFF_UP, 0);
  EXPECT_EQ(link_mtu("iopfar"), 1400);
  ASSERT_EQ(::setns(home, CLONE_NEWNET), 0);
  ::close(far);
  ::close(home);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
}

TEST_F(TapDriver, AFloodOfOpeningsLeavesTheOthersTheirRoom) {
  ASSERT_EQ(tap_.open("ifname=iopt0"), 0) << tap_.log();
  tap_.ops().start(tap_.device());
  ASSERT_EQ(tap_.info().rx_queues, 2u) << tap_.log();
  EXPECT_EQ(tap_.info().tx_queues, 1u);
  open_host_end("iopt0", false);
  const auto send = [&](const Bytes& f) { return ::send(socket_, f.data(), f.size(), 0) == static_cast<ssize_t>(f.size()); };
  for (const OpeningCase& one : opening_cases()) {
    SCOPED_TRACE(one.what);
    ASSERT_TRUE(send(one.frame));
    EXPECT_EQ(queue_of(tap_, one.frame), one.opens ? 1 : 0);
  }
  // More than any queue of the host's holds.
  for (int i = 0; i < 5000; ++i) (void)send(tcp_frame(i % 2 != 0, 0x02));
  const Bytes ack = tcp_frame(false, 0x10);
  ASSERT_TRUE(send(ack));
  EXPECT_EQ(queue_of(tap_, ack), 0);
  EXPECT_GE(tap_.statistics().rx_dropped, 1000u) << "what found no room is counted";
  EXPECT_GE(tap_.statistics().rx_openings_dropped, 1000u);
  std::uint64_t came = 0;
  for (std::size_t n = 1; n != 0; came += n) n = tap_.receive(1).size();
  EXPECT_EQ(tap_.statistics().rx_openings_dropped, 5000u - came);
  EXPECT_EQ(tap_.statistics().rx_dropped, 5000u - came) << "and nothing else was lost";
}

TEST_F(TapDriver, KnowsStationsThatHaveCompletedHandshakes) {
  ASSERT_EQ(tap_.open("ifname=iopt0"), 0) << tap_.log();
  tap_.ops().start(tap_.device());
  open_host_end("iopt0", false);
  knows_stations(tap_, [&](const Bytes& f) { return ::send(socket_, f.data(), f.size(), 0) == static_cast<ssize_t>(f.size()); });
}

TEST_F(TapDriver, HasAQueuePerShard) {
  ASSERT_EQ(tap_.open("ifname=iopt0", 3), 0) << tap_.log();
  tap_.ops().start(tap_.device());
  EXPECT_EQ(tap_.info().rx_queues, 3u);
  EXPECT_EQ(tap_.info().tx_queues, 3u);
  open_host_end("iopt0", false);
  for (std::uint32_t q = 0; q < 3; ++q) {
    const Bytes sent = test_frame(100 + q);
    ASSERT_EQ(tap_.transmit({plain(sent)}, q), 1);
    EXPECT_EQ(host_receives(0), sent);
  }
}

}  // namespace
}  // namespace iopkt::abi_test
