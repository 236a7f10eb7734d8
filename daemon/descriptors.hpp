// The process's file descriptors, given out like memory: what clients hold is counted, for all and for each
// user, and stays below RLIMIT_NOFILE. So a socket is refused with ENFILE where it is asked for, not cut off
// where its descriptor arrives, and no user takes the last one from the others.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <utility>

#include "client.hpp"

namespace iopkt::daemon {

class DescriptorBudget {
 public:
  /// `limit`: RLIMIT_NOFILE. Some are kept back: for the process itself, and for ends that have not said yet
  /// whose they are.
  void set_limit(std::uint64_t limit) {
    kept_ = std::min(limit / 4, kKept);
    clients_ = limit - kept_;
  }
  /// Ends that may wait without having said whose they are.
  std::size_t pending_max() const { return kept_ / 2; }

  /// The user's share: all for root and for who runs the stack, three quarters for anybody else. One thread.
  std::shared_ptr<DescriptorShare> share(uid_t user, bool privileged) {
    std::weak_ptr<DescriptorShare>& known = shares_[user];
    if (auto share = known.lock()) return share;
    std::erase_if(shares_, [&](const auto& one) { return one.first != user && one.second.expired(); });
    auto share =
        std::make_shared<DescriptorShare>(used_, clients_, privileged ? clients_ : clients_ - clients_ / 4);
    shares_[user] = share;
    return share;
  }
  std::uint64_t most() const { return clients_; }
  std::uint64_t used() const { return used_.used(); }

 private:
  static constexpr std::uint64_t kKept = 1088;
  std::uint64_t kept_ = kKept, clients_ = UINT64_MAX;
  Bounded used_;
  std::map<uid_t, std::weak_ptr<DescriptorShare>> shares_;
};

}  // namespace iopkt::daemon
