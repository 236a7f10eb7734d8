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
Prepared prepare(const std::string& text, wire::IpFamily family) {
  Prepared out;
  const Script script = parse(text);
  out.flags = "shards=2";
  out.possible = std::ranges::count(families_of(script), family) != 0;
  out.flags += ",mtu=" + std::to_string(machine_options(script, 2, family).mtu);
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

/// Plays what the table can play; answers what was called, by name.
std::set<std::string> play_all(wire::IpFamily family, std::size_t& played) {
  std::set<std::string> called;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder("IOPKT_SOURCE_DIR") + "/tests/script")) {
    if (entry.path().extension() != ".pkt") continue;
    std::ifstream in(entry.path());
    std::ostringstream text;
    text << in.rdbuf();
    const Prepared script = prepare(text.str(), family);
    if (!script.possible) continue;
    Loaded system{library(), script.flags, family};
    const std::string wrong = play_text(entry.path().filename().string(), script.text, system);
    EXPECT_TRUE(wrong.empty()) << wrong;
    for (const auto& [name, count] : system.calls()) called.insert(name);
    ++played;
  }
  return called;
}

TEST(So, EveryScriptThatTheTableCanPlay) {
  std::size_t played = 0;
  const std::set<std::string> called = play_all(wire::IpFamily::v4, played);
  EXPECT_GT(played, 150u);
  for (const char* name : {"socket", "bind", "listen", "accept", "connect", "read", "readv", "recv", "recvfrom", "recvmsg", "write",
                           "writev", "send", "sendto", "sendmsg", "fcntl", "ioctl", "close", "shutdown", "getsockopt", "setsockopt",
                           "poll", "netdev_send", "netdev_receive", "usleep", "gettimeofday", "epoll_create", "epoll_ctl", "epoll_wait",
                           "pipe", "splice"})
    EXPECT_TRUE(called.contains(name)) << name << " was never called by a script";
}

TEST(So, TheSameOverIpv6) {
  std::size_t played = 0;
  static_cast<void>(play_all(wire::IpFamily::v6, played));
  EXPECT_GT(played, 150u);
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
  epoll_event event{};
  EXPECT_EQ(t.epoll_create(t.userdata, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(t.epoll_wait(t.userdata, 77, &event, 1, 0), -1);
  EXPECT_EQ(errno, EBADF);
  const int epoll = t.epoll_create(t.userdata, 1);
  EXPECT_EQ(t.epoll_wait(t.userdata, epoll, &event, 0, 0), -1);
  EXPECT_EQ(errno, EINVAL);
  EXPECT_EQ(t.epoll_ctl(t.userdata, epoll, EPOLL_CTL_ADD, epoll, nullptr), -1);
  EXPECT_EQ(errno, EFAULT);
  loff_t at = 0;
  EXPECT_EQ(t.splice(t.userdata, 3, &at, 4, nullptr, 1, 0), -1);
  EXPECT_EQ(errno, ESPIPE);
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
