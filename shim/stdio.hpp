// FILE streams on sockets. libc's own streams read and write with calls that cannot be replaced, so that a
// stream on a socket of the stack is a custom one (fopencookie) over the replaced calls.
#pragma once

#include <stdio.h>

namespace iopkt::shim {

/// fdopen(3) of one of our descriptors; null and errno.
FILE* open_stream(int fd, const char* mode);
/// The descriptor of a stream that open_stream made; -1: not one of those.
int descriptor_of(FILE* stream);

/// One of our sockets has become descriptor 0, 1 or 2: `stdin`, `stdout` or `stderr` of the program becomes a stream that works on
/// it (a shell's builtins write there). It stays one; on anything else it works like libc's. Other numbers: nothing.
void serve_standard_stream(int fd);

}  // namespace iopkt::shim
