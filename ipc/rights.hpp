// A descriptor that travels with a message (SCM_RIGHTS).
#pragma once

#include <sys/socket.h>

#include <cstring>

namespace iopkt::ipc {

/// Where the kernel finds the descriptor, or puts one.
struct alignas(cmsghdr) RightsBuffer {
  char bytes[CMSG_SPACE(sizeof(int))]{};
};

/// `message` takes a copy of `fd` along; `buffer` has to live until it is sent.
inline void carry(msghdr& message, RightsBuffer& buffer, int fd) {
  message.msg_control = buffer.bytes;
  message.msg_controllen = sizeof buffer.bytes;
  cmsghdr* head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(sizeof fd);
  std::memcpy(CMSG_DATA(head), &fd, sizeof fd);
}

}  // namespace iopkt::ipc
