// None is lost, the bound holds, and the line is written once per exhaustion.
#include "functional_connections.hpp"

#include <gtest/gtest.h>

namespace iopkt::daemon {
namespace {

TEST(FunctionalConnections, GrowByTheIncrementUpToTheMostThenWait) {
  std::vector<std::string> lines;
  FunctionalConnections connections{{.least = 4, .increment = 3, .most = 9}, [&](std::string line) { lines.push_back(line); }};
  std::vector<int> begun;
  for (int i = 0; i < 20; ++i) connections.take([&begun, i] { begun.push_back(i); });
  EXPECT_EQ(connections.statistics().made, 9u);
  EXPECT_EQ(connections.statistics().in_service, 9u);
  EXPECT_EQ(connections.statistics().waiting, 11u);
  EXPECT_EQ(lines.size(), 1u);
  for (int i = 0; i < 20; ++i) {
    connections.done();
    EXPECT_LE(connections.statistics().in_service, 9u);
  }
  ASSERT_EQ(begun.size(), 20u);
  for (int i = 0; i < 20; ++i) EXPECT_EQ(begun[static_cast<std::size_t>(i)], i);
  EXPECT_EQ(connections.statistics().served, 20u);
  EXPECT_EQ(connections.statistics().in_service, 0u);
  EXPECT_EQ(connections.statistics().waited, 11u);
}

}  // namespace
}  // namespace iopkt::daemon
