// The send ring's rules one by one, with injected ends: who stalls, who lifts it, who holds the lock.
#include "ipc/ring_rig.hpp"

namespace iopkt::ipc::test {
namespace {

using Kind = ReadOutcome::Kind;

TEST_F(RingTest, AWriteThatLeavesLessThanAThirdStallsAndHalfFreeLiftsIt) {
  EXPECT_EQ(write(2731).bytes, 2731u);
  EXPECT_EQ(program.stalls, 0) << "1365 bytes are free, a third";
  EXPECT_EQ(write(1).bytes, 1u);
  EXPECT_EQ(program.stalls, 1);
  EXPECT_EQ(write(4000).bytes, 1364u) << "room is room";
  EXPECT_EQ(program.stalls, 1);
  EXPECT_EQ(write(1).kind, WriteOutcome::Kind::full);
  EXPECT_EQ(program.stalls, 1);
  EXPECT_EQ(rig.consumer.queued(), 4096u);
  rig.consumer.consume_to(1000, stack);
  EXPECT_TRUE(rig.consumer.stalled());
  EXPECT_EQ(write(10).bytes, 10u) << "room is room";
  rig.consumer.checked_tail();
  rig.consumer.consume_to(2057, stack);
  EXPECT_TRUE(rig.consumer.stalled());
  rig.consumer.consume_to(2058, stack);
  EXPECT_FALSE(rig.consumer.stalled());
  EXPECT_EQ(stack.taken, 1);
  EXPECT_EQ(stack.units, 0u);
}

TEST_F(RingTest, UnsentBytesAreBoundedAndStallAtHalfOfTheBound) {
  rig.consumer.limit_to(1000, 1000);  // nothing was sent yet
  EXPECT_EQ(write(499).bytes, 499u);
  EXPECT_EQ(program.stalls, 0);
  EXPECT_EQ(write(1).bytes, 1u);
  EXPECT_EQ(program.stalls, 1) << "half of them";
  EXPECT_EQ(program.rings, 2);
  EXPECT_EQ(write(4000).bytes, 500u) << "up to the limit";
  EXPECT_EQ(write(1).kind, WriteOutcome::Kind::full);
  EXPECT_EQ(program.rings, 4) << "whoever stalls for it asks the stack to look again";
  // The stack sends, which says nothing of the head.
  rig.consumer.checked_tail();
  rig.consumer.limit_to(1500, 1000);
  rig.consumer.look_again(stack);
  EXPECT_TRUE(rig.consumer.stalled()) << "500 are not sent, half of the bound";
  rig.consumer.limit_to(1501, 1000);
  rig.consumer.look_again(stack);
  EXPECT_FALSE(rig.consumer.stalled());
  EXPECT_EQ(stack.taken, 1);
  EXPECT_EQ(write(4000).bytes, 501u);
  rig.consumer.checked_tail();
  rig.consumer.limit_to(0, 0);  // no limit any more
  rig.consumer.look_again(stack);
  EXPECT_FALSE(rig.consumer.stalled());
  EXPECT_EQ(write(4000).bytes, 4096u - 1501u);
}

TEST_F(RingTest, ALimitThatMovesWhileAWriterStallsIsSeenWhenItRings) {
  rig.consumer.limit_to(1000, 1000);
  program.on_step = [&](Step s) {
    if (s != Step::won_stall) return;
    program.on_step = nullptr;
    rig.consumer.checked_tail();
    rig.consumer.limit_to(2000, 1000);  // between the writer's look at it and its STALL
  };
  const int rung = program.rings;
  EXPECT_EQ(write(1000).bytes, 1000u);
  EXPECT_TRUE(rig.consumer.stalled());
  EXPECT_GT(program.rings, rung);
  rig.consumer.look_again(stack);
  EXPECT_FALSE(rig.consumer.stalled());
}

TEST_F(RingTest, ATailBehindTheLimitIsNoRoom) {
  rig.consumer.limit_to(1000, 1000);
  write(1000);
  rig.consumer.limit_to(900, 900);  // a smaller bound than what is there
  EXPECT_EQ(write(1).kind, WriteOutcome::Kind::full);
}

TEST_F(RingTest, UnitsAreBalancedWhateverTheirOrder) {
  write(4096);
  stack.units = 0;  // its unit has not arrived
  rig.consumer.checked_tail();
  rig.consumer.consume_to(4096, stack);
  EXPECT_EQ(stack.taken, 0);
  write(4096);  // the next round, whose unit arrives first
  rig.consumer.on_units(stack);
  EXPECT_EQ(stack.units, 1u) << "V is stalled: one stays";
  stack.units = 2;  // the late one
  rig.consumer.on_units(stack);
  EXPECT_EQ(stack.units, 1u);
  rig.consumer.checked_tail();
  rig.consumer.consume_to(8192, stack);
  EXPECT_EQ(stack.units, 0u);
}

TEST_F(RingTest, AWriterLooksAgainWhenTheHeadMoved) {
  program.on_step = [&](Step s) {
    if (s != Step::write_published) return;
    rig.consumer.checked_tail();
    rig.consumer.consume_to(4096, stack);
  };
  EXPECT_EQ(write(4096).bytes, 4096u);
  EXPECT_EQ(program.stalls, 0);
  EXPECT_FALSE(rig.consumer.stalled());
}

TEST_F(RingTest, AWriterThatFoundNoRoomAndOwesNoStallWritesOnceThereIsRoom) {
  // Another writer has filled the ring and was interrupted before it stalled; then the stack takes all.
  rig.slot->tx_tail = PositionWord::make(4096, 0).bits;
  bool once = true;
  program.on_step = [&](Step s) {
    if (s != Step::write_published || !once) return;
    once = false;
    rig.consumer.checked_tail();
    rig.consumer.consume_to(4096, stack);
  };
  EXPECT_EQ(write(10).bytes, 10u) << "EAGAIN would announce an edge that nobody owes";
  EXPECT_FALSE(once);
  EXPECT_EQ(program.stalls, 0);
}

TEST_F(RingTest, OnceTheNumberIsClosedNothingIsTouched) {
  EXPECT_EQ(write(10).bytes, 10u);
  rig.put(10);
  program.open = false;
  const std::uint64_t tail = rig.slot->tx_tail, head = rig.slot->rx_head;
  EXPECT_EQ(write(10).kind, WriteOutcome::Kind::gone);
  EXPECT_EQ(read(10).kind, Kind::gone);
  EXPECT_EQ(rig.slot->tx_tail, tail);
  EXPECT_EQ(rig.slot->rx_head, head);
  EXPECT_FALSE(rig.consumer.writer_inside());
  // Closed while a writer is inside: the stack sees the lock, until the STALL is sent.
  program.open = true;
  unsigned steps = 0;
  program.on_step = [&](Step) {
    ++steps;
    EXPECT_TRUE(rig.consumer.writer_inside());
  };
  EXPECT_GT(write(Rig::kRing).bytes, 10u);
  EXPECT_EQ(program.stalls, 1);
  EXPECT_GE(steps, 4u);
  EXPECT_FALSE(rig.consumer.writer_inside());
}

TEST_F(RingTest, AConnectStartsStalledAndReleaseWakes) {
  Rig fresh;
  fresh.consumer.begin_stalled();
  stack.units = 1;
  const std::uint64_t v = fresh.slot->tx_word;
  fresh.slot->tx_word = SendWord{v}.with(SendWord::kWaiters, true).bits;
  fresh.consumer.release(stack);
  EXPECT_FALSE(fresh.consumer.stalled());
  EXPECT_EQ(stack.units, 0u);
  EXPECT_EQ(stack.wakes, 1);
}

TEST_F(RingTest, WritesAreRefusedByStatus) {
  const struct {
    std::uint32_t status;
    std::uint32_t error;
    WriteOutcome::Kind kind;
  } rows[] = {
      {Status::shut_wr, 0, WriteOutcome::Kind::closed},
      {Status::reset, ECONNRESET, WriteOutcome::Kind::failed},
      {Status::reset, 0, WriteOutcome::Kind::closed},
      {Status::fin_received, 0, WriteOutcome::Kind::data},
  };
  for (const auto& row : rows) {
    rig.slot->status = row.status;
    rig.slot->error = row.error;
    EXPECT_EQ(write(1).kind, row.kind) << row.status;
  }
  rig.slot->status = 0;
  rig.slot->tx_ring = 0;
  EXPECT_EQ(write(1).kind, WriteOutcome::Kind::no_ring);
}

TEST_F(RingTest, TheSameThreadStealsItsLockAndTheInterruptedWriteCopiesAgain) {
  bool once = true;
  unsigned char handler[20];
  std::memset(handler, 0xaa, sizeof handler);
  std::memset(buffer, 0x55, 50);
  program.on_step = [&](Step s) {
    if (s != Step::write_copied || !once) return;
    once = false;
    const iovec piece{handler, sizeof handler};
    EXPECT_EQ(writer.write({&piece, 1}).bytes, 20u);
  };
  EXPECT_EQ(write(50).bytes, 50u);
  EXPECT_EQ(rig.consumer.queued(), 70u);
  for (int i = 0; i < 70; ++i) {
    ASSERT_EQ(std::to_integer<int>(rig.consumer.base()[i]), i < 20 ? 0xaa : 0x55) << i;
  }
  EXPECT_EQ(rig.slot->tx_lock >> 24, 0u);
}

TEST_F(RingTest, ASendRingMovesUnderAWriter) {
  EXPECT_EQ(write(100).bytes, 100u);
  rig.consumer.checked_tail();
  rig.consumer.consume_to(40, stack);
  std::iota(buffer, buffer + 200, static_cast<unsigned char>(0));
  bool once = true;
  program.on_step = [&](Step s) {
    if (s != Step::write_copied || !once) return;
    once = false;
    ASSERT_TRUE(rig.consumer.move_ring(rig.ring_memory(2),
                                       RingRef::make(2 * kPage + 2 * Rig::kRing, 2 * Rig::kRing, 1)));
    // The writer has not noticed yet: what it left half copied may still be written to.
    EXPECT_TRUE(rig.consumer.old_place_in_use());
    EXPECT_FALSE(rig.consumer.move_ring(rig.ring_memory(1), rig.ring_ref(1, 2)));
    EXPECT_FALSE(rig.consumer.drop_ring());
  };
  EXPECT_EQ(write(200).bytes, 200u);
  EXPECT_FALSE(rig.consumer.old_place_in_use());
  EXPECT_EQ(rig.consumer.queued(), 260u);
  for (int i = 0; i < 200; ++i) ASSERT_EQ(std::to_integer<int>(rig.ring_memory(2)[100 + i]), i);
  EXPECT_FALSE(rig.consumer.drop_ring());
  rig.consumer.consume_to(300, stack);
  EXPECT_TRUE(rig.consumer.drop_ring());
  EXPECT_EQ(write(1).kind, WriteOutcome::Kind::no_ring);
}

TEST_F(RingTest, AnUrgentByteIsKnownWithTheTailThatShowsIt) {
  std::uint64_t at = 0;
  EXPECT_EQ(write(10).bytes, 10u);
  rig.consumer.checked_tail();
  EXPECT_FALSE(rig.consumer.take_urgent(at));
  program.on_step = [&](Step s) {
    if (s != Step::write_copied) return;
    rig.slot->tx_urgent.store(std::uint64_t{15} << kPositionShift | 1);
    EXPECT_FALSE(rig.consumer.take_urgent(at));  // the tail is still to come
  };
  const iovec piece{buffer, 5};
  EXPECT_EQ(writer.write({&piece, 1}, true).bytes, 5u);
  program.on_step = nullptr;
  rig.consumer.checked_tail();
  ASSERT_TRUE(rig.consumer.take_urgent(at));
  EXPECT_EQ(at, 15u);
  EXPECT_FALSE(rig.consumer.take_urgent(at));  // once
  rig.consumer.consume_to(12, stack);
  for (const std::uint64_t nonsense : {std::uint64_t{12}, std::uint64_t{3}, std::uint64_t{1} << 40}) {
    rig.slot->tx_urgent.store(nonsense << kPositionShift | 1);
    EXPECT_FALSE(rig.consumer.take_urgent(at)) << nonsense;
    EXPECT_EQ(rig.slot->tx_urgent.load(), 0u) << nonsense;
  }
  rig.slot->tx_urgent.store(1);
  reset_slot(*rig.slot, AF_INET, SOCK_STREAM, 0, 8, 0);
  EXPECT_EQ(rig.slot->tx_urgent.load(), 0u);  // not the next socket's
}

TEST_F(RingTest, MoreFollowsUntilTheNextWriteWithoutThatHint) {
  const iovec piece{buffer, 5};
  EXPECT_EQ(writer.write({&piece, 1}, false, true).bytes, 5u);
  rig.consumer.checked_tail();
  EXPECT_TRUE(rig.consumer.more_follows());
  EXPECT_EQ(writer.write({&piece, 1}).bytes, 5u);
  EXPECT_TRUE(rig.consumer.more_follows()) << "the stack has not looked at the tail";
  rig.consumer.checked_tail();
  EXPECT_FALSE(rig.consumer.more_follows());
  EXPECT_EQ(writer.write({&piece, 1}, false, true).bytes, 5u);
  reset_slot(*rig.slot, AF_INET, SOCK_STREAM, 0, 8, 0);
  EXPECT_EQ(rig.slot->tx_more.load(), 0u);
}

}  // namespace
}  // namespace iopkt::ipc::test
