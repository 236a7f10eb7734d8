// Typed key/value records: arguments and answers of management verbs, so that a utility can print text or JSON from one answer.
//
// A record is {type 8 bits, key length 8, zero 16, value length 32}, the key, the value. Groups nest: `list` and `group` open
// one (a list's elements have empty keys), `end` closes it. Order is kept and keys may repeat.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace iopkt::ipc {

enum class RecordType : std::uint8_t {
  end = 0,
  group = 1,
  list = 2,
  text = 3,      ///< UTF-8 without NUL
  unsigned_number = 4,
  signed_number = 5,
  boolean = 6,
  bytes = 7,     ///< a MAC address, a raw sockaddr ...
  address = 8,   ///< text form of an IP address or prefix; apart from `text` so that JSON and -n can tell
};

inline constexpr std::size_t kRecordHeaderSize = 8;
inline constexpr unsigned kRecordDepthMax = 8;

/// One record, pointing into the blob.
struct Record {
  RecordType type{};
  std::string_view key;
  std::span<const std::byte> value;

  std::string_view text() const { return {reinterpret_cast<const char*>(value.data()), value.size()}; }
  /// 0 unless the record is a number or a boolean.
  std::uint64_t number() const;
  std::int64_t signed_number() const { return static_cast<std::int64_t>(number()); }
};

/// Walks over a blob that nobody vouches for. Never reads outside; allocates nothing; ends at the first thing that is wrong.
class RecordReader {
 public:
  explicit RecordReader(std::span<const std::byte> blob) : rest_(blob) {}
  /// The next record, `end` ones among them. False: none is left, or the blob is malformed (then bad()).
  bool next(Record& out);
  /// Skips to behind the `end` of the group or list that next() just opened.
  void skip_group();
  /// Unknown type, wrong value length, more than kRecordDepthMax levels, or an `end` too many (or, at the end, too few).
  bool bad() const { return bad_; }
  unsigned depth() const { return depth_; }

 private:
  bool fail();
  std::span<const std::byte> rest_;
  unsigned depth_ = 0;
  bool bad_ = false;
};

/// The first record of that key at the top level of `blob`; false: none.
bool find_record(std::span<const std::byte> blob, std::string_view key, Record& out);
std::string_view find_text(std::span<const std::byte> blob, std::string_view key, std::string_view otherwise = {});
std::uint64_t find_number(std::span<const std::byte> blob, std::string_view key, std::uint64_t otherwise = 0);

/// Builds a blob. Keys are at most 255 bytes (longer ones are cut).
class RecordWriter {
 public:
  explicit RecordWriter(std::vector<std::byte>& out) : out_(&out) {}
  RecordWriter& text(std::string_view key, std::string_view value) { return put(RecordType::text, key, value.data(), value.size()); }
  RecordWriter& address(std::string_view key, std::string_view value) { return put(RecordType::address, key, value.data(), value.size()); }
  RecordWriter& number(std::string_view key, std::uint64_t value) { return put(RecordType::unsigned_number, key, &value, sizeof value); }
  RecordWriter& signed_number(std::string_view key, std::int64_t value) { return put(RecordType::signed_number, key, &value, sizeof value); }
  RecordWriter& boolean(std::string_view key, bool value) {
    const std::uint8_t byte = value ? 1 : 0;
    return put(RecordType::boolean, key, &byte, 1);
  }
  RecordWriter& bytes(std::string_view key, std::span<const std::byte> value) { return put(RecordType::bytes, key, value.data(), value.size()); }
  RecordWriter& group(std::string_view key = {}) { return put(RecordType::group, key, nullptr, 0); }
  RecordWriter& list(std::string_view key) { return put(RecordType::list, key, nullptr, 0); }
  RecordWriter& end() { return put(RecordType::end, {}, nullptr, 0); }

 private:
  RecordWriter& put(RecordType type, std::string_view key, const void* value, std::size_t size);
  std::vector<std::byte>* out_;
};

}  // namespace iopkt::ipc
