// Where running stacks can be found: the run directory and its one small file per instance.
//
// DIR/io-pktN          who runs as instance N: key=value lines, written when the stack is up
// DIR/io-pktN.pid      lock and process number; 0600
// DIR/io-pktN.control  symbolic link to the control node, PREFIX/dev/socket/config
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace iopkt::ipc {

struct InstanceRecord {
  std::uint32_t instance{};
  std::int32_t pid{};
  std::uint64_t
      start_ticks{};  ///< of the process, as in /proc/PID/stat: tells it from a later one with its number
  std::int64_t started{};  ///< seconds since 1970
  std::string variant;     ///< "io-pkt-v4-hc"
  std::string prefix;      ///< absolute, or empty
  friend bool operator==(const InstanceRecord&, const InstanceRecord&) = default;
};

/// Directories to look in, best first: IOPKT_RUN_DIR alone when it is set (and the process has no more rights
/// than its user); else the user's own ($XDG_RUNTIME_DIR/io-pkt, /tmp/io-pkt-UID) and /run/io-pkt, root the
/// other way round.
std::vector<std::string> run_directories();

/// Whether nobody but root and the user of this process can put files into `directory`.
bool is_trusted_directory(const std::string& directory);

/// DIR/io-pktN and `suffix` ("", ".pid", ".control").
std::string instance_path(const std::string& directory, std::uint32_t instance, std::string_view suffix);

std::string encode(const InstanceRecord& record);
/// Nothing when a line is missing or wrong. Unknown keys are passed over.
std::optional<InstanceRecord> decode(std::string_view text);

/// Start of process `pid` in clock ticks after boot; 0: no such process.
std::uint64_t process_start_ticks(std::int32_t pid);

/// Running instances of one directory by number; those of dead processes are left out.
std::vector<InstanceRecord> list_instances(const std::string& directory);
/// The same over run_directories(); for a number that several hold, the one in the first directory.
std::vector<InstanceRecord> list_instances();

/// The path to connect to for requests to a stack by its number alone; nothing when none is running.
std::optional<std::string> find_control(std::uint32_t instance);

}  // namespace iopkt::ipc
