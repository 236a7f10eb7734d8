#include "utils/sysctl/sysctl.hpp"

#include <cstdio>
#include <cstring>

namespace iopkt::utils {
namespace {

constexpr char kUsage[] =
    "usage: sysctl [-dne] [-x[x]|-r] [--json] variable ...\n"
    "       sysctl [-ne] [-q] -w variable=value ...\n"
    "       sysctl [-dne] [--json] -a | -A\n"
    "       sysctl [-ne] -M\n"
    "       sysctl [-dne] [-q] -f file\n";

/// What the stack keeps as a table: no value of sysctl's, and the command that prints it.
struct Table {
  const char *name, *tool;
};
constexpr Table kTables[] = {
    {"kern.mbuf.stats", "netstat -m"},        {"net.inet.icmp.stats", "netstat -p icmp"},
    {"net.inet.ip.stats", "netstat -p ip"},   {"net.inet.raw.pcblist", "netstat -a"},
    {"net.inet.tcp.pcblist", "netstat -a"},   {"net.inet.tcp.stats", "netstat -p tcp"},
    {"net.inet.udp.pcblist", "netstat -a"},   {"net.inet.udp.stats", "netstat -p udp"},
    {"net.link.interfaces", "ifconfig -a"},   {"net.route.arp", "arp -a"},
    {"net.route.rtable", "netstat -r -F a"},
};

/// The variable as sysctl(3) would hand it over: an int, or text with its NUL.
std::string raw_bytes(const Node& variable) {
  const std::string_view value = variable.text_of("value");
  if (variable.text_of("type") != "int") return std::string(value) + '\0';
  const auto number = static_cast<std::uint32_t>(parse_number(value, UINT64_MAX).value_or(0));
  std::string out(sizeof number, '\0');
  std::memcpy(out.data(), &number, sizeof number);
  return out;
}

std::string hex_dump(const std::string& bytes, bool wide) {
  std::string out;
  if (!wide) {
    for (const char c : bytes) out += format("%02x", static_cast<unsigned char>(c));
    return out;
  }
  for (std::size_t at = 0; at < bytes.size(); at += 16) {
    const std::string row = bytes.substr(at, 16);
    out += format("\n%08zx ", at);
    for (const char c : row) out += format(" %02x", static_cast<unsigned char>(c));
    out += "  |";
    for (const char c : row) out += c >= ' ' && c <= '~' ? c : '.';
    out += "|";
  }
  return out;
}

class Session {
 public:
  Session(Io& io, Stack& stack, SysctlStyle style, bool quiet)
      : io_(io), stack_(stack), style_(style), quiet_(quiet) {}

  /// Every value below `name`; none: all of them, and with `tables` the tables, too.
  int show(const std::string& name, bool tables = false) {
    Node arguments, answer;
    if (!name.empty()) arguments.add_text("name", name);
    if (!asked(io_, stack_, "sysctl.get", arguments, answer)) return 1;
    if (tables) {
      Node& list = answer.add_list("tables");
      for (const Table& one : kTables) list.inner.emplace_back().add_text("name", one.name).add_text("tool", one.tool);
    }
    if (io_.json) return io_.print(to_json(answer)), 0;
    std::string last;
    for (const Node& one : answer.list("variables")) {
      if (style_.tree) print_parents(one.text_of("name"), last);
      io_.print(style_.tree ? indent(one.text_of("name")) + show_variable(one, style_)
                            : show_variable(one, style_));
    }
    for (const Node& one : answer.list("tables")) {
      if (!style_.value_only) io_.print(std::string(one.text_of("name")) + ": ");
      io_.print("a table, see " + std::string(one.text_of("tool")) + "\n");
    }
    return 0;
  }

  int set(const std::string& setting) {
    const std::size_t equals = setting.find('=');
    if (equals == setting.npos) return io_.error("'" + setting + "': no value given");
    const auto trim = [](std::string text) {
      while (!text.empty() && text.back() == ' ') text.pop_back();
      return text.substr(std::min(text.find_first_not_of(' '), text.size()));
    };
    Node arguments, answer;
    arguments.add_text("name", trim(setting.substr(0, equals)));
    arguments.add_text("value", trim(setting.substr(equals + 1)));
    if (!asked(io_, stack_, "sysctl.set", arguments, answer)) return 1;
    if (io_.json) return io_.print(to_json(answer)), 0;
    if (quiet_) return 0;
    for (const Node& one : answer.list("variables")) {
      const std::string name{one.text_of("name")}, old{one.text_of("old")}, value{one.text_of("value")};
      if (style_.value_only)
        io_.print(old + " -> " + value + "\n");
      else
        io_.print(name + (style_.equals ? "=" : ": ") + old + " -> " + value + "\n");
    }
    return 0;
  }

  int from_file(const std::string& path) {
    std::FILE* file = std::fopen(path.c_str(), "re");
    if (file == nullptr) return io_.error(path + ": " + std::strerror(errno));
    std::string text;
    char buffer[4096];
    for (std::size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) text.append(buffer, n);
    std::fclose(file);
    int status = 0;
    for (const std::string& line : read_settings(text)) {
      const int one = line.find('=') == line.npos ? show(line) : set(line);
      if (one != 0) status = one;
    }
    return status;
  }

 private:
  static std::string indent(std::string_view name) {
    std::size_t depth = 0;
    for (const char c : name) depth += c == '.';
    return std::string(2 * depth, ' ');
  }

  /// The levels above `name` that were not printed for the one before.
  void print_parents(std::string_view name, std::string& last) {
    for (std::size_t dot = name.find('.'); dot != name.npos; dot = name.find('.', dot + 1)) {
      const std::string parent{name.substr(0, dot)};
      if (last.starts_with(parent + ".")) continue;
      io_.print(indent(parent) + parent + "\n");
    }
    last = name;
  }

  Io& io_;
  Stack& stack_;
  const SysctlStyle style_;
  const bool quiet_;
};

}  // namespace

std::string show_variable(const Node& variable, const SysctlStyle& style) {
  const std::string name{variable.text_of("name")};
  if (style.raw) return raw_bytes(variable);
  if (style.tree) return name + " (" + std::string(variable.text_of("type")) + ")\n";
  std::string value{variable.text_of("value")};
  if (style.describe) {
    value = variable.text_of("help");
    if (const auto unit = variable.text_of("unit"); !unit.empty() && unit != "flag" && unit != "bool")
      value += " [" + std::string(unit) + "]";
    return style.value_only ? value + "\n" : name + ": " + value + "\n";
  }
  if (style.hex > 0) value = hex_dump(raw_bytes(variable), style.hex > 1);
  if (style.value_only) return value + "\n";
  return name + (style.equals ? "=" : " = ") + value + "\n";
}

Words read_settings(std::string_view text) {
  Words lines;
  std::string line;
  const auto finish = [&] {
    const std::size_t begin = line.find_first_not_of(" \t\r");
    const std::size_t end = line.find_last_not_of(" \t\r");
    if (begin != line.npos && line[begin] != '#') lines.push_back(line.substr(begin, end - begin + 1));
    line.clear();
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size() && text[i + 1] == '\n') {
      ++i;
    } else if (text[i] == '\n') {
      finish();
    } else {
      line += text[i];
    }
  }
  finish();
  return lines;
}

int sysctl(Io& io, Stack& stack, const Words& words) {
  if (helped(io, kUsage, words)) return 0;
  SysctlStyle style;
  bool all = false, tables = false, quiet = false, write = false;
  std::string file;
  Options options{words, "aAdeMnqrwx", "f"};
  for (char letter = options.next(); letter != 0; letter = options.next()) switch (letter) {
      case 'a':
        all = true;
        break;
      case 'A':
        all = tables = true;
        break;
      case 'd':
        style.describe = true;
        break;
      case 'e':
        style.equals = true;
        break;
      case 'f':
        file = options.value();
        break;
      case 'M':
        style.tree = all = true;
        break;
      case 'n':
        style.value_only = true;
        break;
      case 'q':
        quiet = true;
        break;
      case 'r':
        style.raw = true;
        break;
      case 'w':
        write = true;
        break;
      case 'x':
        ++style.hex;
        break;
      default:
        io.error(options.fault());
        io.complain(kUsage);
        return 1;
    }
  Session session{io, stack, style, quiet};
  if (!file.empty()) return session.from_file(file);
  if (all) return session.show({}, tables);
  const Words names = options.rest();
  if (names.empty()) {
    io.complain(kUsage);
    return 1;
  }
  int status = 0;
  for (const std::string& name : names) {
    const bool setting = name.find('=') != name.npos;
    const int one = setting && !write  ? io.error("Must specify -w to set variables")
                    : setting || write ? session.set(name)
                                       : session.show(name);
    if (one != 0) status = one;
  }
  return status;
}

}  // namespace iopkt::utils
