// Stream mode: the data itself travels through the AF_UNIX socket, for holders without the preloaded library.
//
// The switch, a property of the socket that every holder follows:
//   ring      -> switching [stack, asked by a client: no more tokens; both rings are closed (close_ring), so that what lies in
//                           them is the stack's alone; whoever sleeps on V is woken]
//   switching -> stream    [stack, asked again once the client has emptied the descriptor (ReceiveRingReader::drain), waited for
//                           writers (SendRingWriter::wait_for_others) and raised SO_SNDBUF of its end]
// A client that meets `switching` does the second half itself: who began may have died. Nobody writes data to the descriptor
// before the mode is stream, and nobody takes a token after it: so no byte of data is taken for a token or a unit, or lost.
// From then on the ring memory is only the stack's buffer between the descriptor and TCP.
//
// The ballast stays: the stack leaves at least one byte unread that it has forwarded already, so that closing its end is a
// reset. At first that is the units that are left, later the last byte.
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>

namespace iopkt::ipc {

/// SO_SNDBUF of the program's end in stream mode: the kernel's default, which it doubles. A writer is woken when a quarter is in use,
/// and the last buffer of the kernel's (up to 48 KiB of data) stays for its one byte of ballast: with less than four times that
/// nobody would ever be woken.
inline constexpr int kStreamBuffer = 212992;

/// The stack's end of a socket in stream mode. Owns no descriptor. Never blocks.
class StreamEnd {
 public:
  StreamEnd() = default;
  /// `ballast`: bytes that lie in the queue and are no data. Precondition: at least one.
  StreamEnd(int fd, std::size_t ballast);

  struct Taken {
    std::size_t bytes;
    bool dry;  ///< nothing more is there now
  };
  /// Moves what the program wrote to `room`, all but the ballast. Descriptors that come along are let go.
  Taken take(std::span<const iovec> room);
  /// Whether a descriptor waits in what was not taken: it could be the one that keeps this very socket open. Looks at all of it.
  bool carries_descriptors() const;

  enum class Given { all, some, gone };
  /// Moves `bytes` to the program as far as there is room; `done` counts them. gone: the program shut its reading side, or no
  /// other end is left: nothing will ever be read.
  Given give(std::span<const iovec> bytes, std::size_t& done);

  /// FIN: shuts the writing side.
  void show_fin();
  /// Takes the ballast, so that closing is not a reset.
  void drop_ballast();

 private:
  std::size_t unread() const;
  bool take_some(std::span<const iovec> room, std::size_t limit, std::size_t& done);
  int fd_ = -1;
  std::size_t ballast_ = 0;
};

}  // namespace iopkt::ipc
