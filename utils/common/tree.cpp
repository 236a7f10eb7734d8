#include "utils/common/tree.hpp"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>

namespace iopkt::utils {
namespace {

using Json = nlohmann::ordered_json;
using ipc::RecordType;

bool is_number(RecordType kind) {
  return kind == RecordType::unsigned_number || kind == RecordType::signed_number ||
         kind == RecordType::boolean;
}

bool read_into(ipc::RecordReader& reader, Node& into) {
  ipc::Record record;
  while (reader.next(record)) {
    if (record.type == RecordType::end) return true;
    Node& node = into.inner.emplace_back();
    node.kind = record.type;
    node.key = record.key;
    if (record.type == RecordType::group || record.type == RecordType::list) {
      if (!read_into(reader, node)) return false;
    } else if (is_number(record.type)) {
      node.number = record.number();
    } else {
      node.text = record.text();
    }
  }
  return !reader.bad();
}

void write_node(const Node& node, ipc::RecordWriter& out) {
  switch (node.kind) {
    case RecordType::group:
    case RecordType::list:
      node.kind == RecordType::group ? out.group(node.key) : out.list(node.key);
      for (const Node& one : node.inner) write_node(one, out);
      out.end();
      break;
    case RecordType::text:
      out.text(node.key, node.text);
      break;
    case RecordType::address:
      out.address(node.key, node.text);
      break;
    case RecordType::bytes:
      out.bytes(node.key, std::as_bytes(std::span{node.text}));
      break;
    case RecordType::unsigned_number:
      out.number(node.key, node.number);
      break;
    case RecordType::signed_number:
      out.signed_number(node.key, static_cast<std::int64_t>(node.number));
      break;
    case RecordType::boolean:
      out.boolean(node.key, node.number != 0);
      break;
    case RecordType::end:
      break;
  }
}

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(c));
    out += digits;
  }
  return out;
}

Json json_of(const Node& node) {
  switch (node.kind) {
    case RecordType::group: {
      Json object = Json::object();
      for (const Node& one : node.inner) object[one.key] = json_of(one);
      return object;
    }
    case RecordType::list: {
      Json array = Json::array();
      for (const Node& one : node.inner) array.push_back(json_of(one));
      return array;
    }
    case RecordType::unsigned_number:
      return node.number;
    case RecordType::signed_number:
      return static_cast<std::int64_t>(node.number);
    case RecordType::boolean:
      return node.number != 0;
    case RecordType::bytes:
      return hex(node.text);
    default:
      return node.text;
  }
}

Node node_of(std::string_view key, const Json& json) {
  Node node;
  node.key = key;
  if (json.is_object()) {
    for (const auto& [name, value] : json.items()) node.inner.push_back(node_of(name, value));
  } else if (json.is_array()) {
    node.kind = RecordType::list;
    for (const auto& value : json) node.inner.push_back(node_of({}, value));
  } else if (json.is_boolean()) {
    node.kind = RecordType::boolean;
    node.number = json.get<bool>() ? 1 : 0;
  } else if (json.is_number_unsigned()) {
    node.kind = RecordType::unsigned_number;
    node.number = json.get<std::uint64_t>();
  } else if (json.is_number()) {
    node.kind = RecordType::signed_number;
    node.number = static_cast<std::uint64_t>(json.get<std::int64_t>());
  } else {
    node.kind = RecordType::text;
    node.text = json.is_string() ? json.get<std::string>() : std::string{};
  }
  return node;
}

}  // namespace

const Node* Node::find(std::string_view name) const {
  const auto at = std::find_if(inner.begin(), inner.end(), [&](const Node& one) { return one.key == name; });
  return at == inner.end() ? nullptr : &*at;
}

std::string_view Node::text_of(std::string_view name) const {
  const Node* found = find(name);
  return found == nullptr ? std::string_view{} : std::string_view{found->text};
}

std::uint64_t Node::number_of(std::string_view name, std::uint64_t otherwise) const {
  const Node* found = find(name);
  return found != nullptr && is_number(found->kind) ? found->number : otherwise;
}

std::span<const Node> Node::list(std::string_view name) const {
  const Node* found = find(name);
  return found == nullptr ? std::span<const Node>{} : std::span<const Node>{found->inner};
}

Node& Node::add_text(std::string_view name, std::string_view value) {
  inner.push_back({.kind = RecordType::text, .key = std::string(name), .text = std::string(value)});
  return *this;
}
Node& Node::add_address(std::string_view name, std::string_view value) {
  inner.push_back({.kind = RecordType::address, .key = std::string(name), .text = std::string(value)});
  return *this;
}
Node& Node::add_number(std::string_view name, std::uint64_t value) {
  inner.push_back({.kind = RecordType::unsigned_number, .key = std::string(name), .number = value});
  return *this;
}
Node& Node::add_boolean(std::string_view name, bool value) {
  inner.push_back({.kind = RecordType::boolean, .key = std::string(name), .number = value ? 1u : 0u});
  return *this;
}
Node& Node::add_list(std::string_view name) {
  return inner.emplace_back(Node{.kind = RecordType::list, .key = std::string(name)});
}

std::optional<Node> read_tree(std::span<const std::byte> records) {
  ipc::RecordReader reader{records};
  Node root;
  if (!read_into(reader, root)) return std::nullopt;
  return root;
}

std::vector<std::byte> write_tree(const Node& root) {
  std::vector<std::byte> blob;
  ipc::RecordWriter writer{blob};
  for (const Node& one : root.inner) write_node(one, writer);
  return blob;
}

std::string to_json(const Node& root) {
  return json_of(root).dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::optional<Node> from_json(std::string_view json) {
  const Json parsed = Json::parse(json, nullptr, false);
  if (!parsed.is_object()) return std::nullopt;
  return node_of({}, parsed);
}

}  // namespace iopkt::utils
