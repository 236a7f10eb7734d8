// -u: who owns the nodes of one type, and with which mode.
#pragma once

#include <sys/types.h>

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/expected.hpp"

namespace iopkt::daemon {

struct NodeAccess {
  std::optional<uid_t> user;  ///< nothing: stays as it was made
  std::optional<gid_t> group;
  mode_t mode{};
  friend bool operator==(const NodeAccess&, const NodeAccess&) = default;
};

/// What the last line for `type` or "all" says; `initial` without one. Lines as is_node_access() accepts
/// them. Names are looked up in every line, used or not; the error is one line that names the option and what
/// is unknown.
Expected<NodeAccess, std::string> node_access(std::span<const std::string> lines, std::string_view type,
                                              mode_t initial);

/// Gives a node owner and mode. 0 or errno.
int apply_access(const std::string& path, const NodeAccess& access);

}  // namespace iopkt::daemon
