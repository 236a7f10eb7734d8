// mount -T io-pkt[N]: starts a driver or module in a running stack. Everything else is the host's own
// mount(8).
#pragma once

#include "utils/common/command.hpp"

namespace iopkt::utils {

struct MountRequest {
  bool ours = false;  ///< -T names a stack
  std::uint32_t instance = 0;
  std::string options, driver;
  bool help = false;
  std::string fault;  ///< ours, but wrong
};
MountRequest read_mount(const Words& words);

/// The number in "io-pkt", "io-pkt1", "io-net", "tcpip"; nullopt: another type.
std::optional<std::uint32_t> stack_type(std::string_view type);

}  // namespace iopkt::utils
