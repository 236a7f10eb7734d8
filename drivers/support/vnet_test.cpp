// The virtio-net header against the offload fields of a frame: what is carried, and what is refused.
#include "vnet.hpp"

#include <gtest/gtest.h>

#include <vector>

#include "host_if.hpp"

namespace devnp {
namespace {

/// A frame in two pieces of its own memory, the first `split` bytes long.
struct TestFrame {
  explicit TestFrame(std::vector<std::uint8_t> b, std::uint32_t split = 7) : bytes(std::move(b)) {
    const auto len = static_cast<std::uint32_t>(bytes.size());
    split = std::min(split, len);
    pieces[0] = {bytes.data(), split, split};
    pieces[1] = {bytes.data() + split, len - split, len - split};
    frame.piece = pieces;
    frame.piece_count = frame.piece_capacity = 2;
    frame.len = len;
  }
  TestFrame(const TestFrame&) = delete;
  std::vector<std::uint8_t> bytes;
  iopkt_piece pieces[2] = {};
  iopkt_frame frame{};
};

/// Ethernet with `tags` VLAN tags, IPv4 with `ip_words` * 4 bytes or IPv6 (0), TCP with `tcp_words` * 4
/// bytes, padding.
std::vector<std::uint8_t> tcp_bytes(int tags, int ip_words, int tcp_words) {
  std::vector<std::uint8_t> b(12);
  for (int i = 0; i < tags; ++i) b.insert(b.end(), {0x81, 0, 0, 5});
  if (ip_words != 0)
    b.insert(b.end(), {8, 0, static_cast<std::uint8_t>(0x40 | ip_words)});
  else
    b.insert(b.end(), {0x86, 0xdd, 0x60});
  b.resize(b.size() - 1 + static_cast<std::size_t>(ip_words != 0 ? ip_words * 4 : 40));
  b.resize(b.size() + 12);
  b.push_back(static_cast<std::uint8_t>(tcp_words << 4));
  b.resize(200);
  return b;
}

TEST(Vnet, FindsTheHeadersLengthInTheFrameItself) {
  const struct {
    int tags, ip_words, tcp_words;
    std::uint16_t header_len; /* 0: refused */
  } rows[] = {
      {0, 5, 5, 54}, {0, 5, 8, 66}, {1, 5, 5, 58}, {2, 5, 5, 62}, {0, 15, 15, 134},
      {0, 0, 5, 74}, {0, 5, 4, 0},  {0, 4, 5, 0},  {3, 5, 5, 0},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(testing::Message() << row.tags << " tags, " << row.ip_words << " " << row.tcp_words);
    TestFrame f{tcp_bytes(row.tags, row.ip_words, row.tcp_words)};
    // The kernel's hdr_len covers whatever was contiguous; it does not matter. No checksum: the headers must
    // be read.
    const bool ok = vnet_to_frame({0, kVnetGsoTcp4, 190, 1000, 0, 0}, &f.frame);
    EXPECT_EQ(ok, row.header_len != 0);
    EXPECT_EQ(ok ? f.frame.header_len : 0, row.header_len);
  }
}

TEST(Vnet, RefusesReceivedHeadersThatContradictTheFrame) {
  const struct {
    const char* says;
    VnetHeader header;
    bool ok;
    std::uint32_t flags;
  } rows[] = {
      {"nothing", {}, true, 0},
      {"checked", {kVnetDataValid, 0, 0, 0, 0, 0}, true, IOPKT_CSUM_VALID},
      {"to be summed", {kVnetNeedsCsum, 0, 0, 0, 34, 16}, true, IOPKT_CSUM_NEEDED},
      {"sum in the last two bytes", {kVnetNeedsCsum, 0, 0, 0, 34, 164}, true, IOPKT_CSUM_NEEDED},
      {"sum behind the end", {kVnetNeedsCsum, 0, 0, 0, 34, 165}, false, 0},
      {"start and offset overflow 16 bits", {kVnetNeedsCsum, 0, 0, 0, 0xffff, 0xffff}, false, 0},
      {"TCP", {kVnetNeedsCsum, kVnetGsoTcp4, 0, 1460, 34, 16}, true, IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP4},
      {"TCP with CWR",
       {kVnetNeedsCsum, kVnetGsoTcp4 | kVnetGsoEcn, 0, 1460, 34, 16},
       true,
       IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP4 | IOPKT_GSO_ECN},
      {"TCP of IPv6",
       {kVnetNeedsCsum, kVnetGsoTcp6, 0, 1440, 34, 16},
       true,
       IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP6},
      {"UDP", {kVnetNeedsCsum, kVnetGsoUdpL4, 0, 1000, 34, 6}, true, IOPKT_CSUM_NEEDED | IOPKT_GSO_UDP},
      {"segments of 0", {kVnetNeedsCsum, kVnetGsoTcp4, 0, 0, 34, 16}, false, 0},
      {"TCP header behind the end", {kVnetNeedsCsum, kVnetGsoTcp4, 0, 1460, 190, 0}, false, 0},
      {"UDP fragmentation, which nobody asked for", {kVnetNeedsCsum, 3, 0, 1460, 34, 6}, false, 0},
      {"an unknown kind", {kVnetNeedsCsum, 6, 0, 1460, 34, 6}, false, 0},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    TestFrame f{tcp_bytes(0, 5, 5)};
    EXPECT_EQ(vnet_to_frame(row.header, &f.frame), row.ok);
    EXPECT_EQ(f.frame.flags, row.flags);
  }
}

TEST(Vnet, RefusesToSendWhatPointsOutside) {
  const struct {
    const char* says;
    std::uint32_t flags;
    std::uint16_t csum_start, csum_offset, gso_size, header_len;
    bool ok;
    VnetHeader header;
  } rows[] = {
      {"plain", 0, 9999, 9999, 9999, 9999, true, {}},
      {"sum", IOPKT_CSUM_NEEDED, 34, 16, 0, 0, true, {1, 0, 0, 0, 34, 16}},
      {"sum outside", IOPKT_CSUM_NEEDED, 198, 1, 0, 0, false, {}},
      {"TCP", IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP4, 34, 16, 1460, 54, true, {1, 1, 54, 1460, 34, 16}},
      {"TCP with CWR",
       IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP6 | IOPKT_GSO_ECN,
       34,
       16,
       9,
       54,
       true,
       {1, 0x84, 54, 9, 34, 16}},
      {"UDP", IOPKT_CSUM_NEEDED | IOPKT_GSO_UDP | IOPKT_GSO_ECN, 34, 6, 9, 42, true, {1, 5, 42, 9, 34, 6}},
      {"segments without sums", IOPKT_GSO_TCP4, 34, 16, 1460, 54, false, {}},
      {"segments of 0", IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP4, 34, 16, 0, 54, false, {}},
      {"header ends before it starts", IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP4, 34, 16, 1460, 34, false, {}},
      {"header longer than the frame", IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP4, 34, 16, 1460, 201, false, {}},
      {"two kinds", IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP4 | IOPKT_GSO_UDP, 34, 16, 1460, 54, false, {}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    TestFrame f{tcp_bytes(0, 5, 5)};
    f.frame.flags = row.flags;
    f.frame.csum_start = row.csum_start;
    f.frame.csum_offset = row.csum_offset;
    f.frame.gso_size = row.gso_size;
    f.frame.header_len = row.header_len;
    VnetHeader h{9, 9, 9, 9, 9, 9};
    EXPECT_EQ(vnet_from_frame(&f.frame, &h), row.ok);
    EXPECT_TRUE(!row.ok || std::memcmp(&h, &row.header, sizeof h) == 0);
  }
}

TEST(FrameIo, CopiesAcrossPieces) {
  TestFrame f{std::vector<std::uint8_t>(20), 7};
  const std::uint8_t in[] = {1, 2, 3, 4, 5};
  copy_in(&f.frame, 5, in, 5);
  EXPECT_EQ(f.bytes[6], 2);
  EXPECT_EQ(f.bytes[7], 3);
  std::uint8_t out[5] = {};
  EXPECT_EQ(copy_out(&f.frame, 5, out, 5), 5u);
  EXPECT_EQ(0, std::memcmp(in, out, 5));
  EXPECT_EQ(copy_out(&f.frame, 18, out, 5), 2u);
  EXPECT_EQ(copy_out(&f.frame, 20, out, 5), 0u);
  copy_in(&f.frame, 18, in, 5); /* three do not fit */
  EXPECT_EQ(f.bytes[19], 2);
  set_length(&f.frame, 9);
  EXPECT_EQ(f.pieces[0].len, 7u);
  EXPECT_EQ(f.pieces[1].len, 2u);
  set_length(&f.frame, 3);
  EXPECT_EQ(f.pieces[1].len, 0u);
}

TEST(HostAddress, TakesAnAddressWithItsPrefixLength) {
  const struct {
    const char* text;
    bool ok;
    std::uint32_t address;
    unsigned length;
  } rows[] = {
      {"10.9.0.1/24", true, 0x0a090001, 24},
      {"0.0.0.0/0", true, 0, 0},
      {"1.2.3.4/32", true, 0x01020304, 32},
      {"1.2.3.4", false, 0, 0},
      {"1.2.3.4/", false, 0, 0},
      {"1.2.3.4/33", false, 0, 0},
      {"1.2.3.4/-1", false, 0, 0},
      {"1.2.3.4/8x", false, 0, 0},
      {"1.2.3/8", false, 0, 0},
      {"/8", false, 0, 0},
      {"1.2.3.4444444444444444/8", false, 0, 0},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.text);
    HostAddress a;
    EXPECT_EQ(parse_host_address(row.text, &a), row.ok);
    if (!row.ok) continue;
    EXPECT_EQ(a.address, row.address);
    EXPECT_EQ(a.length, row.length);
  }
}

}  // namespace
}  // namespace devnp
