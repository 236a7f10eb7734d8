// exec and posix_spawn: the new program joins this one's client, so that sockets it inherits are its own,
// too.
#pragma once

#include <cstddef>

namespace iopkt::shim {

/// The name of the variable that tells it: "IOPKT_CLIENT=<client>:<secret>", in hexadecimal.
inline constexpr char kClientVariable[] = "IOPKT_CLIENT=";

/// What the environment of this process says of a client to join. False: nothing.
bool client_to_join(unsigned& client, unsigned long& secret);

/// Remembers what a new program should be told.
void remember_client(unsigned client, unsigned long secret);

/// How many pointers new_environment() needs for `environment`.
std::size_t environment_room(char* const* environment);
/// Copies the list into `room`, with our variable set. No allocation. Answers `room`, or `environment` itself
/// where there is nothing to tell (no stack was used, or the new program will not have this library).
char* const* new_environment(char* const* environment, char** room);

}  // namespace iopkt::shim
