// How many keys of TCP-MD5 and TCP-AO each user has, on all shards: a key counts once, as long as anybody has it.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "base/spinlock.hpp"
#include "tcp/auth.hpp"

namespace iopkt::stack {

class KeyAccounts {
 public:
  static constexpr std::size_t kOfUser = 8 * tcp::KeyChain::kMost;

  /// For a chain; null: the user's share is used up.
  static tcp::KeyPtr admit(const std::shared_ptr<KeyAccounts>& accounts, std::uint32_t user, tcp::Key&& key) {
    if (!accounts->take(user)) return nullptr;
    return {new tcp::Key(std::move(key)), [accounts, user](const tcp::Key* gone) {
              delete gone;
              accounts->give_back(user);
            }};
  }
  std::size_t held(std::uint32_t user) const {
    const SpinGuard guard{lock_};
    const auto found = held_.find(user);
    return found == held_.end() ? 0 : found->second;
  }

 private:
  bool take(std::uint32_t user) {
    const SpinGuard guard{lock_};
    std::size_t& held = held_[user];
    if (held == kOfUser) return false;
    ++held;
    return true;
  }
  void give_back(std::uint32_t user) {
    const SpinGuard guard{lock_};
    const auto found = held_.find(user);
    if (--found->second == 0) held_.erase(found);
  }

  mutable SpinLock lock_;
  std::unordered_map<std::uint32_t, std::size_t> held_;
};

}  // namespace iopkt::stack
