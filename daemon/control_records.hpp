// Records between messages (ipc) and management verbs (src/control).
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "control/value.hpp"

namespace iopkt::daemon {

/// nullopt: malformed.
std::optional<control::Record> to_record(std::span<const std::byte> blob);
std::vector<std::byte> to_blob(const control::Record& record);

}  // namespace iopkt::daemon
