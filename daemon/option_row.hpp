// One option as one row: parser, range check, --help, manual page and tests read the same declaration.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/expected.hpp"

namespace iopkt::daemon {

/// What may stand behind the name of an option.
enum class Argument : std::uint8_t {
  none,             ///< a flag
  number,           ///< decimal or 0x hexadecimal
  optional_number,  ///< as number, or nothing: then `when_bare` is the value
  text,
};

enum class Built : std::uint8_t { now, later };

struct OptionRow {
  std::string_view name{};     ///< as typed: "-i", "--help", "mclbytes"
  std::string_view also[2]{};  ///< other spellings of the same row
  Argument argument{Argument::none};
  std::string_view value_name{};  ///< for help: "size"
  std::string_view unit{};        ///< of a number: "bytes"; empty: a bare number
  std::int64_t initial{}, min{}, max{};
  std::int64_t when_bare{};  ///< value of an optional_number without one
  bool page_bound{};         ///< the minimum is the larger of `min` and the system's page
  bool raise_to_min{};       ///< a number below the minimum is raised, with a note, instead of refused
  std::int64_t (*adjust)(std::int64_t){};  ///< after the range check
  bool (*accepts)(std::string_view){};     ///< text, or a number that its range does not describe
  std::string_view allowed{};              ///< what `accepts` takes, in words
  std::string_view default_text{};         ///< the default in words, when `initial` does not say it
  Built built{Built::now};
  std::string_view help{};  ///< whole sentences
};

constexpr std::int64_t round_down_pow2(std::int64_t value) {
  std::int64_t power = 1;
  while (power <= value / 2) power *= 2;
  return power;
}

enum class NumberFault : std::uint8_t { not_a_number, too_large };

/// Reads a whole word as a number: an optional '-', then decimal digits, or 0x and hexadecimal digits.
Expected<std::int64_t, NumberFault> read_number(std::string_view word);

/// The row's smallest number on this system.
std::int64_t minimum_of(const OptionRow& row);

/// "2048..65536 bytes", or the row's own words.
std::string allowed_text(const OptionRow& row);

/// "2048", "off", or the row's own words; empty when there is none.
std::string default_text(const OptionRow& row);

struct CheckedNumber {
  std::int64_t value{};
  bool raised{};  ///< it was below the minimum and the row raises
};

/// Checks and adjusts one number. The error is the reason without name and value: "below the minimum;
/// allowed: ...".
Expected<CheckedNumber, std::string> check_number(const OptionRow& row, std::string_view word);

}  // namespace iopkt::daemon
