// getsockopt(2), setsockopt(2) and ioctl(2) on sockets of the stack: answered here where that is exact, else
// asked.
#pragma once

#include <sys/socket.h>

#include "shim/table.hpp"

namespace iopkt::shim {

int get_option(int fd, Entry entry, int level, int name, void* value, socklen_t* length);
int set_option(int fd, Entry entry, int level, int name, const void* value, socklen_t length);
int control(int fd, Entry entry, unsigned long code, void* argument);
/// sockatmark(3).
int at_mark(int fd, Entry entry);

}  // namespace iopkt::shim
