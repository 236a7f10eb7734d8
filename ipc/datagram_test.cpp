// Datagrams in rings: whole, exactly once, with their addresses; also under several readers and writers.
#include <cstring>
#include <functional>
#include <numeric>
#include <utility>

#include "ipc/test_rig.hpp"

namespace iopkt::ipc::test {
namespace {

class DatagramTest : public testing::Test {
 protected:
  DatagramTest()
      : io(rig, 1, {}), reader(*rig.slot, rig.arena(), rig.arena_size(), io),
        writer(*rig.slot, rig.arena(), rig.arena_size(), io) {
    std::iota(payload, payload + sizeof payload, static_cast<unsigned char>(0));
  }
  DatagramProducer::Put put(std::size_t n, std::uint16_t port = 53) {
    RecordHeader from;
    from.remote.port = port;
    const iovec pieces[] = {{payload, n / 2}, {payload + n / 2, n - n / 2}};
    return DatagramProducer::put(rig.producer, from, pieces);
  }
  ReadOutcome get(std::size_t room, bool take = true) {
    const iovec pieces[] = {{buffer, room / 3}, {buffer + room / 3, room - room / 3}};
    return reader.read(pieces, header, take);
  }

  Rig rig{SOCK_SEQPACKET};
  TestEnd io;
  DatagramReader reader;
  DatagramWriter writer;
  RecordHeader header;
  unsigned char payload[4096], buffer[4096]{};
};

TEST_F(DatagramTest, GoThroughWholeAndWrapAtEveryByte) {
  EXPECT_EQ(get(10).kind, ReadOutcome::Kind::empty);
  for (std::size_t i = 0; i < 600; ++i) {
    const std::size_t n = i * 7 % 1500;
    ASSERT_NE(put(n, static_cast<std::uint16_t>(i)), DatagramProducer::Put::full);
    ASSERT_EQ(reader.next_size(), n);
    ASSERT_EQ(get(2000, false).bytes, n);
    ASSERT_EQ(get(2000).bytes, n);
    EXPECT_EQ(header.remote.port, i);
    EXPECT_EQ(header.payload_len, n);
    ASSERT_EQ(std::memcmp(buffer, payload, n), 0);
  }
  EXPECT_TRUE(reader.nothing_unread());
}

TEST_F(DatagramTest, ACutOneIsTakenWhole) {
  put(1000);
  put(5);
  const ReadOutcome cut = get(100);
  EXPECT_EQ(cut.bytes, 100u);
  EXPECT_EQ(header.payload_len, 1000u);
  EXPECT_EQ(get(100).bytes, 5u);
  EXPECT_EQ(get(100).kind, ReadOutcome::Kind::empty);
}

TEST_F(DatagramTest, AnEmptyOneIsReadable) {
  put(0);
  rig.producer.flush(rig.end);
  EXPECT_EQ(poll_mask(rig.program()), POLLIN | POLLOUT);
  const ReadOutcome got = get(100);
  EXPECT_EQ(got.kind, ReadOutcome::Kind::data);
  EXPECT_EQ(got.bytes, 0u);
  EXPECT_EQ(poll_mask(rig.program()), POLLOUT);
}

TEST_F(DatagramTest, RoomIsBounded) {
  EXPECT_EQ(put(2048), DatagramProducer::Put::too_long);
  int queued = 0;
  while (put(500) != DatagramProducer::Put::full) ++queued;
  EXPECT_EQ(queued, 6);
  while (get(500).kind == ReadOutcome::Kind::data) --queued;
  EXPECT_EQ(queued, 0);
  EXPECT_TRUE(rig.producer.drop_ring());
  EXPECT_EQ(put(1), DatagramProducer::Put::no_ring);
}

TEST_F(DatagramTest, WritersStallWhenTheLargestWouldNotFit) {
  RecordHeader to;
  to.flags = RecordHeader::has_destination;
  to.remote.port = 7;
  const iovec piece{payload, 1000};
  EXPECT_EQ(writer.write(to, {&piece, 1}).bytes, 1000u);
  EXPECT_EQ(poll_mask(rig.program()), POLLOUT);
  EXPECT_EQ(writer.write(to, {&piece, 1}).bytes, 1000u);
  EXPECT_EQ(poll_mask(rig.program()), 0) << "less than half is free";
  EXPECT_EQ(writer.write(to, {&piece, 1}).bytes, 1000u);
  EXPECT_EQ(writer.write(to, {&piece, 1}).kind, WriteOutcome::Kind::full);
  const iovec longer{payload, 2000};
  EXPECT_EQ(writer.write(to, {&longer, 1}).kind, WriteOutcome::Kind::too_long);
  std::uint64_t at = rig.consumer.head();
  DatagramConsumer::Datagram got;
  int count = 0;
  for (; DatagramConsumer::next(rig.consumer, at, got); at = got.end, ++count) {
    EXPECT_EQ(got.header.remote.port, 7);
    ASSERT_EQ(got.first.size() + got.second.size(), 1000u);
    EXPECT_EQ(std::memcmp(got.first.data(), payload, got.first.size()), 0);
  }
  EXPECT_EQ(count, 3);
  rig.end.inspect();
  rig.consumer.consume_to(at, rig.end);
  EXPECT_EQ(poll_mask(rig.program()), POLLOUT);
  EXPECT_FALSE(rig.consumer.broken());
}

TEST(DatagramWriterTest, WritesOnceThereIsRoomUnlessItOwesAStall) {
  struct End final : ProgramIo {
    bool take_token() override { return false; }
    Await await_token() override { return Await::not_yet; }
    Stalled send_stall() override { return ++stalls, Stalled::sent; }
    void yield() override {}
    std::uint64_t now_us() override { return 0; }
    void ring() override {}
    void step(Step s) override {
      if (s == Step::write_published && room) std::exchange(room, nullptr)();
    }
    std::function<void()> room;
    int stalls = 0;
  } end;
  Rig rig{SOCK_SEQPACKET};
  // Another writer has filled the ring and was interrupted before it stalled; then the stack takes all.
  rig.slot->tx_tail = PositionWord::make(4096, 0).bits;
  end.room = [&] {
    rig.consumer.checked_tail();
    rig.consumer.consume_to(4096, rig.end);
  };
  DatagramWriter writer{*rig.slot, rig.arena(), rig.arena_size(), end};
  std::byte bytes[100]{};
  const iovec piece{bytes, sizeof bytes};
  EXPECT_EQ(writer.write({}, {&piece, 1}).bytes, 100u);
  EXPECT_FALSE(end.room);
  EXPECT_EQ(end.stalls, 0);
}

TEST_F(DatagramTest, ImpossibleRecordsBreakTheRing) {
  const struct {
    const char* says;
    std::uint32_t total, payload;
  } rows[] = {{"shorter than a header", 80, 0},  {"unaligned", 113, 0},   {"longer than what is there", 4096, 10},
              {"payload beyond", 112, 17},       {"wrapping", 112, 0xffffffff}, {"nothing", 0, 0}};
  const iovec piece{payload, 200};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    Rig fresh{SOCK_SEQPACKET};
    TestEnd end{fresh, 1, {}};
    DatagramWriter good{*fresh.slot, fresh.arena(), fresh.arena_size(), end};
    ASSERT_EQ(good.write({}, {&piece, 1}).bytes, 200u);
    RecordHeader bad;
    bad.total_len = row.total;
    bad.payload_len = row.payload;
    std::memcpy(fresh.ring_memory(1), &bad, sizeof bad);
    DatagramConsumer::Datagram got;
    EXPECT_FALSE(DatagramConsumer::next(fresh.consumer, 0, got));
    EXPECT_TRUE(fresh.consumer.broken());
  }
}

// ---------------------------------------------------------------------------------------------- stress

/// Each datagram carries its number; `got` counts how often each arrived.
void receive_numbers(const Rig& rig, std::atomic<std::uint8_t>* got, int id) {
  TestEnd io{rig, static_cast<std::uint64_t>(id) + 1, {true, false, Step::copied}};
  DatagramReader reader{*rig.slot, rig.arena(), rig.arena_size(), io};
  Random random{static_cast<std::uint64_t>(id)};
  const int ep = epoll_create1(EPOLL_CLOEXEC);
  epoll_event interest{.events = EPOLLIN, .data = {}};
  epoll_ctl(ep, EPOLL_CTL_ADD, rig.program(), &interest);
  for (;;) {
    epoll_event event;
    if (epoll_wait(ep, &event, 1, -1) <= 0) continue;
    RecordHeader header;
    unsigned char bytes[512];
    const iovec piece{bytes, sizeof bytes};
    const bool take = random.below(8) != 0;  // else MSG_PEEK
    const ReadOutcome outcome = reader.read({&piece, 1}, header, take);
    if (outcome.kind == ReadOutcome::Kind::eof) break;
    if (outcome.kind != ReadOutcome::Kind::data) continue;
    std::uint32_t number;
    std::memcpy(&number, bytes, sizeof number);
    bool right = header.remote.scope == number && outcome.bytes == header.payload_len;
    for (std::size_t i = sizeof number; i < outcome.bytes; ++i) right = right && bytes[i] == (number & 0xff);
    if (!right) rig.shared->spurious.fetch_add(1);
    if (take && right) got[number].fetch_add(1);
  }
  close(ep);
}

TEST(DatagramStress, EachArrivesOnceWhoeverReads) {
  for (const bool processes : {false, true}) {
    for (const int readers : {1, 3}) {
      SCOPED_TRACE(testing::Message() << readers << (processes ? " processes" : " threads"));
      Rig rig{SOCK_SEQPACKET};
      constexpr std::uint32_t kMost = 1 << 20;
      auto* got = static_cast<std::atomic<std::uint8_t>*>(
          mmap(nullptr, kMost, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
      Crew crew{readers, processes, [&](int id) { receive_numbers(rig, got, id); }};
      Random random{5};
      const auto end = now() + stress_time();
      std::uint32_t number = 0;
      bool progress = true;
      while (progress && now() < end && number < kMost) {
        unsigned char bytes[300];
        const std::size_t n = 4 + random.below(sizeof bytes - 4);
        std::memset(bytes, static_cast<int>(number & 0xff), n);
        std::memcpy(bytes, &number, sizeof number);
        RecordHeader header;
        header.remote.scope = number;
        const iovec piece{bytes, n};
        progress = eventually([&] {
          rig.serve_kicks();
          rig.producer.flush(rig.end);
          return DatagramProducer::put(rig.producer, header, {&piece, 1}) != DatagramProducer::Put::full;
        });
        ++number;
      }
      EXPECT_TRUE(progress) << "lost wake-up";
      EXPECT_TRUE(eventually([&] {
        rig.serve_kicks();
        rig.producer.flush(rig.end);
        return rig.producer.unread() == 0;
      }));
      rig.slot->status.fetch_or(Status::fin_received);
      rig.end.show_fin();
      EXPECT_TRUE(crew.join());
      EXPECT_EQ(rig.shared->spurious, 0u) << "torn datagrams";
      std::uint32_t wrong = 0;
      for (std::uint32_t i = 0; i < number; ++i) wrong += got[i] != 1;
      EXPECT_EQ(wrong, 0u) << "of " << number;
      munmap(got, kMost);
    }
  }
}

TEST(DatagramStress, EachIsSentOnceWhoeverWrites) {
  Rig rig{SOCK_SEQPACKET};
  Crew crew{3, true, [&](int id) {
              TestEnd io{rig, static_cast<std::uint64_t>(id) + 1, {true, false, Step::copied}};
              DatagramWriter writer{*rig.slot, rig.arena(), rig.arena_size(), io};
              Random random{static_cast<std::uint64_t>(id)};
              for (std::uint32_t number = 0; rig.shared->stop == 0;) {
                unsigned char bytes[1000];
                const std::size_t n = random.below(sizeof bytes);
                std::memset(bytes, static_cast<int>(number & 0xff), n);
                RecordHeader header;
                header.remote.port = static_cast<std::uint16_t>(id);
                header.remote.scope = number;
                const iovec piece{bytes, n};
                if (writer.write(header, {&piece, 1}).kind == WriteOutcome::Kind::data) {
                  ++number;
                  rig.shared->operations.fetch_add(1);
                } else {
                  writer.sleep_for_room(rig.shared->alive, 5'000'000);
                }
              }
            }};
  std::uint32_t expected[3]{};
  std::uint64_t taken = 0;
  const auto take_one = [&] {
    rig.end.inspect();
    rig.consumer.on_units(rig.end);
    DatagramConsumer::Datagram got;
    if (!DatagramConsumer::next(rig.consumer, rig.consumer.head(), got)) return false;
    const unsigned who = got.header.remote.port;
    EXPECT_LT(who, 3u);
    if (who >= 3) return false;
    EXPECT_EQ(got.header.remote.scope, expected[who]++) << "lost, twice, or out of order";
    for (const auto part : {got.first, got.second}) {
      for (const std::byte b : part) EXPECT_EQ(std::to_integer<unsigned>(b), got.header.remote.scope & 0xff);
    }
    rig.consumer.consume_to(got.end, rig.end);
    ++taken;
    return true;
  };
  const auto end = now() + stress_time();
  bool progress = true;
  while (progress && now() < end) progress = eventually(take_one);
  EXPECT_TRUE(progress);
  rig.shared->stop = 1;
  EXPECT_TRUE(crew.join());
  while (take_one()) {
  }
  EXPECT_FALSE(rig.consumer.broken());
  EXPECT_EQ(taken, rig.shared->operations);
  EXPECT_EQ(poll_mask(rig.program()), POLLOUT);
}

}  // namespace
}  // namespace iopkt::ipc::test
