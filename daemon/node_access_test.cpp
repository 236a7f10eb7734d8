// -u: the last line that speaks of a type decides; unknown names are refused.
#include "node_access.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

namespace iopkt::daemon {
namespace {

using Lines = std::vector<std::string>;

TEST(NodeAccess, TheLastLineForTheTypeOrAllDecides) {
  const struct {
    Lines lines;
    const char* type;
    NodeAccess access;
  } rows[] = {
      {{}, "socket", {{}, {}, 0666}},
      {{"all,7:8,0660"}, "socket", {7, 8, 0660}},
      {{"bpf,7:8,0660"}, "socket", {{}, {}, 0666}},
      {{"all,7:8,0660", "bpf,1:2,0600"}, "socket", {7, 8, 0660}},
      {{"all,7:8,0660", "bpf,1:2,0600"}, "bpf", {1, 2, 0600}},
      {{"bpf,1:2,0600", "all,7:8,660"}, "bpf", {7, 8, 0660}},
      {{"socket,root:root,0600"}, "socket", {0, 0, 0600}},
  };
  for (const auto& row : rows) {
    const auto access = node_access(row.lines, row.type, 0666);
    ASSERT_TRUE(access) << access.error();
    EXPECT_EQ(*access, row.access);
  }
}

TEST(NodeAccess, UnknownNamesAreRefusedInEveryLine) {
  EXPECT_EQ(node_access(Lines{"bpf,no_such_user_:0,0600"}, "socket", 0666).error(),
            "option -u bpf,no_such_user_:0,0600: unknown user no_such_user_");
  EXPECT_EQ(node_access(Lines{"all,0:no_such_group_,0600"}, "socket", 0666).error(),
            "option -u all,0:no_such_group_,0600: unknown group no_such_group_");
}

TEST(NodeAccess, TheModeIsGivenAndAMissingNodeIsNamed) {
  char pattern[] = "/tmp/iopkt-access-XXXXXX";
  ASSERT_NE(::mkdtemp(pattern), nullptr);
  for (const mode_t mode : {0666u, 0660u, 0600u, 0444u}) {
    struct stat status{};
    ASSERT_EQ(apply_access(pattern, {::getuid(), ::getgid(), mode}), 0);
    ASSERT_EQ(::stat(pattern, &status), 0);
    EXPECT_EQ(status.st_mode & 07777, mode);
  }
  ::chmod(pattern, 0700);
  std::filesystem::remove_all(pattern);
  EXPECT_EQ(apply_access(pattern, {{}, {}, 0600}), ENOENT);
}

}  // namespace
}  // namespace iopkt::daemon
