#include "wire/address.hpp"

#include <gtest/gtest.h>

#include <set>

#include "wire/ip_prefix.hpp"
#include "wire/test_frames.hpp"

namespace iopkt::wire {
namespace {

TEST(MacAddress, ParsesWhatPeopleAndQnxWrite) {
  const MacAddress mac{{0x00, 0x1a, 0xb2, 0x03, 0xff, 0x05}};
  for (const char* text :
       {"001ab203ff05", "001AB203FF05", "00:1a:b2:03:ff:05", "0:1a:b2:3:ff:5", "00-1A-B2-03-FF-05"}) {
    SCOPED_TRACE(text);
    ASSERT_TRUE(MacAddress::parse(text));
    EXPECT_EQ(*MacAddress::parse(text), mac);
  }
  for (const char* text :
       {"", "0", "001ab203ff0", "001ab203ff055", "00:1a:b2:03:ff", "00:1a:b2:03:ff:05:06",
        "00:1a-b2:03:ff:05", "00:1a:b2:03:ff:", ":1a:b2:03:ff:05", "001:a:b2:03:ff:05", "00:1g:b2:03:ff:05",
        "001ab203ff0g", " 001ab203ff05", "00 1a b2 03 ff 05", "+01ab203ff05", "0x1ab203ff05"}) {
    EXPECT_FALSE(MacAddress::parse(text)) << text;
  }
  EXPECT_EQ(mac.to_string(), "00:1a:b2:03:ff:05");
}

TEST(MacAddress, KnowsGroups) {
  EXPECT_TRUE(MacAddress::broadcast().is_broadcast());
  EXPECT_TRUE(MacAddress::broadcast().is_multicast());
  const auto group = *MacAddress::parse("01005e000001");
  EXPECT_TRUE(group.is_multicast());
  EXPECT_FALSE(group.is_broadcast());
  const auto local = *MacAddress::parse("020000000001");
  EXPECT_FALSE(local.is_multicast());
  EXPECT_TRUE(local.is_local());
  EXPECT_TRUE(MacAddress{}.is_zero());
}

TEST(Ipv4Address, StrictTakesDottedQuadsOnly) {
  const struct {
    const char* text;
    std::uint32_t value;
  } good[] = {{"0.0.0.0", 0},
              {"10.0.0.1", 0x0a000001},
              {"255.255.255.255", 0xffffffff},
              {"192.168.1.20", 0xc0a80114}};
  for (const auto& row : good) {
    ASSERT_TRUE(Ipv4Address::parse_strict(row.text)) << row.text;
    EXPECT_EQ(Ipv4Address::parse_strict(row.text)->value, row.value);
    EXPECT_EQ(Ipv4Address{row.value}.to_string(), row.text);
  }
  for (const char* text :
       {"",          ".",        "1",        "1.2",       "1.2.3",     "1.2.3.",   "1.2.3.4.",
        "1.2.3.4.5", "1..3.4",   ".1.2.3.4", "256.0.0.1", "1.2.3.256", "01.2.3.4", "1.2.3.04",
        "1.2.3.0x4", "1.2.3.4 ", " 1.2.3.4", "1.2.3.-4",  "1.2.3.+4",  "a.b.c.d",  "1.2.3.4444444444",
        "00.0.0.0"}) {
    EXPECT_FALSE(Ipv4Address::parse_strict(text)) << text;
  }
}

TEST(Ipv4Address, BsdFormsFillUpFromTheLastPart) {
  const struct {
    const char* text;
    std::uint32_t value;
  } good[] = {{"10.184", 0x0a0000b8},
              {"127.1", 0x7f000001},
              {"10.1.2", 0x0a010002},
              {"10.1.65535", 0x0a01ffff},
              {"1", 1},
              {"4294967295", 0xffffffff},
              {"0x7f000001", 0x7f000001},
              {"0x7f.1", 0x7f000001},
              {"0177.0.0.01", 0x7f000001},
              {"1.2.3.4", 0x01020304},
              {"10.16777215", 0x0affffff},
              {"0", 0},
              {"0XaA.0Xbb.0xCC.0", 0xaabbcc00}};
  for (const auto& row : good) {
    ASSERT_TRUE(Ipv4Address::parse_bsd(row.text)) << row.text;
    EXPECT_EQ(Ipv4Address::parse_bsd(row.text)->value, row.value) << row.text;
  }
  for (const char* text :
       {"", ".", "10.", "256.1", "10.16777216", "10.1.65536", "1.2.3.256", "4294967296", "08", "0x", "0xg",
        "1.2.3.4.5", "1..2", "-1", " 1", "1 ", "99999999999999999999", "1.2.3.4.", "0x1ffffffff"}) {
    EXPECT_FALSE(Ipv4Address::parse_bsd(text)) << text;
  }
}

TEST(Ipv4Address, KnowsItsKind) {
  const struct {
    const char* text;
    bool unspecified, loopback, multicast, link_local, limited_broadcast;
    int class_length;
  } rows[] = {
      {"0.0.0.0", true, false, false, false, false, 8},
      {"127.255.255.255", false, true, false, false, false, 8},
      {"128.0.0.1", false, false, false, false, false, 16},
      {"169.254.0.0", false, false, false, true, false, 16},
      {"169.255.0.0", false, false, false, false, false, 16},
      {"191.255.0.1", false, false, false, false, false, 16},
      {"192.0.0.1", false, false, false, false, false, 24},
      {"223.255.255.255", false, false, false, false, false, 24},
      {"224.0.0.0", false, false, true, false, false, 24},
      {"239.255.255.255", false, false, true, false, false, 24},
      {"240.0.0.0", false, false, false, false, false, 24},
      {"255.255.255.255", false, false, false, false, true, 24},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.text);
    const auto a = *Ipv4Address::parse_strict(row.text);
    EXPECT_EQ(a.is_unspecified(), row.unspecified);
    EXPECT_EQ(a.is_loopback(), row.loopback);
    EXPECT_EQ(a.is_multicast(), row.multicast);
    EXPECT_EQ(a.is_link_local(), row.link_local);
    EXPECT_EQ(a.is_limited_broadcast(), row.limited_broadcast);
    EXPECT_EQ(a.class_prefix_length(), row.class_length);
  }
  EXPECT_TRUE((Ipv4Address{240, 0, 0, 0}.is_reserved()));
  EXPECT_FALSE(Ipv4Address::broadcast().is_reserved());
  EXPECT_TRUE((Ipv4Address{224, 0, 0, 251}.is_local_network_multicast()));
  EXPECT_FALSE((Ipv4Address{224, 0, 1, 0}.is_local_network_multicast()));
}

TEST(Ipv6Address, ReadsEveryFormAndWritesTheCanonicalOne) {
  const struct {
    const char* in;
    const char* out;
  } rows[] = {
      // RFC 5952 section 4 and its appendix; RFC 4291 section 2.2.
      {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
      {"2001:0db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
      {"2001:db8::1:0:0:1", "2001:db8::1:0:0:1"},
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},  // one group is not shortened
      {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},           // the longest run
      {"2001:DB8::AaAa:1", "2001:db8::aaaa:1"},
      {"FF01:0:0:0:0:0:0:101", "ff01::101"},
      {"0:0:0:0:0:0:0:1", "::1"},
      {"::", "::"},
      {"1::", "1::"},
      {"::0:2", "::2"},
      {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
      {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
      {"::FFFF:129.144.52.38", "::ffff:129.144.52.38"},
      {"0:0:0:0:0:0:13.1.68.3", "::d01:4403"},
      {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
      {"::ffff:c000:0280", "::ffff:192.0.2.128"},
      {"0:1:0:0:2:0:0:0", "0:1:0:0:2::"},
  };
  for (const auto& row : rows) {
    const auto a = Ipv6Address::parse(row.in);
    ASSERT_TRUE(a) << row.in;
    EXPECT_EQ(a->to_string(), row.out);
    EXPECT_EQ(Ipv6Address::parse(row.out), a);
  }
  for (const char* text : {"",
                           ":",
                           ":::",
                           "1",
                           "1:2:3:4:5:6:7",
                           "1:2:3:4:5:6:7:8:9",
                           "1::2::3",
                           "12345::",
                           "::1:",
                           ":1::",
                           "g::",
                           "::1.2.3",
                           "1.2.3.4",
                           "::1.2.3.4:5",
                           "1:2:3:4:5:6:7:1.2.3.4",
                           "1:2:3:4:5:6:7:8::",
                           "::%1",
                           "::1/64",
                           " ::",
                           "1.2.3.4::",
                           "::01.2.3.4",
                           "1:2:3:4::5:6:7:8"}) {
    EXPECT_FALSE(Ipv6Address::parse(text)) << text;
  }
}

TEST(Ipv6Address, KnowsItsKind) {
  EXPECT_TRUE(Ipv6Address::parse("fe80::1")->is_link_local());
  EXPECT_TRUE(Ipv6Address::parse("febf::")->is_link_local());
  EXPECT_FALSE(Ipv6Address::parse("fec0::")->is_link_local());
  EXPECT_TRUE(Ipv6Address::parse("ff02::1")->is_multicast());
  EXPECT_TRUE(Ipv6Address::parse("::ffff:1.2.3.4")->is_v4_mapped());
  EXPECT_FALSE(Ipv6Address::parse("::1.2.3.4")->is_v4_mapped());
  EXPECT_TRUE(Ipv6Address::loopback().is_loopback());
  EXPECT_TRUE(Ipv6Address::any().is_unspecified());
}

TEST(IpAddress, HoldsEitherFamilyUnchanged) {
  Random random{1};
  for (int i = 0; i < 1000; ++i) {
    const auto v4 = test::random_ipv4(random);
    EXPECT_EQ(IpAddress{v4}.v4(), v4);
    Ipv6Address v6;
    for (auto& byte : v6.bytes) byte = test::random_u8(random);
    EXPECT_EQ(IpAddress{v6}.v6(), v6);
    EXPECT_NE(IpAddress{v6}, IpAddress{v4});
    EXPECT_EQ(IpAddress::parse(v4.to_string()), IpAddress{v4});
    EXPECT_EQ(IpAddress::parse(v6.to_string()), IpAddress{v6});
  }
}

TEST(IpAddress, FamiliesAreNeverEqualAndSort) {
  const IpAddress any4{Ipv4Address::any()}, any6{Ipv6Address::any()};
  EXPECT_NE(any4, any6);
  EXPECT_EQ(IpAddress{}, any4);
  EXPECT_TRUE(any4.is_unspecified());
  EXPECT_TRUE(any6.is_unspecified());
  EXPECT_LT(IpAddress{Ipv4Address::broadcast()}, any6);
  EXPECT_LT(IpAddress{*Ipv6Address::parse("fe80::1")}, IpAddress{*Ipv6Address::parse("fe80::1:0")});
  EXPECT_TRUE(IpAddress{*Ipv6Address::parse("fe80::1")}.is_link_local());
  EXPECT_FALSE(IpAddress{*Ipv6Address::parse("fec0::1")}.is_link_local());
  EXPECT_TRUE(IpAddress{Ipv6Address::loopback()}.is_loopback());
  EXPECT_TRUE(IpAddress{*Ipv6Address::parse("ff02::1")}.is_multicast());
  EXPECT_TRUE(IpAddress{Ipv4Address::loopback()}.is_loopback());
}

TEST(IpAddress, AZoneIsPartOfWhoIsMeant) {
  const Ipv6Address link = *Ipv6Address::parse("fe80::1");
  const IpAddress none{link}, first{link, 1}, second{link, IpAddress::kZoneMax};
  EXPECT_NE(first, second);
  EXPECT_NE(first, none);
  EXPECT_EQ(first.v6(), second.v6());
  EXPECT_EQ(first.zone(), 1u);
  EXPECT_EQ(second.zone(), IpAddress::kZoneMax);
  EXPECT_TRUE(second.is_v6() && !second.is_v4() && second.is_link_local());
  EXPECT_EQ(first.with_zone(0), none);
  EXPECT_EQ(none.with_zone(IpAddress::kZoneMax), second);
  EXPECT_LT(IpAddress{Ipv4Address::broadcast()}, second);
  EXPECT_EQ(IpAddress(Ipv4Address::loopback()).with_zone(3), IpAddress{Ipv4Address::loopback()});
  // RFC 4007 section 4, RFC 4291 section 2.7: which scopes are a link.
  for (const char* text : {"fe80::", "febf:ffff::1", "ff01::1", "ff02::1:ff00:1", "ff12::1", "ff31::"})
    EXPECT_EQ(IpAddress::parse(text)->with_zone(7).zone(), 7u) << text;
  for (const char* text : {"::", "::1", "fec0::1", "2001:db8::1", "ff05::1", "ff0e::1", "ff00::1", "fd00::1", "::ffff:1.2.3.4"})
    EXPECT_EQ(IpAddress::parse(text)->with_zone(7), *IpAddress::parse(text)) << text;
}

TEST(IpAddress, AZoneIsReadAndWrittenAsANumber) {
  EXPECT_EQ(IpAddress::parse("fe80::1%2"), IpAddress(*Ipv6Address::parse("fe80::1"), 2));
  EXPECT_EQ(IpAddress::parse("fe80::1%2")->to_string(), "fe80::1%2");
  EXPECT_EQ(IpAddress::parse("ff02::1%16777215")->to_string(), "ff02::1%16777215");
  EXPECT_EQ(IpAddress::parse("fe80::1%0")->to_string(), "fe80::1");
  for (const char* text : {"fe80::1%", "fe80::1%en0", "fe80::1%16777216", "fe80::1%-1", "2001:db8::1%2", "::1%1", "10.0.0.1%1", "%1",
                           "fe80::1%1%1", "fe80::1%2/64"})
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  EXPECT_EQ(split_zone("fe80::1%en0"), (std::pair<std::string_view, std::string_view>{"fe80::1", "en0"}));
  EXPECT_EQ(split_zone("::1"), (std::pair<std::string_view, std::string_view>{"::1", ""}));
  EXPECT_EQ((Endpoint{*IpAddress::parse("fe80::1%2"), Port{80}}.to_string()), "[fe80::1%2]:80");
}

TEST(IpPrefix, HoldsTheAddressesOfItsZone) {
  const auto prefix = IpPrefix::of(*IpAddress::parse("fe80::1%2"), 64);
  EXPECT_EQ(prefix.to_string(), "fe80::%2/64");
  EXPECT_TRUE(prefix.contains(*IpAddress::parse("fe80::5%2")));
  EXPECT_FALSE(prefix.contains(*IpAddress::parse("fe80::5%3")));
  EXPECT_FALSE(prefix.contains(*IpAddress::parse("fe80::5")));
  EXPECT_TRUE(IpPrefix::of(*IpAddress::parse("fe80::"), 10).contains(*IpAddress::parse("fe80::5%3")));
  EXPECT_EQ(IpPrefix::of(*IpAddress::parse("fe80::1%2"), 0).to_string(), "::/0") << "no zone where the scope is none";
}

TEST(Ipv6Address, SolicitedNodeGroup) {
  EXPECT_EQ(Ipv6Address::parse("4037::01:800:200e:8c6c")->solicited_node().to_string(), "ff02::1:ff0e:8c6c");  // RFC 4291 2.7.1
  EXPECT_EQ(Ipv6Address::parse("ff05::2")->multicast_scope(), 5);
  EXPECT_TRUE(Ipv6Address::parse("fdff::1")->is_unique_local());
  EXPECT_FALSE(Ipv6Address::parse("fe80::1")->is_unique_local());
}

TEST(Endpoint, IsWrittenWithItsPort) {
  EXPECT_EQ((Endpoint{Ipv4Address{10, 0, 0, 1}, Port{80}}.to_string()), "10.0.0.1:80");
  EXPECT_EQ((Endpoint{Ipv6Address::loopback(), Port{65535}}.to_string()), "[::1]:65535");
}

TEST(Ipv4Prefix, MasksAtEveryLength) {
  for (std::uint8_t length = 0; length <= 32; ++length) {
    const auto mask = Ipv4Prefix::mask_of(length);
    EXPECT_EQ(Ipv4Prefix::length_of(mask), length);
    EXPECT_EQ(static_cast<int>(std::popcount(mask.value)), length);
    const Ipv4Prefix prefix{Ipv4Address{10, 20, 30, 40}, length};
    EXPECT_TRUE(prefix.contains(prefix.network()));
    EXPECT_TRUE(prefix.contains(prefix.broadcast()));
    if (length > 0) {
      EXPECT_FALSE(prefix.contains(Ipv4Address{prefix.network().value - 1}));
      EXPECT_FALSE(prefix.contains(Ipv4Address{prefix.broadcast().value + 1}));
    }
  }
  EXPECT_FALSE(Ipv4Prefix::length_of(Ipv4Address{255, 0, 255, 0}));
  EXPECT_FALSE(Ipv4Prefix::length_of(Ipv4Address{0, 0, 0, 1}));
}

TEST(Ipv4Prefix, IsReadAndWritten) {
  const auto prefix = Ipv4Prefix::parse("10.1.2.3/24");
  ASSERT_TRUE(prefix);
  EXPECT_EQ(prefix->network(), (Ipv4Address{10, 1, 2, 0}));
  EXPECT_EQ(prefix->broadcast(), (Ipv4Address{10, 1, 2, 255}));
  EXPECT_EQ(prefix->to_string(), "10.1.2.3/24");
  EXPECT_EQ(Ipv4Prefix::parse("10.1.2.3")->length, 32);
  for (const char* text : {"", "/", "10.1.2.3/", "10.1.2.3/33", "10.1.2.3/-1", "10.1.2.3/2a", "10.1.2/24",
                           "10.1.2.3/24/", "/24"})
    EXPECT_FALSE(Ipv4Prefix::parse(text)) << text;
}

TEST(ParseDecimal, KeepsItsBound) {
  EXPECT_EQ(parse_decimal("65535", 65535), 65535u);
  EXPECT_EQ(parse_decimal("0007", 65535), 7u);
  for (const char* text : {"", "65536", "-1", "+1", " 1", "1x", "0x1", "99999999999999999999999"})
    EXPECT_FALSE(parse_decimal(text, 65535)) << text;
}

}  // namespace
}  // namespace iopkt::wire
