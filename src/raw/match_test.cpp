// Raw sockets: who gets a copy, and what becomes of headers that programs wrote.
#include "raw/match.hpp"

#include <gtest/gtest.h>

#include "tests/support/test_pool.hpp"

namespace iopkt::raw {
namespace {

using test::Data;
using test::data_of;
using wire::IpProtocol;
using wire::Ipv4Address;

constexpr Ipv4Address kOurs{10, 0, 0, 1}, kPeer{10, 0, 0, 2}, kThird{10, 0, 0, 3};

TEST(RawMatch, GoesByProtocolAndAddresses) {
  const struct {
    const char* says;
    Bound bound;
    bool matches;
  } rows[] = {
      {"its protocol", {.protocol = 1}, true},
      {"another protocol", {.protocol = 17}, false},
      {"every protocol", {}, true},
      {"sends only", {.protocol = 255}, false},
      {"bound to the destination", {.protocol = 1, .local = kOurs}, true},
      {"bound to any address", {.protocol = 1, .local = Ipv4Address{}}, true},
      {"bound elsewhere", {.protocol = 1, .local = kThird}, false},
      {"connected to the source", {.protocol = 1, .remote = kPeer}, true},
      {"connected elsewhere", {.protocol = 1, .remote = kThird}, false},
      {"on its interface", {.protocol = 1, .interface_index = 2}, true},
      {"on another interface", {.protocol = 1, .interface_index = 3}, false},
      {"filters this type", {.protocol = 1, .icmp_filter = {1u << 8}}, false},
      {"filters a type of ICMPv6", {.protocol = 1, .icmp_filter = {0, 0, 0, 0, 1u << 7}}, true},
      {"filters another type", {.protocol = 1, .icmp_filter = {1u << 0}}, true},
  };
  for (const auto& row : rows)
    EXPECT_EQ(matches(row.bound, IpProtocol::icmp, kPeer, kOurs, 2, 8), row.matches) << row.says;
  EXPECT_TRUE(matches({.protocol = 1, .icmp_filter = {~0u}}, IpProtocol::icmp, kPeer, kOurs, 2, 40))
      << "no bit for it";
}

class HeaderIncludedTest : public testing::Test {
 protected:
  Expected<wire::Ipv4Header, HeaderError> run(packet::PacketPtr& packet) {
    return complete_header(*packet, kOurs, ids_, counters_);
  }
  test::TestPool pool_;
  ipv4::IdSource ids_{{1, 2}, 0};
  ipv4::Ipv4Counters<Counter> counters_;
};

TEST_F(HeaderIncludedTest, FillsInWhatRaw7Says) {
  Data lent(28);
  wire::encode({.ttl = 5, .protocol = IpProtocol::udp, .dst = kPeer, .payload_len = 8}, lent);
  store_be16(lent, 2, 9999);  // the total length is not believed
  store_be16(lent, 10, 0);
  const Data before = lent;
  auto packet = packet::allocate_header(pool_.cache());
  ASSERT_TRUE(packet->append_borrowed(lent));
  const auto header = run(packet);
  ASSERT_TRUE(header);
  EXPECT_EQ(lent, before) << "the program's memory stays as it is";
  const Data after = data_of(*packet);
  const auto view = wire::Ipv4View::parse(after);
  ASSERT_TRUE(view && view->checksum_ok());
  EXPECT_EQ(view->header(), *header);
  EXPECT_EQ(view->total_len(), 28u);
  EXPECT_EQ(view->src(), kOurs);
  EXPECT_NE(view->id(), 0);
  EXPECT_EQ(view->ttl(), 5);
}

TEST_F(HeaderIncludedTest, LeavesWhatIsGiven) {
  auto packet = pool_.ipv4({.id = 7,
                            .mf = true,
                            .fragment_offset = 16,
                            .ttl = 5,
                            .protocol = IpProtocol::udp,
                            .src = kThird,
                            .dst = kPeer},
                           Data(8));
  const Data before = data_of(*packet);
  ASSERT_TRUE(run(packet));
  EXPECT_EQ(data_of(*packet), before);
}

TEST_F(HeaderIncludedTest, RefusesWhatIsNoPacket) {
  Data good = data_of(*pool_.ipv4({.ttl = 5, .protocol = IpProtocol::udp, .dst = kPeer}, Data(20)));
  const struct {
    const char* says;
    std::size_t size;
    int first_byte;
    HeaderError why;
  } rows[] = {
      {"nothing", 0, 0x45, HeaderError::truncated},
      {"19 bytes", 19, 0x45, HeaderError::truncated},
      {"version 6", 40, 0x65, HeaderError::bad_header},
      {"16 bytes of header", 40, 0x44, HeaderError::bad_header},
      {"60 bytes of header", 40, 0x4f, HeaderError::truncated},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    Data bad(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(row.size));
    if (row.size > 0) bad[0] = static_cast<std::byte>(row.first_byte);
    auto packet = pool_.packet(bad);
    EXPECT_EQ(run(packet).error(), row.why);
  }
  good[0] = std::byte{0x46};
  good[20] = std::byte{7};  // an option of length 0
  auto packet = pool_.packet(good);
  EXPECT_EQ(run(packet).error(), HeaderError::bad_option);
}

}  // namespace
}  // namespace iopkt::raw
