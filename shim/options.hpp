// getsockopt(2), setsockopt(2) and ioctl(2) on sockets of the stack: answered here where that is exact, else
// asked.
#pragma once

#include <sys/socket.h>

#include <cstdint>

#include "shim/table.hpp"

namespace iopkt::shim {

inline constexpr int kSetFib = 0x100a, kTxPrio = 0x100b;  ///< SO_SETFIB, SO_TXPRIO, which the host does not have
/// Options of linux/in6.h, which does not go together with netinet/in.h.
inline constexpr int kFlowInfo = 11, kFlowLabelManager = 32, kFlowInfoSend = 33, kHeaderIncluded = 36, kErrorExtension6 = 31;

/// A bit beside those of Hint: keys were set (TCP_MD5SIG, TCP_AO_ADD_KEY), which the library cannot carry to another socket.
inline constexpr std::uint64_t kHasKeys = 1 << 27;

int get_option(int fd, Entry entry, int level, int name, void* value, socklen_t* length);
int set_option(int fd, Entry entry, int level, int name, const void* value, socklen_t length);
int control(int fd, Entry entry, unsigned long code, void* argument);
/// sockatmark(3).
int at_mark(int fd, Entry entry);

}  // namespace iopkt::shim
