// A management request as a client sends it: the records are taken apart, put together again, and asked of a stack. The first
// byte chooses the verb, the second one whether the caller may change things; the rest is the blob.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>

#include "daemon/control_records.hpp"
#include "fuzz/lone_stack.hpp"

namespace {

using namespace iopkt;

void ask(std::string_view verb, bool privileged, const control::Record& arguments) {
  LoneStack alone;
  const auto blob = daemon::to_blob(alone.run(verb, privileged, arguments).answer);
  // What the stack answers is well-formed, and a refusal has said why in a line.
  if (!daemon::to_record(blob)) std::abort();
  alone.stack.shard(0).begin({1'000'000});
  alone.stack.shard(0).finish();
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
