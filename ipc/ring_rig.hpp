// Injected ends of the rings, so that a test decides what the other side does and when.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <numeric>

#include "ipc/test_rig.hpp"

namespace iopkt::ipc::test {

/// Counts what the rings ask for; answers as told.
class FakeStack final : public StackIo {
 public:
  Sent send_token() override {
    ++sends;
    if (next == Sent::done) ++queued;
    if (before_return) before_return();
    return next;
  }
  bool token_queued() override { return queued > 0; }
  unsigned units_above_ballast() override { return units; }
  bool take_unit() override {
    if (units == 0) return false;
    --units;
    ++taken;
    return true;
  }
  void wake(const std::atomic<std::uint64_t>&) override { ++wakes; }
  Sent next = Sent::done;
  std::function<void()> before_return;
  int sends = 0, queued = 0, taken = 0, wakes = 0;
  unsigned units = 0;
};

class FakeProgram final : public ProgramIo {
 public:
  explicit FakeProgram(FakeStack& stack) : stack_(&stack) {}
  bool take_token() override {
    ++takes;
    if (stack_->queued == 0) return false;
    --stack_->queued;
    return true;
  }
  Await await_token() override {
    if (on_await) on_await();
    return stack_->queued > 0 ? Await::there : Await::not_yet;
  }
  Stalled send_stall() override {
    ++stack_->units;
    ++stalls;
    return Stalled::sent;
  }
  bool still_open() const override { return open; }
  void yield() override { ++yields; }
  std::uint64_t now_us() override { return clock_us += 10; }
  void ring() override { ++rings; }
  void step(Step s) override {
    if (on_step) on_step(s);
  }
  bool open = true;
  int takes = 0, stalls = 0, yields = 0, rings = 0;
  std::uint64_t clock_us = 0;
  std::function<void(Step)> on_step;
  std::function<void()> on_await;

 private:
  FakeStack* stack_;
};

class RingTest : public testing::Test {
 protected:
  RingTest()
      : program(stack),
        reader(*rig.slot, rig.arena(), rig.arena_size(), program),
        writer(*rig.slot, rig.arena(), rig.arena_size(), program) {}

  ReadOutcome read(std::size_t n) {
    const iovec piece{buffer, n};
    return reader.read({&piece, 1});
  }
  ReadOutcome peek(std::size_t n, std::size_t skip = 0) {
    const iovec piece{buffer, n};
    return reader.peek({&piece, 1}, skip);
  }
  WriteOutcome write(std::size_t n) {
    const iovec piece{buffer, n};
    return writer.write({&piece, 1});
  }
  TokenState state() const { return rig.word().state(); }
  void force_state(TokenState s, bool removing = false) {
    rig.slot->rx_word = rig.word().with_state(s).with(ReceiveWord::kRemoving, removing).bits;
  }

  Rig rig;
  FakeStack stack;
  FakeProgram program;
  ReceiveRingReader reader;
  SendRingWriter writer;
  unsigned char buffer[8192]{};
};

}  // namespace iopkt::ipc::test
