#include "wire/udp.hpp"

#include <gtest/gtest.h>

#include "wire/checksum.hpp"
#include "wire/test_frames.hpp"

namespace iopkt::wire {
namespace {

using test::from_hex;

TEST(Udp, ReadsAKnownDatagram) {
  // PACKET_BYTES of smoltcp's src/wire/udp.rs, from 192.168.1.1 to 192.168.1.2.
  const auto datagram = from_hex("bf 00 00 35 00 0c 12 4d aa 00 00 ff");
  const auto view = UdpView::parse(datagram);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->header(), (UdpHeader{.src = Port{48896}, .dst = Port{53}, .payload_len = 4}));
  EXPECT_EQ(view->checksum(), 0x124d);
  const auto pseudo =
      pseudo_header_sum(Ipv4Address{192, 168, 1, 1}, Ipv4Address{192, 168, 1, 2}, IpProtocol::udp, 12);
  EXPECT_EQ(finish(sum(view->datagram(), pseudo)), 0);

  std::vector<std::byte> out = datagram;
  EXPECT_EQ(encode(view->header(), out), 8u);
  EXPECT_EQ(UdpView::parse(out)->checksum(), 0);
  EXPECT_EQ(udp_checksum_field(finish(sum(out, pseudo))), 0x124d);
}

TEST(Udp, LengthsDecide) {
  const struct {
    const char* says;
    const char* hex;
    std::optional<ParseError> error;
    std::size_t payload;
  } rows[] = {
      {"nothing", "", ParseError::truncated, 0},
      {"7 bytes", "0001 0002 0008 00", ParseError::truncated, 0},
      {"empty payload", "0001 0002 0008 0000", std::nullopt, 0},
      {"length below the header", "0001 0002 0007 0000", ParseError::bad_length, 0},
      {"length 0", "0001 0002 0000 0000", ParseError::bad_length, 0},
      {"length over the bytes", "0001 0002 0009 0000", ParseError::truncated, 0},
      {"padding", "0001 0002 0009 0000 aa bb", std::nullopt, 1},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    const auto bytes = from_hex(row.hex);
    const auto view = UdpView::parse(bytes);
    ASSERT_EQ(view.has_value(), !row.error);
    if (view) {
      EXPECT_EQ(view->payload().size(), row.payload);
    } else {
      EXPECT_EQ(view.error(), *row.error);
    }
  }
}

TEST(Udp, ASumOfZeroIsSentAsOnes) {
  EXPECT_EQ(udp_checksum_field(0), 0xffff);
  EXPECT_EQ(udp_checksum_field(1), 1);
}

TEST(Udp, IsReadBackAsItWasAndSurvivesDamage) {
  Random random{1};
  std::vector<std::byte> datagram;
  for (int i = 0; i < 2000; ++i) {
    const UdpHeader h{.src = Port{test::random_u16(random)},
                      .dst = Port{test::random_u16(random)},
                      .payload_len = static_cast<std::uint16_t>(random.below(i == 0 ? 65528 : 40))};
    datagram.assign(8u + h.payload_len, std::byte{});
    encode(h, datagram);
    ASSERT_EQ(UdpView::parse(datagram)->header(), h);
  }
  test::for_each_damage(datagram, [](Bytes bytes) {
    const auto view = UdpView::parse(bytes);
    if (!view) return;
    ASSERT_EQ(view->header().payload_len, view->payload().size());
  });
}

TEST(Udp, TheLargestDatagram) {
  std::vector<std::byte> datagram(65535);
  encode(UdpHeader{.payload_len = 65527}, datagram);
  EXPECT_EQ(UdpView::parse(datagram)->payload().size(), 65527u);
}

}  // namespace
}  // namespace iopkt::wire
