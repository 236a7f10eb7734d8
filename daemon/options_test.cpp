// Every row of the command line: default, bounds, rounding; and the words of the manual's examples.
#include "options.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "option_tables.hpp"

namespace iopkt::daemon {
namespace {

using Line = std::vector<std::string>;

Expected<Options, std::string> parse(const Line& line, Variant variant = Variant::v4_hc) {
  std::vector<const char*> words;
  for (const std::string& word : line) words.push_back(word.c_str());
  return parse_options(variant, words);
}

Options parsed(const Line& line, Variant variant = Variant::v4_hc) {
  auto options = parse(line, variant);
  EXPECT_TRUE(options) << (options ? "" : options.error());
  return options ? *options : Options{};
}

std::string fault(const Line& line, Variant variant = Variant::v4_hc) {
  const auto options = parse(line, variant);
  EXPECT_FALSE(options) << "accepted";
  return options ? std::string{} : options.error();
}

bool is_numeric(const OptionRow& row) {
  return row.argument == Argument::number || row.argument == Argument::optional_number;
}

// ---- numbers ----

TEST(ReadNumber, IsDecimalOrHexadecimalAndNothingElse) {
  const struct {
    const char* word;
    std::optional<std::int64_t> value;
  } rows[] = {{"0", 0},
              {"10", 10},
              {"010", 10},
              {"0x10", 16},
              {"0XfF", 255},
              {"-1", -1},
              {"-0x2", -2},
              {"", {}},
              {"-", {}},
              {"--1", {}},
              {"0x", {}},
              {"1k", {}},
              {" 1", {}},
              {"1 ", {}},
              {"+1", {}},
              {"0x-1", {}},
              {"1.0", {}},
              {"9223372036854775807", INT64_MAX},
              {"9223372036854775808", {}}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.word);
    const auto value = read_number(row.word);
    EXPECT_EQ(value ? std::optional{*value} : std::nullopt, row.value);
  }
  EXPECT_EQ(read_number("9223372036854775808").error(), NumberFault::too_large);
}

TEST(RoundDownPow2, KeepsPowersAndLowersTheRest) {
  EXPECT_EQ(round_down_pow2(1), 1);
  EXPECT_EQ(round_down_pow2(2048), 2048);
  EXPECT_EQ(round_down_pow2(4095), 2048);
  EXPECT_EQ(round_down_pow2(65535), 32768);
}

// ---- every row ----

TEST(CommandRows, NumbersAreRangeChecked) {
  for (const CommandOption& option : command_options()) {
    const OptionRow& row = option.row;
    if (!is_numeric(row)) continue;
    SCOPED_TRACE(row.name);
    const std::string name{row.name};
    for (const std::int64_t value : {row.min - 1, row.max + 1, std::int64_t{-1}}) {
      const std::string line = fault({name, std::to_string(value)});
      EXPECT_NE(line.find(name + " " + std::to_string(value)), line.npos) << line;
      EXPECT_NE(line.find(std::to_string(row.min) + ".." + std::to_string(row.max)), line.npos) << line;
      EXPECT_EQ(line.find('\n'), line.npos);
    }
    EXPECT_NE(fault({name, "x"}).find("not a number"), std::string::npos);
    EXPECT_NE(fault({name}).find("needs a value"), std::string::npos);
    EXPECT_EQ(default_options(Variant::v4_hc).*option.number, row.initial);
    for (const std::int64_t value : {row.min, row.max}) {
      const Line line{name + std::to_string(value)};
      if (row.built == Built::later)
        EXPECT_EQ(fault(line), "option " + name + ": not built yet");
      else
        EXPECT_EQ(parsed(line).*option.number, name == "-P" ? std::min<std::int64_t>(value, 99) : value);
    }
  }
}

TEST(CommandRows, FlagsAreOffUntilTyped) {
  for (const CommandOption& option : command_options()) {
    if (!option.flag) continue;
    SCOPED_TRACE(option.row.name);
    const std::string name{option.row.name};
    EXPECT_FALSE(default_options(Variant::v4_hc).*option.flag);
    if (option.row.built == Built::later)
      EXPECT_EQ(fault({name}), "option " + name + ": not built yet");
    else
      EXPECT_TRUE(parsed({name}).*option.flag);
  }
}

TEST(TcpipRows, NumbersAreRangeCheckedAndAdjusted) {
  for (const TcpipOption& option : tcpip_options()) {
    const OptionRow& row = option.row;
    if (!is_numeric(row)) continue;
    SCOPED_TRACE(row.name);
    const std::string name{row.name};
    EXPECT_EQ(default_options(Variant::v4_hc).tcpip.*option.number, row.initial);

    for (const std::int64_t value : {row.min - 1, row.max + 1}) {
      if (value < row.min && row.raise_to_min) continue;
      const std::string item = name + "=" + std::to_string(value);
      const std::string line = fault({"-p", "tcpip", item});
      EXPECT_NE(line.find(item), line.npos) << line;
      EXPECT_NE(line.find(allowed_text(row)), line.npos) << line;
    }
    EXPECT_NE(fault({"-ptcpip", name + "="}).find("not a number"), std::string::npos);
    if (row.argument == Argument::number) {
      EXPECT_NE(fault({"-ptcpip", name}).find("needs a value"), std::string::npos);
    }

    for (const std::int64_t value : {row.min, row.max}) {
      std::string list = name + "=" + std::to_string(value);
      if (name == "mclbytes") list += ",pagesize=65536";
      if (name == "threads_min") list += ",threads_max=65536";
      if (name == "threads_max") list += ",threads_min=4";
      if (name == "pagesize") list += ",mclbytes=2048";
      if (row.built == Built::later)
        EXPECT_EQ(fault({"-ptcpip", list}), "option " + name + ": not built yet");
      else
        EXPECT_EQ(parsed({"-ptcpip", list}).tcpip.*option.number, value);
    }
  }
}

TEST(TcpipRows, FlagsAreOffUntilTypedAndTakeNoValue) {
  for (const TcpipOption& option : tcpip_options()) {
    if (!option.flag) continue;
    SCOPED_TRACE(option.row.name);
    const std::string name{option.row.name};
    EXPECT_FALSE(default_options(Variant::v4_hc).tcpip.*option.flag);
    EXPECT_EQ(fault({"-ptcpip", name + "=1"}), "option " + name + "=1: takes no value");
    const Variant variant = name == "forward6" ? Variant::v6_hc : Variant::v4_hc;
    if (option.row.built == Built::later)
      EXPECT_EQ(fault({"-ptcpip", name}, variant), "option " + name + ": not built yet");
    else
      EXPECT_TRUE(parsed({"-ptcpip", name}, variant).tcpip.*option.flag);
  }
}

TEST(TcpipRows, DefaultsOfThePage) {
  const TcpipConfig config = default_options(Variant::v4_hc).tcpip;
  EXPECT_EQ(config.mclbytes, 2048u);
  EXPECT_EQ(config.pagesize, 131072u);
  EXPECT_EQ(config.mtag_cache, 128u);
  EXPECT_EQ(config.num_pool_cache, 1u);
  EXPECT_EQ(config.recv_ctxt, 65536u);
  EXPECT_EQ(config.reply_ctxt, 90u);
  EXPECT_EQ(config.rx_prio, 21u);
  EXPECT_EQ(config.timer_pulse_prio, 21u);
  EXPECT_EQ(config.threads_min, 15u);
  EXPECT_EQ(config.threads_incr, 25u);
  EXPECT_EQ(config.threads_max, 200u);
  EXPECT_EQ(config.somaxconn, static_cast<std::uint32_t>(SOMAXCONN));
  EXPECT_EQ(config.ipid_reserved, 0u);
  EXPECT_EQ(config.num_tap_interface, 5u);
  EXPECT_EQ(config.num_tun_control_interface, 4u);
  EXPECT_EQ(config.bigstack, 0u);
  EXPECT_EQ(config.prefix, "");
  const Options options = parsed({});
  EXPECT_EQ(options, default_options(Variant::v4_hc));
  EXPECT_EQ(options.main_priority, 21u);
  EXPECT_EQ(options.watchdog_priority, 22u);
  EXPECT_EQ(options.drop_user, "99:99,120");
  EXPECT_EQ(options.threads, 0u);
}

TEST(TcpipRows, ValuesAndTheirMeaning) {
  const auto tcpip = [](const std::string& list) { return parsed({"-p", "tcpip", list}).tcpip; };
  EXPECT_EQ(tcpip("bigstack").bigstack, 131072u);
  EXPECT_EQ(tcpip("threads_max=10").threads_min, 10u);
  EXPECT_EQ(tcpip("bigstack=262144").bigstack, 262144u);
  EXPECT_EQ(tcpip("mclbytes=4097").mclbytes, 4096u);
  EXPECT_EQ(tcpip("pagesize=0x30000").pagesize, 0x20000u);
  EXPECT_EQ(tcpip("mclbytes=8192,pagesize=8192"), tcpip("pagesize=8192,mclbytes=8192"));
  EXPECT_EQ(tcpip("ipid_reserved=1024").ipid_reserved, 1024u);
  EXPECT_EQ(tcpip("ipid_reserved=0").ipid_reserved, 0u);
  EXPECT_EQ(tcpip("rx_pulse_prio=50").rx_prio, 50u);
  EXPECT_EQ(tcpip("rx_prio_pulse=50").rx_prio, 50u);
  EXPECT_EQ(tcpip("rx_prio=1,rx_pulse_prio=2").rx_prio, 2u);
  EXPECT_EQ(tcpip("prefix=/alt/").prefix, "/alt");
  EXPECT_EQ(tcpip("prefix=/").prefix, "");
  const TcpipConfig bare = tcpip("pkt_cache=9,cache=0");
  EXPECT_EQ(bare.mbuf_cache + bare.pkt_cache + bare.mtag_cache, 0u);
}

TEST(TcpipRows, RefusedTogetherOrAlone) {
  const struct {
    const char *list, *part;
  } rows[] = {
      {"mclbytes=8192,pagesize=4096", "mclbytes=8192: above pagesize; allowed: 2048..4096 bytes"},
      {"threads_min=300", "threads_min=300: above threads_max; allowed: 4..200"},
      {"threads_max=10,threads_min=11", "threads_min=11: above threads_max; allowed: 4..10"},
      {"ipid_reserved=3", "ipid_reserved=3: not allowed; allowed: 0, or a power of two"},
      {"ipid_reserved=1", "ipid_reserved=1: not allowed"},
      {"prefix=alt", "prefix=alt: not allowed; allowed: a path that begins with '/'"},
      {"prefix", "prefix: needs a value"},
      {"cache=2", "cache=2: above the maximum; allowed: 0..1"},
      {"nonsense=1", "unknown option nonsense of -p tcpip; known: bigpage_strict"},
      {"prefix=/a,,stackguard", "empty word"},
      {"prefix=/a,", "empty word"},
      {",", "empty word"},
      {"forward6", "forward6: only for io-pkt-v6-hc"},
      {"mfib_gid_map=750_16", "mfib_gid_map=750_16: not allowed; allowed: gid_fib"},
      {"mfib_gid_map=750_1;760_2", "mfib_gid_map: not built yet"},
      {"pkt_typed_mem=flash", "pkt_typed_mem=flash: not allowed; allowed: ram, ram/dma"},
      {"pkt_typed_mem=ram/dma", "pkt_typed_mem: not built yet"},
      {"ipsec,mclbytes=1", "mclbytes=1: below the minimum"},  // values before what is not built
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.list);
    const std::string line = fault({"-ptcpip", row.list});
    EXPECT_NE(line.find(row.part), line.npos) << line;
  }
}

TEST(TcpipRows, APrefixFitsASocketAddress) {
  // 108 bytes of sun_path: the prefix, /dev/socket/, a name of 16 bytes, and the NUL.
  const std::string longest = "/" + std::string(78, 'x');
  EXPECT_EQ(parsed({"-ptcpip", "prefix=" + longest}).tcpip.prefix, longest);
  EXPECT_NE(fault({"-ptcpip", "prefix=" + longest + "x"})
                .find("too long for a socket address; allowed: at most 79 bytes"),
            std::string::npos);
}

TEST(TcpipRows, AnIommuIsWantedByWordAndNonsenseIsLoggedAsOff) {
  const struct {
    const char *list, *means;
    std::size_t notes;
  } rows[] = {{"smmu=on", "on", 0}, {"smmu=1", "on", 0}, {"smmu=off", "off", 0}, {"smmu=0", "off", 0}, {"smmu=perhaps", "off", 1}};
  for (const auto& row : rows) {
    SCOPED_TRACE(row.list);
    const Options options = parsed({"-ptcpip", row.list});
    EXPECT_EQ(options.tcpip.smmu, row.means);
    ASSERT_EQ(options.notes.size(), row.notes);
    if (row.notes != 0) {
      EXPECT_EQ(options.notes[0], "option smmu=perhaps: not 0, 1, off or on; taken as off");
    }
  }
  EXPECT_EQ(parsed({}).tcpip.smmu, "off");
}

TEST(TcpipRows, StacksAreRaisedAndRoundedWithANote) {
  Options options = parsed({"-ptcpip", "stacksize=8192"});
  EXPECT_EQ(options.tcpip.stacksize, 32768u);
  ASSERT_EQ(options.notes.size(), 1u);
  EXPECT_NE(options.notes[0].find("stacksize=8192: raised to 32768"), std::string::npos);

  options = parsed({"-ptcpip", "stacksize=65537,stackguard"});
  EXPECT_EQ(options.tcpip.stacksize % static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE)), 0u);
  EXPECT_GT(options.tcpip.stacksize, 65537u);
  ASSERT_EQ(options.notes.size(), 1u);
  EXPECT_NE(options.notes[0].find(std::to_string(options.tcpip.stacksize)), std::string::npos);

  EXPECT_TRUE(parsed({"-ptcpip", "stacksize=65536,stackguard"}).notes.empty());
  EXPECT_EQ(parsed({"-ptcpip", "stacksize=65537"}).tcpip.stacksize, 65537u);
}

TEST(Priorities, AboveTheSystemsHighestAreLoweredWithANote) {
  const Options options = parsed({"-P", "255"});
  EXPECT_EQ(options.main_priority, 99u);
  ASSERT_EQ(options.notes.size(), 1u);
  EXPECT_NE(options.notes[0].find("-P 255"), std::string::npos);
  EXPECT_TRUE(parsed({"-P99"}).notes.empty());
  EXPECT_TRUE(parsed({"-P99"}).was_given("-P"));
  EXPECT_FALSE(parsed({}).was_given("-P"));
}

// ---- words ----

TEST(Words, CommandLinesOfThePage) {
  const DriverRequest abc{"abc100", ""};
  const struct {
    Line line;
    std::vector<DriverRequest> drivers;
    std::uint32_t instance;
    std::string prefix;
  } rows[] = {
      {{"-i1", "-ptcpip", "prefix=/alt"}, {}, 1, "/alt"},
      {{"-i", "1", "-p", "tcpip", "prefix=/alt"}, {}, 1, "/alt"},
      {{"-d", "abc100", "name=en"}, {{"abc100", "name=en"}}, 0, ""},
      {{"-dabc100", "name=en"}, {{"abc100", "name=en"}}, 0, ""},
      {{"-d", "abc100", "pci=0,name=wan"}, {{"abc100", "pci=0,name=wan"}}, 0, ""},
      {{"-d", "abc100", "-i", "2"}, {abc}, 2, ""},
      {{"-d", "abc100", "-d", "abc100"}, {abc, abc}, 0, ""},
      {{"-d", "abc100", ""}, {abc}, 0, ""},
      {{"-d", "/lib/dll/devnp-abc100.so", "memrange=0x10064000,irq=0x80050024,mac=001122334455"},
       {{"/lib/dll/devnp-abc100.so", "memrange=0x10064000,irq=0x80050024,mac=001122334455"}},
       0,
       ""},
      {{"-t2", "-d", "my_board", "syspage=1,pci=0", "-dmy_board", "syspage=1,pci=1"},
       {{"my_board", "syspage=1,pci=0"}, {"my_board", "syspage=1,pci=1"}},
       0,
       ""},
      {{"-ptcpip", "stacksize=65536,prefix=/alt"}, {}, 0, "/alt"},
      {{"-ptcpip", "prefix=/a", "-p", "tcpip", "stackguard", "-p", "tcpip", "prefix=/b"}, {}, 0, "/b"},
      {{"-DSi3", "-d", "slirp", "-p", "tcpip"}, {{"slirp", ""}}, 3, ""},
      {{"-i1", "-i2"}, {}, 2, ""},
      {{"--foreground", "--"}, {}, 0, ""},
  };
  for (const auto& row : rows) {
    std::string text;
    for (const auto& word : row.line) text += word + " ";
    SCOPED_TRACE(text);
    const Options options = parsed(row.line);
    EXPECT_EQ(options.drivers, row.drivers);
    EXPECT_EQ(options.instance, row.instance);
    EXPECT_EQ(options.tcpip.prefix, row.prefix);
  }
  const Options both = parsed({"-ptcpip", "prefix=/a", "-ptcpip", "stackguard"});
  EXPECT_TRUE(both.tcpip.stackguard);
  EXPECT_EQ(both.tcpip.prefix, "/a");
}

TEST(Words, RefusedOnes) {
  const struct {
    Line line;
    const char* part;
  } rows[] = {
      {{"tap"}, "'tap': left-over word"},
      {{"-d", "tap", "name=en", "more"}, "'more': left-over word"},
      {{"-i", "1", "2"}, "'2': left-over word"},
      {{"--", "x"}, "'x': left-over word"},
      {{"-"}, "'-': left-over word"},
      {{""}, "'': left-over word"},
      {{"-d"}, "option -d: needs a value"},
      {{"-d", "-i1"}, "option -d -i1: needs the name of a driver"},
      {{"-d", ""}, "needs the name of a driver"},
      {{"-p"}, "option -p: needs a value"},
      {{"-p", "ipx"}, "option -p ipx: unknown protocol; known: pf-v4 pf-v6 qnet tcpip"},
      {{"-p", "pf-v6"}, "option -p pf-v6: only for io-pkt-v6-hc"},
      {{"-p", "pf-v4"}, "option -p pf-v4: not built yet"},
      {{"-p", "qnet"}, "option -p qnet: not built yet"},
      {{"-z"}, "unknown option -z; known: -D"},
      {{"-Dz"}, "unknown option -z"},
      {{"--fore"}, "unknown option --fore"},
      {{"-U", "root:wheel"}, "option -U root:wheel: not allowed; allowed: uid[:gid"},
      {{"-U", "99:99,120"}, "option -U: not built yet"},
      {{"-u", "all,user1:iopkt,0680"}, "option -u all,user1:iopkt,0680: not allowed"},
      {{"-u", "all,user1:iopkt,0660", "-u", "bpf,user2:user2,0600"}, "option -u bpf: not built yet"},
      {{"-I", "-w", "9"}, "option -w 9: above the maximum; allowed: 1..5 seconds"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.part);
    const std::string line = fault(row.line);
    EXPECT_NE(line.find(row.part), line.npos) << line;
    EXPECT_EQ(line.find('\n'), line.npos);
  }
  EXPECT_NE(fault({"-p", "pf-v4"}, Variant::v6_hc).find("only for io-pkt-v4-hc"), std::string::npos);
}

TEST(Words, NodeAccessIsKeptAsTyped) {
  const Options options = parsed({"-u", "all,user1:iopkt,0660", "-usocket,0:0,600"});
  EXPECT_EQ(options.node_access, (std::vector<std::string>{"all,user1:iopkt,0660", "socket,0:0,600"}));
}

TEST(Words, HelpVersionAndManualWinOverValues) {
  EXPECT_EQ(parsed({"-t", "0", "--help"}).action, Action::show_help);
  EXPECT_EQ(parsed({"-h"}).action, Action::show_help);
  EXPECT_EQ(parsed({"--version", "-q1"}).action, Action::show_version);
  EXPECT_EQ(parsed({"--man"}).action, Action::show_manual);
  EXPECT_EQ(parsed({}).action, Action::run);
}

// ---- texts ----

TEST(OptionText, Shapes) {
  const struct {
    bool (*check)(std::string_view);
    std::vector<const char*> good, bad;
  } rows[] = {
      {is_drop_user,
       {"99", "99:99", "99:99,120", "99:99,120,121", "nobody", "nobody,120"},
       {"", "99,120", "99:", ":99", "99:99,", "nobody:99", "99:nobody", "nobody,x", "a b", "4294967295"}},
      {is_node_access,
       {"all,0:0,0660", "bpf,user2:user2,0600", "tun,a:1,644"},
       {"", "all", "all,0:0", "nodes,0:0,0600", "all,0,0600", "all,0:0,", "all,0:0,0888", "all,0:0,10600",
        "all,:0,0600", "all,0:0,0600,", "all,0:0,4755"}},
      {is_fib_map, {"750_1", "750_1;760_2", "0_15"}, {"", "750", "750_", "_1", "750_16", "750_1;", "x_1"}},
      {is_interface_prefix,
       {"en", "wan", "tiw_sta", "x2y"},
       {"", "en0", "2x", "_x", "a-b", "a/b", "abcdefghijklmno"}},
      {is_station_address,
       {"001122334455", "00:11:22:33:44:55", "00-11-22-33-44-55", "0aFFffFFffFF"},
       {"", "12345678", "00112233445", "0011223344556", "00:11:22:33:44-55", "g01122334455", "010000000000",
        "000000000000", "ff:ff:ff:ff:ff:ff", "00:11:22:33:4455:"}},
  };
  for (const auto& row : rows) {
    for (const char* text : row.good) EXPECT_TRUE(row.check(text)) << text;
    for (const char* text : row.bad) EXPECT_FALSE(row.check(text)) << text;
  }
}

// ---- help and manual ----

TEST(Manual, HelpHasEveryRow) {
  const std::string help = help_text(Variant::v4_hc);
  for (const CommandOption& option : command_options())
    EXPECT_NE(help.find("  " + std::string{option.row.name}), help.npos) << option.row.name;
  for (const TcpipOption& option : tcpip_options()) {
    EXPECT_NE(help.find("  " + std::string{option.row.name}), help.npos) << option.row.name;
    if (is_numeric(option.row)) {
      EXPECT_NE(help.find(default_text(option.row) + "."), help.npos) << option.row.name;
    }
  }
  for (const auto rows : {generic_driver_options(), usb_driver_options()})
    for (const OptionRow& row : rows) EXPECT_NE(help.find("  " + std::string{row.name}), help.npos) << row.name;
  std::istringstream lines{help};
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << line;
}

TEST(Manual, CommittedPageIsTheTablesPage) {
  const char* source = std::getenv("IOPKT_SOURCE_DIR");
  if (!source) GTEST_SKIP() << "IOPKT_SOURCE_DIR is not set; run by ctest";
  for (const Variant variant : {Variant::v4_hc, Variant::v6_hc}) {
    const std::string name{program_name(variant)};
    std::ifstream file{std::string{source} + "/docs/man/" + name + ".8"};
    std::istringstream tables{manual_page(variant)};
    std::string committed, wanted;
    for (int line = 1;; ++line) {
      const bool more = static_cast<bool>(std::getline(tables, wanted));
      ASSERT_EQ(static_cast<bool>(std::getline(file, committed)), more) << name << ": length differs at line " << line;
      if (!more) break;
      ASSERT_EQ(committed, wanted) << "line " << line << "; write it anew: " << name << " --man > docs/man/" << name << ".8";
    }
  }
}

}  // namespace
}  // namespace iopkt::daemon
