// A tunable is a row: name, unit, help, member, initial value and range. Parser, sysctl, manual page and
// tests read it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace iopkt {

/// One number that an operator may change while the stack runs. `Struct` has only std::uint32_t members and a
/// static constexpr table() with one row for each.
template <class Struct>
struct Tunable {
  std::string_view name;  ///< sysctl name, e.g. net.inet.ip.ttl
  std::string_view unit;  ///< "" for a plain number, "flag" for 0 or 1
  std::string_view help;  ///< One sentence.
  std::uint32_t Struct::* member;
  std::uint32_t initial, min, max;
};

/// The struct with every member at its row's initial value: the only place where a default is written is the
/// row.
template <class Struct>
constexpr Struct initial_values() {
  Struct values{};
  for (const auto& row : Struct::table()) values.*row.member = row.initial;
  return values;
}

/// For a static_assert beside each table: sorted by name, a help for each, initial values in range, a row
/// each.
template <class Struct>
constexpr bool tunables_are_sound() {
  constexpr auto rows = Struct::table();
  if (rows.size() * sizeof(std::uint32_t) != sizeof(Struct)) return false;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i].help.empty() || rows[i].initial < rows[i].min || rows[i].initial > rows[i].max) return false;
    if (i > 0 && !(rows[i - 1].name < rows[i].name)) return false;
  }
  return true;
}

enum class TunableResult : std::uint8_t { done, unknown, out_of_range };

/// Sets the member that `name` names.
template <class Struct>
constexpr TunableResult set_tunable(Struct& values, std::string_view name, std::uint32_t value) {
  for (const auto& row : Struct::table()) {
    if (row.name != name) continue;
    if (value < row.min || value > row.max) return TunableResult::out_of_range;
    values.*row.member = value;
    return TunableResult::done;
  }
  return TunableResult::unknown;
}

}  // namespace iopkt
