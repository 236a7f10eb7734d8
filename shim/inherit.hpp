// Descriptors that came from elsewhere: inherited over exec, or received with SCM_RIGHTS. Those that are the
// stack's are recognised and attached; all others are left alone.
#pragma once

#include <sys/socket.h>

namespace iopkt::shim {

/// Looks through the descriptors that this program was started with.
void adopt_inherited();
/// Looks through what a message brought (its control data as recvmsg filled it in).
void adopt_received(const msghdr& message);

}  // namespace iopkt::shim
