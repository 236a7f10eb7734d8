// How an accepted connection reaches a program: its descriptor travels through the listener's.
//
// A listener is a connected, stalled stream end like every other socket, so each side sees the other's end at
// once: the last close (in whatever process, by exec or by death) hangs up the stack's end, and the death of
// the stack ends every accept() and poll(). A listening AF_UNIX socket shows neither. For each connection the
// stack makes a pair, keeps one end, and sends the other with an AcceptHello: unread offers make the listener
// readable, the kernel hands each to exactly one accept(), and closes those that nobody took together with
// the listener.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "ipc/descriptor.hpp"
#include "ipc/rights.hpp"

namespace iopkt::ipc {

/// What comes with the descriptor of an accepted connection.
struct AcceptHello {
  static constexpr std::uint32_t kMagic = 0x41706f69;
  std::uint32_t magic{};
  std::uint32_t client{};
  std::uint64_t
      slot{};  ///< arena id << 32 | index; ask the control connection for an arena that is not mapped yet
  std::uint64_t nonce{};
  std::uint64_t reserved{};
};
static_assert(sizeof(AcceptHello) == 32);

/// One offer, to be filled in by recvmsg() or sent. Its message points into itself.
class Offer {
 public:
  /// For receiving: pass message() to recvmsg() with or without MSG_CMSG_CLOEXEC.
  Offer();
  /// For sending: `fd` stays the caller's.
  Offer(const AcceptHello& hello, int fd);
  Offer(const Offer&) = delete;
  Offer& operator=(const Offer&) = delete;

  msghdr* message() { return &message_; }
  const AcceptHello& hello() const { return hello_; }
  /// After a recvmsg() that returned `bytes` > 0: the connection's descriptor. -1 with errno EMFILE: this
  /// process has no number free (the kernel has closed the descriptor, so the stack offers the connection
  /// again); EPROTO: not an offer.
  int descriptor(std::size_t bytes);

 private:
  AcceptHello hello_;
  iovec piece_;
  RightsBuffer control_;
  msghdr message_;
};

/// Stack side: how many offers a listener's descriptor takes is bounded (the kernel's collector of
/// descriptors in flight looks at all of them, and accept() makes room). Once, on the listener's end. 0 or an
/// errno.
int limit_offers(int listener);
/// Stack side: names its end of a connection's pair in the abstract name space, so that the program's end has
/// a peer of the stack's by which it is known after exec() and SCM_RIGHTS. `folder`: the stack's nodes;
/// `number`: one that nobody can guess, so that nobody can take the name before, and no secret afterwards
/// (everybody can see it). 0 or an errno.
int name_accepted_end(int fd, std::string_view folder, std::uint64_t number);
inline constexpr std::size_t kAcceptedNameSize = 16;  ///< bytes of such a name, behind the folder and a slash
/// The path in a peer's name, be it abstract or a node's; empty: it has none.
std::string_view peer_path(const sockaddr_un& address, socklen_t size);
/// Stack side, any thread: sends `program_end` to whoever accepts from the program's end of `listener`.
/// again: no room, EPOLLOUT follows once most of it is free; gone: nobody holds the listener, or the kernel
/// has no means (errno says which).
StackIo::Sent send_offer(int listener, const AcceptHello& hello, int program_end);

}  // namespace iopkt::ipc
