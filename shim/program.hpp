// Whether a program that is about to be executed will have this library.
#pragma once

namespace iopkt::shim {

/// False for: a static program, one with another loader or for another machine, one that gains rights (the
/// loader then ignores LD_PRELOAD), an environment without LD_PRELOAD or with another SOCK, and what cannot
/// be read. `search`: along PATH, if the name has no slash. No allocation, no lock: also for the child of
/// vfork().
bool will_have_library(const char* program, bool search, char* const* environment);
/// The same for a program that is open already.
bool will_have_library(int fd, char* const* environment);

}  // namespace iopkt::shim
