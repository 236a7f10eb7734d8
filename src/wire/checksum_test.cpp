#include "wire/checksum.hpp"

#include <gtest/gtest.h>

#include "wire/test_frames.hpp"

namespace iopkt::wire {
namespace {

using test::from_hex;

/// RFC 1071 section 1, as simply as possible.
std::uint32_t plain_sum(Bytes bytes) {
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    sum += std::to_integer<std::uint32_t>(bytes[i]) << (i % 2 == 0 ? 8 : 0);
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return sum;
}

TEST(Checksum, TheExampleOfRfc1071Section3) {
  EXPECT_EQ(sum(from_hex("0001 f203 f4f5 f6f7")), 0xddf2u);
  EXPECT_EQ(finish(0xddf2), 0x220d);
}

TEST(Checksum, TheExampleOfRfc1624Section4) {
  EXPECT_EQ(updated_checksum16(0xdd2f, 0x5555, 0x3285), 0x0000)
      << "equation 2 of RFC 1141 would answer 0xffff";
}

TEST(Checksum, EqualsThePlainSumAtEveryLengthAndAlignment) {
  Random random{1};
  const auto memory = test::random_bytes(random, 700);
  for (std::size_t start = 0; start < 9; ++start)
    for (std::size_t length = 0; start + length <= memory.size(); ++length) {
      const auto piece = Bytes{memory}.subspan(start, length);
      ASSERT_EQ(sum(piece), plain_sum(piece)) << start << "+" << length;
      std::vector<std::byte> copy(length);
      ASSERT_EQ(copy_and_sum(copy, piece), plain_sum(piece));
      ASSERT_TRUE(std::equal(copy.begin(), copy.end(), piece.begin()));
    }
}

TEST(Checksum, LosesNoCarryOfTheLargestMessage) {
  for (const std::size_t size : {std::size_t{65535}, std::size_t{65536}, std::size_t{1} << 20}) {
    const std::vector<std::byte> ones(size, std::byte{0xff});
    EXPECT_EQ(sum(ones), size % 2 == 0 ? 0xffffu : 0xff00u);
    EXPECT_EQ(sum(std::vector<std::byte>(size)), 0u) << "only zeros add up to 0";
  }
  EXPECT_EQ(sum({}, 0xffff), 0xffffu);
  EXPECT_EQ(sum({}), 0u);
}

TEST(Checksum, CopyWritesNothingBehindTheBytes) {
  Random random{2};
  for (std::size_t length = 0; length < 300; ++length) {
    const auto from = test::random_bytes(random, length);
    std::vector<std::byte> to(length + 40, std::byte{0xa5});
    copy_and_sum(to, from);
    for (std::size_t i = length; i < to.size(); ++i) ASSERT_EQ(to[i], std::byte{0xa5});
  }
}

TEST(Checksum, ComposesFromPiecesOfAnyLength) {
  Random random{3};
  for (int round = 0; round < 2000; ++round) {
    const auto message = test::random_bytes(random, random.below(400));
    InternetChecksum checksum;
    std::size_t at = 0;
    while (at < message.size()) {
      const std::size_t length = 1 + random.below(message.size() - at);
      if (length == 2)
        checksum.add_be16(load_be16(message, at));
      else
        checksum.add(Bytes{message}.subspan(at, length));
      at += length;
    }
    ASSERT_EQ(checksum.partial(), plain_sum(message));
    ASSERT_EQ(checksum.value(), finish(plain_sum(message)));
  }
}

TEST(Checksum, AnUpdateEqualsComputingAgain) {
  Random random{4};
  for (int round = 0; round < 10'000; ++round) {
    auto message = test::random_bytes(random, 20);
    if (round % 10 == 0)
      std::fill(message.begin(), message.end(),
                std::byte{static_cast<std::uint8_t>(round % 20 == 0 ? 0 : 0xff)});
    message[19] = std::byte{1};  // never all zero: a real message is not
    const std::uint16_t before = finish(sum(message));
    const std::size_t at = random.below(4) * 4;
    const std::uint32_t from = load_be32(message, at);
    const std::uint32_t to = round % 3 == 0 ? ~from : test::random_u32(random);
    store_be32(message, at, to);
    ASSERT_EQ(updated_checksum32(before, from, to), finish(sum(message)));
  }
}

TEST(Checksum, PseudoHeadersOfBothFamilies) {
  // Written out by hand as RFC 9293 section 3.1 and RFC 8200 section 8.1 draw them.
  const auto v4 = from_hex("c0a80001 c0a800c7 00 11 005f");
  EXPECT_EQ(
      pseudo_header_sum(Ipv4Address{192, 168, 0, 1}, Ipv4Address{192, 168, 0, 199}, IpProtocol::udp, 0x5f),
      sum(v4));
  const auto v6 =
      from_hex("20010db8000000000000000000000001 fe800000000000000000000000000002 00012345 000000 06");
  EXPECT_EQ(pseudo_header_sum(*Ipv6Address::parse("2001:db8::1"), *Ipv6Address::parse("fe80::2"),
                              IpProtocol::tcp, 0x12345),
            sum(v6));
}

}  // namespace
}  // namespace iopkt::wire
