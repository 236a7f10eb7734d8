// Streams over bad wires between whole stacks: what is sent arrives, nothing leaks, equal seeds give equal traces.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "socket/numbers.hpp"
#include "tests/support/sim_net.hpp"

namespace iopkt::sim {
namespace {

using wire::Endpoint;
using wire::Ipv4Address;
using wire::Port;

Endpoint at(const Host& host, std::uint16_t port) { return {host.address(), Port{port}}; }

struct Outcome {
  std::uint64_t trace;
  bool intact;
};

/// Both directions at once between two hosts, each side a stream of its own.
void exchange(std::uint64_t seed, std::uint32_t shards, const Impairment& bad, std::size_t bytes, std::uint64_t* trace) {
  SCOPED_TRACE("seed " + std::to_string(seed) + ", shards " + std::to_string(shards));
  SimNet net{seed};
  Host& client = net.host("10.0.0.1/24", {.shards = shards});
  Host& server = net.host("10.0.0.2/24", {.shards = shards});
  net.wire({&client, &server}, bad);
  const auto up = net.random_bytes(bytes), down = net.random_bytes(bytes);
  Host::Stream* accepted = nullptr;
  server.listen(Port{7}, [&](Host::Stream& s) {
    accepted = &s;
    s.to_send = down;
    s.shutdown_after_send = true;
  });
  Host::Stream* opened = &client.connect(at(server, 7));
  // On such a wire even ARP can lose every try: the program connects again.
  const auto settled = [&] { return opened->connected || opened->failed; };
  for (int tries = 0; tries < 10; ++tries) {
    ASSERT_TRUE(net.run_until(settled, 300s)) << net.trace();
    if (opened->connected) break;
    ASSERT_EQ(opened->error, socket::Errno::hostunreach) << net.trace();
    opened->close();
    net.run_for(5s);
    opened = &client.connect(at(server, 7));
  }
  Host::Stream& stream = *opened;
  stream.to_send = up;
  stream.shutdown_after_send = true;
  ASSERT_TRUE(net.run_until([&] { return stream.peer_fin && accepted != nullptr && accepted->peer_fin; }, 600s)) << net.trace();
  EXPECT_EQ(accepted->received, up);
  EXPECT_EQ(stream.received, down);
  stream.close();
  accepted->close();
  ASSERT_TRUE(net.run_until([&] { return stream.released && accepted->released; }, 300s)) << net.trace();
  net.run_for(200s);  // TIME-WAIT, what the wire still holds
  EXPECT_EQ(client.packets_held() + server.packets_held(), 0u) << net.trace();
  EXPECT_EQ(client.sockets(), 0u);
  EXPECT_EQ(server.sockets(), 1u);  // the listener
  if (trace != nullptr) *trace = net.trace_hash();
}

TEST(SimTransfer, ArrivesOverAGoodWire) {
  for (const std::uint32_t shards : {1u, 2u}) exchange(1, shards, {}, 300'000, nullptr);
}

TEST(SimTransfer, ManyConnectionsThatSendAndEndTogetherLoseNothingAtTheDevice) {
  constexpr std::size_t kCount = 4000;
  SimNet net{7};
  net.tracing = false;
  Host& client = net.host("10.0.0.1/24", {.ring = 4096});
  Host& server = net.host("10.0.0.2/24", {.ring = 4096});
  net.wire({&client, &server}, {.delay = 5ms});
  std::vector<Host::Stream*> accepted, opened;
  server.listen(Port{7}, [&](Host::Stream& s) { accepted.push_back(&s); }, 512);
  while (opened.size() < kCount) {
    for (int i = 0; i < 250; ++i) opened.push_back(&client.connect(at(server, 7)));
    ASSERT_TRUE(net.run_until([&] { return accepted.size() == opened.size(); }, 60s));
  }
  const auto all = [&](std::size_t bytes) {
    return std::all_of(accepted.begin(), accepted.end(), [&](const Host::Stream* s) { return s->received.size() == bytes; });
  };
  for (const bool lost : {false, true}) {
    for (Host::Stream* s : opened) s->to_send.push_back(std::byte{1});
    // What is lost is sent again by timers that expire together.
    net.tap = [&](const Host& from, Frame&) { return !lost || &from != &client; };
    net.run_for(50ms);
    net.tap = nullptr;
    ASSERT_TRUE(net.run_until([&] { return all(lost ? 2 : 1); }, 10s));
  }
  for (const Host::Stream* s : opened) ASSERT_EQ(client.shard(0).disconnect(s->id), socket::Errno::ok);
  net.run_for(1s);
  EXPECT_TRUE(std::ranges::all_of(accepted, [](const Host::Stream* s) { return s->error == socket::Errno::connreset; }));
  EXPECT_EQ(client.drops(packet::Drop::link_queue_full), 0u);
}

/// A slow device takes 32 frames a turn; whole first windows wait for it, and more.
TEST(SimTransfer, ManyConnectionsLoseNothingAtASlowDevice) {
  constexpr std::size_t kCount = 400, kBytes = 20'000;
  SimNet net{8};
  net.tracing = false;
  Host& client = net.host("10.0.0.1/24");
  Host& server = net.host("10.0.0.2/24");
  net.wire({&client, &server}, {.delay = 5ms});
  std::vector<Host::Stream*> accepted;
  server.listen(Port{7}, [&](Host::Stream& s) { accepted.push_back(&s); }, 512);
  std::vector<Host::Stream*> opened;
  for (std::size_t i = 0; i < kCount; ++i) opened.push_back(&client.connect(at(server, 7)));
  ASSERT_TRUE(net.run_until([&] { return accepted.size() == kCount; }, 60s));
  client.device_room = 32;
  for (Host::Stream* s : opened) s->to_send.resize(kBytes);
  const auto all = [&] {
    return std::all_of(accepted.begin(), accepted.end(), [&](const Host::Stream* s) { return s->received.size() == kBytes; });
  };
  ASSERT_TRUE(net.run_until(all, 60s));
  EXPECT_EQ(client.drops(packet::Drop::link_queue_full), 0u);
}

/// The acknowledgment of the peer's FIN is a connection's last word: it goes into the queue although there is no room for others.
TEST(SimTransfer, TheLastWordDoesNotWait) {
  SimNet net{9};
  Host& client = net.host("10.0.0.1/24");
  Host& server = net.host("10.0.0.2/24");
  net.wire({&client, &server}, {.delay = 5ms});
  std::vector<Host::Stream*> accepted, opened;
  server.listen(Port{7}, [&](Host::Stream& s) { accepted.push_back(&s); }, 2048);
  for (std::size_t i = 0; i < 1200; ++i) opened.push_back(&client.connect(at(server, 7)));
  ASSERT_TRUE(net.run_until([&] { return accepted.size() == opened.size(); }, 60s));
  Host::Stream& ending = *opened[0];
  ending.shutdown(1);
  ASSERT_TRUE(net.run_until([&] { return std::ranges::any_of(accepted, [](const Host::Stream* s) { return s->peer_fin; }); }, 1s));
  client.device_room = 0;
  for (Host::Stream* s : opened)
    if (s != &ending) s->to_send.resize(20'000);
  net.run_for(10ms);
  (*std::ranges::find_if(accepted, [](const Host::Stream* s) { return s->peer_fin; }))->close();
  net.run_for(50ms);
  ASSERT_TRUE(ending.peer_fin);
  client.device_room = SIZE_MAX;
  int fins = 0;
  net.tap = [&](const Host& from, Frame& frame) {
    constexpr std::size_t kFlags = 14 + 20 + 13;
    if (&from == &server && frame.size() > kFlags && (frame[kFlags] & std::byte{1}) != std::byte{}) ++fins;
    return true;
  };
  net.run_for(5s);
  EXPECT_EQ(fins, 0) << "sent again";
}

TEST(SimTransfer, SameSeedSameTrace) {
  const Impairment bad{.delay = 20ms, .loss = 0.05, .duplicate = 0.01, .reorder = 0.02, .corrupt = 0.01};
  for (const std::uint32_t shards : {1u, 2u}) {
    std::uint64_t first = 0, second = 0, other = 0;
    exchange(7, shards, bad, 30'000, &first);
    exchange(7, shards, bad, 30'000, &second);
    exchange(8, shards, bad, 30'000, &other);
    EXPECT_EQ(first, second);
    EXPECT_NE(first, other);
  }
}

TEST(SimTransfer, SurvivesABadWire) {
  // IOPKT_SIM_SEEDS: how many; the long run is scripts/soak.
  const char* wanted = std::getenv("IOPKT_SIM_SEEDS");
  const std::uint64_t seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 100;
  for (std::uint64_t seed = 1; seed <= seeds && !testing::Test::HasFailure(); ++seed) {
    Random vary{seed};
    const Impairment bad{.delay = Duration{static_cast<std::int64_t>(vary.below(50'000'000)) + 100'000},
                         .loss = static_cast<double>(vary.below(10)) / 100,
                         .duplicate = static_cast<double>(vary.below(3)) / 100,
                         .reorder = static_cast<double>(vary.below(10)) / 100,
                         .corrupt = static_cast<double>(vary.below(3)) / 100,
                         .rate_bps = vary.chance(0.5) ? 10'000'000 : 0ull};
    exchange(seed, 1 + static_cast<std::uint32_t>(seed % 2), bad, 1 + vary.below(60'000), nullptr);
  }
}

/// Three hosts on one wire, every pair talks at once, each host with its own number of shards.
void everybody(std::uint64_t seed, const Impairment& bad, std::size_t bytes, std::uint64_t* trace) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  SimNet net{seed};
  Host* hosts[] = {&net.host("10.0.0.1/24", {.shards = 1}), &net.host("10.0.0.2/24", {.shards = 2}),
                   &net.host("10.0.0.3/24", {.shards = 1 + static_cast<std::uint32_t>(seed % 3)})};
  net.wire({hosts[0], hosts[1], hosts[2]}, bad);
  // Each server gives back what it gets, in one stream per client.
  std::vector<Host::Stream*> echoes;
  for (Host* host : hosts)
    host->listen(Port{7}, [&](Host::Stream& s) { echoes.push_back(&s); });
  const auto echo = [&] {
    for (Host::Stream* s : echoes) {
      if (s->to_send.size() < s->received.size())
        s->to_send.insert(s->to_send.end(), s->received.begin() + static_cast<std::ptrdiff_t>(s->to_send.size()), s->received.end());
      if (s->peer_fin && s->receive_head == s->receive_tail && !s->closed) s->close_after_send = true;
    }
  };
  struct Talk {
    Host* from;
    Host* to;
    std::vector<std::byte> data;
    Host::Stream* stream;
  };
  std::vector<Talk> talks;
  for (Host* from : hosts)
    for (Host* to : hosts)
      if (from != to) talks.push_back({from, to, net.random_bytes(bytes), nullptr});
  const auto start = [&](Talk& t) {
    t.stream = &t.from->connect(at(*t.to, 7), static_cast<std::uint32_t>(seed) % t.from->stack().shard_count());
    t.stream->to_send = t.data;
    t.stream->shutdown_after_send = true;
  };
  for (Talk& t : talks) start(t);
  const bool finished = net.run_until(
      [&] {
        echo();
        bool all = true;
        for (Talk& t : talks) {
          if (t.stream->failed && t.stream->error == socket::Errno::hostunreach && !t.stream->connected) t.stream->close(), start(t);
          all &= t.stream->peer_fin;
        }
        return all;
      },
      1200s);
  for (const Talk& t : talks)
    ASSERT_TRUE(finished || t.stream->peer_fin)
        << t.from->name() << " to " << t.to->name() << " got " << t.stream->received.size() << " of " << t.data.size() << " errno "
        << static_cast<int>(t.stream->error) << '\n' << net.trace();
  for (Talk& t : talks) EXPECT_EQ(t.stream->received, t.data) << net.trace();
  for (Talk& t : talks) t.stream->close();
  net.run_for(300s);
  for (Host* host : hosts) {
    EXPECT_EQ(host->packets_held(), 0u) << net.trace();
    EXPECT_EQ(host->sockets(), 1u) << net.trace();
  }
  if (trace != nullptr) *trace = net.trace_hash();
}

TEST(SimTransfer, ThreeHostsEverybodyWithEverybody) {
  const char* wanted = std::getenv("IOPKT_SIM_SEEDS");
  const std::uint64_t seeds = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 50;
  for (std::uint64_t seed = 1; seed <= seeds && !testing::Test::HasFailure(); ++seed) {
    Random vary{~seed};
    const Impairment bad{.delay = Duration{static_cast<std::int64_t>(vary.below(20'000'000)) + 100'000},
                         .loss = static_cast<double>(vary.below(8)) / 100,
                         .duplicate = static_cast<double>(vary.below(3)) / 100,
                         .reorder = static_cast<double>(vary.below(10)) / 100,
                         .corrupt = static_cast<double>(vary.below(3)) / 100};
    std::uint64_t first = 0, second = 0;
    everybody(seed, bad, 1 + vary.below(20'000), &first);
    if (seed % 10 != 0 || testing::Test::HasFailure()) continue;
    Random again{~seed};
    for (int i = 0; i < 5; ++i) static_cast<void>(again.next());
    everybody(seed, bad, 1 + again.below(20'000), &second);
    EXPECT_EQ(first, second);
  }
}

/// Connections that the server closed first, all within the 60 s of a TIME-WAIT. IOPKT_SIM_TIME_WAITS: how many; scripts/soak
/// makes a million.
TEST(SimConnect, ManyTimeWaits) {
  constexpr std::size_t kTogether = 200, kOfAPort = 14'000;
  const char* wanted = std::getenv("IOPKT_SIM_TIME_WAITS");
  const std::size_t count = wanted != nullptr ? std::strtoull(wanted, nullptr, 10) : 30'000;
  SimNet net{9};
  net.tracing = false;
  Host& client = net.host("10.0.0.1/24", {.ring = 1024});
  Host& server = net.host("10.0.0.2/24", {.ring = 1024});
  net.wire({&client, &server}, {});
  std::vector<Host::Stream*> both;
  std::vector<std::byte> answer;
  const auto listen_on = [&](std::uint16_t port) {
    server.listen(Port{port}, [&](Host::Stream& s) {
      both.push_back(&s);
      s.to_send = answer;
      s.close_after_send = true;
    }, kTogether);
  };
  for (std::size_t made = 0; made < count; made += kTogether) {
    const auto port = static_cast<std::uint16_t>(1000 + made / kOfAPort);
    if (made % kOfAPort == 0) listen_on(port);
    both.clear();
    for (std::size_t i = 0; i < kTogether; ++i) {
      // One of its own for each: the table of the server is to have them all.
      Host::Stream& s = client.stream();
      const auto own = static_cast<std::uint16_t>(2000 + made % kOfAPort + i);
      ASSERT_EQ(client.shard(0).bind(s.id, at(client, own), true), socket::Errno::ok);
      client.connect(s, at(server, port));
      both.push_back(&s);
    }
    const auto each = [&](auto is) { return std::all_of(both.begin(), both.end(), is); };
    ASSERT_TRUE(net.run_until([&] { return both.size() == 2 * kTogether && each([](auto* s) { return s->peer_fin || s->closed; }); }, 10s));
    for (Host::Stream* s : both) s->close();
    ASSERT_TRUE(net.run_until([&] { return each([](auto* s) { return s->released; }); }, 10s));
    client.forget_released();
    server.forget_released();
  }
  const auto in_time_wait = [&] {
    std::vector<stack::SocketSummary> all;
    server.shard(0).list_sockets(all);
    return static_cast<std::size_t>(std::ranges::count_if(all, [](const auto& one) { return one.state == "TIME_WAIT"; }));
  };
  EXPECT_EQ(in_time_wait(), (count + kTogether - 1) / kTogether * kTogether);
  EXPECT_EQ(server.tcp_counters().time_wait_left_out, 0u);
  answer = net.random_bytes(100'000);
  listen_on(9999);
  Host::Stream& another = client.connect(at(server, 9999));
  ASSERT_TRUE(net.run_until([&] { return another.peer_fin; }, 10s));
  EXPECT_EQ(another.received, answer);
  another.close();
  net.run_for(61s);
  EXPECT_EQ(in_time_wait(), 0u);
}

TEST(SimConnect, RefusedByAClosedPort) {
  SimNet net{3};
  Host& client = net.host("10.0.0.1/24");
  Host& server = net.host("10.0.0.2/24");
  net.wire({&client, &server}, {});
  Host::Stream& stream = client.connect(at(server, 9));
  ASSERT_TRUE(net.run_until([&] { return stream.failed; }, 10s)) << net.trace();
  EXPECT_EQ(stream.error, socket::Errno::connrefused);
}

TEST(SimConnect, UnreachableNeighbour) {
  SimNet net{3};
  Host& client = net.host("10.0.0.1/24");
  net.wire({&client}, {});
  Host::Stream& stream = client.connect({Ipv4Address{10, 0, 0, 77}, Port{9}});
  ASSERT_TRUE(net.run_until([&] { return stream.failed; }, 60s)) << net.trace();
  EXPECT_EQ(stream.error, socket::Errno::hostunreach);
}

TEST(SimLoopback, StreamToOneself) {
  for (const std::uint32_t shards : {1u, 2u}) {
    SimNet net{5};
    Host& host = net.host("10.0.0.1/24", {.shards = shards});
    Host::Stream* accepted = nullptr;
    const auto data = net.random_bytes(500'000);
    host.listen(Port{80}, [&](Host::Stream& s) { accepted = &s; });
    Host::Stream& stream = host.connect({Ipv4Address::loopback(), Port{80}}, shards - 1);
    stream.to_send = data;
    stream.close_after_send = true;
    ASSERT_TRUE(net.run_until([&] { return accepted != nullptr && accepted->peer_fin; }, 10s)) << net.trace();
    EXPECT_EQ(accepted->received, data);
    EXPECT_EQ(host.drops(), 0u);
  }
}

TEST(SimUdp, DatagramsFindTheirSocketsOnEveryShard) {
  for (const std::uint32_t shards : {1u, 2u, 3u}) {
    SimNet net{5};
    Host& a = net.host("10.0.0.1/24", {.shards = shards});
    Host& b = net.host("10.0.0.2/24", {.shards = shards});
    net.wire({&a, &b}, {});
    Host::UdpSocket& from = a.udp({Ipv4Address::any(), Port{1000}});
    std::vector<Host::UdpSocket*> to;
    for (std::uint16_t port = 2000; port < 2010; ++port) to.push_back(&b.udp({Ipv4Address::any(), Port{port}}, port % shards));
    // The neighbour first: only so many packets wait for one.
    static_cast<void>(a.send(from, at(b, 2999), {}));
    net.run_for(1s);
    EXPECT_EQ(b.drops(packet::Drop::udp_no_socket), 1u);
    const auto payload = net.random_bytes(4000);  // three fragments
    for (std::uint16_t port = 2000; port < 2010; ++port) EXPECT_EQ(a.send(from, at(b, port), payload), socket::Errno::ok);
    net.run_for(1s);
    for (Host::UdpSocket* socket : to) {
      ASSERT_EQ(socket->received.size(), 1u) << net.trace();
      EXPECT_EQ(socket->received[0].first, at(a, 1000));
      EXPECT_EQ(socket->received[0].second, payload);
    }
    EXPECT_EQ(a.packets_held() + b.packets_held(), 0u);
  }
}

// ---- buffers that grow

struct Growth {
  Duration took{};
  std::size_t receive_ring = 0, send_ring = 0;
};

/// `bytes` over a wire of 50 ms each way, with rings that may grow. `loss`: of the wire.
Growth transfer_with_growth(std::size_t bytes, double loss, const std::function<void(Host&, Host::Stream&)>& prepare) {
  SimNet net{11};
  Host& client = net.host("10.0.0.1/24", {.ring = 65536, .grow = true});
  Host& server = net.host("10.0.0.2/24", {.ring = 65536, .grow = true});
  net.wire({&client, &server}, {.delay = 50ms, .loss = loss, .queue = 100'000});
  const auto data = net.random_bytes(bytes);
  Host::Stream* accepted = nullptr;
  server.listen(Port{7}, [&](Host::Stream& s) {
    accepted = &s;
    if (prepare) prepare(server, s);
  });
  Host::Stream& stream = client.stream();
  if (prepare) prepare(client, stream);
  client.connect(stream, at(server, 7));
  stream.to_send = data;
  stream.shutdown_after_send = true;
  EXPECT_TRUE(net.run_until([&] { return accepted != nullptr && accepted->peer_fin && accepted->receive_head == accepted->receive_tail; }, 3600s))
      << net.trace();
  EXPECT_EQ(accepted->received, data);
  return {net.now() - Instant{}, accepted->receive_memory.size(), stream.send_memory.size()};
}

TEST(SimBuffers, GrowWithThePath) {
  // 20 MB at 64 KB per 100 ms take 30 s; a window that doubles is there after ten round trips.
  const Growth grown = transfer_with_growth(20'000'000, 0, {});
  EXPECT_GE(grown.receive_ring, std::size_t{1} << 20);
  EXPECT_GE(grown.send_ring, std::size_t{1} << 20);
  EXPECT_LT(grown.took, 5s);
}

TEST(SimBuffers, WhatCameOutOfOrderMovesToo) {
  for (const double loss : {0.001, 0.01}) transfer_with_growth(4'000'000, loss, {});
}

TEST(SimBuffers, StayAsTheProgramChoseThem) {
  const std::int32_t size = 32768;  // doubled, as on the host
  const Growth fixed = transfer_with_growth(1'000'000, 0, [&](Host& host, Host::Stream& s) {
    for (const int name : {socket::num::so_sndbuf, socket::num::so_rcvbuf})
      ASSERT_EQ(host.shard(s.shard).set_option(s.id, socket::num::kSolSocket, name, as_bytes(&size, sizeof size), false), socket::Errno::ok);
  });
  EXPECT_EQ(fixed.receive_ring, 65536u);
  EXPECT_EQ(fixed.send_ring, 65536u);
  EXPECT_GT(fixed.took, 1s);
}

TEST(SimBuffers, StopAtTheLargestSize) {
  SimNet net{12};
  Host& client = net.host("10.0.0.1/24", {.ring = 65536, .grow = true});
  Host& server = net.host("10.0.0.2/24", {.ring = 65536, .grow = true});
  net.wire({&client, &server}, {.delay = 50ms, .queue = 100'000});
  for (Host* host : {&client, &server}) {
    stack::Network next = *host->stack().network();
    next.settings.tcp.recvspace_max = next.settings.tcp.sendspace_max = 131072;
    host->stack().publish(std::move(next));
  }
  Host::Stream* accepted = nullptr;
  server.listen(Port{7}, [&](Host::Stream& s) { accepted = &s; });
  Host::Stream& stream = client.connect(at(server, 7));
  stream.to_send = net.random_bytes(3'000'000);
  stream.shutdown_after_send = true;
  ASSERT_TRUE(net.run_until([&] { return accepted != nullptr && accepted->peer_fin; }, 600s)) << net.trace();
  EXPECT_EQ(accepted->receive_memory.size(), 131072u);
  EXPECT_EQ(stream.send_memory.size(), 131072u);
}

}  // namespace
}  // namespace iopkt::sim
