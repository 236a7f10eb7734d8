// A small process that undoes what was changed at a host interface, even after the stack was killed.
#pragma once

#include <sys/types.h>

#include "../support/host_if.hpp"
#include "../support/unique_fd.hpp"

namespace devnp_packet {

/// Starts with the first change and ends with close(): it waits at a socket whose other end only this process
/// holds, so it also wakes when this process dies of SIGKILL. Then it puts back the up flag and the MTU, as
/// far as they were changed, of the interface with this index (a new name does not matter). It holds nothing
/// else of this process.
class Guardian {
 public:
  enum class Change : char { up = 'u', mtu = 'm' };

  Guardian() = default;
  Guardian(const Guardian&) = delete;
  Guardian& operator=(const Guardian&) = delete;
  ~Guardian() { close(); }

  /// What the interface is like before any change. Call once.
  void remember(int index, int mtu) {
    index_ = index;
    mtu_ = mtu;
  }
  /// Announces a change; only after 0 may it be made. -errno: there is nobody to undo it.
  int before(Change change, const devnp::HostIf& interface);
  /// Undoes the changes and waits until that is done.
  void close();

 private:
  int spawn(const devnp::HostIf& interface);

  int index_ = 0, mtu_ = 0;
  pid_t pid_ = -1;
  devnp::UniqueFd wire_;
};

}  // namespace devnp_packet
