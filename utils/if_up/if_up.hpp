// if_up(8): waits until interfaces are there, configured, or have a carrier.
#pragma once

#include "utils/common/command.hpp"

namespace iopkt::utils {

struct IfUpSettings {
  bool all = false, link = false, presence = false;
  std::uint64_t pause_ms = 1000, walks = 5;
  Words interfaces;
};

/// Whether the interface counts as up; null: it does not exist.
bool is_up(const Node* interface, const IfUpSettings& settings);
/// Whether all (or any) of the interfaces in an answer of interface.list do.
bool are_up(const Node& answer, const IfUpSettings& settings);

int if_up(Io& io, Stack& stack, const Words& words);

}  // namespace iopkt::utils
