// ARP packets: who is answered, what is learned from whom, and what is refused.
#include "link/arp.hpp"

#include <gtest/gtest.h>

#include "tests/support/test_pool.hpp"
#include "wire/ethernet.hpp"

namespace iopkt::link {
namespace {

using neigh::Heard;
using packet::Drop;
using test::Data;
using test::data_of;
using wire::ArpOperation;
using wire::ArpPacket;
using wire::Ipv4Address;
using wire::MacAddress;

constexpr MacAddress kOurMac{{2, 0, 0, 0, 0, 1}}, kPeerMac{{2, 0, 0, 0, 0, 2}}, kProxyMac{{2, 0, 0, 0, 0, 9}};
constexpr Ipv4Address kOurs{10, 0, 0, 1}, kPeer{10, 0, 0, 2}, kThird{10, 0, 0, 3}, kFar{192, 168, 7, 7};

class ArpTest : public testing::Test {
 protected:
  ArpTest() {
    using namespace iface::flag;
    table_ = table_.with(
        {.index = 4,
         .name = "en0",
         .mac = kOurMac,
         .flags = up | broadcast,
         .addresses = {{.address = kOurs, .prefix_length = 24, .broadcast = Ipv4Address{10, 0, 0, 255}}}});
  }
  Expected<ArpIn, Drop> run(const ArpPacket& arp) {
    Data bytes(wire::ArpView::kLen);
    wire::encode(arp, bytes);
    auto packet = pool_.packet(bytes);
    EXPECT_TRUE(packet->append_zeroes(18));
    return arp_input({*table_.by_index(4), table_, counters_, &neighbours_}, *packet);
  }
  static ArpPacket request(Ipv4Address from, Ipv4Address to) {
    return {ArpOperation::request, kPeerMac, from, {}, to};
  }
  test::TestPool pool_;
  iface::InterfaceTable table_;
  neigh::ArpCounters<Counter> counters_;
  neigh::NeighbourTunables tunables_ = initial_values<neigh::NeighbourTunables>();
  neigh::Neighbours neighbours_{tunables_, {}};
};

TEST_F(ArpTest, AnswersARequestForOurAddressToTheSenderAlone) {
  const auto in = run(request(kPeer, kOurs));
  ASSERT_TRUE(in);
  ASSERT_TRUE(in->learned);
  EXPECT_EQ(in->learned->key, (neigh::Key{4, kPeer}));
  EXPECT_EQ(in->learned->mac, kPeerMac);
  EXPECT_EQ(in->learned->how, Heard::request);
  ASSERT_TRUE(in->answer);
  const Data frame = data_of(*in->answer);
  EXPECT_EQ(frame.size(), 60u);
  const auto ethernet = wire::EthernetView::parse(frame);
  EXPECT_EQ(ethernet->header(), (wire::EthernetHeader{kPeerMac, kOurMac, wire::EtherType::arp}));
  EXPECT_EQ(wire::ArpView::parse(ethernet->payload())->packet(),
            (ArpPacket{ArpOperation::reply, kOurMac, kOurs, kPeerMac, kPeer}));
  EXPECT_EQ(counters_.rx_requests.value(), 1u);
  EXPECT_EQ(counters_.tx_replies.value(), 1u);
}

TEST_F(ArpTest, LearnsByWhomItWasTold) {
  const struct {
    const char* says;
    ArpPacket arp;
    std::optional<Heard> how;
    bool answer;
  } rows[] = {
      {"a request for us", request(kPeer, kOurs), Heard::request, true},
      {"a request for another", request(kPeer, kThird), Heard::announcement, false},
      {"a request for us from a stranger to the link", request(kFar, kOurs), Heard::announcement, true},
      {"a probe for our address", request({}, kOurs), {}, true},
      {"an announcement", request(kPeer, kPeer), Heard::announcement, false},
      {"a reply to us", {ArpOperation::reply, kPeerMac, kPeer, kOurMac, kOurs}, Heard::reply, false},
      {"a reply to us from a stranger",
       {ArpOperation::reply, kPeerMac, kFar, kOurMac, kOurs},
       Heard::reply,
       false},
      {"a reply to another",
       {ArpOperation::reply, kPeerMac, kPeer, kOurMac, kThird},
       Heard::announcement,
       false},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    const auto in = run(row.arp);
    ASSERT_TRUE(in);
    EXPECT_EQ(in->learned.has_value(), row.how.has_value());
    if (in->learned && row.how) {
      EXPECT_EQ(in->learned->how, *row.how);
    }
    EXPECT_EQ(static_cast<bool>(in->answer), row.answer);
    EXPECT_FALSE(in->contested);
  }
}

TEST_F(ArpTest, RefusesWhatNoHostSends) {
  const MacAddress group{{1, 2, 3, 4, 5, 6}};
  const struct {
    const char* says;
    ArpPacket arp;
    Drop why;
  } rows[] = {
      {"a group as sender", {ArpOperation::request, group, kPeer, {}, kOurs}, Drop::arp_bad_sender},
      {"no sender MAC", {ArpOperation::request, {}, kPeer, {}, kOurs}, Drop::arp_bad_sender},
      {"our own MAC", {ArpOperation::request, kOurMac, kPeer, {}, kOurs}, Drop::arp_bad_sender},
      {"from a multicast address", request({224, 0, 0, 1}, kOurs), Drop::arp_bad_sender},
      {"from the broadcast address", request({10, 0, 0, 255}, kOurs), Drop::arp_bad_sender},
      {"from all", request(Ipv4Address::broadcast(), kOurs), Drop::arp_bad_sender},
      {"from loopback", request(Ipv4Address::loopback(), kOurs), Drop::arp_bad_sender},
      {"a reply from nobody", {ArpOperation::reply, kPeerMac, {}, kOurMac, kOurs}, Drop::arp_bad_sender},
      {"a probe for another", request({}, kThird), Drop::arp_not_for_us},
      {"reverse ARP", {ArpOperation::reverse_request, kPeerMac, kPeer, {}, kOurs}, Drop::arp_malformed},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    const auto in = run(row.arp);
    ASSERT_FALSE(in);
    EXPECT_EQ(in.error(), row.why);
  }
}

TEST_F(ArpTest, RefusesWhatIsNoArpForIpv4OverEthernet) {
  Data good(wire::ArpView::kLen);
  wire::encode(request(kPeer, kOurs), good);
  const auto judge = [&](const Data& bytes) {
    auto packet = pool_.packet(bytes);
    return arp_input({*table_.by_index(4), table_, counters_, nullptr}, *packet).has_value();
  };
  EXPECT_TRUE(judge(good));
  for (std::size_t n = 0; n < good.size(); ++n)
    EXPECT_FALSE(judge(Data(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(n))));
  for (std::size_t at = 0; at < 6; ++at) {
    Data bad = good;
    bad[at] ^= std::byte{0x40};
    EXPECT_FALSE(judge(bad)) << at;
  }
  iface::Interface quiet = *table_.by_index(4);
  quiet.flags |= iface::flag::no_arp;
  table_ = table_.with(quiet);
  EXPECT_FALSE(judge(good));
}

TEST_F(ArpTest, SeesSomebodyElseUseOurAddress) {
  for (const auto operation : {ArpOperation::request, ArpOperation::reply}) {
    const auto in = run({operation, kPeerMac, kOurs, {}, kOurs});
    ASSERT_TRUE(in);
    EXPECT_TRUE(in->contested);
    EXPECT_FALSE(in->learned);
    EXPECT_FALSE(in->answer);
  }
  EXPECT_EQ(counters_.rx_conflicts.value(), 2u);
}

TEST_F(ArpTest, AnswersForWhatIsPublished) {
  neigh::Actions actions;
  neighbours_.set_static({4, kThird}, kProxyMac, {.published = true}, {}, actions);
  const auto in = run(request(kPeer, kThird));
  ASSERT_TRUE(in && in->answer);
  const Data frame = data_of(*in->answer);
  const auto arp = wire::ArpView::parse(Bytes{frame}.subspan(14))->packet();
  EXPECT_EQ(arp.sender_mac, kProxyMac);
  EXPECT_EQ(arp.sender_ip, kThird);
}

TEST_F(ArpTest, BuildsRequests) {
  const iface::Interface& out = *table_.by_index(4);
  const struct {
    packet::PacketPtr frame;
    MacAddress dst;
    Ipv4Address sender, target;
  } rows[] = {
      {arp_request(pool_.cache(), out, kOurs, kPeer), MacAddress::broadcast(), kOurs, kPeer},
      {arp_request(pool_.cache(), out, kOurs, kPeer, kPeerMac), kPeerMac, kOurs, kPeer},
      {arp_announcement(pool_.cache(), out, kOurs), MacAddress::broadcast(), kOurs, kOurs},
      {arp_probe(pool_.cache(), out, kOurs), MacAddress::broadcast(), {}, kOurs},
  };
  for (const auto& row : rows) {
    const Data frame = data_of(*row.frame);
    const auto ethernet = wire::EthernetView::parse(frame);
    EXPECT_EQ(ethernet->header(), (wire::EthernetHeader{row.dst, kOurMac, wire::EtherType::arp}));
    EXPECT_EQ(wire::ArpView::parse(ethernet->payload())->packet(),
              (ArpPacket{ArpOperation::request, kOurMac, row.sender, {}, row.target}));
  }
}

TEST_F(ArpTest, AsksFromTheAddressOnTheSameNetwork) {
  iface::Interface out = *table_.by_index(4);
  out.addresses.push_back({.address = Ipv4Address{192, 168, 7, 1}, .prefix_length = 24});
  EXPECT_EQ(arp_sender_for(out, kFar), (Ipv4Address{192, 168, 7, 1}));
  EXPECT_EQ(arp_sender_for(out, {8, 8, 8, 8}), kOurs);
  out.addresses.clear();
  EXPECT_FALSE(arp_sender_for(out, kFar));
}

}  // namespace
}  // namespace iopkt::link
