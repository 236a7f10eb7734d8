// The process as a shell sees it: statuses, what is on standard error, what is left behind. Each case is a
// child process with a small engine in place of the stack.
#include "application.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "crash.hpp"
#include "ipc/instances.hpp"
#include "privileges.hpp"

namespace iopkt::daemon {
namespace {

using testing::HasSubstr;
using testing::Not;
namespace fs = std::filesystem;

/// Does nothing but wait for the end.
class IdleEngine final : public Engine, private DriverHost {
 public:
  explicit IdleEngine(const EngineContext& context) : context_(context) {}
  DriverHost& driver_host() override { return *this; }
  Expected<void, StartFault> start(Plugins& plugins) override {
    plugins_ = &plugins;
    if (context_.options.tcpip.somaxconn == 65535)
      return unexpected(StartFault{1, "the engine does not start"});
    context_.log.write(LogLevel::info, "threads " + std::to_string(context_.threads));
    return {};
  }
  int run(int end) override {
    pollfd wait{.fd = end, .events = POLLIN, .revents = 0};
    while (::poll(&wait, 1, -1) < 0) {
    }
    return 0;
  }
  void stop() override {
    for (AttachedInterface* interface : plugins_->interfaces()) interface->ops.stop(interface->info.device);
  }

 private:
  iopkt_frame* alloc(std::uint32_t) override { return nullptr; }
  void release(iopkt_frame*) override {}
  void link_state(AttachedInterface&) override {}
  void log(LogLevel level, std::string_view line) override { context_.log.write(level, line); }
  bool name_taken(std::string_view) override { return false; }

  EngineContext context_;
  Plugins* plugins_{};
};

std::unique_ptr<Engine> make_idle_engine(const EngineContext& context) {
  return std::make_unique<IdleEngine>(context);
}

class ApplicationTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* build = std::getenv("IOPKT_BUILD_DIR");
    if (!build) GTEST_SKIP() << "IOPKT_BUILD_DIR is not set; run by ctest";
    char pattern[] = "/tmp/iopkt-application-XXXXXX";
    ASSERT_NE(::mkdtemp(pattern), nullptr);
    base = pattern;
    ::setenv("IOPKT_RUN_DIR", (base + "/run").c_str(), 1);
    ::setenv("IOPKT_DRIVER_PATH", (std::string{build} + "/tests/drivers").c_str(), 1);
    ::unsetenv("NOTIFY_SOCKET");
  }
  void TearDown() override {
    if (pid > 0) ::kill(pid, SIGKILL), ::waitpid(pid, nullptr, 0);
    ::unsetenv("IOPKT_RUN_DIR");
    ::unsetenv("IOPKT_DRIVER_PATH");
    if (!base.empty()) fs::remove_all(base);
  }

  /// Starts the program with both outputs in one pipe.
  void start(std::vector<std::string> words) {
    int ends[2];
    ASSERT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    pid = ::fork();
    if (pid == 0) {
      ::dup2(ends[1], 1);
      ::dup2(ends[1], 2);
      ::close(ends[0]);
      ::close(ends[1]);
      const rlimit none{};
      ::setrlimit(RLIMIT_CORE, &none);
      std::vector<const char*> argv{"io-pkt-v4-hc"};
      for (const std::string& word : words) argv.push_back(word.c_str());
      ::exit(daemon::run(Variant::v4_hc, static_cast<int>(argv.size()), argv.data(), make_idle_engine));
    }
    ::close(ends[1]);
    output_fd = ends[0];
  }
  /// Reads until `text` was printed.
  void await(const std::string& text) {
    while (output.find(text) == output.npos && read_some()) {
    }
    ASSERT_THAT(output, HasSubstr(text));
  }
  bool read_some() {
    char bytes[4096];
    const ssize_t size = ::read(output_fd, bytes, sizeof bytes);
    if (size > 0) output.append(bytes, static_cast<std::size_t>(size));
    return size > 0;
  }
  /// Until the process has ended: its wait status.
  int end() {
    while (read_some()) {
    }
    ::close(output_fd);
    int status = 0;
    ::waitpid(pid, &status, 0);
    pid = 0;
    return status;
  }
  int status_of(std::vector<std::string> words) {
    output.clear();
    start(std::move(words));
    const int status = end();
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  std::string prefix() const { return "prefix=" + base + "/net"; }

  std::string base, output;
  pid_t pid{};
  int output_fd{-1};
};

TEST_F(ApplicationTest, PrintsWhatItIsAskedFor) {
  EXPECT_EQ(status_of({"--version"}), 0);
  EXPECT_THAT(output, HasSubstr("io-pkt-v4-hc 0."));
  EXPECT_EQ(status_of({"--help"}), 0);
  EXPECT_EQ(output, help_text(Variant::v4_hc));
  EXPECT_EQ(status_of({"-d", "test", "nonsense", "--help"}), 0);
  EXPECT_THAT(output, HasSubstr("Options of driver test: Does what it is told."));
  EXPECT_THAT(output, HasSubstr("Allowed: 0..100 interfaces. Default: 1."));
  EXPECT_EQ(status_of({"--help", "-d", "abc100"}), 2);
  EXPECT_EQ(status_of({"--man"}), 0);
  EXPECT_EQ(output, manual_page(Variant::v4_hc));
}

TEST_F(ApplicationTest, AWrongCommandLineIsOneLineAndStatus2AndTouchesNothing) {
  const struct {
    std::vector<std::string> words;
    const char* line;
  } rows[] = {
      {{"-t", "0"}, "io-pkt-v4-hc: option -t 0: below the minimum; allowed: 1..64 threads\n"},
      {{"-q1"}, "io-pkt-v4-hc: option -q: not built yet\n"},
      {{"--foreground", "-d", "test", "count=101", "-ptcpip", prefix()},
       "io-pkt-v4-hc: driver test: option count=101: above the maximum; allowed: 0..100 interfaces\n"},
      {{"--foreground", "-d", "test", "-d", "test", "unit=x", "-ptcpip", prefix()},
       "io-pkt-v4-hc: driver test: option unit=x: not a number; allowed: 0..32767\n"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(status_of(row.words), 2);
    EXPECT_EQ(output, row.line);
    EXPECT_FALSE(fs::exists(base + "/net"));
  }
  EXPECT_EQ(status_of({"--foreground", "-d", "abc100", "-ptcpip", prefix()}), 2);
  EXPECT_THAT(output, HasSubstr("no devnp-abc100.so in"));
}

TEST_F(ApplicationTest, AFailedStartIsStatus1AndLeavesNothing) {
  EXPECT_EQ(status_of({"--foreground", "-d", "test", "count=2", "-d", "test", "fail=5", "-ptcpip", prefix()}),
            1);
  EXPECT_THAT(
      output,
      HasSubstr("io-pkt-v4-hc: driver test: cannot start: Input/output error (the device is on fire)\n"));
  EXPECT_THAT(output, HasSubstr("test 1: detach"));  // of the first driver
  EXPECT_EQ(status_of({"--foreground", "-d", "test", "-ptcpip", prefix() + ",somaxconn=65535"}), 1);
  EXPECT_THAT(output, HasSubstr("io-pkt-v4-hc: the engine does not start\n"));
  EXPECT_THAT(output, HasSubstr("test 0: stop"));
  EXPECT_THAT(output, HasSubstr("test 0: detach"));
  EXPECT_FALSE(fs::exists(base + "/net"));
  EXPECT_TRUE(fs::is_empty(base + "/run"));
}

TEST_F(ApplicationTest, RunsInTheForegroundUntilSigterm) {
  start({"--foreground", "-t100", "-ptcpip", prefix()});
  EXPECT_EQ(WEXITSTATUS(end()), 2);
  output.clear();
  start({"--foreground", "-i3", "-t", "64", "-d", "test", "name=en", "-ptcpip", prefix() + ",stacksize=1"});
  await("up: io-pkt-v4-hc");
  EXPECT_THAT(output, HasSubstr(", en0"));
  EXPECT_THAT(output, HasSubstr("threads 64"));
  EXPECT_THAT(output, HasSubstr("option stacksize=1: raised to"));
  const auto records = ipc::list_instances();
  ASSERT_EQ(records.size(), 1u);
  EXPECT_EQ(records[0].pid, pid);
  EXPECT_EQ(records[0].instance, 3u);
  ::kill(pid, SIGTERM);
  const int status = end();
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_THAT(output, HasSubstr("ending: SIGTERM"));
  EXPECT_THAT(output, HasSubstr("test 0: stop"));
  EXPECT_THAT(output, HasSubstr("test 0: detach"));
  EXPECT_FALSE(fs::exists(base + "/net"));
  EXPECT_TRUE(fs::is_empty(base + "/run"));
}

TEST_F(ApplicationTest, GoesToTheBackgroundWhenUp) {
  EXPECT_EQ(status_of({"-d", "test", "-ptcpip", prefix()}), 0);
  EXPECT_EQ(output, "");
  const auto records = ipc::list_instances();
  ASSERT_EQ(records.size(), 1u);
  const pid_t background = records[0].pid;
  EXPECT_EQ(::getsid(background), background);
  EXPECT_EQ(status_of({"-ptcpip", prefix()}), 1) << "a second one starts";
  EXPECT_THAT(output, HasSubstr("io-pkt-v4-hc: instance 0 is running already: process " +
                                std::to_string(background)));
  EXPECT_EQ(status_of({"-i1", "-ptcpip", prefix()}), 1);
  EXPECT_THAT(output, HasSubstr("is in use: process " + std::to_string(background)));
  ASSERT_EQ(::kill(background, SIGTERM), 0);
  while (ipc::process_start_ticks(background) == records[0].start_ticks && fs::exists(base + "/net"))
    ::usleep(1000);
  EXPECT_FALSE(fs::exists(base + "/net"));
}

TEST_F(ApplicationTest, AFailureOnTheWayToTheBackgroundIsTheCallersStatus) {
  EXPECT_EQ(status_of({"-d", "test", "fail=5", "-ptcpip", prefix()}), 1);
  EXPECT_THAT(output, HasSubstr("driver test: cannot start: Input/output error"));
  EXPECT_EQ(status_of({"-d", "test", "nonsense", "-ptcpip", prefix()}), 2);
}

TEST_F(ApplicationTest, AFaultStopsTheDriversBeforeItEndsTheProcess) {
  for (const int signal : {SIGSEGV, SIGABRT}) {
    output.clear();
    start({"--foreground", "-d", "test", "count=2", "-ptcpip", prefix()});
    await("up: ");
    ::kill(pid, signal);
    const int status = end();
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << status;
    EXPECT_THAT(output, HasSubstr("test 1: stop"));
    EXPECT_THAT(output, HasSubstr("test 0: detach"));
  }
}

TEST_F(ApplicationTest, WithoutTheHandlerAFaultEndsItAtOnce) {
  start({"--foreground", "-S", "-d", "test", "-ptcpip", prefix()});
  await("up: ");
  ::kill(pid, SIGSEGV);
  const int status = end();
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  EXPECT_NE(status, 0) << "the sanitizer's own handler ends it";
#else
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
#endif
  EXPECT_THAT(output, Not(HasSubstr("test 0: stop")));
}

// ---- crash hooks alone ----

void hang(void*) {
  for (;;) ::pause();
}
void touch_nothing(void* argument) { *static_cast<volatile int*>(argument) = 1; }

TEST(CrashHook, OneThatFailsOrHangsDoesNotKeepTheProcess) {
  int* const nowhere = reinterpret_cast<int*>(8);
  const struct {
    CrashHook hook;
    void* argument;
  } rows[] = {{hang, nullptr}, {touch_nothing, nowhere}};
  for (const auto& row : rows) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      const rlimit none{};
      ::setrlimit(RLIMIT_CORE, &none);
      ::close(2);
      install_crash_handler();
      add_crash_hook(row.hook, row.argument);
      touch_nothing(nowhere);
      ::_exit(0);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV) << status;
  }
}

TEST(CrashHook, IsRemovedByBothItsParts) {
  int a = 0, b = 0;
  EXPECT_TRUE(add_crash_hook(touch_nothing, &a));
  EXPECT_TRUE(add_crash_hook(touch_nothing, &b));
  remove_crash_hook(touch_nothing, &a);
  const pid_t pid = ::fork();
  if (pid == 0) {
    remove_crash_hook(touch_nothing, &b);
    install_crash_handler();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
  remove_crash_hook(touch_nothing, &b);
}

/// A line of /proc/self/status in hexadecimal.
std::uint64_t capabilities(const std::string& key) {
  std::ifstream file{"/proc/self/status"};
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key)) return std::stoull(line.substr(key.size() + 1), nullptr, 16);
  return 0;
}

TEST(Privileges, HardwareIoIsGivenUpAndNothingElse) {
  const std::uint64_t before = capabilities("CapEff:"), raw_io = std::uint64_t{1} << 17;  // CAP_SYS_RAWIO
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (!give_up_hardware_io()) ::_exit(1);
    if (capabilities("CapEff:") != (before & ~raw_io)) ::_exit(2);
    if (capabilities("CapPrm:") & raw_io) ::_exit(3);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(Privileges, AnIommuIsOneThatTheKernelShows) {
  const auto missing = check_iommu("/nonexistent");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().status, StartFault::kFailed);
  EXPECT_EQ(missing.error().line, "option smmu=on: there is no IOMMU in /nonexistent");
  EXPECT_TRUE(check_iommu("/proc/self").has_value());
}

TEST(Privileges, WhatTheProcessHas) {
  EXPECT_GE(usable_cpus(), 1u);
  EXPECT_GT(raise_descriptor_limit(), 0u);
  EXPECT_TRUE(check_random_source());
}

}  // namespace
}  // namespace iopkt::daemon
