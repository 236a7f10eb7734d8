// A management request as a client sends it: the records are taken apart, put together again, and asked of a stack. The first
// byte chooses the verb, the second one whether the caller may change things; the rest is the blob.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "base/log.hpp"
#include "control/verbs.hpp"
#include "daemon/control_records.hpp"
#include "packet/pool.hpp"
#include "stack/stack.hpp"

namespace {

using namespace iopkt;

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

void ask(std::string_view verb, bool privileged, const control::Record& arguments) {
  NoLog log;
  NoRings rings;
  NoSurroundings surroundings;
  packet::HeapPages pages;
  stack::StackConfig config;
  config.key = {1, 2};
  stack::RingSource* sources[] = {&rings};
  stack::Stack stack{config, pages, sources, log};
  const control::Outcome outcome = control::run_here(stack, surroundings, privileged, verb, arguments);
  const auto blob = daemon::to_blob(outcome.answer);
  // What the stack answers is well-formed, and a refusal has said why in a line.
  if (!daemon::to_record(blob)) std::abort();
  stack.shard(0).begin({1'000'000});
  stack.shard(0).finish();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto rows = control::verb_rows();
  const control::VerbRow& row = rows[data[0] % rows.size()];
  const auto blob = as_bytes(data + 2, size - 2);
  const auto record = daemon::to_record(blob);
  if (!record) return 0;
  const auto again = daemon::to_blob(*record);
  const auto same = daemon::to_record(again);
  if (!same || daemon::to_blob(*same) != again) std::abort();
  ask(row.name, (data[1] & 1) != 0, *record);
  return 0;
}
