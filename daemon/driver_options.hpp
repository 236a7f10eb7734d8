// A driver's option list, read against the driver's own rows and the rows that every driver takes.
#pragma once

#include <iopkt/driver.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/expected.hpp"

namespace iopkt::daemon {

/// What `-d driver list` or `mount -o list` asked for. Movable: the texts do not move with it.
struct DriverOptions {
  std::string name;                                 ///< name=; empty: not given
  std::optional<std::uint32_t> unit;                ///< unit=; a negative one counts as not given
  iopkt_generic_options generic{};                  ///< without rx_queues
  std::vector<iopkt_option_value> values;           ///< one for each row of the driver, in its order
  std::vector<std::unique_ptr<std::string>> texts;  ///< what values[].text points to
};

/// Why a driver's table cannot be used; empty when it is sound. Reads nothing behind `option_count` rows.
std::string table_fault(const iopkt_driver& driver);

/// Reads a comma-separated list. The driver's table must be sound. A later value of the same option wins.
/// The error is one line: option, value, what is allowed; for an unknown option, all that are known.
Expected<DriverOptions, std::string> parse_driver_options(const iopkt_driver& driver, std::string_view list);

/// The section of --help for a driver's own options. The table must be sound.
std::string driver_options_help(const iopkt_driver& driver);

}  // namespace iopkt::daemon
