#include "wire/dhcp.hpp"

#include <gtest/gtest.h>

namespace iopkt::wire {
namespace {

using Data = std::vector<std::byte>;

TEST(WireDhcp, AMessageIsReadAsItWasWritten) {
  DhcpMessage m{.op = DhcpMessage::kReply, .xid = 0x12345678, .seconds = 7, .broadcast = true, .ciaddr = {10, 0, 0, 1},
                .yiaddr = {10, 0, 0, 2}, .siaddr = {10, 0, 0, 3}, .giaddr = {10, 0, 0, 4}, .hardware = {{2, 0, 0, 0, 0, 1}}, .options = {}};
  m.add8(DhcpOption::message_type, 5).add_address(DhcpOption::server, {10, 0, 0, 3});
  const Data longer(300, std::byte{'x'});
  m.add(DhcpOption::message, longer);
  const Data bytes = encode_dhcp(m);
  EXPECT_GE(bytes.size(), kDhcpLeastLen);
  const auto back = parse_dhcp(bytes);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->xid, m.xid);
  EXPECT_EQ(back->yiaddr, m.yiaddr);
  EXPECT_EQ(back->giaddr, m.giaddr);
  EXPECT_EQ(back->hardware, m.hardware);
  EXPECT_TRUE(back->broadcast);
  EXPECT_EQ(back->options, m.options) << "the long one, too: RFC 3396";
  EXPECT_EQ(back->type(), DhcpType::ack);
  EXPECT_EQ(back->address(DhcpOption::server), (Ipv4Address{10, 0, 0, 3}));
  EXPECT_EQ(back->number32(DhcpOption::lease_time), std::nullopt);
}

TEST(WireDhcp, WhatIsNoMessageIsRefused) {
  Data bytes = encode_dhcp(DhcpMessage{}.add8(DhcpOption::message_type, 1));
  EXPECT_EQ(parse_dhcp(Bytes{bytes}.first(239)).error(), ParseError::truncated);
  bytes[241] = std::byte{200};
  EXPECT_EQ(parse_dhcp(bytes).error(), ParseError::bad_length);
  bytes[1] = std::byte{6};
  EXPECT_EQ(parse_dhcp(bytes).error(), ParseError::bad_hardware);
  bytes[236] = std::byte{0};
  EXPECT_EQ(parse_dhcp(bytes).error(), ParseError::bad_type);
}

TEST(WireDhcp, OptionsMayLieInTheFieldsForNames) {
  Data bytes = encode_dhcp(DhcpMessage{}.add8(DhcpOption::overload, 3));
  const auto put = [&](std::size_t at, std::initializer_list<int> values) {
    for (const int v : values) bytes[at++] = static_cast<std::byte>(v);
  };
  put(108, {12, 1, 'a', 255});
  put(44, {12, 2, 'b', 'c', 255});
  EXPECT_EQ(parse_dhcp(bytes)->name(DhcpOption::host_name), "abc");
  put(44, {12, 63});
  EXPECT_FALSE(parse_dhcp(bytes));
}

TEST(WireDhcp, ClasslessRoutes) {
  const auto routes = [](std::initializer_list<int> values) {
    Data value;
    for (const int v : values) value.push_back(static_cast<std::byte>(v));
    return DhcpMessage{}.add(DhcpOption::classless_routes, value).classless_routes();
  };
  // RFC 3442's own notation: a width, the significant bytes, the router.
  const auto read = routes({0, 10, 0, 0, 1, 24, 10, 17, 5, 10, 0, 0, 2, 22, 10, 229, 129, 10, 0, 0, 3});
  ASSERT_EQ(read.size(), 3u);
  EXPECT_EQ(read[0], (DhcpMessage::ClasslessRoute{{}, 0, {10, 0, 0, 1}}));
  EXPECT_EQ(read[1], (DhcpMessage::ClasslessRoute{{10, 17, 5, 0}, 24, {10, 0, 0, 2}}));
  EXPECT_EQ(read[2].destination, (Ipv4Address{10, 229, 128, 0})) << "bits below the mask are no part of it";
  EXPECT_TRUE(routes({33, 1, 1, 1, 1, 1, 10, 0, 0, 1}).empty());
  EXPECT_TRUE(routes({24, 10, 17, 5, 10, 0, 0}).empty());
}

}  // namespace
}  // namespace iopkt::wire
