#include "utils/if_up/if_up.hpp"

#include <time.h>

#include <algorithm>

namespace iopkt::utils {
namespace {

constexpr char kUsage[] = "usage: if_up [-alp] [-m milliseconds] [-r retries] [-s seconds] interface...\n";
constexpr std::uint64_t kUp = 1;

/// False: told already.
bool read(Io& io, Options& options, IfUpSettings& s) {
  for (char letter = options.next(); letter != 0; letter = options.next()) {
    std::optional<std::uint64_t> number;
    if (letter == 'm' || letter == 'r' || letter == 's') {
      number = parse_number(options.value(), 1'000'000'000);
      if (!number) return io.error(options.value() + ": bad value"), false;
    }
    switch (letter) {
      case 'a':
        s.all = true;
        break;
      case 'l':
        s.link = true;
        break;
      case 'p':
        s.presence = true;
        break;
      case 'm':
        s.pause_ms = *number;
        break;
      case 's':
        s.pause_ms = *number * 1000;
        break;
      case 'r':
        s.walks = *number;
        break;
      case '6':
      case 'i':
        return io.error(std::string("-") + letter + ": not built yet"), false;
      default:
        io.error(options.fault());
        return io.complain(kUsage), false;
    }
  }
  s.interfaces = options.rest();
  if (s.interfaces.empty()) return io.complain(kUsage), false;
  return true;
}

}  // namespace

bool is_up(const Node* interface, const IfUpSettings& settings) {
  if (interface == nullptr) return false;
  if (settings.link && interface->number_of("carrier") == 0) return false;
  if (settings.presence) return true;
  return (interface->number_of("flags") & kUp) != 0 && !interface->list("addresses").empty();
}

bool are_up(const Node& answer, const IfUpSettings& settings) {
  const auto list = answer.list("interfaces");
  const auto up = [&](const std::string& name) {
    const auto at =
        std::find_if(list.begin(), list.end(), [&](const Node& one) { return one.text_of("name") == name; });
    return is_up(at == list.end() ? nullptr : &*at, settings);
  };
  return settings.all ? std::all_of(settings.interfaces.begin(), settings.interfaces.end(), up)
                      : std::any_of(settings.interfaces.begin(), settings.interfaces.end(), up);
}

int if_up(Io& io, Stack& stack, const Words& words) {
  if (helped(io, kUsage, words)) return 0;
  IfUpSettings settings;
  Options options{words, "alp6i", "mrs"};
  if (!read(io, options, settings)) return 1;
  std::string fault;
  for (std::uint64_t pauses = 0;; ++pauses) {
    const auto answer = stack.ask("interface.list", {});
    // A stack that does not run yet is waited for, too.
    fault = answer ? std::string{} : answer.error().text();
    if (answer && are_up(*answer, settings)) return 0;
    if (pauses >= settings.walks) break;
    const timespec pause{static_cast<time_t>(settings.pause_ms / 1000),
                         static_cast<long>(settings.pause_ms % 1000 * 1'000'000)};
    ::nanosleep(&pause, nullptr);
  }
  if (!fault.empty()) return io.error(fault);
  std::string names;
  for (const std::string& name : settings.interfaces) names += (names.empty() ? "" : " ") + name;
  return io.error(names + ": not up in time");
}

}  // namespace iopkt::utils
