// Number reading and range checks shared by the command line and the drivers' option tables.
#include "option_row.hpp"

#include <unistd.h>

#include <algorithm>
#include <charconv>

namespace iopkt::daemon {

Expected<std::int64_t, NumberFault> read_number(std::string_view word) {
  const bool negative = word.starts_with('-');
  if (negative) word.remove_prefix(1);
  int base = 10;
  if (word.starts_with("0x") || word.starts_with("0X")) {
    word.remove_prefix(2);
    base = 16;
  }
  // from_chars itself would take another sign.
  if (word.empty() || word.front() == '-') return unexpected(NumberFault::not_a_number);
  std::int64_t value{};
  const auto [end, fault] = std::from_chars(word.data(), word.data() + word.size(), value, base);
  if (end != word.data() + word.size()) return unexpected(NumberFault::not_a_number);
  if (fault == std::errc::result_out_of_range) return unexpected(NumberFault::too_large);
  if (fault != std::errc{}) return unexpected(NumberFault::not_a_number);
  return negative ? -value : value;
}

std::int64_t minimum_of(const OptionRow& row) {
  return row.page_bound ? std::max<std::int64_t>(row.min, ::sysconf(_SC_PAGESIZE)) : row.min;
}

std::string allowed_text(const OptionRow& row) {
  if (!row.allowed.empty()) return std::string{row.allowed};
  if (row.argument == Argument::none) return "no value";
  if (row.argument == Argument::text) return "text";
  std::string text = std::to_string(minimum_of(row)) + ".." + std::to_string(row.max);
  if (!row.unit.empty()) text.append(" ").append(row.unit);
  return text;
}

std::string default_text(const OptionRow& row) {
  if (!row.default_text.empty()) return std::string{row.default_text};
  switch (row.argument) {
    case Argument::none:
      return "off";
    case Argument::text:
      return {};
    default:
      return std::to_string(row.initial);
  }
}

Expected<CheckedNumber, std::string> check_number(const OptionRow& row, std::string_view word) {
  const auto refuse = [&](std::string_view reason) {
    return unexpected(std::string{reason} + "; allowed: " + allowed_text(row));
  };
  const auto number = read_number(word);
  if (!number && number.error() == NumberFault::not_a_number) return refuse("not a number");
  if (!number) return refuse(word.starts_with('-') ? "below the minimum" : "above the maximum");
  CheckedNumber checked{.value = *number};
  if (*number < minimum_of(row)) {
    if (!row.raise_to_min || *number < 0) return refuse("below the minimum");
    checked = {.value = minimum_of(row), .raised = true};
  }
  if (checked.value > row.max) return refuse("above the maximum");
  if (row.accepts && !row.accepts(word)) return refuse("not allowed");
  if (row.adjust) checked.value = row.adjust(checked.value);
  return checked;
}

}  // namespace iopkt::daemon
