// What programs and strangers see of a whole stack: ports, queues, errors, floods. One behaviour each.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "socket/numbers.hpp"
#include "stack/state.hpp"
#include "tests/support/sim_net.hpp"
#include "wire/checksum.hpp"
#include "wire/ipv4.hpp"
#include "wire/tcp.hpp"

namespace iopkt::sim {
namespace {

using socket::Errno;
using wire::Endpoint;
using wire::Ipv4Address;
using wire::Port;

constexpr Ipv4Address kA{10, 0, 0, 1}, kB{10, 0, 0, 2};

Endpoint at(const Host& host, std::uint16_t port) { return {host.address(), Port{port}}; }

/// A TCP segment in a frame, from `from` to `to`, checksums right.
Frame segment(const Host& to, Endpoint from, wire::TcpHeader h) {
  h.src = from.port;
  std::vector<std::byte> tcp(wire::encoded_len(h));
  wire::encode(h, tcp);
  const std::uint32_t pseudo = wire::pseudo_header_sum(from.address, to.address(), wire::IpProtocol::tcp, static_cast<std::uint32_t>(tcp.size()));
  store_be16(tcp, 16, wire::finish(wire::sum(tcp, pseudo)));
  const wire::Ipv4Header ip{.ttl = 64, .protocol = wire::IpProtocol::tcp, .src = from.address.v4(), .dst = to.address(),
                            .payload_len = static_cast<std::uint16_t>(tcp.size())};
  Frame frame(14 + wire::encoded_len(ip));
  wire::store_mac(frame, 0, {{0x02, 0, 0, 0, 0, static_cast<std::uint8_t>(to.address().value)}});
  wire::store_mac(frame, 6, {{0x02, 0, 0, 0, 0, 0x99}});
  store_be16(frame, 12, 0x0800);
  wire::encode(ip, MutableBytes{frame}.subspan(14));
  frame.insert(frame.end(), tcp.begin(), tcp.end());
  return frame;
}

TEST(SimSockets, AConnectionWithBothPortsChosenWorksFromEveryShard) {
  for (std::uint32_t shard = 0; shard < 3; ++shard) {
    for (std::uint16_t port = 4000; port < 4008; ++port) {
      SimNet net{port};
      Host& a = net.host("10.0.0.1/24", {.shards = 3});
      Host& b = net.host("10.0.0.2/24", {.shards = 2});
      net.wire({&a, &b}, {});
      Host::Stream* accepted = nullptr;
      b.listen(Port{7}, [&](Host::Stream& s) { accepted = &s; });
      Host::Stream& s = a.stream(shard);
      ASSERT_EQ(a.shard(shard).bind(s.id, {kA, Port{port}}), Errno::ok);
      a.connect(s, at(b, 7));
      s.to_send = net.random_bytes(20000);
      s.close_after_send = true;
      ASSERT_TRUE(net.run_until([&] { return accepted != nullptr && accepted->peer_fin; }, 30s)) << net.trace();
      EXPECT_EQ(accepted->received, s.to_send);
      EXPECT_EQ(b.shard(accepted->shard).remote_endpoint(accepted->id), at(a, port));
      accepted->close();
      net.run_for(200s);
      EXPECT_EQ(a.packets_held(), 0u);
    }
  }
}

TEST(SimSockets, ClosingAListenerResetsWhatNobodyAccepted) {
  for (const std::uint32_t shards : {1u, 2u}) {
    SimNet net{1};
    Host& a = net.host("10.0.0.1/24", {.shards = shards});
    Host& b = net.host("10.0.0.2/24", {.shards = shards});
    net.wire({&a, &b}, {});
    b.accept_at_once = false;
    const stack::SocketId listener = b.listen(Port{7}, [](Host::Stream&) {});
    Host::Stream& s = a.connect(at(b, 7));
    ASSERT_TRUE(net.run_until([&] { return s.connected; }, 10s)) << net.trace();
    b.shard(0).close(listener);
    ASSERT_TRUE(net.run_until([&] { return s.failed; }, 10s)) << net.trace();
    EXPECT_EQ(s.error, Errno::connreset);
    net.run_for(1s);
    EXPECT_EQ(b.sockets(), 0u);
  }
}

TEST(SimSockets, AnOfferedConnectionOutlivesItsListener) {
  for (const std::uint32_t shards : {1u, 2u}) {
    SimNet net{1};
    Host& a = net.host("10.0.0.1/24", {.shards = shards});
    Host& b = net.host("10.0.0.2/24", {.shards = shards});
    net.wire({&a, &b}, {});
    b.accept_at_once = false;
    const stack::SocketId listener = b.listen(Port{7}, [](Host::Stream&) {});
    Host::Stream& s = a.connect(at(b, 7));
    ASSERT_TRUE(net.run_until([&] { return s.connected && b.waiting().size() == 1; }, 10s)) << net.trace();
    const std::uint32_t shard = b.waiting()[0].first;
    const stack::SocketId child = b.waiting()[0].second.child;
    b.shard(shard).offered(child);
    b.shard(0).close(listener);
    net.run_for(1s);
    EXPECT_FALSE(s.failed);
    // Nobody took it after all.
    b.shard(shard).disconnect(child);
    b.shard(shard).close(child);
    ASSERT_TRUE(net.run_until([&] { return s.failed; }, 10s)) << net.trace();
    EXPECT_EQ(s.error, Errno::connreset);
  }
}

/// The pools of one host have room for a handful of packets, its interface sends slowly, and more is asked of it than they hold.
TEST(SimSockets, FullPoolsDropByNameAndNothingIsLostOrLeaked) {
  for (const std::uint32_t shards : {1u, 2u}) {
    SCOPED_TRACE(shards);
    SimNet net{3};
    const auto tight = [](stack::StackConfig& c) {
      c.pools.pagesize = 16384;
      c.pools.max_bytes = 16 * 16384;
      c.pools.mbuf_cache = c.pools.pkt_cache = c.pools.mtag_cache = 4;
    };
    Host& a = net.host("10.0.0.1/24", {.shards = shards, .adjust = tight});
    Host& b = net.host("10.0.0.2/24", {.shards = shards});
    net.wire({&a, &b}, {.rate_bps = 20'000'000});
    std::vector<Host::Stream*> taken;
    b.listen(Port{7}, [&](Host::Stream& s) { taken.push_back(&s); });
    std::vector<Host::Stream*> streams;
    for (std::uint32_t i = 0; i < 6; ++i) {
      Host::Stream& s = a.connect(at(b, 7), i % shards);
      s.to_send.assign(400'000, std::byte{static_cast<unsigned char>('a' + i)});
      s.close_after_send = true;
      streams.push_back(&s);
    }
    Host::UdpSocket& udp = a.udp(at(a, 5000));
    const std::vector<std::byte> datagram(1400, std::byte{'u'});
    std::uint64_t refused = 0;
    for (int burst = 0; burst < 50; ++burst) {
      for (int i = 0; i < 100; ++i) refused += a.send(udp, at(b, 9), datagram) == Errno::nobufs;
      net.run_for(2ms);
    }
    EXPECT_GT(refused, 0u);
    EXPECT_GT(a.drops(packet::Drop::no_buffer), 0u);
    ASSERT_TRUE(net.run_until(
        [&] {
          return taken.size() == streams.size() && std::ranges::all_of(taken, [](const Host::Stream* s) { return s->peer_fin; });
        },
        300s));
    std::size_t sum = 0;
    for (Host::Stream* s : taken) {
      sum += s->received.size();
      EXPECT_TRUE(std::ranges::all_of(s->received, [&](std::byte one) { return one == s->received[0]; }));
      s->close();
    }
    EXPECT_EQ(sum, 6u * 400'000u);
    net.run_for(200s);
    EXPECT_EQ(a.packets_held(), 0u);
    EXPECT_EQ(a.sockets(), 1u);
    EXPECT_EQ(a.send(udp, at(b, 9), datagram), Errno::ok);
  }
}

TEST(SimSockets, TimeWaitHasABound) {
  SimNet net{1};
  Host& a = net.host("10.0.0.1/24", {.adjust = [](stack::StackConfig& c) { c.time_wait_max = 3; }});
  Host& b = net.host("10.0.0.2/24");
  net.wire({&a, &b}, {});
  b.listen(Port{7}, [](Host::Stream& s) { s.close_after_send = true; });
  const auto close_one = [&] {
    Host::Stream& s = a.connect(at(b, 7));
    EXPECT_TRUE(net.run_until([&] { return s.connected; }, 10s)) << net.trace();
    s.close();
    EXPECT_TRUE(net.run_until([&] { return s.released; }, 10s)) << net.trace();
  };
  const auto in_time_wait = [&] {
    std::vector<stack::SocketSummary> all;
    a.shard(0).list_sockets(all);
    return std::ranges::count_if(all, [](const auto& one) { return one.state == "TIME_WAIT"; });
  };
  for (int i = 0; i < 5; ++i) close_one();
  EXPECT_EQ(in_time_wait(), 3);
  EXPECT_EQ(a.tcp_counters().time_wait_left_out, 2u);
  net.run_for(100s);
  EXPECT_EQ(in_time_wait(), 0);
  close_one();
  EXPECT_EQ(in_time_wait(), 1) << "what ended is counted no more";
}

TEST(SimSockets, IpMinttlKeepsOutWhatComesFromFurtherAway) {
  SimNet net{1};
  Host& a = net.host("10.0.0.1/24");
  Host& b = net.host("10.0.0.2/24");
  net.wire({&a, &b}, {});
  const auto set = [](Host& host, stack::SocketId id, int name, std::int32_t value) {
    EXPECT_EQ(host.shard(0).set_option(id, socket::num::kSolIp, name, as_bytes(&value, sizeof value), false), Errno::ok);
  };
  const stack::SocketId listener = b.listen(Port{7}, [](Host::Stream&) {});
  set(b, listener, socket::num::ip_minttl, 255);
  Host::Stream& far = a.connect(at(b, 7));
  net.run_for(5s);
  EXPECT_FALSE(far.connected);
  EXPECT_GT(b.drops(packet::Drop::tcp_ttl_too_low), 0u);
  Host::Stream& near = a.stream();
  set(a, near.id, socket::num::ip_ttl, 255);
  a.connect(near, at(b, 7));
  EXPECT_TRUE(net.run_until([&] { return near.connected; }, 10s)) << net.trace();
}

TEST(SimSockets, VariablesAreTheDefaultsOfOptions) {
  SimNet net{1};
  Host& a = net.host("10.0.0.1/24");
  stack::Network next = *a.stack().network();
  next.settings.tcp.keepidle_s = 33;
  next.settings.tcp.keepcnt = 4;
  a.stack().publish(std::move(next));
  net.run_for(1ms);
  const Host::Stream& s = a.stream();
  const auto shown = [&](int name) {
    const auto value = a.shard(0).get_option(s.id, socket::num::kSolTcp, name, 4);
    std::int32_t number = -1;
    if (value && value->size() == 4) std::memcpy(&number, value->data(), 4);
    return number;
  };
  EXPECT_EQ(shown(socket::num::tcp_keepidle), 33);
  EXPECT_EQ(shown(socket::num::tcp_keepcnt), 4);
  EXPECT_EQ(shown(socket::num::tcp_linger2), 60);
  const std::int32_t own = 7;
  EXPECT_EQ(a.shard(0).set_option(s.id, socket::num::kSolTcp, socket::num::tcp_keepidle, as_bytes(&own, 4), false), Errno::ok);
  EXPECT_EQ(shown(socket::num::tcp_keepidle), 7);
}

TEST(SimSockets, AFullQueueTakesNoMoreUntilSomebodyAccepts) {
  SimNet net{1};
  Host& a = net.host("10.0.0.1/24");
  Host& b = net.host("10.0.0.2/24");
  net.wire({&a, &b}, {});
  b.accept_at_once = false;
  b.listen(Port{7}, [](Host::Stream&) {}, 2);
  std::vector<Host::Stream*> streams;
  for (int i = 0; i < 10; ++i) streams.push_back(&a.connect(at(b, 7)));
  net.run_for(500ms);
  EXPECT_GT(b.drops(packet::Drop::tcp_listen_overflow), 0u);
  EXPECT_EQ(b.sockets(), 1u + 3u);  // the listener and backlog + 1, as on the host
  b.accept_at_once = true;
  b.accept_waiting();
  // The others' SYNs are sent again, and nobody is lost.
  ASSERT_TRUE(net.run_until([&] { return std::all_of(streams.begin(), streams.end(), [](auto* s) { return s->connected; }); }, 120s))
      << net.trace();
}

void set_cookies(Host& host, std::uint32_t when) {
  stack::Network next = *host.stack().network();
  next.settings.tcp.syncookies = when;
  host.stack().publish(std::move(next));
}

TEST(SimSockets, ASynFloodIsBoundedAndForgotten) {
  SimNet net{1};
  Host& b = net.host("10.0.0.2/24", {.adjust = [](stack::StackConfig& c) { c.half_open_max = 100; }});
  set_cookies(b, 0);
  b.listen(Port{7}, [](Host::Stream&) {});
  for (std::uint32_t i = 0; i < 1000; ++i)
    b.receive(segment(b, {Ipv4Address{10, 0, 0, 99}, Port{static_cast<std::uint16_t>(1024 + i)}},
                      {.dst = Port{7}, .seq = {i}, .flags = wire::syn, .window = 1000}));
  net.run_for(1ms);
  EXPECT_EQ(b.drops(packet::Drop::tcp_syn_overflow), 900u);
  net.run_for(300s);
  EXPECT_EQ(b.tcp_counters().half_open_timed_out, 100u);
  EXPECT_EQ(b.packets_held(), 0u);
  EXPECT_EQ(b.sockets(), 1u);
}

TEST(SimSockets, UnderASynFloodNewConnectionsOpenByCookies) {
  for (const std::uint32_t shards : {1u, 2u}) {
    SimNet net{1};
    Host& a = net.host("10.0.0.1/24", {.shards = shards});
    Host& b = net.host("10.0.0.2/24", {.shards = shards, .adjust = [](stack::StackConfig& c) { c.half_open_max = 100; }});
    net.wire({&a, &b}, {});
    std::vector<Host::Stream*> accepted;
    b.listen(Port{7}, [&](Host::Stream& s) { accepted.push_back(&s); });
    const auto flood = [&](std::uint32_t from) {
      for (std::uint32_t i = 0; i < 1000; ++i)
        b.receive(segment(b, {Ipv4Address{10, 0, 0, 99}, Port{static_cast<std::uint16_t>(1024 + from + i)}},
                          {.dst = Port{7}, .seq = {i}, .flags = wire::syn, .window = 1000}));
      net.run_for(1ms);
    };
    flood(0);
    EXPECT_EQ(b.drops(packet::Drop::tcp_syn_overflow), 0u);
    EXPECT_EQ(b.tcp_counters().half_open_created, 100u * shards) << "nobody is pushed out";
    Host::Stream& s = a.connect(at(b, 7));
    s.to_send = net.random_bytes(200'000);
    flood(1000);
    ASSERT_TRUE(net.run_until([&] { return accepted.size() == 1 && accepted[0]->received == s.to_send; }, 10s)) << net.trace();
    EXPECT_EQ(b.tcp_counters().cookies_good, 1u);
    EXPECT_GT(b.tcp_counters().cookies_sent, 1000u);
    const auto value = b.shard(accepted[0]->shard).get_option(accepted[0]->id, socket::num::kSolTcp, socket::num::tcp_info, 256);
    ASSERT_TRUE(value);
    EXPECT_EQ(static_cast<unsigned>((*value)[5]) & 7, 7u) << "timestamps, SACK and window scale came back";
    // An ACK of nothing opens nothing.
    b.receive(segment(b, {Ipv4Address{10, 0, 0, 98}, Port{5}}, {.dst = Port{7}, .seq = {1}, .ack = {2}, .flags = wire::ack, .window = 1000}));
    net.run_for(1ms);
    EXPECT_EQ(b.tcp_counters().cookies_good, 1u);
    EXPECT_EQ(accepted.size(), 1u);
  }
}

TEST(SimSockets, CookiesForAllWhenSo) {
  SimNet net{1};
  Host& a = net.host("10.0.0.1/24");
  Host& b = net.host("10.0.0.2/24");
  net.wire({&a, &b}, {.loss = 0.05});
  set_cookies(b, 2);
  Host::Stream* accepted = nullptr;
  b.listen(Port{7}, [&](Host::Stream& s) { accepted = &s; });
  Host::Stream& s = a.connect(at(b, 7));
  s.to_send = net.random_bytes(100'000);
  ASSERT_TRUE(net.run_until([&] { return accepted != nullptr && accepted->received == s.to_send; }, 100s)) << net.trace();
  EXPECT_EQ(b.tcp_counters().half_open_created, 0u);
  EXPECT_EQ(b.tcp_counters().cookies_good, 1u);
}

/// RFC 6191: not at once, for the peer's clock of timestamps has to move; above the old numbers.
TEST(SimSockets, ConnectFollowsItsOwnTimeWait) {
  SimNet net{1};
  Host& a = net.host("10.0.0.1/24");
  Host& b = net.host("10.0.0.2/24");
  net.wire({&a, &b}, {});
  Host::Stream* accepted = nullptr;
  b.listen(Port{7}, [&](Host::Stream& s) { accepted = &s; });
  std::vector<std::uint32_t> syns;
  net.tap = [&](const Host& from, Frame& frame) {
    if (&from == &a && frame.size() >= 54 && frame[23] == std::byte{6} && (frame[47] & std::byte{0x12}) == std::byte{2})
      syns.push_back(load_be32(frame, 38));
    return true;
  };
  const auto open = [&]() -> Host::Stream& {
    Host::Stream& s = a.stream();
    const std::int32_t on = 1;
    EXPECT_EQ(a.shard(0).set_option(s.id, socket::num::kSolSocket, socket::num::so_reuseaddr, as_bytes(&on, sizeof on), false), Errno::ok);
    EXPECT_EQ(a.shard(0).bind(s.id, {a.address(), Port{5000}}, true), Errno::ok);
    return s;
  };
  Host::Stream& first = open();
  a.connect(first, at(b, 7));
  first.to_send = net.random_bytes(3'000'000);  // more than the clock of ISNs gains
  first.close_after_send = true;
  ASSERT_TRUE(net.run_until([&] { return accepted != nullptr && accepted->peer_fin; }, 10s)) << net.trace();
  accepted->close();
  ASSERT_TRUE(net.run_until([&] { return first.released; }, 10s)) << net.trace();
  Host::Stream& early = open();
  EXPECT_EQ(a.shard(0).connect(early.id, at(b, 7)), Errno::addrnotavail);
  net.run_for(1100ms);
  a.shard(0).begin(net.now());
  EXPECT_EQ(a.shard(0).connect(early.id, at(b, 7)), Errno::inprogress);
  ASSERT_TRUE(net.run_until([&] { return early.connected; }, 10s)) << net.trace();
  ASSERT_EQ(syns.size(), 2u);
  EXPECT_GT(static_cast<std::int32_t>(syns[1] - syns[0]), 3'000'000);
}

/// TCP_DEFER_ACCEPT: with data at once, without after the time.
TEST(SimSockets, AConnectionWaitsForItsDataBeforeItIsAccepted) {
  for (const bool speaks : {true, false}) {
    SimNet net{1};
    Host& a = net.host("10.0.0.1/24");
    Host& b = net.host("10.0.0.2/24");
    net.wire({&a, &b}, {});
    Host::Stream* accepted = nullptr;
    const stack::SocketId listener = b.listen(Port{7}, [&](Host::Stream& s) { accepted = &s; });
    const std::int32_t time = 10;  // 1 + 2 + 4 + 8 s
    ASSERT_EQ(b.shard(0).set_option(listener, socket::num::kSolTcp, socket::num::tcp_defer_accept, as_bytes(&time, sizeof time), false), Errno::ok);
    Host::Stream& s = a.connect(at(b, 7));
    ASSERT_TRUE(net.run_until([&] { return s.connected; }, 1s)) << net.trace();
    net.run_for(5s);
    EXPECT_EQ(accepted, nullptr);
    if (speaks) s.to_send = net.random_bytes(100);
    net.run_for(1s);
    EXPECT_EQ(accepted != nullptr, speaks) << net.trace();
    if (speaks) continue;
    EXPECT_TRUE(net.run_until([&] { return accepted != nullptr; }, 20s)) << net.trace();
    EXPECT_GE(net.now() - Instant{}, 15s);
    EXPECT_FALSE(s.failed);
  }
}

/// TCP_WINDOW_CLAMP: no more is offered than that, before and after it is set on a connection.
TEST(SimSockets, AClampBoundsTheWindow) {
  SimNet net{1};
  Host& a = net.host("10.0.0.1/24", {.grow = true});
  Host& b = net.host("10.0.0.2/24");
  net.wire({&a, &b}, {.delay = 20ms});
  Host::Stream* accepted = nullptr;
  b.listen(Port{7}, [&](Host::Stream& s) { accepted = &s; });
  Host::Stream& s = a.stream();
  const auto clamp = [&](std::int32_t bytes) {
    EXPECT_EQ(a.shard(0).set_option(s.id, socket::num::kSolTcp, socket::num::tcp_window_clamp, as_bytes(&bytes, sizeof bytes), false), Errno::ok);
  };
  clamp(4000);
  a.connect(s, at(b, 7));
  ASSERT_TRUE(net.run_until([&] { return accepted != nullptr; }, 10s)) << net.trace();
  accepted->to_send = net.random_bytes(400'000);
  const Instant start = net.now();
  ASSERT_TRUE(net.run_until([&] { return s.received.size() >= 200'000; }, 100s)) << net.trace();
  EXPECT_GE(net.now() - start, 1500ms) << "200 kB at 4000 bytes in 40 ms";
  clamp(0);
  const Instant then = net.now();
  ASSERT_TRUE(net.run_until([&] { return s.received == accepted->to_send; }, 100s)) << net.trace();
  EXPECT_LT(net.now() - then, 1500ms);
}

TEST(SimSockets, HandshakesThatAreOverPushNobodyOut) {
  SimNet net{1};
  Host& b = net.host("10.0.0.2/24", {.adjust = [](stack::StackConfig& c) { c.half_open_max = 100; }});
  b.listen(Port{7}, [](Host::Stream&) {});
  const auto send = [&](std::uint16_t port, std::uint32_t seq, std::uint8_t flags) {
    b.receive(segment(b, {Ipv4Address{10, 0, 0, 99}, Port{port}}, {.dst = Port{7}, .seq = {seq}, .flags = flags, .window = 1000}));
    net.run_for(10us);
  };
  send(1000, 1, wire::syn);  // slow, and older than all others
  for (std::uint32_t i = 0; i < 1000; ++i) {
    send(static_cast<std::uint16_t>(2000 + i % 10), 2 * i, wire::syn);
    send(static_cast<std::uint16_t>(2000 + i % 10), 2 * i + 1, wire::rst);
  }
  for (std::uint16_t port = 2000; port < 2090; ++port) send(port, 5000, wire::syn);  // ten of the ports were used before
  EXPECT_EQ(b.tcp_counters().half_open_created, 1091u);
  EXPECT_EQ(b.tcp_counters().half_open_reset, 1000u);
  EXPECT_EQ(b.drops(packet::Drop::tcp_syn_overflow), 0u);
}

TEST(SimSockets, AConnectedDatagramSocketHearsThatNobodyListens) {
  for (const std::uint32_t shards : {1u, 2u}) {
    SimNet net{1};
    Host& a = net.host("10.0.0.1/24", {.shards = shards});
    Host& b = net.host("10.0.0.2/24", {.shards = shards});
    net.wire({&a, &b}, {});
    Host::UdpSocket& connected = a.udp({Ipv4Address::any(), Port{1000}}, shards - 1);
    Host::UdpSocket& loose = a.udp({Ipv4Address::any(), Port{1001}});
    ASSERT_EQ(a.shard(connected.shard).connect(connected.id, at(b, 9)), Errno::ok);
    net.run_for(1ms);
    EXPECT_EQ(a.send(connected, at(b, 9), {}), Errno::ok);
    EXPECT_EQ(a.send(loose, at(b, 9), {}), Errno::ok);
    net.run_for(1s);
    EXPECT_EQ(connected.errors, std::vector<Errno>{Errno::connrefused}) << net.trace();
    EXPECT_TRUE(loose.errors.empty());
  }
}

TEST(SimSockets, AnswersOfNoSocketGoByTheFibOfTheirInterface) {
  SimNet net{1};
  Host& a = net.host("10.0.0.1/24");
  Host& b = net.host("10.0.0.2/24");
  net.wire({&a, &b}, {});
  const auto use_fib = [&](std::uint32_t fib) {
    stack::Network next = *b.stack().network();
    next.fibs[1] = route::Fib(1);  // no way anywhere
    iface::Interface en0 = *next.interfaces.by_name("en0");
    en0.fib = fib;
    next.interfaces = next.interfaces.with(std::move(en0));
    b.stack().publish(std::move(next));
    net.run_for(1ms);
  };
  Host::UdpSocket& asks = a.udp({Ipv4Address::any(), Port{1000}});
  ASSERT_EQ(a.shard(0).connect(asks.id, at(b, 9)), Errno::ok);
  use_fib(1);
  EXPECT_EQ(a.send(asks, at(b, 9), {}), Errno::ok);
  Host::Stream& unanswered = a.connect(at(b, 9));
  net.run_for(1s);
  EXPECT_TRUE(asks.errors.empty());
  EXPECT_FALSE(unanswered.failed);
  use_fib(0);
  EXPECT_EQ(a.send(asks, at(b, 9), {}), Errno::ok);
  EXPECT_TRUE(net.run_until([&] { return unanswered.failed && !asks.errors.empty(); }, 30s)) << net.trace();
}

TEST(SimSockets, EphemeralPortsAreThoseOfTheVariables) {
  for (const std::uint32_t shards : {1u, 2u}) {
    SimNet net{1};
    Host& a = net.host("10.0.0.1/24", {.shards = shards});
    stack::Network next = *a.stack().network();
    next.settings.ipv4.anonportmin = 20000, next.settings.ipv4.anonportmax = 20099;
    a.stack().publish(std::move(next));
    net.run_for(1ms);
    const auto in_range = [](Endpoint local) { return local.port.value >= 20000 && local.port.value <= 20099; };
    for (std::uint32_t shard = 0; shard < shards; ++shard) {
      Host::Stream& s = a.stream(shard);
      ASSERT_EQ(a.shard(shard).bind(s.id, {kA, Port{}}), Errno::ok);
      EXPECT_TRUE(in_range(a.shard(shard).local_endpoint(s.id)));
      const Host::UdpSocket& u = a.udp({Ipv4Address::any(), Port{}}, shard);
      EXPECT_TRUE(in_range(a.shard(shard).local_endpoint(u.id)));
    }
  }
}

TEST(SimSockets, AnAddressBoundWithoutAPortGetsOneWithItsPeer) {
  SimNet net{1};
  Host& a = net.host("10.0.0.1/24");
  Host& b = net.host("10.0.0.2/24");
  net.wire({&a, &b}, {});
  b.listen(Port{7}, [](Host::Stream&) {});
  const std::int32_t one = 1;
  Host::Stream& s = a.stream();
  ASSERT_EQ(a.shard(0).set_option(s.id, socket::num::kSolIp, socket::num::ip_bind_address_no_port, as_bytes(&one, 4), false), Errno::ok);
  ASSERT_EQ(a.shard(0).bind(s.id, {kA, Port{}}), Errno::ok);
  EXPECT_EQ(a.shard(0).local_endpoint(s.id), at(a, 0));
  a.connect(s, at(b, 7));
  EXPECT_TRUE(net.run_until([&] { return s.connected; }, 10s)) << net.trace();
  EXPECT_NE(a.shard(0).local_endpoint(s.id).port, Port{});
}

TEST(SimSockets, RequestsThatTheHostRefuses) {
  SimNet net{1};
  Host& a = net.host("10.0.0.1/24");
  stack::Shard& shard = a.shard(0);
  const auto open = [&](int type, int protocol = 0, bool privileged = false) {
    return shard.open({.type = type, .protocol = protocol, .privileged = privileged});
  };
  EXPECT_EQ(open(1, 17).error(), Errno::protonosupport);
  EXPECT_EQ(open(2, 6).error(), Errno::protonosupport);
  EXPECT_EQ(open(3, 1).error(), Errno::perm);
  EXPECT_EQ(open(5).error(), Errno::socktnosupport);
  const stack::SocketId tcp = *open(1), udp = *open(2);
  EXPECT_EQ(shard.bind(tcp, {kB, Port{1}}), Errno::addrnotavail);
  EXPECT_EQ(shard.bind(tcp, {kA, Port{80}}), Errno::acces) << "whoever opened it: who binds needs the right";
  EXPECT_EQ(shard.bind(tcp, {kA, Port{8080}}), Errno::ok);
  EXPECT_EQ(shard.bind(tcp, {kA, Port{8081}}), Errno::inval);
  EXPECT_EQ(shard.listen(udp, 1), Errno::opnotsupp);
  EXPECT_EQ(shard.shutdown(tcp, 1), Errno::notconn);
  EXPECT_EQ(shard.shutdown(tcp, 9), Errno::inval);
  EXPECT_EQ(shard.connect(tcp, {Ipv4Address{192, 0, 2, 1}, Port{80}}), Errno::netunreach);
  EXPECT_EQ(shard.send(udp, {}, {}, {}), Errno::destaddrreq);
  EXPECT_EQ(shard.send(udp, {.destination = Endpoint{Ipv4Address::broadcast(), Port{9}}}, {}, {}), Errno::acces);
  const std::vector<std::byte> huge(65508);
  EXPECT_EQ(shard.send(udp, {.destination = Endpoint{kB, Port{9}}}, huge, {}), Errno::msgsize);
  EXPECT_EQ(shard.connect(stack::SocketId{12345}, {kB, Port{9}}), Errno::badf);
  EXPECT_EQ(shard.listen(tcp, 5), Errno::ok);
  EXPECT_EQ(shard.connect(tcp, {kB, Port{9}}), Errno::isconn);
}

/// ip(7), IP_FREEBIND: as on the host, bind() takes what is not ours, and nothing leaves from there.
TEST(SimSockets, NobodySendsFromAnAddressThatIsNotOurs) {
  SimNet net{1};
  Host& a = net.host("10.0.0.1/24");
  stack::Shard& shard = a.shard(0);
  const wire::Ipv4Address stranger{10, 0, 0, 77};
  const Endpoint there{kB, Port{9}}, here{wire::Ipv4Address::loopback(), Port{9}};
  const std::int32_t on = 1;
  const std::vector<std::byte> one(1);
  const auto bound = [&](int type, int protocol = 0) {
    const stack::SocketId id = *shard.open({.type = type, .protocol = protocol, .privileged = true});
    EXPECT_EQ(shard.bind(id, {stranger, {}}), Errno::addrnotavail);
    EXPECT_EQ(shard.set_option(id, socket::num::kSolIp, socket::num::ip_freebind, as_bytes(&on, sizeof on), false), Errno::ok);
    EXPECT_EQ(shard.bind(id, {stranger, {}}), Errno::ok);
    return id;
  };
  const stack::SocketId udp = bound(socket::num::kDgram), tcp = bound(socket::num::kStream), raw = bound(socket::num::kRaw, 200);
  for (const Endpoint& to : {there, here}) {
    for (const stack::SocketId id : {udp, raw}) EXPECT_EQ(shard.send(id, {.destination = to}, one, {}), Errno::netunreach);
    for (const stack::SocketId id : {udp, raw, tcp}) EXPECT_EQ(shard.connect(id, to), Errno::netunreach);
  }
  const stack::SocketId free = *shard.open({.type = socket::num::kDgram});
  EXPECT_EQ(shard.set_option(free, socket::num::kSolIp, socket::num::ip_freebind, as_bytes(&on, sizeof on), false), Errno::ok);
  EXPECT_EQ(shard.send(free, {.destination = there, .source = stranger}, one, {}), Errno::netunreach) << "IP_PKTINFO";
  EXPECT_EQ(shard.listen(tcp, 1), Errno::ok) << "for the day that the address is ours";
  // A raw socket's own header says what it likes.
  const stack::SocketId own = bound(socket::num::kRaw, 255);
  std::vector<std::byte> packet(20);
  wire::encode(wire::Ipv4Header{.ttl = 64, .protocol = wire::IpProtocol{200}, .src = stranger, .dst = kB}, packet);
  EXPECT_EQ(shard.send(own, {.destination = there}, packet, {}), Errno::ok);
  net.run_for(10s);
  EXPECT_EQ(a.packets_held(), 0u);
}

TEST(SimSockets, WhatWasWrittenComesBeforeTheResetOfALingerOfZero) {
  for (const std::uint32_t shards : {1u, 2u}) {
    SimNet net{1};
    Host& a = net.host("10.0.0.1/24", {.shards = shards});
    Host& b = net.host("10.0.0.2/24", {.shards = shards});
    net.wire({&a, &b}, {});
    Host::Stream* accepted = nullptr;
    b.listen(Port{7}, [&](Host::Stream& s) { accepted = &s; });
    Host::Stream& s = a.connect(at(b, 7));
    ASSERT_TRUE(net.run_until([&] { return s.connected && accepted != nullptr; }, 10s)) << net.trace();
    const std::int32_t linger[2] = {1, 0};
    ASSERT_EQ(a.shard(s.shard).set_option(s.id, socket::num::kSolSocket, socket::num::so_linger,
                                          std::as_bytes(std::span{linger}), false),
              Errno::ok);
    s.to_send = net.random_bytes(100);
    s.close_after_send = true;
    ASSERT_TRUE(net.run_until([&] { return accepted->failed; }, 10s)) << net.trace();
    EXPECT_EQ(accepted->error, Errno::connreset);
    EXPECT_EQ(accepted->received, s.to_send);
  }
}

/// A program that begins again sets what it finds: the MSS of a loopback connection is none that may be set.
TEST(SimSockets, AConnectionThatWasResetShowsTheSocketsOwnOptionsAtOnce) {
  SimNet net{1};
  Host& a = net.host("10.0.0.1/24");
  a.listen(Port{7}, [](Host::Stream&) {});
  Host::Stream& s = a.connect(at(a, 7));
  ASSERT_TRUE(net.run_until([&] { return s.connected; }, 10s)) << net.trace();
  const auto mss = [&] {
    std::int32_t number = -1;
    const auto value = a.shard(s.shard).get_option(s.id, socket::num::kSolTcp, socket::num::tcp_maxseg, sizeof number);
    if (value && value->size() == sizeof number) std::memcpy(&number, value->data(), sizeof number);
    return number;
  };
  EXPECT_GT(mss(), 32767);
  EXPECT_EQ(a.shard(s.shard).disconnect(s.id), Errno::ok);
  EXPECT_EQ(mss(), 536);
}

TEST(SimSockets, ConnectionsThatAreSetUpAlikeShareTheirOptions) {
  SimNet net{1};
  Host& a = net.host("10.0.0.1/24");
  Host& b = net.host("10.0.0.2/24");
  net.wire({&a, &b}, {});
  std::vector<Host::Stream*> taken;
  const std::int32_t on = 1, off = 0;
  const auto options_of = [&](const Host::Stream& s) { return &*b.shard(s.shard).state().find(s.id)->options; };
  const auto set = [&](const Host::Stream& s, int level, int name, const std::int32_t& value) {
    EXPECT_EQ(b.shard(s.shard).set_option(s.id, level, name, as_bytes(&value, sizeof value), false), Errno::ok);
  };
  b.listen(Port{7}, [&](Host::Stream& s) {
    set(s, socket::num::kSolTcp, socket::num::tcp_nodelay, on);
    set(s, socket::num::kSolSocket, socket::num::so_keepalive, on);
    taken.push_back(&s);
  });
  for (int i = 0; i < 3; ++i) a.connect(at(b, 7));
  ASSERT_TRUE(net.run_until([&] { return taken.size() == 3; }, 10s)) << net.trace();
  EXPECT_TRUE(options_of(*taken[0])->no_delay && options_of(*taken[0])->keepalive);
  EXPECT_EQ(options_of(*taken[0]), options_of(*taken[1]));
  EXPECT_EQ(options_of(*taken[0]), options_of(*taken[2]));
  set(*taken[1], socket::num::kSolTcp, socket::num::tcp_nodelay, off);
  EXPECT_TRUE(options_of(*taken[0])->no_delay);
  EXPECT_FALSE(options_of(*taken[1])->no_delay);
  EXPECT_EQ(b.shard(taken[0]->shard).set_option(taken[0]->id, socket::num::kSolTcp, 9999, as_bytes(&on, sizeof on), false), Errno::noprotoopt);
  EXPECT_EQ(options_of(*taken[0]), options_of(*taken[2])) << "what is refused changes nothing";
}

TEST(SimSockets, ChildrenInheritWhatWasSetAfterListen) {
  for (const std::uint32_t shards : {1u, 3u}) {
    SimNet net{1};
    Host& a = net.host("10.0.0.1/24");
    Host& b = net.host("10.0.0.2/24", {.shards = shards});
    net.wire({&a, &b}, {});
    Host::Stream* accepted = nullptr;
    const stack::SocketId listener = b.listen(Port{7}, [&](Host::Stream& s) { accepted = &s; });
    const std::int32_t one = 1;
    ASSERT_EQ(b.shard(0).set_option(listener, socket::num::kSolTcp, socket::num::tcp_nodelay, std::as_bytes(std::span{&one, 1}),
                                    false),
              Errno::ok);
    a.connect(at(b, 7));
    ASSERT_TRUE(net.run_until([&] { return accepted != nullptr; }, 10s)) << net.trace();
    const auto got = b.shard(accepted->shard).get_option(accepted->id, socket::num::kSolTcp, socket::num::tcp_nodelay, 4);
    ASSERT_TRUE(got.has_value());
    EXPECT_EQ((*got)[0], 1);
  }
}

TEST(SimSockets, APositionThatCannotBeEndsOnlyThatSocket) {
  SimNet net{1};
  Host& a = net.host("10.0.0.1/24");
  Host& b = net.host("10.0.0.2/24");
  net.wire({&a, &b}, {});
  std::vector<Host::Stream*> accepted;
  b.listen(Port{7}, [&](Host::Stream& s) { accepted.push_back(&s); });
  Host::Stream& bad = a.connect(at(b, 7));
  Host::Stream& good = a.connect(at(b, 7));
  ASSERT_TRUE(net.run_until([&] { return bad.connected && good.connected && accepted.size() == 2; }, 10s));
  EXPECT_FALSE(a.shard(0).progress(bad.id, 1u << 30, 0));
  good.to_send = net.random_bytes(100'000);
  good.close_after_send = true;
  Host::Stream* other = b.shard(0).remote_endpoint(accepted[0]->id) == a.shard(0).local_endpoint(good.id) ? accepted[0] : accepted[1];
  ASSERT_TRUE(net.run_until([&] { return bad.failed && other->peer_fin; }, 30s)) << net.trace();
  EXPECT_EQ(other->received, good.to_send);
  EXPECT_EQ(a.drops(packet::Drop::socket_broken), 1u);
}

TEST(SimSockets, PortsOfAListenerAreFreeWhenItsLastConnectionIs) {
  SimNet net{1};
  Host& a = net.host("10.0.0.1/24");
  Host& b = net.host("10.0.0.2/24");
  net.wire({&a, &b}, {});
  Host::Stream* accepted = nullptr;
  const stack::SocketId listener = b.listen(Port{7}, [&](Host::Stream& s) { accepted = &s; });
  Host::Stream& s = a.connect(at(b, 7));
  ASSERT_TRUE(net.run_until([&] { return accepted != nullptr; }, 10s));
  b.shard(0).close(listener);
  net.run_for(1ms);
  const auto again = b.shard(0).open({.type = 1, .privileged = true});
  EXPECT_EQ(b.shard(0).bind(*again, {Ipv4Address::any(), Port{7}}, true), Errno::addrinuse);
  s.close();
  net.run_for(1s);
  accepted->close();
  net.run_for(100s);
  EXPECT_EQ(b.shard(0).bind(*again, {Ipv4Address::any(), Port{7}}, true), Errno::ok);
}

}  // namespace
}  // namespace iopkt::sim
