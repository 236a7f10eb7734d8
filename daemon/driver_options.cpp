// Reads a driver's option list; the rows come from a plug-in, so that they are checked before they are
// believed.
#include "driver_options.hpp"

#include <algorithm>
#include <cstring>

#include "base/assert.hpp"
#include "manual.hpp"
#include "option_row.hpp"
#include "option_tables.hpp"

namespace iopkt::daemon {
namespace {

constexpr std::uint32_t kOptionCountMax = 256;
constexpr std::size_t kNameMax = 64;

bool is_option_name(const char* name) {
  if (!name || !*name || ::strnlen(name, kNameMax + 1) > kNameMax) return false;
  return std::ranges::all_of(std::string_view{name}, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.';
  });
}

const OptionRow* find_generic(std::string_view name) {
  for (const OptionRow& row : generic_driver_options())
    if (row.name == name) return &row;
  return nullptr;
}

/// A driver's row in the form that the command line's checks take.
OptionRow as_row(const iopkt_driver_option& option) {
  OptionRow row{.name = option.name,
                .argument = Argument::number,
                .value_name = "number",
                .unit = option.unit ? option.unit : "",
                .initial = option.initial,
                .min = option.min,
                .max = option.max,
                .help = option.help ? option.help : ""};
  switch (option.kind) {
    case IOPKT_OPTION_NUMBER:
      break;
    case IOPKT_OPTION_FLAG:
      row.argument = Argument::optional_number;
      row.value_name = "0|1";
      row.min = 0;
      row.max = 1;
      row.when_bare = 1;
      row.allowed = "nothing, 0 or 1";
      break;
    case IOPKT_OPTION_TEXT:
      row.argument = Argument::text;
      row.value_name = "text";
      row.default_text = option.initial_text ? option.initial_text : "";
      break;
    case IOPKT_OPTION_MAC:
      row.argument = Argument::text;
      row.value_name = "address";
      row.allowed = "twelve hexadecimal digits, with or without colons";
      break;
  }
  return row;
}

std::string known_options(const iopkt_driver& driver) {
  std::string text;
  for (std::uint32_t i = 0; i < driver.option_count; ++i) text.append(" ").append(driver.options[i].name);
  for (const OptionRow& row : generic_driver_options()) text.append(" ").append(row.name);
  return text;
}

class ListReader {
 public:
  ListReader(const iopkt_driver& driver, DriverOptions& out) : driver_(driver), out_(out) {}

  /// One "name" or "name=value". The error line, or empty.
  std::string read(std::string_view item) {
    const auto equals = item.find('=');
    name_ = item.substr(0, equals);
    value_.reset();
    if (equals != item.npos) value_ = item.substr(equals + 1);
    if (const OptionRow* row = find_generic(name_)) return generic(*row);
    for (std::uint32_t i = 0; i < driver_.option_count; ++i)
      if (name_ == driver_.options[i].name) return own(driver_.options[i], out_.values[i]);
    for (const OptionRow& row : usb_driver_options())
      if (name_ == row.name) return refuse("chooses a USB device, and this driver is for none; drivers for them are not built yet");
    return "driver " + std::string{driver_.name} + ": unknown option " + std::string{name_} +
           "; known:" + known_options(driver_);
  }

 private:
  std::string refuse(std::string_view reason) const {
    std::string text = "driver " + std::string{driver_.name} + ": option " + std::string{name_};
    if (value_) text.append("=").append(*value_);
    return text.append(": ").append(reason);
  }
  std::string refuse(const OptionRow& row, std::string_view reason) const {
    return refuse(std::string{reason} + "; allowed: " + allowed_text(row));
  }

  std::string generic(const OptionRow& row) {
    if (!value_ && row.argument != Argument::optional_number) return refuse(row, "needs a value");
    if (row.argument == Argument::text) {
      if (!row.accepts(*value_)) return refuse(row, "not allowed");
      if (row.name == "name") out_.name = *value_;
      if (row.name == "mac") out_.generic.mac_given = read_station_address(*value_, out_.generic.mac);
      return {};
    }
    if (row.name == "unit") {
      const auto number = read_number(*value_);
      if (number ? *number < 0 : number.error() == NumberFault::too_large && value_->starts_with('-')) {
        out_.unit.reset();
        return {};
      }
    }
    std::int64_t value = row.when_bare;
    if (value_) {
      const auto checked = check_number(row, *value_);
      if (!checked) return refuse(checked.error());
      value = checked->value;
    }
    if (row.name == "unit") out_.unit = static_cast<std::uint32_t>(value);
    if (row.name == "mtu") out_.generic.mtu = static_cast<std::uint32_t>(value);
    if (row.name == "verbose") out_.generic.verbose = static_cast<std::uint32_t>(value);
    return {};
  }

  std::string own(const iopkt_driver_option& option, iopkt_option_value& out) {
    const OptionRow row = as_row(option);
    if (!value_ && row.argument != Argument::optional_number) return refuse(row, "needs a value");
    out.given = 1;
    if (option.kind == IOPKT_OPTION_MAC)
      return read_station_address(*value_, out.mac) ? std::string{} : refuse(row, "not allowed");
    if (option.kind == IOPKT_OPTION_TEXT) {
      const auto size = static_cast<std::int64_t>(value_->size());
      if (size < option.min || size > option.max)
        return refuse("allowed: " + std::to_string(option.min) + ".." + std::to_string(option.max) +
                      " characters");
      out_.texts.push_back(std::make_unique<std::string>(*value_));
      out.text = out_.texts.back()->c_str();
      return {};
    }
    if (!value_) {
      out.number = row.when_bare;
      return {};
    }
    const auto checked = check_number(row, *value_);
    if (!checked) return refuse(checked.error());
    out.number = checked->value;
    return {};
  }

  const iopkt_driver& driver_;
  DriverOptions& out_;
  std::string_view name_;
  std::optional<std::string_view> value_;
};

}  // namespace

std::string table_fault(const iopkt_driver& driver) {
  if (driver.option_count > kOptionCountMax) return "more than 256 options";
  if (driver.option_count && !driver.options) return "options without a table";
  for (std::uint32_t i = 0; i < driver.option_count; ++i) {
    const iopkt_driver_option& option = driver.options[i];
    if (!is_option_name(option.name)) return "option row " + std::to_string(i) + " has no proper name";
    const std::string about = "option " + std::string{option.name} + ": ";
    if (find_generic(option.name)) return about + "every driver has it; the stack reads it";
    for (std::uint32_t j = 0; j < i; ++j)
      if (std::strcmp(option.name, driver.options[j].name) == 0) return about + "two rows";
    switch (option.kind) {
      case IOPKT_OPTION_NUMBER:
        if (option.min > option.max) return about + "min above max";
        break;
      case IOPKT_OPTION_TEXT:
        if (option.min < 0 || option.min > option.max) return about + "no length is allowed";
        break;
      case IOPKT_OPTION_FLAG:
      case IOPKT_OPTION_MAC:
        break;
      default:
        return about + "unknown kind";
    }
  }
  return {};
}

Expected<DriverOptions, std::string> parse_driver_options(const iopkt_driver& driver, std::string_view list) {
  IOPKT_ASSERT(table_fault(driver).empty());
  DriverOptions out;
  out.generic.size = sizeof out.generic;
  out.values.resize(driver.option_count);
  for (std::uint32_t i = 0; i < driver.option_count; ++i) {
    out.values[i].number = driver.options[i].initial;
    out.values[i].text = driver.options[i].initial_text;
  }
  // Drivers read C strings: theirs would end before ours.
  if (list.contains('\0')) return unexpected("driver " + std::string{driver.name} + ": a NUL byte among the options");
  ListReader reader{driver, out};
  while (!list.empty()) {
    const auto comma = list.find(',');
    const std::string_view item = list.substr(0, comma);
    list.remove_prefix(comma == list.npos ? list.size() : comma + 1);
    if (item.empty() || (list.empty() && comma != list.npos))
      return unexpected("driver " + std::string{driver.name} +
                        ": empty word in the list; options are separated by one comma each");
    if (std::string fault = reader.read(item); !fault.empty()) return unexpected(std::move(fault));
  }
  return out;
}

std::string driver_options_help(const iopkt_driver& driver) {
  std::string out = "\nOptions of driver " + std::string{driver.name};
  if (driver.help) out.append(": ").append(driver.help);
  out += '\n';
  for (std::uint32_t i = 0; i < driver.option_count; ++i) help_row(out, as_row(driver.options[i]));
  return out;
}

}  // namespace iopkt::daemon
