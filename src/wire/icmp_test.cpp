#include "wire/icmp.hpp"

#include <gtest/gtest.h>

#include "wire/test_frames.hpp"

namespace iopkt::wire {
namespace {

using test::from_hex;

TEST(Icmp, ReadsAndWritesAKnownEcho) {
  // ECHO_PACKET_BYTES of smoltcp's src/wire/icmpv4.rs.
  const auto message = from_hex("08 00 8e fe 12 34 ab cd aa 00 00 ff");
  const auto view = IcmpView::parse(message);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->header(), IcmpHeader::echo(IcmpType::echo_request, 0x1234, 0xabcd));
  EXPECT_TRUE(view->checksum_ok());
  EXPECT_EQ(view->payload().size(), 4u);
  std::vector<std::byte> out = message;
  EXPECT_EQ(encode(IcmpHeader::echo(IcmpType::echo_request, 0x1234, 0xabcd), out), 8u);
  EXPECT_EQ(IcmpView::parse(out)->checksum(), 0);
  store_icmp_checksum(out);
  EXPECT_EQ(out, message);
}

TEST(Icmp, FieldsLieWhereTheirRfcsDrawThem) {
  const auto rest_of = [](const char* hex) { return IcmpView::parse(from_hex(hex))->header(); };
  EXPECT_EQ(rest_of("03 04 0000 0000 05aa").next_hop_mtu(), 0x5aa);                 // RFC 1191 section 4
  EXPECT_EQ(rest_of("05 01 0000 0a000001").gateway(), (Ipv4Address{10, 0, 0, 1}));  // RFC 792
  EXPECT_EQ(rest_of("0c 00 0000 14 000000").pointer(), 0x14);                       // RFC 792
  EXPECT_EQ(IcmpHeader::unreachable(IcmpUnreachable::fragmentation_needed, 0x5aa),
            rest_of("03 04 0000 0000 05aa"));
  EXPECT_EQ(IcmpHeader::redirect(IcmpRedirect::host, {10, 0, 0, 1}), rest_of("05 01 0000 0a000001"));
  EXPECT_EQ(IcmpHeader::parameter_problem(IcmpParameterProblem::at_pointer, 20),
            rest_of("0c 00 0000 14 000000"));
  EXPECT_EQ(IcmpHeader::time_exceeded(IcmpTimeExceeded::reassembly), rest_of("0b 01 0000 00000000"));
}

TEST(Icmp, OnlyErrorsAreErrors) {
  for (int type = 0; type < 256; ++type) {
    const IcmpHeader h{.type = static_cast<IcmpType>(type)};
    EXPECT_EQ(h.is_error(), type == 3 || type == 4 || type == 5 || type == 11 || type == 12) << type;
  }
}

TEST(Icmp, TimestampsAndMasks) {
  const auto message = from_hex("0e 00 0000 0001 0002 00000003 00000004 80000005");
  const IcmpTimestamps stamps{3, 4, 0x80000005};
  EXPECT_EQ(IcmpView::parse(message)->timestamps(), stamps);
  EXPECT_EQ(IcmpView::parse(Bytes{message}.first(19))->timestamps().error(), ParseError::truncated);
  EXPECT_EQ(IcmpView::parse(message)->address_mask().error(), ParseError::bad_type);
  std::vector<std::byte> body(12);
  EXPECT_EQ(encode(stamps, body), 12u);
  EXPECT_TRUE(std::equal(body.begin(), body.end(), message.begin() + 8));
  const auto mask = from_hex("12 00 0000 0001 0002 ffffff00");
  EXPECT_EQ(IcmpView::parse(mask)->address_mask(), (Ipv4Address{255, 255, 255, 0}));
  EXPECT_EQ(IcmpView::parse(Bytes{mask}.first(11))->address_mask().error(), ParseError::truncated);
  EXPECT_EQ(IcmpView::parse(mask)->timestamps().error(), ParseError::bad_type);
}

TEST(Icmp, IsReadBackAsItWasAndSurvivesDamage) {
  Random random{1};
  for (int i = 0; i < 2000; ++i) {
    const IcmpHeader h{.type = static_cast<IcmpType>(test::random_u8(random)),
                       .code = test::random_u8(random),
                       .rest = test::random_u32(random)};
    auto message = test::random_bytes(random, 8 + random.below(60));
    encode(h, message);
    store_icmp_checksum(message);
    const auto view = IcmpView::parse(message);
    ASSERT_EQ(view->header(), h);
    ASSERT_TRUE(view->checksum_ok());
  }
  const auto good = from_hex("0d 00 0000 0001 0002 00000003 00000004 80000005");
  test::for_each_damage(good, [](Bytes bytes) {
    const auto view = IcmpView::parse(bytes);
    ASSERT_EQ(view.has_value(), bytes.size() >= 8);
    if (!view) return;
    (void)view->timestamps();
    (void)view->address_mask();
    (void)view->checksum_ok();
    ASSERT_EQ(view->payload().size(), bytes.size() - 8);
  });
}

TEST(IcmpExtension, IsWhatRfc4884Section7Says) {
  const auto is = [](std::initializer_list<int> values) {
    std::vector<std::byte> bytes;
    for (const int v : values) bytes.push_back(static_cast<std::byte>(v));
    return !is_bad_icmp_extension(bytes);
  };
  EXPECT_TRUE(is({0x20, 0, 0, 0}));
  EXPECT_TRUE(is({0x20, 0, 0, 0, 0, 8, 1, 1, 1, 2, 3, 4}));
  EXPECT_TRUE(is({0x20, 0, 0xda, 0xf0, 0, 8, 1, 1, 1, 2, 3, 4})) << "0x2000 + 8 + 0x101 + 0x102 + 0x304 = 0x250f";
  EXPECT_FALSE(is({0x20, 0, 0xda, 0xee, 0, 8, 1, 1, 1, 2, 3, 4}));
  EXPECT_TRUE(is({0x10, 0, 1, 1, 7})) << "another version";
  EXPECT_FALSE(is({0x20, 0, 0}));
  EXPECT_FALSE(is({0x20, 0, 0, 0, 0, 3, 1, 1})) << "shorter than its header";
  EXPECT_FALSE(is({0x20, 0, 0, 0, 0, 9, 1, 1, 1, 2, 3, 4})) << "reaches over the end";
  EXPECT_FALSE(is({0x20, 0, 0, 0, 0, 4})) << "cut";
}

}  // namespace
}  // namespace iopkt::wire
