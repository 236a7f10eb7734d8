#include "wire/ipv4.hpp"

#include <gtest/gtest.h>

#include "wire/checksum.hpp"
#include "wire/ipv4_options.hpp"
#include "wire/test_frames.hpp"

namespace iopkt::wire {
namespace {

using test::from_hex;

TEST(Ipv4, ReadsAndWritesAKnownHeader) {
  // The worked example of the article "Internet checksum" in the English Wikipedia: a UDP packet of 115
  // bytes.
  auto packet = from_hex("4500 0073 0000 4000 4011 b861 c0a8 0001 c0a8 00c7");
  const auto header_bytes = packet;
  packet.resize(115 + 6);  // and an Ethernet frame's padding
  const auto view = Ipv4View::parse(packet);
  ASSERT_TRUE(view);
  const Ipv4Header h{.df = true,
                     .ttl = 64,
                     .protocol = IpProtocol::udp,
                     .src = {192, 168, 0, 1},
                     .dst = {192, 168, 0, 199},
                     .payload_len = 95,
                     .options = {}};
  EXPECT_EQ(view->header(), h);
  EXPECT_TRUE(view->checksum_ok());
  EXPECT_EQ(view->payload().size(), 95u);
  EXPECT_EQ(view->packet().size(), 115u);
  std::vector<std::byte> out(20);
  EXPECT_EQ(encode(h, out), 20u);
  EXPECT_EQ(out, header_bytes);
}

TEST(Ipv4, RefusesByName) {
  const struct {
    const char* says;
    const char* hex;
    ParseError error;
  } rows[] = {
      {"nothing", "", ParseError::truncated},
      {"19 bytes", "4500 0014 0000 4000 4011 0000 c0a8 0001 c0a8 00", ParseError::truncated},
      {"version 6", "6500 0014 0000 4000 4011 0000 c0a8 0001 c0a8 0002", ParseError::bad_version},
      {"header of 16 bytes", "4400 0014 0000 4000 4011 0000 c0a8 0001 c0a8 0002", ParseError::bad_length},
      {"header over the total length", "4600 0014 0000 4000 4011 0000 c0a8 0001 c0a8 0002 0000 0000",
       ParseError::bad_length},
      {"header over the bytes", "4600 0018 0000 4000 4011 0000 c0a8 0001 c0a8 0002", ParseError::truncated},
      {"total length over the bytes", "4500 0015 0000 4000 4011 0000 c0a8 0001 c0a8 0002",
       ParseError::truncated},
      {"total length below the header", "4500 0013 0000 4000 4011 0000 c0a8 0001 c0a8 0002",
       ParseError::bad_length},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    const auto view = Ipv4View::parse(from_hex(row.hex));
    ASSERT_FALSE(view);
    EXPECT_EQ(view.error(), row.error);
  }
}

TEST(Ipv4, AnIcmpErrorsQuoteMayEndEarly) {
  const auto quote = from_hex("4500 05dc 1234 0000 4011 0000 0a00 0001 0a00 0002 0007 0009 05c8 0000");
  EXPECT_EQ(Ipv4View::parse(quote).error(), ParseError::truncated);
  const auto view = Ipv4View::parse_header(quote);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->payload().size(), 8u);
  EXPECT_EQ(view->total_len(), 1500u);
}

Ipv4Header random_header(Random& random) {
  Ipv4Header h{.tos = test::random_u8(random),
               .id = test::random_u16(random),
               .df = random.chance(0.5),
               .mf = random.chance(0.5),
               .fragment_offset = static_cast<std::uint16_t>(random.below(8192) * 8),
               .ttl = test::random_u8(random),
               .protocol = static_cast<IpProtocol>(test::random_u8(random)),
               .src = test::random_ipv4(random),
               .dst = test::random_ipv4(random),
               .payload_len = static_cast<std::uint16_t>(random.below(100)),
               .options = {}};
  h.options.len = static_cast<std::uint8_t>(random.below(11) * 4);
  for (std::size_t i = 0; i < h.options.len; ++i) h.options.bytes[i] = static_cast<std::byte>(random.next());
  return h;
}

TEST(Ipv4, IsReadBackAsItWas) {
  Random random{1};
  for (int i = 0; i < 20'000; ++i) {
    const Ipv4Header h = random_header(random);
    std::vector<std::byte> packet(encoded_len(h) + h.payload_len, std::byte{0x77});
    ASSERT_EQ(encode(h, packet), encoded_len(h));
    const auto view = Ipv4View::parse(packet);
    ASSERT_TRUE(view);
    ASSERT_EQ(view->header(), h);
    ASSERT_TRUE(view->checksum_ok());
    ASSERT_EQ(view->is_fragment(), h.is_fragment());
    ASSERT_EQ(view->payload().size(), h.payload_len);
  }
}

TEST(Ipv4, OptionsArePaddedWithEndOfList) {
  Ipv4Header h{.options = {}};
  h.options.bytes[0] = h.options.bytes[1] = std::byte{1};
  h.options.len = 2;
  std::vector<std::byte> out(24, std::byte{0xff});
  EXPECT_EQ(encode(h, out), 24u);
  EXPECT_EQ(std::vector(out.begin() + 20, out.end()), from_hex("0101 0000"));
}

TEST(Ipv4, DecrementingTheTtlKeepsTheChecksumRight) {
  Random random{2};
  for (int i = 0; i < 20'000; ++i) {
    Ipv4Header h = random_header(random);
    h.ttl = static_cast<std::uint8_t>(1 + random.below(255));
    std::vector<std::byte> packet(encoded_len(h) + h.payload_len);
    encode(h, packet);
    decrement_ttl(MutableBytes{packet}.first(encoded_len(h)));
    const auto view = Ipv4View::parse(packet);
    ASSERT_EQ(view->ttl(), h.ttl - 1);
    ASSERT_EQ(view->protocol(), h.protocol);
    ASSERT_TRUE(view->checksum_ok());
  }
}

TEST(Ipv4, AnswersToEveryDamage) {
  Random random{3};
  for (int i = 0; i < 10; ++i) {
    const Ipv4Header h = random_header(random);
    std::vector<std::byte> good(encoded_len(h) + h.payload_len);
    encode(h, good);
    test::for_each_damage(good, [](Bytes bytes) {
      const auto view = Ipv4View::parse(bytes);
      if (!view) return;
      ASSERT_LE(view->header_len() + view->payload().size(), bytes.size());
      const Ipv4Header read = view->header();
      std::vector<std::byte> again(encoded_len(read) + read.payload_len);
      encode(read, again);
      ASSERT_EQ(Ipv4View::parse(again)->header(), read);
    });
  }
}

/// "type@offset:length …", an error's name at its offset in the end.
std::string walk(std::string_view hex) {
  const auto bytes = from_hex(hex);
  Ipv4OptionReader reader{bytes};
  std::string out;
  for (int i = 0; i < 50; ++i) {
    const auto option = reader.next();
    if (!option) {
      out += std::string{name(option.error())} + "@" + std::to_string(reader.error_offset());
      const auto after = reader.next();
      EXPECT_TRUE(after && !*after) << "the walk is over after an error";
      return out;
    }
    if (!*option) return out;
    out += std::to_string(static_cast<int>((*option)->type)) + "@" + std::to_string((*option)->offset) + ":" +
           std::to_string((*option)->bytes.size()) + " ";
  }
  return out + "endless";
}

TEST(Ipv4Options, AreWalkedOneByOne) {
  const struct {
    const char* hex;
    const char* out;
  } rows[] = {
      {"", ""},
      {"00 01 01 01", ""},
      {"01 01 94 04 0000 00 00", "1@0:1 1@1:1 148@2:4 "},
      {"07 07 04 00000000 00", "7@0:7 "},
      {"01 44 00 01", "1@0:1 bad_length@1"},
      {"01 44 01 01", "1@0:1 bad_length@1"},
      {"01 44 04 01", "1@0:1 bad_length@1"},
      {"01 01 01 44", "1@0:1 1@1:1 1@2:1 bad_length@3"},
      {"5e 02 5e 02", "94@0:2 94@2:2 "},
  };
  for (const auto& row : rows) EXPECT_EQ(walk(row.hex), row.out) << row.hex;
}

Ipv4Option only_option(const std::vector<std::byte>& bytes) {
  Ipv4OptionReader reader{bytes};
  const auto option = reader.next();
  EXPECT_TRUE(option && *option);
  return **option;
}

TEST(Ipv4Options, RoutesGiveTheirSlots) {
  const struct {
    const char* hex;
    std::size_t slots;
    std::optional<std::size_t> next;
  } rows[] = {
      {"07 0b 04 00000000 00000000", 2, 3},
      {"83 0b 08 0a000001 0a000002", 2, 7},
      {"89 0b 0c 0a000001 0a000002", 2, std::nullopt},  // completed
      {"07 0b 09 0a000001 0a000002", 2, std::nullopt},  // less than a slot is left
      {"07 0b ff 0a000001 0a000002", 2, std::nullopt},
      {"07 03 04", 0, std::nullopt},
      {"07 05 04 0000", 0, std::nullopt},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.hex);
    const auto bytes = from_hex(row.hex);
    const auto route = Ipv4RouteOption::parse(only_option(bytes));
    ASSERT_TRUE(route);
    EXPECT_EQ(route->size(), row.slots);
    EXPECT_EQ(route->next_slot_offset(), row.next);
  }
  const auto two = from_hex("83 0b 08 0a000001 0a000002");
  EXPECT_EQ(Ipv4RouteOption::parse(only_option(two))->address(1), (Ipv4Address{10, 0, 0, 2}));
  EXPECT_EQ(Ipv4RouteOption::parse(only_option(from_hex("07 02"))).error(), ParseError::bad_length);
  EXPECT_EQ(Ipv4RouteOption::parse(only_option(from_hex("07 07 03 00000000"))).error(),
            ParseError::bad_pointer);
  EXPECT_EQ(Ipv4RouteOption::parse(only_option(from_hex("94 04 0000"))).error(), ParseError::bad_type);
}

TEST(Ipv4Options, TimestampsGiveTheEntryToFill) {
  using Flag = Ipv4TimestampOption::Flag;
  const struct {
    const char* hex;
    Flag flag;
    int overflow;
    std::optional<std::size_t> next;
  } rows[] = {
      {"44 0c 05 00 00000000 00000000", Flag::timestamps_only, 0, 4},
      {"44 0c 09 20 00000000 00000000", Flag::timestamps_only, 2, 8},
      {"44 0c 0d f0 00000000 00000000", Flag::timestamps_only, 15, std::nullopt},
      {"44 0c 05 01 00000000 00000000", Flag::with_addresses, 0, 4},
      {"44 0c 09 01 00000000 00000000", Flag::with_addresses, 0, std::nullopt},
      {"44 0c 05 03 0a000001 00000000", Flag::prespecified, 0, 4},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.hex);
    const auto bytes = from_hex(row.hex);
    const auto option = Ipv4TimestampOption::parse(only_option(bytes));
    ASSERT_TRUE(option);
    EXPECT_EQ(option->flag(), row.flag);
    EXPECT_EQ(option->overflow(), row.overflow);
    EXPECT_EQ(option->next_entry_offset(), row.next);
  }
  EXPECT_EQ(Ipv4TimestampOption::parse(only_option(from_hex("44 03 05"))).error(), ParseError::bad_length);
  EXPECT_EQ(Ipv4TimestampOption::parse(only_option(from_hex("44 04 04 00"))).error(),
            ParseError::bad_pointer);
  EXPECT_EQ(Ipv4TimestampOption::parse(only_option(from_hex("07 04 05 00"))).error(), ParseError::bad_type);
}

TEST(Ipv4Options, RouterAlertOfRfc2113) {
  EXPECT_EQ(router_alert_value(only_option(from_hex("94 04 0000"))), 0);
  EXPECT_EQ(router_alert_value(only_option(from_hex("94 03 00"))).error(), ParseError::bad_length);
  EXPECT_EQ(router_alert_value(only_option(from_hex("07 04 0000"))).error(), ParseError::bad_type);
  EXPECT_TRUE(is_copied(Ipv4OptionType::router_alert));
  EXPECT_TRUE(is_copied(Ipv4OptionType::strict_source_route));
  EXPECT_FALSE(is_copied(Ipv4OptionType::record_route));
}

}  // namespace
}  // namespace iopkt::wire
