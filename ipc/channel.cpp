// Sending and receiving whole messages with descriptors over the control connection; no allocation, so that the preloaded library
// can use it anywhere.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "ipc/messages.hpp"
#include "ipc/sys.hpp"

namespace iopkt::ipc {

namespace {
constexpr std::size_t kControlSpace = CMSG_SPACE(sizeof(int) * kMessageFdsMax) + CMSG_SPACE(sizeof(ucred));

/// Hands out the descriptors of all SCM_RIGHTS messages; closes those that have no room and says so. And who sent them.
bool collect_control(msghdr& message, std::span<int> room, Received& out) {
  std::size_t& count = out.fds;
  bool all = (message.msg_flags & MSG_CTRUNC) == 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS && c->cmsg_len >= CMSG_LEN(sizeof(ucred))) {
      ucred sender;
      std::memcpy(&sender, CMSG_DATA(c), sizeof sender);
      out.process = sender.pid;
      out.user = sender.uid;
      out.group = sender.gid;
    }
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < n; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof fd);
      if (count < room.size()) {
        room[count++] = fd;
      } else {
        sys::close(fd);
        all = false;
      }
    }
  }
  return all;
}

/// One message without descriptors, with no call but write: SIGPIPE is the caller's to avoid.
int send_plain(int fd, std::span<const std::byte> message) {
  for (;;) {
    if (sys::write(fd, message.data(), message.size()) >= 0) return 0;
    if (errno != EINTR) return errno;
  }
}

int receive_plain(int fd, std::span<std::byte> buffer, Received& out) {
  ssize_t n;
  do {
    n = sys::read(fd, buffer.data(), buffer.size());
  } while (n < 0 && errno == EINTR);
  out = {};
  out.bytes = n > 0 ? static_cast<std::size_t>(n) : 0;
  return n < 0 ? errno : n == 0 ? ENOTCONN : 0;
}
}  // namespace

int send_message(int fd, std::span<const std::byte> message, std::span<const int> fds) {
  if (fds.size() > kMessageFdsMax) return EINVAL;
  alignas(cmsghdr) char control[kControlSpace];
  iovec piece{.iov_base = const_cast<std::byte*>(message.data()), .iov_len = message.size()};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  if (!fds.empty()) {
    std::memset(control, 0, sizeof control);
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* c = CMSG_FIRSTHDR(&header);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
  }
  for (;;) {
    if (sys::sendmsg(fd, &header, MSG_NOSIGNAL) >= 0) return 0;
    if (errno != EINTR) return errno;
  }
}

int receive_message(int fd, std::span<std::byte> buffer, std::span<int> fds, Received& out, int flags) {
  alignas(cmsghdr) char control[kControlSpace];
  iovec piece{.iov_base = buffer.data(), .iov_len = buffer.size()};
  msghdr header{};
  header.msg_iov = &piece;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof control;
  ssize_t n;
  do {
    n = sys::recvmsg(fd, &header, flags | MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  out = {};
  if (n < 0) return errno;
  const bool all = collect_control(header, fds, out);
  if (n == 0) {
    for (std::size_t i = 0; i < out.fds; ++i) sys::close(fds[i]);
    return ENOTCONN;
  }
  if (!all || (header.msg_flags & MSG_TRUNC) != 0) {
    for (std::size_t i = 0; i < out.fds; ++i) sys::close(fds[i]);
    out = {};
    return EMSGSIZE;
  }
  out.bytes = static_cast<std::size_t>(n);
  return 0;
}

int send_split(int fd, std::span<std::byte> scratch, std::size_t message_max, FrameHeader header,
               std::span<const std::byte> fixed, std::span<const std::byte> blob, std::string_view line,
               std::span<const int> fds, std::size_t* operations, bool plain) {
  const std::size_t limit = std::min({scratch.size(), message_max, kMessageMax});
  bool first = true;
  do {
    const std::size_t overhead = sizeof header + (first ? fixed.size() : 0) + line.size();
    if (limit <= overhead) return EMSGSIZE;
    const std::size_t n = std::min(blob.size(), limit - overhead);
    const bool last = n == blob.size();
    FrameHeader part = header;
    if (!first) part.flags |= kContinuation;
    if (!last) part.flags |= kMore;
    const std::size_t bytes = encode_frame(scratch, part, first ? fixed : std::span<const std::byte>{}, blob.first(n),
                                           last ? line : std::string_view{});
    if (bytes == 0) return EINVAL;
    const int error = plain ? send_plain(fd, scratch.first(bytes))
                            : send_message(fd, scratch.first(bytes), first ? fds : std::span<const int>{});
    if (error != 0) return error;
    if (operations != nullptr) ++*operations;
    blob = blob.subspan(n);
    if (last) return 0;
    first = false;
  } while (true);
}

CallResult call(int fd, std::span<std::byte> scratch, std::size_t message_max, MessageId id, std::uint32_t number,
                std::span<const std::byte> fixed, std::span<const std::byte> blob, std::span<std::byte> fixed_out,
                std::span<std::byte> blob_out, std::span<int> fds_out, std::span<char> line_out, bool plain) {
  const MessageRow* row = message_row(static_cast<std::uint16_t>(id));
  if (row == nullptr || row->answer_fds > 0) plain = false;
  CallResult result;
  result.transport = send_split(fd, scratch, message_max, {.id = static_cast<std::uint16_t>(id), .number = number},
                                fixed, blob, {}, {}, nullptr, plain);
  if (result.transport != 0) return result;
  for (bool first = true;; first = false) {
    Received received;
    result.transport = plain ? receive_plain(fd, scratch, received)
                             : receive_message(fd, scratch, fds_out.subspan(result.fds), received);
    if (result.transport != 0) return result;
    result.fds += received.fds;
    const auto frame = decode_frame(scratch.first(received.bytes), received.fds);
    const bool expected = frame && frame->answer() && frame->header.id == static_cast<std::uint16_t>(id) &&
                          frame->header.number == number && ((frame->header.flags & kContinuation) == 0) == first;
    if (!expected) {
      result.transport = EPROTO;
      return result;
    }
    if (first) {
      result.error = static_cast<int>(frame->header.error);
      if (!frame->fixed.empty() && frame->fixed.size() == fixed_out.size()) {
        std::memcpy(fixed_out.data(), frame->fixed.data(), frame->fixed.size());
      }
    }
    if (result.blob_len < blob_out.size() && !frame->blob.empty()) {
      const std::size_t n = std::min(frame->blob.size(), blob_out.size() - result.blob_len);
      std::memcpy(blob_out.data() + result.blob_len, frame->blob.data(), n);
    }
    result.blob_len += frame->blob.size();
    if (!frame->line.empty() && !line_out.empty()) {
      result.line_len = std::min(frame->line.size(), line_out.size());
      std::memcpy(line_out.data(), frame->line.data(), result.line_len);
    }
    if (!frame->more()) return result;
  }
}

}  // namespace iopkt::ipc
