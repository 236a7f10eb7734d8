#include "wire/tcp.hpp"

#include <gtest/gtest.h>

#include "wire/checksum.hpp"
#include "wire/test_frames.hpp"

namespace iopkt::wire {
namespace {

using test::from_hex;

TEST(SeqNum, ComparesModulo2To32) {
  const struct {
    std::uint32_t a, b;
    std::int32_t distance;
  } rows[] = {{0, 0, 0},
              {1, 0, 1},
              {0, 0xffffffff, 1},
              {5, 0xfffffffb, 10},
              {0x7fffffff, 0, 0x7fffffff},
              {0x80000000, 1, 0x7fffffff},
              {0x10, 0x80000011, 0x7fffffff}};
  for (const auto& row : rows) {
    const SeqNum a{row.a}, b{row.b};
    EXPECT_EQ(a - b, row.distance);
    EXPECT_EQ(b - a, -row.distance);
    EXPECT_EQ(b + static_cast<std::uint32_t>(row.distance), a);
    EXPECT_EQ(a - static_cast<std::uint32_t>(row.distance), b);
    EXPECT_EQ(a < b, row.distance < 0);
    EXPECT_EQ(a > b, row.distance > 0);
    EXPECT_EQ(b < a, row.distance > 0);
    EXPECT_EQ(a <= b, row.distance <= 0);
    EXPECT_EQ(a >= b, row.distance >= 0);
  }
  SeqNum s{0xfffffffe};
  s += 4;
  EXPECT_EQ(s, SeqNum{2});
  s -= 3;
  EXPECT_EQ(s, SeqNum{0xffffffff});
}

TEST(TcpView, ReadsTheSynOfACapture) {
  // First packet of "http.cap" of the Wireshark sample captures, from its IPv4 header on.
  const auto packet = from_hex(
      "45 00 00 30 0f 41 40 00 80 06 91 eb 91 fe a0 ed 41 d0 e4 df 0d 2c 00 50 38 af fe 13 00 00 00 00 70 02 "
      "22 38 c3 0c "
      "00 00 02 04 05 b4 01 01 04 02");
  ASSERT_EQ(finish(sum(Bytes{packet}.first(20))), 0);
  const auto segment = Bytes{packet}.subspan(20);
  const auto view = TcpView::parse(segment);
  ASSERT_TRUE(view);
  EXPECT_EQ(view->header(), (TcpHeader{.src = Port{3372},
                                       .dst = Port{80},
                                       .seq = SeqNum{951057939},
                                       .ack = SeqNum{0},
                                       .flags = syn,
                                       .window = 8760,
                                       .options = {.mss = 1460, .sack_permitted = true}}));
  EXPECT_EQ(view->header_len(), 28u);
  EXPECT_TRUE(view->payload().empty());
  EXPECT_EQ(finish(sum(segment,
                       pseudo_header_sum(load_ipv4(packet, 12), load_ipv4(packet, 16), IpProtocol::tcp, 28))),
            0);
}

TEST(TcpView, RefusesHeadersThatDoNotFit) {
  auto segment = from_hex("0001 0002 00000003 00000004 50 10 0005 0000 0000");
  ASSERT_TRUE(TcpView::parse(segment));
  EXPECT_EQ(TcpView::parse(Bytes{segment}.first(19)).error(), ParseError::truncated);
  segment[12] = std::byte{0x60};
  EXPECT_EQ(TcpView::parse(segment).error(), ParseError::truncated);
  segment[12] = std::byte{0x4f};
  EXPECT_EQ(TcpView::parse(segment).error(), ParseError::bad_length);
  segment[12] = std::byte{0x5f};  // reserved bits are ignored: RFC 9293 section 3.1
  EXPECT_TRUE(TcpView::parse(segment));
}

/// The options that a header with these option bytes, a multiple of 4, is read to have.
TcpOptions options_of(std::string_view hex) {
  const auto options = from_hex(hex);
  std::vector<std::byte> segment = from_hex("0001 0002 00000003 00000004 50 10 0005 0000 0000");
  segment.insert(segment.end(), options.begin(), options.end());
  segment[12] = static_cast<std::byte>(segment.size() / 4 << 4);
  const auto view = TcpView::parse(segment);
  EXPECT_TRUE(view) << hex;
  return view ? view->header().options : TcpOptions{};
}

TEST(TcpOptions, AreReadUntilTheyEndOrBreak) {
  const TcpOptions none{}, mss{.mss = 1460};
  FastOpenCookie cookie{.size = 8};
  for (std::size_t i = 0; i < 8; ++i) cookie.bytes[i] = static_cast<std::byte>(i + 1);
  TcpSignature md5{.kind = TcpSignature::Kind::md5, .length = 16};
  for (std::size_t i = 0; i < 16; ++i) md5.mac[i] = static_cast<std::byte>(i);
  std::array<std::byte, 16> ao_mac = md5.mac;
  std::fill(ao_mac.begin() + 12, ao_mac.end(), std::byte{0});
  const struct {
    const char* says;
    const char* hex;
    TcpOptions options;
  } rows[] = {
      {"all of a SYN",
       "02 04 05b4 04 02 08 0a 00000001 00000002 01 03 03 07",
       {.mss = 1460, .window_scale = 7, .sack_permitted = true, .timestamps = TcpTimestamps{1, 2}}},
      {"end of list hides what follows", "00 04 0200 02 04 05b4", none},
      {"length 0 ends the reading", "02 04 05b4 03 00 04 02", mss},
      {"length 1 ends the reading", "02 04 05b4 03 01 04 02", mss},
      {"a length over the end ends the reading", "02 04 05b4 08 0a 0000", mss},
      {"a kind without a length ends the reading", "02 04 05b4 01 01 01 08", mss},
      {"an unknown kind is skipped", "fe 04 1234 02 04 05b4", mss},
      {"an MSS of another length is skipped", "02 03 05 01 04 02 01 01", {.sack_permitted = true}},
      {"a window scale of another length is skipped", "03 04 0707 04 02 01 01", {.sack_permitted = true}},
      {"SACK-permitted of another length is skipped", "04 03 00 01", none},
      {"timestamps of another length are skipped", "08 0b 00000001 00000002 00 01 02 04 05b4", mss},
      {"a window scale above 14 is given as sent", "01 03 03 0f", {.window_scale = 15}},
      {"a SACK option without blocks is none", "05 02 01 01", none},
      {"half a SACK block spoils the option", "05 06 00000001 01 01", none},
      {"two SACK blocks",
       "01 01 05 12 00000001 00000002 fffffff0 00000003",
       {.sack = {SackBlock{{1}, {2}}, SackBlock{{0xfffffff0}, {3}}}, .sack_count = 2}},
      {"the last of two SACK options counts whole",
       "05 12 00000001 00000002 00000003 00000004 05 0a 00000005 00000006",
       {.sack = {SackBlock{{5}, {6}}}, .sack_count = 1}},
      {"the last MSS counts", "02 04 0200 02 04 05b4", mss},
      {"an empty cookie asks for one", "22 02 01 01", {.fast_open = FastOpenCookie{}}},
      {"a cookie of 8 bytes", "22 0a 0102030405060708 01 01", {.fast_open = cookie}},
      {"a cookie of 3 bytes is none", "22 05 010203 01 01 01", none},
      {"a cookie of odd length is none", "22 07 0102030405 01", none},
      {"a cookie of 18 bytes is none", "22 14 000102030405060708090a0b0c0d0e0f1011", none},
      {"an MD5 digest", "13 12 000102030405060708090a0b0c0d0e0f 01 01", {.signature = md5}},
      {"an MD5 digest of another length is none", "13 11 000102030405060708090a0b0c0d0e 01 01 01", none},
      {"an authentication option", "1d 10 05 06 000102030405060708090a0b",
       {.signature = {.kind = TcpSignature::Kind::ao, .key_id = 5, .next_key_id = 6, .length = 12, .mac = ao_mac}}},
      {"an authentication option without key identifiers is none", "1d 03 05 01", none},
      {"of a MAC that is too long the length shows it", "1d 1a 05 06 000102030405060708090a0b0c0d0e0f101112131415 01 01",
       {.signature = {.kind = TcpSignature::Kind::ao, .key_id = 5, .next_key_id = 6, .length = 22, .mac = md5.mac}}},
      {"two signatures are seen to be two", "1d 04 05 06 13 12 000102030405060708090a0b0c0d0e0f 01 01",
       {.signature = {.kind = TcpSignature::Kind::md5, .length = 16, .mac = md5.mac, .twice = true}}},
      {"AccECN in its first order", "ac 0b 000065 000032 000008 01",
       {.accecn = AccEcnOption{.fields = 3, .e0b = 0x65, .ceb = 0x32, .e1b = 8}}},
      {"AccECN in its second order, two fields", "ae 08 800001 ffffff", {.accecn = AccEcnOption{.order1 = true, .fields = 2, .ceb = 0xffffff, .e1b = 0x800001}}},
      {"AccECN with one field", "ac 05 000065 01 01 01", {.accecn = AccEcnOption{.fields = 1, .e0b = 0x65}}},
      {"AccECN without any", "ae 02 01 01", {.accecn = AccEcnOption{.order1 = true}}},
      {"of another length, the whole fields (RFC 9768 section 3.2.3)", "ac 07 000065 0000 01", {.accecn = AccEcnOption{.fields = 1, .e0b = 0x65}}},
      {"of a longer one, three", "ac 0e 000001 000002 000003 000004 01 01",
       {.accecn = AccEcnOption{.fields = 3, .e0b = 1, .ceb = 2, .e1b = 3}}},
      {"four SACK blocks fill the header",
       "01 01 05 22 00000001 00000002 00000003 00000004 00000005 00000006 00000007 00000008 01 01 01 01",
       {.sack = {SackBlock{{1}, {2}}, SackBlock{{3}, {4}}, SackBlock{{5}, {6}}, SackBlock{{7}, {8}}},
        .sack_count = 4}},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    EXPECT_EQ(options_of(row.hex), row.options);
  }
}

TEST(TcpEncode, PutsTheOptionsOfASynInTheCustomaryOrder) {
  const TcpHeader h{
      .src = Port{1},
      .dst = Port{2},
      .seq = SeqNum{3},
      .flags = syn,
      .window = 65535,
      .options = {.mss = 1460, .window_scale = 7, .sack_permitted = true, .timestamps = TcpTimestamps{1, 0}}};
  ASSERT_EQ(encoded_len(h), 40u);
  std::vector<std::byte> out(40, std::byte{0xee});
  EXPECT_EQ(encode(h, out), 40u);
  EXPECT_EQ(out, from_hex("0001 0002 00000003 00000000 a0 02 ffff 0000 0000"
                          "02 04 05b4 04 02 08 0a 00000001 00000000 01 03 03 07"));
}

TEST(TcpEncode, AccEcnComesLastAndOnlyWhereThereIsRoom) {
  TcpHeader h{.flags = wire::ack | ae | ece, .options = {.timestamps = TcpTimestamps{1, 2}, .sack_count = 2}};
  h.options.accecn = AccEcnOption{.fields = 2, .e0b = 0x102, .ceb = 3};
  ASSERT_EQ(encoded_len(h), 60u);
  std::vector<std::byte> out(60);
  encode(h, out);
  EXPECT_EQ(TcpView::parse(out)->header(), h);
  EXPECT_EQ(TcpView::parse(out)->flags(), 0x150);
  h.options.accecn->fields = 3;
  EXPECT_EQ(encoded_len(h), 52u);
  EXPECT_EQ(encoded_len(AccEcnOption{.fields = 0}), 4u);
  EXPECT_EQ(encoded_len(AccEcnOption{.fields = 3}), 12u);
}

TEST(TcpEncode, LeavesOutTheSackBlockThatDoesNotFit) {
  TcpHeader h{.options = {.timestamps = TcpTimestamps{1, 2}, .sack_count = 4}};
  for (std::uint32_t i = 0; i < 4; ++i) h.options.sack[i] = {SeqNum{2 * i + 1}, SeqNum{2 * i + 2}};
  ASSERT_EQ(encoded_len(h), 60u);
  std::vector<std::byte> out(60);
  encode(h, out);
  EXPECT_EQ(TcpView::parse(out)->header().options.sack_count, 3);
  h.options.timestamps.reset();
  EXPECT_EQ(encoded_len(h), 56u) << "without timestamps all four fit";
}

TcpHeader random_header(Random& random) {
  TcpHeader h{.src = Port{test::random_u16(random)},
              .dst = Port{test::random_u16(random)},
              .seq = SeqNum{test::random_u32(random)},
              .ack = SeqNum{test::random_u32(random)},
              .flags = test::random_u8(random),
              .window = test::random_u16(random),
              .urgent = test::random_u16(random),
              .options = {}};
  TcpOptions& o = h.options;
  if (random.chance(0.5)) o.mss = test::random_u16(random);
  if (random.chance(0.5)) o.window_scale = test::random_u8(random);
  o.sack_permitted = random.chance(0.5);
  if (random.chance(0.5)) o.timestamps = TcpTimestamps{test::random_u32(random), test::random_u32(random)};
  const auto fill = [&](std::span<std::byte> bytes) {
    for (std::byte& b : bytes) b = std::byte{test::random_u8(random)};
  };
  std::size_t more = 0;
  if (random.chance(0.2)) {
    const bool md5 = random.chance(0.5);
    o.signature.kind = md5 ? TcpSignature::Kind::md5 : TcpSignature::Kind::ao;
    o.signature.length = md5 ? 16 : static_cast<std::uint8_t>(random.below(13));
    if (!md5) o.signature.key_id = test::random_u8(random), o.signature.next_key_id = test::random_u8(random);
    fill(std::span{o.signature.mac}.first(o.signature.length));
    more = encoded_len(o.signature);
  } else if (random.chance(0.3)) {
    o.fast_open = FastOpenCookie{.size = static_cast<std::uint8_t>(random.chance(0.3) ? 0 : 4 + 2 * random.below(5))};
    fill(std::span{o.fast_open->bytes}.first(o.fast_open->size));
    more = (2u + o.fast_open->size + 3) / 4 * 4;
  }
  // So many that they fit beside the others.
  const std::size_t used = more + (o.mss ? 4 : 0) + (o.window_scale ? 4 : 0) +
                           (o.timestamps       ? 12
                            : o.sack_permitted ? 4
                                               : 0);
  o.sack_count = used > 28 ? 0 : static_cast<std::uint8_t>(random.below(std::min<std::size_t>(4, (40 - used - 4) / 8) + 1));
  for (std::size_t i = 0; i < o.sack_count; ++i)
    o.sack[i] = {SeqNum{test::random_u32(random)}, SeqNum{test::random_u32(random)}};
  return h;
}

TEST(TcpEncode, IsReadBackAsItWas) {
  Random random{1};
  for (int i = 0; i < 20'000; ++i) {
    const TcpHeader h = random_header(random);
    std::vector<std::byte> out(encoded_len(h) + 3, std::byte{0x55});
    ASSERT_EQ(encode(h, out), out.size() - 3);
    const auto view = TcpView::parse(out);
    ASSERT_TRUE(view);
    ASSERT_EQ(view->header(), h);
    ASSERT_EQ(view->header_len() % 4, 0u);
    ASSERT_EQ(view->payload().size(), 3u);
    ASSERT_EQ(view->checksum(), 0);
  }
}

TEST(TcpView, AnswersToEveryDamage) {
  Random random{2};
  for (int i = 0; i < 20; ++i) {
    const TcpHeader h = random_header(random);
    std::vector<std::byte> good(encoded_len(h) + 2);
    encode(h, good);
    test::for_each_damage(good, [](Bytes bytes) {
      const auto view = TcpView::parse(bytes);
      if (!view) return;
      ASSERT_EQ(view->header_len() + view->payload().size(), bytes.size());
      const TcpHeader read = view->header();
      ASSERT_LE(read.options.sack_count, 4);
      std::vector<std::byte> again(encoded_len(read));
      encode(read, again);
      ASSERT_EQ(TcpView::parse(again)->header().options.timestamps, read.options.timestamps);
    });
  }
}

}  // namespace
}  // namespace iopkt::wire
