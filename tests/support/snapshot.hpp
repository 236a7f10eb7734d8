// Tables of measurements in virtual time, kept in the tree: they change on purpose alone.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

namespace iopkt::testing {

/// `now` is what the file tests/sim/`name` says; with IOPKT_UPDATE_GOODPUT in the environment the file is written in place of that.
inline void expect_snapshot(const std::string& name, const std::string& now) {
  const char* source = std::getenv("IOPKT_SOURCE_DIR");
  const std::string path = std::string(source != nullptr ? source : ".") + "/tests/sim/" + name;
  if (std::getenv("IOPKT_UPDATE_GOODPUT") != nullptr) {
    std::ofstream(path) << now;
    return;
  }
  std::ifstream in(path);
  std::ostringstream kept;
  kept << in.rdbuf();
  EXPECT_EQ(now, kept.str()) << name << " has changed: if that is meant, look at each row, then scripts/goodput";
}

}  // namespace iopkt::testing
