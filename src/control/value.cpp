#include "control/value.hpp"

namespace iopkt::control {

Record::Record() = default;
Record::~Record() = default;
Record::Record(const Record&) = default;
Record::Record(Record&&) noexcept = default;
Record& Record::operator=(const Record&) = default;
Record& Record::operator=(Record&&) noexcept = default;

Record& Record::put(Field field) {
  fields_.push_back(std::move(field));
  return *this;
}

Record& Record::text(std::string_view key, std::string_view value) {
  return put({.kind = Kind::text, .key = std::string(key), .text = std::string(value)});
}
Record& Record::address(std::string_view key, std::string_view value) {
  return put({.kind = Kind::address, .key = std::string(key), .text = std::string(value)});
}
Record& Record::bytes(std::string_view key, std::string_view value) {
  return put({.kind = Kind::bytes, .key = std::string(key), .text = std::string(value)});
}
Record& Record::number(std::string_view key, std::uint64_t value) {
  return put({.kind = Kind::unsigned_number, .key = std::string(key), .number = value});
}
Record& Record::signed_number(std::string_view key, std::int64_t value) {
  return put(
      {.kind = Kind::signed_number, .key = std::string(key), .number = static_cast<std::uint64_t>(value)});
}
Record& Record::boolean(std::string_view key, bool value) {
  return put({.kind = Kind::boolean, .key = std::string(key), .number = value ? 1u : 0u});
}
Record& Record::group(std::string_view key, Record value) {
  return put({.kind = Kind::group, .key = std::string(key), .inner = std::move(value)});
}
Record& Record::list(std::string_view key, std::vector<Record> elements) {
  Field field{.kind = Kind::list, .key = std::string(key)};
  for (Record& element : elements) field.inner.group({}, std::move(element));
  return put(std::move(field));
}

const Field* Record::find(std::string_view key) const {
  for (const Field& field : fields_)
    if (field.key == key) return &field;
  return nullptr;
}

std::string_view Record::text_of(std::string_view key) const {
  const Field* field = find(key);
  return field != nullptr && (field->kind == Kind::text || field->kind == Kind::address)
             ? std::string_view(field->text)
             : std::string_view{};
}

std::uint64_t Record::number_of(std::string_view key, std::uint64_t otherwise) const {
  const Field* field = find(key);
  if (field == nullptr) return otherwise;
  const bool number = field->kind == Kind::unsigned_number || field->kind == Kind::signed_number ||
                      field->kind == Kind::boolean;
  return number ? field->number : otherwise;
}

}  // namespace iopkt::control
