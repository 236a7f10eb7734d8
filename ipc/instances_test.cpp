// Records of running stacks: what is written is read back, what is damaged or dead is not believed.
#include "ipc/instances.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace iopkt::ipc {
namespace {

const InstanceRecord kRecord{.instance = 1,
                             .pid = 77,
                             .start_ticks = 123456789012,
                             .started = 1700000000,
                             .variant = "io-pkt-v4-hc",
                             .prefix = "/alt dir=x"};

class InstancesTest : public testing::Test {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/iopkt-instances-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    directory = pattern;
    ::setenv("IOPKT_RUN_DIR", directory.c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("IOPKT_RUN_DIR");
    std::filesystem::remove_all(directory);
  }
  void write(const InstanceRecord& record) const { write(record.instance, encode(record)); }
  void write(std::uint32_t instance, const std::string& text) const {
    std::ofstream{instance_path(directory, instance, "")} << text;
  }
  static InstanceRecord alive(std::uint32_t instance) {
    InstanceRecord record = kRecord;
    record.instance = instance;
    record.pid = ::getpid();
    record.start_ticks = process_start_ticks(record.pid);
    return record;
  }

  std::string directory;
};

TEST(InstanceRecord, ReadsBackWhatWasWritten) {
  EXPECT_EQ(decode(encode(kRecord)), kRecord);
  InstanceRecord without = kRecord;
  without.prefix.clear();
  EXPECT_EQ(decode(encode(without)), without);
  EXPECT_EQ(decode(encode(kRecord) + "later=1\n"), kRecord);
}

TEST(InstanceRecord, EachPrefixAndEachChangedByteIsRefusedOrHarmless) {
  const std::string text = encode(kRecord);
  for (std::size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(decode(text.substr(0, size))) << size;
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string changed = text;
    changed[at] = '\x80';
    decode(changed);  // sanitizers watch
  }
  EXPECT_FALSE(decode("instance=1\npid=-5\nstart_ticks=1\nstarted=1\nvariant=x\nprefix=\n"));
  EXPECT_FALSE(decode("instance=99999999999\npid=5\nstart_ticks=1\nstarted=1\nvariant=x\nprefix=\n"));
}

TEST(ProcessStart, TellsProcessesApart) {
  EXPECT_NE(process_start_ticks(::getpid()), 0u);
  EXPECT_EQ(process_start_ticks(::getpid()), process_start_ticks(::getpid()));
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  // Nobody waited for it yet, as in a container whose first process does not: it runs no more all the same.
  siginfo_t ended{};
  ::waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOWAIT);
  EXPECT_EQ(process_start_ticks(child), 0u);
  ::waitpid(child, nullptr, 0);
  EXPECT_EQ(process_start_ticks(child), 0u);
}

TEST_F(InstancesTest, ListsTheLivingByNumber) {
  write(alive(10));
  write(alive(2));
  InstanceRecord dead = alive(3);
  dead.start_ticks += 1;  // its number belongs to a later process
  write(dead);
  write(4, "garbage");
  write(5, encode(alive(6)));  // says it is somebody else
  std::ofstream{directory + "/io-pktx"} << encode(alive(7));
  std::ofstream{directory + "/io-pkt2.pid"} << "1\n";
  const auto found = list_instances();
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0], alive(2));
  EXPECT_EQ(found[1], alive(10));
  EXPECT_EQ(find_control(2), directory + "/io-pkt2.control");
  EXPECT_EQ(find_control(3), std::nullopt);
}

TEST_F(InstancesTest, ADirectoryThatOthersCanWriteIsNotBelieved) {
  write(alive(1));
  ASSERT_EQ(list_instances().size(), 1u);
  ASSERT_EQ(::chmod(directory.c_str(), 0777), 0);
  EXPECT_TRUE(list_instances().empty());
  EXPECT_FALSE(is_trusted_directory(directory + "/none"));
}

TEST(RunDirectories, TheUsersOwnAndTheSystems) {
  ::unsetenv("IOPKT_RUN_DIR");
  ::setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
  const auto directories = run_directories();
  ::unsetenv("XDG_RUNTIME_DIR");
  ASSERT_EQ(directories.size(), 3u);
  EXPECT_EQ(directories[::geteuid() == 0 ? 0 : 2], "/run/io-pkt");
  EXPECT_NE(std::find(directories.begin(), directories.end(), "/run/user/7/io-pkt"), directories.end());
  ::setenv("IOPKT_RUN_DIR", "/x", 1);
  EXPECT_EQ(run_directories(), std::vector<std::string>{"/x"});
  ::unsetenv("IOPKT_RUN_DIR");
}

}  // namespace
}  // namespace iopkt::ipc
