// Urgent data in the receive ring (RFC 6093): where reads stop, what is left out, and what the descriptor shows.
#include <algorithm>
#include <string>

#include "ipc/ring_rig.hpp"

namespace iopkt::ipc::test {
namespace {

using Kind = ReadOutcome::Kind;

class UrgentTest : public RingTest {
 protected:
  /// Publishes `text`; a '!' in it is urgent, announced before.
  void put(const std::string& text, bool in_line = false) {
    const std::size_t at = text.find('!');
    if (at != std::string::npos) announce(at, '!', in_line);
    for (std::size_t i = 0; i < text.size(); ++i)
      rig.producer.base()[(rig.producer.tail() + i) & (rig.producer.size() - 1)] = static_cast<std::byte>(text[i]);
    rig.producer.publish((rig.producer.tail() + text.size()) & kPositionMask);
  }
  void announce(std::size_t ahead_of_tail, std::optional<std::uint8_t> urgent, bool in_line = false) {
    (void)rig.producer.set_urgent(rig.producer.tail() + ahead_of_tail, urgent, in_line);
  }
  std::string text(std::size_t n) const { return {reinterpret_cast<const char*>(buffer), n}; }
  /// What one call gives: the bytes, with '|' where the mark is behind them.
  std::string one(bool more = false) {
    const iovec piece{buffer, sizeof buffer};
    const ReadOutcome got = reader.read({&piece, 1}, more);
    if (got.kind == Kind::mark) return "mark";
    return got.kind == Kind::data ? text(got.bytes) + (got.at_mark ? "|" : "") : "";
  }
  int take(bool peek = false) { return reader.take_urgent(peek, byte); }
  bool shows_token() {
    rig.producer.flush(stack);
    return stack.queued > 0;
  }
  std::uint8_t byte = 0;
};

TEST_F(UrgentTest, AReadStopsAtTheMarkAndTheNextLeavesTheByteOut) {
  put("abc!de");
  EXPECT_EQ(reader.readable(), 3u);
  EXPECT_FALSE(reader.at_mark());
  EXPECT_EQ(one(), "abc|");
  EXPECT_TRUE(reader.at_mark());
  EXPECT_EQ(reader.readable(), 0u);
  EXPECT_EQ(one(true), "mark");  // a call that has data already does not begin there
  EXPECT_EQ(one(), "de");
  EXPECT_FALSE(reader.at_mark());
  EXPECT_EQ(rig.producer.unread(), 0u);
  EXPECT_EQ(take(), EINVAL);  // passed
}

TEST_F(UrgentTest, InLineItIsTheFirstByteOfTheNextRead) {
  put("abc!de", true);
  EXPECT_EQ(reader.readable(), 6u);
  EXPECT_EQ(take(), EINVAL);
  EXPECT_EQ(one(), "abc|");
  EXPECT_TRUE(reader.at_mark());
  EXPECT_EQ(one(true), "mark");
  EXPECT_EQ(one(), "!de");
}

TEST_F(UrgentTest, APeekStopsThereTooAndTakesNothing) {
  put("abc!de");
  EXPECT_EQ(peek(10).bytes, 3u);
  EXPECT_EQ(peek(10, 1).bytes, 2u);
  EXPECT_EQ(peek(10, 3).kind, Kind::mark);
  one();
  EXPECT_EQ(peek(10).bytes, 2u);
  EXPECT_EQ(text(2), "de");
  EXPECT_TRUE(reader.at_mark());
  EXPECT_EQ(reader.discard(10).bytes, 2u);
}

TEST_F(UrgentTest, AloneItIsNothingToRead) {
  put("!");
  EXPECT_FALSE(shows_token());
  EXPECT_TRUE(reader.nothing_unread());
  EXPECT_TRUE(reader.shown().priority);
  EXPECT_FALSE(reader.shown().readable);
  put("a");
  EXPECT_TRUE(shows_token());
  EXPECT_EQ(one(), "a");
  EXPECT_EQ(stack.queued, 0);
  EXPECT_FALSE(reader.shown().priority);
}

TEST_F(UrgentTest, TheTokenLeavesWithTheLastByteBeforeTheMark) {
  put("ab!");
  EXPECT_TRUE(shows_token());
  EXPECT_EQ(one(), "ab|");
  EXPECT_EQ(stack.queued, 0);
  EXPECT_EQ(one(), "");  // thrown away by reading on
  EXPECT_EQ(rig.producer.unread(), 0u);
  EXPECT_EQ(take(), EINVAL);
}

TEST_F(UrgentTest, OutOfBandItIsGivenOnce) {
  EXPECT_EQ(take(), EINVAL);
  announce(3, {});
  EXPECT_EQ(take(), EAGAIN);
  EXPECT_FALSE(reader.shown().priority);
  put("abc");
  EXPECT_EQ(one(), "abc|");  // announced is enough
  announce(0, '!');
  EXPECT_TRUE(reader.shown().priority);
  EXPECT_EQ(take(true), 0);
  EXPECT_EQ(byte, '!');
  EXPECT_EQ(take(), 0);
  EXPECT_EQ(take(), EINVAL);
  EXPECT_FALSE(reader.shown().priority);
  EXPECT_TRUE(reader.at_mark());
}

TEST_F(UrgentTest, WhatEndsBeforeItComes) {
  announce(3, {});
  rig.slot->status = Status::connected | Status::fin_received;
  EXPECT_EQ(take(), kOobEnd);
  rig.slot->status = Status::reset;
  EXPECT_EQ(take(), ENOTCONN);
}

TEST_F(UrgentTest, ANewerOneMakesTheOlderOrdinaryUnlessTheReaderStandsThere) {
  put("ab!");
  put("cd!");
  EXPECT_EQ(one(), "ab!cd|");
  announce(0, 'y');  // "!" is next: left out for good
  EXPECT_EQ(reader.readable(), 0u);
  EXPECT_TRUE(reader.at_mark());
  put("e");
  EXPECT_EQ(take(), 0);
  EXPECT_EQ(byte, 'y');
  EXPECT_EQ(one(), "");  // 'e' is the urgent byte now
  put("f");
  EXPECT_EQ(one(), "f");
}

TEST_F(UrgentTest, AWordThatChangesUnderAReaderThatHasStoppedBringsTheToken) {
  put("ab!");
  EXPECT_TRUE(shows_token());
  program.on_step = [&, done = false](Step step) mutable {
    // Between the claim up to the mark and the decision about the token.
    if (step != Step::settling || std::exchange(done, true)) return;
    program.on_step = nullptr;
    announce(5, {});
    rig.producer.flush(stack);
  };
  EXPECT_EQ(one(), "ab|");
  rig.producer.flush(stack);
  // Whatever became of the old byte, the descriptor says whether there is something to read.
  EXPECT_EQ(stack.queued > 0, !reader.nothing_unread());
}

TEST_F(UrgentTest, ToldBehindTheTokenAndAgainWithAByteThatComesLater) {
  announce(1, {});
  rig.producer.flush(stack);
  EXPECT_EQ(rig.producer.urgent_told(), 1u);
  announce(1, 'x');
  rig.producer.flush(stack);
  EXPECT_EQ(rig.producer.urgent_told(), 2u);
  announce(1, 'x');
  rig.producer.flush(stack);
  EXPECT_EQ(rig.producer.urgent_told(), 2u);
  EXPECT_EQ(rig.slot->rx_oob_shown, 2u << 1);
  // Nothing that a client writes is believed.
  rig.slot->rx_urgent = 0, rig.slot->rx_left_out = ~0ull, rig.slot->rx_oob_shown = 77;
  put("a");
  EXPECT_TRUE(shows_token());
}

/// The real ends.
class UrgentEndTest : public testing::Test {
 protected:
  int mask() const { return polled() & (POLLIN | POLLPRI); }
  int polled() const {
    pollfd p{.fd = rig.program(), .events = POLLIN | POLLPRI, .revents = 0};
    poll(&p, 1, 0);
    return p.revents;
  }
  Rig rig;
  ProgramEnd program{rig.program(), *rig.slot, nullptr, nullptr, 0};
};

TEST_F(UrgentEndTest, SweepingTakesNoToken) {
  using Swept = ProgramIo::Swept;
  EXPECT_EQ(rig.end.send_urgent(), StackIo::Sent::done);
  EXPECT_EQ(mask(), POLLIN | POLLPRI);
  EXPECT_EQ(program.sweep_urgent(false), Swept::clean);
  EXPECT_EQ(mask(), 0);
  // Behind a token: not shown any more, and gone with the token and the next look.
  rig.end.send_token();
  rig.end.send_urgent();
  EXPECT_EQ(program.sweep_urgent(false), Swept::token);
  EXPECT_EQ(mask(), POLLIN);
  EXPECT_TRUE(program.take_token());
  EXPECT_EQ(program.sweep_urgent(false), Swept::clean);
  EXPECT_EQ(mask(), 0);
  EXPECT_FALSE(rig.end.token_queued());
  // In front of one.
  rig.end.send_urgent();
  rig.end.send_token();
  EXPECT_EQ(program.sweep_urgent(false), Swept::token);
  EXPECT_TRUE(program.take_token());
  EXPECT_FALSE(program.take_token());
}

TEST_F(UrgentEndTest, AnOldByteOutOfBandIsNoToken) {
  for (int i = 0; i < 5; ++i) rig.end.send_urgent();
  EXPECT_FALSE(program.take_token());
  for (int i = 0; i < 5; ++i) rig.end.send_urgent();
  EXPECT_EQ(program.sweep_urgent(true), ProgramIo::Swept::some);
  EXPECT_EQ(mask(), POLLIN | POLLPRI);  // the newest stays
  rig.end.send_token();
  rig.end.send_urgent();
  EXPECT_TRUE(program.take_token());
  EXPECT_EQ(program.sweep_urgent(false), ProgramIo::Swept::clean);
  EXPECT_EQ(mask(), 0);
}

TEST_F(UrgentEndTest, AnyNumberOfThemLeavesRoomForATokenAndIsNotTriedAgain) {
  std::uint32_t told = 0;
  for (std::uint32_t i = 0; i < 1000; ++i) {
    (void)rig.producer.set_urgent(10 + i, '!', false);
    EXPECT_FALSE(rig.producer.flush(rig.end));
    told = rig.producer.urgent_told();
  }
  EXPECT_GT(told, 8u);
  EXPECT_LT(told, 100u);
  rig.put(5);
  EXPECT_FALSE(rig.producer.flush(rig.end));
  EXPECT_EQ(rig.word().state(), TokenState::present);
}

TEST_F(UrgentEndTest, PlainCallsSweepOnlyWhereTheyCannotBlockAndNoTokenIsDue) {
  using Swept = ProgramIo::Swept;
  ProgramEnd plain{rig.program(), *rig.slot, nullptr, nullptr, 0, Calls::plain};
  ProgramEnd nonblocking{rig.program(), *rig.slot, nullptr, nullptr, 0, Calls::plain_nonblocking};
  rig.end.send_urgent();
  EXPECT_EQ(plain.sweep_urgent(false), Swept::some);
  EXPECT_EQ(nonblocking.sweep_urgent(true), Swept::some);
  // A read would pass the byte, and sleep.
  EXPECT_FALSE(plain.take_token());
  EXPECT_EQ(mask(), POLLIN | POLLPRI);
  EXPECT_EQ(nonblocking.sweep_urgent(false), Swept::clean);
  EXPECT_EQ(mask(), 0);
  // A token that nobody has announced, as one that comes between the look and the read.
  rig.end.send_urgent();
  rig.end.send_token();
  EXPECT_EQ(nonblocking.sweep_urgent(false), Swept::stray);
  EXPECT_EQ(mask(), 0);
  // One that is due stays.
  rig.put(5);
  rig.producer.flush(rig.end);
  rig.end.send_urgent();
  EXPECT_EQ(nonblocking.sweep_urgent(false), Swept::some);
  EXPECT_EQ(mask(), POLLIN | POLLPRI);
  // Who has won it takes it.
  rig.slot->rx_word = rig.word().with(ReceiveWord::kRemoving, true).bits;
  EXPECT_TRUE(plain.take_token());
}

}  // namespace
}  // namespace iopkt::ipc::test
