// Which addresses are ours, and which table says so.
#include "iface/interface.hpp"

#include <gtest/gtest.h>

namespace iopkt::iface {
namespace {

IpAddress ip(const char* text) { return *IpAddress::parse(text); }

InterfaceTable table() {
  InterfaceTable t;
  t = t.with({.index = 3,
              .name = "ppp0",
              .flags = flag::up | flag::point_to_point,
              .addresses = {{.address = ip("10.0.0.7"), .prefix_length = 32, .peer = ip("172.16.0.1")}}});
  t = t.with({.index = 1,
              .name = "lo0",
              .flags = flag::up | flag::loopback,
              .addresses = {{.address = ip("127.0.0.1"), .prefix_length = 8},
                            {.address = ip("::1"), .prefix_length = 128}}});
  return t.with(
      {.index = 2,
       .name = "en0",
       .flags = flag::up | flag::broadcast,
       .addresses = {
           {.address = ip("10.0.0.1"), .prefix_length = 24, .broadcast = Ipv4Address{10, 0, 0, 255}},
           {.address = ip("10.0.0.2"), .prefix_length = 32}}});
}

TEST(InterfaceTable, FindsByIndexAndName) {
  const InterfaceTable t = table();
  ASSERT_EQ(t.all().size(), 3u);
  for (std::uint32_t i = 0; i < 3; ++i) EXPECT_EQ(t.all()[i]->index, i + 1) << "in order";
  EXPECT_EQ(t.by_index(2)->name, "en0");
  EXPECT_EQ(t.by_index(0), nullptr);
  EXPECT_EQ(t.by_index(4), nullptr);
  EXPECT_EQ(t.by_name("ppp0")->index, 3u);
  EXPECT_EQ(t.by_name("ppp"), nullptr);
}

TEST(InterfaceTable, KnowsOurAddresses) {
  const InterfaceTable t = table();
  const struct {
    const char *address, *name;
  } rows[] = {{"10.0.0.1", "en0"},     {"10.0.0.2", "en0"}, {"10.0.0.7", "ppp0"},  {"127.0.0.1", "lo0"},
              {"127.5.5.5", "lo0"},    {"::1", "lo0"},      {"10.0.0.3", nullptr}, {"10.0.0.255", nullptr},
              {"172.16.0.1", nullptr}, {"::2", nullptr}};
  for (const auto& row : rows) {
    const Interface* found = t.find_local(ip(row.address));
    EXPECT_EQ(found == nullptr ? "" : found->name, row.name == nullptr ? "" : row.name) << row.address;
  }
}

TEST(InterfaceTable, KnowsBroadcastAddresses) {
  const InterfaceTable t = table();
  EXPECT_TRUE(t.is_any_broadcast({10, 0, 0, 255}));
  EXPECT_TRUE(t.is_any_broadcast({255, 255, 255, 255}));
  EXPECT_FALSE(t.is_any_broadcast({10, 0, 0, 254}));
  EXPECT_TRUE(t.by_index(2)->is_broadcast_address({255, 255, 255, 255}));
  EXPECT_FALSE(t.by_index(3)->is_broadcast_address({255, 255, 255, 255})) << "a link that has none";
}

TEST(InterfaceTable, KnowsWhoIsOnALink) {
  const InterfaceTable t = table();
  EXPECT_EQ(t.find_connected(ip("10.0.0.77"))->name, "en0");
  EXPECT_EQ(t.find_connected(ip("10.0.0.7"))->name, "en0")
      << "our own end of a point-to-point link is not its peer";
  EXPECT_EQ(t.find_connected(ip("172.16.0.1"))->name, "ppp0");
  EXPECT_EQ(t.find_connected(ip("172.16.0.2")), nullptr);
  EXPECT_EQ(t.by_index(2)->connected(ip("10.0.0.2"))->prefix_length, 32) << "the longest";
}

TEST(InterfaceTable, AChangeMakesANewTable) {
  const InterfaceTable old = table();
  Interface en0 = *old.by_index(2);
  en0.addresses.clear();
  const InterfaceTable changed = old.with(en0);
  EXPECT_EQ(changed.find_local(ip("10.0.0.1")), nullptr);
  EXPECT_NE(old.find_local(ip("10.0.0.1")), nullptr);
  EXPECT_EQ(changed.by_index(1), old.by_index(1)) << "the others are shared";
  EXPECT_EQ(changed.without(2).by_name("en0"), nullptr);
  EXPECT_EQ(changed.without(2).by_index(3)->name, "ppp0");
}

TEST(Interface, FlagsHaveTheNumbersThatIfconfigPrints) {
  EXPECT_EQ(flag::up | flag::loopback | flag::running | flag::multicast, 0x8049u);
  EXPECT_EQ(flag::up | flag::broadcast | flag::running | flag::simplex | flag::multicast, 0x8843u);
  EXPECT_EQ(flag::broadcast | flag::simplex | flag::multicast, 0x8802u);
}

}  // namespace
}  // namespace iopkt::iface
