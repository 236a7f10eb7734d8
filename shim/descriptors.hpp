// Descriptor numbers: closing and copying them. Each answers as the libc function of a similar name, for any
// descriptor.
#pragma once

namespace iopkt::shim {

int close_fd(int fd);
int duplicate(int fd);
int duplicate_to(int from, int to);
int duplicate_to(int from, int to, int flags);
/// F_DUPFD and F_DUPFD_CLOEXEC.
int duplicate_above(int fd, int command, int least);
int close_range_of(unsigned first, unsigned last, int flags);
void close_from(int first);

}  // namespace iopkt::shim
