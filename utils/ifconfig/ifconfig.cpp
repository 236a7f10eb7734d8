#include "utils/ifconfig/ifconfig.hpp"

#include <algorithm>

namespace iopkt::utils {
namespace {

constexpr char kUsage[] =
    "usage: ifconfig [-hLmvz] [--json] interface [family] [address [dest_address]] [parameters]\n"
    "       ifconfig -a [-bdhLmsuvz] [--json] [family]\n"
    "       ifconfig -l [-bdsu]\n"
    "       ifconfig -s interface\n"
    "       ifconfig -C\n"
    "       ifconfig interface create\n"
    "       ifconfig interface destroy\n";

constexpr std::uint64_t kUp = 0x1, kBroadcast = 0x2;

bool is_family(std::string_view word) { return word == "inet" || word == "inet6"; }

int usage(Io& io) {
  io.complain(kUsage);
  return 1;
}

/// False: an unknown letter.
bool read_flags(Options& options, IfconfigFlags& f) {
  for (char letter = options.next(); letter != 0; letter = options.next()) switch (letter) {
      case 'a':
        f.all = true;
        break;
      case 'b':
        f.broadcast_only = true;
        break;
      case 'C':
        f.cloners = true;
        break;
      case 'd':
        f.down_only = true;
        break;
      case 'h':
        f.human = true;
        break;
      case 'L':
        f.lifetimes = true;
        break;
      case 'l':
        f.list = true;
        break;
      case 'm':
        f.media = true;
        break;
      case 's':
        f.connected = true;
        break;
      case 'u':
        f.up_only = true;
        break;
      case 'v':
        f.counters = true;
        break;
      case 'z':
        f.zero = f.counters = true;
        break;
      default:
        return false;
    }
  return true;
}

bool wanted(const Node& interface, const IfconfigFlags& f) {
  const std::uint64_t flags = interface.number_of("flags");
  if (f.up_only && (flags & kUp) == 0) return false;
  if (f.down_only && (flags & kUp) != 0) return false;
  if (f.broadcast_only && (flags & kBroadcast) == 0) return false;
  return !f.connected || interface.number_of("carrier", 1) != 0;
}

/// Puts what was counted until now in the place of `interface`. False: told already.
bool zero(Io& io, Stack& stack, Node& interface) {
  Node arguments, answer;
  arguments.add_text("name", std::string(interface.text_of("name")));
  if (!asked(io, stack, "interface.zero", arguments, answer)) return false;
  if (const auto list = answer.list("interfaces"); !list.empty()) interface = list.front();
  return true;
}

int show(Io& io, Stack& stack, const IfconfigFlags& f, const std::string& name) {
  Node arguments, answer;
  if (!name.empty()) arguments.add_text("name", name);
  if (!asked(io, stack, "interface.list", arguments, answer)) return 1;
  if (!name.empty() && f.connected) {
    const auto list = answer.list("interfaces");
    return !list.empty() && list.front().number_of("carrier", 1) != 0 ? 0 : 1;
  }
  Node* interfaces = nullptr;
  for (Node& one : answer.inner)
    if (one.key == "interfaces") interfaces = &one;
  if (interfaces == nullptr) return io.error("the stack's answer makes no sense");
  std::erase_if(interfaces->inner, [&](const Node& one) { return name.empty() && !wanted(one, f); });
  for (Node& one : interfaces->inner)
    if (f.zero && !zero(io, stack, one)) return 1;
  if (io.json) {
    io.print(to_json(answer));
    return 0;
  }
  std::string names;
  for (const Node& one : interfaces->inner) {
    if (f.list)
      names += (names.empty() ? "" : " ") + std::string(one.text_of("name"));
    else
      io.print(show_interface(one, f));
  }
  if (f.list) io.print(names + "\n");
  return 0;
}

int show_cloners(Io& io, Stack& stack) {
  Node answer;
  if (!asked(io, stack, "interface.cloners", {}, answer)) return 1;
  if (io.json) return io.print(to_json(answer)), 0;
  std::string names;
  for (const Node& one : answer.list("cloners"))
    names += (names.empty() ? "" : " ") + std::string(one.text_of("name"));
  io.print(names + "\n");
  return 0;
}

}  // namespace

int ifconfig(Io& io, Stack& stack, const Words& words) {
  if (helped(io, kUsage, words)) return 0;
  IfconfigFlags flags;
  Options options{words, "abCdhLlmsuvz", ""};
  if (!read_flags(options, flags)) {
    io.error(options.fault());
    return usage(io);
  }
  Words rest = options.rest();
  if (flags.cloners) return rest.empty() ? show_cloners(io, stack) : usage(io);
  if (flags.list && (flags.all || flags.zero)) return usage(io);
  if (flags.all || flags.list || rest.empty()) {
    if (!flags.all && !flags.list && flags.connected) return usage(io);
    if (rest.size() > 1) return usage(io);
    if (!rest.empty() && !is_family(rest[0])) return io.error(rest[0] + ": not built yet");
    if (!rest.empty()) flags.family = rest[0];
    return show(io, stack, flags, {});
  }
  const std::string name = rest.front();
  rest.erase(rest.begin());
  if (rest.empty() || (rest.size() == 1 && is_family(rest[0]))) {
    if (!rest.empty()) flags.family = rest[0];
    return show(io, stack, flags, name);
  }
  if (flags.connected || flags.zero) return usage(io);
  return configure_interface(io, stack, name, rest);
}

}  // namespace iopkt::utils
