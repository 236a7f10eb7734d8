// One process per instance number and per prefix; what a dead one left is taken over at once.
#include "instance.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>

#include "ipc/instances.hpp"

namespace iopkt::daemon {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

/// Runs `body` in a child and keeps the child until it is killed.
class Child {
 public:
  explicit Child(const std::function<void()>& body) {
    int ready[2];
    if (::pipe(ready) != 0) std::abort();
    pid_ = ::fork();
    if (pid_ == 0) {
      body();
      const char byte = 1;
      if (::write(ready[1], &byte, 1) != 1) ::_exit(3);
      for (;;) ::pause();
    }
    ::close(ready[1]);
    char byte = 0;
    started_ = ::read(ready[0], &byte, 1) == 1;
    ::close(ready[0]);
  }
  ~Child() { kill(); }
  void kill() {
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  bool started() const { return started_; }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_{};
  bool started_{};
};

class InstanceTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/iopkt-instance-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    base = pattern;
    ::setenv("IOPKT_RUN_DIR", (base + "/run").c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("IOPKT_RUN_DIR");
    fs::remove_all(base);
  }
  Options options(std::uint32_t instance, const std::string& prefix) const {
    Options made = default_options(Variant::v4_hc);
    made.instance = instance;
    made.tcpip.prefix = base + prefix;
    return made;
  }
  static void claim_for_life(const Options& wanted) {
    auto claimed = Instance::claim(wanted);
    if (!claimed || !(*claimed)->publish()) ::_exit(1);
    claimed->release();  // lives until the process is killed
  }
  std::string refused(const Options& wanted) const {
    const auto claimed = Instance::claim(wanted);
    EXPECT_FALSE(claimed);
    if (claimed) return {};
    EXPECT_EQ(claimed.error().status, 1);
    return claimed.error().line;
  }
  static void leave_node(const std::string& path) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    const int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
    ASSERT_EQ(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ::close(fd);
  }

  std::string base;
};

TEST_F(InstanceTest, MakesItsDirectoriesAndRemovesThemAgain) {
  {
    auto claimed = Instance::claim(options(1, "/alt"));
    ASSERT_TRUE(claimed) << claimed.error().line;
    EXPECT_EQ((*claimed)->node_directory(), base + "/alt/dev/socket");
    EXPECT_TRUE(fs::is_directory(base + "/alt/dev/socket"));
    EXPECT_TRUE(ipc::list_instances().empty()) << "not up yet";
    leave_node((*claimed)->add_node("config"));
    ASSERT_TRUE((*claimed)->publish());
    const auto records = ipc::list_instances();
    ASSERT_EQ(records.size(), 1u);
    EXPECT_EQ(records[0].instance, 1u);
    EXPECT_EQ(records[0].pid, ::getpid());
    EXPECT_EQ(records[0].prefix, base + "/alt");
    EXPECT_EQ(records[0].variant, "io-pkt-v4-hc");
    EXPECT_EQ(fs::read_symlink(*ipc::find_control(1)), base + "/alt/dev/socket/config");
  }
  EXPECT_FALSE(fs::exists(base + "/alt"));
  EXPECT_TRUE(fs::is_empty(base + "/run"));
}

TEST_F(InstanceTest, LeavesDirectoriesThatWereThereOrAreUsedByOthers) {
  fs::create_directories(base + "/alt/dev");
  {
    auto claimed = Instance::claim(options(1, "/alt"));
  }
  EXPECT_TRUE(fs::exists(base + "/alt/dev"));
  EXPECT_FALSE(fs::exists(base + "/alt/dev/socket"));
  {
    auto claimed = Instance::claim(options(1, "/other"));
    ASSERT_TRUE(claimed);
    fs::create_directory(base + "/other/dev/mine");
  }
  EXPECT_TRUE(fs::exists(base + "/other/dev/mine"));
}

TEST_F(InstanceTest, ASecondProcessWithTheNumberIsRefused) {
  Child first{[&] { claim_for_life(options(1, "/a")); }};
  ASSERT_TRUE(first.started());
  EXPECT_THAT(refused(options(1, "/b")),
              HasSubstr("instance 1 is running already: process " + std::to_string(first.pid())));
  EXPECT_FALSE(fs::exists(base + "/b")) << "the refused one left something";
  auto other = Instance::claim(options(2, "/b"));
  EXPECT_TRUE(other) << other.error().line;
}

TEST_F(InstanceTest, ASecondProcessWithThePrefixIsRefusedHoweverItIsSpelt) {
  Child first{[&] { claim_for_life(options(1, "/a")); }};
  ASSERT_TRUE(first.started());
  fs::create_directory_symlink(base + "/a", base + "/link");
  for (const char* prefix : {"/a", "/link", "/./a", "/a/../a"}) {
    SCOPED_TRACE(prefix);
    EXPECT_THAT(refused(options(2, prefix)), HasSubstr("is in use: process " + std::to_string(first.pid())));
  }
  // A refused process must not have taken the first one's files with it.
  EXPECT_TRUE(fs::exists(base + "/a/dev/socket/.lock"));
  EXPECT_EQ(ipc::list_instances().size(), 1u);
}

TEST_F(InstanceTest, WhatAKilledProcessLeftIsTakenOverAtOnce) {
  Child first{[&] {
    claim_for_life(options(1, "/a"));
    leave_node(base + "/a/dev/socket/24");
  }};
  ASSERT_TRUE(first.started());
  first.kill();
  ASSERT_TRUE(fs::exists(base + "/run/io-pkt1")) << "the record is stale, not gone";
  EXPECT_TRUE(ipc::list_instances().empty());
  auto second = Instance::claim(options(1, "/a"));
  ASSERT_TRUE(second) << second.error().line;
  EXPECT_FALSE(fs::exists(base + "/a/dev/socket/24"));
  EXPECT_FALSE(fs::exists(base + "/run/io-pkt1"));
  EXPECT_TRUE((*second)->publish());
  EXPECT_EQ(ipc::list_instances().size(), 1u);
}

TEST_F(InstanceTest, AChildOfForkHoldsNoLock) {
  std::optional<Child> guardian;
  {
    auto first = Instance::claim(options(1, "/a"));
    ASSERT_TRUE(first);
    guardian.emplace([] {});
  }
  Child second{[&] { claim_for_life(options(1, "/a")); }};
  EXPECT_TRUE(second.started());
}

TEST_F(InstanceTest, NodesGetWhatTheOptionSays) {
  Options with = options(1, "/a");
  with.node_access = {"all," + std::to_string(::getuid()) + ":" + std::to_string(::getgid()) + ",0640"};
  auto claimed = Instance::claim(with);
  ASSERT_TRUE(claimed) << claimed.error().line;
  const std::string path = (*claimed)->add_node("config");
  leave_node(path);
  ASSERT_EQ((*claimed)->give_access(path), 0);
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0640u);

  with = options(2, "/b");
  with.node_access = {"bpf,no_such_user_:0,0600"};
  const auto refused_one = Instance::claim(with);
  ASSERT_FALSE(refused_one);
  EXPECT_EQ(refused_one.error().status, 2);
  EXPECT_FALSE(fs::exists(base + "/b"));
}

TEST_F(InstanceTest, DirectoriesThatCannotBeMadeOrAreNotOurs) {
  {
    std::FILE* file = std::fopen((base + "/file").c_str(), "w");
    std::fclose(file);
  }
  EXPECT_THAT(refused(options(1, "/file")),
              HasSubstr("cannot make " + base + "/file/dev/socket: Not a directory"));
  Options proc = options(1, "");
  proc.tcpip.prefix = "/proc/nothing";
  EXPECT_THAT(refused(proc), HasSubstr("cannot make /proc/nothing/dev/socket: "));
  EXPECT_THAT(refused(proc), HasSubstr("prefix=/path takes a directory that is writable"));
  fs::create_directory(base + "/open");
  ASSERT_EQ(::chmod((base + "/open").c_str(), 0777), 0);
  ::setenv("IOPKT_RUN_DIR", (base + "/open").c_str(), 1);
  EXPECT_THAT(refused(options(1, "/a")), HasSubstr("no run directory: " + base + "/open: not ours alone"));
}

}  // namespace
}  // namespace iopkt::daemon
