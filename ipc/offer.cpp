// Descriptors of accepted connections on their way.
#include "ipc/offer.hpp"

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "ipc/sys.hpp"

namespace iopkt::ipc {
namespace {

/// The kernel doubles it and counts some 800 bytes for each: about 60 offers.
constexpr int kOfferBytes = 24576;

}  // namespace

Offer::Offer() : hello_{}, piece_{.iov_base = &hello_, .iov_len = sizeof hello_}, control_{}, message_{} {
  message_.msg_iov = &piece_;
  message_.msg_iovlen = 1;
  message_.msg_control = control_.bytes;
  message_.msg_controllen = sizeof control_.bytes;
}

Offer::Offer(const AcceptHello& hello, int fd) : Offer() {
  hello_ = hello;
  carry(message_, control_, fd);
}

int Offer::descriptor(std::size_t bytes) {
  int fd = -1;
  const cmsghdr* head = CMSG_FIRSTHDR(&message_);
  if (head != nullptr && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS &&
      head->cmsg_len == CMSG_LEN(sizeof fd))
    std::memcpy(&fd, CMSG_DATA(head), sizeof fd);
  const bool whole = bytes == sizeof hello_ && hello_.magic == AcceptHello::kMagic;
  if (fd >= 0 && whole) return fd;
  if (fd >= 0) sys::close(fd);
  errno = whole && (message_.msg_flags & MSG_CTRUNC) != 0 ? EMFILE : EPROTO;
  return -1;
}

int limit_offers(int listener) {
  return sys::setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &kOfferBytes, sizeof kOfferBytes) == 0 ? 0 : errno;
}

int name_accepted_end(int fd, std::string_view folder, std::uint64_t number) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t size =
      1 + folder.size() + 1 + kAcceptedNameSize;  // an abstract name begins with a NUL and has none behind
  if (size > sizeof address.sun_path) return ENAMETOOLONG;
  folder.copy(address.sun_path + 1, folder.size());
  char* at = address.sun_path + 1 + folder.size();
  *at++ = '/';
  for (std::size_t i = kAcceptedNameSize; i-- > 0; number >>= 4) at[i] = "0123456789abcdef"[number & 15];
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size);
  return sys::bind(fd, reinterpret_cast<const sockaddr*>(&address), length) == 0 ? 0 : errno;
}

std::string_view peer_path(const sockaddr_un& address, socklen_t size) {
  constexpr std::size_t kBefore = offsetof(sockaddr_un, sun_path);
  if (size <= kBefore) return {};
  const std::size_t room = size - kBefore;
  if (address.sun_path[0] == 0) return {address.sun_path + 1, room - 1};
  return {address.sun_path, strnlen(address.sun_path, room)};
}

StackIo::Sent send_offer(int listener, const AcceptHello& hello, int program_end) {
  Offer offer{hello, program_end};
  for (;;) {
    if (sys::sendmsg(listener, offer.message(), MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return StackIo::Sent::done;
    if (errno == EINTR) continue;
    return errno == EAGAIN ? StackIo::Sent::again : StackIo::Sent::gone;
  }
}

}  // namespace iopkt::ipc
