// The adapter as packetdrill loads it: scripts through every function of its table.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/script/loaded.hpp"
#include "tests/script/run.hpp"
#include "tests/script/so/interface.h"
#include "tests/script/sockets.hpp"

namespace iopkt::script {
namespace {

std::string folder(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr ? value : ".";
}
std::string library() { return folder("IOPKT_BUILD_DIR") + "/tests/libiopkt-packetdrill.so"; }

/// Settings that a script begins with are the library's flags; what it sets later, and asks of drops, the table does not have.
struct Prepared {
  std::string flags, text;
  bool possible = true;
};
bool has(const Setting& setting) {
  if (!setting.may_miss) return true;
  const auto wrong = Sockets{{}}.set_variable(setting.name, setting.value);
  return !wrong.has_value();
}
Prepared prepare(const std::string& text) {
  Prepared out;
  const Script script = parse(text);
  out.flags = "shards=2";
  // The table's own addresses are IPv4's.
  out.possible = families_of(script).front() == wire::IpFamily::v4;
  if (const auto mtu = script.options.find("--mtu"); mtu != script.options.end()) out.flags += ",mtu=" + mtu->second;
  bool begun = false;
  for (const Event& event : script.events) {
    const auto* command = std::get_if<CommandEvent>(&event.what);
    if (command == nullptr) begun = true;
    else if (begun) out.possible = false;
    else if (const auto setting = setting_of(*command); setting && has(*setting)) out.flags += "," + setting->name + "=" + setting->value;
    if (const auto* code = std::get_if<CodeEvent>(&event.what)) out.possible = out.possible && code->text.find("drops") == std::string::npos;
  }
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) out.text += (line.starts_with("`") ? "" : line) + "\n";
  return out;
}

TEST(So, EveryScriptThatTheTableCanPlay) {
  std::set<std::string> called;
  std::size_t played = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder("IOPKT_SOURCE_DIR") + "/tests/script")) {
    if (entry.path().extension() != ".pkt") continue;
    std::ifstream in(entry.path());
    std::ostringstream text;
    text << in.rdbuf();
    const Prepared script = prepare(text.str());
    if (!script.possible) continue;
    Loaded system{library(), script.flags};
    const std::string wrong = play_text(entry.path().filename().string(), script.text, system);
    EXPECT_TRUE(wrong.empty()) << wrong;
    for (const auto& [name, count] : system.calls()) called.insert(name);
    ++played;
  }
  EXPECT_GT(played, 150u);
  for (const char* name : {"socket", "bind", "listen", "accept", "connect", "read", "readv", "recv", "recvfrom", "recvmsg", "write",
                           "writev", "send", "sendto", "sendmsg", "fcntl", "ioctl", "close", "shutdown", "getsockopt", "setsockopt",
                           "poll", "netdev_send", "netdev_receive", "usleep", "gettimeofday"})
    EXPECT_TRUE(called.contains(name)) << name << " was never called by a script";
}

TEST(So, WhatIsNoSocketsIsRefusedByName) {
  const Loaded system{library(), ""};
  const packetdrill_interface& t = system.table();
  epoll_event event{};
  int fds[2];
  EXPECT_EQ(t.epoll_create(t.userdata, 1), -1);
  EXPECT_EQ(errno, ENOSYS);
  EXPECT_EQ(t.epoll_ctl(t.userdata, 3, EPOLL_CTL_ADD, 4, &event), -1);
  EXPECT_EQ(errno, ENOSYS);
  EXPECT_EQ(t.epoll_wait(t.userdata, 3, &event, 1, 0), -1);
  EXPECT_EQ(errno, ENOSYS);
  EXPECT_EQ(t.pipe(t.userdata, fds), -1);
  EXPECT_EQ(errno, ENOSYS);
  EXPECT_EQ(t.splice(t.userdata, 3, nullptr, 4, nullptr, 1, 0), -1);
  EXPECT_EQ(errno, ENOSYS);
}

TEST(So, ErrorsAreErrnos) {
  const Loaded system{library(), ""};
  const packetdrill_interface& t = system.table();
  EXPECT_EQ(t.listen(t.userdata, 77, 1), -1);
  EXPECT_EQ(errno, EBADF);
  char byte;
  EXPECT_EQ(t.read(t.userdata, 77, &byte, 1), -1);
  EXPECT_EQ(errno, EBADF);
  const iovec piece{&byte, 1};
  EXPECT_EQ(t.readv(t.userdata, 77, &piece, -1), -1);
  EXPECT_EQ(errno, EINVAL);
}

TEST(So, NothingLeavesAndNobodyWaitsForEver) {
  Loaded system{library(), ""};
  EXPECT_FALSE(system.sniff().has_value());
}

TEST(So, FlagsAreCheckedByName) {
  EXPECT_THROW(Loaded(library(), "nonsense=1"), std::runtime_error);
  EXPECT_THROW(Loaded(library(), "shards"), std::runtime_error);
  EXPECT_THROW(Loaded("/nowhere.so", ""), std::runtime_error);
  Loaded system{library(), "shards=3,net.inet.tcp.delack=10"};
  EXPECT_NE(system.table().userdata, nullptr);
}

}  // namespace
}  // namespace iopkt::script
