// How many keys of TCP-MD5 and TCP-AO each user has, on all shards: as long as anybody has a chain, its keys count.
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

  /// For options; null: the user's share is used up.
  static std::shared_ptr<const tcp::KeyChain> admit(const std::shared_ptr<KeyAccounts>& accounts, std::uint32_t user, tcp::KeyChain&& chain) {
    const std::size_t count = chain.keys().size();
    if (!accounts->take(user, count)) return nullptr;
    return {new tcp::KeyChain(std::move(chain)), [accounts, user, count](const tcp::KeyChain* gone) {
              delete gone;
              accounts->give_back(user, count);
            }};
  }
  std::size_t held(std::uint32_t user) const {
    const SpinGuard guard{lock_};
    const auto found = held_.find(user);
    return found == held_.end() ? 0 : found->second;
  }

 private:
  bool take(std::uint32_t user, std::size_t count) {
    const SpinGuard guard{lock_};
    std::size_t& held = held_[user];
    if (held + count > kOfUser) return false;
    held += count;
    return true;
  }
  void give_back(std::uint32_t user, std::size_t count) {
    const SpinGuard guard{lock_};
    const auto found = held_.find(user);
    if ((found->second -= count) == 0) held_.erase(found);
  }

  mutable SpinLock lock_;
  std::unordered_map<std::uint32_t, std::size_t> held_;
};

}  // namespace iopkt::stack
