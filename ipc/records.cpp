// Reading and writing typed records; see records.hpp for their form.
#include "ipc/records.hpp"

#include <algorithm>
#include <cstring>

namespace iopkt::ipc {

namespace {
struct Head {
  std::uint8_t type, key_len;
  std::uint16_t zero;
  std::uint32_t value_len;
};
static_assert(sizeof(Head) == kRecordHeaderSize);

bool value_fits(RecordType type, std::span<const std::byte> value) {
  switch (type) {
    case RecordType::end:
    case RecordType::group:
    case RecordType::list: return value.empty();
    case RecordType::text:
    case RecordType::address: return std::find(value.begin(), value.end(), std::byte{0}) == value.end();
    case RecordType::unsigned_number:
    case RecordType::signed_number: return value.size() == sizeof(std::uint64_t);
    case RecordType::boolean: return value.size() == 1 && value[0] <= std::byte{1};
    case RecordType::bytes: return true;
  }
  return false;
}
}  // namespace

std::uint64_t Record::number() const {
  std::uint64_t n = 0;
  if (type == RecordType::boolean && value.size() == 1) return std::to_integer<std::uint64_t>(value[0]);
  if ((type == RecordType::unsigned_number || type == RecordType::signed_number) && value.size() == sizeof n) {
    std::memcpy(&n, value.data(), sizeof n);
  }
  return n;
}

bool RecordReader::fail() {
  bad_ = true;
  rest_ = {};
  return false;
}

bool RecordReader::next(Record& out) {
  if (rest_.empty()) {
    if (depth_ != 0) bad_ = true;
    return false;
  }
  Head head;
  if (rest_.size() < sizeof head) return fail();
  std::memcpy(&head, rest_.data(), sizeof head);
  const std::uint64_t length = std::uint64_t{sizeof head} + head.key_len + head.value_len;
  if (head.zero != 0 || length > rest_.size() || head.type > static_cast<std::uint8_t>(RecordType::address)) return fail();
  out.type = static_cast<RecordType>(head.type);
  out.key = {reinterpret_cast<const char*>(rest_.data()) + sizeof head, head.key_len};
  out.value = rest_.subspan(sizeof head + head.key_len, head.value_len);
  if (!value_fits(out.type, out.value)) return fail();
  if (out.type == RecordType::group || out.type == RecordType::list) {
    if (++depth_ > kRecordDepthMax) return fail();
  } else if (out.type == RecordType::end) {
    if (depth_ == 0) return fail();
    --depth_;
  }
  rest_ = rest_.subspan(static_cast<std::size_t>(length));
  return true;
}

void RecordReader::skip_group() {
  const unsigned inside = depth_;
  Record record;
  while (depth_ >= inside && next(record)) {
  }
}

bool find_record(std::span<const std::byte> blob, std::string_view key, Record& out) {
  RecordReader reader{blob};
  while (reader.next(out)) {
    const bool top = reader.depth() == (out.type == RecordType::group || out.type == RecordType::list ? 1u : 0u);
    if (top && out.type != RecordType::end && out.key == key) return true;
  }
  return false;
}

std::string_view find_text(std::span<const std::byte> blob, std::string_view key, std::string_view otherwise) {
  Record record;
  const bool found = find_record(blob, key, record);
  return found && (record.type == RecordType::text || record.type == RecordType::address) ? record.text() : otherwise;
}

std::uint64_t find_number(std::span<const std::byte> blob, std::string_view key, std::uint64_t otherwise) {
  Record record;
  const bool found = find_record(blob, key, record);
  const bool number = found && (record.type == RecordType::unsigned_number || record.type == RecordType::signed_number ||
                                record.type == RecordType::boolean);
  return number ? record.number() : otherwise;
}

RecordWriter& RecordWriter::put(RecordType type, std::string_view key, const void* value, std::size_t size) {
  key = key.substr(0, 255);
  const Head head{static_cast<std::uint8_t>(type), static_cast<std::uint8_t>(key.size()), 0,
                  static_cast<std::uint32_t>(size)};
  const std::size_t at = out_->size();
  out_->resize(at + sizeof head + key.size() + size);
  std::byte* to = out_->data() + at;
  std::memcpy(to, &head, sizeof head);
  if (!key.empty()) std::memcpy(to + sizeof head, key.data(), key.size());
  if (size > 0) std::memcpy(to + sizeof head + key.size(), value, size);
  return *this;
}

}  // namespace iopkt::ipc
