// Packets against a model: whatever is done to one, its bytes are those of a plain vector, and nothing leaks.
#include "packet/packet.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <vector>

#include "base/random.hpp"
#include "wire/checksum.hpp"

namespace iopkt::packet {
namespace {

using Model = std::vector<std::byte>;

Model bytes_of(const Packet& packet) {
  Model bytes(packet.size());
  packet.copy_out(0, bytes);
  return bytes;
}

Model random_bytes(Random& random, std::size_t size) {
  Model bytes(size);
  for (std::byte& b : bytes) b = static_cast<std::byte>(random.next());
  return bytes;
}

/// Pools that are empty again when a test is over.
class PacketTest : public testing::Test {
 protected:
  explicit PacketTest(PoolConfig config = {}) : pools_(std::make_unique<Pools>(config, pages_)) {
    cache_ = std::make_unique<Cache>(*pools_);
  }
  void TearDown() override {
    for (const Kind kind : {Kind::mbuf, Kind::cluster, Kind::tag}) EXPECT_EQ(pools_->in_use(kind), 0u);
    cache_.reset();
    pools_.reset();
  }
  PacketPtr packet_with(Bytes bytes) {
    PacketPtr packet = allocate_header(*cache_);
    EXPECT_TRUE(packet->append(bytes));
    return packet;
  }
  HeapPages pages_;
  std::unique_ptr<Pools> pools_;
  std::unique_ptr<Cache> cache_;
};

/// Does one random thing to both; the vectors in `lent` are what borrowed pieces point to.
void step(Random& random, Packet& packet, Model& model, std::deque<Model>& lent) {
  const auto upto = [&](std::size_t n) { return static_cast<std::uint32_t>(random.below(n + 1)); };
  switch (random.below(11)) {
    case 0: {
      const Model front = random_bytes(random, upto(100));
      const MutableBytes room = packet.prepend(static_cast<std::uint32_t>(front.size()));
      ASSERT_EQ(room.size(), front.size());
      std::copy(front.begin(), front.end(), room.begin());
      model.insert(model.begin(), front.begin(), front.end());
      break;
    }
    case 1: {
      const std::uint32_t n = upto(std::min<std::size_t>(model.size(), 3000));
      packet.trim_front(n);
      model.erase(model.begin(), model.begin() + n);
      break;
    }
    case 2: {
      const std::uint32_t n = upto(std::min<std::size_t>(model.size(), 3000));
      packet.trim_back(n);
      model.resize(model.size() - n);
      break;
    }
    case 3: {
      const Model back = random_bytes(random, upto(3000));
      ASSERT_TRUE(packet.append(back));
      model.insert(model.end(), back.begin(), back.end());
      break;
    }
    case 4: {
      const std::uint32_t n = upto(200);
      ASSERT_TRUE(packet.append_zeroes(n));
      model.resize(model.size() + n);
      break;
    }
    case 5: {
      lent.push_back(random_bytes(random, upto(5000)));
      if (packet.append_borrowed(lent.back()))
        model.insert(model.end(), lent.back().begin(), lent.back().end());
      break;
    }
    case 6:
      ASSERT_TRUE(packet.own());
      break;
    case 7: {
      const std::uint32_t n = upto(std::min<std::size_t>(model.size(), 2048));
      ASSERT_TRUE(packet.pull_up(n));
      ASSERT_GE(packet.head().size(), n);
      break;
    }
    case 8: {
      const std::uint32_t from = upto(model.size()), n = upto(model.size() - from);
      const PacketPtr part = packet.copy_range(packet.cache(), from, n);
      ASSERT_EQ(bytes_of(*part), Model(model.begin() + from, model.begin() + from + n));
      break;
    }
    case 9: {
      PacketPtr other = allocate_header(packet.cache());
      Model more;
      for (int i = 0; i < 3; ++i) step(random, *other, more, lent);
      ASSERT_TRUE(packet.absorb(std::move(other)));
      model.insert(model.end(), more.begin(), more.end());
      break;
    }
    default: {
      const std::uint32_t from = upto(model.size()), n = upto(model.size() - from);
      wire::InternetChecksum sum;
      sum.add(Bytes{model}.subspan(from, n));
      ASSERT_EQ(packet.sum(from, n), sum.partial());
    }
  }
}

TEST_F(PacketTest, HasTheBytesOfTheModelAfterAnyStep) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    Random random{seed};
    PacketPtr packet = random.chance(0.5) ? allocate_header(*cache_) : allocate(*cache_, 4000);
    if (packet->piece_count > 0) {  // as a driver that filled nothing, and then one byte
      packet->piece[0].len = packet->len = 1;
      packet->piece[0].data[0] = 7;
      ASSERT_TRUE(packet->accept_received());
    }
    Model model = bytes_of(*packet);
    std::deque<Model> lent;
    for (int i = 0; i < 60 && model.size() < 40'000; ++i) {
      step(random, *packet, model, lent);
      ASSERT_EQ(packet->size(), model.size());
      ASSERT_EQ(bytes_of(*packet), model);
      std::size_t sum = 0;
      for (std::size_t p = 0; p < packet->piece_count; ++p) sum += packet->piece[p].len;
      ASSERT_EQ(sum, model.size());
    }
    const PacketPtr copy = packet->clone(*cache_);
    lent.clear();  // a clone and an owned packet stand on their own
    EXPECT_FALSE(copy->is_borrowed());
    EXPECT_EQ(bytes_of(*copy), model);
  }
}

TEST_F(PacketTest, OwnsWhatWasLent) {
  Model lent(5000, std::byte{1});
  PacketPtr packet = allocate_header(*cache_);
  ASSERT_TRUE(packet->append_borrowed(lent));
  ASSERT_FALSE(packet->prepend(40).empty());
  ASSERT_TRUE(packet->append_zeroes(6));
  EXPECT_TRUE(packet->is_borrowed());
  ASSERT_TRUE(packet->own());
  EXPECT_FALSE(packet->is_borrowed());
  std::fill(lent.begin(), lent.end(), std::byte{2});
  const Model now = bytes_of(*packet);
  ASSERT_EQ(now.size(), 5046u);
  EXPECT_TRUE(
      std::all_of(now.begin() + 40, now.begin() + 5040, [](std::byte b) { return b == std::byte{1}; }));
  EXPECT_TRUE(std::all_of(now.begin() + 5040, now.end(), [](std::byte b) { return b == std::byte{0}; }));
}

TEST_F(PacketTest, HeadersGoIntoTheHeaderRoomWithoutACluster) {
  PacketPtr packet = allocate_header(*cache_);
  const Model lent(100);
  ASSERT_TRUE(packet->append_borrowed(lent));
  for (int i = 0; i < 3; ++i) ASSERT_FALSE(packet->prepend(60).empty());
  EXPECT_EQ(packet->piece_count, 2u);
  EXPECT_EQ(pools_->in_use(Kind::cluster), 0u);
  ASSERT_FALSE(packet->prepend(60).empty());  // the room is full
  EXPECT_EQ(pools_->in_use(Kind::cluster), 1u);
}

TEST_F(PacketTest, OffloadMetadataCountsFromTheFront) {
  PacketPtr packet = packet_with(Model(100));
  packet->flags = IOPKT_CSUM_NEEDED | IOPKT_GSO_TCP4;
  packet->csum_start = 0;
  packet->header_len = 20;
  ASSERT_FALSE(packet->prepend(20).empty());
  ASSERT_FALSE(packet->prepend(14).empty());
  EXPECT_EQ(packet->csum_start, 34);
  EXPECT_EQ(packet->header_len, 54);
  packet->trim_front(14);
  ASSERT_TRUE(packet->pull_up(40));
  EXPECT_EQ(packet->csum_start, 20);
  EXPECT_EQ(packet->header_len, 40);
  packet->trim_front(20);
  EXPECT_EQ(packet->flags & IOPKT_CSUM_NEEDED, std::uint32_t{IOPKT_CSUM_NEEDED});
  packet->trim_front(8);  // the transport header goes, and with it what could be completed
  EXPECT_EQ(packet->flags & (IOPKT_CSUM_NEEDED | IOPKT_CSUM_VALID), std::uint32_t{IOPKT_CSUM_VALID});
}

TEST_F(PacketTest, AbsorbsLargePiecesWithoutCopying) {
  PacketPtr packet = packet_with(Model(1000, std::byte{1}));
  PacketPtr other = packet_with(Model(1000, std::byte{2}));
  const std::uint8_t* data = other->piece[0].data;
  ASSERT_TRUE(packet->absorb(std::move(other)));
  ASSERT_EQ(packet->piece_count, 2u);
  EXPECT_EQ(packet->piece[1].data, data);
  PacketPtr small = packet_with(Model(100, std::byte{3}));
  ASSERT_TRUE(packet->absorb(std::move(small)));
  EXPECT_EQ(packet->piece_count, 2u);
  EXPECT_EQ(packet->size(), 2100u);
}

TEST_F(PacketTest, HoldsManyPieces) {
  PacketPtr packet = packet_with(Model(300));
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(packet->absorb(packet_with(Model(300))));
  EXPECT_EQ(packet->size(), 101u * 300);
  EXPECT_GT(packet->piece_count, 50u);
}

TEST_F(PacketTest, RefusesFramesThatDoNotAddUp) {
  const struct {
    const char* says;
    std::uint32_t piece_len, len, flags;
    std::uint16_t csum_start, gso_size;
    bool good;
  } rows[] = {
      {"a plain frame", 60, 60, 0, 0, 0, true},
      {"nothing", 0, 0, 0, 0, 0, false},
      {"less than it says", 60, 61, 0, 0, 0, false},
      {"more than its piece holds", 60'000, 60'000, 0, 0, 0, false},
      {"a checksum field at the end", 60, 60, IOPKT_CSUM_NEEDED, 52, 0, true},
      {"a checksum field behind the end", 60, 60, IOPKT_CSUM_NEEDED, 53, 0, false},
      {"large without a size", 60, 60, IOPKT_GSO_TCP4 | IOPKT_CSUM_NEEDED, 34, 0, false},
      {"large", 60, 60, IOPKT_GSO_TCP4 | IOPKT_CSUM_NEEDED, 34, 10, true},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    PacketPtr packet = allocate(*cache_, 2000);
    const std::uint32_t capacity = packet->piece[0].capacity;
    packet->piece[0].len = row.piece_len;
    packet->len = row.len;
    packet->flags = row.flags;
    packet->csum_start = row.csum_start;
    packet->csum_offset = 6;
    packet->gso_size = row.gso_size;
    EXPECT_EQ(packet->accept_received(), row.good);
    // The length of a broken piece is not believed again.
    if (!row.good) packet->piece[0].len = packet->len = std::min(row.piece_len, capacity);
  }
}

TEST_F(PacketTest, TakesBackPiecesThatADriverLeftEmpty) {
  PacketPtr packet = allocate(*cache_, 65'000);
  EXPECT_GT(pools_->in_use(Kind::cluster), 30u);
  packet->piece[0].len = packet->len = 100;
  ASSERT_TRUE(packet->accept_received());
  EXPECT_EQ(packet->piece_count, 1u);
  EXPECT_LE(pools_->in_use(Kind::cluster), 2u);  // the data, and the table of pieces
}

TEST_F(PacketTest, CarriesTags) {
  PacketPtr packet = packet_with(Model(10));
  const Model value{std::byte{1}, std::byte{2}};
  EXPECT_EQ(packet->find_tag(TagType::txq), nullptr);
  ASSERT_TRUE(packet->add_tag(TagType::txq, value));
  const PacketPtr copy = packet->clone(*cache_);
  packet.reset();
  const Tag* tag = copy->find_tag(TagType::txq);
  ASSERT_NE(tag, nullptr);
  EXPECT_EQ(tag->size, 2);
  EXPECT_EQ(tag->value[1], std::byte{2});
  EXPECT_EQ(pools_->in_use(Kind::tag), 1u);
}

class StarvedPacketTest : public PacketTest {
 protected:
  StarvedPacketTest()
      : PacketTest({.pagesize = 4096,
                    .mclbytes = 2048,
                    .mbuf_cache = 0,
                    .pkt_cache = 0,
                    .mtag_cache = 0,
                    .max_bytes = 8 * 4096}) {}
};

TEST_F(StarvedPacketTest, NothingIsLostOrLeakedWhenMemoryRunsOut) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    Random random{seed};
    const Model block = random_bytes(random, 3000);
    std::vector<PacketPtr> packets;
    for (int i = 0; i < 40; ++i) {
      PacketPtr packet = random.chance(0.5) ? allocate(*cache_, 3000) : allocate_header(*cache_);
      if (!packet) continue;
      if (packet->piece_count > 0) {
        packet->piece[0].len = packet->len = 9;
        ASSERT_TRUE(packet->accept_received());
      }
      const Model before = bytes_of(*packet);
      if (!packet->append(block)) {
        ASSERT_EQ(bytes_of(*packet), before);
      }
      ASSERT_TRUE(packet->append_borrowed(block));
      const Model lent = bytes_of(*packet);
      (void)packet->own();
      ASSERT_EQ(bytes_of(*packet), lent);
      if (random.chance(0.5)) packets.push_back(std::move(packet));
      if (packets.size() > 1 && random.chance(0.3)) {
        PacketPtr other = std::move(packets.back());
        packets.pop_back();
        const Model first = bytes_of(*packets[0]), second = bytes_of(*other);
        const bool done = packets[0]->absorb(std::move(other));
        ASSERT_EQ(packets[0]->size(), first.size() + (done ? second.size() : 0));
      }
    }
  }
}

}  // namespace
}  // namespace iopkt::packet
