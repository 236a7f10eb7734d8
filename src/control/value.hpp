// Records as plain values: what management verbs take and answer. The shell around the stack turns them into
// messages; the kinds are those of its records, so that the conversion loses nothing.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace iopkt::control {

enum class Kind : std::uint8_t {
  group = 1,
  list,
  text,
  unsigned_number,
  signed_number,
  boolean,
  bytes,
  address
};

struct Field;

/// Named fields in the order in which they were put.
class Record {
 public:
  Record();
  ~Record();
  Record(const Record&);
  Record(Record&&) noexcept;
  Record& operator=(const Record&);
  Record& operator=(Record&&) noexcept;

  Record& text(std::string_view key, std::string_view value);
  Record& address(std::string_view key, std::string_view value);
  Record& bytes(std::string_view key, std::string_view value);
  Record& number(std::string_view key, std::uint64_t value);
  Record& signed_number(std::string_view key, std::int64_t value);
  Record& boolean(std::string_view key, bool value);
  Record& group(std::string_view key, Record value);
  /// Each element becomes a group without a key.
  Record& list(std::string_view key, std::vector<Record> elements);
  Record& put(Field field);

  const std::vector<Field>& fields() const { return fields_; }
  /// The first of that name; nullptr: none.
  const Field* find(std::string_view key) const;
  bool has(std::string_view key) const { return find(key) != nullptr; }
  /// Text or address; empty when there is none.
  std::string_view text_of(std::string_view key) const;
  /// Number or boolean; 0 when there is none.
  std::uint64_t number_of(std::string_view key, std::uint64_t otherwise = 0) const;

 private:
  std::vector<Field> fields_;
};

struct Field {
  Kind kind{};
  std::string key;
  std::string text;        ///< text, address, bytes
  std::uint64_t number{};  ///< unsigned_number, boolean; signed_number in two's complement
  Record inner;            ///< group; list: the elements, without keys
};

}  // namespace iopkt::control
