// Reads the command line: first the words, then, when all are known, their values and what they mean
// together.
#include "options.hpp"

#include <unistd.h>

#include <algorithm>

#include "instance.hpp"
#include "option_tables.hpp"

namespace iopkt::daemon {
namespace {

constexpr std::uint32_t kPriorityMax = 99;  // of SCHED_RR on Linux

struct TypedCommand {
  const CommandOption* option{};
  std::string_view value{};
};
struct TypedTcpip {
  const TcpipOption* option{};
  std::string_view name{};  ///< as typed
  std::optional<std::string_view> value{};
};

/// The words in the order of the command line, cut and recognised, values unread.
struct Words {
  std::vector<TypedCommand> commands;
  std::vector<TypedTcpip> tcpip;
  std::vector<const ProtocolRow*> protocols;
  std::vector<DriverRequest> drivers;
};

using Fault = std::optional<std::string>;

std::string quoted(std::string_view word) { return "'" + std::string{word} + "'"; }

/// "option -i -1: " and "option mclbytes=1000: ".
std::string about(const TypedCommand& typed) {
  std::string text{"option "};
  text += typed.option->row.name;
  if (typed.option->row.argument != Argument::none) text.append(" ").append(typed.value);
  return text + ": ";
}
std::string about(const TypedTcpip& typed) {
  std::string text{"option "};
  text += typed.name;
  if (typed.value) text.append("=").append(*typed.value);
  return text + ": ";
}

class Reader {
 public:
  explicit Reader(std::span<const char* const> words) : words_(words) {}

  Expected<Words, std::string> read() {
    while (at_ < words_.size()) {
      const std::string_view word{words_[at_++]};
      Fault fault;
      if (word == "--" && at_ == words_.size()) break;
      if (word.starts_with("--") && word.size() > 2)
        fault = long_word(word);
      else if (word.starts_with('-') && word.size() > 1 && word != "--")
        fault = letters(word.substr(1));
      else
        fault = word == "--" ? left_over(words_[at_]) : left_over(word);
      if (fault) return unexpected(std::move(*fault));
    }
    return std::move(out_);
  }

 private:
  static Fault left_over(std::string_view word) { return quoted(word) + ": left-over word; see --help"; }
  static Fault unknown(std::string_view name) {
    std::string text = "unknown option " + std::string{name} + "; known:";
    for (const CommandOption& option : command_options()) text.append(" ").append(option.row.name);
    return text;
  }

  static const CommandOption* find(std::string_view name) {
    for (const CommandOption& option : command_options())
      if (option.row.name == name || option.row.also[0] == name) return &option;
    return nullptr;
  }

  Fault long_word(std::string_view word) {
    const CommandOption* option = find(word);
    if (!option) return unknown(word);
    out_.commands.push_back({option});
    return {};
  }

  /// One word of letters; the first that takes an argument ends it.
  Fault letters(std::string_view rest) {
    while (!rest.empty()) {
      const std::string name{'-', rest.front()};
      rest.remove_prefix(1);
      const CommandOption* option = find(name);
      if (!option) return unknown(name);
      if (option->row.argument == Argument::none) {
        out_.commands.push_back({option});
        continue;
      }
      if (rest.empty()) {
        if (at_ == words_.size())
          return "option " + name + ": needs a value: " + std::string{option->row.value_name};
        rest = words_[at_++];
      }
      return with_argument(*option, rest);
    }
    return {};
  }

  Fault with_argument(const CommandOption& option, std::string_view value) {
    const bool is_driver = option.row.name == "-d";
    if (!is_driver && option.row.name != "-p") {
      out_.commands.push_back({&option, value});
      return {};
    }
    if (value.empty() || value.starts_with('-'))
      return "option " + std::string{option.row.name} + " " + std::string{value} + ": needs the name of a " +
             (is_driver ? "driver" : "protocol");
    std::string_view list;
    if (at_ < words_.size() && *words_[at_] != '-') list = words_[at_++];
    out_.commands.push_back({&option, value});
    if (!is_driver) return protocol(value, list);
    out_.drivers.push_back({std::string{value}, std::string{list}});
    return {};
  }

  Fault protocol(std::string_view name, std::string_view list) {
    for (const ProtocolRow& row : protocols()) {
      if (row.name != name) continue;
      out_.protocols.push_back(&row);
      return name == "tcpip" ? tcpip_list(list) : Fault{};
    }
    std::string text = "option -p " + std::string{name} + ": unknown protocol; known:";
    for (const ProtocolRow& row : protocols()) text.append(" ").append(row.name);
    return text;
  }

  Fault tcpip_list(std::string_view list) {
    while (!list.empty()) {
      const auto comma = list.find(',');
      const std::string_view item = list.substr(0, comma);
      list.remove_prefix(comma == list.npos ? list.size() : comma + 1);
      if (item.empty() || (list.empty() && comma != list.npos))
        return "option -p tcpip: empty word in the list; options are separated by one comma each";
      if (Fault fault = tcpip_item(item)) return fault;
    }
    return {};
  }

  Fault tcpip_item(std::string_view item) {
    TypedTcpip typed;
    const auto equals = item.find('=');
    typed.name = item.substr(0, equals);
    if (equals != item.npos) typed.value = item.substr(equals + 1);
    for (const TcpipOption& option : tcpip_options())
      if (option.row.name == typed.name || option.row.also[0] == typed.name ||
          option.row.also[1] == typed.name)
        typed.option = &option;
    if (!typed.option) {
      std::string text = "unknown option " + std::string{typed.name} + " of -p tcpip; known:";
      for (const TcpipOption& option : tcpip_options()) text.append(" ").append(option.row.name);
      return text;
    }
    const OptionRow& row = typed.option->row;
    if (typed.value && row.argument == Argument::none) return about(typed) + "takes no value";
    if (!typed.value && (row.argument == Argument::number || row.argument == Argument::text))
      return about(typed) + "needs a value; allowed: " + allowed_text(row);
    out_.tcpip.push_back(typed);
    return {};
  }

  std::span<const char* const> words_;
  std::size_t at_{};
  Words out_;
};

class Evaluator {
 public:
  Evaluator(Variant variant, Words words) : options_(default_options(variant)), words_(std::move(words)) {}

  Expected<Options, std::string> evaluate() {
    options_.drivers = std::move(words_.drivers);
    for (const TypedCommand& typed : words_.commands)
      if (asks_for_text(typed)) return std::move(options_);
    for (const TypedCommand& typed : words_.commands)
      if (Fault fault = command(typed)) return unexpected(std::move(*fault));
    for (const TypedTcpip& typed : words_.tcpip)
      if (Fault fault = tcpip(typed)) return unexpected(std::move(*fault));
    if (Fault fault = together()) return unexpected(std::move(*fault));
    if (Fault fault = not_built()) return unexpected(std::move(*fault));
    return std::move(options_);
  }

 private:
  bool asks_for_text(const TypedCommand& typed) {
    const std::string_view name = typed.option->row.name;
    if (name == "--help") options_.action = Action::show_help;
    if (name == "--man") options_.action = Action::show_manual;
    if (name == "--version") options_.action = Action::show_version;
    return options_.action != Action::run;
  }

  void given(std::string_view name) {
    if (!options_.was_given(name)) options_.given.push_back(name);
  }

  Fault command(const TypedCommand& typed) {
    const OptionRow& row = typed.option->row;
    given(row.name);
    if (row.argument == Argument::number) {
      const auto number = check_number(row, typed.value);
      if (!number) return about(typed) + number.error();
      options_.*typed.option->number = static_cast<std::uint32_t>(number->value);
    } else if (row.argument == Argument::text) {
      if (row.accepts && !row.accepts(typed.value))
        return about(typed) + "not allowed; allowed: " + allowed_text(row);
      if (typed.option->text) options_.*typed.option->text = typed.value;
      if (row.name == "-u") options_.node_access.emplace_back(typed.value);
    } else if (typed.option->flag) {
      options_.*typed.option->flag = true;
    }
    return {};
  }

  Fault tcpip(const TypedTcpip& typed) {
    const OptionRow& row = typed.option->row;
    TcpipConfig& config = options_.tcpip;
    given(row.name);
    switch (row.argument) {
      case Argument::none:
        config.*typed.option->flag = true;
        break;
      case Argument::text:
        if (row.accepts && !row.accepts(*typed.value))
          return about(typed) + "not allowed; allowed: " + allowed_text(row);
        config.*typed.option->text = *typed.value;
        break;
      case Argument::optional_number:
        if (!typed.value) {
          config.*typed.option->number = static_cast<std::uint32_t>(row.when_bare);
          break;
        }
        [[fallthrough]];
      case Argument::number: {
        const auto number = check_number(row, *typed.value);
        if (!number) return about(typed) + number.error();
        config.*typed.option->number = static_cast<std::uint32_t>(number->value);
        if (number->raised)
          options_.notes.push_back(about(typed) + "raised to " + std::to_string(number->value) +
                                   " bytes, the least that works on this platform");
      }
    }
    return {};
  }

  /// What several words mean together. A later value of the same row has already replaced an earlier one.
  Fault together() {
    TcpipConfig& config = options_.tcpip;
    if (options_.dedicated_stack_thread && options_.threads > 63)
      return "option -t " + std::to_string(options_.threads) + ": with -D there are 63 packet threads at most; allowed: 1..63";
    if (config.mclbytes > config.pagesize)
      return "option mclbytes=" + std::to_string(config.mclbytes) + ": above pagesize; allowed: 2048.." +
             std::to_string(std::min(65536u, config.pagesize)) + " bytes";
    // Who lowers only the maximum means fewer at start, too.
    if (!options_.was_given("threads_min"))
      config.threads_min = std::min(config.threads_min, config.threads_max);
    if (config.threads_min > config.threads_max)
      return "option threads_min=" + std::to_string(config.threads_min) +
             ": above threads_max; allowed: 4.." + std::to_string(config.threads_max) + " contexts";
    if (config.forward6 && options_.variant != Variant::v6_hc)
      return "option forward6: only for io-pkt-v6-hc";
    for (const ProtocolRow* row : words_.protocols)
      if (row->only && row->only != options_.variant)
        return "option -p " + std::string{row->name} + ": only for " + std::string{program_name(*row->only)};
    while (config.prefix.ends_with('/')) config.prefix.pop_back();
    if (config.prefix.size() > prefix_size_max())
      return "option prefix=" + config.prefix + ": too long for a socket address; allowed: at most " +
             std::to_string(prefix_size_max()) + " bytes";
    if (config.cache == 0) config.mbuf_cache = config.pkt_cache = config.mtag_cache = 0;
    if (!options_.was_given("fastforward")) config.fastforward = config.forward;
    if (config.fastforward) config.forward = true;
    smmu();
    stacks_and_priorities();
    return {};
  }

  void smmu() {
    std::string& smmu = options_.tcpip.smmu;
    const bool on = smmu == "1" || smmu == "on";
    if (!on && smmu != "0" && smmu != "off" && !smmu.empty())
      options_.notes.push_back("option smmu=" + smmu + ": not 0, 1, off or on; taken as off");
    smmu = on ? "on" : "off";
  }

  void stacks_and_priorities() {
    TcpipConfig& config = options_.tcpip;
    const auto page = static_cast<std::uint32_t>(::sysconf(_SC_PAGESIZE));
    if (config.stackguard && config.stacksize % page != 0) {
      config.stacksize = (config.stacksize / page + 1) * page;
      options_.notes.push_back("option stackguard: stacksize is rounded up to " +
                               std::to_string(config.stacksize) + " bytes, whole pages");
    }
    if (options_.main_priority > kPriorityMax) {
      options_.notes.push_back("option -P " + std::to_string(options_.main_priority) +
                               ": the highest priority of this system is 99; 99 is used");
      options_.main_priority = kPriorityMax;
    }
  }

  /// The nodes of the other types come with what they belong to.
  static bool has_nodes(std::string_view access) {
    return access.starts_with("all,") || access.starts_with("socket,");
  }

  Fault not_built() const {
    for (const std::string& access : options_.node_access)
      if (!has_nodes(access)) return "option -u " + access.substr(0, access.find(',')) + ": not built yet";
    for (const TypedCommand& typed : words_.commands)
      if (typed.option->row.built == Built::later)
        return "option " + std::string{typed.option->row.name} + ": not built yet";
    for (const ProtocolRow* row : words_.protocols)
      if (row->built == Built::later) return "option -p " + std::string{row->name} + ": not built yet";
    for (const TypedTcpip& typed : words_.tcpip)
      if (typed.option->row.built == Built::later)
        return "option " + std::string{typed.option->row.name} + ": not built yet";
    return {};
  }

  Options options_;
  Words words_;
};

}  // namespace

std::string_view program_name(Variant variant) {
  return variant == Variant::v4_hc ? "io-pkt-v4-hc" : "io-pkt-v6-hc";
}

bool Options::was_given(std::string_view row_name) const {
  return std::ranges::find(given, row_name) != given.end();
}

Options default_options(Variant variant) {
  Options options{.variant = variant};
  for (const CommandOption& option : command_options()) {
    if (option.number) options.*option.number = static_cast<std::uint32_t>(option.row.initial);
    if (option.text) options.*option.text = option.row.default_text;
  }
  for (const TcpipOption& option : tcpip_options())
    if (option.number) options.tcpip.*option.number = static_cast<std::uint32_t>(option.row.initial);
  options.tcpip.smmu = "off";
  return options;
}

Expected<Options, std::string> parse_options(Variant variant, std::span<const char* const> words) {
  auto read = Reader{words}.read();
  if (!read) return unexpected(std::move(read.error()));
  return Evaluator{variant, std::move(*read)}.evaluate();
}

}  // namespace iopkt::daemon
