#include "stack/key_accounts.hpp"

#include <gtest/gtest.h>

namespace iopkt::stack {
namespace {

tcp::KeyChain chain_of(std::size_t count) {
  tcp::KeyChain chain;
  chain.set(std::vector<tcp::Key>(count));
  return chain;
}

TEST(KeyAccounts, AUsersKeysCountAsLongAsAnybodyHasThem) {
  const auto accounts = std::make_shared<KeyAccounts>();
  std::vector<std::shared_ptr<const tcp::KeyChain>> held;
  while (auto one = KeyAccounts::admit(accounts, 5, chain_of(1000))) held.push_back(std::move(one));
  EXPECT_EQ(held.size(), KeyAccounts::kOfUser / 1000);
  EXPECT_EQ(accounts->held(5), held.size() * 1000);
  EXPECT_TRUE(KeyAccounts::admit(accounts, 6, chain_of(1000))) << "another user";
  EXPECT_EQ(accounts->held(6), 0u);
  const auto child = held.back();
  held.pop_back();
  EXPECT_FALSE(KeyAccounts::admit(accounts, 5, chain_of(1000))) << "a connection has them still";
  held.clear();
  EXPECT_EQ(accounts->held(5), 1000u);
}

}  // namespace
}  // namespace iopkt::stack
