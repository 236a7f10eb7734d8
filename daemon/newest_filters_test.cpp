#include "newest_filters.hpp"

#include <gtest/gtest.h>

namespace iopkt::daemon {
namespace {

TEST(NewestFilters, OneOfAnInterfaceWaits) {
  NewestFilters filters;
  const NewestFilters::List first{{{1, 0, 0x5e, 0, 0, 1}}}, second{{{1, 0, 0x5e, 0, 0, 2}}};
  EXPECT_TRUE(filters.put(1, first));
  EXPECT_FALSE(filters.put(1, second));
  EXPECT_TRUE(filters.put(2, first));
  EXPECT_EQ(filters.take(1), second);
  EXPECT_EQ(filters.take(2), first);
  EXPECT_TRUE(filters.put(1, first)) << "it was taken: somebody is to be told again";
}

}  // namespace
}  // namespace iopkt::daemon
