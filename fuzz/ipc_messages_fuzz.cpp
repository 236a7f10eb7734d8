// Control messages and records from a client that sends anything.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "ipc/messages.hpp"
#include "ipc/records.hpp"

namespace {
using namespace iopkt::ipc;

void require(bool belief) {
  if (!belief) std::abort();
}

/// Walks over the records; answers whether they are well formed.
bool walk(std::span<const std::byte> blob) {
  RecordReader reader{blob};
  Record record;
  std::uint64_t sum = 0;
  while (reader.next(record)) {
    require(reader.depth() <= kRecordDepthMax);
    for (const char c : record.key) sum += static_cast<unsigned char>(c);
    for (const std::byte b : record.value) sum += std::to_integer<unsigned>(b);
    sum += record.number();
    if ((sum & 7) == 0 && (record.type == RecordType::group || record.type == RecordType::list)) reader.skip_group();
  }
  return !reader.bad();
}
}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes{reinterpret_cast<const std::byte*>(data), size};
  walk(bytes);
  find_text(bytes, "verb");
  find_number(bytes, "mtu");
  const auto frame = decode_frame(bytes, size % 3);
  if (!frame) {
    require(!to_string(frame.error()).empty());
    return 0;
  }
  // What was accepted adds up, has its row's form, and encodes to the same bytes.
  require(sizeof(FrameHeader) + frame->fixed.size() + frame->blob.size() + frame->line.size() == size);
  require(frame->row != nullptr && frame->header.error <= 4095);
  walk(frame->blob);
  std::vector<std::byte> again(size);
  if (size <= kMessageMax) {
    require(encode_frame(again, frame->header, frame->fixed, frame->blob, frame->line) == size);
    require(std::equal(again.begin(), again.end(), bytes.begin()));
  }
  return 0;
}
