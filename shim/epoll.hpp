// epoll_ctl(2): noting edge-triggered holders, and putting registrations back when a descriptor had to be
// replaced.
#pragma once

#include <sys/epoll.h>

#include "shim/table.hpp"

namespace iopkt::shim {

/// Before the native call: what the registration means for the socket.
void note_epoll(int epoll, int operation, int fd, Entry entry, const epoll_event* event);
/// After another file was put at `fd`: registers it again wherever it was.
void restore_epoll(int fd);
/// `fd` was closed: its registrations are gone.
void forget_epoll(int fd);

}  // namespace iopkt::shim
