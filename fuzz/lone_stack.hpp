// A stack of one shard with nothing around it: for targets that ask it by verbs.
#pragma once

#include "base/log.hpp"
#include "control/verbs.hpp"
#include "packet/pool.hpp"
#include "stack/stack.hpp"

namespace iopkt {

struct LoneStack {
  struct NoLog final : LogSink {
    void write(LogLevel, std::string_view) override {}
  };
  struct NoRings final : stack::RingSource {
    bool provide(stack::Cookie, std::uint32_t, std::uint32_t, stack::Rings&) override { return false; }
    void take_back(stack::Cookie) override {}
  };
  struct NoSurroundings final : control::Surroundings {
    void describe_device(const iface::Interface&, control::Record&) const override {}
    std::uint64_t hardclock_ticks() const override { return 1; }
    void describe_process(control::Record&) const override {}
  };
  static stack::StackConfig config() {
    stack::StackConfig made;
    made.key = {1, 2};
    return made;
  }
  control::Outcome run(std::string_view verb, bool privileged, const control::Record& arguments) {
    return control::run_here(stack, surroundings, privileged, verb, arguments);
  }

  NoLog log;
  NoRings rings;
  NoSurroundings surroundings;
  packet::HeapPages pages;
  stack::RingSource* sources[1] = {&rings};
  stack::Stack stack{config(), pages, sources, log};
};

}  // namespace iopkt
