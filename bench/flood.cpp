// Sends SYNs from ever new addresses and ports that never answer, out of a packet socket.
//
//   flood INTERFACE THEIR_MAC THEIR_ADDRESS PORT SECONDS PER_SECOND     PER_SECOND 0: as fast as it can
//
// Sources are 198.18.0.0/15 (RFC 2544: for measuring). Prints "sent=N rate=PER_SECOND refused=N": refused is what the link did
// not take. One thread.
#include <arpa/inet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netpacket/packet.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>

namespace {

constexpr unsigned kAtOnce = 32;

[[noreturn]] void fail(const char* what) {
  std::perror(what);
  std::exit(1);
}

struct __attribute__((packed)) Frame {
  ether_header ethernet;
  iphdr ip;
  tcphdr tcp;
  std::uint8_t options[4];  // MSS, as every host sends it
};

std::uint16_t checksum(std::uint32_t sum, const void* data, std::size_t size) {
  std::array<std::uint16_t, 32> words{};
  std::memcpy(words.data(), data, size);
  for (std::size_t i = 0; i < (size + 1) / 2; ++i) sum += words[i];
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum);
}

Frame prototype(const char* mac, const char* address, const char* port) {
  Frame f{};
  unsigned m[6];
  if (std::sscanf(mac, "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]) != 6) fail(mac);
  for (int i = 0; i < 6; ++i) f.ethernet.ether_dhost[i] = static_cast<std::uint8_t>(m[i]);
  f.ethernet.ether_shost[0] = 2;
  f.ethernet.ether_shost[5] = 0x99;
  f.ethernet.ether_type = htons(ETHERTYPE_IP);
  f.ip.version = 4;
  f.ip.ihl = 5;
  f.ip.tot_len = htons(sizeof f.ip + sizeof f.tcp + sizeof f.options);
  f.ip.ttl = 64;
  f.ip.protocol = IPPROTO_TCP;
  if (inet_pton(AF_INET, address, &f.ip.daddr) != 1) fail(address);
  f.tcp.dest = htons(static_cast<std::uint16_t>(std::atoi(port)));
  f.tcp.doff = 6;
  f.tcp.syn = 1;
  f.tcp.window = 0xffff;
  const std::uint8_t mss[] = {2, 4, 1460 >> 8, 1460 & 0xff};
  std::memcpy(f.options, mss, sizeof mss);
  return f;
}

void make_new(Frame& f, std::minstd_rand& random) {
  const auto a = static_cast<std::uint32_t>(random());
  const auto b = static_cast<std::uint32_t>(random());
  f.ip.saddr = htonl(0xc6120000 | (a & 0x1ffff));
  f.ip.id = static_cast<std::uint16_t>(b);
  f.ip.check = 0;
  f.ip.check = checksum(0, &f.ip, sizeof f.ip);
  f.tcp.source = htons(static_cast<std::uint16_t>(1024 + b % 64512));
  f.tcp.seq = a ^ b << 7;
  f.tcp.check = 0;
  const std::uint32_t pseudo = (f.ip.saddr & 0xffff) + (f.ip.saddr >> 16) + (f.ip.daddr & 0xffff) + (f.ip.daddr >> 16) +
                               htons(IPPROTO_TCP) + htons(sizeof f.tcp + sizeof f.options);
  f.tcp.check = checksum(pseudo, &f.tcp, sizeof f.tcp + sizeof f.options);
}

double now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fputs("usage: flood INTERFACE THEIR_MAC THEIR_ADDRESS PORT SECONDS PER_SECOND\n", stderr);
    return 2;
  }
  const double seconds = std::atof(argv[5]), rate = std::atof(argv[6]);
  const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);  // protocol 0: it hears nothing
  if (fd < 0) fail("socket");
  sockaddr_ll to{};
  to.sll_family = AF_PACKET;
  to.sll_ifindex = static_cast<int>(if_nametoindex(argv[1]));
  if (to.sll_ifindex == 0) fail(argv[1]);
  if (bind(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) < 0) fail("bind");

  std::minstd_rand random(1);
  std::array<Frame, kAtOnce> frames;
  std::array<iovec, kAtOnce> parts{};
  std::array<mmsghdr, kAtOnce> messages{};
  frames.fill(prototype(argv[2], argv[3], argv[4]));
  for (unsigned i = 0; i < kAtOnce; ++i) {
    parts[i] = {&frames[i], sizeof frames[i]};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  std::uint64_t sent = 0, refused = 0;
  const double start = now();
  double at = start;
  for (; at - start < seconds; at = now()) {
    if (rate > 0 && static_cast<double>(sent + refused) > (at - start) * rate) {
      usleep(200);
      continue;
    }
    for (Frame& f : frames) make_new(f, random);
    const int n = sendmmsg(fd, messages.data(), kAtOnce, 0);
    if (n < 0 && errno != ENOBUFS && errno != EAGAIN) fail("sendmmsg");
    sent += n < 0 ? 0 : static_cast<unsigned>(n);
    refused += n < 0 ? kAtOnce : kAtOnce - static_cast<unsigned>(n);
  }
  std::printf("sent=%llu rate=%.0f refused=%llu\n", static_cast<unsigned long long>(sent), static_cast<double>(sent) / (at - start),
              static_cast<unsigned long long>(refused));
}
