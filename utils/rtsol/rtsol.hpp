// rtsol(8): asks the routers of a link for an advertisement, and waits for it. KAME's syntax.
#pragma once

#include "utils/common/command.hpp"

namespace iopkt::utils {

/// How rtsol passes the time between two looks; `ms` milliseconds.
using Pause = void (*)(unsigned ms);

int rtsol(Io& io, Stack& stack, const Words& words);
int rtsol(Io& io, Stack& stack, const Words& words, Pause pause);

}  // namespace iopkt::utils
