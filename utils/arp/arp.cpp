#include "utils/arp/arp.hpp"

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "wire/address.hpp"

namespace iopkt::utils {
namespace {

constexpr char kUsage[] =
    "usage: arp [-n] [--json] hostname\n"
    "       arp [-nv] [--json] -a\n"
    "       arp [-v] [--json] -d [-a | hostname]\n"
    "       arp -s hostname ether_addr [temp] [pub [proxy]]\n"
    "       arp -f filename\n";

int usage(Io& io) {
  io.complain(kUsage);
  return 1;
}

std::optional<std::string> address_of(Io& io, const std::string& host) {
  const auto address = wire::Ipv4Address::parse_bsd(host);
  if (address) return address->to_string();
  io.error(host + ": bad value");
  return std::nullopt;
}

int list(Io& io, Stack& stack, const std::string& host) {
  Node arguments, answer;
  if (!host.empty()) {
    const auto address = address_of(io, host);
    if (!address) return 1;
    arguments.add_address("address", *address);
  }
  if (!asked(io, stack, "arp.list", arguments, answer)) return 1;
  if (io.json) return io.print(to_json(answer)), 0;
  const auto neighbours = answer.list("neighbours");
  for (const Node& one : neighbours) io.print(show_neighbour(one));
  if (!neighbours.empty() || host.empty()) return 0;
  io.print(host + " (" + std::string(arguments.text_of("address")) + ") -- no entry\n");
  return 1;
}

int remove(Io& io, Stack& stack, bool all, const Words& words) {
  Node arguments, answer;
  if (all) {
    if (!words.empty()) return usage(io);
    if (!asked(io, stack, "arp.flush", {}, answer)) return 1;
    if (io.json) return io.print(to_json(answer)), 0;
    for (const Node& one : answer.list("deleted"))
      io.print(format("%s (%s) deleted\n", std::string(one.text_of("address")).c_str(),
                      std::string(one.text_of("address")).c_str()));
    return 0;
  }
  if (words.size() != 1) return usage(io);
  const auto address = address_of(io, words[0]);
  if (!address) return 1;
  arguments.add_address("address", *address);
  if (!asked(io, stack, "arp.delete", arguments, answer)) return 1;
  if (io.json) {
    Node gone;
    gone.add_address("address", *address);
    return io.print(to_json(gone)), 0;
  }
  io.print(words[0] + " (" + *address + ") deleted\n");
  return 0;
}

/// host ether [temp] [pub [proxy]]
int set(Io& io, Stack& stack, const Words& words) {
  if (words.size() < 2) return usage(io);
  const auto address = address_of(io, words[0]);
  if (!address) return 1;
  Node arguments, answer;
  arguments.add_address("address", *address).add_text("mac", words[1]);
  for (std::size_t i = 2; i < words.size(); ++i) {
    if (words[i] == "temp")
      arguments.add_boolean("temporary", true);
    else if (words[i] == "pub")
      arguments.add_boolean("published", true);
    else if (words[i] == "proxy" && words[i - 1] == "pub")
      arguments.add_boolean("proxy", true);
    else
      return io.error(words[i] + ": bad keyword");
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
    for (char* word = strtok_r(line, " \t\r\n", &rest); word != nullptr;
         word = strtok_r(nullptr, " \t\r\n", &rest))
      words.emplace_back(word);
    if (words.empty() || words[0].starts_with("#")) continue;
    if (words.size() < 2)
      status = io.error("bad line: " + words[0]);
    else if (set(io, stack, words) != 0)
      status = 1;
  }
  std::fclose(file);
  return status;
}

}  // namespace

std::string show_neighbour(const Node& n) {
  const auto text = [&](const char* key) { return std::string(n.text_of(key)); };
  std::string out = "? (" + text("address") + ") at " + (n.has("mac") ? text("mac") : "(incomplete)") +
                    " on " + text("interface");
  if (n.number_of("permanent") != 0) out += " permanent";
  if (n.number_of("published") != 0)
    out += n.number_of("proxy") != 0 ? " published (proxy only)" : " published";
  return out + "\n";
}

int arp(Io& io, Stack& stack, const Words& words) {
  if (helped(io, kUsage, words)) return 0;
  bool all = false, erase = false, put = false;
  std::string file;
  Options options{words, "adnsv", "f"};
  for (char letter = options.next(); letter != 0; letter = options.next()) switch (letter) {
      case 'a':
        all = true;
        break;
      case 'd':
        erase = true;
        break;
      case 's':
        put = true;
        break;
      case 'f':
        file = options.value();
        break;
      case 'n':
      case 'v':
        break;  // names are never looked up; every entry is shown with all that is known
      default:
        io.error(options.fault());
        return usage(io);
    }
  const Words rest = options.rest();
  if (!file.empty()) return from_file(io, stack, file);
  if (put) return set(io, stack, rest);
  if (erase) return remove(io, stack, all, rest);
  if (all) return rest.empty() ? list(io, stack, {}) : usage(io);
  return rest.size() == 1 ? list(io, stack, rest[0]) : usage(io);
}

}  // namespace iopkt::utils
