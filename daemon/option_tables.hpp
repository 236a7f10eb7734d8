// The rows of the command line, of `-p tcpip` and of the options that every driver takes.
#pragma once

#include <span>
#include <string_view>

#include "option_row.hpp"
#include "options.hpp"

namespace iopkt::daemon {

/// A word that begins with '-'. At most one of the members is set; -d, -p, -u and --help have none.
struct CommandOption {
  OptionRow row;
  std::uint32_t Options::* number{};
  bool Options::* flag{};
  std::string Options::* text{};
};

/// A word of the list behind `-p tcpip`. Exactly one of the members is set.
struct TcpipOption {
  OptionRow row;
  std::uint32_t TcpipConfig::* number{};
  bool TcpipConfig::* flag{};
  std::string TcpipConfig::* text{};
};

/// A protocol of -p.
struct ProtocolRow {
  std::string_view name, module;
  Built built;
  std::optional<Variant> only;  ///< the one variant that takes it
  std::string_view help;
};

std::span<const CommandOption> command_options();     ///< in the order of the help text
std::span<const TcpipOption> tcpip_options();         ///< sorted by name
std::span<const OptionRow> generic_driver_options();  ///< name unit mac mtu verbose, sorted by name
std::span<const OptionRow> usb_driver_options();      ///< busno devno did vid: of drivers for USB devices, of which there is none
std::span<const ProtocolRow> protocols();

/// The node families of -u.
std::span<const std::string_view> node_types();

/// Text checks of rows; each answers whether the syntax is right (names are not looked up).
bool is_prefix_path(std::string_view text);
bool is_drop_user(std::string_view text);
bool is_node_access(std::string_view text);
bool is_fib_map(std::string_view text);
bool is_memory_object(std::string_view text);
bool is_interface_prefix(std::string_view text);
bool is_station_address(std::string_view text);
bool is_power_of_two_or_zero(std::string_view number);

/// Reads twelve hexadecimal digits, with or without ':' or '-' between pairs. False: not an address.
bool read_station_address(std::string_view text, std::uint8_t out[6]);

}  // namespace iopkt::daemon
