#include "wire/mld.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace iopkt::wire {
namespace {

using Data = std::vector<std::byte>;

Ipv6Address v6(const char* text) { return *Ipv6Address::parse(text); }

TEST(WireMld, CodesAreNumbersOrFloatingPoint) {
  EXPECT_EQ(mld_code_value(0), 0u);
  EXPECT_EQ(mld_code_value(32767), 32767u);
  EXPECT_EQ(mld_code_value(32768), 32768u);
  EXPECT_EQ(mld_code_value(0x9001), (0x1001u << 4));
  EXPECT_EQ(mld_code_value(0xffff), 8387584u);
}

TEST(WireMld, TheLengthOfAQueryTellsItsVersion) {
  Data bytes(24, std::byte{0xaa});
  encode_mld(Icmpv6Type::listener_query, 10000, v6("ff15::7"), bytes);
  const auto v1 = MldView::parse(bytes);
  ASSERT_TRUE(v1);
  EXPECT_EQ(v1->query_version(), 1);
  EXPECT_EQ(v1->response_code(), 10000);
  EXPECT_EQ(v1->group(), v6("ff15::7"));
  EXPECT_EQ(load_be16(bytes, 2), 0) << "the checksum is somebody else's";
  bytes.resize(27);
  EXPECT_EQ(MldView::parse(bytes).error(), ParseError::bad_length) << "RFC 3810 section 8.1";
  // RFC 3810 section 5.1: S and QRV, QQIC, number of sources, sources.
  bytes.resize(28);
  store_u8(bytes, 24, 0x0b), store_u8(bytes, 25, 125), store_be16(bytes, 26, 1);
  EXPECT_EQ(MldView::parse(bytes).error(), ParseError::truncated);
  bytes.resize(44);
  store_ipv6(bytes, 28, v6("2001:db8::5"));
  const auto v2 = MldView::parse(bytes);
  ASSERT_TRUE(v2);
  EXPECT_EQ(v2->query_version(), 2);
  EXPECT_TRUE(v2->suppress_routers());
  EXPECT_EQ(v2->robustness(), 3);
  EXPECT_EQ(v2->interval_code(), 125);
  ASSERT_EQ(v2->source_count(), 1u);
  EXPECT_EQ(v2->source(0), v6("2001:db8::5"));
  EXPECT_EQ(MldView::parse(Bytes{bytes}.first(23)).error(), ParseError::truncated);
  EXPECT_EQ(MldView::parse(Bytes{bytes}.first(7)).error(), ParseError::truncated);
  store_u8(bytes, 0, 135);
  EXPECT_EQ(MldView::parse(bytes).error(), ParseError::bad_type);
}

TEST(WireMld, AReportOfVersion2IsWrittenAndRead) {
  const std::vector<Ipv6Address> sources{v6("2001:db8::1"), v6("2001:db8::2")};
  const std::vector<MldRecord> records{{GroupRecordType::to_exclude, v6("ff15::1"), {}}, {GroupRecordType::allow, v6("ff35::1"), sources}};
  Data bytes(8 + 20 + 52, std::byte{0xaa});
  encode_mld(records, bytes);
  const auto view = MldView::parse(bytes);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->type(), Icmpv6Type::listener_report_v2);
  ASSERT_EQ(view->record_count(), 2u);
  const auto first = MldRecordView::parse(view->records());
  ASSERT_TRUE(first);
  EXPECT_EQ(first->type(), GroupRecordType::to_exclude);
  EXPECT_EQ(first->group(), v6("ff15::1"));
  EXPECT_EQ(first->source_count(), 0u);
  const auto second = MldRecordView::parse(view->records().subspan(first->size()));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->source(1), sources[1]);
  EXPECT_EQ(MldView::parse(Bytes{bytes}.first(79)).error(), ParseError::truncated) << "a record that is cut";
  // Auxiliary data is passed over (RFC 3810 section 5.2.11).
  Data with_auxiliary(8 + 20 + 4);
  encode_mld({records.data(), 1}, MutableBytes{with_auxiliary}.first(28));
  store_u8(with_auxiliary, 9, 1);
  EXPECT_EQ(MldRecordView::parse(MldView::parse(with_auxiliary)->records())->size(), 24u);
  EXPECT_FALSE(MldView::parse(Bytes{with_auxiliary}.first(31)));
}

}  // namespace
}  // namespace iopkt::wire
