// FILE streams on sockets. libc's own streams read and write with calls that cannot be replaced, so that a
// stream on a socket of the stack is a custom one (fopencookie) over the replaced calls.
#pragma once

#include <stdio.h>

namespace iopkt::shim {

/// fdopen(3) of one of our descriptors; null and errno.
FILE* open_stream(int fd, const char* mode);
/// The descriptor of a stream that open_stream made; -1: not one of those.
int descriptor_of(FILE* stream);

}  // namespace iopkt::shim
