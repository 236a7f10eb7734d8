// ICMP: what is answered and with what, what an error says about whom, and how many errors go out.
#include <gtest/gtest.h>

#include "icmp/error.hpp"
#include "icmp/input.hpp"
#include "tests/support/test_pool.hpp"
#include "wire/checksum.hpp"
#include "wire/tcp.hpp"

namespace iopkt::icmp {
namespace {

using test::Data;
using test::data_of;
using wire::IcmpHeader;
using wire::IcmpType;
using wire::IcmpUnreachable;
using wire::Ipv4Address;

constexpr Ipv4Address kOurs{10, 0, 0, 1}, kPeer{10, 0, 0, 2}, kFar{203, 0, 113, 9};

class IcmpTest : public testing::Test {
 protected:
  packet::PacketPtr message(const IcmpHeader& header, const Data& body) {
    Data bytes(8);
    wire::encode(header, bytes);
    bytes.insert(bytes.end(), body.begin(), body.end());
    wire::store_icmp_checksum(bytes);
    return pool_.packet(bytes);
  }
  Expected<IcmpIn, Drop> run(packet::PacketPtr& packet, Cast cast = Cast::unicast, Ipv4Address src = kPeer) {
    const wire::Ipv4Header ip{
        .tos = 4, .ttl = 64, .protocol = wire::IpProtocol::icmp, .src = src, .dst = kOurs};
    return input({in_, tunables_, counters_, ms_}, ip, cast, packet);
  }
  Expected<IcmpIn, Drop> run(packet::PacketPtr packet, int) { return run(packet); }
  /// The beginning of a packet from us, as an error quotes it.
  static Data quote(wire::Ipv4Header ip, std::size_t transport_len = 8) {
    ip.payload_len = 1000;
    Data bytes(wire::encoded_len(ip));
    wire::encode(ip, bytes);
    Data tcp(20);
    wire::encode(wire::TcpHeader{.src = {4000}, .dst = {80}, .seq = {77}}, tcp);
    bytes.insert(bytes.end(), tcp.begin(), tcp.begin() + static_cast<std::ptrdiff_t>(transport_len));
    return bytes;
  }
  static wire::Ipv4Header sent() {
    return {.ttl = 3, .protocol = wire::IpProtocol::tcp, .src = kOurs, .dst = kFar};
  }

  test::TestPool pool_;
  iface::Interface in_{.index = 1,
                       .name = "en0",
                       .flags = iface::flag::up,
                       .addresses = {{.address = kOurs, .prefix_length = 24}}};
  IcmpTunables tunables_ = initial_values<IcmpTunables>();
  IcmpCounters<Counter> counters_;
  std::optional<std::uint32_t> ms_ = 5000;
};

TEST_F(IcmpTest, AnEchoComesBack) {
  for (const std::size_t size : {0u, 1u, 56u, 1472u, 20'000u}) {
    auto packet = message(IcmpHeader::echo(IcmpType::echo_request, 7, 9), test::counted(size));
    auto in = run(packet);
    ASSERT_TRUE(in);
    const auto& answer = std::get<Answer>(*in);
    EXPECT_EQ(answer.to, kPeer);
    EXPECT_EQ(answer.from, kOurs);
    EXPECT_EQ(answer.tos, 4);
    EXPECT_FALSE(packet) << "it is the same packet";
    const Data reply = data_of(*answer.packet);
    const auto view = wire::IcmpView::parse(reply);
    EXPECT_TRUE(view->checksum_ok());
    EXPECT_EQ(view->header(), IcmpHeader::echo(IcmpType::echo_reply, 7, 9));
    EXPECT_EQ(Data(view->payload().begin(), view->payload().end()), test::counted(size));
  }
  EXPECT_EQ(counters_.rx_echo.value(), 5u);
  EXPECT_EQ(counters_.tx_echo_reply.value(), 5u);
}

TEST_F(IcmpTest, AnEchoChecksumIsRightForEveryValue) {
  for (std::uint32_t i = 0; i < 0x10000; i += 7) {
    auto packet = message(IcmpHeader::echo(IcmpType::echo_request, static_cast<std::uint16_t>(i), 0), {});
    auto in = run(packet);
    ASSERT_TRUE(wire::IcmpView::parse(data_of(*std::get<Answer>(*in).packet))->checksum_ok());
  }
}

TEST_F(IcmpTest, DoesNotWriteIntoLentMemory) {
  const Data lent = data_of(*message(IcmpHeader::echo(IcmpType::echo_request, 7, 9), test::counted(50)));
  Data memory = lent;
  auto packet = packet::allocate_header(pool_.cache());
  ASSERT_TRUE(packet->append_borrowed(memory));
  auto in = run(packet);
  ASSERT_TRUE(in);
  EXPECT_EQ(memory, lent);
}

TEST_F(IcmpTest, BroadcastsAreAnsweredOnlyWhenAsked) {
  for (const Cast cast : {Cast::broadcast, Cast::multicast}) {
    auto packet = message(IcmpHeader::echo(IcmpType::echo_request, 1, 1), {});
    tunables_.bmcastecho = 0;
    EXPECT_EQ(run(packet, cast).error(), Drop::icmp_broadcast_echo);
    EXPECT_TRUE(packet);
    tunables_.bmcastecho = 1;
    auto in = run(packet, cast);
    EXPECT_FALSE(std::get<Answer>(*in).from) << "from an address of ours";
  }
}

TEST_F(IcmpTest, RefusesWhatIsBroken) {
  EXPECT_EQ(run(pool_.packet(Data(7)), 0).error(), Drop::icmp_truncated);
  auto packet = message(IcmpHeader::echo(IcmpType::echo_request, 1, 1), test::counted(11));
  Data bytes = data_of(*packet);
  for (std::size_t i = 0; i < bytes.size() * 8; ++i) {
    Data bad = bytes;
    bad[i / 8] ^= std::byte{1} << (i % 8);
    EXPECT_EQ(run(pool_.packet(bad), 0).error(), Drop::icmp_bad_checksum);
  }
  EXPECT_EQ(counters_.rx_messages.value(), 0u);
  EXPECT_EQ(run(message({.type = static_cast<IcmpType>(99)}, {}), 0).error(), Drop::icmp_ignored);
  packet = message(IcmpHeader::echo(IcmpType::echo_request, 1, 1), {});
  EXPECT_EQ(run(packet, Cast::unicast, {}).error(), Drop::icmp_ignored) << "nobody to answer";
}

TEST_F(IcmpTest, AnErrorNamesTheFlow) {
  const struct {
    const char* says;
    IcmpHeader message;
    std::uint32_t mtu;
  } rows[] = {
      {"port unreachable", IcmpHeader::unreachable(IcmpUnreachable::port), 0},
      {"time exceeded", IcmpHeader::time_exceeded(wire::IcmpTimeExceeded::in_transit), 0},
      {"parameter problem", IcmpHeader::parameter_problem(wire::IcmpParameterProblem::at_pointer, 1), 0},
      {"too big", IcmpHeader::unreachable(IcmpUnreachable::fragmentation_needed, 900), 900},
      {"too big, and that is absurd", IcmpHeader::unreachable(IcmpUnreachable::fragmentation_needed, 20), 68},
      {"too big, from an old router", IcmpHeader::unreachable(IcmpUnreachable::fragmentation_needed), 1006},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    const auto in = run(message(row.message, quote(sent())), 0);
    ASSERT_TRUE(in);
    const auto& about = std::get<ErrorAbout>(*in);
    EXPECT_EQ(about.message, row.message);
    EXPECT_EQ(about.local, (wire::Endpoint{kOurs, {4000}}));
    EXPECT_EQ(about.remote, (wire::Endpoint{kFar, {80}}));
    EXPECT_EQ(about.protocol, wire::IpProtocol::tcp);
    EXPECT_EQ(about.sequence, 77u);
    EXPECT_EQ(about.reporter, kPeer);
    EXPECT_EQ(about.mtu, row.mtu);
  }
}

TEST_F(IcmpTest, AnErrorWithoutAFlowIsDropped) {
  const auto port = IcmpHeader::unreachable(IcmpUnreachable::port);
  wire::Ipv4Header fragment = sent();
  fragment.fragment_offset = 8;
  EXPECT_EQ(run(message(port, {}), 0).error(), Drop::icmp_no_flow);
  EXPECT_EQ(run(message(port, quote(sent(), 7)), 0).error(), Drop::icmp_no_flow);
  EXPECT_EQ(run(message(port, quote(fragment)), 0).error(), Drop::icmp_no_flow);
  EXPECT_EQ(run(message(port, Data(40)), 0).error(), Drop::icmp_no_flow);
  wire::Ipv4Header raw = sent();
  raw.protocol = wire::IpProtocol::gre;
  EXPECT_TRUE(run(message(port, quote(raw, 0)), 0)) << "without ports there is none to read";
  EXPECT_EQ(run(message({.type = IcmpType::source_quench}, quote(sent())), 0).error(), Drop::icmp_ignored);
}

TEST_F(IcmpTest, RedirectsAreIgnoredUnlessAllowed) {
  const auto redirect = [&](Ipv4Address gateway) {
    return run(message(IcmpHeader::redirect(wire::IcmpRedirect::host, gateway), quote(sent())), 0);
  };
  EXPECT_EQ(redirect({10, 0, 0, 9}).error(), Drop::icmp_ignored);
  tunables_.drop_redirect = 0;
  const auto in = redirect({10, 0, 0, 9});
  ASSERT_TRUE(in);
  const auto& r = std::get<Redirected>(*in);
  EXPECT_EQ(r.from, kPeer);
  EXPECT_EQ(r.gateway, (Ipv4Address{10, 0, 0, 9}));
  EXPECT_EQ(r.destination, kFar);
  EXPECT_EQ(redirect({10, 9, 0, 9}).error(), Drop::icmp_ignored) << "not on the link";
  EXPECT_EQ(redirect(kOurs).error(), Drop::icmp_ignored);
}

TEST_F(IcmpTest, TimestampsAndMasksWhenSwitchedOn) {
  Data body(12);
  wire::encode(wire::IcmpTimestamps{1, 0, 0}, body);
  const IcmpHeader ask{.type = IcmpType::timestamp, .rest = 0x00070009},
      mask{.type = IcmpType::address_mask_request};
  EXPECT_EQ(run(message(ask, body), 0).error(), Drop::icmp_ignored);
  EXPECT_EQ(run(message(mask, Data(4)), 0).error(), Drop::icmp_ignored);
  tunables_.timestamp_reply = tunables_.mask_reply = 1;
  auto in = run(message(ask, body), 0);
  ASSERT_TRUE(in);
  Data reply = data_of(*std::get<Answer>(*in).packet);
  auto view = wire::IcmpView::parse(reply);
  EXPECT_TRUE(view->checksum_ok());
  EXPECT_EQ(view->header(), (IcmpHeader{.type = IcmpType::timestamp_reply, .rest = 0x00070009}));
  EXPECT_EQ(view->timestamps(), (wire::IcmpTimestamps{1, 5000, 5000}));
  in = run(message(mask, Data(4)), 0);
  ASSERT_TRUE(in);
  reply = data_of(*std::get<Answer>(*in).packet);
  EXPECT_EQ(wire::IcmpView::parse(reply)->address_mask(), (Ipv4Address{255, 255, 255, 0}));
  EXPECT_EQ(run(message(ask, Data(11)), 0).error(), Drop::icmp_ignored);
  ms_.reset();
  EXPECT_EQ(run(message(ask, body), 0).error(), Drop::icmp_ignored) << "the time is not known";
}

TEST_F(IcmpTest, RepliesAreForRawSockets) {
  for (const auto type : {IcmpType::echo_reply, IcmpType::timestamp_reply, IcmpType::address_mask_reply})
    EXPECT_TRUE(std::holds_alternative<RawOnly>(*run(message({.type = type}, Data(12)), 0)));
}

TEST_F(IcmpTest, ErrorsAreSentAsRfc1122Section3_2_2) {
  struct Row {
    const char* says;
    bool may;
    wire::Ipv4Header header = {.ttl = 1, .protocol = wire::IpProtocol::udp, .src = kFar, .dst = kOurs};
    int first_byte = 0;
    Cast cast = Cast::unicast;
    bool link_broadcast = false, looped = false;
  };
  const auto from = [](Ipv4Address src) {
    return wire::Ipv4Header{.ttl = 1, .protocol = wire::IpProtocol::udp, .src = src, .dst = kOurs};
  };
  const auto icmp = wire::Ipv4Header{.ttl = 1, .protocol = wire::IpProtocol::icmp, .src = kFar, .dst = kOurs};
  auto late = from(kFar), first = from(kFar);
  late.fragment_offset = 8;
  first.mf = true;
  const Row rows[] = {
      {"a datagram", true},
      {"the first fragment", true, first},
      {"another fragment", false, late},
      {"an echo request", true, icmp, 8},
      {"a destination unreachable", false, icmp, 3},
      {"a redirect", false, icmp, 5},
      {"a time exceeded", false, icmp, 11},
      {"an unknown type", false, icmp, 200},
      {"to a broadcast address", false, from(kFar), 0, Cast::broadcast},
      {"to a multicast address", false, from(kFar), 0, Cast::multicast},
      {"in a link broadcast", false, from(kFar), 0, Cast::unicast, true},
      {"from nobody", false, from({})},
      {"from a group", false, from({224, 0, 0, 1})},
      {"from all", false, from(Ipv4Address::broadcast())},
      {"from class E", false, from({250, 0, 0, 1})},
      {"from loopback", false, from(Ipv4Address::loopback())},
      {"from loopback on loopback", true, from(Ipv4Address::loopback()), 0, Cast::unicast, false, true},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.says);
    auto payload = pool_.packet(test::bytes({row.first_byte, 0, 0, 0, 0, 0, 0, 0}));
    payload->link_broadcast = row.link_broadcast;
    payload->looped = row.looped;
    EXPECT_EQ(may_send_error(row.header, *payload, row.cast), row.may);
  }
  EXPECT_FALSE(may_send_error(icmp, *pool_.packet({}), Cast::unicast)) << "too short to tell";
}

TEST_F(IcmpTest, AnErrorQuotesAsMuchAsFits) {
  for (const std::size_t size : {0u, 8u, 527u, 528u, 529u, 3000u}) {
    wire::Ipv4Header header = sent();
    header.payload_len = static_cast<std::uint16_t>(size);
    const auto payload = pool_.packet(test::counted(size));
    const auto error = build_error(pool_.cache(), IcmpHeader::unreachable(IcmpUnreachable::port), header,
                                   *payload, counters_);
    ASSERT_TRUE(error);
    const Data bytes = data_of(*error);
    EXPECT_LE(bytes.size() + 20, 576u);
    EXPECT_EQ(bytes.size(), 28 + std::min<std::size_t>(size, 528));
    const auto view = wire::IcmpView::parse(bytes);
    EXPECT_TRUE(view->checksum_ok());
    EXPECT_EQ(view->header(), IcmpHeader::unreachable(IcmpUnreachable::port));
    const auto inner = wire::Ipv4View::parse_header(view->payload());
    EXPECT_EQ(inner->header(), header);
    EXPECT_EQ(Data(inner->payload().begin(), inner->payload().end()),
              test::counted(std::min<std::size_t>(size, 528)));
  }
}

TEST_F(IcmpTest, RedirectsAreFewAndNotRepeated) {
  RedirectLimit limit{HashKey{1, 2}};
  Instant now{77};
  const wire::IpAddress source{wire::Ipv4Address{10, 0, 0, 1}}, destination{wire::Ipv4Address{192, 0, 2, 1}};
  EXPECT_TRUE(limit.allow(source, destination, now));
  for (int i = 0; i < 49; ++i) {
    now += 100ms;
    EXPECT_FALSE(limit.allow(source, destination, now));
  }
  now += 100ms;
  EXPECT_TRUE(limit.allow(source, destination, now)) << "it may have been lost";
  now += 5s;
  std::uint32_t allowed = 0;
  for (std::uint32_t i = 0; i < 1000; ++i) allowed += limit.allow(source, wire::Ipv4Address{0x0b000000 + i}, now) ? 1 : 0;
  EXPECT_EQ(allowed, RedirectLimit::kBurst);
  now += 1s;
  for (std::uint32_t i = 0; i < 1000; ++i) allowed += limit.allow(source, wire::Ipv4Address{0x0c000000 + i}, now) ? 1 : 0;
  EXPECT_EQ(allowed, RedirectLimit::kBurst + RedirectLimit::kRate);
}

TEST_F(IcmpTest, ErrorsHaveARate) {
  tunables_.error_rate = 10;
  tunables_.error_burst = 3;
  RateLimit limit{tunables_};
  Instant now{77};
  const auto count = [&](int tries) {
    int allowed = 0;
    for (int i = 0; i < tries; ++i) allowed += limit.allow(now) ? 1 : 0;
    return allowed;
  };
  EXPECT_EQ(count(10), 3);
  now += 99ms;
  EXPECT_EQ(count(10), 0);
  now += 1ms;
  EXPECT_EQ(count(10), 1);
  now += 200ms;
  EXPECT_EQ(count(10), 2);
  now += 1'000'000s;
  EXPECT_EQ(count(10), 3) << "a long silence fills the bucket once";
  tunables_.error_rate = 0;
  now += 1s;
  EXPECT_EQ(count(10), 0);
}

TEST(IcmpTrouble, OfUnreachablesByRfc1122Section3_2_2_1) {
  using wire::IcmpUnreachable;
  const auto trouble = [](IcmpUnreachable code) {
    Message m;
    m.code = static_cast<std::uint8_t>(code);
    m.type = static_cast<std::uint8_t>(wire::IcmpType::destination_unreachable);
    return trouble_of(wire::IpFamily::v4, m);
  };
  for (const auto code : {IcmpUnreachable::network, IcmpUnreachable::network_unknown, IcmpUnreachable::network_prohibited, IcmpUnreachable::network_for_tos})
    EXPECT_EQ(trouble(code), Trouble::network) << static_cast<int>(code);
  for (const auto code : {IcmpUnreachable::host, IcmpUnreachable::host_unknown, IcmpUnreachable::host_prohibited, IcmpUnreachable::host_for_tos,
                          IcmpUnreachable::administratively_prohibited})
    EXPECT_EQ(trouble(code), Trouble::host) << static_cast<int>(code);
}

}  // namespace
}  // namespace iopkt::icmp
