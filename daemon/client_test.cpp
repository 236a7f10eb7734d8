// Bounds of a client: what it may hold is counted where it is given out, also by several threads at once.
#include "client.hpp"

#include <gtest/gtest.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "client_address.hpp"
#include "complaints.hpp"
#include "descriptors.hpp"

namespace iopkt::daemon {
namespace {

TEST(Bounded, NeverAboveItsBoundAlsoWithManyThreads) {
  Bounded count;
  constexpr std::uint64_t kMost = 50;
  std::atomic<bool> above{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 20000; ++i) {
        if (!count.take(20, kMost)) continue;
        if (count.used() > kMost) above = true;
        count.give(20);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_FALSE(above);
  EXPECT_EQ(count.used(), 0u);
  EXPECT_FALSE(count.take(~std::uint64_t{0}, kMost));
  EXPECT_TRUE(count.take(kMost, kMost));
  EXPECT_FALSE(count.take(1, kMost));
}

TEST(DescriptorBudget, NobodyTakesTheLastOnesFromOthers) {
  DescriptorBudget budget;
  budget.set_limit(1000);
  EXPECT_EQ(budget.most(), 750u);
  const auto user = budget.share(1000, false), root = budget.share(0, true);
  EXPECT_EQ(budget.share(1000, false), user);
  DescriptorCharge greedy, other;
  EXPECT_FALSE(greedy.take(user, 600));
  EXPECT_TRUE(greedy.take(user, 563));
  EXPECT_FALSE(greedy.take(user, 1));
  EXPECT_FALSE(other.take(root, 188));
  EXPECT_TRUE(other.take(root, 187));
  EXPECT_EQ(budget.used(), 750u);
  greedy.give(3);
  EXPECT_TRUE(other.take(root, 3));
  greedy.drop();
  other.drop();
  EXPECT_EQ(budget.used(), 0u);
  EXPECT_FALSE(other);
}

TEST(ClientArenas, AreCountedAsDescriptors) {
  DescriptorBudget budget;
  budget.set_limit(8);
  const auto client = Client::make(7, 1, {}, 1, 0, {});
  client->share = budget.share(0, true);
  for (std::uint64_t n = 0; n < budget.most(); ++n) EXPECT_TRUE(client->add_arena(0));
  EXPECT_FALSE(client->add_arena(0));
  EXPECT_EQ(client->arenas.used(), budget.most());
}

TEST(ClientArenas, GrowAndStopAtTheQuota) {
  const auto client = Client::make(7, 1, {}, 2, 0, {.sockets = 10, .arenas = 3, .ring_bytes = 1});
  ASSERT_TRUE(client);
  const auto first = client->add_arena(0), second = client->add_arena(0), other = client->add_arena(1);
  ASSERT_TRUE(first && second && other);
  EXPECT_GT(second->slot_count, first->slot_count);
  EXPECT_EQ(other->slot_count, first->slot_count);
  EXPECT_FALSE(client->add_arena(0));
  EXPECT_EQ(client->arenas.used(), 3u);
  // The numbers that doorbells carry do not overlap.
  EXPECT_GE(second->first_slot, first->first_slot + first->slot_count);
  EXPECT_GE(other->first_slot, second->first_slot + second->slot_count);
  EXPECT_EQ(client->arena(second->id), second);
  EXPECT_EQ(client->arena(99), nullptr);
}

TEST(ListenerEntry, ItsPipeOutlivesTheEndThatItWasMadeFrom) {
  int ends[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  Fd ours{ends[0]}, program{ends[1]};
  ListenerEntry entry{1, 0, nullptr};
  EXPECT_EQ(entry.pipe(), -1);
  ASSERT_EQ(entry.open_pipe(ours.get()), 0);
  ours.reset();
  EXPECT_EQ(shown_by(entry.pipe()), 0u);
  const Fd copy{::dup(program.get())};
  program.reset();
  EXPECT_EQ(shown_by(entry.pipe()), 0u) << "somebody else still holds the listener";
  EXPECT_EQ(::close(::dup(copy.get())), 0);
  EXPECT_EQ(shown_by(entry.pipe()), 0u);
  EXPECT_EQ(ListenerEntry(2, 0, nullptr).open_pipe(-1), EBADF);
}

TEST(ProgramAddress, ReadsWhatTheHostReads) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  in.sin_port = htons(80);
  in.sin_addr.s_addr = htonl(0x0a000001);
  const auto read = [&](std::size_t n, AddressUse use = AddressUse::connect, int domain = AF_INET, int type = SOCK_STREAM) {
    return read_address(as_bytes(&in, n), use, domain, type);
  };
  const auto good = read(sizeof in);
  ASSERT_TRUE(good);
  const wire::Endpoint meant{wire::Ipv4Address{0x0a000001}, wire::Port{80}};
  EXPECT_EQ(good->endpoint, meant);
  EXPECT_EQ(read(sizeof in - 1).error(), EINVAL);
  EXPECT_EQ(read(1).error(), EINVAL);
  EXPECT_EQ(read(0).error(), EINVAL);
  EXPECT_EQ(read(sizeof in, AddressUse::connect, AF_INET6).error(), EINVAL) << "shorter than any of AF_INET6";
  EXPECT_EQ(read(sizeof in, AddressUse::bind, AF_INET6, SOCK_DGRAM).error(), EINVAL);
  ASSERT_TRUE(read(sizeof in, AddressUse::connect, AF_INET6, SOCK_DGRAM)) << "datagrams of a dual socket may go there";
  EXPECT_EQ(read(sizeof in, AddressUse::connect, AF_INET6, SOCK_DGRAM)->endpoint, meant);
  in.sin_family = AF_UNSPEC;
  EXPECT_TRUE(read(sizeof in)->unspecified_family);
  EXPECT_EQ(read(sizeof in, AddressUse::bind).error(), EAFNOSUPPORT) << "bind: only the wildcard passes for AF_INET";
  in.sin_addr.s_addr = 0;
  EXPECT_TRUE(read(sizeof in, AddressUse::bind));
  in.sin_family = AF_INET6;
  EXPECT_EQ(read(sizeof in).error(), EAFNOSUPPORT);
}

TEST(ProgramAddress, ReadsAndWritesThoseOfIpv6) {
  sockaddr_in6 in{};
  in.sin6_family = AF_INET6;
  in.sin6_port = htons(80);
  in.sin6_scope_id = 3;
  const auto read = [&](std::string_view text, std::size_t n = sizeof in, int domain = AF_INET6) {
    const auto address = wire::Ipv6Address::parse(text)->bytes;
    std::memcpy(in.sin6_addr.s6_addr, address.data(), address.size());
    return read_address(as_bytes(&in, n), AddressUse::bind, domain, SOCK_STREAM);
  };
  const auto endpoint = [](const char* text) { return wire::Endpoint{*wire::IpAddress::parse(text), wire::Port{80}}; };
  EXPECT_EQ(read("2001:db8::1")->endpoint, endpoint("2001:db8::1")) << "a scope where none belongs is passed over";
  EXPECT_EQ(read("fe80::1")->endpoint, endpoint("fe80::1%3"));
  EXPECT_EQ(read("fe80::1", 24)->endpoint.address.zone(), 0u) << "RFC 2133's has no scope";
  EXPECT_EQ(read("::ffff:10.0.0.1")->endpoint, endpoint("10.0.0.1"));
  EXPECT_EQ(read("::1", 23).error(), EINVAL);
  EXPECT_EQ(read("::1", sizeof in, AF_INET).error(), EAFNOSUPPORT);
  for (const char* text : {"2001:db8::1", "fe80::1%3", "10.0.0.1"}) {
    std::array<std::byte, 32> out{};
    const std::size_t length = write_address(endpoint(text), AF_INET6, out);
    EXPECT_EQ(length, sizeof in);
    EXPECT_EQ(read_address(std::span{out}.first(length), AddressUse::bind, AF_INET6, SOCK_STREAM)->endpoint, endpoint(text));
  }
  in.sin6_scope_id = 1u << 24;
  EXPECT_EQ(read("fe80::1").error(), ENODEV);
}

TEST(SharedEndpoint, SurvivesBothWays) {
  const wire::Endpoint v4{wire::Ipv4Address{0x01020304}, wire::Port{65535}};
  wire::Ipv6Address six{};
  for (std::size_t i = 0; i < 16; ++i) six.bytes[i] = static_cast<std::uint8_t>(i * 17);
  const wire::Endpoint v6{six, wire::Port{1}}, zoned{*wire::IpAddress::parse("fe80::1%7"), wire::Port{1}};
  for (const wire::Endpoint& endpoint : {v4, v6, zoned}) EXPECT_EQ(from_shared(to_shared(endpoint)), endpoint);
  EXPECT_FALSE(from_shared({}));
  ipc::SharedEndpoint mapped{};
  mapped.family = AF_INET6;
  mapped.port = 7;
  mapped.addr[10] = mapped.addr[11] = 0xff;
  mapped.addr[12] = 10;
  mapped.addr[15] = 1;
  EXPECT_EQ(from_shared(mapped), (wire::Endpoint{wire::Ipv4Address{0x0a000001}, wire::Port{7}})) << "never on the wire of IPv6";
  ipc::SharedEndpoint beyond = to_shared(zoned);
  beyond.scope = 1u << 24;
  EXPECT_FALSE(from_shared(beyond));
}

/// A sender may have executed a set-user-ID program since it sent: what its process is by now gives it nothing.
TEST(Sender, MayDoWhatItMightWhenItSent) {
  const pid_t self = ::getpid();
  const uid_t user = ::getuid();
  EXPECT_TRUE(may({.pid = self, .user = user, .group = 0, .privileged = true}, CAP_NET_ADMIN));
  EXPECT_FALSE(may({.pid = self, .user = user + 1, .group = 0, .privileged = false}, CAP_NET_ADMIN)) << "was another user";
  EXPECT_FALSE(may({.pid = self, .user = user, .group = 0, .privileged = false}, CAP_NET_RAW)) << "through another one's connection";
  EXPECT_TRUE(may({.pid = 0, .user = 0, .group = 0, .privileged = true}, CAP_NET_RAW)) << "cannot be looked at";
  EXPECT_FALSE(may({.pid = 0, .user = 1, .group = 0, .privileged = false}, CAP_NET_RAW));
}

TEST(Complaints, AreBoundedAndSayHowManyWereLeftOut) {
  struct Sink final : LogSink {
    void write(LogLevel, std::string_view line) override { lines.emplace_back(line); }
    std::vector<std::string> lines;
  } sink;
  Complaints complaints{sink};
  for (int i = 0; i < 1000; ++i) complaints.write("x");
  EXPECT_GE(sink.lines.size(), 10u);
  EXPECT_LT(sink.lines.size(), 30u);
}

}  // namespace
}  // namespace iopkt::daemon
