// Before a program without this library starts: what it inherits moves into stream mode.
#pragma once

namespace iopkt::shim {

/// Lives around an exec. The sockets that survive it are moved before; the process's own claim on all of its
/// sockets is withdrawn, and taken up again if the call comes back. Also for the child of vfork().
class ExecHandover {
 public:
  ExecHandover(const char* program, bool search, char* const* environment);
  ExecHandover(int program, char* const* environment);
  ~ExecHandover();
  ExecHandover(const ExecHandover&) = delete;
  ExecHandover& operator=(const ExecHandover&) = delete;

 private:
  void begin(bool keeps_library);
  bool withdrawn_ = false;
};

/// Before posix_spawn.
void hand_over_to_spawned(const char* program, bool search, char* const* environment);
/// A file action of a spawn to come copies `fd`, which may be close-on-exec itself.
void note_spawn_copy(int fd);

}  // namespace iopkt::shim
