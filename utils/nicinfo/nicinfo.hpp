// nicinfo(1): what an interface's device is and has counted.
#pragma once

#include "utils/common/command.hpp"

namespace iopkt::utils {

std::string show_nic(const Node& interface);
int nicinfo(Io& io, Stack& stack, const Words& words);

}  // namespace iopkt::utils
