#include "wire/ipv6_extensions.hpp"

#include <gtest/gtest.h>

namespace iopkt::wire {
namespace {

std::string header(std::initializer_list<int> front, std::size_t size) {
  std::string out;
  for (const int byte : front) out.push_back(static_cast<char>(byte));
  out.resize(size);
  return out;
}
Bytes bytes(const std::string& text) { return as_bytes(text.data(), text.size()); }
/// Type 4 with `count` segments of which `left` are left; the last byte of each is its number.
std::string segments(int count, int left) {
  std::string out = header({0, count * 2, 4, left, count - 1}, static_cast<std::size_t>(8 + 16 * count));
  for (int i = 0; i < count; ++i) out[static_cast<std::size_t>(8 + 16 * i + 15)] = static_cast<char>(i + 1);
  return out;
}
std::vector<std::byte> packet(IpProtocol first, Bytes headers) {
  std::vector<std::byte> out(Ipv6View::kHeaderLen);
  encode(Ipv6Header{.payload_len = static_cast<std::uint16_t>(headers.size()), .next_header = first}, out);
  out.insert(out.end(), headers.begin(), headers.end());
  return out;
}

TEST(Ipv6Extensions, AChainIsInTheOrderOfTheStandard) {
  const ExtensionSet all{.hop_by_hop = header({9, 0, 1, 4}, 8), .before_routing = header({9, 1, 1, 12}, 16), .routing = segments(2, 1),
                         .destination = header({9, 0, 1, 4}, 8)};
  const auto chain = chain_of(all);
  ASSERT_TRUE(chain);
  EXPECT_EQ(chain->first, IpProtocol::hop_by_hop);
  ASSERT_EQ(chain->bytes.size(), 8u + 16 + 40 + 8);
  const auto next = [&](std::size_t at) { return load_u8(chain->bytes, at); };
  EXPECT_EQ(next(0), 60);
  EXPECT_EQ(next(8), 43);
  EXPECT_EQ(next(24), 60);
  EXPECT_TRUE(is_sendable(chain->first, chain->bytes));
  EXPECT_EQ(first_segment(chain->first, chain->bytes)->bytes[15], 2);
  // RFC 8200 section 4.5: through the routing header, without it through the hop-by-hop options.
  EXPECT_EQ(unfragmentable_len(packet(chain->first, chain->bytes)), 40u + 8 + 16 + 40);
  ExtensionSet without = all;
  without.routing.clear();
  const auto rest = chain_of(without);
  ASSERT_TRUE(rest);
  EXPECT_EQ(rest->bytes.size(), 16u) << "RFC 3542 section 9: what is for stations goes with them";
  EXPECT_EQ(unfragmentable_len(packet(rest->first, rest->bytes)), 48u);
  EXPECT_FALSE(first_segment(rest->first, rest->bytes));
  without.hop_by_hop.clear();
  EXPECT_EQ(unfragmentable_len(packet(IpProtocol::destination_options, chain_of(without)->bytes)), 40u);
  EXPECT_TRUE(chain_of({})->bytes.empty());
}

TEST(Ipv6Extensions, HeadersAreBounded) {
  EXPECT_FALSE(sole_extension(bytes(header({0, 0}, 7))));
  EXPECT_FALSE(sole_extension(bytes(header({0, 1}, 8)))) << "says more than there is";
  EXPECT_FALSE(sole_extension(bytes(header({0, 255}, 2048))));
  EXPECT_EQ(sole_extension(bytes(header({0, 0}, 16)))->size(), 8u);
  EXPECT_FALSE(chain_of({.hop_by_hop = header({0, 40}, 328), .before_routing = {}, .routing = {}, .destination = header({0, 40}, 328)}));
}

TEST(Ipv6Extensions, OnlySegmentRoutingIsSent) {
  EXPECT_TRUE(is_segment_routing(bytes(segments(1, 0))));
  EXPECT_TRUE(is_segment_routing(bytes(segments(3, 2))));
  EXPECT_FALSE(is_segment_routing(bytes(segments(2, 2)))) << "there is no third";
  std::string other = segments(2, 1);
  other[2] = 0;  // RFC 5095
  EXPECT_FALSE(is_segment_routing(bytes(other)));
  other = segments(2, 1);
  other[4] = 2;  // segments beyond the end
  EXPECT_FALSE(is_segment_routing(bytes(other)));
  EXPECT_FALSE(is_segment_routing(bytes(header({0, 0, 4, 0, 0}, 8))));
  other = segments(2, 1);
  other[8 + 16] = '\xff';
  EXPECT_FALSE(is_segment_routing(bytes(other))) << "a station that is a group";
}

TEST(Ipv6Extensions, WhatAClientSendsIsLookedAt) {
  const std::string two = header({60, 0, 1, 4}, 8) + header({9, 0, 1, 4}, 8);
  EXPECT_TRUE(is_sendable(IpProtocol::hop_by_hop, bytes(two)));
  EXPECT_TRUE(is_sendable(IpProtocol::destination_options, bytes(two))) << "there are two places for these";
  EXPECT_FALSE(is_sendable(IpProtocol::hop_by_hop, bytes(header({0, 0, 1, 4}, 8) + header({9, 0, 1, 4}, 8)))) << "twice";
  EXPECT_FALSE(is_sendable(IpProtocol::fragment, bytes(two)));
  EXPECT_FALSE(is_sendable(IpProtocol::tcp, bytes(two)));
  EXPECT_FALSE(is_sendable(IpProtocol::hop_by_hop, bytes(header({60, 0}, 8) + header({9, 1}, 8))));
  EXPECT_FALSE(is_sendable(IpProtocol::hop_by_hop, {}));
  std::string type0 = segments(1, 1);
  type0[2] = 0;
  EXPECT_FALSE(is_sendable(IpProtocol::routing, bytes(type0)));
}

TEST(Ipv6Extensions, WhomAPacketIsForAtLast) {
  const auto last = [](int left) {
    std::string header = segments(2, left);
    header[0] = 17;
    return find_upper_layer(packet(IpProtocol::routing, bytes(header)))->last_segment;
  };
  ASSERT_TRUE(last(1));
  EXPECT_EQ(last(1)->bytes[15], 1);
  EXPECT_FALSE(last(0));
}

}  // namespace
}  // namespace iopkt::wire
