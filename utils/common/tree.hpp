// Answers of a stack as a tree that commands print from, and the same tree as JSON.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipc/records.hpp"

namespace iopkt::utils {

/// A record with its inner ones. The root is a group without a key.
struct Node {
  ipc::RecordType kind = ipc::RecordType::group;
  std::string key;
  std::string text;        ///< text, address, bytes
  std::uint64_t number{};  ///< numbers, booleans; signed ones in two's complement
  std::vector<Node> inner;

  /// The first inner one of that name; nullptr: none.
  const Node* find(std::string_view name) const;
  std::string_view text_of(std::string_view name) const;
  std::uint64_t number_of(std::string_view name, std::uint64_t otherwise = 0) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  /// What a group or list of that name holds; nothing when there is none.
  std::span<const Node> list(std::string_view name) const;

  Node& add_text(std::string_view name, std::string_view value);
  Node& add_address(std::string_view name, std::string_view value);
  Node& add_number(std::string_view name, std::uint64_t value);
  Node& add_boolean(std::string_view name, bool value);
  /// A list of that name, to be filled by the caller.
  Node& add_list(std::string_view name);
};

/// nullopt: the stack sent something malformed.
std::optional<Node> read_tree(std::span<const std::byte> records);
/// The records of what is in the root.
std::vector<std::byte> write_tree(const Node& root);

/// Groups become objects, lists arrays, byte strings hexadecimal text. Indented by two blanks, ends with a
/// newline.
std::string to_json(const Node& root);
/// What to_json() wrote: strings become text, whatever they were. nullopt: not JSON, or not an object.
std::optional<Node> from_json(std::string_view json);

}  // namespace iopkt::utils
