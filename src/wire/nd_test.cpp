#include "wire/nd.hpp"

#include <gtest/gtest.h>

#include "wire/checksum.hpp"
#include "wire/test_frames.hpp"

namespace iopkt::wire {
namespace {

using test::from_hex;
Ipv6Address ip(const char* text) { return *Ipv6Address::parse(text); }
const MacAddress kMac{{0x02, 0, 0, 0, 0, 0x07}};

template <class T>
T body_of(Bytes message) {
  const auto parsed = parse_nd(message);
  EXPECT_TRUE(parsed);
  const T* body = parsed ? std::get_if<T>(&parsed->body) : nullptr;
  EXPECT_NE(body, nullptr);
  return body == nullptr ? T{} : *body;
}

TEST(Nd, ReadsAKnownAdvertisement) {
  // radvd's, with a prefix and two resolvers.
  const auto message = from_hex(
      "86 00 00 00 40 48 07 08 00 00 75 30 00 00 03 e8"
      "01 01 02 00 00 00 00 07"
      "05 01 00 00 00 00 05 78"
      "03 04 40 c0 00 01 51 80 00 00 38 40 00 00 00 00 20010db8000100000000000000000000"
      "19 05 00 00 00 00 00 3c 20010db8000000000000000000000035 20010db8000000000000000000000036");
  const auto parsed = parse_nd(message);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(std::get<RouterAdvertisement>(parsed->body),
            (RouterAdvertisement{.hop_limit = 64, .managed = false, .other = true, .preference = RouterPreference::high, .lifetime_s = 1800,
                                 .reachable_ms = 30000, .retransmit_ms = 1000}));
  EXPECT_EQ(parsed->options.source_link, kMac);
  EXPECT_EQ(parsed->options.mtu, 1400u);
  ASSERT_EQ(parsed->options.prefixes.size(), 1u);
  EXPECT_EQ(parsed->options.prefixes[0], (NdPrefix{.prefix = ip("2001:db8:1::"), .length = 64, .on_link = true, .autonomous = true,
                                                    .valid_s = 86400, .preferred_s = 14400}));
  EXPECT_EQ(parsed->options.dns_servers, (std::vector<NdServer>{{ip("2001:db8::35"), 60}, {ip("2001:db8::36"), 60}}));
  std::vector<std::byte> again;
  append_router_advertisement(again, std::get<RouterAdvertisement>(parsed->body), parsed->options);
  EXPECT_EQ(again, message);
}

TEST(Nd, WhatIsWrittenIsReadBack) {
  std::vector<std::byte> m;
  append_neighbour_solicitation(m, {ip("fe80::1")}, kMac);
  EXPECT_EQ(body_of<NeighbourSolicitation>(m).target, ip("fe80::1"));
  EXPECT_EQ(parse_nd(m)->options.source_link, kMac);
  m.clear();
  append_neighbour_advertisement(m, {.target = ip("fe80::2"), .router = true, .solicited = false, .override_ = true}, kMac);
  const auto na = body_of<NeighbourAdvertisement>(m);
  EXPECT_EQ(na.target, ip("fe80::2"));
  EXPECT_TRUE(na.router && !na.solicited && na.override_);
  EXPECT_EQ(parse_nd(m)->options.target_link, kMac);
  m.clear();
  append_router_solicitation(m, std::nullopt);
  EXPECT_EQ(m.size(), RouterSolicitation::kLen);
  body_of<RouterSolicitation>(m);
  m.clear();
  append_redirect(m, {.target = ip("fe80::3"), .destination = ip("2001:db8::9")}, kMac);
  EXPECT_EQ(body_of<NdRedirect>(m).destination, ip("2001:db8::9"));
  store_icmpv6_checksum(m, ip("fe80::1"), ip("fe80::2"));
  EXPECT_EQ(finish(sum(m, pseudo_header_sum(ip("fe80::1"), ip("fe80::2"), IpProtocol::icmpv6, static_cast<std::uint32_t>(m.size())))), 0);
}

TEST(Nd, BadMessagesAreRefused) {
  const std::string target = "fe800000000000000000000000000001";
  const struct {
    std::string hex;
    ParseError error;
  } rows[] = {
      {"87 00 00", ParseError::truncated},
      {"87 00 00 00 00 00 00 00", ParseError::truncated},
      {"87 01 00 00 00 00 00 00" + target, ParseError::bad_type},                              // code
      {"80 00 00 00 00 00 00 00", ParseError::bad_type},
      {"87 00 00 00 00 00 00 00" + target + "01 00 00 00 00 00 00 00", ParseError::bad_length},  // option of length 0
      {"87 00 00 00 00 00 00 00" + target + "01 02 00 00 00 00 00 00", ParseError::truncated},
      {"87 00 00 00 00 00 00 00" + target + "01 01", ParseError::truncated},
      {"87 00 00 00 00 00 00 00" + target + "01 02" + std::string(28, '0'), ParseError::bad_length},  // link of 14 bytes
      {"86 00 00 00 40 00 07 08" + std::string(16, '0') + "05 02" + std::string(28, '0'), ParseError::bad_length},
      {"86 00 00 00 40 00 07 08" + std::string(16, '0') + "03 04 81" + std::string(58, '0'), ParseError::bad_length},
      {"86 00 00 00 40 00 07 08" + std::string(16, '0') + "19 01" + std::string(12, '0'), ParseError::bad_length},
  };
  for (const auto& row : rows) {
    const auto parsed = parse_nd(from_hex(row.hex));
    ASSERT_FALSE(parsed) << row.hex;
    EXPECT_EQ(parsed.error(), row.error) << row.hex;
  }
  // Unknown options and those of other messages are passed over.
  EXPECT_TRUE(parse_nd(from_hex("87 00 00 00 00 00 00 00" + target + "fd 01 00 00 00 00 00 00 0e 01 01 02 03 04 05 06")));
}

TEST(Nd, ReadsRoutesAndSearchDomains) {
  // RFC 4191 2.3, RFC 8106 5.2: a /48 of high preference in 16 bytes, a default route in 8; example.org and lan.
  const auto message = from_hex(
      "86 00 00 00 40 00 07 08 00 00 00 00 00 00 00 00"
      "18 02 30 08 00 00 02 58 20010db800090000"
      "18 01 00 18 00 00 00 00"
      "1f 03 00 00 00 00 00 1e 07 6578616d706c65 03 6f7267 00 00 00 00"
      "1f 02 00 00 ff ff ff ff 03 6c616e 00 00 00 00");
  const auto parsed = parse_nd(message);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->options.routes,
            (std::vector<NdRoute>{{.prefix = ip("2001:db8:9::"), .length = 48, .preference = RouterPreference::high, .lifetime_s = 600},
                                  {.preference = RouterPreference::low}}));
  EXPECT_EQ(parsed->options.dns_domains, (std::vector<NdDomain>{{"example.org", 30}, {"lan", kLifetimeForever}}));
  std::vector<std::byte> again;
  append_router_advertisement(again, std::get<RouterAdvertisement>(parsed->body), parsed->options);
  EXPECT_EQ(again, message);
}

TEST(Nd, DomainsThatAreNoneArePassedOver) {
  const std::string ra = "86 00 00 00 40 00 07 08" + std::string(16, '0');
  const auto domains = [&](const std::string& hex) {
    const auto parsed = parse_nd(from_hex(ra + hex));
    EXPECT_TRUE(parsed) << hex;
    return parsed ? parsed->options.dns_domains : std::vector<NdDomain>{};
  };
  EXPECT_TRUE(domains("1f 02 00 00 00 00 00 01 07 6c616e 00 00 00 00").empty()) << "a label that ends outside";
  EXPECT_TRUE(domains("1f 02 00 00 00 00 00 01 c0 01 03 6c616e 00 00").empty()) << "compressed";
  EXPECT_TRUE(domains("1f 02 00 00 00 00 00 01 03 6c0a6e 00 00 00 00").empty()) << "a line of its own";
  EXPECT_TRUE(domains("1f 02 00 00 00 00 00 01 00 00 00 00 00 00 00 00").empty());
  EXPECT_EQ(domains("1f 02 00 00 00 00 00 01 01 20 00 03 6c616e 00"), (std::vector<NdDomain>{{"lan", 1}})) << "what follows a bad one";
  std::string endless = "1f 21 00 00 00 00 00 01";  // 256 bytes, 64 labels
  for (int i = 0; i < 63; ++i) endless += "03 616263 ";
  EXPECT_TRUE(domains(endless + "02 6162 00").empty()) << "above 253 bytes";
  // Reserved preference; too few bytes for the length; an option too long.
  EXPECT_TRUE(parse_nd(from_hex(ra + "18 01 00 10 00 00 00 00"))->options.routes.empty());
  for (const char* bad : {"18 01 01 00 00 00 00 00", "18 02 41 00 00 00 00 00 0000000000000000", "1f 01 00 00 00 00 00 00",
                          "18 04 00 00 00 00 00 00 000000000000000000000000000000000000000000000000"})
    EXPECT_EQ(parse_nd(from_hex(ra + bad)).error(), ParseError::bad_length) << bad;
}

TEST(Nd, ANonceIsReadBack) {
  std::vector<std::byte> m;
  append_neighbour_solicitation(m, {ip("fe80::1")}, std::nullopt, 0x123456789abc);
  EXPECT_EQ(parse_nd(m)->options.nonce, 0x123456789abcu);
  m.clear();
  append_neighbour_solicitation(m, {ip("fe80::1")}, std::nullopt);
  EXPECT_FALSE(parse_nd(m)->options.nonce);
}

TEST(Nd, FloodsOfOptionsAreBounded) {
  NdOptions many;
  for (std::size_t i = 0; i < kNdPrefixesMax + 5; ++i) many.prefixes.push_back({.prefix = ip("2001:db8::"), .length = 64});
  std::vector<std::byte> m;
  append_router_advertisement(m, {}, many);
  auto parsed = parse_nd(m);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->options.prefixes.size(), kNdPrefixesMax);
  EXPECT_TRUE(parsed->options.left_out);
  m.clear();
  append_router_solicitation(m, std::nullopt);
  for (std::size_t i = 0; i <= kNdOptionsMax; ++i) {
    const auto option = from_hex("fd 01 00 00 00 00 00 00");
    m.insert(m.end(), option.begin(), option.end());
  }
  EXPECT_EQ(parse_nd(m).error(), ParseError::bad_length);
}

TEST(Nd, SurvivesDamage) {
  std::vector<std::byte> m;
  NdOptions options{.source_link = kMac, .mtu = 1400, .prefixes = {{.prefix = ip("2001:db8::"), .length = 64}}, .routes = {{.prefix = ip("2001:db8:9::"), .length = 48, .lifetime_s = 9}},
                    .dns_servers = {{ip("::1"), 5}}, .dns_domains = {{"example.org", 5}}, .nonce = {}};
  append_router_advertisement(m, {.hop_limit = 1}, options);
  test::for_each_damage(m, [](Bytes bytes) { static_cast<void>(parse_nd(bytes)); });
}

}  // namespace
}  // namespace iopkt::wire
