// Programs that confine themselves (seccomp).
//
// A filter lets through what the program itself calls: one that moves its data with read() and write() may be
// killed for a recvfrom() that this library makes inside. So from the moment on at which a process announces
// a filter, read() and write() get along with read, write and futex, and with poll where the descriptor
// blocks; shutdown() and close() speak with the stack by read and write. What else they need is known before,
// or kept in the slot. recv() and send() stay as they are: the program was let through with them.
#pragma once

#include <poll.h>
#include <sys/time.h>

#include <atomic>
#include <cstdint>

#include "shim/process.hpp"

namespace iopkt::shim {

extern std::atomic<bool> g_confined;

/// True from the announcement of a filter on, for the life of the process. (One that only gives up new
/// privileges counts as well: that is the step before a filter.)
inline bool confined() { return g_confined.load(std::memory_order_relaxed); }

/// Beside MSG_ flags: the program's call was read(), write() or one of their kind, and the process is
/// confined. No flag of the kernel's that programs can use.
inline constexpr int kPlainCall = 0x8000000;
inline int plain_call() { return confined() ? kPlainCall : 0; }

/// The client's end for a call with these flags.
ipc::ProgramEnd end_for(int fd, const Socket& s, int flags);

/// O_NONBLOCK of the descriptor.
bool is_nonblocking(int fd, const Socket& s, int flags);
/// The program has set O_NONBLOCK, or a time limit (SO_RCVTIMEO, SO_SNDTIMEO; others are passed over): kept
/// for when it cannot be asked for any more.
void remember_blocking(const Socket& s, bool nonblocking);
void remember_limit(const Socket& s, int option, const timeval& limit);

/// The sleep of a plain call: until `events` (or an end, or an error), at most for the remembered limit.
/// 0: look again, `revents` says what is there; EAGAIN: the time is over; EINTR, also where SA_RESTART is set
/// (what a handler was installed with cannot be asked for).
int sleep_by_poll(int fd, const Socket& s, short events, short& revents);

/// Takes the descriptor's own pending error away, so that POLLERR goes away, and answers it. A plain call can do
/// neither: POLLERR stays, with POLLHUP.
int take_native_error(int fd, int flags);

/// SIGPIPE to this thread: the socket's sending side has ended. (Not from a plain call on datagrams.)
void raise_broken_pipe(int fd, const Socket& s, int flags);

}  // namespace iopkt::shim
