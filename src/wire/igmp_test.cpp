#include "wire/igmp.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace iopkt::wire {
namespace {

using Data = std::vector<std::byte>;

Data data(std::initializer_list<int> values) {
  Data out;
  for (const int v : values) out.push_back(static_cast<std::byte>(v));
  return out;
}

TEST(WireIgmp, CodesAreNumbersOrFloatingPoint) {
  EXPECT_EQ(igmp_code_value(0), 0u);
  EXPECT_EQ(igmp_code_value(127), 127u);
  EXPECT_EQ(igmp_code_value(128), 128u);
  EXPECT_EQ(igmp_code_value(0x8f), 248u);
  EXPECT_EQ(igmp_code_value(0xff), 31744u);
}

TEST(WireIgmp, TheLengthOfAQueryTellsItsVersion) {
  Data bytes(8);
  encode_igmp(IgmpType::query, 0, {}, bytes);
  EXPECT_EQ(IgmpView::parse(bytes)->query_version(), 1);
  encode_igmp(IgmpType::query, 100, {224, 1, 2, 3}, bytes);
  const auto v2 = IgmpView::parse(bytes);
  EXPECT_EQ(v2->query_version(), 2);
  EXPECT_EQ(v2->group(), (Ipv4Address{224, 1, 2, 3}));
  EXPECT_EQ(v2->response_code(), 100);
  EXPECT_TRUE(v2->checksum_ok());
  bytes.resize(11);
  EXPECT_EQ(IgmpView::parse(bytes)->query_version(), 0);
  // RFC 3376 section 4.1: S and QRV, QQIC, number of sources, sources.
  const auto v3 = data({0x11, 0x8f, 0, 0, 232, 1, 1, 1, 0x0b, 125, 0, 2, 10, 0, 0, 1, 10, 0, 0, 2});
  const auto view = IgmpView::parse(v3);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->query_version(), 3);
  EXPECT_TRUE(view->suppress_routers());
  EXPECT_EQ(view->robustness(), 3);
  EXPECT_EQ(view->interval_code(), 125);
  ASSERT_EQ(view->source_count(), 2u);
  EXPECT_EQ(view->source(1), (Ipv4Address{10, 0, 0, 2}));
  EXPECT_FALSE(IgmpView::parse(Bytes{v3}.first(19)));
  EXPECT_FALSE(IgmpView::parse(Bytes{v3}.first(7)));
}

TEST(WireIgmp, AReportOfVersion3IsWrittenAndRead) {
  const std::vector<Ipv4Address> sources{{10, 0, 0, 1}, {10, 0, 0, 2}};
  const std::vector<IgmpRecord> records{{GroupRecordType::to_exclude, {239, 1, 1, 1}, {}},
                                        {GroupRecordType::allow, {232, 1, 1, 1}, sources}};
  Data bytes(8 + 8 + 16);
  encode_igmp(records, bytes);
  EXPECT_EQ(bytes, data({0x22, 0, 0xe7, 0xf2, 0, 0, 0, 2, 4, 0, 0, 0, 239, 1, 1, 1, 5, 0, 0, 2, 232, 1, 1, 1, 10, 0, 0, 1, 10, 0, 0, 2}));
  const auto view = IgmpView::parse(bytes);
  ASSERT_TRUE(view);
  EXPECT_TRUE(view->checksum_ok());
  EXPECT_EQ(view->record_count(), 2u);
  const auto second = IgmpRecordView::parse(view->records().subspan(8));
  ASSERT_TRUE(second);
  EXPECT_EQ(second->type(), GroupRecordType::allow);
  EXPECT_EQ(second->source(1), sources[1]);
  EXPECT_FALSE(IgmpView::parse(Bytes{bytes}.first(31))) << "a record that is cut";
}

}  // namespace
}  // namespace iopkt::wire
