// Source addresses: the examples of RFC 6724 section 10.1 and what they leave out.
#include "route/source.hpp"

#include <gtest/gtest.h>

#include <initializer_list>

namespace iopkt::route {
namespace {

namespace aflag = iface::address_flag;
wire::IpAddress ip(const char* text) { return *wire::IpAddress::parse(text); }

struct Own {
  const char* text;
  std::uint32_t flags = 0;
};

iface::Interface interface(std::uint32_t index, std::initializer_list<Own> addresses) {
  iface::Interface out;
  out.index = index;
  out.name = "en" + std::to_string(index);
  out.flags = iface::flag::up;
  for (const Own& own : addresses)
    out.addresses.push_back({.address = ip(own.text).with_zone(index), .prefix_length = 64, .flags = own.flags});
  return out;
}

std::string chosen(const iface::InterfaceTable& table, const char* destination, const SourcePolicy& policy = {}) {
  Route route{.prefix = wire::IpPrefix::of(ip("::"), 0), .gateway = ip("fe80::77%1"), .interface_index = 1, .source = {}};
  const auto source = choose_source(table, route, ip(destination), policy);
  return source ? source->v6().to_string() : "none";
}
std::string chosen(std::initializer_list<Own> addresses, const char* destination, const SourcePolicy& policy = {}) {
  return chosen(iface::InterfaceTable{}.with(interface(1, addresses)), destination, policy);
}

TEST(ChooseSource, ExamplesOfRfc6724) {
  EXPECT_EQ(chosen({{"2001:db8:3::1"}, {"fe80::1"}}, "2001:db8:1::1"), "2001:db8:3::1") << "scope";
  EXPECT_EQ(chosen({{"fe80::1"}, {"2001:db8:3::1"}}, "ff05::1"), "2001:db8:3::1") << "scope";
  EXPECT_EQ(chosen({{"2001:db8:2::1"}, {"2001:db8:1::1", aflag::deprecated}}, "2001:db8:1::1"), "2001:db8:1::1") << "the same";
  EXPECT_EQ(chosen({{"2001:db8:1::1"}, {"fe80::2", aflag::deprecated}}, "fe80::1%1"), "fe80::2") << "scope before deprecated";
  EXPECT_EQ(chosen({{"2001:db8:3::2"}, {"2001:db8:1::2"}}, "2001:db8:1::1"), "2001:db8:1::2") << "longest prefix";
  EXPECT_EQ(chosen({{"2001:db8:1::2"}, {"2002:c633:6401::d5e3:7953:13eb:22e8", aflag::temporary}}, "2002:c633:6401::1"),
            "2002:c633:6401:0:d5e3:7953:13eb:22e8") << "label before temporary";
}

TEST(ChooseSource, WhatMayNotBeUsedIsNot) {
  EXPECT_EQ(chosen({{"2001:db8::1", aflag::tentative}, {"2001:db8::2", aflag::duplicated}, {"2001:db8::3", aflag::anycast}}, "2001:db8::9"), "none");
  EXPECT_EQ(chosen({{"2001:db8::1", aflag::deprecated}, {"2001:db8:5::1"}}, "2001:db8::9"), "2001:db8:5::1");
  EXPECT_EQ(chosen({{"2001:db8::1", aflag::deprecated}}, "2001:db8::9"), "2001:db8::1") << "better than none";
  EXPECT_EQ(chosen({{"2001:db8::1", aflag::deprecated}}, "2001:db8::9", {.use_deprecated = false}), "none");
  EXPECT_EQ(chosen({{"2001:db8::1", aflag::temporary}, {"2001:db8::2"}}, "2001:db8::9"), "2001:db8::2");
  EXPECT_EQ(chosen({{"2001:db8::2"}, {"2001:db8::1", aflag::temporary}}, "2001:db8::9", {.prefer_temporary = true}), "2001:db8::1") << "rule 7";
  EXPECT_EQ(chosen({{"2001:db8::1", aflag::temporary | aflag::deprecated}, {"2001:db8::2"}}, "2001:db8::9", {.prefer_temporary = true}),
            "2001:db8::2") << "rule 3 comes first";
  EXPECT_EQ(chosen({{"2001:db8::1", aflag::optimistic}, {"2001:db8:5::1"}}, "2001:db8::9"), "2001:db8:5::1") << "RFC 4429 2.1";
  EXPECT_EQ(chosen({{"2001:db8::1", aflag::optimistic}}, "2001:db8::9"), "2001:db8::1");
}

TEST(ChooseSource, OtherInterfacesHelpOut) {
  const auto table = iface::InterfaceTable{}.with(interface(1, {{"fe80::1"}})).with(interface(2, {{"fe80::2"}, {"2001:db8::2"}}));
  EXPECT_EQ(chosen(table, "2001:db8:9::1"), "2001:db8::2");
  EXPECT_EQ(chosen(table, "fe80::9%1"), "fe80::1") << "nothing of another link";
  for (const char* group : {"ff02::1", "ff05::1", "ff08::1", "ff0e::1"}) EXPECT_EQ(chosen(table, group), "fe80::1") << "nor to a group: " << group;
  EXPECT_EQ(chosen(iface::InterfaceTable{}.with(interface(1, {})).with(interface(2, {{"2001:db8::2"}})), "ff0e::1"), "none");
  const auto both = iface::InterfaceTable{}.with(interface(1, {{"2001:db8:1::1"}})).with(interface(2, {{"2001:db8:9::2"}}));
  EXPECT_EQ(chosen(both, "2001:db8:9::1"), "2001:db8:1::1") << "the outgoing one before the longest prefix";
}

TEST(ChooseSource, ScopesAndLabels) {
  EXPECT_EQ(scope_of(ip("::1").v6()), 2);
  EXPECT_EQ(scope_of(ip("fec0::1").v6()), 5);
  EXPECT_EQ(scope_of(ip("fd00::1").v6()), 14);
  EXPECT_EQ(scope_of(ip("ff08::1").v6()), 8);
  const struct {
    const char* text;
    int label;
  } rows[] = {{"::1", 0}, {"2a00::1", 1}, {"2002::1", 2}, {"::7", 3}, {"::ffff:10.0.0.1", 4}, {"2001::1", 5}, {"fec0::1", 11}, {"3ffe::1", 12}, {"fc00::1", 13}};
  for (const auto& row : rows) EXPECT_EQ(label_of(ip(row.text).v6()), row.label) << row.text;
}

}  // namespace
}  // namespace iopkt::route
