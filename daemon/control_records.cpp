// Both directions lose nothing: the kinds are the same.
#include "control_records.hpp"

#include <cstring>

#include "ipc/records.hpp"

namespace iopkt::daemon {
namespace {

using control::Field;
using control::Kind;
using ipc::RecordType;

std::optional<Kind> kind_of(RecordType type) {
  switch (type) {
    case RecordType::group: return Kind::group;
    case RecordType::list: return Kind::list;
    case RecordType::text: return Kind::text;
    case RecordType::unsigned_number: return Kind::unsigned_number;
    case RecordType::signed_number: return Kind::signed_number;
    case RecordType::boolean: return Kind::boolean;
    case RecordType::bytes: return Kind::bytes;
    case RecordType::address: return Kind::address;
    case RecordType::end: break;
  }
  return std::nullopt;
}

/// Reads up to the `end` of the group at `depth`. The reader bounds the depth.
bool read_group(ipc::RecordReader& reader, control::Record& out) {
  ipc::Record record;
  while (reader.next(record)) {
    const auto kind = kind_of(record.type);
    if (!kind) return true;
    Field field;
    field.kind = *kind;
    field.key = record.key;
    if (*kind == Kind::group || *kind == Kind::list) {
      if (!read_group(reader, field.inner)) return false;
    } else if (*kind == Kind::text || *kind == Kind::bytes || *kind == Kind::address) {
      field.text = record.text();
    } else {
      field.number = record.number();
    }
    out.put(std::move(field));
  }
  return !reader.bad();
}

void write_fields(ipc::RecordWriter& writer, const control::Record& record) {
  for (const Field& field : record.fields()) {
    switch (field.kind) {
      case Kind::text: writer.text(field.key, field.text); break;
      case Kind::address: writer.address(field.key, field.text); break;
      case Kind::bytes: writer.bytes(field.key, {reinterpret_cast<const std::byte*>(field.text.data()), field.text.size()}); break;
      case Kind::unsigned_number: writer.number(field.key, field.number); break;
      case Kind::signed_number: writer.signed_number(field.key, static_cast<std::int64_t>(field.number)); break;
      case Kind::boolean: writer.boolean(field.key, field.number != 0); break;
      case Kind::group:
      case Kind::list:
        field.kind == Kind::group ? writer.group(field.key) : writer.list(field.key);
        write_fields(writer, field.inner);
        writer.end();
        break;
    }
  }
}

}  // namespace

std::optional<control::Record> to_record(std::span<const std::byte> blob) {
  ipc::RecordReader reader{blob};
  control::Record out;
  if (!read_group(reader, out) || reader.bad()) return std::nullopt;
  return out;
}

std::vector<std::byte> to_blob(const control::Record& record) {
  std::vector<std::byte> out;
  ipc::RecordWriter writer{out};
  write_fields(writer, record);
  return out;
}

}  // namespace iopkt::daemon
