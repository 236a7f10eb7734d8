// The stack's end of a socket in stream mode. The protocol stands in stream_end.hpp.
#include "ipc/stream_end.hpp"

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "ipc/ring_copy.hpp"
#include "ipc/sys.hpp"

namespace iopkt::ipc {
namespace {

constexpr std::size_t kSpansMax = 2;  ///< of a ring
constexpr std::size_t kBallastPiece = 256;

/// The part [skip, skip + limit) of `from`; answers how many spans.
std::size_t cut(std::span<const iovec> from, std::size_t skip, std::size_t limit, iovec* to) {
  std::size_t n = 0;
  for (const iovec& piece : from) {
    const std::size_t start = std::min(skip, piece.iov_len);
    skip -= start;
    const std::size_t length = std::min(piece.iov_len - start, limit);
    limit -= length;
    if (length > 0) to[n++] = {static_cast<std::byte*>(piece.iov_base) + start, length};
  }
  return n;
}

/// `descriptors`: whether some came along; none is taken over.
ssize_t receive(int fd, iovec* pieces, std::size_t count, int flags, bool* descriptors = nullptr) {
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = count;
  ssize_t n;
  do {
    n = sys::recvmsg(fd, &message, MSG_DONTWAIT | flags);
  } while (n < 0 && errno == EINTR);
  if (descriptors != nullptr) *descriptors = (message.msg_flags & MSG_CTRUNC) != 0;
  return n;
}

}  // namespace

StreamEnd::StreamEnd(int fd, std::size_t ballast) : fd_(fd), ballast_(ballast) {
  const int off = -1;  // StackEnd peeks behind what it has seen; here each look is at the oldest byte
  sys::setsockopt(fd_, SOL_SOCKET, SO_PEEK_OFF, &off, sizeof off);
}

std::size_t StreamEnd::unread() const {
  int bytes = 0;
  return sys::unread_by_peer(fd_, SIOCINQ, &bytes) == 0 && bytes > 0 ? static_cast<std::size_t>(bytes) : 0;
}

bool StreamEnd::carries_descriptors() const {
  std::array<std::byte, 4096> scratch;
  std::array<iovec, 1024> pieces;  // more than a socket buffer holds
  pieces.fill({scratch.data(), scratch.size()});
  bool descriptors = false;
  return receive(fd_, pieces.data(), pieces.size(), MSG_PEEK, &descriptors) > 0 && descriptors;
}

/// One step: the ballast and all but the last of `limit` new bytes are taken, the last one is looked at and becomes the ballast.
/// False: what was counted is not there (out-of-band bytes are passed over).
bool StreamEnd::take_some(std::span<const iovec> room, std::size_t limit, std::size_t& done) {
  std::array<iovec, kSpansMax + 1> pieces{};
  if (ballast_ > 0) {
    std::array<std::byte, kBallastPiece> old;
    const std::size_t piece = std::min(ballast_, old.size());
    pieces[0] = {old.data(), piece};
    // A large ballast goes bit by bit; then no data is taken along.
    const std::size_t count = piece < ballast_ ? 0 : cut(room, done, limit - 1, &pieces[1]);
    const ssize_t n = receive(fd_, pieces.data(), count + 1, 0);
    if (n <= 0) return false;
    const std::size_t taken = static_cast<std::size_t>(n);
    const std::size_t from_ballast = std::min(taken, ballast_);
    ballast_ -= from_ballast;
    done += taken - from_ballast;
    limit -= taken - from_ballast;
    if (ballast_ > 0) return true;
  }
  const std::size_t count = cut(room, done, 1, pieces.data());
  bool descriptors = false;
  if (receive(fd_, pieces.data(), count, MSG_PEEK, &descriptors) != 1) return false;
  // A descriptor goes with its byte, and must not stay: it may be the program's end of this very socket, which would keep itself open.
  if (descriptors && receive(fd_, pieces.data(), count, 0) != 1) return false;
  ballast_ = descriptors ? 0 : 1;
  ++done;
  return true;
}

StreamEnd::Taken StreamEnd::take(std::span<const iovec> room) {
  const std::size_t space = total_length(room);
  std::size_t done = 0;
  for (;;) {
    const std::size_t there = unread();
    if (there <= ballast_) return {done, true};
    if (done == space) return {done, false};
    if (!take_some(room, std::min(there - ballast_, space - done), done)) return {done, true};
  }
}

StreamEnd::Given StreamEnd::give(std::span<const iovec> bytes, std::size_t& done) {
  const std::size_t all = total_length(bytes);
  while (done < all) {
    std::array<iovec, kSpansMax> pieces{};
    msghdr message{};
    message.msg_iov = pieces.data();
    message.msg_iovlen = cut(bytes, done, all - done, pieces.data());
    const ssize_t n = sys::sendmsg(fd_, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? Given::some : Given::gone;
    done += static_cast<std::size_t>(n);
  }
  return Given::all;
}

void StreamEnd::show_fin() { sys::shutdown(fd_, SHUT_WR); }

void StreamEnd::drop_ballast() {
  while (ballast_ > 0) {
    std::array<std::byte, kBallastPiece> old;
    iovec piece{old.data(), std::min(ballast_, old.size())};
    const ssize_t n = receive(fd_, &piece, 1, 0);
    if (n <= 0) return;
    ballast_ -= static_cast<std::size_t>(n);
  }
}

}  // namespace iopkt::ipc
