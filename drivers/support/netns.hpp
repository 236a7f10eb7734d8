// Opening descriptors in another network namespace: what is opened there stays there, the thread comes back.
#pragma once

#include <fcntl.h>
#include <sched.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "unique_fd.hpp"

namespace devnp {

/// While it lives, the calling thread is in the namespace; other threads are not touched.
class NetnsVisit {
 public:
  NetnsVisit() = default;
  NetnsVisit(const NetnsVisit&) = delete;
  NetnsVisit& operator=(const NetnsVisit&) = delete;
  ~NetnsVisit() { leave(); }

  /// @param where  a path, or a name as in /run/netns (`ip netns`); NULL stays where the thread is.
  /// @return 0, or a negative errno: -ENOENT, -EINVAL (not a namespace), -EPERM.
  int enter(const char* where) {
    if (where == nullptr) return 0;
    char path[512];
    const bool is_path = std::strchr(where, '/') != nullptr;
    const int n = std::snprintf(path, sizeof path, is_path ? "%s" : "/run/netns/%s", where);
    if (n < 0 || static_cast<std::size_t>(n) >= sizeof path) return -ENAMETOOLONG;
    UniqueFd there{::open(path, O_RDONLY | O_CLOEXEC)};
    if (!there) return -errno;
    UniqueFd home{::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC)};
    if (!home) return -errno;
    if (::setns(there.get(), CLONE_NEWNET) != 0) return -errno;
    home_ = std::move(home);
    return 0;
  }

  /// Back; true unless the kernel refused, which leaves the thread where it is.
  bool leave() {
    if (!home_) return true;
    const bool back = ::setns(home_.get(), CLONE_NEWNET) == 0;
    home_.reset();
    return back;
  }

 private:
  UniqueFd home_;
};

}  // namespace devnp
