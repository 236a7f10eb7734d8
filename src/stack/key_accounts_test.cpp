#include "stack/key_accounts.hpp"

#include <gtest/gtest.h>

namespace iopkt::stack {
namespace {

TEST(KeyAccounts, AUsersKeyCountsOnceAsLongAsAnybodyHasIt) {
  const auto accounts = std::make_shared<KeyAccounts>();
  std::vector<tcp::KeyPtr> held;
  while (auto one = KeyAccounts::admit(accounts, 5, {})) held.push_back(std::move(one));
  EXPECT_EQ(held.size(), KeyAccounts::kOfUser);
  EXPECT_EQ(accounts->held(5), KeyAccounts::kOfUser);
  EXPECT_TRUE(KeyAccounts::admit(accounts, 6, {})) << "another user";
  EXPECT_EQ(accounts->held(6), 0u);
  const tcp::KeyPtr child = held.back();
  held.pop_back();
  EXPECT_FALSE(KeyAccounts::admit(accounts, 5, {})) << "a connection has it still";
  held.clear();
  EXPECT_EQ(accounts->held(5), 1u);
}

}  // namespace
}  // namespace iopkt::stack
