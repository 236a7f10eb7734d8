// devnp-slirp: the virtual network answers, and a port of the host leads through it. No privilege.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "driver_host.hpp"

namespace iopkt::abi_test {
namespace {

class SlirpDriver : public testing::Test {
 protected:
  static void SetUpTestSuite() { std::signal(SIGPIPE, SIG_IGN); }
  void SetUp() override {
    if (slirp_.driver() == nullptr) GTEST_SKIP() << slirp_.log();
  }
  void TearDown() override { EXPECT_EQ(slirp_.outstanding(), 0); }

  /// An ARP packet (RFC 826) from 10.0.2.15; `op` 1 asks for `target`, 2 answers to it.
  Bytes arp(int op, std::uint8_t target, const std::uint8_t* target_mac) {
    Bytes f(60);
    std::memset(f.data(), 0xff, 6);
    const std::uint8_t head[] = {8, 6, 0, 1, 8, 0, 6, 4, 0, static_cast<std::uint8_t>(op)};
    std::memcpy(f.data() + 12, head, sizeof head);
    std::memcpy(f.data() + 6, slirp_.info().mac, 6);
    std::memcpy(f.data() + 22, slirp_.info().mac, 6);
    const std::uint8_t us[] = {10, 0, 2, 15}, them[] = {10, 0, 2, target};
    std::memcpy(f.data() + 28, us, 4);
    if (target_mac != nullptr) std::memcpy(f.data() + 32, target_mac, 6);
    std::memcpy(f.data() + 38, them, 4);
    return f;
  }
  static bool is_arp(const Frame& f, int op) {
    return f.bytes.size() >= 42 && f.bytes[12] == 8 && f.bytes[13] == 6 && f.bytes[21] == op;
  }

  DriverHost slirp_{"slirp"};
};

TEST_F(SlirpDriver, TheGatewayAnswersArp) {
  ASSERT_EQ(slirp_.open("mac=02aabbccddee"), 0) << slirp_.log();
  EXPECT_EQ(slirp_.prefix(), "en");
  EXPECT_EQ(slirp_.info().mtu, 1500u);
  EXPECT_FALSE(slirp_.wait_readable(0));
  for (const std::uint8_t target : {std::uint8_t{2}, std::uint8_t{3}}) {
    ASSERT_EQ(slirp_.transmit({plain(arp(1, target, nullptr))}, 0, 17), 1); /* in many pieces */
    const Frame answer = slirp_.receive_until([](const Frame& f) { return is_arp(f, 2); });
    ASSERT_GE(answer.bytes.size(), 42u);
    EXPECT_EQ(0, std::memcmp(answer.bytes.data(), slirp_.info().mac, 6));
    EXPECT_EQ(answer.bytes[31], target);
    EXPECT_FALSE(slirp_.wait_readable(0)); /* quiet once everything was taken */
  }
}

TEST_F(SlirpDriver, RefusesWhatItCannotUse) {
  const struct {
    const char *options, *says;
    int answer;
  } rows[] = {
      {"net=10.0.2.0", "net=: not an IPv4 network", -EINVAL},
      {"net=10.0.2.0/29", "net=: the prefix length must be 8..28", -EINVAL},
      {"net=10.0.2.1/24", "net=: bits are set behind the prefix", -EINVAL},
      {"host=10.0.3.2", "host=: not an address of a host in net=", -EINVAL},
      {"host=10.0.2.255", "host=: not an address of a host in net=", -EINVAL},
      {"dns=10.0.2.2", "must differ", -EINVAL},
      {"hostfwd=tcp:80", "hostfwd=: 'tcp:80'", -EINVAL},
      {"hostfwd=tcp::80-:80;udp::0-:1", "hostfwd=: 'udp::0-:1'", -EINVAL},
      {"hostfwd=tcp::65536-:80", "hostfwd=: ", -EINVAL},
      {"hostfwd=tcp::80-10.1.2.3:80", "hostfwd=: ", -EINVAL},
      {"hostfwd=tcp::80-:80;", "hostfwd=: ''", -EINVAL},
      {"mtu=67", "mtu=67: outside 68..65521", -EINVAL},
      {"queue=255", "", -ERANGE},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.options);
    DriverHost slirp{"slirp"};
    EXPECT_EQ(slirp.open(row.options), row.answer) << slirp.log();
    EXPECT_NE(slirp.log().find(row.says), std::string::npos) << slirp.log();
  }
}

TEST_F(SlirpDriver, AForwardedPortThatIsTakenEndsTheStart) {
  const int s = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(s, reinterpret_cast<sockaddr*>(&in), sizeof in), 0);
  ASSERT_EQ(::listen(s, 1), 0);
  socklen_t len = sizeof in;
  ASSERT_EQ(::getsockname(s, reinterpret_cast<sockaddr*>(&in), &len), 0);
  EXPECT_EQ(slirp_.open("hostfwd=tcp::" + std::to_string(ntohs(in.sin_port)) + "-:80"), -EADDRINUSE);
  EXPECT_NE(slirp_.log().find("hostfwd=: tcp port"), std::string::npos) << slirp_.log();
  ::close(s);
}

TEST_F(SlirpDriver, AConnectionToTheHostArrivesAndItsDataComesBack) {
  // The host's server: what 10.0.2.2 is.
  const int server = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(server, reinterpret_cast<sockaddr*>(&in), sizeof in), 0);
  socklen_t len = sizeof in;
  ASSERT_EQ(::getsockname(server, reinterpret_cast<sockaddr*>(&in), &len), 0);
  ASSERT_EQ(slirp_.open(""), 0) << slirp_.log();
  ASSERT_EQ(slirp_.transmit({plain(arp(1, 2, nullptr))}), 1);
  const Frame gateway = slirp_.receive_until([](const Frame& f) { return is_arp(f, 2); });
  ASSERT_GE(gateway.bytes.size(), 42u);

  Bytes udp = ip_frame(gateway.bytes.data() + 6, slirp_.info().mac, 17, 700);
  const std::uint8_t from_to[] = {10, 0, 2, 15, 10, 0, 2, 2};
  std::memcpy(udp.data() + 26, from_to, 8);
  std::memcpy(udp.data() + 36, &in.sin_port, 2);
  udp[40] = udp[41] = 0; /* no UDP checksum */
  udp[24] = udp[25] = 0;
  unsigned sum = 0;
  for (int i = 14; i < 34; i += 2)
    sum +=
        static_cast<unsigned>(udp[static_cast<std::size_t>(i)] << 8 | udp[static_cast<std::size_t>(i) + 1]);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
  udp[24] = static_cast<std::uint8_t>(sum >> 8);
  udp[25] = static_cast<std::uint8_t>(sum);
  ASSERT_EQ(slirp_.transmit({plain(udp)}), 1);

  pollfd p{server, POLLIN, 0};
  ASSERT_EQ(::poll(&p, 1, 10000), 1);
  std::uint8_t data[2000];
  sockaddr_in peer{};
  len = sizeof peer;
  ASSERT_EQ(::recvfrom(server, data, sizeof data, 0, reinterpret_cast<sockaddr*>(&peer), &len), 700);
  EXPECT_EQ(0, std::memcmp(data, udp.data() + 42, 700));
  ASSERT_EQ(::sendto(server, data, 300, 0, reinterpret_cast<sockaddr*>(&peer), len), 300);
  const Frame back = slirp_.receive_until(
      [](const Frame& f) { return f.bytes.size() >= 342 && f.bytes[12] == 8 && f.bytes[13] == 0; });
  ASSERT_EQ(back.bytes.size(), 342u);
  EXPECT_EQ(0, std::memcmp(back.bytes.data() + 42, data, 300));
  EXPECT_EQ(slirp_.statistics().tx_errors + slirp_.statistics().rx_dropped, 0u);
  ::close(server);
}

TEST_F(SlirpDriver, AForwardedPortBringsConnectionsToTheStack) {
  // A port that is free: taken, noted, given back.
  const int probe = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(probe, reinterpret_cast<sockaddr*>(&in), sizeof in), 0);
  socklen_t len = sizeof in;
  ASSERT_EQ(::getsockname(probe, reinterpret_cast<sockaddr*>(&in), &len), 0);
  ::close(probe);
  ASSERT_EQ(slirp_.open("hostfwd=tcp::" + std::to_string(ntohs(in.sin_port)) + "-:80"), 0) << slirp_.log();

  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&in), sizeof in),
            0); /* slirp accepts, then asks the stack */
  const Frame who = slirp_.receive_until([](const Frame& f) { return is_arp(f, 1); });
  ASSERT_GE(who.bytes.size(), 42u);
  EXPECT_EQ(who.bytes[41], 15);
  ASSERT_EQ(slirp_.transmit({plain(arp(2, 2, who.bytes.data() + 6))}), 1);
  const Frame syn = slirp_.receive_until(
      [](const Frame& f) { return f.bytes.size() >= 54 && f.bytes[12] == 8 && f.bytes[13] == 0; });
  ASSERT_GE(syn.bytes.size(), 54u);
  EXPECT_EQ(syn.bytes[23], IPPROTO_TCP);
  EXPECT_EQ(syn.bytes[37], 80);
  EXPECT_EQ(syn.bytes[47], 0x02); /* SYN alone */
  EXPECT_EQ(0, std::memcmp(syn.bytes.data(), slirp_.info().mac, 6));
  ::close(client);
}

TEST_F(SlirpDriver, RefusesFramesThatItNeverOffered) {
  ASSERT_EQ(slirp_.open(""), 0) << slirp_.log();
  Frame sum = plain(arp(1, 2, nullptr));
  sum.meta.flags = IOPKT_CSUM_NEEDED;
  EXPECT_EQ(slirp_.transmit({sum, plain({}), plain(Bytes(13)), plain(Bytes(1515))}), 4);
  EXPECT_EQ(slirp_.statistics().tx_errors, 4u);
  EXPECT_EQ(slirp_.ops().set_mtu(slirp_.device(), 1500), 0);
  EXPECT_EQ(slirp_.ops().set_mtu(slirp_.device(), 9000), -EOPNOTSUPP);
}

}  // namespace
}  // namespace iopkt::abi_test
