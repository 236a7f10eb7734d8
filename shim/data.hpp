// Moving data between the program and a socket's rings, as read(2), recv(2), write(2) and send(2) would.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "ipc/datagram_ring.hpp"
#include "ipc/receive_ring.hpp"
#include "shim/process.hpp"
#include "shim/table.hpp"

namespace iopkt::shim {

/// The most that one call moves, as the kernel has it.
inline constexpr std::size_t kTransferMax = 0x7ffff000;

/// Bytes in all pieces; -1 if that does not fit ssize_t.
ssize_t total_of(const iovec* pieces, std::size_t count);

/// What a received datagram came with.
struct Arrival {
  ipc::RecordHeader header;
  ipc::ControlBytes control;  ///< header.control_len bytes
  bool truncated;
};

// All answer a count, or -1 and errno. `entry` is ours(). Async-signal-safe. Cancellation points where libc's
// are, while they sleep.

/// `flags`: MSG_DONTWAIT, MSG_PEEK, MSG_WAITALL, MSG_TRUNC, MSG_OOB, kPlainCall; others have no meaning here.
ssize_t receive_stream(int fd, Entry entry, const iovec* to, std::size_t count, int flags);
/// One datagram; with MSG_TRUNC the answer is its whole length.
ssize_t receive_datagram(int fd, Entry entry, const iovec* to, std::size_t count, int flags,
                         Arrival& arrival);
/// `flags`: MSG_DONTWAIT, MSG_NOSIGNAL, MSG_MORE (of streams), MSG_OOB, kPlainCall.
ssize_t send_stream(int fd, Entry entry, const iovec* from, std::size_t count, int flags);
/// One datagram, or a part of one. `header`: what is not a length is filled in. `control`: ControlItems.
ssize_t send_datagram(int fd, Entry entry, const iovec* from, std::size_t count, int flags,
                      const ipc::RecordHeader& header, std::span<const std::byte> control = {});
/// The same of one that needs CAP_NET_RAW: a request, since what lies in a ring does not say whose it is. Not while confined().
ssize_t send_extended(int fd, Entry entry, const iovec* from, std::size_t count, int flags, ipc::RecordHeader header,
                      std::span<const std::byte> control);

/// Of a stream socket: what poll(2) is to show because of urgent data.
ipc::ReceiveRingReader::Shown show_urgent(int fd, const Socket& s);
/// The descriptor shows POLLPRI, and data that is none, no more. False: it still does.
bool hide_urgent(int fd, const Socket& s);
/// What hide_urgent() has hidden came with a SIGURG that this thread may have caught, had `mask` (null: its own) in place.
bool raises_sigurg(int fd, const sigset_t* mask);

/// The pending error of a socket, taken from the slot and from the descriptor, so that POLLERR goes away; 0:
/// none. `flags`: kPlainCall.
int take_socket_error(int fd, const Socket& s, int flags = 0);
/// The record that has announced an error goes with it, if it is the next. Of a datagram socket.
void take_error_record(int fd, const Socket& s, int flags = 0);
/// True if there is a datagram, behind announcements of errors or alone.
bool has_datagram(int fd, const Socket& s);

/// Of a datagram socket: it has an error queue; something is in that, or an error is pending.
inline bool asks_for_errors(const Socket& s) {
  return (client_word(s, ClientWord::hints).load(std::memory_order_relaxed) & (Hint::error_queue | Hint::error_queue6)) != 0;
}

inline bool has_error(const Socket& s) {
  return s.slot->error.load(std::memory_order_acquire) != 0 || s.slot->errors.load(std::memory_order_acquire) != 0;
}

/// Sleeps until the socket's V is not stalled, at most for SO_SNDTIMEO: for a writer, or a connect in
/// progress. 0: look again; else the errno: EAGAIN (the time is over), EINTR, EBADF (closed meanwhile), EPIPE
/// (the stack is gone).
int sleep_until_writable(int fd, Entry entry, const Socket& s, int flags = 0);

}  // namespace iopkt::shim
