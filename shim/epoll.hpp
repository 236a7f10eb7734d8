// epoll_ctl(2): noting edge-triggered holders, and putting registrations back when a descriptor had to be
// replaced; epoll_wait(2): EPOLLERR, which the descriptor of a datagram socket cannot show.
#pragma once

#include <sys/epoll.h>

#include "shim/table.hpp"

namespace iopkt::shim {

/// Before the native call: what the registration means for the socket.
void note_epoll(int epoll, int operation, int fd, Entry entry, const epoll_event* event);
/// After a wait that answered these: of datagram sockets with an error, as udp(7) has it. The error queue had to be asked for before the
/// socket was added.
void show_errors(int epoll, epoll_event* events, int count);
/// The same, of stream sockets with urgent data: EPOLLPRI, and EPOLLIN only if there is something to read. Answers how many events are left.
/// `interrupted`: one was taken away that came with a SIGURG which this thread, with `mask` (null: its own), may have caught.
int show_urgent_events(int epoll, epoll_event* events, int count, const sigset_t* mask, bool& interrupted);
/// After another file was put at `fd`: registers it again wherever it was.
void restore_epoll(int fd);
/// `fd` was closed: its registrations are gone.
void forget_epoll(int fd);

}  // namespace iopkt::shim
