#include "wire/ipv6.hpp"

#include <gtest/gtest.h>

#include "wire/test_frames.hpp"

namespace iopkt::wire {
namespace {

Ipv6Address ip(const char* text) { return *Ipv6Address::parse(text); }

/// A header with `next` first and `rest` behind.
std::vector<std::byte> packet(IpProtocol next, const std::vector<std::byte>& rest) {
  std::vector<std::byte> out(Ipv6View::kHeaderLen);
  encode(Ipv6Header{.payload_len = static_cast<std::uint16_t>(rest.size()),
                    .next_header = next,
                    .hop_limit = 64,
                    .src = ip("2001:db8::1"),
                    .dst = ip("2001:db8::2")},
         out);
  out.insert(out.end(), rest.begin(), rest.end());
  return out;
}
std::vector<std::byte> operator+(std::vector<std::byte> a, const std::vector<std::byte>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}
using test::from_hex;

TEST(Ipv6, ReadsAKnownHeader) {
  // A DNS query, as a host sent it.
  const auto bytes = from_hex(
      "6a 21 23 45 00 0c 11 40 20010db8000000000000000000000001 20010db8000000000000000000000035 "
      "c0 00 00 35 00 0c 00 00 01 02 03 04 ff");
  const auto view = Ipv6View::parse(bytes);
  ASSERT_TRUE(view);
  const Ipv6Header h = view->header();
  EXPECT_EQ(h, (Ipv6Header{.tos = 0xa2, .flow_label = 0x12345, .payload_len = 12, .next_header = IpProtocol::udp, .hop_limit = 64,
                           .src = ip("2001:db8::1"), .dst = ip("2001:db8::35")}));
  EXPECT_EQ(view->packet().size(), 52u) << "the last byte is padding";
  EXPECT_EQ(view->payload().size(), 12u);
}

TEST(Ipv6, LengthsDecide) {
  const auto whole = packet(IpProtocol::udp, std::vector<std::byte>(8));
  EXPECT_EQ(Ipv6View::parse(Bytes{whole}.first(47)).error(), ParseError::truncated);
  EXPECT_TRUE(Ipv6View::parse_header(Bytes{whole}.first(47)));
  EXPECT_EQ(Ipv6View::parse_header(Bytes{whole}.first(39)).error(), ParseError::truncated);
  auto other = whole;
  other[0] = std::byte{0x45};
  EXPECT_EQ(Ipv6View::parse(other).error(), ParseError::bad_version);
}

TEST(Ipv6, IsReadBackAsItWas) {
  Random random{6};
  for (int i = 0; i < 500; ++i) {
    Ipv6Header h{.tos = test::random_u8(random), .flow_label = test::random_u32(random) & 0xfffff, .payload_len = 0,
                 .next_header = static_cast<IpProtocol>(test::random_u8(random)), .hop_limit = test::random_u8(random), .src = {}, .dst = {}};
    for (auto& byte : h.src.bytes) byte = test::random_u8(random);
    for (auto& byte : h.dst.bytes) byte = test::random_u8(random);
    std::vector<std::byte> bytes(Ipv6View::kHeaderLen);
    encode(h, bytes);
    EXPECT_EQ(Ipv6View::parse(bytes)->header(), h);
    const Ipv6FragmentHeader f{.next_header = h.next_header, .offset = static_cast<std::uint16_t>(test::random_u16(random) & 0xfff8),
                               .more = random.chance(0.5), .id = test::random_u32(random)};
    std::vector<std::byte> fragment(Ipv6FragmentHeader::kLen);
    encode(f, fragment);
    EXPECT_EQ(Ipv6FragmentHeader::parse(fragment), f);
  }
}

TEST(Ipv6Extensions, TheTransportIsFoundBehindThem) {
  const auto hop_by_hop = from_hex("2b 00 05 02 00 00 01 00");   // router alert, next: routing
  const auto routing = from_hex("3c 02 04 00 00 00 00 00") + std::vector<std::byte>(16);
  const auto options = from_hex("2c 00 01 04 00 00 00 00");
  const auto fragment = from_hex("06 00 00 01 00 00 00 07");     // offset 0, more
  const auto bytes = packet(IpProtocol::hop_by_hop, hop_by_hop + routing + options + fragment + std::vector<std::byte>(20));
  const auto found = find_upper_layer(bytes);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->protocol, IpProtocol::tcp);
  EXPECT_EQ(found->offset, 40u + 8 + 24 + 8 + 8);
  EXPECT_EQ(found->named_at, 40u + 8 + 24 + 8);
  ASSERT_TRUE(found->fragment);
  EXPECT_EQ(found->fragment->id, 7u);
  EXPECT_FALSE(found->fragment->is_atomic());

  const auto plain = find_upper_layer(packet(IpProtocol::udp, std::vector<std::byte>(8)));
  EXPECT_EQ(plain->offset, 40u);
  EXPECT_EQ(plain->named_at, 6u);
  // Behind a later fragment's header there is no header any more, whatever the bytes look like.
  const auto later = find_upper_layer(packet(IpProtocol::fragment, from_hex("3c 00 00 08 00 00 00 07") + options));
  EXPECT_EQ(later->offset, 48u);
  EXPECT_EQ(later->protocol, IpProtocol::destination_options);
}

TEST(Ipv6Extensions, TheWalkIsBounded) {
  std::vector<std::byte> chain;
  for (std::size_t i = 0; i < kExtensionHeadersMax; ++i) chain = chain + from_hex("3c 00 01 04 00 00 00 00");
  auto good = chain;
  good[good.size() - 8] = std::byte{17};
  EXPECT_TRUE(find_upper_layer(packet(IpProtocol::destination_options, good + std::vector<std::byte>(8))));
  EXPECT_EQ(find_upper_layer(packet(IpProtocol::destination_options, chain + good)).error(), ParseError::bad_length);
  auto longest = from_hex("11 3f 01 04 00 00 00 00") + std::vector<std::byte>(504);  // 512 bytes
  EXPECT_TRUE(find_upper_layer(packet(IpProtocol::destination_options, longest)));
  longest = from_hex("11 40 01 04 00 00 00 00") + std::vector<std::byte>(512);
  EXPECT_EQ(find_upper_layer(packet(IpProtocol::destination_options, longest)).error(), ParseError::bad_length);
  EXPECT_EQ(find_upper_layer(packet(IpProtocol::routing, from_hex("06 01 00 00 00 00 00 00"))).error(), ParseError::truncated);
}

TEST(Ipv6Extensions, OptionsOneByOne) {
  const auto header = from_hex("11 02 00 01 02 00 00 c2 04 00 01 00 00 05 02 00 00 00 00 1e 01 ff 00 00");
  Ipv6OptionReader reader{header};
  auto option = reader.next();
  ASSERT_TRUE(option && *option);
  EXPECT_EQ((*option)->type, 0xc2);
  EXPECT_EQ((*option)->offset, 7u);
  EXPECT_EQ((*option)->data.size(), 4u);
  option = reader.next();
  EXPECT_EQ((*option)->type, 5);
  option = reader.next();
  EXPECT_EQ((*option)->type, 0x1e);
  EXPECT_EQ(*reader.next(), std::nullopt);
  const auto broken = from_hex("11 00 05 02 00 00 05 02");
  Ipv6OptionReader cut{broken};
  EXPECT_TRUE(cut.next());
  EXPECT_EQ(cut.next().error(), ParseError::truncated);
}

TEST(Ipv6, SurvivesDamage) {
  const auto good = packet(IpProtocol::hop_by_hop, from_hex("2c 00 05 02 00 00 01 00 3c 00 00 01 00 00 00 07 11 00 01 04 00 00 00 00") +
                                                       std::vector<std::byte>(8));
  test::for_each_damage(good, [](Bytes bytes) {
    const auto found = find_upper_layer(bytes);
    if (!found) return;
    EXPECT_LE(found->offset, bytes.size());
    Ipv6OptionReader reader{bytes.subspan(40, std::min<std::size_t>(8, bytes.size() - 40))};
    while (const auto option = reader.next())
      if (!*option) break;
  });
}

}  // namespace
}  // namespace iopkt::wire
