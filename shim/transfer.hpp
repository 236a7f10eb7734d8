// sendfile(2) and splice(2) with a socket of the stack on either side.
#pragma once

#include <sys/types.h>

#include <cstddef>

namespace iopkt::shim {

ssize_t send_file(int out, int in, off_t* offset, std::size_t count);
ssize_t splice_fd(int in, off64_t* in_offset, int out, off64_t* out_offset, std::size_t count,
                  unsigned flags);

}  // namespace iopkt::shim
