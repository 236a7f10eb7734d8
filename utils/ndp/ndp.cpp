#include "utils/ndp/ndp.hpp"

#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>
#include <utility>

#include "wire/address.hpp"

namespace iopkt::utils {
namespace {

constexpr char kUsage[] =
    "usage: ndp [-n] [--json] hostname\n"
    "       ndp [-nt] [--json] -a | -A wait\n"
    "       ndp [--json] -c\n"
    "       ndp [--json] -d hostname\n"
    "       ndp [--json] -i interface | -p | -r\n"
    "       ndp [--json] -P | -R\n"
    "       ndp -s hostname ether_addr [temp] [proxy]\n"
    "       ndp -f filename\n";

int usage(Io& io) {
  io.complain(kUsage);
  return 1;
}

/// As the stack reads it, zone and all.
std::optional<std::string> address_of(Io& io, const std::string& host) {
  const auto [plain, zone] = wire::split_zone(host);
  if (const auto address = wire::Ipv6Address::parse(plain)) return address->to_string() + (zone.empty() ? "" : "%" + std::string(zone));
  io.error(host + ": bad value");
  return std::nullopt;
}

std::string time_now() {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  ::localtime_r(&now.tv_sec, &parts);
  return format("%02d:%02d:%02d.%06ld ", parts.tm_hour, parts.tm_min, parts.tm_sec, now.tv_nsec / 1000);
}

int list(Io& io, Stack& stack, const std::string& host, bool timed = false) {
  Node arguments, answer;
  arguments.add_text("family", "inet6");
  if (!host.empty()) {
    const auto address = address_of(io, host);
    if (!address) return 1;
    arguments.add_address("address", *address);
  }
  if (!asked(io, stack, "arp.list", arguments, answer)) return 1;
  if (io.json) return io.print(to_json(answer)), 0;
  if (host.empty() || !answer.list("neighbours").empty())
    return io.print(timed ? with_time(show_neighbours6(answer), time_now()) : show_neighbours6(answer)), 0;
  io.print(host + " (" + std::string(arguments.text_of("address")) + ") -- no entry\n");
  return 1;
}

int list_again(Io& io, Stack& stack, bool timed, std::uint64_t seconds, Again again) {
  for (;;) {
    if (const int status = list(io, stack, {}, timed); status != 0) return status;
    io.flush();
    if (!again(seconds)) return 0;
  }
}

int clear(Io& io, Stack& stack) {
  Node arguments, answer;
  arguments.add_text("family", "inet6");
  if (!asked(io, stack, "arp.flush", arguments, answer)) return 1;
  if (io.json) return io.print(to_json(answer)), 0;
  for (const Node& one : answer.list("deleted")) {
    const std::string address{one.text_of("address")};
    io.print(address + " (" + address + ") deleted\n");
  }
  return 0;
}

int remove(Io& io, Stack& stack, const Words& words) {
  if (words.size() != 1) return usage(io);
  const auto address = address_of(io, words[0]);
  if (!address) return 1;
  Node arguments, answer;
  arguments.add_address("address", *address);
  if (!asked(io, stack, "arp.delete", arguments, answer)) return 1;
  if (io.json) return io.print(to_json(arguments)), 0;
  io.print(words[0] + " (" + *address + ") deleted\n");
  return 0;
}

/// host ether [temp] [proxy]
int set(Io& io, Stack& stack, const Words& words) {
  if (words.size() < 2) return usage(io);
  const auto address = address_of(io, words[0]);
  if (!address) return 1;
  Node arguments, answer;
  arguments.add_address("address", *address).add_text("mac", words[1]);
  for (std::size_t i = 2; i < words.size(); ++i) {
    if (words[i] != "temp" && words[i] != "proxy") return io.error(words[i] + ": bad keyword");
    arguments.add_boolean(words[i] == "temp" ? "temporary" : "proxy", true);
  }
  return asked(io, stack, "arp.set", arguments, answer) ? 0 : 1;
}

int from_file(Io& io, Stack& stack, const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return io.error(path + ": " + std::strerror(errno));
  int status = 0;
  char line[1024];
  while (std::fgets(line, sizeof line, file) != nullptr) {
    Words words;
    char* rest = nullptr;
    for (char* word = strtok_r(line, " \t\r\n", &rest); word != nullptr; word = strtok_r(nullptr, " \t\r\n", &rest))
      words.emplace_back(word);
    if (words.empty() || words[0].starts_with("#")) continue;
    if (set(io, stack, words) != 0) status = 1;
  }
  std::fclose(file);
  return status;
}

/// BSD's letter of a state: Nostate, Incomplete, Reachable, Stale, Delay, Probe.
char letter_of(std::string_view state) {
  if (state == "permanent") return 'R';
  return state.empty() ? 'N' : static_cast<char>(state[0] - 'a' + 'A');
}

/// "23h59m58s"
std::string time_left(std::uint64_t seconds) {
  std::string out;
  const std::pair<std::uint64_t, char> units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}};
  for (const auto& [unit, letter] : units) {
    if (seconds >= unit || !out.empty()) out += std::to_string(seconds / unit) + letter;
    seconds %= unit;
  }
  return out + std::to_string(seconds) + "s";
}

std::string expiry(const Node& row) { return row.has("expires_s") ? "expire=" + time_left(row.number_of("expires_s")) : "expire=Never"; }

std::string seconds_or_infinity(const Node& row, std::string_view key) {
  return row.has(key) ? std::to_string(row.number_of(key)) : "infinity";
}

/// "30s0ms"
std::string milliseconds(std::uint64_t ms) { return std::to_string(ms / 1000) + "s" + std::to_string(ms % 1000) + "ms"; }

std::string on(const Node& row) { return " if=" + std::string(row.text_of("interface")); }

/// What -i, -p and -r ask for, each with its part of the answer as text.
int show(Io& io, Stack& stack, std::string (*text)(const Node&), const std::string& interface = {}) {
  Node arguments, answer;
  if (!interface.empty()) arguments.add_text("name", interface);
  if (!asked(io, stack, "discovery.list", arguments, answer)) return 1;
  io.print(io.json ? to_json(answer) : text(answer));
  return 0;
}

int forget(Io& io, Stack& stack, std::string_view what) {
  Node arguments, answer;
  arguments.add_text("what", what);
  if (!asked(io, stack, "discovery.forget", arguments, answer)) return 1;
  if (io.json) io.print(to_json(answer));
  return 0;
}

}  // namespace

std::string show_prefixes(const Node& answer) {
  std::string out;
  for (const Node& one : answer.list("prefixes")) {
    out += std::string(one.text_of("prefix")) + "/" + std::to_string(one.number_of("prefix_length")) + on(one) + "\nflags=";
    out += one.number_of("on_link") != 0 ? "L" : "";
    out += one.number_of("autonomous") != 0 ? "A" : "";
    out += " vltime=" + seconds_or_infinity(one, "expires_s") + ", pltime=" + seconds_or_infinity(one, "preferred_s") + ", " + expiry(one) + "\n";
  }
  return out;
}

std::string show_routers(const Node& answer) {
  std::string out;
  for (const Node& one : answer.list("routers")) {
    out += std::string(one.text_of("address")) + on(one) + ", flags=" + (one.number_of("managed") != 0 ? "M" : "");
    out += (one.number_of("other") != 0 ? "O" : "") + std::string(", pref=") + std::string(one.text_of("preference")) + ", " + expiry(one);
    out += one.number_of("reachable", 1) != 0 ? "\n" : ", unreachable\n";
  }
  for (const Node& one : answer.list("routes"))
    out += std::string(one.text_of("destination")) + "/" + std::to_string(one.number_of("prefix_length")) + " gateway=" +
           std::string(one.text_of("gateway")) + on(one) + ", pref=" + std::string(one.text_of("preference")) + ", " + expiry(one) + "\n";
  for (const Node& one : answer.list("dns_servers"))
    out += "nameserver " + std::string(one.text_of("address")) + on(one) + ", " + expiry(one) + "\n";
  for (const Node& one : answer.list("dns_domains"))
    out += "search " + std::string(one.text_of("domain")) + on(one) + ", " + expiry(one) + "\n";
  return out;
}

std::string show_interfaces6(const Node& answer) {
  std::string out;
  for (const Node& one : answer.list("interfaces")) {
    out += "linkmtu=" + std::to_string(one.number_of("mtu")) + ", curhlim=" + std::to_string(one.number_of("hop_limit"));
    out += ", basereachable=" + milliseconds(one.number_of("base_reachable_ms"));
    out += ", reachable=" + std::to_string(one.number_of("reachable_ms") / 1000) + "s";
    out += ", retrans=" + milliseconds(one.number_of("retransmit_ms")) + "\nFlags: nud";
    if (one.number_of("accept_rtadv") != 0) out += " accept_rtadv";
    if (one.number_of("auto_linklocal") != 0) out += " auto_linklocal";
    out += "\n";
  }
  return out;
}

std::string show_neighbours6(const Node& answer) {
  const auto line = [](std::string_view address, std::string_view mac, std::string_view interface, std::string_view expire,
                       std::string_view state, std::string_view flags) {
    std::string out = format("%-39s %-17s %6s %-9s %-1s %s", std::string(address).c_str(), std::string(mac).c_str(),
                             std::string(interface).c_str(), std::string(expire).c_str(), std::string(state).c_str(),
                             std::string(flags).c_str());
    while (out.ends_with(' ')) out.pop_back();
    return out + "\n";
  };
  std::string out = line("Neighbor", "Linklayer Address", "Netif", "Expire", "S", "Flags");
  for (const Node& one : answer.list("neighbours")) {
    const std::string expire = one.number_of("permanent") != 0 ? "permanent"
                               : one.has("expires_s")          ? time_left(one.number_of("expires_s"))
                                                               : "expired";
    out += line(one.text_of("address"), one.has("mac") ? one.text_of("mac") : "(incomplete)", one.text_of("interface"), expire,
                std::string(1, letter_of(one.text_of("state"))), one.number_of("proxy") != 0 ? "p" : "");
  }
  return out;
}

std::string with_time(std::string_view table, std::string_view time) {
  std::string out;
  bool head = true;
  while (!table.empty()) {
    const std::size_t length = std::min(table.find('\n'), table.size() - 1) + 1;
    if (!std::exchange(head, false)) out += time;
    out += table.substr(0, length);
    table.remove_prefix(length);
  }
  return out;
}

int ndp(Io& io, Stack& stack, const Words& words) {
  return ndp(io, stack, words, [](std::uint64_t seconds) {
    const timespec pause{.tv_sec = static_cast<time_t>(seconds), .tv_nsec = 0};
    return ::nanosleep(&pause, nullptr) == 0;
  });
}

int ndp(Io& io, Stack& stack, const Words& words, Again again) {
  if (helped(io, kUsage, words)) return 0;
  char what = 0;
  std::string file, interface;
  bool timed = false;
  std::optional<std::uint64_t> wait;
  Options options{words, "acdHnPpRrst", "AfIi"};
  for (char letter = options.next(); letter != 0; letter = options.next()) switch (letter) {
      case 'a':
      case 'c':
      case 'd':
      case 'P':
      case 'p':
      case 'R':
      case 'r':
      case 's':
        if (what != 0) return usage(io);
        what = letter;
        break;
      case 'f':
        file = options.value();
        break;
      case 'i':
        interface = options.value();
        break;
      case 'n':
        break;  // names are never looked up
      case 'A':
        wait = parse_number(options.value(), 1'000'000);
        if (!wait || *wait == 0) return io.error(options.value() + ": bad value");
        break;
      case 't':
        timed = true;
        break;
      case 'H':
      case 'I':
        return io.error(std::string{'-', letter} + ": not built yet");
      default:
        io.error(options.fault());
        return usage(io);
    }
  const Words rest = options.rest();
  if (wait) {
    const bool alone = (what == 0 || what == 'a') && rest.empty() && interface.empty() && file.empty();
    return alone ? list_again(io, stack, timed, *wait, again) : usage(io);
  }
  if (!file.empty()) return from_file(io, stack, file);
  if (!interface.empty()) {
    if (what != 0) return usage(io);
    if (!rest.empty()) return io.error(rest[0] + ": is the whole stack's: sysctl net.inet6.ip6.accept_rtadv, net.inet6.ip6.auto_linklocal");
    return show(io, stack, show_interfaces6, interface);
  }
  if (what == 's') return set(io, stack, rest);
  if (what == 'd') return remove(io, stack, rest);
  if (what == 0) return rest.size() == 1 ? list(io, stack, rest[0], timed) : usage(io);
  if (!rest.empty()) return usage(io);
  switch (what) {
    case 'a': return list(io, stack, {}, timed);
    case 'p': return show(io, stack, show_prefixes);
    case 'P': return forget(io, stack, "prefixes");
    case 'r': return show(io, stack, show_routers);
    case 'R': return forget(io, stack, "routers");
    default: return clear(io, stack);
  }
}

}  // namespace iopkt::utils
