// What an IPv4 packet must be like to be let in, and whose it is.
#include "ipv4/input.hpp"

#include <gtest/gtest.h>

#include <functional>

#include "ipv4/forward.hpp"
#include "ipv4/options.hpp"
#include "tests/support/test_pool.hpp"

namespace iopkt::ipv4 {
namespace {

using test::bytes;
using test::Data;
using wire::Ipv4Address;

constexpr Ipv4Address kOurs{10, 0, 0, 1}, kPeer{10, 0, 0, 2}, kOther{192, 168, 1, 1}, kFar{203, 0, 113, 9};

iface::InterfaceTable interfaces() {
  iface::InterfaceTable table;
  using namespace iface::flag;
  table = table.with({.index = 1,
                      .name = "lo0",
                      .link_type = iface::LinkType::loopback,
                      .flags = up | loopback,
                      .addresses = {{.address = Ipv4Address::loopback(), .prefix_length = 8}}});
  table = table.with(
      {.index = 2,
       .name = "en0",
       .flags = up | broadcast,
       .addresses = {{.address = kOurs, .prefix_length = 24, .broadcast = Ipv4Address{10, 0, 0, 255}}}});
  return table.with(
      {.index = 3,
       .name = "en1",
       .flags = up | broadcast,
       .addresses = {{.address = kOther, .prefix_length = 24, .broadcast = Ipv4Address{192, 168, 1, 255}}}});
}

class Ipv4InputTest : public testing::Test {
 protected:
  Expected<Ipv4In, Refused> run(packet::Packet& packet) {
    return input(
        {.in = *table_.by_index(2), .interfaces = table_, .tunables = tunables_, .counters = counters_},
        packet);
  }
  static wire::Ipv4Header header() {
    return {.id = 1, .ttl = 64, .protocol = wire::IpProtocol::udp, .src = kPeer, .dst = kOurs};
  }
  test::TestPool pool_;
  iface::InterfaceTable table_ = interfaces();
  Ipv4Tunables tunables_ = initial_values<Ipv4Tunables>();
  Ipv4Counters<Counter> counters_;
};

TEST_F(Ipv4InputTest, AcceptsWhatIsForUsAndCutsPadding) {
  auto packet = pool_.ipv4(header(), test::counted(10));
  ASSERT_TRUE(packet->append_zeroes(16));
  const auto in = run(*packet);
  ASSERT_TRUE(in);
  EXPECT_EQ(in->way, Way::deliver);
  EXPECT_EQ(in->cast, Cast::unicast);
  EXPECT_EQ(in->header.src, kPeer);
  EXPECT_EQ(in->header.payload_len, 10);
  EXPECT_EQ(packet->size(), 30u) << "the header stays";
  strip_header(*packet, in->header_len);
  EXPECT_EQ(test::data_of(*packet), test::counted(10));
  EXPECT_EQ(packet->network_len, 20);
  EXPECT_EQ(counters_.rx_packets.value(), 1u);
  EXPECT_EQ(counters_.rx_bytes.value(), 46u);
  EXPECT_EQ(counters_.rx_delivered.value(), 1u);
}

TEST_F(Ipv4InputTest, RefusesMalformedHeaders) {
  const struct {
    const char* says;
    std::function<void(packet::Packet&)> spoil;
    Drop why;
  } rows[] = {
      {"empty", [](auto& p) { p.trim_back(p.size()); }, Drop::ip_truncated},
      {"19 bytes", [](auto& p) { p.trim_back(p.size() - 19); }, Drop::ip_truncated},
      {"shorter than its total length", [](auto& p) { p.trim_back(1); }, Drop::ip_truncated},
      {"header longer than the packet", [](auto& p) { p.mutable_head()[0] = std::byte{0x4f}; },
       Drop::ip_truncated},
      {"version 6", [](auto& p) { p.mutable_head()[0] = std::byte{0x65}; }, Drop::ip_bad_version},
      {"header of 16 bytes", [](auto& p) { p.mutable_head()[0] = std::byte{0x44}; }, Drop::ip_bad_length},
      {"total length below the header's", [](auto& p) { store_be16(p.mutable_head(), 2, 19); },
       Drop::ip_bad_length},
      {"one bit in the checksum", [](auto& p) { p.mutable_head()[10] ^= std::byte{1}; },
       Drop::ip_bad_checksum},
      {"one bit in the TTL", [](auto& p) { p.mutable_head()[8] ^= std::byte{1}; }, Drop::ip_bad_checksum},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    auto packet = pool_.ipv4(header(), test::counted(10));
    row.spoil(*packet);
    const auto in = run(*packet);
    ASSERT_FALSE(in);
    EXPECT_EQ(in.error().why, row.why);
    EXPECT_FALSE(in.error().answer) << "nobody answers what it does not understand";
  }
}

TEST_F(Ipv4InputTest, JudgesAddressesAsRfc1122Section3_2_1_3) {
  struct Row {
    const char* says;
    Ipv4Address src, dst;
    std::optional<Drop> why;
    Cast cast = Cast::unicast;
  };
  const Row rows[] = {
      {"from a peer", kPeer, kOurs, {}},
      {"from far away", kFar, kOurs, {}},
      {"without an address, to all", {}, Ipv4Address::broadcast(), {}, Cast::broadcast},
      {"to the network's broadcast address", kPeer, {10, 0, 0, 255}, {}, Cast::broadcast},
      {"to all hosts", kPeer, {224, 0, 0, 1}, {}, Cast::multicast},
      {"to a group that nobody joined", kPeer, {224, 0, 0, 251}, Drop::ip_not_for_us},
      {"to our address on another interface", kPeer, kOther, {}},
      {"to another interface's broadcast address", kPeer, {192, 168, 1, 255}, Drop::ip_not_for_us},
      {"to somebody else", kPeer, kFar, Drop::ip_not_for_us},
      {"from a group", {224, 0, 0, 5}, kOurs, Drop::ip_bad_source},
      {"from all", Ipv4Address::broadcast(), kOurs, Drop::ip_bad_source},
      {"from a network's broadcast address", {10, 0, 0, 255}, kOurs, Drop::ip_bad_source},
      {"from another network's broadcast address", {192, 168, 1, 255}, kOurs, Drop::ip_bad_source},
      {"from network 0", {0, 0, 0, 5}, kOurs, Drop::ip_bad_source},
      {"from class E", {240, 0, 0, 5}, kOurs, Drop::ip_bad_source},
      {"from loopback", {127, 0, 0, 1}, kOurs, Drop::ip_bad_source},
      {"from our own address", kOurs, kOurs, Drop::ip_bad_source},
      {"from our address on another interface", kOther, kOurs, Drop::ip_bad_source},
      {"to loopback", kPeer, {127, 0, 0, 1}, Drop::ip_bad_destination},
      {"to nobody", kPeer, {0, 0, 0, 0}, Drop::ip_bad_destination},
      {"to class E", kPeer, {240, 0, 0, 1}, Drop::ip_bad_destination},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.says);
    wire::Ipv4Header h = header();
    h.src = row.src;
    h.dst = row.dst;
    auto packet = pool_.ipv4(h, test::counted(10));
    const auto in = run(*packet);
    ASSERT_EQ(in.has_value(), !row.why);
    if (row.why) {
      EXPECT_EQ(in.error().why, *row.why);
    } else {
      EXPECT_EQ(in->way, Way::deliver);
      EXPECT_EQ(in->cast, row.cast);
    }
  }
}

TEST_F(Ipv4InputTest, MartianRulesDoNotApplyToWhatWeSentOurselves) {
  for (const Ipv4Address address : {Ipv4Address{127, 0, 0, 1}, Ipv4Address{127, 9, 9, 9}, kOurs, kOther}) {
    wire::Ipv4Header h = header();
    h.src = h.dst = address;
    auto packet = pool_.ipv4(h, {});
    packet->looped = true;
    packet->mutable_head()[10] ^= std::byte{1};  // no checksum on loopback
    EXPECT_TRUE(run(*packet)) << address.to_string();
    tunables_.do_loopback_cksum = 1;
    EXPECT_FALSE(run(*packet));
    tunables_.do_loopback_cksum = 0;
  }
}

TEST_F(Ipv4InputTest, ALinkBroadcastCarriesNoUnicast) {
  for (const bool multicast : {true, false}) {
    auto packet = pool_.ipv4(header(), {});
    packet->link_broadcast = !multicast;
    packet->link_multicast = multicast;
    EXPECT_EQ(run(*packet).error().why, Drop::ip_link_broadcast);
  }
}

TEST_F(Ipv4InputTest, CheckinterfaceBindsAddressesToInterfaces) {
  tunables_.check_interface = 1;
  wire::Ipv4Header h = header();
  h.dst = kOther;
  EXPECT_EQ(run(*pool_.ipv4(h, {})).error().why, Drop::ip_not_for_us);
  EXPECT_TRUE(run(*pool_.ipv4(header(), {})));
}

TEST_F(Ipv4InputTest, FragmentsGoToReassembly) {
  wire::Ipv4Header h = header();
  h.mf = true;
  EXPECT_EQ(run(*pool_.ipv4(h, test::counted(16)))->way, Way::fragment);
  h.mf = false;
  h.fragment_offset = 8;
  EXPECT_EQ(run(*pool_.ipv4(h, test::counted(16)))->way, Way::fragment);
  EXPECT_EQ(counters_.rx_delivered.value(), 0u) << "not yet";
}

TEST_F(Ipv4InputTest, ForwardsOnlyWhatMayTravel) {
  tunables_.forwarding = 1;
  const struct {
    const char* says;
    Ipv4Address src, dst;
    std::optional<Drop> why;
  } rows[] = {
      {"far away", kPeer, kFar, {}},
      {"to a network's broadcast address", kPeer, {192, 168, 1, 255}, Drop::ip_bad_destination},
      {"to a link-local address", kPeer, {169, 254, 1, 1}, Drop::ip_bad_destination},
      {"from a link-local address", {169, 254, 1, 1}, kFar, Drop::ip_bad_source},
      {"from no address", {}, kFar, Drop::ip_bad_source},
      {"to a group", kPeer, {239, 1, 1, 1}, Drop::ip_not_for_us},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    wire::Ipv4Header h = header();
    h.src = row.src;
    h.dst = row.dst;
    const auto in = run(*pool_.ipv4(h, {}));
    ASSERT_EQ(in.has_value(), !row.why);
    if (row.why) {
      EXPECT_EQ(in.error().why, *row.why);
    } else {
      EXPECT_EQ(in->way, Way::forward);
    }
  }
  tunables_.directed_broadcast = 1;
  wire::Ipv4Header h = header();
  h.dst = {192, 168, 1, 255};
  EXPECT_EQ(run(*pool_.ipv4(h, {}))->way, Way::forward);
}

wire::Ipv4OptionBytes options_of(const Data& data) {
  wire::Ipv4OptionBytes o;
  std::copy(data.begin(), data.end(), o.bytes.begin());
  o.len = static_cast<std::uint8_t>(data.size());
  return o;
}

TEST_F(Ipv4InputTest, JudgesOptions) {
  const struct {
    const char* says;
    Data options;
    std::optional<Drop> why;
    int pointer;  // of a parameter problem, -1: no answer
  } rows[] = {
      {"no operation", bytes({1, 1, 1, 0}), {}, -1},
      {"unknown", bytes({0x5e, 4, 0, 0}), {}, -1},
      {"record route", bytes({7, 7, 4, 0, 0, 0, 0, 0}), {}, -1},
      {"router alert", bytes({148, 4, 0, 0}), {}, -1},
      {"timestamp", bytes({68, 8, 5, 0, 0, 0, 0, 0}), {}, -1},
      {"a length of 0", bytes({1, 7, 0, 0}), Drop::ip_bad_option, 21},
      {"a length of 1", bytes({7, 1, 0, 0}), Drop::ip_bad_option, 20},
      {"over the end", bytes({7, 5, 4, 0}), Drop::ip_bad_option, 20},
      {"pointer before the list", bytes({7, 7, 3, 0, 0, 0, 0, 0}), Drop::ip_bad_option, 22},
      {"room for an address and a half", bytes({7, 9, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0}), {}, -1},
      {"a timestamp flag that does not exist", bytes({68, 8, 5, 2, 0, 0, 0, 0}), Drop::ip_bad_option, 23},
      {"twice", bytes({148, 4, 0, 0, 148, 4, 0, 0}), Drop::ip_bad_option, 24},
      {"a source route", bytes({131, 7, 4, 9, 9, 9, 9, 0}), Drop::ip_source_route, -1},
      {"a completed source route", bytes({137, 7, 8, 9, 9, 9, 9, 0}), Drop::ip_source_route, -1},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    wire::Ipv4Header h = header();
    h.options = options_of(row.options);
    const auto in = run(*pool_.ipv4(h, test::counted(8)));
    ASSERT_EQ(in.has_value(), !row.why);
    if (!row.why) continue;
    EXPECT_EQ(in.error().why, *row.why);
    ASSERT_EQ(in.error().answer.has_value(), row.pointer >= 0);
    if (row.pointer < 0) continue;
    EXPECT_EQ(*in.error().answer,
              wire::IcmpHeader::parameter_problem(wire::IcmpParameterProblem::at_pointer,
                                                  static_cast<std::uint8_t>(row.pointer)));
  }
}

TEST_F(Ipv4InputTest, ASourceRouteEndsHereOrNowhere) {
  tunables_.accept_source_route = tunables_.forwarding = 1;
  wire::Ipv4Header h = header();
  h.options = options_of(bytes({131, 7, 8, 9, 9, 9, 9, 0}));
  EXPECT_TRUE(run(*pool_.ipv4(h, {})));
  h.options = options_of(bytes({131, 7, 4, 9, 9, 9, 9, 0}));
  EXPECT_EQ(run(*pool_.ipv4(h, {})).error().answer,
            wire::IcmpHeader::unreachable(wire::IcmpUnreachable::source_route_failed));
}

TEST_F(Ipv4InputTest, ReadsHeadersInPieces) {
  wire::Ipv4Header h = header();
  h.options = options_of(bytes({7, 7, 8, 1, 2, 3, 4, 0}));
  const Data whole = test::data_of(*pool_.ipv4(h, test::counted(10)));
  for (std::size_t cut = 1; cut < whole.size(); ++cut) {
    auto packet = packet::allocate_header(pool_.cache());
    ASSERT_TRUE(packet->append_borrowed(Bytes{whole}.first(cut)));
    ASSERT_TRUE(packet->append_borrowed(Bytes{whole}.subspan(cut)));
    const auto in = run(*packet);
    ASSERT_TRUE(in);
    EXPECT_EQ(test::data_of(*packet), whole);
  }
}

TEST_F(Ipv4InputTest, ForwardingCountsDownAndStampsOptions) {
  wire::Ipv4Header h = header();
  h.dst = kFar;
  h.options = options_of(bytes({7, 11, 8, 1, 1, 1, 1, 0, 0, 0, 0, 68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  tunables_.forwarding = 1;
  auto packet = pool_.ipv4(h, test::counted(10));
  auto in = run(*packet);
  ASSERT_TRUE(in);
  ASSERT_TRUE(forward(*packet, in->header, {kOther, table_, {.ms_of_day = [] { return 0x01020304u; }}}));
  const Data after = test::data_of(*packet);
  const auto view = wire::Ipv4View::parse(after);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->checksum_ok());
  EXPECT_EQ(view->header(), in->header);
  EXPECT_EQ(view->ttl(), 63);
  const Data options(view->options().begin(), view->options().end());
  EXPECT_EQ(options,
            bytes({7, 11, 12, 1, 1, 1, 1, 192, 168, 1, 1, 68, 12, 13, 1, 192, 168, 1, 1, 1, 2, 3, 4, 0}));
  // Full now: the route stays, the timestamp counts who had no room.
  ASSERT_TRUE(forward(*packet, in->header, {kOther, table_}));
  EXPECT_EQ(in->header.options.bytes[14], std::byte{0x11});
  for (int i = 0; i < 14; ++i) ASSERT_TRUE(forward(*packet, in->header, {kOther, table_}));
  const Data last = test::data_of(*packet);
  const std::uint8_t ttl = in->header.ttl;
  const auto full = forward(*packet, in->header, {kOther, table_});
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().why, Drop::ip_bad_option);
  EXPECT_EQ(test::data_of(*packet), last) << "as it came: it is quoted";
  EXPECT_EQ(in->header.ttl, ttl);
}

TEST_F(Ipv4InputTest, TimeToLiveEndsAtOne) {
  for (const auto ttl : std::initializer_list<std::uint8_t>{0, 1, 2}) {
    wire::Ipv4Header h = header();
    h.ttl = ttl;
    auto packet = pool_.ipv4(h, {});
    const auto done = forward(*packet, h, {kOther, table_});
    ASSERT_EQ(done.has_value(), ttl == 2);
    if (done) continue;
    EXPECT_EQ(done.error().why, Drop::ip_ttl_exceeded);
    EXPECT_EQ(done.error().answer, wire::IcmpHeader::time_exceeded(wire::IcmpTimeExceeded::in_transit));
  }
}

TEST(Ipv4Options, FragmentsCarryOnlyCopiedOnes) {
  const Data options = bytes({1, 7, 3, 4, 148, 4, 0, 0, 1, 130, 3, 9, 0, 0, 0, 0});
  const auto copied = copied_options(options);
  EXPECT_EQ(Data(copied.span().begin(), copied.span().end()), bytes({148, 4, 0, 0, 130, 3, 9}));
  const auto reply = options_for_reply(options, kPeer);
  EXPECT_EQ(Data(reply.span().begin(), reply.span().end()), bytes({7, 3, 4, 0}));
  EXPECT_TRUE(way_back(options, kPeer).empty());
}

TEST(Ipv4Options, APrespecifiedTimestampIsForTheOneThatIsNamed) {
  Data options = bytes({68, 12, 5, 3, 10, 0, 0, 1, 0, 0, 0, 0});
  const auto seven = [] { return 7u; };
  iface::InterfaceTable nobody;
  ASSERT_TRUE(stamp_options(options, {kOther, nobody, {.ms_of_day = seven}}));
  EXPECT_EQ(options, bytes({68, 12, 5, 3, 10, 0, 0, 1, 0, 0, 0, 0}));
  Data same = options;
  ASSERT_TRUE(stamp_options(options, {kOurs, nobody, {.ms_of_day = seven}}));
  EXPECT_EQ(options, bytes({68, 12, 13, 3, 10, 0, 0, 1, 0, 0, 0, 7}));
  // RFC 1812 5.2.4.3: any address of ours will do.
  const iface::InterfaceTable table = interfaces();
  ASSERT_TRUE(stamp_options(same, {kOther, table, {.ms_of_day = seven}}));
  EXPECT_EQ(same, options);
}

TEST(Ipv4Options, WithoutAClockTheTimeIsMarkedAsSomeOther) {
  EXPECT_EQ((StampClock{.now = Instant{} + 25h}).time(), 0x80000000u + 3'600'000u);
  EXPECT_EQ((StampClock{.now = Instant{}, .ms_of_day = [] { return 9u; }}).time(), 9u);
}

TEST_F(Ipv4InputTest, WhatIsForUsHasUsInItsRecord) {
  wire::Ipv4Header h = header();
  h.options = options_of(bytes({7, 11, 8, 1, 1, 1, 1, 0, 0, 0, 0, 0}));
  auto packet = pool_.ipv4(h, test::counted(10));
  auto in = run(*packet);
  ASSERT_TRUE(in);
  EXPECT_EQ(in->header.options, options_of(bytes({7, 11, 12, 1, 1, 1, 1, 10, 0, 0, 1, 0})));
  const Data after = test::data_of(*packet);
  EXPECT_TRUE(wire::Ipv4View::parse(after)->checksum_ok());
  // A timestamp whose count of those without room is full is an error of the packet: RFC 791 3.1.
  h.options = options_of(bytes({68, 8, 9, 0xf0, 1, 1, 1, 1}));
  packet = pool_.ipv4(h, {});
  in = run(*packet);
  ASSERT_FALSE(in);
  EXPECT_EQ(in.error().why, Drop::ip_bad_option);
  EXPECT_EQ(in.error().answer, wire::IcmpHeader::parameter_problem(wire::IcmpParameterProblem::at_pointer, 23));
  // Some room, but not for a whole entry.
  for (const auto& part : {bytes({7, 7, 5, 0, 0, 0, 0, 0}), bytes({68, 12, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0})}) {
    h.options = options_of(part);
    packet = pool_.ipv4(h, {});
    in = run(*packet);
    ASSERT_FALSE(in);
    EXPECT_EQ(in.error().answer, wire::IcmpHeader::parameter_problem(wire::IcmpParameterProblem::at_pointer, 22));
    EXPECT_FALSE(given_options(part, true));
  }
}

Data reply_to(std::initializer_list<int> options, Ipv4Address source = kPeer) {
  const auto reply = options_for_reply(bytes(options), source);
  return {reply.span().begin(), reply.span().end()};
}

TEST(Ipv4Options, ASourceRouteIsGoneBack) {
  // Passed 1.1.1.1 and 2.2.2.2; the end is reached.
  EXPECT_EQ(reply_to({131, 11, 12, 1, 1, 1, 1, 2, 2, 2, 2, 0}), bytes({131, 11, 4, 2, 2, 2, 2, 1, 1, 1, 1, 0}));
  // Only what has been passed.
  EXPECT_EQ(reply_to({137, 11, 8, 1, 1, 1, 1, 2, 2, 2, 2, 0}), bytes({137, 7, 4, 1, 1, 1, 1, 0}));
  EXPECT_EQ(reply_to({131, 7, 4, 1, 1, 1, 1, 0}), bytes({}));
  // RFC 1122 4.1.3.2: a source that has entered itself.
  EXPECT_EQ(reply_to({131, 11, 12, 1, 1, 1, 1, 2, 2, 2, 2, 0}, Ipv4Address{1, 1, 1, 1}), bytes({131, 7, 4, 2, 2, 2, 2, 0}));
  // RFC 1112 section 4: not by a group.
  EXPECT_EQ(reply_to({131, 11, 12, 224, 0, 0, 1, 2, 2, 2, 2, 0}), bytes({}));
  // A pointer far behind the list.
  EXPECT_EQ(reply_to({131, 7, 255, 1, 1, 1, 1, 0}), bytes({131, 7, 4, 1, 1, 1, 1, 0}));
}

TEST(Ipv4Options, GivenOnesAreJudgedAndRouted) {
  const auto given = [](std::initializer_list<int> options, bool any = false) { return given_options(bytes(options), any); };
  const auto data = [](const wire::Ipv4OptionBytes& o) { return Data(o.span().begin(), o.span().end()); };
  ASSERT_TRUE(given({1, 7, 7, 4, 0, 0, 0, 0}));
  EXPECT_EQ(data(*given({148, 4, 0, 0, 1})), bytes({148, 4, 0, 0, 1, 0, 0, 0})) << "whole words";
  EXPECT_FALSE(given({7, 7, 3, 0, 0, 0, 0}));
  EXPECT_FALSE(given({7, 200, 4}));
  EXPECT_FALSE(given({131, 3, 4})) << "no hop";
  EXPECT_FALSE(given({131, 7, 8, 1, 1, 1, 1})) << "begun";
  EXPECT_FALSE(given({131, 8, 4, 1, 1, 1, 1, 0})) << "no whole addresses";
  EXPECT_FALSE(given({131, 11, 4, 1, 1, 1, 1, 224, 0, 0, 1}, true)) << "RFC 1112 section 4";
  EXPECT_FALSE(given_options(Data(41), true));
  EXPECT_FALSE(given({130, 3, 9}));
  EXPECT_TRUE(given({130, 3, 9}, true));
  const auto route = *given({1, 131, 11, 4, 1, 1, 1, 1, 2, 2, 2, 2});
  EXPECT_EQ(first_hop(route, kPeer), (Ipv4Address{1, 1, 1, 1}));
  EXPECT_EQ(data(on_the_wire(route, Ipv4Address{9, 9, 9, 9})), bytes({1, 131, 11, 4, 2, 2, 2, 2, 9, 9, 9, 9}));
  EXPECT_EQ(first_hop(*given({1}), kPeer), kPeer);
  EXPECT_EQ(on_the_wire(*given({148, 4, 0, 0}), kPeer), *given({148, 4, 0, 0}));
}

}  // namespace
}  // namespace iopkt::ipv4
