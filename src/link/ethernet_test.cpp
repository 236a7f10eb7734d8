// Frames in and out of an Ethernet interface, and of one without link headers.
#include "link/ethernet.hpp"

#include <gtest/gtest.h>

#include "tests/support/test_pool.hpp"
#include "wire/ethernet.hpp"

namespace iopkt::link {
namespace {

using test::bytes;
using test::Data;
using test::data_of;
using wire::EtherType;
using wire::MacAddress;

constexpr MacAddress kOurs{{2, 0, 0, 0, 0, 1}}, kPeer{{2, 0, 0, 0, 0, 2}}, kThird{{2, 0, 0, 0, 0, 3}};
constexpr MacAddress kGroup{{1, 0, 0x5e, 0, 0, 1}};

class EthernetTest : public testing::Test {
 protected:
  packet::PacketPtr frame(const MacAddress& dst, const MacAddress& src, EtherType type, const Data& payload) {
    auto packet = pool_.packet(payload);
    wire::encode(wire::EthernetHeader{dst, src, type}, packet->prepend(14));
    return packet;
  }
  test::TestPool pool_;
  iface::Interface in_{.index = 5, .name = "en0", .mac = kOurs, .flags = iface::flag::up};
};

TEST_F(EthernetTest, TakesTheHeaderOff) {
  const struct {
    MacAddress dst;
    Cast cast;
  } rows[] = {{kOurs, Cast::unicast}, {MacAddress::broadcast(), Cast::broadcast}, {kGroup, Cast::multicast}};
  for (const auto& row : rows) {
    auto packet = frame(row.dst, kPeer, EtherType::ipv4, test::counted(60));
    const auto in = input(in_, *packet);
    ASSERT_TRUE(in);
    EXPECT_EQ(in->type, EtherType::ipv4);
    EXPECT_EQ(in->src, kPeer);
    EXPECT_EQ(in->cast, row.cast);
    EXPECT_EQ(data_of(*packet), test::counted(60));
    EXPECT_EQ(packet->link_len, 14);
    EXPECT_EQ(packet->rx_interface, 5u);
    EXPECT_EQ(packet->link_broadcast, row.cast == Cast::broadcast);
    EXPECT_EQ(packet->link_multicast, row.cast == Cast::multicast);
  }
}

TEST_F(EthernetTest, RefusesWhatIsNotForUs) {
  const Data payload = test::counted(50);
  const struct {
    const char* says;
    packet::PacketPtr packet;
    Drop why;
  } rows[] = {
      {"empty", pool_.packet({}), Drop::link_truncated},
      {"13 bytes", pool_.packet(test::counted(13)), Drop::link_truncated},
      {"to another station", frame(kThird, kPeer, EtherType::ipv4, payload), Drop::link_not_for_us},
      {"from a group", frame(kOurs, kGroup, EtherType::ipv4, payload), Drop::link_bad_source},
      {"IEEE 802.3 with LLC", frame(kOurs, kPeer, static_cast<EtherType>(46), payload),
       Drop::link_unknown_type},
      {"a VLAN", frame(kOurs, kPeer, EtherType::vlan, bytes({0x20, 7, 8, 0, 1, 2})), Drop::link_vlan},
      {"a tag that is cut", frame(kOurs, kPeer, EtherType::vlan, bytes({0x20, 7, 8})), Drop::link_truncated},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    const auto in = input(in_, *row.packet);
    ASSERT_FALSE(in);
    EXPECT_EQ(in.error(), row.why);
  }
  in_.flags |= iface::flag::promiscuous;
  EXPECT_FALSE(input(in_, *frame(kThird, kPeer, EtherType::ipv4, payload))) << "promiscuous mode is for taps";
  in_.flags = 0;
  EXPECT_EQ(input(in_, *frame(kOurs, kPeer, EtherType::ipv4, payload)).error(), Drop::link_down);
}

TEST_F(EthernetTest, APriorityTagIsNoVlan) {
  auto packet = frame(kOurs, kPeer, EtherType::vlan, bytes({0xe0, 0, 8, 0, 1, 2}));
  const auto in = input(in_, *packet);
  ASSERT_TRUE(in);
  EXPECT_EQ(in->type, EtherType::ipv4);
  EXPECT_EQ(data_of(*packet), bytes({1, 2}));
  EXPECT_EQ(packet->link_len, 18);
  // The same, stripped by the device.
  for (const auto tci : std::initializer_list<std::uint16_t>{0xe000, 0xe007}) {
    packet = frame(kOurs, kPeer, EtherType::ipv4, test::counted(50));
    packet->flags = IOPKT_VLAN_VALID;
    packet->vlan_tci = tci;
    EXPECT_EQ(input(in_, *packet).has_value(), tci == 0xe000);
  }
}

TEST_F(EthernetTest, InterfacesWithoutLinkHeaderTellByTheVersion) {
  for (const auto type : {iface::LinkType::raw_ip, iface::LinkType::loopback}) {
    in_.link_type = type;
    EXPECT_EQ(input(in_, *pool_.packet(bytes({0x45, 0})))->type, EtherType::ipv4);
    EXPECT_EQ(input(in_, *pool_.packet(bytes({0x60, 0})))->type, EtherType::ipv6);
    EXPECT_EQ(input(in_, *pool_.packet(bytes({0x50, 0}))).error(), Drop::link_unknown_type);
    EXPECT_EQ(input(in_, *pool_.packet({})).error(), Drop::link_truncated);
    auto packet = pool_.packet(bytes({0x45}));
    ASSERT_TRUE(output(in_, *packet, kPeer, EtherType::ipv4));
    EXPECT_EQ(packet->size(), 1u);
  }
}

TEST_F(EthernetTest, PadsWithZeroesTo60Bytes) {
  for (const std::size_t size : {0u, 1u, 45u, 46u, 47u, 1500u}) {
    auto packet = pool_.packet(test::counted(size, 1));
    ASSERT_TRUE(output(in_, *packet, kPeer, EtherType::arp));
    const Data frame = data_of(*packet);
    ASSERT_EQ(frame.size(), std::max<std::size_t>(60, size + 14));
    EXPECT_EQ(wire::EthernetView::parse(frame)->header(),
              (wire::EthernetHeader{kPeer, kOurs, EtherType::arp}));
    for (std::size_t i = size + 14; i < frame.size(); ++i) EXPECT_EQ(frame[i], std::byte{0});
    ASSERT_TRUE(packet->own());
    EXPECT_EQ(data_of(*packet), frame);
  }
  // What will be cut is longer than that in every part.
  auto packet = pool_.packet(test::counted(20));
  packet->flags = IOPKT_GSO_TCP4;
  ASSERT_TRUE(output(in_, *packet, kPeer, EtherType::ipv4));
  EXPECT_EQ(packet->size(), 34u);
}

TEST_F(EthernetTest, GroupsHaveTheirAddress) {
  EXPECT_EQ(multicast_mac({224, 0, 0, 1}), (MacAddress{{1, 0, 0x5e, 0, 0, 1}}));
  EXPECT_EQ(multicast_mac({239, 255, 1, 2}), (MacAddress{{1, 0, 0x5e, 0x7f, 1, 2}}));
}

}  // namespace
}  // namespace iopkt::link
