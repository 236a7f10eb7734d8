// The plug-in boundary: search, checks, option lists, names, half-way failures, unloading. Drivers:
// tests/drivers/.
#include "plugins.hpp"

#include <dlfcn.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdlib>
#include <set>

namespace iopkt::daemon {
namespace {

using testing::HasSubstr;

class RecordingHost : public DriverHost {
 public:
  iopkt_frame* alloc(std::uint32_t) override { return nullptr; }
  void release(iopkt_frame*) override {}
  void link_state(AttachedInterface& interface) override {
    lines.push_back(interface.name + (interface.link_up ? " up " : " down ") +
                    std::to_string(interface.speed_mbps));
  }
  void log(LogLevel, std::string_view line) override { lines.emplace_back(line); }
  bool name_taken(std::string_view name) override { return taken.contains(std::string{name}); }

  std::vector<std::string> lines;
  std::set<std::string> taken;
};

class PluginsTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* build = std::getenv("IOPKT_BUILD_DIR");
    if (!build) GTEST_SKIP() << "IOPKT_BUILD_DIR is not set; run by ctest";
    directory = std::string{build} + "/tests/drivers";
    plugins.emplace(
        host, PluginSettings{.path = {"/nonexistent", directory}, .load_stack = 512 * 1024, .rx_queues = 2});
  }

  std::vector<std::string> load(const std::string& options, const std::string& driver = "test") {
    auto attached = plugins->load({driver, options});
    if (!attached) {
      ADD_FAILURE() << attached.error().line;
      return {};
    }
    std::vector<std::string> names;
    for (const AttachedInterface* interface : *attached) names.push_back(interface->name);
    return names;
  }

  std::string refused(const std::string& options, PluginFault::Kind kind,
                      const std::string& driver = "test") {
    const auto attached = plugins->load({driver, options});
    EXPECT_FALSE(attached) << options;
    if (attached) return {};
    EXPECT_EQ(attached.error().kind, kind);
    EXPECT_EQ(attached.error().line.find('\n'), std::string::npos);
    return attached.error().line;
  }

  bool is_loaded() const {
    void* object = ::dlopen((directory + "/devnp-test.so").c_str(), RTLD_NOW | RTLD_NOLOAD);
    if (object) ::dlclose(object);
    return object != nullptr;
  }

  std::string directory;
  RecordingHost host;
  std::optional<Plugins> plugins;
};

using Kind = PluginFault::Kind;
using Names = std::vector<std::string>;

TEST_F(PluginsTest, FindsADriverByAnyOfItsNames) {
  EXPECT_EQ(load("", "test"), (Names{"test0"}));
  EXPECT_EQ(load("", "devnp-test"), (Names{"test1"}));
  EXPECT_EQ(load("", "test.so"), (Names{"test2"}));
  EXPECT_EQ(load("", "devnp-test.so"), (Names{"test3"}));
  EXPECT_EQ(load("", directory + "/devnp-test.so"), (Names{"test4"}));
  EXPECT_EQ(plugins->interfaces().size(), 5u);
}

TEST_F(PluginsTest, AnUnknownDriverListsTheKnownOnes) {
  const std::string line = refused("", Kind::not_found, "abc100");
  EXPECT_THAT(line, HasSubstr("driver abc100: no devnp-abc100.so in /nonexistent " + directory));
  EXPECT_THAT(line, HasSubstr("known: bad-table no-entry test wrong-abi"));
  EXPECT_THAT(refused("", Kind::not_found, "/nowhere/devnp-x.so"), HasSubstr("No such file or directory"));
}

TEST_F(PluginsTest, WhatIsNoDriverIsRefused) {
  EXPECT_THAT(refused("", Kind::unusable, "wrong-abi"), HasSubstr("built for driver ABI 99"));
  EXPECT_THAT(refused("", Kind::unusable, "no-entry"), HasSubstr("not a driver"));
  EXPECT_THAT(refused("", Kind::unusable, "bad-table"), HasSubstr("option mtu: every driver has it"));
  EXPECT_THAT(refused("", Kind::unusable, "/proc/self/status"), HasSubstr("driver /proc/self/status: "));
}

TEST_F(PluginsTest, NamesAndUnits) {
  EXPECT_EQ(load("count=2"), (Names{"test0", "test1"}));
  EXPECT_EQ(load("name=en"), (Names{"en0"}));
  EXPECT_EQ(load("name=en"), (Names{"en1"}));
  EXPECT_EQ(load("name=wan,unit=7"), (Names{"wan7"}));
  EXPECT_EQ(load("name=wan,unit=-5"), (Names{"wan0"}));
  EXPECT_EQ(load("name=wan,unit=3,unit=-1"), (Names{"wan1"}));
  EXPECT_EQ(load("unit=0x10,count=2"), (Names{"test16", "test17"}));
  EXPECT_EQ(load("prefix=ab"), (Names{"ab0"}));
  EXPECT_EQ(load("prefix=ab,name=cd"), (Names{"cd0"}));
  host.taken = {"ef0", "ef2"};
  EXPECT_EQ(load("name=ef,count=2"), (Names{"ef1", "ef3"}));
  EXPECT_THAT(refused("name=ef,unit=2", Kind::failed), HasSubstr("an interface ef2 is there already"));
  EXPECT_THAT(refused("name=wan,unit=7", Kind::failed), HasSubstr("wan7"));
}

TEST_F(PluginsTest, PrefixesOfCreatedInterfacesAreNeverADrivers) {
  EXPECT_THAT(refused("prefix=tap", Kind::failed), HasSubstr("'tap' is the prefix of created interfaces"));
  EXPECT_THAT(refused("name=lo", Kind::bad_option),
              HasSubstr("option name=lo: the prefix of created interfaces"));
  EXPECT_THAT(refused("prefix=a/b", Kind::failed), HasSubstr("cannot be the prefix"));
  EXPECT_THAT(refused("name=abcdefghijklmn,unit=10", Kind::failed), HasSubstr("longer than 15"));
}

TEST_F(PluginsTest, OptionsThatAreRefused) {
  const struct {
    const char *options, *part;
  } rows[] = {
      {"nonsense=1", "driver test: unknown option nonsense; known: count fail prefix"},
      {"nonsense", "mac mtu name unit verbose"},
      {"did=0x1234", "driver test: option did=0x1234: chooses a USB device, and this driver is for none"},
      {"vid=1", "option vid=1: chooses a USB device"},
      {"busno", "option busno: chooses a USB device"},
      {"devno=2", "option devno=2: chooses a USB device"},
      {"count=101", "driver test: option count=101: above the maximum; allowed: 0..100 interfaces"},
      {"count", "option count: needs a value"},
      {"count=x", "option count=x: not a number"},
      {"text=a", "option text=a: allowed: 2..5 characters"},
      {"text=abcdef", "allowed: 2..5"},
      {"flag=2", "option flag=2: above the maximum; allowed: nothing, 0 or 1"},
      {"station=0011", "option station=0011: not allowed; allowed: twelve"},
      {"mac=12345678", "option mac=12345678: not allowed; allowed: twelve"},
      {"mac", "option mac: needs a value"},
      {"mtu=67", "option mtu=67: below the minimum; allowed: 68..65535 bytes"},
      {"verbose=11", "option verbose=11: above the maximum; allowed: 0..10"},
      {"unit=x", "option unit=x: not a number"},
      {"unit=40000", "option unit=40000: above the maximum"},
      {"name=en0", "option name=en0: not allowed"},
      {"name=", "option name=: not allowed"},
      {"count=1,", "empty word"},
      {",count=1", "empty word"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.options);
    EXPECT_THAT(refused(row.options, Kind::bad_option), HasSubstr(row.part));
  }
  EXPECT_FALSE(is_loaded());
  EXPECT_TRUE(host.lines.empty()) << "the driver was called: " << host.lines[0];
}

TEST_F(PluginsTest, ValuesArriveInTheDriversOrder) {
  auto driver = plugins->prepare(
      {"test", "flag,text=xyz,station=00:11:22:33:44:55,verbose,mac=02-00-00-00-00-09,mtu=0x5dc"});
  ASSERT_TRUE(driver) << driver.error().line;
  const DriverOptions& options = (*driver)->options();
  ASSERT_EQ(options.values.size(), (*driver)->record().option_count);
  EXPECT_EQ(options.values[0].number, 1);  // count: initial
  EXPECT_FALSE(options.values[0].given);
  EXPECT_EQ(options.values[2].text, nullptr);
  EXPECT_STREQ(options.values[6].text, "xyz");
  EXPECT_EQ(options.values[7].number, 1);
  EXPECT_EQ(options.values[8].mac[5], 0x55);
  EXPECT_EQ(options.generic.verbose, 1u);
  EXPECT_EQ(options.generic.mtu, 1500u);
  EXPECT_TRUE(options.generic.mac_given);
  EXPECT_EQ(options.generic.mac[5], 9);
  EXPECT_EQ(options.generic.rx_queues, 2u);
  EXPECT_TRUE(host.lines.empty()) << "prepare touched the device";
}

TEST_F(PluginsTest, RecordsOwnWhatTheDriverOnlyLent) {
  load("mac=020000000001,mtu=1400");
  const AttachedInterface* interface = plugins->find("test0");
  ASSERT_NE(interface, nullptr);
  EXPECT_STREQ(interface->info.description, "test device 0");
  EXPECT_STREQ(interface->info.prefix, "test");
  EXPECT_EQ(interface->info.mac[0], 2);
  EXPECT_EQ(interface->info.mtu, 1400u);
  EXPECT_TRUE(interface->link_up);
  EXPECT_EQ(interface->speed_mbps, 10u);
  EXPECT_EQ(interface->ops.set_mac, nullptr);
  EXPECT_EQ(interface->info.ops, &interface->ops);
}

TEST_F(PluginsTest, SenselessDevicesAreRefused) {
  const struct {
    const char *options, *part;
  } rows[] = {
      {"mtu_min=67", "MTU 1500 of 67..9000 makes no sense"},
      {"mtu_max=1499", "makes no sense"},
      {"mtu_max=70000", "makes no sense"},
      {"queues=0", "1..64 queues"},
      {"queues=65", "1..64 queues"},
      {"no_ops", "transmit"},
      {"openings=1", "no receive queue for what does not open connections"},
      {"queues=2,openings=3", "no receive queue for what does not open connections"},
      {"mtu=9001", "option mtu=9001: this device allows 68..9000 bytes"},
      {"count=65", "more than 64 interfaces"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.options);
    EXPECT_THAT(refused(row.options, Kind::failed), HasSubstr(row.part));
  }
  EXPECT_TRUE(plugins->interfaces().empty());
}

/// The record has grown at its end: what an older driver has there is not the stack's to read.
TEST_F(PluginsTest, OfAnOlderDriverOnlyWhatItKnowsIsRead) {
  load("queues=2,openings=1,prefix=new");
  load("queues=2,openings=3,older,prefix=old");
  const AttachedInterface *next = plugins->find("new0"), *older = plugins->find("old0");
  ASSERT_TRUE(next != nullptr && older != nullptr);
  EXPECT_EQ(next->info.openings_queues, 1u);
  EXPECT_EQ(older->info.openings_queues, 0u);
  EXPECT_STREQ(older->info.description, "test device 0");
  EXPECT_EQ(older->info.size, sizeof older->info);
}

TEST_F(PluginsTest, AFailureHalfWayDetachesWhatWasAttached) {
  const std::string line = refused("count=3,fail=5", Kind::failed);
  EXPECT_THAT(line, HasSubstr("driver test: cannot start: Input/output error (the device is on fire)"));
  EXPECT_EQ(host.lines,
            (Names{"test 2: detach", "test 1: detach", "test 0: detach",
                   "driver test: cannot start: Input/output error (the device is on fire)"}));
  EXPECT_TRUE(plugins->interfaces().empty());
  EXPECT_FALSE(is_loaded());

  host.lines.clear();
  host.taken = {"test8"};
  refused("count=2,unit=7", Kind::failed);  // the second name is taken
  EXPECT_EQ(host.lines, (Names{"test 0: detach",
                               "driver test: cannot start: File exists (an interface test8 is there already)"}));
  EXPECT_EQ(load(""), (Names{"test0"})) << "names of a failed driver are free again";
}

TEST_F(PluginsTest, ADriverWithoutADeviceIsAnError) {
  const auto attached = plugins->load({"test", "count=0"});
  ASSERT_FALSE(attached);
  EXPECT_EQ(attached.error().error, ENODEV);
  EXPECT_EQ(plugins->load({"test", "count=0,fail=19"}).error().error, ENODEV);
}

TEST_F(PluginsTest, TheLastInterfaceUnloadsTheDriver) {
  load("count=2");
  load("name=en");
  ASSERT_TRUE(is_loaded());
  plugins->destroy(*plugins->find("test0"));
  plugins->destroy(*plugins->find("test1"));
  EXPECT_TRUE(is_loaded()) << "en0 still needs it";
  plugins->destroy(*plugins->find("en0"));
  EXPECT_FALSE(is_loaded());
  EXPECT_EQ(host.lines, (Names{"test 0: detach", "test 1: detach", "test 0: detach"}));
  EXPECT_EQ(load(""), (Names{"test0"}));
}

TEST_F(PluginsTest, TheEndDetachesEverything) {
  load("count=2");
  load("name=en");
  plugins.reset();
  EXPECT_EQ(host.lines, (Names{"test 0: detach", "test 1: detach", "test 0: detach"}));
  EXPECT_FALSE(is_loaded());
}

TEST_F(PluginsTest, AttachAfterOpenIsRefusedAndLinkStateIsTold) {
  load("late");
  AttachedInterface* interface = plugins->find("test0");
  ASSERT_NE(interface, nullptr);
  EXPECT_EQ(interface->ops.start(interface->info.device), -EPERM);
  EXPECT_EQ(host.lines, (Names{"test 0: start", "test0 down 100"}));
  EXPECT_FALSE(interface->link_up);
  EXPECT_EQ(plugins->interfaces().size(), 1u);
}

TEST_F(PluginsTest, DriversAreOpenedOnAStackOfTheGivenSize) {
  load("stack");
  ASSERT_EQ(host.lines.size(), 1u);
#if defined(__SANITIZE_THREAD__)
  EXPECT_TRUE(host.lines[0].starts_with("stack ")) << "the sanitizer adds its own";
#else
  EXPECT_EQ(host.lines[0], "stack 524288");
#endif
}

TEST(DriverPath, BeginsWithTheVariableAndEndsWithTheLibraryPath) {
  ::setenv("IOPKT_DRIVER_PATH", "/a::relative:/b", 1);
  const char* saved = std::getenv("LD_LIBRARY_PATH");
  const std::string restore = saved ? saved : "";
  ::setenv("LD_LIBRARY_PATH", "/z", 1);
  const auto path = driver_path();
  ::unsetenv("IOPKT_DRIVER_PATH");
  saved ? ::setenv("LD_LIBRARY_PATH", restore.c_str(), 1) : ::unsetenv("LD_LIBRARY_PATH");
  ASSERT_EQ(path.size(), 4u);
  EXPECT_EQ(path[0], "/a");
  EXPECT_EQ(path[1], "/b");
  EXPECT_TRUE(path[2].ends_with("/lib/io-pkt"));
  EXPECT_EQ(path[3], "/z");
}

}  // namespace
}  // namespace iopkt::daemon
