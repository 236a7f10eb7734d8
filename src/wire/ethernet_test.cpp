#include "wire/ethernet.hpp"

#include <gtest/gtest.h>

#include "wire/arp.hpp"
#include "wire/test_frames.hpp"

namespace iopkt::wire {
namespace {

using test::from_hex;

TEST(Ethernet, IsReadBackAsItWas) {
  Random random{1};
  for (int i = 0; i < 1000; ++i) {
    const EthernetHeader h{.dst = test::random_mac(random),
                           .src = test::random_mac(random),
                           .type = static_cast<EtherType>(test::random_u16(random))};
    std::vector<std::byte> frame(14 + random.below(50));
    ASSERT_EQ(encode(h, frame), 14u);
    const auto view = EthernetView::parse(frame);
    ASSERT_TRUE(view);
    ASSERT_EQ(view->header(), h);
    ASSERT_EQ(view->payload().size(), frame.size() - 14);
  }
}

TEST(Ethernet, FieldsLieWhereRfc894SaysAndShortFramesAreRefused) {
  const auto frame = from_hex("ffffffffffff 020000000001 0806 aa");
  const auto view = EthernetView::parse(frame);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->dst().is_broadcast());
  EXPECT_EQ(view->src().to_string(), "02:00:00:00:00:01");
  EXPECT_EQ(view->type(), EtherType::arp);
  EXPECT_FALSE(view->is_llc());
  EXPECT_EQ(view->payload().size(), 1u);
  for (std::size_t length = 0; length < 14; ++length)
    EXPECT_EQ(EthernetView::parse(Bytes{frame}.first(length)).error(), ParseError::truncated);
  EXPECT_TRUE(EthernetView::parse(from_hex("0180c2000000 020000000001 05ff"))->is_llc());
  EXPECT_FALSE(EthernetView::parse(from_hex("0180c2000000 020000000001 0600"))->is_llc());
}

TEST(Vlan, EveryTagIsReadBackAsItWas) {
  for (std::uint32_t tci = 0; tci <= 0xffff; ++tci) {
    const VlanTag tag = VlanTag::of_tci(static_cast<std::uint16_t>(tci), EtherType::ipv4);
    ASSERT_EQ(tag.tci(), tci);
    std::vector<std::byte> bytes(5);
    ASSERT_EQ(encode(tag, bytes), 4u);
    const auto view = VlanView::parse(bytes);
    ASSERT_EQ(view->tag(), tag);
    ASSERT_EQ(view->payload().size(), 1u);
  }
  const auto tag = VlanView::parse(from_hex("b00c 86dd"))->tag();
  EXPECT_EQ(tag, (VlanTag{.priority = 5, .drop_eligible = true, .vlan_id = 12, .type = EtherType::ipv6}));
  EXPECT_EQ(VlanView::parse(from_hex("b00c 86")).error(), ParseError::truncated);
}

TEST(Arp, ReadsARequestAsRfc826DrawsIt) {
  const auto bytes = from_hex("0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002 0000");
  const auto view = ArpView::parse(bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->packet(), (ArpPacket{.operation = ArpOperation::request,
                                       .sender_mac = {{2, 0, 0, 0, 0, 1}},
                                       .sender_ip = {10, 0, 0, 1},
                                       .target_mac = {},
                                       .target_ip = {10, 0, 0, 2}}));
}

TEST(Arp, RefusesOtherKinds) {
  const struct {
    const char* hex;
    ParseError error;
  } rows[] = {
      {"0006 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002", ParseError::bad_hardware},
      {"0001 0800 08 04 0001 020000000001 0a000001 000000000000 0a000002", ParseError::bad_hardware},
      {"0001 86dd 06 04 0001 020000000001 0a000001 000000000000 0a000002", ParseError::bad_protocol},
      {"0001 0800 06 10 0001 020000000001 0a000001 000000000000 0a000002", ParseError::bad_protocol},
      {"0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a0000", ParseError::truncated},
  };
  for (const auto& row : rows) EXPECT_EQ(ArpView::parse(from_hex(row.hex)).error(), row.error) << row.hex;
}

TEST(Arp, IsReadBackAsItWasAndSurvivesDamage) {
  Random random{2};
  std::vector<std::byte> good(28);
  for (int i = 0; i < 1000; ++i) {
    const ArpPacket p{.operation = static_cast<ArpOperation>(test::random_u16(random)),
                      .sender_mac = test::random_mac(random),
                      .sender_ip = test::random_ipv4(random),
                      .target_mac = test::random_mac(random),
                      .target_ip = test::random_ipv4(random)};
    ASSERT_EQ(encode(p, good), 28u);
    ASSERT_EQ(ArpView::parse(good)->packet(), p);
  }
  test::for_each_damage(good, [](Bytes bytes) {
    const auto view = ArpView::parse(bytes);
    if (!view) return;
    std::vector<std::byte> again(28);
    encode(view->packet(), again);
    ASSERT_TRUE(std::equal(again.begin(), again.end(), bytes.begin()));
  });
}

TEST(Arp, ProbesAndAnnouncementsOfRfc5227) {
  const Ipv4Address a{10, 0, 0, 1};
  EXPECT_TRUE((ArpPacket{.operation = ArpOperation::request, .target_ip = a}.is_probe()));
  EXPECT_FALSE((ArpPacket{.operation = ArpOperation::reply, .target_ip = a}.is_probe()));
  EXPECT_TRUE(
      (ArpPacket{.operation = ArpOperation::request, .sender_ip = a, .target_ip = a}.is_announcement()));
  EXPECT_FALSE((ArpPacket{.operation = ArpOperation::request}.is_announcement()));
}

}  // namespace
}  // namespace iopkt::wire
