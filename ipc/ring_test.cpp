// The receive ring's rules one by one, with injected ends: who moves the token, and what a hostile word does.
#include "ipc/ring_rig.hpp"

namespace iopkt::ipc::test {
namespace {

using Kind = ReadOutcome::Kind;

TEST(ReceiveWordBits, AreIndependent) {
  ReceiveWord w;
  w = w.with_tail(kPositionMask).with_state(TokenState::present).with_extra(15).with_mode(Mode::stream);
  w = w.with(ReceiveWord::kEdge, true).with(ReceiveWord::kRemoving, true);
  EXPECT_EQ(w.tail(), kPositionMask);
  EXPECT_EQ(w.state(), TokenState::present);
  EXPECT_EQ(w.extra(), 15u);
  EXPECT_EQ(w.mode(), Mode::stream);
  EXPECT_TRUE(w.edge() && w.removing() && !w.observed());
  w = w.with_extra(0).with_tail(0);
  EXPECT_EQ(w.state(), TokenState::present);
  EXPECT_EQ(w.mode(), Mode::stream);
  EXPECT_EQ(w.tail(), 0u);
}

TEST(Positions, AreModular) {
  EXPECT_EQ(distance(kPositionMask, 4), 5u);
  EXPECT_TRUE(lies_before(kPositionMask, 0));
  EXPECT_FALSE(lies_before(0, kPositionMask));
  EXPECT_FALSE(lies_before(7, 7));
  const RingRef ref = RingRef::make(123 * kPage, 1 << 20, 65535);
  EXPECT_EQ(ref.offset(), 123 * kPage);
  EXPECT_EQ(ref.size(), std::size_t{1} << 20);
  EXPECT_EQ(ref.epoch(), 65535);
}

TEST_F(RingTest, OneBurstIsOneTokenAndTheReaderThatEmptiesTakesIt) {
  EXPECT_TRUE(rig.put(10, 3));
  EXPECT_EQ(state(), TokenState::want);
  rig.put(5, 4);
  rig.producer.flush(stack);
  EXPECT_EQ(stack.sends, 1);
  EXPECT_EQ(state(), TokenState::present);
  EXPECT_FALSE(rig.put(1, 9));
  EXPECT_EQ(read(12).bytes, 12u);
  EXPECT_EQ(buffer[9], 3);
  EXPECT_EQ(buffer[10], 4);
  EXPECT_EQ(program.takes, 0);
  EXPECT_EQ(read(100).bytes, 4u);
  EXPECT_EQ(state(), TokenState::none);
  EXPECT_FALSE(rig.word().removing());
  EXPECT_EQ(stack.queued, 0);
  EXPECT_EQ(read(100).kind, Kind::empty);
}

TEST_F(RingTest, AReaderCancelsATokenThatWasNotSent) {
  rig.put(10);
  EXPECT_EQ(read(10).bytes, 10u);
  EXPECT_EQ(state(), TokenState::none);
  EXPECT_FALSE(rig.producer.flush(stack));
  EXPECT_EQ(stack.sends, 0);
}

TEST_F(RingTest, TheTokenWaitsWhileTheDescriptorHasNoRoom) {
  rig.put(10);
  stack.next = StackIo::Sent::again;
  EXPECT_TRUE(rig.producer.flush(stack));
  EXPECT_EQ(state(), TokenState::want);
  stack.next = StackIo::Sent::done;
  EXPECT_FALSE(rig.producer.flush(stack));
  EXPECT_EQ(state(), TokenState::present);
}

TEST_F(RingTest, NoTokensAfterTheProgramShutItsReadingSide) {
  rig.put(10);
  stack.next = StackIo::Sent::gone;
  EXPECT_FALSE(rig.producer.flush(stack));
  EXPECT_EQ(state(), TokenState::none);
  EXPECT_FALSE(rig.put(10));
  EXPECT_FALSE(rig.producer.flush(stack));
  EXPECT_EQ(stack.sends, 1);
}

TEST_F(RingTest, DataPublishedDuringARemovalGetsItsOwnByte) {
  rig.put(10);
  rig.producer.flush(stack);
  program.on_step = [&](Step s) {
    if (s != Step::won_token) return;
    rig.put(20);
    rig.producer.flush(stack);
    EXPECT_EQ(stack.queued, 2);
    EXPECT_TRUE(rig.word().removing());
  };
  EXPECT_EQ(read(10).bytes, 10u);
  EXPECT_EQ(stack.queued, 1);
  EXPECT_EQ(state(), TokenState::present);
  EXPECT_FALSE(rig.word().removing());
}

TEST_F(RingTest, AnEmptyReaderWaitsForTheByteOnItsWay) {
  rig.put(10);
  force_state(TokenState::sending);
  program.on_await = [&] { force_state(TokenState::present), stack.queued = 1; };
  EXPECT_EQ(read(10).bytes, 10u);
  EXPECT_EQ(stack.queued, 0);
  EXPECT_EQ(state(), TokenState::none);
}

TEST_F(RingTest, AnEmptyReaderOutlastsAStackThatHasLostTheCpu) {
  rig.put(10);
  force_state(TokenState::sending);
  int looks = 0;
  program.on_await = [&] {
    if (++looks == 10'000) stack.queued = 1;  // ... and does not come back to say so
  };
  EXPECT_EQ(read(10).bytes, 10u);
  EXPECT_EQ(stack.queued, 0) << "the program would be told of data that is read";
  EXPECT_EQ(state(), TokenState::none);
}

TEST_F(RingTest, AByteWhoseSenderHasNotComeBackIsTakenInItsPlace) {
  rig.put(10);
  stack.before_return = [&] {
    EXPECT_EQ(read(100).bytes, 10u);
    EXPECT_EQ(stack.queued, 0);
  };
  EXPECT_FALSE(rig.producer.flush(stack));
  EXPECT_EQ(state(), TokenState::none) << "no state without its byte";
  EXPECT_FALSE(rig.word().removing());
  stack.before_return = nullptr;
  EXPECT_TRUE(rig.put(1));
  rig.producer.flush(stack);
  EXPECT_EQ(stack.queued, 1);
  EXPECT_EQ(state(), TokenState::present);
}

TEST_F(RingTest, ARenewalIsLeftToItsSender) {
  reader.set_edge();
  rig.put(10);
  rig.producer.flush(stack);
  read(5);
  rig.put(10);
  bool inside = false;
  stack.before_return = [&] {
    inside = true;
    // Two bytes are queued; a reader cannot see whether both are. It looks until the sender is back.
    program.on_await = [&] { force_state(TokenState::present); };
    EXPECT_EQ(read(100).bytes, 15u);
    EXPECT_EQ(stack.queued, 0);
  };
  rig.producer.flush(stack);
  EXPECT_TRUE(inside);
  EXPECT_EQ(state(), TokenState::none);
  EXPECT_EQ(rig.word().extra(), 0u);
}

TEST_F(RingTest, NoTokenForWhatWasWantedOnAnOldHead) {
  rig.put(10);
  read(10);
  force_state(TokenState::want);
  EXPECT_FALSE(rig.producer.recheck() && rig.producer.flush(stack));
  EXPECT_EQ(stack.sends, 0);
  EXPECT_EQ(state(), TokenState::none);
}

TEST_F(RingTest, AReaderThatGivesUpOnTheByteOnItsWayGetsANewEdge) {
  reader.set_edge();
  rig.put(10);
  force_state(TokenState::sending);  // the stack was stopped inside send()
  EXPECT_EQ(read(100).bytes, 10u);
  EXPECT_EQ(state(), TokenState::sending);
  ++stack.queued;
  force_state(TokenState::present);  // ... and comes back
  rig.put(10);
  rig.producer.flush(stack);
  EXPECT_EQ(stack.sends, 1);
  EXPECT_EQ(read(100).bytes, 10u);
  EXPECT_EQ(stack.queued, 0);
  EXPECT_EQ(state(), TokenState::none);
}

TEST_F(RingTest, ADeadRemoverIsReplacedAndTheStackRepairs) {
  rig.put(10);
  rig.producer.flush(stack);
  read(10);
  // As if the reader had died between winning and taking.
  force_state(TokenState::none, true);
  stack.queued = 1;
  EXPECT_EQ(read(1).kind, Kind::empty);
  EXPECT_EQ(stack.queued, 0);
  EXPECT_FALSE(rig.word().removing());
  EXPECT_EQ(rig.slot->kicks & Kick::repair, Kick::repair);
  // A slow remover that has taken a newer byte.
  rig.put(10);
  rig.producer.flush(stack);
  stack.queued = 0;
  rig.producer.repair();
  EXPECT_FALSE(rig.producer.flush(stack));
  EXPECT_EQ(stack.queued, 1);
  EXPECT_EQ(state(), TokenState::present);
}

TEST_F(RingTest, RepairDecides) {
  const struct {
    const char* says;
    TokenState state;
    bool removing;
    int queued;
    bool data;
    TokenState after;
    int queued_after;
    bool again;
  } rows[] = {
      {"present without byte, data", TokenState::present, false, 0, true, TokenState::present, 1, false},
      {"present without byte, no data", TokenState::present, false, 0, false, TokenState::none, 0, false},
      {"none with a stray byte", TokenState::none, false, 1, false, TokenState::present, 1, false},
      {"none without byte, but data", TokenState::none, false, 0, true, TokenState::present, 1, false},
      {"none at rest", TokenState::none, false, 0, false, TokenState::none, 0, false},
      {"somebody is removing", TokenState::present, true, 0, true, TokenState::present, 0, true},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.says);
    if (row.data) {
      rig.put(5);
    }
    rig.producer.flush(stack);
    force_state(row.state, row.removing);
    stack.queued = row.queued;
    rig.producer.repair();
    EXPECT_EQ(rig.producer.flush(stack), row.again);
    EXPECT_EQ(state(), row.after);
    EXPECT_EQ(stack.queued, row.queued_after);
    force_state(TokenState::none);
    rig.producer.flush(stack);
    force_state(TokenState::none);
    stack.queued = 0;
    read(4096);
  }
}

TEST_F(RingTest, LowWaterMarkDecidesReadiness) {
  rig.slot->rx_lowat = 100;
  EXPECT_FALSE(rig.put(99));
  EXPECT_EQ(state(), TokenState::none);
  EXPECT_TRUE(rig.put(1));
  rig.producer.flush(stack);
  EXPECT_EQ(stack.queued, 1);
  EXPECT_EQ(read(1).bytes, 1u);
  EXPECT_EQ(stack.queued, 0) << "99 bytes are not readable";
  rig.slot->rx_lowat = 50;
  reader.lowat_changed();
  EXPECT_EQ(rig.slot->kicks.exchange(0) & Kick::recheck, Kick::recheck);
  EXPECT_TRUE(rig.producer.recheck());
  rig.producer.flush(stack);
  EXPECT_EQ(stack.queued, 1);
  rig.slot->rx_lowat = 1000;
  reader.lowat_changed();
  EXPECT_EQ(stack.queued, 0);
}

TEST_F(RingTest, AnEdgeIsRenewedOncePerLookThatLeavesData) {
  reader.set_edge();
  rig.put(10);
  rig.producer.flush(stack);
  EXPECT_FALSE(rig.put(10)) << "nobody has looked";
  EXPECT_EQ(read(5).bytes, 5u);
  EXPECT_TRUE(rig.put(10));
  rig.put(10);
  rig.producer.flush(stack);
  EXPECT_EQ(stack.queued, 2);
  EXPECT_EQ(rig.word().extra(), 1u);
  EXPECT_EQ(peek(1).bytes, 1u);
  rig.put(1);
  rig.producer.flush(stack);
  EXPECT_EQ(stack.queued, 3);
  EXPECT_EQ(reader.readable(), 36u);
  rig.put(1);
  rig.producer.flush(stack);
  EXPECT_EQ(stack.queued, 4);
  EXPECT_EQ(read(4096).bytes, 37u);
  EXPECT_EQ(stack.queued, 0) << "all leave with the first";
  EXPECT_EQ(state(), TokenState::none);
}

TEST_F(RingTest, EdgesGoOnAfterFifteen) {
  reader.set_edge();
  rig.put(100);
  rig.producer.flush(stack);
  int edges = stack.sends;
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(read(1).bytes, 1u);
    rig.put(1);
    rig.producer.flush(stack);
    EXPECT_EQ(stack.sends, edges + 1) << i;
    edges = stack.sends;
    EXPECT_LE(stack.queued, 16);
    EXPECT_EQ(stack.queued, static_cast<int>(rig.word().extra()) + 1);
  }
}

TEST_F(RingTest, ALookThatMissesAnArrivalAsksForTheEdge) {
  reader.set_edge();
  rig.put(10);
  rig.producer.flush(stack);
  program.on_step = [&](Step s) {
    if (s == Step::copied) rig.put(3);
  };
  EXPECT_EQ(read(4).bytes, 4u);
  EXPECT_EQ(rig.slot->kicks.exchange(0) & Kick::recheck, Kick::recheck);
  EXPECT_TRUE(rig.producer.recheck());
  rig.producer.flush(stack);
  EXPECT_EQ(stack.queued, 2);
}

TEST_F(RingTest, ALosingReaderDiscardsWhatItCopied) {
  rig.put(10, 1);
  bool once = true;
  program.on_step = [&](Step s) {
    if (s != Step::copied || !once) return;
    once = false;
    unsigned char other[10];
    const iovec piece{other, sizeof other};
    EXPECT_EQ(reader.read({&piece, 1}).bytes, 10u);
    rig.put(7, 2);
  };
  EXPECT_EQ(read(20).bytes, 7u);
  EXPECT_EQ(buffer[0], 2);
}

TEST_F(RingTest, EndsAreToldAfterTheData) {
  EXPECT_EQ(read(1).kind, Kind::empty);
  rig.put(3);
  rig.slot->status = Status::fin_received;
  EXPECT_EQ(read(10).bytes, 3u);
  EXPECT_EQ(read(10).kind, Kind::eof);
  EXPECT_EQ(peek(10).kind, Kind::eof);
  rig.slot->status = Status::fin_received | Status::reset;
  EXPECT_EQ(read(10).kind, Kind::reset);
  rig.slot->error = ECONNRESET;
  EXPECT_EQ(take_error(*rig.slot), ECONNRESET);
  EXPECT_EQ(take_error(*rig.slot), 0);
  rig.producer.set_mode(Mode::stream);
  EXPECT_EQ(read(10).kind, Kind::stream);
}

TEST_F(RingTest, ScattersAndPeeksAndDiscards) {
  for (int i = 0; i < 200; ++i) rig.put(1, static_cast<std::uint8_t>(i));
  unsigned char a[3], b[5];
  const iovec pieces[] = {{a, 3}, {nullptr, 0}, {b, 5}};
  EXPECT_EQ(reader.peek(pieces, 10).bytes, 8u);
  EXPECT_EQ(a[0], 10);
  EXPECT_EQ(b[4], 17);
  EXPECT_EQ(reader.discard(50).bytes, 50u);
  EXPECT_EQ(reader.read(pieces).bytes, 8u);
  EXPECT_EQ(a[0], 50);
  EXPECT_EQ(reader.readable(), 142u);
  EXPECT_EQ(peek(5, 1000).kind, Kind::empty);
  EXPECT_EQ(read(0).kind, Kind::data);
}

TEST_F(RingTest, ABellRingsWhenTheHeadArrives) {
  rig.put(100);
  ASSERT_TRUE(rig.producer.ask_for_bell(60));
  read(59);
  EXPECT_EQ(program.rings, 0);
  read(1);
  EXPECT_EQ(program.rings, 1);
  read(1);
  EXPECT_EQ(program.rings, 1);
  EXPECT_FALSE(rig.producer.ask_for_bell(61)) << "already there";
  read(39);
  EXPECT_EQ(program.rings, 1);
}

TEST_F(RingTest, AReceiveRingMovesUnderItsReaders) {
  for (int i = 0; i < 3000; ++i) rig.put(1, static_cast<std::uint8_t>(i));
  read(2500);
  for (int i = 3000; i < 6000; ++i) rig.put(1, static_cast<std::uint8_t>(i));
  const RingRef bigger = RingRef::make(2 * kPage + 2 * Rig::kRing, 2 * Rig::kRing, 1);
  bool once = true;
  program.on_step = [&](Step s) {
    if (s != Step::copied || !once) return;
    once = false;
    ASSERT_TRUE(rig.producer.move_ring(rig.ring_memory(2), bigger));
    std::memset(rig.ring_memory(0), 0xee, Rig::kRing);
  };
  EXPECT_EQ(read(10).bytes, 10u);
  EXPECT_EQ(buffer[0], 2500 % 256);
  EXPECT_EQ(rig.producer.free_space(), 2 * Rig::kRing - 3490);
  EXPECT_EQ(read(4000).bytes, 3490u);
  for (int i = 0; i < 3490; ++i) ASSERT_EQ(buffer[i], (2510 + i) % 256);
  EXPECT_TRUE(rig.producer.drop_ring());
  EXPECT_EQ(read(1).kind, Kind::empty);
}

// ---------------------------------------------------------------------------------------------- hostile
// words

TEST_F(RingTest, AnImpossiblePositionBreaksOnlyThisClient) {
  rig.put(100);
  read(10);
  for (const std::uint64_t head : {std::uint64_t{9}, std::uint64_t{101}, kPositionMask}) {
    ReceiveRingProducer copy = rig.producer;
    EXPECT_EQ(copy.checked_head(), 10u);
    rig.slot->rx_head = PositionWord::make(head, 0).bits;
    EXPECT_EQ(copy.checked_head(), 10u);
    EXPECT_TRUE(copy.broken()) << head;
    rig.slot->rx_head = PositionWord::make(10, 0).bits;
  }
  write(100);
  rig.consumer.checked_tail();
  rig.consumer.consume_to(50, stack);
  for (const std::uint64_t tail : {std::uint64_t{49}, std::uint64_t{99}, std::uint64_t{50 + 4097}}) {
    SendRingConsumer copy = rig.consumer;
    rig.slot->tx_tail = PositionWord::make(tail, 0).bits;
    EXPECT_EQ(copy.checked_tail(), 100u);
    EXPECT_TRUE(copy.broken()) << tail;
  }
}

TEST_F(RingTest, TheTailIsNeverReadBackFromW) {
  rig.put(10);
  rig.slot->rx_word =
      ReceiveWord{}.with_tail(12345).with_state(TokenState::present).with_mode(Mode::stream).bits;
  rig.put(5);
  EXPECT_EQ(rig.word().tail(), 15u);
  EXPECT_EQ(rig.word().mode(), Mode::ring);
  EXPECT_EQ(rig.producer.tail(), 15u);
}

}  // namespace
}  // namespace iopkt::ipc::test
