// The command line of io-pkt-v4-hc and io-pkt-v6-hc as a plain value. Rows: option_tables.cpp.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/expected.hpp"

namespace iopkt::daemon {

enum class Variant : std::uint8_t { v4_hc, v6_hc };

/// "io-pkt-v4-hc".
std::string_view program_name(Variant variant);

/// `-p tcpip`. The values are effective ones: defaults filled in, rounded, combined. Sizes are bytes.
struct TcpipConfig {
  std::string prefix;  ///< begins with '/', no '/' at the end; empty: none
  bool bigpage_strict{};
  std::uint32_t bigstack{};  ///< stack on which drivers are loaded; 0: one of `stacksize`
  std::uint32_t cache{};     ///< 0: no per-thread caches (the three sizes below are then 0, too)
  std::uint32_t mbuf_cache{}, pkt_cache{}, mtag_cache{}, num_pool_cache{};
  std::uint32_t mclbytes{}, pagesize{};
  std::uint32_t recv_ctxt{};   ///< receive buffer of one request context
  std::uint32_t reply_ctxt{};  ///< buffers in one reply operation
  std::uint32_t stacksize{};   ///< of a request context
  bool stackguard{};
  std::uint32_t threads_min{}, threads_incr{}, threads_max{};
  std::uint32_t somaxconn{};
  std::uint32_t rx_prio{}, timer_pulse_prio{};
  std::uint32_t ipid_reserved{};  ///< identifiers 0..this are never used; 0: none reserved
  bool reuseport_unicast{};
  std::string smmu;  ///< "on" or "off"
  // Parsed and checked, refused as not built yet:
  bool confstr_monitor{}, forward{}, forward6{}, ipsec{}, pfil_ipsec{}, so_txprio_enable{}, strict_ts{};
  std::uint32_t fastforward{};
  std::uint32_t num_tap_interface{}, num_tun_control_interface{};
  std::string mfib_gid_map, pkt_typed_mem;

  friend bool operator==(const TcpipConfig&, const TcpipConfig&) = default;
};

/// One `-d`: what was typed. The plug-in loader finds the driver and reads its list.
struct DriverRequest {
  std::string driver;   ///< name, with or without "devnp-" and ".so", or a path
  std::string options;  ///< comma-separated; may be empty
  friend bool operator==(const DriverRequest&, const DriverRequest&) = default;
};

enum class Action : std::uint8_t { run, show_help, show_version, show_manual };

struct Options {
  Variant variant{};
  Action action{};
  bool dedicated_stack_thread{};                     ///< -D
  bool no_io_privilege{};                            ///< -I
  bool no_sigsegv_handler{};                         ///< -S
  bool foreground{};                                 ///< --foreground
  std::uint32_t instance{};                          ///< -i
  std::uint32_t main_priority{};                     ///< -P, at most 99
  std::uint32_t quiesce_watchdog_s{}, watchdog_s{};  ///< -q, -w; 0: off
  std::uint32_t watchdog_priority{};                 ///< -r
  std::uint32_t threads{};                           ///< -t; 0: one per CPU
  std::string drop_user;                             ///< -U, as typed
  std::vector<std::string> node_access;              ///< each -u, as typed
  std::vector<DriverRequest> drivers;                ///< each -d, in order
  TcpipConfig tcpip;
  std::vector<std::string_view> given;  ///< names of the rows that were typed ("-P", "rx_prio")
  std::vector<std::string> notes;       ///< for the log: what was adjusted

  bool was_given(std::string_view row_name) const;
  friend bool operator==(const Options&, const Options&) = default;
};

/// Every row at its default; nothing given.
Options default_options(Variant variant);

/// Reads the words behind the program's name (argv[1..]).
/// The error is one line without a newline and without the program's name, naming option, value and allowed
/// range; the process exits with 2. Pure, except that the system's page size bounds some rows.
Expected<Options, std::string> parse_options(Variant variant, std::span<const char* const> words);

/// What --help prints.
std::string help_text(Variant variant);

/// The manual page, section 8, in man(7) macros. The same for both variants but for the name.
std::string manual_page(Variant variant);

}  // namespace iopkt::daemon
